//! Blocks that are asked for, come and are served in parts.

use crate::alone::{Alone, blocks};
use peer_wasm::swarm::{BlockState, Config, Event, Room, Violation};
use protocol::{Bitfield, HaveRun, PeerId, PeerMessage};
use simulator::id_of;
use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const SEGMENT: u64 = 16 << 10;
const MIB: u32 = 1 << 20;
/// A block of eight segments.
const EIGHT: u32 = 128 << 10;

/// A request: of whom, the first segment, and how many.
type Asked = (PeerId, u32, u32);

/// One that has these blocks of this size, and asks for single segments.
fn with(block: u32, have: Bitfield) -> Alone {
    Alone::with_blocks_of(block, have, Config { max_run: SEGMENT as u32, ..Config::default() })
}

/// One that has nothing and asks two neighbours for the two halves of its only block.
fn half_of_each(first: PeerId, second: PeerId) -> Alone {
    let mut alone = with(EIGHT, Bitfield::empty(1));
    meet_both(&mut alone, first, second);
    alone
}

/// Meets two that have everything, and asks them for the two halves of its first block: the first one stops serving for a
/// moment, in which the second one comes.
fn meet_both(alone: &mut Alone, first: PeerId, second: PeerId) {
    let file = alone.swarm.tag();
    let full = Bitfield::full(alone.swarm.stored().len());
    alone.meet(first, &full);
    assert_eq!(alone.requests(), (0..8).map(|index| (first, index, 1)).collect::<Vec<_>>());
    alone.hear(first, PeerMessage::Choke { file });
    (4..8).for_each(|index| alone.hear(first, PeerMessage::Reject { file, index, count: 1 }));
    alone.meet(second, &full);
    assert_eq!(alone.requests(), (4..8).map(|index| (second, index, 1)).collect::<Vec<_>>());
    alone.hear(first, PeerMessage::Unchoke { file });
    assert_eq!(alone.requests(), []);
}

/// The segments of requests, each of which was asked for once.
fn segments(asked: &[Asked]) -> BTreeSet<u32> {
    let all: Vec<_> = asked.iter().flat_map(|(_, index, count)| *index..index + count).collect();
    let segments: BTreeSet<_> = all.iter().copied().collect();
    assert_eq!(segments.len(), all.len(), "{asked:?}");
    segments
}

/// A neighbour delivers what it is asked for as long as it is; gives all of that.
fn deliver_all(alone: &mut Alone, peer: PeerId, mut open: Vec<Asked>) -> Vec<Asked> {
    let mut all = Vec::new();
    while !open.is_empty() {
        for (_, index, count) in &open {
            alone.hear_block(peer, *index, *count);
            alone.swarm.audit();
        }
        all.append(&mut open);
        open = alone.requests().into_iter().filter(|(of, ..)| *of == peer).collect();
    }
    all
}

fn snubbed(alone: &Alone) -> usize {
    alone.swarm.neighbours(alone.now).filter(|neighbour| neighbour.snubbed).count()
}

fn dropped(peer: PeerId) -> Event {
    Event::Dropped { peer, violation: Violation::BadBlock }
}

#[test]
fn a_large_block_comes_from_a_slow_neighbour_in_segments_each_of_which_shows_that_something_comes() {
    let slow = id_of(7);
    let mut alone = Alone::with_blocks_of(MIB, Bitfield::empty(2), Config::default());
    alone.meet(slow, &Bitfield::full(2));
    let mut open: VecDeque<_> = alone.requests().into();
    let mut delivered = 0;
    while let Some((_, index, count)) = open.pop_front() {
        // A line of 16 KiB a second takes a second for each; until that is known, more is asked for.
        assert!(count <= if delivered < 32 { 4 } else { 2 }, "{count} segments after {delivered}");
        alone.wait_for(Duration::from_secs(count.into()));
        assert_eq!(snubbed(&alone), 0, "after {:?}", alone.now);
        alone.hear_block(slow, index, count);
        alone.swarm.audit();
        open.extend(alone.requests());
        delivered += count;
        assert_eq!(alone.stored(), delivered / 64, "one block after the other");
    }
    assert!(alone.swarm.is_complete());
    assert_eq!(delivered, 128, "nothing comes twice");
}

