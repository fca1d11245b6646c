//! The swarm of one file: its members, what they have, and whom they know.

use protocol::{Bitfield, BlockSize, FileFacts, FileId, FileInfo, Geometry, PeerId};
use rand::{Rng, RngExt as _, seq::index};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How many others a member may get to know by asking; then it is given only those it knows. It bounds the pairs that
/// have to be remembered, and what a peer can learn by asking again and again.
const MAX_ACQUAINTANCES: usize = 200;
/// How often a member may speak to another of lines between them; a few lines that cannot be opened take a dozen words.
const MAX_SIGNALS: u8 = 64;
/// How many members a search for holders looks at, so that it takes a bounded time from everybody else.
const MAX_LOOKED_AT: usize = 200;

/// What tells swarms apart: a file, and how it is cut. Nobody but its members can prove a file's size, so whoever
/// claims another one gets a swarm of its own and keeps nobody from the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SwarmKey {
    pub(super) file: FileId,
    size: u64,
    block_size: BlockSize,
}

impl SwarmKey {
    pub(super) const fn of(facts: &FileFacts) -> Self {
        Self { file: facts.file, size: facts.size, block_size: facts.block_size }
    }

    /// The lowest key of a file's swarms, which follow one another.
    pub(super) fn first_of(file: FileId) -> Self {
        Self { file, size: 0, block_size: BlockSize::for_file(0) }
    }
}

/// Those who have, or want, one file, and agree on how it is cut.
#[derive(Debug)]
pub(super) struct Swarm {
    /// In the words of whoever announced it first.
    facts: FileFacts,
    geometry: Geometry,
    members: BTreeMap<PeerId, Member>,
    /// The members, to choose from at random: first the sources, which have every block, then the others.
    order: Vec<PeerId>,
    sources: usize,
}

#[derive(Debug)]
struct Member {
    blocks: Bitfield,
    /// When it announced the file first.
    joined: Duration,
    /// Bytes that it says came to it by direct lines.
    told_direct: u64,
    /// Its place in `order`.
    place: usize,
    /// Members that were told of this one or that this one was told of, always mutual; and how many signals each was sent.
    acquaintances: BTreeMap<PeerId, u8>,
}

impl Swarm {
    /// A swarm without members, of a file that is cut so.
    pub(super) const fn new(facts: FileFacts, geometry: Geometry) -> Self {
        Self { facts, geometry, members: BTreeMap::new(), order: Vec::new(), sources: 0 }
    }

    pub(super) const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The entry in the list of files.
    pub(super) fn info(&self) -> FileInfo {
        FileInfo { facts: self.facts.clone(), sources: self.sources(), peers: self.order.len() as u32 }
    }

    /// The members that have every block.
    pub(super) const fn sources(&self) -> u32 {
        self.sources as u32
    }

    /// Notes which blocks of the file a peer has, who becomes a member if it was none, and tells whether `info` changed.
    pub(super) fn put(&mut self, id: PeerId, blocks: Bitfield, now: Duration) -> bool {
        let before = (self.sources, self.order.len());
        let is_full = blocks.is_full();
        let place = if let Some(member) = self.members.get_mut(&id) {
            member.blocks = blocks;
            member.place
        } else {
            let place = self.order.len();
            let acquaintances = BTreeMap::new();
            self.members.insert(id, Member { blocks, joined: now, told_direct: 0, place, acquaintances });
            self.order.push(id);
            place
        };
        self.sort_in(place, is_full);
        before != (self.sources, self.order.len())
    }

    /// A member says that so many bytes more came to it by direct lines; tells how many of them can be so at most.
    pub(super) fn came_directly(&mut self, id: PeerId, bytes: u64) -> u64 {
        let bytes = bytes.min(self.geometry.size());
        if let Some(member) = self.members.get_mut(&id) {
            member.told_direct = member.told_direct.saturating_add(bytes);
        }
        bytes
    }

    /// Bytes that a member says came to it by direct lines.
    pub(super) fn told_direct(&self, id: PeerId) -> u64 {
        self.members.get(&id).map_or(0, |member| member.told_direct)
    }

    /// Puts the member at this place to the sources, or to the others, whichever it is not.
    fn sort_in(&mut self, place: usize, is_source: bool) {
        if is_source && place >= self.sources {
            self.swap(place, self.sources);
            self.sources += 1;
        } else if !is_source && place < self.sources {
            self.sources -= 1;
            self.swap(place, self.sources);
        }
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.order.swap(one, other);
        for place in [one, other] {
            if let Some(member) = self.members.get_mut(&self.order[place]) {
                member.place = place;
            }
        }
    }

