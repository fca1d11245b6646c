//! Sending manifests, which can be large, to whoever in the room asks.

use protocol::{FileId, PeerId};
use std::collections::VecDeque;

/// The most manifests on their way to the line at a time.
const MAX_SENDING: usize = 2;
/// The most requests for manifests that wait; who finds no place asks again, or somebody else.
const MAX_WAITING: usize = 256;

/// Who waits for which manifest. Each peer waits once for each file, so that one that floods delays nobody for long.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    waiting: VecDeque<(PeerId, FileId)>,
    sending: usize,
}

impl Manifests {
    pub(super) fn asked(&mut self, by: PeerId, file: FileId) {
        if self.waiting.len() < MAX_WAITING && !self.waiting.contains(&(by, file)) {
            self.waiting.push_back((by, file));
        }
    }

    /// The next to send, if the line has room for one more.
    pub(super) fn next(&mut self) -> Option<(PeerId, FileId)> {
        let next = if self.sending < MAX_SENDING { self.waiting.pop_front() } else { None };
        self.sending += usize::from(next.is_some());
        next
    }

    /// One left, or could not be sent.
    pub(super) const fn done(&mut self) {
        self.sending = self.sending.saturating_sub(1);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