#[test]
fn what_a_neighbour_did_not_deliver_of_a_block_is_asked_of_another() {
    let ends: [fn(&mut Alone, &[Asked]); 3] = [
        |alone, _| alone.leave(id_of(7)),
        |alone, open| {
            for (_, index, count) in open {
                let (file, index, count) = (alone.swarm.tag(), *index, *count);
                alone.hear(id_of(7), PeerMessage::Reject { file, index, count });
            }
        },
        |alone, _| alone.wait_for(Duration::from_secs(10)),
    ];
    for end in ends {
        let (first, other) = (id_of(7), id_of(8));
        let mut alone = with(MIB, Bitfield::empty(1));
        alone.meet(first, &Bitfield::full(1));
        let mut open = alone.requests();
        assert!(segments(&open).is_superset(&(0..4).collect()) && open.iter().all(|(of, ..)| *of == first), "{open:?}");
        alone.hear_block(first, 1, 1);
        alone.hear_block(first, 0, 1);
        open.retain(|(_, index, _)| *index > 1);
        open.extend(alone.requests());
        alone.meet(other, &Bitfield::full(1));
        let of_other = alone.requests();
        assert!(!of_other.is_empty() && of_other.iter().all(|(of, ..)| *of == other), "{of_other:?}");
        end(&mut alone, &open);
        alone.swarm.audit();
        let more = alone.requests().into_iter().filter(|(of, ..)| *of == other);
        let delivered = deliver_all(&mut alone, other, of_other.into_iter().chain(more).collect());
        assert_eq!(segments(&delivered), (2..64).collect(), "what the first delivered is kept");
        assert!(alone.swarm.is_complete());
    }
}

#[test]
fn a_block_that_is_begun_is_finished_before_another_that_is_as_rare() {
    let peers = [7, 8, 9].map(id_of);
    let mut alone = with(MIB, blocks(0..4, 12));
    peers.iter().for_each(|peer| alone.meet(*peer, &Bitfield::full(12)));
    let (mut open, mut order) = (VecDeque::new(), Vec::new());
    open.extend(alone.requests());
    while let Some((of, index, count)) = open.pop_front() {
        order.extend((index..index + count).map(|segment| segment / 64));
        alone.hear_block(of, index, count);
        open.extend(alone.requests());
    }
    assert!(alone.swarm.is_complete());
    order.dedup();
    assert_eq!(order.len(), 8, "{order:?}");
}

#[test]
fn a_rarer_block_is_begun_before_another_is_finished() {
    let (first, second) = (id_of(7), id_of(8));
    let mut alone = with(MIB, blocks(0..4, 6));
    alone.meet(first, &blocks(4..5, 6));
    assert_eq!(segments(&alone.requests()), (256..272).collect(), "as much as the line window allows");
    alone.meet(second, &blocks(4..6, 6));
    let asked = segments(&alone.requests());
    assert!(!asked.is_empty() && asked.iter().all(|segment| segment / 64 == 5), "nobody else has the last block");
}

#[test]
fn a_neighbour_goes_on_with_the_block_that_it_began_though_another_became_rarer() {
    let (first, second) = (id_of(7), id_of(8));
    let mut alone = with(MIB, blocks(0..4, 6));
    alone.meet(first, &blocks(4..5, 6));
    alone.hear(first, PeerMessage::Have { file: alone.swarm.tag(), blocks: vec![HaveRun(5, 1)] });
    assert_eq!(segments(&alone.requests()), (256..272).collect(), "as much as the line window allows");
    alone.join(second);
    alone.hear_bitfield(second, &blocks(4..5, 6), false);
    alone.hear_block(first, 256, 1);
    let more = alone.requests();
    assert!(!more.is_empty() && segments(&more).iter().all(|segment| segment / 64 == 4), "{more:?}");
}

