//! A peer's line: what it carries in a second, and how long a byte is on its way.

use crate::network::Way;
use peer_wasm::Instant;
use protocol::PeerMessage;
use rand::{Rng, RngExt as _};
use std::{collections::VecDeque, time::Duration};

/// The capacity and latency of one peer's line to the relay.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// Bytes per second towards the relay.
    pub up: u64,
    /// Bytes per second from the relay.
    pub down: u64,
    /// From the peer to the relay, and from the relay to the peer.
    pub latency: Duration,
    /// The most that a message takes longer or shorter on its way to the relay.
    pub jitter: Duration,
}

impl Line {
    /// A line of so many megabits (1,000,000 bits) per second, with `latency` to the relay.
    pub const fn mbit(up: u64, down: u64, latency: Duration) -> Self {
        Self { up: up * 125_000, down: down * 125_000, latency, jitter: Duration::ZERO }
    }
}

/// A line in use: one message at a time in each direction, control before data.
#[derive(Debug)]
pub(crate) struct BusyLine {
    pub(crate) line: Line,
    /// Until when the way up is taken.
    up_until: Instant,
    /// Until when the way down is taken.
    down_until: Instant,
    /// When the last message arrives at the relay; the next may not overtake it.
    last_at_relay: Instant,
    /// Data that waits for the way up, with its size on the wire.
    waiting: VecDeque<(Way, PeerMessage, u64)>,
    is_sending_data: bool,
    /// The line will be asked again at a moment that it told.
    is_waiting: bool,
}

impl BusyLine {
    pub(crate) fn new(line: Line, now: Instant) -> Self {
        Self {
            line,
            up_until: now,
            down_until: now,
            last_at_relay: now,
            waiting: VecDeque::new(),
            is_sending_data: false,
            is_waiting: false,
        }
    }

    /// Sends `bytes` as soon as the message on the line is through; tells when they are at the relay.
    pub(crate) fn send(&mut self, bytes: u64, now: Instant, rng: &mut impl Rng) -> Instant {
        self.up_until = self.up_until.max(now) + time_of(bytes, self.line.up);
        let jitter = rng.random_range(0..=2 * self.line.jitter.as_nanos() as u64);
        let travel = (self.line.latency + Duration::from_nanos(jitter)).saturating_sub(self.line.jitter);
        self.last_at_relay = self.last_at_relay.max(self.up_until + travel);
        self.last_at_relay
    }

    pub(crate) fn wait(&mut self, way: Way, data: PeerMessage, bytes: u64) {
        self.waiting.push_back((way, data, bytes));
    }

    /// The next data for the way up.
    pub(crate) fn next_data(&mut self, now: Instant) -> Next {
        if self.is_sending_data || self.is_waiting || self.waiting.is_empty() {
            return Next::Nothing;
        }
        if self.up_until > now {
            self.is_waiting = true;
            return Next::At(self.up_until);
        }
        match self.waiting.pop_front() {
            None => Next::Nothing,
            Some((way, data, bytes)) => {
                self.is_sending_data = true;
                Next::Data(way, data, bytes)
            }
        }
    }

    /// The data on the way up left.
    pub(crate) const fn data_left(&mut self) {
        self.is_sending_data = false;
    }

    /// The moment of [`Next::At`] came.
    pub(crate) const fn woken(&mut self) {
        self.is_waiting = false;
    }

    /// Until when the way up is taken.
    pub(crate) const fn up_until(&self) -> Instant {
        self.up_until
    }

    /// Takes `bytes` of data from the relay; tells when they have arrived.
    pub(crate) fn receive(&mut self, bytes: u64, now: Instant) -> Instant {
        self.down_until = self.down_until.max(now) + time_of(bytes, self.line.down);
        self.down_until + self.line.latency
    }

    /// Takes `bytes` of control that will be at the relay then, and go before data; tells when they will have arrived. They
    /// take their part of the line at once: data that is at the relay sooner does not wait for them.
    pub(crate) fn receive_first(&mut self, bytes: u64, at_relay: Instant, now: Instant) -> Instant {
        let time = time_of(bytes, self.line.down);
        self.down_until = self.down_until.max(now) + time;
        at_relay + time + self.line.latency
    }
}

/// What a line can do with the data that waits.
#[allow(clippy::large_enum_variant, reason = "there is one at a time, on the stack")]
pub(crate) enum Next {
    /// It is busy, or no data waits.
    Nothing,
    /// It is free at this moment.
    At(Instant),
    /// This, of so many bytes on the wire, is sent.
    Data(Way, PeerMessage, u64),
}

/// How long `bytes` take at `rate` bytes per second.
pub(crate) fn time_of(bytes: u64, rate: u64) -> Duration {
    Duration::from_nanos((u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1))) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_does_not_wait_for_control_that_is_still_on_its_way_to_the_relay() {
        let after = |millis| Instant::after_start(Duration::from_millis(millis));
        let line = Line { up: 1_000, down: 1_000, latency: Duration::from_millis(5), jitter: Duration::ZERO };
        let mut line = BusyLine::new(line, after(0));
        assert_eq!(line.receive_first(100, after(2_000), after(0)), after(2_105));
        // It takes its part of the line all the same.
        assert_eq!(line.receive(1_000, after(0)), after(1_105));
        assert_eq!(line.receive_first(100, after(50), after(50)), after(155), "control goes first");
        assert_eq!(line.receive(1_000, after(60)), after(2_205));
    }
}
