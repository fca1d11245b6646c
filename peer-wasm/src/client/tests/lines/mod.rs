//! Direct lines: when one is opened, which way what is said goes, and what becomes of it when a line breaks.

use super::*;
use protocol::{LineKind, SignalStep, decode_direct_text};

mod opening;
mod pair;

const TCP: LineKind = LineKind::Tcp;
/// What the first line is called that this peer offers to peer 2, whose id is larger.
const LINE: u32 = 2;

/// A peer that is near.
fn near(number: u8) -> PeerInfo {
    PeerInfo { binary: true, direct: BTreeSet::from([TCP]), ..info(number) }
}

impl Lab {
    /// One that can have lines, and is registered.
    fn with_tcp() -> Self {
        let mut lab = Self::with_lines(BTreeSet::from([TCP]), Config::default());
        lab.register();
        lab
    }

    /// One that fetches a file, after peer 2, which is near, sent it the first block; the line that it offers; and the other
    /// blocks that it asked for.
    fn fetching(content: &[u8], manifest: &Arc<Manifest>) -> (Self, LineId, Vec<(u32, u32)>) {
        let mut lab = Self::with_tcp();
        lab.begin(manifest);
        lab.respond(None, &Response::Peers { file: manifest.file(), peers: vec![near(2)] });
        lab.serve(2, manifest);
        let line = lab.offered().unwrap();
        let asked = lab.blocks_asked(manifest);
        lab.get(content, manifest, &asked[..1]);
        (lab, line, asked[1..].to_vec())
    }

    /// The same with an open line, by which the other side has not said anything yet.
    fn with_line(content: &[u8], manifest: &Arc<Manifest>) -> (Self, LineId, Vec<(u32, u32)>) {
        let (mut lab, line, asked) = Self::fetching(content, manifest);
        lab.client.handle_reachable(line, "here".to_owned(), lab.now);
        lab.client.handle_line_opened(line, lab.now);
        lab.drain();
        (lab, line, asked)
    }

    /// One that shares a file, after it sent a block of it to peer 2, with an open line to that; and the file's storage.
    fn shares_with_line(manifest: &Arc<Manifest>) -> (Self, LineId, StoreId) {
        let config = Config { upload_budget: 64 << 10, ..Config::default() };
        let mut lab = Self::with_lines(BTreeSet::from([TCP]), config);
        lab.register();
        lab.client.share(Arc::clone(manifest), lab.now);
        lab.drain();
        let file = manifest.file();
        lab.respond(None, &Response::Peers { file, peers: vec![near(2)] });
        lab.read_for(2, file);
        let store = lab.client.store(file).unwrap();
        assert!(lab.read_next(store));
        let line = lab.offered().unwrap();
        lab.client.handle_line_opened(line, lab.now);
        lab.drain();
        lab.signal(2, manifest, LINE, SignalStep::Moved);
        (lab, line, store)
    }

    /// Answers a read; `false` if there is none.
    fn read_next(&mut self, store: StoreId) -> bool {
        let read = self.outputs.iter().position(|output| matches!(output, Output::Read { .. }));
        let Some(Output::Read { id, len, .. }) = read.map(|place| self.outputs.remove(place)) else { return false };
        self.client.handle_read(store, id, Ok(vec![0; len as usize].into()), self.now);
        self.drain();
        true
    }

    /// A peer has everything and serves this one.
    fn serve(&mut self, number: u8, manifest: &Manifest) {
        let file = manifest.file().tag();
        let blocks = Bitfield::full(manifest.geometry().blocks()).to_bytes();
        self.say(number, PeerMessage::Bitfield { file, blocks, begin: false });
        self.say(number, PeerMessage::Unchoke { file });
    }

    /// The lines that this peer wants to offer since the last look.
    fn offered(&mut self) -> Option<LineId> {
        let offer = |output: &Output| if let Output::Offer { line, .. } = output { Some(*line) } else { None };
        self.outputs.iter().find_map(offer)
    }

    fn hung_up(&mut self) -> Vec<LineId> {
        let hang_up = |output: &Output| if let Output::HangUp { line } = output { Some(*line) } else { None };
        self.outputs.iter().filter_map(hang_up).collect()
    }

