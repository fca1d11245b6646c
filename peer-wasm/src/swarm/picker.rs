//! Which blocks to ask a neighbour for.
//!
//! Missing blocks are kept in bands by availability, so that a `have` moves one block to the next band and a pick
//! starts at the rarest. Inside a band it starts anywhere, so that ties are broken at random. A neighbour that has few
//! of the missing blocks would make a pick go through all bands; then the blocks that are missing here and present
//! there are compared instead, 64 at a time.

use super::config::BlockStrategy;
use protocol::Bitfield;
use rand::{Rng, RngExt as _};
use std::ops::Range;

/// The place of a block that is in no band.
const NOWHERE: u32 = u32::MAX;
/// The most blocks of the bands that a pick looks at.
const MAX_BAND_LOOKS: usize = 64;
/// The most blocks of a neighbour that a pick compares.
const MAX_COMPARED: usize = 256;

/// How many neighbours have each block, and the missing blocks sorted by it.
#[derive(Debug)]
pub struct Picker {
    strategy: BlockStrategy,
    /// How many neighbours have each block.
    availability: Vec<u16>,
    /// Where in its band each block is, if it is missing.
    places: Vec<u32>,
    missing: Bitfield,
    /// The missing blocks that this many neighbours have.
    bands: Vec<Vec<u32>>,
}

/// What one pick may take.
#[derive(Debug, Clone, Copy)]
pub struct Pick {
    /// The block after those asked of the neighbour before: going on there lets it read ahead.
    pub following: Option<u32>,
    /// The most blocks.
    pub most: u32,
    /// Picks follow each other only inside stretches of this many blocks, so that neighbours still hold different parts
    /// of the file.
    pub stretch: u32,
    /// Takes any block instead of the rarest: whoever has none yet needs something to give, soon.
    pub any: bool,
}

impl Picker {
    /// A picker for the blocks that are missing; nobody has any block.
    pub fn new(strategy: BlockStrategy, missing: &Bitfield) -> Self {
        let blocks = missing.len() as usize;
        let mut picker = Self {
            strategy,
            availability: vec![0; blocks],
            places: vec![NOWHERE; blocks],
            missing: Bitfield::empty(missing.len()),
            bands: Vec::new(),
        };
        missing.iter().for_each(|index| picker.insert(index));
        picker
    }

    /// The blocks that are to be picked.
    pub const fn missing(&self) -> &Bitfield {
        &self.missing
    }

    /// How many neighbours have the block.
    pub fn availability(&self, index: u32) -> u16 {
        self.availability[index as usize]
    }

    /// A neighbour has the block.
    pub fn gained(&mut self, index: u32) {
        let missing = self.leave_band(index);
        self.availability[index as usize] += 1;
        if missing {
            self.enter_band(index);
        }
    }

    /// A neighbour that had the block is gone.
    pub fn lost(&mut self, index: u32) {
        let missing = self.leave_band(index);
        self.availability[index as usize] -= 1;
        if missing {
            self.enter_band(index);
        }
    }

    /// The block is to be picked (again).
    pub fn insert(&mut self, index: u32) {
        if self.missing.set(index) {
            self.enter_band(index);
        }
    }

    /// The block is not to be picked any more; tells whether it was.
    pub fn remove(&mut self, index: u32) -> bool {
        self.missing.clear(index) && self.leave_band(index)
    }

    /// The next blocks to ask of a neighbour that has `has`.
    pub fn pick(&self, has: &Bitfield, pick: Pick, rng: &mut impl Rng) -> Option<Range<u32>> {
        let first = match self.strategy {
            BlockStrategy::Random => self.random(has, rng)?,
            BlockStrategy::Sequential { window } => {
                self.next_in_window(has, window).or_else(|| self.rarest(has, rng))?
            }
            BlockStrategy::RarestFirst if pick.any => self.random(has, rng)?,
            BlockStrategy::RarestFirst => {
                let rarest = self.rarest(has, rng)?;
                let follows = pick.following.filter(|&next| next % pick.stretch.max(1) != 0 && self.offers(has, next));
                follows.filter(|&next| self.availability(next) <= self.availability(rarest)).unwrap_or(rarest)
            }
        };
        Some(self.extended(first, has, pick.most.max(1)))
    }

    fn rarest(&self, has: &Bitfield, rng: &mut impl Rng) -> Option<u32> {
        // Often everything that a neighbour has was asked for, which takes long to see block by block.
        self.missing.common(has, 0).next()?;
        let mut looks = MAX_BAND_LOOKS;
        for band in self.bands.iter().filter(|band| !band.is_empty()) {
            let (before, after) = band.split_at(rng.random_range(0..band.len()));
            let found = after.iter().chain(before).copied().take(looks).find(|&index| has.has(index));
            looks -= band.len().min(looks);
            if found.is_some() || looks == 0 {
                return found.or_else(|| self.rarest_of_few(has, rng));
            }
        }
        None
    }

