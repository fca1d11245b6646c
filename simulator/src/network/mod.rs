//! The network: peers, their lines, the relay between them, and the tracker that introduces them.

mod breaking;
mod carrying;

pub(crate) use carrying::Way;

use crate::{Behaviour, Copies, Fate, File, Line, Node, queue::Queue, relay::Relay, wire::Wire};
use bytes::Bytes;
use peer_wasm::{
    Instant,
    swarm::{Config, Event, ReadId, StorageError, StorageRequest, Swarm, Transmit},
};
use protocol::{Bitfield, Kind, PeerId, PeerMessage, Run, Subject};
use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus, seq::SliceRandom as _};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Makes ids of numbers so that their order says nothing; odd, so that it can be undone.
const ID_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
const ID_INVERSE: u64 = 0xf1de_83e1_9937_733d;

/// A source that so many know is not given to those who know none; as the tracker does it.
const WELL_KNOWN: usize = 200;

enum Happening {
    /// Data is at the relay.
    AtRelay {
        way: Way,
        message: PeerMessage,
        bytes: u64,
    },
    /// A message is at its receiver.
    Arrival {
        way: Way,
        message: PeerMessage,
    },
    /// The sender of a message is told that it was refused.
    Refusal {
        way: Way,
        about: Subject,
    },
    /// Data left its sender.
    Sent {
        by: usize,
        connection: u32,
        payload: u64,
    },
    /// A line can take its next data.
    LineFree {
        of: usize,
    },
    WakeUp {
        of: usize,
    },
    Introduction {
        of: usize,
        other: usize,
    },
    Departure {
        of: usize,
        other: usize,
    },
    /// A peer registers whose line was broken.
    Return {
        of: usize,
    },
    Written {
        by: usize,
        run: Run,
        bytes: u64,
    },
    Read {
        by: usize,
        id: ReadId,
        result: Result<Bytes, StorageError>,
    },
}

/// Peers in virtual time. It jumps from one happening to the next and never ticks.
pub struct Network {
    file: File,
    nodes: Vec<Option<Box<Node>>>,
    now: Instant,
    rng: Xoshiro256PlusPlus,
    wire: Wire,
    queue: Queue<Happening>,
    /// Those that the tracker can introduce.
    members: Vec<usize>,
    /// Those of them that have every block.
    sources: Vec<usize>,
    copies: Copies,
    relay: Relay,
    /// What came for each peer that is no [`Swarm`], and from whom.
    mailboxes: BTreeMap<usize, Vec<(usize, PeerMessage)>>,
    /// Those that completed since they were last asked for.
    completed: Vec<usize>,
    /// Those that wanted more peers since they were last asked for.
    wanting: Vec<usize>,
    /// Room for what a core sends.
    transmits: Vec<Transmit>,
    /// Everything that arrived, if it is wanted.
    pub trace: Option<Vec<String>>,
}

/// The id of the peer with this number.
pub const fn id_of(number: usize) -> PeerId {
    PeerId::from_bytes((number as u64).wrapping_mul(ID_FACTOR).to_be_bytes())
}

const fn number_of(id: PeerId) -> usize {
    u64::from_be_bytes(*id.as_bytes()).wrapping_mul(ID_INVERSE) as usize
}

impl Network {
    /// A network without peers. The same seed and the same calls give the same happenings.
    pub fn new(file: File, seed: u64) -> Self {
        let copies = Copies::new(file.manifest.geometry().blocks());
        Self {
            file,
            copies,
            nodes: Vec::new(),
            now: Instant::default(),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            wire: Wire::new(),
            queue: Queue::new(),
            members: Vec::new(),
            sources: Vec::new(),
            relay: Relay::default(),
            mailboxes: BTreeMap::new(),
            completed: Vec::new(),
            wanting: Vec::new(),
            transmits: Vec::new(),
            trace: None,
        }
    }

    /// Lets the relay forward no more than this many bytes per second.
    pub fn limit_relay(&mut self, bytes_per_second: u64) {
        self.relay.limit(bytes_per_second, self.now);
    }

    /// Lets the relay refuse so many of a thousand messages.
    pub const fn refuse(&mut self, per_mille: u32) {
        self.relay.refuse(per_mille);
    }

