//! Two clients with a tracker between them, and a line beside it that may break at any moment.

use super::super::*;
use crate::swarm::ReadId;
use proptest::prelude::*;
use protocol::{LineKind, decode_direct_binary, decode_direct_text, decode_tracker_binary};

/// How long both may take in all; without lines it takes some seconds.
const LONGEST: Duration = Duration::from_secs(1_000);

/// What is on its way to a client.
#[derive(Debug)]
enum Letter {
    ByTracker(Frame),
    FromTracker(String),
    ByLine(u32, Frame),
    /// A line opened, or broke.
    Opened(u32),
    Closed(u32),
}

/// One of the two, and what is on its way to it: by the tracker and by the line, each in its order.
struct End {
    client: Client,
    id: PeerId,
    by_tracker: VecDeque<Letter>,
    by_line: VecDeque<Letter>,
    /// What its shell calls the lines, and what the network does.
    lines: BTreeMap<u32, LineId>,
    receipts: Vec<Receipt>,
    /// Payload of blocks that came.
    received: u64,
    /// How much of it came by lines.
    direct: u64,
}

struct Pair {
    ends: [End; 2],
    now: Instant,
    rng: Xoshiro256PlusPlus,
    manifest: Arc<Manifest>,
    content: Vec<u8>,
    /// Offers that were not dialled yet, by their words, and the last line of the network.
    offers: BTreeMap<String, (usize, LineId)>,
    last_line: u32,
    /// The lines that are open.
    open: BTreeSet<u32>,
    /// Of a thousand steps, how many break a line; and whether one can be opened at all.
    breaks: u32,
    can_open: bool,
    /// The time from one step to the next.
    pace: Duration,
}

impl Pair {
    /// The first one shares a file of so many blocks that the second one fetches.
    fn new(blocks: u64, seed: u64) -> Self {
        let (content, manifest) = large(blocks);
        let now = Instant::default();
        let end = |number: u8| {
            let config = ClientConfig {
                room: RoomName::default(),
                name: None,
                binary: true,
                direct: BTreeSet::from([LineKind::Tcp]),
                swarm: Config::default(),
            };
            End {
                client: Client::new(config, number.into(), now),
                id: peer(number),
                by_tracker: VecDeque::new(),
                by_line: VecDeque::new(),
                lines: BTreeMap::new(),
                receipts: Vec::new(),
                received: 0,
                direct: 0,
            }
        };
        let mut pair = Self {
            ends: [end(1), end(2)],
            now,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            manifest,
            content,
            offers: BTreeMap::new(),
            last_line: 0,
            open: BTreeSet::new(),
            breaks: 0,
            can_open: true,
            pace: Duration::from_micros(200),
        };
        pair.work();
        let manifest = Arc::clone(&pair.manifest);
        pair.ends[0].client.share(Arc::clone(&manifest), now);
        pair.work();
        while pair.step() {}
        pair.ends[1].client.fetch(manifest.file(), now);
        pair.work();
        pair
    }

    fn is_complete(&self) -> bool {
        self.ends[1].client.swarm(self.manifest.file()).is_some_and(Swarm::is_complete)
    }

    fn run(&mut self) {
        while !self.is_complete() {
            if self.breaks > 0 && self.rng.random_range(0..1_000) < self.breaks {
                self.break_line();
            }
            if !self.step() {
                self.pass_time();
            }
            assert!(self.now < Instant::default() + LONGEST, "{} bytes came", self.ends[1].received);
        }
    }

    /// Delivers something that is on its way; `false` if nothing is.
    fn step(&mut self) -> bool {
        let mut queues = Vec::new();
        for end in 0..2 {
            let waits = [!self.ends[end].by_tracker.is_empty(), !self.ends[end].by_line.is_empty()];
            queues.extend((0..2).filter(|way| waits[*way]).map(|way| (end, way)));
        }
        if queues.is_empty() {
            return false;
        }
        let (end, way) = queues[self.rng.random_range(0..queues.len())];
        let End { by_tracker, by_line, .. } = &mut self.ends[end];
        if let Some(letter) = [by_tracker, by_line][way].pop_front() {
            self.deliver(end, letter);
        }
        // A line takes its time.
        self.now = self.now + self.pace;
        self.work();
        true
    }

    fn pass_time(&mut self) {
        let due = self.ends.iter().filter_map(|end| end.client.poll_timeout()).min();
        self.now = due.unwrap().max(self.now);
        for end in &mut self.ends {
            end.client.handle_timeout(self.now);
        }
        self.work();
    }

