mod opinions;
mod permission;

use super::*;
use crate::Direct;
use bytes::Bytes;
use protocol::{BlockSize, FileName, FileTag, Kind, MediaType, Subject};
use std::time::Duration;

/// As in `Limits::default()`.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(10);
/// What anybody may say to anybody in a room.
const GET_MANIFEST: Subject = Subject { kind: Kind::GetManifest, tag: FileTag::from_bytes([1; 8]), index: 0, count: 1 };

#[test]
fn a_secret_takes_the_id_back_even_from_an_open_connection() {
    let mut world = World::new(Limits::default());
    let alice = world.join("lobby");
    let bob = world.join("lobby");
    for peer in [&alice, &bob] {
        world.announce(peer, file(1), &[0x80]);
    }
    world.ask(&alice, get_peers(file(1), None));

    let conn = world.connect();
    let out = world.send(conn, register("lobby", Some(alice.identity.clone())));
    let [
        Output::Send { to, response: Response::PeerLeft { peer, .. }, .. },
        Output::Close { conn: older, code },
        answer,
    ] = &out[..]
    else {
        panic!("{out:?}");
    };
    assert_eq!((*to, *peer), (bob.conn, alice.identity.id));
    assert_eq!((*older, *code), (alice.conn, close::REPLACED));
    let Output::Send { response: Response::Registered { identity, resumed: true, .. }, .. } = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(*identity, alice.identity);
    assert_eq!(world.send(alice.conn, Request::Ping), []);
    let route = Route { from: bob.identity.id, to: conn, binary: false };
    assert_eq!(world.registry.relay(bob.conn, alice.identity.id, &GET_MANIFEST), Ok(route));
}

#[test]
fn a_wrong_secret_leaves_the_connection_free_to_register_afresh() {
    let mut world = World::new(Limits::default());
    let alice = world.join("lobby");
    let conn = world.connect();
    let stolen = Identity { secret: protocol::Secret::from_bytes([0; 16]), ..alice.identity.clone() };
    assert_eq!(error(world.send(conn, register("lobby", Some(stolen)))), ErrorCode::WrongSecret);
    assert_eq!(error(world.send(conn, Request::Ping)), ErrorCode::NotRegistered);
    let out = world.send(conn, register("lobby", None));
    assert!(matches!(answer(out), Response::Registered { resumed: false, .. }));
    assert_eq!(error(world.send(conn, register("lobby", None))), ErrorCode::AlreadyRegistered);
    assert_eq!(answer(world.ask(&alice, Request::Ping)), Response::Pong);
}

#[test]
fn another_version_is_refused() {
    let mut world = World::new(Limits::default());
    let conn = world.connect();
    let Request::Register { room, name, binary, direct, resume, .. } = register("lobby", None) else { unreachable!() };
    let newer = Request::Register { protocol: PROTOCOL_VERSION + 1, room, name, binary, direct, resume };
    assert_eq!(error(world.send(conn, newer)), ErrorCode::UnsupportedProtocol);
}

#[test]
fn a_connection_that_does_not_register_in_time_is_closed() {
    let mut world = World::new(Limits::default());
    let silent = world.connect();
    world.now += Duration::from_secs(1);
    world.join("lobby");
    assert_eq!(world.registry.poll_timeout(), Some(REGISTER_TIMEOUT));
    world.now = REGISTER_TIMEOUT;
    assert_eq!(world.timeout(), [Output::Close { conn: silent, code: close::REGISTER_TIMEOUT }]);
    assert_eq!(world.registry.poll_timeout(), None);
}

