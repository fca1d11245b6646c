//! One room: its peers, its files, and those who watch the list of files.

use super::{
    ConnId, Output,
    swarm::{Swarm, SwarmKey},
};
use protocol::{Bitfield, FileFacts, FileId, FileInfo, Geometry, PeerId, Response};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::Duration,
};

/// The shortest time between two lists that nobody asked for. Many changes in it cost one message.
const LIST_INTERVAL: Duration = Duration::from_millis(250);
/// What such lists may cost a room, in bytes a second to all watchers together. A longer list, or one for more, comes
/// less often: 30 watchers of 30 files hear of a change at once, 1,000 of 1,000 every half minute.
const LIST_RATE: usize = 8 << 20;
/// About what an entry of the list takes on the wire beside its name and media type.
const ENTRY_BYTES: usize = 192;

/// One room.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) peers: BTreeSet<PeerId>,
    /// The swarms of the room; each has a member.
    pub(super) swarms: BTreeMap<SwarmKey, Swarm>,
    watchers: BTreeSet<ConnId>,
    /// When the list goes to the watchers next, if it changed.
    list_due: Option<Duration>,
    /// When it may go out again.
    list_free: Duration,
}

impl Room {
    /// Puts a peer that has these blocks into the swarm of those who agree with its facts, and tells whether that changed
    /// the list of files.
    pub(super) fn join(
        &mut self,
        id: PeerId,
        facts: FileFacts,
        geometry: Geometry,
        blocks: Bitfield,
        now: Duration,
    ) -> bool {
        let swarm = self.swarms.entry(SwarmKey::of(&facts)).or_insert_with(|| Swarm::new(facts, geometry));
        swarm.put(id, blocks, now)
    }

    /// All swarms of a file.
    pub(super) fn swarms_of(&self, file: FileId) -> impl Iterator<Item = &Swarm> {
        let from_first = self.swarms.range(SwarmKey::first_of(file)..);
        from_first.take_while(move |(key, _)| key.file == file).map(|(_, swarm)| swarm)
    }

    /// Takes a peer out of a swarm, and gives those that knew it there.
    pub(super) fn leave(&mut self, id: PeerId, key: SwarmKey) -> BTreeSet<PeerId> {
        let Entry::Occupied(mut swarm) = self.swarms.entry(key) else { return BTreeSet::new() };
        let acquaintances = swarm.get_mut().remove(id);
        if swarm.get().is_empty() {
            swarm.remove();
        }
        acquaintances
    }

    /// The files, sorted by name, then by id; one of which there are several swarms stands there as often.
    pub(super) fn list(&self) -> Vec<FileInfo> {
        let mut files: Vec<_> = self.swarms.values().map(Swarm::info).collect();
        files.sort_by(|a, b| (&a.facts.name, a.facts.file).cmp(&(&b.facts.name, b.facts.file)));
        files
    }

    /// Starts or stops sending the list to a connection after each change.
    pub(super) fn watch(&mut self, conn: ConnId, watch: bool) {
        if watch {
            self.watchers.insert(conn);
        } else {
            self.watchers.remove(&conn);
        }
    }

    /// Notes that the list changed, and gives the time to call [`Room::list_update`] unless that is arranged already.
    pub(super) fn list_changed(&mut self, now: Duration) -> Option<Duration> {
        if self.watchers.is_empty() || self.list_due.is_some() {
            return None;
        }
        self.list_due = Some(now.max(self.list_free));
        self.list_due
    }

    /// The list for the watchers, if it was due at `when`.
    pub(super) fn list_update(&mut self, when: Duration, now: Duration) -> Option<Output> {
        // The timer may have been set by an earlier room of the same name.
        if self.list_due != Some(when) {
            return None;
        }
        self.list_due = None;
        let to: Vec<_> = self.watchers.iter().copied().collect();
        let files = self.list();
        self.list_free = now + pause_after(&files, to.len());
        Some(Output::Update { to, response: Response::Files { files } })
    }
}

/// How long after a list nothing more may be sent to as many watchers.
fn pause_after(files: &[FileInfo], watchers: usize) -> Duration {
    let entry = |info: &FileInfo| ENTRY_BYTES + info.facts.name.as_str().len() + info.facts.media_type.as_str().len();
    let bytes = files.iter().map(entry).sum::<usize>() * watchers;
    LIST_INTERVAL.max(Duration::from_secs_f64(bytes as f64 / LIST_RATE as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{BlockSize, MediaType};

    const PEER: PeerId = PeerId::from_bytes([1; 8]);

    fn join(room: &mut Room, number: u32) -> SwarmKey {
        let mut file = [0; 32];
        file[..4].copy_from_slice(&number.to_be_bytes());
        let facts = FileFacts {
            file: FileId::from_bytes(file),
            name: "n".repeat(100).parse().unwrap(),
            size: 3,
            media_type: MediaType::default(),
            block_size: BlockSize::for_file(3),
        };
        let (key, geometry) = (SwarmKey::of(&facts), facts.geometry().unwrap());
        assert!(room.join(PEER, facts, geometry, Bitfield::full(1), Duration::ZERO));
        key
    }

    /// The bytes that all watchers are sent in ten minutes in which the list changes every 10 ms, and the longest time
    /// between a change and its list.
    fn watched(files: u32, watchers: u64) -> (usize, Duration) {
        let mut room = Room::default();
        let changing = (0..files).map(|number| join(&mut room, number)).min().unwrap();
        (0..watchers).for_each(|conn| room.watch(ConnId(conn), true));
        let (mut sent, mut due, mut longest) = (0, None, Duration::ZERO);
        for now in (0..60_000).map(|step| Duration::from_millis(10) * step) {
            room.leave(PEER, changing);
            join(&mut room, 0);
            if let Some(when) = room.list_changed(now) {
                longest = longest.max(when - now);
                due = Some(when);
            }
            if let Some(when) = due.take_if(|when| *when <= now) {
                let Some(Output::Update { to, response }) = room.list_update(when, now) else { panic!("it was due") };
                sent += to.len() * protocol::encode_response(None, &response).len();
            }
        }
        (sent, longest)
    }

    #[test]
    fn lists_cost_a_room_a_bounded_rate_and_come_at_once_where_that_is_cheap() {
        let (sent, longest) = watched(30, 30);
        assert!(longest <= LIST_INTERVAL, "{longest:?}");
        assert!(sent > 600 * 3 * 30 * 30 * 200, "{sent}");
        for (files, watchers) in [(1, 10_000), (300, 1_000), (1_000, 1_000)] {
            let (sent, longest) = watched(files, watchers);
            let bound = 600 * LIST_RATE;
            assert!(sent < bound * 11 / 10, "{files} files, {watchers} watchers: {sent} bytes");
            assert!(sent > bound / 2, "{files} files, {watchers} watchers: {sent} bytes");
            assert!(longest > LIST_INTERVAL);
        }
    }
}
