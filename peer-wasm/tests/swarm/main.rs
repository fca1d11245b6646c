//! The swarm in virtual time: the production `Swarm`, black box, on every target.
//!
//! | file | what it tests, or lends |
//! |---|---|
//! | `places` | who gets a place, and what those are told who lose theirs |
//! | `room` | who makes room for whom, and how many are remembered |
//! | `telling` | what neighbours are told |
//! | `announcing` | who is told of new blocks, and when |
//! | `restating` | what the tracker refused or lost |
//! | `choking` | what a neighbour gets for what it gives |
//! | `fairness` | whose turn it is |
//! | `serving` | what is served, and how much at a time |
//! | `first_copies` | how a new file begins to spread |
//! | `late` | what becomes of requests that wait long |
//! | `segments` | what is asked for and served in parts of a block, and who lied |
//! | `storage` | slow and failing storage, and memory |
//! | `wants` | what people are told |
//! | `liveness` | that nobody waits for ever |
//! | `hostile` | liars and takers |
//! | `invariants` | what holds after every step, whatever happens |
//! | `lab`, `alone`, `stranger` | a network, one swarm by itself, a client of another author |

#![allow(unreachable_pub, reason = "modules of a test have no other crate to be unreachable from")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

mod alone;
mod announcing;
mod answers;
mod choking;
mod fairness;
mod first_copies;
mod holding;
mod hostile;
mod invariants;
mod lab;
mod late;
mod liveness;
mod places;
mod restating;
mod room;
mod segments;
mod serving;
mod silence;
mod steering;
mod storage;
mod stranger;
mod sybils;
mod telling;
mod wants;

use lab::{Lab, lab, swarm_of};
use peer_wasm::swarm::{Config, Event, StorageError};
use protocol::Bitfield;
use simulator::{Behaviour, File};
use std::time::Duration;

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

const BLOCK: u32 = 4_096;