#[test]
fn those_who_were_introduced_hear_of_a_join_once_and_of_a_leave_once() {
    let mut world = World::new(Limits::default());
    let [alice, bob, carol, dave] = [(); 4].map(|()| world.join("lobby"));
    for peer in [&alice, &bob, &carol] {
        world.announce(peer, file(1), &[0x80]);
    }
    let out = world.ask(&alice, get_peers(file(1), None));
    assert_eq!(told(&out, |response| matches!(response, Response::PeerJoined { .. })), [bob.conn, carol.conn]);
    for peer in [&alice, &bob] {
        let out = world.ask(peer, get_peers(file(1), None));
        // Bob and Carol have not met.
        let news = told(&out, |response| matches!(response, Response::PeerJoined { .. }));
        assert_eq!(news, if peer.conn == alice.conn { vec![] } else { vec![carol.conn] });
    }
    // Who only looks is not introduced.
    assert_eq!(ids(&answer(world.ask(&dave, get_peers(file(1), None)))).len(), 3);

    let leave = Request::Leave { file: Some(file(1)) };
    let out = world.ask(&bob, leave.clone());
    let mut news = told(&out, |response| matches!(response, Response::PeerLeft { .. }));
    news.sort();
    assert_eq!(news, [alice.conn, carol.conn]);
    assert_eq!(world.ask(&bob, leave).len(), 1);
    let out = world.disconnect(&alice);
    assert_eq!(told(&out, |response| matches!(response, Response::PeerLeft { .. })), [carol.conn]);
    assert_eq!(world.disconnect(&carol), []);
}

#[test]
fn peers_are_all_but_the_asker_or_a_random_choice_of_as_many_as_asked_for() {
    let limits = Limits { peers_per_answer: 7, ..Limits::default() };
    let mut world = World::new(limits);
    let peers: Vec<_> = (0..20).map(|_| world.join("lobby")).collect();
    let asker = &peers[0];
    let mut seen = BTreeSet::new();
    for (members, peer) in peers.iter().enumerate() {
        world.announce(peer, file(1), &[0]);
        for (limit, most) in [(None, 5), (Some(0), 0), (Some(3), 3), (Some(1_000), 7)] {
            let chosen = ids(&answer(world.ask(asker, get_peers(file(1), limit))));
            let unique: BTreeSet<_> = chosen.iter().copied().collect();
            assert_eq!((chosen.len(), unique.len()), (members.min(most), members.min(most)));
            assert!(!unique.contains(&asker.identity.id));
            seen.extend(unique);
        }
    }
    assert!(seen.len() > 10, "the choice is not always the same");
    assert_eq!(ids(&answer(world.ask(asker, get_peers(file(2), None)))), []);
}

#[test]
fn who_knows_no_source_is_given_one_unless_very_many_know_it() {
    let mut world = World::new(Limits::default());
    let update = |blocks| update(blocks, 0);
    let peers: Vec<_> = (0..40).map(|_| world.join("lobby")).collect();
    peers.iter().for_each(|peer| world.announce(peer, file(1), &[0]));
    let sources = [7, 8].map(|index| peers[index].identity.id);
    let met_by = |world: &mut World, peer: &Joined| {
        let chosen: BTreeSet<_> = ids(&answer(world.ask(peer, get_peers(file(1), Some(2))))).into_iter().collect();
        assert_eq!(chosen.len(), 2);
        sources.map(|source| chosen.contains(&source))
    };
    let newcomer = |world: &mut World| {
        let peer = world.join("lobby");
        world.announce(&peer, file(1), &[0]);
        met_by(world, &peer)
    };
    // They are sources, and one of them was not for a while.
    for (source, blocks) in [(7, &[0x80]), (8, &[0x80]), (7, &[0]), (7, &[0x80])] {
        world.ask(&peers[source], update(blocks));
    }
    let mut times = [0, 0];
    for _ in 0..300 {
        let met = newcomer(&mut world);
        assert!(met.contains(&true));
        [0, 1].into_iter().for_each(|source| times[source] += u32::from(met[source]));
    }
    assert!(times.iter().all(|times| (100..200).contains(times)), "{times:?}");
    let by_sources: Vec<_> = (0..10).map(|_| met_by(&mut world, &peers[7])).collect();
    assert!(by_sources.iter().flatten().filter(|met| **met).count() < 3, "a source needs none: {by_sources:?}");
    let met_late = (0..200).filter(|_| newcomer(&mut world).contains(&true)).count();
    assert!((90..130).contains(&met_late), "200 know each by then: {met_late}");

    // One of them leaves, and the other has not every block after all.
    world.disconnect(&peers[7]);
    world.ask(&peers[8], update(&[0]));
    assert_eq!(list(&mut world, &peers[0]), [("f1".to_owned(), 0, 539)]);
    assert!((0..20).filter(|_| newcomer(&mut world).contains(&true)).count() < 3);
}

