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
    assert!(blocks.repeated() == 0 && !blocks.none_missing());
    assert_eq!((blocks.state(1), blocks.state(2)), (BlockState::Requested, BlockState::Requested));
    blocks.request(span);
    assert_eq!((blocks.state(1), blocks.repeated()), (BlockState::Repeated, 2 * 4_096));
    audit(&blocks);
    blocks.release(span);
    assert_eq!((blocks.state(1), blocks.repeated()), (BlockState::Requested, 0));
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
