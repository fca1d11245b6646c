//! Several opinions of one file's size.

use super::*;

const TRUE_SIZE: u64 = 3;
const BLOCK: Bytes = Bytes::from_static(&[0x80]);
const NONE: Bytes = Bytes::from_static(&[0]);

impl World {
    fn claim(&mut self, peer: &Joined, size: u64, blocks: Bytes) -> Vec<Output> {
        let out = self.ask(peer, Request::Announce { facts: sized(file(1), size), blocks });
        assert_eq!(answer(out.clone()), Response::Announced { file: file(1) });
        out
    }

    fn found(&mut self, peer: &Joined, limit: Option<u32>) -> BTreeSet<PeerId> {
        ids(&answer(self.ask(peer, get_peers(file(1), limit)))).into_iter().collect()
    }

    fn sizes(&mut self, peer: &Joined) -> Vec<(u64, u32, u32)> {
        match answer(self.ask(peer, Request::ListFiles { watch: false })) {
            Response::Files { files } => files.iter().map(|info| (info.facts.size, info.sources, info.peers)).collect(),
            other => panic!("no list: {other:?}"),
        }
    }
}

/// Whom `ids` names.
fn set<const N: usize>(peers: [&Joined; N]) -> BTreeSet<PeerId> {
    peers.map(|peer| peer.identity.id).into()
}

#[test]
fn a_liar_who_comes_first_keeps_nobody_from_the_others() {
    let mut world = World::new(Limits::default());
    let [liar, alice, bob, carol] = [(); 4].map(|()| world.join("lobby"));
    world.claim(&liar, TRUE_SIZE + 1, BLOCK);
    world.claim(&alice, TRUE_SIZE, BLOCK);
    world.claim(&bob, TRUE_SIZE, NONE);
    assert_eq!(world.sizes(&carol), [(TRUE_SIZE, 1, 2), (TRUE_SIZE + 1, 1, 1)]);
    assert_eq!(world.found(&bob, None), set([&alice]));
    assert_eq!(world.found(&liar, None), set([]));
    let holders = answer(world.ask(&bob, Request::WhoHas { file: file(1), block: None }));
    assert_eq!(ids(&holders), [alice.identity.id]);
    // Who knows no facts yet may ask each for the manifest.
    let out = world.ask(&carol, get_peers(file(1), None));
    assert_eq!(out.len(), 1, "and is introduced to nobody");
    assert_eq!(ids(&answer(out)).into_iter().collect::<BTreeSet<_>>(), set([&liar, &alice, &bob]));
    let interested = Subject { kind: Kind::Interested, ..GET_MANIFEST };
    for other in [&liar, &carol] {
        let refused = world.registry.relay(bob.conn, other.identity.id, &interested).unwrap_err();
        assert_eq!(refused.code, ErrorCode::NotIntroduced);
    }
    world.disconnect(&liar);
    assert_eq!(world.sizes(&carol), [(TRUE_SIZE, 1, 2)]);
}

#[test]
fn the_block_size_is_an_opinion_too_and_the_name_is_none() {
    let mut world = World::new(Limits::default());
    let peers = [(); 3].map(|()| world.join("lobby"));
    let facts = facts(file(1), "first");
    let other_name = FileFacts { name: "second".parse().unwrap(), ..facts.clone() };
    let other_cut = FileFacts { block_size: BlockSize::try_from(32_768).unwrap(), ..facts.clone() };
    for (peer, facts) in peers.iter().zip([facts, other_name, other_cut]) {
        world.ask(peer, Request::Announce { facts, blocks: BLOCK });
    }
    assert_eq!(list(&mut world, &peers[0]), [("first".to_owned(), 2, 2), ("first".to_owned(), 1, 1)]);
}

#[test]
fn no_opinion_hides_another_however_many_have_it() {
    let mut world = World::new(Limits::default());
    let liars: Vec<_> = (0..100).map(|_| world.join("lobby")).collect();
    liars.iter().for_each(|liar| drop(world.claim(liar, TRUE_SIZE + 1, BLOCK)));
    let [alice, bob] = [(); 2].map(|()| world.join("lobby"));
    world.claim(&alice, TRUE_SIZE, BLOCK);
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        let found = world.found(&bob, None);
        assert_eq!(found.len(), 5);
        assert!(found.contains(&alice.identity.id));
        seen.extend(found);
    }
    assert!(seen.len() > 20, "the choice is not always the same");
    // Where there are more opinions than places, each has its turn.
    for (liar, size) in liars.iter().zip(TRUE_SIZE + 1..) {
        world.claim(liar, size, BLOCK);
    }
    assert_eq!(world.found(&bob, Some(0)), set([]));
    let found = (0..1_000).filter(|_| world.found(&bob, Some(10)).contains(&alice.identity.id)).count();
    assert!((50..200).contains(&found), "{found}");
}

