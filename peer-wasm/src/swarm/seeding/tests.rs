use super::*;
use protocol::BlockSize;

const BLOCKS: u32 = 100;
const BLOCK: u32 = 4_096;

/// A file of so many blocks that are each a segment.
fn small_blocks(blocks: u32) -> Geometry {
    Geometry::new(u64::from(blocks * BLOCK), BlockSize::try_from(BLOCK).unwrap()).unwrap()
}

fn span(index: u32, count: u32) -> Span {
    small_blocks(BLOCKS).span(index, count).unwrap()
}

/// A seed that gave nobody anything.
fn nothing_given() -> FirstCopies {
    FirstCopies::new(small_blocks(BLOCKS))
}

/// What was given too long ago, over a line that takes so long for nothing.
fn kept(copies: &mut FirstCopies, now: Instant) -> Vec<u32> {
    copies.take_back_lost(None, u64::MAX, now)
}

const fn at(ms: u64) -> Instant {
    Instant::after_start(Duration::from_millis(ms))
}

fn peer(number: u8) -> PeerId {
    PeerId::from_bytes([number; 8])
}

fn with(range: std::ops::Range<u32>) -> Bitfield {
    let mut has = Bitfield::empty(BLOCKS);
    range.for_each(|index| assert!(has.set(index)));
    has
}

/// Gives a peer so many blocks, of which others announce some.
fn give(copies: &mut FirstCopies, given: std::ops::Range<u32>, passed_on: u32) {
    given.clone().for_each(|index| copies.give(span(index, 1), peer(1), at(0)));
    given.take(passed_on as usize).for_each(|index| copies.announced(index, peer(2), at(0)));
}

#[test]
fn a_block_that_nobody_was_given_is_given_and_no_other_while_there_is_one() {
    let mut copies = nothing_given();
    let nothing = Bitfield::empty(BLOCKS);
    assert!(copies.may_give(span(0, 2), peer(1), &nothing));
    copies.give(span(0, 2), peer(1), at(0));
    assert!(!copies.may_give(span(0, 2), peer(2), &nothing));
    assert!(copies.may_give(span(1, 2), peer(2), &nothing), "one of them is new");
    assert_eq!(copies.refused, [peer(2)].into());
    assert!(copies.may_give(span(0, 2), peer(3), &with(2..BLOCKS)), "it has all others");
    assert_eq!(copies.refused, [peer(2)].into());
}

#[test]
fn who_was_sent_every_block_that_nobody_else_was_may_have_any() {
    let mut copies = nothing_given();
    copies.give(span(0, 1), peer(1), at(0));
    copies.give(span(1, 99), peer(2), at(0));
    assert!(copies.all_given());
    assert!(copies.may_give(span(0, 1), peer(2), &Bitfield::empty(BLOCKS)));
    kept(&mut copies, at(4_001));
    assert!(!copies.all_given());
    assert!(!copies.has_other_for(peer(2), &with(0..1)), "it was sent the rest, though it does not say so");
    assert!(copies.has_other_for(peer(3), &with(0..1)));
}

#[test]
fn a_copy_counts_when_another_announces_it_than_who_was_given_it() {
    let mut copies = FirstCopies::new(small_blocks(3));
    copies.give(span(0, 2), peer(1), at(0));
    copies.announced(0, peer(1), at(0));
    assert_eq!((copies.not_given, copies.not_spread), (1, 3));
    copies.announced(0, peer(2), at(0));
    copies.announced(0, peer(3), at(0));
    assert_eq!((copies.not_given, copies.not_spread), (1, 2));
    copies.announced(2, peer(2), at(0));
    assert_eq!((copies.not_given, copies.not_spread), (0, 1), "it came from elsewhere");
    assert!(copies.all_given() && !copies.all_spread());
    copies.announced(1, peer(2), at(0));
    assert!(copies.all_spread());
}

#[test]
fn a_second_copy_is_no_first_one() {
    let mut copies = FirstCopies::new(small_blocks(3));
    copies.give(span(0, 1), peer(1), at(0));
    copies.give(span(0, 1), peer(2), at(0));
    assert_eq!((copies.not_given, copies.accounts[&peer(2)].given), (2, 0));
    assert_eq!(copies.copies[0], Copy::Given { to: peer(1), at: at(0), left: 0 });
}

#[test]
fn a_peer_is_trusted_with_one_block_and_two_more_for_each_that_it_passed_on() {
    for passed_on in [0, 1, 2, 5] {
        let allowed = 1 + 2 * passed_on;
        let mut copies = nothing_given();
        assert!(copies.trusts(peer(1)));
        give(&mut copies, 0..passed_on + allowed - 1, passed_on);
        assert!(copies.trusts(peer(1)), "it owes {} and passed on {passed_on}", allowed - 1);
        give(&mut copies, 50..51, 0);
        assert!(!copies.trusts(peer(1)), "it owes {allowed} and passed on {passed_on}");
    }
}

