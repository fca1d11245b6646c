//! What neighbours are told of this peer's blocks and wishes, and of what they may not have heard.

use crate::alone::{Alone, blocks};
use peer_wasm::swarm::Config;
use protocol::{Bitfield, HaveRun, PeerId, PeerMessage};
use simulator::id_of;
use std::time::Duration;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// It serves nobody.
fn without_places() -> Config {
    Config { fixed_slots: 0, trial_slots: 0, ..Config::default() }
}

/// Gets everything that this neighbour has.
fn fetch_all(alone: &mut Alone, from: PeerId) {
    loop {
        let requests = alone.requests();
        if requests.is_empty() {
            break;
        }
        requests.into_iter().for_each(|(_, index, count)| alone.hear_block(from, index, count));
    }
}

fn haves(said: &[PeerMessage]) -> Vec<HaveRun> {
    let runs = |said: &PeerMessage| if let PeerMessage::Have { blocks, .. } = said { blocks.clone() } else { vec![] };
    said.iter().flat_map(runs).collect()
}

#[test]
fn a_neighbour_is_told_of_new_blocks_that_it_lacks_and_one_that_had_every_block_of_all() {
    let [source, half, nothing, full] = [6, 7, 8, 9].map(id_of);
    let mut alone = Alone::new(blocks(4..8, 16), without_places());
    let file = alone.swarm.tag();
    alone.join(source);
    for (peer, has) in [(half, blocks(0..1, 16)), (nothing, Bitfield::empty(16)), (full, Bitfield::full(16))] {
        alone.join(peer);
        alone.hear_bitfield(peer, &has, false);
    }
    alone.hear_bitfield(source, &blocks(0..2, 16), false);
    alone.hear(source, PeerMessage::Unchoke { file });
    let requests = alone.requests();
    requests.into_iter().for_each(|(_, index, count)| alone.hear_block(source, index, count));
    assert_eq!(alone.stored(), 4, "the storage has them only when it was asked");
    let mut said = alone.said();
    assert_eq!(alone.stored(), 6);
    alone.wait_for(secs(5));
    said.extend(alone.said());
    let told = |of: PeerId| {
        let messages: Vec<_> = said.iter().filter(|said| said.to == of).map(|said| said.message.clone()).collect();
        let mut indices: Vec<_> = haves(&messages).iter().flat_map(|run| run.0..run.0 + run.1).collect();
        indices.sort_unstable();
        indices
    };
    assert!(told(source).is_empty());
    assert_eq!(told(half), [1]);
    assert_eq!(told(nothing), [0, 1]);
    assert_eq!(told(full), [0, 1], "the seed of a new file watches it spread");
}

#[test]
fn new_blocks_that_lie_far_apart_are_told_in_whatever_is_shorter() {
    for (runs, is_bitfield) in [(256, false), (257, true)] {
        let [source, served, other] = [7, 8, 9].map(id_of);
        let of = 2 * runs + 1;
        // All that is fetched lies apart, and the last block is here.
        let mut even = Bitfield::empty(of);
        (0..of - 1).step_by(2).for_each(|index| _ = even.set(index));
        let config = Config { fixed_slots: 1, trial_slots: 0, upload_budget: 1, ..Config::default() };
        let mut alone = Alone::new(blocks(of - 1..of, of), config);
        let file = alone.swarm.tag();
        for peer in [served, other] {
            alone.join(peer);
            alone.hear_bitfield(peer, &Bitfield::empty(of), false);
            alone.hear(peer, PeerMessage::Interested { file });
        }
        // Somebody is being sent something, or everyone would be told at once.
        alone.hear(served, PeerMessage::Request { file, index: of - 1, count: 1 });
        alone.meet(source, &even);
        fetch_all(&mut alone, source);
        assert_eq!(alone.stored(), runs + 1);
        let mut said = Vec::new();
        for _ in 0..5 {
            alone.hear(served, PeerMessage::Request { file, index: of - 1, count: 1 });
            alone.wait_for(secs(1));
            said.extend(alone.said_to(other));
        }
        assert_eq!(haves(&said).len(), if is_bitfield { 0 } else { 256 });
        let stored = alone.swarm.stored().to_bytes();
        assert_eq!(said.contains(&PeerMessage::Bitfield { file, blocks: stored, begin: false }), is_bitfield);
    }
}

