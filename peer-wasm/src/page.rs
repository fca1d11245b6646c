//! What the page and its worker say to each other.
//!
//! Each message crosses as a JavaScript array `[json, attachment]`: the JSON of a [`Command`] or an [`Update`], and
//! the one `File` or channel that some of them carry. The page never sees a protocol message, the worker never a widget.

use crate::{
    client::{LineId, WaitsFor},
    swarm::{NeighbourStatus, StorageError},
};
use protocol::{ErrorCode, FileId, FileName, MediaType, PeerId, PeerName, RoomName};
use serde::{Deserialize, Serialize};

/// What the page asks of the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Command {
    /// Connects to the tracker and joins a room; leaves the one before, with all its transfers.
    Join {
        /// The tracker's WebSocket address.
        url: String,
        /// The room.
        room: RoomName,
        /// Whether other peers may be told the addresses of this device, to talk without the tracker. Of the same room it can
        /// be told again.
        direct: bool,
    },
    /// Hashes the attached `File` and shares it.
    Share {
        /// A number of the page's choice, to recognise the answers by.
        share: u32,
    },
    /// Fetches a file.
    Download {
        /// The file.
        file: FileId,
    },
    /// Stops fetching or sharing a file and forgets it.
    Stop {
        /// The file.
        file: FileId,
    },
    /// Asks for the finished file, to save it.
    Save {
        /// The file.
        file: FileId,
    },
    /// What became of a direct line.
    Line {
        /// The session and the line that [`Update::Line`] named.
        session: u32,
        /// The line.
        line: LineId,
        /// What.
        event: LineEvent,
    },
    /// The page was shown, came online or was thawed: the connection may be dead.
    Wake,
}

/// What the worker tells the page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Update {
    /// The worker listens; the first message.
    Ready,
    /// The connection to the tracker changed.
    Connection {
        /// What it is like.
        connection: Connection,
    },
    /// A file to be shared is being hashed.
    Hashing {
        /// The page's number for it.
        share: u32,
        /// Its name.
        name: FileName,
        /// Bytes hashed.
        done: u64,
        /// Bytes to hash.
        total: u64,
    },
    /// A file is shared: its transfer follows.
    Shared {
        /// The page's number for it.
        share: u32,
        /// Its id.
        file: FileId,
    },
    /// A file could not be shared.
    NotShared {
        /// The page's number for it.
        share: u32,
        /// Its name.
        name: FileName,
        /// Why.
        problem: Problem,
    },
    /// The files of the room, all of them.
    Room {
        /// In the order of their names.
        files: Vec<RoomFile>,
    },
    /// How a transfer stands; sent when it starts, up to four times a second while it changes, and when it ends.
    Transfer {
        /// The transfer.
        transfer: Box<Transfer>,
    },
    /// A transfer was stopped and forgotten.
    Stopped {
        /// The file.
        file: FileId,
    },
    /// The finished file, attached.
    Saved {
        /// The file.
        file: FileId,
        /// The name to save it under.
        name: FileName,
    },
    /// Something to do for a direct line.
    Line {
        /// The worker's number for the stay in a room that the line belongs to, to answer by.
        session: u32,
        /// The line.
        line: LineId,
        /// What.
        task: LineTask,
    },
    /// Something that concerns no transfer went wrong.
    Problem {
        /// What.
        problem: Problem,
    },
}

/// What the page does for a direct line: only windows have connections. What goes over them is the worker's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum LineTask {
    /// Make ready for another peer; answer with [`LineEvent::Channel`] and [`LineEvent::Offered`].
    Offer {
        /// URIs of those who tell this device's addresses.
        stun: Vec<String>,
    },
    /// Take another peer's offer; answer with [`LineEvent::Channel`] and [`LineEvent::Answered`].
    Answer {
        /// The offer.
        offer: String,
        /// As above.
        stun: Vec<String>,
    },
    /// The other peer took the offer.
    Accept {
        /// Its answer.
        answer: String,
    },
    /// One more way to reach the other peer.
    Candidate {
        /// Which.
        candidate: String,
    },
    /// Close the line, and say nothing more of it.
    Close,
}

/// What happens to a direct line in the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum LineEvent {
    /// Its channel is attached. It is the worker's from now on, and opens later.
    Channel,
    /// Whoever is told this can take it.
    Offered {
        /// What to tell.
        offer: String,
    },
    /// The other peer's offer is taken.
    Answered {
        /// What to tell it.
        answer: String,
    },
    /// One more way to reach this device.
    Candidate {
        /// What to tell the other peer.
        candidate: String,
    },
    /// It cannot be opened, or broke.
    Closed,
}

