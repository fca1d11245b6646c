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
    /// It wants blocks, if there are some that it lacks.
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

    /// Whether it has another block than these.
    pub(in crate::swarm) fn offers_more_than(&self, verified: &Bitfield) -> bool {
        self.has.has_other_than(verified)
    }

    /// Whether it wants blocks, now or when there are some that it lacks.
    pub(in crate::swarm) const fn lacks_blocks(&self) -> bool {
        self.is_interested && !self.has.is_full()
    }

    /// Whether it wants something of these.
    pub(in crate::swarm) fn wants(&self, stored: &Bitfield) -> bool {
        self.is_interested && stored.has_other_than(&self.has)
    }

    /// Notes what a peer says that is no neighbour. What is wrong is ignored.
    pub(in crate::swarm) fn hear(&mut self, message: &PeerMessage, geometry: &Geometry) {
        match message {
            PeerMessage::Bitfield { blocks, begin, .. } => {
                if let Ok(has) = Bitfield::from_bytes(blocks, geometry.blocks()) {
                    if *begin {
                        *self = Self::nothing(0);
                    }
                    self.is_introduced = true;
                    self.has = has;
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
            | PeerMessage::NoManifest { .. }
            | PeerMessage::Signal { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use protocol::{BlockSize, FileId, FileTag, HaveRun};

    const BLOCKS: u32 = 9;

    fn tag() -> FileTag {
        "ab".repeat(32).parse::<FileId>().unwrap().tag()
    }

    fn geometry() -> Geometry {
        let block_size = BlockSize::for_file(0);
        Geometry::new(u64::from(BLOCKS * block_size.bytes()), block_size).unwrap()
    }

    fn bitfield(begin: bool) -> PeerMessage {
        PeerMessage::Bitfield { file: tag(), blocks: Bitfield::full(BLOCKS).to_bytes(), begin }
    }

    /// What was said by one that says this.
    fn said(messages: &[PeerMessage]) -> Said {
        let mut said = Said::nothing(BLOCKS);
        messages.iter().for_each(|message| said.hear(message, &geometry()));
        said
    }

    #[test]
    fn the_last_word_counts() {
        let file = tag();
        let wants = [PeerMessage::Interested { file }, PeerMessage::Unchoke { file }];
        let first = said(&wants);
        assert!(first.is_interested && !first.chokes_us && !first.is_introduced);
        let last = said(&[&wants[..], &[PeerMessage::NotInterested { file }, PeerMessage::Choke { file }]].concat());
        assert!(!last.is_interested && last.chokes_us);
    }

    #[test]
    fn who_begins_anew_said_nothing_before() {
        let file = tag();
        let before = [PeerMessage::Interested { file }, PeerMessage::Unchoke { file }];
        let anew = said(&[&before[..], &[bitfield(true)]].concat());
        assert!(anew.is_introduced && anew.has.is_full() && !anew.is_interested && anew.chokes_us);
        let goes_on = said(&[&before[..], &[bitfield(false)]].concat());
        assert!(goes_on.is_introduced && goes_on.has.is_full() && goes_on.is_interested && !goes_on.chokes_us);
    }

    #[test]
    fn blocks_outside_the_file_are_ignored_and_the_others_believed() {
        let file = tag();
        let have = PeerMessage::Have { file, blocks: vec![HaveRun(8, 2), HaveRun(99, 1), HaveRun(3, 2)] };
        let too_short = PeerMessage::Bitfield { file, blocks: Bytes::from_static(&[0xff]), begin: true };
        let said = said(&[have, too_short]);
        assert!(said.has.iter().eq([3, 4]) && !said.is_introduced);
    }
}
