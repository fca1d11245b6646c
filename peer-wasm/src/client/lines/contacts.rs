//! To whom this peer could have direct lines, and how those stand that it has.

use super::{KEEP, MAX_CONTACTS, MOST_LINES, MOST_OFFERED, MOST_OPENING, MOST_TRIES, OPENING, TRY_AGAIN};
use crate::Instant;
use protocol::{FileId, LineKind, PeerId, PeerInfo, PeerMessage};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

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
pub(in crate::client) struct Lines {
    /// The kinds that the shell can have.
    kinds: BTreeSet<LineKind>,
    last: u32,
    pub(super) contacts: BTreeMap<PeerId, Contact>,
    /// To whom the lines lead that are open or opening.
    pub(super) peers: BTreeMap<LineId, PeerId>,
    /// When something is to be done.
    pub(super) look_at: Option<Instant>,
    /// Files whose swarms were told of lines.
    pub(in crate::client) touched: BTreeSet<FileId>,
    /// Peers to whom a line is of no use, or who did what they may not.
    pub(super) to_close: BTreeSet<PeerId>,
}

/// A peer that is near.
#[derive(Debug)]
pub(super) struct Contact {
    /// The files in whose swarms the two know each other.
    pub(super) files: BTreeSet<FileId>,
    /// The best kind of line that both can have.
    pub(super) kind: LineKind,
    /// Whether it is this peer's turn to offer a line: who asked the tracker for the other one begins.
    pub(super) offers: bool,
    /// Data went from one to the other.
    pub(super) has_data: bool,
    pub(super) wait: Wait,
    pub(super) tries: u32,
    /// When a line may be tried; by the side whose turn it is not, a while later.
    pub(super) try_at: Instant,
    /// When something was said by a line, or the last common file was left.
    pub(super) used: Instant,
    pub(super) state: State,
}

/// Whether little is asked of a peer through the tracker, because there will be a line to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    NotYet,
    Until(Instant),
    Over,
}

#[derive(Debug)]
pub(super) enum State {
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
        /// Since when the two say everything by it.
        usable: Instant,
        /// Words of files in whose swarms the tracker has not introduced the two yet.
        early: Vec<PeerMessage>,
    },
}

/// What both sides call a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Naming {
    pub(super) id: LineId,
    /// The number under which it was offered.
    pub(super) number: u32,
    /// Whether this side offered it.
    pub(super) is_own: bool,
}

impl Contact {
    pub(super) const fn line(&self) -> Option<Naming> {
        match self.state {
            State::Closed => None,
            State::Opening { line, .. } | State::Open { line, .. } => Some(line),
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Whether the other side says nothing through the tracker any more, as far as is known.
    pub(super) const fn is_moved(&self) -> bool {
        matches!(self.state, State::Open { moves_by: None, .. } | State::Opening { is_theirs: true, .. })
    }

    /// When this peer may offer a line, if it is to do so. Whose turn it is not waits for the other, and not for ever.
    pub(super) fn offer_at(&self) -> Option<Instant> {
        let is_to = self.has_data && !self.files.is_empty() && self.tries < MOST_TRIES;
        let at = if self.offers { self.try_at } else { self.try_at + TRY_AGAIN };
        (is_to && matches!(self.state, State::Closed)).then_some(at)
    }

    /// When the wait for the line ends, or is to begin.
    pub(super) fn wait_changes_at(&self) -> Option<Instant> {
        match self.wait {
            Wait::NotYet => self.has_data.then_some(self.used),
            Wait::Until(at) => Some(at),
            Wait::Over => None,
        }
    }

    /// When what is opening takes too long, or nothing was said for so long that the line, or the peer, is not needed.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        match self.state {
            State::Opening { give_up, .. } => Some(give_up),
            State::Open { moves_by, .. } => Some(moves_by.unwrap_or(self.used + KEEP)),
            State::Closed => self.files.is_empty().then_some(self.used + KEEP),
        }
    }
}

impl Lines {
    pub(in crate::client) fn new(kinds: BTreeSet<LineKind>) -> Self {
        Self { kinds, ..Self::default() }
    }

    /// Tells whether they are others than before.
    pub(in crate::client) fn set_kinds(&mut self, kinds: BTreeSet<LineKind>) -> bool {
        std::mem::replace(&mut self.kinds, kinds) != self.kinds
    }

    pub(in crate::client) const fn kinds(&self) -> &BTreeSet<LineKind> {
        &self.kinds
    }

