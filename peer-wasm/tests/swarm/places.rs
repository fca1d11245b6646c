//! Who gets a place where places are few, and what those are told who lose theirs.

use crate::{
    BLOCK,
    alone::{Alone, blocks},
    lab::{Lab, lab},
    stranger::{HONEST, Habits},
};
use peer_wasm::swarm::{Config, Event, Violation};
use protocol::{Bitfield, PeerId, PeerMessage};
use simulator::{File, id_of};
use std::time::Duration;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn small_lab(max_neighbours: usize) -> Lab {
    let mut lab = lab(File::new(40 * u64::from(BLOCK), BLOCK));
    lab.config = Config { max_neighbours, ..Config::default() };
    lab
}

#[test]
fn a_seed_is_let_in_by_a_house_full_of_peers_in_the_same_need() {
    let mut lab = small_lab(8);
    (0..12).for_each(|_| _ = lab.leecher());
    lab.settle_for(secs(30));
    lab.seed();
    lab.run_until_complete();
    assert!(lab.elapsed() < secs(90), "{:?}", lab.elapsed());
}

#[test]
fn a_seed_is_let_in_by_a_house_full_of_peers_that_claim_everything_and_never_unchoke() {
    let mut lab = small_lab(8);
    let me = lab.leecher();
    (0..8).for_each(|_| _ = lab.client(Bitfield::full(40), Habits { serves: false, ..HONEST }));
    lab.settle_for(secs(30));
    assert_eq!(lab.network.node(me).unwrap().swarm.stored().count(), 0);
    lab.seed();
    lab.run_until_complete();
    assert!(lab.elapsed() < secs(60), "{:?}", lab.elapsed());
}

#[test]
fn a_seed_is_let_in_by_a_house_full_of_peers_that_never_introduced_themselves() {
    let mut lab = small_lab(8);
    let me = lab.leecher();
    for other in 1_000..1_008 {
        lab.network.with(me, |swarm, now| swarm.handle_peer_joined(id_of(other), Duration::ZERO, now));
    }
    lab.seed();
    lab.run_until_complete();
    assert!(lab.elapsed() < secs(15), "{:?}", lab.elapsed());
}

#[test]
fn a_seed_that_comes_back_under_a_new_id_is_let_in_by_many_that_ask_the_tracker() {
    for part in [0, 20] {
        let mut lab = lab(File::new(200 * u64::from(BLOCK), BLOCK));
        lab.config = Config { max_neighbours: 10, ..Config::default() };
        lab.introductions = Some(5);
        lab.uplink = 200_000;
        let seed = lab.add(Bitfield::full(200));
        lab.uplink = 2_000_000;
        for _ in 0..30 {
            let peer = lab.add(Bitfield::empty(200));
            lab.network.ask_for_peers(peer, 5);
        }
        let size = u64::from(200 * BLOCK);
        lab.run_until(|lab| lab.network.node(seed).unwrap().record.sent * 100 >= size * part);
        lab.network.remove(seed, Duration::ZERO);
        lab.settle_for(secs(60));
        lab.add(Bitfield::full(200));
        lab.run_until_complete();
        assert!(lab.elapsed() < secs(300), "left after {part} %: {:?}", lab.elapsed());
    }
}

#[test]
fn who_says_nothing_makes_room_after_ten_seconds_also_for_one_that_has_nothing() {
    let (silent, other) = (id_of(7), id_of(8));
    let mut alone = Alone::new(Bitfield::empty(64), Config { max_neighbours: 1, ..Config::default() });
    alone.join(silent);
    alone.join(other);
    alone.wait_for(secs(9));
    assert!(alone.swarm.is_neighbour(silent), "its words may be on their way");
    alone.wait_for(secs(11));
    assert!(alone.swarm.is_neighbour(other));
}

/// One with a place for one neighbour, which has block 0 and never served in twenty seconds, but has requests that wait.
fn with_a_useless_neighbour(useless: PeerId) -> Alone {
    let mut alone = Alone::new(blocks(1..60, 64), Config { max_neighbours: 1, ..Config::default() });
    let file = alone.swarm.tag();
    alone.join(useless);
    alone.hear_bitfield(useless, &blocks(0..1, 64), false);
    alone.hear(useless, PeerMessage::Interested { file });
    alone.wait_for(secs(25));
    (1..60).for_each(|index| alone.hear(useless, PeerMessage::Request { file, index, count: 1 }));
    assert!(!alone.said_to(useless).contains(&PeerMessage::Reject { file, index: 59, count: 1 }));
    alone
}

