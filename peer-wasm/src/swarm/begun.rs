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

    /// Forgets what somebody gave.
    pub(super) fn discard_of(&mut self, giver: PeerId) {
        for given in self.given.extract_if(.., |given| given.by == giver) {
            self.here &= !(1 << (given.segment - self.segments.start));
        }
    }

    /// Whether nothing is asked for or here.
    pub(super) const fn is_empty(&self) -> bool {
        self.asked | self.here == 0
    }

    /// Whether nothing is asked for.
    pub(super) const fn is_idle(&self) -> bool {
        self.asked == 0
    }

    /// Whether something of the span is not here.
    pub(super) fn lacks(&self, span: Span) -> bool {
        self.mask(span) & !self.here != 0
    }

    /// Whether the segment is asked of exactly one, and not here.
    pub(super) fn is_asked_once(&self, segment: Span) -> bool {
        self.mask(segment) & (!self.asked | self.twice | self.here) == 0
    }

    /// Whether something is asked of two.
    pub(super) const fn is_repeated(&self) -> bool {
        self.twice != 0
    }

    /// Of how many this segment is asked.
    pub(super) fn times_asked(&self, segment: Span) -> u32 {
        u32::from(self.asked & self.mask(segment) != 0) + u32::from(self.twice & self.mask(segment) != 0)
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

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{BlockSize, MAX_BLOCK_SEGMENTS};

    const SEGMENT: u64 = 16 << 10;

    /// Two blocks of 64 segments, and one of three, the last of which is half as long.
    fn geometry() -> Geometry {
        Geometry::new((2 << 20) + 2 * SEGMENT + SEGMENT / 2, BlockSize::try_from(1 << 20).unwrap()).unwrap()
    }

    fn span(index: u32, count: u32) -> Span {
        geometry().span(index, count).unwrap()
    }

    fn begun(index: u32) -> Begun {
        Begun::new(index, &geometry())
    }

    fn peer(number: u8) -> PeerId {
        PeerId::from_bytes([number; 8])
    }

    fn receive(begun: &mut Begun, span: Span, byte: u8) {
        let data = Bytes::from(vec![byte; geometry().span_len(span) as usize]);
        begun.receive(span, &data, peer(byte), &geometry());
    }

    #[test]
    fn the_largest_block_is_asked_for_and_put_together_to_its_last_segment() {
        for index in [0, 1] {
            let mut begun = begun(index);
            let first = index * MAX_BLOCK_SEGMENTS;
            let whole = span(first, MAX_BLOCK_SEGMENTS);
            assert_eq!(begun.unasked(u32::MAX), Some(first..first + 64));
            begun.request(whole);
            assert_eq!((begun.unasked(1), begun.rest(&geometry())), (None, 0));
            assert!(begun.lacks(whole));
            begun.request(span(first + 63, 1));
            assert_eq!([62, 63].map(|segment| begun.times_asked(span(first + segment, 1))), [1, 2]);
            begun.release(whole);
            assert_eq!((begun.unasked(u32::MAX), begun.is_repeated()), (Some(first..first + 63), false));
            for segment in (first..first + 64).rev() {
                assert!(begun.whole().is_none() && begun.lacks(whole));
                receive(&mut begun, span(segment, 1), (segment % 64) as u8);
            }
            begun.release(span(first + 63, 1));
            assert!(!begun.lacks(whole));
            let given = begun.whole().unwrap();
            assert!(given.iter().map(|given| given.segment).eq(first..first + 64));
            let joined = joined(&given);
            assert!(joined.chunks(SEGMENT as usize).zip(0..64).all(|(chunk, byte)| chunk == [byte; SEGMENT as usize]));
            assert_eq!((joined.len(), begun.rest(&geometry())), (1 << 20, 1 << 20));
        }
    }

    #[test]
    fn only_the_part_of_a_span_that_is_in_the_block_counts() {
        let mut begun = begun(1);
        begun.request(span(60, 4));
        assert!(begun.is_empty(), "that is the block before");
        begun.request(span(60, 6));
        assert_eq!(begun.unasked(u32::MAX), Some(66..128));
        assert_eq!([64, 65, 66].map(|segment| begun.is_asked_once(span(segment, 1))), [true, true, false]);
        receive(&mut begun, span(62, 3), 7);
        assert!(!begun.lacks(span(62, 3)) && begun.lacks(span(62, 4)));
        assert_eq!(begun.given.len(), 1);
        begun.release(span(60, 6));
        assert_eq!(begun.unasked(u32::MAX), Some(65..128));
        receive(&mut begun, span(126, 3), 8);
        assert_eq!((begun.unasked(u32::MAX), begun.given.len()), (Some(65..126), 3));
    }

    #[test]
    fn what_nobody_was_asked_for_is_given_in_rows_up_to_the_first_that_somebody_was() {
        let mut begun = begun(0);
        begun.request(span(2, 3));
        begun.request(span(8, 1));
        receive(&mut begun, span(6, 1), 7);
        assert_eq!([1, 2, 9].map(|most| begun.unasked(most)), [Some(0..1), Some(0..2), Some(0..2)]);
        begun.request(span(0, 2));
        assert_eq!(begun.unasked(9), Some(5..6));
        begun.request(span(5, 1));
        assert_eq!(begun.unasked(9), Some(7..8));
        begun.request(span(7, 1));
        assert_eq!(begun.unasked(9), Some(9..18));
    }

    #[test]
    fn the_first_who_gives_a_segment_is_the_one_who_gave_it() {
        let mut begun = begun(2);
        receive(&mut begun, span(129, 1), 7);
        receive(&mut begun, span(128, 3), 8);
        let given = begun.whole().unwrap();
        assert_eq!(given.iter().map(|given| given.by).collect::<Vec<_>>(), [8, 7, 8].map(peer));
        assert_eq!(
            given.iter().map(|given| given.data.len() as u64).collect::<Vec<_>>(),
            [SEGMENT, SEGMENT, SEGMENT / 2]
        );
        assert_eq!(joined(&given[..1]), given[0].data);
    }

    #[test]
    fn what_one_gave_is_forgotten_and_what_others_gave_is_not() {
        let mut begun = begun(2);
        receive(&mut begun, span(130, 1), 7);
        receive(&mut begun, span(128, 1), 8);
        receive(&mut begun, span(129, 1), 7);
        begun.discard_of(peer(9));
        assert_eq!((begun.given.len(), begun.unasked(9)), (3, None));
        begun.discard_of(peer(7));
        assert_eq!((begun.given.len(), begun.unasked(9)), (1, Some(129..131)));
        begun.discard_of(peer(8));
        assert!(begun.is_empty());
    }

    #[test]
    fn the_rest_is_what_is_here_or_nobody_was_asked_for() {
        let mut begun = begun(2);
        let rest = |begun: &Begun| begun.rest(&geometry());
        assert_eq!(rest(&begun), 2 * SEGMENT + SEGMENT / 2);
        begun.request(span(130, 1));
        assert_eq!(rest(&begun), 2 * SEGMENT);
        receive(&mut begun, span(130, 1), 7);
        assert_eq!(rest(&begun), 2 * SEGMENT + SEGMENT / 2, "here, and still asked of another");
        begun.request(span(128, 1));
        assert_eq!(rest(&begun), SEGMENT + SEGMENT / 2);
    }

    #[test]
    fn it_is_empty_when_nothing_is_asked_for_or_here() {
        let mut begun = begun(2);
        assert!(begun.is_empty());
        begun.request(span(128, 1));
        assert!(!begun.is_empty());
        receive(&mut begun, span(128, 1), 7);
        begun.release(span(128, 1));
        assert!(!begun.is_empty());
        begun.discard();
        assert!(begun.is_empty() && begun.given.is_empty());
        begun.request(span(128, 1));
        begun.request(span(128, 1));
        begun.discard();
        begun.release(span(128, 1));
        assert!(!begun.is_empty(), "another is still asked for it");
        begun.release(span(128, 1));
        assert!(begun.is_empty());
    }
}
