//! Storage that is slow, fails, or has to share its memory.

use crate::{
    BLOCK,
    alone::{Alone, blocks},
    lab::{lab, swarm_of},
};
use peer_wasm::swarm::{Config, Event, Room, StorageError};
use protocol::{Bitfield, PeerId};
use simulator::{File, id_of};
use std::time::Duration;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const ROOM: u64 = 64 << 10;

#[test]
fn a_slow_storage_costs_time_and_no_more_memory_than_may_be_asked_for() {
    let config = Config { max_in_flight: 256 << 10, max_run: 64 << 10, ..Config::default() };
    let mut lab = lab(File::new(500 * u64::from(BLOCK), BLOCK));
    lab.config = config.clone();
    lab.seed();
    let slow = lab.leecher();
    lab.network.node_mut(slow).unwrap().disk.rate = Some(100_000);
    let mut most = 0;
    while !lab.all_complete() {
        assert!(lab.step());
        let node = lab.network.node(slow).unwrap();
        most = most.max(node.disk.unwritten());
        assert!(node.swarm.in_flight() <= config.max_in_flight + u64::from(config.max_run));
        assert!(node.disk.unwritten() <= node.swarm.in_flight());
    }
    assert!(most * 2 > config.max_in_flight, "{most}: the storage was not waited for");
    assert!(lab.elapsed() < Duration::from_secs(25), "{:?}", lab.elapsed());
}

#[test]
fn a_seed_with_slow_storage_serves_as_fast_as_that() {
    let mut lab = swarm_of(3, 500, &Config::default());
    lab.network.node_mut(0).unwrap().disk.rate = Some(100_000);
    lab.run_until_complete();
    assert!(lab.elapsed() < Duration::from_secs(30), "{:?}", lab.elapsed());
}

#[test]
fn a_seed_whose_reads_fail_now_and_then_says_so_and_still_serves_every_block() {
    let mut lab = swarm_of(3, 200, &Config::default());
    lab.network.node_mut(0).unwrap().disk.failing_reads = 100;
    lab.run_until_complete();
    let failed = |event: &&Event| matches!(event, Event::StorageFailed(StorageError::Failed { .. }));
    assert!(lab.network.node(0).unwrap().events.iter().filter(failed).count() > 3);
    assert!(lab.elapsed() < Duration::from_secs(90), "{:?}", lab.elapsed());
}

/// One that may have a little in flight, all of which is asked of the first of three neighbours.
fn with_little_room() -> (Alone, [PeerId; 3]) {
    let peers = [7, 8, 9].map(id_of);
    let mut alone = Alone::new(Bitfield::empty(96), Config { max_in_flight: ROOM, ..Config::default() });
    for (peer, start) in peers.into_iter().zip([0, 32, 64]) {
        alone.meet(peer, &blocks(start..start + 32, 96));
    }
    (alone, peers)
}

#[test]
fn room_that_becomes_free_is_offered_to_everyone_in_turn() {
    let (mut alone, peers) = with_little_room();
    let mut asked = alone.requests();
    assert!(alone.swarm.is_limited());
    let mut turns = Vec::new();
    for _ in 0..12 {
        let (of, index, count) = asked.remove(0);
        alone.hear_block(of, index, count);
        let more = alone.requests();
        turns.extend(more.iter().map(|(of, ..)| *of));
        asked.extend(more);
    }
    assert!(peers.iter().all(|peer| turns.contains(peer)), "only {turns:?}");
}

#[test]
fn blocks_that_wait_for_the_storage_take_room_until_they_are_stored() {
    let (mut alone, _) = with_little_room();
    alone.is_slow = true;
    let mut asked = alone.requests();
    while let Some((of, index, count)) = asked.pop() {
        alone.hear_block(of, index, count);
        asked.extend(alone.requests());
    }
    let waiting: u64 = alone.unwritten.iter().map(|run| u64::from(run.count() * BLOCK)).sum();
    assert_eq!(alone.swarm.in_flight(), waiting);
    assert!(waiting <= ROOM && waiting * 2 > ROOM, "{waiting}");
    for run in std::mem::take(&mut alone.unwritten) {
        alone.swarm.handle_stored(run, Ok(()), alone.now);
    }
    assert!(!alone.requests().is_empty(), "what is stored makes room");
}

#[test]
fn blocks_that_come_late_find_no_room_while_others_wait_for_the_storage() {
    let [late, punctual] = [7, 8].map(id_of);
    let mut alone = Alone::new(Bitfield::empty(96), Config { max_in_flight: ROOM, ..Config::default() });
    alone.is_slow = true;
    alone.meet(late, &Bitfield::full(96));
    let asked_first = alone.requests();
    alone.wait_for(Duration::from_secs(60));
    alone.meet(punctual, &Bitfield::full(96));
    let mut asked: Vec<_> = alone.requests().into_iter().filter(|(of, ..)| *of == punctual).collect();
    while let Some((of, index, count)) = asked.pop() {
        alone.hear_block(of, index, count);
        asked.extend(alone.requests().into_iter().filter(|(of, ..)| *of == punctual));
    }
    let before = alone.swarm.in_flight();
    for (of, index, count) in asked_first {
        alone.hear_block(of, index, count);
    }
    assert!(alone.swarm.is_neighbour(late), "it is no violation");
    assert!(before >= ROOM && alone.swarm.in_flight() == before, "{before} and {}", alone.swarm.in_flight());
}

