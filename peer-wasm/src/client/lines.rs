//! Direct lines to other peers: when one is opened, what goes over it, and what becomes of it.
//!
//! Everything begins on the relay. Once data flows between two peers that the tracker calls near, one of them offers a line,
//! and the other one dials. Where it is open, each side says `moved` through the tracker, and all that it says next goes by
//! the line, but for manifests. The other side hears the words of the line only after that `moved`, so that between two peers
//! nothing is lost, doubled or changes its order; only blocks may come either way at any time.
//!
//! When a line breaks, what was said last may be lost: both begin anew on the relay, as after an introduction.

use super::{Client, Output, StoreId, seconds};
use crate::Instant;
use bytes::Bytes;
use protocol::{
    FileId, Kind, LineKind, ParseError, PeerId, PeerInfo, PeerMessage, SignalStep, decode_direct_binary,
    decode_direct_text,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};
use tracing::{debug, info};

/// How many lines may be opening at a time: each costs both sides some handshakes.
const MOST_OPENING: usize = 8;
/// How many lines there may be, which is more than a swarm serves at a time.
const MOST_LINES: usize = 40;
/// How long opening may take.
const OPENING: Duration = seconds(10);
/// How long to wait after a line broke, or could not be opened from either side, and how often it is tried from each: what
/// keeps it from being opened mostly stays.
const TRY_AGAIN: Duration = seconds(60);
const MOST_TRIES: u32 = 3 * 2;
/// How long a line is kept over which nothing has to be said.
const KEEP: Duration = seconds(60);
/// The most peers of whom is remembered that they are near.
const MAX_CONTACTS: usize = 512;
/// Bytes that may come by a line before the other side's last word through the tracker.
const MAX_HELD: usize = 1 << 20;

/// Names one direct line of this peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LineId(u32);

impl LineId {
    /// An id for tests of shells.
    #[doc(hidden)]
    pub const fn for_test(number: u32) -> Self {
        Self(number)
    }
}

/// The direct lines of a client, and those to whom it could have some.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The kinds that the shell can have.
    kinds: BTreeSet<LineKind>,
    last: u32,
    contacts: BTreeMap<PeerId, Contact>,
    /// To whom the lines lead that are open or opening.
    peers: BTreeMap<LineId, PeerId>,
    /// When something is to be done.
    look_at: Option<Instant>,
    /// Bytes of blocks, and of which storage, that broken lines did not carry.
    lost: Vec<(StoreId, u64)>,
    /// Peers to whom a line is of no use, or who did what they may not.
    to_close: BTreeSet<PeerId>,
}

/// A peer that is near.
#[derive(Debug)]
struct Contact {
    /// The files in whose swarms the two know each other.
    files: BTreeSet<FileId>,
    /// The best kind of line that both can have.
    kind: LineKind,
    /// Whether it is this peer's turn to offer a line: who asked the tracker for the other one begins.
    offers: bool,
    /// Data went from one to the other.
    has_data: bool,
    tries: u32,
    /// When a line may be tried; by the side whose turn it is not, a while later.
    try_at: Instant,
    /// When something was said by a line, or the last common file was left.
    used: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed,
    Opening {
        line: Naming,
        give_up: Instant,
        /// The other side has it open.
        is_theirs: bool,
    },
    Open {
        line: Naming,
        /// When the other side's last word through the tracker has to be there; none once it is. Until then, what comes by the
        /// line waits.
        moves_by: Option<Instant>,
        held: VecDeque<PeerMessage>,
        held_bytes: usize,
        /// A block came by it.
        has_delivered: bool,
        /// Bytes of blocks that the shell has, and of which storage.
        sending: BTreeMap<StoreId, u64>,
    },
}

/// What both sides call a line.
#[derive(Debug, Clone, Copy)]
struct Naming {
    id: LineId,
    /// The number under which it was offered.
    number: u32,
    /// Whether this side offered it.
    is_own: bool,
}

