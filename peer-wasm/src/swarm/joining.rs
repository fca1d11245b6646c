//! Who is a neighbour: introduced peers as long as there are places, better ones instead of useless ones.

use super::{Event, MAX_REMEMBERED, Swarm, Timer, Violation, neighbour::Neighbour};
use crate::Instant;
use protocol::{Bitfield, Geometry, PeerId, PeerMessage, Run};
use std::time::Duration;

/// The most peers that wait for a place among the neighbours.
const MAX_WAITING: usize = 256;
/// How often is looked whether the neighbours are good enough.
const REVIEW_EVERY: Duration = Duration::from_secs(10);
/// With fewer neighbours that have something to give, more are asked for.
const ENOUGH: usize = 10;
/// How long a neighbour may take and not give before it has to make room for another.
const PATIENCE_WITH_TAKERS: Duration = Duration::from_secs(20);

/// What is known of a peer that waits for a place.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    has: Option<Bitfield>,
    serves_us: bool,
}

impl Waiting {
    /// Notes a message that would be missed later. What is wrong is ignored.
    pub(super) fn heard(&mut self, message: &PeerMessage, geometry: &Geometry) {
        if let PeerMessage::Bitfield { blocks, .. } = message {
            self.has = Bitfield::from_bytes(blocks, geometry.blocks()).ok();
        } else if let (PeerMessage::Have { blocks, .. }, Some(has)) = (message, &mut self.has) {
            let runs = blocks.iter().filter_map(|run| geometry.run(run.0, run.1).ok());
            let indices = runs.flat_map(Run::blocks).take(geometry.blocks() as usize);
            indices.for_each(|index| _ = has.set(index));
        } else if let PeerMessage::Choke { .. } | PeerMessage::Unchoke { .. } = message {
            self.serves_us = matches!(message, PeerMessage::Unchoke { .. });
        }
    }

    fn has_some(&self) -> bool {
        self.has.as_ref().is_some_and(|has| has.count() > 0)
    }
}

impl Swarm {
    /// The tracker introduced a peer of this swarm.
    pub fn handle_peer_joined(&mut self, peer: PeerId, age: Duration, now: Instant) {
        _ = age;
        if self.neighbours.contains_key(&peer) || self.banned.contains(&peer) {
            return;
        }
        if self.waiting.len() < MAX_WAITING {
            // It is introduced only once, so it must not be forgotten if there is no place.
            self.waiting.entry(peer).or_default();
        }
        self.admit(now);
        if self.choker.has_room(&self.config) {
            self.fill_slots(now);
        }
    }