#[test]
fn a_source_with_room_is_given_though_others_have_none() {
    let mut world = World::new(Limits::default());
    let join_with = |world: &mut World, blocks: &[u8]| {
        let peer = world.join("lobby");
        world.announce(&peer, file(1), blocks);
        peer
    };
    let mut sources: Vec<_> = (0..5).map(|_| join_with(&mut world, &[0x80]).identity.id).collect();
    let is_given_one = |world: &mut World, sources: &[PeerId]| {
        let peer = join_with(world, &[0]);
        ids(&answer(world.ask(&peer, get_peers(file(1), Some(2))))).iter().any(|id| sources.contains(id))
    };
    assert!((0..800).all(|_| is_given_one(&mut world, &sources)));
    (0..300).for_each(|_| _ = is_given_one(&mut world, &sources));
    assert!((0..50).filter(|_| is_given_one(&mut world, &sources)).count() < 10, "200 know each");
    sources.push(join_with(&mut world, &[0x80]).identity.id);
    assert!((0..100).all(|_| is_given_one(&mut world, &sources)));
}

#[test]
fn holders_of_a_block_are_found_among_very_many_though_only_sources_have_it() {
    let mut world = World::new(Limits::default());
    let peers: Vec<_> = (0..1_000).map(|_| world.join("lobby")).collect();
    for (number, peer) in peers.iter().enumerate() {
        world.announce(peer, file(1), &[if number % 40 == 0 { 0x80 } else { 0 }]);
    }
    for block in [Some(0), None] {
        let mut is_found = |peer| !ids(&answer(world.ask(peer, Request::WhoHas { file: file(1), block }))).is_empty();
        assert!(peers.iter().step_by(20).all(&mut is_found));
    }
}

#[test]
fn a_join_costs_as_many_messages_as_peers_were_asked_for() {
    let mut world = World::new(Limits::default());
    let mut acquaintances = 0;
    for members in 0..500_usize {
        let peer = world.join("lobby");
        world.announce(&peer, file(1), &[0]);
        acquaintances += world.ask(&peer, get_peers(file(1), None)).len() - 1;
        assert!(acquaintances <= 5 * (members + 1));
    }
}

#[test]
fn asking_again_and_again_does_not_introduce_to_everybody() {
    let mut world = World::new(Limits::default());
    let peers: Vec<_> = (0..400).map(|_| world.join("lobby")).collect();
    peers.iter().for_each(|peer| world.announce(peer, file(1), &[0]));
    let mut met = BTreeSet::new();
    for _ in 0..100 {
        met.extend(ids(&answer(world.ask(&peers[0], get_peers(file(1), Some(50))))));
    }
    assert!((200..250).contains(&met.len()), "{}", met.len());
}

