//! Messages as WebSocket frames.
//!
//! A text frame is one JSON object. Either it has a `type` and is between a client and the tracker, or its first key
//! is `to` (on the way to the tracker) or `from` (on the way out) and it is an envelope whose `message` is for
//! another peer. The tracker reads an envelope's head and what its message is about ([`Subject`]), and forwards the
//! rest as it came.
//!
//! A binary frame is an envelope with a `block`: 4 bytes with the length of the head (big-endian), the head (the
//! same envelope without `data`), and the data.

use crate::{ErrorCode, FileId, FileTag, PeerId, PeerMessage, Request, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize, de};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Bytes of a binary frame's head length.
const HEAD_LEN: usize = 4;
/// The longest head of a binary frame in bytes; real ones have about 100.
const MAX_HEAD: usize = 4 << 10;
/// A text frame from this size on is looked at for the form that blocks have.
const LONG_TEXT: usize = 1 << 10;
/// The most bytes of a parser's complaint that are passed on.
const MAX_COMPLAINT: usize = 200;

/// The `type`s that a client may send to the tracker, and those that peers may send each other.
const REQUEST_TYPES: &[&str] =
    &["register", "announce", "update_blocks", "get_peers", "list_files", "who_has", "leave", "ping"];
const PEER_TYPES: &[&str] = &[
    "get_manifest",
    "manifest",
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
];

/// A frame to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A text frame.
    Text(String),
    /// A binary frame: these two, one after the other.
    Binary {
        /// The length and the head.
        head: Vec<u8>,
        /// The data.
        payload: Bytes,
    },
}

impl Frame {
    /// The frame's size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary { head, payload } => head.len() + payload.len(),
        }
    }

    /// Whether the frame has no bytes; none that this crate makes is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why a frame could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No JSON object with the right fields.
    #[error("not understood: {0}")]
    Malformed(String),
    /// The `type` is none of this protocol's.
    #[error("unknown type {0:?}")]
    UnknownType(String),
}

impl ParseError {
    /// The code to answer with.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed(_) => ErrorCode::Malformed,
            Self::UnknownType(_) => ErrorCode::UnknownType,
        }
    }

    fn malformed(complaint: impl ToString) -> Self {
        Self::Malformed(shortened(complaint.to_string()))
    }
}

/// What a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientFrame<'a> {
    /// A request to the tracker, and the number under which it wants the answer.
    Request {
        /// The number.
        seq: Option<u32>,
        /// The request.
        request: Request,
    },
    /// A message for another peer.
    Envelope {
        /// The receiver.
        to: PeerId,
        /// What the message is about.
        subject: Subject,
        /// The message, as it came.
        message: &'a str,
    },
}

/// A block in a binary frame from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientBinary<'a> {
    /// The receiver.
    pub to: PeerId,
    /// What the message is about; its kind is [`Kind::Block`].
    pub subject: Subject,
    /// The message in the head, as it came.
    pub message: &'a str,
    /// The data.
    pub data: Bytes,
}

/// What a message between peers is about: all that the tracker reads of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// Its `type`.
    pub kind: Kind,
    /// The tag of its `file`.
    pub tag: FileTag,
    /// Its `index`; 0 if it has none.
    pub index: u32,
    /// Its `count`; 1 if it has none.
    pub count: u32,
}

/// The `type`s of [`PeerMessage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is documented at `PeerMessage`")]
pub enum Kind {
    GetManifest,
    Manifest,
    Bitfield,
    Have,
    Interested,
    NotInterested,
    Choke,
    Unchoke,
    Request,
    Cancel,
    Block,
    Reject,
}

/// What the tracker sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrackerFrame {
    /// Its own words, and the number of the request that they answer.
    Response {
        /// The number.
        seq: Option<u32>,
        /// The response.
        response: Response,
    },
    /// A message from another peer.
    Envelope {
        /// The sender, in the tracker's word.
        from: PeerId,
        /// The message.
        message: PeerMessage,
    },
}

