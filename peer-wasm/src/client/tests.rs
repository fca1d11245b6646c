//! The client in virtual time, with a tracker played by hand.

use super::*;
use crate::page::{self, Transfer as Report};
use protocol::{
    BlockSize, ClientFrame, Frame, Geometry, Limits, ManifestHasher, ManifestPart, MediaType, Secret,
    decode_client_text, encode_response, forwarded_head,
};

const ME: PeerId = PeerId::from_bytes([1; 8]);

struct Lab {
    client: Client,
    now: Instant,
    /// What came out and was not looked at.
    outputs: Vec<Output>,
}

impl Lab {
    fn new() -> Self {
        let room = RoomName::default();
        let config = ClientConfig { room, name: None, binary: true, swarm: Config::default() };
        let now = Instant::default();
        let mut lab = Self { client: Client::new(config, 7, now), now, outputs: Vec::new() };
        lab.drain();
        lab
    }

    fn online() -> Self {
        let mut lab = Self::new();
        lab.register();
        lab
    }

    fn register(&mut self) {
        self.client.handle_opened(self.now);
        let identity = Identity { id: ME, secret: Secret::from_bytes([9; 16]) };
        let room = RoomName::default();
        self.respond(None, &Response::Registered { identity, room, resumed: false, limits: Limits::default() });
    }

    fn respond(&mut self, seq: Option<u32>, response: &Response) {
        self.client.handle_text(&encode_response(seq, response), self.now);
        self.drain();
    }

    fn say(&mut self, from: u8, message: PeerMessage) {
        let Frame::Text(text) = encode_envelope(ME, message, false) else { return };
        let Ok(ClientFrame::Envelope { message, .. }) = decode_client_text(&text) else { return };
        self.client.handle_text(&format!("{}{message}}}", forwarded_head(peer(from))), self.now);
        self.drain();
    }

    /// Jumps to the next deadline.
    fn sleep(&mut self) -> Duration {
        let deadline = self.client.poll_timeout().unwrap();
        let slept = deadline.since(self.now);
        self.now = self.now.max(deadline);
        self.client.handle_timeout(self.now);
        self.drain();
        slept
    }

    fn drain(&mut self) {
        while let Some(output) = self.client.poll_output() {
            self.outputs.push(output);
        }
    }

    /// The texts sent since the last look.
    fn sent(&mut self) -> Vec<String> {
        let text = |output| if let Output::Send { frame: Frame::Text(text), .. } = output { Some(text) } else { None };
        std::mem::take(&mut self.outputs).into_iter().filter_map(text).collect()
    }

    fn requests(&mut self) -> Vec<(Option<u32>, Request)> {
        let request = |text: String| match decode_client_text(&text) {
            Ok(ClientFrame::Request { seq, request }) => Some((seq, request)),
            _ => None,
        };
        self.sent().into_iter().filter_map(request).collect()
    }

    fn last_report(&mut self) -> Report {
        let report =
            |output| if let Output::Update(Update::Transfer { transfer }) = output { Some(*transfer) } else { None };
        std::mem::take(&mut self.outputs).into_iter().filter_map(report).next_back().unwrap()
    }

    fn wants_to_connect(&mut self) -> bool {
        std::mem::take(&mut self.outputs).iter().any(|output| matches!(output, Output::Connect))
    }
}

fn peer(number: u8) -> PeerId {
    PeerId::from_bytes([number; 8])
}

fn info(number: u8) -> PeerInfo {
    PeerInfo { id: peer(number), name: None, binary: false, blocks: 1, age: 0 }
}

fn manifest() -> Arc<Manifest> {
    let mut hasher = ManifestHasher::new(Geometry::new(5, BlockSize::for_file(5)).unwrap());
    hasher.update(b"hello");
    Arc::new(hasher.finish("hello.txt".parse().unwrap(), MediaType::default()).unwrap())
}