#[test]
fn what_went_directly_is_what_peers_say_but_of_a_file_at_most_its_size_at_a_time() {
    let mut world = World::new(Limits::default());
    let [alice, bob] = [(); 2].map(|()| world.join("lobby"));
    for peer in [&alice, &bob] {
        world.announce(peer, file(1), &[0]);
    }
    world.ask(&alice, update(&[0], 2));
    world.ask(&alice, update(&[0x80], 1));
    world.ask(&bob, update(&[0], u64::MAX));
    let size = facts(file(1), "f1").size;
    assert_eq!(world.registry.census().told_direct_bytes, 3 + size);
    assert_eq!(error(world.ask(&bob, update(&[0, 0], 1))), ErrorCode::InvalidBitfield);
    assert_eq!(world.registry.census().told_direct_bytes, 3 + size, "what is refused counts nothing");
    let view = world.registry.view(&RoomName::default(), None, 10, |_| Duration::ZERO).unwrap();
    let view = serde_json::to_value(&view).unwrap();
    let mut told: Vec<_> =
        (0..2).map(|peer| view["peers"][peer]["files"][0]["told_direct_bytes"].as_u64().unwrap()).collect();
    told.sort_unstable();
    assert_eq!(told, [3, size]);
}

#[test]
fn a_bitfield_must_fit_its_file() {
    let mut world = World::new(Limits::default());
    let alice = world.join("lobby");
    let update = |blocks| update(blocks, 0);
    assert_eq!(error(world.ask(&alice, update(&[0]))), ErrorCode::UnknownFile);
    for blocks in [&[][..], &[0, 0], &[0x40]] {
        let announce = Request::Announce { facts: facts(file(1), "f1"), blocks: Bytes::from_static(blocks) };
        assert_eq!(error(world.ask(&alice, announce)), ErrorCode::InvalidBitfield);
    }
    assert_eq!(list(&mut world, &alice), []);
    world.announce(&alice, file(1), &[0]);
    assert_eq!(error(world.ask(&alice, update(&[0, 0]))), ErrorCode::InvalidBitfield);
    assert_eq!(list(&mut world, &alice), [("f1".to_owned(), 0, 1)]);
    assert_eq!(answer(world.ask(&alice, update(&[0x80]))), Response::Updated { file: file(1) });
    assert_eq!(list(&mut world, &alice), [("f1".to_owned(), 1, 1)]);
    let endless = FileFacts { size: u64::MAX, ..facts(file(2), "f2") };
    let announce = Request::Announce { facts: endless, blocks: Bytes::new() };
    assert_eq!(error(world.ask(&alice, announce)), ErrorCode::Malformed);
}

#[test]
fn a_peer_is_as_old_as_its_first_announcement() {
    let mut world = World::new(Limits::default());
    let [alice, bob] = [(); 2].map(|()| world.join("lobby"));
    world.now = Duration::from_secs(10);
    world.announce(&alice, file(1), &[0]);
    world.now = Duration::from_millis(13_900);
    world.announce(&alice, file(1), &[0x80]);
    world.announce(&bob, file(1), &[0]);
    world.now = Duration::from_millis(15_950);
    let ages = |response| match response {
        Response::Peers { peers, .. } | Response::Holders { peers, .. } => peers.iter().map(|peer| peer.age).collect(),
        Response::PeerJoined { peer, .. } => vec![peer.age],
        other => panic!("no peers: {other:?}"),
    };
    let mut out = world.ask(&bob, get_peers(file(1), None));
    assert_eq!(ages(answer(out.split_off(1))), [5]);
    let Some(Output::Send { response, .. }) = out.pop() else { panic!("Alice must be told") };
    assert_eq!(ages(response), [2]);
    assert_eq!(ages(answer(world.ask(&bob, Request::WhoHas { file: file(1), block: None }))), [5]);
    // Who left begins again.
    world.ask(&alice, Request::Leave { file: None });
    world.announce(&alice, file(1), &[0x80]);
    assert_eq!(ages(answer(world.ask(&bob, get_peers(file(1), None)))), [0]);
}

