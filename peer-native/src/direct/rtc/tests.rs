//! Two shells on one machine that have data channels with each other.

use super::*;
use crate::direct::{
    Direct,
    tests::{DEADLINE, Received, is_closed, line, local, next},
};
use peer_wasm::client::LineId;
use protocol::LineKind;
use serde_json::{Value, json};
use tokio::time::timeout;

/// How many frames cross a line at once.
const FRAMES: u8 = 4;

struct Shell {
    direct: Direct,
    received: Received,
    line: LineId,
}

impl Shell {
    fn new(number: u32) -> Self {
        let (direct, received) = local();
        Self { direct, received, line: line(number) }
    }

    fn offer(&mut self) -> String {
        self.direct.offer(self.line, LineKind::WebRtc).unwrap()
    }

    /// What it has to say.
    async fn answer(&mut self) -> String {
        match next(&mut self.received).await {
            (of, Notice::Say { step: SignalStep::Answer, data }) if of == self.line => data,
            other => panic!("{other:?}"),
        }
    }

    fn hear(&self, step: SignalStep, words: impl ToString) {
        self.direct.signal(self.line, step, words.to_string());
    }

    async fn event(&mut self) -> Event {
        match next(&mut self.received).await {
            (of, Notice::Line(event)) if of == self.line => event,
            other => panic!("{other:?}"),
        }
    }

    fn send(&self, frame: Frame) {
        assert!(self.direct.send(self.line, frame, None));
    }

    async fn is_closed(&mut self) -> bool {
        is_closed(&next(&mut self.received).await)
    }
}

/// Two shells, and the offer of the first one.
fn offering() -> (Shell, Shell, String) {
    let mut host = Shell::new(7);
    let offer = host.offer();
    (host, Shell::new(3), offer)
}

/// Two shells with a line.
async fn opened() -> (Shell, Shell) {
    let (mut host, mut guest, offer) = offering();
    guest.direct.dial(guest.line, &offer).unwrap();
    host.hear(SignalStep::Answer, guest.answer().await);
    for shell in [&mut host, &mut guest] {
        assert!(matches!(shell.event().await, Event::Opened));
    }
    (host, guest)
}

fn changed(description: &str, change: impl FnOnce(String) -> String) -> String {
    let mut description: Value = serde_json::from_str(description).unwrap();
    let sdp = change(description["sdp"].as_str().unwrap().to_owned());
    description["sdp"] = json!(sdp);
    description.to_string()
}

/// Exchanges the last digit of the fingerprint.
fn with_another_fingerprint(description: &str) -> String {
    changed(description, |sdp| {
        let lines = sdp.lines().map(|line| match line.strip_prefix("a=fingerprint:") {
            Some(digits) => {
                let (digits, last) = digits.split_at(digits.len() - 1);
                format!("a=fingerprint:{digits}{}\r\n", if last == "0" { "1" } else { "0" })
            }
            None => format!("{line}\r\n"),
        });
        lines.collect()
    })
}

#[tokio::test]
async fn a_line_carries_both_ways_until_one_side_hangs_up() {
    let (mut host, mut guest) = opened().await;
    for shell in [&host, &guest] {
        shell.send(Frame::Text("before".to_owned()));
        for number in 0..FRAMES {
            let payload = bytes::Bytes::from(vec![number; 1 << 20]);
            shell.send(Frame::Binary { head: b"head".to_vec(), payload });
        }
        shell.send(Frame::Text("after".to_owned()));
    }
    for shell in [&mut host, &mut guest] {
        assert!(matches!(shell.event().await, Event::Text(text) if text == "before"));
        for number in 0..FRAMES {
            let Event::Binary(frame) = shell.event().await else { panic!() };
            assert_eq!(&frame[..4], b"head");
            assert_eq!(frame.len(), 4 + (1 << 20));
            assert!(frame[4..].iter().all(|byte| *byte == number));
        }
        assert!(matches!(shell.event().await, Event::Text(text) if text == "after"));
    }
    guest.direct.hang_up(guest.line);
    assert!(host.is_closed().await);
    host.direct.hang_up(host.line);
    assert!(!host.direct.send(host.line, Frame::Text(String::new()), None));
}

#[tokio::test]
async fn an_answer_that_is_none_fails_its_line() {
    let (mut host, _guest, offer) = offering();
    host.hear(SignalStep::Answer, offer);
    assert!(host.is_closed().await, "an offer is no answer");
}

#[tokio::test]
async fn candidates_may_come_before_the_answer_and_too_many_are_left_out() {
    let (mut host, mut guest, offer) = offering();
    guest.direct.dial(guest.line, &offer).unwrap();
    let answer = guest.answer().await;
    let mut candidates = Vec::new();
    let bare = changed(&answer, |sdp| {
        let (found, rest): (Vec<_>, Vec<_>) = sdp.lines().partition(|line| line.starts_with("a=candidate:"));
        candidates.extend(found.into_iter().map(|line| line.trim_start_matches("a=").to_owned()));
        rest.join("\r\n") + "\r\n"
    });
    let far = |number: usize| format!("candidate:{number} 1 udp 1 192.0.2.{number} 9 typ host");
    let garbage = ["", "candidate:", "candidate:1 1 udp 1 some.local 9 typ host"].map(str::to_owned);
    for candidate in garbage.into_iter().chain(candidates).chain((0..3 * MOST_CANDIDATES).map(far)) {
        host.hear(SignalStep::Candidate, json!({ "candidate": candidate, "sdpMid": "0", "sdpMLineIndex": 0 }));
        // So that none is forgotten because the line's task was not there to take it.
        tokio::task::yield_now().await;
    }
    host.hear(SignalStep::Candidate, "garbage");
    tokio::task::yield_now().await;
    host.hear(SignalStep::Answer, bare);
    for shell in [&mut host, &mut guest] {
        assert!(matches!(shell.event().await, Event::Opened));
    }
}

