//! Nobody gets more than others by keeping quiet, claiming, or coming back.

use crate::{
    BLOCK,
    alone::{Alone, blocks},
    lab::{Lab, lab},
};
use peer_wasm::swarm::Config;
use protocol::{Bitfield, HaveRun, PeerId, PeerMessage};
use simulator::{Behaviour, File, Network, id_of};
use std::{collections::BTreeMap, time::Duration};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const A_SECOND: Duration = Duration::from_secs(1);

/// Two seeds, of which one serves nobody, so that nothing is a first copy.
fn with_a_busy_seed(blocks: u32, chance: u64) -> Lab {
    let file = File::new(u64::from(blocks * BLOCK), BLOCK);
    let mut lab = lab(file.clone());
    lab.network = Network::new(file, chance);
    lab.config = Config { fixed_slots: 0, trial_slots: 0, ..Config::default() };
    let idle = lab.seed();
    lab.config = Config::default();
    lab.uplink = 200_000;
    let seed = lab.add(Bitfield::full(blocks));
    lab.network.introduce(idle, seed);
    lab.uplink = 2_000_000;
    lab
}

const SEED: usize = 1;

fn got_from(lab: &Lab, giver: usize, taker: usize) -> u64 {
    lab.network.node(taker).unwrap().record.received_from.get(&giver).copied().unwrap_or(0)
}

/// What each of eight got of a slow seed in a minute, of whom one tells nobody what it has, or none.
fn shares(quiet: Option<usize>, chance: u64) -> Vec<u64> {
    let mut lab = with_a_busy_seed(8_000, chance);
    let fetching: Vec<_> = (0..8).map(|_| lab.add(Bitfield::empty(8_000))).collect();
    if let Some(quiet) = quiet {
        lab.network.node_mut(fetching[quiet]).unwrap().behaviour = Behaviour::Quiet;
    }
    fetching.iter().for_each(|&peer| lab.network.introduce(SEED, peer));
    lab.settle_for(A_SECOND * 60);
    fetching.iter().map(|&peer| got_from(&lab, SEED, peer)).collect()
}

#[test]
fn a_slow_seed_gives_everyone_the_same() {
    for chance in 1..=8 {
        let shares = shares(None, chance);
        let least = *shares.iter().min().unwrap();
        assert!(shares.iter().all(|share| *share < least * 2), "{shares:?}");
    }
}

#[test]
fn who_asks_for_common_blocks_is_served_after_each_of_the_others_got_four_times_as_much() {
    for (others, asked) in [(1, 1), (2, 1), (3, 1), (2, 3)] {
        let common = id_of(7);
        let rare: Vec<_> = (20..20 + others).map(id_of).collect();
        let mut alone = Alone::new(blocks(0..511, 512), Config { upload_budget: 1, ..Config::default() });
        let file = alone.swarm.tag();
        // More have the blocks that one of the others asks for.
        (10..12).for_each(|peer| alone.meet(id_of(peer), &blocks(0..asked, 512)));
        // One has a place and asks for nothing.
        for peer in rare.iter().chain([&common, &id_of(8)]) {
            alone.meet(*peer, &Bitfield::empty(512));
            alone.hear(*peer, PeerMessage::Interested { file });
        }
        let mut indices = asked..511;
        for &peer in rare.iter().cycle().take(16 * others) {
            alone.hear(peer, PeerMessage::Request { file, index: indices.next().unwrap(), count: 1 });
        }
        alone.hear(common, PeerMessage::Request { file, index: 0, count: asked });
        let mut turns = 0;
        loop {
            alone.read();
            let mut served = alone.said();
            served.retain(|said| matches!(said.message, PeerMessage::Block { .. }));
            if served.iter().any(|said| said.to == common) {
                break;
            }
            turns += served.len();
            assert!(turns < 99, "{turns} turns for {others} others");
            let asking = rare[turns % others];
            alone.hear(asking, PeerMessage::Request { file, index: indices.next().unwrap(), count: 1 });
        }
        assert_eq!(turns, 4 * others * asked as usize + 1, "one was being served already");
    }
}

