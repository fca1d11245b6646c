//! Tit-for-tat, seen by one peer: how much a neighbour gets for what it gives, and whose turn it is.

use crate::{
    BLOCK,
    alone::{Alone, blocks},
};
use peer_wasm::swarm::{Config, PeerStrategy};
use protocol::{Bitfield, HaveRun, PeerId, PeerMessage};
use simulator::id_of;
use std::time::Duration;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const ROUND: Duration = Duration::from_secs(2);

/// What may be had on trust, in blocks.
const TRUST: usize = 16;

fn one_place() -> Config {
    places(1)
}

fn places(fixed_slots: usize) -> Config {
    Config { fixed_slots, trial_slots: 0, ..Config::default() }
}

/// One that fetches, and has the first 60 of 64 blocks.
fn fetching(config: Config) -> Alone {
    Alone::new(blocks(0..60, 64), config)
}

/// One that fetches, and has a place for a neighbour beside one that wants something too.
fn fetching_beside(other: PeerId) -> Alone {
    let mut alone = fetching(places(2));
    alone.meet_taker(other, &Bitfield::empty(64));
    alone
}

/// A seed that is not the only one, so that nothing is a first copy.
fn seed(config: Config) -> Alone {
    let mut alone = Alone::new(Bitfield::full(64), config);
    alone.meet(id_of(9), &Bitfield::full(64));
    alone
}

/// A neighbour asks for one block after the other until it gets none, or has as many; tells how many it got.
fn take(alone: &mut Alone, peer: PeerId, most: usize) -> usize {
    let file = alone.swarm.tag();
    let mut next = |index: &usize| {
        alone.hear(peer, PeerMessage::Request { file, index: *index as u32, count: 1 });
        alone.read();
        alone.swarm.handle_sent(BLOCK.into(), alone.now);
        alone.said_to(peer).iter().any(|said| matches!(said, PeerMessage::Block { .. }))
    };
    (0..most).take_while(|index| next(index)).count()
}

fn served(alone: &Alone) -> Vec<PeerId> {
    alone.swarm.neighbours(alone.now).filter(|other| other.served_by_us).map(|other| other.peer).collect()
}

#[test]
fn a_neighbour_gets_what_it_offers_and_four_times_what_it_gave_beyond_some_trust() {
    let (taker, other) = (id_of(7), id_of(8));
    // Which blocks it has, whether it serves, how many it gives, and what that is worth.
    let cases = [(0..0, false, 0, 0), (0..5, true, 0, 5), (0..5, false, 0, 0), (60..61, true, 1, 1 + 4)];
    for (has, serves, gives, worth) in cases {
        let mut alone = fetching_beside(other);
        let file = alone.swarm.tag();
        alone.meet_taker(taker, &blocks(has.clone(), 64));
        if serves {
            alone.hear(taker, PeerMessage::Unchoke { file });
        }
        for (_, index, count) in alone.requests().into_iter().take(gives) {
            alone.hear_block(taker, index, count);
        }
        assert_eq!(take(&mut alone, taker, 60), TRUST + worth, "has {has:?}, serves: {serves}, gives {gives}");
        assert_eq!(served(&alone), [other]);
    }
}

#[test]
fn a_neighbour_that_gives_nothing_gets_a_kilobyte_a_second() {
    let (taker, other) = (id_of(7), id_of(8));
    let mut alone = fetching_beside(other);
    alone.meet_taker(taker, &Bitfield::empty(64));
    assert_eq!(take(&mut alone, taker, 60), TRUST);
    alone.wait_for(Duration::from_secs(3));
    assert_eq!(take(&mut alone, taker, 60), 0, "that is no block yet");
    alone.wait_for(Duration::from_secs(5));
    assert_eq!(take(&mut alone, taker, 60), 2);
}

#[test]
fn a_neighbour_that_gives_nothing_gets_all_if_nobody_else_wants_any() {
    let mut alone = fetching(one_place());
    alone.meet_taker(id_of(7), &Bitfield::empty(64));
    assert_eq!(take(&mut alone, id_of(7), 60), 60);
}

