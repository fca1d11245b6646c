//! One file of this peer.

use super::{Output, Receipt, StoreId, WaitsFor, lines::Lines, output::Sent, search::Search, seconds};
use crate::{
    Instant,
    page::{About, Carried, Problem, Storage, Update},
    swarm::{Event, ReadId, Room, StorageError, StorageRequest, Swarm},
};
use bytes::Bytes;
use protocol::{
    BlockSize, FileFacts, FileId, Geometry, MAX_PART_BYTES, Manifest, ManifestPart, PartialManifest, PeerId, PeerInfo,
    PeerMessage, encode_direct, encode_envelope,
};
use rand::Rng;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tracing::{debug, info};

/// How often a changing transfer is reported at most.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// How often it is looked whether a transfer waits for something else, which some do without any input.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often the tracker is told of new blocks at most.
const TELL_TRACKER_EVERY: Duration = seconds(1);

/// How long a swarm may give nothing, or as long as it took to get what is here, before another one that cuts the file
/// in another way is tried: somebody may have made this one only to keep the file from others.
const STARVED: Duration = seconds(60);
/// How long to wait before announcing again what the tracker had no place for.
const ANNOUNCE_AGAIN: Duration = seconds(10);
/// The most peers of whom is remembered what the tracker said; more than a swarm has neighbours and peers that wait.
const MAX_CONTACTS: usize = 512;

#[derive(Debug)]
pub(super) enum Stage {
    Searching(Search),
    /// The manifest is here; the shell makes room.
    Preparing {
        store: StoreId,
        manifest: Arc<Manifest>,
    },
    Active {
        store: StoreId,
        swarm: Box<Swarm>,
    },
    Failed {
        problem: Problem,
        about: Option<About>,
    },
}

#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) file: FileId,
    pub(super) stage: Stage,
    pub(super) storage: Option<Storage>,
    /// Whether this peer shared the file itself.
    pub(super) shared: bool,
    /// Whether it was said that the fetched file is whole.
    finished: bool,
    /// What the tracker said of the swarm's peers.
    pub(super) contacts: BTreeMap<PeerId, PeerInfo>,
    last_report: Instant,
    report_at: Option<Instant>,
    /// What was said that it waits for, and when to look again.
    pub(super) said_to_wait: Option<WaitsFor>,
    look_at: Option<Instant>,
    tell_tracker_at: Option<Instant>,
    wants_peers: bool,
    /// The tracker took its announcement once, and when to announce it again if it was refused since.
    was_announced: bool,
    announce_at: Option<Instant>,
    /// When the swarm was joined, and when the last block was stored.
    joined: Instant,
    progressed: Instant,
    /// How others cut the file who have all of it, and how it was cut where nothing came of it.
    other_cuts: BTreeSet<BlockSize>,
    tried: BTreeSet<BlockSize>,
    /// What the swarm has of the client's room, and what it wanted when that was decided.
    room: Option<Room>,
    wanted: Wanted,
    /// Bytes being read, and those of blocks in the shell's hands.
    reading: BTreeMap<ReadId, u64>,
    sending: u64,
    pub(super) received: Carried,
    /// What of it the tracker was told of.
    told_direct: u64,
    pub(super) sent: Carried,
}

/// What a swarm wants of the client's room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// It would ask for more blocks.
    pub(super) is_limited: bool,
    /// Requests for blocks of it wait.
    pub(super) is_asked: bool,
}

/// What a transfer's deadlines call for.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) tell_tracker: bool,
    pub(super) ask_for_peers: bool,
    pub(super) ask_for_manifest: bool,
    pub(super) announce: bool,
    pub(super) try_another_cut: bool,
}

impl Transfer {
    pub(super) fn searching(file: FileId, now: Instant) -> Self {
        Self::new(file, Stage::Searching(Search::new(now)), now)
    }

    /// A file that this peer has and shares.
    pub(super) fn sharing(store: StoreId, manifest: Arc<Manifest>, now: Instant) -> Self {
        Self { shared: true, ..Self::new(manifest.file(), Stage::Preparing { store, manifest }, now) }
    }

