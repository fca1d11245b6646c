//! The whole peer without IO: registration, the room's files, and one [`Swarm`] per file.
//!
//! | file | what it owns |
//! |---|---|
//! | `lines` | direct lines to other peers |
//! | `link` | the line to the tracker: connecting again, and noticing that it is dead |
//! | `tracker` | what the tracker says, and what it is asked |
//! | `peers` | what other peers say; asking for manifests, and answering who asks |
//! | `search` | finding somebody who has a file, and its manifest |
//! | `manifests` | whose turn it is to get a part of ours |
//! | `transfer` | one file: searching, being prepared, active, or failed |
//! | `rooms` | dividing what may be on its way among the files |
//! | `report` | how a transfer stands, for people |
//! | `waits` | what a transfer waits for |
//! | `output` | what the shell has to do |

mod lines;
mod link;
mod manifests;
mod output;
mod peers;
mod report;
mod rooms;
mod search;
#[cfg(test)]
mod tests;
mod tracker;
mod transfer;
mod waits;

pub use lines::LineId;
pub use output::{Output, Receipt, StoreId};
pub use waits::WaitsFor;

use crate::{
    Instant,
    page::{Connection, Problem, Storage, Update},
    swarm::{Config, ReadId, StorageError, Swarm},
};
use bytes::Bytes;
use lines::Lines;
use link::{Link, OnLine};
use manifests::Manifests;
use output::Sent;
use protocol::{
    Bitfield, FileId, FileTag, Identity, LineKind, Manifest, PeerName, Request, RoomName, Run, Stun, close,
    decode_tracker_binary, decode_tracker_text,
};
use rand::{Rng as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};
use rooms::Rooms;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tracing::info;
use transfer::Transfer;

/// Of what leaves in a second, the socket holds one part in so many.
const UNSENT_PER_SECOND: u64 = 10;
/// The least that a socket may hold, so that it does not run dry between two looks at it,
const LEAST_UNSENT: u64 = 32 << 10;
/// and the most, which the fastest line sends between two looks.
const MOST_UNSENT: u64 = 1 << 20;
/// The most bytes of JSON for three bytes of a block.
const BASE64: (u64, u64) = (4, 3);

/// What a peer is told at the start.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The room to join.
    pub room: RoomName,
    /// A name for people to read.
    pub name: Option<PeerName>,
    /// Whether to receive blocks as binary frames.
    pub binary: bool,
    /// The kinds of direct lines that the shell can have.
    pub direct: BTreeSet<LineKind>,
    /// The settings of every swarm.
    pub swarm: Config,
}

/// A peer in one room: a state machine without IO, clock or randomness of its own.
///
/// The contract is that of [`Swarm`]: inputs take `now`, everything that follows from one waits in
/// [`poll_output`](Self::poll_output), which is drained after each; then [`poll_timeout`](Self::poll_timeout) says
/// when to call [`handle_timeout`](Self::handle_timeout). The first output is [`Output::Connect`].
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    rng: Xoshiro256PlusPlus,
    link: Link,
    identity: Option<Identity>,
    /// The number of the last request, and the announcements that wait for an answer.
    last_seq: u32,
    announcements: BTreeMap<u32, FileId>,
    transfers: BTreeMap<FileId, Transfer>,
    /// The number of the last storage, and whose those are that are in use or being made.
    last_store: StoreId,
    stores: BTreeMap<StoreId, FileId>,
    manifests: Manifests,
    stun: Stun,
    lines: Lines,
    rooms: Rooms,
    outputs: VecDeque<Output>,
}

impl Client {
    /// A peer that wants to connect. The same `seed` and the same inputs give the same outputs.
    pub fn new(config: ClientConfig, seed: u64, now: Instant) -> Self {
        let mut client = Self {
            lines: Lines::new(config.direct.clone()),
            config,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            link: Link::connecting(now),
            identity: None,
            last_seq: 0,
            announcements: BTreeMap::new(),
            transfers: BTreeMap::new(),
            last_store: StoreId::FIRST,
            stores: BTreeMap::new(),
            manifests: Manifests::default(),
            stun: Stun::default(),
            rooms: Rooms::default(),
            outputs: VecDeque::new(),
        };
        client.connect(now);
        client
    }

