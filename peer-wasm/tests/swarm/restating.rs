//! What the tracker refused or lost is said again, and what is known is not.

use crate::{
    BLOCK,
    alone::{Alone, blocks},
    lab::{Lab, lab},
};
use peer_wasm::swarm::{Config, Event, StorageRequest};
use protocol::{Bitfield, Kind, PeerMessage};
use simulator::{Fate, File, id_of};
use std::{collections::BTreeSet, time::Duration};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const SEED: usize = 0;
const LEECHER: usize = 1;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A seed and one that fetches, whose next message of some kind has some fate.
fn two(by: usize, kind: Kind, fate: Fate) -> Lab {
    let mut lab = lab(File::new(64 * u64::from(BLOCK), BLOCK));
    let seed = lab.add(Bitfield::full(64));
    let leecher = lab.add(Bitfield::empty(64));
    lab.network.decide(by, kind, fate);
    lab.network.introduce(seed, leecher);
    lab
}

/// Whether each bitfield among these begins anew.
fn bitfields(said: &[PeerMessage]) -> Vec<bool> {
    let begins = |said: &PeerMessage| if let PeerMessage::Bitfield { begin, .. } = said { Some(*begin) } else { None };
    said.iter().filter_map(begins).collect()
}

/// Whether a swarm gets over one message of each kind that does not arrive, within so long.
fn expect_got_over(fate: Fate, limit: Duration) {
    for (by, kind) in [
        (SEED, Kind::Bitfield),
        (LEECHER, Kind::Bitfield),
        (SEED, Kind::Unchoke),
        (SEED, Kind::Block),
        (LEECHER, Kind::Interested),
        (LEECHER, Kind::Request),
    ] {
        let mut lab = two(by, kind, fate);
        lab.run_until_complete();
        assert!(!lab.network.is_decided(), "no {kind:?} was sent");
        assert!(lab.elapsed() < limit, "{kind:?}: {:?}", lab.elapsed());
    }
}

#[test]
fn a_message_that_is_refused_once_costs_a_few_seconds() {
    expect_got_over(Fate::Refused, secs(5));
}

#[test]
fn a_message_that_is_lost_once_is_got_over() {
    expect_got_over(Fate::Lost, secs(120));
}

#[test]
fn blocks_whose_announcement_was_refused_are_announced_with_the_next() {
    // Who is in the middle never has all, which it would tell everyone.
    let mut lab = lab(File::new(24 * u64::from(BLOCK), BLOCK));
    let half = lab.add(blocks(0..12, 24));
    let middle = lab.add(Bitfield::empty(24));
    let last = lab.add(Bitfield::empty(24));
    lab.network.introduce(middle, last);
    lab.network.decide(middle, Kind::Have, Fate::Refused);
    lab.network.introduce(half, middle);
    lab.run_until(|lab| lab.network.node(last).unwrap().swarm.stored().count() == 12);
    assert!(!lab.network.is_decided() && lab.elapsed() < secs(10), "{:?}", lab.elapsed());
}

#[test]
fn what_was_refused_is_said_again_within_two_seconds_if_it_is_still_so() {
    let other = id_of(7);
    let mut alone = Alone::new(blocks(0..4, 8), Config { fixed_slots: 1, trial_slots: 0, ..Config::default() });
    let file = alone.swarm.tag();
    alone.join(other);
    alone.hear_bitfield(other, &blocks(4..8, 8), false);
    alone.hear(other, PeerMessage::Interested { file });
    let said = alone.said_to(other);
    let mut again = |kind: Kind, message: PeerMessage| {
        assert!(said.contains(&message), "{kind:?} was never said");
        for _ in 0..3 {
            alone.refuse(other, kind);
            alone.wait_for(secs(1) / 2);
            assert!(!alone.said_to(other).contains(&message), "{kind:?} would be refused again at once");
            alone.wait_for(secs(1));
            assert!(alone.said_to(other).contains(&message), "{kind:?}");
        }
        alone.refuse(other, kind);
    };
    let bitfield = PeerMessage::Bitfield { file, blocks: blocks(0..4, 8).to_bytes(), begin: false };
    again(Kind::Bitfield, bitfield);
    again(Kind::Interested, PeerMessage::Interested { file });
    again(Kind::Unchoke, PeerMessage::Unchoke { file });
}

#[test]
fn a_choke_that_was_refused_is_said_again() {
    let (first, second) = (id_of(7), id_of(8));
    let mut alone = Alone::new(blocks(0..4, 8), Config { fixed_slots: 1, trial_slots: 0, ..Config::default() });
    let file = alone.swarm.tag();
    for peer in [first, second] {
        alone.join(peer);
        alone.hear_bitfield(peer, &Bitfield::empty(8), false);
        alone.hear(peer, PeerMessage::Interested { file });
    }
    // The one place is that of the first, which does not want anything more.
    alone.wait_for(secs(1));
    alone.hear(first, PeerMessage::NotInterested { file });
    alone.hear(second, PeerMessage::Interested { file });
    assert!(alone.said_to(first).contains(&PeerMessage::Choke { file }));
    alone.refuse(first, Kind::Choke);
    alone.wait_for(secs(2));
    assert!(alone.said_to(first).contains(&PeerMessage::Choke { file }));
    alone.wait_for(secs(60));
    assert!(!alone.said_to(first).contains(&PeerMessage::Choke { file }), "it was told");
}

