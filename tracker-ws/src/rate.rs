//! How much a client may send in a second.

use crate::{Limits, address::AddressKey};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What a request to the tracker counts as in messages: it takes the registry longer than it takes to pass a message on.
const REQUEST: u64 = 20;
/// What a refused message counts as, beside its size: only mistakes and attacks have many of them.
const REFUSED: u64 = 100;
/// The bytes that count as a message where nothing was passed on.
const BYTES_PER_MESSAGE: usize = 64;

/// What became of a message, which decides what it counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handled {
    /// It was passed on to another peer, or there was no room for it.
    Relayed,
    /// The tracker itself was asked, or a control frame came. What it sent to whomever had so many bytes.
    Asked { answered: usize },
    /// It was refused.
    Refused,
}

impl Handled {
    /// What a message of so many bytes counts as.
    pub(crate) const fn messages(self, bytes: usize) -> u64 {
        match self {
            Self::Relayed => 1,
            Self::Asked { answered } => REQUEST + ((bytes + answered) / BYTES_PER_MESSAGE) as u64,
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

/// What all connections of one address may send together; copies share it.
#[derive(Debug, Clone)]
pub(crate) struct SharedAllowance(Arc<Mutex<Allowance>>);

impl SharedAllowance {
    pub(crate) fn new(allowance: Allowance) -> Self {
        Self(Arc::new(Mutex::new(allowance)))
    }

    /// As [`Allowance::spend`].
    pub(crate) fn spend(&self, messages: u64, bytes: usize, now: Duration) -> Duration {
        self.lock().spend(messages, bytes, now)
    }

    fn lock(&self) -> MutexGuard<'_, Allowance> {
        // No code that holds the lock can leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The allowances of all addresses from which somebody is here, or was a moment ago: who comes back owes what it owed.
#[derive(Debug)]
pub(crate) struct AddressRates {
    fresh: Allowance,
    addresses: Mutex<Addresses>,
}

#[derive(Debug)]
struct Addresses {
    table: BTreeMap<AddressKey, SharedAllowance>,
    /// The size at which those are looked for that nobody needs.
    swept_at: usize,
}

impl AddressRates {
    const SWEPT_AT_LEAST: usize = 1_024;

    pub(crate) const fn new(limits: &Limits) -> Self {
        let addresses = Addresses { table: BTreeMap::new(), swept_at: Self::SWEPT_AT_LEAST };
        Self { fresh: Allowance::of_address(limits), addresses: Mutex::new(addresses) }
    }

    /// The allowance of an address.
    pub(crate) fn of(&self, key: AddressKey, now: Duration) -> SharedAllowance {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.table.len() >= addresses.swept_at {
            addresses.table.retain(|_, shared| Arc::strong_count(&shared.0) > 1 || !shared.lock().is_fresh(now));
            addresses.swept_at = Self::SWEPT_AT_LEAST.max(2 * addresses.table.len());
        }
        let fresh = || SharedAllowance::new(self.fresh.clone());
        addresses.table.entry(key).or_insert_with(fresh).clone()
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
    fn an_address_owes_what_it_owed_until_that_is_paid_and_is_forgotten_then() {
        let limits = Limits { address_messages_per_second: 10, ..Limits::default() };
        let rates = AddressRates::new(&limits);
        let key = |last: u32| AddressKey::V4(last.into());
        assert_eq!(rates.of(key(0), Duration::ZERO).spend(20, 0, Duration::ZERO), SECOND);
        assert_eq!(rates.of(key(0), SECOND).spend(10, 0, SECOND), SECOND, "a new connection changes nothing");
        assert_eq!(rates.of(key(1), SECOND).spend(10, 0, SECOND), Duration::ZERO, "another address owes nothing");
        let here = rates.of(key(2), SECOND);
        let size = || rates.addresses.lock().unwrap().table.len();
        for other in 0..10_000 {
            rates.of(key(10 + other), 10 * SECOND);
            assert!(size() <= AddressRates::SWEPT_AT_LEAST);
        }
        assert!(rates.addresses.lock().unwrap().table.contains_key(&key(2)));
        drop(here);
    }

    #[test]
    fn what_is_refused_costs_by_its_size() {
        assert_eq!(Handled::Relayed.messages(1 << 20), 1);
        assert_eq!(Handled::Asked { answered: 0 }.messages(100), 21);
        assert_eq!(Handled::Asked { answered: 640 }.messages(0), 30);
        assert_eq!(Handled::Refused.messages(1 << 20), 100 + (1 << 14));
        let limits = Limits { messages_per_second: 1_000, bytes_per_second: 10_000, ..Limits::default() };
        let mut allowance = Allowance::of_connection(&limits);
        assert!(allowance.is_fresh(Duration::ZERO));
        assert_eq!(allowance.spend(1, 10_000, Duration::ZERO), Duration::ZERO);
        assert_eq!(allowance.spend(1, 10_000, Duration::ZERO), SECOND);
        assert!(!allowance.is_fresh(SECOND) && allowance.is_fresh(2 * SECOND));
    }
}
