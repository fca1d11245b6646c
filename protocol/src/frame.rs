//! Messages as WebSocket frames.
//!
//! A text frame is one JSON object. Either it has a `type` and is between a client and the tracker, or its first key
//! is `to` (on the way to the tracker) or `from` (on the way out) and it is an envelope whose `message` is for
//! another peer. The tracker reads an envelope's head and what its message is about ([`Subject`]), and forwards the
//! rest as it came.
//!
//! A binary frame is an envelope with a `block`: 4 bytes with the length of the head (big-endian), the head (the
//! same envelope without `data`), and the data.

use crate::{ErrorCode, FileId, FileTag, MAX_SMALL_BYTES, MAX_SPAN_BYTES, PeerId, PeerMessage, Request, Response};
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
/// The most bytes of a `manifest` message: 256 hashes, proof and tail in base64 have 13 KiB, facts at most 2 KiB.
pub const MAX_PART_BYTES: usize = 20 << 10;
/// The most bytes of a parser's complaint that are passed on.
const MAX_COMPLAINT: usize = 200;

/// The `type`s that a client may send to the tracker, and those that peers may send each other.
const REQUEST_TYPES: &[&str] =
    &["register", "announce", "update_blocks", "get_peers", "list_files", "who_has", "leave", "ping"];
const PEER_TYPES: &[&str] = &[
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

/// A frame from a client that could not be understood, and what could be read of it, to answer by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Unreadable {
    /// Why.
    pub error: ParseError,
    /// The number under which it wants the answer.
    pub seq: Option<u32>,
    /// The receiver.
    pub to: Option<PeerId>,
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

/// What a message between peers is about: all that the tracker acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Its `type`.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The tag of its `file`.
    #[serde(rename = "file")]
    pub tag: FileTag,
    /// Its `index`; 0 if it has none.
    #[serde(default)]
    pub index: u32,
    /// Its `count`; 1 if it has none.
    #[serde(default = "crate::messages::one")]
    pub count: u32,
}

/// The `type`s of [`PeerMessage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is documented at `PeerMessage`")]
pub enum Kind {
    GetManifest,
    Manifest,
    NoManifest,
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
    Signal,
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
    index: Option<u32>,
    #[serde(default = "crate::messages::one")]
    count: u32,
}

/// What can be read of a frame that could not be understood, where it is an object at all.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Addressed {
    #[serde(deserialize_with = "if_readable")]
    seq: Option<u32>,
    #[serde(deserialize_with = "if_readable")]
    to: Option<PeerId>,
}

fn if_readable<'de, T: Deserialize<'de>, D: de::Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = <&RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(value.get()).ok())
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
    encode(message, binary, |message| to_json(&Outbound { to, message }))
}

/// Writes a message to the peer at the other end of a direct line, which needs no envelope.
pub fn encode_direct(message: PeerMessage) -> Frame {
    encode(message, true, |message| to_json(&message))
}

fn encode(message: PeerMessage, binary: bool, json: impl FnOnce(PeerMessage) -> String) -> Frame {
    let PeerMessage::Block { file, index, count, data } = message else { return Frame::Text(json(message)) };
    if !binary {
        return Frame::Text(json(PeerMessage::Block { file, index, count, data }));
    }
    let text = json(PeerMessage::Block { file, index, count, data: Bytes::new() });
    let mut head = Vec::with_capacity(HEAD_LEN + text.len());
    head.extend((text.len() as u32).to_be_bytes());
    head.extend(text.as_bytes());
    Frame::Binary { head, payload: data }
}

/// The bytes that take the place of everything before the message in a forwarded envelope, so that
/// `forwarded_head(from) + message + "}"` is the envelope that the receiver gets.
pub fn forwarded_head(from: PeerId) -> String {
    format!("{{\"from\":\"{from}\",\"message\":")
}

/// Writes a message to another peer as its receiver gets it, as the text of a frame.
pub fn encode_forwarded(from: PeerId, message: &PeerMessage) -> String {
    format!("{}{}}}", forwarded_head(from), to_json(message))
}