#[test]
fn who_has_all_takes_blocks_for_equally_rare_that_have_about_as_many_copies() {
    // Whether it has all, copies of two blocks, and whether the first goes first though its receiver has more.
    for (has_all, copies, is_rarer) in [
        (true, [4, 5], false),
        (true, [3, 4], false),
        (true, [2, 3], true),
        (false, [4, 5], true),
        (false, [4, 4], false),
    ] {
        let (much, little) = (id_of(7), id_of(8));
        let has = if has_all { Bitfield::full(64) } else { blocks(0..63, 64) };
        let mut alone = Alone::new(has, Config { upload_budget: 1, ..Config::default() });
        let file = alone.swarm.tag();
        alone.meet(id_of(9), &if has_all { Bitfield::full(64) } else { Bitfield::empty(64) });
        let seeds = usize::from(has_all);
        for (block, copies) in (0..).zip(copies) {
            (seeds..copies).for_each(|peer| {
                alone.meet(id_of(20 + block * 20 + peer), &blocks(block as u32..block as u32 + 1, 64))
            });
        }
        for (peer, has) in [(much, 50..60), (little, 50..51)] {
            alone.meet(peer, &blocks(has, 64));
            alone.hear(peer, PeerMessage::Interested { file });
        }
        for (peer, index) in [(much, 2), (little, 1), (much, 0)] {
            alone.hear(peer, PeerMessage::Request { file, index, count: 1 });
        }
        alone.read();
        alone.said();
        alone.read();
        let sent = alone.said();
        let to: Vec<_> =
            sent.iter().filter(|said| matches!(said.message, PeerMessage::Block { .. })).map(|said| said.to).collect();
        assert_eq!(to, [if is_rarer { much } else { little }], "{copies:?}, has all: {has_all}");
    }
}

/// A seed with one place, which another seed keeps from giving first copies.
fn with_one_place(config: Config) -> Alone {
    let mut alone = Alone::new(Bitfield::full(64), config);
    alone.meet(id_of(9), &Bitfield::full(64));
    alone
}

fn served(alone: &Alone) -> Vec<PeerId> {
    let served = alone.swarm.neighbours(alone.now).filter(|other| other.served_by_us);
    served.map(|other| other.peer).collect()
}

/// Whoever has the place asks for this block, and gets it.
fn take_turn(alone: &mut Alone, index: u32) -> PeerId {
    let taker = served(alone)[0];
    alone.hear(taker, PeerMessage::Request { file: alone.swarm.tag(), index, count: 1 });
    alone.read();
    alone.wait_for(A_SECOND * 2);
    taker
}

#[test]
fn who_did_not_use_its_place_gets_one_again_when_it_says_that_it_wants_something() {
    let (idle, busy) = (id_of(7), id_of(8));
    let mut alone = with_one_place(Config { fixed_slots: 1, trial_slots: 0, ..Config::default() });
    for (peer, time) in [(idle, A_SECOND * 5), (busy, A_SECOND * 2)] {
        alone.join(peer);
        alone.want(peer, &Bitfield::empty(64));
        alone.wait_for(time);
    }
    assert!((0..8).all(|index| take_turn(&mut alone, index) == busy));
    alone.want(idle, &Bitfield::empty(64));
    take_turn(&mut alone, 8);
    assert_eq!(served(&alone), [idle]);
}

#[test]
fn who_found_nothing_to_ask_for_gets_its_turn_when_there_is_something() {
    let (content, busy, source) = (id_of(7), id_of(8), id_of(9));
    let mut alone = Alone::new(blocks(0..8, 64), Config { fixed_slots: 1, trial_slots: 0, ..Config::default() });
    alone.meet_taker(content, &blocks(0..8, 64));
    alone.wait_for(A_SECOND * 9);
    assert_eq!(served(&alone), [content], "nobody else wants the place");
    alone.meet_taker(busy, &Bitfield::empty(64));
    alone.meet(source, &blocks(0..9, 64));
    alone.requests().into_iter().for_each(|(of, index, count)| alone.hear_block(of, index, count));
    alone.said();
    assert_eq!(alone.stored(), 9);
    assert!((0..6).any(|index| take_turn(&mut alone, index) == content));
}

#[test]
fn a_newcomer_takes_its_turn_among_those_who_got_much_already() {
    let (early, newcomer) = ([id_of(6), id_of(7)], id_of(8));
    let mut alone = with_one_place(Config { fixed_slots: 1, trial_slots: 0, ..Config::default() });
    for peer in early {
        alone.join(peer);
        alone.want(peer, &Bitfield::empty(64));
    }
    alone.wait_for(A_SECOND * 2);
    (0..20).for_each(|index| _ = take_turn(&mut alone, index));
    alone.join(newcomer);
    alone.want(newcomer, &Bitfield::empty(64));
    let turns = (20..32).filter(|index| take_turn(&mut alone, *index) == newcomer).count();
    assert!((3..=5).contains(&turns), "{turns} of 12 turns for one of three");
}

