//! What people are told: how things stand, and why nothing comes.

use crate::{
    BLOCK,
    alone::{Alone, blocks},
};
use peer_wasm::{
    Instant,
    swarm::{Config, NeighbourStatus, Swarm, Want},
};
use protocol::{Bitfield, FileId, PeerMessage};
use simulator::{File, id_of};
use std::{sync::Arc, time::Duration};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Longer than bytes count as coming.
const A_WHILE: Duration = Duration::from_secs(4);

fn want(alone: &Alone) -> Option<Want> {
    alone.swarm.want(alone.now)
}

#[test]
fn without_anybody_who_has_what_is_missing_a_source_is_wanted() {
    let mut alone = Alone::new(blocks(0..4, 8), Config::default());
    assert_eq!(want(&alone), Some(Want::Source));
    alone.meet(id_of(7), &blocks(0..4, 8));
    assert_eq!(want(&alone), Some(Want::Source));
}

#[test]
fn whoever_has_what_is_missing_and_chokes_holds_it_back() {
    let mut alone = Alone::new(Bitfield::empty(8), Config::default());
    alone.join(id_of(7));
    alone.hear_bitfield(id_of(7), &Bitfield::full(8), false);
    assert_eq!(want(&alone), Some(Want::HeldBack));
}

#[test]
fn what_is_asked_and_not_answered_is_waited_for_also_of_one_that_is_snubbed() {
    let mut alone = Alone::with_seed(8, id_of(7));
    assert_eq!(want(&alone), Some(Want::Answer));
    alone.hear(id_of(7), PeerMessage::Choke { file: alone.swarm.tag() });
    alone.wait_for(Duration::from_secs(90));
    assert!(alone.swarm.neighbours(alone.now).all(|other| other.snubbed && other.in_flight == 0));
    assert_eq!(want(&alone), Some(Want::Answer));
}

#[test]
fn what_was_asked_of_one_that_chokes_since_is_waited_for() {
    let mut alone = Alone::with_seed(8, id_of(7));
    alone.hear(id_of(7), PeerMessage::Choke { file: alone.swarm.tag() });
    assert_eq!(want(&alone), Some(Want::Answer));
}

#[test]
fn what_was_rejected_is_told() {
    let mut alone = Alone::with_seed(8, id_of(7));
    let file = alone.swarm.tag();
    for (of, index, count) in alone.requests() {
        alone.hear(of, PeerMessage::Reject { file, index, count });
    }
    assert_eq!(want(&alone), Some(Want::Rejected));
}

#[test]
fn what_the_storage_is_slow_to_take_is_told() {
    let mut alone = Alone::with_seed(8, id_of(7));
    alone.is_slow = true;
    loop {
        let requests = alone.requests();
        if requests.is_empty() {
            break;
        }
        requests.into_iter().for_each(|(of, index, count)| alone.hear_block(of, index, count));
    }
    assert_eq!(want(&alone), None, "something came just now");
    alone.wait_for(A_WHILE);
    assert_eq!(want(&alone), Some(Want::Storage));
}

#[test]
fn nothing_is_wanted_while_something_comes_or_when_everything_is_here() {
    let mut alone = Alone::with_seed(1, id_of(7));
    let (of, index, count) = alone.requests()[0];
    alone.hear_block(of, index, count);
    alone.said();
    alone.wait_for(A_WHILE);
    assert!(alone.swarm.is_complete());
    assert_eq!(want(&alone), None);
}

#[test]
fn what_is_stored_is_counted_in_bytes_of_which_the_last_block_has_fewer() {
    let file = File::new(7 * u64::from(BLOCK) + 100, BLOCK);
    for (have, bytes) in [
        (Bitfield::empty(8), 0),
        (blocks(0..3, 8), 3 * u64::from(BLOCK)),
        (blocks(7..8, 8), 100),
        (Bitfield::full(8), 7 * u64::from(BLOCK) + 100),
    ] {
        let swarm = Swarm::new(Config::default(), Arc::clone(&file.manifest), have, 1, Instant::default());
        assert_eq!(swarm.stored_bytes(), bytes);
    }
    let empty = File::new(0, BLOCK);
    let swarm = Swarm::new(Config::default(), empty.manifest, Bitfield::empty(0), 1, Instant::default());
    assert_eq!(swarm.stored_bytes(), 0);
}

#[test]
fn how_a_neighbour_stands_and_how_fast_it_is_are_told() {
    let (giver, taker) = (id_of(7), id_of(8));
    let mut alone = Alone::new(blocks(0..7, 8), Config::default());
    let file = alone.swarm.tag();
    alone.meet(giver, &blocks(6..8, 8));
    alone.join(taker);
    alone.hear_bitfield(taker, &blocks(0..3, 8), false);
    alone.hear(taker, PeerMessage::Interested { file });
    let stands = |alone: &Alone| -> [NeighbourStatus; 2] {
        alone.swarm.neighbours(alone.now).collect::<Vec<_>>().try_into().unwrap()
    };
    let giving = NeighbourStatus {
        peer: giver,
        blocks: 2,
        serves_us: true,
        wanted_by_us: true,
        served_by_us: true,
        wants_from_us: false,
        snubbed: false,
        in_flight: BLOCK.into(),
        down_rate: 0,
        up_rate: 0,
    };
    let taking = NeighbourStatus {
        peer: taker,
        blocks: 3,
        serves_us: false,
        wanted_by_us: false,
        served_by_us: true,
        wants_from_us: true,
        snubbed: false,
        in_flight: 0,
        down_rate: 0,
        up_rate: 0,
    };
    assert_eq!(stands(&alone), [giving.clone(), taking.clone()]);
    alone.hear_block(giver, 7, 1);
    for index in [4, 5] {
        alone.hear(taker, PeerMessage::Request { file, index, count: 1 });
    }
    alone.read();
    alone.wait_for(Duration::from_secs(1));
    let (down, up) = (BLOCK.into(), u64::from(2 * BLOCK));
    assert_eq!(alone.swarm.rates(alone.now), (down, up));
    let gave = NeighbourStatus { wanted_by_us: false, in_flight: 0, down_rate: down, ..giving };
    assert_eq!(stands(&alone), [gave, NeighbourStatus { up_rate: up, ..taking }]);
}

#[test]
fn what_is_about_another_file_is_ignored_and_so_is_who_was_dropped() {
    let (honest, liar) = (id_of(7), id_of(8));
    let mut alone = Alone::new(Bitfield::empty(8), Config::default());
    let (file, other) = (alone.swarm.tag(), "ab".repeat(32).parse::<FileId>().unwrap().tag());
    for (peer, file) in [(liar, file), (honest, other)] {
        alone.join(peer);
        alone.hear(peer, PeerMessage::Bitfield { file, blocks: bytes::Bytes::new(), begin: false });
    }
    assert!(alone.swarm.is_banned(liar) && alone.swarm.is_neighbour(honest));
    alone.hear_bitfield(liar, &Bitfield::full(8), false);
    assert!(!alone.swarm.is_neighbour(liar));
}