    /// Shares a file that the shell has and hashed, and tells what to keep it under. `None` if nothing is to be kept:
    /// the file is here whole, or another file here has its tag, with which this one fails.
    pub fn share(&mut self, manifest: Arc<Manifest>, now: Instant) -> Option<StoreId> {
        let file = manifest.file();
        let mut kept = None;
        if self.tagged(file.tag()).is_some_and(|first| first != file) {
            self.replace(file, Some(Transfer::searching(file, now)), now);
            self.fail(file, Problem::TagTaken, now);
        } else if !self.swarm(file).is_some_and(Swarm::is_complete) {
            if self.swarm(file).is_some() {
                // The neighbours know a swarm that lacked blocks; they are to meet the new one afresh.
                self.request(None, &Request::Leave { file: Some(file) });
            }
            let store = self.new_store(file);
            let have = Bitfield::full(manifest.geometry().blocks());
            self.replace(file, Some(Transfer::sharing(store, manifest, now)), now);
            self.activate(file, have, Storage::Source, now);
            kept = Some(store);
        }
        self.settle(now);
        kept
    }

    /// Fetches a file. Does nothing if it is here or on its way; tries again if it had failed. Fails if another file
    /// here has its tag.
    pub fn fetch(&mut self, file: FileId, now: Instant) {
        if self.transfers.get(&file).is_none_or(Transfer::is_failed) {
            let is_tag_taken = self.tagged(file.tag()).is_some();
            self.replace(file, Some(Transfer::searching(file, now)), now);
            if is_tag_taken {
                self.fail(file, Problem::TagTaken, now);
            } else {
                self.ask_for_peers(file);
            }
        }
        self.settle(now);
    }

    /// Stops fetching or sharing a file and forgets it.
    pub fn stop(&mut self, file: FileId, now: Instant) {
        if self.replace(file, None, now) {
            self.request(None, &Request::Leave { file: Some(file) });
            self.update(Update::Stopped { file });
        }
        self.settle(now);
    }

    /// The machine may have slept or changed networks: see whether the line still works, or try again at once.
    pub fn wake(&mut self, now: Instant) {
        let action = self.link.wake(now);
        self.follow(action, now);
        self.settle(now);
    }

    /// Has direct lines of these kinds from now on, and none of others. The tracker hears of that when a peer registers only, so
    /// this connects anew if they are not the ones from before.
    pub fn set_lines(&mut self, kinds: BTreeSet<LineKind>, now: Instant) {
        if !self.lines.set_kinds(kinds) {
            return;
        }
        if self.link.is_online() || self.link.is_registering() {
            self.outputs.push_back(Output::Disconnect);
            self.handle_closed(None, now);
            self.wake(now);
        }
    }

    /// The socket that [`Output::Connect`] asked for is open.
    pub fn handle_opened(&mut self, now: Instant) {
        self.link.opened(now);
        self.register();
        self.settle(now);
    }

    /// The socket could not be opened, or closed, with this code if there was one.
    pub fn handle_closed(&mut self, code: Option<u16>, now: Instant) {
        if code == Some(close::REPLACED) {
            // Somebody else goes on under this identity; taking it back would throw them out in turn.
            self.identity = None;
        }
        self.announcements.clear();
        self.drop_lines();
        self.manifests.line_lost();
        for transfer in self.transfers.values_mut() {
            transfer.line_lost(now);
        }
        let connection = match code.and_then(meaning) {
            Some(problem @ (Problem::WrongToken | Problem::Removed)) => {
                self.link.end();
                info!(?code, "disconnected for good");
                Connection::Ended { problem }
            }
            problem => {
                let retry_ms = self.link.closed(now, &mut self.rng);
                info!(?code, retry_ms, "disconnected");
                Connection::Waiting { retry_ms, problem }
            }
        };
        self.update(Update::Connection { connection });
        self.settle(now);
    }

    /// A text frame arrived.
    pub fn handle_text(&mut self, text: &str, now: Instant) {
        self.link.heard(text.len() as u64, now);
        self.handle_frame(decode_tracker_text(text), now);
    }

    /// A binary frame arrived.
    pub fn handle_binary(&mut self, frame: &Bytes, now: Instant) {
        self.link.heard(frame.len() as u64, now);
        self.handle_frame(decode_tracker_binary(frame), now);
    }

    /// The storage that [`Output::Create`] asked for is there, with these blocks in it already, or cannot be had.
    pub fn handle_created(&mut self, store: StoreId, result: Result<(Bitfield, Storage), StorageError>, now: Instant) {
        match (self.stores.get(&store).copied(), result) {
            (Some(file), Ok((have, storage))) => self.activate(file, have, storage, now),
            (Some(file), Err(error)) => self.fail(file, Problem::Storage(error), now),
            (None, Ok(_)) => self.outputs.push_back(Output::Discard { store }),
            (None, Err(_)) => {}
        }
        self.settle(now);
    }