impl Contact {
    const fn line(&self) -> Option<Naming> {
        match self.state {
            State::Closed => None,
            State::Opening { line, .. } | State::Open { line, .. } => Some(line),
        }
    }

    /// Whether the other side says nothing through the tracker any more, as far as is known.
    const fn is_moved(&self) -> bool {
        matches!(self.state, State::Open { moves_by: None, .. } | State::Opening { is_theirs: true, .. })
    }

    /// When this peer may offer a line, if it is to do so. Whose turn it is not waits for the other, and not for ever.
    fn offer_at(&self) -> Option<Instant> {
        let is_to = self.has_data && !self.files.is_empty() && self.tries < MOST_TRIES;
        let at = if self.offers { self.try_at } else { self.try_at + TRY_AGAIN };
        (is_to && matches!(self.state, State::Closed)).then_some(at)
    }

    /// When what is opening takes too long, or nothing was said for so long that the line, or the peer, is not needed.
    fn ends_at(&self) -> Option<Instant> {
        match self.state {
            State::Opening { give_up, .. } => Some(give_up),
            State::Open { moves_by, .. } => Some(moves_by.unwrap_or(self.used + KEEP)),
            State::Closed => self.files.is_empty().then_some(self.used + KEEP),
        }
    }
}

impl Lines {
    pub(super) fn new(kinds: BTreeSet<LineKind>) -> Self {
        Self { kinds, ..Self::default() }
    }

    /// Tells whether they are others than before.
    pub(super) fn set_kinds(&mut self, kinds: BTreeSet<LineKind>) -> bool {
        std::mem::replace(&mut self.kinds, kinds) != self.kinds
    }

    pub(super) const fn kinds(&self) -> &BTreeSet<LineKind> {
        &self.kinds
    }

    /// The tracker introduced a peer in the swarm of a file.
    pub(super) fn introduced(&mut self, file: FileId, peer: &PeerInfo, was_asked_for: bool, now: Instant) {
        let has_room = self.contacts.len() < MAX_CONTACTS || self.contacts.contains_key(&peer.id);
        // They are in the order of what a byte costs.
        let Some(&kind) = self.kinds.intersection(&peer.direct).next().filter(|_| has_room) else { return };
        let contact = || Contact {
            files: BTreeSet::new(),
            kind,
            offers: was_asked_for,
            has_data: false,
            tries: 0,
            try_at: now,
            used: now,
            state: State::Closed,
        };
        self.contacts.entry(peer.id).or_insert_with(contact).files.insert(file);
    }

    /// A peer is not to be talked with any more.
    pub(super) fn dropped(&mut self, peer: PeerId) {
        if let Some(contact) = self.contacts.get_mut(&peer) {
            contact.tries = MOST_TRIES;
            self.to_close.insert(peer);
            self.look_at = Some(Instant::default());
        }
    }

    /// Whether there is an open line to a peer.
    pub(super) fn is_open(&self, peer: PeerId) -> bool {
        self.contacts.get(&peer).is_some_and(|contact| matches!(contact.state, State::Open { .. }))
    }

    /// The line by which to say something to a peer, if there is one. Notes data for which one would be of use.
    pub(super) fn route(&mut self, to: PeerId, data: Option<(StoreId, u64)>, now: Instant) -> Option<LineId> {
        let contact = self.contacts.get_mut(&to)?;
        contact.used = now;
        if data.is_some() && !contact.has_data {
            contact.has_data = true;
            self.look_at = Some(Instant::default());
        }
        let State::Open { line, sending, .. } = &mut contact.state else { return None };
        if let Some((store, bytes)) = data {
            *sending.entry(store).or_default() += bytes;
        }
        Some(line.id)
    }