#[test]
fn however_many_large_blocks_are_begun_no_more_than_one_is_beyond_the_room() {
    const BLOCKS: u32 = 40;
    let max_in_flight = 8 << 20;
    let config = Config { max_in_flight, ..Config::default() };
    let mut alone = Alone::with_blocks_of(MIB, Bitfield::empty(BLOCKS), config);
    // Each has what nobody else has, so that each has to begin another block.
    (0..BLOCKS).for_each(|index| alone.meet(id_of(index as usize), &blocks(index..index + 1, BLOCKS)));
    let (mut open, mut most) = (VecDeque::new(), 0);
    open.extend(alone.requests());
    while let Some((of, index, count)) = open.pop_front() {
        most = most.max(alone.swarm.in_flight());
        alone.hear_block(of, index, count);
        alone.swarm.audit();
        open.extend(alone.requests());
    }
    assert!(most <= max_in_flight + u64::from(MIB), "{most}");
    assert!(most + u64::from(MIB) * 2 > max_in_flight, "{most}: as many are begun as have room");
    assert!(alone.swarm.is_complete() && alone.swarm.in_flight() == 0);
}

#[test]
fn a_block_that_was_wrong_and_of_two_is_asked_whole_of_one_and_who_lied_is_dropped() {
    // Who gives the last segment, and whether the liar gives the block right when it is asked for it.
    for (liar_is_last, lies_again) in [(false, false), (true, false), (true, true)] {
        let (liar, honest) = (id_of(7), id_of(8));
        let mut alone = half_of_each(liar, honest);
        let give_half = |alone: &mut Alone, of_liar: bool| {
            if of_liar {
                alone.hear_wrong(liar, 0, 1);
                (1..4).for_each(|index| alone.hear_block(liar, index, 1));
            } else {
                (4..8).for_each(|index| alone.hear_block(honest, index, 1));
            }
        };
        give_half(&mut alone, !liar_is_last);
        give_half(&mut alone, liar_is_last);
        alone.swarm.audit();
        assert_eq!(alone.events(), [], "nobody knows yet who lied");
        assert_eq!((alone.stored(), alone.swarm.block_states()[0]), (0, BlockState::Requested));
        let asked = if liar_is_last { liar } else { honest };
        assert_eq!(alone.requests(), [(asked, 0, 8)]);
        if lies_again {
            alone.hear_wrong(liar, 0, 8);
            assert_eq!(alone.requests(), [(honest, 0, 8)]);
            alone.hear_block(honest, 0, 8);
        } else {
            alone.hear_block(asked, 0, 8);
        }
        alone.said();
        assert_eq!(alone.events(), [dropped(liar), Event::Completed]);
        assert!(alone.swarm.is_neighbour(honest) && !alone.swarm.is_neighbour(liar));
        assert_eq!(alone.swarm.in_flight(), 0);
        alone.swarm.audit();
    }
}

#[test]
fn who_left_before_its_lie_was_found_may_not_come_back() {
    let (liar, honest) = (id_of(7), id_of(8));
    let mut alone = half_of_each(liar, honest);
    alone.hear_wrong(liar, 0, 1);
    alone.leave(liar);
    let open = (4..8).map(|index| (honest, index, 1)).chain(alone.requests()).collect();
    let delivered = deliver_all(&mut alone, honest, open);
    assert_eq!(delivered.last(), Some(&(honest, 0, 8)), "the whole block again");
    alone.said();
    assert!(alone.swarm.is_complete());
    alone.join(liar);
    assert!(!alone.swarm.is_neighbour(liar) && alone.swarm.is_neighbour(honest));
}

#[test]
fn what_was_asked_before_a_block_was_wrong_is_taken_back_and_not_mixed_with_the_next_try() {
    let (liar, honest, late) = (id_of(7), id_of(8), id_of(9));
    let mut alone = with(EIGHT, blocks(1..1_000, 1_000));
    meet_both(&mut alone, liar, late);
    alone.wait_for(Duration::from_millis(600));
    alone.hear_wrong(liar, 0, 1);
    (1..4).for_each(|index| alone.hear_block(liar, index, 1));
    alone.hear(liar, PeerMessage::Choke { file: alone.swarm.tag() });
    alone.hear_block(late, 4, 1);
    // Somebody else is asked for what the last one owes.
    alone.meet(honest, &Bitfield::full(1_000));
    alone.wait_for(Duration::from_secs(2));
    for expected in 5..8 {
        assert_eq!(alone.requests(), [(honest, expected, 1)]);
        alone.hear_block(honest, expected, 1);
        alone.swarm.audit();
    }
    let (of, index, count) = *alone.requests().last().unwrap();
    assert_eq!((index, count), (0, 8));
    // What was taken back of the others comes all the same.
    alone.hear_wrong(late, 5, 1);
    alone.swarm.audit();
    alone.hear_block(of, 0, 8);
    alone.said();
    assert!(alone.swarm.is_complete());
}

