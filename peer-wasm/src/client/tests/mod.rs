//! The client in virtual time, with a tracker played by hand.

use super::{tracker::PEERS_WANTED, *};
use crate::page::{self, Transfer as Report};
use protocol::{
    BlockSize, ClientFrame, ErrorCode, Frame, Geometry, Kind, Limits, ManifestHasher, ManifestPart, MediaType, PeerId,
    PeerInfo, PeerMessage, Response, Secret, Stun, Subject, TrackerFrame, decode_client_text, encode_envelope,
    encode_response, forwarded_head,
};

mod line;
mod lines;
mod manifests;
mod peers;
mod report;
mod rooms;
mod search;
mod storage;
mod tags;
mod tracker;
mod turns;
mod waits;

const ME: PeerId = PeerId::from_bytes([1; 8]);

struct Lab {
    client: Client,
    now: Instant,
    /// What came out and was not looked at.
    outputs: Vec<Output>,
}

impl Lab {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(swarm: Config) -> Self {
        Self::with_lines(BTreeSet::new(), swarm)
    }

    fn with_lines(direct: BTreeSet<LineKind>, swarm: Config) -> Self {
        let room = RoomName::default();
        let config = ClientConfig { room, name: None, binary: true, direct, swarm };
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
        self.register_with(Limits { queue_bytes: 16 << 20, ..Limits::default() });
    }

    fn register_with(&mut self, limits: Limits) {
        self.client.handle_opened(self.now);
        let identity = Identity { id: ME, secret: Secret::from_bytes([9; 16]) };
        let room = RoomName::default();
        self.respond(None, &Response::Registered { identity, room, resumed: false, limits, stun: Stun::default() });
    }

    fn respond(&mut self, seq: Option<u32>, response: &Response) {
        self.client.handle_text(&encode_response(seq, response), self.now);
        self.drain();
    }

    fn say(&mut self, from: u8, message: PeerMessage) {
        self.say_as(peer(from), message);
    }

