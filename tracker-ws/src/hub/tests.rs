use super::*;
use crate::{Limits, address::AddressKey, connection::Client, reader::Incoming, wire::Batch};
use futures_util::FutureExt as _;
use protocol::{FileId, Identity, ParseError};
use serde_json::{Value, json};
use std::io::Cursor;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;

const FILE: FileId = FileId::from_bytes([0xf1; 32]);
/// The data of a block that is asked for again and again.
const DATA: &str = "Bw==";

#[test]
fn a_hub_that_stops_is_not_ready() {
    let hub = Hub::new(Config::default(), [0; 32], 0);
    assert_eq!(hub.ready(), Ok(()));
    hub.stop();
    assert!(hub.ready().is_err_and(|reason| reason.contains("stopping")));
}

/// Room for two small blocks of one sender.
fn narrow() -> Hub {
    let limits = Limits { queue_bytes: 1_200, ..Limits::default() };
    Hub::new(Config { limits, ..Config::default() }, [0; 32], 0)
}

#[test]
fn a_block_that_finds_no_room_is_rejected_in_its_senders_name_and_in_order() {
    let hub = narrow();
    let [alice, bob] = introduced(&hub);
    for index in 0..5 {
        bob.tell(&alice, json!({ "type": "request", "file": FILE.tag(), "index": index }));
    }
    alice.read();
    alice.tell(&bob, json!({ "type": "have", "file": FILE.tag(), "blocks": [[1, 1]] }));
    for index in 0..5 {
        alice.tell(&bob, json!({ "type": "block", "file": FILE.tag(), "index": index, "data": DATA }));
    }
    alice.tell(&bob, json!({ "type": "choke", "file": FILE.tag() }));

    let errors = alice.read();
    assert!(errors.len() > 1, "there is not room for all: {errors:?}");
    for (index, error) in (5 - errors.len()..).zip(&errors) {
        let about = json!({ "type": "block", "file": FILE.tag(), "index": index, "count": 1 });
        assert_eq!((&error["code"], &error["to"], &error["about"]), (&json!("busy"), &json!(bob.id), &about));
    }
    let told: Vec<_> = bob.read().iter().map(|envelope| envelope["message"].clone()).collect();
    let kinds: Vec<_> = told.iter().filter_map(|message| message["type"].as_str()).collect();
    let expected =
        [&["have"][..], &vec!["reject"; errors.len()], &["choke"], &vec!["block"; 5 - errors.len()]].concat();
    assert_eq!(kinds, expected);
    for (index, reject) in (5 - errors.len()..).zip(&told[1..=errors.len()]) {
        assert_eq!(*reject, json!({ "type": "reject", "file": FILE.tag(), "index": index }));
    }
    // Both know that each request ended.
    alice.tell(&bob, json!({ "type": "block", "file": FILE.tag(), "index": 4, "data": DATA }));
    assert_eq!(alice.read()[0]["code"], "not_requested");
    bob.tell(&alice, json!({ "type": "request", "file": FILE.tag(), "index": 4 }));
    alice.tell(&bob, json!({ "type": "block", "file": FILE.tag(), "index": 4, "data": DATA }));
    assert_eq!(bob.read()[0]["message"]["type"], "block");
}

#[test]
fn a_manifest_that_finds_no_room_is_answered_in_its_senders_name() {
    let hub = narrow();
    let [alice, bob] = introduced(&hub);
    for _ in 0..8 {
        bob.tell(&alice, json!({ "type": "get_manifest", "file": FILE }));
        alice.tell(
            &bob,
            json!({ "type": "manifest", "file": FILE, "name": "f", "size": 3, "block_size": 4096, "hashes": "" }),
        );
    }
    let errors = alice.read().into_iter().filter(|message| message["code"] == "busy").count();
    let answers: Vec<_> = bob.read().iter().map(|envelope| envelope["message"].clone()).collect();
    assert_eq!(answers.len(), 8);
    let refused = answers.iter().filter(|answer| **answer == json!({ "type": "no_manifest", "file": FILE })).count();
    assert!(refused > 0 && refused == errors, "{refused} {errors}");
}