#[test]
fn only_tit_for_tat_asks_for_something_in_return() {
    for peer_strategy in [PeerStrategy::RareBlocks, PeerStrategy::Random] {
        let mut alone = fetching(Config { peer_strategy, ..places(2) });
        alone.meet_taker(id_of(8), &Bitfield::empty(64));
        alone.meet_taker(id_of(7), &Bitfield::empty(64));
        assert_eq!(take(&mut alone, id_of(7), 60), 60, "{peer_strategy:?}");
    }
    let mut alone = seed(one_place());
    alone.meet_taker(id_of(7), &Bitfield::empty(64));
    assert_eq!(take(&mut alone, id_of(7), 60), 60, "whoever needs nothing cannot be paid");
}

#[test]
fn a_round_gives_the_place_to_the_one_that_gave_more_for_what_it_got() {
    let (giver, taker) = (id_of(7), id_of(8));
    for (first, second) in [(giver, taker), (taker, giver)] {
        let mut alone = fetching(one_place());
        alone.meet_taker(first, &blocks(60..62, 64));
        alone.meet_taker(second, &blocks(60..62, 64));
        assert_eq!(served(&alone), [first], "it came first");
        alone.hear(giver, PeerMessage::Unchoke { file: alone.swarm.tag() });
        assert_eq!(alone.requests(), [(giver, 60, 2)]);
        alone.hear_block(giver, 60, 2);
        assert_eq!(take(&mut alone, first, 1), 1);
        alone.wait_for(ROUND);
        assert_eq!(served(&alone), [giver]);
    }
}

#[test]
fn of_two_that_gave_the_same_a_round_gives_the_place_to_the_one_that_took_less() {
    for (taker, modest) in [(id_of(7), id_of(8)), (id_of(8), id_of(7))] {
        let mut alone = fetching(one_place());
        let file = alone.swarm.tag();
        alone.meet_taker(taker, &blocks(60..62, 64));
        alone.meet_taker(modest, &blocks(61..63, 64));
        for giver in [taker, modest] {
            alone.hear(giver, PeerMessage::Unchoke { file });
            let (_, index, _) = alone.requests()[0];
            alone.hear_block(giver, index, 1);
            for (of, index, count) in alone.requests() {
                alone.hear(of, PeerMessage::Reject { file, index, count });
            }
        }
        assert_eq!(take(&mut alone, taker, 3), 3);
        alone.wait_for(ROUND);
        assert_eq!(served(&alone), [modest]);
    }
}

#[test]
fn a_seed_serves_next_who_got_least() {
    let (first, second) = (id_of(7), id_of(8));
    let mut alone = seed(one_place());
    alone.meet_taker(first, &Bitfield::empty(64));
    alone.meet_taker(second, &Bitfield::empty(64));
    assert_eq!(served(&alone), [first]);
    for (took, peer, next) in [(3, first, second), (2, second, second), (2, second, first)] {
        assert_eq!(take(&mut alone, peer, took), took);
        alone.wait_for(ROUND);
        assert_eq!(served(&alone), [next]);
    }
}

#[test]
fn with_rare_blocks_a_place_goes_to_who_has_what_is_wanted_and_rare() {
    let old = id_of(3);
    for (rare, common) in [(id_of(1), id_of(2)), (id_of(2), id_of(1))] {
        let config = Config { peer_strategy: PeerStrategy::RareBlocks, fixed_slots: 1, ..Config::default() };
        let mut alone = fetching(config);
        alone.meet(id_of(4), &blocks(61..62, 64));
        // Nobody else has block 0, but it is here.
        let mut has = blocks(61..62, 64);
        has.set(0);
        // None of them is new. The first gets the fixed place, the second that for trials, and then the oldest that.
        for (peer, has, age) in [(common, has, 10), (rare, blocks(60..61, 64), 9), (old, Bitfield::empty(64), 99)] {
            alone.swarm.handle_peer_joined(peer, Duration::from_secs(age), alone.now);
            alone.meet_taker(peer, &has);
        }
        alone.wait_for(ROUND);
        let mut expected = [rare, old];
        expected.sort_unstable();
        assert_eq!(served(&alone), expected);
    }
}