    /// The shell cannot go on with a storage.
    pub fn handle_failed(&mut self, store: StoreId, error: StorageError, now: Instant) {
        if let Some(&file) = self.stores.get(&store) {
            self.fail(file, Problem::Storage(error), now);
            self.settle_one(file, now);
        }
    }

    /// Blocks handed out as [`Output::Write`] are stored, or could not be.
    pub fn handle_stored(&mut self, store: StoreId, run: Run, result: Result<(), StorageError>, now: Instant) {
        self.with_store(store, now, |transfer| {
            transfer.with_swarm(now, |swarm| swarm.handle_stored(run, result, now));
        });
    }

    /// The answer to [`Output::Read`].
    pub fn handle_read(&mut self, store: StoreId, id: ReadId, result: Result<Bytes, StorageError>, now: Instant) {
        self.with_store(store, now, |transfer| transfer.handle_read(id, result, now));
    }

    /// A frame that came with a receipt left the shell's hands.
    pub fn handle_sent(&mut self, receipt: Receipt, now: Instant) {
        match receipt.0 {
            Sent::Block { store, bytes, line: None } => {
                self.link.sent(bytes, now);
                self.with_store(store, now, |transfer| transfer.handle_sent(bytes, now));
            }
            Sent::Block { store, bytes, line: Some(line) } => {
                // What a line that is gone had is forgotten with it.
                if let Some(peer) = self.lines.peer(line) {
                    self.with_store(store, now, |transfer| transfer.handle_sent_by_line(peer, bytes, now));
                }
            }
            Sent::Manifest { bytes } => {
                self.link.sent(bytes, now);
                self.manifests.sent(bytes);
                self.send_manifests();
            }
        }
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let action = self.link.timeout(self.on_line(), now);
        self.follow(action, now);
        let files: Vec<_> = self.transfers.keys().copied().collect();
        for file in files {
            self.transfer_timeout(file, now);
        }
        self.settle(now);
    }