    fn new(file: FileId, stage: Stage, now: Instant) -> Self {
        Self {
            file,
            stage,
            storage: None,
            shared: false,
            finished: false,
            contacts: BTreeMap::new(),
            last_report: now,
            report_at: Some(now),
            said_to_wait: None,
            look_at: None,
            tell_tracker_at: None,
            wants_peers: false,
            was_announced: false,
            announce_at: None,
            joined: now,
            progressed: now,
            other_cuts: BTreeSet::new(),
            tried: BTreeSet::new(),
            room: None,
            wanted: Wanted::default(),
            reading: BTreeMap::new(),
            sending: 0,
            received: Carried::default(),
            told_direct: 0,
            sent: Carried::default(),
        }
    }

    /// The manifest was found, and the storage is being made.
    pub(super) fn prepare(&mut self, store: StoreId, manifest: Arc<Manifest>, now: Instant) {
        self.stage = Stage::Preparing { store, manifest };
        self.report_soon(now);
    }

    /// Joins the swarm, if the transfer waits for its storage.
    pub(super) fn activate(&mut self, join: impl FnOnce(Arc<Manifest>) -> Swarm, storage: Storage, now: Instant) {
        if let Stage::Preparing { store, manifest } = &self.stage {
            let swarm = Box::new(join(Arc::clone(manifest)));
            self.stage = Stage::Active { store: *store, swarm };
            self.storage = Some(storage);
            (self.joined, self.progressed) = (now, now);
            self.report_soon(now);
        }
    }

    /// What the file is kept under, or will be.
    pub(super) const fn store(&self) -> Option<StoreId> {
        match &self.stage {
            Stage::Preparing { store, .. } | Stage::Active { store, .. } => Some(*store),
            Stage::Searching(_) | Stage::Failed { .. } => None,
        }
    }

    /// What the file is kept under.
    pub(super) const fn active_store(&self) -> Option<StoreId> {
        if let Stage::Active { store, .. } = &self.stage { Some(*store) } else { None }
    }

    pub(super) fn swarm(&self) -> Option<&Swarm> {
        if let Stage::Active { swarm, .. } = &self.stage { Some(swarm) } else { None }
    }

    /// Gives an input to the swarm, if there is one; what comes out is collected by [`Transfer::settle`].
    pub(super) fn with_swarm(&mut self, now: Instant, input: impl FnOnce(&mut Swarm)) {
        if let Stage::Active { swarm, .. } = &mut self.stage {
            let stored = swarm.stored().count();
            input(swarm);
            if swarm.stored().count() != stored {
                self.progressed = now;
                let soon = if swarm.is_complete() { now } else { now + TELL_TRACKER_EVERY };
                self.tell_tracker_at = Some(self.tell_tracker_at.map_or(soon, |at| at.min(soon)));
            }
            self.report_soon(now);
        }
    }

    pub(super) fn peer_joined(&mut self, peer: PeerInfo, now: Instant) {
        let (id, age) = (peer.id, Duration::from_secs(peer.age.into()));
        if self.contacts.len() < MAX_CONTACTS {
            self.contacts.insert(id, peer);
        }
        if let Stage::Searching(search) = &mut self.stage {
            search.found(id);
        }
        self.with_swarm(now, |swarm| swarm.handle_peer_joined(id, age, now));
    }

    pub(super) fn peer_left(&mut self, peer: PeerId, now: Instant) {
        self.contacts.remove(&peer);
        if let Stage::Searching(search) = &mut self.stage {
            search.lost(peer, now);
        }
        self.with_swarm(now, |swarm| swarm.handle_peer_left(peer, now));
    }

    pub(super) fn line_lost(&mut self, now: Instant) {
        self.contacts.clear();
        self.sending = 0;
        if let Stage::Searching(search) = &mut self.stage {
            search.line_lost();
        }
        self.with_swarm(now, |swarm| swarm.handle_line_lost(now));
    }

