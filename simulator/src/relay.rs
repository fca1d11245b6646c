//! The relay: how much it forwards in a second, and which messages do not get through.

use crate::line::time_of;
use peer_wasm::Instant;
use protocol::{Kind, PeerMessage, Subject};
use rand::{Rng, RngExt as _};

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It gets through.
    Delivered,
    /// It is refused as `busy`: its sender is told, and who waits for a block gets a `reject` instead.
    Refused,
    /// It is lost, and nobody is told.
    Lost,
}

/// What all messages pass.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    /// Bytes per second, and until when they are taken.
    capacity: Option<(u64, Instant)>,
    /// Of a thousand messages, so many are refused.
    refused: u32,
    /// What becomes of the next message of this peer and kind.
    fated: Vec<(usize, Kind, Fate)>,
}

impl Relay {
    pub(crate) const fn limit(&mut self, bytes_per_second: u64, now: Instant) {
        self.capacity = Some((bytes_per_second, now));
    }

    pub(crate) const fn refuse(&mut self, per_mille: u32) {
        self.refused = per_mille;
    }

    pub(crate) fn decide(&mut self, from: usize, kind: Kind, fate: Fate) {
        self.fated.push((from, kind, fate));
    }

    pub(crate) const fn is_decided(&self) -> bool {
        !self.fated.is_empty()
    }

    /// Forwards data; tells when it is through.
    pub(crate) fn forward(&mut self, bytes: u64, now: Instant) -> Instant {
        let Some((rate, until)) = &mut self.capacity else { return now };
        *until = now.max(*until) + time_of(bytes, *rate);
        *until
    }

    /// What becomes of a message. Answers to those who wait are never refused.
    pub(crate) fn fate(&mut self, from: usize, kind: Kind, rng: &mut impl Rng) -> Fate {
        if let Some(place) = self.fated.iter().position(|(by, of, _)| (*by, *of) == (from, kind)) {
            return self.fated.remove(place).2;
        }
        let is_refused = self.refused > 0 && kind != Kind::Reject && rng.random_range(0..1_000) < self.refused;
        if is_refused { Fate::Refused } else { Fate::Delivered }
    }
}

/// What a message is about, as the relay reads it.
pub(crate) const fn subject(message: &PeerMessage) -> Subject {
    let (index, count) = match *message {
        PeerMessage::Request { index, count, .. }
        | PeerMessage::Cancel { index, count, .. }
        | PeerMessage::Block { index, count, .. }
        | PeerMessage::Reject { index, count, .. } => (index, count),
        PeerMessage::GetManifest { .. }
        | PeerMessage::Manifest { .. }
        | PeerMessage::NoManifest { .. }
        | PeerMessage::Bitfield { .. }
        | PeerMessage::Have { .. }
        | PeerMessage::Interested { .. }
        | PeerMessage::NotInterested { .. }
        | PeerMessage::Choke { .. }
        | PeerMessage::Unchoke { .. }
        | PeerMessage::Signal { .. } => (0, 1),
    };
    Subject { kind: message.kind(), tag: message.tag(), index, count }
}