    /// The next thing for the shell to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Client::handle_timeout`] if nothing comes before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let transfers = self.transfers.values().filter_map(Transfer::deadline);
        let others = [self.link.deadline(self.on_line()), self.rooms.deadline(), self.lines.deadline()];
        transfers.chain(others.into_iter().flatten()).min()
    }

    /// How many bytes the socket may hold unsent where its queue cannot be looked into: what leaves in a tenth of a
    /// second, so that what is said at once is not late.
    pub fn unsent_target(&self, now: Instant) -> u64 {
        let swarms = self.transfers.values().filter_map(Transfer::swarm);
        let rate: u64 = swarms.map(|swarm| swarm.rates(now).1).sum();
        (rate / UNSENT_PER_SECOND).clamp(LEAST_UNSENT, MOST_UNSENT)
    }

    /// Who tells this peer its own addresses, as the tracker said the last time.
    pub const fn stun(&self) -> &Stun {
        &self.stun
    }

    /// Every file that is fetched or shared.
    pub fn files(&self) -> impl Iterator<Item = FileId> {
        self.transfers.keys().copied()
    }

    /// The swarm of a file, if it is active.
    pub fn swarm(&self, file: FileId) -> Option<&Swarm> {
        self.transfers.get(&file)?.swarm()
    }

    /// What the file is kept under, if it is active.
    pub fn store(&self, file: FileId) -> Option<StoreId> {
        self.transfers.get(&file)?.active_store()
    }

    /// The largest message that may be on the line each way.
    fn on_line(&self) -> OnLine {
        let max_run = self.config.swarm.max_run;
        let incoming =
            self.transfers.values().map(|transfer| transfer.largest_answer(max_run)).max().unwrap_or_default();
        let (encoded, bytes) = if self.config.binary { (1, 1) } else { BASE64 };
        OnLine { incoming: incoming * encoded / bytes, outgoing: self.link.unheard().min(max_run.into()) }
    }

    /// Gives an answer of a storage to the transfer that uses it. What an older one of the file answers is for nobody.
    fn with_store(&mut self, store: StoreId, now: Instant, input: impl FnOnce(&mut Transfer)) {
        if let Some(&file) = self.stores.get(&store)
            && let Some(transfer) = self.transfers.get_mut(&file)
        {
            input(transfer);
            self.settle_one(file, now);
        }
    }

    fn new_store(&mut self, file: FileId) -> StoreId {
        self.last_store = self.last_store.next();
        self.stores.insert(self.last_store, file);
        self.last_store
    }

    /// Has storage made for a file whose manifest was found.
    fn prepare(&mut self, file: FileId, manifest: Arc<Manifest>, now: Instant) {
        let store = self.new_store(file);
        self.outputs.push_back(Output::Create { store, manifest: Arc::clone(&manifest) });
        if let Some(transfer) = self.transfers.get_mut(&file) {
            transfer.prepare(store, manifest, now);
        }
    }

    /// Joins the swarm of a file whose storage is there.
    fn activate(&mut self, file: FileId, have: Bitfield, storage: Storage, now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&file) else { return };
        let (config, seed) = (self.config.swarm.clone(), self.rng.next_u64());
        transfer.activate(|manifest| Swarm::new(config, manifest, have, seed, now), storage, now);
        self.rooms.divide_soon();
        self.tell_of_lines(file, now);
        self.announce(file);
        self.ask_for_peers(file);
    }

    /// Leaves the swarm of a file that cannot go on.
    fn fail(&mut self, file: FileId, problem: Problem, now: Instant) {
        info!(?file, ?problem, "failed");
        if let Some(transfer) = self.transfers.get(&file) {
            let failed = transfer.failed(problem, now);
            self.replace(file, Some(failed), now);
            self.request(None, &Request::Leave { file: Some(file) });
        }
    }

    /// Leaves the swarm of a file that gives nothing, and looks for others who have it.
    fn try_another_cut(&mut self, file: FileId, now: Instant) {
        if let Some(transfer) = self.transfers.get(&file) {
            info!(?file, "nothing comes, looking for others who have it");
            let search = transfer.searching_another_cut(now);
            self.replace(file, Some(search), now);
            self.request(None, &Request::Leave { file: Some(file) });
            self.ask_for_peers(file);
        }
    }

    /// Puts another transfer, or none, in the place of a file's, and gives back its storage; tells whether there was one.
    fn replace(&mut self, file: FileId, transfer: Option<Transfer>, now: Instant) -> bool {
        if self.transfers.contains_key(&file) {
            self.leave_with_lines(file, now);
        }
        let old = self.transfers.remove(&file);
        if let Some(store) = old.as_ref().and_then(Transfer::store) {
            self.stores.remove(&store);
        }
        if let Some(store) = old.as_ref().and_then(Transfer::active_store) {
            self.rooms.divide_soon();
            self.outputs.push_back(Output::Discard { store });
        }
        self.transfers.extend(transfer.map(|transfer| (file, transfer)));
        old.is_some()
    }

    /// The file with this tag; there is only one, because a second one fails.
    fn tagged(&self, tag: FileTag) -> Option<FileId> {
        let mut same = self.transfers.range(tag.first_id()..).take_while(|(file, _)| file.tag() == tag);
        same.find(|(_, transfer)| !transfer.is_failed()).map(|(file, _)| *file)
    }

    fn update(&mut self, update: Update) {
        self.outputs.push_back(Output::Update(update));
    }

    /// Moves what came out of the swarms to the outputs, after every input.
    fn settle(&mut self, now: Instant) {
        let files: Vec<_> = self.transfers.keys().copied().collect();
        files.into_iter().for_each(|file| self.collect(file, now));
        self.settle_rooms(now);
    }

    /// The same after an input to one file.
    fn settle_one(&mut self, file: FileId, now: Instant) {
        self.collect(file, now);
        self.settle_rooms(now);
    }

    fn settle_rooms(&mut self, now: Instant) {
        let changed = self.divide_rooms(now);
        changed.into_iter().for_each(|file| self.collect(file, now));
        self.look_at_lines(now);
        for file in std::mem::take(&mut self.lines.touched) {
            self.collect(file, now);
        }
    }

    /// Moves what came out of a file's swarm to the outputs.
    fn collect(&mut self, file: FileId, now: Instant) {
        let is_online = self.link.is_online();
        if let Some(transfer) = self.transfers.get_mut(&file)
            && let Some(error) = transfer.settle(is_online, now, &mut self.lines, &mut self.outputs)
        {
            self.fail(file, Problem::Storage(error), now);
            self.collect(file, now);
        }
        self.look_at_rooms(file);
    }
}

/// What a person should know of the code with which the tracker closed the connection.
const fn meaning(code: u16) -> Option<Problem> {
    match code {
        close::TRACKER_FULL => Some(Problem::TrackerFull),
        close::ADDRESS_FULL => Some(Problem::AddressFull),
        close::SLOW_RECEIVER => Some(Problem::TooSlow),
        close::WRONG_TOKEN => Some(Problem::WrongToken),
        close::REMOVED => Some(Problem::Removed),
        _ => None,
    }
}

/// The time between two looks at something that does not tell when it changes.
const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