    /// The tracker introduced a peer in the swarm of a file.
    pub(in crate::client) fn introduced(&mut self, file: FileId, peer: &PeerInfo, was_asked_for: bool, now: Instant) {
        let has_room = self.contacts.len() < MAX_CONTACTS || self.contacts.contains_key(&peer.id);
        // They are in the order of what a byte costs.
        let Some(&kind) = self.kinds.intersection(&peer.direct).next().filter(|_| has_room) else { return };
        let contact = || Contact {
            files: BTreeSet::new(),
            kind,
            offers: was_asked_for,
            has_data: false,
            wait: Wait::NotYet,
            tries: 0,
            try_at: now,
            used: now,
            state: State::Closed,
        };
        self.contacts.entry(peer.id).or_insert_with(contact).files.insert(file);
    }

    /// A peer is not to be talked with any more.
    pub(in crate::client) fn dropped(&mut self, peer: PeerId) {
        if let Some(contact) = self.contacts.get_mut(&peer) {
            contact.tries = MOST_TRIES;
            self.to_close.insert(peer);
            self.look_at = Some(Instant::default());
        }
    }

    /// Whether there is an open line to a peer.
    pub(in crate::client) fn is_open(&self, peer: PeerId) -> bool {
        self.contacts.get(&peer).is_some_and(Contact::is_open)
    }

    /// The line by which to say something to a peer, if there is one. Notes data for which one would be of use.
    pub(in crate::client) fn route(&mut self, to: PeerId, file: FileId, is_data: bool, now: Instant) -> Option<LineId> {
        let contact = self.contacts.get_mut(&to).filter(|contact| contact.files.contains(&file))?;
        contact.used = now;
        if is_data && !contact.has_data {
            contact.has_data = true;
            self.look_at = Some(Instant::default());
        }
        if let State::Open { line, .. } = contact.state { Some(line.id) } else { None }
    }

    /// To whom a line leads that is open or opening.
    pub(in crate::client) fn peer(&self, line: LineId) -> Option<PeerId> {
        self.peers.get(&line).copied()
    }

    /// Takes what a peer said by its line of a file in whose swarm the tracker introduces it only now.
    pub(in crate::client) fn take_early(&mut self, peer: PeerId, file: FileId) -> Vec<PeerMessage> {
        match self.contacts.get_mut(&peer).map(|contact| &mut contact.state) {
            Some(State::Open { early, .. }) => early.extract_if(.., |word| word.tag() == file.tag()).collect(),
            Some(State::Closed | State::Opening { .. }) | None => Vec::new(),
        }
    }

    /// A peer that was asked for blocks is silent since then. A line by which none ever came, although there was time, may be one
    /// that loses what is large.
    pub(in crate::client) fn found_silent(&mut self, peer: PeerId, since: Instant, now: Instant) {
        if let Some(contact) = self.contacts.get_mut(&peer)
            && let State::Open { moves_by: None, has_delivered: false, usable, .. } = contact.state
            && since > usable
            && now >= usable + OPENING
            && self.to_close.insert(peer)
        {
            // It is no better from the other side.
            contact.tries += 2;
            self.look_at = Some(Instant::default());
        }
    }

    /// When something is to be done if nothing happens before.
    pub(in crate::client) const fn deadline(&self) -> Option<Instant> {
        self.look_at
    }

    /// When there will be something to do, as far as it is known.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let may_offer = self.may_offer();
        let offers = self.contacts.values().filter_map(Contact::offer_at).filter(|_| may_offer);
        let waits = self.contacts.values().filter_map(Contact::wait_changes_at);
        self.contacts.values().filter_map(Contact::ends_at).chain(offers).chain(waits).min()
    }

    pub(super) fn of(&mut self, line: LineId) -> Option<(PeerId, &mut Contact)> {
        let peer = *self.peers.get(&line)?;
        Some((peer, self.contacts.get_mut(&peer)?))
    }

    /// Whether another line may be offered.
    pub(super) fn may_offer(&self) -> bool {
        self.has_room() && self.opening().filter(|line| line.is_own).count() < MOST_OFFERED
    }

    /// Whether there may be another line.
    pub(super) fn has_room(&self) -> bool {
        self.opening().count() < MOST_OPENING && self.peers.len() < MOST_LINES
    }

    fn opening(&self) -> impl Iterator<Item = Naming> {
        let opening =
            |contact: &Contact| if let State::Opening { line, .. } = contact.state { Some(line) } else { None };
        self.contacts.values().filter_map(opening)
    }

    /// Begins to open a line to a peer; `offered` is its number, if the peer offers it.
    pub(super) fn begin(
        &mut self,
        own: Option<PeerId>,
        peer: PeerId,
        offered: Option<u32>,
        now: Instant,
    ) -> Option<LineId> {
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