#[test]
fn however_many_it_passed_on_a_peer_is_not_trusted_with_more_than_so_many() {
    let mut copies = nothing_given();
    give(&mut copies, 0..35, 35);
    give(&mut copies, 35..35 + MAX_TRUST - 1, 0);
    assert!(copies.trusts(peer(1)));
    give(&mut copies, 99..100, 0);
    assert!(!copies.trusts(peer(1)));
}

#[test]
fn for_one_block_that_it_kept_a_peer_has_to_pass_on_four() {
    let mut copies = nothing_given();
    give(&mut copies, 0..1, 0);
    assert!(kept(&mut copies, at(4_000)).is_empty(), "patience is not over yet");
    assert_eq!(kept(&mut copies, at(4_001)), [0]);
    assert!(!copies.trusts(peer(1)));
    give(&mut copies, 10..13, 3);
    assert!(!copies.trusts(peer(1)));
    give(&mut copies, 13..14, 1);
    assert!(copies.trusts(peer(1)));
    give(&mut copies, 20..21, 0);
    kept(&mut copies, at(9_000));
    assert!(!copies.trusts(peer(1)), "it kept a second one");
    give(&mut copies, 14..18, 4);
    assert!(copies.trusts(peer(1)));
    give(&mut copies, 30..46, 0);
    assert!(copies.trusts(peer(1)), "what it kept is not owed any more");
    give(&mut copies, 46..47, 0);
    assert!(!copies.trusts(peer(1)));
}

#[test]
fn what_was_given_to_a_peer_is_taken_back_and_its_account_forgotten_only_when_it_is_gone() {
    let mut copies = nothing_given();
    copies.give(span(3, 2), peer(1), at(0));
    copies.give(span(7, 1), peer(2), at(0));
    copies.announced(3, peer(2), at(0));
    copies.may_give(span(3, 1), peer(1), &Bitfield::empty(BLOCKS));
    assert_eq!(copies.take_back_lost(Some(peer(1)), u64::MAX, at(1)), [4]);
    assert_eq!((copies.not_given, copies.copies[4]), (BLOCKS - 2, Copy::None));
    copies.give(span(5, 1), peer(1), at(1));
    assert!(!copies.trusts(peer(1)), "who begins anew is no other");
    copies.forget(peer(1));
    assert!(copies.trusts(peer(1)) && !copies.trusts(peer(2)));
    assert!(copies.refused.is_empty());
}

#[test]
fn what_had_spread_and_nobody_has_any_more_is_given_again() {
    let mut copies = FirstCopies::new(small_blocks(4));
    (1..4).for_each(|index| copies.announced(index, peer(1), at(0)));
    copies.give(span(0, 1), peer(1), at(0));
    assert_eq!(copies.take_back_unseen(|index| index != 1), [2, 3]);
    assert_eq!((copies.not_given, copies.not_spread), (2, 3));
    assert_eq!(copies.copies[1..], [Copy::Spread, Copy::None, Copy::None]);
}

#[test]
fn what_takes_long_to_spread_is_waited_for_longer() {
    let mut copies = nothing_given();
    copies.give(span(0, 2), peer(1), at(0));
    assert_eq!(kept(&mut copies, at(4_001)), [0, 1]);
    copies.give(span(0, 2), peer(1), at(10_000));
    copies.announced(0, peer(2), at(30_000));
    assert!(kept(&mut copies, at(10_000 + 80_000)).is_empty(), "the other took 20 s");
    assert_eq!(kept(&mut copies, at(10_000 + 80_001)), [1]);
    copies.give(span(1, 1), peer(3), at(100_000));
    assert!(kept(&mut copies, at(100_000 + 80_000)).is_empty(), "who keeps blocks does not gain time by it");
    assert_eq!(kept(&mut copies, at(100_000 + 80_001)), [1]);
}

/// A file of ten blocks of four segments and one of two.
fn large_blocks() -> Geometry {
    Geometry::new(42 * (16 << 10), BlockSize::try_from(64 << 10).unwrap()).unwrap()
}

fn of_large(index: u32, count: u32) -> Span {
    large_blocks().span(index, count).unwrap()
}