fn part_of(manifest: &Manifest, part: Option<u32>) -> PeerMessage {
    PeerMessage::Manifest { facts: manifest.facts().clone(), part: manifest.part(part).unwrap() }
}

fn resume_of(requests: &[(Option<u32>, Request)]) -> Option<Identity> {
    requests
        .iter()
        .find_map(|(_, request)| if let Request::Register { resume, .. } = request { resume.clone() } else { None })
}

#[test]
fn a_lost_line_is_made_again_with_growing_pauses_and_takes_the_id_back() {
    let mut lab = Lab::online();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        lab.client.handle_closed(None, lab.now);
        lab.drain();
        pauses.push(lab.sleep());
        assert!(lab.wants_to_connect());
    }
    assert!(pauses[0] <= Duration::from_millis(500) && pauses[6] > 4 * pauses[0], "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(30)), "{pauses:?}");
    lab.register();
    assert_eq!(resume_of(&lab.requests()).unwrap().id, ME);
}

#[test]
fn an_id_that_somebody_else_took_back_is_not_taken_in_turn() {
    let mut lab = Lab::online();
    lab.client.handle_closed(Some(close::REPLACED), lab.now);
    lab.drain();
    lab.sleep();
    lab.sent();
    lab.register();
    let requests = lab.requests();
    assert!(matches!(requests[0].1, Request::Register { .. }));
    assert_eq!(resume_of(&requests), None);
}

/// What the shell was told of the connection last.
fn told(lab: &mut Lab) -> Connection {
    let connection = |output| {
        if let Output::Update(Update::Connection { connection }) = output { Some(connection) } else { None }
    };
    std::mem::take(&mut lab.outputs).into_iter().filter_map(connection).next_back().unwrap()
}

#[test]
fn a_peer_that_is_not_wanted_stays_away_and_says_why() {
    for (code, expected) in [(close::WRONG_TOKEN, Problem::WrongToken), (close::REMOVED, Problem::Removed)] {
        // While it registers, and when it is in the room.
        for mut lab in [Lab::new(), Lab::online()] {
            lab.client.share(manifest(), lab.now);
            lab.client.handle_closed(Some(code), lab.now);
            lab.drain();
            assert_eq!(told(&mut lab), Connection::Ended { problem: expected.clone() });
            lab.client.wake(lab.now);
            for _ in 0..1_000 {
                let Some(deadline) = lab.client.poll_timeout() else { break };
                lab.now = lab.now.max(deadline);
                lab.client.handle_timeout(lab.now);
            }
            lab.client.fetch(FileId::from_bytes([5; 32]), lab.now);
            lab.drain();
            assert!(!lab.outputs.iter().any(|output| matches!(output, Output::Connect | Output::Send { .. })));
        }
    }
}

#[test]
fn a_tracker_without_room_is_tried_again_with_growing_pauses_and_the_reason_is_told() {
    for (code, expected) in [
        (close::TRACKER_FULL, Some(Problem::TrackerFull)),
        (close::ADDRESS_FULL, Some(Problem::AddressFull)),
        (close::SLOW_RECEIVER, Some(Problem::TooSlow)),
        (close::GOING_AWAY, None),
    ] {
        let mut lab = Lab::online();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            lab.client.handle_closed(Some(code), lab.now);
            lab.drain();
            let Connection::Waiting { problem, .. } = told(&mut lab) else { panic!("it must try again") };
            assert_eq!(problem, expected);
            pauses.push(lab.sleep());
            assert!(lab.wants_to_connect());
            // The socket opens each time, and the tracker closes it.
            lab.client.handle_opened(lab.now);
        }
        assert!(pauses[7] > 10 * pauses[0], "{pauses:?}");
    }
}