#[test]
fn the_place_of_who_wants_nothing_or_has_everything_goes_at_once_to_who_waits() {
    let ends: [fn(&mut Alone, PeerId); 3] = [
        |alone, first| alone.hear(first, PeerMessage::NotInterested { file: alone.swarm.tag() }),
        |alone, first| {
            alone.hear(first, PeerMessage::Have { file: alone.swarm.tag(), blocks: vec![HaveRun(0, 64)] });
        },
        |alone, first| alone.hear_bitfield(first, &Bitfield::full(64), false),
    ];
    for end in ends {
        let (first, second) = (id_of(7), id_of(8));
        let mut alone = seed(one_place());
        alone.meet_taker(first, &Bitfield::empty(64));
        alone.meet_taker(second, &Bitfield::empty(64));
        // A newcomer may not have said yet what it wants.
        alone.wait_for(ROUND / 4 * 3);
        assert_eq!(served(&alone), [first]);
        end(&mut alone, first);
        assert_eq!(served(&alone), [second]);
    }
}

#[test]
fn the_place_of_who_has_all_that_is_here_goes_at_once_to_who_waits() {
    let (first, second) = (id_of(7), id_of(8));
    let mut alone = Alone::new(blocks(0..2, 64), one_place());
    let file = alone.swarm.tag();
    alone.meet_taker(first, &Bitfield::empty(64));
    alone.meet_taker(second, &Bitfield::empty(64));
    alone.wait_for(ROUND / 4 * 3);
    alone.hear(first, PeerMessage::Have { file, blocks: vec![HaveRun(9, 8), HaveRun(1, 1)] });
    assert_eq!(served(&alone), [first]);
    alone.hear(first, PeerMessage::Have { file, blocks: vec![HaveRun(0, 1)] });
    assert_eq!(served(&alone), [second]);
}

#[test]
fn the_place_of_a_newcomer_that_turns_out_to_need_nothing_goes_at_once_to_who_waits() {
    let (newcomer, waiting) = (id_of(7), id_of(8));
    let config = one_place();
    let mut alone = fetching(config.clone());
    alone.join(newcomer);
    alone.swarm.handle_peer_joined(waiting, config.choke_round * config.optimistic_rounds, alone.now);
    alone.want(waiting, &Bitfield::empty(64));
    assert_eq!(served(&alone), [newcomer], "it may want something");
    alone.hear_bitfield(newcomer, &blocks(0..60, 64), false);
    assert_eq!(served(&alone), [waiting]);
}

#[test]
fn a_new_block_gives_the_place_of_who_has_it_to_who_wants_it() {
    let (first, second, source) = (id_of(7), id_of(8), id_of(9));
    let mut alone = Alone::new(blocks(0..1, 64), one_place());
    let file = alone.swarm.tag();
    let have = |index| PeerMessage::Have { file, blocks: vec![HaveRun(index, 1)] };
    alone.meet(source, &blocks(0..1, 64));
    [first, second].into_iter().for_each(|peer| alone.meet_taker(peer, &blocks(0..1, 64)));
    alone.wait_for(ROUND + ROUND / 4);
    let holder = served(&alone)[0];
    let waiting = if holder == first { second } else { first };
    alone.hear(holder, have(5));
    assert_eq!(served(&alone), [holder]);
    alone.hear(source, have(5));
    alone.requests().into_iter().for_each(|(of, index, count)| alone.hear_block(of, index, count));
    alone.said();
    assert_eq!((alone.stored(), served(&alone)), (2, vec![waiting]));
}

#[test]
fn who_wants_nothing_any_more_makes_room_as_soon_as_another_wants_something() {
    let (first, second) = (id_of(7), id_of(8));
    let mut alone = seed(one_place());
    let file = alone.swarm.tag();
    alone.meet_taker(first, &Bitfield::empty(64));
    alone.meet_taker(second, &Bitfield::empty(64));
    alone.hear(first, PeerMessage::NotInterested { file });
    assert_eq!(served(&alone), [first], "it may want something again");
    alone.wait_for(ROUND / 2);
    alone.said();
    alone.hear(second, PeerMessage::Interested { file });
    assert_eq!(served(&alone), [second]);
    let said: Vec<_> = alone.said().into_iter().map(|said| (said.to, said.message)).collect();
    assert_eq!(said, [(first, PeerMessage::Choke { file }), (second, PeerMessage::Unchoke { file })]);
}

