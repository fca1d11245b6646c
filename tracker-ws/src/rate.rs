//! How much a client may send in a second.

use crate::Limits;
use std::time::Duration;

/// What a request to the tracker counts as in messages: it takes the registry longer than it takes to pass a message on.
const REQUEST: u64 = 20;
/// What a refused message counts as, beside its size: only mistakes and attacks have many of them.
const REFUSED: u64 = 100;
/// The bytes that count as a message where nothing was passed on.
const BYTES_PER_MESSAGE: usize = 64;

/// What became of a message, which decides what it counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handled {
    /// It was passed on to another peer.
    Relayed,
    /// The tracker itself was asked, or a control frame came.
    Asked,
    /// It was refused.
    Refused,
}

impl Handled {
    /// What a message of so many bytes counts as.
    pub(crate) const fn messages(self, bytes: usize) -> u64 {
        match self {
            Self::Relayed => 1,
            Self::Asked => REQUEST + (bytes / BYTES_PER_MESSAGE) as u64,
            Self::Refused => REFUSED + (bytes / BYTES_PER_MESSAGE) as u64,
        }
    }
}

/// Counts what comes, and tells how long to read no more.
///
/// What comes is never refused for coming too fast: the sender is read later, so that its own line slows it down.
#[derive(Debug, Clone)]
pub(crate) struct Allowance {
    messages: Meter,
    bytes: Meter,
}

impl Allowance {
    /// What one connection may send.
    pub(crate) const fn of_connection(limits: &Limits) -> Self {
        Self { messages: Meter::new(limits.messages_per_second), bytes: Meter::new(limits.bytes_per_second) }
    }

    /// What all connections of one address may send together.
    pub(crate) const fn of_address(limits: &Limits) -> Self {
        let (messages, bytes) = (limits.address_messages_per_second, limits.address_bytes_per_second);
        Self { messages: Meter::new(messages), bytes: Meter::new(bytes) }
    }

    /// Notes what came, and gives the time to wait before more is read.
    pub(crate) fn spend(&mut self, messages: u64, bytes: usize, now: Duration) -> Duration {
        self.messages.spend(messages, now).max(self.bytes.spend(bytes as u64, now))
    }

    /// Whether nothing of what was spent counts any longer.
    pub(crate) fn is_fresh(&self, now: Duration) -> bool {
        self.messages.paid_until <= now && self.bytes.paid_until <= now
    }
}

/// A meter that runs ahead of the clock by what was spent, at most by a second without a wait (the virtual scheduling
/// form of the generic cell rate algorithm; ITU-T I.371).
#[derive(Debug, Clone)]
struct Meter {
    /// 0 for no limit.
    per_second: u32,
    /// When everything that was spent is paid for.
    paid_until: Duration,
}

impl Meter {
    const BURST: Duration = Duration::from_secs(1);

    const fn new(per_second: u32) -> Self {
        Self { per_second, paid_until: Duration::ZERO }
    }

    fn spend(&mut self, amount: u64, now: Duration) -> Duration {
        if self.per_second == 0 {
            return Duration::ZERO;
        }
        let price = Duration::from_nanos(amount.saturating_mul(1_000_000_000) / u64::from(self.per_second));
        self.paid_until = self.paid_until.max(now) + price;
        self.paid_until.saturating_sub(now + Self::BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_second_s_worth_is_free_and_more_is_waited_for() {
        let mut meter = Meter::new(100);
        assert_eq!(meter.spend(100, Duration::ZERO), Duration::ZERO);
        assert_eq!(meter.spend(50, Duration::ZERO), SECOND / 2);
        // After that wait nothing is owed, and nothing is left.
        assert_eq!(meter.spend(1, SECOND / 2), SECOND / 100);
        assert_eq!(meter.spend(100, 10 * SECOND), Duration::ZERO, "no more than a second's worth is saved");
        assert_eq!(meter.spend(100, 10 * SECOND), SECOND);
    }

    #[test]
    fn the_rate_is_kept_whatever_the_pace() {
        let mut meter = Meter::new(1_000);
        let (mut now, mut spent) = (Duration::ZERO, 0);
        while now < 100 * SECOND {
            let amount = 1 + spent % 77;
            spent += amount;
            now += meter.spend(amount, now) + Duration::from_micros(10);
        }
        assert!((100_000..=101_200).contains(&spent), "{spent}");
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        assert_eq!(Meter::new(0).spend(u64::MAX, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn what_is_refused_costs_by_its_size() {
        assert_eq!(Handled::Relayed.messages(1 << 20), 1);
        assert_eq!(Handled::Asked.messages(100), 21);
        assert_eq!(Handled::Refused.messages(1 << 20), 100 + (1 << 14));
        let limits = Limits { messages_per_second: 1_000, bytes_per_second: 10_000, ..Limits::default() };
        let mut allowance = Allowance::of_connection(&limits);
        assert!(allowance.is_fresh(Duration::ZERO));
        assert_eq!(allowance.spend(1, 10_000, Duration::ZERO), Duration::ZERO);
        assert_eq!(allowance.spend(1, 10_000, Duration::ZERO), SECOND);
        assert!(!allowance.is_fresh(SECOND) && allowance.is_fresh(2 * SECOND));
    }
}