#[test]
fn a_tracker_that_forgot_the_secret_gives_a_new_id() {
    let mut lab = Lab::online();
    lab.client.handle_closed(Some(close::GOING_AWAY), lab.now);
    lab.sleep();
    lab.client.handle_opened(lab.now);
    lab.drain();
    lab.sent();
    let (code, message) = (ErrorCode::WrongSecret, String::new());
    lab.respond(None, &Response::Error { code, message, to: None, about: None });
    let requests = lab.requests();
    assert!(matches!(requests[..], [(_, Request::Register { resume: None, .. })]), "{requests:?}");
}

#[test]
fn a_silent_line_is_asked_for_a_pong_and_then_given_up() {
    let mut lab = Lab::online();
    lab.sent();
    assert_eq!(lab.sleep(), Duration::from_secs(20));
    assert_eq!(lab.requests(), [(None, Request::Ping)]);
    lab.respond(None, &Response::Pong);
    assert_eq!(lab.sleep(), Duration::from_secs(20));
    lab.sent();
    lab.sleep();
    assert!(lab.outputs.iter().any(|output| matches!(output, Output::Disconnect)));
}

#[test]
fn a_wake_up_asks_at_once_or_connects_at_once() {
    let mut lab = Lab::online();
    lab.sent();
    lab.client.wake(lab.now);
    lab.drain();
    assert_eq!(lab.requests(), [(None, Request::Ping)]);
    lab.client.handle_closed(None, lab.now);
    lab.drain();
    assert!(!lab.wants_to_connect());
    lab.client.wake(lab.now);
    lab.drain();
    assert!(lab.wants_to_connect());
}

#[test]
fn after_a_lost_line_everything_is_announced_again() {
    let mut lab = Lab::online();
    lab.client.share(manifest(), lab.now);
    lab.client.handle_closed(None, lab.now);
    lab.sleep();
    lab.sent();
    lab.register();
    assert!(lab.requests().iter().any(|(_, request)| matches!(request, Request::Announce { .. })));
}

#[test]
fn a_search_asks_one_peer_after_another_until_a_manifest_is_right() {
    let mut lab = Lab::online();
    let manifest = manifest();
    let file = manifest.file();
    lab.client.fetch(file, lab.now);
    lab.sent();
    lab.respond(None, &Response::Peers { file, peers: vec![info(2), info(3)] });
    let asked = |lab: &mut Lab| {
        let sent = lab.sent();
        [2, 3].into_iter().find(|number| {
            sent.iter().any(|text| text.contains("get_manifest") && text.contains(&peer(*number).to_string()))
        })
    };
    let first = asked(&mut lab).unwrap();
    let wrong = ManifestPart { hashes: Bytes::from_static(&[0; 32]), ..manifest.part(None).unwrap() };
    let wrong = PeerMessage::Manifest { facts: manifest.facts().clone(), part: wrong };
    lab.say(first, wrong);
    let second = asked(&mut lab).unwrap();
    assert_ne!(first, second);
    let right = part_of(&manifest, None);
    lab.say(first, right.clone());
    assert!(!lab.outputs.iter().any(|output| matches!(output, Output::Create { .. })), "it was not asked any more");
    lab.say(second, right);
    assert!(lab.outputs.iter().any(|output| matches!(output, Output::Create { .. })));
}

#[test]
fn a_search_prefers_peers_that_have_not_failed_and_comes_back_to_those_that_have() {
    let mut lab = Lab::online();
    let file = manifest().file();
    let asked = |lab: &mut Lab| {
        let sent = lab.sent();
        [2, 3].into_iter().find(|number| {
            sent.iter().any(|text| text.contains("get_manifest") && text.contains(&peer(*number).to_string()))
        })
    };
    lab.client.fetch(file, lab.now);
    lab.respond(None, &Response::Peers { file, peers: vec![info(2)] });
    assert_eq!(asked(&mut lab), Some(2));
    let unknown =
        Response::Error { code: ErrorCode::UnknownPeer, message: String::new(), to: Some(peer(2)), about: None };
    lab.respond(None, &unknown);
    lab.respond(None, &Response::Peers { file, peers: vec![info(2), info(3)] });
    assert_eq!(asked(&mut lab), Some(3));
    lab.respond(None, &Response::PeerLeft { file, peer: peer(3) });
    assert_eq!(asked(&mut lab), None);
    assert_eq!(lab.sleep(), Duration::from_secs(2));
    lab.respond(None, &Response::Peers { file, peers: vec![info(2)] });
    assert_eq!(asked(&mut lab), Some(2));
}