#[test]
fn one_more_is_served_whenever_nobody_asked_for_twenty_milliseconds() {
    let mut alone = fetching(Config { fixed_slots: 1, ..Config::default() });
    (20..40).for_each(|number| alone.meet_taker(id_of(number), &Bitfield::empty(64)));
    alone.wait_for(ROUND);
    let before = served(&alone).len();
    assert_eq!(before, 2, "newcomers are served beyond the places until the round");
    for more in 0..4 {
        alone.wait_for(Duration::from_millis(19));
        assert_eq!(served(&alone).len(), before + more);
        alone.wait_for(Duration::from_millis(1));
        assert_eq!(served(&alone).len(), before + more + 1);
    }
}

#[test]
fn a_newcomer_is_served_at_once_though_every_place_is_taken_and_one_that_got_something_is_not() {
    for got_something in [false, true] {
        let mut alone = fetching(Config { fixed_slots: 1, ..Config::default() });
        let file = alone.swarm.tag();
        let newcomer = id_of(8);
        if got_something {
            alone.meet_taker(newcomer, &Bitfield::empty(64));
            assert_eq!(take(&mut alone, newcomer, 1), 1);
            alone.hear(newcomer, PeerMessage::NotInterested { file });
        }
        let busy = [id_of(6), id_of(7)];
        busy.into_iter().for_each(|peer| alone.meet_taker(peer, &Bitfield::empty(64)));
        alone.wait_for(ROUND);
        busy.into_iter().for_each(|peer| _ = take(&mut alone, peer, 1));
        assert!(served(&alone).len() == 2 && !served(&alone).contains(&newcomer));
        // Nobody asks, and nobody else wants anything.
        alone.wait_for(Duration::from_millis(100));
        if got_something {
            alone.hear(newcomer, PeerMessage::Interested { file });
        } else {
            alone.meet_taker(newcomer, &Bitfield::empty(64));
        }
        assert_eq!(served(&alone).contains(&newcomer), !got_something);
        alone.wait_for(Duration::from_millis(20));
        assert!(served(&alone).contains(&newcomer), "the line is idle");
    }
}

#[test]
fn who_is_in_the_swarm_for_as_long_as_a_trial_is_no_newcomer() {
    let config = Config { fixed_slots: 1, ..Config::default() };
    let trial = config.choke_round * config.optimistic_rounds;
    for (age, is_new) in [(trial - Duration::from_millis(1), true), (trial, false)] {
        let mut alone = fetching(config.clone());
        let file = alone.swarm.tag();
        let busy = [id_of(6), id_of(7)];
        busy.into_iter().for_each(|peer| alone.meet_taker(peer, &Bitfield::empty(64)));
        alone.wait_for(ROUND);
        busy.into_iter().for_each(|peer| _ = take(&mut alone, peer, 1));
        alone.swarm.handle_peer_joined(id_of(8), age, alone.now);
        assert_eq!(served(&alone).contains(&id_of(8)), is_new);
        alone.hear_bitfield(id_of(8), &Bitfield::empty(64), false);
        alone.hear(id_of(8), PeerMessage::Interested { file });
        assert_eq!(served(&alone).contains(&id_of(8)), is_new);
    }
}

#[test]
fn who_says_that_it_wants_nothing_gets_no_place_that_others_want() {
    let (newcomer, busy) = (id_of(8), [id_of(6), id_of(7)]);
    let mut alone = fetching(Config { fixed_slots: 1, ..Config::default() });
    busy.into_iter().for_each(|peer| alone.meet_taker(peer, &Bitfield::empty(64)));
    alone.join(newcomer);
    alone.hear_bitfield(newcomer, &Bitfield::empty(64), false);
    alone.wait_for(ROUND);
    busy.into_iter().for_each(|peer| _ = take(&mut alone, peer, 1));
    for _ in 0..2 {
        assert!(served(&alone).len() == 2 && !served(&alone).contains(&newcomer));
        alone.hear(newcomer, PeerMessage::NotInterested { file: alone.swarm.tag() });
    }
}