/// Reads a text frame from a client.
///
/// # Errors
/// If it is no request and no envelope with a whole message of this protocol. Keys given twice are refused, because
/// browsers would keep the last one.
pub fn decode_client_text(text: &str) -> Result<ClientFrame<'_>, Unreadable> {
    read_client_text(text).map_err(|error| {
        let Addressed { seq, to } = serde_json::from_str(text).unwrap_or_default();
        Unreadable { error, seq, to }
    })
}

fn read_client_text(text: &str) -> Result<ClientFrame<'_>, ParseError> {
    if first_key(text) == Some("to") {
        if let Some((to, subject, message, data_len)) = read_long_envelope(text) {
            check_data_len(data_len)?;
            return Ok(ClientFrame::Envelope { to, subject, message });
        }
        let (to, subject, message) = read_envelope(text)?;
        if subject.kind == Kind::Block
            && let PeerMessage::Block { data, .. } = read_message(message)?
        {
            check_data_len(data.len())?;
        }
        return Ok(ClientFrame::Envelope { to, subject, message });
    }
    let Numbered { seq, message: request } =
        serde_json::from_str(text).map_err(|error| blame(text, REQUEST_TYPES, &error))?;
    Ok(ClientFrame::Request { seq, request })
}

/// Reads a binary frame from a client: the receiver, the message in the head (unparsed), and the payload.
///
/// # Errors
/// If the frame is shorter than it says, or its head is no envelope with a block.
pub fn decode_client_binary(frame: &Bytes) -> Result<ClientBinary<'_>, Unreadable> {
    let blind = |error| Unreadable { error, seq: None, to: None };
    let (head, data) = split_binary(frame).map_err(blind)?;
    let read = || {
        let (to, subject, message) = read_envelope(head)?;
        if subject.kind != Kind::Block {
            return Err(ParseError::malformed("a binary frame carries a block"));
        }
        check_data_len(data.len())?;
        Ok((to, subject, message))
    };
    let (to, subject, message) = read().map_err(|error| {
        let Addressed { to, .. } = serde_json::from_str(head).unwrap_or_default();
        Unreadable { error, seq: None, to }
    })?;
    Ok(ClientBinary { to, subject, message, data })
}

/// A block's data is never empty, and never more than a request may ask for.
fn check_data_len(len: usize) -> Result<(), ParseError> {
    if (1..=MAX_SPAN_BYTES as usize).contains(&len) {
        Ok(())
    } else {
        Err(ParseError::malformed(format!("a block has 1 to {MAX_SPAN_BYTES} bytes of data, not {len}")))
    }
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
    match decode_envelope(head)? {
        TrackerFrame::Envelope { from, message } => {
            Ok(TrackerFrame::Envelope { from, message: with_payload(message, payload)? })
        }
        TrackerFrame::Response { .. } => Err(ParseError::malformed("a binary frame carries a block")),
    }
}

/// Reads a text frame that came by a direct line: a small message.
///
/// # Errors
/// If it is no message of this protocol, or larger than the tracker would have passed on.
pub fn decode_direct_text(text: &str) -> Result<PeerMessage, ParseError> {
    if text.len() > MAX_SMALL_BYTES {
        return Err(ParseError::malformed(format!("a message in text has at most {MAX_SMALL_BYTES} bytes")));
    }
    read_message(text)
}

/// Reads a binary frame that came by a direct line, which is always a block.
///
/// # Errors
/// If the frame is shorter than it says, its data empty or too long, or its head not that of a block without `data`.
pub fn decode_direct_binary(frame: &Bytes) -> Result<PeerMessage, ParseError> {
    let (head, payload) = split_binary(frame)?;
    check_data_len(payload.len())?;
    with_payload(read_message(head)?, payload)
}