    fn dialled(&mut self) -> Vec<(LineId, String)> {
        let dial = |output: &Output| {
            if let Output::Dial { line, offer } = output { Some((*line, offer.clone())) } else { None }
        };
        self.outputs.iter().filter_map(dial).collect()
    }

    fn signal(&mut self, from: u8, manifest: &Manifest, line: u32, step: SignalStep) {
        let data = if step == SignalStep::Offer { "there".to_owned() } else { String::new() };
        self.say(from, PeerMessage::Signal { file: manifest.file().tag(), line, step, data });
    }

    /// A block that was asked for comes by a line and is stored; tells how many bytes it has.
    fn deliver_by(&mut self, line: LineId, content: &[u8], manifest: &Manifest, (index, count): (u32, u32)) -> u64 {
        let block = manifest.geometry().block_size().bytes() as usize;
        let data = Bytes::copy_from_slice(&content[index as usize * block..][..count as usize * block]);
        let bytes = data.len() as u64;
        let message = PeerMessage::Block { file: manifest.file().tag(), index, count, data };
        let Frame::Binary { head, payload } = protocol::encode_direct(message) else { panic!("a block is binary") };
        self.client.handle_line_binary(line, &[head, payload.to_vec()].concat().into(), self.now);
        self.drain();
        self.store_all();
        bytes
    }

    fn hear_by(&mut self, line: LineId, message: PeerMessage) {
        let Frame::Text(text) = protocol::encode_direct(message) else { panic!("a block is no text") };
        self.client.handle_line_text(line, &text, self.now);
        self.drain();
    }

    /// What was said since the last look, through the tracker and by lines.
    fn said_both_ways(&mut self) -> (Vec<PeerMessage>, Vec<PeerMessage>) {
        let direct = |output: &Output| {
            if let Output::SendDirect { frame: Frame::Text(text), .. } = output {
                decode_direct_text(text).ok()
            } else {
                None
            }
        };
        let direct = self.outputs.iter().filter_map(direct).collect();
        (self.mail().into_iter().map(|(_, message)| message).collect(), direct)
    }

    fn is_served(&self, manifest: &Manifest) -> bool {
        let swarm = self.client.swarm(manifest.file()).unwrap();
        swarm.neighbours(self.now).any(|other| other.serves_us)
    }
}

/// The signals among these.
fn signals(said: &[PeerMessage]) -> Vec<(SignalStep, &str)> {
    let mut signals = Vec::new();
    for message in said {
        if let PeerMessage::Signal { step, data, .. } = message {
            signals.push((*step, &**data));
        }
    }
    signals
}

#[test]
fn what_is_said_goes_by_the_line_from_when_it_is_open_and_a_last_word_through_the_tracker_says_so() {
    let (content, manifest) = large(100);
    let (mut lab, _, asked) = Lab::with_line(&content, &manifest);
    let (tracker, line) = lab.said_both_ways();
    assert_eq!(signals(&tracker).last(), Some(&(SignalStep::Moved, "")));
    assert!(matches!(tracker.last(), Some(PeerMessage::Signal { .. })));
    assert!(line.iter().all(|said| matches!(said, PeerMessage::Request { .. })), "{line:?}");
    lab.send_blocks(&content, &manifest, &asked);
    let (tracker, line) = lab.said_both_ways();
    assert_eq!(tracker, []);
    assert!(line.iter().any(|said| matches!(said, PeerMessage::Request { .. })), "{line:?}");
}

#[test]
fn words_that_come_by_the_line_wait_for_those_that_were_said_before() {
    let (content, manifest) = large(100);
    for last_word_first in [false, true] {
        let (mut lab, line, _) = Lab::with_line(&content, &manifest);
        let file = manifest.file().tag();
        if last_word_first {
            lab.signal(2, &manifest, LINE, SignalStep::Moved);
        }
        lab.hear_by(line, PeerMessage::Choke { file });
        assert_eq!(lab.is_served(&manifest), !last_word_first);
        if !last_word_first {
            lab.say(2, PeerMessage::Unchoke { file });
            lab.signal(2, &manifest, LINE, SignalStep::Moved);
        }
        assert!(!lab.is_served(&manifest));
    }
}