#[derive(Serialize, Deserialize)]
struct Numbered<T> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<u32>,
    #[serde(flatten)]
    message: T,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Outbound<T> {
    to: PeerId,
    message: T,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inbound<'a> {
    from: PeerId,
    #[serde(borrow)]
    message: &'a RawValue,
}

#[derive(Deserialize)]
struct SubjectFields {
    r#type: Kind,
    file: FileRef,
    #[serde(default)]
    index: u32,
    #[serde(default = "crate::messages::one")]
    count: u32,
}

/// How a message names its file.
enum FileRef {
    Id(FileId),
    Tag(FileTag),
}

impl<'de> Deserialize<'de> for FileRef {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let tag = text.parse().map(Self::Tag);
        tag.or_else(|_| text.parse().map(Self::Id))
            .map_err(|_| de::Error::custom("a file is named by its tag or its id"))
    }
}

/// Writes a request to the tracker.
pub fn encode_request(seq: Option<u32>, request: &Request) -> Frame {
    Frame::Text(to_json(&Numbered { seq, message: request }))
}

/// Writes the tracker's words to a client, as the text of a frame.
pub fn encode_response(seq: Option<u32>, response: &Response) -> String {
    to_json(&Numbered { seq, message: response })
}

/// Writes a message to another peer. `binary` is whether that peer takes blocks as binary frames.
pub fn encode_envelope(to: PeerId, message: PeerMessage, binary: bool) -> Frame {
    if binary && let PeerMessage::Block { file, index, count, data } = message {
        let message = PeerMessage::Block { file, index, count, data: Bytes::new() };
        let text = to_json(&Outbound { to, message });
        let mut head = Vec::with_capacity(HEAD_LEN + text.len());
        head.extend((text.len() as u32).to_be_bytes());
        head.extend(text.as_bytes());
        return Frame::Binary { head, payload: data };
    }
    Frame::Text(to_json(&Outbound { to, message }))
}

/// The bytes that take the place of everything before the message in a forwarded envelope, so that
/// `forwarded_head(from) + message + "}"` is the envelope that the receiver gets.
pub fn forwarded_head(from: PeerId) -> String {
    format!("{{\"from\":\"{from}\",\"message\":")
}

/// Reads a text frame from a client.
///
/// # Errors
/// If it is no request and no envelope. Keys given twice are refused, because browsers would keep the last one.
pub fn decode_client_text(text: &str) -> Result<ClientFrame<'_>, ParseError> {
    if first_key(text) == Some("to") {
        let (to, subject, message) = match read_long_envelope(text) {
            Some(envelope) => envelope,
            None => read_envelope(text)?,
        };
        return Ok(ClientFrame::Envelope { to, subject, message });
    }
    let Numbered { seq, message: request } =
        serde_json::from_str(text).map_err(|error| blame(text, REQUEST_TYPES, &error))?;
    Ok(ClientFrame::Request { seq, request })
}

/// Reads a binary frame from a client: the receiver, the message in the head (unparsed), and the payload.
///
/// # Errors
/// If the frame is shorter than it says, or its head is no envelope.
pub fn decode_client_binary(frame: &Bytes) -> Result<ClientBinary<'_>, ParseError> {
    let (head, data) = split_binary(frame)?;
    let (to, subject, message) = read_envelope(head)?;
    if subject.kind != Kind::Block {
        return Err(ParseError::malformed("a binary frame carries a block"));
    }
    Ok(ClientBinary { to, subject, message, data })
}

/// Reads a text frame from the tracker.
///
/// # Errors
/// If it is no response and no envelope with a message of this protocol.
pub fn decode_tracker_text(text: &str) -> Result<TrackerFrame, ParseError> {
    if first_key(text) == Some("from") {
        return decode_envelope(text);
    }
    let Numbered { seq, message: response } = serde_json::from_str(text).map_err(ParseError::malformed)?;
    Ok(TrackerFrame::Response { seq, response })
}

