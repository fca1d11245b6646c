//! What a [`Client`](super::Client) asks its shell to do.

use crate::{page::Update, swarm::ReadId};
use bytes::Bytes;
use protocol::{FileId, Frame, Manifest, Run};
use std::sync::Arc;

/// One thing for the shell to do.
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
    /// Make room for a file; answer with `handle_created`.
    Create {
        /// What the file is.
        manifest: Arc<Manifest>,
    },
    /// Read part of a file; answer with `handle_read`.
    Read {
        /// The file.
        file: FileId,
        /// To answer by.
        id: ReadId,
        /// Where to begin, in bytes.
        offset: u64,
        /// How many bytes.
        len: u32,
    },
    /// Write part of a file; answer with `handle_stored`.
    Write {
        /// The file.
        file: FileId,
        /// To answer by.
        run: Run,
        /// Where to begin, in bytes.
        offset: u64,
        /// The bytes.
        data: Bytes,
    },
    /// Forget a file's storage. Reads and writes that are under way need no answer.
    Discard {
        /// The file.
        file: FileId,
    },
    /// Tell whoever watches.
    Update(Update),
}

/// Names something large that was handed to the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt(pub(super) Sent);

/// What a receipt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Payload bytes of blocks of a file.
    Block { file: FileId, bytes: u64 },
    /// A manifest.
    Manifest,
}
