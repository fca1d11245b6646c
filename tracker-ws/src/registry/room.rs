//! One room: its peers, its files, and those who watch the list of files.

use super::{ConnId, Output, Refusal, refusal, swarm::Swarm};
use protocol::{ErrorCode, FileFacts, FileId, FileInfo, PeerId, Response};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::Duration,
};

/// The shortest time between two lists that nobody asked for. Many changes in it cost one message.
const LIST_INTERVAL: Duration = Duration::from_millis(250);

/// One room.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) peers: BTreeSet<PeerId>,
    /// The files of the room; each has a member.
    pub(super) swarms: BTreeMap<FileId, Swarm>,
    watchers: BTreeSet<ConnId>,
    /// When the list goes to the watchers next, if it changed.
    list_due: Option<Duration>,
    list_sent: Option<Duration>,
}

impl Room {
    /// Puts a peer into a file's swarm, and tells whether that changed the list of files.
    pub(super) fn announce(&mut self, id: PeerId, facts: FileFacts, blocks: &[u8]) -> Result<bool, Refusal> {
        let invalid = |error: protocol::BitfieldError| refusal(ErrorCode::InvalidBitfield, error.to_string());
        match self.swarms.entry(facts.file) {
            Entry::Occupied(entry) => {
                let swarm = entry.into_mut();
                if !swarm.agrees_with(&facts) {
                    let message = "the room knows this file with another size or block size";
                    return Err(refusal(ErrorCode::ConflictingFacts, message));
                }
                swarm.put(id, blocks).map_err(invalid)
            }
            Entry::Vacant(entry) => {
                let mut swarm = Swarm::new(facts).map_err(|error| refusal(ErrorCode::Malformed, error.to_string()))?;
                swarm.put(id, blocks).map_err(invalid)?;
                entry.insert(swarm);
                Ok(true)
            }
        }
    }

    /// Takes a peer out of a file's swarm, and gives those that knew it there.
    pub(super) fn leave(&mut self, id: PeerId, file: FileId) -> BTreeSet<PeerId> {
        let Entry::Occupied(mut swarm) = self.swarms.entry(file) else { return BTreeSet::new() };
        let acquaintances = swarm.get_mut().remove(id);
        if swarm.get().is_empty() {
            swarm.remove();
        }
        acquaintances
    }

    /// The files, sorted by name, then by id.
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
        self.list_due = Some(self.list_sent.map_or(now, |sent| now.max(sent + LIST_INTERVAL)));
        self.list_due
    }

    /// The list for the watchers, if it was due at `when`.
    pub(super) fn list_update(&mut self, when: Duration, now: Duration) -> Option<Output> {
        // The timer may have been set by an earlier room of the same name.
        if self.list_due != Some(when) {
            return None;
        }
        self.list_due = None;
        self.list_sent = Some(now);
        let to = self.watchers.iter().copied().collect();
        Some(Output::Update { to, response: Response::Files { files: self.list() } })
    }
}
