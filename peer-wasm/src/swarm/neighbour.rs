//! What is known of one neighbour.

use super::rate::Rate;
use crate::Instant;
use protocol::{Bitfield, Geometry, PeerId, Run};
use std::{collections::VecDeque, time::Duration};

/// The most requests of a neighbour that wait to be served, and the most that are rejected in a second; one that asks
/// for more floods.
pub(super) const MAX_QUEUED: usize = 1_024;
/// The most requests remembered as taken back, whose blocks may still be on their way.
const MAX_STALE: usize = 1_024;
/// The window of a new neighbour in bytes.
const FIRST_WINDOW: u64 = 64 << 10;
/// How long a request may wait in a neighbour's queue, beyond twice the shortest time in which it answered.
const QUEUE_TIME: Duration = Duration::from_millis(50);
/// A single request should take about this long, so that slow neighbours hold little and fast ones cost few messages.
const RUN_TIME: Duration = Duration::from_millis(20);
/// How long a snubbed neighbour is left alone while others serve.
const SECOND_CHANCE: Duration = Duration::from_secs(15);
/// What a neighbour is taken for until it delivers, in bytes per second.
const ASSUMED_RATE: u64 = 64_000;
/// The longest that a slow neighbour is waited for.
const LONGEST_PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take a newcomer to say what it has and wants.
const INTRODUCTION: Duration = Duration::from_secs(1);
/// How long a neighbour is assumed to take for an answer until it gave one.
const ASSUMED_WAIT: Duration = Duration::from_millis(200);
/// The first requests to a neighbour, before its rate is known, in bytes.
const FIRST_RUN: u32 = 64 << 10;

/// A request to a neighbour that it has not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InFlight {
    pub(super) run: Run,
    pub(super) sent: Instant,
    /// It was cancelled, so that this neighbour can be asked as soon as it is rejected.
    pub(super) moves_to: Option<PeerId>,
}

#[derive(Debug)]
pub(super) struct Neighbour {
    pub(super) joined: Instant,
    /// It said that it serves us, and then refused; until it delivers.
    pub(super) refuses: bool,
    /// Its `bitfield` came. It comes again only if it took us for gone.
    pub(super) is_introduced: bool,
    /// It had every block, even if it refused some since: it wants to know what others have.
    pub(super) was_full: bool,
    /// The blocks it has; none until its `bitfield` came.
    pub(super) has: Bitfield,
    /// How many of those still have to be received here.
    pub(super) wanted: u32,
    pub(super) we_are_interested: bool,
    pub(super) it_is_interested: bool,
    pub(super) we_choke_it: bool,
    pub(super) it_chokes_us: bool,
    /// It serves us but delivers nothing, since then.
    pub(super) snubbed: Option<Instant>,

    pub(super) in_flight: Vec<InFlight>,
    pub(super) last_asked: Option<Run>,
    pub(super) in_flight_bytes: u64,
    pub(super) window: u64,
    /// The shortest time in which it answered a request.
    shortest_wait: Duration,
    /// The time in which it answered the last request.
    recent_wait: Option<Duration>,
    /// Requests taken back, by us or by a choke; their blocks may still come and are welcome.
    stale: VecDeque<Run>,
    /// When it last delivered, or was first asked after delivering everything.
    pub(super) last_progress: Instant,

    /// How many of the new blocks it was told of.
    pub(super) told: usize,
    /// Its requests that wait to be served.
    pub(super) queue: VecDeque<Run>,
    /// The second in which its requests were last rejected, and how many.
    rejected: (u64, usize),
    /// It asked for something in this choke round.
    pub(super) asked_this_round: bool,
    /// It was served already when this choke round began.
    pub(super) served_since_round: bool,
    /// It was served for a whole round and asked for nothing.
    pub(super) idle: bool,

    pub(super) received: Rate,
    /// The rate at the last delivery, or that of this delivery alone if it was slower, in bytes per second.
    last_rate: u64,
    pub(super) sent: Rate,
    /// Bytes sent since it joined.
    pub(super) total_sent: u64,
    pub(super) total_received: u64,
}

