//! The swarm of one file: its members, what they have, and whom they know.

use protocol::{Bitfield, BitfieldError, FileFacts, FileInfo, Geometry, GeometryError, PeerId};
use rand::{Rng, seq::index};
use std::collections::{BTreeMap, BTreeSet};

/// How many others a member may get to know by asking; then it is given only those it knows. It bounds the pairs that
/// have to be remembered, and what a peer can learn by asking again and again.
const MAX_ACQUAINTANCES: usize = 200;
/// How many members a search for holders looks at, so that it takes a bounded time from everybody else.
const MAX_LOOKED_AT: usize = 200;

/// Those who have, or want, one file.
#[derive(Debug)]
pub(super) struct Swarm {
    /// In the words of whoever announced it first.
    facts: FileFacts,
    geometry: Geometry,
    members: BTreeMap<PeerId, Member>,
    /// The members in no order, to choose from at random.
    order: Vec<PeerId>,
    sources: u32,
}

#[derive(Debug)]
struct Member {
    blocks: Bitfield,
    /// Its place in `order`.
    place: usize,
    /// Members that were told of this one or that this one was told of; always mutual.
    acquaintances: BTreeSet<PeerId>,
}

impl Swarm {
    /// A swarm without members.
    ///
    /// # Errors
    /// If the file's size and block size do not go together.
    pub(super) fn new(facts: FileFacts) -> Result<Self, GeometryError> {
        let geometry = facts.geometry()?;
        Ok(Self { facts, geometry, members: BTreeMap::new(), order: Vec::new(), sources: 0 })
    }

    /// Whether somebody else's facts mean the same blocks. The name and the media type are matters of taste.
    pub(super) fn agrees_with(&self, facts: &FileFacts) -> bool {
        (self.facts.size, self.facts.block_size) == (facts.size, facts.block_size)
    }

    pub(super) const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The entry in the list of files.
    pub(super) fn info(&self) -> FileInfo {
        FileInfo { facts: self.facts.clone(), sources: self.sources, peers: self.order.len() as u32 }
    }

    /// Notes which blocks a peer has, who becomes a member if it was none, and tells whether `info` changed.
    ///
    /// # Errors
    /// If `blocks` is no bitfield of the file.
    pub(super) fn put(&mut self, id: PeerId, blocks: &[u8]) -> Result<bool, BitfieldError> {
        let blocks = Bitfield::from_bytes(blocks, self.geometry.blocks())?;
        let before = (self.sources, self.order.len());
        self.sources += u32::from(blocks.is_full());
        if let Some(member) = self.members.get_mut(&id) {
            self.sources -= u32::from(member.blocks.is_full());
            member.blocks = blocks;
        } else {
            let place = self.order.len();
            self.members.insert(id, Member { blocks, place, acquaintances: BTreeSet::new() });
            self.order.push(id);
        }
        Ok(before != (self.sources, self.order.len()))
    }

    /// Takes a member out, and gives those that knew it.
    pub(super) fn remove(&mut self, id: PeerId) -> BTreeSet<PeerId> {
        let Some(member) = self.members.remove(&id) else { return BTreeSet::new() };
        self.sources -= u32::from(member.blocks.is_full());
        self.order.swap_remove(member.place);
        if let Some(moved) = self.order.get(member.place).and_then(|moved| self.members.get_mut(moved)) {
            moved.place = member.place;
        }
        for other in &member.acquaintances {
            if let Some(other) = self.members.get_mut(other) {
                other.acquaintances.remove(&id);
            }
        }
        member.acquaintances
    }

    /// All members but the asker, or `limit` of them chosen at random if they are more.
    pub(super) fn choose(&self, asker: PeerId, limit: usize, rng: &mut impl Rng) -> Vec<PeerId> {
        let member = self.members.get(&asker);
        if let Some(member) = member.filter(|member| member.acquaintances.len() >= MAX_ACQUAINTANCES) {
            let known: Vec<_> = member.acquaintances.iter().copied().collect();
            return index::sample(rng, known.len(), limit.min(known.len())).iter().map(|i| known[i]).collect();
        }
        // One more than wanted, because the asker may be among them.
        let amount = (limit + 1).min(self.order.len());
        let drawn = index::sample(rng, self.order.len(), amount);
        drawn.iter().map(|i| self.order[i]).filter(|id| *id != asker).take(limit).collect()
    }

    /// Makes two members known to each other; `false` if they are already, or if one is no member.
    pub(super) fn introduce(&mut self, asker: PeerId, other: PeerId) -> bool {
        if !self.members.contains_key(&other) {
            return false;
        }
        let Some(member) = self.members.get_mut(&asker) else { return false };
        let new = member.acquaintances.insert(other);
        if let Some(member) = self.members.get_mut(&other) {
            member.acquaintances.insert(asker);
        }
        new
    }

    /// Whether two members know each other.
    pub(super) fn knows(&self, one: PeerId, other: PeerId) -> bool {
        self.members.get(&one).is_some_and(|member| member.acquaintances.contains(&other))
    }

    /// How many blocks a peer has; 0 if it is no member.
    pub(super) fn blocks_of(&self, id: PeerId) -> u32 {
        self.members.get(&id).map_or(0, |member| member.blocks.count())
    }

    /// The members that have a block, or every block, among 200 that are looked at; `start` says where to begin, so
    /// that not always the same are.
    pub(super) fn holders(&self, block: Option<u32>, start: u32) -> impl Iterator<Item = PeerId> {
        let (late, early) = self.order.split_at(start as usize % self.order.len().max(1));
        early.iter().chain(late).copied().take(MAX_LOOKED_AT).filter(move |id| {
            self.members.get(id).is_some_and(|member| match block {
                Some(index) => member.blocks.has(index),
                None => member.blocks.is_full(),
            })
        })
    }
}
