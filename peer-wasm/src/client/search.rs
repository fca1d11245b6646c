//! Finding somebody who has a file, and getting its manifest from them.

use super::seconds;
use crate::Instant;
use protocol::PeerId;
use rand::{Rng, RngExt as _};
use std::{collections::BTreeSet, time::Duration};

/// How long a peer may take to send a manifest.
const MANIFEST_PATIENCE: Duration = seconds(5);
/// How often to ask the tracker again while nobody has the file.
const RETRY: Duration = seconds(2);
/// The most peers remembered at a time, as candidates or as having failed.
const MAX_PEERS: usize = 256;

#[derive(Debug)]
pub(super) struct Search {
    candidates: BTreeSet<PeerId>,
    /// Peers that sent a wrong manifest, or none.
    failed: BTreeSet<PeerId>,
    asked: Option<PeerId>,
    /// Nobody else was found for a while: those that failed may do better now.
    desperate: bool,
    /// When the peer asked is given up, or else when to look for peers again.
    deadline: Instant,
}

impl Search {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            candidates: BTreeSet::new(),
            failed: BTreeSet::new(),
            asked: None,
            desperate: false,
            deadline: now + RETRY,
        }
    }

    pub(super) fn found(&mut self, peer: PeerId) {
        if self.candidates.len() < MAX_PEERS {
            self.candidates.insert(peer);
        }
    }

    pub(super) fn lost(&mut self, peer: PeerId, now: Instant) {
        self.candidates.remove(&peer);
        if self.asked == Some(peer) {
            self.give_up(now);
        }
    }

    pub(super) fn forget_all(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    pub(super) const fn is_in_vain(&self) -> bool {
        self.asked.is_none()
    }

    pub(super) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether this is the peer whose manifest is waited for.
    pub(super) fn was_asked(&self, peer: PeerId) -> bool {
        self.asked == Some(peer)
    }

    /// The peer asked sent a wrong manifest, or none in time, or left.
    pub(super) fn give_up(&mut self, now: Instant) {
        if let Some(peer) = self.asked.take() {
            if self.failed.len() == MAX_PEERS {
                self.failed.clear();
            }
            self.failed.insert(peer);
            self.deadline = now + RETRY;
        }
    }

    /// The next peer to ask, if none is being asked.
    pub(super) fn next_to_ask(&mut self, now: Instant, rng: &mut impl Rng) -> Option<PeerId> {
        if self.asked.is_some() {
            return None;
        }
        let mut choice: Vec<_> = self.candidates.difference(&self.failed).copied().collect();
        if choice.is_empty() && self.desperate {
            choice.extend(&self.candidates);
        }
        if choice.is_empty() {
            return None;
        }
        let peer = choice[rng.random_range(0..choice.len())];
        self.candidates.remove(&peer);
        self.asked = Some(peer);
        self.desperate = false;
        self.deadline = now + MANIFEST_PATIENCE;
        Some(peer)
    }

    /// Whether it is time to ask the tracker for peers again.
    pub(super) fn timeout(&mut self, now: Instant) -> bool {
        if now < self.deadline {
            return false;
        }
        self.give_up(now);
        self.deadline = now + RETRY;
        self.desperate = true;
        true
    }
}
