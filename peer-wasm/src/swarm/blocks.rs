//! The block manager: what state each block of the file is in.

use super::{
    config::BlockStrategy,
    picker::{Pick, Picker},
};
use protocol::{Bitfield, Run};
use rand::Rng;
use std::{collections::BTreeSet, ops::Range};

/// The state of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockState {
    /// Not here and not asked for.
    Missing,
    /// Asked of this many neighbours.
    Requested(u16),
    /// Here and verified, on its way to the storage.
    Storing,
    /// Verified and stored.
    Stored,
}

/// The state of every block, and what follows from it: the picker knows those that are missing.
#[derive(Debug)]
pub(crate) struct Blocks {
    states: Vec<BlockState>,
    stored: Bitfield,
    picker: Picker,
    /// The blocks that are asked of more than one neighbour.
    repeated: BTreeSet<u32>,
}

impl Blocks {
    /// Starts with the blocks that are stored already.
    pub(crate) fn new(strategy: BlockStrategy, stored: Bitfield) -> Self {
        let state = |index| if stored.has(index) { BlockState::Stored } else { BlockState::Missing };
        let states: Vec<_> = (0..stored.len()).map(state).collect();
        let mut missing = Bitfield::empty(stored.len());
        (0..stored.len()).filter(|index| !stored.has(*index)).for_each(|index| _ = missing.set(index));
        Self { states, picker: Picker::new(strategy, &missing), stored, repeated: BTreeSet::new() }
    }

    pub(crate) fn state(&self, index: u32) -> BlockState {
        self.states[index as usize]
    }

    pub(crate) fn states(&self) -> &[BlockState] {
        &self.states
    }

    /// The blocks verified and stored; only these are announced and served.
    pub(crate) const fn stored(&self) -> &Bitfield {
        &self.stored
    }

    /// The blocks that are asked of more than one neighbour.
    pub(crate) const fn repeated(&self) -> &BTreeSet<u32> {
        &self.repeated
    }

    /// Whether no block is left to ask for the first time.
    pub(crate) const fn none_missing(&self) -> bool {
        self.picker.missing().count() == 0
    }

    /// Whether the block still has to be received.
    pub(crate) fn is_wanted(&self, index: u32) -> bool {
        matches!(self.state(index), BlockState::Missing | BlockState::Requested(_))
    }

    /// How many neighbours have the block.
    pub(crate) fn availability(&self, index: u32) -> u16 {
        self.picker.availability(index)
    }

    /// A neighbour has the block.
    pub(crate) fn gained(&mut self, index: u32) {
        self.picker.gained(index);
    }

    /// A neighbour that had the block is gone, or does not have it after all.
    pub(crate) fn lost(&mut self, index: u32) {
        self.picker.lost(index);
    }

    /// The next blocks to ask of a neighbour that has `has`.
    pub(crate) fn pick(&self, has: &Bitfield, pick: Pick, rng: &mut impl Rng) -> Option<Range<u32>> {
        self.picker.pick(has, pick, rng)
    }

    /// Notes one more request for each block of the run that is still wanted.
    pub(crate) fn request(&mut self, run: Run) {
        for index in run.blocks() {
            self.states[index as usize] = match self.state(index) {
                BlockState::Missing => {
                    self.picker.remove(index);
                    BlockState::Requested(1)
                }
                BlockState::Requested(times) => {
                    self.repeated.insert(index);
                    BlockState::Requested(times.saturating_add(1))
                }
                done @ (BlockState::Storing | BlockState::Stored) => done,
            };
        }
    }

    /// Takes one request back from each block of the run; those that are asked of nobody else are missing again.
    pub(crate) fn release(&mut self, run: Run) {
        for index in run.blocks() {
            self.states[index as usize] = match self.state(index) {
                BlockState::Requested(1) => {
                    self.picker.insert(index);
                    BlockState::Missing
                }
                BlockState::Requested(times) => {
                    if times == 2 {
                        self.repeated.remove(&index);
                    }
                    BlockState::Requested(times - 1)
                }
                other @ (BlockState::Missing | BlockState::Storing | BlockState::Stored) => other,
            };
        }
    }

    /// Notes a verified block.
    pub(crate) fn storing(&mut self, index: u32) {
        self.picker.remove(index);
        self.repeated.remove(&index);
        self.states[index as usize] = BlockState::Storing;
    }

    /// Notes that a verified block reached the storage; tells whether it was on its way there.
    pub(crate) fn store(&mut self, index: u32) -> bool {
        let was_storing = self.state(index) == BlockState::Storing;
        if was_storing {
            self.states[index as usize] = BlockState::Stored;
            self.stored.set(index);
        }
        was_storing
    }

    /// Recounts what follows from the states.
    ///
    /// # Panics
    /// If something was not kept right.
    pub(crate) fn audit<'a>(&self, neighbours: impl Iterator<Item = &'a Bitfield> + Clone) {
        for (index, state) in (0..).zip(&self.states) {
            assert_eq!(self.picker.missing().has(index), *state == BlockState::Missing, "{index} is {state:?}");
            assert_eq!(self.stored.has(index), *state == BlockState::Stored, "{index} is {state:?}");
            let is_repeated = matches!(state, BlockState::Requested(times) if *times > 1);
            assert_eq!(self.repeated.contains(&index), is_repeated, "{index} is {state:?}");
            let have = neighbours.clone().filter(|has| has.has(index)).count();
            assert_eq!(usize::from(self.availability(index)), have, "neighbours have {index}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{BlockSize, Geometry};

    #[test]
    fn a_block_goes_from_missing_to_stored() {
        let geometry = Geometry::new(4 * 4_096, BlockSize::try_from(4_096).unwrap()).unwrap();
        let mut blocks = Blocks::new(BlockStrategy::RarestFirst, Bitfield::empty(4));
        let run = geometry.run(1, 2).unwrap();
        let audit = |blocks: &Blocks| blocks.audit(std::iter::empty());
        blocks.request(run);
        assert!(blocks.repeated().is_empty() && !blocks.none_missing());
        blocks.request(run);
        assert_eq!(blocks.state(1), BlockState::Requested(2));
        assert_eq!(blocks.repeated(), &BTreeSet::from([1, 2]));
        audit(&blocks);
        blocks.release(run);
        assert_eq!((blocks.state(1), blocks.repeated().len()), (BlockState::Requested(1), 0));
        blocks.storing(1);
        blocks.release(run);
        assert_eq!((blocks.state(1), blocks.state(2)), (BlockState::Storing, BlockState::Missing));
        assert!(!blocks.is_wanted(1) && blocks.is_wanted(2));
        assert!(!blocks.stored().has(1) && blocks.store(1) && blocks.stored().has(1));
        assert!(!blocks.store(2), "a block that was never verified cannot be stored");
        audit(&blocks);
        [0, 2, 3].into_iter().for_each(|index| blocks.storing(index));
        assert!(blocks.none_missing());
        audit(&blocks);
    }

    #[test]
    #[should_panic = "neighbours have 3"]
    fn a_sum_that_is_wrong_is_noticed() {
        let mut blocks = Blocks::new(BlockStrategy::RarestFirst, Bitfield::empty(4));
        blocks.gained(3);
        blocks.audit(std::iter::empty());
    }
}
