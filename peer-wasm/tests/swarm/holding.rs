//! Who tries to hold a place, or a line, gets no more than others.

use crate::alone::{Alone, blocks};
use peer_wasm::swarm::Config;
use protocol::{Bitfield, PeerId, PeerMessage};
use simulator::id_of;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    time::Duration,
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const STEP: Duration = Duration::from_millis(100);

fn ids(numbers: Range<usize>) -> Vec<PeerId> {
    numbers.map(id_of).collect()
}

fn is_served(alone: &Alone, peer: PeerId) -> bool {
    alone.swarm.neighbours(alone.now).any(|other| other.peer == peer && other.served_by_us)
}

/// Who was sent how many messages with data.
type Got = BTreeMap<PeerId, usize>;

fn got(by: &Got, peer: PeerId) -> usize {
    by.get(&peer).copied().unwrap_or(0)
}

/// One step in which the line takes so many of the reads.
fn step(alone: &mut Alone, sends: usize, got: &mut Got) {
    for _ in 0..sends {
        alone.said();
        if alone.unread.is_empty() {
            break;
        }
        let (id, offset, len) = alone.unread.remove(0);
        let data = alone.file.content.slice(offset as usize..offset as usize + len as usize);
        alone.swarm.handle_read(id, Ok(data), alone.now);
        alone.swarm.handle_sent(len.into(), alone.now);
        for said in alone.said().iter().filter(|said| matches!(said.message, PeerMessage::Block { .. })) {
            *got.entry(said.to).or_default() += 1;
        }
    }
    alone.wait_for(STEP);
    alone.swarm.audit();
}

/// What one of twenty honest neighbours gets of a seed in a minute at most, and one of four others, in segments, if those begin
/// anew again and again, or do not.
fn beside_who_begins_anew(begin_anew: bool) -> (usize, usize) {
    const BLOCKS: u32 = 64;
    let (others, honest) = (ids(60..64), ids(100..120));
    let mut alone = Alone::with_blocks_of(128 << 10, Bitfield::full(BLOCKS), Config::default());
    alone.meet(id_of(9), &Bitfield::full(BLOCKS));
    let peers: Vec<_> = others.iter().chain(&honest).copied().collect();
    peers.iter().for_each(|peer| alone.meet_taker(*peer, &alone.nothing()));
    let file = alone.swarm.tag();
    let mut next = BTreeMap::new();
    let mut sent = Got::new();
    for _ in 0..600 {
        for &peer in &peers {
            let is_other = others.contains(&peer);
            if begin_anew && is_other {
                alone.hear_bitfield(peer, &Bitfield::empty(BLOCKS), true);
                alone.hear(peer, PeerMessage::Interested { file });
            }
            if is_served(&alone, peer) {
                // Seven of the eight segments of a block, or two blocks and a half.
                let next = next.entry(peer).or_insert(0_u32);
                for _ in 0..if is_other { 7 } else { 20 } {
                    let (block, segment) = if is_other { (*next / 7, *next % 7) } else { (*next / 8, *next % 8) };
                    alone.ask(peer, block % BLOCKS * 8 + segment, 1);
                    *next += 1;
                }
            }
        }
        step(&mut alone, 20, &mut sent);
    }
    let most = |of: &[PeerId]| of.iter().map(|peer| got(&sent, *peer)).max().unwrap();
    (most(&honest), most(&others))
}

#[test]
fn who_begins_anew_again_and_again_gets_no_more_of_a_seed_than_others() {
    let (fair, (honest, other)) = (beside_who_begins_anew(false), beside_who_begins_anew(true));
    assert!(other < honest * 2, "{other} segments, the best of the others {honest}; {fair:?} if nobody does so");
}