#[test]
fn an_announcement_that_the_tracker_refuses_fails_its_transfer_with_the_reason() {
    let mut lab = Lab::online();
    lab.client.share(manifest(), lab.now);
    lab.drain();
    let announced = |(seq, request)| if let Request::Announce { .. } = request { seq } else { None };
    let seq = lab.requests().into_iter().find_map(announced);
    let (code, message) = (ErrorCode::TooManyFiles, String::new());
    lab.respond(seq, &Response::Error { code, message, to: None, about: None });
    let problem = Problem::Refused { code };
    assert_eq!(lab.last_report().stage, page::Stage::Failed { problem });
}

#[test]
fn no_frame_from_the_tracker_makes_it_panic_or_stop() {
    let mut lab = Lab::online();
    for text in ["", "{", "[]", r#"{"type":"dance"}"#, r#"{"from":"x"}"#, r#"{"type":"registered"}"#] {
        lab.client.handle_text(text, lab.now);
    }
    for frame in [&b""[..], b"\0\0\0\xff{}", b"\xff\xff\xff\xff"] {
        lab.client.handle_binary(&Bytes::from_static(frame), lab.now);
    }
    lab.drain();
    lab.client.fetch(manifest().file(), lab.now);
    lab.drain();
    assert!(!lab.requests().is_empty());
}

/// A file of `blocks` blocks of 4 KiB.
fn large(blocks: u64) -> (Vec<u8>, Arc<Manifest>) {
    let content: Vec<u8> = (0..blocks * 4_096).map(|i| (i * 31 + i / 253) as u8).collect();
    let geometry = Geometry::new(content.len() as u64, BlockSize::try_from(4_096).unwrap()).unwrap();
    let mut hasher = ManifestHasher::new(geometry);
    hasher.update(&content);
    (content, Arc::new(hasher.finish("large.bin".parse().unwrap(), MediaType::default()).unwrap()))
}

impl Lab {
    /// Fetches a file until requests go out to peer 2, which has all of it and serves; gives those requests.
    fn download(&mut self, manifest: &Arc<Manifest>) -> Vec<(u32, u32)> {
        let file = manifest.file();
        let blocks = manifest.geometry().blocks();
        self.client.fetch(file, self.now);
        self.drain();
        self.respond(None, &Response::Peers { file, peers: vec![info(2)] });
        self.say(2, part_of(manifest, None));
        (0..blocks.div_ceil(256)).for_each(|part| self.say(2, part_of(manifest, Some(part))));
        let store = self.wanted_store();
        self.client.handle_created(store, Ok((Bitfield::empty(blocks), Storage::Disk)), self.now);
        self.drain();
        self.respond(None, &Response::Peers { file, peers: vec![info(2)] });
        self.say(
            2,
            PeerMessage::Bitfield { file: file.tag(), blocks: Bitfield::full(blocks).to_bytes(), begin: false },
        );
        self.sent();
        self.say(2, PeerMessage::Unchoke { file: file.tag() });
        self.peer_messages().into_iter().filter_map(requested).collect()
    }

