//! Where connections come from, as far as limits are concerned.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The bits of an IPv6 address that are its customer's.
const HOST_BITS: u32 = 72;

/// What counts as one address: an IPv4 address, also where it is mapped into IPv6, or the /56 network of an IPv6
/// address, which is the least that one customer gets beyond a single network (RFC 6177).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AddressKey {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// The first 56 bits of an IPv6 address.
    V6(u64),
}

impl AddressKey {
    /// The key of a remote's address.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> HOST_BITS) as u64),
        }
    }

    /// Whether what goes from one to the other probably leaves no network of theirs: both are one address, which a machine
    /// has, or all that is behind a router, or both are of addresses that mean nothing outside.
    pub(crate) fn is_near(self, other: Self) -> bool {
        self == other || (self.is_private() && other.is_private())
    }

    /// Whether both are one machine. Behind one public address there may be many, and in one network of IPv6, too; behind an
    /// IPv4 address that means nothing outside, or the loopback address of IPv6, there is one.
    pub(crate) fn is_one_machine(self, other: Self) -> bool {
        const LOOPBACK: AddressKey = AddressKey::V6(0);
        self == other
            && match self {
                Self::V4(_) => self.is_private(),
                Self::V6(_) => self == LOOPBACK,
            }
    }

    /// Whether it is of this machine, its link, or a private network (RFC 1918, RFC 3927, RFC 4193, RFC 4291).
    const fn is_private(self) -> bool {
        match self {
            Self::V4(address) => address.is_private() || address.is_loopback() || address.is_link_local(),
            Self::V6(network) => {
                let address = Ipv6Addr::from_bits((network as u128) << HOST_BITS);
                // The loopback address is the only one of its network that is given to anybody.
                address.is_unspecified() || address.is_unique_local() || address.is_unicast_link_local()
            }
        }
    }
}

impl fmt::Display for AddressKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => write!(f, "{address}"),
            Self::V6(network) => {
                write!(f, "{}/{}", Ipv6Addr::from_bits(u128::from(*network) << HOST_BITS), 128 - HOST_BITS)
            }
        }
    }
}

/// The places that each address may take, of which there are `limit`. A handle: copies count together.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    limit: usize,
    /// Only addresses with a place are here, so that there are never more than connections.
    taken: Arc<Mutex<BTreeMap<AddressKey, usize>>>,
}

/// A place of one address; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    key: AddressKey,
    places: Places,
}

impl Places {
    /// Places of which an address may take `limit`.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, taken: Arc::default() }
    }

    /// Takes a place, if the address may have one more.
    pub(crate) fn take(&self, key: AddressKey) -> Option<Place> {
        let mut taken = self.lock();
        let count = taken.get(&key).copied().unwrap_or_default();
        if count >= self.limit {
            return None;
        }
        taken.insert(key, count + 1);
        drop(taken);
        Some(Place { key, places: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<AddressKey, usize>> {
        // No code that holds the lock can leave the counts half changed.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: &str) -> AddressKey {
        AddressKey::of(address.parse().unwrap())
    }

    #[test]
    fn one_customer_is_one_address() {
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:ff::1"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:102::1"));
        // The network of `::1`, which is not 0.0.0.0.
        assert_ne!(key("::1"), key("0.0.0.0"));
        assert_eq!(key("::ffff:192.0.2.1").to_string(), "192.0.2.1");
        assert_eq!(key("2001:db8:1:2::1").to_string(), "2001:db8:1::/56");
    }

    #[test]
    fn those_are_near_whose_addresses_mean_nothing_outside_or_are_the_same() {
        let private =
            ["192.168.1.2", "10.0.0.1", "172.16.0.1", "169.254.1.1", "127.0.0.1", "::1", "fd00::1", "fe80::1"];
        let public = ["203.0.113.1", "172.32.0.1", "192.169.1.1", "2001:db8::1", "0.0.0.0"];
        for one in private {
            assert!(private.iter().all(|other| key(one).is_near(key(other))), "{one}");
            assert!(public.iter().all(|other| !key(one).is_near(key(other)) && !key(other).is_near(key(one))), "{one}");
        }
        for one in public {
            assert!(public.iter().all(|other| key(one).is_near(key(other)) == (one == *other)), "{one}");
        }
        assert!(key("2001:db8:1:2::1").is_near(key("2001:db8:1:ff::9")), "they are one customer");
    }

    #[test]
    fn one_machine_is_what_shares_an_address_that_only_one_can_have() {
        for one in ["192.168.1.2", "10.0.0.1", "169.254.1.1", "127.0.0.1", "::1", "::ffff:10.0.0.1"] {
            assert!(key(one).is_one_machine(key(one)), "{one}");
            assert!(!key(one).is_one_machine(key("10.0.0.2")), "{one}");
        }
        for many in ["203.0.113.1", "2001:db8::1", "fd00::1", "fe80::1"] {
            assert!(!key(many).is_one_machine(key(many)), "{many}");
        }
    }

    #[test]
    fn an_address_has_its_places_and_gives_them_back() {
        let places = Places::new(2);
        let (here, there) = (key("192.0.2.1"), key("192.0.2.2"));
        let [first, second] = [(); 2].map(|()| places.take(here).unwrap());
        assert!(places.take(here).is_none());
        let other = places.take(there).unwrap();
        drop(first);
        let third = places.take(here).unwrap();
        assert!(places.take(here).is_none());
        drop((second, third, other));
        assert!(places.lock().is_empty());
        assert!(Places::new(0).take(here).is_none());
    }
}
