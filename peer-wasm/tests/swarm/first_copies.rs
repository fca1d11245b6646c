//! What the only seed of a new file gives to whom, and offers again.

use crate::{BLOCK, alone::Alone};
use peer_wasm::swarm::{Config, Room, Transmit};
use protocol::{Bitfield, HaveRun, PeerId, PeerMessage};
use simulator::id_of;
use std::time::Duration;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const BLOCKS: u32 = 16;
/// One more, which has spread.
const SPREAD: u32 = BLOCKS;

/// Longer than a block that was given may take to be announced by others.
const PATIENCE: Duration = Duration::from_millis(4_600);

/// The seed of a new file, and those that want it, who have nothing.
fn seed(of: &[PeerId]) -> Alone {
    seed_with(Config::default(), of)
}

fn seed_with(config: Config, of: &[PeerId]) -> Alone {
    let mut alone = Alone::new(Bitfield::full(BLOCKS + 1), config);
    for &peer in of {
        alone.join(peer);
        alone.hear_bitfield(peer, &Bitfield::empty(BLOCKS + 1), false);
        alone.hear(peer, PeerMessage::Interested { file: alone.swarm.tag() });
    }
    alone.said();
    alone
}

/// The same, while something is on its way to another one.
fn busy_seed(of: &[PeerId]) -> Alone {
    let other = id_of(1);
    let mut alone = seed(&[&[other], of].concat());
    has(&mut alone, other, SPREAD);
    alone.hear(other, PeerMessage::Request { file: alone.swarm.tag(), index: SPREAD, count: 1 });
    alone.said();
    assert_eq!(std::mem::take(&mut alone.unread).len(), 1);
    alone
}

/// Whether a peer that asks for a block gets it.
fn gets(alone: &mut Alone, peer: PeerId, index: u32) -> bool {
    alone.hear(peer, PeerMessage::Request { file: alone.swarm.tag(), index, count: 1 });
    alone.said();
    let reads = !alone.unread.is_empty();
    alone.read();
    alone.said();
    reads
}

fn has(alone: &mut Alone, peer: PeerId, index: u32) {
    alone.hear(peer, PeerMessage::Have { file: alone.swarm.tag(), blocks: vec![HaveRun(index, 1)] });
}

/// What each of these was told of blocks since.
fn offers(alone: &mut Alone, to: [PeerId; 2]) -> [Vec<HaveRun>; 2] {
    let said = alone.said();
    let runs =
        |said: &PeerMessage| if let PeerMessage::Have { blocks, .. } = said { blocks.clone() } else { Vec::new() };
    to.map(|peer| said.iter().filter(|said| said.to == peer).flat_map(|said| runs(&said.message)).collect())
}

#[test]
fn first_copies_go_to_as_many_as_there_are_also_after_a_round() {
    let peers: Vec<_> = (20..32).map(id_of).collect();
    let mut alone = seed(&peers);
    for (index, peer) in (0..).zip(&peers) {
        assert!(gets(&mut alone, *peer, index));
    }
    // Nobody asks for anything more, but the line is not idle: something is on its way.
    alone.hear(peers[0], PeerMessage::Request { file: alone.swarm.tag(), index: 12, count: 1 });
    alone.said();
    alone.wait_for(Duration::from_millis(2_010));
    let served = alone.swarm.neighbours(alone.now).filter(|other| other.served_by_us);
    assert_eq!(served.count(), peers.len());
}

#[test]
fn who_was_refused_a_block_is_offered_all_that_it_lacks_when_every_block_was_given() {
    let [first, second] = [7, 8].map(id_of);
    let mut alone = busy_seed(&[first, second]);
    assert!(gets(&mut alone, first, 0));
    assert!(!gets(&mut alone, second, 0));
    assert!((1..BLOCKS - 1).all(|index| gets(&mut alone, first, index)));
    has(&mut alone, second, 4);
    alone.hear(first, PeerMessage::Request { file: alone.swarm.tag(), index: BLOCKS - 1, count: 1 });
    assert_eq!(offers(&mut alone, [first, second]), [vec![], vec![HaveRun(0, 4), HaveRun(5, BLOCKS + 1 - 5)]]);
    alone.read();
    assert!(gets(&mut alone, second, 0));
}

#[test]
fn who_was_refused_a_block_and_loses_interest_is_offered_all_that_it_lacks() {
    let [first, second, third] = [7, 8, 9].map(id_of);
    let mut alone = busy_seed(&[first, second, third]);
    assert!(gets(&mut alone, first, 0) && !gets(&mut alone, second, 0) && !gets(&mut alone, third, 0));
    alone.hear(second, PeerMessage::NotInterested { file: alone.swarm.tag() });
    alone.wait_for(Duration::from_secs(1));
    assert_eq!(offers(&mut alone, [second, third]), [vec![HaveRun(0, BLOCKS + 1)], vec![]]);
}