    /// Lets a peer ask for a block of a file that is shared; gives the read that follows.
    fn read_for(&mut self, number: u8, file: FileId) -> ReadId {
        self.respond(None, &Response::PeerJoined { file, peer: info(number) });
        let blocks = self.client.swarm(file).unwrap().stored().len();
        let (blocks, file) = (Bitfield::empty(blocks).to_bytes(), file.tag());
        self.say(number, PeerMessage::Bitfield { file, blocks, begin: false });
        self.say(number, PeerMessage::Interested { file });
        self.say(number, PeerMessage::Request { file, index: 0, count: 1 });
        let read = |output: &Output| if let Output::Read { id, .. } = output { Some(*id) } else { None };
        self.outputs.iter().rev().find_map(read).unwrap()
    }

    /// The storages given back since the last look.
    fn discarded(&mut self) -> Vec<StoreId> {
        let store = |output| if let Output::Discard { store } = output { Some(store) } else { None };
        std::mem::take(&mut self.outputs).into_iter().filter_map(store).collect()
    }

    /// The storage that was asked for last.
    fn wanted_store(&mut self) -> StoreId {
        let store = |output: &Output| if let Output::Create { store, .. } = output { Some(*store) } else { None };
        self.outputs.iter().rev().find_map(store).unwrap()
    }

    fn peer_messages(&mut self) -> Vec<PeerMessage> {
        let message = |text: String| match decode_client_text(&text) {
            Ok(ClientFrame::Envelope { message, .. }) => {
                decode_tracker_text(&format!("{}{message}}}", forwarded_head(ME))).ok()
            }
            Ok(ClientFrame::Request { .. }) | Err(_) => None,
        };
        let inner = |frame| if let TrackerFrame::Envelope { message, .. } = frame { Some(message) } else { None };
        self.sent().into_iter().filter_map(message).filter_map(inner).collect()
    }
}

fn requested(message: PeerMessage) -> Option<(u32, u32)> {
    if let PeerMessage::Request { index, count, .. } = message { Some((index, count)) } else { None }
}

#[test]
fn sharing_what_is_being_fetched_meets_the_swarm_afresh() {
    let (_, manifest) = large(32);
    let file = manifest.file();
    let mut lab = Lab::online();
    lab.download(&manifest);
    lab.sent();
    lab.client.share(Arc::clone(&manifest), lab.now);
    lab.drain();
    let requests: Vec<_> = lab.requests().into_iter().map(|(_, request)| request).collect();
    assert_eq!(requests[0], Request::Leave { file: Some(file) });
    assert!(matches!(requests[1], Request::Announce { .. }));
    assert_eq!(requests[2], Request::GetPeers { file, limit: Some(PEERS_WANTED) });
}

#[test]
fn storage_that_comes_too_late_is_given_back() {
    let (_, manifest) = large(32);
    let file = manifest.file();
    let mut lab = Lab::online();
    lab.client.fetch(file, lab.now);
    lab.drain();
    lab.respond(None, &Response::Peers { file, peers: vec![info(2)] });
    lab.say(2, part_of(&manifest, None));
    let late = lab.wanted_store();
    let kept = lab.client.share(Arc::clone(&manifest), lab.now).unwrap();
    lab.drain();
    assert_eq!(lab.discarded(), []);
    lab.client.handle_created(late, Ok((Bitfield::empty(32), Storage::Disk)), lab.now);
    lab.drain();
    assert_eq!(lab.discarded(), [late]);
    assert_eq!(lab.client.store(file), Some(kept));
    assert!(lab.client.swarm(file).unwrap().is_complete());
}

#[test]
fn each_storage_is_given_back_once() {
    let (_, manifest) = large(32);
    let file = manifest.file();
    let mut lab = Lab::online();
    lab.download(&manifest);
    let fetched = lab.client.store(file).unwrap();
    let shared = lab.client.share(Arc::clone(&manifest), lab.now).unwrap();
    assert_eq!(lab.client.share(Arc::clone(&manifest), lab.now), None, "it is here whole");
    lab.drain();
    assert_eq!(lab.discarded(), [fetched]);
    lab.client.stop(file, lab.now);
    lab.drain();
    assert_eq!(lab.discarded(), [shared]);
    assert_eq!(lab.client.store(file), None);
}