#[tokio::test]
async fn an_offer_that_makes_no_sense_only_fails_its_line() {
    let (_host, mut guest, offer) = offering();
    for offer in [
        changed(&offer, |_| String::new()),
        changed(&offer, |_| "garbage".to_owned()),
        changed(&offer, |sdp| sdp.replace("a=fingerprint", "a=other")),
        changed(&offer, |sdp| sdp.replace("a=ice-pwd", "a=other")),
        changed(&offer, |sdp| sdp.replace("m=application", "m=audio")),
        changed(&offer, |sdp| sdp.clone() + &sdp[sdp.find("m=").unwrap()..]),
        offer.replace(r#""type":"offer""#, r#""type":"answer""#),
    ] {
        guest.direct.dial(guest.line, &offer).unwrap();
        assert!(guest.is_closed().await, "{offer}");
    }
    for offer in [r#"{"type":"offer"}"#, r#"{"type":"pranswer","sdp":""}"#, r#"{"sdp":""}"#] {
        assert!(guest.direct.dial(guest.line, offer).is_err(), "{offer}");
    }
}

#[tokio::test]
async fn a_line_to_somebody_else_than_whom_the_tracker_introduced_never_opens() {
    let (host, mut guest, offer) = offering();
    guest.direct.dial(guest.line, &with_another_fingerprint(&offer)).unwrap();
    host.hear(SignalStep::Answer, guest.answer().await);
    assert!(guest.is_closed().await);

    let (mut host, mut guest, offer) = offering();
    guest.direct.dial(guest.line, &offer).unwrap();
    host.hear(SignalStep::Answer, with_another_fingerprint(&guest.answer().await));
    assert!(host.is_closed().await);
}

#[tokio::test]
async fn what_panics_ends_only_its_line() {
    let (mut host, mut guest) = opened().await;
    let doomed = line(9);
    let lead = crate::direct::hold(&mut host.direct.lines, doomed);
    spawn(doomed, lead, host.direct.notices.clone(), || panic!("as somebody strange could make it"));
    assert!(matches!(next(&mut host.received).await, (of, Notice::Line(Event::Closed(None))) if of == doomed));
    guest.send(Frame::Text("still here".to_owned()));
    assert!(matches!(host.event().await, Event::Text(text) if text == "still here"));
    host.send(Frame::Text("here too".to_owned()));
    assert!(matches!(guest.event().await, Event::Text(text) if text == "here too"));
}

#[tokio::test]
async fn what_strangers_send_does_not_disturb_a_line() {
    let (mut host, mut guest, offer) = offering();
    let addresses: Vec<_> = serde_json::from_str::<Description>(&offer).unwrap().candidates().collect();
    let stranger = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let disturb = || {
        // What looks like STUN, DTLS, and media, too long, and nothing.
        for first in [0, 1, 20, 22, 23, 128, 200] {
            for len in [0, 1, 20, 100, 2 * DATAGRAM] {
                let datagram = vec![first; len];
                for address in addresses.iter().map(Candidate::addr).filter(SocketAddr::is_ipv4) {
                    stranger.send_to(&datagram, address).unwrap();
                }
            }
        }
    };
    disturb();
    guest.direct.dial(guest.line, &offer).unwrap();
    host.hear(SignalStep::Answer, guest.answer().await);
    for shell in [&mut host, &mut guest] {
        assert!(matches!(shell.event().await, Event::Opened));
    }
    disturb();
    guest.send(Frame::Text("undisturbed".to_owned()));
    assert!(matches!(host.event().await, Event::Text(text) if text == "undisturbed"));
}

#[tokio::test]
async fn whoever_vanishes_without_a_word_is_missed() {
    let (mut host, mut guest, offer) = offering();
    let far = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    {
        let _there = far.enter();
        guest.direct.dial(guest.line, &offer).unwrap();
    }
    host.hear(SignalStep::Answer, guest.answer().await);
    for shell in [&mut host, &mut guest] {
        assert!(matches!(shell.event().await, Event::Opened));
    }
    far.shutdown_background();
    assert!(host.is_closed().await);
}

#[tokio::test]
async fn receipts_come_in_the_order_of_the_frames() {
    let (mut host, _guest) = opened().await;
    for number in 0..u64::from(FRAMES) {
        let frame = Frame::Binary { head: Vec::new(), payload: bytes::Bytes::from(vec![7; 1 << 20]) };
        assert!(host.direct.send(host.line, frame, Some(Receipt::for_test(number))));
    }
    for number in 0..u64::from(FRAMES) {
        assert!(matches!(host.event().await, Event::Sent(receipt) if receipt == Receipt::for_test(number)));
    }
}

#[tokio::test]
async fn of_more_than_the_driver_may_have_waiting_nothing_is_lost() {
    let (host, mut guest) = opened().await;
    let frames = 200_u8;
    assert!(usize::from(frames) > crate::direct::NOTICES, "the line has to wait for the driver");
    for number in 0..frames {
        host.send(Frame::Binary { head: Vec::new(), payload: bytes::Bytes::from(vec![number; 1 << 18]) });
    }
    let all = async {
        for number in 0..frames {
            let Event::Binary(frame) = guest.event().await else { panic!() };
            assert!(frame.len() == 1 << 18 && frame.iter().all(|byte| *byte == number));
        }
    };
    timeout(2 * DEADLINE, all).await.unwrap();
}
