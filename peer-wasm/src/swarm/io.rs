//! What comes out of a swarm.

use bytes::Bytes;
use protocol::{PeerId, PeerMessage, Run};
use serde::{Deserialize, Serialize};

/// A message for another peer. It says what to whom, never how: the shell may relay it or send it directly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// The receiver.
    pub to: PeerId,
    /// The message.
    pub message: PeerMessage,
}

/// Work for the storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageRequest {
    /// Read bytes and hand them to [`Swarm::handle_read`](super::Swarm::handle_read).
    Read {
        /// To recognise the answer by.
        id: ReadId,
        /// Where to begin, in bytes.
        offset: u64,
        /// How many bytes.
        len: u32,
    },
    /// Write bytes and report to [`Swarm::handle_stored`](super::Swarm::handle_stored).
    Write {
        /// The blocks, to report by.
        run: Run,
        /// Where to begin, in bytes.
        offset: u64,
        /// The blocks' verified bytes.
        data: Bytes,
    },
}

/// Names one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadId(pub(super) u64);

#[cfg(all(test, target_arch = "wasm32"))]
impl ReadId {
    /// An id for tests of storages.
    pub(crate) const fn for_test(number: u64) -> Self {
        Self(number)
    }
}

/// Why the storage could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "storage", rename_all = "snake_case")]
pub enum StorageError {
    /// There is no room left.
    Full,
    /// The file that is shared changed, or is gone, since it was hashed.
    Unreadable,
    /// It failed in another way.
    Failed {
        /// What the system said.
        detail: String,
    },
}

/// How much a swarm may ask for and send at a time, of what its peer may for all files together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The most bytes requested and not yet stored, over all neighbours. This bounds the memory of a peer, because
    /// browsers give no back-pressure on what they receive.
    pub in_flight: u64,
    /// The most bytes on their way from the storage to the wire, however fast it is.
    pub upload: u64,
}

/// Why nothing comes, as far as the swarm knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    /// No neighbour has a block that is missing.
    Source,
    /// Neighbours have what is missing, and serve others first.
    HeldBack,
    /// Neighbours refused what they were asked for; it is asked for again after a while.
    Rejected,
    /// Neighbours were asked and do not answer.
    Answer,
    /// Blocks are here, and the storage is slow to take them.
    Storage,
}

/// Something that the shell may want to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Every block is verified and stored.
    Completed,
    /// A neighbour was dropped for what it did.
    Dropped {
        /// The neighbour.
        peer: PeerId,
        /// What it did.
        violation: Violation,
    },
    /// Too few neighbours have something to give: the tracker may know others.
    WantsPeers,
    /// The storage failed. After a failed write the swarm asks for no more blocks.
    StorageFailed(StorageError),
}

/// What a remote did wrong. Every violation ends in a dropped peer and costs nobody else anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A block whose bytes have another hash.
    #[error("sent a corrupted block")]
    BadBlock,
    /// A bitfield that does not fit the file.
    #[error("sent a bitfield that does not fit the file")]
    BadBitfield,
    /// Blocks that are not inside the file, or more than one message may carry.
    #[error("named blocks outside the file")]
    OutOfRange,
    /// A block that was never asked for.
    #[error("sent a block that was not asked for")]
    Unrequested,
    /// More requests at a time than anyone needs.
    #[error("flooded requests")]
    RequestFlood,
}