    fn deliver(&mut self, number: usize, letter: Letter) {
        let now = self.now;
        let end = &mut self.ends[number];
        let other_id = peer(2 - number as u8);
        match letter {
            Letter::FromTracker(text) => end.client.handle_text(&text, now),
            Letter::ByTracker(frame) => {
                let frame = forwarded(other_id, &frame);
                match &frame {
                    Frame::Text(text) => end.client.handle_text(text, now),
                    Frame::Binary { head, payload } => {
                        let bytes = Bytes::from([head, &payload[..]].concat());
                        assert!(decode_tracker_binary(&bytes).is_ok());
                        end.received += payload.len() as u64;
                        end.client.handle_binary(&bytes, now);
                    }
                }
            }
            Letter::ByLine(line, frame) => {
                let Some(id) = end.lines.get(&line).copied() else { return };
                match frame {
                    Frame::Text(text) => {
                        assert!(decode_direct_text(&text).is_ok());
                        end.client.handle_line_text(id, &text, now);
                    }
                    Frame::Binary { head, payload } => {
                        let bytes = Bytes::from([&head, &payload[..]].concat());
                        assert!(decode_direct_binary(&bytes).is_ok());
                        end.received += payload.len() as u64;
                        end.direct += payload.len() as u64;
                        end.client.handle_line_binary(id, &bytes, now);
                    }
                }
            }
            Letter::Opened(line) => {
                if let Some(id) = end.lines.get(&line).copied() {
                    end.client.handle_line_opened(id, now);
                }
            }
            Letter::Closed(line) => {
                if let Some(id) = end.lines.remove(&line) {
                    end.client.handle_line_closed(id, now);
                }
            }
        }
    }

    /// What is on a line is lost with it.
    fn break_line(&mut self) {
        let Some(line) = self.open.pop_first() else { return };
        for end in &mut self.ends {
            end.by_line.retain(|letter| !matches!(letter, Letter::ByLine(of, _) | Letter::Opened(of) if *of == line));
            end.by_line.push_back(Letter::Closed(line));
        }
    }

    /// Does what the clients ask their shells for.
    fn work(&mut self) {
        while let Some((number, output)) =
            (0..2).find_map(|number| Some((number, self.ends[number].client.poll_output()?)))
        {
            self.perform(number, output);
        }
        for end in &mut self.ends {
            for receipt in std::mem::take(&mut end.receipts) {
                end.client.handle_sent(receipt, self.now);
            }
        }
        if self.ends.iter_mut().any(|end| !end.receipts.is_empty()) {
            self.work();
        }
    }

    fn perform(&mut self, number: usize, output: Output) {
        let (now, other) = (self.now, 1 - number);
        match output {
            Output::Connect => self.ends[number].client.handle_opened(now),
            Output::Disconnect => panic!("the tracker answers"),
            Output::Send { frame, receipt } => {
                self.ends[number].receipts.extend(receipt);
                match &frame {
                    Frame::Text(text) => match decode_client_text(text).unwrap() {
                        ClientFrame::Request { seq, request } => self.answer(number, seq, request),
                        ClientFrame::Envelope { .. } => self.ends[other].by_tracker.push_back(Letter::ByTracker(frame)),
                    },
                    Frame::Binary { .. } => self.ends[other].by_tracker.push_back(Letter::ByTracker(frame)),
                }
            }
            Output::Offer { line, .. } => {
                let offer = format!("{line:?} of {number}");
                self.offers.insert(offer.clone(), (number, line));
                self.ends[number].client.handle_reachable(line, offer, now);
            }
            Output::Dial { line, offer } => {
                let offered = self.offers.remove(&offer).filter(|_| self.can_open);
                let Some((host, theirs)) = offered else {
                    return self.ends[number].client.handle_line_closed(line, now);
                };
                self.last_line += 1;
                self.open.insert(self.last_line);
                for (end, id) in [(host, theirs), (number, line)] {
                    self.ends[end].lines.insert(self.last_line, id);
                    self.ends[end].by_line.push_back(Letter::Opened(self.last_line));
                }
            }
            Output::Signal { .. } => panic!("these shells say nothing more"),
            Output::SendDirect { line, frame, receipt } => {
                self.ends[number].receipts.extend(receipt);
                let named = self.ends[number].lines.iter().find(|(_, id)| **id == line);
                if let Some(line) = named.map(|(line, _)| *line).filter(|line| self.open.contains(line)) {
                    self.ends[other].by_line.push_back(Letter::ByLine(line, frame));
                }
            }
            Output::HangUp { line } => {
                self.offers.retain(|_, (_, offered)| *offered != line);
                let named = self.ends[number].lines.iter().find(|(_, id)| **id == line).map(|(line, _)| *line);
                if let Some(line) = named {
                    self.ends[number].lines.remove(&line);
                    self.open.remove(&line);
                    self.ends[other].by_line.push_back(Letter::Closed(line));
                }
            }
            Output::Create { store, manifest } => {
                let have = Bitfield::empty(manifest.geometry().blocks());
                self.ends[number].client.handle_created(store, Ok((have, Storage::Disk)), now);
            }
            Output::Read { store, id, offset, len } => self.read(number, store, id, offset, len),
            Output::Write { store, run, .. } => self.ends[number].client.handle_stored(store, run, Ok(()), now),
            Output::Discard { .. } | Output::Finished { .. } | Output::Update(_) => {}
        }
    }