#[test]
fn holders_are_those_that_have_the_block_or_the_file() {
    let mut world = World::new(Limits { peers_per_answer: 2, ..Limits::default() });
    let peers: Vec<_> = (0..5).map(|_| world.join("lobby")).collect();
    let facts = FileFacts { size: 32_768, ..facts(file(1), "f1") };
    for (peer, blocks) in peers.iter().zip([[0x00], [0x80], [0x40], [0xc0], [0xc0]]) {
        let blocks = Bytes::copy_from_slice(&blocks);
        world.ask(peer, Request::Announce { facts: facts.clone(), blocks });
    }
    let mut holders = |asker: usize, block| {
        let mut found = ids(&answer(world.ask(&peers[asker], Request::WhoHas { file: file(1), block })));
        found.sort_by_key(|id| peers.iter().position(|peer| peer.identity.id == *id));
        found
    };
    let known = |numbers: &[usize]| numbers.iter().map(|i| peers[*i].identity.id).collect::<Vec<_>>();
    assert_eq!(holders(0, None), known(&[3, 4]));
    assert_eq!(holders(3, None), known(&[4]));
    assert_eq!(holders(0, Some(1)).len(), 2);
    let request = Request::WhoHas { file: file(1), block: Some(2) };
    assert_eq!(error(world.ask(&peers[0], request)), ErrorCode::OutOfRange);
    assert_eq!(ids(&answer(world.ask(&peers[0], Request::WhoHas { file: file(9), block: None }))), []);
}

#[test]
fn watchers_get_one_list_for_many_changes() {
    let mut world = World::new(Limits::default());
    let watcher = world.join("lobby");
    let stranger = world.join("elsewhere");
    world.ask(&watcher, Request::ListFiles { watch: true });
    world.ask(&stranger, Request::ListFiles { watch: true });
    let sharer = world.join("lobby");
    for number in [3, 1, 2] {
        world.announce(&sharer, file(number), &[0x80]);
    }
    let update = world.timeout();
    let [Output::Update { to, response: Response::Files { files } }] = &update[..] else { panic!("{update:?}") };
    assert_eq!(*to, [watcher.conn]);
    assert_eq!(files.iter().map(|info| info.facts.name.as_str()).collect::<Vec<_>>(), ["f1", "f2", "f3"]);

    world.ask(&sharer, Request::Leave { file: Some(file(1)) });
    assert_eq!(world.timeout(), []);
    assert_eq!(world.registry.poll_timeout(), Some(world.now + Duration::from_millis(250)));
    world.now += Duration::from_millis(250);
    assert_eq!(world.timeout().len(), 1);
    // A bitfield that changes neither sources nor peers changes no list, and who left all does not watch.
    world.announce(&sharer, file(2), &[0x80]);
    world.ask(&watcher, Request::Leave { file: None });
    world.announce(&sharer, file(4), &[0x80]);
    assert_eq!(world.registry.poll_timeout(), None);
}

#[test]
fn rooms_do_not_see_each_other() {
    let mut world = World::new(Limits::default());
    let alice = world.join("one");
    let bob = world.join("two");
    world.announce(&alice, file(1), &[0x80]);
    assert_eq!(list(&mut world, &bob), []);
    assert_eq!(ids(&answer(world.ask(&bob, get_peers(file(1), None)))), []);
    for (from, to) in [(&alice, &bob), (&alice, &alice)] {
        let refused = world.registry.relay(from.conn, to.identity.id, &GET_MANIFEST).unwrap_err();
        assert_eq!(refused.code, ErrorCode::UnknownPeer);
    }
    let conn = world.connect();
    let refused = world.registry.relay(conn, alice.identity.id, &GET_MANIFEST).unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotRegistered);
}