    /// The tracker said that a peer left.
    pub fn handle_peer_left(&mut self, peer: PeerId, now: Instant) {
        self.waiting.remove(&peer);
        if let Some(owed) = self.remove(peer) {
            self.remember_departed(peer, owed);
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
        self.uploading_bytes = self.reads.values().map(|(_, run)| geometry.run_len(*run)).sum();
    }

    /// Looks whether the neighbours are good enough.
    pub(super) fn review_neighbours(&mut self, now: Instant) {
        self.admit(now);
        let gives = |neighbour: &&Neighbour| neighbour.we_are_interested && !neighbour.is_snubbed();
        if !self.is_complete() && self.neighbours.values().filter(gives).count() < ENOUGH {
            self.events.push_back(Event::WantsPeers);
        }
        self.schedule_review(now);
    }

    pub(super) fn schedule_review(&mut self, now: Instant) {
        if !self.is_complete() || !self.waiting.is_empty() {
            self.timers.set(Timer::Neighbours, now + REVIEW_EVERY);
        }
    }

    /// Gives places to peers that wait, also those of useless neighbours. Who is known to have something comes first.
    fn admit(&mut self, now: Instant) {
        while let Some((&peer, has_some)) =
            self.waiting.iter().map(|(peer, waiting)| (peer, waiting.has_some())).max_by_key(|(_, has_some)| *has_some)
        {
            if self.neighbours.len() >= self.config.max_neighbours {
                let Some(useless) = self.useless_neighbour(has_some, now) else { break };
                let owed = self.remove(useless).unwrap_or_default();
                self.remember_departed(useless, owed);
                self.give_up_copies_of(useless, now);
            }
            let waiting = self.waiting.remove(&peer).unwrap_or_default();
            self.welcome(peer, now);
            self.serve_newcomer(peer);
            let file = self.tag();
            let blocks = waiting.has.map(|has| PeerMessage::Bitfield { file, blocks: has.to_bytes(), begin: false });
            let unchoke = waiting.serves_us.then_some(PeerMessage::Unchoke { file });
            blocks.into_iter().chain(unchoke).for_each(|message| self.handle_message(peer, message, now));
        }
        if !self.waiting.is_empty() && !self.timers.is_set(Timer::Neighbours) {
            self.schedule_review(now);
        }
    }

    /// A neighbour that neither gives nor needs anything, or that only takes. One that could give but is slow makes room
    /// only for another that has something.
    fn useless_neighbour(&self, for_giver: bool, now: Instant) -> Option<PeerId> {
        let complete = self.is_complete();
        let uselessness = |peer: PeerId, neighbour: &Neighbour| {
            let needless = complete && neighbour.has.is_full();
            let silent = neighbour.is_snubbed() && (for_giver || neighbour.wanted == 0);
            let taker = !complete
                && now.since(neighbour.joined) >= PATIENCE_WITH_TAKERS
                && !self.is_willing(peer, neighbour, now);
            u8::from(needless) * 3 + u8::from(silent) * 2 + u8::from(taker)
        };
        let ranked = self.neighbours.iter().map(|(&peer, neighbour)| (uselessness(peer, neighbour), peer));
        ranked.filter(|(uselessness, _)| *uselessness > 0).max().map(|(_, peer)| peer)
    }

    pub(super) fn drop_neighbour(&mut self, peer: PeerId, violation: Violation, now: Instant) {
        self.remove(peer);
        if self.banned.len() < MAX_REMEMBERED {
            self.banned.insert(peer);
        }
        self.events.push_back(Event::Dropped { peer, violation });
        self.go_on_without(peer, now);
    }

    /// Forgets a neighbour and gives back what was asked of it; tells what it still owed.
    pub(super) fn remove(&mut self, peer: PeerId) -> Option<Vec<Run>> {
        let mut neighbour = self.neighbours.remove(&peer)?;
        self.in_flight_bytes -= neighbour.in_flight_bytes;
        self.queued -= neighbour.queue.len();
        self.choker.evict(peer);
        for run in neighbour.take_all_back() {
            self.release(run);
        }
        neighbour.has.iter().for_each(|index| self.picker.lost(index));
        Some(neighbour.into_stale())
    }

    /// After a neighbour is gone: gives what it had to others.
    fn go_on_without(&mut self, gone: PeerId, now: Instant) {
        self.give_up_copies_of(gone, now);
        self.admit(now);
        self.fill_slots(now);
        self.request_of_all(now);
        self.serve(now);
    }

    fn welcome(&mut self, peer: PeerId, now: Instant) {
        let mut neighbour = Neighbour::new(self.manifest.geometry().blocks(), now);
        neighbour.told = self.unannounced.len();
        neighbour.remember_stale(self.departed.remove(&peer).unwrap_or_default());
        self.neighbours.insert(peer, neighbour);
        self.send(
            peer,
            PeerMessage::Bitfield { file: self.tag(), blocks: self.blocks.stored().to_bytes(), begin: false },
        );
    }

    /// A neighbour that took us for gone begins anew. What it gave and got still counts.
    pub(super) fn welcome_again(&mut self, peer: PeerId, now: Instant) {
        let Some(before) = self.neighbours.get(&peer) else { return };
        let (joined, sent, received) = (before.joined, before.total_sent, before.total_received);
        let owed = self.remove(peer).unwrap_or_default();
        self.remember_departed(peer, owed);
        self.give_up_copies_of(peer, now);
        self.welcome(peer, now);
        if let Some(neighbour) = self.neighbours.get_mut(&peer) {
            (neighbour.joined, neighbour.total_sent, neighbour.total_received) = (joined, sent, received);
        }
        self.serve_newcomer(peer);
    }

    pub(super) fn remember_departed(&mut self, peer: PeerId, owed: Vec<Run>) {
        if !owed.is_empty() && self.departed.len() < MAX_REMEMBERED {
            self.departed.insert(peer, owed);
        }
    }
}
