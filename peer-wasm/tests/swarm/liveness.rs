//! Nobody waits for ever while somebody who can be reached has the blocks.

use crate::{
    BLOCK,
    alone::{Alone, blocks},
    lab::{Lab, lab},
    stranger::{HONEST, Habits},
};
use peer_wasm::swarm::{Config, Event};
use protocol::{Bitfield, PeerMessage};
use simulator::{Behaviour, File, id_of};
use std::time::Duration;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn stored(lab: &Lab, number: usize) -> u32 {
    lab.network.node(number).unwrap().swarm.stored().count()
}

/// A lab with a seed and a peer that has room for one neighbour, which is somebody else; tells both numbers.
fn with_a_full_house() -> (Lab, usize, usize) {
    let mut lab = lab(File::new(40 * u64::from(BLOCK), BLOCK));
    let seed = lab.add(Bitfield::full(40));
    lab.config = Config { max_neighbours: 1, ..Config::default() };
    let full = lab.add(Bitfield::empty(40));
    lab.config = Config::default();
    lab.network.with(full, |swarm, now| swarm.handle_peer_joined(id_of(1_000), Duration::ZERO, now));
    (lab, seed, full)
}

#[test]
fn a_swarm_completes_whoever_leaves_whenever() {
    for (block, blocks, uplink, leechers) in
        [(BLOCK, 60u32, 200_000, 3), (65_536, 30, 100_000, 3), (1 << 20, 10, 100_000, 4)]
    {
        let size = u64::from(block) * u64::from(blocks);
        for part in 1..32 {
            let mut lab = lab(File::new(size, block));
            lab.uplink = uplink;
            lab.seed();
            (0..leechers).for_each(|_| _ = lab.leecher());
            lab.network.run_until(|network| network.node(0).unwrap().record.sent >= size * part / 32);
            lab.network.remove(1, Duration::ZERO);
            lab.settle_for(secs(size / uplink * 8 + 120));
            assert!(lab.network.all_complete(), "{block}, left after {part}/32");
        }
    }
}

#[test]
fn what_a_waiting_peer_says_is_known_when_it_is_admitted() {
    // The seed itself waits: it lends a place at once, and says so only then.
    let (mut lab, seed, full) = with_a_full_house();
    lab.network.introduce(full, seed);
    lab.settle_for(secs(1));
    lab.pretend_to_leave(full, 1_000);
    lab.run_until_complete();

    // A peer waits that gets everything meanwhile.
    let (mut lab, seed, full) = with_a_full_house();
    let other = lab.add(Bitfield::empty(40));
    lab.network.introduce(full, other);
    lab.settle_for(secs(1));
    lab.network.introduce(seed, other);
    lab.network.run_until(|network| network.node(other).unwrap().swarm.is_complete());
    lab.network.remove(seed, Duration::ZERO);
    lab.settle_for(secs(1));
    lab.pretend_to_leave(full, 1_000);
    lab.run_until_complete();
}

#[test]
fn a_neighbour_given_up_for_another_can_come_back() {
    let mut lab = lab(File::new(400 * u64::from(BLOCK), BLOCK));
    lab.uplink = 20_000;
    let seed = lab.add(Bitfield::full(400));
    lab.config = Config { max_neighbours: 1, ..Config::default() };
    let me = lab.add(Bitfield::empty(400));
    lab.network.introduce(seed, me);
    lab.settle_for(secs(2));
    lab.network.node_mut(seed).unwrap().behaviour = Behaviour::Silent;
    lab.settle_for(secs(40));
    // A peer that has something takes the place of one that delivers nothing.
    lab.network.with(me, |swarm, now| {
        let blocks = Bitfield::full(400).to_bytes();
        swarm.handle_peer_joined(id_of(1_000), Duration::ZERO, now);
        swarm.handle_message(id_of(1_000), PeerMessage::Bitfield { file: swarm.tag(), blocks, begin: false }, now);
        swarm.handle_peer_joined(id_of(1_001), Duration::ZERO, now);
    });
    lab.settle_for(secs(20));
    assert!(!lab.network.node(me).unwrap().swarm.is_neighbour(id_of(seed)));
    lab.network.node_mut(seed).unwrap().behaviour = Behaviour::Honest;
    (1_000..=1_001).for_each(|other| lab.pretend_to_leave(me, other));
    lab.settle_for(secs(10));
    lab.network.introduce(me, seed);
    lab.run_until_complete();
}

#[test]
fn a_slow_seed_is_not_given_up_for_peers_that_have_nothing() {
    let mut lab = lab(File::new(4 * 65_536, 65_536));
    // A block takes 13 s, and a neighbour is snubbed after 6.
    lab.uplink = 5_000;
    lab.seed();
    let me = lab.leecher();
    for _ in 0..30 {
        (1_000..1_060).for_each(|other| {
            lab.network.with(me, |swarm, now| swarm.handle_peer_joined(id_of(other), Duration::ZERO, now))
        });
        lab.settle_for(secs(10));
    }
    assert!(lab.network.all_complete(), "{} of 4", stored(&lab, me));
}

