//! What is served of what is asked for, and how much at a time.

use crate::{
    BLOCK,
    alone::{Alone, blocks},
};
use bytes::Bytes;
use peer_wasm::swarm::{Config, Event, Room, StorageError};
use protocol::{Bitfield, PeerId, PeerMessage};
use simulator::id_of;
use std::time::Duration;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Has a neighbour that wants something, and room to read so much for it.
fn serving(have: Bitfield, peer: PeerId, upload_budget: u64) -> Alone {
    let mut alone = Alone::new(have, Config { fixed_slots: 1, trial_slots: 0, upload_budget, ..Config::default() });
    want(&mut alone, peer);
    alone.said();
    alone
}

fn want(alone: &mut Alone, peer: PeerId) {
    let nothing = Bitfield::empty(alone.swarm.stored().len());
    alone.join(peer);
    alone.hear_bitfield(peer, &nothing, false);
    alone.hear(peer, PeerMessage::Interested { file: alone.swarm.tag() });
}

fn ask(alone: &mut Alone, peer: PeerId, index: u32, count: u32) {
    alone.hear(peer, PeerMessage::Request { file: alone.swarm.tag(), index, count });
}

fn make_room(alone: &mut Alone) {
    alone.swarm.set_room(Room { in_flight: 0, upload: 1 << 20 }, alone.now);
}

#[test]
fn only_who_has_a_place_is_served_and_only_what_is_here() {
    let (served, other) = (id_of(7), id_of(8));
    let mut alone = serving(blocks(0..4, 8), served, 1 << 20);
    want(&mut alone, other);
    alone.said();
    for (peer, index, count, is_served) in
        [(other, 0, 1, false), (served, 5, 1, false), (served, 3, 2, false), (served, 0, 4, true)]
    {
        ask(&mut alone, peer, index, count);
        let reject = PeerMessage::Reject { file: alone.swarm.tag(), index, count };
        assert_eq!(alone.said_to(peer).contains(&reject), !is_served);
        assert_eq!(alone.unread.len(), usize::from(is_served), "{index} and {count}");
    }
}

#[test]
fn a_request_that_is_cancelled_before_it_is_served_is_rejected_and_not_served() {
    let peer = id_of(7);
    let mut alone = serving(Bitfield::full(64), peer, 0);
    let file = alone.swarm.tag();
    (0..4).for_each(|index| ask(&mut alone, peer, index, 1));
    assert_eq!(alone.said_to(peer), []);
    for index in [1, 2] {
        alone.hear(peer, PeerMessage::Cancel { file, index, count: 1 });
        assert_eq!(alone.said_to(peer), [PeerMessage::Reject { file, index, count: 1 }]);
        alone.hear(peer, PeerMessage::Cancel { file, index, count: 1 });
        assert_eq!(alone.said_to(peer), [], "it waits no more");
    }
    make_room(&mut alone);
    alone.said();
    let offsets: Vec<_> = alone.unread.iter().map(|(_, offset, _)| *offset).collect();
    assert_eq!(offsets, [0, 3 * u64::from(BLOCK)]);
    alone.swarm.audit();
}

#[test]
fn whether_requests_wait_is_known_whatever_becomes_of_them() {
    let peer = id_of(7);
    let ends: [fn(&mut Alone); 5] = [
        make_room,
        |alone| alone.leave(id_of(7)),
        |alone| alone.hear_bitfield(id_of(7), &Bitfield::empty(64), true),
        |alone| {
            let file = alone.swarm.tag();
            alone.wait_for(Duration::from_secs(1));
            alone.hear(id_of(7), PeerMessage::NotInterested { file });
            want(alone, id_of(8));
            make_room(alone);
        },
        |alone| {
            let file = alone.swarm.tag();
            (0..3).for_each(|index| alone.hear(id_of(7), PeerMessage::Cancel { file, index, count: 1 }));
        },
    ];
    for end in ends {
        let mut alone = serving(Bitfield::full(64), peer, 0);
        assert!(!alone.swarm.is_asked());
        (0..3).for_each(|index| ask(&mut alone, peer, index, 1));
        assert!(alone.swarm.is_asked());
        end(&mut alone);
        assert!(!alone.swarm.is_asked());
        alone.swarm.audit();
    }
}