#[test]
fn of_two_of_whom_nothing_else_is_known_the_one_that_is_longer_in_the_swarm_is_tried_first() {
    let (young, old) = (id_of(7), id_of(8));
    let config = Config { fixed_slots: 0, trial_slots: 1, optimistic_rounds: 1, ..Config::default() };
    let mut alone = Alone::new(blocks(0..60, 64), config);
    let file = alone.swarm.tag();
    for (peer, age) in [(young, A_SECOND), (old, A_SECOND * 60)] {
        alone.swarm.handle_peer_joined(peer, age, alone.now);
        alone.want(peer, &Bitfield::empty(64));
    }
    for index in 0..10 {
        alone.wait_for(A_SECOND * 2);
        assert_eq!(served(&alone), [old]);
        alone.hear(old, PeerMessage::Request { file, index, count: 1 });
    }
}

#[test]
fn who_serves_and_tells_of_nothing_gets_no_more_for_that() {
    let got = |tells: bool| {
        let taker = id_of(7);
        let mut alone = Alone::new(blocks(0..64, 128), Config::default());
        let file = alone.swarm.tag();
        alone.meet(taker, &Bitfield::empty(128));
        alone.hear(taker, PeerMessage::Interested { file });
        // Somebody else wants something too, or there would be no reason to be strict.
        alone.meet(id_of(8), &Bitfield::empty(128));
        alone.hear(id_of(8), PeerMessage::Interested { file });
        let mut sent = 0;
        for index in 0..64 {
            alone.hear(taker, PeerMessage::Request { file, index, count: 1 });
            alone.read();
            let is_block = |message: &PeerMessage| matches!(message, PeerMessage::Block { .. });
            sent += alone.said_to(taker).iter().filter(|message| is_block(message)).count();
            if tells {
                alone.hear(taker, PeerMessage::Have { file, blocks: vec![HaveRun(index, 1)] });
            }
        }
        sent
    };
    assert_eq!(got(true), 64);
    assert!(got(false) <= 17, "{} blocks", got(false));
}

#[test]
fn who_does_not_tell_what_it_has_is_not_served_before_those_who_do() {
    for quiet in [0, 3, 7] {
        let shares = shares(Some(quiet), 1);
        let others = (shares.iter().sum::<u64>() - shares[quiet]) / 7;
        assert!(shares[quiet] < others * 3 / 2, "{} bytes, the others {others}", shares[quiet]);
    }
}

/// What came from each giver to the taker under all its ids, and to the honest on average.
fn shares_of_one_that_comes_back(every: Duration, know_each_other: bool) -> (BTreeMap<usize, u64>, Vec<usize>, Lab) {
    let mut lab = with_a_busy_seed(8_000, 1);
    let honest: Vec<_> = (0..8).map(|_| lab.add(Bitfield::empty(8_000))).collect();
    for (place, &peer) in honest.iter().enumerate() {
        lab.network.introduce(SEED, peer);
        if know_each_other {
            honest[..place].iter().for_each(|&other| lab.network.introduce(peer, other));
        }
    }
    lab.settle_for(A_SECOND * 5);
    lab.config = Config { fixed_slots: 0, trial_slots: 0, ..Config::default() };
    let mut taker = lab.add(Bitfield::empty(8_000));
    let mut taken = BTreeMap::<usize, u64>::new();
    let until = lab.network.now() + A_SECOND * 60;
    while lab.network.now() < until {
        lab.network.introduce(SEED, taker);
        if know_each_other {
            honest.iter().for_each(|&peer| lab.network.introduce(taker, peer));
        }
        lab.settle_for(every);
        for (&giver, bytes) in &lab.network.node(taker).unwrap().record.received_from {
            *taken.entry(giver).or_default() += bytes;
        }
        taker = lab.come_back_as_another(taker);
    }
    (taken, honest, lab)
}

#[test]
fn a_taker_that_comes_back_under_a_new_id_gets_no_more_of_a_seed_than_twice_its_share() {
    for every in [A_SECOND / 4, A_SECOND, A_SECOND * 3] {
        let (taken, honest, lab) = shares_of_one_that_comes_back(every, false);
        let share = honest.iter().map(|&peer| got_from(&lab, SEED, peer)).sum::<u64>() / honest.len() as u64;
        let taken = taken.get(&SEED).copied().unwrap_or(0);
        assert!(taken < share * 2, "{taken} bytes, the honest {share}");
    }
}

#[test]
fn a_taker_that_comes_back_under_a_new_id_gets_no_more_of_those_who_fetch_than_twice_theirs() {
    let (taken, honest, lab) = shares_of_one_that_comes_back(A_SECOND, true);
    let all = |taker: usize| lab.network.node(taker).unwrap().record.received_from.values().sum::<u64>();
    let share = honest.iter().map(|&peer| all(peer)).sum::<u64>() / honest.len() as u64;
    let taken: u64 = taken.values().sum();
    assert!(taken < share * 2, "{taken} bytes, the honest {share}");
}
