//! What becomes of requests that wait long: they are steered, repeated at the end, or taken back.

use crate::{
    BLOCK,
    alone::{Alone, blocks},
};
use peer_wasm::swarm::{BlockState, Config};
use protocol::{Bitfield, HaveRun, PeerId, PeerMessage};
use simulator::id_of;
use std::time::Duration;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// One that lacks the first few of so many blocks, all of which it asked of a neighbour that is slow.
fn waiting_for(slow: PeerId, missing: u32, of: u32) -> Alone {
    let mut alone = Alone::new(blocks(missing..of, of), Config::default());
    alone.meet(slow, &Bitfield::full(of));
    assert_eq!(alone.requests(), [(slow, 0, missing)]);
    alone
}

fn repeated(alone: &Alone) -> usize {
    let is_repeated = |state: &&BlockState| matches!(state, BlockState::Repeated);
    alone.swarm.block_states().iter().filter(is_repeated).count()
}

#[test]
fn the_last_request_is_repeated_at_another_after_two_seconds_and_taken_back_when_that_one_delivers() {
    let (slow, other) = (id_of(7), id_of(8));
    let mut alone = waiting_for(slow, 1, 1_000);
    alone.wait_for(ms(1_999));
    alone.meet(other, &Bitfield::full(1_000));
    assert_eq!(alone.requests(), []);
    alone.wait_for(ms(1));
    assert_eq!(alone.requests(), [(other, 0, 1)]);
    alone.hear_block(other, 0, 1);
    let cancel = PeerMessage::Cancel { file: alone.swarm.tag(), index: 0, count: 1 };
    assert!(alone.said_to(slow).contains(&cancel));
    assert!(alone.swarm.is_complete() && alone.swarm.in_flight() == 0);
    alone.hear_block(slow, 0, 1);
    assert!(alone.swarm.is_neighbour(slow), "it could not know");
}

/// One that asked for the last blocks of a neighbour that takes 10 ms from one answer to the next, and vanishes before the last
/// three come. Another one delivered sixty as soon, and has the same: everything, or all but a block that nobody has.
fn beside_one_that_vanished(vanished: PeerId, other: PeerId, is_end: bool) -> Alone {
    let of = 100;
    let all = if is_end { of } else { of - 1 };
    let mut alone = Alone::new(blocks(72..all, of), Config { max_run: BLOCK, ..Config::default() });
    let file = alone.swarm.tag();
    for (peer, has, last) in [(other, blocks(0..60, of), 0), (vanished, blocks(0..all, of), 3)] {
        alone.meet(peer, &has);
        let mut asked = alone.requests();
        while asked.len() > last {
            alone.wait_for(ms(10));
            let (of, index, count) = asked.remove(0);
            assert_eq!(of, peer);
            alone.hear_block(peer, index, count);
            asked.extend(alone.requests());
        }
    }
    alone.hear(other, PeerMessage::Have { file, blocks: vec![HaveRun(0, all)] });
    alone
}

#[test]
fn at_the_end_what_is_later_than_its_neighbour_ever_was_is_taken_back_and_asked_of_another() {
    let (vanished, other) = (id_of(7), id_of(8));
    let mut alone = beside_one_that_vanished(vanished, other, true);
    for _ in 0..100 {
        alone.wait_for(ms(1));
        for (of, index, count) in alone.requests() {
            assert_eq!(of, other);
            alone.hear_block(other, index, count);
        }
    }
    assert!(alone.swarm.is_complete());
    let mut alone = beside_one_that_vanished(vanished, other, false);
    alone.wait_for(ms(1_900));
    assert_eq!(alone.requests(), [], "before the end a moment of silence costs nothing");
    alone.wait_for(ms(200));
    assert_eq!(alone.requests().len(), 3);
}

/// One that lacks the first blocks, and asked for them of a neighbour that takes two seconds for a block.
fn waiting_for_a_slow_one(slow: PeerId, missing: u32, max_run: u32) -> Alone {
    let mut alone = Alone::new(blocks(missing + 1..1_000, 1_000), Config { max_run, ..Config::default() });
    alone.meet(slow, &blocks(missing..missing + 1, 1_000));
    assert_eq!(alone.requests(), [(slow, missing, 1)]);
    alone.wait_for(ms(2_000));
    alone.hear_block(slow, missing, 1);
    alone.hear_bitfield(slow, &Bitfield::full(1_000), false);
    assert!(
        alone
            .requests()
            .into_iter()
            .map(|(.., count)| count)
            .eq((0..missing * BLOCK / max_run).map(|_| max_run / BLOCK))
    );
    alone
}

