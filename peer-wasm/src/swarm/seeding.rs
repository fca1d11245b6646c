//! The first copies of a file: its only seed gives every block once before it gives any a second time.
//!
//! The seed's line bounds how fast a new file spreads, so nothing may cross it twice. Those that fetch cannot know what
//! the seed has just given to others, and would ask for a tenth of the blocks again. So the seed rejects a block that
//! it has given, as long as the asker still lacks others that it has not: the asker then takes it for a block that the
//! seed does not have, and gets it from those who do. (Super-seeding, BEP 16, reaches the same by hiding blocks; this
//! way costs no round trip per block.)
//!
//! A copy counts when somebody announces the block to whom the seed did not give it: only then was it passed on. Who
//! passes on is given more; who keeps what it gets holds back one block, and only for a while.

use super::{
    Swarm, Timer,
    announce::have_runs,
    neighbour::{Neighbour, Patience},
};
use crate::Instant;
use protocol::{Bitfield, Geometry, PeerId, PeerMessage, Span};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

/// The least time that a block which was given has to be announced by others: it must arrive, be announced, asked for, sent on,
/// and announced again. On slow lines it has as long as others took, or, until any did, as long as this peer's line takes for
/// so many: whoever got it sends to several at once.
const LEAST_PATIENCE: Duration = Duration::from_secs(4);
const BLOCKS_OF_PATIENCE: u64 = 16;
/// How often is looked for blocks that were not passed on.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The most blocks given to one peer that it has not passed on, however many it passed on before.
const MAX_TRUST: u32 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copy {
    /// Nobody else has it.
    None,
    /// Given to this peer, the last of it at this moment; so many of its segments were not given yet.
    Given { to: PeerId, at: Instant, left: u32 },
    /// Others have it from each other.
    Spread,
}

/// What one peer did with the blocks it was given.
#[derive(Debug, Clone)]
struct Account {
    /// What was sent to it: it need not announce that.
    sent: Bitfield,
    given: u32,
    /// Of these, blocks that were given in part.
    unfinished: u32,
    passed_on: u32,
    kept: u32,
}

/// What the seed of a new file gave to whom.
#[derive(Debug)]
pub(super) struct FirstCopies {
    geometry: Geometry,
    copies: Vec<Copy>,
    accounts: BTreeMap<PeerId, Account>,
    /// Those who were refused blocks, and take them for blocks that the seed does not have.
    refused: BTreeSet<PeerId>,
    not_given: u32,
    not_spread: u32,
    /// How long a block that was given may take to be announced by others.
    patience: Patience,
}

impl FirstCopies {
    pub(super) fn new(geometry: Geometry) -> Self {
        let blocks = geometry.blocks();
        Self {
            geometry,
            copies: vec![Copy::None; blocks as usize],
            accounts: BTreeMap::new(),
            refused: BTreeSet::new(),
            not_given: blocks,
            not_spread: blocks,
            patience: Patience::default(),
        }
    }

    /// Whether every block was given.
    pub(super) const fn all_given(&self) -> bool {
        self.not_given == 0
    }

    /// Whether every block was passed on: there is nothing left to be careful about.
    pub(super) const fn all_spread(&self) -> bool {
        self.not_spread == 0
    }

    /// Whether a request for this span is to be served: it has a block that nobody was given, or the rest of one that this
    /// peer was given in part, or there is no other such block that the peer lacks. A refusal is remembered.
    pub(super) fn may_give(&mut self, span: Span, to: PeerId, has: &Bitfield) -> bool {
        let may_give = self.is_first(span, to) || !self.has_other_for(to, has);
        if !may_give {
            self.refused.insert(to);
        }
        may_give
    }

    /// Whether this span has a block that nobody was given, or the rest of one that this peer was given in part.
    fn is_first(&self, span: Span, to: PeerId) -> bool {
        self.geometry.span_blocks(span).any(|index| match self.copies[index as usize] {
            Copy::None => true,
            Copy::Given { to: other, left, .. } => other == to && left > 0,
            Copy::Spread => false,
        })
    }

    /// Whether there is a block that nobody was given and that this peer lacks.
    fn has_other_for(&self, peer: PeerId, has: &Bitfield) -> bool {
        let sent = self.accounts.get(&peer).map(|account| &account.sent);
        let lacks = |index| !has.has(index) && sent.is_none_or(|sent| !sent.has(index));
        !self.all_given() && (0..).zip(&self.copies).any(|(index, copy)| *copy == Copy::None && lacks(index))
    }

    /// Whether the peer passed on enough of what it was given to get more.
    pub(super) fn trusts(&self, peer: PeerId) -> bool {
        self.accounts.get(&peer).is_none_or(|account| {
            account.given < (1 + 2 * account.passed_on).min(MAX_TRUST) && account.kept <= account.passed_on / 4
        })
    }