    /// Bytes of a block left the shell by a line; tells whether they were counted.
    pub(super) fn sent(&mut self, line: LineId, store: StoreId, bytes: u64) -> bool {
        let Some((_, contact)) = self.of(line) else { return false };
        let State::Open { sending, .. } = &mut contact.state else { return false };
        let Some(left) = sending.get_mut(&store) else { return false };
        *left = left.saturating_sub(bytes);
        true
    }

    /// A peer was asked for blocks and is silent. A line by which none ever came may be one that loses what is large.
    pub(super) fn found_silent(&mut self, peer: PeerId) {
        if let Some(contact) = self.contacts.get_mut(&peer)
            && matches!(contact.state, State::Open { moves_by: None, has_delivered: false, .. })
            && self.to_close.insert(peer)
        {
            // It is no better from the other side.
            contact.tries += 2;
            self.look_at = Some(Instant::default());
        }
    }

    /// When something is to be done if nothing happens before.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.look_at
    }

    /// When there will be something to do, as far as it is known.
    fn next_look(&self) -> Option<Instant> {
        let has_room = self.has_room();
        let offers = self.contacts.values().filter_map(Contact::offer_at).filter(|_| has_room);
        self.contacts.values().filter_map(Contact::ends_at).chain(offers).min()
    }

    fn of(&mut self, line: LineId) -> Option<(PeerId, &mut Contact)> {
        let peer = *self.peers.get(&line)?;
        Some((peer, self.contacts.get_mut(&peer)?))
    }

    fn opening(&self) -> usize {
        self.contacts.values().filter(|contact| matches!(contact.state, State::Opening { .. })).count()
    }

    fn has_room(&self) -> bool {
        self.opening() < MOST_OPENING && self.peers.len() < MOST_LINES
    }

    /// Begins to open a line to a peer; `offered` is its number, if the peer offers it.
    fn begin(&mut self, own: Option<PeerId>, peer: PeerId, offered: Option<u32>, now: Instant) -> Option<LineId> {
        let contact = self.contacts.get_mut(&peer)?;
        self.last = self.last.wrapping_add(1);
        let id = LineId(self.last);
        // Both count from one, so one takes the even numbers and the other the odd ones.
        let own_number = id.0.wrapping_mul(2).wrapping_add(u32::from(own > Some(peer)));
        let line = Naming { id, number: offered.unwrap_or(own_number), is_own: offered.is_none() };
        contact.state = State::Opening { line, give_up: now + OPENING, is_theirs: false };
        self.peers.insert(id, peer);
        self.look_at = Some(now);
        Some(id)
    }
}

impl Client {
    /// The shell made itself ready for the line that [`Output::Offer`] asked for; whoever has `offer` can open it.
    pub fn handle_reachable(&mut self, line: LineId, offer: String, now: Instant) {
        if let Some((peer, contact)) = self.lines.of(line)
            && let Some(Naming { number, is_own: true, .. }) = contact.line()
        {
            self.signal(peer, number, SignalStep::Offer, offer);
        }
        self.settle(now);
    }

    /// The shell has something to say to the other peer's shell of a line that it opens: an answer, or a candidate.
    pub fn handle_signal(&mut self, line: LineId, step: SignalStep, data: String, now: Instant) {
        if let Some((peer, contact)) = self.lines.of(line)
            && let Some(Naming { number, .. }) = contact.line()
        {
            self.signal(peer, number, step, data);
        }
        self.settle(now);
    }

    /// A line is open that [`Output::Offer`] or [`Output::Dial`] asked for.
    pub fn handle_line_opened(&mut self, id: LineId, now: Instant) {
        match self.lines.of(id) {
            Some((peer, contact)) if matches!(contact.state, State::Opening { .. }) => {
                let State::Opening { line, is_theirs, .. } = contact.state else { return };
                let (held, sending) = (VecDeque::new(), BTreeMap::new());
                let moves_by = (!is_theirs).then_some(now + OPENING);
                contact.state = State::Open { line, moves_by, held, held_bytes: 0, has_delivered: false, sending };
                contact.used = now;
                self.lines.look_at = Some(now);
                info!(%peer, "a direct line is open");
                self.signal(peer, line.number, SignalStep::Moved, String::new());
            }
            Some(_) => {}
            None => self.outputs.push_back(Output::HangUp { line: id }),
        }
        self.settle(now);
    }

