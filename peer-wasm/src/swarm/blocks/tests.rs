use super::*;
use protocol::BlockSize;

fn audit(blocks: &Blocks) {
    blocks.audit(std::iter::empty());
}

/// Four blocks that are each a segment.
fn small() -> Blocks {
    let geometry = Geometry::new(4 * 4_096, BlockSize::try_from(4_096).unwrap()).unwrap();
    Blocks::new(BlockStrategy::RarestFirst, geometry, Bitfield::empty(4))
}

#[test]
fn a_block_goes_from_missing_to_stored() {
    let mut blocks = small();
    let span = blocks.geometry.span(1, 2).unwrap();
    blocks.request(span);
    assert!(!blocks.is_repeated(span) && !blocks.none_missing());
    assert_eq!((blocks.state(1), blocks.state(2)), (BlockState::Requested, BlockState::Requested));
    blocks.request(span);
    assert_eq!((blocks.state(1), blocks.is_repeated(span)), (BlockState::Repeated, true));
    audit(&blocks);
    blocks.release(span);
    assert_eq!((blocks.state(1), blocks.is_repeated(span)), (BlockState::Requested, false));
    blocks.storing(1);
    blocks.release(span);
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
    let mut blocks = small();
    blocks.gained(3);
    audit(&blocks);
}

/// Segments of 16 KiB.
const SEGMENT: u64 = 16 << 10;

/// Two blocks of four segments, and one of a segment and a half.
fn large() -> Blocks {
    let geometry = Geometry::new(9 * SEGMENT + SEGMENT / 2, BlockSize::try_from(64 << 10).unwrap()).unwrap();
    Blocks::new(BlockStrategy::RarestFirst, geometry, Bitfield::empty(3))
}

fn span(index: u32, count: u32) -> Span {
    large().geometry.span(index, count).unwrap()
}

fn peer(number: u8) -> PeerId {
    PeerId::from_bytes([number; 8])
}

/// What a span holds: the number of each segment, again and again.
fn content(span: Span) -> Bytes {
    let whole = span.segments().flat_map(|segment| [segment as u8; SEGMENT as usize]);
    whole.take(large().geometry.span_len(span) as usize).collect()
}

/// Takes in a span that a peer was asked for; gives the runs that are whole then, all of them right.
fn receive(blocks: &mut Blocks, span: Span, from: u8) -> Vec<(u32, u32)> {
    blocks.release(span);
    let wholes = blocks.receive(span, &content(span), peer(from));
    audit(blocks);
    for Whole { run, data, .. } in &wholes {
        let segments = blocks.geometry.block_segments(run.index()).start..;
        let right = segments.flat_map(|segment| [segment as u8; SEGMENT as usize]);
        assert!(data.iter().copied().eq(right.take(blocks.geometry.run_len(*run) as usize)), "{run:?}");
    }
    wholes.iter().map(|whole| (whole.run.index(), whole.run.count())).collect()
}

#[test]
fn a_block_of_which_something_is_asked_is_unfinished_until_all_of_it_is() {
    let mut blocks = large();
    let full = Bitfield::full(3);
    assert_eq!((blocks.unfinished(&full), blocks.next_segments(1, 3)), (None, Some(span(4, 3))));
    blocks.request(span(4, 3));
    assert_eq!((blocks.unfinished(&full), blocks.is_unfinished(1)), (Some(1), true));
    assert_eq!(blocks.unfinished(&Bitfield::empty(3)), None, "who does not have it cannot finish it");
    assert!(!blocks.none_missing() && blocks.state(1) == BlockState::Requested);
    assert_eq!(blocks.next_segments(1, 9), Some(span(7, 1)));
    audit(&blocks);
    blocks.request(span(7, 1));
    assert_eq!((blocks.unfinished(&full), blocks.next_segments(1, 9)), (None, None));
    audit(&blocks);
    blocks.release(span(4, 3));
    assert_eq!((blocks.unfinished(&full), blocks.next_segments(1, 2)), (Some(1), Some(span(4, 2))));
    blocks.release(span(7, 1));
    assert_eq!((blocks.unfinished(&full), blocks.state(1)), (None, BlockState::Missing));
    audit(&blocks);
}

#[test]
fn the_rarest_of_those_that_are_unfinished_is_finished_first() {
    let mut blocks = large();
    blocks.request(span(0, 1));
    blocks.request(span(4, 1));
    blocks.gained(0);
    assert_eq!(blocks.unfinished(&Bitfield::full(3)), Some(1));
    (0..2).for_each(|_| blocks.gained(1));
    assert_eq!(blocks.unfinished(&Bitfield::full(3)), Some(0));
}

