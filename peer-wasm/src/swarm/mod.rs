//! The peer core for one file: block manager, rarest first, tit-for-tat.
//!
//! | file | what it owns |
//! |---|---|
//! | `blocks` | the state of every block |
//! | `picker` | which blocks to ask for |
//! | `download` | asking, receiving, verifying, announcing |
//! | `choker` | whom to serve |
//! | `upload` | serving |
//! | `neighbour`, `rate`, `timers` | what is known of a neighbour, how fast it is, what is waited for |
//! | `config`, `io` | what goes in at the start, what comes out |

mod blocks;
mod choker;
mod config;
mod download;
mod io;
mod neighbour;
mod picker;
mod rate;
mod timers;
mod upload;

pub use blocks::BlockState;
pub use config::{BlockStrategy, Config, PeerStrategy};
pub use io::{Event, ReadId, StorageFailed, StorageRequest, Transmit, Violation};
pub use timers::Timer;

use crate::Instant;
use blocks::Blocks;
use bytes::Bytes;
use choker::Choker;
use neighbour::Neighbour;
use picker::Picker;
use protocol::{Bitfield, FileId, Manifest, PeerId, PeerMessage, Run};
use rand::{Rng as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};
use rate::Rate;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};
use timers::TimerTable;

/// The most peers remembered as dropped for a violation, and the most remembered as gone with requests open.
const MAX_REMEMBERED: usize = 1_024;
/// The most peers that wait for a place among the neighbours.
const MAX_WAITING: usize = 256;

/// One file's swarm, seen from one peer: a state machine without IO, clock or randomness of its own.
///
/// # Contract
/// **Input** comes through the `handle_` methods. Each takes `now`, which never goes back, does all that follows
/// from it, and puts what comes out into queues. None of them fails because of a remote: what a remote does wrong
/// becomes [`Event::Dropped`].
///
/// **Output** is drained after every input, in any order, until each returns `None`:
/// [`poll_transmit`](Self::poll_transmit), [`poll_storage`](Self::poll_storage), [`poll_event`](Self::poll_event).
/// Draining changes nothing else: state is mutated once, by the input.
///
/// **Time**: after draining, [`poll_timeout`](Self::poll_timeout) says when [`handle_timeout`](Self::handle_timeout)
/// wants to be called if no input comes before, and why. It may change with every input. Calling early does nothing.
///
/// **Storage** answers every [`StorageRequest`] once, by [`handle_stored`](Self::handle_stored) or
/// [`handle_read`](Self::handle_read); at once or later, in any order.
///
/// **Sending**: for every `block` taken from `poll_transmit` the shell calls [`handle_sent`](Self::handle_sent) once
/// the bytes left its hands. Until then they count against [`Config::upload_budget`], which keeps what is queued
/// short, so that a choke or a cancel takes effect soon.
///
/// # Panics
/// Nothing a remote, a storage or a late answer does makes a method panic. An `expect` marks what only a bug of this
/// module can break.
#[derive(Debug)]
pub struct Swarm {
    config: Config,
    manifest: Arc<Manifest>,
    rng: Xoshiro256PlusPlus,
    blocks: Blocks,
    picker: Picker,
    choker: Choker,
    neighbours: BTreeMap<PeerId, Neighbour>,
    /// Peers that were introduced while there was no place for them, and the bitfield they sent.
    waiting: BTreeMap<PeerId, Option<Bytes>>,
    /// Peers dropped for a violation; they may not come back.
    banned: BTreeSet<PeerId>,
    /// What peers that left still owed; if they come back at once, it may arrive.
    departed: BTreeMap<PeerId, Vec<Run>>,
    timers: TimerTable,
    /// Blocks stored and not announced.
    unannounced: Vec<u32>,
    in_flight_bytes: u64,
    /// Bytes requested a second time in the endgame, over the whole download.
    repeated_bytes: u64,
    /// The storage failed: nothing more is asked for.
    halted: bool,

    reads: BTreeMap<ReadId, (PeerId, Run)>,
    /// Begins anywhere, so that answers to reads of an earlier swarm of this file are not taken for ours.
    next_read: u64,
    /// Bytes being read or in the shell's hands.
    uploading_bytes: u64,
    last_served: Option<PeerId>,

    received: Rate,
    sent: Rate,
    transmits: VecDeque<Transmit>,
    storage: VecDeque<StorageRequest>,
    events: VecDeque<Event>,
}

/// The requests that peers may still answer to a swarm that has ended.
#[derive(Debug, Default)]
pub struct Owed(BTreeMap<PeerId, Vec<Run>>);

/// How one neighbour stands, to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeighbourStatus {
    /// The neighbour.
    pub peer: PeerId,
    /// How many blocks it has.
    pub blocks: u32,
    /// Whether it serves us.
    pub serves_us: bool,
    /// Whether we want something it has.
    pub wanted_by_us: bool,
    /// Whether we serve it.
    pub served_by_us: bool,
    /// Whether it wants something we have.
    pub wants_from_us: bool,
    /// Whether it serves us but delivers nothing.
    pub snubbed: bool,
    /// Bytes per second from it.
    pub down_rate: u64,
    /// Bytes per second to it.
    pub up_rate: u64,
}