    /// A text frame came by a line.
    pub fn handle_line_text(&mut self, line: LineId, text: &str, now: Instant) {
        self.handle_line_frame(line, text.len(), decode_direct_text(text), now);
    }

    /// A binary frame came by a line.
    pub fn handle_line_binary(&mut self, line: LineId, frame: &Bytes, now: Instant) {
        self.handle_line_frame(line, frame.len(), decode_direct_binary(frame), now);
    }

    /// A line is closed, or could not be opened.
    pub fn handle_line_closed(&mut self, line: LineId, now: Instant) {
        if let Some((peer, contact)) = self.lines.of(line) {
            if let State::Opening { line, .. } = contact.state {
                // The other side waits.
                self.signal(peer, line.number, SignalStep::Over, String::new());
            }
            self.end_line(peer, now);
        }
        self.settle(now);
    }

    fn handle_line_frame(&mut self, id: LineId, len: usize, message: Result<PeerMessage, ParseError>, now: Instant) {
        let Some((peer, contact)) = self.lines.of(id) else { return };
        contact.used = now;
        let State::Open { moves_by, held, held_bytes, has_delivered, .. } = &mut contact.state else { return };
        *has_delivered |= matches!(message, Ok(PeerMessage::Block { .. }));
        match message {
            // Of lines and of manifests the two speak through the tracker.
            Ok(
                PeerMessage::Signal { .. }
                | PeerMessage::GetManifest { .. }
                | PeerMessage::Manifest { .. }
                | PeerMessage::NoManifest { .. },
            ) => {}
            Ok(message @ PeerMessage::Block { .. }) => self.hear(peer, message, true, now),
            Ok(message) if moves_by.is_none() => self.hear(peer, message, true, now),
            Ok(message) if *held_bytes + len <= MAX_HELD => {
                *held_bytes += len;
                held.push_back(message);
            }
            Ok(_) => self.close_line(peer, now),
            Err(error) => {
                debug!(%peer, %error, "not understood by the direct line");
                contact.tries = MOST_TRIES;
                self.close_line(peer, now);
            }
        }
    }

    /// Looks at what a peer says through the tracker.
    pub(super) fn heard_through_tracker(&mut self, from: PeerId, kind: Kind, now: Instant) {
        let Some(contact) = self.lines.contacts.get_mut(&from) else { return };
        match kind {
            // An answer may come from before, or be the tracker's.
            Kind::Block if !contact.has_data => {
                contact.has_data = true;
                self.lines.look_at = Some(now);
            }
            Kind::Block => {}
            Kind::Reject | Kind::GetManifest | Kind::Manifest | Kind::NoManifest | Kind::Signal => {}
            Kind::Bitfield
            | Kind::Have
            | Kind::Interested
            | Kind::NotInterested
            | Kind::Choke
            | Kind::Unchoke
            | Kind::Request
            | Kind::Cancel => {
                if contact.is_moved() {
                    // It found that the line is broken, and begins anew; so does this peer, for every file.
                    self.hang_up(from, now);
                }
            }
        }
    }

    /// A peer speaks of a line.
    pub(super) fn hear_signal(&mut self, from: PeerId, number: u32, step: SignalStep, data: String, now: Instant) {
        match step {
            SignalStep::Offer => self.handle_offer(from, number, data, now),
            SignalStep::Answer | SignalStep::Candidate => {
                let line = self.lines.contacts.get(&from).and_then(Contact::line);
                if let Some(line) = line.filter(|line| line.number == number) {
                    self.outputs.push_back(Output::Signal { line: line.id, step, data });
                }
            }
            SignalStep::Moved => self.handle_moved(from, number, now),
            SignalStep::Over => {
                let line = self.lines.contacts.get(&from).and_then(Contact::line);
                if line.is_some_and(|line| line.number == number) {
                    self.hang_up(from, now);
                }
            }
            SignalStep::Other => {}
        }
    }