#[test]
fn when_a_line_breaks_everything_is_said_anew_through_the_tracker() {
    let (content, manifest) = large(100);
    let ends: [fn(&mut Lab, LineId, &Manifest); 2] = [
        |lab, line, _| lab.client.handle_line_closed(line, lab.now),
        |lab, _, manifest| lab.signal(2, manifest, LINE, SignalStep::Over),
    ];
    for end in ends {
        let (mut lab, line, _) = Lab::with_line(&content, &manifest);
        lab.signal(2, &manifest, LINE, SignalStep::Moved);
        lab.sent();
        end(&mut lab, line, &manifest);
        lab.drain();
        let (tracker, by_line) = lab.said_both_ways();
        assert!(matches!(tracker[..], [PeerMessage::Bitfield { begin: true, .. }, ..]), "{tracker:?}");
        assert!(!lab.is_served(&manifest) && by_line.is_empty());
        lab.serve(2, &manifest);
        let asked = lab.blocks_asked(&manifest);
        assert!(!asked.is_empty(), "it is asked again for what was lost");
        lab.complete(&content, &manifest, asked);
    }
}

#[test]
fn whoever_speaks_through_the_tracker_again_has_no_line_any_more() {
    let (content, manifest) = large(100);
    let (mut lab, line, asked) = Lab::with_line(&content, &manifest);
    let file = manifest.file().tag();
    lab.signal(2, &manifest, LINE, SignalStep::Moved);
    lab.send_blocks(&content, &manifest, &asked);
    assert_eq!(lab.hung_up(), [], "what was asked before may still come");
    lab.sent();
    let blocks = Bitfield::full(100).to_bytes();
    lab.say(2, PeerMessage::Bitfield { file, blocks, begin: true });
    assert_eq!(lab.hung_up(), [line]);
    let (tracker, by_line) = lab.said_both_ways();
    assert!(tracker.iter().any(|said| matches!(said, PeerMessage::Bitfield { begin: true, .. })), "{tracker:?}");
    assert!(tracker.iter().any(|said| matches!(said, PeerMessage::Bitfield { begin: false, .. })), "{tracker:?}");
    assert_eq!(by_line, []);
}

#[test]
fn blocks_that_a_broken_line_did_not_carry_hold_no_room() {
    let (_, manifest) = large(100);
    let (mut lab, line, store) = Lab::shares_with_line(&manifest);
    let file = manifest.file();
    (0..100).for_each(|index| lab.hear_by(line, PeerMessage::Request { file: file.tag(), index, count: 1 }));
    let mut lost = 0;
    while lab.read_next(store) {
        lost += 1;
    }
    assert!((2..50).contains(&lost), "{lost} reads: there is no room for more");
    lab.client.handle_line_closed(line, lab.now);
    lab.drain();
    lab.sent();
    lab.read_for(2, file);
}

#[test]
fn a_line_ends_when_one_of_the_two_leaves_a_swarm_that_both_are_in() {
    let (content, manifest) = large(100);
    let file = manifest.file();
    let leave: [fn(&mut Lab, FileId); 3] = [
        |lab, file| lab.respond(None, &Response::PeerLeft { file, peer: peer(2) }),
        |lab, file| lab.client.stop(file, lab.now),
        |lab, _| lab.client.handle_closed(None, lab.now),
    ];
    for leave in leave {
        let (mut lab, line, _) = Lab::with_line(&content, &manifest);
        lab.signal(2, &manifest, LINE, SignalStep::Moved);
        leave(&mut lab, file);
        lab.drain();
        assert_eq!(lab.hung_up(), [line]);
    }
}