    /// Whether it waits for somebody to have the file.
    pub(super) fn is_searching_in_vain(&self) -> bool {
        matches!(&self.stage, Stage::Searching(search) if search.is_in_vain())
    }

    pub(super) const fn is_failed(&self) -> bool {
        matches!(self.stage, Stage::Failed { .. })
    }

    /// The answer to a read.
    pub(super) fn handle_read(&mut self, id: ReadId, result: Result<Bytes, StorageError>, now: Instant) {
        self.reading.remove(&id);
        self.with_swarm(now, |swarm| swarm.handle_read(id, result, now));
    }

    /// Blocks left the shell's hands.
    pub(super) fn handle_sent(&mut self, bytes: u64, now: Instant) {
        self.sending = self.sending.saturating_sub(bytes);
        self.with_swarm(now, |swarm| swarm.handle_sent(bytes, now));
    }

    /// The same by the line that only a peer has.
    pub(super) fn handle_sent_by_line(&mut self, peer: PeerId, bytes: u64, now: Instant) {
        self.with_swarm(now, |swarm| swarm.handle_sent_by_line(peer, bytes, now));
    }

    /// Bytes asked for, and those on their way from the storage to the wire.
    pub(super) fn held(&self) -> Room {
        let in_flight = self.swarm().map_or(0, Swarm::in_flight);
        Room { in_flight, upload: self.reading.values().sum::<u64>() + self.sending }
    }

    /// The most bytes that one message may have which was asked for.
    pub(super) fn largest_answer(&self, max_run: u32) -> u64 {
        match &self.stage {
            Stage::Searching(search) if !search.is_in_vain() => MAX_PART_BYTES as u64,
            Stage::Active { swarm, .. } => {
                let block_size = swarm.manifest().geometry().block_size().bytes();
                swarm.in_flight().min(max_run.max(block_size).into())
            }
            Stage::Searching(_) | Stage::Preparing { .. } | Stage::Failed { .. } => 0,
        }
    }

    pub(super) fn wanted(&self) -> Wanted {
        let is = |what: fn(&Swarm) -> bool| self.swarm().is_some_and(what);
        Wanted { is_limited: is(Swarm::is_limited), is_asked: is(Swarm::is_asked) }
    }

    /// Whether it wants something else than when its room was decided.
    pub(super) fn needs_other_room(&self) -> bool {
        self.swarm().is_some() && self.wanted() != self.wanted
    }

    /// Gives the swarm its room; tells whether it is another one.
    pub(super) fn set_room(&mut self, room: Room, now: Instant) -> bool {
        let Stage::Active { swarm, .. } = &mut self.stage else { return false };
        let is_new = self.room.replace(room) != Some(room);
        if is_new {
            swarm.set_room(room, now);
        }
        self.wanted = self.wanted();
        is_new
    }

    /// How the file is cut, once that is known.
    pub(super) fn geometry(&self) -> Option<&Geometry> {
        match &self.stage {
            Stage::Searching(search) => search.partial().map(PartialManifest::geometry),
            Stage::Preparing { manifest, .. } => Some(manifest.geometry()),
            Stage::Active { swarm, .. } => Some(swarm.manifest().geometry()),
            Stage::Failed { .. } => None,
        }
    }

    /// A part of the manifest as it travels, if it is here; the last one if it is not said which.
    pub(super) fn manifest_part(&self, part: Option<u32>) -> Option<(FileFacts, ManifestPart)> {
        let whole = |manifest: &Manifest| Some((manifest.facts().clone(), manifest.part(part)?));
        match &self.stage {
            Stage::Searching(search) => {
                let partial = search.partial()?;
                Some((partial.facts().clone(), partial.part(part)?.clone()))
            }
            Stage::Preparing { manifest, .. } => whole(manifest),
            Stage::Active { swarm, .. } => whole(swarm.manifest()),
            Stage::Failed { .. } => None,
        }
    }

