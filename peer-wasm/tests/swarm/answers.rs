//! Every request is answered once, and none by more than what it asks for, whatever becomes of it.

use crate::alone::{Alone, blocks};
use peer_wasm::swarm::{Config, Room};
use protocol::{Bitfield, HaveRun, PeerId, PeerMessage};
use simulator::id_of;
use std::{collections::BTreeMap, time::Duration};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn who_lost_its_place_gets_no_more_than_one_block_more() {
    let (block, hostile, honest) = (128 << 10, id_of(7), id_of(8));
    let config = Config { fixed_slots: 1, trial_slots: 0, upload_budget: 1, ..Config::default() };
    let mut alone = Alone::with_blocks_of(block, Bitfield::full(16), config);
    alone.meet(id_of(9), &Bitfield::full(16));
    let file = alone.swarm.tag();
    alone.meet_taker(hostile, &alone.nothing());
    alone.ask(hostile, 8, 1);
    alone.read();
    alone.said();
    // All of one block, and yet never the same span twice.
    for start in 0..8 {
        (1..=64).for_each(|count| alone.ask(hostile, start, count));
    }
    alone.hear(hostile, PeerMessage::NotInterested { file });
    alone.meet_taker(honest, &alone.nothing());
    assert!(alone.said_to(hostile).contains(&PeerMessage::Choke { file }));
    let (mut got, mut got_honest) = (0, 0);
    let mut index = 0;
    for _ in 0..2_000 {
        if got_honest < 15 * block as usize {
            alone.ask(honest, index % 128, 1);
            index += 1;
        }
        alone.read();
        let said = alone.said();
        for one in said {
            if let PeerMessage::Block { data, .. } = one.message {
                if one.to == hostile { got += data.len() } else { got_honest += data.len() }
            }
        }
    }
    assert!(!alone.swarm.is_asked());
    assert!(got <= 2 * block as usize, "{got} bytes after a choke, {got_honest} to who has the place");
}

#[test]
fn who_asks_for_spans_across_blocks_does_not_keep_others_waiting() {
    let (hostile, honest) = (id_of(7), id_of(8));
    let config = Config { fixed_slots: 4, upload_budget: 1, ..Config::default() };
    let mut alone = Alone::with_blocks_of(128 << 10, Bitfield::full(64), config);
    alone.meet(id_of(9), &Bitfield::full(64));
    alone.meet_taker(hostile, &alone.nothing());
    alone.meet_taker(honest, &alone.nothing());
    for number in 0..60 {
        alone.ask(hostile, 1 + number * 8, 8);
    }
    (0..8).for_each(|segment| alone.ask(honest, 500 + segment - 500 % 8, 1));
    let mut got = 0;
    for _ in 0..30 {
        alone.read();
        let said = alone.said();
        if said.iter().any(|said| said.to == honest && matches!(said.message, PeerMessage::Block { .. })) {
            return;
        }
        got +=
            said.iter().filter(|said| said.to == hostile && matches!(said.message, PeerMessage::Block { .. })).count();
    }
    panic!("{got} spans of 128 KiB to one, nothing to the other");
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(most)) as u32
    }
}

fn settle(alone: &mut Alone, open: &mut BTreeMap<PeerId, Vec<(u32, u32)>>) {
    for said in alone.said() {
        let (PeerMessage::Block { index, count, .. } | PeerMessage::Reject { index, count, .. }) = said.message else {
            continue;
        };
        let of = open.entry(said.to).or_default();
        let place = of.iter().position(|one| *one == (index, count)).expect("it was asked for");
        of.remove(place);
    }
    alone.swarm.audit();
}

