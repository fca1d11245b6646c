//! A block that is asked for: which of its segments are, and which are here.
//!
//! Bytes can be checked only when the block is whole. So they wait here until then, with the name of who gave them.

use bytes::{Bytes, BytesMut};
use protocol::{Geometry, PeerId, Span};
use std::ops::Range;

/// A bit for each segment of a block ([`protocol::MAX_BLOCK_SEGMENTS`]).
type Mask = u64;

/// The bytes of a segment, and who gave them.
#[derive(Debug, Clone)]
pub(super) struct Given {
    /// Which of the file's segments.
    pub(super) segment: u32,
    pub(super) by: PeerId,
    pub(super) data: Bytes,
}

/// A block of which something is asked for or here.
#[derive(Debug)]
pub(super) struct Begun {
    /// The block's segments in the file.
    segments: Range<u32>,
    /// Those that are asked of somebody, and of two.
    asked: Mask,
    twice: Mask,
    here: Mask,
    given: Vec<Given>,
}

impl Begun {
    pub(super) fn new(index: u32, geometry: &Geometry) -> Self {
        Self { segments: geometry.block_segments(index), asked: 0, twice: 0, here: 0, given: Vec::new() }
    }

    /// One more is asked for those of the span.
    pub(super) fn request(&mut self, span: Span) {
        self.twice |= self.mask(span) & self.asked;
        self.asked |= self.mask(span);
    }

    /// One less is asked for those of the span.
    pub(super) fn release(&mut self, span: Span) {
        let once = self.mask(span) & !self.twice;
        self.twice &= !self.mask(span);
        self.asked &= !once;
    }

    /// Takes in what is not here of a span.
    pub(super) fn receive(&mut self, span: Span, data: &Bytes, by: PeerId, geometry: &Geometry) {
        let new = self.mask(span) & !self.here;
        for segment in self.segments.clone() {
            if new & (1 << (segment - self.segments.start)) != 0 {
                let one = geometry.span(segment, 1).expect("a segment of a block of the file");
                let start = (geometry.span_offset(one) - geometry.span_offset(span)) as usize;
                let data = data.slice(start..start + geometry.span_len(one) as usize);
                self.given.push(Given { segment, by, data });
            }
        }
        self.here |= new;
    }

    /// What was given, in order, if everything is here.
    pub(super) fn whole(&self) -> Option<Vec<Given>> {
        (self.here == self.all()).then(|| {
            let mut given = self.given.clone();
            given.sort_unstable_by_key(|given| given.segment);
            given
        })
    }

    /// Forgets what is here.
    pub(super) fn discard(&mut self) {
        self.here = 0;
        self.given.clear();
    }

    /// Whether nothing is asked for or here.
    pub(super) const fn is_empty(&self) -> bool {
        self.asked | self.here == 0
    }

    /// Whether something of the span is not here.
    pub(super) fn lacks(&self, span: Span) -> bool {
        self.mask(span) & !self.here != 0
    }

    /// Whether everything of the span that belongs to this block is asked of exactly one, and not here.
    pub(super) fn is_asked_once(&self, span: Span) -> bool {
        self.mask(span) & (!self.asked | self.twice | self.here) == 0
    }

    /// Whether something is asked of two.
    pub(super) const fn is_repeated(&self) -> bool {
        self.twice != 0
    }

    /// Of how many this segment is asked.
    pub(super) fn times_asked(&self, segment: Span) -> u32 {
        u32::from(self.asked & self.mask(segment) != 0) + u32::from(self.twice & self.mask(segment) != 0)
    }

    /// Segments asked of two.
    pub(super) const fn repeated(&self) -> u32 {
        self.twice.count_ones()
    }

    /// The first segments in a row that nobody was asked for, and of them at most so many.
    pub(super) fn unasked(&self, most: u32) -> Option<Range<u32>> {
        let left = self.all() & !self.asked & !self.here;
        (left != 0).then(|| {
            let first = left.trailing_zeros();
            let count = (!(left >> first)).trailing_zeros().min(most);
            self.segments.start + first..self.segments.start + first + count
        })
    }

    /// Bytes of the block that are not on their way: those that are here, and those that nobody was asked for.
    pub(super) fn rest(&self, geometry: &Geometry) -> u64 {
        let rest = self.all() & !(self.asked & !self.here);
        let last = self.segments.end - 1;
        let has_last = rest & (1 << (last - self.segments.start)) != 0;
        let last_len = geometry.span(last, 1).map_or(0, |span| geometry.span_len(span));
        let size = u64::from(geometry.segment_size());
        u64::from(rest.count_ones()) * size - if has_last { size - last_len } else { 0 }
    }

    fn all(&self) -> Mask {
        ones(self.segments.len() as u32)
    }

    /// The bits of those segments of the span that are in this block.
    fn mask(&self, span: Span) -> Mask {
        let start = span.index().max(self.segments.start);
        let end = span.end().min(self.segments.end);
        if start < end { ones(end - start) << (start - self.segments.start) } else { 0 }
    }
}

/// The bytes of all that was given.
pub(super) fn joined(given: &[Given]) -> Bytes {
    match given {
        [one] => one.data.clone(),
        _ => {
            let mut bytes = BytesMut::with_capacity(given.iter().map(|given| given.data.len()).sum());
            given.iter().for_each(|given| bytes.extend_from_slice(&given.data));
            bytes.freeze()
        }
    }
}

const fn ones(count: u32) -> Mask {
    if count >= Mask::BITS { Mask::MAX } else { (1 << count) - 1 }
}
