//! Which blocks to ask a neighbour for.
//!
//! Missing blocks are kept in bands by availability, so that a `have` moves one block to the next band and a pick
//! starts at the rarest. Inside a band the order is random: a block enters at a random place.

use super::{blocks::Blocks, config::BlockStrategy};
use protocol::{Bitfield, Geometry, Run};
use rand::{Rng, RngExt as _};

/// Runs asked of one neighbour follow each other inside stretches of this many bytes, and of no more than this part of
/// the file, so that neighbours still hold different parts of it.
const MAX_STRETCH: u64 = 1 << 20;
const MIN_STRETCHES: u64 = 64;
/// The place of a block that is in no band.
const NOWHERE: u32 = u32::MAX;

/// How many neighbours have each block, and the missing blocks sorted by it.
#[derive(Debug)]
pub(crate) struct Picker {
    strategy: BlockStrategy,
    availability: Vec<u16>,
    /// The missing blocks that this many neighbours have.
    bands: Vec<Vec<u32>>,
    /// Where in its band a missing block is.
    place: Vec<u32>,
}

impl Picker {
    pub(crate) fn new(strategy: BlockStrategy, blocks: &Blocks, rng: &mut impl Rng) -> Self {
        let count = blocks.stored().len() as usize;
        let mut picker =
            Self { strategy, availability: vec![0; count], bands: vec![Vec::new()], place: vec![NOWHERE; count] };
        for index in (0..count as u32).filter(|&index| blocks.is_wanted(index)) {
            picker.insert(index, rng);
        }
        picker
    }

    /// How many neighbours have the block.
    pub(crate) fn availability(&self, index: u32) -> u16 {
        self.availability[index as usize]
    }

    /// A neighbour has the block.
    pub(crate) fn gained(&mut self, index: u32, rng: &mut impl Rng) {
        let missing = self.remove(index);
        self.availability[index as usize] += 1;
        if missing {
            self.insert(index, rng);
        }
    }

    /// A neighbour that had the block is gone.
    pub(crate) fn lost(&mut self, index: u32, rng: &mut impl Rng) {
        let missing = self.remove(index);
        self.availability[index as usize] -= 1;
        if missing {
            self.insert(index, rng);
        }
    }

    /// The block is to be picked (again).
    pub(crate) fn insert(&mut self, index: u32, rng: &mut impl Rng) {
        if self.place[index as usize] != NOWHERE {
            return;
        }
        let availability = self.availability(index) as usize;
        if self.bands.len() <= availability {
            self.bands.resize_with(availability + 1, Vec::new);
        }
        let band = &mut self.bands[availability];
        let place = rng.random_range(0..=band.len());
        band.push(index);
        let last = band.len() - 1;
        band.swap(place, last);
        self.place[band[last] as usize] = last as u32;
        self.place[band[place] as usize] = place as u32;
    }

    /// The block is not to be picked any more; tells whether it was.
    pub(crate) fn remove(&mut self, index: u32) -> bool {
        let place = std::mem::replace(&mut self.place[index as usize], NOWHERE);
        if place == NOWHERE {
            return false;
        }
        let band = &mut self.bands[self.availability[index as usize] as usize];
        band.swap_remove(place as usize);
        if let Some(&moved) = band.get(place as usize) {
            self.place[moved as usize] = place;
        }
        true
    }

    /// The next run to ask of a neighbour that has `has`, of at most `max_bytes` (but at least one block). `last` is
    /// what was asked of it before: going on from there where that costs no rarity lets it read ahead.
    pub(crate) fn pick(
        &self,
        has: &Bitfield,
        last: Option<Run>,
        geometry: &Geometry,
        max_bytes: u32,
        rng: &mut impl Rng,
    ) -> Option<Run> {
        let first = match self.strategy {
            BlockStrategy::RarestFirst => {
                let rarest = self.rarest(has)?;
                let follows = last.and_then(|last| self.following(last, has, geometry));
                follows.filter(|&next| self.availability(next) <= self.availability(rarest)).unwrap_or(rarest)
            }
            BlockStrategy::Random => self.random(has, rng)?,
            BlockStrategy::Sequential { window } => self.next_in_window(has, window).or_else(|| self.rarest(has))?,
        };
        Some(self.extended(first, has, geometry, max_bytes))
    }

    fn rarest(&self, has: &Bitfield) -> Option<u32> {
        self.bands.iter().flatten().copied().find(|&index| has.has(index))
    }

    /// The block after `last`, if it is missing and in the same stretch of the file.
    fn following(&self, last: Run, has: &Bitfield, geometry: &Geometry) -> Option<u32> {
        let stretch = (geometry.size() / MIN_STRETCHES).min(MAX_STRETCH) / u64::from(geometry.block_size().bytes());
        let next = last.blocks().end;
        let fits = next < geometry.blocks() && stretch > 0 && u64::from(next) % stretch != 0;
        (fits && self.is_missing(next) && has.has(next)).then_some(next)
    }

    fn random(&self, has: &Bitfield, rng: &mut impl Rng) -> Option<u32> {
        let count = self.place.len() as u32;
        let start = if count == 0 { return None } else { rng.random_range(0..count) };
        (start..count).chain(0..start).find(|&index| self.is_missing(index) && has.has(index))
    }

    fn next_in_window(&self, has: &Bitfield, window: u32) -> Option<u32> {
        let first = self.place.iter().position(|&place| place != NOWHERE)? as u32;
        let end = first.saturating_add(window).min(self.place.len() as u32);
        (first..end).find(|&index| self.is_missing(index) && has.has(index))
    }