    fn handle_offer(&mut self, from: PeerId, number: u32, offer: String, now: Instant) {
        let own = self.own_id();
        let Some(contact) = self.lines.contacts.get(&from) else { return };
        match contact.state {
            // Both offer one: that of the smaller id counts.
            State::Opening { line, .. } if line.is_own && own < Some(from) => return,
            // It begins anew and has not said so yet.
            State::Opening { .. } | State::Open { .. } => self.hang_up(from, now),
            State::Closed => {}
        }
        // The other side may have noticed a little sooner that the last one was over.
        let may_dial = |contact: &Contact| contact.try_at <= now + OPENING && contact.tries < MOST_TRIES;
        let is_welcome = self.lines.contacts.get(&from).is_some_and(may_dial) && self.lines.has_room();
        let line = if is_welcome { self.lines.begin(own, from, Some(number), now) } else { None };
        match line {
            Some(line) => self.outputs.push_back(Output::Dial { line, offer }),
            None => self.signal(from, number, SignalStep::Over, String::new()),
        }
    }

    fn handle_moved(&mut self, from: PeerId, number: u32, now: Instant) {
        let Some(contact) = self.lines.contacts.get_mut(&from) else { return };
        if contact.line().is_none_or(|line| line.number != number) {
            return;
        }
        match &mut contact.state {
            State::Opening { is_theirs, .. } => *is_theirs = true,
            State::Open { moves_by, held, .. } => {
                *moves_by = None;
                for message in std::mem::take(held) {
                    self.hear(from, message, true, now);
                }
            }
            State::Closed => {}
        }
    }

    /// Offers lines to those who are near and exchange data, and ends what takes too long or is not needed.
    pub(super) fn look_at_lines(&mut self, now: Instant) {
        if self.lines.look_at.is_none_or(|at| at > now) {
            return;
        }
        // Only now that nothing more is read for what was asked by those lines.
        for (store, bytes) in std::mem::take(&mut self.lines.lost) {
            self.with_store(store, now, |transfer| transfer.handle_sent(bytes, now));
        }
        for peer in std::mem::take(&mut self.lines.to_close) {
            self.close_line(peer, now);
        }
        let is_late = |contact: &Contact| contact.ends_at().is_some_and(|at| at <= now);
        let late = self.lines.contacts.iter().filter(|(_, contact)| is_late(contact));
        for peer in late.map(|(peer, _)| *peer).collect::<Vec<_>>() {
            self.close_line(peer, now);
        }
        self.lines.contacts.retain(|_, contact| !is_late(contact));
        let own = self.own_id();
        while self.lines.has_room() {
            let is_due = |contact: &Contact| contact.offer_at().is_some_and(|at| at <= now);
            let due = self.lines.contacts.iter().find(|(_, contact)| is_due(contact));
            let Some((peer, kind)) = due.map(|(peer, contact)| (*peer, contact.kind)) else { break };
            let Some(line) = self.lines.begin(own, peer, None, now) else { break };
            self.outputs.push_back(Output::Offer { line, kind });
        }
        self.lines.look_at = self.lines.next_look();
    }

    /// The line to the tracker is lost, and with it everything that began there.
    pub(super) fn drop_lines(&mut self) {
        self.lines.contacts.clear();
        self.lines.look_at = None;
        let lines = std::mem::take(&mut self.lines.peers);
        self.outputs.extend(lines.into_keys().map(|line| Output::HangUp { line }));
    }

    /// Ends a line and says so.
    pub(super) fn close_line(&mut self, peer: PeerId, now: Instant) {
        let Some(line) = self.lines.contacts.get(&peer).and_then(Contact::line) else { return };
        self.outputs.push_back(Output::HangUp { line: line.id });
        self.signal(peer, line.number, SignalStep::Over, String::new());
        self.end_line(peer, now);
    }

