//! The swarm in virtual time: the production `Swarm`, black box, on every target.

#![allow(unreachable_pub, reason = "modules of a test have no other crate to be unreachable from")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

mod network;

use bytes::Bytes;
use network::{Network, file, peer};
use peer_wasm::swarm::{BlockState, Config, Event, Violation};
use proptest::prelude::*;
use protocol::{Bitfield, HaveRun, PeerMessage};
use std::time::Duration;

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

const BLOCK: u32 = 4_096;

/// One seed and `leechers` peers that have nothing.
fn swarm_of(leechers: u8, blocks: u32, config: &Config) -> (Network, Vec<u8>) {
    let (content, manifest) = file((blocks * BLOCK - 1_000) as usize, BLOCK);
    let mut network = Network::new();
    network.join(peer(0), config.clone(), &manifest, &content, Bitfield::full(blocks));
    for number in 1..=leechers {
        network.join(peer(number), config.clone(), &manifest, &content, Bitfield::empty(blocks));
    }
    (network, content)
}

fn dropped(violation: Violation, number: u8) -> Event {
    Event::Dropped { peer: peer(number), violation }
}

#[test]
fn one_seed_and_twenty_peers_complete_with_every_strategy() {
    for (name, config) in Config::presets() {
        let (mut network, content) = swarm_of(20, 150, &config);
        network.run_until(Network::all_complete);
        assert!(network.nodes.values().all(|node| node.content == content), "{name}: different bytes");
        let completed = |node: &&network::Node| node.events == [Event::Completed];
        assert_eq!(network.nodes.values().filter(completed).count(), 20, "{name}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = || {
        let (mut network, _) = swarm_of(6, 80, &Config::default());
        network.run_until(Network::all_complete);
        network.trace
    };
    assert_eq!(trace(), trace());
}

#[test]
fn a_small_file_is_fetched_without_waiting_for_a_round() {
    let (mut network, _) = swarm_of(3, 1, &Config::default());
    network.run_until(Network::all_complete);
    assert!(network.now.since_start() < Duration::from_secs(1), "{:?}", network.now);
}

#[test]
fn an_empty_file_is_complete_at_once() {
    let (content, manifest) = file(0, BLOCK);
    let mut network = Network::new();
    network.join(peer(0), Config::default(), &manifest, &content, Bitfield::empty(0));
    network.join(peer(1), Config::default(), &manifest, &content, Bitfield::empty(0));
    assert!(network.all_complete());
    while network.step() {}
}

#[test]
fn few_bytes_arrive_twice() {
    let (mut network, content) = swarm_of(10, 400, &Config::default());
    network.run_until(Network::all_complete);
    let needed = 10 * content.len() as u64;
    let twice = network.payload - needed;
    assert!(twice * 100 < needed, "{twice} of {needed} bytes were duplicates");
}

#[test]
fn a_peer_that_sends_corrupted_blocks_is_dropped_and_the_file_is_right() {
    let (mut network, content) = swarm_of(2, 600, &Config::default());
    let (_, manifest) = file(content.len(), BLOCK);
    network.join(peer(9), Config::default(), &manifest, &content, Bitfield::full(600));
    network.nodes.get_mut(&peer(9)).unwrap().corrupts = true;
    network.run_until(Network::all_complete);
    for number in [1, 2] {
        let node = &network.nodes[&peer(number)];
        assert_eq!(node.content, content);
        assert_eq!(node.events, [dropped(Violation::BadBlock, 9), Event::Completed]);
    }
}

#[test]
fn every_violation_drops_its_sender_and_nobody_else() {
    let id = file((60 * BLOCK - 1_000) as usize, BLOCK).1.file();
    let bytes = |len: usize| Bytes::from(vec![0; len]);
    let cases = [
        (Violation::BadBitfield, PeerMessage::Bitfield { file: id, blocks: bytes(7) }),
        (Violation::BadBitfield, PeerMessage::Bitfield { file: id, blocks: bytes(9) }),
        (Violation::BadBitfield, PeerMessage::Bitfield { file: id, blocks: vec![0xff; 8].into() }),
        (Violation::OutOfRange, PeerMessage::Have { file: id, blocks: vec![HaveRun(60, 1)] }),
        (Violation::OutOfRange, PeerMessage::Have { file: id, blocks: vec![HaveRun(0, 60), HaveRun(0, 1)] }),
        (Violation::OutOfRange, PeerMessage::Request { file: id, index: 59, count: 2 }),
        (Violation::OutOfRange, PeerMessage::Request { file: id, index: u32::MAX, count: u32::MAX }),
        (Violation::OutOfRange, PeerMessage::Block { file: id, index: 0, count: 0, data: bytes(0) }),
        (Violation::Unrequested, PeerMessage::Block { file: id, index: 3, count: 1, data: bytes(4_096) }),
    ];
    for (violation, message) in cases {
        let (mut network, content) = swarm_of(2, 60, &Config::default());
        let (_, manifest) = file(content.len(), BLOCK);
        network.join(peer(9), Config::default(), &manifest, &content, Bitfield::empty(60));
        network.inject(peer(9), peer(1), message);
        network.run_until(|network| [1, 2].iter().all(|n| network.nodes[&peer(*n)].swarm.is_complete()));
        assert_eq!(network.nodes[&peer(1)].events, [dropped(violation, 9), Event::Completed]);
        assert_eq!(network.nodes[&peer(2)].events, [Event::Completed]);
    }
}

#[test]
fn a_request_flood_drops_its_sender() {
    let (mut network, _) = swarm_of(1, 2_000, &Config::default());
    network.run_until(|network| network.nodes[&peer(0)].swarm.neighbours(network.now).any(|other| other.served_by_us));
    let id = network.nodes[&peer(0)].swarm.file();
    for index in 0..2_000 {
        network.inject(peer(1), peer(0), PeerMessage::Request { file: id, index, count: 1 });
    }
    network.run_until(|network| network.nodes[&peer(0)].events.contains(&dropped(Violation::RequestFlood, 1)));
}

#[test]
fn a_peer_that_promises_and_never_delivers_is_worked_around() {
    let (mut network, content) = swarm_of(2, 60, &Config::default());
    let (_, manifest) = file(content.len(), BLOCK);
    network.join(peer(9), Config::default(), &manifest, &content, Bitfield::full(60));
    network.nodes.get_mut(&peer(9)).unwrap().silent = true;
    network.run_until(Network::all_complete);
    assert!(network.now.since_start() < Duration::from_secs(10), "{:?}", network.now);
}

#[test]
fn silent_peers_cannot_hold_a_download_whatever_their_ids() {
    // Block size, blocks, silent peers, the honest one.
    for (block, blocks, silent, honest) in
        [(BLOCK, 256, 1..=1, 2), (BLOCK, 256, 1..=2, 3), (32_768, 512, 1..=3, 5), (1 << 20, 40, 1..=4, 5)]
    {
        let (content, manifest) = file((blocks * block) as usize, block);
        let mut network = Network::new();
        for number in silent.chain([honest]) {
            network.join(peer(number), Config::default(), &manifest, &content, Bitfield::full(blocks));
            network.nodes.get_mut(&peer(number)).unwrap().silent = number != honest;
        }
        network.join(peer(100), Config::default(), &manifest, &content, Bitfield::empty(blocks));
        network.run_until(Network::all_complete);
        assert!(network.now.since_start() < Duration::from_secs(90), "{block}: {:?}", network.now);
    }
}

#[test]
fn a_slow_line_is_not_taken_for_silence() {
    // Block size, blocks, bytes per second.
    for (block, blocks, uplink) in [(BLOCK, 256, 5_000), (BLOCK, 1_024, 20_000), (1 << 20, 20, 100_000)] {
        let (content, manifest) = file((blocks * block) as usize, block);
        let mut network = Network::new();
        network.join(peer(0), Config::default(), &manifest, &content, Bitfield::full(blocks));
        network.nodes.get_mut(&peer(0)).unwrap().uplink = uplink;
        network.join(peer(1), Config::default(), &manifest, &content, Bitfield::empty(blocks));
        network.run_until(Network::all_complete);
        let twice = network.payload - content.len() as u64;
        assert!(twice * 5 < content.len() as u64, "{uplink}: {twice} of {} bytes came twice", content.len());
    }
}

#[test]
fn peers_that_do_not_use_their_places_lose_them() {
    let (content, manifest) = file(40 << 20, 64 << 10);
    let mut network = Network::new();
    network.join(peer(0), Config::default(), &manifest, &content, Bitfield::full(640));
    for number in 1..=40 {
        network.with(peer(0), |seed, now| {
            seed.handle_peer_joined(peer(number), now);
            seed.handle_message(peer(number), PeerMessage::Interested { file: seed.file() }, now);
        });
    }
    network.join(peer(100), Config::default(), &manifest, &content, Bitfield::empty(640));
    network.run_until(Network::all_complete);
    assert!(network.now.since_start() < Duration::from_secs(150), "{:?}", network.now);
}

#[test]
fn a_peer_that_found_no_place_gets_one_when_others_leave() {
    let (content, manifest) = file(40 * 4_096, BLOCK);
    let mut network = Network::new();
    network.join(peer(0), Config::default(), &manifest, &content, Bitfield::full(40));
    (1..=80).for_each(|number| network.with(peer(0), |seed, now| seed.handle_peer_joined(peer(number), now)));
    network.join(peer(100), Config::default(), &manifest, &content, Bitfield::empty(40));
    while network.step() {}
    assert!(!network.all_complete());
    (1..=80).for_each(|number| network.with(peer(0), |seed, now| seed.handle_peer_left(peer(number), now)));
    network.run_until(Network::all_complete);
}

#[test]
fn the_others_complete_when_the_seed_leaves_and_one_copy_remains() {
    let (mut network, content) = swarm_of(5, 100, &Config::default());
    network.run_until(|network| {
        let stored = |index| (1..=5).any(|number| network.nodes[&peer(number)].swarm.stored().has(index));
        (0..100).all(stored)
    });
    network.leave(peer(0));
    assert!(!network.all_complete());
    network.run_until(Network::all_complete);
    assert!(network.nodes.values().all(|node| node.content == content));
}

#[test]
fn a_line_that_breaks_and_comes_back_loses_nothing() {
    let (mut network, content) = swarm_of(3, 200, &Config::default());
    network.run_until(|network| network.nodes[&peer(1)].swarm.stored().count() > 20);
    let stored = network.nodes[&peer(1)].swarm.stored().count();
    network.with(peer(1), |swarm, now| swarm.handle_line_lost(now));
    for other in [0, 2, 3] {
        network.with(peer(other), |swarm, now| swarm.handle_peer_left(peer(1), now));
        network.with(peer(other), |swarm, now| swarm.handle_peer_joined(peer(1), now));
        network.with(peer(1), |swarm, now| swarm.handle_peer_joined(peer(other), now));
    }
    assert_eq!(network.nodes[&peer(1)].swarm.stored().count(), stored);
    network.run_until(Network::all_complete);
    assert!(network.nodes.values().all(|node| node.content == content));
    assert!(network.nodes.values().flat_map(|node| &node.events).all(|event| *event == Event::Completed));
}

#[test]
fn a_full_disk_stops_the_asking_and_is_told() {
    let (mut network, _) = swarm_of(2, 60, &Config::default());
    network.nodes.get_mut(&peer(1)).unwrap().storage_fails = true;
    network.run_until(|network| network.nodes[&peer(2)].swarm.is_complete());
    let node = &network.nodes[&peer(1)];
    assert!(node.events.contains(&Event::StorageFailed));
    assert_eq!(node.swarm.stored().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// After every step of a random swarm with a peer that leaves: verified blocks never regress, what is in flight
    /// and served stays within its caps, and all complete.
    #[test]
    fn invariants_hold_after_every_step(leechers in 2u8..7, blocks in 1u32..60, leave_at in 0u32..400, preset in 0usize..9) {
        let config = Config { max_in_flight: 40_000, ..Config::presets()[preset].1.clone() };
        let (mut network, content) = swarm_of(leechers, blocks, &config);
        let mut stored_before = vec![0; usize::from(leechers) + 1];
        let mut steps = 0;
        while !network.all_complete() {
            prop_assert!(network.step(), "stalled");
            steps += 1;
            if steps == leave_at {
                network.leave(peer(leechers));
            }
            for (id, node) in &network.nodes {
                let before = &mut stored_before[usize::from(id.as_bytes()[0])];
                prop_assert!(node.swarm.stored().count() >= *before);
                *before = node.swarm.stored().count();
                let requested = |state: &&BlockState| matches!(state, BlockState::Requested(_));
                let in_flight = node.swarm.block_states().iter().filter(requested).count() as u64 * u64::from(BLOCK);
                prop_assert!(in_flight <= config.max_in_flight + u64::from(config.max_run));
                prop_assert!(node.swarm.neighbours(network.now).filter(|other| other.served_by_us).count() <= 5);
            }
        }
        prop_assert!(network.nodes.values().all(|node| node.content == content));
    }
}
