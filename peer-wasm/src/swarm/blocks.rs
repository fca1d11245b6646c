//! The block manager: what state each block of the file is in.

use protocol::{Bitfield, Run};

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

/// The state of every block.
#[derive(Debug)]
pub(crate) struct Blocks {
    states: Vec<BlockState>,
    stored: Bitfield,
    missing: u32,
}

impl Blocks {
    /// Starts with the blocks that are stored already.
    pub(crate) fn new(stored: Bitfield) -> Self {
        let state = |index| if stored.has(index) { BlockState::Stored } else { BlockState::Missing };
        Self { states: (0..stored.len()).map(state).collect(), missing: stored.len() - stored.count(), stored }
    }

    pub(crate) fn state(&self, index: u32) -> BlockState {
        self.states[index as usize]
    }

    pub(crate) fn states(&self) -> &[BlockState] {
        &self.states
    }

    /// The blocks verified and stored; only these are announced and served.
    pub(crate) fn stored(&self) -> &Bitfield {
        &self.stored
    }

    /// The blocks that are missing.
    pub(crate) fn missing(&self) -> Bitfield {
        let mut missing = Bitfield::empty(self.stored.len());
        (0..)
            .zip(&self.states)
            .filter(|(_, state)| **state == BlockState::Missing)
            .for_each(|(index, _)| _ = missing.set(index));
        missing
    }

    /// Whether no block is left to ask for the first time.
    pub(crate) fn none_missing(&self) -> bool {
        self.missing == 0
    }

    /// Whether the block still has to be received.
    pub(crate) fn is_wanted(&self, index: u32) -> bool {
        matches!(self.state(index), BlockState::Missing | BlockState::Requested(_))
    }

    /// Notes one more request for each block of the run that is still wanted; tells which were missing.
    pub(crate) fn request(&mut self, run: Run) -> Vec<u32> {
        let mut were_missing = Vec::new();
        for index in run.blocks() {
            self.states[index as usize] = match self.state(index) {
                BlockState::Missing => {
                    were_missing.push(index);
                    self.missing -= 1;
                    BlockState::Requested(1)
                }
                BlockState::Requested(times) => BlockState::Requested(times.saturating_add(1)),
                done @ (BlockState::Storing | BlockState::Stored) => done,
            };
        }
        were_missing
    }

    /// Takes one request back from each block of the run; tells which are missing again.
    pub(crate) fn release(&mut self, run: Run) -> Vec<u32> {
        let mut missing_again = Vec::new();
        for index in run.blocks() {
            self.states[index as usize] = match self.state(index) {
                BlockState::Requested(1) => {
                    missing_again.push(index);
                    self.missing += 1;
                    BlockState::Missing
                }
                BlockState::Requested(times) => BlockState::Requested(times - 1),
                other @ (BlockState::Missing | BlockState::Storing | BlockState::Stored) => other,
            };
        }
        missing_again
    }

    /// Notes a verified block.
    pub(crate) fn storing(&mut self, index: u32) {
        if self.state(index) == BlockState::Missing {
            self.missing -= 1;
        }
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{BlockSize, Geometry};

    #[test]
    fn a_block_goes_from_missing_to_stored() {
        let geometry = Geometry::new(4 * 4_096, BlockSize::for_file(0)).unwrap();
        let mut blocks = Blocks::new(Bitfield::empty(4));
        let run = geometry.run(1, 2).unwrap();
        assert_eq!(blocks.request(run), [1, 2]);
        assert!(blocks.request(run).is_empty());
        assert_eq!(blocks.state(1), BlockState::Requested(2));
        assert!(blocks.release(run).is_empty());
        blocks.storing(1);
        assert_eq!(blocks.release(run), [2]);
        assert!(!blocks.stored().has(1) && blocks.store(1) && blocks.stored().has(1));
        assert!(!blocks.store(2), "a block that was never verified cannot be stored");
    }
}