#[test]
fn a_receiver_that_does_not_read_gets_no_small_messages_but_the_end_of_each_request() {
    let hub = narrow();
    let [alice, bob] = introduced(&hub);
    for index in 0..3 {
        bob.tell(&alice, json!({ "type": "request", "file": FILE.tag(), "index": index }));
    }
    bob.tell(&alice, json!({ "type": "get_manifest", "file": FILE }));
    alice.read();
    let mut refused = Vec::new();
    while refused.is_empty() {
        alice.tell(&bob, json!({ "type": "have", "file": FILE.tag(), "blocks": vec![[1, 1]; 1_000] }));
        refused = alice.read();
    }
    let about = json!({ "type": "have", "file": FILE.tag(), "index": 0, "count": 1 });
    assert_eq!((&refused[0]["code"], &refused[0]["about"]), (&json!("busy"), &about));

    for index in 0..3 {
        alice.tell(&bob, json!({ "type": "reject", "file": FILE.tag(), "index": index }));
    }
    alice.tell(&bob, json!({ "type": "no_manifest", "file": FILE }));
    alice.tell(&bob, json!({ "type": "reject", "file": FILE.tag(), "index": 0 }));
    assert_eq!(alice.read().iter().map(|error| &error["code"]).collect::<Vec<_>>(), ["not_requested"]);

    // A request that did not arrive is not open, and may be made again.
    let request = json!({ "type": "request", "file": FILE.tag(), "index": 0 });
    let long = json!({ "type": "request", "file": FILE.tag(), "index": 0, "x": "x".repeat(4_000) });
    alice.tell(&bob, long);
    let refused = alice.read();
    assert_eq!((&refused[0]["code"], &refused[0]["about"]["type"]), (&json!("busy"), &json!("request")));
    let block = json!({ "type": "block", "file": FILE.tag(), "index": 0, "data": DATA });
    bob.tell(&alice, block.clone());
    let told = bob.read();
    assert_eq!(told.iter().filter(|message| message["code"] == "not_requested").count(), 1);
    let ends = told.iter().filter(|it| ["reject", "no_manifest"].map(Some).contains(&it["message"]["type"].as_str()));
    assert_eq!(ends.count(), 4);
    alice.tell(&bob, request);
    bob.tell(&alice, block);
    assert_eq!(alice.read()[0]["message"]["type"], "block");
}

