//! Blocks that came from several neighbours and were wrong.
//!
//! Such a block is asked for once more, whole, of one neighbour. If that is right, it shows who gave what was wrong; if it
//! is wrong, who gave it.

use super::begun::Given;
use blake3::Hash;
use protocol::{Geometry, PeerId};
use std::collections::BTreeMap;

/// The most blocks to remember as such. Those that are forgotten are asked for as any other.
const MAX_SUSPECTS: usize = 64;

#[derive(Debug)]
struct Testimony {
    segment: u32,
    by: PeerId,
    hash: Hash,
}

/// Blocks that came from several neighbours and were wrong, and what of them came from whom.
#[derive(Debug, Default)]
pub(super) struct Suspects(BTreeMap<u32, Vec<Testimony>>);

impl Suspects {
    /// Whether the block is to be asked of one neighbour.
    pub(super) fn contains(&self, index: u32) -> bool {
        self.0.contains_key(&index)
    }

    /// Notes a block that was wrong.
    pub(super) fn note(&mut self, index: u32, given: &[Given]) {
        if self.0.len() < MAX_SUSPECTS {
            let testimony =
                |given: &Given| Testimony { segment: given.segment, by: given.by, hash: blake3::hash(&given.data) };
            self.0.entry(index).or_insert_with(|| given.iter().map(testimony).collect());
        }
    }

    /// The block is here and right: tells who had given something else.
    pub(super) fn judge(&mut self, index: u32, data: &[u8], geometry: &Geometry) -> Vec<PeerId> {
        let Some(testimonies) = self.0.remove(&index) else { return Vec::new() };
        let first = geometry.block_segments(index).start;
        let right: Vec<_> = data.chunks(geometry.segment_size() as usize).map(blake3::hash).collect();
        let is_wrong =
            |testimony: &&Testimony| right.get((testimony.segment - first) as usize) != Some(&testimony.hash);
        let mut liars: Vec<_> = testimonies.iter().filter(is_wrong).map(|testimony| testimony.by).collect();
        liars.sort_unstable();
        liars.dedup();
        liars
    }
}
