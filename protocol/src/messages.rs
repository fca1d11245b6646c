//! Every message, as it stands in JSON.

use crate::{FileFacts, FileId, FileTag, Kind, ManifestPart, PeerId, PeerName, RoomName, Secret, Subject, encoding};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// The version of the wire that this crate speaks.
pub const PROTOCOL_VERSION: u32 = 4;

/// What a client asks of the tracker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// Joins a room; the first message of every connection.
    Register {
        /// Must be [`PROTOCOL_VERSION`].
        protocol: u32,
        /// The room to join.
        #[serde(default)]
        room: RoomName,
        /// A name for people to read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<PeerName>,
        /// Whether blocks may be sent to this client as binary frames.
        #[serde(default)]
        binary: bool,
        /// The kinds of direct lines that this client can have.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        direct: BTreeSet<LineKind>,
        /// Takes an id back after a dropped line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume: Option<Identity>,
    },
    /// Joins the swarm of a file: the facts, and which blocks this peer has (none, for one that wants it).
    Announce {
        /// What the file is.
        #[serde(flatten)]
        facts: FileFacts,
        /// The bytes of a bitfield.
        #[serde(with = "encoding")]
        blocks: Bytes,
    },
    /// Tells which blocks of an announced file this peer has by now.
    UpdateBlocks {
        /// The file.
        file: FileId,
        /// The bytes of a bitfield.
        #[serde(with = "encoding")]
        blocks: Bytes,
        /// Bytes of its blocks that came by direct lines since this was said the last time.
        #[serde(default, skip_serializing_if = "is_nothing")]
        direct: u64,
    },
    /// Asks for other peers of a swarm.
    GetPeers {
        /// The file.
        file: FileId,
        /// The most peers wanted; 5 if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    },
    /// Asks for the files of the room.
    ListFiles {
        /// Whether to send the list again each time it changes.
        #[serde(default)]
        watch: bool,
    },
    /// Asks who has a file, or one block of it.
    WhoHas {
        /// The file.
        file: FileId,
        /// The block; absent to ask for the whole file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        block: Option<u32>,
    },
    /// Leaves the swarm of a file, or all of them and the room.
    Leave {
        /// The file; absent to leave altogether.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<FileId>,
    },
    /// Asks for a `pong`, for clients that cannot send WebSocket pings.
    Ping,
}

/// An id and the secret that came with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The peer id.
    pub id: PeerId,
    /// Its secret.
    pub secret: Secret,
}

/// What the tracker tells a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Response {
    /// Answers `register`.
    Registered {
        /// The peer's id and secret.
        #[serde(flatten)]
        identity: Identity,
        /// The room joined.
        room: RoomName,
        /// Whether the id asked for was taken back.
        resumed: bool,
        /// What the tracker allows.
        limits: Limits,
        /// Where to learn one's own addresses.
        #[serde(default, skip_serializing_if = "Stun::is_empty")]
        stun: Stun,
    },
    /// Answers `announce`.
    Announced {
        /// The file.
        file: FileId,
    },
    /// Answers `update_blocks`.
    Updated {
        /// The file.
        file: FileId,
    },
    /// Answers `get_peers`.
    Peers {
        /// The file.
        file: FileId,
        /// Other peers of its swarm.
        peers: Vec<PeerInfo>,
    },
    /// Answers `list_files`, and follows each change if that asked to watch.
    Files {
        /// The files of the room.
        files: Vec<FileInfo>,
    },
    /// Answers `who_has`.
    Holders {
        /// The file.
        file: FileId,
        /// The block asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        block: Option<u32>,
        /// Who has it; at most `limits.peers_per_answer`.
        peers: Vec<PeerInfo>,
    },
    /// Answers `leave`.
    Left {
        /// The file left; absent when the peer left altogether.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<FileId>,
    },
    /// Answers `ping`.
    Pong,
    /// Another peer of a swarm was told of this one by `get_peers`.
    PeerJoined {
        /// The file.
        file: FileId,
        /// The other peer.
        peer: PeerInfo,
    },
    /// A peer that this one knew left a swarm.
    PeerLeft {
        /// The file.
        file: FileId,
        /// The id of the other peer.
        peer: PeerId,
    },
    /// A message was refused.
    Error {
        /// The reason, for programs.
        code: ErrorCode,
        /// The reason, for people.
        message: String,
        /// The peer that the refused envelope was meant for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<PeerId>,
        /// What the refused envelope was about, so that its sender knows what to send again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        about: Option<Subject>,
    },
}

