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
        /// For frames with block data.
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

/// Names payload bytes that were handed to the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    pub(super) file: FileId,
    pub(super) bytes: u64,
}

impl Receipt {
    /// The payload bytes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}
