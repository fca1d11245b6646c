//! When places are given and taken, and what the choice depends on.

use super::{
    PeerStrategy, Swarm, Timer,
    choker::{Candidate, MAX_EXTRA, Turn},
    neighbour::Neighbour,
};
use crate::Instant;
use protocol::{PeerId, PeerMessage, Span};
use std::{collections::VecDeque, time::Duration};

/// How long so few may ask that the line becomes idle, before one more is served: this part of a round trip, and no longer
/// than that.
const IDLE_PART: u32 = 3;
const MAX_IDLE: Duration = Duration::from_millis(20);
/// Requests that wait at a seed of first copies before one more is served.
const FIRST_COPIES_RESERVE: usize = 4;
/// Bytes, or one block if that is more, that a neighbour may have before it is expected to give.
const TRUST: u64 = 64 << 10;
/// Bytes that it may have for each byte it gave.
const RECIPROCITY: u64 = 4;
/// A turn is over, also of who did not get a block, when each of those who are served could have had so many.
const BLOCKS_OF_TURN: u64 = 2;
/// Bytes per second that it may have for nothing, so that nobody is shut out for ever.
const CHARITY: u64 = 1 << 10;
/// The score of a neighbour that gave as much as it got.
const EVEN: u64 = 1 << 48;

impl Swarm {
    pub(super) fn handle_interest(&mut self, from: PeerId, interested: bool, now: Instant) {
        let Some(neighbour) = self.neighbours.get_mut(&from) else { return };
        neighbour.said.is_interested = interested;
        if interested {
            neighbour.served.wants_anew();
        }
        if interested && !self.timers.is_set(Timer::ChokeRound) {
            self.timers.set(Timer::ChokeRound, now + self.config.choke_round);
        }
        if !interested {
            return self.pass_place_on(from, now);
        }
        if self.choker.serves(from) {
            return;
        }
        let wants_nothing =
            |peer| self.neighbours.get(&peer).is_some_and(|neighbour| !neighbour.said.wants(self.stored()));
        if self.choker.has_room(&self.config) || self.choker.served().any(wants_nothing) {
            self.fill_slots(now);
        }
        self.serve_newcomer(from, now);
        if !self.choker.serves(from) {
            self.watch_line(now);
        }
    }

    /// New blocks are here: whoever wants one gets a place that is free, or that nobody uses.
    pub(super) fn offer_new_blocks(&mut self, now: Instant) {
        let wants = |peer| self.neighbours.get(&peer).is_some_and(|other| other.said.wants(self.stored()));
        let is_free = self.choker.has_room(&self.config) || self.choker.served().any(|peer| !wants(peer));
        if is_free && self.neighbours.keys().any(|peer| !self.choker.serves(*peer) && wants(*peer)) {
            self.fill_slots(now);
        }
    }

    /// Gives the place of a neighbour that wants nothing any more to whoever waits for one.
    pub(super) fn pass_place_on(&mut self, from: PeerId, now: Instant) {
        let is_told = |neighbour: &Neighbour| neighbour.told.served == Some(true);
        let wants_nothing = |neighbour: &Neighbour| !neighbour.said.wants(self.stored());
        let passes_on = |neighbour: &Neighbour| is_told(neighbour) && wants_nothing(neighbour);
        if self.neighbours.get(&from).is_some_and(passes_on) && self.choker.serves(from) {
            self.fill_slots(now);
        }
    }

    /// Whoever is new in the swarm need not wait for a place: it is served beyond them until the next round. Who is there for
    /// longer than a trial lasts found others, and if it comes to everybody for a gift, it gives nothing.
    pub(super) fn serve_newcomer(&mut self, peer: PeerId, now: Instant) {
        let trial = self.config.choke_round * self.config.optimistic_rounds;
        let is_new = |neighbour: &Neighbour| neighbour.served.total() == 0 && neighbour.age(now) < trial;
        if self.neighbours.get(&peer).is_some_and(is_new) && self.choker.welcome(peer, &self.config) {
            self.apply_choker();
        }
    }

