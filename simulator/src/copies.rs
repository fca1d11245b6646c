//! How many copies of each block are present, kept up at every change.

use protocol::Bitfield;

/// The copies of each block among those that are present.
#[derive(Debug, Clone)]
pub struct Copies {
    present: Vec<u32>,
    total: u64,
    /// Blocks that somebody fetched, and how many they are.
    fetched: Bitfield,
}

impl Copies {
    pub(crate) fn new(blocks: u32) -> Self {
        Self { present: vec![0; blocks as usize], total: 0, fetched: Bitfield::empty(blocks) }
    }

    pub(crate) fn joined(&mut self, have: &Bitfield) {
        have.iter().for_each(|index| self.present[index as usize] += 1);
        self.total += u64::from(have.count());
    }

    pub(crate) fn left(&mut self, had: &Bitfield) {
        had.iter().for_each(|index| self.present[index as usize] -= 1);
        self.total -= u64::from(had.count());
    }

    pub(crate) fn stored(&mut self, index: u32) {
        self.present[index as usize] += 1;
        self.total += 1;
        self.fetched.set(index);
    }

    /// The copies of each block.
    pub fn of_blocks(&self) -> &[u32] {
        &self.present
    }

    /// The copies of the rarest block.
    pub fn fewest(&self) -> u32 {
        self.present.iter().copied().min().unwrap_or(0)
    }

    /// The copies of all blocks together.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Whether every block was fetched by somebody, that is whether it was given once by those that began with it.
    pub const fn is_every_block_fetched(&self) -> bool {
        self.fetched.is_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_present_are_counted() {
        let mut copies = Copies::new(2);
        copies.joined(&Bitfield::full(2));
        copies.joined(&Bitfield::empty(2));
        copies.stored(0);
        assert_eq!((copies.of_blocks(), copies.fewest(), copies.total()), (&[2, 1][..], 1, 3));
        assert!(!copies.is_every_block_fetched());
        copies.stored(1);
        assert!(copies.is_every_block_fetched());
        copies.left(&Bitfield::full(2));
        assert_eq!((copies.of_blocks(), copies.fewest(), copies.total()), (&[1, 1][..], 1, 2));
    }
}