#[test]
fn one_seed_and_twenty_peers_complete_with_every_strategy() {
    for (name, config) in Config::presets() {
        let mut lab = swarm_of(20, 150, &config);
        lab.run_until_complete();
        let completed = lab.network.nodes().filter(|(_, node)| node.events == [Event::Completed]).count();
        assert_eq!(completed, 20, "{name}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = || {
        let mut lab = swarm_of(6, 80, &Config::default());
        lab.network.trace = Some(Vec::new());
        lab.run_until_complete();
        lab.network.trace
    };
    assert_eq!(trace(), trace());
}

#[test]
fn a_small_file_is_fetched_without_waiting_for_a_round() {
    let mut lab = swarm_of(3, 1, &Config::default());
    lab.run_until_complete();
    assert!(lab.elapsed() < Duration::from_secs(1), "{:?}", lab.elapsed());
}

#[test]
fn a_first_request_goes_out_with_the_first_announcement() {
    // Bitfield, interest, unchoke, request, block: five times the latency, and what the block takes on the line.
    let mut lab = swarm_of(1, 1, &Config::default());
    lab.run_until_complete();
    assert!(lab.elapsed() < lab::LATENCY * 5, "{:?}: a place that nobody wants is not given at once", lab.elapsed());
}

#[test]
fn an_empty_file_is_complete_at_once() {
    let mut lab = lab(File::new(0, BLOCK));
    lab.seed();
    lab.leecher();
    assert!(lab.network.all_complete());
    lab.settle();
}

#[test]
fn when_everyone_has_everything_nothing_is_waited_for() {
    let mut lab = swarm_of(3, 60, &Config::default());
    lab.run_until_complete();
    let elapsed = lab.elapsed();
    lab.settle();
    assert!(lab.elapsed() < elapsed + Duration::from_secs(120), "{:?}", lab.elapsed());
}

#[test]
fn few_bytes_arrive_twice() {
    let mut lab = swarm_of(10, 400, &Config::default());
    lab.run_until_complete();
    let (received, useful) = lab
        .network
        .nodes()
        .fold((0, 0), |(received, useful), (_, node)| (received + node.record.received, useful + node.record.useful));
    assert!((received - useful) * 200 < useful, "{} of {useful} bytes were duplicates", received - useful);
}

#[test]
fn every_block_is_elsewhere_before_the_seed_sent_much_twice() {
    let mut lab = swarm_of(12, 1_600, &Config::default());
    let stored = |network: &simulator::Network, index| {
        network.nodes().any(|(number, node)| number > 0 && node.swarm.stored().has(index))
    };
    lab.network.run_until(|network| (0..1_600).all(|index| stored(network, index)));
    let (sent, size) = (lab.network.node(0).unwrap().record.sent, lab.network.file().content.len() as u64);
    assert!(sent * 10 < size * 11, "the seed sent {sent} of {size} bytes");
}

#[test]
fn a_peer_that_found_no_place_gets_one_when_others_leave() {
    let mut lab = lab(File::new(40 * u64::from(BLOCK), BLOCK));
    let seed = lab.seed();
    let crowd = Config::default().max_neighbours;
    (1_000..1_000 + crowd).for_each(|number| lab.pretend_to_join(seed, number));
    lab.leecher();
    lab.settle_for(Duration::from_secs(5));
    assert!(!lab.network.all_complete());
    (1_000..1_000 + crowd).for_each(|number| lab.pretend_to_leave(seed, number));
    lab.run_until_complete();
}

#[test]
fn a_seed_gives_the_place_of_another_seed_to_a_peer_that_needs_it() {
    let mut lab = lab(File::new(40 * u64::from(BLOCK), BLOCK));
    let full = Config::default().max_neighbours;
    let seeds: Vec<_> = (0..=full).map(|_| lab.add(Bitfield::full(40))).collect();
    seeds[1..].iter().for_each(|&other| lab.network.introduce(seeds[0], other));
    lab.settle_for(Duration::from_secs(1));
    let newcomer = lab.add(Bitfield::empty(40));
    lab.network.introduce(seeds[0], newcomer);
    lab.run_until_complete();
    assert!(lab.elapsed() < Duration::from_secs(3), "{:?}", lab.elapsed());
}

#[test]
fn more_peers_are_asked_for_while_few_have_something_to_give() {
    let mut lab = lab(File::new(400 * u64::from(BLOCK), BLOCK));
    let alone = lab.leecher();
    lab.settle_for(Duration::from_secs(25));
    let asked =
        |lab: &Lab| lab.network.node(alone).unwrap().events.iter().filter(|event| **event == Event::WantsPeers).count();
    assert_eq!(asked(&lab), 2);
    lab.seed();
    lab.run_until_complete();
    let before = asked(&lab);
    lab.settle_for(Duration::from_secs(60));
    assert_eq!(asked(&lab), before, "whoever has everything needs nobody");
}

#[test]
fn the_others_complete_when_the_seed_leaves_and_one_copy_remains() {
    let mut lab = swarm_of(5, 100, &Config::default());
    lab.network.run_until(|network| {
        let stored = |index| (1..=5).any(|number| network.node(number).unwrap().swarm.stored().has(index));
        (0..100).all(stored)
    });
    lab.network.remove(0, Duration::ZERO);
    assert!(!lab.network.all_complete());
    lab.run_until_complete();
}

#[test]
fn first_copies_that_are_lost_with_their_holder_are_given_again() {
    let mut lab = swarm_of(6, 200, &Config::default());
    lab.network.run_until(|network| network.node(3).unwrap().swarm.stored().count() > 15);
    lab.network.remove(3, Duration::ZERO);
    lab.run_until_complete();
    assert!(lab.elapsed() < Duration::from_secs(5), "{:?}", lab.elapsed());
}

#[test]
fn a_line_that_breaks_and_comes_back_loses_nothing() {
    let mut lab = swarm_of(3, 200, &Config::default());
    lab.network.run_until(|network| network.node(1).unwrap().swarm.stored().count() > 20);
    let stored = lab.network.node(1).unwrap().swarm.stored().count();
    lab.network.with(1, |swarm, now| swarm.handle_line_lost(now));
    for other in [0, 2, 3] {
        lab.network.with(other, |swarm, now| swarm.handle_peer_left(simulator::id_of(1), now));
        lab.network.introduce(1, other);
    }
    assert_eq!(lab.network.node(1).unwrap().swarm.stored().count(), stored);
    lab.run_until_complete();
    let told = lab.network.nodes().flat_map(|(_, node)| &node.events);
    assert!(told.into_iter().all(|event| *event == Event::Completed));
}

#[test]
fn a_slow_line_is_not_taken_for_silence() {
    // Block size, blocks, bytes per second.
    for (block, blocks, uplink) in [(BLOCK, 256, 5_000), (BLOCK, 1_024, 20_000), (1 << 20, 20, 100_000)] {
        let mut lab = lab(File::new(u64::from(block * blocks), block));
        lab.uplink = uplink;
        lab.seed();
        lab.leecher();
        lab.run_until_complete();
        let record = &lab.network.node(1).unwrap().record;
        let twice = record.received - record.useful;
        assert!(twice * 5 < record.useful, "{uplink}: {twice} of {} bytes came twice", record.useful);
    }
}

#[test]
fn a_full_disk_stops_the_asking_and_is_told() {
    let mut lab = swarm_of(2, 60, &Config::default());
    lab.network.node_mut(1).unwrap().behaviour = Behaviour::DiskFull;
    lab.network.run_until(|network| network.node(2).unwrap().swarm.is_complete());
    let node = lab.network.node(1).unwrap();
    assert!(node.events.contains(&Event::StorageFailed(StorageError::Full)));
    assert_eq!(node.swarm.stored().count(), 0);
}