#[test]
fn a_neighbour_that_has_to_make_room_is_told_and_comes_back_when_there_is_a_place() {
    let (useless, giver) = (id_of(7), id_of(8));
    let mut alone = with_a_useless_neighbour(useless);
    let file = alone.swarm.tag();
    alone.join(giver);
    alone.hear_bitfield(giver, &Bitfield::full(64), false);
    assert!(alone.swarm.is_neighbour(giver) && !alone.swarm.is_neighbour(useless));
    let told = alone.said_to(useless);
    for message in [
        PeerMessage::Choke { file },
        PeerMessage::NotInterested { file },
        PeerMessage::Reject { file, index: 59, count: 1 },
    ] {
        assert!(told.contains(&message), "{message:?} is not among {told:?}");
    }
    assert!(!told.contains(&PeerMessage::Reject { file, index: 1, count: 1 }), "what is being read is sent");
    alone.leave(giver);
    assert!(alone.swarm.is_neighbour(useless));
    let told = alone.said_to(useless);
    let begins_with_a_bitfield = matches!(told[0], PeerMessage::Bitfield { begin: false, .. });
    assert!(begins_with_a_bitfield && told.contains(&PeerMessage::Unchoke { file }), "{told:?}");
    assert!(told.contains(&PeerMessage::Interested { file }), "what it said before is known: {told:?}");
}

#[test]
fn what_a_peer_says_that_had_to_make_room_is_known_when_it_comes_back() {
    let (useless, giver) = (id_of(7), id_of(8));
    let mut alone = with_a_useless_neighbour(useless);
    let file = alone.swarm.tag();
    alone.join(giver);
    alone.hear_bitfield(giver, &Bitfield::full(64), false);
    alone.hear(useless, PeerMessage::Unchoke { file });
    alone.said();
    alone.leave(giver);
    assert_eq!(alone.requests(), [(useless, 0, 1)]);
}

#[test]
fn a_peer_that_had_to_make_room_comes_back_in_place_of_one_that_is_no_better() {
    let (useless, claimer) = (id_of(7), id_of(8));
    let mut alone = with_a_useless_neighbour(useless);
    alone.join(claimer);
    alone.hear_bitfield(claimer, &Bitfield::full(64), false);
    alone.wait_for(secs(15));
    assert!(alone.swarm.is_neighbour(claimer), "it has some time to show that it serves");
    alone.wait_for(secs(15));
    assert!(alone.swarm.is_neighbour(useless));
}

#[test]
fn a_peer_that_had_to_make_room_and_serves_now_comes_back_as_soon_as_that_helps() {
    let (useless, other) = (id_of(7), id_of(8));
    let mut alone = with_a_useless_neighbour(useless);
    let file = alone.swarm.tag();
    alone.join(other);
    alone.hear_bitfield(other, &blocks(0..1, 64), false);
    assert!(alone.swarm.is_neighbour(other) && !alone.swarm.is_neighbour(useless));
    alone.hear_bitfield(other, &Bitfield::empty(64), false);
    alone.hear_bitfield(useless, &blocks(0..1, 64), false);
    assert!(alone.swarm.is_neighbour(other));
    alone.hear(useless, PeerMessage::Unchoke { file });
    assert_eq!(alone.requests(), [(useless, 0, 1)]);
}

#[test]
fn seeds_do_not_take_turns_in_the_last_place_of_a_seed() {
    let (first, second) = (id_of(7), id_of(8));
    let mut alone = Alone::new(Bitfield::full(64), Config { max_neighbours: 1, ..Config::default() });
    alone.meet(first, &Bitfield::full(64));
    alone.join(second);
    assert!(alone.swarm.is_neighbour(second), "it may need something");
    alone.hear_bitfield(second, &Bitfield::full(64), false);
    alone.said();
    alone.wait_for(secs(300));
    assert!(alone.swarm.is_neighbour(second) && alone.said().is_empty());
}

#[test]
fn a_seed_lets_in_who_needs_it_in_place_of_those_that_want_nothing_or_do_not_ask() {
    let needs_nothing = |lab: &mut Lab, seed| {
        (1_000..1_008).for_each(|other| {
            lab.pretend_to_join(seed, other);
            let not_interested = PeerMessage::NotInterested { file: lab.network.file().manifest.file().tag() };
            lab.network.with(seed, |swarm, now| swarm.handle_message(id_of(other), not_interested, now));
        });
    };
    let does_not_ask = |lab: &mut Lab, seed| (1_000..1_008).for_each(|other| lab.pretend_to_join(seed, other));
    for occupy in [&needs_nothing as &dyn Fn(&mut Lab, usize), &does_not_ask] {
        let mut lab = small_lab(8);
        let seed = lab.seed();
        occupy(&mut lab, seed);
        (1_000..1_008).for_each(|other| {
            let (file, blocks) = (lab.network.file().manifest.file().tag(), Bitfield::empty(40).to_bytes());
            let bitfield = PeerMessage::Bitfield { file, blocks, begin: false };
            lab.network.with(seed, |swarm, now| swarm.handle_message(id_of(other), bitfield, now));
        });
        lab.leecher();
        lab.run_until_complete();
        assert!(lab.elapsed() < secs(60), "{:?}", lab.elapsed());
    }
}

