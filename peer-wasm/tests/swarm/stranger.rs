//! A client of another author, written from the rules of PROTOCOL.md and no more. It asks for one block at a time, takes
//! nothing back, and serves one block at a time.

use peer_wasm::Instant;
use protocol::{Bitfield, HaveRun, PeerMessage};
use simulator::Network;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

/// How long it waits for a block, and with what was rejected.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a block takes to be sent.
const SENDING: Duration = Duration::from_millis(10);

/// What a client does as it should, or not.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// Tells of the blocks that it gets.
    pub tells: bool,
    /// Serves whoever wants something.
    pub serves: bool,
    /// Says everything again to who begins anew.
    pub begins: bool,
    /// Rejects each request for the first time.
    pub rejects: bool,
}

pub const HONEST: Habits = Habits { tells: true, serves: true, begins: true, rejects: false };

#[derive(Debug)]
pub struct Client {
    pub number: usize,
    pub has: Bitfield,
    pub habits: Habits,
    others: BTreeMap<usize, Other>,
    asked: Option<(usize, u32, Instant)>,
    /// Who waits for which segments.
    queue: VecDeque<(usize, u32, u32)>,
    sending_until: Instant,
    /// What it rejected once.
    rejected: BTreeSet<(usize, u32)>,
    /// When it asks again for what was rejected.
    retry_at: Option<Instant>,
}

/// What it knows of another peer.
#[derive(Debug)]
struct Other {
    has: Bitfield,
    chokes: bool,
    /// It was told that this client is interested.
    is_told: bool,
    /// What it rejected lately.
    refused: Bitfield,
}

impl Client {
    pub fn new(network: &mut Network, has: Bitfield, habits: Habits) -> Self {
        let number = network.add_stranger();
        Self {
            number,
            has,
            habits,
            others: BTreeMap::new(),
            asked: None,
            queue: VecDeque::new(),
            sending_until: network.now(),
            rejected: BTreeSet::new(),
            retry_at: None,
        }
    }

    /// Is introduced to a peer, for the first time or again.
    pub fn meet(&mut self, other: usize, network: &mut Network) {
        let nothing = Bitfield::empty(self.has.len());
        self.others.insert(other, Other { has: nothing.clone(), chokes: true, is_told: false, refused: nothing });
        self.queue.retain(|(peer, ..)| *peer != other);
        self.asked = self.asked.filter(|(peer, ..)| *peer != other);
        network.introduce(self.number, other);
        self.introduce(other, network);
    }

    /// Is told that a peer left.
    pub fn forget(&mut self, other: usize) {
        self.others.remove(&other);
        self.asked = self.asked.filter(|(peer, ..)| *peer != other);
    }

    /// Hears what came, and does what is to be done.
    pub fn turn(&mut self, network: &mut Network) {
        for (from, message) in network.take_mail(self.number) {
            self.hear(from, message, network);
        }
        self.serve(network);
        let now = network.now();
        if self.retry_at.take_if(|at| *at <= now).is_some() {
            self.others.values_mut().for_each(|other| other.refused = Bitfield::empty(other.has.len()));
        }
        let late = self.asked.take_if(|(_, _, since)| now.since(*since) >= PATIENCE);
        if self.asked.is_none() {
            self.ask(late.map(|(of, ..)| of), network);
        }
    }

