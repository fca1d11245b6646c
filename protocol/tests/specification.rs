//! PROTOCOL.md says what this crate does: each of its examples is read by the decoders.

#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test fails on what it did not expect")]

use bytes::Bytes;
use protocol::{
    Bitfield, BlockSize, ClientBinary, ClientFrame, ErrorCode, Geometry, MAX_BLOCKS, MAX_SMALL_BYTES, ManifestHasher,
    MediaType, PartialManifest, PeerId, PeerMessage, TrackerFrame, close, decode_client_binary, decode_client_text,
    decode_tracker_binary, decode_tracker_text, encode_envelope, encode_request, encode_response, forwarded_head,
};
use std::collections::BTreeSet;

const SPECIFICATION: &str = include_str!("../PROTOCOL.md");
const ALICE: &str = "a1a1a1a1a1a1a1a1";
const BOB: &str = "b2b2b2b2b2b2b2b2";

#[test]
fn every_request_of_the_examples_is_understood_and_none_is_missing() {
    let mut types = BTreeSet::new();
    for example in examples("json client") {
        let Ok(ClientFrame::Request { seq, request }) = decode_client_text(example) else { panic!("{example}") };
        let protocol::Frame::Text(written) = encode_request(seq, &request) else { panic!("{example}") };
        assert_names_no_unknown_key(example, &written);
        types.insert(type_of(example));
    }
    let all = ["register", "announce", "update_blocks", "get_peers", "list_files", "who_has", "leave", "ping"];
    assert_eq!(types, all.map(str::to_owned).into());
}

#[test]
fn every_response_of_the_examples_is_understood_and_none_is_missing() {
    let mut types = BTreeSet::new();
    for example in examples("json tracker") {
        let Ok(TrackerFrame::Response { seq, response }) = decode_tracker_text(example) else { panic!("{example}") };
        assert_names_no_unknown_key(example, &encode_response(seq, &response));
        types.insert(type_of(example));
    }
    let all = [
        "registered",
        "announced",
        "updated",
        "peers",
        "files",
        "holders",
        "left",
        "pong",
        "peer_joined",
        "peer_left",
        "error",
    ];
    assert_eq!(types, all.map(str::to_owned).into());
}

#[test]
fn every_peer_message_of_the_examples_is_understood_and_none_is_missing() {
    let mut types = BTreeSet::new();
    for example in examples("json peer") {
        let frame = format!("{}{example}}}", forwarded_head(ALICE.parse().unwrap()));
        let Ok(TrackerFrame::Envelope { message, .. }) = decode_tracker_text(&frame) else { panic!("{example}") };
        let protocol::Frame::Text(written) = encode_envelope(BOB.parse().unwrap(), message.clone(), false) else {
            panic!("{example}")
        };
        assert_names_no_unknown_key(example, &written);
        match message {
            PeerMessage::Manifest { facts, part } => drop(PartialManifest::begin(*facts, *part).unwrap()),
            PeerMessage::Bitfield { blocks, .. } => assert!(Bitfield::from_bytes(&blocks, 1).unwrap().is_full()),
            _ => {}
        }
        types.insert(type_of(example));
    }
    let all = [
        "get_manifest",
        "manifest",
        "no_manifest",
        "bitfield",
        "have",
        "interested",
        "not_interested",
        "choke",
        "unchoke",
        "request",
        "cancel",
        "block",
        "reject",
        "signal",
    ];
    assert_eq!(types, all.map(str::to_owned).into());
}

#[test]
fn the_session_is_possible() {
    let mut lines = examples("session").into_iter().peekable();
    let mut frames = 0;
    while let Some(line) = lines.next() {
        frames += 1;
        let (who, frame) = (&line[..2], &line[3..]);
        let sender = if who.starts_with('A') { ALICE } else { BOB };
        match who {
            "A>" | "B>" if frame.starts_with('{') => {
                let sent = decode_client_text(frame).unwrap();
                if let ClientFrame::Envelope { to, message, .. } = sent {
                    let forwarded = format!("{}{message}}}", forwarded_head(sender.parse().unwrap()));
                    assert_eq!(lines.peek().copied(), Some(format!("{} {forwarded}", receiver(to)).as_str()));
                }
            }
            "A>" | "B>" => {
                let (to, message, payload) = {
                    let frame = binary(frame);
                    let ClientBinary { to, message, data, .. } = decode_client_binary(&frame).unwrap();
                    (to, message.to_owned(), data)
                };
                assert_eq!(payload, "hello");
                let head = format!("{}{message}}}", forwarded_head(sender.parse().unwrap()));
                let forwarded = format!("{} {:08x} {head} hello", receiver(to), head.len());
                assert_eq!(lines.peek().copied(), Some(forwarded.as_str()));
            }
            "A<" | "B<" if frame.starts_with('{') => drop(decode_tracker_text(frame).unwrap()),
            "A<" | "B<" => drop(decode_tracker_binary(&binary(frame)).unwrap()),
            _ => panic!("{line}"),
        }
    }
    assert!(frames > 30);
}

#[test]
fn every_code_stands_in_the_tables() {
    for code in [
        ErrorCode::Malformed,
        ErrorCode::UnknownType,
        ErrorCode::UnsupportedProtocol,
        ErrorCode::NotRegistered,
        ErrorCode::AlreadyRegistered,
        ErrorCode::WrongSecret,
        ErrorCode::InvalidBitfield,
        ErrorCode::UnknownFile,
        ErrorCode::OutOfRange,
        ErrorCode::UnknownPeer,
        ErrorCode::TooManyFiles,
        ErrorCode::RoomFull,
        ErrorCode::NotIntroduced,
        ErrorCode::NotRequested,
        ErrorCode::Busy,
    ] {
        assert!(SPECIFICATION.contains(&format!("| `{code}` |")), "{code}");
    }
    for code in [
        close::GOING_AWAY,
        close::TOO_BIG,
        close::REGISTER_TIMEOUT,
        close::REPLACED,
        close::SILENT,
        close::TRACKER_FULL,
        close::TOO_MANY_ERRORS,
        close::SLOW_RECEIVER,
        close::ADDRESS_FULL,
        close::WRONG_TOKEN,
        close::REMOVED,
    ] {
        assert!(SPECIFICATION.contains(&format!("| {code} |")), "{code}");
    }
}

