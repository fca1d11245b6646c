//! Who is told of new blocks, and when.

use crate::alone::{Alone, blocks};
use peer_wasm::swarm::{Config, Transmit};
use protocol::{Bitfield, HaveRun, PeerId, PeerMessage};
use simulator::id_of;
use std::{collections::VecDeque, time::Duration};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const BLOCKS: u32 = 4_096;

/// What the source takes for its first answers.
const ROUND_TRIP: Duration = ms(100);

/// What the two are told that are told nothing.
const NOTHING: [Vec<u32>; 2] = [Vec::new(), Vec::new()];

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// One that fetches from a source, serves one neighbour, and has no place for another.
struct Scene {
    alone: Alone,
    source: PeerId,
    served: PeerId,
    unserved: PeerId,
    /// What the source was asked.
    open: VecDeque<(u32, u32)>,
    log: Vec<Transmit>,
}

impl Scene {
    /// So many neighbours beside the source have what it has. The line is busy, or nothing is asked for.
    fn new(others: usize, is_busy: bool) -> Self {
        let [source, served, unserved] = [6, 7, 8].map(id_of);
        let config =
            Config { fixed_slots: 1, trial_slots: 0, max_run: crate::BLOCK, upload_budget: 1, ..Config::default() };
        let alone = Alone::new(blocks(0..8, BLOCKS), config);
        let mut scene = Self { alone, source, served, unserved, open: VecDeque::new(), log: Vec::new() };
        let file = scene.alone.swarm.tag();
        let alone = &mut scene.alone;
        for peer in [served, unserved] {
            alone.join(peer);
            alone.hear_bitfield(peer, &Bitfield::empty(BLOCKS), false);
            alone.hear(peer, PeerMessage::Interested { file });
        }
        for number in 0..others {
            alone.join(id_of(100 + number));
            alone.hear_bitfield(id_of(100 + number), &blocks(8..BLOCKS - 1, BLOCKS), false);
        }
        if is_busy {
            // One is being read, and one waits.
            (0..2).for_each(|index| alone.hear(served, PeerMessage::Request { file, index, count: 1 }));
        }
        alone.meet(source, &blocks(8..BLOCKS - 1, BLOCKS));
        scene.wait(ROUND_TRIP);
        scene.log.clear();
        scene
    }

    fn drain(&mut self) {
        for said in self.alone.said() {
            if let PeerMessage::Request { index, count, .. } = said.message {
                self.open.push_back((index, count));
            } else {
                self.log.push(said);
            }
        }
    }

    /// The next block comes that the source was asked.
    fn get(&mut self) -> u32 {
        let (index, count) = self.open.pop_front().unwrap();
        self.alone.hear_block(self.source, index, count);
        self.drain();
        index
    }

    fn wait(&mut self, time: Duration) {
        self.alone.wait_for(time);
        self.drain();
    }

    /// How many messages told a neighbour of which blocks, since it was asked last.
    fn told(&mut self, peer: PeerId) -> (usize, Vec<u32>) {
        let mut messages = 0;
        let mut told = Vec::new();
        self.log.retain(|said| {
            let PeerMessage::Have { blocks, .. } = &said.message else { return true };
            if said.to == peer {
                messages += 1;
                told.extend(blocks.iter().flat_map(|run| run.0..run.0 + run.1));
            }
            said.to != peer
        });
        told.sort_unstable();
        (messages, told)
    }

    fn both(&mut self) -> [Vec<u32>; 2] {
        [self.served, self.unserved].map(|peer| self.told(peer).1)
    }
}

#[test]
fn a_rare_block_is_told_at_once_to_who_is_served_and_later_to_everyone() {
    let mut scene = Scene::new(0, true);
    let first = scene.get();
    assert_eq!(scene.both(), [vec![first], vec![]]);
    let second = scene.get();
    assert_eq!(scene.both(), [vec![second], vec![]]);
    scene.wait(ms(2_000));
    assert_eq!(scene.both(), NOTHING);
    scene.wait(ms(1_000));
    let mut all = vec![first, second];
    all.sort_unstable();
    assert_eq!(scene.both(), [vec![], all]);
}

