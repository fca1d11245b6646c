//! The peer core for one file: block manager, rarest first, tit-for-tat.
//!
//! | file | what it owns |
//! |---|---|
//! | `joining` | who is a neighbour |
//! | `blocks`, `begun` | the state of every block, and of the segments of those that are asked for |
//! | `picker` | which blocks to ask for |
//! | `download` | asking, receiving, verifying |
//! | `suspects` | blocks that were wrong and of several neighbours |
//! | `late` | requests that wait too long: steering, endgame, snubbing |
//! | `announce` | when new blocks are told |
//! | `telling` | saying what is so, and again where it may not have arrived |
//! | `choker`, `choking` | whom to serve, and when that is decided |
//! | `upload` | serving |
//! | `seeding` | giving a new file its first copies |
//! | `neighbour`, `rate`, `timers` | what is known of a neighbour, how fast it is, what is waited for |
//! | `lack`, `audit` | why nothing comes, and whether every sum is right |
//! | `config`, `io` | what goes in at the start, what comes out |

mod announce;
mod audit;
mod begun;
mod blocks;
mod choker;
mod choking;
mod config;
mod download;
mod io;
mod joining;
mod lack;
mod late;
mod neighbour;
mod picker;
mod rate;
mod seeding;
mod suspects;
mod telling;
mod timers;
mod upload;

pub use blocks::BlockState;
pub use config::{BlockStrategy, Config, PeerStrategy};
pub use io::{Event, ReadId, Room, StorageError, StorageRequest, Transmit, Violation, Want};
pub use picker::{Pick, Picker};
pub use timers::Timer;

use crate::Instant;
use blocks::Blocks;
use choker::Choker;
use joining::Waiting;
use neighbour::{Neighbour, Patience};
use protocol::{Bitfield, FileId, FileTag, Manifest, PeerId, PeerMessage};
use rand::{Rng as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};
use rate::Rate;
use seeding::FirstCopies;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use suspects::Suspects;
use timers::TimerTable;
use upload::{OwnLine, Read};

/// What a round trip is taken for until a request was answered.
const ASSUMED_ROUND_TRIP: Duration = Duration::from_millis(200);
/// The most peers remembered as dropped for a violation, and the most remembered as gone with requests open.
pub(crate) const MAX_REMEMBERED: usize = 1_024;

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
/// short, so that a choke or a cancel takes effect soon. For a neighbour with a line of its own, of which
/// [`handle_own_line`](Self::handle_own_line) tells, it calls [`handle_sent_by_line`](Self::handle_sent_by_line) instead:
/// what is on a line that stands still does not count, so that it holds up nobody else.
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
    suspects: Suspects,
    choker: Choker,
    neighbours: BTreeMap<PeerId, Neighbour>,
    /// Peers that were introduced while there was no place for them.
    waiting: BTreeMap<PeerId, Waiting>,
    /// Peers dropped for a violation, and when; they may not come back for a while.
    banned: BTreeMap<PeerId, Instant>,
    /// Bytes that peers owed when they left, and when that was; if they come back at once, they may arrive.
    departed: BTreeMap<PeerId, (u64, Instant)>,
    timers: TimerTable,
    /// Blocks stored and not announced.
    unannounced: Vec<u32>,
    /// How many of them were told to those who are served.
    told_served: usize,
    /// When new blocks were last announced to everyone.
    announced: Instant,
    /// How long one may deliver nothing of whom nothing is known yet: what the others take.
    patience: Patience,
    /// The shortest time in which anybody answered a request.
    round_trip: Duration,
    in_flight_bytes: u64,
    /// Bytes on their way to the storage.
    storing_bytes: u64,
    /// Somebody would be asked for more if there were room.
    is_limited: bool,
    /// Who was asked last when room became free.
    last_offered: Option<PeerId>,
    /// The storage failed: nothing more is asked for.
    halted: bool,

    reads: BTreeMap<ReadId, Read>,
    /// Begins anywhere, so that answers to reads of an earlier swarm of this file are not taken for ours.
    next_read: u64,
    /// Bytes being read or in the shell's hands.
    uploading_bytes: u64,
    /// The same for each neighbour that has a line of its own; what is for the others shares one.
    own_lines: BTreeMap<PeerId, OwnLine>,
    /// Neighbours to which such a line is being opened.
    opening_lines: BTreeSet<PeerId>,
    /// Neighbours whose requests wait to be served, and what [`Self::taken_from_queues`] was when they began to wait.
    asking: BTreeMap<PeerId, u64>,
    /// Bytes of requests whose turn came.
    taken_from_queues: u64,
    last_served: Option<PeerId>,
    /// Bytes sent to all.
    sent_to_all: u64,
    /// While this peer gives a file its first copies.
    first_copies: Option<FirstCopies>,

    received: Rate,
    /// The most that came in a second.
    best_rate: u64,
    sent: Rate,
    transmits: VecDeque<Transmit>,
    storage: VecDeque<StorageRequest>,
    events: VecDeque<Event>,
}

