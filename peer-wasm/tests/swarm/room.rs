//! Who makes room for whom, and how many of those that find none are remembered.

use crate::alone::{Alone, blocks};
use bytes::Bytes;
use peer_wasm::swarm::{Config, Event, Violation};
use protocol::{Bitfield, HaveRun, PeerId, PeerMessage};
use simulator::id_of;
use std::time::Duration;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// What may be remembered of those that wait, and of those that are gone.
const MAX_WAITING: usize = 256;
const MAX_REMEMBERED: usize = 1_024;

/// What a neighbour does in each second.
type Conduct = fn(&mut Alone, PeerId, u64);

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One that has these of 64 blocks, and a place for one neighbour.
fn with_one_place(have: &Bitfield) -> Alone {
    Alone::new(have.clone(), Config { max_neighbours: 1, ..Config::default() })
}

/// Whether the only neighbour makes room after so many seconds for one that has these blocks.
fn makes_room(have: &Bitfield, conduct: Conduct, for_one_with: &Bitfield, after: u64) -> bool {
    let (neighbour, newcomer) = (id_of(7), id_of(8));
    let mut alone = with_one_place(have);
    alone.join(neighbour);
    for second in 0..after {
        conduct(&mut alone, neighbour, second);
        alone.wait_for(secs(1));
    }
    conduct(&mut alone, neighbour, after);
    alone.join(newcomer);
    alone.hear_bitfield(newcomer, for_one_with, false);
    alone.swarm.is_neighbour(newcomer)
}

/// Asks for one of the first sixty blocks, and gets it.
fn take(alone: &mut Alone, peer: PeerId, index: u32) {
    alone.hear(peer, PeerMessage::Request { file: alone.swarm.tag(), index, count: 1 });
    alone.read();
}

#[test]
fn at_one_that_fetches_a_neighbour_makes_room_that_gives_nothing_or_only_takes() {
    let most = blocks(1..64, 64);
    let has_nothing_new: Conduct = |alone, peer, second| {
        if second == 0 {
            alone.hear_bitfield(peer, &blocks(5..64, 64), false);
        }
    };
    let never_serves: Conduct = |alone, peer, second| {
        if second == 0 {
            alone.hear_bitfield(peer, &blocks(0..1, 64), false);
        }
    };
    // It says each time that it has the block after all.
    let only_refuses: Conduct = |alone, peer, second| {
        let file = alone.swarm.tag();
        if second == 0 {
            alone.meet(peer, &Bitfield::full(64));
        }
        for (_, index, count) in alone.requests() {
            alone.hear(peer, PeerMessage::Reject { file, index, count });
        }
        alone.hear(peer, PeerMessage::Have { file, blocks: vec![HaveRun(0, 1)] });
    };
    let only_takes: Conduct = |alone, peer, second| {
        if second == 0 {
            alone.want(peer, &Bitfield::empty(64));
            (1..40).for_each(|index| take(alone, peer, index));
        }
    };
    let (newcomer, giver) = (Bitfield::empty(64), Bitfield::full(64));
    for (kind, conduct, room_for, after) in [
        ("has nothing new", has_nothing_new, &giver, 0),
        ("never serves", never_serves, &giver, 20),
        ("only refuses", only_refuses, &giver, 20),
        ("only takes", only_takes, &newcomer, 20),
    ] {
        assert!(makes_room(&most, conduct, room_for, after), "{kind}");
        assert!(after == 0 || !makes_room(&most, conduct, room_for, after - 1), "{kind}, and that for long");
    }
}

