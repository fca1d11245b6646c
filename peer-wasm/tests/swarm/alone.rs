//! One swarm that is told what to hear, and says what it has to say.

use crate::BLOCK;
use bytes::Bytes;
use peer_wasm::{
    Instant,
    swarm::{Config, Event, ReadId, StorageRequest, Swarm, Transmit},
};
use protocol::{Bitfield, Kind, PeerId, PeerMessage, Run, Subject};
use simulator::File;
use std::{sync::Arc, time::Duration};

pub struct Alone {
    pub swarm: Swarm,
    pub file: File,
    pub now: Instant,
    /// What its storage has not written yet, if that is slow.
    pub unwritten: Vec<Run>,
    pub is_slow: bool,
    /// What its storage has not read yet.
    pub unread: Vec<(ReadId, u64, u32)>,
}

impl Alone {
    pub fn new(have: Bitfield, config: Config) -> Self {
        Self::with_blocks_of(BLOCK, have, config)
    }

    pub fn with_blocks_of(block: u32, have: Bitfield, config: Config) -> Self {
        let file = File::new(u64::from(have.len() * block), block);
        let now = Instant::default();
        let swarm = Swarm::new(config, Arc::clone(&file.manifest), have, 1, now);
        Self { swarm, file, now, unwritten: Vec::new(), is_slow: false, unread: Vec::new() }
    }

    /// With one neighbour that has every block and serves.
    pub fn with_seed(blocks: u32, seed: PeerId) -> Self {
        let mut alone = Self::new(Bitfield::empty(blocks), Config::default());
        alone.meet(seed, &Bitfield::full(blocks));
        alone
    }

    /// Meets a neighbour that has these blocks and serves.
    pub fn meet(&mut self, peer: PeerId, has: &Bitfield) {
        self.join(peer);
        self.hear_bitfield(peer, has, false);
        self.hear(peer, PeerMessage::Unchoke { file: self.swarm.tag() });
    }

    /// Meets a neighbour that has these blocks and wants something.
    pub fn meet_taker(&mut self, peer: PeerId, has: &Bitfield) {
        self.join(peer);
        self.want(peer, has);
    }

    /// A neighbour says that it has these blocks and wants something.
    pub fn want(&mut self, peer: PeerId, has: &Bitfield) {
        self.hear_bitfield(peer, has, false);
        self.hear(peer, PeerMessage::Interested { file: self.swarm.tag() });
    }

    /// A neighbour asks for so many segments.
    pub fn ask(&mut self, peer: PeerId, index: u32, count: u32) {
        self.hear(peer, PeerMessage::Request { file: self.swarm.tag(), index, count });
    }

    /// The blocks of one that has none.
    pub fn nothing(&self) -> Bitfield {
        Bitfield::empty(self.swarm.stored().len())
    }

    pub fn join(&mut self, peer: PeerId) {
        self.swarm.handle_peer_joined(peer, Duration::ZERO, self.now);
    }

    pub fn leave(&mut self, peer: PeerId) {
        self.swarm.handle_peer_left(peer, self.now);
    }

    pub fn hear(&mut self, from: PeerId, message: PeerMessage) {
        self.swarm.handle_message(from, message, self.now);
    }

    pub fn hear_bitfield(&mut self, from: PeerId, has: &Bitfield, begin: bool) {
        self.hear(from, PeerMessage::Bitfield { file: self.swarm.tag(), blocks: has.to_bytes(), begin });
    }

    pub fn hear_block(&mut self, from: PeerId, index: u32, count: u32) {
        let data = self.content(index, count);
        self.hear(from, PeerMessage::Block { file: self.swarm.tag(), index, count, data });
    }

    /// The same, of which one bit is wrong.
    pub fn hear_wrong(&mut self, from: PeerId, index: u32, count: u32) {
        let mut data = self.content(index, count).to_vec();
        data[0] ^= 1;
        self.hear(from, PeerMessage::Block { file: self.swarm.tag(), index, count, data: data.into() });
    }

    fn content(&self, index: u32, count: u32) -> Bytes {
        let geometry = self.file.manifest.geometry();
        let span = geometry.span(index, count).unwrap();
        let start = geometry.span_offset(span) as usize;
        self.file.content.slice(start..start + geometry.span_len(span) as usize)
    }

    /// The tracker refuses a message to a peer.
    pub fn refuse(&mut self, to: PeerId, kind: Kind) {
        let about = Subject { kind, tag: self.swarm.tag(), index: 0, count: 1 };
        self.swarm.handle_refused(to, &about, self.now);
    }

    /// Its storage reads what it was asked to, and its line takes it at once.
    pub fn read(&mut self) {
        self.said();
        for (id, offset, len) in std::mem::take(&mut self.unread) {
            let data = self.file.content.slice(offset as usize..offset as usize + len as usize);
            self.swarm.handle_read(id, Ok(data), self.now);
            self.swarm.handle_sent(len.into(), self.now);
        }
    }

    /// What it said since.
    pub fn said(&mut self) -> Vec<Transmit> {
        while let Some(request) = self.swarm.poll_storage() {
            match request {
                StorageRequest::Read { id, offset, len } => self.unread.push((id, offset, len)),
                StorageRequest::Write { run, .. } if self.is_slow => self.unwritten.push(run),
                StorageRequest::Write { run, .. } => self.swarm.handle_stored(run, Ok(()), self.now),
            }
        }
        std::iter::from_fn(|| self.swarm.poll_transmit()).collect()
    }

    /// What it said to one peer since.
    pub fn said_to(&mut self, peer: PeerId) -> Vec<PeerMessage> {
        self.said().into_iter().filter(|said| said.to == peer).map(|said| said.message).collect()
    }

    /// What it asked of whom since: the first segment and how many.
    pub fn requests(&mut self) -> Vec<(PeerId, u32, u32)> {
        let request = |transmit: Transmit| {
            let PeerMessage::Request { index, count, .. } = transmit.message else { return None };
            Some((transmit.to, index, count))
        };
        self.said().into_iter().filter_map(request).collect()
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.swarm.poll_event()).collect()
    }

    pub fn stored(&self) -> u32 {
        self.swarm.stored().count()
    }

    /// Goes on to the next timer; fails if there is none within an hour.
    pub fn wait(&mut self) {
        let (at, timer) = self.swarm.poll_timeout().expect("something is waited for");
        assert!(at >= self.now, "{timer:?} is due since {:?}", self.now.since(at));
        assert!(at < Instant::after_start(Duration::from_secs(3_600)), "nothing was asked within an hour");
        self.now = self.now.max(at);
        self.swarm.handle_timeout(self.now);
    }

    /// Lets time pass.
    pub fn wait_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.swarm.poll_timeout().is_some_and(|(at, _)| at <= until) {
            self.wait();
        }
        self.now = until;
    }
}

/// The blocks of this range, of so many.
pub fn blocks(range: std::ops::Range<u32>, of: u32) -> Bitfield {
    let mut blocks = Bitfield::empty(of);
    range.for_each(|index| _ = blocks.set(index));
    blocks
}
