//! The line to the tracker: when to connect again, and how to notice that it is dead.
//!
//! A tab that slept or changed networks holds a socket that looks open and is not. Whoever hears nothing for a while
//! asks for a `pong`, and gives the line up if none comes.

use super::seconds;
use crate::Instant;
use rand::{Rng, RngExt as _};
use std::time::Duration;

/// Silence after which a `pong` is asked for. The tracker's own pings are invisible to a page.
const SILENCE: Duration = seconds(20);
/// How long a `pong`, an opened socket, or `registered` may take.
const PATIENCE: Duration = seconds(10);
/// The first pause before connecting again; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = seconds(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting {
        give_up: Instant,
    },
    Registering {
        give_up: Instant,
    },
    Online {
        heard: Instant,
        probed: Option<Instant>,
    },
    Waiting {
        until: Instant,
    },
    /// The tracker does not want this peer.
    Ended,
}

/// What a deadline or a wake-up calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    None,
    Connect,
    Probe,
    Disconnect,
}

#[derive(Debug)]
pub(super) struct Link {
    state: State,
    /// Tries since the last success.
    tries: u32,
    last_heard: Instant,
}

impl Link {
    pub(super) fn connecting(now: Instant) -> Self {
        Self { state: State::Connecting { give_up: now + PATIENCE }, tries: 0, last_heard: now }
    }

    pub(super) fn reconnecting(self, now: Instant) -> Self {
        Self { tries: self.tries, ..Self::connecting(now) }
    }

    pub(super) fn opened(&mut self, now: Instant) {
        self.state = State::Registering { give_up: now + PATIENCE };
        self.last_heard = now;
    }

    pub(super) fn registered(&mut self) {
        self.tries = 0;
        self.state = State::Online { heard: self.last_heard, probed: None };
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.last_heard = now;
        if let State::Online { heard, probed } = &mut self.state {
            *heard = now;
            *probed = None;
        }
    }

    /// Notes that the socket is gone; tells the milliseconds until the next try.
    pub(super) fn closed(&mut self, now: Instant, rng: &mut impl Rng) -> u32 {
        let longest = FIRST_PAUSE.saturating_mul(1 << self.tries.min(16)).min(LONGEST_PAUSE);
        // Half of it at random, so that a room whose tracker restarts does not come back at one moment.
        let pause = longest.mul_f64(rng.random_range(0.5..1.0));
        self.tries += 1;
        self.state = State::Waiting { until: now + pause };
        pause.as_millis() as u32
    }

    /// Notes that the socket is gone and that no other is to be tried.
    pub(super) fn end(&mut self) {
        self.state = State::Ended;
    }

    pub(super) const fn is_online(&self) -> bool {
        matches!(self.state, State::Online { .. })
    }

    pub(super) const fn is_registering(&self) -> bool {
        matches!(self.state, State::Registering { .. })
    }

    pub(super) fn wake(&mut self, now: Instant) -> Action {
        match &mut self.state {
            State::Online { probed: probed @ None, .. } => {
                *probed = Some(now);
                Action::Probe
            }
            State::Waiting { .. } => Action::Connect,
            State::Online { .. } | State::Connecting { .. } | State::Registering { .. } | State::Ended => Action::None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        Some(match self.state {
            State::Connecting { give_up } | State::Registering { give_up } => give_up,
            State::Online { probed: Some(probed), .. } => probed + PATIENCE,
            State::Online { heard, probed: None } => heard + SILENCE,
            State::Waiting { until } => until,
            State::Ended => return None,
        })
    }

    pub(super) fn timeout(&mut self, now: Instant) -> Action {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Action::None;
        }
        match &mut self.state {
            State::Ended => Action::None,
            State::Waiting { .. } => Action::Connect,
            State::Online { probed: probed @ None, .. } => {
                *probed = Some(now);
                Action::Probe
            }
            State::Online { .. } | State::Connecting { .. } | State::Registering { .. } => Action::Disconnect,
        }
    }
}
