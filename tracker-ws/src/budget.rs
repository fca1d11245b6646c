//! The memory for waiting data, shared so that nobody can take all of it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Whether one of several holders of a space may hold more of it: as much as is free at the most.
///
/// With a fixed share each, either few could use all the space or many would need more than there is. So the share is
/// what is free: one alone gets half of the space, three get a quarter each, and always some is left for the next
/// (dynamic queue thresholds; Choudhury and Hahne, IEEE/ACM Transactions on Networking 6, 1998).
pub(crate) const fn may_hold(held: usize, more: usize, all_held: usize, space: usize) -> bool {
    held + more <= space.saturating_sub(all_held)
}

/// The memory for the data that waits for all receivers.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes: usize,
    used: AtomicUsize,
}

impl Budget {
    pub(crate) const fn new(bytes: usize) -> Self {
        Self { bytes, used: AtomicUsize::new(0) }
    }

    /// Takes `more` bytes for a receiver that has `held`, if it may have them.
    pub(crate) fn take(&self, held: usize, more: usize) -> bool {
        let take = |used| may_hold(held, more, used, self.bytes).then_some(used + more);
        self.used.fetch_update(Relaxed, Relaxed, take).is_ok()
    }

    /// Gives bytes back that were taken.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
    }

    /// The bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_gets_half_and_the_next_half_of_the_rest() {
        let budget = Budget::new(1_000);
        assert!(budget.take(0, 500));
        assert!(!budget.take(500, 1), "one alone has half");
        assert!(budget.take(0, 250) && budget.take(250, 0));
        assert!(!budget.take(250, 1), "the second has half of what was left");
        assert!(budget.take(0, 125), "and there is room for a third");
        budget.give_back(500);
        assert!(budget.take(250, 100), "what the first gave back is there for the others");
        assert_eq!(budget.used(), 475);
    }

    #[test]
    fn the_budget_is_never_exceeded() {
        let budget = Budget::new(10_000);
        let mut held = [0; 50];
        for step in 0..10_000 {
            let one = &mut held[step * 7 % 50];
            if budget.take(*one, 90) {
                *one += 90;
            }
            assert!(budget.used() <= 10_000);
        }
        assert!(held.iter().all(|one| *one > 0), "everybody got something: {held:?}");
    }
}
