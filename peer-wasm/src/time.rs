//! The core's own time: it is handed in, never read from a clock.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

/// A moment, as the time since the peer started. Shells make it from their clock, simulators from nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Instant {
    /// Enough for 584 years, in half the bytes of a [`Duration`]: there are many for each neighbour of each peer.
    nanos: u64,
}

impl Instant {
    /// The moment this long after the start.
    pub const fn after_start(elapsed: Duration) -> Self {
        let nanos = elapsed.as_nanos();
        Self { nanos: if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 } }
    }

    /// The time since the start.
    pub const fn since_start(self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// The time since an earlier moment; zero since a later one.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self { nanos: self.nanos.saturating_add(Self::after_start(duration).nanos) }
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self { nanos: self.nanos.saturating_sub(Self::after_start(duration).nanos) }
    }
}