#[test]
fn a_binary_block_for_one_who_takes_none_is_rejected_in_its_senders_name() {
    let hub = narrow();
    let [alice, bob] = introduced(&hub);
    bob.tell(&alice, json!({ "type": "request", "file": FILE.tag(), "index": 7 }));
    alice.read();
    let head = format!(r#"{{"to":"{}","message":{{"type":"block","file":"{}","index":7}}}}"#, bob.id, FILE.tag());
    let frame = [&(head.len() as u32).to_be_bytes(), head.as_bytes(), b"data"].concat();
    let handled = alice.send(Incoming::Binary(frame.into()));
    assert!(matches!(handled, Handled::Refused), "it could know");
    let error = &alice.read()[0];
    assert_eq!((&error["code"], &error["about"]["index"]), (&json!("malformed"), &json!(7)));
    let reject = json!({ "type": "reject", "file": FILE.tag(), "index": 7 });
    assert_eq!(bob.read(), [json!({ "from": alice.id, "message": reject })]);
}

#[test]
fn every_envelope_that_is_refused_is_named() {
    let hub = narrow();
    let [alice, bob] = introduced(&hub);
    let other = protocol::FileTag::from_bytes([2; 8]);
    for (to, kind, file, code) in [
        (PeerId::from_bytes([0; 8]), "choke", FILE.tag(), "unknown_peer"),
        (alice.id, "choke", FILE.tag(), "unknown_peer"),
        (bob.id, "choke", other, "not_introduced"),
        (bob.id, "reject", FILE.tag(), "not_requested"),
    ] {
        alice.text(&format!(r#"{{"to":"{to}","message":{{"type":"{kind}","file":"{file}","index":3,"count":2}}}}"#));
        let about = json!({ "type": kind, "file": file, "index": 3, "count": 2 });
        let errors = alice.read();
        let error = &errors[0];
        assert_eq!((&error["code"], &error["to"], &error["about"]), (&json!(code), &json!(to), &about));
        assert_eq!(errors.len(), 1);
    }
}

#[test]
fn what_cannot_be_understood_is_answered_with_what_could_be_read() {
    let hub = narrow();
    let [alice, bob] = introduced(&hub);
    let (tag, to) = (FILE.tag(), bob.id);
    for (text, code, seq, to) in [
        (r#"{"seq":7,"type":"get_peers"}"#.to_owned(), "malformed", json!(7), Value::Null),
        (r#"{"seq":8,"type":"dance"}"#.to_owned(), "unknown_type", json!(8), Value::Null),
        (format!(r#"{{"to":"{to}","message":{{"type":"dance"}}}}"#), "unknown_type", Value::Null, json!(to)),
        (
            format!(r#"{{"to":"{to}","message":{{"type":"request","file":"{tag}"}}}}"#),
            "malformed",
            Value::Null,
            json!(to),
        ),
        ("nonsense".to_owned(), "malformed", Value::Null, Value::Null),
    ] {
        alice.text(&text);
        let error = &alice.read()[0];
        assert_eq!((&error["code"], &error["seq"], &error["to"]), (&json!(code), &seq, &to), "{text}");
        assert_eq!(error["about"], Value::Null);
    }
    let unreadable = Unreadable { error: ParseError::Malformed("x".to_owned()), seq: None, to: None };
    assert!(matches!(hub.refuse_unreadable(&alice.outbox, &unreadable), Handled::Refused));
}

/// A client in memory.
struct Guest<'a> {
    hub: &'a Hub,
    conn: ConnId,
    outbox: Arc<Outbox>,
    id: PeerId,
}

/// Two that share a file and know each other; all that they were told so far is read.
fn introduced(hub: &Hub) -> [Guest<'_>; 2] {
    let guests = [(); 2].map(|()| {
        let mut guest = Guest { hub, conn: ConnId(0), outbox: Arc::new(hub.outbox()), id: PeerId::from_bytes([0; 8]) };
        guest.conn = hub.connect(AddressKey::of([10, 0, 0, 1].into()), &guest.outbox, &Arc::new(Signs::new())).unwrap();
        guest.text(&json!({ "type": "register", "protocol": protocol::PROTOCOL_VERSION }).to_string());
        guest.id = serde_json::from_value::<Identity>(guest.read().remove(0)).unwrap().id;
        let facts =
            json!({ "type": "announce", "file": FILE, "name": "f", "size": 3, "block_size": 4096, "blocks": "gA==" });
        guest.text(&facts.to_string());
        guest
    });
    guests[1].text(&json!({ "type": "get_peers", "file": FILE }).to_string());
    guests.iter().for_each(|guest| drop(guest.read()));
    guests
}

impl Guest<'_> {
    fn tell(&self, to: &Self, message: Value) {
        // By hand, because the key `to` must be the first.
        self.text(&format!(r#"{{"to":"{}","message":{message}}}"#, to.id));
    }

    fn text(&self, text: &str) {
        self.send(Incoming::Text(text.into()));
    }

    fn send(&self, message: Incoming) -> Handled {
        let rate = AddressAllowance::new(&self.hub.config().limits);
        Client::new(self.hub, &self.outbox, &Signs::new(), self.conn, rate).handle(message).unwrap()
    }

    /// All that waits for it, in JSON.
    fn read(&self) -> Vec<Value> {
        let mut bytes = Vec::new();
        let mut batch = Batch::default();
        while self.outbox.fill(&mut batch).now_or_never().is_some() {
            batch.write_to(&mut bytes, Duration::MAX).now_or_never().unwrap().unwrap();
        }
        let (mut frames, mut messages) = (Cursor::new(bytes.as_slice()), Vec::new());
        while let Some((_, len)) = FrameHeader::parse(&mut frames).unwrap() {
            let (start, end) = (frames.position() as usize, frames.position() + len);
            messages.push(serde_json::from_slice(&bytes[start..end as usize]).unwrap());
            frames.set_position(end);
        }
        messages
    }
}