#[test]
fn a_line_by_which_nothing_is_said_for_a_minute_is_closed_and_none_opened_without_data() {
    let (content, manifest) = large(100);
    let (mut lab, line, asked) = Lab::with_line(&content, &manifest);
    let file = manifest.file().tag();
    lab.signal(2, &manifest, LINE, SignalStep::Moved);
    lab.hear_by(line, PeerMessage::Choke { file });
    for span in asked {
        lab.deliver_by(line, &content, &manifest, span);
    }
    for _ in 0..4 {
        lab.hear_by(line, PeerMessage::Choke { file });
        lab.wait(Duration::from_secs(50));
        assert_eq!(lab.hung_up(), []);
    }
    lab.client.stop(manifest.file(), lab.now);
    lab.drain();
    lab.sent();
    let (mut lab, line, _) = Lab::shares_with_line(&manifest);
    lab.hear_by(line, PeerMessage::Have { file, blocks: vec![protocol::HaveRun(0, 100)] });
    lab.wait(Duration::from_secs(59));
    assert_eq!(lab.hung_up(), []);
    lab.wait(Duration::from_secs(2));
    assert_eq!(lab.hung_up(), [line]);
    lab.sent();
    lab.wait(Duration::from_secs(200));
    assert_eq!(lab.offered(), None);
}

#[test]
fn who_begins_anew_says_so_again_if_that_was_refused() {
    let (content, manifest) = large(100);
    let (mut lab, line, _) = Lab::with_line(&content, &manifest);
    lab.signal(2, &manifest, LINE, SignalStep::Moved);
    lab.client.handle_line_closed(line, lab.now);
    lab.drain();
    lab.sent();
    let about = Subject { kind: Kind::Bitfield, tag: manifest.file().tag(), index: 0, count: 1 };
    let code = ErrorCode::Busy;
    lab.respond(None, &Response::Error { code, message: String::new(), to: Some(peer(2)), about: Some(about) });
    lab.wait(Duration::from_secs(2));
    assert!(lab.said_both_ways().0.iter().any(|said| matches!(said, PeerMessage::Bitfield { begin: true, .. })));
}

#[test]
fn offers_without_end_make_this_peer_dial_six_times() {
    let (_, manifest) = large(100);
    let mut lab = Lab::with_tcp();
    lab.begin(&manifest);
    lab.respond(None, &Response::PeerJoined { file: manifest.file(), peer: near(2) });
    let mut dialled = 0;
    for number in 0..500 {
        lab.signal(2, &manifest, number, SignalStep::Offer);
        dialled += lab.dialled().len();
        lab.sent();
        lab.wait(Duration::from_secs(1));
    }
    assert_eq!(dialled, 6);
}

#[test]
fn who_lies_by_a_line_is_dropped_with_it() {
    let (content, manifest) = large(100);
    let (mut lab, line, asked) = Lab::with_line(&content, &manifest);
    lab.signal(2, &manifest, LINE, SignalStep::Moved);
    let (index, count) = asked[0];
    let data = vec![0xff; count as usize * 4_096].into();
    let message = PeerMessage::Block { file: manifest.file().tag(), index, count, data };
    let Frame::Binary { head, payload } = protocol::encode_direct(message) else { panic!("a block is binary") };
    lab.client.handle_line_binary(line, &[head, payload.to_vec()].concat().into(), lab.now);
    lab.drain();
    assert_eq!(lab.hung_up(), [line]);
    assert!(lab.client.swarm(manifest.file()).unwrap().is_banned(peer(2)));
}

#[test]
fn a_line_by_which_nonsense_comes_is_closed_for_good() {
    let (content, manifest) = large(100);
    let (mut lab, line, _) = Lab::with_line(&content, &manifest);
    lab.client.handle_line_text(line, "{}", lab.now);
    lab.drain();
    assert_eq!(lab.hung_up(), [line]);
    lab.sent();
    lab.wait(Duration::from_secs(200));
    assert_eq!(lab.offered(), None);
}

#[test]
fn a_line_by_which_no_block_ever_comes_is_given_up() {
    let (content, manifest) = large(100);
    for delivers in [false, true] {
        let (mut lab, line, asked) = Lab::with_line(&content, &manifest);
        let file = manifest.file().tag();
        lab.signal(2, &manifest, LINE, SignalStep::Moved);
        if delivers {
            lab.deliver_by(line, &content, &manifest, asked[0]);
        }
        // What is small goes through.
        for _ in 0..30 {
            lab.wait(Duration::from_secs(1));
            lab.hear_by(line, PeerMessage::Have { file, blocks: Vec::new() });
        }
        assert_eq!(lab.hung_up().contains(&line), !delivers, "delivers: {delivers}");
    }
}

