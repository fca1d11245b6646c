//! Who is a neighbour: introduced peers as long as there are places, better ones instead of useless ones.
//!
//! A peer without a place waits, and what it says meanwhile is noted. So does one that had to make room: it is told that
//! it is choked and that nothing of its is wanted, which is all that the two have to do with each other until there is a
//! place again.

use super::{
    Event, MAX_REMEMBERED, Swarm, Timer, Violation,
    neighbour::{Asked, Neighbour, Rejections, Said, Served, Told},
};
use crate::Instant;
use protocol::{PeerId, PeerMessage};
use std::time::Duration;

/// The most peers that wait for a place among the neighbours.
const MAX_WAITING: usize = 256;
/// How often is looked whether the neighbours are good enough.
const REVIEW_EVERY: Duration = Duration::from_secs(10);
/// With fewer neighbours that have something to give, more are asked for.
const ENOUGH: usize = 10;
/// How long a neighbour may say nothing of its blocks before it has to make room for another.
const PATIENCE_WITH_SILENCE: Duration = Duration::from_secs(10);
/// How long a neighbour may take and not give, or promise and not serve, before it has to make room for another.
const PATIENCE_WITH_TAKERS: Duration = Duration::from_secs(20);
/// How long what a peer owed when it left may still come.
const LATE_AFTER_LEAVING: Duration = Duration::from_secs(60);
/// How long a peer that was dropped stays so. A new id costs it less; this only keeps the list short.
const BANNED_FOR: Duration = Duration::from_secs(600);

/// A peer that waits for a place.
#[derive(Debug)]
pub(super) struct Waiting {
    said: Said,
    /// The tracker did not introduce it: it knows this peer, and is forgotten here.
    is_stranger: bool,
    /// For how long the tracker had known it in this swarm when it began to wait.
    age: Duration,
    since: Instant,
    rejections: Rejections,
    /// What it was as a neighbour, before it had to make room.
    before: Option<Before>,
}

/// What is kept of a neighbour that had to make room.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    sent: u64,
    received: u64,
    owed: u64,
    /// From when on somebody may have to make room for it.
    comes_back: Instant,
}

impl Swarm {
    /// The tracker introduced a peer, which it has known in this swarm for so long.
    pub fn handle_peer_joined(&mut self, peer: PeerId, age: Duration, now: Instant) {
        if self.neighbours.contains_key(&peer) || self.is_banned(peer) {
            return;
        }
        // It is introduced only once, so it must not be forgotten if there is no place.
        self.wait(peer, age, false, now);
        self.admit(now);
        if self.choker.has_room(&self.config) {
            self.fill_slots(now);
        }
    }

    /// The tracker said that a peer left.
    pub fn handle_peer_left(&mut self, peer: PeerId, now: Instant) {
        self.waiting.remove(&peer);
        self.own_lines.remove(&peer);
        self.opening_lines.remove(&peer);
        if let Some(neighbour) = self.remove(peer) {
            self.remember_departed(peer, neighbour.asked.owed(self.manifest.geometry()), now);
            self.go_on_without(peer, now);
        }
    }