    /// The rarest of some blocks that are missing here and present there.
    fn rarest_of_few(&self, has: &Bitfield, rng: &mut impl Rng) -> Option<u32> {
        let common = self.missing.common(has, self.anywhere(rng)).take(MAX_COMPARED);
        common.min_by_key(|&index| self.availability(index))
    }

    fn random(&self, has: &Bitfield, rng: &mut impl Rng) -> Option<u32> {
        let start = self.anywhere(rng);
        let mut common = self.missing.common(has, start).take(u64::BITS as usize).peekable();
        let first = common.peek().copied();
        common.find(|&index| index >= start).or(first)
    }

    fn next_in_window(&self, has: &Bitfield, window: u32) -> Option<u32> {
        let first = self.missing.iter().next()?;
        let end = first.saturating_add(window).min(self.missing.len());
        (first..end).find(|&index| self.offers(has, index))
    }

    /// Makes a run around `first` from neighbouring blocks that are no more common. It stays inside an aligned
    /// group, so that two neighbours are asked for whole groups instead of overlapping halves.
    fn extended(&self, first: u32, has: &Bitfield, most: u32) -> Range<u32> {
        let group = first / most * most..(first / most + 1).saturating_mul(most).min(self.missing.len());
        let fits = |index: &u32| self.offers(has, *index) && self.availability(*index) <= self.availability(first);
        let start = (group.start..first).rev().take_while(fits).last().unwrap_or(first);
        let end = (first..group.end).find(|index| !fits(index)).unwrap_or(group.end);
        start..end
    }

    fn enter_band(&mut self, index: u32) {
        let availability = usize::from(self.availability(index));
        if self.bands.len() <= availability {
            self.bands.resize_with(availability + 1, Vec::new);
        }
        self.places[index as usize] = self.bands[availability].len() as u32;
        self.bands[availability].push(index);
    }

    /// Takes the block out of its band; tells whether it was in one.
    fn leave_band(&mut self, index: u32) -> bool {
        let place = std::mem::replace(&mut self.places[index as usize], NOWHERE);
        if place == NOWHERE {
            return false;
        }
        let band = &mut self.bands[usize::from(self.availability[index as usize])];
        band.swap_remove(place as usize);
        if band.len() < band.capacity() / 4 {
            band.shrink_to_fit();
        }
        if let Some(&moved) = band.get(place as usize) {
            self.places[moved as usize] = place;
        }
        true
    }

    fn offers(&self, has: &Bitfield, index: u32) -> bool {
        self.missing.has(index) && has.has(index)
    }