#[test]
fn the_example_of_a_bitfield_is_right() {
    let geometry = Geometry::new(10 * 4_096, 4_096.try_into().unwrap()).unwrap();
    let mut bitfield = Bitfield::empty(geometry.blocks());
    assert!(bitfield.set(0) && bitfield.set(9));
    assert_eq!(bitfield.to_bytes(), [0x80, 0x40][..]);
    assert!(SPECIFICATION.contains("bytes `80 40`, as base64 `gEA=`"));
}

#[test]
fn the_example_of_segments_is_right() {
    let geometry = Geometry::new(100_000, 65_536.try_into().unwrap()).unwrap();
    assert_eq!([0, 1].map(|block| geometry.block_segments(block)), [0..4, 4..7]);
    assert_eq!(geometry.span_len(geometry.span(6, 1).unwrap()), 1_696);
    let span = geometry.span(3, 2).unwrap();
    let (start, len) = (geometry.span_offset(span), geometry.span_len(span));
    assert_eq!((start, start + len - 1, geometry.span_blocks(span)), (49_152, 81_919, 0..2));
    for said in ["2 blocks of 4 and 3 segments", "Segment 6 has 1,696 bytes", "the bytes from 49,152 to 81,919"] {
        assert!(SPECIFICATION.contains(said), "{said}");
    }
}

#[test]
fn the_example_of_a_manifest_in_parts_is_right() {
    let (size, block_size) = (2_456_004, BlockSize::try_from(4_096).unwrap());
    let content: Vec<u8> = (0..size).map(|place| (place % 251) as u8).collect();
    let mut hasher = ManifestHasher::new(Geometry::new(size, block_size).unwrap());
    hasher.update(&content);
    let manifest = hasher.finish("f".parse().unwrap(), MediaType::default()).unwrap();
    let parts = [0, 1, 2].map(|part| manifest.part(Some(part)).unwrap());
    assert_eq!(parts.each_ref().map(|part| part.hashes.len() / 32), [256, 256, 88]);
    assert_eq!(parts.each_ref().map(|part| part.proof.len() / 32), [2, 2, 1]);
    assert_eq!(parts[0].proof[..32], parts[1].proof[..32], "the merged hash of blocks 512-599");
    assert_eq!(parts.map(|part| part.tail.len()), [0, 0, 32 + 452]);
    for said in ["2,456,004 bytes in blocks of 4,096", "with 256, 256 and 88 hashes", "the 452 bytes of the third"] {
        assert!(SPECIFICATION.contains(said), "{said}");
    }
    assert_eq!(manifest.part(Some(3)), None);
}

#[test]
fn the_sizes_that_are_told_are_those_that_are_checked() {
    let thousands = |number: usize| format!("{},{:03}", number / 1_000, number % 1_000);
    assert!(SPECIFICATION.contains(&format!("other message between peers at most {}", thousands(MAX_SMALL_BYTES))));
    assert!(SPECIFICATION.contains(&format!("at most {}; an empty file has none", thousands(MAX_BLOCKS as usize))));
    let part = |padding: usize| {
        let manifest = examples("json peer").into_iter().find(|example| type_of(example) == "manifest").unwrap();
        let padded = manifest.replacen('{', &format!(r#"{{"x":"{}","#, "x".repeat(padding)), 1);
        let len = padded.len();
        (len, decode_client_text(&format!(r#"{{"to":"{BOB}","message":{padded}}}"#)).is_ok())
    };
    let (len, fits) = part(0);
    assert!(fits && SPECIFICATION.contains("A `manifest` has at most 20,480 bytes"));
    assert_eq!([20_480, 20_481].map(|wanted| part(wanted - len)), [(20_480, true), (20_481, false)]);
}

/// The lines of every block that is fenced with this.
fn examples(fence: &str) -> Vec<&'static str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in SPECIFICATION.lines() {
        match line.strip_prefix("```") {
            Some(info) => inside = info == fence,
            None if inside => found.push(line),
            None => {}
        }
    }
    assert!(!found.is_empty(), "no {fence}");
    found
}

fn type_of(example: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(example).unwrap();
    value["type"].as_str().unwrap().to_owned()
}

/// Whether each key of the example comes back when what was understood of it is written.
fn assert_names_no_unknown_key(example: &str, written: &str) {
    let value: serde_json::Value = serde_json::from_str(example).unwrap();
    for key in value.as_object().unwrap().keys().filter(|key| *key != "count") {
        assert!(written.contains(&format!("\"{key}\":")), "{key} of {example} is not in {written}");
    }
}

/// The line on which a peer receives.
fn receiver(peer: PeerId) -> &'static str {
    match peer.to_string().as_str() {
        ALICE => "A<",
        BOB => "B<",
        other => panic!("{other} is not in the session"),
    }
}

/// A binary frame from the form in which it is written down.
fn binary(line: &str) -> Bytes {
    let (len, rest) = line.split_once(' ').unwrap();
    let (head, payload) = rest.rsplit_once(' ').unwrap();
    let len = u32::from_str_radix(len, 16).unwrap();
    [&len.to_be_bytes(), head.as_bytes(), payload.as_bytes()].concat().into()
}
