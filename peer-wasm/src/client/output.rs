//! What a [`Client`](super::Client) asks its shell to do.

use super::LineId;
use crate::{page::Update, swarm::ReadId};
use bytes::Bytes;
use protocol::{FileId, Frame, LineKind, Manifest, Run, SignalStep};
use std::{fmt, sync::Arc};

/// Names one storage of one file, so that what an old one still answers is not taken for a new one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoreId(u64);

impl StoreId {
    pub(super) const FIRST: Self = Self(0);

    pub(super) const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    #[cfg(test)]
    #[cfg(target_arch = "wasm32")]
    pub(crate) const fn for_test(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One thing for the shell to do.
///
/// A storage that was made for [`Output::Create`], or is kept for [`Client::share`](super::Client::share), is given back
/// with one [`Output::Discard`], also if nobody wanted it any more when it was ready.
#[derive(Debug)]
pub enum Output {
    /// Open a socket to the tracker; answer with `handle_opened` or `handle_closed`.
    Connect,
    /// Close the socket without a word; it is given up for dead.
    Disconnect,
    /// Send a frame; if there is a receipt, hand it to `handle_sent` once the frame has left.
    Send {
        /// The frame.
        frame: Frame,
        /// For large frames: they wait until the line has room.
        receipt: Option<Receipt>,
    },
    /// Make ready for a direct line that another peer opens; answer with `handle_reachable`, then `handle_line_opened` once it
    /// did so, or `handle_line_closed`.
    Offer {
        /// What to call it.
        line: LineId,
        /// Of which kind; one of those that the client was told at the start.
        kind: LineKind,
    },
    /// Open a direct line that another peer offers; answer with `handle_line_opened` or `handle_line_closed`.
    Dial {
        /// What to call it.
        line: LineId,
        /// What the other peer's shell said of it.
        offer: String,
    },
    /// Something that the other peer's shell says of a line that is being opened, or was a moment ago.
    Signal {
        /// Which.
        line: LineId,
        /// What: an answer or a candidate.
        step: SignalStep,
        /// The other shell's words.
        data: String,
    },
    /// Send a frame by a direct line that is open; otherwise as [`Output::Send`].
    SendDirect {
        /// Which.
        line: LineId,
        /// The frame.
        frame: Frame,
        /// As with [`Output::Send`].
        receipt: Option<Receipt>,
    },
    /// Close a direct line, or open it no longer, without a word. Nothing more is heard of it.
    HangUp {
        /// Which.
        line: LineId,
    },
    /// Make room for a file; answer with `handle_created`.
    Create {
        /// What to keep it under.
        store: StoreId,
        /// What the file is.
        manifest: Arc<Manifest>,
    },
    /// Read part of a file; answer with `handle_read`.
    Read {
        /// Its storage.
        store: StoreId,
        /// To answer by.
        id: ReadId,
        /// Where to begin, in bytes.
        offset: u64,
        /// How many bytes.
        len: u32,
    },
    /// Write part of a file; answer with `handle_stored`.
    Write {
        /// Its storage.
        store: StoreId,
        /// To answer by.
        run: Run,
        /// Where to begin, in bytes.
        offset: u64,
        /// The bytes.
        data: Bytes,
    },
    /// Give a storage back. Reads and writes that are under way need no answer.
    Discard {
        /// Which.
        store: StoreId,
    },
    /// A file that was fetched is whole; said once. Its storage goes on being read.
    Finished {
        /// Its storage.
        store: StoreId,
        /// The file.
        file: FileId,
    },
    /// Tell whoever watches.
    Update(Update),
}

/// Names something large that was handed to the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt(pub(super) Sent);

impl Receipt {
    /// A receipt for tests of shells.
    #[doc(hidden)]
    pub const fn for_test(number: u64) -> Self {
        Self(Sent::Manifest { bytes: number })
    }
}

/// What a receipt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Payload bytes of blocks from a storage, by a direct line if one is named.
    Block { store: StoreId, bytes: u64, line: Option<LineId> },
    /// A part of a manifest, so many bytes on the wire.
    Manifest { bytes: u64 },
}
