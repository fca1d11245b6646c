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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use protocol::BlockSize;

    const SEGMENT: usize = 16 << 10;

    /// 99 blocks of two segments, and one of a segment and a half.
    fn geometry() -> Geometry {
        Geometry::new((99 * 2 * SEGMENT + SEGMENT + SEGMENT / 2) as u64, BlockSize::try_from(32 << 10).unwrap())
            .unwrap()
    }

    fn peer(number: u8) -> PeerId {
        PeerId::from_bytes([number; 8])
    }

    fn given(segment: u32, by: u8, data: &[u8]) -> Given {
        Given { segment, by: peer(by), data: Bytes::copy_from_slice(data) }
    }

    static RIGHT: [u8; 2 * SEGMENT] = [1; 2 * SEGMENT];
    static FIRST: [u8; SEGMENT] = [1; SEGMENT];
    static WRONG: [u8; SEGMENT] = [2; SEGMENT];

    #[test]
    fn whoever_gave_something_else_lied_and_nobody_else() {
        for (lies, liars) in
            [([true, false], vec![7]), ([false, true], vec![8]), ([true, true], vec![7, 8]), ([false, false], vec![])]
        {
            let mut suspects = Suspects::default();
            let data = lies.map(|lies| if lies { WRONG } else { FIRST });
            suspects.note(5, &[given(10, 7, &data[0]), given(11, 8, &data[1])]);
            assert!(suspects.contains(5) && !suspects.contains(4));
            assert!(suspects.judge(4, &RIGHT, &geometry()).is_empty(), "that is another block");
            assert_eq!(suspects.judge(5, &RIGHT, &geometry()), liars.into_iter().map(peer).collect::<Vec<_>>());
            assert!(!suspects.contains(5));
            assert!(suspects.judge(5, &RIGHT, &geometry()).is_empty(), "it is judged once");
        }
    }

    #[test]
    fn whoever_lied_twice_is_named_once() {
        let mut suspects = Suspects::default();
        suspects.note(0, &[given(0, 7, &WRONG), given(1, 7, &WRONG)]);
        assert_eq!(suspects.judge(0, &RIGHT, &geometry()), [peer(7)]);
    }

    #[test]
    fn the_last_segment_is_compared_in_its_length() {
        let mut suspects = Suspects::default();
        let right = &RIGHT[..SEGMENT + SEGMENT / 2];
        suspects.note(99, &[given(198, 7, &WRONG), given(199, 8, &right[SEGMENT..])]);
        assert_eq!(suspects.judge(99, right, &geometry()), [peer(7)]);
    }

    #[test]
    fn what_was_given_first_counts_if_the_block_is_wrong_again() {
        let mut suspects = Suspects::default();
        suspects.note(0, &[given(0, 7, &WRONG), given(1, 8, &FIRST)]);
        suspects.note(0, &[given(0, 9, &WRONG), given(1, 8, &FIRST)]);
        assert_eq!(suspects.judge(0, &RIGHT, &geometry()), [peer(7)]);
    }

    #[test]
    fn only_so_many_are_remembered_and_there_is_room_again_when_one_is_judged() {
        let mut suspects = Suspects::default();
        let note = |suspects: &mut Suspects, index| suspects.note(index, &[given(2 * index, 7, &WRONG)]);
        (0..=MAX_SUSPECTS as u32).for_each(|index| note(&mut suspects, index));
        let known = (0..100).filter(|index| suspects.contains(*index)).count();
        assert_eq!((known, suspects.contains(MAX_SUSPECTS as u32)), (MAX_SUSPECTS, false));
        suspects.judge(3, &RIGHT, &geometry());
        note(&mut suspects, 90);
        assert!(suspects.contains(90));
    }
}
