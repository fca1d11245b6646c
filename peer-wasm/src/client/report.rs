//! How a transfer stands, for people.

use super::{
    WaitsFor,
    lines::Lines,
    transfer::{Stage, Transfer},
};
use crate::{
    Instant,
    page::{self, About},
    swarm::{BlockState, Swarm},
};
use protocol::{FileFacts, PartialManifest};

impl Transfer {
    pub(super) fn about(&self) -> Option<About> {
        let about = |facts: &FileFacts| About {
            name: facts.name.clone(),
            size: facts.size,
            media_type: facts.media_type.clone(),
        };
        match &self.stage {
            Stage::Searching(search) => search.partial().map(PartialManifest::facts).map(about),
            Stage::Preparing { manifest, .. } => Some(about(manifest.facts())),
            Stage::Active { swarm, .. } => Some(about(swarm.manifest().facts())),
            Stage::Failed { about, .. } => about.clone(),
        }
    }

    /// How the transfer stands, for people.
    pub(super) fn report(&self, waits_for: Option<WaitsFor>, lines: &Lines, now: Instant) -> page::Transfer {
        let stage = match &self.stage {
            Stage::Searching(_) => page::Stage::Searching,
            Stage::Preparing { .. } => page::Stage::Downloading,
            Stage::Active { swarm, .. } if !swarm.is_complete() => page::Stage::Downloading,
            Stage::Active { .. } if self.shared => page::Stage::Sharing,
            Stage::Active { .. } => page::Stage::Complete,
            Stage::Failed { problem, .. } => page::Stage::Failed { problem: problem.clone() },
        };
        let swarm = self.swarm();
        let (down_rate, up_rate) = swarm.map_or((0, 0), |swarm| swarm.rates(now));
        let verified = swarm.map_or(0, Swarm::stored_bytes);
        let left = swarm.map_or(0, |swarm| swarm.manifest().geometry().size() - verified);
        let peers: Vec<_> = swarm.into_iter().flat_map(|swarm| swarm.neighbours(now)).collect();
        let blocks = swarm.map_or(0, |swarm| swarm.stored().len());
        page::Transfer {
            file: self.file,
            about: self.about(),
            stage,
            waits_for,
            storage: self.storage,
            verified,
            down_rate,
            up_rate,
            seconds_left: (left > 0 && down_rate > 0).then(|| left.div_ceil(down_rate)),
            received: self.received,
            sent: self.sent,
            sources: peers.iter().filter(|peer| peer.blocks == blocks).count() as u32,
            mosaic: swarm.map_or_else(String::new, |swarm| swarm.block_states().iter().map(tile).collect()),
            peers: peers
                .into_iter()
                .map(|status| page::Peer {
                    name: self.contacts.get(&status.peer).and_then(|contact| contact.name.clone()),
                    direct: lines.is_open(status.peer),
                    status,
                })
                .collect(),
        }
    }
}

/// The character of [`page::Transfer::mosaic`] for a block.
const fn tile(state: &BlockState) -> char {
    match state {
        BlockState::Missing => '.',
        BlockState::Requested | BlockState::Repeated => 'o',
        BlockState::Storing => 's',
        BlockState::Stored => '#',
    }
}