    /// Ends a line of which the other side knows already that it is over.
    fn hang_up(&mut self, peer: PeerId, now: Instant) {
        if let Some(line) = self.lines.contacts.get(&peer).and_then(Contact::line) {
            self.outputs.push_back(Output::HangUp { line: line.id });
            self.end_line(peer, now);
        }
    }

    /// A line is over: what was said by it last may be lost, of whatever file.
    fn end_line(&mut self, peer: PeerId, now: Instant) {
        if self.forget_line(peer, now) {
            let files = self.lines.contacts.get(&peer).map(|contact| contact.files.clone()).unwrap_or_default();
            for file in files {
                if let Some(transfer) = self.transfers.get_mut(&file) {
                    transfer.with_swarm(now, |swarm| swarm.handle_cut_off(peer, now));
                }
            }
        }
    }

    /// Forgets a line; tells whether it was open. Whoever could not dial may be reached itself, so the other side is to try next.
    fn forget_line(&mut self, peer: PeerId, now: Instant) -> bool {
        let Some(contact) = self.lines.contacts.get_mut(&peer) else { return false };
        let Some(line) = contact.line() else { return false };
        let state = std::mem::replace(&mut contact.state, State::Closed);
        let sending = if let State::Open { sending, .. } = state { Some(sending) } else { None };
        let was_open = sending.is_some();
        if was_open {
            contact.offers = line.is_own;
            // If nothing more is exchanged, none is needed.
            contact.has_data = false;
        } else {
            contact.offers = !line.is_own;
            contact.tries += 1;
        }
        let was_tried_from_one_side = contact.tries % 2 == 1 && !was_open;
        contact.try_at = if was_tried_from_one_side { now } else { now + TRY_AGAIN };
        info!(%peer, was_open, "no direct line any longer");
        self.lines.peers.remove(&line.id);
        self.lines.look_at = Some(now);
        self.lines.lost.extend(sending.into_iter().flatten());
        was_open
    }

    /// A peer left the swarm of a file. By the line words of it may be on their way that would come too late, so it ends.
    pub(super) fn left_by(&mut self, peer: PeerId, file: FileId, now: Instant) {
        if self.lines.contacts.get_mut(&peer).is_some_and(|contact| contact.files.remove(&file)) {
            self.close_line(peer, now);
            self.note_left(peer, now);
        }
    }

    /// This peer leaves the swarm of a file: so do the lines to those who are in it.
    pub(super) fn leave_with_lines(&mut self, file: FileId, now: Instant) {
        let shares = |(_, contact): &(&PeerId, &Contact)| contact.files.contains(&file);
        let peers: Vec<_> = self.lines.contacts.iter().filter(shares).map(|(peer, _)| *peer).collect();
        for peer in peers {
            self.close_line(peer, now);
            if let Some(contact) = self.lines.contacts.get_mut(&peer) {
                contact.files.remove(&file);
            }
            self.note_left(peer, now);
        }
    }

    fn note_left(&mut self, peer: PeerId, now: Instant) {
        if let Some(contact) = self.lines.contacts.get_mut(&peer) {
            contact.used = now;
            // Nothing was wrong with the line, and they may have other files in common.
            contact.try_at = contact.try_at.min(now + OPENING);
            self.lines.look_at = Some(now);
        }
    }

    fn own_id(&self) -> Option<PeerId> {
        self.identity.as_ref().map(|identity| identity.id)
    }

    fn signal(&mut self, to: PeerId, line: u32, step: SignalStep, data: String) {
        let file = self.lines.contacts.get(&to).and_then(|contact| contact.files.first());
        if let Some(file) = file.map(FileId::tag) {
            self.say_through_tracker(to, PeerMessage::Signal { file, line, step, data });
        }
    }
}