    /// Makes a run around `first` from neighbouring blocks that are no more common. It stays inside an aligned
    /// group, so that two neighbours are asked for whole groups instead of overlapping halves.
    fn extended(&self, first: u32, has: &Bitfield, geometry: &Geometry, max_bytes: u32) -> Run {
        let most = (max_bytes / geometry.block_size().bytes()).max(1);
        let group = first / most * most..(first / most + 1).saturating_mul(most).min(geometry.blocks());
        let fits = |index: &u32| {
            self.is_missing(*index) && has.has(*index) && self.availability(*index) <= self.availability(first)
        };
        let start = (group.start..first).rev().take_while(fits).last().unwrap_or(first);
        let end = (first + 1..group.end).take_while(fits).last().unwrap_or(first) + 1;
        geometry.run(start, end - start).expect("a missing block and its neighbours are inside the file")
    }

    fn is_missing(&self, index: u32) -> bool {
        self.place[index as usize] != NOWHERE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::BlockSize;
    use rand::{SeedableRng as _, rngs::Xoshiro256PlusPlus};

    const BLOCKS: u32 = 64;

    fn geometry() -> Geometry {
        Geometry::new(u64::from(BLOCKS) * 4_096, BlockSize::for_file(0)).unwrap()
    }

    fn picker(strategy: BlockStrategy, rng: &mut impl Rng) -> Picker {
        Picker::new(strategy, &Blocks::new(Bitfield::empty(BLOCKS)), rng)
    }

    fn with(indices: impl IntoIterator<Item = u32>) -> Bitfield {
        let mut bitfield = Bitfield::empty(BLOCKS);
        indices.into_iter().for_each(|index| assert!(bitfield.set(index)));
        bitfield
    }

    #[test]
    fn the_rarest_block_that_the_neighbour_has_comes_first() {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
        let mut picker = picker(BlockStrategy::RarestFirst, rng);
        (0..BLOCKS).for_each(|index| picker.gained(index, rng));
        (0..BLOCKS).filter(|index| ![7, 40].contains(index)).for_each(|index| picker.gained(index, rng));
        let mut pick = |has: &Bitfield| picker.pick(has, None, &geometry(), 4_096, rng).unwrap().index();
        assert!([7, 40].contains(&pick(&Bitfield::full(BLOCKS))));
        assert_eq!(pick(&with([3, 40, 50])), 40);
        assert_eq!(pick(&with([3])), 3);
        picker.remove(7);
        picker.lost(50, rng);
        picker.lost(50, rng);
        assert_eq!(picker.pick(&with([7, 40, 50]), None, &geometry(), 4_096, rng).unwrap().index(), 50);
    }

    #[test]
    fn ties_are_broken_at_random() {
        let mut firsts: Vec<_> = (0..20)
            .map(|seed| {
                let rng = &mut Xoshiro256PlusPlus::seed_from_u64(seed);
                let picker = picker(BlockStrategy::RarestFirst, rng);
                picker.pick(&Bitfield::full(BLOCKS), None, &geometry(), 4_096, rng).unwrap().index()
            })
            .collect();
        firsts.sort_unstable();
        firsts.dedup();
        assert!(firsts.len() > 10, "{firsts:?}");
    }

    #[test]
    fn a_run_stays_in_its_group_and_costs_no_rarity() {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
        let mut picker = picker(BlockStrategy::Sequential { window: 64 }, rng);
        let run = |picker: &Picker, rng: &mut Xoshiro256PlusPlus| {
            let run = picker.pick(&Bitfield::full(BLOCKS), None, &geometry(), 8 * 4_096, rng).unwrap();
            (run.index(), run.count())
        };
        assert_eq!(run(&picker, rng), (0, 8));
        picker.remove(0);
        picker.gained(5, rng);
        assert_eq!(run(&picker, rng), (1, 4));
        (1..8).for_each(|index| assert!(picker.remove(index)));
        assert_eq!(run(&picker, rng), (8, 8));
    }

    #[test]
    fn runs_follow_each_other_inside_a_stretch_unless_another_block_is_rarer() {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
        let geometry = Geometry::new(4_096 * 4_096, BlockSize::for_file(0)).unwrap();
        let full = Bitfield::full(4_096);
        let mut picker = Picker::new(BlockStrategy::RarestFirst, &Blocks::new(Bitfield::empty(4_096)), rng);
        (0..4_096).for_each(|index| picker.gained(index, rng));
        let pick = |picker: &Picker, last, rng: &mut Xoshiro256PlusPlus| {
            picker.pick(&full, Some(geometry.run(last, 1).unwrap()), &geometry, 4_096, rng).unwrap().index()
        };
        assert_eq!(pick(&picker, 130, rng), 131);
        assert_ne!(pick(&picker, 127, rng), 128, "a stretch of 64 blocks ends there");
        picker.lost(3_000, rng);
        assert_eq!(pick(&picker, 130, rng), 3_000);
        picker.lost(131, rng);
        assert_eq!(pick(&picker, 130, rng), 131);
    }

    #[test]
    fn every_strategy_picks_each_block_once_and_then_none() {
        for strategy in [BlockStrategy::RarestFirst, BlockStrategy::Random, BlockStrategy::Sequential { window: 4 }] {
            let rng = &mut Xoshiro256PlusPlus::seed_from_u64(9);
            let mut picker = picker(strategy, rng);
            let mut picked = Vec::new();
            while let Some(run) = picker.pick(&Bitfield::full(BLOCKS), None, &geometry(), 3 * 4_096, rng) {
                run.blocks().for_each(|index| assert!(picker.remove(index)));
                picked.extend(run.blocks());
            }
            picked.sort_unstable();
            assert_eq!(picked, (0..BLOCKS).collect::<Vec<_>>(), "{strategy:?}");
        }
    }
}
