//! What may pass from one peer to another.

use super::*;

const TAG: FileTag = FileTag::from_bytes([1; 8]);

/// Two peers that share file 1 and know each other.
fn introduced(limits: Limits) -> (World, Joined, Joined) {
    let mut world = World::new(limits);
    let [alice, bob] = [(); 2].map(|()| world.join("lobby"));
    for peer in [&alice, &bob] {
        world.announce(peer, file(1), &[0x80]);
    }
    world.ask(&bob, get_peers(file(1), None));
    (world, alice, bob)
}

fn about(kind: Kind, index: u32) -> Subject {
    Subject { kind, tag: TAG, index, count: 1 }
}

impl World {
    fn tell(&mut self, from: &Joined, to: &Joined, subject: Subject) -> Result<(), ErrorCode> {
        let relayed = self.registry.relay(from.conn, to.identity.id, &subject);
        relayed.map(|route| assert_eq!((route.from, route.to), (from.identity.id, to.conn))).map_err(|error| error.code)
    }
}

#[test]
fn a_block_passes_once_for_each_request_of_its_receiver() {
    let (mut world, alice, bob) = introduced(Limits::default());
    assert_eq!(world.tell(&alice, &bob, about(Kind::Block, 0)), Err(ErrorCode::NotRequested));
    world.tell(&bob, &alice, about(Kind::Request, 0)).unwrap();
    for other in [about(Kind::Block, 1), Subject { count: 2, ..about(Kind::Block, 0) }] {
        assert_eq!(world.tell(&alice, &bob, other), Err(ErrorCode::NotRequested));
    }
    assert_eq!(world.tell(&bob, &alice, about(Kind::Block, 0)), Err(ErrorCode::NotRequested), "the other way");
    world.tell(&alice, &bob, about(Kind::Block, 0)).unwrap();
    assert_eq!(world.tell(&alice, &bob, about(Kind::Block, 0)), Err(ErrorCode::NotRequested));
    // A reject answers as well, and a cancel does not.
    world.tell(&bob, &alice, about(Kind::Request, 1)).unwrap();
    world.tell(&bob, &alice, about(Kind::Cancel, 1)).unwrap();
    world.tell(&alice, &bob, about(Kind::Reject, 1)).unwrap();
    assert_eq!(world.tell(&alice, &bob, about(Kind::Block, 1)), Err(ErrorCode::NotRequested));
}

#[test]
fn a_manifest_passes_for_whoever_asked_for_it_introduced_or_not() {
    let mut world = World::new(Limits::default());
    let [alice, bob] = [(); 2].map(|()| world.join("lobby"));
    assert_eq!(world.tell(&alice, &bob, about(Kind::Manifest, 0)), Err(ErrorCode::NotRequested));
    world.tell(&bob, &alice, about(Kind::GetManifest, 0)).unwrap();
    world.tell(&alice, &bob, about(Kind::Manifest, 0)).unwrap();
    assert_eq!(world.tell(&alice, &bob, about(Kind::Manifest, 0)), Err(ErrorCode::NotRequested));
    // Each answer is for one question, whatever parts were asked for.
    for _ in 0..2 {
        world.tell(&bob, &alice, about(Kind::GetManifest, 0)).unwrap();
    }
    world.tell(&alice, &bob, about(Kind::NoManifest, 0)).unwrap();
    world.tell(&alice, &bob, about(Kind::Manifest, 0)).unwrap();
    assert_eq!(world.tell(&alice, &bob, about(Kind::NoManifest, 0)), Err(ErrorCode::NotRequested));
}

#[test]
fn only_those_who_were_introduced_in_a_swarm_speak_of_its_file() {
    let (mut world, alice, bob) = introduced(Limits::default());
    let stranger = world.join("lobby");
    world.announce(&stranger, file(1), &[0x80]);
    for kind in [Kind::Bitfield, Kind::Have, Kind::Interested, Kind::Unchoke, Kind::Request, Kind::Cancel] {
        world.tell(&alice, &bob, about(kind, 0)).unwrap();
        world.tell(&bob, &alice, about(kind, 0)).unwrap();
        assert_eq!(world.tell(&stranger, &bob, about(kind, 0)), Err(ErrorCode::NotIntroduced), "{kind:?}");
        let other_file = Subject { tag: FileTag::from_bytes([2; 8]), ..about(kind, 0) };
        assert_eq!(world.tell(&alice, &bob, other_file), Err(ErrorCode::NotIntroduced), "{kind:?}");
    }
    world.ask(&alice, Request::Leave { file: Some(file(1)) });
    for (from, to) in [(&alice, &bob), (&bob, &alice)] {
        assert_eq!(world.tell(from, to, about(Kind::Have, 0)), Err(ErrorCode::NotIntroduced));
    }
}