#[test]
fn a_refused_block_is_rejected_to_who_waits_and_comes_later() {
    let mut lab = two(SEED, Kind::Block, Fate::Refused);
    lab.run_until(|lab| !lab.network.is_decided());
    lab.run_until_complete();
    let sent = lab.network.node(SEED).unwrap().record.sent;
    assert_eq!(sent, lab.blocks() as u64 * u64::from(BLOCK) + u64::from(BLOCK), "one block was sent twice");
}

#[test]
fn few_refusals_cost_little_time_and_many_only_time() {
    for (per_mille, at_most) in [(0, 10), (20, 20), (200, 240)] {
        let mut lab = crate::lab::swarm_of(6, 300, &Config::default());
        lab.network.refuse(per_mille);
        lab.run_until_complete();
        assert!(lab.elapsed() < secs(at_most), "{per_mille} of 1,000: {:?}", lab.elapsed());
    }
}

#[test]
fn who_begins_anew_is_told_everything_once_and_never_asked_to_begin() {
    let other = id_of(7);
    let mut alone = Alone::new(blocks(0..4, 8), Config::default());
    let file = alone.swarm.tag();
    alone.join(other);
    alone.hear_bitfield(other, &blocks(2..8, 8), false);
    alone.hear(other, PeerMessage::Interested { file });
    assert_eq!(bitfields(&alone.said_to(other)), [false]);
    for _ in 0..3 {
        alone.hear_bitfield(other, &blocks(2..8, 8), true);
        let told = alone.said_to(other);
        assert_eq!(bitfields(&told), [false], "{told:?}");
        assert!(told.contains(&PeerMessage::Interested { file }) && told.contains(&PeerMessage::Unchoke { file }));
        alone.hear_bitfield(other, &blocks(2..8, 8), false);
        assert!(bitfields(&alone.said_to(other)).is_empty(), "an answer is not answered");
    }
}

#[test]
fn who_begins_anew_is_taken_to_have_forgotten_what_it_was_asked() {
    let seed = id_of(7);
    let mut alone = Alone::with_seed(1, seed);
    assert_eq!(alone.requests(), [(seed, 0, 1)]);
    alone.hear_bitfield(seed, &Bitfield::full(1), true);
    assert_eq!(alone.swarm.in_flight(), 0);
    assert_eq!(alone.requests(), [], "it has not said that it serves");
    alone.hear(seed, PeerMessage::Unchoke { file: alone.swarm.tag() });
    assert_eq!(alone.requests(), [(seed, 0, 1)]);
    (0..2).for_each(|_| alone.hear_block(seed, 0, 1));
    alone.said();
    assert_eq!(alone.events(), [Event::Completed], "it had not forgotten, and answers both");
}

#[test]
fn little_is_asked_of_whoever_serves_again_and_no_less_of_who_says_again_that_it_serves() {
    let seed = id_of(7);
    let mut alone = Alone::with_seed(4_096, seed);
    let mut open = alone.requests();
    let deliver = |alone: &mut Alone, open: &mut Vec<(_, u32, u32)>, most: usize| {
        for (seed, index, count) in open.drain(..most.min(open.len())).collect::<Vec<_>>() {
            alone.hear_block(seed, index, count);
        }
        open.extend(alone.requests());
    };
    while alone.swarm.in_flight() < 1 << 20 {
        deliver(&mut alone, &mut open, 1);
    }
    let file = alone.swarm.tag();
    alone.hear(seed, PeerMessage::Unchoke { file });
    deliver(&mut alone, &mut open, 1);
    assert!(alone.swarm.in_flight() >= 1 << 20);
    alone.hear(seed, PeerMessage::Choke { file });
    for (seed, index, count) in open {
        alone.hear(seed, PeerMessage::Reject { file, index, count });
    }
    assert_eq!((alone.swarm.in_flight(), alone.requests()), (0, Vec::new()));
    alone.hear(seed, PeerMessage::Unchoke { file });
    let again = alone.swarm.in_flight();
    assert!((1 << 18..1 << 19).contains(&again), "{again}");
}