#[test]
fn every_limit_refuses_what_is_above_it() {
    let limits = Limits { files_per_peer: 2, files_per_room: 3, peers_per_room: 2, ..Limits::default() };
    let mut world = World::new(limits);
    let alice = world.join("lobby");
    let bob = world.join("lobby");
    let conn = world.connect();
    assert_eq!(error(world.send(conn, register("lobby", None))), ErrorCode::RoomFull);
    let announce = |number| Request::Announce { facts: facts(file(number), "f"), blocks: Bytes::from_static(&[0]) };
    for number in [1, 2, 1] {
        world.announce(&alice, file(number), &[0]);
    }
    assert_eq!(error(world.ask(&alice, announce(3))), ErrorCode::TooManyFiles);
    world.announce(&bob, file(3), &[0]);
    assert_eq!(error(world.ask(&bob, announce(4))), ErrorCode::RoomFull);
    world.announce(&bob, file(1), &[0]);
    // A place that becomes free can be taken; so can one's own.
    let resumed = world.send(conn, register("lobby", Some(bob.identity)));
    assert!(matches!(answer(resumed), Response::Registered { resumed: true, .. }));
    world.disconnect(&alice);
    world.join("lobby");
}

#[test]
fn nothing_is_left_of_those_who_left() {
    let mut world = World::new(Limits::default());
    let peers: Vec<_> = (0..10).map(|number| world.join(if number % 2 == 0 { "even" } else { "odd" })).collect();
    for (number, peer) in peers.iter().enumerate() {
        world.ask(peer, Request::ListFiles { watch: true });
        world.announce(peer, file(number as u8 % 3), &[0x80]);
        world.ask(peer, get_peers(file(number as u8 % 3), None));
    }
    assert_eq!(world.registry.census(), Census { rooms: 2, peers: 10, files: 6, told_direct_bytes: 0 });
    peers.iter().for_each(|peer| drop(world.disconnect(peer)));
    world.now += Duration::from_secs(1);
    world.timeout();
    assert_eq!(world.registry.census(), Census { rooms: 0, peers: 0, files: 0, told_direct_bytes: 0 });
    assert!(world.registry.conns.is_empty() && world.registry.timers.is_empty());
}

#[test]
fn a_search_for_holders_looks_at_a_part_of_a_large_swarm_and_not_always_the_same() {
    for (members, every_search_finds) in [(200, true), (400, false)] {
        let mut world = World::new(Limits::default());
        let peers: Vec<_> = (0..members).map(|_| world.join("lobby")).collect();
        let of_two_blocks = FileFacts { size: (16 << 10) + 1, ..facts(file(1), "two") };
        let (holder, others) = peers.split_first().unwrap();
        for (peer, blocks) in others.iter().map(|peer| (peer, &[0])).chain([(holder, &[0x80])]) {
            let blocks = Bytes::from_static(blocks);
            world.ask(peer, Request::Announce { facts: of_two_blocks.clone(), blocks });
        }
        let asker = world.join("lobby");
        let search = || Request::WhoHas { file: file(1), block: Some(0) };
        let found = (0..100).filter(|_| ids(&answer(world.ask(&asker, search()))) == [holder.identity.id]).count();
        assert_eq!(found == 100, every_search_finds, "{found}");
        assert!(found > 20, "{found}");
    }
}