/// Reads a binary frame from the tracker, which is always an envelope with a block.
///
/// # Errors
/// If the frame is shorter than it says, or its head is not that of a block without `data`.
pub fn decode_tracker_binary(frame: &Bytes) -> Result<TrackerFrame, ParseError> {
    let (head, payload) = split_binary(frame)?;
    if let TrackerFrame::Envelope { from, message: PeerMessage::Block { file, index, count, data } } =
        decode_envelope(head)?
        && data.is_empty()
    {
        let message = PeerMessage::Block { file, index, count, data: payload };
        return Ok(TrackerFrame::Envelope { from, message });
    }
    Err(ParseError::malformed("the head of a binary frame must be a block without data"))
}

/// Reads what the tracker reads of an envelope: the receiver, what the message is about, and the message as it came.
fn read_envelope(text: &str) -> Result<(PeerId, Subject, &str), ParseError> {
    let envelope: Outbound<&RawValue> = serde_json::from_str(text).map_err(ParseError::malformed)?;
    let message = envelope.message.get();
    let SubjectFields { r#type: kind, file, index, count } =
        serde_json::from_str(message).map_err(|error| blame(message, PEER_TYPES, &error))?;
    let tag = match (file, matches!(kind, Kind::GetManifest | Kind::Manifest)) {
        (FileRef::Id(file), true) => file.tag(),
        (FileRef::Tag(tag), false) => tag,
        (FileRef::Id(_), false) => return Err(ParseError::malformed("this message names its file by the tag")),
        (FileRef::Tag(_), true) => return Err(ParseError::malformed("this message names its file by the id")),
    };
    Ok((envelope.to, Subject { kind, tag, index, count }, message))
}

/// The same for an envelope that ends with the only string of `data`, as those of blocks do, without parsing the
/// data: what stands before it is read as if the data were empty. `None` if the text has another form.
///
/// Where that reads well, its last quotation mark opens a string. If the data has nothing that would end it or is
/// not allowed in it, the whole reads as well, and means the same.
fn read_long_envelope(text: &str) -> Option<(PeerId, Subject, &str)> {
    const DATA: &str = r#""data":""#;
    const END: &str = r#""}}"#;
    if text.len() < LONG_TEXT {
        return None;
    }
    let data = text.get(..LONG_TEXT / 2)?.find(DATA)? + DATA.len();
    let rest = text[data..].strip_suffix(END)?;
    if !is_plain(rest.as_bytes()) {
        return None;
    }
    let short = [&text[..data], END].concat();
    let (to, subject, message) = read_envelope(&short).ok()?;
    let start = message.as_ptr().addr() - short.as_ptr().addr();
    Some((to, subject, &text[start..text.len() - 1]))
}

/// Whether a string of JSON can hold the bytes as they are (RFC 8259 section 7).
fn is_plain(bytes: &[u8]) -> bool {
    // Without an early end within a chunk, the compiler makes vector instructions of it.
    let is_plain = |byte: &u8| *byte >= b' ' && *byte != b'"' && *byte != b'\\';
    bytes.chunks(256).all(|chunk| chunk.iter().fold(true, |all, byte| all & is_plain(byte)))
}

fn decode_envelope(text: &str) -> Result<TrackerFrame, ParseError> {
    let envelope: Inbound<'_> = serde_json::from_str(text).map_err(ParseError::malformed)?;
    let message = envelope.message.get();
    let message = serde_json::from_str(message).map_err(|error| blame(message, PEER_TYPES, &error))?;
    Ok(TrackerFrame::Envelope { from: envelope.from, message })
}

fn split_binary(frame: &Bytes) -> Result<(&str, Bytes), ParseError> {
    let too_short = || ParseError::malformed("the binary frame is shorter than its head says");
    let (len, _) = frame.split_first_chunk::<HEAD_LEN>().ok_or_else(too_short)?;
    let len = u32::from_be_bytes(*len) as usize;
    if len > MAX_HEAD {
        return Err(ParseError::malformed(format!("the head of a binary frame has at most {MAX_HEAD} bytes")));
    }
    let head = frame.get(HEAD_LEN..HEAD_LEN + len).ok_or_else(too_short)?;
    let head = std::str::from_utf8(head).map_err(ParseError::malformed)?;
    Ok((head, frame.slice(HEAD_LEN + len..)))
}

/// The first key of a JSON object, if it is a plain one; reads no further.
fn first_key(text: &str) -> Option<&str> {
    let rest = text.trim_start().strip_prefix('{')?.trim_start().strip_prefix('"')?;
    rest.split(['"', '\\']).next()
}

/// Tells an unknown `type` from a known one with wrong fields.
fn blame(text: &str, known: &[&str], error: &serde_json::Error) -> ParseError {
    #[derive(Deserialize)]
    struct Head {
        r#type: String,
    }
    match serde_json::from_str::<Head>(text) {
        Ok(head) if !known.contains(&head.r#type.as_str()) => ParseError::UnknownType(shortened(head.r#type)),
        _ => ParseError::malformed(error),
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_COMPLAINT {
        let mut end = MAX_COMPLAINT;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

fn to_json(value: &impl Serialize) -> String {
    // The types of this crate have string keys and no fallible serializers.
    serde_json::to_string(value).expect("messages always serialize")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileId, Identity, Limits, RoomName, Secret};
    use proptest::prelude::*;

    const ALICE: PeerId = PeerId::from_bytes([0xa1; 8]);
    const FILE: FileId = FileId::from_bytes([0xf1; 32]);

    fn block(data: &'static [u8]) -> PeerMessage {
        PeerMessage::Block { file: FILE.tag(), index: 3, count: 2, data: Bytes::from_static(data) }
    }

    /// What the tracker makes of a frame, without its state.
    fn relayed(frame: &Frame, from: PeerId) -> Result<TrackerFrame, ParseError> {
        match frame {
            Frame::Text(text) => {
                let ClientFrame::Envelope { message, .. } = decode_client_text(text)? else {
                    panic!("no envelope: {text}");
                };
                decode_tracker_text(&format!("{}{message}}}", forwarded_head(from)))
            }
            Frame::Binary { head, payload } => {
                let frame = Bytes::from([head.as_slice(), payload].concat());
                let ClientBinary { message, data: payload, .. } = decode_client_binary(&frame)?;
                let head = format!("{}{message}}}", forwarded_head(from));
                let frame = [&(head.len() as u32).to_be_bytes(), head.as_bytes(), &payload].concat();
                decode_tracker_binary(&frame.into())
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
            assert!(matches!(decode_client_text(&text), Err(ParseError::Malformed(_))), "{text}");
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
                prop_assert_eq!(Ok(envelope), read_envelope(&text));
            }
        }
    }

    #[test]
    fn the_form_that_blocks_have_is_read_by_its_beginning() {
        let data = Bytes::from(vec![7; LONG_TEXT]);
        let block = PeerMessage::Block { file: FILE.tag(), index: 3, count: 2, data };
        let Frame::Text(text) = encode_envelope(ALICE, block, false) else { panic!("asked for text") };
        let subject = Subject { kind: Kind::Block, tag: FILE.tag(), index: 3, count: 2 };
        assert_eq!(read_long_envelope(&text).map(|(to, subject, _)| (to, subject)), Some((ALICE, subject)));
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
            let text = format!(r#"{{"to":"{ALICE}","message":{{"type":"{kind}","file":"{file}"}}}}"#);
            assert_eq!(decode_client_text(&text).is_ok(), right, "{text}");
        }
    }

    #[test]
    fn an_unknown_type_is_told_from_a_wrong_field() {
        let unknown = decode_client_text(r#"{"type":"dance"}"#);
        assert_eq!(unknown, Err(ParseError::UnknownType("dance".to_owned())));
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
            assert!(matches!(decode_client_text(text), Err(ParseError::Malformed(_))), "{text}");
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
        let Err(ParseError::UnknownType(name)) = decode_client_text(&text) else { panic!("must be unknown") };
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
}