    /// Takes a member out, and gives those that knew it.
    pub(super) fn remove(&mut self, id: PeerId) -> BTreeSet<PeerId> {
        let Some(place) = self.members.get(&id).map(|member| member.place) else { return BTreeSet::new() };
        self.sort_in(place, false);
        let Some(member) = self.members.remove(&id) else { return BTreeSet::new() };
        self.order.swap_remove(member.place);
        if let Some(moved) = self.order.get(member.place).and_then(|moved| self.members.get_mut(moved)) {
            moved.place = member.place;
        }
        for other in member.acquaintances.keys() {
            if let Some(other) = self.members.get_mut(other) {
                other.acquaintances.remove(&id);
            }
        }
        member.acquaintances.into_keys().collect()
    }

    /// All members but the asker, or `limit` of them chosen at random if they are more; among them a source, if the asker knows
    /// none.
    pub(super) fn choose(&self, asker: PeerId, limit: usize, rng: &mut impl Rng) -> Vec<PeerId> {
        let member = self.members.get(&asker);
        if let Some(member) = member.filter(|member| member.acquaintances.len() >= MAX_ACQUAINTANCES) {
            let known: Vec<_> = member.acquaintances.keys().copied().collect();
            return index::sample(rng, known.len(), limit.min(known.len())).iter().map(|i| known[i]).collect();
        }
        // One more than wanted, because the asker may be among them.
        let amount = (limit + 1).min(self.order.len());
        let drawn = index::sample(rng, self.order.len(), amount);
        let mut chosen: Vec<_> = drawn.iter().map(|i| self.order[i]).filter(|id| *id != asker).take(limit).collect();
        let known = member.into_iter().flat_map(|member| member.acquaintances.keys());
        if !known.chain(&chosen).chain([&asker]).any(|id| self.is_source(*id))
            && let Some(source) = self.some_source(rng)
            && chosen.pop().is_some()
        {
            chosen.push(source);
        }
        chosen
    }

    fn is_source(&self, id: PeerId) -> bool {
        self.members.get(&id).is_some_and(|member| member.place < self.sources)
    }

    /// A source that is not known to so many that it has no place for more.
    fn some_source(&self, rng: &mut impl Rng) -> Option<PeerId> {
        let has_room = |member: &Member| member.acquaintances.len() < MAX_ACQUAINTANCES;
        let sources = around(&self.order[..self.sources], rng.random_range(0..self.sources.max(1)));
        sources.take(MAX_LOOKED_AT).find(|id| self.members.get(id).is_some_and(has_room)).copied()
    }

    /// Makes two members known to each other; `false` if they are already, or if one is no member.
    pub(super) fn introduce(&mut self, asker: PeerId, other: PeerId) -> bool {
        if !self.members.contains_key(&other) {
            return false;
        }
        let Some(member) = self.members.get_mut(&asker) else { return false };
        if member.acquaintances.contains_key(&other) {
            return false;
        }
        member.acquaintances.insert(other, 0);
        if let Some(member) = self.members.get_mut(&other) {
            member.acquaintances.insert(asker, 0);
        }
        true
    }

    /// Whether two members know each other.
    pub(super) fn knows(&self, one: PeerId, other: PeerId) -> bool {
        self.members.get(&one).is_some_and(|member| member.acquaintances.contains_key(&other))
    }

    /// Counts a signal from one member to another; `false` if it was one too many.
    pub(super) fn may_signal(&mut self, one: PeerId, other: PeerId) -> bool {
        let sent = self.members.get_mut(&one).and_then(|member| member.acquaintances.get_mut(&other));
        sent.is_some_and(|sent| {
            *sent = sent.saturating_add(1);
            *sent <= MAX_SIGNALS
        })
    }

    /// How many blocks a peer has; 0 if it is no member.
    pub(super) fn blocks_of(&self, id: PeerId) -> u32 {
        self.members.get(&id).map_or(0, |member| member.blocks.count())
    }

    /// For how long a peer has been a member.
    pub(super) fn age_of(&self, id: PeerId, now: Duration) -> Duration {
        self.members.get(&id).map_or(Duration::ZERO, |member| now.saturating_sub(member.joined))
    }

    /// The members that have a block, or every block, among 200 that are looked at, the sources first; `start` says where to
    /// begin, so that not always the same are.
    pub(super) fn holders(&self, block: Option<u32>, start: u32) -> impl Iterator<Item = PeerId> {
        let (sources, others) = self.order.split_at(self.sources);
        let others = if block.is_some() { others } else { &[] };
        let has = |id: &PeerId, index| self.members.get(id).is_some_and(|member| member.blocks.has(index));
        let is_holder = move |id: &PeerId| block.is_none_or(|index| has(id, index));
        let start = start as usize;
        around(sources, start).chain(around(others, start)).copied().take(MAX_LOOKED_AT).filter(is_holder)
    }
}

/// All of these, beginning somewhere.
fn around(members: &[PeerId], start: usize) -> impl Iterator<Item = &PeerId> {
    let (late, early) = members.split_at(start % members.len().max(1));
    early.iter().chain(late)
}
