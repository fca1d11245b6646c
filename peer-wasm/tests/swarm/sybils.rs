//! Many ids of one liar, which cost it little: none of it takes a file away from others.

use crate::{
    BLOCK,
    alone::{Alone, blocks},
    lab::lab,
};
use peer_wasm::swarm::{Config, Event, Violation};
use protocol::{Bitfield, HaveRun, PeerId, PeerMessage};
use simulator::{File, id_of};
use std::time::Duration;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn who_says_again_and_again_that_it_is_interested_and_never_asks_shuts_nobody_out_of_a_seed() {
    for liars in [30, 60] {
        let mut alone = Alone::new(Bitfield::full(64), Config::default());
        let file = alone.swarm.tag();
        let honest = id_of(7);
        let liars: Vec<_> = (1_000..1_000 + liars).map(id_of).collect();
        for liar in &liars {
            alone.join(*liar);
            alone.hear_bitfield(*liar, &Bitfield::empty(64), false);
        }
        let mut has = Bitfield::empty(64);
        for second in 0..240 {
            liars.iter().for_each(|liar| alone.hear(*liar, PeerMessage::Interested { file }));
            if second == 60 {
                alone.join(honest);
                alone.hear_bitfield(honest, &has, false);
                alone.hear(honest, PeerMessage::Interested { file });
            }
            for _ in 0..20 {
                for said in alone.said_to(honest) {
                    if let PeerMessage::Block { index, .. } = &said {
                        has.set(*index);
                        alone.hear(honest, PeerMessage::Have { file, blocks: vec![HaveRun(*index, 1)] });
                    }
                    let missing = (0..64).find(|index| !has.has(*index));
                    if let (PeerMessage::Block { .. } | PeerMessage::Unchoke { .. }, Some(index)) = (said, missing) {
                        alone.hear(honest, PeerMessage::Request { file, index, count: 1 });
                    }
                }
                for (id, offset, len) in std::mem::take(&mut alone.unread) {
                    let data = alone.file.content.slice(offset as usize..offset as usize + len as usize);
                    alone.swarm.handle_read(id, Ok(data), alone.now);
                    alone.swarm.handle_sent(len.into(), alone.now);
                }
                alone.wait_for(Duration::from_millis(50));
            }
        }
        assert!(has.is_full(), "{}: it got {} blocks in three minutes", liars.len(), has.count());
    }
}

#[test]
fn those_that_promise_and_reject_make_room_for_a_source() {
    let mut alone = Alone::new(Bitfield::empty(64), Config { max_neighbours: 8, ..Config::default() });
    let file = alone.swarm.tag();
    (1_000..1_008).map(id_of).for_each(|liar| alone.meet(liar, &Bitfield::full(64)));
    let honest = id_of(7);
    alone.meet(honest, &Bitfield::full(64));
    let mut open = alone.requests();
    for _ in 0..1_200 {
        for (to, index, count) in std::mem::take(&mut open) {
            if to == honest {
                return;
            }
            alone.hear(to, PeerMessage::Reject { file, index, count });
            alone.hear(to, PeerMessage::Have { file, blocks: vec![HaveRun(0, 64)] });
        }
        alone.wait_for(Duration::from_millis(100));
        open.extend(alone.requests());
    }
    panic!("the source was never asked in two minutes");
}

#[test]
fn what_a_neighbour_rejects_again_and_again_is_remembered_within_bounds() {
    let liar = id_of(7);
    let mut alone = Alone::with_seed(64, liar);
    let file = alone.swarm.tag();
    for _ in 0..20_000 {
        for (_, index, count) in alone.requests() {
            alone.hear(liar, PeerMessage::Reject { file, index, count });
        }
        alone.hear(liar, PeerMessage::Have { file, blocks: vec![HaveRun(0, 64)] });
    }
    alone.swarm.audit();
}

#[test]
fn a_peer_that_waits_and_floods_requests_is_dropped() {
    let mut alone = Alone::new(Bitfield::full(64), Config { max_neighbours: 1, ..Config::default() });
    let file = alone.swarm.tag();
    let (neighbour, liar) = (id_of(7), id_of(8));
    alone.join(neighbour);
    alone.join(liar);
    let request = PeerMessage::Request { file, index: 0, count: 1 };
    (0..1_000).for_each(|_| alone.hear(liar, request.clone()));
    assert_eq!(alone.said_to(liar).len(), 1_000, "each is rejected");
    assert!(!alone.swarm.is_banned(liar), "it may take this peer for one that serves it");
    (0..4_000).for_each(|_| alone.hear(liar, request.clone()));
    assert!(alone.said_to(liar).len() <= 24);
    assert!(alone.swarm.is_banned(liar));
}

#[test]
fn who_asks_a_seed_for_what_others_have_is_not_taken_for_a_flood() {
    let mut alone = Alone::new(Bitfield::full(4_096), Config::default());
    let file = alone.swarm.tag();
    let (other, honest) = (id_of(8), id_of(7));
    alone.join(other);
    alone.hear_bitfield(other, &blocks(0..2_048, 4_096), false);
    alone.join(honest);
    alone.hear_bitfield(honest, &Bitfield::empty(4_096), false);
    alone.hear(honest, PeerMessage::Interested { file });
    assert!(alone.said_to(honest).contains(&PeerMessage::Unchoke { file }));
    // Sixteen at a time, on a line of a millisecond.
    for first in (0..2_048).step_by(16) {
        for index in first..first + 16 {
            alone.hear(honest, PeerMessage::Request { file, index, count: 1 });
        }
        alone.wait_for(Duration::from_millis(2));
    }
    assert_eq!(alone.events(), []);
}

/// A neighbour is asked, has to make room while the most wait that may, and comes back before its block does.
#[test]
fn a_block_of_one_that_had_to_make_room_while_very_many_waited_is_welcome() {
    let slow = id_of(7);
    let mut alone = Alone::new(Bitfield::empty(64), Config { max_neighbours: 1, ..Config::default() });
    alone.meet(slow, &Bitfield::full(64));
    let (_, index, count) = alone.requests()[0];
    let others: Vec<PeerId> = (1_000..1_256).map(id_of).collect();
    others.iter().for_each(|other| alone.join(*other));
    alone.wait_for(secs(30));
    let giver = others[0];
    alone.hear_bitfield(giver, &Bitfield::full(64), false);
    assert!(!alone.swarm.is_neighbour(slow));
    others.iter().for_each(|other| alone.leave(*other));
    alone.hear_bitfield(slow, &Bitfield::full(64), false);
    assert!(alone.swarm.is_neighbour(slow));
    alone.hear_block(slow, index, count);
    let dropped = Event::Dropped { peer: slow, violation: Violation::Unrequested };
    assert!(!alone.events().contains(&dropped));
}

#[test]
fn a_newcomer_that_knows_only_the_seed_of_a_new_file_is_not_dropped_on_a_fast_line() {
    let mut lab = lab(File::new(8_192 * u64::from(BLOCK), BLOCK));
    lab.uplink = 20_000_000;
    let seed = lab.add(Bitfield::full(8_192));
    let (first, second) = (lab.leecher(), lab.leecher());
    lab.run_until(|lab| lab.network.node(first).unwrap().swarm.stored().count() > 3_000);
    let newcomer = lab.add(Bitfield::empty(8_192));
    lab.network.introduce(seed, newcomer);
    lab.run_until(|lab| [first, second, newcomer].iter().all(|n| lab.network.node(*n).unwrap().swarm.is_complete()));
    let events = &lab.network.node(seed).unwrap().events;
    assert!(events.is_empty(), "{events:?}");
}