/// The connection to the tracker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Connection {
    /// Being made.
    Connecting,
    /// In the room, under this id.
    Online {
        /// This tab's peer id.
        id: PeerId,
        /// The room.
        room: RoomName,
    },
    /// Lost or never made; tried again after a pause.
    Waiting {
        /// Milliseconds until the next try.
        retry_ms: u32,
        /// What the tracker said to it, if it did.
        problem: Option<Problem>,
    },
    /// Ended by the tracker for good; not tried again.
    Ended {
        /// Why.
        problem: Problem,
    },
}

/// A file that others of the room have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomFile {
    /// Its id.
    pub file: FileId,
    /// Its name, as the first to announce it called it.
    pub name: FileName,
    /// Its size in bytes.
    pub size: u64,
    /// Peers that have all of it.
    pub sources: u32,
    /// All peers of its swarm, those that only fetch included.
    pub peers: u32,
}

/// How one file's transfer stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    /// The file.
    pub file: FileId,
    /// What it is called and how large it is, once that is known.
    pub about: Option<About>,
    /// What is happening.
    pub stage: Stage,
    /// Why nothing comes, if nothing does although something is missing.
    pub waits_for: Option<WaitsFor>,
    /// Where the bytes are kept, once they are.
    pub storage: Option<Storage>,
    /// Bytes verified and stored.
    pub verified: u64,
    /// Bytes received per second, over the last seconds.
    pub down_rate: u64,
    /// Bytes sent per second, over the last seconds.
    pub up_rate: u64,
    /// Seconds until done at this rate, where there is one.
    pub seconds_left: Option<u64>,
    /// Bytes of blocks that came, and that were sent.
    pub received: Carried,
    /// As above.
    pub sent: Carried,
    /// Connected peers that have all of it.
    pub sources: u32,
    /// One character per block: `.` missing, `o` requested, `s` being stored, `#` verified and stored.
    pub mosaic: String,
    /// The peers of its swarm that this tab talks to.
    pub peers: Vec<Peer>,
}

/// Bytes of blocks, by the way that they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// By direct lines.
    pub direct: u64,
    /// Through the tracker.
    pub relayed: u64,
}

impl Carried {
    /// Counts so many bytes more.
    pub const fn add(&mut self, bytes: u64, is_direct: bool) {
        if is_direct {
            self.direct += bytes;
        } else {
            self.relayed += bytes;
        }
    }
}

/// What a transfer is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The name.
    pub name: FileName,
    /// The size in bytes.
    pub size: u64,
    /// The media type.
    pub media_type: MediaType,
}

/// What a transfer is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// Nobody in the room has the file (yet).
    Searching,
    /// Fetching blocks.
    Downloading,
    /// All here, fetched from others, and served on.
    Complete,
    /// All here from the start, and served.
    Sharing,
    /// It cannot go on.
    Failed {
        /// Why.
        problem: Problem,
    },
}

/// Where a transfer's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// In the person's own file.
    Source,
    /// On disk; in a browser, in its private file system.
    Disk,
    /// In memory, because the browser withholds its file system here: it is gone with the tab.
    Memory,
}

/// A peer that this tab talks to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// What it calls itself.
    pub name: Option<PeerName>,
    /// Whether there is a direct line to it; otherwise the tracker passes on what the two say.
    pub direct: bool,
    /// How it stands.
    #[serde(flatten)]
    pub status: NeighbourStatus,
}

/// What went wrong, for the page to say in the person's language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum Problem {
    /// The file is larger than MiniBit shares.
    FileTooLarge {
        /// The largest size in bytes.
        max: u64,
    },
    /// The file's storage failed.
    Storage(StorageError),
    /// The tracker refused.
    Refused {
        /// Its code.
        code: ErrorCode,
    },
    /// Another file of this peer has the same tag.
    TagTaken,
    /// The address of the tracker is none.
    BadAddress,
    /// The tracker has all the connections that it may have.
    TrackerFull,
    /// The tracker has all the connections that it may have from this address.
    AddressFull,
    /// This peer did not read what it was sent.
    TooSlow,
    /// The tracker wants a token, and was given none or another.
    WrongToken,
    /// Whoever runs the tracker removed this peer.
    Removed,
}
