//! The shared vocabulary of MiniBit: what the tracker, the browser tabs and the native peers say to each other.
//!
//! Nothing here performs IO. Everything that comes from a remote is parsed into a type that cannot hold a wrong
//! value: an id of the wrong length, a block size that is no power of two, a bitfield whose length does not fit its
//! file, or a run of blocks past the end never gets inside.
//!
//! `PROTOCOL.md` beside this crate describes the same wire for authors of other clients.

mod bitfield;
mod encoding;
mod frame;
mod geometry;
mod ids;
mod manifest;
mod messages;
mod names;
mod pieces;

pub use bitfield::{Bitfield, BitfieldError};
pub use frame::{
    ClientBinary, ClientFrame, Frame, Kind, MAX_PART_BYTES, ParseError, Subject, TrackerFrame, Unreadable,
    decode_client_binary, decode_client_text, decode_direct_binary, decode_direct_text, decode_tracker_binary,
    decode_tracker_text, encode_direct, encode_envelope, encode_forwarded, encode_request, encode_response,
    forwarded_head,
};
pub use geometry::{
    BlockSize, BlockSizeError, Geometry, GeometryError, MAX_BLOCK_SEGMENTS, MAX_BLOCKS, MAX_FILE_SIZE,
    MAX_MESSAGE_BYTES, MAX_SMALL_BYTES, MAX_SPAN_BYTES, Run, SEGMENT_BYTES, Span,
};
pub use ids::{FileId, FileTag, IdError, PeerId, Secret};
pub use manifest::{
    BlockHash, FileFacts, Manifest, ManifestError, ManifestHasher, ManifestPart, PART_BLOCKS, PartialManifest,
    SizeChanged,
};
pub use messages::{
    ErrorCode, FileInfo, HaveRun, Identity, Limits, LineKind, PROTOCOL_VERSION, PeerInfo, PeerMessage, Request,
    Response, SignalStep, Stun,
};
pub use names::{FileName, MediaType, NameError, PeerName, RoomName};
pub use pieces::{Assembly, MAX_PIECE_BYTES, PieceError, cut, cut_to};

/// Codes with which the tracker closes a connection, beside those of RFC 6455 section 7.4.1.
pub mod close {
    /// The tracker is stopping; connect again later (RFC 6455).
    pub const GOING_AWAY: u16 = 1001;
    /// A message was larger than `limits.message_bytes` (RFC 6455).
    pub const TOO_BIG: u16 = 1009;
    /// The connection sent no `register` in time.
    pub const REGISTER_TIMEOUT: u16 = 4000;
    /// Another connection took this id back with its secret.
    pub const REPLACED: u16 = 4001;
    /// Nothing was heard from the client for several heartbeats.
    pub const SILENT: u16 = 4002;
    /// The tracker has as many connections as it may hold.
    pub const TRACKER_FULL: u16 = 4003;
    /// The client sent too many messages that could not be understood.
    pub const TOO_MANY_ERRORS: u16 = 4004;
    /// The client does not read what it is sent.
    pub const SLOW_RECEIVER: u16 = 4005;
    /// The address has as many connections as it may hold.
    pub const ADDRESS_FULL: u16 = 4006;
    /// The tracker wants a token, and the client gave none or another.
    pub const WRONG_TOKEN: u16 = 4007;
    /// Whoever runs the tracker removed the peer.
    pub const REMOVED: u16 = 4008;
}