/// The block whose head and data came one after the other.
fn with_payload(head: PeerMessage, payload: Bytes) -> Result<PeerMessage, ParseError> {
    if let PeerMessage::Block { file, index, count, data } = head
        && data.is_empty()
    {
        return Ok(PeerMessage::Block { file, index, count, data: payload });
    }
    Err(ParseError::malformed("the head of a binary frame must be a block without data"))
}

/// Reads an envelope: the receiver, what the message is about, and the message as it came. The message is read whole,
/// so that nothing passes that its receiver could not understand; of a block all but the data.
fn read_envelope(text: &str) -> Result<(PeerId, Subject, &str), ParseError> {
    let envelope: Outbound<&RawValue> = serde_json::from_str(text).map_err(ParseError::malformed)?;
    let message = envelope.message.get();
    let SubjectFields { r#type: kind, file, index, count } =
        serde_json::from_str(message).map_err(|error| blame(message, PEER_TYPES, &error))?;
    let tag = match (file, matches!(kind, Kind::GetManifest | Kind::Manifest | Kind::NoManifest)) {
        (FileRef::Id(file), true) => file.tag(),
        (FileRef::Tag(tag), false) => tag,
        (FileRef::Id(_), false) => return Err(ParseError::malformed("this message names its file by the tag")),
        (FileRef::Tag(_), true) => return Err(ParseError::malformed("this message names its file by the id")),
    };
    if count == 0 {
        return Err(ParseError::malformed("`count` is at least 1"));
    }
    match kind {
        Kind::Block if index.is_none() => return Err(ParseError::malformed("missing field `index`")),
        Kind::Block => {}
        Kind::GetManifest
        | Kind::Manifest
        | Kind::NoManifest
        | Kind::Bitfield
        | Kind::Have
        | Kind::Interested
        | Kind::NotInterested
        | Kind::Choke
        | Kind::Unchoke
        | Kind::Request
        | Kind::Cancel
        | Kind::Reject
        | Kind::Signal => {
            let most = if kind == Kind::Manifest { MAX_PART_BYTES } else { MAX_SMALL_BYTES };
            if message.len() > most {
                return Err(ParseError::malformed(format!("a message of this type has at most {most} bytes")));
            }
            read_message(message)?;
        }
    }
    Ok((envelope.to, Subject { kind, tag, index: index.unwrap_or_default(), count }, message))
}

fn read_message(text: &str) -> Result<PeerMessage, ParseError> {
    serde_json::from_str(text).map_err(|error| blame(text, PEER_TYPES, &error))
}

/// The same for an envelope that ends with the only string of `data`, as those of blocks do, without parsing the
/// data: what stands before it is read as if the data were empty. Tells the data's length too. `None` if the text has
/// another form.
///
/// Where that reads well, its last quotation mark opens a string. If the data has nothing that would end it or is
/// not allowed in it, the whole reads as well, and means the same.
fn read_long_envelope(text: &str) -> Option<(PeerId, Subject, &str, usize)> {
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
    let (to, subject, message) = read_envelope(&short).ok().filter(|(_, subject, _)| subject.kind == Kind::Block)?;
    let start = message.as_ptr().addr() - short.as_ptr().addr();
    let padding = rest.bytes().rev().take_while(|byte| *byte == b'=').count();
    Some((to, subject, &text[start..text.len() - 1], (rest.len() / 4 * 3).saturating_sub(padding)))
}

/// Whether a string of JSON can hold the bytes as they are (RFC 8259 section 7).
fn is_plain(bytes: &[u8]) -> bool {
    // Without an early end within a chunk, the compiler makes vector instructions of it.
    let is_plain = |byte: &u8| *byte >= b' ' && *byte != b'"' && *byte != b'\\';
    bytes.chunks(256).all(|chunk| chunk.iter().fold(true, |all, byte| all & is_plain(byte)))
}

fn decode_envelope(text: &str) -> Result<TrackerFrame, ParseError> {
    let envelope: Inbound<'_> = serde_json::from_str(text).map_err(ParseError::malformed)?;
    Ok(TrackerFrame::Envelope { from: envelope.from, message: read_message(envelope.message.get())? })
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
mod tests;
