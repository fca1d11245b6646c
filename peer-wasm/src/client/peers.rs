//! What other peers say, and finding manifests: asking others for theirs, and sending ours.

use super::{Client, Output, Receipt, manifests::Wanted, output::Sent, transfer::Transfer};
use crate::Instant;
use protocol::{ErrorCode, FileFacts, FileId, Kind, ManifestPart, PeerId, PeerMessage, Subject, encode_envelope};
use tracing::trace;

/// What may be on its way of manifests, as a share of what may be of everything. Blocks have the rest.
pub(super) const MANIFEST_SHARE: u64 = 8;

impl Client {
    /// A message came through the tracker.
    pub(super) fn handle_envelope(&mut self, from: PeerId, message: PeerMessage, now: Instant) {
        self.heard_through_tracker(from, message.kind(), now);
        if let PeerMessage::Signal { line, step, data, .. } = message {
            self.hear_signal(from, line, step, data, now);
            self.settle(now);
        } else {
            self.hear(from, message, false, now);
        }
    }

    /// A peer says something, by a direct line or through the tracker.
    pub(super) fn hear(&mut self, from: PeerId, message: PeerMessage, is_direct: bool, now: Instant) {
        let tag = message.tag();
        trace!(%from, %tag, "message");
        if let PeerMessage::GetManifest { file, part } = message {
            self.handle_get_manifest(from, Wanted { file, part }, now);
        } else if let PeerMessage::Manifest { facts, part } = message {
            self.handle_manifest(from, *facts, *part, now);
        } else if let PeerMessage::NoManifest { file } = message {
            self.handle_no_manifest(from, file, now);
        } else if let Some(file) = self.tagged(tag)
            && let Some(transfer) = self.transfers.get_mut(&file)
        {
            if let PeerMessage::Block { data, .. } = &message {
                transfer.received.add(data.len() as u64, is_direct);
            }
            transfer.with_swarm(now, |swarm| swarm.handle_message(from, message, now));
            self.settle_one(file, now);
        }
    }

    fn handle_get_manifest(&mut self, from: PeerId, wanted: Wanted, now: Instant) {
        let transfer = self.transfers.get(&wanted.file);
        let is_banned = transfer.and_then(Transfer::swarm).is_some_and(|swarm| swarm.is_banned(from));
        if is_banned || self.manifests.is_waiting(from, wanted) {
            return;
        }
        let blocks = transfer.and_then(Transfer::geometry).map_or(0, |geometry| geometry.blocks());
        // Whoever asks for more than its due gets no answer: it would ask again at once.
        if !self.manifests.charge(from, wanted.file, blocks, now) {
            return;
        }
        self.manifests.push(from, wanted);
        self.send_manifests();
    }

    fn handle_manifest(&mut self, from: PeerId, facts: FileFacts, part: ManifestPart, now: Instant) {
        let file = facts.file;
        let Some(transfer) = self.transfers.get_mut(&file) else { return };
        match transfer.handle_manifest(from, facts, part, now) {
            Some(manifest) => self.prepare(file, manifest, now),
            None => self.ask_for_manifest(file, now),
        }
        self.settle_one(file, now);
    }

    /// A peer left a swarm.
    pub(super) fn handle_peer_left(&mut self, file: FileId, peer: PeerId, now: Instant) {
        self.left_by(peer, file, now);
        if let Some(transfer) = self.transfers.get_mut(&file) {
            transfer.peer_left(peer, now);
            self.ask_for_manifest(file, now);
        }
    }

    /// The tracker did not pass on what was sent to a peer.
    pub(super) fn handle_refused(&mut self, code: ErrorCode, to: PeerId, about: Option<&Subject>, now: Instant) {
        if code == ErrorCode::UnknownPeer {
            let files: Vec<_> = self.files().collect();
            files.into_iter().for_each(|file| self.handle_peer_left(file, to, now));
        }
        let Some(about) = about else { return };
        if about.kind == Kind::Signal {
            // Without its word the other side waits for nothing. One that is open needs none.
            return self.close_opening(to, now);
        }
        let Some(file) = self.tagged(about.tag) else { return };
        if code == ErrorCode::NotIntroduced {
            self.handle_peer_left(file, to, now);
        } else if code == ErrorCode::Busy && about.kind == Kind::GetManifest {
            self.handle_no_manifest(to, file, now);
        } else if code == ErrorCode::Busy && about.kind == Kind::Manifest {
            // It waits for a part that will not come.
            self.say_through_tracker(to, PeerMessage::NoManifest { file });
        } else if code == ErrorCode::Busy
            && let Some(transfer) = self.transfers.get_mut(&file)
        {
            transfer.with_swarm(now, |swarm| swarm.handle_refused(to, about, now));
        }
    }

    fn handle_no_manifest(&mut self, from: PeerId, file: FileId, now: Instant) {
        if let Some(transfer) = self.transfers.get_mut(&file) {
            transfer.handle_no_manifest(from, now);
            self.ask_for_manifest(file, now);
            self.settle_one(file, now);
        }
    }

    /// Answers those who wait for a part, as far as the line has room.
    pub(super) fn send_manifests(&mut self) {
        // At least one at a time, however small the budget.
        let most = (self.config.swarm.upload_budget / MANIFEST_SHARE).max(1);
        while let Some((to, Wanted { file, part })) = self.manifests.next(most) {
            match self.transfers.get(&file).and_then(|transfer| transfer.manifest_part(part)) {
                Some((facts, part)) => {
                    let frame = encode_envelope(to, PeerMessage::manifest(facts, part), false);
                    let bytes = frame.len() as u64;
                    self.manifests.sending(bytes);
                    self.outputs.push_back(Output::Send { frame, receipt: Some(Receipt(Sent::Manifest { bytes })) });
                }
                None => self.say_through_tracker(to, PeerMessage::NoManifest { file }),
            }
        }
    }

    /// Asks as many peers for as many parts as may be asked for.
    pub(super) fn ask_for_manifest(&mut self, file: FileId, now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&file) else { return };
        if !self.link.is_online() {
            return;
        }
        let asked: Vec<_> = std::iter::from_fn(|| transfer.next_to_ask(now, &mut self.rng)).collect();
        for (to, part) in asked {
            self.say_through_tracker(to, PeerMessage::GetManifest { file, part });
        }
    }

    pub(super) fn say_through_tracker(&mut self, to: PeerId, message: PeerMessage) {
        self.outputs.push_back(Output::Send { frame: encode_envelope(to, message, false), receipt: None });
    }
}