#[test]
fn a_block_is_whole_when_its_last_segment_came_whatever_the_order() {
    let mut blocks = large();
    blocks.request(span(0, 2));
    blocks.request(span(2, 1));
    blocks.request(span(3, 1));
    assert_eq!(receive(&mut blocks, span(3, 1), 7), []);
    assert_eq!(receive(&mut blocks, span(0, 2), 8), []);
    assert!(blocks.wants(span(2, 1)) && blocks.wants(span(1, 3)) && !blocks.wants(span(0, 2)));
    assert_eq!(blocks.state(0), BlockState::Requested);
    blocks.release(span(2, 1));
    let wholes = blocks.receive(span(2, 1), &content(span(2, 1)), peer(7));
    let given: Vec<_> = wholes[0].given.iter().map(|given| (given.segment, given.by)).collect();
    assert_eq!(given, [(0, peer(8)), (1, peer(8)), (2, peer(7)), (3, peer(7))]);
    assert_eq!((wholes.len(), &wholes[0].data), (1, &content(span(0, 4))));
    assert!(!blocks.wants(span(0, 4)) && blocks.is_wanted(0), "nothing of it is missing, but it is not verified");
    audit(&blocks);
    blocks.storing(0);
    assert_eq!(blocks.rest(), 0);
    audit(&blocks);
}

#[test]
fn what_comes_twice_is_taken_once() {
    let mut blocks = large();
    blocks.request(span(0, 2));
    assert_eq!(receive(&mut blocks, span(0, 2), 7), []);
    let other = Bytes::from(vec![99; 3 * SEGMENT as usize]);
    assert!(blocks.receive(span(0, 3), &other, peer(8)).is_empty());
    audit(&blocks);
    let [whole] = <[Whole; 1]>::try_from(blocks.receive(span(3, 1), &content(span(3, 1)), peer(7))).unwrap();
    let given: Vec<_> = whole.given.iter().map(|given| given.by).collect();
    assert_eq!(given, [7, 7, 8, 7].map(peer));
    assert_eq!(whole.data[..2 * SEGMENT as usize], content(span(0, 2)));
    assert_eq!(whole.data[2 * SEGMENT as usize..3 * SEGMENT as usize], other[2 * SEGMENT as usize..]);
}

#[test]
fn what_is_whole_in_one_message_needs_nothing_that_came_before() {
    let mut blocks = large();
    blocks.request(span(0, 1));
    assert_eq!(receive(&mut blocks, span(0, 1), 7), []);
    blocks.request(span(0, 8));
    blocks.release(span(0, 8));
    let wholes = blocks.receive(span(0, 8), &content(span(0, 8)), peer(8));
    assert_eq!(wholes.len(), 1, "a run that is checked together");
    let Whole { run, data, given } = &wholes[0];
    assert_eq!((run.index(), run.count(), data), (0, 2, &content(span(0, 8))));
    assert!(given.is_empty(), "who sent the message gave all of it");
}

#[test]
fn of_one_message_some_blocks_are_whole_and_of_others_there_is_a_part() {
    let mut blocks = large();
    assert_eq!(receive(&mut blocks, span(2, 7), 7), [(1, 1)]);
    assert!(!blocks.wants(span(2, 2)) && blocks.wants(span(0, 2)) && !blocks.wants(span(8, 1)));
    assert_eq!(receive(&mut blocks, span(9, 1), 7), [(2, 1)]);
    assert_eq!(receive(&mut blocks, span(0, 2), 7), [(0, 1)]);
    blocks.storing(1);
    assert_eq!(receive(&mut blocks, span(4, 1), 7), [], "it is here");
}

#[test]
fn the_last_block_is_whole_with_fewer_and_shorter_segments() {
    let mut blocks = large();
    assert_eq!(blocks.next_segments(2, 4), Some(span(8, 2)));
    blocks.request(span(9, 1));
    assert_eq!(blocks.rest(), SEGMENT, "the half is on its way");
    assert_eq!(receive(&mut blocks, span(9, 1), 7), []);
    assert_eq!(blocks.rest(), SEGMENT + SEGMENT / 2);
    blocks.request(span(8, 1));
    assert_eq!(blocks.rest(), SEGMENT / 2);
    assert_eq!(receive(&mut blocks, span(8, 1), 7), [(2, 1)]);
    assert_eq!(receive(&mut large(), span(8, 2), 7), [(2, 1)], "in one message");
}

