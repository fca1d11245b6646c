use super::*;
use crate::{FileId, Identity, Limits, RoomName, Secret};
use proptest::prelude::*;

const ALICE: PeerId = PeerId::from_bytes([0xa1; 8]);
const FILE: FileId = FileId::from_bytes([0xf1; 32]);

fn block(data: &'static [u8]) -> PeerMessage {
    PeerMessage::Block { file: FILE.tag(), index: 3, count: 2, data: Bytes::from_static(data) }
}

/// What the tracker makes of a frame, without its state.
fn relayed(frame: &Frame, from: PeerId) -> Result<TrackerFrame, Unreadable> {
    match frame {
        Frame::Text(text) => {
            let ClientFrame::Envelope { message, .. } = decode_client_text(text)? else {
                panic!("no envelope: {text}");
            };
            Ok(decode_tracker_text(&format!("{}{message}}}", forwarded_head(from))).unwrap())
        }
        Frame::Binary { head, payload } => {
            let frame = Bytes::from([head.as_slice(), payload].concat());
            let ClientBinary { message, data: payload, .. } = decode_client_binary(&frame)?;
            let head = format!("{}{message}}}", forwarded_head(from));
            let frame = [&(head.len() as u32).to_be_bytes(), head.as_bytes(), &payload].concat();
            Ok(decode_tracker_binary(&frame.into()).unwrap())
        }
    }
}

#[test]
fn a_block_travels_as_text_and_as_binary() {
    for binary in [false, true] {
        let frame = encode_envelope(ALICE, block(b"bytes"), binary);
        assert_eq!(matches!(frame, Frame::Binary { .. }), binary);
        let expected = TrackerFrame::Envelope { from: ALICE, message: block(b"bytes") };
        assert_eq!(relayed(&frame, ALICE), Ok(expected));
    }
}

#[test]
fn responses_and_requests_keep_their_number() {
    let request = Request::GetPeers { file: FILE, limit: Some(7) };
    let Frame::Text(text) = encode_request(Some(9), &request) else { panic!("requests are text") };
    assert_eq!(decode_client_text(&text), Ok(ClientFrame::Request { seq: Some(9), request }));

    let response = Response::Registered {
        identity: Identity { id: ALICE, secret: Secret::from_bytes([1; 16]) },
        room: RoomName::default(),
        resumed: false,
        limits: Limits::default(),
    };
    let text = encode_response(Some(9), &response);
    assert_eq!(decode_tracker_text(&text), Ok(TrackerFrame::Response { seq: Some(9), response }));
}