#[test]
fn a_read_that_gives_too_little_is_a_failure_and_its_request_rejected() {
    let peer = id_of(7);
    let mut alone = serving(Bitfield::full(64), peer, 1 << 20);
    ask(&mut alone, peer, 0, 1);
    alone.said();
    let (id, ..) = alone.unread.remove(0);
    alone.swarm.handle_read(id, Ok(Bytes::from_static(&[0; 9])), alone.now);
    assert_eq!(alone.said_to(peer), [PeerMessage::Reject { file: alone.swarm.tag(), index: 0, count: 1 }]);
    assert!(matches!(alone.events()[..], [Event::StorageFailed(StorageError::Failed { .. })]));
}

#[test]
fn what_is_read_for_one_that_is_gone_is_said_to_nobody_and_only_a_failure_told() {
    let peer = id_of(7);
    for is_read in [true, false] {
        let mut alone = serving(Bitfield::full(64), peer, 1 << 20);
        ask(&mut alone, peer, 0, 1);
        alone.said();
        let (id, ..) = alone.unread.remove(0);
        alone.leave(peer);
        let result =
            if is_read { Ok(alone.file.content.slice(..BLOCK as usize)) } else { Err(StorageError::Unreadable) };
        alone.swarm.handle_read(id, result, alone.now);
        assert_eq!(alone.said(), []);
        assert_eq!(alone.events().is_empty(), is_read);
    }
}

#[test]
fn as_much_is_read_ahead_as_the_line_takes_in_a_tenth_of_a_second_within_bounds() {
    let (peer, least, most) = (id_of(7), 32 << 10, 512 << 10);
    let mut alone = serving(Bitfield::full(1_024), peer, most);
    (0..1_024).for_each(|index| ask(&mut alone, peer, index, 1));
    let mut ahead = Vec::new();
    while alone.swarm.is_asked() {
        alone.said();
        let read: u64 = alone.unread.iter().map(|(.., len)| u64::from(*len)).sum();
        let (_, rate) = alone.swarm.rates(alone.now);
        assert!(read.abs_diff((rate / 10).clamp(least, most)) < u64::from(BLOCK), "{read} at {rate} bytes per second");
        ahead.push(read);
        let sending = std::mem::take(&mut alone.unread);
        for (id, offset, len) in &sending {
            let data = alone.file.content.slice(*offset as usize..*offset as usize + *len as usize);
            alone.swarm.handle_read(*id, Ok(data), alone.now);
        }
        sending.iter().for_each(|(.., len)| alone.swarm.handle_sent((*len).into(), alone.now));
    }
    assert!(ahead[0] < 2 * least && ahead.iter().any(|read| *read > 2 * least), "{ahead:?}");
}

#[test]
fn one_more_is_served_twenty_milliseconds_after_the_last_request_whatever_is_being_sent() {
    let mut alone = Alone::new(Bitfield::full(64), Config { fixed_slots: 1, ..Config::default() });
    // Nothing is a first copy.
    alone.meet(id_of(9), &Bitfield::full(64));
    (20..40).for_each(|number| want(&mut alone, id_of(number)));
    let served = |alone: &Alone| alone.swarm.neighbours(alone.now).filter(|other| other.served_by_us).count();
    alone.wait_for(Duration::from_secs(2));
    let before = served(&alone);
    alone.swarm.handle_sent(0, alone.now);
    for _ in 0..19 {
        alone.wait_for(Duration::from_millis(1));
        alone.swarm.handle_sent(0, alone.now);
        assert_eq!(served(&alone), before);
    }
    alone.wait_for(Duration::from_millis(1));
    assert_eq!(served(&alone), before + 1);
}

#[test]
fn nobody_more_is_served_while_a_request_waits() {
    let mut alone = Alone::new(Bitfield::full(64), Config { fixed_slots: 1, upload_budget: 1, ..Config::default() });
    alone.meet(id_of(9), &Bitfield::full(64));
    (20..40).for_each(|number| want(&mut alone, id_of(number)));
    let served = |alone: &Alone| -> Vec<_> {
        alone.swarm.neighbours(alone.now).filter(|other| other.served_by_us).map(|other| other.peer).collect()
    };
    // After the first block it is known that nothing is a first copy.
    let first = served(&alone)[0];
    ask(&mut alone, first, 9, 1);
    alone.read();
    alone.wait_for(Duration::from_secs(2));
    let before = served(&alone);
    (0..2).for_each(|index| ask(&mut alone, before[0], index, 1));
    alone.said();
    assert!(alone.unread.len() == 1 && alone.swarm.is_asked());
    alone.wait_for(Duration::from_secs(1));
    assert_eq!(served(&alone), before);
    alone.read();
    alone.wait_for(Duration::from_millis(20));
    assert!(served(&alone).len() > before.len());
}