impl Swarm {
    /// Joins the swarm of `manifest` with the blocks in `have` stored already. The same `seed` and the same inputs
    /// give the same outputs.
    ///
    /// # Panics
    /// If `have` is not a bitfield of this file.
    pub fn new(config: Config, manifest: Arc<Manifest>, have: Bitfield, seed: u64, _now: Instant) -> Self {
        assert_eq!(have.len(), manifest.geometry().blocks(), "`have` must be a bitfield of this file");
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let blocks = Blocks::new(have);
        let picker = Picker::new(config.block_strategy, &blocks, &mut rng);
        let next_read = rng.next_u64() / 2;
        Self {
            config,
            manifest,
            rng,
            blocks,
            picker,
            choker: Choker::default(),
            neighbours: BTreeMap::new(),
            waiting: BTreeMap::new(),
            banned: BTreeSet::new(),
            departed: BTreeMap::new(),
            timers: TimerTable::default(),
            unannounced: Vec::new(),
            in_flight_bytes: 0,
            repeated_bytes: 0,
            halted: false,
            reads: BTreeMap::new(),
            next_read,
            uploading_bytes: 0,
            last_served: None,
            received: Rate::new(),
            sent: Rate::new(),
            transmits: VecDeque::new(),
            storage: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes over what peers owed to an earlier swarm of this file, whose blocks may still arrive.
    pub fn expect_late(&mut self, owed: Owed) {
        self.departed = owed.0;
    }

    /// Ends the swarm; tells what peers still owe.
    pub fn into_owed(mut self) -> Owed {
        let peers: Vec<_> = self.neighbours.keys().copied().collect();
        for peer in peers {
            let owed = self.remove(peer).unwrap_or_default();
            self.remember_departed(peer, owed);
        }
        Owed(self.departed)
    }

    /// The tracker introduced a peer of this swarm.
    pub fn handle_peer_joined(&mut self, peer: PeerId, now: Instant) {
        if self.neighbours.contains_key(&peer) || self.banned.contains(&peer) {
            return;
        }
        if self.neighbours.len() < self.config.max_neighbours {
            self.welcome(peer, now);
        } else if self.waiting.len() < MAX_WAITING {
            // It is introduced only once, so it must not be forgotten.
            self.waiting.entry(peer).or_default();
        }
    }

    /// The tracker said that a peer left.
    pub fn handle_peer_left(&mut self, peer: PeerId, now: Instant) {
        self.waiting.remove(&peer);
        if let Some(owed) = self.remove(peer) {
            self.remember_departed(peer, owed);
            self.go_on_without(now);
        }
    }

    /// The line to the tracker broke: no neighbour can be reached, and what was being sent is lost.
    pub fn handle_line_lost(&mut self, now: Instant) {
        self.waiting.clear();
        let peers: Vec<_> = self.neighbours.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.handle_peer_left(peer, now));
        self.transmits.clear();
        let geometry = *self.manifest.geometry();
        self.uploading_bytes = self.reads.values().map(|(_, run)| geometry.run_len(*run)).sum();
    }

    /// A message from another peer. From a peer that is no neighbour it is ignored.
    pub fn handle_message(&mut self, from: PeerId, message: PeerMessage, now: Instant) {
        if let Some(kept) = self.waiting.get_mut(&from)
            && let PeerMessage::Bitfield { blocks, .. } = &message
            && blocks.len() <= self.blocks.stored().len().div_ceil(8) as usize
        {
            *kept = Some(blocks.clone());
        }
        if !self.neighbours.contains_key(&from) || message.file() != self.file() {
            return;
        }
        if let Err(violation) = self.handle_neighbour(from, message, now) {
            self.drop_neighbour(from, violation, now);
        }
    }

    /// A timer may have expired.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.expire(now) {
            match timer {
                Timer::ChokeRound => self.choke_round(now),
                Timer::Announce => self.announce(),
                Timer::Requests => self.handle_overdue(now),
            }
        }
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing for the storage to do.
    pub fn poll_storage(&mut self) -> Option<StorageRequest> {
        self.storage.pop_front()
    }