#[test]
fn who_gave_all_of_a_block_that_is_wrong_is_dropped_at_once() {
    let (liar, honest) = (id_of(7), id_of(8));
    let mut alone = with(EIGHT, Bitfield::empty(1));
    alone.meet(liar, &Bitfield::full(1));
    let mut open: VecDeque<_> = alone.requests().into();
    while let Some((_, index, count)) = open.pop_front() {
        assert_eq!(alone.events(), [], "nothing is known before all of it is here");
        let hear = if index == 3 { Alone::hear_wrong } else { Alone::hear_block };
        hear(&mut alone, liar, index, count);
        open.extend(alone.requests());
    }
    assert_eq!(alone.events(), [dropped(liar)]);
    alone.swarm.audit();
    alone.said();
    alone.meet(honest, &Bitfield::full(1));
    let open = alone.requests();
    assert_eq!(segments(&deliver_all(&mut alone, honest, open)), (0..8).collect(), "nothing of it is believed");
    assert!(alone.swarm.is_complete());
}

#[test]
fn what_a_liar_gave_of_other_blocks_is_asked_for_again() {
    let (liar, honest) = (id_of(7), id_of(8));
    let mut alone = with(EIGHT, Bitfield::empty(2));
    alone.meet(liar, &Bitfield::full(2));
    let mut first: VecDeque<_> = alone.requests().into();
    assert_eq!(first.len(), 8, "{first:?}");
    let mut second = Vec::new();
    while let Some((_, index, count)) = first.pop_front() {
        // Of the other block two come before the last of this one.
        second.extend(alone.requests());
        for (_, index, count) in second.drain(..if first.is_empty() { 2 } else { 0 }) {
            alone.hear_wrong(liar, index, count);
        }
        alone.hear_wrong(liar, index, count);
    }
    assert_eq!(alone.events(), [dropped(liar)]);
    alone.meet(honest, &Bitfield::full(2));
    let open = alone.requests();
    let given = deliver_all(&mut alone, honest, open);
    assert_eq!(segments(&given), (0..16).collect(), "all of both blocks");
    assert_eq!((alone.stored(), alone.events()), (2, vec![Event::Completed]));
}

#[test]
fn a_message_that_has_a_wrong_block_and_the_rest_of_another_leaves_neither_waiting() {
    let (liar, honest) = (id_of(7), id_of(8));
    let mut alone = with(EIGHT / 2, blocks(0..9, 11));
    let file = alone.swarm.tag();
    alone.meet(liar, &blocks(10..11, 11));
    assert_eq!(segments(&alone.requests()), (40..44).collect());
    (41..44).for_each(|index| alone.hear_block(liar, index, 1));
    // Whoever begins anew may send what it owed in any shape.
    for _ in 0..2 {
        alone.hear_bitfield(liar, &Bitfield::full(11), true);
        alone.hear(liar, PeerMessage::Unchoke { file });
    }
    alone.hear_wrong(liar, 36, 5);
    assert_eq!(alone.events(), [dropped(liar)]);
    alone.said();
    alone.meet(honest, &Bitfield::full(11));
    let open = alone.requests();
    deliver_all(&mut alone, honest, open);
    assert!(alone.swarm.is_complete(), "{:?}", alone.swarm.block_states());
}