#[test]
fn who_changes_its_mind_leaves_those_who_did_not() {
    let mut world = World::new(Limits { files_per_peer: 1, ..Limits::default() });
    let [alice, bob] = [(); 2].map(|()| world.join("lobby"));
    for peer in [&alice, &bob] {
        world.claim(peer, TRUE_SIZE + 1, BLOCK);
    }
    world.found(&bob, None);
    let request = Subject { kind: Kind::Request, ..GET_MANIFEST };
    world.registry.relay(bob.conn, alice.identity.id, &request).unwrap();
    world.now = Duration::from_secs(5);
    // What is refused changes nothing.
    let facts = sized(file(1), TRUE_SIZE);
    let refused = world.ask(&bob, Request::Announce { facts, blocks: Bytes::from_static(&[0, 0]) });
    assert_eq!(error(refused), ErrorCode::InvalidBitfield);
    assert_eq!(world.sizes(&bob), [(TRUE_SIZE + 1, 2, 2)]);

    let out = world.claim(&bob, TRUE_SIZE, NONE);
    assert_eq!(told(&out, |response| matches!(response, Response::PeerLeft { .. })), [alice.conn]);
    assert_eq!(world.sizes(&bob), [(TRUE_SIZE, 0, 1), (TRUE_SIZE + 1, 1, 1)]);
    let answered = Subject { kind: Kind::Block, ..request };
    let refused = world.registry.relay(alice.conn, bob.identity.id, &answered).unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotRequested);
    let update = Request::UpdateBlocks { file: file(1), blocks: BLOCK, direct: 0 };
    world.ask(&bob, update);
    assert_eq!(world.sizes(&bob), [(TRUE_SIZE, 1, 1), (TRUE_SIZE + 1, 1, 1)]);
    let Response::Peers { peers, .. } = answer(world.ask(&alice, get_peers(file(1), None))) else { panic!("peers") };
    assert_eq!(peers, []);
    world.ask(&bob, Request::Leave { file: Some(file(1)) });
    assert_eq!(world.sizes(&bob), [(TRUE_SIZE + 1, 1, 1)]);
}

#[test]
fn who_is_in_no_swarm_hears_of_the_holders_in_the_one_with_the_most_sources() {
    let mut world = World::new(Limits::default());
    let [liar, alice, bob, carol, dave] = [(); 5].map(|()| world.join("lobby"));
    for (peer, size, blocks) in [
        (&liar, TRUE_SIZE + 1, BLOCK),
        (&alice, TRUE_SIZE, BLOCK),
        (&bob, TRUE_SIZE, BLOCK),
        (&carol, TRUE_SIZE + 1, NONE),
    ] {
        world.claim(peer, size, blocks);
    }
    let mut holders = |asker: &Joined| {
        let found = ids(&answer(world.ask(asker, Request::WhoHas { file: file(1), block: Some(0) })));
        found.into_iter().collect::<BTreeSet<_>>()
    };
    assert_eq!(holders(&dave), set([&alice, &bob]));
    assert_eq!(holders(&carol), set([&liar]));
    assert_eq!(holders(&alice), set([&bob]));
}

#[test]
fn each_opinion_counts_as_a_file_of_the_room_and_as_one_of_the_peer() {
    let mut world = World::new(Limits { files_per_room: 2, files_per_peer: 1, ..Limits::default() });
    let peers = [(); 3].map(|()| world.join("lobby"));
    for (peer, size) in peers.iter().zip([1, 2]) {
        world.claim(peer, size, BLOCK);
    }
    let third = |size| Request::Announce { facts: sized(file(1), size), blocks: BLOCK };
    assert_eq!(error(world.ask(&peers[2], third(3))), ErrorCode::RoomFull);
    assert_eq!(answer(world.ask(&peers[2], third(2))), Response::Announced { file: file(1) });
    // To change one's mind needs no further file.
    assert_eq!(answer(world.ask(&peers[2], third(1))), Response::Announced { file: file(1) });
    peers.iter().for_each(|peer| drop(world.disconnect(peer)));
    assert_eq!(world.registry.census(), Census { rooms: 0, peers: 0, files: 0, told_direct_bytes: 0 });
}