#[test]
fn the_last_requests_are_repeated_one_at_a_time() {
    let (slow, other) = (id_of(7), id_of(8));
    let mut alone = waiting_for_a_slow_one(slow, 8, BLOCK);
    alone.wait_for(ms(1_900));
    alone.meet(other, &Bitfield::full(1_000));
    assert_eq!(alone.requests(), []);
    alone.wait_for(ms(200));
    for _ in 0..8 {
        let asked = alone.requests();
        assert!(asked.len() == 1 && asked[0].0 == other, "{asked:?}");
        assert_eq!(repeated(&alone), 1);
        alone.hear_block(other, asked[0].1, asked[0].2);
    }
}

#[test]
fn of_one_long_request_a_segment_at_a_time_is_repeated_and_then_what_is_left() {
    let (slow, other) = (id_of(7), id_of(8));
    let mut alone = waiting_for_a_slow_one(slow, 4, 4 * BLOCK);
    alone.wait_for(ms(2_000));
    alone.meet(other, &Bitfield::full(1_000));
    for index in 0..4 {
        assert_eq!(alone.requests(), [(other, index, 1)]);
        assert_eq!(repeated(&alone), 1);
        alone.hear_block(other, index, 1);
    }
    alone.said();
    assert!(alone.swarm.is_complete());
}

#[test]
fn the_last_request_is_not_repeated_where_it_would_take_more_than_half_as_long_as_it_waits() {
    let (slow, other) = (id_of(7), id_of(8));
    let mut alone = Alone::new(blocks(3..1_000, 1_000), Config::default());
    let file = alone.swarm.tag();
    for (peer, index, took) in [(other, 0, 1_500), (slow, 1, 1_000)] {
        alone.meet(peer, &blocks(index..index + 1, 1_000));
        assert_eq!(alone.requests(), [(peer, index, 1)]);
        alone.wait_for(ms(took));
        alone.hear_block(peer, index, 1);
    }
    for peer in [slow, other] {
        alone.hear(peer, PeerMessage::Have { file, blocks: vec![HaveRun(2, 1)] });
    }
    assert_eq!(alone.requests(), [(slow, 2, 1)]);
    alone.wait_for(ms(2_700));
    assert_eq!(alone.requests(), []);
    alone.wait_for(ms(600));
    assert_eq!(alone.requests(), [(other, 2, 1)]);
    assert_eq!(repeated(&alone), 1);
}

#[test]
fn what_waits_at_one_is_steered_to_another_that_is_idle_and_has_it() {
    // The idle one is taken to answer within 200 ms. Before the end that has to be half of what the other takes, and a round
    // trip, which is taken for 200 ms, goes by until it is asked.
    for (at_the_end, waited, is_steered) in
        [(true, 150, false), (true, 200, false), (true, 201, true), (false, 800, false), (false, 801, true)]
    {
        let (slow, idle) = (id_of(7), id_of(8));
        let mut two = blocks(0..1, 1_000);
        two.set(2);
        let mut alone = Alone::new(blocks(if at_the_end { 3 } else { 4 }..1_000, 1_000), Config::default());
        let file = alone.swarm.tag();
        alone.meet(slow, &two);
        let asked: Vec<_> = alone.requests().into_iter().map(|(_, index, count)| (index, count)).collect();
        assert!(asked.len() == 2 && asked.contains(&(0, 1)));
        alone.join(id_of(9));
        alone.hear_bitfield(id_of(9), &blocks(1..2, 1_000), false);
        alone.hear(id_of(9), PeerMessage::Unchoke { file });
        alone.wait_for(ms(waited));
        alone.said();
        alone.meet(idle, &blocks(0..1, 1_000));
        let cancels = |said: &PeerMessage| matches!(said, PeerMessage::Cancel { .. });
        let cancelled: Vec<_> = alone.said_to(slow).into_iter().filter(cancels).collect();
        let expected = PeerMessage::Cancel { file, index: 0, count: 1 };
        assert_eq!(cancelled, if is_steered { vec![expected] } else { vec![] });
        assert_eq!(alone.requests(), [], "it may come from the other yet");
        alone.hear(slow, PeerMessage::Reject { file, index: 0, count: 1 });
        assert_eq!(alone.requests(), [(idle, 0, 1)]);
    }
}