    fn say_as(&mut self, from: PeerId, message: PeerMessage) {
        let Frame::Text(text) = encode_envelope(ME, message, false) else { return };
        let Ok(ClientFrame::Envelope { message, .. }) = decode_client_text(&text) else { return };
        self.client.handle_text(&format!("{}{message}}}", forwarded_head(from)), self.now);
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

    /// Jumps to the next deadline; the tracker is there.
    fn pass(&mut self) {
        self.sleep();
        self.respond(None, &Response::Pong);
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while self.client.poll_timeout().is_some_and(|deadline| deadline <= until) {
            self.pass();
        }
        self.now = until;
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

fn number_of(peer: PeerId) -> u8 {
    (0..=u8::MAX).find(|number| self::peer(*number) == peer).unwrap()
}

fn info(number: u8) -> PeerInfo {
    PeerInfo { id: peer(number), name: None, binary: false, blocks: 1, age: 0, direct: BTreeSet::new() }
}

fn manifest() -> Arc<Manifest> {
    let mut hasher = ManifestHasher::new(Geometry::new(5, BlockSize::for_file(5)).unwrap());
    hasher.update(b"hello");
    Arc::new(hasher.finish("hello.txt".parse().unwrap(), MediaType::default()).unwrap())
}

fn part_of(manifest: &Manifest, part: Option<u32>) -> PeerMessage {
    PeerMessage::manifest(manifest.facts().clone(), manifest.part(part).unwrap())
}

/// A file of `blocks` blocks of 4 KiB.
fn large(blocks: u64) -> (Vec<u8>, Arc<Manifest>) {
    let mut content = vec![0; blocks as usize * 4_096];
    (0..blocks)
        .zip(content.chunks_mut(4_096))
        .for_each(|(number, block)| block[..8].copy_from_slice(&number.to_be_bytes()));
    let manifest = cut(&content, 4_096);
    (content, manifest)
}

/// The manifest of a file in blocks of that size.
fn cut(content: &[u8], block_size: u32) -> Arc<Manifest> {
    let geometry = Geometry::new(content.len() as u64, BlockSize::try_from(block_size).unwrap()).unwrap();
    let mut hasher = ManifestHasher::new(geometry);
    hasher.update(content);
    Arc::new(hasher.finish("large.bin".parse().unwrap(), MediaType::default()).unwrap())
}

impl Lab {
    /// Shares a file.
    fn shares(manifest: &Arc<Manifest>) -> Self {
        let mut lab = Self::online();
        lab.client.share(Arc::clone(manifest), lab.now);
        lab.drain();
        lab.sent();
        lab
    }

    /// Fetches a file until its storage is there, empty.
    fn begin(&mut self, manifest: &Arc<Manifest>) {
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
    }

    /// Fetches a file until requests go out to peer 2, which has all of it and serves; gives those requests.
    fn download(&mut self, manifest: &Arc<Manifest>) -> Vec<(u32, u32)> {
        let file = manifest.file();
        let blocks = Bitfield::full(manifest.geometry().blocks()).to_bytes();
        self.begin(manifest);
        self.respond(None, &Response::Peers { file, peers: vec![info(2)] });
        self.say(2, PeerMessage::Bitfield { file: file.tag(), blocks, begin: false });
        self.sent();
        self.say(2, PeerMessage::Unchoke { file: file.tag() });
        self.blocks_asked(manifest)
    }

    /// The blocks of a file that were asked for since the last look.
    fn blocks_asked(&mut self, manifest: &Manifest) -> Vec<(u32, u32)> {
        self.requests_of(manifest).into_iter().map(|(_, index, count)| (index, count)).collect()
    }

    /// Peer 2 sends these blocks.
    fn send_blocks(&mut self, content: &[u8], manifest: &Manifest, blocks: &[(u32, u32)]) {
        let file = manifest.file().tag();
        for &(index, count) in blocks {
            let data = &content[index as usize * 4_096..(index + count) as usize * 4_096];
            self.say(2, PeerMessage::Block { file, index, count, data: Bytes::copy_from_slice(data) });
        }
    }

    /// Peer 2 sends these blocks, and they are stored.
    fn get(&mut self, content: &[u8], manifest: &Manifest, blocks: &[(u32, u32)]) {
        self.send_blocks(content, manifest, blocks);
        self.store_all();
    }

    /// The same for these blocks, and for all that are asked for then.
    fn complete(&mut self, content: &[u8], manifest: &Manifest, mut blocks: Vec<(u32, u32)>) {
        while !blocks.is_empty() {
            self.get(content, manifest, &blocks);
            blocks = self.blocks_asked(manifest);
        }
        assert!(self.client.swarm(manifest.file()).is_some_and(Swarm::is_complete));
    }

    /// The blocks of a file that were asked for since the last look, and of whom.
    fn requests_of(&mut self, manifest: &Manifest) -> Vec<(u8, u32, u32)> {
        let tag = manifest.file().tag();
        let requested = |(to, message)| {
            if let PeerMessage::Request { file, index, count } = message {
                (file == tag).then(|| (number_of(to), index, count))
            } else {
                None
            }
        };
        self.mail().into_iter().filter_map(requested).collect()
    }

    /// Says that everything which was to be written is stored.
    fn store_all(&mut self) {
        for output in std::mem::take(&mut self.outputs) {
            if let Output::Write { store, run, .. } = output {
                self.client.handle_stored(store, run, Ok(()), self.now);
            } else {
                self.outputs.push(output);
            }
        }
        self.drain();
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

    /// What was said to other peers since the last look.
    fn mail(&mut self) -> Vec<(PeerId, PeerMessage)> {
        self.sent().iter().filter_map(|text| letter(text)).collect()
    }
}

/// What a text frame says to which peer.
fn letter(text: &str) -> Option<(PeerId, PeerMessage)> {
    let Ok(ClientFrame::Envelope { to, message, .. }) = decode_client_text(text) else { return None };
    let frame = decode_tracker_text(&format!("{}{message}}}", forwarded_head(ME))).ok()?;
    if let TrackerFrame::Envelope { message, .. } = frame { Some((to, message)) } else { None }
}

/// Another file, whose id differs from the byte at `place` on.
fn twin(file: FileId, place: usize) -> FileId {
    let mut bytes = *file.as_bytes();
    bytes[place..].iter_mut().for_each(|byte| *byte = !*byte);
    FileId::from_bytes(bytes)
}