#[test]
fn at_one_that_fetches_nobody_makes_room_that_gives_or_takes_little() {
    let some = blocks(4..64, 64);
    let gave_and_chokes: Conduct = |alone, peer, second| {
        if second == 0 {
            let mut two = blocks(0..1, 64);
            two.set(2);
            alone.meet(peer, &two);
            let requests = alone.requests();
            let file = alone.swarm.tag();
            alone.hear(peer, PeerMessage::Choke { file });
            alone.hear_block(peer, requests[0].1, requests[0].2);
            alone.hear(peer, PeerMessage::Reject { file, index: requests[1].1, count: requests[1].2 });
        }
    };
    let gives_for_what_it_takes: Conduct = |alone, peer, second| {
        if second == 0 {
            alone.want(peer, &blocks(0..3, 64));
            alone.hear(peer, PeerMessage::Unchoke { file: alone.swarm.tag() });
            while let Some((_, index, count)) = alone.requests().pop() {
                alone.hear_block(peer, index, count);
            }
            (4..34).for_each(|index| take(alone, peer, index));
        }
    };
    let takes_little: Conduct = |alone, peer, second| {
        if second == 0 {
            alone.want(peer, &Bitfield::empty(64));
            (4..20).for_each(|index| take(alone, peer, index));
        }
    };
    assert!(!makes_room(&some, gave_and_chokes, &Bitfield::full(64), 25));
    for conduct in [gives_for_what_it_takes, takes_little] {
        assert!(!makes_room(&some, conduct, &Bitfield::empty(64), 25));
    }
}

#[test]
fn at_a_seed_a_neighbour_makes_room_that_needs_nothing_or_does_not_ask() {
    let (seed, newcomer) = (Bitfield::full(64), Bitfield::empty(64));
    let needs_nothing: Conduct = |alone, peer, _| alone.hear_bitfield(peer, &Bitfield::full(64), false);
    let wants_nothing: Conduct = |alone, peer, _| alone.hear_bitfield(peer, &Bitfield::empty(64), false);
    let never_asks: Conduct = |alone, peer, second| {
        if second == 0 {
            alone.want(peer, &Bitfield::empty(64));
        }
    };
    let says_nothing: Conduct = |_, _, _| {};
    for (kind, conduct, after) in [
        ("needs nothing", needs_nothing, 0),
        ("wants nothing", wants_nothing, 10),
        ("says nothing", says_nothing, 10),
        ("never asks", never_asks, 20),
    ] {
        assert!(makes_room(&seed, conduct, &newcomer, after), "{kind}");
        assert!(after == 0 || !makes_room(&seed, conduct, &newcomer, after - 1), "{kind}, and that for long");
    }
    let asks: Conduct = |alone, peer, second| {
        if second == 0 {
            alone.want(peer, &Bitfield::empty(64));
        }
        take(alone, peer, second as u32);
    };
    for after in [12, 30] {
        assert!(!makes_room(&seed, asks, &newcomer, after), "it asks for {after} seconds");
    }
}

#[test]
fn a_neighbour_is_not_asked_to_begin_that_the_tracker_introduced_whatever_it_said_while_it_waited() {
    let (neighbour, other) = (id_of(7), id_of(8));
    for is_introduced in [true, false] {
        let mut alone = with_one_place(&Bitfield::empty(64));
        alone.join(neighbour);
        if is_introduced {
            alone.join(other);
        }
        alone.hear(other, PeerMessage::Interested { file: alone.swarm.tag() });
        assert!(!alone.swarm.is_neighbour(other));
        alone.said();
        alone.leave(neighbour);
        let said = alone.said_to(other);
        let asks = |said: &PeerMessage| matches!(said, PeerMessage::Bitfield { begin: true, .. });
        assert_eq!(said.iter().any(asks), !is_introduced, "{said:?}");
    }
}

#[test]
fn more_peers_are_asked_for_unless_ten_have_something_and_deliver() {
    for (have_it, of_them_silent, have_nothing, is_enough) in
        [(10, 0, 0, true), (9, 0, 0, false), (9, 0, 5, false), (10, 1, 0, false), (11, 1, 0, true)]
    {
        let mut alone = Alone::new(blocks(0..32, 64), Config::default());
        for number in 0..have_it {
            alone.join(id_of(100 + number));
            alone.hear_bitfield(id_of(100 + number), &Bitfield::full(64), false);
        }
        for number in 0..of_them_silent {
            alone.hear(id_of(100 + number), PeerMessage::Unchoke { file: alone.swarm.tag() });
        }
        for number in 0..have_nothing {
            alone.join(id_of(200 + number));
            alone.hear_bitfield(id_of(200 + number), &blocks(0..32, 64), false);
        }
        alone.wait_for(secs(10));
        let asks = alone.events().contains(&Event::WantsPeers);
        assert_eq!(asks, !is_enough, "{have_it} have something, {of_them_silent} of them do not deliver");
    }
}

