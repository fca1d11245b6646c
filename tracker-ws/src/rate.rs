//! How much a client may send in a second.

use crate::{Limits, address::AddressKey};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What everything counts as in messages that the tracker itself has to deal with, beside its size: more than it takes
/// to pass a message on.
const ASKED: u64 = 20;
/// What it counts as to be refused: only mistakes and attacks have many of them.
const REFUSED: u64 = 100;
/// What a new connection counts as, which takes hundreds of microseconds.
pub(crate) const CONNECTED: u64 = 1_000;
/// The bytes that count as a message where nothing was passed on.
const BYTES_PER_MESSAGE: usize = 64;

/// What became of a message, which decides what it counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handled {
    /// It was passed on to another peer; or it was not, and its sender is not to blame.
    Relayed,
    /// The tracker itself was asked, or a control frame came. What it sent to whomever had so many bytes.
    Asked { answered: usize },
    /// It was refused.
    Refused,
}

/// What was read of a connection for a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Came {
    /// More than one if it came in fragments.
    pub(crate) frames: u64,
    /// With the headers.
    pub(crate) bytes: usize,
}

impl Handled {
    /// What a message counts as that came so.
    pub(crate) const fn messages(self, came: Came) -> u64 {
        match self {
            Self::Relayed => came.frames,
            Self::Asked { answered } => came.frames + ASKED + ((came.bytes + answered) / BYTES_PER_MESSAGE) as u64,
            Self::Refused => came.frames + REFUSED + (came.bytes / BYTES_PER_MESSAGE) as u64,
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
    const fn of_connection(limits: &Limits) -> Self {
        Self { messages: Meter::new(limits.messages_per_second), bytes: Meter::new(limits.bytes_per_second) }
    }

    const fn of_address(limits: &Limits) -> Self {
        let (messages, bytes) = (limits.address_messages_per_second, limits.address_bytes_per_second);
        Self { messages: Meter::new(messages), bytes: Meter::new(bytes) }
    }

    /// Notes what came, of which this is the allowance of one of `sharers`, and gives the time to wait before more is
    /// read.
    fn spend(&mut self, messages: u64, bytes: usize, sharers: usize, now: Duration) -> Duration {
        let sharers = sharers as u64;
        self.messages.spend(messages * sharers, now).max(self.bytes.spend(bytes as u64 * sharers, now))
    }

    /// Whether nothing of what was spent counts any longer.
    fn is_fresh(&self, now: Duration) -> bool {
        self.messages.paid_until <= now && self.bytes.paid_until <= now
    }
}

/// What all connections of one address may send together; copies share it.
#[derive(Debug, Clone)]
pub(crate) struct AddressAllowance(Arc<Mutex<OfAddress>>);

#[derive(Debug, Clone)]
struct OfAddress {
    websockets: Allowance,
    /// Connections and requests, in messages.
    http: Meter,
    /// Bytes of messages that are coming in.
    held: usize,
}

impl AddressAllowance {
    /// The allowance of an address of which nothing came yet.
    pub(crate) fn new(limits: &Limits) -> Self {
        let http = Meter::new(limits.address_messages_per_second);
        Self(Arc::new(Mutex::new(OfAddress { websockets: Allowance::of_address(limits), http, held: 0 })))
    }

    /// Notes a connection or a request over HTTP, and gives the time to wait before it is answered.
    pub(crate) fn spend_http(&self, messages: u64, now: Duration) -> Duration {
        self.lock().http.spend(messages, now)
    }

    /// Changes the bytes that the address holds of messages that are coming in, if `change` gives others.
    pub(crate) fn hold(&self, change: impl FnOnce(usize) -> Option<usize>) -> bool {
        let mut address = self.lock();
        let changed = change(address.held);
        address.held = changed.unwrap_or(address.held);
        changed.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, OfAddress> {
        // No code that holds the lock can leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one connection may send, by itself and as one of its address.
#[derive(Debug)]
pub(crate) struct ConnectionAllowance {
    own: Allowance,
    /// Its part of what the address may send, if all its connections had the same.
    share: Allowance,
    address: AddressAllowance,
}

impl ConnectionAllowance {
    /// The allowance of a connection of which nothing came yet.
    pub(crate) fn new(limits: &Limits, address: AddressAllowance) -> Self {
        Self { own: Allowance::of_connection(limits), share: Allowance::of_address(limits), address }
    }

    /// Notes what came, and gives the time to wait before more is read.
    pub(crate) fn spend(&mut self, messages: u64, bytes: usize, now: Duration) -> Duration {
        // One is in the table of addresses.
        let sharers = Arc::strong_count(&self.address.0).saturating_sub(1).max(1);
        let own = self.own.spend(messages, bytes, 1, now);
        let share = self.share.spend(messages, bytes, sharers, now);
        let together = self.address.lock().websockets.spend(messages, bytes, 1, now);
        // Who keeps to its share does not wait because others of its address do not.
        if share.is_zero() { own } else { own.max(together) }
    }
}

/// The allowances of all addresses from which somebody is here, or was a moment ago: who comes back owes what it owed.
#[derive(Debug)]
pub(crate) struct AddressRates {
    limits: Limits,
    addresses: Mutex<Addresses>,
}

#[derive(Debug)]
struct Addresses {
    table: BTreeMap<AddressKey, AddressAllowance>,
    /// The size at which those are looked for that nobody needs.
    swept_at: usize,
}

impl AddressRates {
    const SWEPT_AT_LEAST: usize = 1_024;

    pub(crate) fn new(limits: &Limits) -> Self {
        let addresses = Addresses { table: BTreeMap::new(), swept_at: Self::SWEPT_AT_LEAST };
        Self { limits: limits.clone(), addresses: Mutex::new(addresses) }
    }

    /// The allowance of an address.
    pub(crate) fn of(&self, key: AddressKey, now: Duration) -> AddressAllowance {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.table.len() >= addresses.swept_at {
            let is_needed = |shared: &AddressAllowance| {
                let allowance = shared.lock();
                Arc::strong_count(&shared.0) > 1
                    || allowance.http.paid_until > now
                    || !allowance.websockets.is_fresh(now)
            };
            addresses.table.retain(|_, shared| is_needed(shared));
            addresses.swept_at = Self::SWEPT_AT_LEAST.max(2 * addresses.table.len());
        }
        addresses.table.entry(key).or_insert_with(|| AddressAllowance::new(&self.limits)).clone()
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
        assert_eq!(rates.of(key(0), Duration::ZERO).spend_http(20, Duration::ZERO), SECOND);
        assert_eq!(rates.of(key(0), SECOND).spend_http(10, SECOND), SECOND, "a new connection changes nothing");
        assert_eq!(rates.of(key(1), SECOND).spend_http(10, SECOND), Duration::ZERO, "another address owes nothing");
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
    fn who_keeps_to_its_share_does_not_wait_for_others_of_its_address() {
        let limits = Limits { address_messages_per_second: 1_000, ..Limits::default() };
        let rates = AddressRates::new(&limits);
        let address = rates.of(AddressKey::V6(1), Duration::ZERO);
        let mut connections: Vec<_> = (0..10).map(|_| ConnectionAllowance::new(&limits, address.clone())).collect();
        drop(address);
        for heavy in &mut connections[1..] {
            heavy.spend(10_000, 0, Duration::ZERO);
        }
        assert!(connections[1].spend(1, 0, SECOND) > 50 * SECOND, "what all of them sent is waited for");
        let light = &mut connections[0];
        for second in 1..50 {
            assert_eq!(light.spend(90, 0, second * SECOND), Duration::ZERO);
        }
        assert!(light.spend(1_000, 0, 50 * SECOND) > Duration::ZERO);
    }

    #[test]
    fn what_is_not_passed_on_costs_by_its_size_and_that_of_the_answer() {
        let came = |frames, bytes| Came { frames, bytes };
        assert_eq!(Handled::Relayed.messages(came(1, 1 << 20)), 1);
        assert_eq!(Handled::Relayed.messages(came(40_000, 300_000)), 40_000, "each fragment counts");
        assert_eq!(Handled::Asked { answered: 0 }.messages(came(1, 100)), 22);
        assert_eq!(Handled::Asked { answered: 640 }.messages(came(1, 0)), 31);
        assert_eq!(Handled::Refused.messages(came(1, 1 << 20)), 101 + (1 << 14));
        let limits = Limits { messages_per_second: 1_000, bytes_per_second: 10_000, ..Limits::default() };
        let mut allowance = Allowance::of_connection(&limits);
        assert!(allowance.is_fresh(Duration::ZERO));
        assert_eq!(allowance.spend(1, 10_000, 1, Duration::ZERO), Duration::ZERO);
        assert_eq!(allowance.spend(1, 10_000, 1, Duration::ZERO), SECOND);
        assert!(!allowance.is_fresh(SECOND) && allowance.is_fresh(2 * SECOND));
    }
}