#[test]
fn those_who_are_near_are_told_what_lines_both_can_have() {
    let (tcp, web) = (BTreeSet::from([LineKind::Tcp]), BTreeSet::from([LineKind::WebRtc]));
    let (both, none) = (&tcp | &web, BTreeSet::new());
    let newer = &both | &BTreeSet::from([LineKind::Other]);
    // What the first and the second one can have, where they are, and what both are told.
    let near = ["192.168.1.2", "10.0.0.3"];
    let far = ["192.168.1.2", "203.0.113.1"];
    let cases = [
        (Direct::Near, [&tcp, &tcp], near, &tcp),
        (Direct::Near, [&tcp, &none], near, &none),
        (Direct::Near, [&tcp, &tcp], far, &none),
        (Direct::Any, [&tcp, &tcp], far, &tcp),
        (Direct::Off, [&tcp, &tcp], near, &none),
        (Direct::Near, [&web, &web], near, &web),
        (Direct::Near, [&both, &both], near, &both),
        (Direct::Near, [&both, &web], near, &web),
        (Direct::Any, [&both, &both], far, &both),
        (Direct::Off, [&both, &both], near, &none),
        // One machine.
        (Direct::Near, [&both, &both], ["192.168.1.2"; 2], &tcp),
        (Direct::Near, [&web, &web], ["127.0.0.1"; 2], &none),
        (Direct::Any, [&both, &both], ["::1"; 2], &tcp),
        (Direct::Any, [&web, &web], ["10.0.0.1", "::ffff:10.0.0.1"], &none),
        // All that is behind one router.
        (Direct::Near, [&both, &both], ["203.0.113.1"; 2], &both),
        (Direct::Any, [&web, &web], ["2001:db8::1", "2001:db8::2"], &web),
        // What a newer client can have.
        (Direct::Near, [&newer, &newer], near, &both),
        (Direct::Any, [&newer, &newer], far, &both),
    ];
    for (direct, can, addresses, told) in cases {
        let mut world = World::new(Limits { direct, ..Limits::default() });
        let [first, second] = [0, 1].map(|which: usize| {
            world.address = AddressKey::of(addresses[which].parse().unwrap());
            let joined = world.join_with(can[which].clone());
            world.announce(&joined, file(1), &[0x80]);
            joined
        });
        let out = world.ask(&second, get_peers(file(1), None));
        let lines = |response: &Response| match response {
            Response::PeerJoined { peer, .. } => Some(peer.direct.clone()),
            Response::Peers { peers, .. } => Some(peers[0].direct.clone()),
            _ => None,
        };
        let said = out.iter().filter_map(|output| match output {
            Output::Send { to, response, .. } => Some((*to, lines(response)?)),
            _ => None,
        });
        assert_eq!(
            said.collect::<Vec<_>>(),
            [(first.conn, told.clone()), (second.conn, told.clone())],
            "{addresses:?}"
        );
    }
}

#[test]
fn a_peer_that_is_removed_is_gone_and_its_acquaintances_hear_of_it() {
    let mut world = World::new(Limits::default());
    let [alice, bob] = [(); 2].map(|()| world.join("lobby"));
    for peer in [&alice, &bob] {
        world.announce(peer, file(1), &[0x80]);
    }
    world.ask(&alice, get_peers(file(1), None));
    let mut out = Vec::new();
    assert!(world.registry.remove(alice.identity.id, world.now, &mut out));
    assert_eq!(told(&out, |response| matches!(response, Response::PeerLeft { .. })), [bob.conn]);
    assert_eq!(out.last(), Some(&Output::Close { conn: alice.conn, code: close::REMOVED }));
    assert_eq!(list(&mut world, &bob), [("f1".to_owned(), 1, 1)]);
    assert_eq!(world.ask(&alice, Request::Ping), []);
    assert!(!world.registry.remove(alice.identity.id, world.now, &mut out));
}

/// A registry and the time.
struct World {
    registry: Registry,
    /// Where those are who connect now.
    address: AddressKey,
    now: Duration,
    last_conn: u64,
}

struct Joined {
    conn: ConnId,
    identity: Identity,
}

impl World {
    fn new(limits: Limits) -> Self {
        let registry = Registry::new(limits, Secrets::new([7; 32]), 1);
        Self { registry, address: AddressKey::of([10, 0, 0, 1].into()), now: Duration::ZERO, last_conn: 0 }
    }

    fn connect(&mut self) -> ConnId {
        self.last_conn += 1;
        self.registry.connected(ConnId(self.last_conn), self.address, self.now);
        ConnId(self.last_conn)
    }

    fn join(&mut self, room: &str) -> Joined {
        self.join_by(register(room, None))
    }

    /// One that can have such lines.
    fn join_with(&mut self, direct: BTreeSet<LineKind>) -> Joined {
        let Request::Register { protocol, room, name, binary, resume, .. } = register("lobby", None) else {
            unreachable!()
        };
        self.join_by(Request::Register { protocol, room, name, binary, direct, resume })
    }