    fn hear(&mut self, from: usize, message: PeerMessage, network: &mut Network) {
        let geometry = *network.file().manifest.geometry();
        let Some(other) = self.others.get_mut(&from) else { return };
        match message {
            PeerMessage::Bitfield { blocks, begin, .. } => {
                other.has = Bitfield::from_bytes(&blocks, self.has.len()).unwrap();
                other.refused = Bitfield::empty(self.has.len());
                if begin && self.habits.begins {
                    (other.chokes, other.is_told) = (true, false);
                    self.queue.retain(|(peer, ..)| *peer != from);
                    self.introduce(from, network);
                }
            }
            PeerMessage::Have { blocks, .. } => {
                for index in blocks.into_iter().flat_map(|HaveRun(index, count)| index..index + count) {
                    other.has.set(index);
                    other.refused.clear(index);
                }
            }
            PeerMessage::Unchoke { .. } => {
                other.chokes = false;
                other.refused = Bitfield::empty(self.has.len());
            }
            PeerMessage::Choke { .. } => other.chokes = true,
            PeerMessage::Interested { file } if self.habits.serves => {
                self.say(from, PeerMessage::Unchoke { file }, network)
            }
            PeerMessage::Request { file, index, count } => {
                let span = geometry.span(index, count).unwrap();
                let is_here = geometry.span_blocks(span).all(|block| self.has.has(block));
                let is_rejected = self.habits.rejects && self.rejected.insert((from, index));
                if self.habits.serves && is_here && !is_rejected {
                    self.queue.push_back((from, index, count));
                } else {
                    self.say(from, PeerMessage::Reject { file, index, count }, network);
                }
            }
            PeerMessage::Cancel { file, index, count } => {
                if let Some(place) = self.queue.iter().position(|queued| *queued == (from, index, count)) {
                    self.queue.remove(place);
                    self.say(from, PeerMessage::Reject { file, index, count }, network);
                }
            }
            PeerMessage::Block { file, index, count, data } => {
                if data != content(network, index, count) {
                    self.others.remove(&from);
                    return;
                }
                let index = index / geometry.segments_per_block();
                self.asked = self.asked.filter(|(peer, asked, _)| (*peer, *asked) != (from, index));
                if self.has.set(index) && self.habits.tells {
                    let others: Vec<_> = self.others.keys().copied().collect();
                    let have = PeerMessage::Have { file, blocks: vec![HaveRun(index, 1)] };
                    others.into_iter().for_each(|other| self.say(other, have.clone(), network));
                }
            }
            PeerMessage::Reject { index, .. } => {
                let index = index / geometry.segments_per_block();
                other.refused.set(index);
                self.asked = self.asked.filter(|(peer, asked, _)| (*peer, *asked) != (from, index));
                self.retry_at.get_or_insert_with(|| network.now() + PATIENCE);
                network.wake(self.number, PATIENCE);
            }
            PeerMessage::Interested { .. }
            | PeerMessage::NotInterested { .. }
            | PeerMessage::GetManifest { .. }
            | PeerMessage::Manifest { .. }
            | PeerMessage::NoManifest { .. }
            | PeerMessage::Signal { .. } => {}
        }
        self.tell_interest(from, network);
    }

    fn introduce(&mut self, other: usize, network: &mut Network) {
        let (file, blocks) = (network.file().manifest.file().tag(), self.has.to_bytes());
        self.say(other, PeerMessage::Bitfield { file, blocks, begin: false }, network);
    }

    fn tell_interest(&mut self, of: usize, network: &mut Network) {
        let file = network.file().manifest.file().tag();
        let Some(other) = self.others.get_mut(&of) else { return };
        let is_interested = other.has.iter().any(|index| !self.has.has(index));
        if std::mem::replace(&mut other.is_told, is_interested) != is_interested {
            let message =
                if is_interested { PeerMessage::Interested { file } } else { PeerMessage::NotInterested { file } };
            self.say(of, message, network);
        }
    }

    /// Asks somebody for a block, the next one after who was late.
    fn ask(&mut self, late: Option<usize>, network: &mut Network) {
        let lacks = |other: &Other| other.has.iter().find(|index| !self.has.has(*index) && !other.refused.has(*index));
        let offers = self.others.iter().filter(|(_, other)| !other.chokes);
        let offers =
            offers.filter_map(|(&peer, other)| Some((late.is_some_and(|late| peer <= late), peer, lacks(other)?)));
        if let Some((_, peer, index)) = offers.min() {
            let manifest = &network.file().manifest;
            let (file, segments) = (manifest.file().tag(), manifest.geometry().block_segments(index));
            self.asked = Some((peer, index, network.now()));
            let (index, count) = (segments.start, segments.len() as u32);
            self.say(peer, PeerMessage::Request { file, index, count }, network);
            network.wake(self.number, PATIENCE);
        }
    }

    fn serve(&mut self, network: &mut Network) {
        if network.now() < self.sending_until {
            return;
        }
        if let Some((peer, index, count)) = self.queue.pop_front() {
            let file = network.file().manifest.file().tag();
            let data = content(network, index, count);
            self.sending_until = network.now() + SENDING;
            self.say(peer, PeerMessage::Block { file, index, count, data }, network);
            network.wake(self.number, SENDING);
        }
    }

    fn say(&self, to: usize, message: PeerMessage, network: &mut Network) {
        network.inject(self.number, to, message);
    }
}

fn content(network: &Network, index: u32, count: u32) -> bytes::Bytes {
    let file = network.file();
    let geometry = file.manifest.geometry();
    let span = geometry.span(index, count).unwrap();
    let start = geometry.span_offset(span) as usize;
    file.content.slice(start..start + geometry.span_len(span) as usize)
}