#[test]
fn what_another_delivered_of_a_block_is_taken_back_of_who_was_asked_first() {
    let (slow, other) = (id_of(7), id_of(8));
    let mut alone = with(EIGHT, blocks(1..1_000, 1_000));
    let file = alone.swarm.tag();
    meet_both(&mut alone, slow, other);
    alone.wait_for(Duration::from_millis(1_900));
    (4..8).for_each(|index| alone.hear_block(other, index, 1));
    alone.wait_for(Duration::from_secs(2));
    assert_eq!(alone.requests().first(), Some(&(other, 0, 1)));
    assert_eq!(alone.swarm.block_states()[0], BlockState::Repeated);
    alone.hear_block(other, 0, 1);
    assert!(alone.said_to(slow).contains(&PeerMessage::Cancel { file, index: 0, count: 1 }));
    alone.swarm.audit();
    let open = alone.requests();
    deliver_all(&mut alone, other, open);
    (1..4).for_each(|index| alone.hear_block(slow, index, 1));
    alone.said();
    assert!(alone.swarm.is_complete() && alone.swarm.in_flight() == 0);
}

#[test]
fn a_begun_block_that_nobody_offers_any_more_does_not_hold_the_room() {
    for chokes in [true, false] {
        let (gone, honest) = (id_of(7), id_of(8));
        let config = Config { max_in_flight: MIB.into(), ..Config::default() };
        let mut alone = Alone::with_blocks_of(MIB, blocks(0..4, 32), config);
        let file = alone.swarm.tag();
        alone.meet(gone, &blocks(4..5, 32));
        let asked = alone.requests();
        assert_eq!(asked[0], (gone, 256, 4));
        alone.hear_block(gone, 256, 4);
        if chokes {
            alone.hear(gone, PeerMessage::Choke { file });
            for (of, index, count) in asked.into_iter().chain(alone.requests()).skip(1) {
                alone.hear(of, PeerMessage::Reject { file, index, count });
            }
        } else {
            alone.leave(gone);
        }
        alone.said();
        alone.meet(honest, &blocks(5..32, 32));
        assert!(
            !alone.requests().is_empty(),
            "nothing was asked of it, with {} bytes in flight",
            alone.swarm.in_flight()
        );
    }
}

#[test]
fn a_begun_block_that_its_only_holder_refuses_makes_room_for_what_others_have() {
    let (only, other) = (id_of(7), id_of(8));
    let config = Config { max_in_flight: MIB.into(), ..Config::default() };
    let mut alone = Alone::with_blocks_of(MIB, blocks(0..4, 32), config);
    let file = alone.swarm.tag();
    alone.meet(only, &blocks(4..5, 32));
    let asked = alone.requests();
    assert_eq!(asked[0], (only, 256, 4));
    alone.hear_block(only, 256, 4);
    let asked = [asked, alone.requests()].concat();
    alone.meet(other, &blocks(5..32, 32));
    assert_eq!(alone.requests(), [], "the block that was begun has all of the room");
    for (_, index, count) in asked.into_iter().skip(1) {
        alone.hear(only, PeerMessage::Reject { file, index, count });
    }
    let requests = alone.requests();
    assert!(requests.iter().any(|(of, ..)| *of == other), "{requests:?}");
}

#[test]
fn parts_that_come_late_begin_no_blocks_beyond_the_room() {
    let liar = id_of(7);
    let config = Config { max_in_flight: 4 << 20, ..Config::default() };
    let mut alone = Alone::with_blocks_of(MIB, blocks(0..4, 64), config);
    let file = alone.swarm.tag();
    alone.meet(liar, &Bitfield::full(64));
    for _ in 0..20 {
        alone.hear_bitfield(liar, &Bitfield::full(64), true);
        alone.hear(liar, PeerMessage::Unchoke { file });
        alone.said();
    }
    (5..64).for_each(|block| alone.hear_wrong(liar, block * 64, 1));
    alone.said();
    let begun = alone.swarm.block_states().iter().filter(|state| **state == BlockState::Requested).count();
    assert!(
        alone.swarm.in_flight() <= (4 << 20) + u64::from(MIB),
        "{begun} begun, {} in flight",
        alone.swarm.in_flight()
    );
}

/// A seed of four blocks that is not the only one, so that nothing is a first copy.
fn one_of_two_seeds(block: u32, config: Config) -> Alone {
    let mut alone = Alone::with_blocks_of(block, Bitfield::full(4), config);
    alone.meet(id_of(9), &Bitfield::full(4));
    alone
}