/// How one neighbour stands, to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Bytes asked of it.
    pub in_flight: u64,
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
    pub fn new(config: Config, manifest: Arc<Manifest>, have: Bitfield, seed: u64, now: Instant) -> Self {
        assert_eq!(have.len(), manifest.geometry().blocks(), "`have` must be a bitfield of this file");
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let blocks = Blocks::new(config.block_strategy, *manifest.geometry(), have);
        let first_copies = blocks.stored().is_full().then(|| FirstCopies::new(*manifest.geometry()));
        let next_read = rng.next_u64() / 2;
        let mut swarm = Self {
            config,
            manifest,
            rng,
            blocks,
            suspects: Suspects::default(),
            choker: Choker::default(),
            neighbours: BTreeMap::new(),
            waiting: BTreeMap::new(),
            banned: BTreeMap::new(),
            departed: BTreeMap::new(),
            timers: TimerTable::default(),
            unannounced: Vec::new(),
            told_served: 0,
            announced: Instant::default(),
            patience: Patience::default(),
            round_trip: ASSUMED_ROUND_TRIP,
            in_flight_bytes: 0,
            storing_bytes: 0,
            is_limited: false,
            last_offered: None,
            halted: false,
            reads: BTreeMap::new(),
            next_read,
            uploading_bytes: 0,
            own_lines: BTreeMap::new(),
            opening_lines: BTreeSet::new(),
            asking: BTreeMap::new(),
            taken_from_queues: 0,
            last_served: None,
            sent_to_all: 0,
            first_copies,
            received: Rate::new(),
            best_rate: 0,
            sent: Rate::new(),
            transmits: VecDeque::new(),
            storage: VecDeque::new(),
            events: VecDeque::new(),
        };
        swarm.schedule_review(now);
        swarm
    }

    /// Changes how much may be asked for and sent at a time.
    pub fn set_room(&mut self, room: Room, now: Instant) {
        self.config.max_in_flight = room.in_flight;
        self.config.upload_budget = room.upload;
        self.offer_room(now);
        self.serve(now);
    }

    /// Bytes requested, or of blocks requested in part, and not yet stored.
    pub const fn in_flight(&self) -> u64 {
        self.in_flight_bytes + self.blocks.rest() + self.storing_bytes
    }

    /// Whether more would be asked for if there were more room.
    pub const fn is_limited(&self) -> bool {
        self.is_limited
    }

    /// Whether requests wait to be served.
    pub fn is_asked(&self) -> bool {
        !self.asking.is_empty()
    }

    /// The neighbours that were asked for something and sent nothing for longer than it takes, and when that was found.
    pub fn silent(&self) -> impl Iterator<Item = (PeerId, Instant)> {
        self.neighbours.iter().filter_map(|(&peer, neighbour)| Some((peer, neighbour.asked.snubbed()?)))
    }

    /// Whether the peer was dropped for a violation.
    pub fn is_banned(&self, peer: PeerId) -> bool {
        self.banned.contains_key(&peer)
    }

    /// A message from another peer. One that was dropped is ignored; one that is no neighbour becomes one, or waits.
    pub fn handle_message(&mut self, from: PeerId, message: PeerMessage, now: Instant) {
        if message.tag() != self.tag() || self.is_banned(from) {
            return;
        }
        if !self.neighbours.contains_key(&from) {
            return self.hear_stranger(from, &message, now);
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
                Timer::Announce => self.announce_to_served(),
                Timer::AnnounceToAll => self.announce_to_all(now),
                Timer::Neighbours => self.review_neighbours(now),
                Timer::Idle => self.handle_idle(now),
                Timer::FirstCopies => self.handle_first_copies(now),
                Timer::Requests => self.handle_overdue(now),
                Timer::Retry => self.handle_retry(now),
                Timer::Restate => self.handle_restate(),
                Timer::OwnLines => self.serve(now),
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

    /// The file's name in messages between peers.
    pub fn tag(&self) -> FileTag {
        self.file().tag()
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
            blocks: neighbour.said.has.count(),
            serves_us: !neighbour.said.chokes_us,
            wanted_by_us: neighbour.said.offers_more_than(self.blocks.verified()),
            served_by_us: self.choker.serves(peer),
            wants_from_us: neighbour.said.wants(self.stored()),
            snubbed: neighbour.asked.is_snubbed(),
            in_flight: neighbour.asked.bytes(),
            down_rate: neighbour.asked.rate.per_second(now),
            up_rate: neighbour.served.rate.per_second(now),
        })
    }

    fn handle_neighbour(&mut self, from: PeerId, message: PeerMessage, now: Instant) -> Result<(), Violation> {
        let geometry = *self.manifest.geometry();
        let span = |index, count| geometry.span(index, count).map_err(|_| Violation::OutOfRange);
        match message {
            PeerMessage::Bitfield { blocks, begin, .. } => self.handle_bitfield(from, &blocks, begin, now)?,
            PeerMessage::Have { blocks, .. } => self.handle_have(from, &blocks, now)?,
            PeerMessage::Interested { .. } => self.handle_interest(from, true, now),
            PeerMessage::NotInterested { .. } => self.handle_interest(from, false, now),
            PeerMessage::Choke { .. } => self.handle_choke(from, now),
            PeerMessage::Unchoke { .. } => self.handle_unchoke(from, now),
            PeerMessage::Request { index, count, .. } => self.handle_request(from, span(index, count)?, now)?,
            PeerMessage::Cancel { index, count, .. } => self.handle_cancel(from, span(index, count)?),
            PeerMessage::Block { index, count, data, .. } => {
                self.handle_block(from, span(index, count)?, &data, now)?;
            }
            PeerMessage::Reject { index, count, .. } => self.handle_reject(from, span(index, count)?, now),
            // Manifests are exchanged before a swarm is joined, and how messages travel is not the swarm's matter.
            PeerMessage::GetManifest { .. }
            | PeerMessage::Manifest { .. }
            | PeerMessage::NoManifest { .. }
            | PeerMessage::Signal { .. } => {}
        }
        Ok(())
    }

    fn send(&mut self, to: PeerId, message: PeerMessage) {
        self.transmits.push_back(Transmit { to, message });
    }
}
