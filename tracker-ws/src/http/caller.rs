//! Who is at the other end of an HTTP connection.

use crate::{
    address::{AddressKey, Place},
    rate::AddressAllowance,
};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// The remote of one HTTP connection; every request on it carries a copy.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) address: AddressKey,
    /// Whether it reached the tracker by an address that only this machine has.
    pub(crate) over_loopback: bool,
    /// What all connections of its address may send together.
    pub(crate) rate: AddressAllowance,
    _slot: Arc<Slot>,
}

/// What a connection takes of the limits while it speaks HTTP, as long as there is a copy of its [`Caller`].
#[derive(Debug)]
struct Slot {
    /// Given back first: whoever takes the other finds a place among those of the address too.
    _own: Place,
    _all: OwnedSemaphorePermit,
}

impl Caller {
    /// A remote that was given a place among all connections and one among those of its address.
    pub(crate) fn new(
        address: AddressKey,
        over_loopback: bool,
        rate: AddressAllowance,
        all: OwnedSemaphorePermit,
        own: Place,
    ) -> Self {
        Self { address, over_loopback, rate, _slot: Arc::new(Slot { _own: own, _all: all }) }
    }
}