    fn read(&mut self, number: usize, store: StoreId, id: ReadId, offset: u64, len: u32) {
        let data = Bytes::copy_from_slice(&self.content[offset as usize..][..len as usize]);
        self.ends[number].client.handle_read(store, id, Ok(data), self.now);
    }

    /// Answers as the tracker does.
    fn answer(&mut self, number: usize, seq: Option<u32>, request: Request) {
        let described = |number: usize| PeerInfo {
            id: peer(number as u8 + 1),
            binary: true,
            direct: BTreeSet::from([LineKind::Tcp]),
            ..info(0)
        };
        let response = match request {
            Request::Register { .. } => Response::Registered {
                identity: Identity { id: self.ends[number].id, secret: Secret::from_bytes([9; 16]) },
                room: RoomName::default(),
                resumed: false,
                limits: Limits { queue_bytes: 16 << 20, ..Limits::default() },
                stun: Stun::default(),
            },
            Request::Announce { facts, .. } => Response::Announced { file: facts.file },
            Request::GetPeers { file, .. } => {
                let is_active = |end: &End| end.client.swarm(file).is_some();
                let both = self.ends.iter().all(is_active);
                if both {
                    let joined = encode_response(None, &Response::PeerJoined { file, peer: described(number) });
                    self.ends[1 - number].by_tracker.push_back(Letter::FromTracker(joined));
                }
                let peers =
                    if both || is_active(&self.ends[1 - number]) { vec![described(1 - number)] } else { vec![] };
                Response::Peers { file, peers }
            }
            Request::UpdateBlocks { file, .. } => Response::Updated { file },
            Request::ListFiles { .. } => Response::Files { files: Vec::new() },
            Request::Leave { file } => Response::Left { file },
            Request::WhoHas { .. } => panic!("nobody asks that"),
            Request::Ping => Response::Pong,
        };
        self.ends[number].by_tracker.push_back(Letter::FromTracker(encode_response(seq, &response)));
    }
}

/// The frame as the tracker passes it on.
fn forwarded(from: PeerId, frame: &Frame) -> Frame {
    match frame {
        Frame::Text(text) => {
            let Ok(ClientFrame::Envelope { message, .. }) = decode_client_text(text) else { panic!("{text}") };
            Frame::Text(format!("{}{message}}}", forwarded_head(from)))
        }
        Frame::Binary { head, payload } => {
            let bytes = Bytes::from([&head[..], payload].concat());
            let message = protocol::decode_client_binary(&bytes).unwrap().message.to_owned();
            let text = format!("{}{message}}}", forwarded_head(from));
            let head = [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat();
            Frame::Binary { head, payload: payload.clone() }
        }
    }
}

#[test]
fn data_goes_by_a_line_once_it_is_open_and_nothing_comes_twice() {
    for seed in 0..20 {
        let mut pair = Pair::new(2_000, seed);
        pair.run();
        let End { received, direct, .. } = pair.ends[1];
        assert_eq!(received, 2_000 * 4_096, "seed {seed}");
        assert!(direct * 2 > received, "seed {seed}: {direct}");
    }
}

#[test]
fn who_cannot_be_reached_is_served_through_the_tracker() {
    let mut pair = Pair::new(400, 1);
    pair.can_open = false;
    pair.run();
    assert_eq!((pair.ends[1].received, pair.ends[1].direct), (400 * 4_096, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_line_that_breaks_at_any_moment_keeps_nobody_from_the_file(
        seed: u64,
        breaks in 1..100_u32,
        blocks in 1..600_u64,
        pace in 1..200_u64,
    ) {
        let mut pair = Pair::new(blocks, seed);
        (pair.breaks, pair.pace) = (breaks, Duration::from_millis(pace));
        pair.run();
        for end in &pair.ends {
            end.client.swarm(pair.manifest.file()).unwrap().audit();
        }
    }
}
