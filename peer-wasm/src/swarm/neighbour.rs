//! What is known of one neighbour.

use super::rate::Rate;
use crate::Instant;
use protocol::{Bitfield, Geometry, Run};
use std::{collections::VecDeque, time::Duration};

/// The most requests of a neighbour that wait to be served; one that asks for more floods.
pub(super) const MAX_QUEUED: usize = 1_024;
/// The most requests remembered as taken back, whose blocks may still be on their way.
const MAX_STALE: usize = 1_024;
/// The window of a new neighbour in bytes; it doubles each round trip until it holds a second's worth.
const FIRST_WINDOW: u64 = 128 << 10;
/// A single request should take about this long, so that slow neighbours hold little and fast ones cost few messages.
const RUN_TIME: Duration = Duration::from_millis(20);
/// The first requests to a neighbour, before its rate is known, in bytes.
const FIRST_RUN: u32 = 32 << 10;

/// A request to a neighbour that it has not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InFlight {
    pub(super) run: Run,
    pub(super) sent: Instant,
}

#[derive(Debug)]
pub(super) struct Neighbour {
    /// The blocks it has; none until its `bitfield` came.
    pub(super) has: Bitfield,
    /// How many of those still have to be received here.
    pub(super) wanted: u32,
    pub(super) we_are_interested: bool,
    pub(super) it_is_interested: bool,
    pub(super) we_choke_it: bool,
    pub(super) it_chokes_us: bool,
    /// It serves us but delivers nothing.
    pub(super) snubbed: bool,

    pub(super) in_flight: Vec<InFlight>,
    pub(super) last_asked: Option<Run>,
    pub(super) in_flight_bytes: u64,
    pub(super) window: u64,
    /// Requests taken back, by us or by a choke; their blocks may still come and are welcome.
    stale: VecDeque<Run>,
    /// When it last delivered, or was first asked after delivering everything.
    pub(super) last_progress: Instant,

    /// Its requests that wait to be served.
    pub(super) queue: VecDeque<Run>,

    pub(super) received: Rate,
    pub(super) sent: Rate,
    /// Bytes received in this choke round and the one before.
    pub(super) received_rounds: [u64; 2],
    /// Bytes sent since it joined.
    pub(super) total_sent: u64,
}

impl Neighbour {
    pub(super) fn new(blocks: u32, now: Instant) -> Self {
        Self {
            has: Bitfield::empty(blocks),
            wanted: 0,
            we_are_interested: false,
            it_is_interested: false,
            we_choke_it: true,
            it_chokes_us: true,
            snubbed: false,
            in_flight: Vec::new(),
            last_asked: None,
            in_flight_bytes: 0,
            window: FIRST_WINDOW,
            stale: VecDeque::new(),
            last_progress: now,
            queue: VecDeque::new(),
            received: Rate::new(),
            sent: Rate::new(),
            received_rounds: [0; 2],
            total_sent: 0,
        }
    }

    /// How many bytes the next request may have: at least one block if the window has any room.
    pub(super) fn next_run_bytes(&self, max_run: u32, now: Instant) -> Option<u32> {
        if self.it_chokes_us || (self.snubbed && !self.in_flight.is_empty()) || self.in_flight_bytes >= self.window {
            return None;
        }
        let per_run = self.received.per_second(now) * RUN_TIME.as_millis() as u64 / 1_000;
        Some((per_run.max(FIRST_RUN.into()) as u32).min(max_run))
    }

    pub(super) fn requested(&mut self, run: Run, geometry: &Geometry, now: Instant) {
        if self.in_flight.is_empty() {
            self.last_progress = now;
        }
        self.in_flight.push(InFlight { run, sent: now });
        self.last_asked = Some(run);
        self.in_flight_bytes += geometry.run_len(run);
    }

    /// Notes an answer. Tells whether it was asked for; `None` if never, `Some(false)` if the request was taken back.
    pub(super) fn answered(&mut self, run: Run, geometry: &Geometry) -> Option<bool> {
        if self.take_in_flight(run, geometry) {
            return Some(true);
        }
        let place = self.stale.iter().position(|stale| *stale == run)?;
        self.stale.remove(place);
        Some(false)
    }

    /// Takes one request back. Its block may still come.
    pub(super) fn take_back(&mut self, run: Run, geometry: &Geometry) -> bool {
        let was_in_flight = self.take_in_flight(run, geometry);
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

    /// Grows the window by what was delivered, as long as it holds less than a second's worth.
    pub(super) fn delivered(&mut self, bytes: u64, max_window: u64, now: Instant) {
        self.received.add(bytes, now);
        self.received_rounds[0] += bytes;
        self.last_progress = now;
        self.snubbed = false;
        let second = self.received.per_second(now).max(FIRST_WINDOW);
        self.window = (self.window + bytes).min(second).min(max_window);
    }

    /// When the neighbour counts as snubbed: it owes something and delivered nothing for `patience` beyond the time
    /// that a window takes at its rate.
    pub(super) fn overdue(&self, patience: Duration) -> Option<Instant> {
        (!self.in_flight.is_empty()).then(|| self.last_progress + patience)
    }

    /// How long it takes to deliver everything asked of it and `more` bytes, at its present rate; `None` while that
    /// is not known.
    pub(super) fn time_to_deliver(&self, more: u64, now: Instant) -> Option<Duration> {
        let millis = (self.in_flight_bytes + more).saturating_mul(1_000).checked_div(self.received.per_second(now))?;
        Some(Duration::from_millis(millis))
    }

    /// Forgets a request; tells whether there was one.
    pub(super) fn take_in_flight(&mut self, run: Run, geometry: &Geometry) -> bool {
        let Some(place) = self.in_flight.iter().position(|request| request.run == run) else { return false };
        self.in_flight.remove(place);
        self.in_flight_bytes -= geometry.run_len(run);
        true
    }
}
