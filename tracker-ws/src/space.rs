//! The memory for messages that are coming in.

use crate::{budget::Budget, rate::AddressAllowance};
use std::sync::Arc;

/// What one connection takes of the memory for messages whose end is not there yet. An address may take as much as is
/// free, so that who begins messages and does not end them keeps only others of its address from sending.
#[derive(Debug)]
pub(crate) struct Space {
    budget: Arc<Budget>,
    address: AddressAllowance,
    taken: usize,
}

impl Space {
    pub(crate) const fn new(budget: Arc<Budget>, address: AddressAllowance) -> Self {
        Self { budget, address, taken: 0 }
    }

    /// Sees to it that a message of so many bytes has room; `false` if there is none now.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.taken);
        let has_room = more == 0 || self.address.hold(|held| self.budget.take(held, more).then_some(held + more));
        if has_room {
            self.taken += more;
        }
        has_room
    }

    /// Gives everything back: the message is whole, or none comes any more.
    pub(crate) fn give_back(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        if taken > 0 {
            self.budget.give_back(taken);
            self.address.hold(|held| Some(held - taken));
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    #[test]
    fn one_address_leaves_room_for_others_and_gives_back_what_it_took() {
        let budget = Arc::new(Budget::new(1_000));
        let [here, there] = [(); 2].map(|()| AddressAllowance::new(&Limits::default()));
        let space = |address: &AddressAllowance| Space::new(Arc::clone(&budget), address.clone());
        let mut spaces: Vec<_> = (0..10).map(|_| space(&here)).collect();
        assert_eq!(spaces.iter_mut().filter_map(|space| space.take(100).then_some(())).count(), 5);
        let mut other = space(&there);
        assert!(other.take(200) && other.take(150), "a message that grows smaller needs no more");
        assert!(!other.take(310));
        spaces[0].give_back();
        assert!(other.take(310) && !spaces[9].take(100));
        drop((spaces, other));
        assert_eq!(budget.used(), 0);
        assert!(here.hold(|held| (held == 0).then_some(0)));
    }
}
