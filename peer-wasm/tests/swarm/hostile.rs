//! Peers that lie, keep silent, flood or only take.

use crate::{
    BLOCK,
    lab::{Lab, lab, swarm_of},
};
use bytes::Bytes;
use peer_wasm::swarm::{Config, Event, Violation};
use protocol::{Bitfield, HaveRun, PeerMessage};
use simulator::{Behaviour, File, id_of};
use std::time::Duration;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn dropped(violation: Violation, number: usize) -> Event {
    Event::Dropped { peer: id_of(number), violation }
}

fn events(lab: &Lab, number: usize) -> &[Event] {
    &lab.network.node(number).unwrap().events
}

#[test]
fn a_peer_that_sends_corrupted_blocks_is_dropped_and_the_file_is_right() {
    let mut lab = swarm_of(2, 600, &Config::default());
    let liar = lab.seed();
    lab.network.node_mut(liar).unwrap().behaviour = Behaviour::Corrupting;
    lab.run_until_complete();
    for number in [1, 2] {
        assert_eq!(events(&lab, number), [dropped(Violation::BadBlock, liar), Event::Completed]);
    }
}

#[test]
fn every_violation_drops_its_sender_and_nobody_else() {
    let id = swarm_of(0, 60, &Config::default()).network.file().manifest.file().tag();
    let bytes = |len: usize| Bytes::from(vec![0; len]);
    let cases = [
        (Violation::BadBitfield, PeerMessage::Bitfield { file: id, blocks: bytes(7), begin: false }),
        (Violation::BadBitfield, PeerMessage::Bitfield { file: id, blocks: bytes(9), begin: false }),
        (Violation::BadBitfield, PeerMessage::Bitfield { file: id, blocks: vec![0xff; 8].into(), begin: false }),
        (Violation::OutOfRange, PeerMessage::Have { file: id, blocks: vec![HaveRun(60, 1)] }),
        (Violation::OutOfRange, PeerMessage::Have { file: id, blocks: vec![HaveRun(0, 60), HaveRun(0, 1)] }),
        (Violation::OutOfRange, PeerMessage::Request { file: id, index: 59, count: 2 }),
        (Violation::OutOfRange, PeerMessage::Request { file: id, index: u32::MAX, count: u32::MAX }),
        (Violation::OutOfRange, PeerMessage::Block { file: id, index: 0, count: 0, data: bytes(0) }),
        (Violation::Unrequested, PeerMessage::Block { file: id, index: 3, count: 1, data: bytes(4_096) }),
    ];
    for (violation, message) in cases {
        let mut lab = swarm_of(2, 60, &Config::default());
        let liar = lab.leecher();
        lab.network.inject(liar, 1, message);
        lab.network.run_until(|network| [1, 2].iter().all(|n| network.node(*n).unwrap().swarm.is_complete()));
        assert_eq!(events(&lab, 1), [dropped(violation, liar), Event::Completed]);
        assert_eq!(events(&lab, 2), [Event::Completed]);
    }
}

#[test]
fn a_request_flood_drops_its_sender() {
    let mut lab = swarm_of(1, 2_000, &Config::default());
    let served = |lab: &Lab| {
        let seed = lab.network.node(0).unwrap();
        seed.swarm.neighbours(lab.network.now()).any(|other| other.served_by_us)
    };
    while !served(&lab) {
        assert!(lab.network.step());
    }
    let file = lab.network.file().manifest.file().tag();
    for index in 0..2_000 {
        lab.network.inject(1, 0, PeerMessage::Request { file, index, count: 1 });
    }
    lab.network.run_until(|network| network.node(0).unwrap().events.contains(&dropped(Violation::RequestFlood, 1)));
}

#[test]
fn a_peer_that_promises_and_never_delivers_is_worked_around() {
    let mut lab = swarm_of(2, 60, &Config::default());
    let silent = lab.seed();
    lab.network.node_mut(silent).unwrap().behaviour = Behaviour::Silent;
    lab.run_until_complete();
    assert!(lab.elapsed() < Duration::from_secs(10), "{:?}", lab.elapsed());
}

#[test]
fn silent_peers_cannot_hold_a_download_whatever_their_ids() {
    // Block size, blocks, silent peers, how many joined before the honest one.
    for (block, blocks, silent, before) in
        [(BLOCK, 256, 1, 1), (BLOCK, 256, 2, 0), (32_768, 512, 3, 2), (1 << 20, 40, 4, 3)]
    {
        let mut lab = lab(File::new(u64::from(blocks * block), block));
        for number in 0..=silent {
            let joined = lab.seed();
            if number != before {
                lab.network.node_mut(joined).unwrap().behaviour = Behaviour::Silent;
            }
        }
        lab.leecher();
        lab.run_until_complete();
        assert!(lab.elapsed() < Duration::from_secs(90), "{block}: {:?}", lab.elapsed());
    }
}

#[test]
fn peers_that_do_not_use_their_places_lose_them() {
    let mut lab = lab(File::new(40 << 20, 64 << 10));
    let seed = lab.seed();
    (1_000..1_040).for_each(|number| lab.pretend_to_join(seed, number));
    lab.leecher();
    lab.run_until_complete();
    assert!(lab.elapsed() < Duration::from_secs(60), "{:?}", lab.elapsed());
}

#[test]
fn a_peer_that_only_takes_gets_little_and_costs_the_others_nothing() {
    let mut lab = lab(File::new(1_000 * u64::from(BLOCK), BLOCK));
    lab.seed();
    lab.config = Config { fixed_slots: 0, trial_slots: 0, ..Config::default() };
    let taker = lab.leecher();
    lab.config = Config::default();
    let givers: Vec<_> = (0..10).map(|_| lab.leecher()).collect();
    lab.network.run_until(|network| network.node(0).unwrap().record.sent > network.file().manifest.geometry().size());
    let has = |number: usize| lab.network.node(number).unwrap().swarm.stored().count();
    let givers_have = givers.iter().map(|&giver| has(giver)).min().unwrap();
    assert!(has(taker) * 2 < givers_have, "{} of {givers_have}", has(taker));
    lab.run_until_complete();
}

#[test]
fn a_peer_that_keeps_first_copies_to_itself_does_not_hold_them_back() {
    let mut lab = lab(File::new(300 * u64::from(BLOCK), BLOCK));
    lab.seed();
    lab.config = Config { fixed_slots: 0, trial_slots: 0, ..Config::default() };
    (0..3).for_each(|_| _ = lab.leecher());
    lab.config = Config::default();
    let giver = lab.leecher();
    lab.network.run_until(|network| network.node(giver).unwrap().swarm.is_complete());
    assert!(lab.elapsed() < Duration::from_secs(20), "{:?}", lab.elapsed());
}

#[test]
fn a_liar_that_claims_every_block_and_leaves_costs_only_time() {
    let mut lab = swarm_of(3, 200, &Config::default());
    let liar = lab.add(Bitfield::full(200));
    lab.network.node_mut(liar).unwrap().behaviour = Behaviour::Silent;
    (0..4).for_each(|other| lab.network.introduce(liar, other));
    lab.settle_for(Duration::from_millis(300));
    lab.network.remove(liar, Duration::ZERO);
    lab.run_until_complete();
    assert!(lab.elapsed() < Duration::from_secs(10), "{:?}", lab.elapsed());
}
