//! What whoever runs the tracker may look at. Nothing here changes anything.

use super::{ConnId, Registry, swarm::SwarmKey};
use protocol::{FileId, FileInfo, PeerId, PeerName, RoomName};
use serde::Serialize;
use std::{
    ops::Bound::{Excluded, Unbounded},
    time::Duration,
};

/// The sizes of rooms that are told apart: each class's name and its smallest number of peers, in ascending order.
pub(crate) const SIZE_CLASSES: [(&str, usize); 4] = [("1", 1), ("2-9", 2), ("10-99", 10), ("100+", 100)];
/// The most files of peers in one view; whoever wants to see more peers asks again. It bounds the time that a view
/// takes from everybody else.
const MAX_HOLDINGS: usize = 10_000;

/// One room, or a part of its peers.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RoomView {
    room: RoomName,
    files: Vec<FileInfo>,
    /// In the order of their ids.
    peers: Vec<PeerView>,
    /// The peer after which to go on, if there are more.
    next: Option<PeerId>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct PeerView {
    id: PeerId,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<PeerName>,
    /// Seconds since a byte came from it.
    last_seen_seconds: u64,
    files: Vec<Holding>,
}

/// How much of a file a peer has.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Holding {
    file: FileId,
    blocks: u32,
    /// Bytes of it that came by direct lines, as the peer says.
    told_direct_bytes: u64,
}

impl Registry {
    /// A room's files, and at most `limit` of its peers from behind `after` on; none if nobody is in it. `silence`
    /// knows how long ago something came from a connection.
    pub(crate) fn view(
        &self,
        name: &RoomName,
        after: Option<PeerId>,
        limit: usize,
        silence: impl Fn(ConnId) -> Duration,
    ) -> Option<RoomView> {
        let room = self.rooms.get(name)?;
        let mut rest = room.peers.range((after.map_or(Unbounded, Excluded), Unbounded)).peekable();
        let (mut peers, mut holdings) = (Vec::new(), 0);
        while let Some((id, peer)) = rest.peek().and_then(|id| Some((**id, self.peers.get(id)?))) {
            holdings += peer.files.len();
            if peers.len() >= limit || (holdings > MAX_HOLDINGS && !peers.is_empty()) {
                break;
            }
            let holding = |key: &SwarmKey| {
                let swarm = room.swarms.get(key);
                let (blocks, told_direct_bytes) =
                    swarm.map_or((0, 0), |swarm| (swarm.blocks_of(id), swarm.told_direct(id)));
                Holding { file: key.file, blocks, told_direct_bytes }
            };
            let files = peer.files.values().map(holding);
            peers.push(PeerView {
                id,
                name: peer.name.clone(),
                last_seen_seconds: silence(peer.conn).as_secs(),
                files: files.collect(),
            });
            rest.next();
        }
        let next = rest.peek().and_then(|_| peers.last()).map(|peer| peer.id);
        Some(RoomView { room: name.clone(), files: room.list(), peers, next })
    }

    /// How many rooms there are of each of [`SIZE_CLASSES`].
    pub(crate) fn rooms_by_size(&self) -> [usize; SIZE_CLASSES.len()] {
        let mut counts = [0; SIZE_CLASSES.len()];
        for room in self.rooms.values() {
            // A room has a peer.
            let class = SIZE_CLASSES.iter().rposition(|(_, smallest)| room.peers.len() >= *smallest);
            counts[class.unwrap_or_default()] += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, address::AddressKey, registry::Secrets};
    use bytes::Bytes;
    use protocol::{BlockSize, FileFacts, MediaType, PROTOCOL_VERSION, Request};
    use std::collections::BTreeSet;

    /// A registry with `peers` in the lobby, each of which has the one block of `files` files.
    fn registry(peers: u64, files: u32) -> Registry {
        let limits = Limits { files_per_peer: files, files_per_room: files, ..Limits::default() };
        let mut registry = Registry::new(limits, Secrets::new([7; 32]), 1);
        for conn in (1..=peers).map(ConnId) {
            let register = Request::Register {
                protocol: PROTOCOL_VERSION,
                room: RoomName::default(),
                name: None,
                binary: false,
                direct: BTreeSet::new(),
                resume: None,
            };
            registry.connected(conn, AddressKey::of([10, 0, 0, 1].into()), Duration::ZERO);
            registry.handle(conn, None, register, Duration::ZERO, &mut Vec::new());
            for number in 0..files {
                let mut file = [0; 32];
                file[..4].copy_from_slice(&number.to_be_bytes());
                let facts = FileFacts {
                    file: FileId::from_bytes(file),
                    name: "f".parse().unwrap(),
                    size: 3,
                    media_type: MediaType::default(),
                    block_size: BlockSize::for_file(3),
                };
                let announce = Request::Announce { facts, blocks: Bytes::from_static(&[0x80]) };
                registry.handle(conn, None, announce, Duration::ZERO, &mut Vec::new());
            }
        }
        registry
    }

    /// How many peers each view has, until all were seen.
    fn pages(registry: &Registry, limit: usize) -> Vec<usize> {
        let (mut pages, mut after, mut seen) = (Vec::new(), None, Vec::new());
        loop {
            let view = registry.view(&RoomName::default(), after, limit, |_| Duration::ZERO).unwrap();
            pages.push(view.peers.len());
            seen.extend(view.peers.iter().map(|peer| peer.id));
            after = view.next;
            if after.is_none() {
                assert!(seen.is_sorted() && seen.len() == registry.peers.len());
                return pages;
            }
        }
    }

    #[test]
    fn a_large_room_is_seen_in_parts_that_are_bounded() {
        assert_eq!(pages(&registry(10, 1), 10), [10]);
        assert_eq!(pages(&registry(10, 1), 9), [9, 1]);
        assert_eq!(pages(&registry(10, 1), 4), [4, 4, 2]);
        let quarter = MAX_HOLDINGS as u32 / 4;
        assert_eq!(pages(&registry(5, quarter), 100), [4, 1]);
        assert_eq!(pages(&registry(5, quarter + 1), 100), [3, 2]);
        // Whatever one peer has fits, so that every view gets further.
        assert_eq!(pages(&registry(2, MAX_HOLDINGS as u32 + 1), 100), [1, 1]);
        assert_eq!(registry(0, 1).view(&RoomName::default(), None, 1, |_| Duration::ZERO), None);
    }

    #[test]
    fn a_view_tells_who_has_what_and_how_long_they_were_silent() {
        let registry = registry(2, 1);
        let silence = |conn: ConnId| Duration::from_millis(conn.0 * 1_900);
        let view = registry.view(&RoomName::default(), None, 10, silence).unwrap();
        assert_eq!((view.files[0].sources, view.files[0].peers), (2, 2));
        let mut silent: Vec<_> = view.peers.iter().map(|peer| peer.last_seen_seconds).collect();
        silent.sort_unstable();
        assert_eq!(silent, [1, 3]);
        assert_eq!(view.peers[0].files, [Holding { file: view.files[0].facts.file, blocks: 1, told_direct_bytes: 0 }]);
    }

    #[test]
    fn rooms_are_counted_by_their_size() {
        for (peers, expected) in [
            (0, [0, 0, 0, 0]),
            (1, [1, 0, 0, 0]),
            (2, [0, 1, 0, 0]),
            (9, [0, 1, 0, 0]),
            (10, [0, 0, 1, 0]),
            (99, [0, 0, 1, 0]),
            (100, [0, 0, 0, 1]),
        ] {
            assert_eq!(registry(peers, 0).rooms_by_size(), expected, "{peers}");
        }
    }
}