#[test]
fn less_room_ends_the_asking_and_more_is_used_at_once() {
    let (mut alone, _) = with_little_room();
    let asked = alone.requests();
    alone.swarm.set_room(Room { in_flight: 0, upload: 0 }, alone.now);
    let in_flight = alone.swarm.in_flight();
    for (of, index, count) in asked {
        alone.hear_block(of, index, count);
        assert_eq!(alone.requests(), []);
    }
    assert!(in_flight > 0 && alone.swarm.in_flight() == 0 && alone.swarm.is_limited());
    alone.swarm.set_room(Room { in_flight: 2 * ROOM, upload: 0 }, alone.now);
    assert!(!alone.requests().is_empty());
    assert!(alone.swarm.in_flight() > ROOM && alone.swarm.in_flight() < 3 * ROOM, "{}", alone.swarm.in_flight());
}

#[test]
fn what_may_be_read_ahead_of_the_line_can_be_changed_while_others_wait() {
    let mut alone = Alone::new(Bitfield::full(64), Config { upload_budget: 0, ..Config::default() });
    let file = alone.swarm.tag();
    alone.join(id_of(7));
    alone.hear_bitfield(id_of(7), &Bitfield::empty(64), false);
    alone.hear(id_of(7), protocol::PeerMessage::Interested { file });
    (0..8).for_each(|index| alone.hear(id_of(7), protocol::PeerMessage::Request { file, index, count: 1 }));
    alone.said();
    assert!(alone.unread.is_empty());
    alone.swarm.set_room(Room { in_flight: 0, upload: 4 * u64::from(BLOCK) }, alone.now);
    alone.said();
    assert_eq!(alone.unread.len(), 4);
}

#[test]
fn whether_more_would_be_asked_for_if_there_were_room_is_known() {
    let (alone, _) = with_little_room();
    assert!(alone.swarm.is_limited());
    let alone = Alone::with_seed(8, id_of(7));
    assert!(!alone.swarm.is_limited(), "everything was asked for");
}

#[test]
fn what_comes_together_is_written_together_as_far_as_it_is_not_here() {
    let (slow, other) = (id_of(7), id_of(8));
    let mut alone = Alone::new(blocks(4..1_000, 1_000), Config::default());
    alone.is_slow = true;
    alone.meet(slow, &Bitfield::full(1_000));
    assert_eq!(alone.requests(), [(slow, 0, 4)]);
    // A block comes from another meanwhile.
    alone.wait_for(Duration::from_secs(2));
    alone.meet(other, &Bitfield::full(1_000));
    assert_eq!(alone.requests(), [(other, 0, 1)]);
    alone.hear_block(other, 0, 1);
    alone.hear_block(slow, 0, 4);
    alone.said();
    let written: Vec<_> = alone.unwritten.iter().map(|run| (run.index(), run.count())).collect();
    assert_eq!(written, [(0, 1), (1, 3)]);
}

#[test]
fn some_room_is_left_to_those_who_have_every_block() {
    let (part, seed) = (id_of(7), id_of(8));
    let mut alone = Alone::new(blocks(0..4, 96), Config { max_in_flight: ROOM, max_run: BLOCK, ..Config::default() });
    alone.meet(part, &blocks(4..90, 96));
    let left = ROOM - alone.swarm.in_flight();
    assert!(alone.swarm.is_limited() && left > 0);
    alone.said();
    alone.meet(seed, &Bitfield::full(96));
    let asked = alone.requests().iter().filter(|(of, ..)| *of == seed).count() as u64;
    assert_eq!(asked * u64::from(BLOCK), left);
}

#[test]
fn after_a_failed_write_nothing_more_is_asked_for() {
    let mut alone = Alone::with_seed(96, id_of(7));
    alone.is_slow = true;
    let asked = alone.requests();
    let (_, index, count) = asked[0];
    alone.hear_block(id_of(7), index, count);
    assert!(!alone.requests().is_empty());
    let run = alone.unwritten.remove(0);
    alone.swarm.handle_stored(run, Err(StorageError::Full), alone.now);
    let (_, index, count) = asked[1];
    alone.hear_block(id_of(7), index, count);
    assert_eq!(alone.requests(), []);
    assert_eq!(alone.events(), [Event::StorageFailed(StorageError::Full)]);
}