#[test]
fn a_write_that_fails_late_does_not_fail_what_is_shared_since() {
    let (_, manifest) = large(32);
    let file = manifest.file();
    let mut lab = Lab::online();
    lab.download(&manifest);
    let old = lab.client.store(file).unwrap();
    lab.client.share(Arc::clone(&manifest), lab.now);
    let run = manifest.geometry().run(0, 1).unwrap();
    lab.client.handle_stored(old, run, Err(StorageError::Full), lab.now);
    lab.client.handle_failed(old, StorageError::Full, lab.now);
    assert!(lab.client.swarm(file).unwrap().is_complete());
}

#[test]
fn a_read_that_fails_late_does_not_fail_the_next_try() {
    let (_, manifest) = large(32);
    let file = manifest.file();
    let mut lab = Lab::online();
    let old = lab.client.share(Arc::clone(&manifest), lab.now).unwrap();
    lab.drain();
    let id = lab.read_for(3, file);
    lab.client.stop(file, lab.now);
    lab.client.share(Arc::clone(&manifest), lab.now);
    lab.client.handle_read(old, id, Err(StorageError::Unreadable), lab.now);
    assert!(lab.client.swarm(file).unwrap().is_complete());
}

#[test]
fn a_storage_that_fails_ends_the_transfer_with_its_reason() {
    let (_, manifest) = large(32);
    let file = manifest.file();
    let failed = |error| page::Stage::Failed { problem: Problem::Storage(error) };
    let mut lab = Lab::online();
    let store = lab.client.share(Arc::clone(&manifest), lab.now).unwrap();
    lab.drain();
    let id = lab.read_for(3, file);
    lab.client.handle_read(store, id, Err(StorageError::Unreadable), lab.now);
    lab.drain();
    assert!(lab.outputs.iter().any(|output| matches!(output, Output::Send { .. })), "the requester is told");
    assert_eq!(lab.last_report().stage, failed(StorageError::Unreadable));
    lab.client.stop(file, lab.now);

    lab.download(&manifest);
    let store = lab.client.store(file).unwrap();
    lab.client.handle_stored(store, manifest.geometry().run(0, 1).unwrap(), Err(StorageError::Full), lab.now);
    lab.drain();
    assert_eq!(lab.last_report().stage, failed(StorageError::Full));
    assert_eq!(lab.client.store(file), None);
}

#[test]
fn that_a_fetched_file_is_whole_is_said_once_and_of_a_shared_one_never() {
    let (content, manifest) = large(8);
    let file = manifest.file();
    let mut lab = Lab::online();
    let finished = |lab: &mut Lab| {
        let outputs = std::mem::take(&mut lab.outputs);
        outputs.into_iter().filter(|output| matches!(output, Output::Finished { .. })).count()
    };
    for (index, count) in lab.download(&manifest) {
        let data = Bytes::copy_from_slice(&content[index as usize * 4_096..(index + count) as usize * 4_096]);
        lab.say(2, PeerMessage::Block { file: file.tag(), index, count, data });
    }
    let writes: Vec<_> = lab
        .outputs
        .drain(..)
        .filter_map(|output| if let Output::Write { store, run, .. } = output { Some((store, run)) } else { None })
        .collect();
    for (store, run) in writes {
        lab.client.handle_stored(store, run, Ok(()), lab.now);
        lab.drain();
    }
    (0..4).for_each(|_| _ = lab.sleep());
    assert_eq!(finished(&mut lab), 1);
    lab.client.stop(file, lab.now);
    lab.client.share(Arc::clone(&manifest), lab.now);
    lab.drain();
    assert_eq!(finished(&mut lab), 0);
}