    pub(super) fn choke_round(&mut self, now: Instant) {
        self.neighbours.values_mut().for_each(|neighbour| neighbour.served.end_round());
        if self.neighbours.values().any(|neighbour| neighbour.said.lacks_blocks()) {
            self.timers.set(Timer::ChokeRound, now + self.config.choke_round);
        }
        let candidates = self.candidates(now);
        // First copies go to as many as there are, or all others would wait for what a few were given. Who has everything serves
        // as many as its line needs, and who fetches wants others to give as well.
        let keeps_extra = self.first_copies.is_some() || (self.is_complete() && self.choker.was_idle());
        self.choker.round(candidates, keeps_extra, &self.config, &mut self.rng);
        self.remind_of_places();
        self.apply_choker();
        for (peer, neighbour) in &mut self.neighbours {
            // Who finds nothing here that it lacks cannot use its place.
            let wants = neighbour.said.wants(self.blocks.stored());
            neighbour.served.begin_round(wants && self.choker.serves(*peer));
        }
        self.watch_line(now);
    }

    /// Gives places that became free to whoever waits, and what is left to those who may become interested: they can
    /// then ask without waiting for an answer.
    pub(super) fn fill_slots(&mut self, now: Instant) {
        let candidates = self.candidates(now);
        self.choker.fill(candidates, &self.config, &mut self.rng);
        self.apply_choker();
    }

    /// Those who may be given a place: everybody who lacks blocks, but whoever only takes only if nobody else wants any.
    fn candidates(&self, now: Instant) -> Vec<Candidate> {
        let complete = self.is_complete();
        let block_size = self.manifest.geometry().block_size().bytes();
        let longest_turn = BLOCKS_OF_TURN * u64::from(block_size) * self.choker.served().count() as u64;
        let lacking = self.neighbours.iter().filter(|(_, neighbour)| !neighbour.said.has.is_full());
        let mut candidates: Vec<_> = lacking
            .map(|(&peer, neighbour)| Candidate {
                peer,
                interested: neighbour.said.wants(self.stored()) || neighbour.is_unknown(now),
                idle: neighbour.served.is_idle(),
                willing: self.is_willing(peer, neighbour, now),
                turn: match neighbour.served.since_place() {
                    _ if neighbour.served.all_since_place(self.sent_to_all) > longest_turn => Turn::Over,
                    0 if self.choker.serves(peer) => Turn::Given,
                    some if self.choker.serves(peer) && some < block_size.into() => Turn::Begun,
                    _ => Turn::Over,
                },
                score: self.score(neighbour, complete),
                blocks: neighbour.blocks(block_size),
                age: neighbour.age(now),
            })
            .collect();
        if !complete && candidates.iter().any(|candidate| candidate.willing && candidate.interested) {
            candidates.retain(|candidate| candidate.willing);
        }
        candidates
    }

    /// Whether a neighbour gives, or had no chance yet to show it. Those who fell behind have nothing that is wanted
    /// here, but offer it.
    pub(super) fn is_willing(&self, peer: PeerId, neighbour: &Neighbour, now: Instant) -> bool {
        if self.first_copies.is_some() {
            return self.deserves_first_copies(peer);
        }
        if self.config.peer_strategy != PeerStrategy::Reciprocal {
            return true;
        }
        let block = u64::from(self.manifest.geometry().block_size().bytes());
        let trust = TRUST.max(block) + now.since(neighbour.joined).as_secs() * CHARITY;
        // Who needs nothing never sees whether it is true.
        let offers = !self.is_complete()
            && !neighbour.said.chokes_us
            && !neighbour.asked.is_snubbed()
            && neighbour.asked.refuses_since.is_none();
        // It offers no more than it tells of, and whoever keeps to itself what it got here has nothing to offer.
        let offered = if offers { u64::from(neighbour.said.has.count()) * block } else { 0 };
        // Whoever began a block may have all of it.
        (neighbour.served.total() / block + 1) * block <= trust + offered + RECIPROCITY * neighbour.asked.total()
    }

    /// Takes the place of a neighbour that took more than it may for what it gave, if others want it.
    pub(super) fn stop_serving_taker(&mut self, peer: PeerId, now: Instant) {
        let Some(neighbour) = self.neighbours.get(&peer) else { return };
        if self.is_complete() || self.is_willing(peer, neighbour, now) {
            return;
        }
        if self.candidates(now).iter().all(|candidate| candidate.peer != peer) {
            self.choker.evict(peer);
            self.fill_slots(now);
            if !self.choker.serves(peer) {
                self.reject_all_queued(peer);
            }
        }
    }