#[test]
fn who_is_sent_what_it_asked_for_long_ago_uses_its_place() {
    let (patient, newcomer) = (id_of(7), id_of(8));
    let mut alone = Alone::new(Bitfield::full(64), Config { max_neighbours: 1, ..Config::default() });
    let file = alone.swarm.tag();
    alone.join(patient);
    alone.hear_bitfield(patient, &Bitfield::empty(64), false);
    alone.hear(patient, PeerMessage::Interested { file });
    alone.wait_for(secs(1));
    for index in 0..6 {
        alone.hear(patient, PeerMessage::Request { file, index, count: 1 });
        alone.said();
        alone.wait_for(secs(2));
        alone.read();
        alone.wait_for(secs(2));
    }
    alone.join(newcomer);
    assert!(alone.swarm.is_neighbour(patient));
}

#[test]
fn whatever_a_stranger_says_introduces_it_answers_aside() {
    let file = Alone::new(Bitfield::empty(8), Config::default()).swarm.tag();
    let data = bytes::Bytes::from(vec![0; BLOCK as usize]);
    let introductions = [
        PeerMessage::Bitfield { file, blocks: Bitfield::empty(8).to_bytes(), begin: false },
        PeerMessage::Have { file, blocks: vec![protocol::HaveRun(0, 1)] },
        PeerMessage::Interested { file },
        PeerMessage::NotInterested { file },
        PeerMessage::Choke { file },
        PeerMessage::Unchoke { file },
        PeerMessage::Request { file, index: 0, count: 1 },
        PeerMessage::Cancel { file, index: 0, count: 1 },
    ];
    let answers =
        [PeerMessage::Block { file, index: 0, count: 1, data }, PeerMessage::Reject { file, index: 0, count: 1 }];
    let messages = introductions.map(|message| (message, true)).into_iter();
    for (message, introduces) in messages.chain(answers.map(|message| (message, false))) {
        let mut alone = Alone::new(Bitfield::empty(8), Config::default());
        alone.hear(id_of(7), message.clone());
        assert_eq!(alone.swarm.is_neighbour(id_of(7)), introduces, "{message:?}");
        let told = alone.said_to(id_of(7));
        let is_asked = |begins: bool| {
            told.iter().any(|told| matches!(told, PeerMessage::Bitfield { begin, .. } if *begin == begins))
        };
        let is_bitfield = matches!(message, PeerMessage::Bitfield { .. });
        assert_eq!(is_asked(true), introduces && !is_bitfield, "{message:?}: it is asked to begin anew");
        assert_eq!(is_asked(false), is_bitfield, "{message:?}: who began knows what to do");
        let rejected = told.contains(&PeerMessage::Reject { file, index: 0, count: 1 });
        assert_eq!(rejected, matches!(message, PeerMessage::Request { .. }), "{message:?}");
    }
}

#[test]
fn two_of_whom_one_was_never_told_of_the_other_exchange_what_they_have() {
    let mut lab = small_lab(60);
    let seed = lab.add(Bitfield::full(40));
    let other = lab.add(Bitfield::empty(40));
    lab.network.with(other, |swarm, now| swarm.handle_peer_joined(id_of(seed), Duration::ZERO, now));
    lab.run_until_complete();
    assert!(lab.elapsed() < secs(2), "{:?}", lab.elapsed());
}

#[test]
fn what_a_peer_owed_when_it_left_may_come_when_it_is_back_within_a_minute() {
    for (away, is_dropped) in [(secs(1), false), (secs(59), false), (secs(61), true)] {
        let seed = id_of(7);
        let mut alone = Alone::with_seed(64, seed);
        let (_, index, count) = alone.requests()[0];
        alone.leave(seed);
        alone.wait_for(away);
        alone.join(seed);
        alone.hear_block(seed, index, count);
        let dropped = Event::Dropped { peer: seed, violation: Violation::Unrequested };
        assert_eq!(alone.events().contains(&dropped), is_dropped, "after {away:?}");
    }
}

#[test]
fn a_peer_that_was_dropped_may_come_back_after_ten_minutes() {
    let liar = id_of(7);
    let mut alone = Alone::with_seed(8, liar);
    alone.hear_bitfield(liar, &Bitfield::empty(999), false);
    assert!(alone.swarm.is_banned(liar));
    alone.wait_for(secs(590));
    alone.join(liar);
    assert!(!alone.swarm.is_neighbour(liar));
    alone.wait_for(secs(10));
    alone.join(liar);
    assert!(alone.swarm.is_neighbour(liar));
}

#[test]
fn what_a_neighbour_refused_is_not_forgotten_when_it_has_to_make_room() {
    let (seed, claimer) = (id_of(7), id_of(8));
    let mut alone = Alone::new(blocks(1..64, 64), Config { max_neighbours: 1, ..Config::default() });
    let file = alone.swarm.tag();
    alone.meet(seed, &Bitfield::full(64));
    assert_eq!(alone.requests(), [(seed, 0, 1)]);
    alone.hear(seed, PeerMessage::Reject { file, index: 0, count: 1 });
    alone.join(claimer);
    alone.hear_bitfield(claimer, &Bitfield::full(64), false);
    assert!(!alone.swarm.is_neighbour(seed));
    alone.wait_for(secs(120));
    assert!(alone.requests().contains(&(seed, 0, 1)), "it is never asked again");
}