    /// The line to the tracker broke: no neighbour can be reached, and what was being sent is lost.
    pub fn handle_line_lost(&mut self, now: Instant) {
        self.waiting.clear();
        let peers: Vec<_> = self.neighbours.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.handle_peer_left(peer, now));
        self.transmits.clear();
        let geometry = *self.manifest.geometry();
        self.own_lines.clear();
        self.opening_lines.clear();
        self.reads.values_mut().for_each(|read| read.by_line = false);
        self.uploading_bytes = self.reads.values().map(|read| geometry.span_len(read.span)).sum();
    }

    /// What this peer and a neighbour said to each other last may be lost, because the way on which it travelled is gone; by
    /// another one they reach each other still. Both begin anew.
    pub fn handle_cut_off(&mut self, peer: PeerId, now: Instant) {
        self.transmits.retain(|transmit| transmit.to != peer);
        self.own_lines.remove(&peer);
        if !self.is_neighbour(peer) {
            return;
        }
        self.begin_anew(peer, now);
        self.send_bitfield(peer, true);
        if let Some(neighbour) = self.neighbours.get_mut(&peer) {
            neighbour.told.blocks = Some(self.unannounced.len());
        }
        self.tell_all_again(peer);
        self.request_of_all(now);
    }

    /// A peer that is no neighbour says something. The tracker passes only what introduced peers say, so that is an
    /// introduction itself; answers aside, which may come late.
    pub(super) fn hear_stranger(&mut self, from: PeerId, message: &PeerMessage, now: Instant) {
        match *message {
            PeerMessage::Block { .. }
            | PeerMessage::Reject { .. }
            | PeerMessage::GetManifest { .. }
            | PeerMessage::Manifest { .. }
            | PeerMessage::NoManifest { .. }
            | PeerMessage::Signal { .. } => return,
            // It takes this peer for one that serves it.
            PeerMessage::Request { file, index, count } => {
                if self.waiting.get_mut(&from).is_some_and(|waiting| !waiting.rejections.one_more(now)) {
                    self.waiting.remove(&from);
                    return self.drop_neighbour(from, Violation::RequestFlood, now);
                }
                self.send(from, PeerMessage::Reject { file, index, count });
            }
            PeerMessage::Bitfield { .. }
            | PeerMessage::Have { .. }
            | PeerMessage::Interested { .. }
            | PeerMessage::NotInterested { .. }
            | PeerMessage::Choke { .. }
            | PeerMessage::Unchoke { .. }
            | PeerMessage::Cancel { .. } => {}
        }
        self.wait(from, Duration::ZERO, true, now);
        let geometry = *self.manifest.geometry();
        if let Some(waiting) = self.waiting.get_mut(&from) {
            waiting.said.hear(message, &geometry);
            if let (Some(before), PeerMessage::Unchoke { .. }) = (&mut waiting.before, message) {
                before.comes_back = now;
            }
            self.admit(now);
        }
    }

    /// Looks whether the neighbours are good enough.
    pub(super) fn review_neighbours(&mut self, now: Instant) {
        self.departed.retain(|_, (_, since)| now.since(*since) < LATE_AFTER_LEAVING);
        self.banned.retain(|_, since| now.since(*since) < BANNED_FOR);
        self.admit(now);
        if !self.is_complete() {
            let verified = self.blocks.verified();
            let gives = |other: &&Neighbour| !other.asked.is_snubbed() && other.said.offers_more_than(verified);
            if self.neighbours.values().filter(gives).count() < ENOUGH {
                self.events.push_back(Event::WantsPeers);
            }
            if self.received.per_second(now) == 0 {
                self.remind_of_interest();
            }
        }
        self.schedule_review(now);
    }

    pub(super) fn schedule_review(&mut self, now: Instant) {
        if !self.is_complete() || !self.waiting.is_empty() {
            self.timers.set(Timer::Neighbours, now + REVIEW_EVERY);
        }
    }

    fn wait(&mut self, peer: PeerId, age: Duration, is_stranger: bool, now: Instant) {
        if self.waiting.len() < MAX_WAITING {
            let said = Said::nothing(self.stored().len());
            let waiting = || Waiting { said, is_stranger, age, since: now, rejections: Rejections::NONE, before: None };
            self.waiting.entry(peer).or_insert_with(waiting).is_stranger &= is_stranger;
        }
    }

    /// Gives places to peers that wait, also those of useless neighbours.
    fn admit(&mut self, now: Instant) {
        while let Some((peer, gives)) = self.next_to_admit(now) {
            if self.neighbours.len() >= self.config.max_neighbours {
                let Some(useless) = self.useless_neighbour(gives, now) else { break };
                self.give_up(useless, now);
            }
            if let Some(waiting) = self.waiting.remove(&peer) {
                self.welcome(peer, waiting, now);
            }
        }
        if !self.waiting.is_empty() && !self.timers.is_set(Timer::Neighbours) {
            self.schedule_review(now);
        }
    }

    /// The peer that waits and promises most, and whether it has something that is wanted. Nobody has to make room for one
    /// that neither gives nor needs anything, nor for one that had to make room itself until it serves, or after a while:
    /// who got its place may be no better.
    fn next_to_admit(&self, now: Instant) -> Option<(PeerId, bool)> {
        let is_full = self.neighbours.len() >= self.config.max_neighbours;
        let complete = self.is_complete();
        let is_worth_room = |waiting: &Waiting| {
            !(complete && waiting.said.has.is_full()) && waiting.before.is_none_or(|before| before.comes_back <= now)
        };
        let may = self.waiting.iter().filter(|(_, waiting)| !is_full || is_worth_room(waiting));
        let ranked = may.map(|(peer, waiting)| {
            let gives = !complete && waiting.said.has.has_other_than(self.stored());
            ((gives, waiting.before.is_none(), waiting.age), *peer, gives)
        });
        ranked.max().map(|(_, peer, gives)| (peer, gives))
    }

    /// The neighbour that is needed least: one that says nothing, that neither gives nor needs anything, that does not use
    /// its place, or that only takes. One that could give but does not makes room only for another that has something.
    fn useless_neighbour(&self, for_giver: bool, now: Instant) -> Option<PeerId> {
        let complete = self.is_complete();
        let is_taker = |peer, neighbour: &Neighbour| {
            if complete { neighbour.served.is_idle() } else { !self.is_willing(peer, neighbour, now) }
        };
        let uselessness = |peer: PeerId, neighbour: &Neighbour| {
            let (said, asked) = (&neighbour.said, &neighbour.asked);
            let time = now.since(neighbour.joined);
            if !said.is_introduced && time >= PATIENCE_WITH_SILENCE {
                6
            } else if complete && (said.has.is_full() || (!said.is_interested && time >= PATIENCE_WITH_SILENCE)) {
                5
            } else if time >= PATIENCE_WITH_TAKERS && is_taker(peer, neighbour) {
                4
            } else if !for_giver {
                0
            } else if asked.is_snubbed() {
                3
            } else if !said.offers_more_than(self.blocks.verified()) {
                2
            } else {
                let only_refuses = asked.refuses_since.is_some_and(|since| now.since(since) >= PATIENCE_WITH_TAKERS);
                let never_served = said.chokes_us && asked.total() == 0 && time >= PATIENCE_WITH_TAKERS;
                u8::from(only_refuses || never_served)
            }
        };
        let ranked = self
            .neighbours
            .iter()
            .map(|(&peer, neighbour)| (uselessness(peer, neighbour), now.since(neighbour.joined), peer));
        ranked.filter(|(uselessness, ..)| *uselessness > 0).max().map(|(.., peer)| peer)
    }

    /// Takes a neighbour's place, and tells it so that it waits for nothing.
    fn give_up(&mut self, peer: PeerId, now: Instant) {
        let file = self.tag();
        self.cancel_all(peer);
        self.choker.evict(peer);
        self.apply_choker();
        self.reject_all_queued(peer);
        if self.neighbours.get(&peer).is_some_and(|neighbour| neighbour.told.interested == Some(true)) {
            self.send(peer, PeerMessage::NotInterested { file });
        }
        let Some(mut neighbour) = self.remove(peer) else { return };
        // What it refused it may have all the same, and nothing else makes it say so again.
        let geometry = *self.manifest.geometry();
        for index in neighbour.asked.retry(true, now).into_iter().flat_map(|span| geometry.span_blocks(span)) {
            neighbour.said.has.set(index);
        }
        self.give_up_copies_of(peer, now);
        let owed = neighbour.asked.owed(self.manifest.geometry());
        let (sent, received) = (neighbour.served.total(), neighbour.asked.total());
        let before = Before { sent, received, owed, comes_back: now + PATIENCE_WITH_TAKERS };
        if self.waiting.len() < MAX_WAITING {
            let age = neighbour.age(now);
            let waiting = Waiting {
                said: neighbour.said,
                is_stranger: false,
                age,
                since: now,
                rejections: Rejections::NONE,
                before: Some(before),
            };
            self.waiting.insert(peer, waiting);
        } else {
            self.remember_departed(peer, owed, now);
        }
    }

    pub(super) fn drop_neighbour(&mut self, peer: PeerId, violation: Violation, now: Instant) {
        self.remove(peer);
        self.blocks.discard_of(peer);
        self.waiting.remove(&peer);
        if self.banned.len() >= MAX_REMEMBERED
            && let Some(oldest) = self.banned.iter().min_by_key(|(_, since)| **since).map(|(peer, _)| *peer)
        {
            self.banned.remove(&oldest);
        }
        self.banned.insert(peer, now);
        self.events.push_back(Event::Dropped { peer, violation });
        self.go_on_without(peer, now);
    }

    /// Forgets a neighbour and gives back what was asked of it.
    fn remove(&mut self, peer: PeerId) -> Option<Neighbour> {
        let mut neighbour = self.neighbours.remove(&peer)?;
        self.in_flight_bytes -= neighbour.asked.bytes();
        self.asking.remove(&peer);
        self.choker.evict(peer);
        for span in neighbour.asked.take_all_back() {
            self.blocks.release(span);
        }
        neighbour.said.has.iter().for_each(|index| self.blocks.lost(index));
        Some(neighbour)
    }

    /// After a neighbour is gone: gives what it had to others.
    fn go_on_without(&mut self, gone: PeerId, now: Instant) {
        self.give_up_copies_of(gone, now);
        self.admit(now);
        self.fill_slots(now);
        self.request_of_all(now);
        self.serve(now);
    }

    fn welcome(&mut self, peer: PeerId, waiting: Waiting, now: Instant) {
        let Waiting { said, is_stranger, age, since, before, .. } = waiting;
        let departed = self.departed.remove(&peer).map_or(0, |(owed, _)| owed);
        let Before { sent, received, owed, .. } = before.unwrap_or_default();
        let head_start = if before.is_some() { 0 } else { self.least_turn() };
        let asked = Asked::new(received, owed.max(departed), now);
        let served = Served::new(sent, head_start);
        let mut neighbour = Neighbour::new(self.manifest.geometry(), age + now.since(since), asked, served, now);
        neighbour.told.blocks = Some(self.unannounced.len());
        self.neighbours.insert(peer, neighbour);
        self.send_bitfield(peer, is_stranger && !said.is_introduced);
        self.serve_newcomer(peer, now);
        // What it said while it waited counts as if it said it only now.
        let file = self.tag();
        let blocks = PeerMessage::Bitfield { file, blocks: said.has.to_bytes(), begin: false };
        let bitfield = said.is_introduced.then_some(blocks);
        let unchoke = (!said.chokes_us).then_some(PeerMessage::Unchoke { file });
        let interested = said.is_interested.then_some(PeerMessage::Interested { file });
        let messages = bitfield.into_iter().chain(unchoke).chain(interested);
        messages.for_each(|message| self.handle_message(peer, message, now));
    }

    /// How much those have got who got least: a newcomer takes its turn after them, however often it comes.
    fn least_turn(&self) -> u64 {
        let interested = self.neighbours.values().filter(|neighbour| neighbour.said.lacks_blocks());
        interested.map(|neighbour| neighbour.served.turn()).min().unwrap_or(0)
    }

    /// The neighbour knows nothing of this peer, and says everything anew: so does this peer.
    pub(super) fn begin_anew(&mut self, peer: PeerId, now: Instant) {
        let geometry = *self.manifest.geometry();
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        self.in_flight_bytes -= neighbour.asked.bytes();
        neighbour.served.queue.clear();
        self.asking.remove(&peer);
        neighbour.said.is_interested = false;
        neighbour.said.chokes_us = true;
        neighbour.told = Told::nothing();
        // It is told of a place that it has, which does not make that a new one.
        if self.choker.serves(peer) {
            neighbour.told.served = None;
        }
        for span in neighbour.asked.begin_anew(&geometry) {
            self.blocks.release(span);
        }
        self.take_back_copies_of(peer, now);
    }

    fn remember_departed(&mut self, peer: PeerId, owed: u64, now: Instant) {
        if owed > 0 && self.departed.len() < MAX_REMEMBERED {
            self.departed.insert(peer, (owed, now));
        }
    }
}
