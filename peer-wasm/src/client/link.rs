//! The line to the tracker: when to connect again, and how to notice that it is dead.
//!
//! A tab that slept or changed networks holds a socket that looks open and is not. Whoever hears nothing for a while
//! asks for a `pong`, and gives the line up if none comes. A page sees no progress inside a message, and a `pong` waits
//! behind what is on the line already: so there is time for the largest message each way, at the rate that was observed.

use super::seconds;
use crate::Instant;
use rand::{Rng, RngExt as _};
use std::time::Duration;

/// Silence after which a `pong` is asked for. The tracker's own pings are invisible to a page.
const SILENCE: Duration = seconds(20);
/// How long a `pong`, an opened socket, or `registered` may take, if nothing else is on the line.
const PATIENCE: Duration = seconds(10);
/// The slowest line that is worth having, in bytes a second: 64 kbit/s. It is that slow as long as nothing is known.
const SLOWEST: u64 = 8 << 10;
/// A line may become this many times slower than it was.
const SLOWER: u64 = 2;
/// Rates are measured over at least this long, so that what comes in one burst is not taken for a fast line.
const PACE_OVER: Duration = seconds(1);
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

/// The bytes of the largest message that may be on the line, each way.
#[derive(Debug, Clone, Copy)]
pub(super) struct OnLine {
    pub(super) incoming: u64,
    pub(super) outgoing: u64,
}

/// How fast bytes went over the line when some did.
#[derive(Debug, Clone, Copy)]
struct Pace {
    since: Instant,
    bytes: u64,
    per_second: u64,
}

#[derive(Debug)]
pub(super) struct Link {
    state: State,
    /// Tries since the last success.
    tries: u32,
    last_heard: Instant,
    received: Pace,
    sent: Pace,
    /// Bytes of large messages sent since anything was heard.
    unheard: u64,
}

impl Link {
    pub(super) fn connecting(now: Instant) -> Self {
        Self {
            state: State::Connecting { give_up: now + PATIENCE },
            tries: 0,
            last_heard: now,
            received: Pace::new(now),
            sent: Pace::new(now),
            unheard: 0,
        }
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

    /// A frame of so many bytes came.
    pub(super) fn heard(&mut self, bytes: u64, now: Instant) {
        self.last_heard = now;
        self.received.add(bytes, now);
        self.unheard = 0;
        if let State::Online { heard, probed } = &mut self.state {
            *heard = now;
            *probed = None;
        }
    }

    /// A large message of so many bytes left the shell's hands.
    pub(super) fn sent(&mut self, bytes: u64, now: Instant) {
        self.sent.add(bytes, now);
        self.unheard += bytes;
    }

    /// Bytes of large messages that may be on the line yet.
    pub(super) const fn unheard(&self) -> u64 {
        self.unheard
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

    pub(super) fn deadline(&self, on_line: OnLine) -> Option<Instant> {
        Some(match self.state {
            State::Connecting { give_up } | State::Registering { give_up } => give_up,
            State::Online { probed: Some(probed), .. } => probed + self.patience(on_line),
            State::Online { heard, probed: None } => heard + SILENCE,
            State::Waiting { until } => until,
            State::Ended => return None,
        })
    }

    /// How long a `pong` may take behind what is on the line.
    fn patience(&self, on_line: OnLine) -> Duration {
        PATIENCE + self.received.time_for(on_line.incoming) + self.sent.time_for(on_line.outgoing)
    }

    pub(super) fn timeout(&mut self, on_line: OnLine, now: Instant) -> Action {
        if self.deadline(on_line).is_none_or(|deadline| now < deadline) {
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

impl Pace {
    const fn new(now: Instant) -> Self {
        Self { since: now, bytes: 0, per_second: 0 }
    }

    fn add(&mut self, bytes: u64, now: Instant) {
        self.bytes += bytes;
        let time = now.since(self.since);
        if time >= PACE_OVER {
            self.per_second = self.bytes * 1_000 / time.as_millis() as u64;
            self.since = now;
            self.bytes = 0;
        }
    }

    /// The most time that so many bytes may take.
    fn time_for(&self, bytes: u64) -> Duration {
        Duration::from_millis(bytes * 1_000 / (self.per_second / SLOWER).max(SLOWEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::after_start(Duration::from_millis(ms))
    }

    /// How much longer than usual a `pong` may take if so much is on a line on which messages went at these
    /// milliseconds: the same each way.
    fn allowance(messages: &[(u64, u64)], on_line: u64) -> Duration {
        let wait = |went: fn(&mut Link, u64, Instant), on_line| {
            let mut link = Link::connecting(at(0));
            link.opened(at(0));
            link.registered();
            messages.iter().for_each(|(ms, bytes)| went(&mut link, *bytes, at(*ms)));
            assert_eq!(link.wake(at(9_000)), Action::Probe);
            link.deadline(on_line).unwrap().since(at(9_000)) - PATIENCE
        };
        let incoming = wait(Link::heard, OnLine { incoming: on_line, outgoing: 0 });
        assert_eq!(wait(Link::sent, OnLine { incoming: 0, outgoing: on_line }), incoming);
        incoming
    }

    #[test]
    fn a_pong_has_time_for_what_is_on_the_line_at_half_the_rate_that_was_seen() {
        let each_second = |bytes| [1_000, 2_000, 3_000].map(|ms| (ms, bytes));
        let (at_64_kbit, second) = (8 << 10, seconds(1));
        assert_eq!(allowance(&[], 0), seconds(0));
        assert_eq!(allowance(&[], at_64_kbit), second, "nothing is known");
        assert_eq!(allowance(&each_second(1 << 10), at_64_kbit), second, "none is slower");
        assert_eq!(allowance(&each_second(20 << 10), 10 << 10), second);
        assert_eq!(allowance(&[(4_000, 80 << 10), (8_000, 80 << 10)], 10 << 10), second);
        assert_eq!(allowance(&each_second(1 << 20), 1 << 20), 2 * second);
        assert_eq!(allowance(&[(1, 1 << 20), (2, 1 << 20)], at_64_kbit), second, "a burst shows no rate");
        assert_eq!(
            allowance(&[(500, 10 << 10), (1_000, 10 << 10)], 10 << 10),
            second,
            "a rate is of all since the last"
        );
    }
}