/// The first segment of what is read next, of which there is one.
fn read_next(alone: &mut Alone) -> Option<u32> {
    alone.said();
    assert!(alone.unread.len() <= 1, "{:?}", alone.unread);
    let offset = alone.unread.first().map(|(_, offset, _)| *offset)?;
    alone.read();
    Some((offset / SEGMENT) as u32)
}

fn is_served(alone: &Alone, peer: PeerId) -> bool {
    alone.swarm.neighbours(alone.now).any(|neighbour| neighbour.peer == peer && neighbour.served_by_us)
}

#[test]
fn a_place_is_kept_until_a_block_is_whole() {
    let (first, second) = (id_of(7), id_of(8));
    let mut alone = one_of_two_seeds(MIB, Config { fixed_slots: 1, trial_slots: 0, ..Config::default() });
    alone.meet_taker(first, &alone.nothing());
    alone.meet_taker(second, &alone.nothing());
    for turn in 0..4 {
        let (served, other) = if is_served(&alone, first) { (first, second) } else { (second, first) };
        for segment in 0..64 {
            assert!(is_served(&alone, served) && !is_served(&alone, other), "after {segment} segments of turn {turn}");
            alone.ask(served, turn / 2 * 64 + segment, 1);
            alone.read();
            alone.wait_for(Duration::from_millis(500));
        }
        let has_less = turn % 2 == 0;
        assert!(!has_less || (is_served(&alone, other) && !is_served(&alone, served)), "who has least has its turn");
    }
}

#[test]
fn a_place_is_kept_for_as_long_as_each_of_those_who_are_served_may_have_two_blocks() {
    // With its own segment, that makes six blocks, or more.
    for (of_others, is_kept) in [(383, true), (384, false)] {
        let mut alone = one_of_two_seeds(MIB, Config { fixed_slots: 3, trial_slots: 0, ..Config::default() });
        let peers: Vec<_> = (20..26).map(id_of).collect();
        peers.iter().for_each(|peer| alone.meet_taker(*peer, &alone.nothing()));
        let served: Vec<_> = peers.into_iter().filter(|peer| is_served(&alone, *peer)).collect();
        let [slow, others @ ..] = &served[..] else { panic!("nobody is served") };
        alone.ask(*slow, 0, 1);
        alone.read();
        for segment in 0..of_others {
            alone.ask(others[segment as usize % 2], segment / 2, 1);
            alone.read();
        }
        alone.wait_for(Duration::from_secs(2));
        assert_eq!(is_served(&alone, *slow), is_kept, "{of_others} segments");
    }
}

#[test]
fn a_block_of_which_a_part_was_served_comes_before_what_others_ask_for() {
    let (first, second) = (id_of(7), id_of(8));
    let mut alone = one_of_two_seeds(EIGHT / 2, Config { upload_budget: 0, ..Config::default() });
    alone.meet_taker(first, &alone.nothing());
    alone.meet_taker(second, &alone.nothing());
    for index in 0..8 {
        alone.ask(first, index, 1);
        alone.ask(second, 8 + index, 1);
    }
    alone.swarm.set_room(Room { in_flight: 0, upload: 1 }, alone.now);
    let order: Vec<_> = std::iter::from_fn(|| read_next(&mut alone)).collect();
    let whole: Vec<_> = order.chunks(4).map(|four| (four[0], four.is_sorted_by(|a, b| *b == a + 1))).collect();
    assert_eq!(whole, [(0, true), (8, true), (4, true), (12, true)], "{order:?}");
}

