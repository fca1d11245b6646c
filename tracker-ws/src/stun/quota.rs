//! How many answers there are in a second.

use crate::address::AddressKey;
use std::{fmt, time::Duration};

/// Answers a second to one address. A class behind one router has 512 tabs (`Limits::address_connections`); each asks once
/// for a line and then every ten seconds as long as it has it, and asks again for half a minute if it is not answered. All
/// of them are at most 51 KB a second, with all heads: no harm to who did not ask.
pub(super) const ADDRESS_ANSWERS: u16 = 512;
/// Answers a second to all addresses: half of as many clients as a tracker has at most, in the second after it came back.
/// They are 5 Mbit/s, or 8 over IPv6.
pub(super) const ALL_ANSWERS: u32 = 10_000;
/// Datagrams a second that are read at all. More would only take time from the relay: a flood that is not answered, too.
pub(super) const ALL_DATAGRAMS: u32 = 40_000;
/// The counters that the addresses share, 16 KiB in all. Only answers are counted, so that no more than
/// `ALL_ANSWERS / ADDRESS_ANSWERS`, which is 19 of them, can be full in a second: who has a counter with one of those, by
/// a chance of 1 in 400, gets the answer in the next, in which it has another.
const COUNTERS: usize = 8_192;

/// Counts answers in a memory that nobody can make grow. Nothing outlasts the second: who forges the addresses of others
/// cannot lock them out for longer than it goes on, and even then who asks early in a second is answered.
pub(super) struct Quota {
    /// Chooses the counter of an address, which nobody can foresee.
    key: [u8; blake3::KEY_LEN],
    second: u64,
    read: u32,
    answered: u32,
    by_address: Box<[u16]>,
}

impl Quota {
    /// A quota of which nothing is used.
    pub(super) fn new(key: [u8; blake3::KEY_LEN]) -> Self {
        Self { key, second: 0, read: 0, answered: 0, by_address: vec![0; COUNTERS].into() }
    }

    /// Counts a datagram.
    pub(super) fn read(&mut self, now: Duration) {
        self.begin(now);
        self.read = self.read.saturating_add(1);
    }

    /// Counts an answer to an address, if it may have one more.
    pub(super) fn take(&mut self, address: AddressKey, now: Duration) -> bool {
        self.begin(now);
        let counter = self.counter(address);
        let counter = &mut self.by_address[counter];
        if self.answered >= ALL_ANSWERS || *counter >= ADDRESS_ANSWERS {
            return false;
        }
        *counter += 1;
        self.answered += 1;
        true
    }

    /// How long there is no use in reading on.
    pub(super) fn pause(&self, now: Duration) -> Duration {
        if self.read < ALL_DATAGRAMS && self.answered < ALL_ANSWERS {
            return Duration::ZERO;
        }
        Duration::from_secs(self.second + 1).saturating_sub(now)
    }

    fn begin(&mut self, now: Duration) {
        if self.second != now.as_secs() {
            self.second = now.as_secs();
            (self.read, self.answered) = (0, 0);
            self.by_address.fill(0);
        }
    }

    fn counter(&self, address: AddressKey) -> usize {
        let mut bytes = [0; 17];
        let (kind, network) = match address {
            AddressKey::V4(address) => (4, u64::from(address.to_bits())),
            AddressKey::V6(network) => (6, network),
        };
        bytes[0] = kind;
        bytes[1..9].copy_from_slice(&network.to_be_bytes());
        bytes[9..].copy_from_slice(&self.second.to_be_bytes());
        let hash = blake3::keyed_hash(&self.key, &bytes);
        let [first, second, ..] = *hash.as_bytes();
        usize::from(u16::from_be_bytes([first, second])) % COUNTERS
    }
}

/// Never shows the key, so that it cannot reach a log.
impl fmt::Debug for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { second, read, answered, .. } = self;
        write!(f, "Quota({read} read and {answered} answered in second {second})")
    }
}