/// One with blocks of eight segments that is asked for some of them, two at a time, served the first, and gives the place of who
/// asked to another. Also gives what is rejected then.
fn rejected_when_choked(asked: [u32; 5]) -> (Alone, Vec<u32>) {
    let peer = id_of(7);
    let config = Config { fixed_slots: 1, trial_slots: 0, upload_budget: 1, ..Config::default() };
    let mut alone = Alone::with_blocks_of(128 << 10, Bitfield::full(4), config);
    alone.meet(id_of(9), &Bitfield::full(4));
    want(&mut alone, peer);
    asked.into_iter().for_each(|index| ask(&mut alone, peer, index, 2));
    alone.read();
    alone.said();
    let file = alone.swarm.tag();
    alone.hear(peer, PeerMessage::NotInterested { file });
    want(&mut alone, id_of(8));
    let said = alone.said_to(peer);
    assert!(said.contains(&PeerMessage::Choke { file }), "{said:?}");
    let rejected = said
        .into_iter()
        .filter_map(|said| if let PeerMessage::Reject { index, count: 2, .. } = said { Some(index) } else { None });
    (alone, rejected.collect())
}

#[test]
fn who_loses_its_place_still_gets_the_block_that_it_is_being_sent() {
    let (mut alone, rejected) = rejected_when_choked([0, 2, 16, 4, 6]);
    assert_eq!(rejected, [16], "2 is being read, and the rest of its block waits");
    for sent in [1, 1, 1, 0] {
        alone.read();
        let said = alone.said_to(id_of(7));
        let blocks = said.iter().filter(|said| matches!(said, PeerMessage::Block { .. })).count();
        assert_eq!(blocks, sent, "{said:?}");
    }
    assert!(!alone.swarm.is_asked());
    alone.swarm.audit();
}

#[test]
fn who_loses_its_place_between_two_blocks_still_gets_the_next_one() {
    let (_, rejected) = rejected_when_choked([4, 6, 16, 24, 18]);
    assert_eq!(rejected, [24]);
    let (_, rejected) = rejected_when_choked([0, 2, 24, 16, 26]);
    assert_eq!(rejected, [16], "nothing more was asked for of the block that it is being sent");
}

#[test]
fn a_neighbour_whose_own_line_stands_still_holds_up_nobody_and_one_more_is_served_instead() {
    for own_lines in [false, true] {
        let mut alone = Alone::new(Bitfield::full(64), Config { fixed_slots: 1, ..Config::default() });
        // Nothing is a first copy.
        alone.meet(id_of(9), &Bitfield::full(64));
        let (stuck, other) = (id_of(20), id_of(21));
        for peer in [stuck, other] {
            alone.meet(peer, &Bitfield::empty(64));
            if own_lines {
                alone.swarm.handle_own_line(peer, alone.now);
            }
            want(&mut alone, peer);
        }
        alone.wait_for(Duration::from_secs(2));
        let file = alone.swarm.tag();
        for index in 0..64 {
            alone.hear(stuck, PeerMessage::Request { file, index, count: 1 });
        }
        alone.said();
        let first = std::mem::take(&mut alone.unread);
        assert!(!first.is_empty() && first.len() < 64, "so much is on its way to the one that takes nothing");
        for (id, offset, len) in first {
            let data = alone.file.content.slice(offset as usize..offset as usize + len as usize);
            alone.swarm.handle_read(id, Ok(data), alone.now);
        }
        alone.said();
        alone.hear(other, PeerMessage::Request { file, index: 0, count: 1 });
        alone.said();
        assert!(alone.unread.is_empty(), "it may only be slow");
        alone.wait_for(Duration::from_secs(8));
        alone.said();
        assert_eq!(
            !alone.unread.is_empty(),
            own_lines,
            "the other is served only if what it gets does not wait behind that"
        );
        if own_lines {
            for (id, offset, len) in std::mem::take(&mut alone.unread) {
                let data = alone.file.content.slice(offset as usize..offset as usize + len as usize);
                alone.swarm.handle_read(id, Ok(data), alone.now);
                alone.swarm.handle_sent_by_line(other, len.into(), alone.now);
            }
            // When the line is gone, what was on it is forgotten, and what is left goes with all other.
            alone.swarm.handle_cut_off(stuck, alone.now);
            alone.said();
            alone.hear(stuck, PeerMessage::Bitfield { file, blocks: Bitfield::empty(64).to_bytes(), begin: true });
            alone.hear(stuck, PeerMessage::Interested { file });
            alone.wait_for(Duration::from_secs(2));
            alone.hear(stuck, PeerMessage::Request { file, index: 5, count: 1 });
            alone.said();
            assert!(!alone.unread.is_empty());
        }
    }
}