#[test]
fn what_is_owed_for_long_is_taken_back_if_somebody_else_serves_it() {
    // What the other has, whether it serves, and whether it can stand in.
    for (has, serves, takes_back) in [(0..2, true, true), (1..2, true, false), (0..2, false, false)] {
        let (silent, other) = (id_of(7), id_of(8));
        let mut alone = Alone::new(blocks(2..64, 64), Config::default());
        let file = alone.swarm.tag();
        alone.meet(silent, &blocks(0..1, 64));
        assert_eq!(alone.requests(), [(silent, 0, 1)]);
        alone.wait_for(ms(3_500));
        alone.join(other);
        alone.hear_bitfield(other, &blocks(has, 64), false);
        if serves {
            alone.hear(other, PeerMessage::Unchoke { file });
        }
        alone.said();
        alone.wait_for(ms(600));
        let cancel = PeerMessage::Cancel { file, index: 0, count: 1 };
        assert_eq!(alone.said_to(silent).contains(&cancel), takes_back);
        assert!(alone.swarm.neighbours(alone.now).any(|other| other.peer == silent && other.snubbed));
    }
}

#[test]
fn a_block_that_comes_late_is_taken_if_there_is_room_or_nothing_waits_for_the_storage() {
    for (max_in_flight, waits_for_storage) in [(8 * u64::from(BLOCK), false), (64 * u64::from(BLOCK), true)] {
        let [late, punctual] = [7, 8].map(id_of);
        let config = Config { max_in_flight, max_run: BLOCK, ..Config::default() };
        let mut alone = Alone::new(blocks(0..4, 96), config);
        alone.is_slow = true;
        alone.meet(late, &Bitfield::full(96));
        let asked_first = alone.requests();
        alone.wait_for(Duration::from_secs(60));
        alone.meet(punctual, &Bitfield::full(96));
        let asked: Vec<_> = alone.requests().into_iter().filter(|(of, ..)| *of == punctual).collect();
        assert!(waits_for_storage || alone.swarm.in_flight() >= max_in_flight);
        if waits_for_storage {
            alone.hear_block(punctual, asked[0].1, asked[0].2);
            alone.said();
            assert!(alone.swarm.in_flight() < max_in_flight);
        }
        let is_here = |alone: &Alone, index| alone.swarm.block_states()[index as usize] == BlockState::Storing;
        let (_, index, count) = *asked_first.iter().find(|(_, index, _)| !is_here(&alone, *index)).unwrap();
        alone.hear_block(late, index, count);
        assert!(is_here(&alone, index), "{max_in_flight}");
    }
}

#[test]
fn requests_to_one_neighbour_follow_each_other_inside_stretches_of_the_file() {
    // A sixty-fourth of the file has 64 blocks.
    let of = 4_096;
    let mut alone = Alone::new(blocks(0..4, of), Config { max_run: BLOCK, ..Config::default() });
    alone.meet(id_of(7), &Bitfield::full(of));
    let mut asked = Vec::new();
    while asked.len() < 400 {
        let requests = alone.requests();
        requests.iter().for_each(|(of, index, count)| alone.hear_block(*of, *index, *count));
        asked.extend(requests.into_iter().map(|(_, index, _)| index));
    }
    let follows = |two: &[u32]| two[1] == two[0] + 1;
    let (last, inside): (Vec<_>, Vec<_>) = asked.windows(2).partition(|two| two[0] % 64 == 63);
    assert!(!last.is_empty() && !last.into_iter().any(follows), "{asked:?}");
    assert!(inside.iter().filter(|two| follows(two)).count() * 10 > inside.len() * 9, "{asked:?}");
}

#[test]
fn who_delivers_nothing_is_asked_for_less_and_less_often_while_another_serves() {
    let (silent, other) = (id_of(7), id_of(8));
    let mut alone = Alone::new(blocks(0..4, 256), Config { max_run: BLOCK, ..Config::default() });
    alone.meet(silent, &Bitfield::full(256));
    alone.meet(other, &Bitfield::full(256));
    let mut open = std::collections::VecDeque::new();
    let mut asked = Vec::new();
    for second in 0..60 {
        for (of, index, count) in alone.requests() {
            if of == silent {
                asked.push(second);
            } else {
                open.push_back((index, count));
            }
        }
        if let Some((index, count)) = open.pop_front() {
            alone.hear_block(other, index, count);
        }
        alone.wait_for(ms(1_000));
    }
    let tries: Vec<u64> = asked.into_iter().skip_while(|second| *second == 0).collect();
    assert!((2..6).contains(&tries.len()), "{tries:?}");
    assert!(tries[0] >= 4, "waited for, and left alone: {tries:?}");
    assert!(tries.windows(3).all(|three| three[2] - three[1] > three[1] - three[0]), "{tries:?}");
}