#[test]
fn keys_given_twice_are_refused() {
    let (tag, padding) = (FILE.tag(), "A".repeat(LONG_TEXT));
    let choke = format!(r#"{{"type":"choke","file":"{tag}"}}"#);
    let envelope = |message: &str| format!(r#"{{"to":"{ALICE}","message":{message}}}"#);
    assert!(decode_client_text(&envelope(&choke)).is_ok());
    for text in [
        format!(r#"{{"to":"{ALICE}","message":{choke},"to":"{ALICE}"}}"#),
        format!(r#"{{"to":"{ALICE}","message":{choke},"from":"{ALICE}"}}"#),
        format!(r#"{{"to":"{ALICE}","message":{choke},"message":{choke}}}"#),
        envelope(&format!(r#"{{"type":"choke","file":"{tag}","type":"block"}}"#)),
        envelope(&format!(r#"{{"type":"block","file":"{tag}","file":"{tag}","data":""}}"#)),
        envelope(&format!(r#"{{"type":"block","file":"{tag}","index":0,"index":1,"data":""}}"#)),
        envelope(&format!(r#"{{"type":"block","file":"{tag}","data":"{padding}","index":0,"index":1}}"#)),
        envelope(&format!(r#"{{"type":"block","file":"{tag}","index":0,"index":1,"data":"{padding}"}}"#)),
        r#"{"type":"ping","type":"leave"}"#.to_owned(),
        r#"{"type":"list_files","watch":true,"watch":false}"#.to_owned(),
    ] {
        assert!(matches!(decode_client_text(&text), Err(Unreadable { error: ParseError::Malformed(_), .. })), "{text}");
    }
}

proptest! {
    /// A long envelope is read by its beginning, if at all; whatever is wrong with it must not go unnoticed.
    #[test]
    fn a_long_envelope_is_read_as_if_all_of_it_were_parsed(
        fields in r#"("(index|count|data|x)":("?[0-9a-z]{0,3}"?|\{"data":"|\[|[{}]),){0,3}"#,
        data in r#"[A-Za-z0-9+/]{1000,1200}(["\\\x00-\x1f}{é]|\\u0041|","index":1,"x":")?[A-Z=]{0,8}"#,
        end in r#"("|"\}|"\}\}|","index":7\}\}|"\}\} )"#,
    ) {
        let tag = FILE.tag();
        let text = format!(r#"{{"to":"{ALICE}","message":{{"type":"block","file":"{tag}",{fields}"data":"{data}{end}"#);
        if let Some(envelope) = read_long_envelope(&text) {
            let (to, subject, message, _) = envelope;
            prop_assert_eq!(Ok((to, subject, message)), read_envelope(&text));
        }
    }
}

#[test]
fn the_form_that_blocks_have_is_read_by_its_beginning() {
    let data = Bytes::from(vec![7; LONG_TEXT]);
    let block = PeerMessage::Block { file: FILE.tag(), index: 3, count: 2, data };
    let Frame::Text(text) = encode_envelope(ALICE, block, false) else { panic!("asked for text") };
    let subject = Subject { kind: Kind::Block, tag: FILE.tag(), index: 3, count: 2 };
    assert_eq!(
        read_long_envelope(&text).map(|(to, subject, _, len)| (to, subject, len)),
        Some((ALICE, subject, LONG_TEXT))
    );
    for nonsense in ["\n", "\"", "\\", "\\x"] {
        let text = text.replacen("Bw", nonsense, 1);
        assert_eq!(read_long_envelope(&text), None, "{nonsense:?}");
    }
}

#[test]
fn a_file_is_named_by_tag_or_id_as_the_message_wants_it() {
    let (tag, id) = (FILE.tag().to_string(), FILE.to_string());
    for (kind, file, right) in [
        ("get_manifest", &id, true),
        ("get_manifest", &tag, false),
        ("request", &tag, true),
        ("request", &id, false),
        ("dance", &tag, false),
    ] {
        let text = format!(r#"{{"to":"{ALICE}","message":{{"type":"{kind}","file":"{file}","index":0}}}}"#);
        assert_eq!(decode_client_text(&text).is_ok(), right, "{text}");
    }
}

#[test]
fn an_unknown_type_is_told_from_a_wrong_field() {
    let unknown = decode_client_text(r#"{"type":"dance"}"#);
    assert_eq!(unknown.unwrap_err().error, ParseError::UnknownType("dance".to_owned()));
    for text in [
        "",
        "5",
        "[]",
        "{",
        "{}",
        r#"{"type":5}"#,
        r#"{"type":"get_peers"}"#,
        r#"{"type":"get_peers","file":"f1"}"#,
        r#"{"type":"get_peers","file":"../../etc","limit":-1}"#,
        r#"{"type":"register","protocol":2,"room":"a b"}"#,
        r#"{"type":"update_blocks","file":"00","blocks":"!"}"#,
    ] {
        assert!(matches!(decode_client_text(text), Err(Unreadable { error: ParseError::Malformed(_), .. })), "{text}");
    }
    let envelope = format!(r#"{{"from":"{ALICE}","message":{{"type":"dance"}}}}"#);
    assert_eq!(decode_tracker_text(&envelope), Err(ParseError::UnknownType("dance".to_owned())));
}

#[test]
fn every_type_is_listed() {
    let type_of = |json: String| serde_json::from_str::<serde_json::Value>(&json).unwrap()["type"].clone();
    for (types, text) in [(REQUEST_TYPES, "request"), (PEER_TYPES, "peer message")] {
        for name in types {
            // A listed type without its fields is malformed (or fine), never unknown.
            let json = format!(r#"{{"type":"{name}"}}"#);
            let error = if text == "request" {
                serde_json::from_str::<Request>(&json).err()
            } else {
                serde_json::from_str::<PeerMessage>(&json).err()
            };
            let unknown = error.is_some_and(|error| error.to_string().contains("unknown variant"));
            assert!(!unknown, "{name} is no {text}");
        }
    }
    assert!(PEER_TYPES.contains(&type_of(to_json(&block(b"x"))).as_str().unwrap()));
}

#[test]
fn a_long_complaint_is_cut() {
    let text = format!(r#"{{"type":"{}"}}"#, "é".repeat(1_000));
    let Err(Unreadable { error: ParseError::UnknownType(name), .. }) = decode_client_text(&text) else {
        panic!("must be unknown")
    };
    assert!(name.len() < 300);
}

#[test]
fn a_binary_frame_with_a_wrong_head_is_refused() {
    let frames: [&[u8]; 6] =
        [b"", b"\0\0\0", b"\0\0\0\x05{}", b"\xff\xff\xff\xff{}", b"\0\0\0\x02{}", b"\0\0\0\x02\xff\xff"];
    for frame in frames {
        let frame = Bytes::from_static(frame);
        assert!(decode_client_binary(&frame).is_err() && decode_tracker_binary(&frame).is_err(), "{frame:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,200}") {
        let bytes = Bytes::from(bytes);
        let _ = (decode_client_binary(&bytes), decode_tracker_binary(&bytes));
        let _ = (decode_client_text(&text), decode_tracker_text(&text));
    }
}