impl Neighbour {
    pub(super) fn new(blocks: u32, now: Instant) -> Self {
        Self {
            joined: now,
            refuses: false,
            is_introduced: false,
            was_full: false,
            has: Bitfield::empty(blocks),
            wanted: 0,
            we_are_interested: false,
            it_is_interested: false,
            we_choke_it: true,
            it_chokes_us: true,
            snubbed: None,
            in_flight: Vec::new(),
            last_asked: None,
            in_flight_bytes: 0,
            window: FIRST_WINDOW,
            shortest_wait: Duration::MAX / 4,
            recent_wait: None,
            stale: VecDeque::new(),
            last_progress: now,
            told: 0,
            queue: VecDeque::new(),
            rejected: (0, 0),
            asked_this_round: false,
            served_since_round: false,
            idle: false,
            received: Rate::new(),
            last_rate: 0,
            sent: Rate::new(),
            total_sent: 0,
            total_received: 0,
        }
    }

    /// How many bytes the next request may have: at least one block if the window has any room.
    pub(super) fn next_run_bytes(&self, max_run: u32, now: Instant) -> Option<u32> {
        if self.it_chokes_us || self.in_flight_bytes >= self.window || (self.is_snubbed() && !self.in_flight.is_empty())
        {
            return None;
        }
        let per_run = self.received.per_second(now) * RUN_TIME.as_millis() as u64 / 1_000;
        Some((per_run.max(FIRST_RUN.into()) as u32).min(max_run))
    }

    pub(super) const fn is_snubbed(&self) -> bool {
        self.snubbed.is_some()
    }

    /// Whether it joined so recently that it could not say yet what it has and wants.
    pub(super) fn is_unknown(&self, now: Instant) -> bool {
        self.has.count() == 0 && self.total_sent == 0 && now.since(self.joined) < INTRODUCTION
    }

    /// Whether it can be relied on: it serves us and delivers.
    pub(super) fn is_serving(&self) -> bool {
        !self.it_chokes_us && self.wanted > 0 && !self.is_snubbed()
    }

    /// Whether it is snubbed for so long that it may be tried again.
    pub(super) fn deserves_another_try(&self, now: Instant) -> bool {
        self.snubbed.is_some_and(|since| now.since(since) >= SECOND_CHANCE)
    }

    /// When it may be tried again, if it is snubbed and has something that is wanted.
    pub(super) fn second_chance(&self) -> Option<Instant> {
        self.snubbed.filter(|_| self.wanted > 0).map(|since| since + SECOND_CHANCE)
    }

    pub(super) fn requested(&mut self, run: Run, geometry: &Geometry, now: Instant) {
        if self.in_flight.is_empty() {
            self.last_progress = now;
        }
        self.in_flight.push(InFlight { run, sent: now, moves_to: None });
        self.last_asked = Some(run);
        self.in_flight_bytes += geometry.run_len(run);
    }

    /// Notes an answer. Tells whether it was asked for; `None` if never, `Some(false)` if the request was taken back.
    pub(super) fn answered(&mut self, run: Run, geometry: &Geometry) -> Option<Option<Instant>> {
        if let Some(request) = self.take_in_flight(run, geometry) {
            return Some(Some(request.sent));
        }
        let place = self.stale.iter().position(|stale| *stale == run)?;
        self.stale.remove(place);
        Some(None)
    }

    /// Takes one request back. Its block may still come.
    pub(super) fn take_back(&mut self, run: Run, geometry: &Geometry) -> bool {
        let was_in_flight = self.take_in_flight(run, geometry).is_some();
        if was_in_flight {
            self.remember_stale([run]);
        }
        was_in_flight
    }

    /// Takes every request back.
    pub(super) fn take_all_back(&mut self) -> Vec<Run> {
        let runs: Vec<_> = self.in_flight.drain(..).map(|request| request.run).collect();
        self.in_flight_bytes = 0;
        self.remember_stale(runs.iter().copied());
        runs
    }