/// A peer, as the tracker describes it to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerInfo {
    /// Its id.
    pub id: PeerId,
    /// The name it chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<PeerName>,
    /// Whether it takes blocks as binary frames.
    #[serde(default)]
    pub binary: bool,
    /// How many blocks of the file it has said that it has.
    #[serde(default)]
    pub blocks: u32,
    /// For how many seconds it has been in the swarm.
    #[serde(default)]
    pub age: u32,
    /// The kinds of direct lines that it and whoever is told of it can have, and may try, since the two are near each other.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub direct: BTreeSet<LineKind>,
}

/// A kind of line between two peers that does not lead through the tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    /// TLS over TCP, to a program that listens.
    Tcp,
    /// A WebRTC data channel (RFC 8831).
    #[serde(rename = "webrtc")]
    WebRtc,
    /// A kind of a newer client.
    #[serde(other)]
    Other,
}

/// A file, as the room's catalogue lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// What the file is, in the words of whoever announced it first.
    #[serde(flatten)]
    pub facts: FileFacts,
    /// Peers that have every block.
    pub sources: u32,
    /// All peers of its swarm.
    pub peers: u32,
}

/// Who tells a client by STUN (RFC 8489) under which address others see it, for direct lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stun {
    /// The UDP port at which the tracker itself answers, under the name by which the client reached it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Other servers, as URIs such as `stun:stun.example.org:3478` (RFC 7064).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
}

impl Stun {
    /// Whether nobody does.
    pub const fn is_empty(&self) -> bool {
        self.port.is_none() && self.servers.is_empty()
    }
}

/// What the tracker allows one client. The default is nothing; what a tracker allows by default is its own matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of one message.
    pub message_bytes: u32,
    /// Payload bytes of one `block`.
    pub span_bytes: u32,
    /// Bytes waiting for one receiver, beyond which data for it is refused as `busy`.
    pub queue_bytes: u32,
    /// Unanswered requests of one peer, of which the oldest are forgotten.
    pub open_requests: u32,
    /// Messages a second that are read of one connection; 0 if there is no limit.
    pub messages_per_second: u32,
    /// Bytes a second that are read of one connection; 0 if there is no limit.
    pub bytes_per_second: u32,
    /// Files that one peer may announce.
    pub files_per_peer: u32,
    /// Peers in one room.
    pub peers_per_room: u32,
    /// Swarms in one room.
    pub files_per_room: u32,
    /// Peers in one answer.
    pub peers_per_answer: u32,
    /// Milliseconds between the tracker's pings; a client silent for three of them is closed.
    pub heartbeat_ms: u32,
}

