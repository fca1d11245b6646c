use super::*;
use crate::{FileId, Identity, Limits, LineKind, RoomName, Secret, SignalStep, Stun};
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
fn what_goes_by_a_direct_line_needs_no_envelope() {
    let said = PeerMessage::Unchoke { file: FILE.tag() };
    let Frame::Text(text) = encode_direct(said.clone()) else { panic!("only blocks are binary") };
    assert_eq!(decode_direct_text(&text), Ok(said));
    let Frame::Binary { head, payload } = encode_direct(block(b"bytes")) else { panic!("blocks are binary") };
    let frame = Bytes::from([head.as_slice(), &payload].concat());
    assert_eq!(decode_direct_binary(&frame), Ok(block(b"bytes")));
    assert!(decode_direct_text(&format!(r#"{{"from":"{ALICE}","message":{text}}}"#)).is_err());
}

#[test]
fn a_binary_frame_by_a_direct_line_is_a_block_whose_head_has_no_data() {
    let binary = |head: &str| Bytes::from([&(head.len() as u32).to_be_bytes(), head.as_bytes(), b"bytes"].concat());
    let tag = FILE.tag();
    let without = format!(r#"{{"type":"block","file":"{tag}","index":3,"count":2}}"#);
    assert_eq!(decode_direct_binary(&binary(&without)), Ok(block(b"bytes")));
    for head in [
        format!(r#"{{"type":"block","file":"{tag}","index":3,"count":2,"data":"AA=="}}"#),
        format!(r#"{{"type":"unchoke","file":"{tag}"}}"#),
    ] {
        assert!(decode_direct_binary(&binary(&head)).is_err(), "{head}");
    }
    let whole = binary(&without);
    for len in 0..=whole.len() - b"bytes".len() {
        assert!(decode_direct_binary(&whole.slice(..len)).is_err(), "{len}");
    }
    let head = &whole[..whole.len() - b"bytes".len()];
    let of = |len: u32| decode_direct_binary(&[head, &vec![0; len as usize][..]].concat().into()).is_ok();
    assert_eq!([MAX_SPAN_BYTES, MAX_SPAN_BYTES + 1].map(of), [true, false]);
}

#[test]
fn a_text_frame_by_a_direct_line_is_no_larger_than_one_through_the_tracker() {
    let said = |padding: usize| format!(r#"{{"type":"choke","file":"{}","x":"{}"}}"#, FILE.tag(), "x".repeat(padding));
    let most = MAX_SMALL_BYTES - said(0).len();
    assert_eq!([most, most + 1].map(|padding| decode_direct_text(&said(padding)).is_ok()), [true, false]);
}

#[test]
fn words_of_newer_clients_about_lines_are_understood_as_such() {
    let tag = FILE.tag();
    let text = format!(r#"{{"type":"signal","file":"{tag}","line":1,"step":"renew","data":"x","more":7}}"#);
    let expected = PeerMessage::Signal { file: tag, line: 1, step: SignalStep::Other, data: "x".to_owned() };
    assert_eq!(decode_direct_text(&text), Ok(expected));
    let register = r#"{"type":"register","protocol":4,"direct":["tcp","pigeon"]}"#;
    let Ok(ClientFrame::Request { request: Request::Register { direct, .. }, .. }) = decode_client_text(register)
    else {
        panic!("{register}")
    };
    assert_eq!(direct, [LineKind::Tcp, LineKind::Other].into());
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
        stun: Stun { port: Some(9000), servers: vec!["stun:stun.example.org".to_owned()] },
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
    let whole = "x".repeat(MAX_COMPLAINT);
    assert_eq!(shortened(whole.clone()), whole);
    assert_eq!(shortened(format!("{whole}y")), format!("{whole}…"));
    // A character is cut nowhere but at its end.
    assert_eq!(
        shortened(format!("x{}", "é".repeat(MAX_COMPLAINT))),
        format!("x{}…", "é".repeat(MAX_COMPLAINT / 2 - 1))
    );
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

fn envelope(message: &str) -> String {
    format!(r#"{{"to":"{ALICE}","message":{message}}}"#)
}

/// A block in JSON with so many bytes of data.
fn text_block(len: usize) -> String {
    let data = Bytes::from(vec![7; len]);
    let block = PeerMessage::Block { file: FILE.tag(), index: 3, count: 2, data };
    // Not left out where it is empty.
    to_json(&Outbound { to: ALICE, message: block }).replace(r#""count":2}"#, r#""count":2,"data":""}"#)
}

fn binary_block(len: usize) -> Bytes {
    let message = format!(r#"{{"type":"block","file":"{}","index":3}}"#, FILE.tag());
    let head = envelope(&message);
    [&(head.len() as u32).to_be_bytes(), head.as_bytes(), &vec![7; len]].concat().into()
}

#[test]
fn a_block_has_some_data_and_no_more_than_a_request_may_ask_for() {
    const MOST: usize = MAX_SPAN_BYTES as usize;
    for (len, fits) in
        [(0, false), (1, true), (100, true), (2_000, true), (MOST - 1, true), (MOST, true), (MOST + 1, false)]
    {
        assert_eq!(decode_client_text(&text_block(len)).is_ok(), fits, "{len} bytes in JSON");
        assert_eq!(decode_client_binary(&binary_block(len)).is_ok(), fits, "{len} bytes in binary");
    }
    assert!(text_block(MOST).len() < crate::MAX_MESSAGE_BYTES as usize);
}

#[test]
fn of_a_long_block_the_data_is_measured_and_not_read() {
    for len in [1_000, 1_001, 1_002, 1_003] {
        let text = text_block(len);
        let (to, subject, message) = read_envelope(&text).unwrap();
        assert_eq!(read_long_envelope(&text), Some((to, subject, message, len)));
    }
    let short = text_block(500);
    assert!(short.len() < LONG_TEXT);
    assert_eq!(read_long_envelope(&short), None);
    // Where the data begins late, the whole is parsed.
    let late = text_block(1_000).replace(r#""index""#, &format!(r#""x":"{}","index""#, "x".repeat(LONG_TEXT / 2)));
    assert_eq!(read_long_envelope(&late), None);
    assert!(decode_client_text(&late).is_ok());
    let no_base64 = late.replace("Bw", "!!");
    assert!(decode_client_text(&no_base64).is_err());
}

#[test]
fn what_would_end_a_string_is_found_wherever_it_stands() {
    for len in [0, 1, 2, 255, 256, 257, 511, 513] {
        let plain = vec![b'A'; len];
        assert!(is_plain(&plain), "{len}");
        for place in 0..len {
            let mut one = plain.clone();
            one[place] = b'"';
            let mut two = one.clone();
            two[(place + 1) % len] = b'\\';
            assert!(!is_plain(&one) && !is_plain(&two), "{len}, {place}");
        }
    }
    assert!(is_plain(" ~é".as_bytes()) && !is_plain(b"\x1f"));
}

#[test]
fn a_long_text_that_is_no_block_is_read_whole() {
    let padded = |kind: &str| {
        envelope(&format!(r#"{{"type":"{kind}","file":"{}","data":"{}"}}"#, FILE.tag(), "A".repeat(2_000)))
    };
    assert!(decode_client_text(&padded("choke")).is_ok());
    assert!(decode_client_text(&padded("have")).is_err(), "it has no `blocks`");
    assert_eq!(read_long_envelope(&padded("choke")), None);
}

#[test]
fn what_its_receiver_could_not_understand_is_refused() {
    let (tag, id) = (FILE.tag(), FILE);
    for message in [
        format!(r#"{{"type":"request","file":"{tag}"}}"#),
        format!(r#"{{"type":"request","file":"{tag}","index":-1}}"#),
        format!(r#"{{"type":"request","file":"{tag}","index":4294967296}}"#),
        format!(r#"{{"type":"request","file":"{tag}","index":0,"count":0}}"#),
        format!(r#"{{"type":"cancel","file":"{tag}","index":0,"count":0}}"#),
        format!(r#"{{"type":"reject","file":"{tag}"}}"#),
        format!(r#"{{"type":"block","file":"{tag}","data":"Bw=="}}"#),
        format!(r#"{{"type":"block","file":"{tag}","index":0,"count":0,"data":"Bw=="}}"#),
        format!(r#"{{"type":"block","file":"{tag}","index":0}}"#),
        format!(r#"{{"type":"block","file":"{tag}","index":0,"data":"?"}}"#),
        format!(r#"{{"type":"have","file":"{tag}"}}"#),
        format!(r#"{{"type":"have","file":"{tag}","blocks":[[1]]}}"#),
        format!(r#"{{"type":"bitfield","file":"{tag}"}}"#),
        format!(r#"{{"type":"bitfield","file":"{tag}","blocks":"","begin":1}}"#),
        format!(r#"{{"type":"manifest","file":"{id}"}}"#),
        format!(r#"{{"type":"get_manifest","file":"{id}","part":"0"}}"#),
        r#"{"type":"choke"}"#.to_owned(),
        r#"{"type":"choke","file":""}"#.to_owned(),
    ] {
        let text = envelope(&message);
        let refused = decode_client_text(&text).unwrap_err();
        assert!(matches!(refused.error, ParseError::Malformed(_)), "{message}");
        assert_eq!((refused.seq, refused.to), (None, Some(ALICE)), "{message}");
        assert_eq!(refused.error.code(), ErrorCode::Malformed);
    }
    // Nor where the data is not parsed.
    let without_index = |text: String| text.replace(r#""index":3,"#, "");
    let long = text_block(2_000);
    assert!(decode_client_text(&long).is_ok() && decode_client_text(&without_index(long)).is_err());
    let head = envelope(&format!(r#"{{"type":"block","file":"{tag}"}}"#));
    let binary = [&(head.len() as u32).to_be_bytes(), head.as_bytes(), b"data"].concat();
    assert!(decode_client_binary(&binary.into()).is_err());
}

#[test]
fn what_carries_no_data_is_small() {
    let padded = |len: usize| {
        let choke = format!(r#"{{"type":"choke","file":"{}"}}"#, FILE.tag());
        let spaces = " ".repeat(len - choke.len());
        envelope(&choke.replacen('{', &format!("{{{spaces}"), 1))
    };
    assert!(decode_client_text(&padded(MAX_SMALL_BYTES)).is_ok());
    assert!(decode_client_text(&padded(MAX_SMALL_BYTES + 1)).is_err());
    let bitfield = PeerMessage::Bitfield {
        file: FILE.tag(),
        blocks: crate::Bitfield::full(crate::MAX_BLOCKS).to_bytes(),
        begin: true,
    };
    let Frame::Text(text) = encode_envelope(ALICE, bitfield, true) else { panic!("no block is binary") };
    assert!(decode_client_text(&text).is_ok(), "the longest bitfield is small");
}

#[test]
fn what_could_be_read_of_a_message_is_told() {
    let read = |text: &str| decode_client_text(text).map(|_| ()).map_err(|refused| (refused.seq, refused.to));
    assert_eq!(read(r#"{"seq":7,"type":"get_peers"}"#), Err((Some(7), None)));
    assert_eq!(read(r#"{"type":"dance","seq":7}"#), Err((Some(7), None)));
    assert_eq!(read(r#"{"seq":-7,"type":"ping"}"#), Err((None, None)));
    assert_eq!(read(&format!(r#"{{"to":"{ALICE}","message":{{}}}}"#)), Err((None, Some(ALICE))));
    assert_eq!(read(&format!(r#"{{"message":{{}},"to":"{ALICE}"}}"#)), Err((None, Some(ALICE))));
    assert_eq!(read(r#"{"to":"nobody","message":{},"seq":3}"#), Err((Some(3), None)));
    assert_eq!(read("nonsense"), Err((None, None)));
    let binary = |frame: Bytes| decode_client_binary(&frame).unwrap_err();
    assert_eq!(binary(binary_block(0)).to, Some(ALICE));
    assert_eq!(binary(Bytes::from_static(b"\0\0\0\x02{}")).to, None);
    let Frame::Text(choke) = encode_envelope(ALICE, PeerMessage::Choke { file: FILE.tag() }, false) else { panic!() };
    let refused = binary([&(choke.len() as u32).to_be_bytes(), choke.as_bytes(), b"data"].concat().into());
    assert_eq!((refused.to, refused.error.code()), (Some(ALICE), ErrorCode::Malformed));
    assert!(refused.to_string().contains("a binary frame carries a block"));
    assert_eq!(decode_client_text(r#"{"type":"dance"}"#).unwrap_err().error.code(), ErrorCode::UnknownType);
}

#[test]
fn what_a_message_is_about_is_told() {
    let subject = |message: String| match decode_client_text(&envelope(&message)) {
        Ok(ClientFrame::Envelope { to: ALICE, subject, message: kept }) => {
            assert_eq!(kept, message);
            subject
        }
        other => panic!("{other:?}"),
    };
    let (tag, id) = (FILE.tag(), FILE);
    let about = |kind, index, count| Subject { kind, tag, index, count };
    assert_eq!(subject(format!(r#"{{"type":"request","file":"{tag}","index":3}}"#)), about(Kind::Request, 3, 1));
    assert_eq!(
        subject(format!(r#"{{"type":"cancel","file":"{tag}","index":3,"count":4}}"#)),
        about(Kind::Cancel, 3, 4)
    );
    assert_eq!(subject(format!(r#"{{"type":"no_manifest","file":"{id}"}}"#)), about(Kind::NoManifest, 0, 1));
    assert_eq!(subject(format!(r#"{{"type":"get_manifest","file":"{id}","part":9}}"#)), about(Kind::GetManifest, 0, 1));
    let json = to_json(&about(Kind::NotInterested, 0, 1));
    assert_eq!(json, format!(r#"{{"type":"not_interested","file":"{tag}","index":0,"count":1}}"#));
    let short = format!(r#"{{"type":"not_interested","file":"{tag}"}}"#);
    assert_eq!(serde_json::from_str::<Subject>(&short).unwrap(), about(Kind::NotInterested, 0, 1));
}

#[test]
fn frames_have_the_size_of_what_is_sent() {
    let text = encode_envelope(ALICE, block(b"bytes"), false);
    let Frame::Text(json) = &text else { panic!("asked for text") };
    assert_eq!((text.len(), text.is_empty()), (json.len(), false));
    let binary = encode_envelope(ALICE, block(b"bytes"), true);
    let Frame::Binary { head, .. } = &binary else { panic!("asked for binary") };
    assert_eq!((binary.len(), binary.is_empty()), (head.len() + 5, false));
    assert!(Frame::Text(String::new()).is_empty());
    assert_eq!(encode_forwarded(ALICE, &block(b"bytes")), json.replacen("to", "from", 1));
}

#[test]
fn a_binary_frame_of_the_tracker_is_a_block_whose_head_has_no_data() {
    let frame = |message: &PeerMessage| {
        let head = encode_forwarded(ALICE, message);
        decode_tracker_binary(&[&(head.len() as u32).to_be_bytes(), head.as_bytes(), b"bytes"].concat().into())
    };
    let expected = TrackerFrame::Envelope { from: ALICE, message: block(b"bytes") };
    assert_eq!(frame(&block(b"")), Ok(expected));
    for wrong in [block(b"data"), PeerMessage::Choke { file: FILE.tag() }] {
        assert!(frame(&wrong).unwrap_err().to_string().contains("a block without data"));
    }
}

#[test]
fn a_head_may_be_as_long_as_the_limit() {
    let frame = |len: usize| {
        let head = format!(r#"{{"from":"{ALICE}","message":{{"type":"block","file":"{}","index":3}}"#, FILE.tag());
        let head = format!("{head}{}}}", " ".repeat(len - head.len() - 1));
        decode_tracker_binary(&[&(len as u32).to_be_bytes(), head.as_bytes(), b"x"].concat().into())
    };
    assert!(frame(MAX_HEAD).is_ok());
    assert!(frame(MAX_HEAD + 1).is_err());
}

#[test]
fn every_message_names_its_file() {
    let tag = FILE.tag();
    let facts = crate::FileFacts {
        file: FILE,
        name: "f".parse().unwrap(),
        size: 3,
        media_type: crate::MediaType::default(),
        block_size: crate::BlockSize::for_file(3),
    };
    for message in [
        PeerMessage::GetManifest { file: FILE, part: Some(1) },
        PeerMessage::manifest(facts, crate::ManifestPart { part: 7, ..Default::default() }),
        PeerMessage::NoManifest { file: FILE },
        PeerMessage::Bitfield { file: tag, blocks: Bytes::new(), begin: true },
        PeerMessage::Have { file: tag, blocks: vec![crate::HaveRun(1, 2)] },
        PeerMessage::Interested { file: tag },
        PeerMessage::NotInterested { file: tag },
        PeerMessage::Choke { file: tag },
        PeerMessage::Unchoke { file: tag },
        PeerMessage::Request { file: tag, index: 1, count: 2 },
        PeerMessage::Cancel { file: tag, index: 1, count: 2 },
        block(b"x"),
        PeerMessage::Reject { file: tag, index: 1, count: 2 },
    ] {
        assert_eq!(message.tag(), tag);
        let frame = encode_envelope(ALICE, message.clone(), false);
        assert_eq!(relayed(&frame, ALICE), Ok(TrackerFrame::Envelope { from: ALICE, message }));
    }
}

#[test]
fn defaults_are_left_out_and_understood() {
    let tag = FILE.tag();
    let json = |message: PeerMessage| to_json(&message);
    assert_eq!(
        json(PeerMessage::Request { file: tag, index: 0, count: 1 }),
        format!(r#"{{"type":"request","file":"{tag}","index":0}}"#)
    );
    assert!(json(PeerMessage::Request { file: tag, index: 0, count: 2 }).contains(r#""count":2"#));
    assert!(!json(PeerMessage::Bitfield { file: tag, blocks: Bytes::new(), begin: false }).contains("begin"));
    assert!(!json(PeerMessage::GetManifest { file: FILE, part: None }).contains("part"));
    assert!(json(PeerMessage::GetManifest { file: FILE, part: Some(0) }).contains(r#""part":0"#));
    let part = |part| to_json(&crate::ManifestPart { part, ..Default::default() });
    assert_eq!((part(0), part(2)), (r#"{"hashes":""}"#.to_owned(), r#"{"part":2,"hashes":""}"#.to_owned()));
    assert_eq!(ErrorCode::NotIntroduced.to_string(), "not_introduced");
    let error = r#"{"type":"error","code":"of_a_later_version","message":"x"}"#;
    let Ok(TrackerFrame::Response { response: Response::Error { code, .. }, .. }) = decode_tracker_text(error) else {
        panic!("{error}")
    };
    assert_eq!(code, ErrorCode::Other);
}