#[test]
fn of_two_blocks_of_which_a_part_was_served_the_one_that_was_served_last_is_sent_to_its_end_first() {
    for (first, second) in [(id_of(7), id_of(8)), (id_of(8), id_of(7))] {
        let mut alone = one_of_two_seeds(EIGHT / 2, Config { upload_budget: 0, ..Config::default() });
        alone.meet_taker(first, &alone.nothing());
        alone.meet_taker(second, &alone.nothing());
        alone.swarm.set_room(Room { in_flight: 0, upload: 1 }, alone.now);
        // Each has nothing more to ask for a moment.
        for (peer, index) in [(first, 0), (second, 8)] {
            alone.ask(peer, index, 1);
            assert_eq!(read_next(&mut alone), Some(index));
        }
        alone.swarm.set_room(Room { in_flight: 0, upload: 0 }, alone.now);
        for index in 1..4 {
            alone.ask(first, index, 1);
            alone.ask(second, 8 + index, 1);
        }
        alone.swarm.set_room(Room { in_flight: 0, upload: 1 }, alone.now);
        let order: Vec<_> = std::iter::from_fn(|| read_next(&mut alone)).collect();
        assert_eq!(order, [9, 10, 11, 1, 2, 3]);
    }
}

/// The seed of a new file in blocks of four segments; something is on its way to another peer, so that it is not idle.
fn busy_seed(of: &[PeerId]) -> Alone {
    let mut alone = with(EIGHT / 2, Bitfield::full(9));
    of.iter().chain(&[id_of(1)]).for_each(|peer| alone.meet_taker(*peer, &alone.nothing()));
    alone.ask(id_of(1), 32, 1);
    alone.said();
    assert_eq!(alone.unread.len(), 1);
    alone.unread.clear();
    alone
}

/// Whether a peer that asks for this gets it.
fn gets(alone: &mut Alone, peer: PeerId, index: u32, count: u32) -> bool {
    alone.ask(peer, index, count);
    let rejects = |said: &PeerMessage| matches!(said, PeerMessage::Reject { .. });
    let is_rejected = alone.said_to(peer).iter().any(rejects);
    assert_eq!(alone.unread.is_empty(), is_rejected);
    alone.read();
    alone.said();
    !is_rejected
}

#[test]
fn the_rest_of_a_first_copy_is_for_the_one_who_was_given_a_part_and_for_nobody_else() {
    let (first, second) = (id_of(7), id_of(8));
    let mut alone = busy_seed(&[first, second]);
    assert!(gets(&mut alone, first, 0, 1));
    assert!(!gets(&mut alone, second, 0, 1) && !gets(&mut alone, second, 1, 3) && !gets(&mut alone, second, 0, 4));
    assert!(gets(&mut alone, second, 4, 2) && !gets(&mut alone, first, 6, 2));
    assert!(gets(&mut alone, first, 1, 1) && gets(&mut alone, first, 2, 2));
    assert!(!gets(&mut alone, first, 0, 4), "it was given all of it, and lacks others");
    assert!(gets(&mut alone, second, 6, 2));
}

#[test]
fn a_seed_that_is_idle_refuses_nothing() {
    let (first, second) = (id_of(7), id_of(8));
    let mut alone = with(EIGHT / 2, Bitfield::full(9));
    alone.meet_taker(first, &alone.nothing());
    alone.meet_taker(second, &alone.nothing());
    alone.ask(first, 0, 4);
    alone.said();
    alone.ask(second, 0, 4);
    let file = alone.swarm.tag();
    assert_eq!(alone.said_to(second), [PeerMessage::Reject { file, index: 0, count: 4 }], "its line has better to do");
    alone.read();
    alone.said();
    assert!(gets(&mut alone, second, 0, 4) && gets(&mut alone, first, 0, 4));
}

#[test]
fn who_answers_soon_is_asked_for_more_though_all_that_the_line_takes_is_asked_of_who_does_not() {
    let (slow, fast) = (id_of(7), id_of(8));
    for answers_after in [Duration::from_millis(500), Duration::from_millis(1_500)] {
        let mut alone = with(MIB, Bitfield::empty(8));
        alone.meet(slow, &Bitfield::full(8));
        assert_eq!(segments(&alone.requests()).len(), 16, "as much as the line window allows");
        alone.meet(fast, &Bitfield::full(8));
        let asked = alone.requests();
        let [(of, index, 1)] = asked[..] else { panic!("{asked:?}") };
        assert_eq!(of, fast);
        alone.wait_for(answers_after);
        alone.hear_block(fast, index, 1);
        let more = segments(&alone.requests()).len();
        assert_eq!(more > 1, answers_after < Duration::from_secs(1), "{more}");
    }
}
