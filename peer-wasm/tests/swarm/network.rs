//! A network in virtual time: real `Swarm`s, lines with a rate and a latency, a storage that is a vector.
//!
//! It jumps from one event to the next and never ticks, so that a swarm which forgets to ask for a wake-up stalls.

use bytes::Bytes;
use peer_wasm::{
    Instant,
    swarm::{Config, Event, StorageFailed, StorageRequest, Swarm},
};
use protocol::{Bitfield, BlockSize, Geometry, Manifest, ManifestHasher, MediaType, PeerId, PeerMessage};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::Duration,
};

/// One way, from any peer to any other.
const LATENCY: Duration = Duration::from_millis(20);

/// One peer with its line and its storage.
pub struct Node {
    pub swarm: Swarm,
    pub content: Vec<u8>,
    pub events: Vec<Event>,
    /// Bytes per second that it can send.
    pub uplink: u64,
    uplink_free: Instant,
    pub storage_fails: bool,
    /// Sends blocks with one bit wrong.
    pub corrupts: bool,
    /// Takes requests and never answers them.
    pub silent: bool,
}

enum Happening {
    Arrival { from: PeerId, to: PeerId, message: PeerMessage },
    Sent { by: PeerId, bytes: u64 },
}

pub struct Network {
    pub nodes: BTreeMap<PeerId, Node>,
    pub now: Instant,
    /// Everything that arrived, for comparing runs.
    pub trace: Vec<String>,
    /// Payload bytes that arrived.
    pub payload: u64,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    next: u64,
}

pub fn peer(number: u8) -> PeerId {
    PeerId::from_bytes([number; 8])
}

/// A file of `size` bytes and its manifest.
pub fn file(size: usize, block_size: u32) -> (Vec<u8>, Arc<Manifest>) {
    let content: Vec<u8> = (0..size).map(|i| (i * 31 + i / 253) as u8).collect();
    let geometry = Geometry::new(size as u64, BlockSize::try_from(block_size).unwrap()).unwrap();
    let mut hasher = ManifestHasher::new(geometry);
    hasher.update(&content);
    let manifest = hasher.finish("file.bin".parse().unwrap(), MediaType::default()).unwrap();
    (content, Arc::new(manifest))
}

impl Network {
    pub fn new() -> Self {
        Self {
            nodes: BTreeMap::new(),
            now: Instant::default(),
            trace: Vec::new(),
            payload: 0,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            next: 0,
        }
    }

    /// Adds a peer that has `have` of `content`, and introduces it to everyone.
    pub fn join(&mut self, id: PeerId, config: Config, manifest: &Arc<Manifest>, content: &[u8], have: Bitfield) {
        let seed = u64::from_be_bytes(*id.as_bytes());
        let mut own = vec![0; content.len()];
        for index in have.iter() {
            let start = manifest.geometry().offset(index) as usize;
            let end = start + manifest.geometry().block_len(index) as usize;
            own[start..end].copy_from_slice(&content[start..end]);
        }
        let node = Node {
            swarm: Swarm::new(config, Arc::clone(manifest), have, seed, self.now),
            content: own,
            events: Vec::new(),
            uplink: 2_000_000,
            uplink_free: self.now,
            storage_fails: false,
            corrupts: false,
            silent: false,
        };
        let others: Vec<_> = self.nodes.keys().copied().collect();
        self.nodes.insert(id, node);
        for other in others {
            self.with(id, |swarm, now| swarm.handle_peer_joined(other, now));
            self.with(other, |swarm, now| swarm.handle_peer_joined(id, now));
        }
    }

    /// Takes a peer away and tells the others.
    pub fn leave(&mut self, id: PeerId) {
        self.nodes.remove(&id);
        let others: Vec<_> = self.nodes.keys().copied().collect();
        others.into_iter().for_each(|other| self.with(other, |swarm, now| swarm.handle_peer_left(id, now)));
    }

    /// Gives one input to a swarm and drains what follows.
    pub fn with(&mut self, id: PeerId, input: impl FnOnce(&mut Swarm, Instant)) {
        if let Some(node) = self.nodes.get_mut(&id) {
            input(&mut node.swarm, self.now);
            self.drain(id);
        }
    }