    /// Decides what becomes of the next message of this kind that a peer sends.
    pub fn decide(&mut self, from: usize, kind: Kind, fate: Fate) {
        self.relay.decide(from, kind, fate);
    }

    /// Whether a message is still to come of which is decided what becomes of it.
    pub const fn is_decided(&self) -> bool {
        self.relay.is_decided()
    }

    /// The time.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The file.
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Adds a peer that has `have` and knows nobody; tells its number.
    pub fn add(&mut self, config: Config, have: Bitfield, line: Line, behaviour: Behaviour) -> usize {
        let number = self.nodes.len();
        let seed = self.rng.random();
        self.copies.joined(&have);
        if have.is_full() {
            self.sources.push(number);
        }
        let swarm = Swarm::new(config, Arc::clone(&self.file.manifest), have, seed, self.now);
        self.nodes.push(Some(Box::new(Node::new(swarm, line, behaviour, self.now))));
        self.members.push(number);
        self.drain(number);
        number
    }

    /// Adds a peer that is no [`Swarm`]: what is sent to it is kept, and what it says is [injected](Self::inject). Tells
    /// its number.
    pub fn add_stranger(&mut self) -> usize {
        let number = self.nodes.len();
        self.nodes.push(None);
        self.mailboxes.insert(number, Vec::new());
        number
    }

    /// What came for a peer that is no [`Swarm`] since this was last called, and from whom.
    pub fn take_mail(&mut self, number: usize) -> Vec<(usize, PeerMessage)> {
        self.mailboxes.get_mut(&number).map(std::mem::take).unwrap_or_default()
    }

    /// Introduces two peers to each other, at once.
    pub fn introduce(&mut self, one: usize, other: usize) {
        self.note_introduction(one, other);
        self.meet(one, other);
        self.meet(other, one);
    }

    /// The tracker tells one peer of another.
    fn meet(&mut self, one: usize, other: usize) {
        let age = self.node(other).map_or_else(Default::default, |node| self.now.since(node.announced));
        let Some(node) = self.node_mut(one).filter(|node| !node.is_cut_off) else { return };
        node.gone.remove(&other);
        self.with(one, |swarm, now| swarm.handle_peer_joined(id_of(other), age, now));
    }

    /// The peer asks the tracker, which introduces it to at most `count` others, chosen at random, and among them to a source if
    /// it knows none.
    pub fn ask_for_peers(&mut self, number: usize, count: usize) {
        let Some(node) = self.nodes.get(number).and_then(Option::as_deref).filter(|node| !node.is_cut_off) else {
            return;
        };
        let own = node.line.line.latency;
        let mut chosen = self.members.partial_shuffle(&mut self.rng, count).0.to_vec();
        let is_source = |other: &usize| self.node(*other).is_some_and(|node| node.swarm.is_complete());
        if !node.introduced.iter().chain(&chosen).chain([&number]).any(is_source) {
            let start = self.rng.random_range(0..self.sources.len().max(1));
            let (late, early) = self.sources.split_at(start);
            let has_room = |source: &&usize| self.node(**source).is_some_and(|node| node.introduced.len() < WELL_KNOWN);
            if let Some(source) = early.iter().chain(late).take(WELL_KNOWN).find(has_room) {
                chosen.pop();
                chosen.push(*source);
            }
        }
        for other in chosen.into_iter().filter(|&other| other != number) {
            let Some(latency) = self.node(other).map(|node| node.line.line.latency) else { continue };
            self.note_introduction(number, other);
            self.queue.plan(self.now + own * 2, Happening::Introduction { of: number, other });
            self.queue.plan(self.now + own + latency, Happening::Introduction { of: other, other: number });
        }
    }

    fn note_introduction(&mut self, one: usize, other: usize) {
        for (number, other) in [(one, other), (other, one)] {
            if let Some(node) = self.node_mut(number) {
                node.introduced.insert(other);
            }
        }
    }

    /// Takes a peer away. The others are told after `noticed_after` and the latency.
    pub fn remove(&mut self, number: usize, noticed_after: Duration) -> Option<Box<Node>> {
        let node = self.nodes.get_mut(number)?.take()?;
        self.copies.left(node.swarm.stored());
        self.members.retain(|&member| member != number);
        self.sources.retain(|&source| source != number);
        self.tell_departure(number, &node.introduced, noticed_after);
        Some(node)
    }