    /// The next thing to tell.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Swarm::handle_timeout`], and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.timers.next()
    }

    /// The file.
    pub fn file(&self) -> FileId {
        self.manifest.file()
    }

    /// The file's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The blocks verified and stored.
    pub fn stored(&self) -> &Bitfield {
        self.blocks.stored()
    }

    /// The state of every block, in order.
    pub fn block_states(&self) -> &[BlockState] {
        self.blocks.states()
    }

    /// Whether every block is verified and stored.
    pub fn is_complete(&self) -> bool {
        self.stored().is_full()
    }

    /// Bytes verified and stored.
    pub fn stored_bytes(&self) -> u64 {
        let geometry = self.manifest.geometry();
        let last = geometry.blocks().saturating_sub(1);
        let full = u64::from(self.stored().count()) * u64::from(geometry.block_size().bytes());
        let short = geometry.block_size().bytes() - geometry.block_len(last);
        if self.stored().has(last) { full - u64::from(short) } else { full }
    }

    /// Bytes received and sent per second, over the last three seconds.
    pub fn rates(&self, now: Instant) -> (u64, u64) {
        (self.received.per_second(now), self.sent.per_second(now))
    }

    /// Whether the peer is a neighbour.
    pub fn is_neighbour(&self, peer: PeerId) -> bool {
        self.neighbours.contains_key(&peer)
    }

    /// Every neighbour, in order of its id.
    pub fn neighbours(&self, now: Instant) -> impl Iterator<Item = NeighbourStatus> {
        self.neighbours.iter().map(move |(&peer, neighbour)| NeighbourStatus {
            peer,
            blocks: neighbour.has.count(),
            serves_us: !neighbour.it_chokes_us,
            wanted_by_us: neighbour.we_are_interested,
            served_by_us: !neighbour.we_choke_it,
            wants_from_us: neighbour.it_is_interested,
            snubbed: neighbour.is_snubbed(),
            down_rate: neighbour.received.per_second(now),
            up_rate: neighbour.sent.per_second(now),
        })
    }

    fn handle_neighbour(&mut self, from: PeerId, message: PeerMessage, now: Instant) -> Result<(), Violation> {
        let geometry = *self.manifest.geometry();
        let message_run = |index, count| geometry.message_run(index, count).map_err(|_| Violation::OutOfRange);
        match message {
            PeerMessage::Bitfield { blocks, .. } => self.handle_bitfield(from, &blocks, now)?,
            PeerMessage::Have { blocks, .. } => self.handle_have(from, &blocks, now)?,
            PeerMessage::Interested { .. } => self.handle_interest(from, true, now),
            PeerMessage::NotInterested { .. } => self.handle_interest(from, false, now),
            PeerMessage::Choke { .. } => self.handle_choke(from, now),
            PeerMessage::Unchoke { .. } => self.handle_unchoke(from, now),
            PeerMessage::Request { index, count, .. } => self.handle_request(from, message_run(index, count)?, now)?,
            PeerMessage::Cancel { index, count, .. } => self.handle_cancel(from, message_run(index, count)?),
            PeerMessage::Block { index, count, data, .. } => {
                self.handle_block(from, message_run(index, count)?, &data, now)?;
            }
            PeerMessage::Reject { index, count, .. } => self.handle_reject(from, message_run(index, count)?, now),
            // Manifests are exchanged before a swarm is joined.
            PeerMessage::GetManifest { .. } | PeerMessage::Manifest { .. } => {}
        }
        Ok(())
    }

    /// Forgets a neighbour and gives back what was asked of it; tells what it still owed.
    fn remove(&mut self, peer: PeerId) -> Option<Vec<Run>> {
        let mut neighbour = self.neighbours.remove(&peer)?;
        self.in_flight_bytes -= neighbour.in_flight_bytes;
        for run in neighbour.take_all_back() {
            self.release(run);
        }
        neighbour.has.iter().for_each(|index| self.picker.lost(index, &mut self.rng));
        Some(neighbour.into_stale())
    }

    fn drop_neighbour(&mut self, peer: PeerId, violation: Violation, now: Instant) {
        self.remove(peer);
        if self.banned.len() < MAX_REMEMBERED {
            self.banned.insert(peer);
        }
        self.events.push_back(Event::Dropped { peer, violation });
        self.go_on_without(now);
    }

    /// After a neighbour is gone: gives what it had to others.
    fn go_on_without(&mut self, now: Instant) {
        while self.neighbours.len() < self.config.max_neighbours
            && let Some((peer, bitfield)) = self.waiting.pop_first()
        {
            self.welcome(peer, now);
            if let Some(blocks) = bitfield {
                self.handle_message(peer, PeerMessage::Bitfield { file: self.file(), blocks }, now);
            }
        }
        self.fill_slots();
        self.request_of_all(now);
        self.serve();
    }

    fn welcome(&mut self, peer: PeerId, now: Instant) {
        let mut neighbour = Neighbour::new(self.manifest.geometry().blocks(), now);
        neighbour.remember_stale(self.departed.remove(&peer).unwrap_or_default());
        self.neighbours.insert(peer, neighbour);
        self.send(peer, PeerMessage::Bitfield { file: self.file(), blocks: self.blocks.stored().to_bytes() });
    }

    fn remember_departed(&mut self, peer: PeerId, owed: Vec<Run>) {
        if !owed.is_empty() && self.departed.len() < MAX_REMEMBERED {
            self.departed.insert(peer, owed);
        }
    }

    fn send(&mut self, to: PeerId, message: PeerMessage) {
        self.transmits.push_back(Transmit { to, message });
    }
}