    /// The next peer to ask for a part of the manifest, and for which.
    pub(super) fn next_to_ask(&mut self, now: Instant, rng: &mut impl Rng) -> Option<(PeerId, Option<u32>)> {
        if let Stage::Searching(search) = &mut self.stage { search.next_to_ask(now, rng) } else { None }
    }

    /// A part of the manifest came; gives the manifest if it is whole.
    pub(super) fn handle_manifest(
        &mut self,
        from: PeerId,
        facts: FileFacts,
        part: ManifestPart,
        now: Instant,
    ) -> Option<Arc<Manifest>> {
        let Stage::Searching(search) = &mut self.stage else { return None };
        let manifest = search.handle_part(from, facts, part, now);
        self.report_soon(now);
        manifest.map(Arc::new)
    }

    /// A peer has not the part of the manifest that it was asked for.
    pub(super) fn handle_no_manifest(&mut self, from: PeerId, now: Instant) {
        if let Stage::Searching(search) = &mut self.stage {
            search.handle_nothing(from, now);
        }
    }

    /// What a transfer that cannot go on leaves.
    pub(super) fn failed(&self, problem: Problem, now: Instant) -> Self {
        let stage = Stage::Failed { problem, about: self.about() };
        Self { storage: self.storage, ..Self::new(self.file, stage, now) }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let stage = match &self.stage {
            Stage::Searching(search) => Some(search.deadline()),
            Stage::Active { swarm, .. } => swarm.poll_timeout().map(|(deadline, _)| deadline),
            Stage::Preparing { .. } | Stage::Failed { .. } => None,
        };
        let wants_peers_at = self.wants_peers.then_some(self.last_report);
        let own = [self.report_at, self.look_at, self.tell_tracker_at, self.announce_at, self.starved_at()];
        own.into_iter().chain([stage, wants_peers_at]).flatten().min()
    }

    /// The tracker took its announcement.
    pub(super) const fn announced(&mut self) {
        self.was_announced = true;
    }

    /// The tracker refused its announcement; tells whether it can be made again later, because there was a place for it.
    pub(super) fn refused(&mut self, now: Instant) -> bool {
        self.announce_at = self.was_announced.then(|| now + ANNOUNCE_AGAIN);
        self.was_announced
    }

    /// Notes how those cut the file who have all of it.
    pub(super) fn note_cuts(&mut self, sources: impl Iterator<Item = FileFacts>) {
        let hungry = self.swarm().filter(|swarm| !swarm.is_complete());
        let Some(own) = hungry.map(|swarm| *swarm.manifest().geometry()) else { return };
        let alike = sources.filter(|facts| facts.size == own.size() && facts.block_size != own.block_size());
        self.other_cuts = alike.map(|facts| facts.block_size).collect();
    }

    /// When its swarm has given nothing for so long that another one is to be tried, if there is one.
    fn starved_at(&self) -> Option<Instant> {
        let is_hungry = self.swarm().is_some_and(|swarm| !swarm.is_complete());
        let patience = STARVED.max(self.progressed.since(self.joined));
        (is_hungry && !self.other_cuts.is_empty()).then(|| self.progressed + patience)
    }

    /// Leaves a swarm that gives nothing, and looks for one that cuts the file in another way.
    pub(super) fn searching_another_cut(&self, now: Instant) -> Self {
        let mut tried = self.tried.clone();
        if self.other_cuts.is_subset(&tried) {
            tried.clear();
        }
        tried.extend(self.geometry().map(Geometry::block_size));
        let search = Search::avoiding(tried.clone(), now);
        Self { tried, ..Self::new(self.file, Stage::Searching(search), now) }
    }

    pub(super) fn timeout(&mut self, now: Instant) -> Due {
        let mut due = Due {
            announce: self.announce_at.take_if(|at| *at <= now).is_some(),
            try_another_cut: self.starved_at().is_some_and(|at| at <= now),
            ..Due::default()
        };
        match &mut self.stage {
            Stage::Searching(search) => {
                due.ask_for_peers = search.timeout(now);
                due.ask_for_manifest = true;
            }
            Stage::Active { swarm, .. } => swarm.handle_timeout(now),
            Stage::Preparing { .. } | Stage::Failed { .. } => {}
        }
        due.tell_tracker = self.tell_tracker_at.take_if(|at| *at <= now).is_some();
        due.ask_for_peers |= std::mem::take(&mut self.wants_peers);
        due
    }