    /// The tracker, after this time, tells those who know a peer that it left.
    fn tell_departure(&mut self, number: usize, others: &BTreeSet<usize>, after: Duration) {
        for &other in others {
            if let Some(latency) = self.node(other).map(|node| node.line.line.latency) {
                let when = self.now + after + latency;
                self.queue.plan(when, Happening::Departure { of: other, other: number });
            }
        }
    }

    /// The peer with this number, unless it left.
    pub fn node(&self, number: usize) -> Option<&Node> {
        self.nodes.get(number)?.as_deref()
    }

    /// The peer with this number, to change how it behaves.
    pub fn node_mut(&mut self, number: usize) -> Option<&mut Node> {
        self.nodes.get_mut(number)?.as_deref_mut()
    }

    /// Everyone that is here, in order of their numbers.
    pub fn nodes(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes.iter().enumerate().filter_map(|(number, node)| Some((number, node.as_deref()?)))
    }

    /// How many copies of each block are here.
    pub const fn copies(&self) -> &Copies {
        &self.copies
    }

    /// How many peers are here.
    pub const fn present(&self) -> usize {
        self.members.len()
    }

    /// When something happens next.
    pub fn next_at(&self) -> Option<Instant> {
        self.queue.next_at()
    }

    /// Whether everyone here has every block.
    pub fn all_complete(&self) -> bool {
        self.nodes().all(|(_, node)| node.swarm.is_complete())
    }

