//! The block manager: what state each block of the file is in.

use super::{
    begun::{Begun, Given, joined},
    config::BlockStrategy,
    picker::{Pick, Picker},
};
use bytes::Bytes;
use protocol::{Bitfield, Geometry, PeerId, Run, Span};
use rand::Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// The state of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockState {
    /// Not here and not asked for.
    Missing,
    /// Asked for, or here in part.
    Requested,
    /// The same, and something of it is asked of two neighbours.
    Repeated,
    /// Here and verified, on its way to the storage.
    Storing,
    /// Verified and stored.
    Stored,
}

/// Blocks of which every byte is here, to be verified.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) run: Run,
    pub(crate) data: Bytes,
    /// Who gave what of a block that came in pieces; nothing if it is all of one message.
    pub(super) given: Vec<Given>,
}

/// The state of every block, and what follows from it: the picker knows those of which something was asked of nobody.
#[derive(Debug)]
pub(crate) struct Blocks {
    geometry: Geometry,
    states: Vec<BlockState>,
    stored: Bitfield,
    /// Those, and the ones on their way there.
    verified: Bitfield,
    picker: Picker,
    begun: BTreeMap<u32, Begun>,
    /// Those begun of which something was asked of nobody.
    unfinished: BTreeSet<u32>,
    /// Bytes of blocks begun that are not on their way: here, or asked of nobody.
    rest: u64,
}