    /// How many blocks a peer that is not trusted was given and did not pass on; 0 for one that is.
    fn distrust(&self, peer: PeerId) -> u32 {
        let account = self.accounts.get(&peer).filter(|_| !self.trusts(peer));
        account.map_or(0, |account| account.given + account.kept)
    }

    /// Whether the peer was given a block in part.
    fn owes_rest_to(&self, peer: PeerId) -> bool {
        self.accounts.get(&peer).is_some_and(|account| account.unfinished > 0)
    }

    /// Notes a span that is being sent.
    pub(super) fn give(&mut self, span: Span, to: PeerId, now: Instant) {
        let blocks = self.copies.len() as u32;
        let new = || Account { sent: Bitfield::empty(blocks), given: 0, unfinished: 0, passed_on: 0, kept: 0 };
        let account = self.accounts.entry(to).or_insert_with(new);
        for index in self.geometry.span_blocks(span) {
            account.sent.set(index);
            let segments = self.geometry.block_segments(index);
            let given = segments.end.min(span.end()) - segments.start.max(span.index());
            let before = match self.copies[index as usize] {
                Copy::None => {
                    self.not_given -= 1;
                    account.given += 1;
                    account.unfinished += 1;
                    segments.len() as u32
                }
                Copy::Given { to: other, left, .. } if other == to && left > 0 => left,
                Copy::Given { .. } | Copy::Spread => continue,
            };
            let left = before.saturating_sub(given);
            account.unfinished -= u32::from(left == 0);
            self.copies[index as usize] = Copy::Given { to, at: now, left };
        }
    }

    /// Notes that a peer has a block.
    pub(super) fn announced(&mut self, index: u32, by: PeerId, now: Instant) {
        match self.copies[index as usize] {
            Copy::None => self.not_given -= 1,
            Copy::Given { to, at, left } if to != by => {
                self.patience.answered_after(now.since(at));
                if let Some(account) = self.accounts.get_mut(&to) {
                    account.given -= 1;
                    account.unfinished -= u32::from(left > 0);
                    account.passed_on += 1;
                }
            }
            Copy::Given { .. } | Copy::Spread => return,
        }
        self.copies[index as usize] = Copy::Spread;
        self.not_spread -= 1;
    }

    /// Takes back blocks that had spread and that no neighbour has any more; tells which.
    fn take_back_unseen(&mut self, is_unseen: impl Fn(u32) -> bool) -> Vec<u32> {
        let spread = (0..).zip(&mut self.copies).filter(|(index, copy)| **copy == Copy::Spread && is_unseen(*index));
        let unseen: Vec<_> = spread.map(|(index, copy)| (index, *copy = Copy::None).0).collect();
        self.not_given += unseen.len() as u32;
        self.not_spread += unseen.len() as u32;
        unseen
    }

    /// Takes back what was given to a peer that lost it, or too long ago; tells what.
    pub(super) fn take_back_lost(&mut self, loser: Option<PeerId>, rate: u64, now: Instant) -> Vec<u32> {
        let mut lost = Vec::new();
        let patience = if self.patience.is_founded() {
            self.patience.lasts()
        } else {
            let bytes = u64::from(self.geometry.block_size().bytes()) * BLOCKS_OF_PATIENCE;
            Duration::from_millis(bytes.saturating_mul(1_000).checked_div(rate).unwrap_or(0))
        };
        let patience = patience.max(LEAST_PATIENCE);
        for (copy, index) in self.copies.iter_mut().zip(0..) {
            if let Copy::Given { to, at, left } = *copy
                && (loser == Some(to) || now.since(at) > patience)
            {
                *copy = Copy::None;
                self.not_given += 1;
                if let Some(account) = self.accounts.get_mut(&to) {
                    account.given -= 1;
                    account.unfinished -= u32::from(left > 0);
                    account.kept += 1;
                }
                lost.push(index);
            }
        }
        lost
    }

    /// Forgets a peer that is gone.
    fn forget(&mut self, gone: PeerId) {
        self.accounts.remove(&gone);
        self.refused.remove(&gone);
    }
}

impl Swarm {
    /// Whether a request may be served as far as first copies are concerned.
    pub(super) fn may_give(&mut self, span: Span, to: PeerId) -> bool {
        // A line that is idle has nothing better to carry.
        if self.asking.is_empty() && self.is_line_idle() {
            return true;
        }
        let Some(copies) = &mut self.first_copies else { return true };
        self.neighbours.get(&to).is_some_and(|neighbour| copies.may_give(span, to, &neighbour.said.has))
    }

    /// Notes that a span is about to be sent.
    pub(super) fn give_first_copy(&mut self, span: Span, to: PeerId, now: Instant) {
        let Some(copies) = &mut self.first_copies else { return };
        copies.give(span, to, now);
        let all_given = copies.all_given();
        if !self.timers.is_set(Timer::FirstCopies) {
            self.timers.set(Timer::FirstCopies, now + LOOK_EVERY);
        }
        if all_given {
            self.offer_refused();
        }
        self.refuse_others(span, to);
    }

