//! The network: peers, their lines, the relay between them, and the tracker that introduces them.

use crate::{
    Behaviour, Copies, File, Line, Node,
    line::{Next, time_of},
    queue::Queue,
    wire::Wire,
};
use peer_wasm::{
    Instant,
    swarm::{Config, Event, StorageError, StorageRequest, Swarm, Transmit},
};
use protocol::{Bitfield, PeerId, PeerMessage};
use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus, seq::SliceRandom as _};
use std::sync::Arc;

/// Makes ids of numbers so that their order says nothing; odd, so that it can be undone.
const ID_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
const ID_INVERSE: u64 = 0xf1de_83e1_9937_733d;

enum Happening {
    /// Data is at the relay.
    AtRelay {
        from: usize,
        to: usize,
        message: PeerMessage,
        bytes: u64,
    },
    /// A message is at its receiver.
    Arrival {
        from: usize,
        to: usize,
        message: PeerMessage,
    },
    /// Data left its sender.
    Sent {
        by: usize,
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
    copies: Copies,
    /// Bytes per second through the relay, and until when it is taken.
    relay: Option<(u64, Instant)>,
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
            relay: None,
            completed: Vec::new(),
            wanting: Vec::new(),
            transmits: Vec::new(),
            trace: None,
        }
    }

    /// Lets the relay forward no more than this many bytes per second.
    pub fn limit_relay(&mut self, bytes_per_second: u64) {
        self.relay = Some((bytes_per_second, self.now));
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
        let swarm = Swarm::new(config, Arc::clone(&self.file.manifest), have, seed, self.now);
        self.nodes.push(Some(Box::new(Node::new(swarm, line, behaviour, self.now))));
        self.members.push(number);
        self.drain(number);
        number
    }

    /// Introduces two peers to each other, at once.
    pub fn introduce(&mut self, one: usize, other: usize) {
        self.note_introduction(one, other);
        self.meet(one, other);
        self.meet(other, one);
    }

    /// The tracker tells one peer of another.
    fn meet(&mut self, one: usize, other: usize) {
        let age = self.node(other).map_or_else(Default::default, |node| self.now.since(node.record.joined));
        if let Some(node) = self.node_mut(one) {
            node.gone.remove(&other);
        }
        self.with(one, |swarm, now| swarm.handle_peer_joined(id_of(other), age, now));
    }

    /// The peer asks the tracker, which introduces it to at most `count` others, chosen at random.
    pub fn ask_for_peers(&mut self, number: usize, count: usize) {
        let Some(node) = self.node(number) else { return };
        let own = node.line.line.latency;
        let chosen = self.members.partial_shuffle(&mut self.rng, count).0.to_vec();
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
    pub fn remove(&mut self, number: usize, noticed_after: std::time::Duration) -> Option<Box<Node>> {
        let node = self.nodes.get_mut(number)?.take()?;
        self.copies.left(node.swarm.stored());
        self.members.retain(|&member| member != number);
        for &other in &node.introduced {
            if let Some(latency) = self.node(other).map(|node| node.line.line.latency) {
                let when = self.now + noticed_after + latency;
                self.queue.plan(when, Happening::Departure { of: other, other: number });
            }
        }
        Some(node)
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
        self.queue.plan(self.now + latency(from) + latency(to), Happening::Arrival { from, to, message });
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
            Happening::AtRelay { from, to, message, bytes } => {
                let forwarded = match &mut self.relay {
                    None => now,
                    Some((rate, until)) => {
                        *until = now.max(*until) + time_of(bytes, *rate);
                        *until
                    }
                };
                if let Some(node) = self.nodes[to].as_deref_mut() {
                    let when = node.line.receive(bytes, forwarded);
                    self.queue.plan(when, Happening::Arrival { from, to, message });
                }
            }
            Happening::Arrival { from, to, message } => self.arrive(from, to, message),
            Happening::Sent { by, payload } => {
                if let Some(node) = self.nodes[by].as_deref_mut() {
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
                if let Some(node) = self.node_mut(of) {
                    node.gone.insert(other);
                }
                self.with(of, |swarm, now| swarm.handle_peer_left(id_of(other), now));
            }
        }
        true
    }

    fn arrive(&mut self, from: usize, to: usize, message: PeerMessage) {
        let payload = if let PeerMessage::Block { data, .. } = &message { data.len() } else { 0 };
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:?} {from} {to} {:?} {payload}", self.now, std::mem::discriminant(&message)));
        }
        // Nothing comes of a peer after the tracker said that it is gone.
        let Some(node) = self.nodes[to].as_deref_mut().filter(|node| !node.gone.contains(&from)) else { return };
        if matches!(message, PeerMessage::Unchoke { .. }) {
            node.record.first_unchoke.get_or_insert(self.now);
        }
        if payload == 0 {
            self.with(to, |swarm, now| swarm.handle_message(id_of(from), message, now));
            return;
        }
        let before = node.record.useful;
        node.record.received += payload as u64;
        self.with(to, |swarm, now| swarm.handle_message(id_of(from), message, now));
        if let Some(node) = self.nodes[to].as_deref_mut() {
            let useful = node.record.useful - before;
            *node.record.received_from.entry(from).or_default() += useful;
            if let Some(giver) = self.nodes[from].as_deref_mut() {
                giver.record.delivered += useful;
            }
        }
    }

    /// Carries out what a core wants.
    fn drain(&mut self, number: usize) {
        let now = self.now;
        let Some(node) = self.nodes[number].as_deref_mut() else { return };
        let mut transmits = std::mem::take(&mut self.transmits);
        loop {
            if let Some(request) = node.swarm.poll_storage() {
                serve_storage(node, &self.file, &mut self.copies, request, now);
            } else if let Some(transmit) = node.swarm.poll_transmit() {
                transmits.push(transmit);
            } else if let Some(event) = node.swarm.poll_event() {
                if event == Event::Completed {
                    node.record.completed = Some(now);
                    self.completed.push(number);
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

    /// Puts a message on its sender's line, or in the row of those that wait for it.
    fn transmit(&mut self, from: usize, transmit: Transmit) {
        let Some(node) = self.nodes[from].as_deref_mut() else { return };
        let bytes = self.wire.len(&transmit.message);
        if let PeerMessage::Block { data, .. } = &transmit.message {
            node.record.overhead += bytes - data.len() as u64;
            node.line.wait(transmit, bytes);
            return;
        }
        node.record.overhead += bytes;
        let at_relay = node.line.send(bytes, self.now, &mut self.rng);
        let to = number_of(transmit.to);
        if let Some(receiver) = self.nodes.get_mut(to).and_then(Option::as_deref_mut) {
            let when = receiver.line.receive_first(bytes, at_relay);
            self.queue.plan(when, Happening::Arrival { from, to, message: transmit.message });
        }
    }

    /// Puts the next data on a line if it is free, or plans to.
    fn take_next_data(&mut self, number: usize) {
        let Some(node) = self.nodes[number].as_deref_mut() else { return };
        match node.line.next_data(self.now) {
            Next::Nothing => {}
            Next::At(when) => self.queue.plan(when, Happening::LineFree { of: number }),
            Next::Data(Transmit { to, mut message }, bytes) => {
                let at_relay = node.line.send(bytes, self.now, &mut self.rng);
                let PeerMessage::Block { data, .. } = &mut message else { return };
                let payload = data.len() as u64;
                node.record.sent += payload;
                self.queue.plan(node.line.up_until(), Happening::Sent { by: number, payload });
                match node.behaviour {
                    Behaviour::Silent => return,
                    Behaviour::Corrupting => {
                        let mut corrupted = data.to_vec();
                        corrupted[0] ^= 1;
                        *data = corrupted.into();
                    }
                    Behaviour::Honest | Behaviour::DiskFull => {}
                }
                let (from, to) = (number, number_of(to));
                self.queue.plan(at_relay, Happening::AtRelay { from, to, message, bytes });
            }
        }
    }
}

fn serve_storage(node: &mut Node, file: &File, copies: &mut Copies, request: StorageRequest, now: Instant) {
    match request {
        StorageRequest::Read { id, offset, len } => {
            node.swarm.handle_read(id, Ok(file.slice(offset, len.into())), now);
        }
        StorageRequest::Write { run, .. } if node.behaviour == Behaviour::DiskFull => {
            node.swarm.handle_stored(run, Err(StorageError::Full), now);
        }
        StorageRequest::Write { run, offset, data } => {
            let right = file.slice(offset, data.len() as u64);
            assert!(data.as_ptr() == right.as_ptr() || data == right, "wrong bytes were to be stored");
            node.record.useful += data.len() as u64;
            run.blocks().for_each(|index| copies.stored(index));
            node.swarm.handle_stored(run, Ok(()), now);
        }
    }
}
