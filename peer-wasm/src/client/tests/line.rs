//! The line to the tracker.

use super::*;

fn resume_of(requests: &[(Option<u32>, Request)]) -> Option<Identity> {
    requests
        .iter()
        .find_map(|(_, request)| if let Request::Register { resume, .. } = request { resume.clone() } else { None })
}

/// What the shell was told of the connection last.
fn told(lab: &mut Lab) -> Connection {
    let connection = |output| {
        if let Output::Update(Update::Connection { connection }) = output { Some(connection) } else { None }
    };
    std::mem::take(&mut lab.outputs).into_iter().filter_map(connection).next_back().unwrap()
}

#[test]
fn a_lost_line_is_made_again_with_growing_pauses_and_takes_the_id_back() {
    let mut lab = Lab::online();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        lab.client.handle_closed(None, lab.now);
        lab.drain();
        pauses.push(lab.sleep());
        assert!(lab.wants_to_connect());
    }
    assert!(pauses[0] <= Duration::from_millis(500) && pauses[6] > 4 * pauses[0], "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(30)), "{pauses:?}");
    lab.register();
    assert_eq!(resume_of(&lab.requests()).unwrap().id, ME);
}

#[test]
fn an_id_that_somebody_else_took_back_is_not_taken_in_turn() {
    let mut lab = Lab::online();
    lab.client.handle_closed(Some(close::REPLACED), lab.now);
    lab.drain();
    lab.sleep();
    lab.sent();
    lab.register();
    let requests = lab.requests();
    assert!(matches!(requests[0].1, Request::Register { .. }));
    assert_eq!(resume_of(&requests), None);
}

#[test]
fn a_peer_that_is_not_wanted_stays_away_and_says_why() {
    for (code, expected) in [(close::WRONG_TOKEN, Problem::WrongToken), (close::REMOVED, Problem::Removed)] {
        // While it registers, and when it is in the room.
        for mut lab in [Lab::new(), Lab::online()] {
            lab.client.share(manifest(), lab.now);
            lab.client.handle_closed(Some(code), lab.now);
            lab.drain();
            assert_eq!(told(&mut lab), Connection::Ended { problem: expected.clone() });
            lab.client.wake(lab.now);
            for _ in 0..1_000 {
                let Some(deadline) = lab.client.poll_timeout() else { break };
                lab.now = lab.now.max(deadline);
                lab.client.handle_timeout(lab.now);
            }
            lab.client.fetch(FileId::from_bytes([5; 32]), lab.now);
            lab.drain();
            assert!(!lab.outputs.iter().any(|output| matches!(output, Output::Connect | Output::Send { .. })));
        }
    }
}

#[test]
fn a_tracker_without_room_is_tried_again_with_growing_pauses_and_the_reason_is_told() {
    for (code, expected) in [
        (close::TRACKER_FULL, Some(Problem::TrackerFull)),
        (close::ADDRESS_FULL, Some(Problem::AddressFull)),
        (close::SLOW_RECEIVER, Some(Problem::TooSlow)),
        (close::GOING_AWAY, None),
    ] {
        let mut lab = Lab::online();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            lab.client.handle_closed(Some(code), lab.now);
            lab.drain();
            let Connection::Waiting { problem, .. } = told(&mut lab) else { panic!("it must try again") };
            assert_eq!(problem, expected);
            pauses.push(lab.sleep());
            assert!(lab.wants_to_connect());
            // The socket opens each time, and the tracker closes it.
            lab.client.handle_opened(lab.now);
        }
        assert!(pauses[7] > 10 * pauses[0], "{pauses:?}");
    }
}

#[test]
fn a_tracker_that_forgot_the_secret_gives_a_new_id() {
    let mut lab = Lab::online();
    lab.client.handle_closed(Some(close::GOING_AWAY), lab.now);
    lab.sleep();
    lab.client.handle_opened(lab.now);
    lab.drain();
    lab.sent();
    let (code, message) = (ErrorCode::WrongSecret, String::new());
    lab.respond(None, &Response::Error { code, message, to: None, about: None });
    let requests = lab.requests();
    assert!(matches!(requests[..], [(_, Request::Register { resume: None, .. })]), "{requests:?}");
}

#[test]
fn a_silent_line_is_asked_for_a_pong_and_then_given_up() {
    let mut lab = Lab::online();
    lab.sent();
    assert_eq!(lab.sleep(), Duration::from_secs(20));
    assert_eq!(lab.requests(), [(None, Request::Ping)]);
    lab.respond(None, &Response::Pong);
    assert_eq!(lab.sleep(), Duration::from_secs(20));
    lab.sent();
    lab.sleep();
    assert!(lab.outputs.iter().any(|output| matches!(output, Output::Disconnect)));
}

