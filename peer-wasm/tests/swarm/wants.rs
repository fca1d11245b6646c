//! What people are told when nothing comes.

use crate::alone::{Alone, blocks};
use peer_wasm::swarm::{Config, Want};
use protocol::{Bitfield, PeerMessage};
use simulator::id_of;
use std::time::Duration;
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
    alone.wait_for(Duration::from_secs(60));
    assert!(alone.swarm.neighbours(alone.now).all(|other| other.snubbed && other.in_flight == 0));
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