/// What one of three honest neighbours gets of a seed in a minute at least, and what five others get at most, in segments, if those
/// claim to have all but one block, and to serve, or do not.
fn beside_who_claims(claim: bool) -> (usize, usize) {
    const BLOCKS: u32 = 1_024;
    let (claimers, honest) = (ids(60..65), ids(100..103));
    let mut alone = Alone::with_blocks_of(128 << 10, Bitfield::full(BLOCKS), Config::default());
    alone.meet(id_of(9), &Bitfield::full(BLOCKS));
    let file = alone.swarm.tag();
    let peers: Vec<_> = claimers.iter().chain(&honest).copied().collect();
    for &peer in &peers {
        let claims = claim && claimers.contains(&peer);
        alone.meet_taker(peer, &if claims { blocks(1..BLOCKS, BLOCKS) } else { Bitfield::empty(BLOCKS) });
        if claims {
            alone.hear(peer, PeerMessage::Unchoke { file });
        }
    }
    let mut next = BTreeMap::new();
    let mut sent = Got::new();
    for _ in 0..600 {
        for &peer in &peers {
            if is_served(&alone, peer) {
                for _ in 0..20 {
                    let next = next.entry(peer).or_insert(0_u32);
                    alone.ask(peer, *next % 512, 1);
                    *next += 1;
                }
            }
        }
        step(&mut alone, 20, &mut sent);
    }
    let of = |peer: &PeerId| got(&sent, *peer);
    (honest.iter().map(of).min().unwrap(), claimers.iter().map(of).max().unwrap())
}

#[test]
fn who_claims_to_have_much_and_to_serve_gets_no_more_of_a_seed_than_others() {
    let (fair, (honest, claimer)) = (beside_who_claims(false), beside_who_claims(true));
    assert!(claimer < honest * 2, "{claimer} segments, another {honest}; {fair:?} if nobody claims anything");
}

/// What one that gave some of the last blocks gets of a peer that fetches, in messages, beside twenty that gave nothing, and beside
/// some that came first and do in each step what is said.
fn giver_gets(block: u32, few: u32, holders: &[PeerId], steps: u32, hold: impl Fn(&mut Alone, PeerId, u32)) -> usize {
    let (giver, takers) = (id_of(50), ids(100..120));
    let part = |percent: Range<u32>| percent.start * few..percent.end * few;
    let count = 100 * few;
    let mut alone = Alone::with_blocks_of(block, blocks(part(0..80), count), Config::default());
    let file = alone.swarm.tag();
    let per_block = alone.file.manifest.geometry().segments_per_block();
    holders.iter().for_each(|peer| alone.meet_taker(*peer, &alone.nothing()));
    alone.wait_for(Duration::from_secs(1));
    let mut has = blocks(part(0..60), count);
    part(90..100).for_each(|index| _ = has.set(index));
    for (peer, has) in takers.iter().map(|taker| (*taker, blocks(part(0..50), count))).chain([(giver, has)]) {
        alone.swarm.handle_peer_joined(peer, Duration::from_secs(60), alone.now);
        alone.want(peer, &has);
        alone.hear(peer, PeerMessage::Unchoke { file });
    }
    let mut open: VecDeque<_> = alone.requests().into();
    while let Some((_, index, count)) = open.pop_front() {
        alone.hear_block(giver, index, count);
        open.extend(alone.requests());
    }
    let mut next = 0;
    let mut sent = Got::new();
    for now in 0..steps {
        for &holder in holders.iter().filter(|holder| is_served(&alone, **holder)).collect::<Vec<_>>() {
            hold(&mut alone, holder, now);
        }
        for (first, &peer) in takers.iter().map(|taker| (50, taker)).chain([(60, &giver)]) {
            if is_served(&alone, peer) {
                for _ in 0..8 {
                    let pieces = per_block.div_ceil(16);
                    let index = first * few + next / pieces % (20 * few);
                    alone.ask(peer, index * per_block + next % pieces * 16, per_block.min(16));
                    next += 1;
                }
            }
        }
        step(&mut alone, 2, &mut sent);
    }
    got(&sent, giver)
}

#[test]
fn who_takes_back_what_it_asks_for_keeps_no_place_from_one_that_gives() {
    let beside = |holders: usize| {
        giver_gets(128 << 10, 10, &ids(60..60 + holders), 150, |alone, holder, _| {
            alone.ask(holder, 7, 1);
            alone.hear(holder, PeerMessage::Cancel { file: alone.swarm.tag(), index: 7, count: 1 });
        })
    };
    let (without, beside) = (beside(0), (5..12).map(beside).min().unwrap());
    assert!(beside * 4 > without, "{beside} instead of {without} blocks");
}

#[test]
fn who_asks_for_a_segment_now_and_then_keeps_no_place_from_one_that_gives() {
    let beside = |holders: usize| {
        giver_gets(1 << 20, 1, &ids(60..60 + holders), 600, |alone, holder, now| {
            if now % 20 == 5 {
                alone.ask(holder, now / 20, 1);
            }
        })
    };
    let (without, beside) = (beside(0), beside(5));
    assert!(beside * 4 > without, "{beside} instead of {without} quarters of a block");
}