    /// Lets a message arrive after the latency, as if `from` had sent it.
    pub fn inject(&mut self, from: PeerId, to: PeerId, message: PeerMessage) {
        self.at(self.now + LATENCY, Happening::Arrival { from, to, message });
    }

    /// Runs until the condition holds.
    ///
    /// # Panics
    /// If nothing happens any more, or after an hour of virtual time.
    pub fn run_until(&mut self, condition: impl Fn(&Self) -> bool) {
        while !condition(self) {
            assert!(self.step(), "stalled at {:?}", self.now);
            assert!(self.now.since_start() < Duration::from_secs(3_600), "not done after an hour");
        }
    }

    /// Jumps to the next event; `false` if there is none.
    pub fn step(&mut self) -> bool {
        let arrival = self.queue.peek().map(|Reverse((when, _))| *when);
        let wake_up = self.nodes.iter().filter_map(|(&id, node)| Some((node.swarm.poll_timeout()?.0, id))).min();
        match (arrival, wake_up) {
            (_, Some((when, id))) if arrival.is_none_or(|arrival| when < arrival) => {
                self.now = self.now.max(when);
                self.with(id, |swarm, now| swarm.handle_timeout(now));
            }
            (Some(when), _) => {
                let Some(Reverse((_, number))) = self.queue.pop() else { return false };
                self.now = when;
                match self.happenings.remove(&number) {
                    Some(Happening::Arrival { from, to, message }) => self.arrive(from, to, message),
                    Some(Happening::Sent { by, bytes }) => self.with(by, |swarm, _| swarm.handle_sent(bytes)),
                    None => {}
                }
            }
            (None, _) => return false,
        }
        true
    }

    pub fn all_complete(&self) -> bool {
        self.nodes.values().all(|node| node.swarm.is_complete())
    }

    fn arrive(&mut self, from: PeerId, to: PeerId, message: PeerMessage) {
        let payload = if let PeerMessage::Block { data, .. } = &message { data.len() } else { 0 };
        self.payload += payload as u64;
        self.trace.push(format!("{:?} {from} {to} {:?} {payload}", self.now, std::mem::discriminant(&message)));
        self.with(to, |swarm, now| swarm.handle_message(from, message, now));
    }

    fn drain(&mut self, id: PeerId) {
        let now = self.now;
        let mut happenings = Vec::new();
        let Some(node) = self.nodes.get_mut(&id) else { return };
        loop {
            if let Some(request) = node.swarm.poll_storage() {
                node.serve_storage(request, now);
            } else if let Some(mut transmit) = node.swarm.poll_transmit() {
                let mut arrival = now;
                if let PeerMessage::Block { data, .. } = &mut transmit.message {
                    let bytes = data.len() as u64;
                    let start = node.uplink_free.max(now);
                    node.uplink_free = start + Duration::from_nanos(bytes * 1_000_000_000 / node.uplink);
                    arrival = node.uplink_free;
                    happenings.push((arrival, Happening::Sent { by: id, bytes }));
                    if node.corrupts {
                        let mut bytes = data.to_vec();
                        bytes[0] ^= 1;
                        *data = bytes.into();
                    }
                    if node.silent {
                        continue;
                    }
                }
                let (to, message) = (transmit.to, transmit.message);
                happenings.push((arrival + LATENCY, Happening::Arrival { from: id, to, message }));
            } else if let Some(event) = node.swarm.poll_event() {
                node.events.push(event);
            } else {
                break;
            }
        }
        happenings.into_iter().for_each(|(when, happening)| self.at(when, happening));
    }

    fn at(&mut self, when: Instant, happening: Happening) {
        self.queue.push(Reverse((when, self.next)));
        self.happenings.insert(self.next, happening);
        self.next += 1;
    }
}

impl Node {
    fn serve_storage(&mut self, request: StorageRequest, now: Instant) {
        match request {
            StorageRequest::Read { id, offset, len } => {
                let bytes = Bytes::copy_from_slice(&self.content[offset as usize..offset as usize + len as usize]);
                self.swarm.handle_read(id, Ok(bytes), now);
            }
            StorageRequest::Write { run, offset, data } => {
                if !self.storage_fails {
                    self.content[offset as usize..offset as usize + data.len()].copy_from_slice(&data);
                }
                let result = if self.storage_fails { Err(StorageFailed) } else { Ok(()) };
                self.swarm.handle_stored(run, result, now);
            }
        }
    }
}