#[test]
fn a_socket_that_does_not_open_or_a_tracker_that_does_not_answer_is_given_up() {
    for is_opened in [false, true] {
        let mut lab = Lab::new();
        lab.now = lab.now + seconds(4);
        if is_opened {
            lab.client.handle_opened(lab.now);
        }
        assert_eq!(lab.sleep(), seconds(if is_opened { 10 } else { 6 }));
        assert!(lab.outputs.iter().any(|output| matches!(output, Output::Disconnect)));
        assert!(matches!(told(&mut lab), Connection::Waiting { .. }));
    }
}

#[test]
fn a_wake_up_asks_at_once_or_connects_at_once() {
    let mut lab = Lab::online();
    lab.sent();
    lab.client.wake(lab.now);
    lab.drain();
    assert_eq!(lab.requests(), [(None, Request::Ping)]);
    lab.client.handle_closed(None, lab.now);
    lab.drain();
    assert!(!lab.wants_to_connect());
    lab.client.wake(lab.now);
    lab.drain();
    assert!(lab.wants_to_connect());
}

#[test]
fn after_a_lost_line_everything_is_announced_again() {
    let mut lab = Lab::online();
    lab.client.share(manifest(), lab.now);
    lab.client.handle_closed(None, lab.now);
    lab.sleep();
    lab.sent();
    lab.register();
    assert!(lab.requests().iter().any(|(_, request)| matches!(request, Request::Announce { .. })));
}

#[test]
fn a_line_that_breaks_takes_with_it_who_is_known_and_what_was_asked() {
    let (_, manifest) = large(8);
    let (shared, sought) = (manifest.file(), FileId::from_bytes([7; 32]));
    let mut lab = Lab::shares(&manifest);
    lab.respond(None, &Response::PeerJoined { file: shared, peer: info(2) });
    lab.client.fetch(sought, lab.now);
    let is_asked = |lab: &mut Lab| {
        lab.sent();
        lab.respond(None, &Response::Peers { file: sought, peers: vec![info(2)] });
        lab.mail().iter().any(|(_, message)| matches!(message, PeerMessage::GetManifest { .. }))
    };
    assert!(lab.client.swarm(shared).unwrap().is_neighbour(peer(2)));
    assert_eq!([is_asked(&mut lab), is_asked(&mut lab)], [true, false], "it is asked once");
    lab.client.handle_closed(None, lab.now);
    assert!(!lab.client.swarm(shared).unwrap().is_neighbour(peer(2)));
    assert!(lab.client.transfers[&shared].contacts.is_empty());
    lab.sleep();
    lab.register();
    assert!(is_asked(&mut lab));
}

#[test]
fn no_frame_from_the_tracker_makes_it_panic_or_stop() {
    let mut lab = Lab::online();
    for text in ["", "{", "[]", r#"{"type":"dance"}"#, r#"{"from":"x"}"#, r#"{"type":"registered"}"#] {
        lab.client.handle_text(text, lab.now);
    }
    for frame in [&b""[..], b"\0\0\0\xff{}", b"\xff\xff\xff\xff"] {
        lab.client.handle_binary(&Bytes::from_static(frame), lab.now);
    }
    lab.drain();
    lab.client.fetch(manifest().file(), lab.now);
    lab.drain();
    assert!(!lab.requests().is_empty());
}

impl Lab {
    /// How long it is silent until the line is given up.
    fn patience(&mut self) -> Duration {
        let start = self.now;
        self.outputs.clear();
        while !self.outputs.iter().any(|output| matches!(output, Output::Disconnect)) {
            self.sleep();
        }
        self.now.since(start)
    }
}

#[test]
fn a_line_on_which_one_large_message_comes_slowly_is_not_cut() {
    let (_, manifest) = large(1_024);
    // As JSON, three bytes come as four.
    for (binary, bytes_for_three) in [(true, 3), (false, 4)] {
        let mut lab = Lab::online();
        lab.client.config.binary = binary;
        lab.download(&manifest);
        let asked = lab.client.swarm(manifest.file()).unwrap().in_flight();
        // At 64 kbit/s.
        let needed = Duration::from_millis(asked.min(256 << 10) * bytes_for_three / 3 * 1_000 / 8_192);
        assert!(needed > seconds(5));
        assert_eq!(lab.patience(), seconds(30) + needed);
    }
}

#[test]
fn a_line_on_which_a_part_of_a_manifest_comes_slowly_is_not_cut() {
    let mut lab = Lab::online();
    let file = manifest().file();
    lab.client.fetch(file, lab.now);
    lab.drain();
    lab.respond(None, &Response::Peers { file, peers: vec![info(2)] });
    assert_eq!(lab.patience(), seconds(30) + Duration::from_millis(2_500), "20 KiB at 64 kbit/s");
    let mut lab = Lab::online();
    lab.client.fetch(file, lab.now);
    lab.drain();
    assert_eq!(lab.patience(), seconds(30), "nobody was asked");
}

