//! What a peer said of itself.

use protocol::{Bitfield, Geometry, PeerMessage, Run};

/// What a peer said of itself.
#[derive(Debug)]
pub(in crate::swarm) struct Said {
    /// Its `bitfield` came.
    pub(in crate::swarm) is_introduced: bool,
    /// It had every block, even if it refused some since: it wants to know what others have.
    pub(in crate::swarm) was_full: bool,
    /// The blocks it has; none until its `bitfield` came.
    pub(in crate::swarm) has: Bitfield,
    pub(in crate::swarm) is_interested: bool,
    pub(in crate::swarm) chokes_us: bool,
}

impl Said {
    /// A peer that said nothing yet.
    pub(in crate::swarm) fn nothing(blocks: u32) -> Self {
        Self {
            is_introduced: false,
            was_full: false,
            has: Bitfield::empty(blocks),
            is_interested: false,
            chokes_us: true,
        }
    }

    /// Notes what a peer says that is no neighbour. What is wrong is ignored.
    pub(in crate::swarm) fn hear(&mut self, message: &PeerMessage, geometry: &Geometry) {
        match message {
            PeerMessage::Bitfield { blocks, begin, .. } => {
                if let Ok(has) = Bitfield::from_bytes(blocks, geometry.blocks()) {
                    let anew = Self::nothing(0);
                    let (is_interested, chokes_us) = (self.is_interested, self.chokes_us);
                    *self = Self { is_introduced: true, was_full: has.is_full(), has, ..anew };
                    if !begin {
                        (self.is_interested, self.chokes_us) = (is_interested, chokes_us);
                    }
                }
            }
            PeerMessage::Have { blocks, .. } => {
                let runs = blocks.iter().filter_map(|run| geometry.run(run.0, run.1).ok());
                let indices = runs.flat_map(Run::blocks).take(geometry.blocks() as usize);
                indices.for_each(|index| _ = self.has.set(index));
            }
            PeerMessage::Interested { .. } => self.is_interested = true,
            PeerMessage::NotInterested { .. } => self.is_interested = false,
            PeerMessage::Choke { .. } => self.chokes_us = true,
            PeerMessage::Unchoke { .. } => self.chokes_us = false,
            PeerMessage::Request { .. }
            | PeerMessage::Cancel { .. }
            | PeerMessage::Block { .. }
            | PeerMessage::Reject { .. }
            | PeerMessage::GetManifest { .. }
            | PeerMessage::Manifest { .. }
            | PeerMessage::NoManifest { .. } => {}
        }
    }
}