#[test]
fn what_nobody_passed_on_in_time_is_offered_again() {
    let [keeper, other] = [7, 8].map(id_of);
    let mut alone = busy_seed(&[keeper, other]);
    assert!(gets(&mut alone, keeper, 0));
    alone.wait_for(PATIENCE * 3 / 4);
    assert_eq!(offers(&mut alone, [keeper, other]), [vec![], vec![]]);
    assert!(!gets(&mut alone, other, 0));
    alone.wait_for(PATIENCE / 4);
    let again = vec![HaveRun(0, 1)];
    assert_eq!(offers(&mut alone, [keeper, other]), [again.clone(), again]);
    assert!(gets(&mut alone, other, 0));
}

#[test]
fn what_was_given_to_one_that_leaves_is_offered_again_unless_it_has_spread() {
    let [first, second, third] = [7, 8, 9].map(id_of);
    let mut alone = busy_seed(&[first, second, third]);
    assert!(gets(&mut alone, first, 0) && gets(&mut alone, first, 1));
    has(&mut alone, second, 1);
    alone.leave(first);
    assert_eq!(offers(&mut alone, [second, third]), [vec![HaveRun(0, 1)], vec![HaveRun(0, 1)]]);
    assert!(!gets(&mut alone, third, 1), "the second has it");
    alone.leave(second);
    let [_, offered] = offers(&mut alone, [second, third]);
    assert_eq!(offered, [HaveRun(1, 1)], "nobody has it any more");
    assert!(gets(&mut alone, third, 1));
}

/// In which order what these ask for is given, one block after another.
fn order(alone: &mut Alone, asked: &[(PeerId, std::ops::Range<u32>)]) -> Vec<u32> {
    let (file, now) = (alone.swarm.tag(), alone.now);
    alone.swarm.set_room(Room { in_flight: 0, upload: 0 }, now);
    for (peer, indices) in asked {
        indices.clone().for_each(|index| alone.hear(*peer, PeerMessage::Request { file, index, count: 1 }));
    }
    alone.swarm.set_room(Room { in_flight: 0, upload: 1 }, now);
    let mut order = Vec::new();
    loop {
        alone.said();
        let Some((_, offset, _)) = alone.unread.first() else { return order };
        order.push((*offset / u64::from(BLOCK)) as u32);
        alone.read();
    }
}

#[test]
fn first_copies_go_to_everyone_in_turn_and_sooner_to_who_passes_them_on() {
    let [keeper, giver, witness] = [7, 8, 9].map(id_of);
    let mut alone = seed(&[keeper, giver, witness]);
    assert_eq!(order(&mut alone, &[(keeper, 0..3), (giver, 4..7)]), [0, 4, 1, 5, 2, 6]);
    (4..7).for_each(|index| has(&mut alone, witness, index));
    assert_eq!(order(&mut alone, &[(keeper, 8..10), (giver, 10..12)]), [10, 11, 8, 9]);
}

#[test]
fn requests_of_who_passes_nothing_on_keep_nobody_from_being_served_beside_them() {
    for passes_on in [false, true] {
        // More newcomers than are given a place at once. One block at a time is read, so that all others wait.
        let peers: Vec<_> = (20..40).map(id_of).collect();
        let mut alone = seed_with(Config { fixed_slots: 1, upload_budget: 1, ..Config::default() }, &peers);
        let file = alone.swarm.tag();
        let served = |alone: &Alone| -> Vec<_> {
            alone.swarm.neighbours(alone.now).filter(|other| other.served_by_us).map(|other| other.peer).collect()
        };
        let before = served(&alone);
        assert_eq!(before.len(), 2 + 16);
        (0..9).for_each(|index| alone.hear(before[0], PeerMessage::Request { file, index, count: 1 }));
        if passes_on {
            has(&mut alone, before[1], 0);
        }
        alone.said();
        assert_eq!(alone.unread.len(), 1, "eight wait");
        alone.wait_for(Duration::from_millis(19));
        assert_eq!(served(&alone), before);
        alone.wait_for(Duration::from_millis(1));
        assert_eq!(served(&alone).len(), before.len() + usize::from(!passes_on));
    }
}

#[test]
fn what_is_given_to_one_is_refused_at_once_to_others_that_wait_for_it() {
    let (first, second) = (id_of(20), id_of(21));
    let config = Config { upload_budget: BLOCK.into(), ..Config::default() };
    let mut alone = seed_with(config, &[id_of(1), first, second]);
    has(&mut alone, id_of(1), SPREAD);
    let file = alone.swarm.tag();
    for (peer, index) in [(id_of(1), SPREAD), (first, 3), (second, 3), (second, 4)] {
        alone.hear(peer, PeerMessage::Request { file, index, count: 1 });
    }
    assert!(alone.said_to(second).is_empty());
    assert_eq!(alone.unread.len(), 1, "the line is full");
    alone.read();
    let given = alone.said();
    let rejected = |said: &Transmit| matches!(said.message, PeerMessage::Reject { index: 3, .. });
    assert_eq!(given.iter().filter(|said| rejected(said)).count(), 1, "{given:?}");
    assert_eq!(alone.unread.len(), 1);
    alone.read();
    alone.said();
    assert_eq!(alone.unread.len(), 1, "what else it asked for still waits");
}