/// Why a message was refused, in words that do not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// No JSON, a field is missing or has a value that is not allowed, or the frame's head cannot be read.
    Malformed,
    /// The `type` is none of this protocol's.
    UnknownType,
    /// The tracker speaks another version.
    UnsupportedProtocol,
    /// The first message must be `register`.
    NotRegistered,
    /// `register` came twice.
    AlreadyRegistered,
    /// The secret does not belong to the id.
    WrongSecret,
    /// The bitfield does not fit the file.
    InvalidBitfield,
    /// This peer has not announced that file.
    UnknownFile,
    /// The block is not inside the file.
    OutOfRange,
    /// No such peer is in the room.
    UnknownPeer,
    /// This peer announced as many files as it may.
    TooManyFiles,
    /// The room is full.
    RoomFull,
    /// The two peers were not introduced in a swarm of this file.
    NotIntroduced,
    /// The receiver has not asked for this block or manifest.
    NotRequested,
    /// The receiver has too much waiting; ask or send again later.
    Busy,
    /// A code of a newer tracker.
    #[serde(other)]
    Other,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Blocks that a peer has got, in `have`: the first and how many, as `[index, count]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaveRun(pub u32, pub u32);

/// What peers say to each other. Only the manifest is spoken of by the file's id, all else by its tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum PeerMessage {
    /// Asks for a part of the manifest.
    GetManifest {
        /// The file.
        file: FileId,
        /// Which part; absent for the last one, which proves the file's size.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        part: Option<u32>,
    },
    /// The file's facts and the hashes of a part of its blocks, with what proves them.
    Manifest {
        /// The facts.
        #[serde(flatten)]
        facts: Box<FileFacts>,
        /// The hashes and their proof.
        #[serde(flatten)]
        part: Box<ManifestPart>,
    },
    /// Answers `get_manifest` where that part of the manifest is not there.
    NoManifest {
        /// The file.
        file: FileId,
    },
    /// All blocks that the sender has, whatever it said before; the first message between two peers of a swarm, in both
    /// directions.
    Bitfield {
        /// The file.
        file: FileTag,
        /// The bytes of a bitfield.
        #[serde(with = "encoding")]
        blocks: Bytes,
        /// The sender knows nothing of the receiver, and begins anew: the receiver is to say everything again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        begin: bool,
    },
    /// Blocks that the sender got since.
    Have {
        /// The file.
        file: FileTag,
        /// Runs of blocks.
        blocks: Vec<HaveRun>,
    },
    /// The receiver has blocks that the sender wants.
    Interested {
        /// The file.
        file: FileTag,
    },
    /// The receiver has nothing that the sender wants.
    NotInterested {
        /// The file.
        file: FileTag,
    },
    /// The sender serves no more requests, and rejects those it has not begun to serve.
    Choke {
        /// The file.
        file: FileTag,
    },
    /// The sender serves requests.
    Unchoke {
        /// The file.
        file: FileTag,
    },
    /// Asks for consecutive segments ([`Geometry::span`](crate::Geometry::span)).
    Request {
        /// The file.
        file: FileTag,
        /// The first segment.
        index: u32,
        /// How many.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        count: u32,
    },
    /// Takes a request back.
    Cancel {
        /// The file.
        file: FileTag,
        /// The first segment.
        index: u32,
        /// How many.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        count: u32,
    },
    /// Answers a request.
    Block {
        /// The file.
        file: FileTag,
        /// The first segment.
        index: u32,
        /// How many.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        count: u32,
        /// The segments' bytes one after another. Absent from the head of a binary frame, whose payload they are.
        #[serde(default, with = "encoding", skip_serializing_if = "Bytes::is_empty")]
        data: Bytes,
    },
    /// Refuses a request: of a peer that is choked, or for something that the sender does not have (as in BEP 6).
    Reject {
        /// The file.
        file: FileTag,
        /// The first segment.
        index: u32,
        /// How many.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        count: u32,
    },
    /// Speaks of a direct line between the two.
    Signal {
        /// A file in whose swarm they were introduced.
        file: FileTag,
        /// The number that the peer gave the line which offered it.
        line: u32,
        /// What is said of it.
        step: SignalStep,
        /// What only the kind of line understands.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        data: String,
    },
}

/// What is said of a direct line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalStep {
    /// The sender may be reached as `data` says.
    Offer,
    /// How the sender takes the offer.
    Answer,
    /// One more way to reach the sender.
    Candidate,
    /// The last of the sender's messages that came through the tracker; the next one comes by the line. Answers to requests may
    /// still come through the tracker.
    Moved,
    /// There is no such line any longer, or there cannot be one.
    Over,
    /// A word of a newer client.
    #[serde(other)]
    Other,
}

impl PeerMessage {
    /// A part of a manifest.
    pub fn manifest(facts: FileFacts, part: ManifestPart) -> Self {
        Self::Manifest { facts: Box::new(facts), part: Box::new(part) }
    }

    /// Its `type`.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::GetManifest { .. } => Kind::GetManifest,
            Self::Manifest { .. } => Kind::Manifest,
            Self::NoManifest { .. } => Kind::NoManifest,
            Self::Bitfield { .. } => Kind::Bitfield,
            Self::Have { .. } => Kind::Have,
            Self::Interested { .. } => Kind::Interested,
            Self::NotInterested { .. } => Kind::NotInterested,
            Self::Choke { .. } => Kind::Choke,
            Self::Unchoke { .. } => Kind::Unchoke,
            Self::Request { .. } => Kind::Request,
            Self::Cancel { .. } => Kind::Cancel,
            Self::Block { .. } => Kind::Block,
            Self::Reject { .. } => Kind::Reject,
            Self::Signal { .. } => Kind::Signal,
        }
    }

    /// The tag of the file that the message is about.
    pub const fn tag(&self) -> FileTag {
        match self {
            Self::GetManifest { file, .. } | Self::NoManifest { file } => file.tag(),
            Self::Manifest { facts, .. } => facts.file.tag(),
            Self::Bitfield { file, .. }
            | Self::Have { file, .. }
            | Self::Interested { file }
            | Self::NotInterested { file }
            | Self::Choke { file }
            | Self::Unchoke { file }
            | Self::Request { file, .. }
            | Self::Cancel { file, .. }
            | Self::Block { file, .. }
            | Self::Reject { file, .. }
            | Self::Signal { file, .. } => *file,
        }
    }
}

pub(crate) const fn one() -> u32 {
    1
}

const fn is_one(count: &u32) -> bool {
    *count == 1
}

const fn is_nothing(bytes: &u64) -> bool {
    *bytes == 0
}
