//! Sending the parts of manifests to whoever asks, in turn and within what is each one's due.

use super::seconds;
use crate::Instant;
use protocol::{FileId, PART_BLOCKS, PeerId};
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    time::Duration,
};

/// The most parts of all files that wait for one peer: what it asks of one at a time, twice. Who finds no place asks
/// again, or somebody else.
const MAX_WAITING: usize = 16;
/// The most peers that wait at a time.
const MAX_PEERS: usize = 256;
/// What a peer may be sent of a file at once: its manifest this many times, should the line break in between;
const FREE_MANIFESTS: u32 = 2;
/// and then one answer in this time.
const ANSWER_EVERY: Duration = seconds(1);
/// The most peers and files of which it is remembered how much was sent.
const MAX_ACCOUNTS: usize = 1_024;

/// A part that somebody waits for, the last one if it is not said which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) file: FileId,
    pub(super) part: Option<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Manifests {
    waiting: BTreeMap<PeerId, VecDeque<Wanted>>,
    /// Whose turn was last.
    last: Option<PeerId>,
    /// Until when the answers that a peer got on a file would last it, one in [`ANSWER_EVERY`].
    accounts: BTreeMap<(PeerId, FileId), Instant>,
    /// Bytes in the shell's hands.
    sending: u64,
}

impl Manifests {
    /// Whether a peer may have one more answer on a file of so many blocks; if so, it counts.
    pub(super) fn charge(&mut self, peer: PeerId, file: FileId, blocks: u32, now: Instant) -> bool {
        let free = ANSWER_EVERY * FREE_MANIFESTS * (blocks / PART_BLOCKS + 1);
        let lasts = self.accounts.get(&(peer, file)).copied().unwrap_or_default().max(now) + ANSWER_EVERY;
        if lasts.since(now) > free {
            return false;
        }
        self.accounts.insert((peer, file), lasts);
        if self.accounts.len() > MAX_ACCOUNTS {
            // Whoever got least of it loses least by being forgotten.
            let least = self.accounts.iter().min_by_key(|(_, lasts)| **lasts).map(|(key, _)| *key);
            least.map(|key| self.accounts.remove(&key));
        }
        true
    }

    /// Whether a peer waits for this part already, or has no place to wait for it.
    pub(super) fn is_waiting(&self, peer: PeerId, wanted: Wanted) -> bool {
        match self.waiting.get(&peer) {
            Some(all) => all.len() >= MAX_WAITING || all.contains(&wanted),
            None => self.waiting.len() >= MAX_PEERS,
        }
    }

    pub(super) fn push(&mut self, peer: PeerId, wanted: Wanted) {
        self.waiting.entry(peer).or_default().push_back(wanted);
    }

    /// The next to send, of the peers in turn, if less than `most` bytes are on their way.
    pub(super) fn next(&mut self, most: u64) -> Option<(PeerId, Wanted)> {
        if self.sending >= most {
            return None;
        }
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut turn = self.waiting.range((after, Bound::Unbounded)).chain(&self.waiting);
        let peer = *turn.next()?.0;
        self.last = Some(peer);
        let all = self.waiting.get_mut(&peer)?;
        let wanted = all.pop_front();
        if all.is_empty() {
            self.waiting.remove(&peer);
        }
        Some((peer, wanted?))
    }

    /// A part of so many bytes was handed to the shell.
    pub(super) const fn sending(&mut self, bytes: u64) {
        self.sending += bytes;
    }

    /// It left.
    pub(super) const fn sent(&mut self, bytes: u64) {
        self.sending = self.sending.saturating_sub(bytes);
    }

    /// The line broke: nobody waits any more.
    pub(super) fn line_lost(&mut self) {
        self.waiting.clear();
        self.sending = 0;
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.waiting.len(), self.accounts.len())
    }
}