    /// Whether so few requests wait that the line may soon be idle. A seed that gives first copies keeps some in reserve, of
    /// those who pass on what they are given: its line is what everyone waits for.
    pub(super) fn is_running_dry(&self, now: Instant) -> bool {
        // Those whose own line stands still fill no other one.
        let mut asking = self.asking().filter(|(peer, _)| !self.stands_still(*peer, now));
        if self.first_copies.is_none() {
            return asking.next().is_none();
        }
        let trusted = asking.filter(|(peer, _)| self.is_trusted(*peer));
        trusted.map(|(_, neighbour)| neighbour.served.queue.len()).sum::<usize>() < FIRST_COPIES_RESERVE
    }

    /// If the line may soon be idle, looks soon whether somebody asks.
    pub(super) fn watch_line(&mut self, now: Instant) {
        if self.is_running_dry(now) && !self.timers.is_set(Timer::Idle) {
            self.timers.set(Timer::Idle, now + (self.round_trip / IDLE_PART).min(MAX_IDLE));
        }
    }

    /// Nobody asks, although others may want what those who are served have: one more is served.
    pub(super) fn handle_idle(&mut self, now: Instant) {
        if !self.is_running_dry(now) {
            return;
        }
        if self.may_tell_all(now) {
            self.announce_to_all(now);
        }
        let mut candidates = self.candidates(now);
        // Those who do not pass on what they are given leave no line idle.
        candidates.retain(|candidate| candidate.willing || self.asking.is_empty());
        let most = if self.is_complete() { usize::MAX } else { MAX_EXTRA };
        if self.choker.widen(candidates, most, &self.config, &mut self.rng) {
            self.apply_choker();
            self.watch_line(now);
        }
    }

    /// Tells neighbours whose place changed, or who were not told of it.
    pub(super) fn apply_choker(&mut self) {
        let told_otherwise =
            |peer: &PeerId, neighbour: &Neighbour| neighbour.told.served != Some(self.choker.serves(*peer));
        let changed = self.neighbours.iter().filter(|(peer, neighbour)| told_otherwise(peer, neighbour));
        let changed: Vec<_> = changed.map(|(&peer, _)| peer).collect();
        let file = self.tag();
        for to in changed {
            let serve = self.choker.serves(to);
            if serve {
                self.announce_to(to);
            }
            if let Some(neighbour) = self.neighbours.get_mut(&to) {
                let is_news = neighbour.told.served.replace(serve) == Some(false);
                if serve && is_news {
                    neighbour.served.get_place(self.sent_to_all);
                }
            }
            self.send(to, if serve { PeerMessage::Unchoke { file } } else { PeerMessage::Choke { file } });
            if !serve {
                self.reject_queued(to);
            }
        }
    }

    /// Rejects the requests of a neighbour that wait to be served, but for those of the block whose turn it is: it would only be
    /// asked of somebody else, and what was sent of it would help nobody until then.
    fn reject_queued(&mut self, to: PeerId) {
        let per_block = self.manifest.geometry().segments_per_block();
        if let Some(neighbour) = self.neighbours.get_mut(&to) {
            let rejected = neighbour.served.end_with_block(per_block);
            self.reject_spans(to, rejected);
        }
    }

    /// Rejects every request of a neighbour that waits to be served.
    pub(super) fn reject_all_queued(&mut self, to: PeerId) {
        if let Some(neighbour) = self.neighbours.get_mut(&to) {
            let rejected = std::mem::take(&mut neighbour.served.queue);
            self.reject_spans(to, rejected);
        }
    }

    fn reject_spans(&mut self, to: PeerId, spans: VecDeque<Span>) {
        let file = self.tag();
        self.note_queue(to);
        for span in spans {
            self.send(to, PeerMessage::Reject { file, index: span.index(), count: span.count() });
        }
    }

    /// How much a neighbour deserves to be served.
    fn score(&self, neighbour: &Neighbour, complete: bool) -> u64 {
        match self.config.peer_strategy {
            // Who needs nothing cannot be paid: it serves those first that it has given least.
            PeerStrategy::Reciprocal if complete => u64::MAX - neighbour.served.turn(),
            PeerStrategy::Reciprocal => EVEN + neighbour.asked.total() - neighbour.served.total().min(EVEN),
            PeerStrategy::RareBlocks => {
                let rarity = |index| u64::from(u16::MAX / self.blocks.availability(index).max(1));
                neighbour.said.has.iter().filter(|&index| self.blocks.is_wanted(index)).map(rarity).sum()
            }
            PeerStrategy::Random => 0,
        }
    }
}