    /// Those that completed since this was last called.
    pub fn take_completed(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.completed)
    }

    /// Those that wanted more peers since this was last called.
    pub fn take_wanting(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.wanting)
    }

    /// Gives one input to a swarm and carries out what follows.
    pub fn with(&mut self, number: usize, input: impl FnOnce(&mut Swarm, Instant)) {
        if let Some(node) = self.nodes.get_mut(number).and_then(Option::as_deref_mut) {
            input(&mut node.swarm, self.now);
            self.drain(number);
        }
    }

    /// Lets a message arrive after the latency, as if `from` had sent it.
    pub fn inject(&mut self, from: usize, to: usize, message: PeerMessage) {
        let latency = |number| self.node(number).map_or_else(Default::default, |node| node.line.line.latency);
        let way = self.way(from, to);
        self.queue.plan(self.now + latency(from) + latency(to), Happening::Arrival { way, message });
    }

    /// Lets something happen after this time, though it be nothing: a peer that is no [`Swarm`] waits for it.
    pub fn wake(&mut self, number: usize, after: Duration) {
        self.queue.plan(self.now + after, Happening::WakeUp { of: number });
    }

    /// Runs until the condition holds.
    ///
    /// # Panics
    /// If nothing happens any more, or after an hour of virtual time.
    pub fn run_until(&mut self, condition: impl Fn(&Self) -> bool) {
        while !condition(self) {
            assert!(self.step(), "stalled at {:?}", self.now);
            assert!(self.now.since_start().as_secs() < 3_600, "not done after an hour");
        }
    }

    /// Goes on to the next happening, if it is not after `until`; `false` if there is none.
    pub fn step_before(&mut self, until: Instant) -> bool {
        if self.queue.next_at().is_some_and(|at| at <= until) {
            return self.step();
        }
        self.now = self.now.max(until);
        false
    }

    /// Goes on to the next happening; `false` if there is none.
    pub fn step(&mut self) -> bool {
        let Some((now, happening)) = self.queue.next() else { return false };
        self.now = now;
        match happening {
            Happening::AtRelay { way, message, bytes } => self.relay_data(way, message, bytes),
            Happening::Arrival { way, message } if self.is_open(way) => self.arrive(way, message),
            Happening::Refusal { way, about } if self.is_open(way) => {
                self.with(way.from, |swarm, now| swarm.handle_refused(id_of(way.to), &about, now));
            }
            Happening::Arrival { .. } | Happening::Refusal { .. } => {}
            Happening::Sent { by, connection, payload } => {
                if let Some(node) = self.nodes[by].as_deref_mut().filter(|node| node.connection == connection) {
                    node.line.data_left();
                    self.with(by, |swarm, now| swarm.handle_sent(payload, now));
                }
            }
            Happening::LineFree { of } => {
                if let Some(node) = self.nodes[of].as_deref_mut() {
                    node.line.woken();
                    self.take_next_data(of);
                }
            }
            Happening::WakeUp { of } => {
                if let Some(node) = self.nodes[of].as_deref_mut()
                    && node.wake_at == Some(now)
                {
                    node.wake_at = None;
                    self.with(of, Swarm::handle_timeout);
                }
            }
            Happening::Introduction { of, other } => {
                if self.nodes[other].is_some() {
                    self.meet(of, other);
                }
            }
            Happening::Departure { of, other } => {
                if let Some(node) = self.node_mut(of).filter(|node| !node.is_cut_off) {
                    node.gone.insert(other);
                    self.with(of, |swarm, now| swarm.handle_peer_left(id_of(other), now));
                }
            }
            Happening::Return { of } => self.come_back(of),
            Happening::Written { by, run, bytes } => {
                if let Some(node) = self.nodes[by].as_deref_mut() {
                    node.disk.written(bytes);
                    run.blocks().for_each(|index| self.copies.stored(index));
                    self.with(by, |swarm, now| swarm.handle_stored(run, Ok(()), now));
                }
            }
            Happening::Read { by, id, result } => self.with(by, |swarm, now| swarm.handle_read(id, result, now)),
        }
        true
    }

    /// Carries out what a core wants.
    fn drain(&mut self, number: usize) {
        let now = self.now;
        let Some(node) = self.nodes[number].as_deref_mut() else { return };
        let mut transmits = std::mem::take(&mut self.transmits);
        loop {
            if let Some(request) = node.swarm.poll_storage() {
                let fails = node.disk.fails(&mut self.rng);
                let later = serve_storage(number, node, &self.file, &mut self.copies, request, fails, now);
                later.into_iter().for_each(|(when, happening)| self.queue.plan(when, happening));
            } else if let Some(transmit) = node.swarm.poll_transmit() {
                transmits.push(transmit);
            } else if let Some(event) = node.swarm.poll_event() {
                if event == Event::Completed {
                    node.record.completed = Some(now);
                    self.completed.push(number);
                    self.sources.push(number);
                }
                if event == Event::WantsPeers {
                    self.wanting.push(number);
                }
                node.events.push(event);
            } else {
                break;
            }
        }
        if let Some((when, _)) = node.swarm.poll_timeout()
            && node.wake_at.is_none_or(|at| when < at)
        {
            let when = when.max(now);
            node.wake_at = Some(when);
            self.queue.plan(when, Happening::WakeUp { of: number });
        }
        transmits.drain(..).for_each(|transmit| self.transmit(number, transmit));
        self.transmits = transmits;
        self.take_next_data(number);
    }
}

/// Does what the storage is asked to do, or tells when it will have done it.
fn serve_storage(
    by: usize,
    node: &mut Node,
    file: &File,
    copies: &mut Copies,
    request: StorageRequest,
    fails: bool,
    now: Instant,
) -> Option<(Instant, Happening)> {
    match request {
        StorageRequest::Read { id, offset, len } => {
            let failure = || StorageError::Failed { detail: "it fails now and then".into() };
            let result = if fails { Err(failure()) } else { Ok(file.slice(offset, len.into())) };
            if let Some(when) = node.disk.read(len.into(), now) {
                return Some((when, Happening::Read { by, id, result }));
            }
            node.swarm.handle_read(id, result, now);
        }
        StorageRequest::Write { run, .. } if node.behaviour == Behaviour::DiskFull => {
            node.swarm.handle_stored(run, Err(StorageError::Full), now);
        }
        StorageRequest::Write { run, offset, data } => {
            let bytes = data.len() as u64;
            let right = file.slice(offset, bytes);
            assert!(data.as_ptr() == right.as_ptr() || data == right, "wrong bytes were to be stored");
            node.record.useful += bytes;
            if let Some(when) = node.disk.write(bytes, now) {
                return Some((when, Happening::Written { by, run, bytes }));
            }
            run.blocks().for_each(|index| copies.stored(index));
            node.swarm.handle_stored(run, Ok(()), now);
        }
    }
    None
}
