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
