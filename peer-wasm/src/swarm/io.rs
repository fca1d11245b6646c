//! What comes out of a swarm.

use bytes::Bytes;
use protocol::{PeerId, PeerMessage, Run};

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

/// The storage could not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorageFailed;

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
    StorageFailed,
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