#[test]
fn interest_is_shown_once_to_those_who_have_something_that_is_missing() {
    let (source, useless) = (id_of(7), id_of(8));
    let mut alone = Alone::new(blocks(0..1, 8), without_places());
    let file = alone.swarm.tag();
    alone.join(source);
    alone.meet(useless, &blocks(0..1, 8));
    alone.meet(source, &blocks(0..2, 8));
    let mut said = alone.said();
    for index in 1..8 {
        alone.hear(source, PeerMessage::Have { file, blocks: vec![HaveRun(index, 1)] });
        alone.hear_block(source, index, 1);
        alone.wait_for(secs(5));
        said.extend(alone.said());
    }
    assert!(alone.swarm.is_complete());
    let shown = said.iter().filter(|said| said.message == PeerMessage::Interested { file }).map(|said| said.to);
    assert_eq!(shown.collect::<Vec<_>>(), [source]);
    assert!(!said.iter().any(|said| matches!(said.message, PeerMessage::NotInterested { .. })), "it has every block");
}

#[test]
fn when_nothing_comes_those_that_may_not_have_heard_are_told_again() {
    let [mute, chokes, has_nothing, serves] = [6, 7, 8, 9].map(id_of);
    let mut alone = Alone::new(blocks(0..4, 8), without_places());
    let file = alone.swarm.tag();
    alone.join(mute);
    alone.join(chokes);
    alone.hear_bitfield(chokes, &Bitfield::full(8), false);
    alone.join(has_nothing);
    alone.hear_bitfield(has_nothing, &blocks(0..2, 8), false);
    alone.meet(serves, &Bitfield::full(8));
    alone.said();
    alone.wait_for(secs(10));
    let said = alone.said();
    let told = |peer| -> Vec<_> { said.iter().filter(|said| said.to == peer).map(|said| &said.message).collect() };
    assert!(matches!(told(mute)[..], [PeerMessage::Bitfield { begin: true, .. }]), "{:?}", told(mute));
    assert_eq!(told(chokes), [&PeerMessage::Interested { file }]);
    assert!(told(has_nothing).is_empty());
    assert!(!told(serves).contains(&&PeerMessage::Interested { file }));
}

/// When each of these messages was said to a peer, in whole seconds, within forty.
fn times_of(alone: &mut Alone, peer: PeerId, message: &PeerMessage) -> Vec<u64> {
    let mut times = Vec::new();
    for second in 0..40 {
        times.extend(alone.said_to(peer).iter().filter(|said| *said == message).map(|_| second));
        alone.wait_for(secs(1));
    }
    times
}

#[test]
fn who_does_not_use_its_place_is_told_of_it_again_every_eight_rounds() {
    let mut alone = Alone::new(Bitfield::full(8), Config::default());
    let file = alone.swarm.tag();
    alone.join(id_of(7));
    alone.hear_bitfield(id_of(7), &Bitfield::empty(8), false);
    alone.hear(id_of(7), PeerMessage::Interested { file });
    let times = times_of(&mut alone, id_of(7), &PeerMessage::Unchoke { file });
    assert_eq!(times, [0, 4, 20, 36], "after the first whole round, of two seconds, and every eight rounds");
}

#[test]
fn whose_place_is_lent_or_taken_is_not_told_again() {
    let (busy, other) = (id_of(7), id_of(8));
    let peers = |fixed_slots| {
        let mut alone = Alone::new(Bitfield::full(64), Config { fixed_slots, trial_slots: 0, ..Config::default() });
        let file = alone.swarm.tag();
        alone.join(other);
        alone.hear_bitfield(other, &Bitfield::empty(64), false);
        alone.join(busy);
        alone.hear_bitfield(busy, &Bitfield::empty(64), false);
        alone.hear(busy, PeerMessage::Interested { file });
        alone
    };
    let mut lent = peers(2);
    let file = lent.swarm.tag();
    assert_eq!(times_of(&mut lent, other, &PeerMessage::Unchoke { file }), [0]);
    // It loses its place because it does not use it, and does not use it any more after that.
    let mut taken = peers(1);
    taken.hear(other, PeerMessage::Interested { file });
    let mut chokes = 0;
    for index in 0..40 {
        taken.hear(busy, PeerMessage::Request { file, index, count: 1 });
        taken.read();
        taken.wait_for(secs(1));
        chokes += taken.said_to(other).iter().filter(|said| **said == PeerMessage::Choke { file }).count();
    }
    assert!(chokes <= 1, "{chokes}");
}
