//! Neighbours that are silent at the end: for ever, because they vanished, or for a moment, because they serve others.

use crate::{
    BLOCK,
    alone::{Alone, blocks},
};
use peer_wasm::swarm::Config;
use protocol::{Bitfield, HaveRun, PeerId, PeerMessage};
use rand::{RngExt as _, SeedableRng as _};
use simulator::id_of;
use std::time::Duration;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// One neighbour, and what it was asked for and still has to answer.
struct Other {
    peer: PeerId,
    open: Vec<(u32, u32)>,
    is_gone: bool,
    /// When it answers next.
    next: u64,
}

fn one_block_a_request() -> Config {
    Config { max_run: BLOCK, ..Config::default() }
}

fn others(count: usize) -> Vec<Other> {
    (0..count).map(|at| Other { peer: id_of(at + 7), open: Vec::new(), is_gone: false, next: 0 }).collect()
}

/// Lets the others hear what was said. Those that are gone reject nothing. Tells how many messages that were.
fn hear(alone: &mut Alone, others: &mut [Other]) -> usize {
    let file = alone.swarm.tag();
    let said = alone.said();
    let count = said.len();
    for said in said {
        let Some(other) = others.iter_mut().find(|other| other.peer == said.to) else { continue };
        if let PeerMessage::Request { index, count, .. } = said.message {
            other.open.push((index, count));
        } else if let PeerMessage::Cancel { index, count, .. } = said.message
            && let Some(place) = other.open.iter().position(|open| *open == (index, count))
            && !other.is_gone
        {
            other.open.remove(place);
            alone.hear(other.peer, PeerMessage::Reject { file, index, count });
        }
    }
    count
}

fn answer(alone: &mut Alone, other: &mut Other) {
    let (index, count) = other.open.remove(0);
    alone.hear_block(other.peer, index, count);
}

/// A crowd of which some vanish when few blocks are left; at least one stays, and is silent now and then. Tells for how many
/// milliseconds the rest takes, and how many messages are sent for it.
fn end_of(seed: u64) -> (u64, usize) {
    let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(seed);
    let count = rng.random_range(2..6);
    let silence = [0, 100, 300, 600][rng.random_range(0..4_usize)];
    let of = rng.random_range(8..80);
    let lacks = rng.random_range(4..=of);
    let mut alone = Alone::new(blocks(lacks..of, of), one_block_a_request());
    let mut others = others(count);
    let stays = rng.random_range(0..count);
    let vanishes_at: Vec<u32> =
        (0..count).map(|at| if at == stays || rng.random() { 0 } else { rng.random_range(1..8) }).collect();
    others.iter().for_each(|other| alone.meet(other.peer, &Bitfield::full(of)));
    let (mut ended, mut tick, mut messages) = (None, 0, 0);
    hear(&mut alone, &mut others);
    while !alone.swarm.is_complete() {
        tick += 1;
        assert!(tick < 30_000, "seed {seed}: {} blocks did not come", of - alone.stored());
        alone.wait_for(Duration::from_millis(1));
        alone.swarm.audit();
        let said = hear(&mut alone, &mut others);
        messages += if ended.is_some() { said } else { 0 };
        for at in 0..count {
            if of - alone.stored() <= vanishes_at[at] {
                others[at].is_gone = true;
                ended.get_or_insert(tick);
            }
            if !others[at].is_gone && tick >= others[at].next && !others[at].open.is_empty() {
                answer(&mut alone, &mut others[at]);
                hear(&mut alone, &mut others);
                let rests = silence > 0 && rng.random_range(0..6) == 0;
                others[at].next = tick + rng.random_range(5..20) + if rests { rng.random_range(0..silence) } else { 0 };
            }
        }
    }
    (tick - ended.unwrap_or(tick), messages)
}

#[test]
fn whoever_stays_delivers_what_those_owed_who_vanished() {
    let mut ends: Vec<_> = (0..200).map(end_of).collect();
    ends.sort_unstable();
    let (nine_tenths, _) = ends[180];
    assert!(nine_tenths < 1_500, "one of ten waits for more than {nine_tenths} ms");
    let most = ends.iter().map(|(_, messages)| *messages).max().unwrap();
    assert!(most < 500, "{most} messages for the last eight blocks");
}

/// Two that delivered all that they were asked for vanish while they are idle. The third has the last block and is silent for a
/// moment, in which it is asked of those two.
#[test]
fn two_that_vanished_do_not_keep_the_last_block_from_one_that_was_silent_for_a_moment() {
    let of = 100;
    let mut alone = Alone::new(blocks(30..of, of), one_block_a_request());
    let file = alone.swarm.tag();
    let mut others = others(3);
    // Whoever comes first among equals is asked first.
    others.sort_by_key(|other| other.peer);
    for (at, has, left) in [(0, 10..20, 0), (1, 20..30, 0), (2, 0..10, 1)] {
        alone.meet(others[at].peer, &blocks(has, of));
        hear(&mut alone, &mut others);
        if left == 0 {
            alone.wait_for(Duration::from_millis(90));
        }
        while others[at].open.len() > left {
            alone.wait_for(Duration::from_millis(10));
            answer(&mut alone, &mut others[at]);
            hear(&mut alone, &mut others);
        }
    }
    for gone in &mut others[..2] {
        alone.hear(gone.peer, PeerMessage::Have { file, blocks: vec![HaveRun(0, of)] });
        gone.is_gone = true;
    }
    let mut waited = 0;
    while !alone.swarm.is_complete() {
        alone.wait_for(Duration::from_millis(1));
        hear(&mut alone, &mut others);
        waited += 1;
        if waited >= 300 && !others[2].open.is_empty() {
            answer(&mut alone, &mut others[2]);
            alone.said();
        }
        assert!(waited < 5_000, "not after {waited} ms");
    }
}

/// The last block is with one that takes its time, and nothing is left to ask of a neighbour that was later than usual before.
#[test]
fn one_that_was_late_at_the_end_is_served_on() {
    let of = 100;
    let mut alone = Alone::new(blocks(8..of, of), one_block_a_request());
    let file = alone.swarm.tag();
    let mut others = others(3);
    let [late, prompt, last] = [0, 1, 2].map(|at| others[at].peer);
    alone.meet(last, &blocks(0..1, of));
    alone.meet(late, &blocks(1..60, of));
    alone.meet(prompt, &blocks(1..8, of));
    alone.hear(late, PeerMessage::Interested { file });
    hear(&mut alone, &mut others);
    for index in 60..92 {
        alone.hear(late, PeerMessage::Request { file, index, count: 1 });
        alone.read();
        alone.hear(late, PeerMessage::Have { file, blocks: vec![HaveRun(index, 1)] });
    }
    alone.hear(prompt, PeerMessage::Interested { file });
    let is_served =
        |alone: &Alone| alone.swarm.neighbours(alone.now).any(|other| other.peer == late && other.served_by_us);
    for tick in 0..20_000 {
        alone.wait_for(Duration::from_millis(1));
        hear(&mut alone, &mut others);
        if tick % 10 == 0 && !others[1].open.is_empty() {
            answer(&mut alone, &mut others[1]);
        }
        if tick == 1_000 {
            alone.hear(late, PeerMessage::Request { file, index: 92, count: 1 });
            alone.read();
            assert!(is_served(&alone));
        }
    }
    assert_eq!(alone.stored(), of - 1, "all but the last");
    assert!(others[0].open.is_empty() && is_served(&alone));
}
