//! One file of this peer.

use super::{Output, Receipt, StoreId, output::Sent, search::Search, seconds};
use crate::{
    Instant,
    page::{self, About, Problem, Storage, Update},
    swarm::{BlockState, Event, StorageError, StorageRequest, Swarm},
};
use protocol::{
    FileFacts, FileId, Manifest, ManifestPart, PartialManifest, PeerId, PeerInfo, PeerMessage, encode_envelope,
};
use rand::Rng;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tracing::{debug, info};

/// How often a changing transfer is reported at most.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// How often the tracker is told of new blocks at most.
const TELL_TRACKER_EVERY: Duration = seconds(1);

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
    file: FileId,
    stage: Stage,
    storage: Storage,
    /// Whether this peer shared the file itself.
    shared: bool,
    /// Whether it was said that the fetched file is whole.
    finished: bool,
    /// What the tracker said of the swarm's peers.
    contacts: BTreeMap<PeerId, PeerInfo>,
    last_report: Instant,
    report_at: Option<Instant>,
    tell_tracker_at: Option<Instant>,
    wants_peers: bool,
}

/// What a transfer's deadlines call for.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) tell_tracker: bool,
    pub(super) ask_for_peers: bool,
    pub(super) ask_for_manifest: bool,
}

impl Transfer {
    pub(super) fn searching(file: FileId, now: Instant) -> Self {
        Self::new(file, Stage::Searching(Search::new(now)), now)
    }

    /// A file whose manifest was found, and whose storage is being made.
    pub(super) fn fetching(store: StoreId, manifest: Arc<Manifest>, now: Instant) -> Self {
        Self::new(manifest.file(), Stage::Preparing { store, manifest }, now)
    }

    /// A file that this peer has and shares.
    pub(super) fn sharing(store: StoreId, manifest: Arc<Manifest>, now: Instant) -> Self {
        Self { shared: true, ..Self::fetching(store, manifest, now) }
    }

    fn new(file: FileId, stage: Stage, now: Instant) -> Self {
        Self {
            file,
            stage,
            storage: Storage::Memory,
            shared: false,
            finished: false,
            contacts: BTreeMap::new(),
            last_report: now,
            report_at: Some(now),
            tell_tracker_at: None,
            wants_peers: false,
        }
    }