#[test]
fn a_flood_for_manifests_is_bounded_by_the_line_and_starves_nobody() {
    let (_, manifest) = large(4_096);
    let file = manifest.file();
    let mut lab = Lab::online();
    lab.client.share(manifest, lab.now);
    lab.drain();
    lab.sent();
    (0..1_000).for_each(|_| lab.say(9, PeerMessage::GetManifest { file, part: None }));
    lab.say(4, PeerMessage::GetManifest { file, part: None });
    let mut receipts: VecDeque<_> = VecDeque::new();
    let mut texts = Vec::new();
    let mut look = |lab: &mut Lab, receipts: &mut VecDeque<Receipt>| {
        for output in std::mem::take(&mut lab.outputs) {
            if let Output::Send { frame: Frame::Text(text), receipt } = output {
                texts.push(text);
                receipts.extend(receipt);
            }
        }
        texts.len()
    };
    assert!(look(&mut lab, &mut receipts) <= 2, "without room on the line");
    while let Some(receipt) = receipts.pop_front() {
        lab.client.handle_sent(receipt, lab.now);
        lab.drain();
        look(&mut lab, &mut receipts);
    }
    assert!(texts.len() <= 4, "{} manifests", texts.len());
    assert!(texts.iter().any(|text| text.contains(&peer(4).to_string())));
}

#[test]
fn a_choked_peer_that_floods_requests_is_dropped() {
    let (_, manifest) = large(8);
    let file = manifest.file();
    let mut lab = Lab::online();
    lab.client.share(manifest, lab.now);
    lab.drain();
    lab.respond(None, &Response::PeerJoined { file, peer: info(3) });
    lab.sent();
    (0..5_000).for_each(|_| lab.say(3, PeerMessage::Request { file: file.tag(), index: 0, count: 1 }));
    assert!(lab.sent().len() <= 1_024);
    assert!(!lab.client.swarm(file).unwrap().is_neighbour(peer(3)));
}

#[test]
fn a_message_with_the_tag_of_another_file_is_ignored() {
    let (_, manifest) = large(8);
    let file = manifest.file();
    let mut lab = Lab::online();
    lab.client.share(manifest, lab.now);
    lab.drain();
    lab.respond(None, &Response::PeerJoined { file, peer: info(3) });
    let wrong = Bytes::from_static(b"of the wrong length");
    lab.say(3, PeerMessage::Bitfield { file: twin(file, 7).tag(), blocks: wrong.clone(), begin: false });
    assert!(lab.client.swarm(file).unwrap().is_neighbour(peer(3)));
    lab.say(3, PeerMessage::Bitfield { file: file.tag(), blocks: wrong, begin: false });
    assert!(!lab.client.swarm(file).unwrap().is_neighbour(peer(3)));
}

/// Another file, whose id differs from the byte at `place` on.
fn twin(file: FileId, place: usize) -> FileId {
    let mut bytes = *file.as_bytes();
    bytes[place..].iter_mut().for_each(|byte| *byte = !*byte);
    FileId::from_bytes(bytes)
}

#[test]
fn of_two_files_with_one_tag_the_first_keeps_it() {
    let (_, manifest) = large(32);
    let first = manifest.file();
    let second = twin(first, 8);
    let mut lab = Lab::online();
    lab.client.fetch(second, lab.now);
    lab.client.share(Arc::clone(&manifest), lab.now);
    lab.drain();
    let report = lab.last_report();
    assert_eq!((report.file, report.stage), (first, page::Stage::Failed { problem: Problem::TagTaken }));

    lab.client.stop(second, lab.now);
    lab.download(&manifest);
    lab.client.fetch(second, lab.now);
    lab.drain();
    let report = lab.last_report();
    assert_eq!((report.file, report.stage), (second, page::Stage::Failed { problem: Problem::TagTaken }));
    lab.say(2, PeerMessage::Choke { file: second.tag() });
    assert!(lab.client.swarm(first).unwrap().neighbours(lab.now).any(|neighbour| !neighbour.serves_us));
}