    /// Notes that a request was rejected; tells whether that is still bearable.
    pub(super) fn may_be_rejected(&mut self, now: Instant) -> bool {
        let second = now.since_start().as_secs();
        if self.rejected.0 != second {
            self.rejected = (second, 0);
        }
        self.rejected.1 += 1;
        self.rejected.1 <= MAX_QUEUED
    }

    /// Ends a choke round.
    pub(super) fn end_round(&mut self) {
        // Whoever holds a place for a whole round without using it makes room for others, until it asks again.
        self.idle = (self.idle || self.served_since_round) && !self.asked_this_round && self.queue.is_empty();
        self.asked_this_round = false;
    }

    /// Notes requests taken back whose blocks may still come.
    pub(super) fn remember_stale(&mut self, runs: impl IntoIterator<Item = Run>) {
        self.stale.extend(runs);
        let too_many = self.stale.len().saturating_sub(MAX_STALE);
        self.stale.drain(..too_many);
    }

    /// What may still come from it.
    pub(super) fn into_stale(self) -> Vec<Run> {
        self.stale.into()
    }

    /// Notes a delivery, which was `asked` for then. The window grows by what was delivered while answers come soon,
    /// and shrinks when they wait in a queue: what waits there cannot be asked of somebody else.
    pub(super) fn delivered(&mut self, bytes: u64, asked: Option<Instant>, max_window: u64, now: Instant) {
        self.received.add(bytes, now);
        let rate = self.received.per_second(now);
        let since_last = now.since(self.last_progress).as_millis().max(1) as u64;
        self.last_rate = rate.min(bytes * 1_000 / since_last);
        self.total_received += bytes;
        self.last_progress = now;
        self.snubbed = None;
        self.refuses = false;
        let Some(asked) = asked else { return };
        let waited = now.since(asked);
        self.recent_wait = Some(waited);
        self.shortest_wait = self.shortest_wait.min(waited);
        let bearable = self.shortest_wait * 2 + QUEUE_TIME;
        self.window = if waited <= bearable {
            (self.window + bytes).min(max_window)
        } else {
            (u128::from(self.window) * bearable.as_micros() / waited.as_micros()) as u64
        }
        .max(1);
    }

    /// When the neighbour counts as snubbed: it owes something, and delivered nothing for `patience` and twice the time
    /// that what it owes takes at its last rate.
    pub(super) fn overdue(&self, patience: Duration) -> Option<Instant> {
        let rate = if self.last_rate == 0 { ASSUMED_RATE } else { self.last_rate };
        let millis = 2_000 * self.in_flight_bytes / rate;
        let waiting = !self.in_flight.is_empty();
        waiting.then(|| self.last_progress + (patience + Duration::from_millis(millis)).min(LONGEST_PATIENCE))
    }

    /// How long it takes to deliver everything asked of it and `more` bytes, at its present rate; `None` while that
    /// is not known.
    pub(super) fn time_to_deliver(&self, more: u64, now: Instant) -> Option<Duration> {
        let millis = (self.in_flight_bytes + more).saturating_mul(1_000).checked_div(self.received.per_second(now))?;
        Some(Duration::from_millis(millis))
    }

    /// How much longer a request is expected to wait.
    pub(super) fn remaining_wait(&self, request: &InFlight, now: Instant) -> Duration {
        let elapsed = now.since(request.sent);
        self.recent_wait.map_or(elapsed, |wait| wait.saturating_sub(elapsed))
    }

    /// How long a request to it takes when no other waits there.
    pub(super) fn shortest_wait(&self) -> Duration {
        self.shortest_wait.min(ASSUMED_WAIT)
    }

    /// Forgets a request that is rejected.
    pub(super) fn take_in_flight(&mut self, run: Run, geometry: &Geometry) -> Option<InFlight> {
        let place = self.in_flight.iter().position(|request| request.run == run)?;
        self.in_flight_bytes -= geometry.run_len(run);
        Some(self.in_flight.remove(place))
    }

    /// Forgets a request that was taken back and is rejected; tells whether there was one.
    pub(super) fn forget_stale(&mut self, run: Run) -> bool {
        let place = self.stale.iter().position(|stale| *stale == run);
        place.and_then(|place| self.stale.remove(place)).is_some()
    }
}