    /// Bytes that came directly and that the tracker is now told of.
    pub(super) const fn take_untold(&mut self) -> u64 {
        let direct = self.received.direct;
        direct - std::mem::replace(&mut self.told_direct, direct)
    }

    /// Moves what the swarm wants to the outputs, and reports if it is time; tells why the storage failed, if it did.
    pub(super) fn settle(
        &mut self,
        is_online: bool,
        now: Instant,
        lines: &mut Lines,
        outputs: &mut VecDeque<Output>,
    ) -> Option<StorageError> {
        let mut failed = None;
        if let Stage::Active { store, swarm } = &mut self.stage {
            let (file, store) = (self.file, *store);
            while let Some(transmit) = swarm.poll_transmit() {
                let to = transmit.to;
                let bytes = if let PeerMessage::Block { data, .. } = &transmit.message {
                    Some(data.len() as u64)
                } else {
                    None
                };
                let is_of_data = matches!(transmit.message, PeerMessage::Block { .. } | PeerMessage::Request { .. });
                let line = lines.route(to, file, is_of_data, now);
                // Lines have budgets of their own.
                if line.is_none() {
                    self.sending += bytes.unwrap_or_default();
                }
                self.sent.add(bytes.unwrap_or_default(), line.is_some());
                let receipt = bytes.map(|bytes| Receipt(Sent::Block { store, bytes, line }));
                outputs.push_back(match line {
                    Some(line) => Output::SendDirect { line, frame: encode_direct(transmit.message), receipt },
                    None => {
                        let binary = self.contacts.get(&to).is_some_and(|peer| peer.binary);
                        Output::Send { frame: encode_envelope(to, transmit.message, binary), receipt }
                    }
                });
            }
            while let Some(request) = swarm.poll_storage() {
                outputs.push_back(match request {
                    StorageRequest::Read { id, offset, len } => {
                        self.reading.insert(id, len.into());
                        Output::Read { store, id, offset, len }
                    }
                    StorageRequest::Write { run, offset, data } => Output::Write { store, run, offset, data },
                });
            }
            while let Some(event) = swarm.poll_event() {
                match event {
                    Event::Completed => {
                        info!(?file, "complete");
                        self.report_at = Some(now);
                    }
                    Event::Dropped { peer, violation } => {
                        debug!(?file, %peer, %violation, "dropped a peer");
                        self.contacts.remove(&peer);
                        lines.dropped(peer);
                    }
                    Event::WantsPeers => self.wants_peers = true,
                    Event::StorageFailed(error) => failed = Some(error),
                }
            }
            if swarm.is_complete() && !self.shared && !self.finished {
                self.finished = true;
                outputs.push_back(Output::Finished { store, file });
            }
        }
        let waits_for = self.waits_for(is_online, now);
        if waits_for != self.said_to_wait {
            self.report_soon(now);
        }
        let is_fetching = self.swarm().is_some_and(|swarm| !swarm.is_complete());
        if self.look_at.is_none_or(|at| at <= now) {
            self.look_at = is_fetching.then(|| now + LOOK_EVERY);
        }
        if self.report_at.take_if(|at| *at <= now).is_some() {
            self.last_report = now;
            self.said_to_wait = waits_for;
            let report = self.report(waits_for, lines, now);
            if report.down_rate + report.up_rate > 0 {
                // A rate falls without anything happening.
                self.report_at = Some(now + REPORT_EVERY);
            }
            outputs.push_back(Output::Update(Update::Transfer { transfer: Box::new(report) }));
        }
        failed
    }

    fn report_soon(&mut self, now: Instant) {
        self.report_at.get_or_insert_with(|| now.max(self.last_report + REPORT_EVERY));
    }
}