    /// Joins the swarm, if the transfer waits for its storage.
    pub(super) fn activate(&mut self, join: impl FnOnce(Arc<Manifest>) -> Swarm, storage: Storage, now: Instant) {
        if let Stage::Preparing { store, manifest } = &self.stage {
            let swarm = Box::new(join(Arc::clone(manifest)));
            self.stage = Stage::Active { store: *store, swarm };
            self.storage = storage;
            self.report_at = Some(now);
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
                let soon = if swarm.is_complete() { now } else { now + TELL_TRACKER_EVERY };
                self.tell_tracker_at = Some(self.tell_tracker_at.map_or(soon, |at| at.min(soon)));
            }
            self.report_soon(now);
        }
    }

    pub(super) fn peer_joined(&mut self, peer: PeerInfo, now: Instant) {
        let id = peer.id;
        match &mut self.stage {
            Stage::Searching(search) => search.found(id),
            Stage::Active { swarm, .. } => {
                swarm.handle_peer_joined(id, Duration::from_secs(peer.age.into()), now);
                if self.contacts.len() < MAX_CONTACTS {
                    self.contacts.insert(id, peer);
                }
                self.report_soon(now);
            }
            Stage::Preparing { .. } | Stage::Failed { .. } => {}
        }
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
        if let Stage::Searching(search) = &mut self.stage {
            search.forget_all(now);
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

    pub(super) fn next_to_ask(&mut self, now: Instant, rng: &mut impl Rng) -> Option<PeerId> {
        if let Stage::Searching(search) = &mut self.stage { search.next_to_ask(now, rng) } else { None }
    }

    /// Takes the manifest that was asked for, if it is right; then the transfer waits for its storage.
    pub(super) fn handle_manifest(
        &mut self,
        from: PeerId,
        facts: FileFacts,
        part: ManifestPart,
        now: Instant,
    ) -> Option<Arc<Manifest>> {
        let Stage::Searching(search) = &mut self.stage else { return None };
        if !search.was_asked(from) {
            return None;
        }
        match PartialManifest::begin(facts, part).map(|partial| partial.complete()) {
            Ok(None) => None,
            Ok(Some(manifest)) => Some(Arc::new(manifest)),
            Err(error) => {
                debug!(%from, %error, "a manifest is wrong");
                search.give_up(now);
                None
            }
        }
    }

    /// What a transfer that cannot go on leaves.
    pub(super) fn failed(&self, problem: Problem, now: Instant) -> Self {
        let stage = Stage::Failed { problem, about: self.about() };
        Self { storage: self.storage, shared: self.shared, ..Self::new(self.file, stage, now) }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let stage = match &self.stage {
            Stage::Searching(search) => Some(search.deadline()),
            Stage::Active { swarm, .. } => swarm.poll_timeout().map(|(deadline, _)| deadline),
            Stage::Preparing { .. } | Stage::Failed { .. } => None,
        };
        let wants_peers_at = self.wants_peers.then_some(self.last_report);
        [stage, self.report_at, self.tell_tracker_at, wants_peers_at].into_iter().flatten().min()
    }

    pub(super) fn timeout(&mut self, now: Instant) -> Due {
        let mut due = Due::default();
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

    /// Moves what the swarm wants to the outputs, and reports if it is time; tells why the storage failed, if it did.
    pub(super) fn settle(&mut self, now: Instant, outputs: &mut VecDeque<Output>) -> Option<StorageError> {
        let mut failed = None;
        if let Stage::Active { store, swarm } = &mut self.stage {
            let (file, store) = (self.file, *store);
            while let Some(transmit) = swarm.poll_transmit() {
                let to = transmit.to;
                let bytes =
                    if let PeerMessage::Block { data, .. } = &transmit.message { Some(data.len()) } else { None };
                let binary = self.contacts.get(&to).is_some_and(|peer| peer.binary);
                let frame = encode_envelope(to, transmit.message, binary);
                let receipt = bytes.map(|bytes| Receipt(Sent::Block { store, bytes: bytes as u64 }));
                outputs.push_back(Output::Send { frame, receipt });
            }
            while let Some(request) = swarm.poll_storage() {
                outputs.push_back(match request {
                    StorageRequest::Read { id, offset, len } => Output::Read { store, id, offset, len },
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
        if self.report_at.take_if(|at| *at <= now).is_some() {
            self.last_report = now;
            let report = self.report(now);
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

    fn about(&self) -> Option<About> {
        let about = |facts: &FileFacts| About {
            name: facts.name.clone(),
            size: facts.size,
            media_type: facts.media_type.clone(),
        };
        match &self.stage {
            Stage::Searching(_) => None,
            Stage::Preparing { manifest, .. } => Some(about(manifest.facts())),
            Stage::Active { swarm, .. } => Some(about(swarm.manifest().facts())),
            Stage::Failed { about, .. } => about.clone(),
        }
    }

    /// How the transfer stands, for people.
    fn report(&self, now: Instant) -> page::Transfer {
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
            storage: self.storage,
            verified,
            down_rate,
            up_rate,
            seconds_left: if left == 0 { None } else { left.div_ceil(down_rate.max(1)).into() }
                .filter(|_| down_rate > 0),
            sources: peers.iter().filter(|peer| blocks > 0 && peer.blocks == blocks).count() as u32,
            mosaic: swarm.map_or_else(String::new, |swarm| swarm.block_states().iter().map(tile).collect()),
            peers: peers
                .into_iter()
                .map(|status| page::Peer {
                    name: self.contacts.get(&status.peer).and_then(|contact| contact.name.clone()),
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
        BlockState::Requested(_) => 'o',
        BlockState::Storing => 's',
        BlockState::Stored => '#',
    }
}