#[test]
fn two_that_were_introduced_twice_in_a_row_do_not_go_on_about_it() {
    let mut lab = lab(File::new(8 * u64::from(BLOCK), BLOCK));
    lab.seed();
    lab.leecher();
    lab.settle_for(Duration::from_millis(15));
    lab.network.trace = Some(Vec::new());
    (0..2).for_each(|_| lab.break_line(1));
    // One side is introduced once more than the other.
    lab.network.with(0, |swarm, now| {
        swarm.handle_peer_left(id_of(1), now);
        swarm.handle_peer_joined(id_of(1), Duration::ZERO, now);
    });
    lab.run_until_complete();
    lab.settle_for(secs(60));
    let messages = lab.network.trace.as_ref().unwrap().len();
    assert!(messages < 60, "{messages} messages for eight blocks");
}

#[test]
fn what_the_only_source_rejected_is_asked_again_after_a_while_and_less_and_less_often() {
    let seed = id_of(7);
    let mut alone = Alone::with_seed(1, seed);
    let file = alone.swarm.tag();
    let mut waits = Vec::new();
    for _ in 0..8 {
        assert_eq!(alone.requests(), [(seed, 0, 1)]);
        let since = alone.now;
        alone.hear(seed, PeerMessage::Reject { file, index: 0, count: 1 });
        assert_eq!(alone.requests(), []);
        while alone.swarm.in_flight() == 0 {
            alone.wait();
        }
        waits.push(alone.now.since(since));
    }
    assert!(waits.is_sorted() && waits[0] < secs(5) && waits[7] > secs(30) && waits[7] < secs(120), "{waits:?}");
    alone.requests();
    alone.hear_block(seed, 0, 1);
    alone.said();
    assert!(alone.swarm.is_complete());
}

#[test]
fn whoever_rejects_everything_that_was_asked_for_is_asked_for_something_else_at_once() {
    let seed = id_of(7);
    let mut alone = Alone::with_seed(64, seed);
    let file = alone.swarm.tag();
    let mut asked = BTreeSet::new();
    for _ in 0..3 {
        let requests = alone.requests();
        assert!(!requests.is_empty(), "it serves, and has all of the others");
        for (_, index, count) in requests {
            assert!((index..index + count).all(|block| asked.insert(block)), "{index} was rejected just now");
            alone.hear(seed, PeerMessage::Reject { file, index, count });
        }
    }
}

#[test]
fn a_refused_request_is_asked_again_after_a_while_and_its_receiver_not_taken_for_silent() {
    let seed = id_of(7);
    let mut alone = Alone::with_seed(1, seed);
    assert_eq!(alone.requests(), [(seed, 0, 1)]);
    alone.refuse(seed, Kind::Request);
    assert_eq!(alone.swarm.in_flight(), 0);
    assert_eq!(alone.requests(), [], "it would be refused again");
    alone.wait_for(secs(3));
    assert_eq!(alone.requests(), [(seed, 0, 1)]);
    assert!(alone.swarm.neighbours(alone.now).all(|other| !other.snubbed));
}

#[test]
fn what_was_rejected_is_asked_again_at_once_of_who_chokes_and_unchokes() {
    let seed = id_of(7);
    let mut alone = Alone::with_seed(1, seed);
    let file = alone.swarm.tag();
    for message in
        [PeerMessage::Reject { file, index: 0, count: 1 }, PeerMessage::Choke { file }, PeerMessage::Unchoke { file }]
    {
        alone.said();
        alone.hear(seed, message);
    }
    assert_eq!(alone.requests(), [(seed, 0, 1)]);
}

#[test]
fn when_the_line_breaks_nobody_is_known_any_more_and_nothing_is_on_its_way() {
    let [neighbour, waiting] = [7, 8].map(id_of);
    let upload_budget = 4 * u64::from(BLOCK);
    let config = Config { max_neighbours: 1, upload_budget, ..Config::default() };
    let mut alone = Alone::new(blocks(0..32, 64), config);
    let file = alone.swarm.tag();
    let ask = |alone: &mut Alone| {
        alone.meet(neighbour, &blocks(32..64, 64));
        alone.hear(neighbour, PeerMessage::Interested { file });
        (0..8).for_each(|index| alone.hear(neighbour, PeerMessage::Request { file, index, count: 1 }));
    };
    ask(&mut alone);
    alone.join(waiting);
    assert!(alone.swarm.in_flight() > 0);
    while let Some(request) = alone.swarm.poll_storage() {
        let StorageRequest::Read { id, .. } = request else { continue };
        let data = alone.file.content.slice(..BLOCK as usize);
        alone.swarm.handle_read(id, Ok(data), alone.now);
    }
    alone.swarm.handle_line_lost(alone.now);
    alone.swarm.audit();
    assert!(!alone.swarm.is_neighbour(neighbour) && !alone.swarm.is_neighbour(waiting));
    assert_eq!(alone.said(), [], "nothing of it would arrive");
    assert_eq!(alone.swarm.in_flight(), 0);
    ask(&mut alone);
    alone.said();
    assert_eq!(alone.unread.len(), 4, "what was being sent then takes no room");
}
