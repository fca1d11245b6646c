//! Requests that move to an idle neighbour, and those that stay.

use crate::BLOCK;
use crate::alone::{Alone, blocks};
use peer_wasm::swarm::Config;
use protocol::{HaveRun, PeerId, PeerMessage};
use simulator::id_of;
use std::{collections::BTreeMap, time::Duration};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// One that takes ten seconds for a block was just asked for another, when one comes that has both and is idle: until the request
/// is taken back to move there.
fn steered_to(slow: PeerId, idle: PeerId) -> Alone {
    let mut alone = Alone::new(blocks(3..1_000, 1_000), Config::default());
    let file = alone.swarm.tag();
    alone.meet(slow, &blocks(0..1, 1_000));
    assert_eq!(alone.requests(), [(slow, 0, 1)]);
    alone.wait_for(ms(10_000));
    alone.hear_block(slow, 0, 1);
    alone.hear(slow, PeerMessage::Have { file, blocks: vec![HaveRun(1, 1)] });
    assert_eq!(alone.requests(), [(slow, 1, 1)]);
    alone.wait_for(ms(100));
    // Nobody has block 2, so that this is not the end.
    alone.meet(idle, &blocks(0..2, 1_000));
    let cancel = PeerMessage::Cancel { file, index: 1, count: 1 };
    let mut waited = 0;
    while !alone.said_to(slow).contains(&cancel) {
        alone.wait_for(ms(100));
        waited += 100;
        assert!(waited < 5_000, "idle for {waited} ms");
    }
    alone
}

#[test]
fn an_idle_neighbour_is_asked_instead_of_a_slow_one_that_was_asked_just_before() {
    let (slow, idle) = (id_of(7), id_of(8));
    let mut alone = steered_to(slow, idle);
    alone.hear(slow, PeerMessage::Reject { file: alone.swarm.tag(), index: 1, count: 1 });
    assert_eq!(alone.requests(), [(idle, 1, 1)]);
}

/// Two that take so long for whatever they are asked for, first come first served, and reject at once what is taken back.
fn last_block_of_two_with_queues(of: u32, queue: u64, both: bool) -> (u64, u32) {
    let peers = [id_of(7), id_of(8)];
    let mut alone = Alone::new(blocks(5..of, of), Config { max_run: BLOCK, ..Config::default() });
    let file = alone.swarm.tag();
    alone.join(peers[0]);
    alone.join(peers[1]);
    for (peer, index) in [(peers[0], 0), (peers[1], 1)] {
        alone.hear_bitfield(peer, &blocks(index..index + 1, of), false);
        alone.hear(peer, PeerMessage::Unchoke { file });
        assert_eq!(alone.requests(), [(peer, index, 1)]);
        alone.wait_for(ms(50));
        alone.hear_block(peer, index, 1);
    }
    alone.said();
    // The third of the first; both have taken long lately.
    alone.hear(peers[0], PeerMessage::Have { file, blocks: vec![HaveRun(2, 1)] });
    assert_eq!(alone.requests(), [(peers[0], 2, 1)]);
    alone.wait_for(ms(queue));
    alone.hear_block(peers[0], 2, 1);
    alone.said();
    alone.hear(peers[1], PeerMessage::Have { file, blocks: vec![HaveRun(4, 1)] });
    assert_eq!(alone.requests(), [(peers[1], 4, 1)]);
    alone.wait_for(ms(if both { queue } else { 50 }));
    alone.hear_block(peers[1], 4, 1);
    alone.said();
    // Now the last, which both have.
    alone.hear(peers[0], PeerMessage::Have { file, blocks: vec![HaveRun(3, 1)] });
    let start = alone.now;
    let mut open: BTreeMap<PeerId, peer_wasm::Instant> = BTreeMap::new();
    let mut cancels = 0;
    let mut told = false;
    loop {
        for said in alone.said() {
            if let PeerMessage::Request { index: 3, .. } = said.message {
                open.insert(said.to, alone.now);
            } else if matches!(said.message, PeerMessage::Cancel { index: 3, .. }) && open.remove(&said.to).is_some() {
                cancels += 1;
                alone.hear(said.to, PeerMessage::Reject { file, index: 3, count: 1 });
            }
        }
        if !told {
            told = true;
            alone.hear(peers[1], PeerMessage::Have { file, blocks: vec![HaveRun(3, 1)] });
        }
        let done: Vec<_> =
            open.iter().filter(|(_, since)| alone.now.since(**since) >= ms(queue)).map(|(peer, _)| *peer).collect();
        for peer in done {
            open.remove(&peer);
            alone.hear_block(peer, 3, 1);
        }
        let waited = alone.now.since(start).as_millis() as u64;
        if alone.swarm.is_complete() || waited > 60_000 {
            return (waited, cancels);
        }
        alone.wait_for(ms(10));
    }
}