#[test]
fn of_lines_two_who_know_each_other_may_speak_sixty_four_times() {
    let (mut world, alice, bob) = introduced(Limits::default());
    let stranger = world.join("lobby");
    assert_eq!(world.tell(&stranger, &bob, about(Kind::Signal, 0)), Err(ErrorCode::NotIntroduced));
    for (from, to) in [(&alice, &bob), (&bob, &alice)] {
        for _ in 0..64 {
            world.tell(from, to, about(Kind::Signal, 0)).unwrap();
        }
        for _ in 0..300 {
            assert_eq!(world.tell(from, to, about(Kind::Signal, 0)), Err(ErrorCode::Busy));
        }
        world.tell(from, to, about(Kind::Have, 0)).unwrap();
    }
}

#[test]
fn two_files_with_one_tag_are_told_apart_by_who_knows_whom() {
    let (mut world, alice, bob) = introduced(Limits::default());
    let mut twin = [1; 32];
    twin[31] = 2;
    let twin = FileId::from_bytes(twin);
    let other = world.join("lobby");
    for peer in [&alice, &other] {
        world.announce(peer, twin, &[0x80]);
    }
    world.ask(&other, get_peers(twin, None));
    world.tell(&alice, &other, about(Kind::Have, 0)).unwrap();
    world.tell(&alice, &bob, about(Kind::Have, 0)).unwrap();
    assert_eq!(world.tell(&bob, &other, about(Kind::Have, 0)), Err(ErrorCode::NotIntroduced));
}

#[test]
fn who_leaves_a_file_or_comes_back_has_asked_for_nothing() {
    let (mut world, alice, bob) = introduced(Limits::default());
    world.tell(&bob, &alice, about(Kind::Request, 0)).unwrap();
    world.ask(&bob, Request::Leave { file: Some(file(1)) });
    assert_eq!(world.tell(&alice, &bob, about(Kind::Block, 0)), Err(ErrorCode::NotRequested));

    let (mut world, alice, bob) = introduced(Limits::default());
    world.tell(&bob, &alice, about(Kind::Request, 0)).unwrap();
    let conn = world.connect();
    world.send(conn, register("lobby", Some(bob.identity.clone())));
    let bob = Joined { conn, ..bob };
    assert_eq!(world.tell(&alice, &bob, about(Kind::Block, 0)), Err(ErrorCode::NotRequested));
}

#[test]
fn of_more_requests_than_may_be_open_the_oldest_is_forgotten() {
    let (mut world, alice, bob) = introduced(Limits { open_requests: 2, ..Limits::default() });
    for index in 0..3 {
        world.tell(&bob, &alice, about(Kind::Request, index)).unwrap();
    }
    assert_eq!(world.tell(&alice, &bob, about(Kind::Block, 0)), Err(ErrorCode::NotRequested));
    for index in 1..3 {
        world.tell(&alice, &bob, about(Kind::Block, index)).unwrap();
    }
}

#[test]
fn who_was_asked_is_not_to_blame_if_nobody_waits_for_the_answer() {
    let (mut world, alice, bob) = introduced(Limits::default());
    let send = |world: &mut World, index| {
        world.registry.relay(alice.conn, bob.identity.id, &about(Kind::Block, index)).unwrap_err()
    };
    assert!(!send(&mut world, 0).is_blameless);
    for index in 0..2 {
        world.tell(&bob, &alice, about(Kind::Request, index)).unwrap();
    }
    world.disconnect(&bob);
    let refused = [0, 1, 2].map(|index| send(&mut world, index));
    assert!(refused.iter().all(|refused| refused.code == ErrorCode::UnknownPeer));
    assert_eq!(refused.map(|refused| refused.is_blameless), [true, true, false]);
}

#[test]
fn a_request_that_could_not_be_delivered_is_not_open_and_may_be_made_again() {
    let (mut world, alice, bob) = introduced(Limits::default());
    let withdraw = |world: &mut World, subject| {
        world.registry.withdraw(bob.identity.id, alice.identity.id, &subject);
    };
    let answer = |world: &mut World| {
        let refused = world.registry.relay(alice.conn, bob.identity.id, &about(Kind::Block, 0)).unwrap_err();
        assert_eq!(refused.code, ErrorCode::NotRequested);
        refused.is_blameless
    };
    world.tell(&bob, &alice, about(Kind::Request, 0)).unwrap();
    withdraw(&mut world, about(Kind::Request, 0));
    assert!(!answer(&mut world), "Alice has not heard of it");
    world.tell(&bob, &alice, about(Kind::Request, 0)).unwrap();
    // Nothing else was ever open.
    for kind in [Kind::Have, Kind::Cancel, Kind::Block] {
        withdraw(&mut world, about(kind, 0));
    }
    world.tell(&alice, &bob, about(Kind::Block, 0)).unwrap();
    assert!(!answer(&mut world));
}