#[test]
fn clients_of_other_authors_give_and_take_whatever_their_habits() {
    for (tells, begins, rejects) in
        [(true, true, false), (false, true, false), (false, true, true), (true, false, false), (false, false, true)]
    {
        let habits = Habits { tells, serves: true, begins, rejects };
        let mut lab = lab(File::new(40 * u64::from(BLOCK), BLOCK));
        lab.client(Bitfield::full(40), habits);
        (0..3).for_each(|_| _ = lab.leecher());
        let unlucky = lab.leecher();
        lab.client(Bitfield::empty(40), habits);
        lab.settle_for(secs(1));
        lab.break_line(unlucky);
        lab.run_until_complete();
        assert!(lab.elapsed() < secs(60), "{habits:?}: {:?}", lab.elapsed());
        let told =
            |number| lab.network.node(number).unwrap().events.iter().filter(|event| **event != Event::WantsPeers);
        for (number, _) in lab.network.nodes() {
            assert!(told(number).eq([&Event::Completed]), "{habits:?}: nobody is dropped");
        }
    }
}

#[test]
fn a_client_whose_words_were_lost_is_asked_to_begin() {
    let mut lab = lab(File::new(40 * u64::from(BLOCK), BLOCK));
    let me = lab.leecher();
    let client = lab.client(Bitfield::full(40), HONEST);
    // What it said first is lost with the line, and the tracker tells only this peer of it again.
    lab.network.break_line(me);
    lab.network.introduce(client, me);
    lab.run_until_complete();
    assert!(lab.elapsed() < secs(30), "{:?}", lab.elapsed());
}

#[test]
fn who_has_only_what_it_got_here_gets_the_rest_if_nobody_else_wants_it() {
    // The seed is gone, and the half that is left goes from one to the next; what the next has is no news to the first.
    let mut lab = lab(File::new(200 * u64::from(BLOCK), BLOCK));
    let mut half = Bitfield::empty(200);
    (0..100).for_each(|index| _ = half.set(index));
    let first = lab.add(half);
    let next = lab.add(Bitfield::empty(200));
    lab.network.introduce(first, next);
    lab.settle_for(secs(10));
    assert_eq!(stored(&lab, next), 100);
}

#[test]
fn claiming_to_serve_is_no_reason_to_be_served_for_ever() {
    let got_from_leechers = |claims: bool| {
        let mut lab = lab(File::new(8_000 * u64::from(BLOCK), BLOCK));
        lab.uplink = 500_000;
        lab.seed();
        lab.config = Config { fixed_slots: 0, trial_slots: 0, ..Config::default() };
        let taker = lab.leecher();
        lab.config = Config::default();
        let givers: Vec<_> = (0..10).map(|_| lab.leecher()).collect();
        let file = lab.network.file().manifest.file().tag();
        for _ in 0..30 {
            if claims {
                givers.iter().for_each(|&giver| lab.network.inject(taker, giver, PeerMessage::Unchoke { file }));
            }
            lab.settle_for(Duration::from_millis(500));
        }
        let received = &lab.network.node(taker).unwrap().record.received_from;
        received.iter().filter(|(giver, _)| givers.contains(giver)).map(|(_, bytes)| *bytes).sum::<u64>()
    };
    let (honest, claiming) = (got_from_leechers(false), got_from_leechers(true));
    assert!(claiming < honest * 2, "{claiming} bytes instead of {honest}");
}

#[test]
fn a_reject_of_a_request_taken_back_is_not_taken_for_one_of_the_request_after_it() {
    let seed = id_of(7);
    let mut alone = Alone::with_seed(1, seed);
    let file = alone.swarm.tag();
    assert_eq!(alone.requests().len(), 1);
    // It does not answer, is snubbed, and is asked again because nobody else is there.
    while alone.requests().is_empty() {
        alone.wait();
    }
    alone.hear(seed, PeerMessage::Reject { file, index: 0, count: 1 });
    alone.hear(seed, PeerMessage::Choke { file });
    alone.hear(seed, PeerMessage::Reject { file, index: 0, count: 1 });
    alone.hear(seed, PeerMessage::Unchoke { file });
    while alone.requests().is_empty() {
        alone.wait();
    }
}

#[test]
fn a_snubbed_seed_is_asked_again_when_the_other_has_nothing_more() {
    let (seed, other) = (id_of(7), id_of(8));
    let mut alone = Alone::with_seed(64, seed);
    alone.meet(other, &blocks(0..32, 64));
    // The seed is silent until everything that the other has is here.
    while alone.stored() < 32 {
        let requests = alone.requests();
        requests
            .iter()
            .filter(|(of, ..)| *of == other)
            .for_each(|(of, index, count)| alone.hear_block(*of, *index, *count));
        if requests.is_empty() {
            alone.wait();
        }
    }
    while !alone.swarm.is_complete() {
        let requests = alone.requests();
        requests.iter().for_each(|(of, index, count)| alone.hear_block(*of, *index, *count));
        if requests.is_empty() && !alone.swarm.is_complete() {
            alone.wait();
        }
    }
}