    fn join_by(&mut self, request: Request) -> Joined {
        let conn = self.connect();
        match answer(self.send(conn, request)) {
            Response::Registered { identity, resumed: false, .. } => Joined { conn, identity },
            other => panic!("{other:?}"),
        }
    }

    fn announce(&mut self, peer: &Joined, id: FileId, blocks: &[u8]) {
        let name = format!("f{}", id.as_bytes()[0]);
        let request = Request::Announce { facts: facts(id, &name), blocks: Bytes::copy_from_slice(blocks) };
        assert_eq!(answer(self.ask(peer, request)), Response::Announced { file: id });
    }

    fn ask(&mut self, peer: &Joined, request: Request) -> Vec<Output> {
        self.send(peer.conn, request)
    }

    fn send(&mut self, conn: ConnId, request: Request) -> Vec<Output> {
        let mut out = Vec::new();
        self.registry.handle(conn, Some(1), request, self.now, &mut out);
        out
    }

    fn disconnect(&mut self, peer: &Joined) -> Vec<Output> {
        let mut out = Vec::new();
        self.registry.disconnected(peer.conn, self.now, &mut out);
        out
    }

    fn timeout(&mut self) -> Vec<Output> {
        let mut out = Vec::new();
        self.registry.handle_timeout(self.now, &mut out);
        out
    }
}

fn file(number: u8) -> FileId {
    FileId::from_bytes([number; 32])
}

/// The facts of a file as somebody tells them who takes it for so long.
fn sized(file: FileId, size: u64) -> FileFacts {
    FileFacts { size, ..facts(file, "f") }
}

/// A file of one block.
fn facts(file: FileId, name: &str) -> FileFacts {
    let name = name.parse::<FileName>().unwrap();
    FileFacts { file, name, size: 3, media_type: MediaType::default(), block_size: BlockSize::for_file(3) }
}

fn update(blocks: &'static [u8], direct: u64) -> Request {
    Request::UpdateBlocks { file: file(1), blocks: Bytes::from_static(blocks), direct }
}

fn register(room: &str, resume: Option<Identity>) -> Request {
    let room = room.parse().unwrap();
    Request::Register { protocol: PROTOCOL_VERSION, room, name: None, binary: false, direct: BTreeSet::new(), resume }
}

fn get_peers(file: FileId, limit: Option<u32>) -> Request {
    Request::GetPeers { file, limit }
}

/// The last output, which answers the request.
fn answer(mut out: Vec<Output>) -> Response {
    match out.pop() {
        Some(Output::Send { seq: Some(1), response, .. }) => response,
        other => panic!("no answer: {other:?}"),
    }
}

fn error(out: Vec<Output>) -> ErrorCode {
    match answer(out) {
        Response::Error { code, .. } => code,
        other => panic!("no error: {other:?}"),
    }
}

fn ids(response: &Response) -> Vec<PeerId> {
    match response {
        Response::Peers { peers, .. } | Response::Holders { peers, .. } => peers.iter().map(|peer| peer.id).collect(),
        other => panic!("no peers: {other:?}"),
    }
}

/// Each file's name, sources and peers.
fn list(world: &mut World, peer: &Joined) -> Vec<(String, u32, u32)> {
    match answer(world.ask(peer, Request::ListFiles { watch: false })) {
        Response::Files { files } => {
            files.into_iter().map(|info| (info.facts.name.into(), info.sources, info.peers)).collect()
        }
        other => panic!("no list: {other:?}"),
    }
}

/// Who is sent a response of a kind, in the order of their connections.
fn told(out: &[Output], wanted: impl Fn(&Response) -> bool) -> Vec<ConnId> {
    let mut conns: Vec<_> = out
        .iter()
        .filter_map(|output| match output {
            Output::Send { to, response, .. } if wanted(response) => Some(*to),
            _ => None,
        })
        .collect();
    conns.sort();
    conns
}