#[test]
fn blocks_that_are_not_rare_are_told_together_and_soon() {
    let mut scene = Scene::new(1, true);
    let mut all: Vec<_> = (0..5).map(|_| scene.get()).collect();
    all.sort_unstable();
    scene.wait(ms(400));
    assert_eq!(scene.both(), NOTHING);
    scene.wait(ms(200));
    assert_eq!(scene.told(scene.served), (1, all));
    assert_eq!(scene.told(scene.unserved).0, 0);
}

#[test]
fn very_many_new_blocks_are_told_without_waiting_for_more() {
    let mut scene = Scene::new(4, true);
    let blocks = (1..).take_while(|_| {
        scene.get();
        scene.told(scene.served).0 == 0
    });
    let waited = blocks.count();
    assert!((32..128).contains(&waited), "{waited}");
    scene.wait(ms(3_000));
    scene.both();
    scene.get();
    assert_eq!(scene.both(), NOTHING, "of those everyone was told");
}

#[test]
fn after_a_batch_was_told_to_who_is_served_the_next_block_waits_for_as_many_or_for_the_delay() {
    let mut scene = Scene::new(4, true);
    let batch = |scene: &mut Scene| {
        let untold = (1..).take_while(|_| {
            scene.get();
            scene.log.iter().all(|said| !matches!(said.message, PeerMessage::Have { .. }))
        });
        let blocks = untold.count() + 1;
        let (messages, told) = scene.told(scene.served);
        assert_eq!((messages, told.len()), (1, blocks), "each block is told once");
        blocks
    };
    let first = batch(&mut scene);
    assert_eq!(batch(&mut scene), first);
    let next = scene.get();
    scene.wait(ms(499));
    assert_eq!(scene.both(), NOTHING);
    scene.wait(ms(1));
    assert_eq!(scene.both(), [vec![next], vec![]]);
}

#[test]
fn while_nobody_asks_for_anything_everyone_is_told_but_not_of_each_block_by_itself() {
    let mut scene = Scene::new(4, false);
    scene.wait(ms(500));
    let first = scene.get();
    assert_eq!(scene.both(), [vec![first], vec![first]]);
    let mut others = vec![scene.get(), scene.get()];
    assert_eq!(scene.both(), NOTHING, "they were told something just now");
    scene.wait(ms(500));
    others.push(scene.get());
    others.sort_unstable();
    assert_eq!(scene.both(), [others.clone(), others]);
    let last = scene.get();
    assert_eq!(scene.both(), NOTHING);
    scene.wait(ms(3_000));
    assert_eq!(scene.both(), [vec![last], vec![last]], "each block is told once");
}

#[test]
fn who_gets_a_place_is_told_first_what_is_new() {
    let mut scene = Scene::new(4, true);
    let new = scene.get();
    scene.alone.leave(scene.served);
    scene.drain();
    let kinds = scene.log.iter().filter(|said| said.to == scene.unserved).map(|said| &said.message);
    let kinds: Vec<_> = kinds.map(|said| (matches!(said, PeerMessage::Have { .. }), said)).collect();
    assert!(matches!(kinds[..], [(true, _), (false, PeerMessage::Unchoke { .. })]), "{kinds:?}");
    assert_eq!(scene.told(scene.unserved).1, [new]);
}

#[test]
fn everyone_is_told_within_three_seconds_however_many_blocks_come_meanwhile() {
    let mut scene = Scene::new(4, true);
    for _ in 0..6 {
        scene.get();
        scene.wait(ms(500));
    }
    let (messages, told) = scene.told(scene.unserved);
    assert!(messages == 1 && told.len() >= 5, "{told:?}");
}

#[test]
fn when_the_last_block_is_here_everyone_is_told_at_once_of_all() {
    let (source, other) = (id_of(7), id_of(8));
    let config = Config { fixed_slots: 0, trial_slots: 0, ..Config::default() };
    let mut alone = Alone::new(blocks(1..8, 8), config);
    let file = alone.swarm.tag();
    alone.join(other);
    alone.hear_bitfield(other, &blocks(0..4, 8), false);
    alone.meet(source, &Bitfield::full(8));
    alone.said();
    alone.hear_block(source, 0, 1);
    let said = alone.said();
    for peer in [source, other] {
        let have = PeerMessage::Have { file, blocks: vec![HaveRun(0, 8)] };
        assert!(said.iter().any(|said| said.to == peer && said.message == have), "{said:?}");
    }
}