    /// Rejects what others asked of blocks that are given now: they get those from each other, and would wait here in vain.
    fn refuse_others(&mut self, given: Span, to: PeerId) {
        let geometry = *self.manifest.geometry();
        let file = self.tag();
        let blocks = geometry.span_blocks(given);
        let asking: Vec<_> = self.asking.keys().copied().filter(|peer| *peer != to).collect();
        for peer in asking {
            let (Some(copies), Some(neighbour)) = (&mut self.first_copies, self.neighbours.get_mut(&peer)) else {
                continue;
            };
            let is_given = |span: &Span| {
                let asked = geometry.span_blocks(*span);
                asked.start < blocks.end && blocks.start < asked.end && !copies.is_first(*span, peer)
            };
            let queue = &mut neighbour.served.queue;
            if !queue.iter().any(is_given) || !copies.has_other_for(peer, &neighbour.said.has) {
                continue;
            }
            let (refused, kept) = queue.iter().partition::<VecDeque<Span>, _>(|span| is_given(span));
            *queue = kept;
            copies.refused.insert(peer);
            self.note_queue(peer);
            for span in refused {
                self.send(peer, PeerMessage::Reject { file, index: span.index(), count: span.count() });
            }
        }
    }

    /// Takes back what was given and not passed on; ends the care for first copies when all were.
    pub(super) fn handle_first_copies(&mut self, now: Instant) {
        let rate = self.sent.per_second(now);
        let Some(copies) = &mut self.first_copies else { return };
        let lost = copies.take_back_lost(None, rate, now);
        let all_spread = copies.all_spread();
        self.offer_again(lost, now);
        self.offer_refused();
        if all_spread {
            self.first_copies = None;
        } else if self.neighbours.values().any(|neighbour| !neighbour.said.has.is_full()) {
            self.timers.set(Timer::FirstCopies, now + LOOK_EVERY);
        }
    }

    /// Takes back what was given to a peer that is gone.
    pub(super) fn give_up_copies_of(&mut self, peer: PeerId, now: Instant) {
        self.take_back_copies_of(peer, now);
        if let Some(copies) = &mut self.first_copies {
            copies.forget(peer);
        }
    }

    /// Takes back what was given to a peer and may be lost, or what only it had.
    pub(super) fn take_back_copies_of(&mut self, peer: PeerId, now: Instant) {
        let rate = self.sent.per_second(now);
        if let Some(copies) = &mut self.first_copies {
            let mut lost = copies.take_back_lost(Some(peer), rate, now);
            lost.extend(copies.take_back_unseen(|index| self.blocks.availability(index) == 0));
            self.offer_again(lost, now);
        }
    }

    /// Whether a peer passes on what it is given, as far as that matters.
    pub(super) fn is_trusted(&self, peer: PeerId) -> bool {
        self.first_copies.as_ref().is_none_or(|copies| copies.all_given() || copies.trusts(peer))
    }

    /// How little a peer is trusted to pass on what it is given, as far as that matters.
    pub(super) fn distrust(&self, peer: PeerId) -> u32 {
        let copies = self.first_copies.as_ref().filter(|copies| !copies.all_given());
        copies.map_or(0, |copies| copies.distrust(peer))
    }

    /// Whether a peer is to keep its place as far as first copies are concerned: what it was given is of no use until it is
    /// whole.
    pub(super) fn deserves_first_copies(&self, peer: PeerId) -> bool {
        self.is_trusted(peer) || self.first_copies.as_ref().is_some_and(|copies| copies.owes_rest_to(peer))
    }

    /// Announces blocks again to everyone who lacks them.
    fn offer_again(&mut self, indices: Vec<u32>, now: Instant) {
        if !indices.is_empty() {
            self.unannounced.extend(indices);
            self.announce_to_all(now);
        }
    }

    /// Announces to those who were refused, and to whom nothing else can be given, all that they lack.
    fn offer_refused(&mut self) {
        let Some(copies) = &mut self.first_copies else { return };
        let neighbours = &self.neighbours;
        // Whoever lost interest has all that it takes the seed to have, also if that is not known here.
        let left = |peer: &PeerId| {
            let neighbour = neighbours.get(peer);
            neighbour.is_some_and(|neighbour| {
                neighbour.said.is_interested && copies.has_other_for(*peer, &neighbour.said.has)
            })
        };
        let (still, ready) = copies.refused.iter().partition::<BTreeSet<_>, _>(|peer| left(peer));
        copies.refused = still;
        for peer in ready {
            let lacks =
                |neighbour: &Neighbour| self.stored().iter().filter(|index| !neighbour.said.has.has(*index)).collect();
            let runs = have_runs(self.neighbours.get(&peer).map(lacks).unwrap_or_default());
            self.tell_blocks(peer, Some(runs));
        }
    }
}

#[cfg(test)]
mod tests;
