//! What is said to other peers, and what becomes of it.

use super::*;

/// The frames with blocks since the last look.
fn blocks_sent(lab: &mut Lab) -> Vec<Frame> {
    let block = |output| if let Output::Send { frame, receipt: Some(_) } = output { Some(frame) } else { None };
    std::mem::take(&mut lab.outputs).into_iter().filter_map(block).collect()
}

#[test]
fn a_stranger_gets_blocks_as_json_until_the_tracker_tells_what_it_takes() {
    let (content, manifest) = large(8);
    let file = manifest.file();
    let mut lab = Lab::online();
    let store = lab.client.share(Arc::clone(&manifest), lab.now).unwrap();
    lab.drain();
    lab.say(3, PeerMessage::Bitfield { file: file.tag(), blocks: Bitfield::empty(8).to_bytes(), begin: true });
    lab.say(3, PeerMessage::Interested { file: file.tag() });
    let give = |lab: &mut Lab, index| {
        lab.say(3, PeerMessage::Request { file: file.tag(), index, count: 1 });
        let read = |output: &Output| if let Output::Read { id, .. } = output { Some(*id) } else { None };
        let id = lab.outputs.iter().rev().find_map(read).unwrap();
        let data = &content[index as usize * 4_096..(index as usize + 1) * 4_096];
        lab.client.handle_read(store, id, Ok(Bytes::copy_from_slice(data)), lab.now);
        lab.drain();
        blocks_sent(lab)
    };
    assert!(matches!(give(&mut lab, 0)[..], [Frame::Text(_)]));
    lab.respond(None, &Response::PeerJoined { file, peer: PeerInfo { binary: true, ..info(3) } });
    assert!(matches!(give(&mut lab, 1)[..], [Frame::Binary { .. }]));
}

#[test]
fn a_request_that_the_tracker_refused_is_no_longer_waited_for() {
    let (_, manifest) = large(1_024);
    let file = manifest.file();
    let mut lab = Lab::online();
    let (index, count) = lab.download(&manifest)[0];
    let before = lab.client.swarm(file).unwrap().in_flight();
    let about = Some(Subject { kind: Kind::Request, tag: file.tag(), index, count });
    let busy = Response::Error { code: ErrorCode::Busy, message: String::new(), to: Some(peer(2)), about };
    lab.respond(None, &busy);
    assert!(lab.client.swarm(file).unwrap().in_flight() < before);
    assert!(lab.client.swarm(file).unwrap().is_neighbour(peer(2)));
}

#[test]
fn who_is_gone_or_was_not_introduced_is_no_neighbour() {
    let [one, two] = [large(16).1, large(32).1];
    for (code, stays) in [(ErrorCode::NotIntroduced, true), (ErrorCode::UnknownPeer, false)] {
        let mut lab = Lab::online();
        for manifest in [&one, &two] {
            lab.client.share(Arc::clone(manifest), lab.now);
            lab.drain();
            lab.respond(None, &Response::PeerJoined { file: manifest.file(), peer: info(3) });
        }
        let about = Some(Subject { kind: Kind::Have, tag: one.file().tag(), index: 0, count: 1 });
        lab.respond(None, &Response::Error { code, message: String::new(), to: Some(peer(3)), about });
        assert!(!lab.client.swarm(one.file()).unwrap().is_neighbour(peer(3)));
        assert_eq!(lab.client.swarm(two.file()).unwrap().is_neighbour(peer(3)), stays, "{code}");
    }
}

#[test]
fn what_the_tracker_said_of_a_peer_during_the_search_is_known_afterwards() {
    let (_, manifest) = large(32);
    let file = manifest.file();
    let mut lab = Lab::online();
    lab.client.fetch(file, lab.now);
    lab.drain();
    let named = PeerInfo { name: Some("ana".parse().unwrap()), ..info(2) };
    lab.respond(None, &Response::Peers { file, peers: vec![named] });
    lab.say(2, part_of(&manifest, None));
    let store = lab.wanted_store();
    lab.client.handle_created(store, Ok((Bitfield::empty(32), Storage::Disk)), lab.now);
    lab.say(2, PeerMessage::Bitfield { file: file.tag(), blocks: Bitfield::full(32).to_bytes(), begin: true });
    while lab.client.poll_timeout().unwrap() < Instant::after_start(seconds(1)) {
        lab.sleep();
    }
    let report = lab.last_report();
    assert_eq!(report.peers[0].name.as_ref().unwrap().as_str(), "ana");
}

#[test]
fn a_choked_peer_that_floods_requests_is_dropped() {
    let (_, manifest) = large(8);
    let file = manifest.file();
    let mut lab = Lab::online();
    lab.client.share(manifest, lab.now);
    lab.drain();
    for number in (10..40).chain([3]) {
        lab.respond(None, &Response::PeerJoined { file, peer: info(number) });
        lab.say(
            number,
            PeerMessage::Bitfield { file: file.tag(), blocks: Bitfield::empty(8).to_bytes(), begin: false },
        );
        lab.say(number, PeerMessage::Interested { file: file.tag() });
    }
    lab.sent();
    (0..5_000).for_each(|_| lab.say(3, PeerMessage::Request { file: file.tag(), index: 0, count: 1 }));
    assert!(lab.sent().len() <= 1_024);
    assert!(!lab.client.swarm(file).unwrap().is_neighbour(peer(3)));
}

#[test]
fn of_a_bounded_number_of_peers_it_is_remembered_what_the_tracker_said() {
    let (_, manifest) = large(8);
    let file = manifest.file();
    let mut lab = Lab::shares(&manifest);
    for number in 0..1_000_u64 {
        let id = PeerId::from_bytes(number.to_be_bytes());
        lab.respond(None, &Response::PeerJoined { file, peer: PeerInfo { id, ..info(0) } });
    }
    assert_eq!(lab.client.transfers[&file].contacts.len(), 512);
}

#[test]
fn a_block_that_comes_as_a_binary_frame_is_written() {
    let (content, manifest) = large(8);
    let mut lab = Lab::online();
    let (index, count) = lab.download(&manifest)[0];
    let block = PeerMessage::Block { file: manifest.file().tag(), index, count, data: Bytes::new() };
    let head = protocol::encode_forwarded(peer(2), &block);
    let blocks = &content[index as usize * 4_096..(index + count) as usize * 4_096];
    let frame = [&(head.len() as u32).to_be_bytes(), head.as_bytes(), blocks].concat();
    lab.client.handle_binary(&frame.into(), lab.now);
    lab.drain();
    let is_written = |output: &Output| matches!(output, Output::Write { data, .. } if data == blocks);
    assert!(lab.outputs.iter().any(is_written));
}