#[test]
fn the_last_block_does_not_go_back_and_forth_between_two_with_queues() {
    for (of, both) in [(64, false), (64, true), (1_000, false), (1_000, true)] {
        for queue in [300, 500, 1_000, 3_000] {
            let (waited, cancels) = last_block_of_two_with_queues(of, queue, both);
            assert!(waited <= 4 * queue, "{of} {both} {queue}: {waited} ms, taken back {cancels} times");
        }
    }
}

#[test]
fn the_last_request_is_not_moved_to_one_that_takes_longer() {
    let (near, far) = (id_of(7), id_of(8));
    let mut alone = Alone::new(blocks(3..64, 64), Config::default());
    let file = alone.swarm.tag();
    for (peer, index, wait) in [(near, 0, 1_000), (far, 1, 3_000)] {
        alone.meet(peer, &blocks(index..index + 1, 64));
        assert_eq!(alone.requests(), [(peer, index, 1)]);
        alone.wait_for(ms(wait));
        alone.hear_block(peer, index, 1);
        alone.said();
    }
    alone.hear(near, PeerMessage::Have { file, blocks: vec![HaveRun(2, 1)] });
    assert_eq!(alone.requests(), [(near, 2, 1)]);
    alone.hear(far, PeerMessage::Have { file, blocks: vec![HaveRun(2, 1)] });
    let cancel = PeerMessage::Cancel { file, index: 2, count: 1 };
    for waited in 0..100 {
        assert!(
            !alone.said_to(near).contains(&cancel),
            "after {} ms of a second, for one that takes three",
            waited * 10
        );
        alone.wait_for(ms(10));
    }
}

#[test]
fn the_last_two_requests_do_not_go_round_among_three_with_queues() {
    let peers = [7, 8, 9].map(id_of);
    let mut alone = Alone::new(blocks(5..64, 64), Config { max_run: BLOCK, ..Config::default() });
    let file = alone.swarm.tag();
    // Each takes 50 ms first, and a second for whatever comes then.
    for (peer, index) in peers.into_iter().zip(0..) {
        alone.meet(peer, &blocks(index..index + 1, 64));
        assert_eq!(alone.requests(), [(peer, index, 1)]);
        alone.wait_for(ms(50));
        alone.hear_block(peer, index, 1);
    }
    alone.said();
    for (peer, index) in [(peers[0], 3), (peers[1], 4)] {
        alone.hear(peer, PeerMessage::Have { file, blocks: vec![HaveRun(index, 1)] });
        assert_eq!(alone.requests(), [(peer, index, 1)]);
    }
    alone.wait_for(ms(60));
    peers.iter().for_each(|peer| alone.hear(*peer, PeerMessage::Have { file, blocks: vec![HaveRun(3, 2)] }));
    let start = alone.now;
    let mut cancels = 0;
    while alone.now.since(start) < Duration::from_secs(1) {
        for said in alone.said() {
            if let PeerMessage::Cancel { index, count, .. } = said.message {
                cancels += 1;
                alone.hear(said.to, PeerMessage::Reject { file, index, count });
            }
        }
        alone.wait_for(ms(10));
    }
    assert!(cancels <= 2 * peers.len(), "taken back {cancels} times within a second");
}

#[test]
fn what_moves_to_one_that_chokes_meanwhile_is_asked_of_another_that_is_idle() {
    let (slow, idle, other) = (id_of(7), id_of(8), id_of(9));
    let mut alone = steered_to(slow, idle);
    let file = alone.swarm.tag();
    // Another comes that is as idle, and the two are at the ends of their rounds.
    alone.meet(other, &blocks(0..2, 1_000));
    alone.hear(idle, PeerMessage::Choke { file });
    alone.hear(slow, PeerMessage::Choke { file });
    assert_eq!(alone.requests(), []);
    alone.hear(slow, PeerMessage::Reject { file, index: 1, count: 1 });
    assert_eq!(alone.requests(), [(other, 1, 1)]);
}