impl Blocks {
    /// Starts with the blocks that are stored already.
    pub(crate) fn new(strategy: BlockStrategy, geometry: Geometry, stored: Bitfield) -> Self {
        let state = |index| if stored.has(index) { BlockState::Stored } else { BlockState::Missing };
        let states: Vec<_> = (0..stored.len()).map(state).collect();
        let mut missing = Bitfield::empty(stored.len());
        (0..stored.len()).filter(|index| !stored.has(*index)).for_each(|index| _ = missing.set(index));
        Self {
            geometry,
            states,
            picker: Picker::new(strategy, &missing),
            verified: stored.clone(),
            stored,
            begun: BTreeMap::new(),
            unfinished: BTreeSet::new(),
            rest: 0,
        }
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

    /// The blocks that do not have to be received any more.
    pub(crate) const fn verified(&self) -> &Bitfield {
        &self.verified
    }

    /// Bytes of blocks begun that are not on their way: here and not verified yet, or asked of nobody.
    pub(crate) const fn rest(&self) -> u64 {
        self.rest
    }

    /// Whether something of the span's blocks is asked of two.
    pub(crate) fn is_repeated(&self, span: Span) -> bool {
        self.begun_of(span).any(Begun::is_repeated)
    }

    /// The first segment of the span that is asked of exactly one neighbour and not here.
    pub(crate) fn asked_once(&self, span: Span) -> Option<Span> {
        let segment = |index| self.geometry.span(index, 1).expect("a segment of a span of the file");
        let is_asked_once = |segment: &Span| self.begun_of(*segment).any(|begun| begun.is_asked_once(*segment));
        (span.index()..span.end()).map(segment).find(is_asked_once)
    }

    /// Of how many neighbours a segment of a block that is wanted is asked.
    pub(crate) fn times_asked(&self, segment: Span) -> u32 {
        self.begun_of(segment).map(|begun| begun.times_asked(segment)).sum()
    }

    /// Whether nothing is left to ask for the first time.
    pub(crate) const fn none_missing(&self) -> bool {
        self.picker.missing().count() == 0
    }

    /// Whether the block still has to be received.
    pub(crate) fn is_wanted(&self, index: u32) -> bool {
        !self.verified.has(index)
    }

    /// Whether something of the span still has to be received.
    pub(crate) fn wants(&self, span: Span) -> bool {
        let lacks = |index| self.begun.get(&index).is_none_or(|begun| begun.lacks(span));
        self.geometry.span_blocks(span).any(|index| self.is_wanted(index) && lacks(index))
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

    /// The rarest of the blocks that are begun and of which nobody was asked for the rest.
    pub(crate) fn unfinished(&self, has: &Bitfield) -> Option<u32> {
        let offered = self.unfinished.iter().copied().filter(|index| has.has(*index));
        offered.min_by_key(|index| self.availability(*index))
    }

    /// Whether the block is begun and nobody was asked for the rest.
    pub(crate) fn is_unfinished(&self, index: u32) -> bool {
        self.unfinished.contains(&index)
    }

    /// The blocks that are begun and of which nothing is on its way.
    pub(crate) fn idle(&self) -> impl Iterator<Item = u32> {
        let idle = |index: &u32| self.begun.get(index).is_some_and(Begun::is_idle);
        self.unfinished.iter().copied().filter(idle)
    }

    /// Whether taking a span in begins a block.
    pub(crate) fn begins(&self, span: Span) -> bool {
        let in_part = self.geometry.span_blocks(span).filter(|index| !self.covers(span, *index));
        in_part.into_iter().any(|index| !self.begun.contains_key(&index))
    }

    /// Whether all of a block is in a span.
    fn covers(&self, span: Span, index: u32) -> bool {
        let segments = self.geometry.block_segments(index);
        span.index() <= segments.start && segments.end <= span.end()
    }

    /// The first of the block that nobody was asked for: so many segments in a row at most.
    pub(crate) fn next_segments(&self, index: u32, most: u32) -> Option<Span> {
        let segments = match self.begun.get(&index) {
            Some(begun) => begun.unasked(most)?,
            None => {
                let all = self.geometry.block_segments(index);
                all.start..all.end.min(all.start + most)
            }
        };
        self.geometry.span(segments.start, segments.end - segments.start).ok()
    }

    /// Notes one more request for what is still wanted of the span.
    pub(crate) fn request(&mut self, span: Span) {
        for index in self.geometry.span_blocks(span).filter(|index| self.is_wanted(*index)).collect::<Vec<_>>() {
            self.change(index, |begun| begun.request(span));
        }
    }

    /// Takes one request back from what is wanted of the span; what is asked of nobody else is missing again.
    pub(crate) fn release(&mut self, span: Span) {
        for index in self.geometry.span_blocks(span) {
            if self.begun.contains_key(&index) {
                self.change(index, |begun| begun.release(span));
            }
        }
    }

    /// Takes in the bytes of a span; gives the blocks that are whole now.
    pub(crate) fn receive(&mut self, span: Span, data: &Bytes, from: PeerId) -> Vec<Whole> {
        let geometry = self.geometry;
        let mut wholes = Vec::new();
        let blocks = geometry.span_blocks(span);
        let (covered, in_part): (Vec<_>, Vec<_>) = blocks.partition(|index| self.covers(span, *index));
        if let (Some(first), count @ 1..) = (covered.first(), covered.len() as u32) {
            let run = geometry.run(*first, count).expect("blocks of a span of the file");
            let start = (geometry.offset(*first) - geometry.span_offset(span)) as usize;
            let data = data.slice(start..start + geometry.run_len(run) as usize);
            wholes.push(Whole { run, data, given: Vec::new() });
        }
        for index in in_part {
            if !self.is_wanted(index) {
                continue;
            }
            self.change(index, |begun| begun.receive(span, data, from, &geometry));
            if let Some(given) = self.begun.get(&index).and_then(Begun::whole) {
                let run = geometry.run(index, 1).expect("a block of a span of the file");
                wholes.push(Whole { run, data: joined(&given), given });
            }
        }
        wholes
    }

    /// What is here of a block is wrong: it is wanted again.
    pub(crate) fn discard(&mut self, index: u32) {
        if self.begun.contains_key(&index) {
            self.change(index, Begun::discard);
        }
    }

    /// What somebody gave of blocks that are not whole is not believed any more: it is wanted again.
    pub(crate) fn discard_of(&mut self, giver: PeerId) {
        for index in self.begun.keys().copied().collect::<Vec<_>>() {
            self.change(index, |begun| begun.discard_of(giver));
        }
    }

    /// Notes a verified block.
    pub(crate) fn storing(&mut self, index: u32) {
        self.forget(index);
        self.picker.remove(index);
        self.verified.set(index);
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
            let begun = self.begun.get(&index);
            let is_open = matches!(state, BlockState::Requested | BlockState::Repeated);
            assert_eq!(begun.is_some(), is_open, "{index} is {state:?}");
            let is_unfinished = begun.is_some_and(|begun| begun.unasked(1).is_some());
            assert_eq!(self.unfinished.contains(&index), is_unfinished, "{index} is {state:?}");
            let is_missing = is_unfinished || *state == BlockState::Missing;
            assert_eq!(self.picker.missing().has(index), is_missing, "{index} is {state:?}");
            assert_eq!(self.stored.has(index), *state == BlockState::Stored, "{index} is {state:?}");
            let is_verified = matches!(state, BlockState::Storing | BlockState::Stored);
            assert_eq!(self.verified.has(index), is_verified, "{index} is {state:?}");
            let have = neighbours.clone().filter(|has| has.has(index)).count();
            assert_eq!(usize::from(self.availability(index)), have, "neighbours have {index}");
        }
        let rest = self.begun.values().map(|begun| begun.rest(&self.geometry));
        assert_eq!(self.rest, rest.sum::<u64>(), "bytes not on their way");
    }

    fn begun_of(&self, span: Span) -> impl Iterator<Item = &Begun> {
        self.begun.range(self.geometry.span_blocks(span)).map(|(_, begun)| begun)
    }

    /// Changes what is asked of a block that is wanted, or is here of it, and what follows from that.
    fn change<T>(&mut self, index: u32, change: impl FnOnce(&mut Begun) -> T) {
        let begun = self.begun.entry(index).or_insert_with(|| Begun::new(index, &self.geometry));
        let rest = if begun.is_empty() { 0 } else { begun.rest(&self.geometry) };
        change(begun);
        if begun.is_empty() {
            self.begun.remove(&index);
            self.unfinished.remove(&index);
            self.picker.insert(index);
            self.states[index as usize] = BlockState::Missing;
        } else {
            self.rest += begun.rest(&self.geometry);
            self.states[index as usize] =
                if begun.is_repeated() { BlockState::Repeated } else { BlockState::Requested };
            if begun.unasked(1).is_some() {
                self.unfinished.insert(index);
                self.picker.insert(index);
            } else {
                self.unfinished.remove(&index);
                self.picker.remove(index);
            }
        }
        self.rest -= rest;
    }

    /// Forgets what is asked of a block, and what is here of it.
    fn forget(&mut self, index: u32) {
        if let Some(begun) = self.begun.remove(&index) {
            self.rest -= begun.rest(&self.geometry);
            self.unfinished.remove(&index);
        }
    }
}

#[cfg(test)]
mod tests;