    fn anywhere(&self, rng: &mut impl Rng) -> u32 {
        rng.random_range(0..self.missing.len().max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng as _, rngs::Xoshiro256PlusPlus};

    const BLOCKS: u32 = 64;

    fn one() -> Pick {
        Pick { following: None, most: 1, stretch: 1, any: false }
    }

    fn picker(strategy: BlockStrategy) -> Picker {
        Picker::new(strategy, &Bitfield::full(BLOCKS))
    }

    fn with(indices: impl IntoIterator<Item = u32>) -> Bitfield {
        let mut bitfield = Bitfield::empty(BLOCKS);
        indices.into_iter().for_each(|index| assert!(bitfield.set(index)));
        bitfield
    }

    #[test]
    fn the_rarest_block_that_the_neighbour_has_comes_first() {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
        let mut picker = picker(BlockStrategy::RarestFirst);
        (0..BLOCKS).for_each(|index| picker.gained(index));
        (0..BLOCKS).filter(|index| ![7, 40].contains(index)).for_each(|index| picker.gained(index));
        let mut pick = |has: &Bitfield| picker.pick(has, one(), rng).unwrap().start;
        assert!([7, 40].contains(&pick(&Bitfield::full(BLOCKS))));
        assert_eq!(pick(&with([3, 40, 50])), 40);
        assert_eq!(pick(&with([3])), 3);
        picker.remove(7);
        picker.lost(50);
        picker.lost(50);
        assert_eq!(picker.pick(&with([7, 40, 50]), one(), rng), Some(50..51));
    }

    #[test]
    fn of_a_neighbour_that_has_only_common_blocks_the_rarest_of_those_comes_first() {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
        let mut picker = Picker::new(BlockStrategy::RarestFirst, &Bitfield::full(10_000));
        let mut has = Bitfield::empty(10_000);
        for index in [17, 5_000, 9_999] {
            has.set(index);
            (0..9).for_each(|_| picker.gained(index));
        }
        picker.lost(5_000);
        assert_eq!(picker.pick(&has, one(), rng), Some(5_000..5_001));
    }

    #[test]
    fn ties_are_broken_at_random() {
        let mut firsts: Vec<_> = (0..20)
            .map(|seed| {
                let rng = &mut Xoshiro256PlusPlus::seed_from_u64(seed);
                let picker = picker(BlockStrategy::RarestFirst);
                picker.pick(&Bitfield::full(BLOCKS), one(), rng).unwrap().start
            })
            .collect();
        firsts.sort_unstable();
        firsts.dedup();
        assert!(firsts.len() > 10, "{firsts:?}");
    }

    #[test]
    fn the_first_blocks_are_any_however_rare() {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
        let mut picker = picker(BlockStrategy::RarestFirst);
        (1..BLOCKS).for_each(|index| picker.gained(index));
        let any = Pick { any: true, ..one() };
        let mut picks = (0..20).map(|_| picker.pick(&Bitfield::full(BLOCKS), any, rng).unwrap().start);
        assert!(picks.any(|index| index != 0));
        assert_eq!(picker.pick(&Bitfield::full(BLOCKS), one(), rng), Some(0..1));
    }

    #[test]
    fn a_run_stays_in_its_group_and_costs_no_rarity() {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
        let mut picker = picker(BlockStrategy::Sequential { window: 64 });
        let eight = Pick { most: 8, ..one() };
        assert_eq!(picker.pick(&Bitfield::full(BLOCKS), eight, rng), Some(0..8));
        picker.remove(0);
        picker.gained(5);
        assert_eq!(picker.pick(&Bitfield::full(BLOCKS), eight, rng), Some(1..5));
        (1..8).for_each(|index| assert!(picker.remove(index)));
        assert_eq!(picker.pick(&Bitfield::full(BLOCKS), eight, rng), Some(8..16));
    }

    #[test]
    fn runs_follow_each_other_inside_a_stretch_unless_another_block_is_rarer() {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
        let full = Bitfield::full(4_096);
        let mut picker = Picker::new(BlockStrategy::RarestFirst, &full);
        (0..4_096).for_each(|index| picker.gained(index));
        let pick = |picker: &Picker, following, rng: &mut Xoshiro256PlusPlus| {
            let pick = Pick { following: Some(following), stretch: 64, ..one() };
            picker.pick(&full, pick, rng).unwrap().start
        };
        assert_eq!(pick(&picker, 131, rng), 131);
        assert_ne!(pick(&picker, 128, rng), 128, "a stretch of 64 blocks ends there");
        picker.lost(3_000);
        assert_eq!(pick(&picker, 131, rng), 3_000);
        picker.lost(131);
        assert_eq!(pick(&picker, 131, rng), 131);
    }

    #[test]
    fn every_strategy_picks_each_block_once_and_then_none() {
        for strategy in [BlockStrategy::RarestFirst, BlockStrategy::Random, BlockStrategy::Sequential { window: 4 }] {
            let rng = &mut Xoshiro256PlusPlus::seed_from_u64(9);
            let mut picker = picker(strategy);
            let mut picked = Vec::new();
            while let Some(run) = picker.pick(&Bitfield::full(BLOCKS), Pick { most: 3, ..one() }, rng) {
                run.clone().for_each(|index| assert!(picker.remove(index)));
                picked.extend(run);
            }
            picked.sort_unstable();
            assert_eq!(picked, (0..BLOCKS).collect::<Vec<_>>(), "{strategy:?}");
        }
    }

    #[test]
    fn of_a_neighbour_that_has_very_many_blocks_the_only_rare_one_comes_first() {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
        let mut has = Bitfield::full(10_000);
        (0..9).for_each(|index| _ = has.clear(index));
        let mut picker = Picker::new(BlockStrategy::RarestFirst, &Bitfield::full(10_000));
        has.iter().for_each(|index| (0..2).for_each(|_| picker.gained(index)));
        picker.lost(5_000);
        assert_eq!(picker.pick(&has, one(), rng), Some(5_000..5_001), "nobody has those that are rarer");
    }

    #[test]
    fn blocks_that_become_more_and_more_common_leave_no_memory_behind() {
        let mut picker = Picker::new(BlockStrategy::RarestFirst, &Bitfield::full(4_096));
        for neighbours in 1..20 {
            (0..4_096).for_each(|index| picker.gained(index));
            let room: usize = picker.bands.iter().map(Vec::capacity).sum();
            assert!(room <= 2 * 4_096, "{room} places for 4,096 blocks that {neighbours} neighbours have");
        }
    }
}