#[test]
fn it_is_told_which_way_blocks_went_and_to_whom_there_is_a_line() {
    let (content, manifest) = large(100);
    let (mut lab, line, asked) = Lab::with_line(&content, &manifest);
    let file = manifest.file();
    lab.signal(2, &manifest, LINE, SignalStep::Moved);
    let relayed = lab.client.transfers[&file].received.relayed;
    assert!(relayed > 0, "the first block");
    let direct = lab.deliver_by(line, &content, &manifest, asked[0]);
    lab.wait(Duration::from_secs(1));
    let report = lab.last_report();
    assert_eq!(report.received, page::Carried { direct, relayed });
    assert!(report.peers.iter().all(|peer| peer.direct));

    let (mut lab, line, store) = Lab::shares_with_line(&large(100).1);
    let file = lab.client.files().next().unwrap();
    let before = lab.client.transfers[&file].sent;
    assert!(before.relayed > 0 && before.direct == 0);
    lab.hear_by(line, PeerMessage::Request { file: file.tag(), index: 1, count: 1 });
    assert!(lab.read_next(store));
    let after = lab.client.transfers[&file].sent;
    assert!(after.direct > 0 && after.relayed == before.relayed);
}

#[test]
fn the_tracker_is_told_how_much_came_directly_each_byte_once() {
    let (content, manifest) = large(100);
    let (mut lab, line, asked) = Lab::with_line(&content, &manifest);
    lab.signal(2, &manifest, LINE, SignalStep::Moved);
    lab.sent();
    let told = |lab: &mut Lab| {
        lab.wait(Duration::from_secs(2));
        let direct =
            |(_, request)| if let Request::UpdateBlocks { direct, .. } = request { Some(direct) } else { None };
        lab.requests().into_iter().filter_map(direct).sum::<u64>()
    };
    told(&mut lab);
    for span in asked {
        let direct = lab.deliver_by(line, &content, &manifest, span);
        assert_eq!(told(&mut lab), direct);
    }
}

#[test]
fn words_by_a_line_of_a_file_in_whose_swarm_the_two_are_not_introduced_wait_for_the_tracker() {
    let (content, manifest) = large(100);
    let (_, other) = large(64);
    let (mut lab, line, _) = Lab::with_line(&content, &manifest);
    lab.signal(2, &manifest, LINE, SignalStep::Moved);
    lab.client.share(Arc::clone(&other), lab.now);
    lab.drain();
    let file = other.file();
    let knows = |lab: &Lab| lab.client.swarm(file).unwrap().neighbours(lab.now).any(|known| known.peer == peer(2));
    let words = [
        PeerMessage::Bitfield { file: file.tag(), blocks: Bitfield::empty(64).to_bytes(), begin: false },
        PeerMessage::Interested { file: file.tag() },
    ];
    for word in words {
        lab.hear_by(line, word);
    }
    let data = Bytes::from_static(&[0; 4_096]);
    let message = PeerMessage::Block { file: file.tag(), index: 0, count: 1, data };
    let Frame::Binary { head, payload } = protocol::encode_direct(message) else { panic!("a block is binary") };
    lab.client.handle_line_binary(line, &[head, payload.to_vec()].concat().into(), lab.now);
    lab.drain();
    assert!(!knows(&lab) && lab.hung_up().is_empty());
    lab.respond(None, &Response::PeerJoined { file, peer: near(2) });
    assert!(knows(&lab), "what it said before is heard now");
    let wants = lab.client.swarm(file).unwrap().neighbours(lab.now).any(|known| known.wants_from_us);
    assert!(wants, "in its order");

    let (_, third) = large(32);
    for number in 0..17 {
        assert!(lab.hung_up().is_empty(), "{number} words of what may come");
        lab.hear_by(line, PeerMessage::Interested { file: third.file().tag() });
    }
    assert_eq!(lab.hung_up(), [line], "nobody says so much before the tracker does");
}