#[test]
fn the_rest_of_a_block_is_for_the_one_who_was_given_a_part() {
    let mut copies = FirstCopies::new(large_blocks());
    let nothing = Bitfield::empty(11);
    copies.give(of_large(1, 2), peer(1), at(0));
    assert_eq!(copies.copies[0], Copy::Given { to: peer(1), at: at(0), left: 2 });
    assert!(!copies.may_give(of_large(0, 1), peer(2), &nothing));
    assert!(copies.may_give(of_large(3, 2), peer(2), &nothing), "one of two blocks is new");
    assert!(copies.may_give(of_large(0, 1), peer(1), &nothing) && copies.may_give(of_large(3, 1), peer(1), &nothing));
    copies.give(of_large(3, 1), peer(1), at(5));
    assert_eq!(copies.copies[0], Copy::Given { to: peer(1), at: at(5), left: 1 });
    copies.give(of_large(0, 1), peer(2), at(6));
    assert_eq!(copies.copies[0], Copy::Given { to: peer(1), at: at(5), left: 1 }, "a second copy is no first one");
    copies.give(of_large(0, 1), peer(1), at(7));
    assert_eq!(copies.copies[0], Copy::Given { to: peer(1), at: at(7), left: 0 });
    assert!(!copies.may_give(of_large(0, 4), peer(1), &nothing), "it was given all of it");
    assert_eq!((copies.not_given, copies.accounts[&peer(1)].given, copies.accounts[&peer(1)].unfinished), (10, 1, 0));
}

#[test]
fn of_one_span_some_blocks_are_given_whole_and_of_others_a_part() {
    let mut copies = FirstCopies::new(large_blocks());
    copies.give(of_large(2, 7), peer(1), at(0));
    let left = |copies: &FirstCopies, index: usize| match copies.copies[index] {
        Copy::Given { left, .. } => Some(left),
        Copy::None | Copy::Spread => None,
    };
    assert_eq!([0, 1, 2, 3].map(|index| left(&copies, index)), [Some(2), Some(0), Some(3), None]);
    copies.give(of_large(41, 1), peer(1), at(0));
    assert_eq!(left(&copies, 10), Some(1), "the last one has two");
    let account = &copies.accounts[&peer(1)];
    assert_eq!((account.given, account.unfinished), (4, 3));
}

#[test]
fn who_was_given_a_block_in_part_is_owed_the_rest_and_not_trusted_with_another() {
    let mut copies = FirstCopies::new(large_blocks());
    copies.give(of_large(0, 3), peer(1), at(0));
    assert!(!copies.trusts(peer(1)) && copies.owes_rest_to(peer(1)) && !copies.owes_rest_to(peer(2)));
    copies.give(of_large(3, 1), peer(1), at(0));
    assert!(!copies.trusts(peer(1)) && !copies.owes_rest_to(peer(1)));
}

#[test]
fn who_is_trusted_least_was_given_most_that_it_did_not_pass_on() {
    let mut copies = FirstCopies::new(large_blocks());
    assert_eq!(copies.distrust(peer(1)), 0);
    [0, 4].into_iter().for_each(|index| copies.give(of_large(index, 4), peer(1), at(0)));
    assert_eq!(copies.distrust(peer(1)), 2);
    copies.take_back_lost(None, 0, at(60_000));
    assert_eq!((copies.distrust(peer(1)), copies.distrust(peer(2))), (2, 0), "what it kept");
    copies.give(of_large(8, 4), peer(2), at(60_000));
    copies.announced(2, peer(1), at(60_000));
    assert_eq!(copies.distrust(peer(2)), 0, "it passed that on");
}

#[test]
fn what_was_given_in_part_and_spread_or_was_lost_is_owed_no_more() {
    let mut copies = FirstCopies::new(large_blocks());
    [0, 4].into_iter().for_each(|index| copies.give(of_large(index, 1), peer(1), at(0)));
    copies.announced(0, peer(2), at(0));
    let unfinished = |copies: &FirstCopies| copies.accounts[&peer(1)].unfinished;
    assert_eq!((unfinished(&copies), copies.copies[0]), (1, Copy::Spread));
    copies.announced(1, peer(1), at(0));
    assert_eq!(unfinished(&copies), 1, "it does not count what it has itself");
    copies.give(of_large(8, 4), peer(1), at(0));
    assert_eq!(kept(&mut copies, at(4_001)), [1, 2]);
    let account = &copies.accounts[&peer(1)];
    assert_eq!((account.given, account.unfinished, account.kept), (0, 0, 2));
}

#[test]
fn until_any_block_spread_the_seed_waits_as_long_as_its_line_takes_for_sixteen() {
    // Bytes per second, and how long.
    for (rate, ms) in [(128 << 10, 8_000), (1 << 20, 4_000), (0, 4_000)] {
        let mut copies = FirstCopies::new(large_blocks());
        copies.give(of_large(0, 8), peer(1), at(0));
        assert!(copies.take_back_lost(None, rate, at(ms)).is_empty(), "{rate}");
        assert_eq!(copies.take_back_lost(None, rate, at(ms + 1)), [0, 1], "{rate}");
    }
    let mut copies = FirstCopies::new(large_blocks());
    copies.give(of_large(0, 8), peer(1), at(0));
    copies.announced(0, peer(2), at(0));
    assert_eq!(copies.take_back_lost(None, 1_000, at(4_001)), [1], "then as long as others took");
}