/// Every request is answered exactly once, whatever happens.
#[test]
fn every_request_is_answered_once() {
    for seed in 0..400 {
        let mut chance = Chance(seed);
        let has = if seed % 2 == 0 { Bitfield::full(16) } else { blocks(0..12, 16) };
        let config = Config {
            fixed_slots: 1,
            trial_slots: (seed % 3 % 2) as usize,
            upload_budget: 1 + (seed % 5) * 40_000,
            ..Config::default()
        };
        let mut alone = Alone::with_blocks_of(64 << 10, has, config);
        if seed % 4 < 2 {
            alone.meet(id_of(99), &Bitfield::full(16));
        }
        let file = alone.swarm.tag();
        let peers: Vec<_> = (1..6).map(id_of).collect();
        let mut open: BTreeMap<PeerId, Vec<(u32, u32)>> = BTreeMap::new();
        for _ in 0..300 {
            let peer = peers[chance.below(5) as usize];
            match chance.below(12) {
                0 => alone.meet_taker(peer, &alone.nothing()),
                1 => alone.hear(peer, PeerMessage::NotInterested { file }),
                2..=6 if alone.swarm.is_neighbour(peer) => {
                    let index = chance.below(60);
                    let count = 1 + chance.below(4);
                    let of = open.entry(peer).or_default();
                    if !of.contains(&(index, count)) {
                        of.push((index, count));
                        alone.ask(peer, index, count);
                    }
                }
                7 => {
                    let of = open.entry(peer).or_default();
                    if let Some((index, count)) = of.first().copied() {
                        alone.hear(peer, PeerMessage::Cancel { file, index, count });
                    }
                }
                8 => alone.wait_for(ms(chance.below(3_000).into())),
                9 => alone.read(),
                10 if chance.below(4) == 0 => {
                    alone.said().clear();
                    alone.hear(peer, PeerMessage::Unchoke { file });
                    if chance.below(2) == 0 {
                        alone.hear(peer, PeerMessage::Choke { file });
                    }
                }
                11 if chance.below(4) == 0 => {
                    alone.hear(peer, PeerMessage::Have { file, blocks: vec![HaveRun(chance.below(16), 1)] });
                }
                _ => {}
            }
            // `said` in case 10 would lose answers, so answers are counted after each step.
            settle(&mut alone, &mut open);
        }
        alone.swarm.set_room(Room { in_flight: 0, upload: 1 << 20 }, alone.now);
        for _ in 0..200 {
            alone.read();
            settle(&mut alone, &mut open);
        }
        assert!(!alone.swarm.is_asked(), "{seed}");
        assert!(open.values().all(Vec::is_empty), "{seed}: {open:?}");
    }
}

/// Whatever is dropped, sums stay right and the file is completed by an honest seed.
#[test]
fn what_a_dropped_peer_leaves_is_counted_right_and_the_file_is_completed() {
    for seed in 0..300 {
        let mut chance = Chance(seed * 77 + 5);
        let mut alone = Alone::with_blocks_of(64 << 10, Bitfield::empty(8), Config::default());
        let file = alone.swarm.tag();
        let mut open: Vec<(PeerId, u32, u32)> = Vec::new();
        let mut next = 10;
        for step in 0..600 {
            if step % 7 == 0 && next < 40 {
                alone.meet(id_of(next), &Bitfield::full(8));
                next += 1;
            }
            for said in alone.said() {
                if let PeerMessage::Request { index, count, .. } = said.message {
                    open.push((said.to, index, count));
                } else if let PeerMessage::Cancel { index, count, .. } = said.message
                    && chance.below(2) == 0
                    && let Some(place) = open.iter().position(|one| *one == (said.to, index, count))
                {
                    open.remove(place);
                    alone.hear(said.to, PeerMessage::Reject { file, index, count });
                }
            }
            alone.swarm.audit();
            if !open.is_empty() {
                let (peer, index, count) = open.remove(chance.below(open.len() as u32) as usize);
                match chance.below(16) {
                    0 => alone.hear_wrong(peer, index, count),
                    1 => alone.hear(peer, PeerMessage::Request { file, index: 9_999, count: 1 }),
                    2 => alone.leave(peer),
                    3 => alone.hear(peer, PeerMessage::Reject { file, index, count }),
                    4 => open.push((peer, index, count)),
                    _ => alone.hear_block(peer, index, count),
                }
                alone.swarm.audit();
            }
            if chance.below(6) == 0 {
                alone.swarm.handle_timeout(alone.now);
                alone.wait_for(ms(chance.below(400).into()));
                alone.swarm.audit();
            }
        }
        let honest = id_of(1_000);
        alone.meet(honest, &Bitfield::full(8));
        for _ in 0..3_000 {
            for said in alone.said() {
                if let PeerMessage::Request { index, count, .. } = said.message
                    && said.to == honest
                {
                    alone.hear_block(honest, index, count);
                }
            }
            alone.swarm.audit();
            if alone.swarm.is_complete() {
                break;
            }
            alone.swarm.handle_timeout(alone.now);
            alone.wait_for(ms(100));
        }
        assert!(alone.swarm.is_complete(), "{seed}: {} stored", alone.stored());
    }
}