#[test]
fn a_line_that_was_fast_is_given_up_soon() {
    let (content, manifest) = large(1_024);
    let mut lab = Lab::online();
    let mut requests = lab.download(&manifest);
    for _ in 0..3 {
        lab.now = lab.now + seconds(1);
        lab.send_blocks(&content, &manifest, &requests);
        requests = lab.blocks_asked(&manifest);
        assert!(!requests.is_empty());
    }
    let patience = lab.patience();
    assert!(patience <= seconds(34), "{patience:?}");
}

#[test]
fn a_line_on_which_a_large_message_leaves_slowly_is_not_cut() {
    let (content, manifest) = large(64);
    let file = manifest.file();
    let mut lab = Lab::online();
    let store = lab.client.share(Arc::clone(&manifest), lab.now).unwrap();
    lab.drain();
    let id = lab.read_for(3, file);
    lab.client.handle_read(store, id, Ok(Bytes::copy_from_slice(&content[..4_096])), lab.now);
    lab.drain();
    let receipt = |output| if let Output::Send { receipt, .. } = output { receipt } else { None };
    let receipts: Vec<_> = std::mem::take(&mut lab.outputs).into_iter().filter_map(receipt).collect();
    assert_eq!(receipts.len(), 1);
    lab.client.handle_sent(receipts[0], lab.now);
    lab.drain();
    assert_eq!(lab.patience(), seconds(30) + Duration::from_millis(500));
}

#[test]
fn the_socket_holds_a_tenth_of_a_second_of_what_leaves() {
    let (content, manifest) = large(1_024);
    let file = manifest.file();
    let mut lab = Lab::online();
    assert_eq!(lab.client.unsent_target(lab.now), 32 << 10);
    let store = lab.client.share(Arc::clone(&manifest), lab.now).unwrap();
    lab.drain();
    let id = lab.read_for(3, file);
    lab.client.handle_read(store, id, Ok(Bytes::copy_from_slice(&content[..4_096])), lab.now);
    lab.drain();
    for index in 1..1_024 {
        lab.say(3, PeerMessage::Request { file: file.tag(), index, count: 1 });
        let sent: Vec<_> = std::mem::take(&mut lab.outputs);
        for output in sent {
            if let Output::Read { store, id, offset, len } = output {
                let data = Bytes::copy_from_slice(&content[offset as usize..offset as usize + len as usize]);
                lab.client.handle_read(store, id, Ok(data), lab.now);
            } else if let Output::Send { receipt: Some(receipt), .. } = output {
                lab.client.handle_sent(receipt, lab.now);
            }
        }
        lab.drain();
        lab.now = lab.now + Duration::from_millis(4);
    }
    let (_, rate) = lab.client.swarm(file).unwrap().rates(lab.now);
    assert!(rate > 500_000, "{rate}");
    assert_eq!(lab.client.unsent_target(lab.now), rate / 10);
    lab.now = lab.now + seconds(10);
    assert_eq!(lab.client.unsent_target(lab.now), 32 << 10);
}

#[test]
fn what_is_shared_before_the_room_is_joined_is_announced_then() {
    let mut lab = Lab::new();
    let manifest = manifest();
    assert!(lab.client.share(Arc::clone(&manifest), lab.now).is_some());
    lab.drain();
    assert_eq!(lab.requests(), []);
    lab.register();
    let announced = |request: &Request| matches!(request, Request::Announce { facts, .. } if facts == manifest.facts());
    assert!(lab.requests().iter().any(|(_, request)| announced(request)));
}

#[test]
fn what_was_shared_is_announced_again_although_the_room_was_full_for_a_moment() {
    let mut lab = Lab::online();
    lab.client.share(manifest(), lab.now);
    lab.drain();
    let announced = |(seq, request)| if let Request::Announce { .. } = request { seq } else { None };
    let seq = lab.requests().into_iter().find_map(announced);
    lab.respond(seq, &Response::Announced { file: manifest().file() });
    lab.client.handle_closed(None, lab.now);
    lab.drain();
    lab.sleep();
    lab.register();
    let seq = lab.requests().into_iter().find_map(announced);
    let (code, message) = (ErrorCode::RoomFull, String::new());
    lab.respond(seq, &Response::Error { code, message, to: None, about: None });
    let refused = lab.now;
    while lab.requests().into_iter().find_map(announced).is_none() {
        assert!(lab.now.since(refused) < seconds(60), "it is shared no more");
        lab.sleep();
        lab.respond(None, &Response::Pong);
    }
    assert_eq!(lab.now.since(refused), seconds(10));
}