#[test]
fn what_is_not_on_its_way_of_a_block_that_is_begun_counts_as_rest() {
    let mut blocks = large();
    assert_eq!(blocks.rest(), 0, "a block that is missing takes no room");
    blocks.request(span(0, 1));
    assert_eq!(blocks.rest(), 3 * SEGMENT, "nobody was asked for these");
    blocks.request(span(4, 4));
    assert_eq!(blocks.rest(), 3 * SEGMENT);
    assert_eq!(receive(&mut blocks, span(0, 1), 7), []);
    assert_eq!(blocks.rest(), 4 * SEGMENT, "and this is here");
    blocks.request(span(1, 3));
    assert_eq!(blocks.rest(), SEGMENT);
    blocks.release(span(4, 4));
    blocks.release(span(1, 3));
    assert_eq!(blocks.rest(), 4 * SEGMENT);
    blocks.discard(0);
    assert_eq!((blocks.rest(), blocks.state(0)), (0, BlockState::Missing));
    audit(&blocks);
}

#[test]
fn what_is_asked_of_two_is_repeated_until_one_is_answered() {
    let mut blocks = large();
    blocks.request(span(0, 4));
    assert_eq!(blocks.asked_once(span(0, 4)), Some(span(0, 1)));
    assert_eq!(blocks.asked_once(span(2, 4)), Some(span(2, 1)));
    assert_eq!(blocks.asked_once(span(4, 2)), None, "nobody was asked for the rest");
    assert!(!blocks.is_repeated(span(0, 4)));
    blocks.request(span(1, 2));
    assert_eq!((blocks.is_repeated(span(0, 4)), blocks.state(0)), (true, BlockState::Repeated));
    assert!(blocks.is_repeated(span(1, 1)) && !blocks.is_repeated(span(4, 2)));
    assert_eq!([0, 1, 2, 3].map(|segment| blocks.times_asked(span(segment, 1))), [1, 2, 2, 1]);
    assert_eq!(blocks.asked_once(span(0, 4)), Some(span(0, 1)));
    assert_eq!(blocks.asked_once(span(1, 3)), Some(span(3, 1)));
    audit(&blocks);
    assert_eq!(receive(&mut blocks, span(1, 2), 8), []);
    assert_eq!((blocks.is_repeated(span(0, 4)), blocks.state(0)), (false, BlockState::Requested));
    assert_eq!(blocks.asked_once(span(1, 3)), Some(span(3, 1)), "the others are here");
    blocks.release(span(0, 4));
    assert_eq!(blocks.next_segments(0, 4), Some(span(0, 1)), "what is here is not asked for again");
    audit(&blocks);
}

#[test]
fn what_is_wrong_is_forgotten_and_wanted_again() {
    let mut blocks = large();
    blocks.request(span(0, 4));
    blocks.request(span(3, 1));
    assert_eq!(receive(&mut blocks, span(0, 4), 7), [(0, 1)]);
    assert!(blocks.wants(span(0, 4)), "of what came in one message nothing is kept until it is verified");
    assert_eq!(receive(&mut blocks, span(3, 1), 8), []);
    assert_eq!(receive(&mut blocks, span(0, 2), 7), []);
    blocks.request(span(2, 1));
    blocks.discard(0);
    assert!(blocks.wants(span(0, 2)) && blocks.wants(span(3, 1)));
    assert_eq!((blocks.rest(), blocks.next_segments(0, 4)), (3 * SEGMENT, Some(span(0, 2))));
    assert_eq!(blocks.times_asked(span(2, 1)), 1, "it is still on its way");
    audit(&blocks);
    blocks.discard(1);
    assert_eq!(blocks.state(1), BlockState::Missing);
    audit(&blocks);
}

#[test]
fn a_block_that_is_stored_needs_no_segments() {
    let mut blocks = large();
    blocks.request(span(2, 4));
    blocks.storing(1);
    assert_eq!((blocks.times_asked(span(4, 1)), blocks.rest()), (0, 2 * SEGMENT));
    assert!(!blocks.wants(span(4, 4)) && blocks.wants(span(2, 4)));
    blocks.request(span(3, 5));
    assert_eq!([3, 4].map(|segment| blocks.times_asked(span(segment, 1))), [2, 0]);
    blocks.release(span(3, 5));
    blocks.release(span(2, 4));
    assert_eq!((blocks.state(0), blocks.state(1)), (BlockState::Missing, BlockState::Storing));
    audit(&blocks);
}