#[test]
fn however_often_those_speak_that_wait_more_peers_are_asked_for() {
    let mut alone = with_one_place(&Bitfield::empty(64));
    let file = alone.swarm.tag();
    alone.meet(id_of(7), &Bitfield::full(64));
    for _ in 0..20 {
        alone.hear(id_of(8), PeerMessage::NotInterested { file });
        alone.wait_for(secs(1));
    }
    assert!(!alone.swarm.is_neighbour(id_of(8)));
    assert!(alone.events().contains(&Event::WantsPeers));
}

/// Lets every neighbour leave until there is none; tells how many there were.
fn let_all_leave(alone: &mut Alone) -> usize {
    let mut count = 0;
    loop {
        let next = alone.swarm.neighbours(alone.now).next().map(|other| other.peer);
        let Some(peer) = next else { return count };
        alone.leave(peer);
        count += 1;
    }
}

#[test]
fn of_those_that_find_no_place_so_many_are_remembered_and_no_more() {
    let mut alone = with_one_place(&Bitfield::empty(64));
    (0..2 * MAX_WAITING).for_each(|number| alone.join(id_of(1_000 + number)));
    assert_eq!(let_all_leave(&mut alone), 1 + MAX_WAITING);
    // One that has to make room finds no room among those that wait.
    let mut alone = with_one_place(&Bitfield::empty(64));
    (0..2 * MAX_WAITING).for_each(|number| alone.join(id_of(1_000 + number)));
    alone.wait_for(secs(9));
    alone.hear_bitfield(id_of(1_001), &Bitfield::full(64), false);
    alone.wait_for(secs(1));
    assert!(alone.swarm.is_neighbour(id_of(1_001)));
    assert_eq!(let_all_leave(&mut alone), MAX_WAITING);
}

#[test]
fn of_those_that_were_dropped_the_latest_are_remembered_and_no_more() {
    let mut alone = Alone::new(Bitfield::empty(64), Config::default());
    let file = alone.swarm.tag();
    let liars: Vec<_> = (0..MAX_REMEMBERED + 9).map(|number| id_of(1_000 + number)).collect();
    for &liar in &liars {
        alone.wait_for(Duration::from_millis(1));
        alone.join(liar);
        alone.hear(liar, PeerMessage::Bitfield { file, blocks: Bytes::new(), begin: false });
    }
    let banned: Vec<_> = liars.iter().map(|&liar| alone.swarm.is_banned(liar)).collect();
    assert!(banned[..9].iter().all(|is_banned| !is_banned) && banned[9..].iter().all(|is_banned| *is_banned));
}

#[test]
fn what_peers_owe_that_left_is_remembered_of_so_many_and_not_of_those_that_owe_nothing() {
    let mut alone = Alone::new(Bitfield::empty(64), Config::default());
    for number in 0..2 * MAX_REMEMBERED {
        alone.join(id_of(10_000 + number));
        alone.leave(id_of(10_000 + number));
    }
    let mut owed = Vec::new();
    for number in 0..=MAX_REMEMBERED {
        alone.meet(id_of(1_000 + number), &Bitfield::full(64));
        owed.push(alone.requests()[0]);
        alone.leave(id_of(1_000 + number));
    }
    let mut is_welcome = |(peer, index, count): (PeerId, u32, u32)| {
        alone.join(peer);
        alone.hear_block(peer, index, count);
        alone.leave(peer);
        !alone.events().contains(&Event::Dropped { peer, violation: Violation::Unrequested })
    };
    assert!(is_welcome(owed[0]) && is_welcome(owed[MAX_REMEMBERED - 1]));
    assert!(!is_welcome(owed[MAX_REMEMBERED]), "there is no room to remember it");
}

#[test]
fn who_waits_at_a_seed_gets_the_place_of_a_silent_one_though_nobody_says_anything() {
    let (silent, other) = (id_of(7), id_of(8));
    let mut alone = with_one_place(&Bitfield::full(64));
    alone.join(silent);
    alone.join(other);
    alone.wait_for(secs(20));
    assert!(alone.swarm.is_neighbour(other));
}
