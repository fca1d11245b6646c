//! Telling neighbours what is so, and telling it again where that may not have arrived.
//!
//! Beside what is so stands what a neighbour was told ([`Told`]); the difference is sent. A message that the tracker
//! refused counts as not told. What a neighbour does shows whether it heard: one that says nothing of its blocks, does
//! not use its place, or serves nobody although this peer waits, is told again now and then.

use super::{Swarm, Timer, announce::have_runs, neighbour::Told};
use crate::Instant;
use protocol::{HaveRun, Kind, PeerId, PeerMessage, Subject};
use std::time::Duration;

/// How long to wait before saying again what the tracker refused: then there may be room for it.
const RESTATE_AFTER: Duration = Duration::from_secs(1);
/// Rounds after which a neighbour that does not use its place is told of it again.
const REMIND_ROUNDS: u32 = 8;
/// More runs than this take more bytes than the bitfield of a file with the most blocks.
const MAX_HAVE_RUNS: usize = 256;

impl Swarm {
    /// The tracker refused a message to a neighbour, which is therefore not told what it said.
    pub fn handle_refused(&mut self, to: PeerId, about: &Subject, now: Instant) {
        let geometry = *self.manifest.geometry();
        let Some(neighbour) = self.neighbours.get_mut(&to) else { return };
        let span = geometry.span(about.index, about.count).ok();
        match about.kind {
            Kind::Bitfield | Kind::Have => neighbour.told.blocks = None,
            Kind::Interested | Kind::NotInterested => neighbour.told.interested = None,
            Kind::Choke | Kind::Unchoke => neighbour.told.served = None,
            Kind::Request => {
                if let Some(span) = span
                    && neighbour.asked.take(span, &geometry).is_some()
                {
                    self.in_flight_bytes -= geometry.span_len(span);
                    self.blocks.release(span);
                    self.believe_refusal(to, span, now);
                    self.offer_room(now);
                }
                return;
            }
            // The tracker has rejected the request for it.
            Kind::Block => return neighbour.served.take_back(span.map_or(0, |span| geometry.span_len(span))),
            // A request that cannot be taken back is answered; answers are never refused for want of room.
            Kind::Cancel | Kind::Reject | Kind::GetManifest | Kind::Manifest | Kind::NoManifest | Kind::Signal => {
                return;
            }
        }
        self.timers.set_earlier(Timer::Restate, now + RESTATE_AFTER);
    }

    /// Says again what was refused.
    pub(super) fn handle_restate(&mut self) {
        let peers: Vec<_> = self.neighbours.keys().copied().collect();
        for peer in peers {
            let Some(neighbour) = self.neighbours.get(&peer) else { continue };
            let Told { blocks, interested, .. } = neighbour.told;
            if blocks.is_none() {
                self.announce_to(peer);
            }
            if interested.is_none() {
                self.show_interest(peer);
            }
        }
        self.apply_choker();
    }

    /// Says everything to a neighbour that knows nothing.
    pub(super) fn tell_all_again(&mut self, peer: PeerId) {
        self.announce_to(peer);
        self.show_interest(peer);
        self.apply_choker();
    }

    /// Tells a neighbour that this peer is interested, once it has something that is wanted. That holds as long as it is a
    /// neighbour: whether it has anything more it knows itself, and to say so before and after each block would cost more than
    /// all the rest that is said.
    pub(super) fn show_interest(&mut self, peer: PeerId) {
        let file = self.tag();
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        if neighbour.told.interested != Some(true) && neighbour.said.offers_more_than(self.blocks.verified()) {
            neighbour.told.interested = Some(true);
            self.send(peer, PeerMessage::Interested { file });
        }
    }

    /// Announces to a neighbour those new blocks that it lacks, or all blocks if it was not told of those before. One that
    /// has every block is told of all.
    pub(super) fn announce_to(&mut self, to: PeerId) {
        let Some(neighbour) = self.neighbours.get_mut(&to) else { return };
        let is_news = |index: &u32| neighbour.said.was_full || !neighbour.said.has.has(*index);
        let told = neighbour.told.blocks.replace(self.unannounced.len());
        let runs = told.map(|told| have_runs(self.unannounced[told..].iter().copied().filter(is_news).collect()));
        self.tell_blocks(to, runs);
    }

    /// Announces these blocks, or all if it is shorter or not said which.
    pub(super) fn tell_blocks(&mut self, to: PeerId, runs: Option<Vec<HaveRun>>) {
        let file = self.tag();
        match runs {
            Some(runs) if runs.is_empty() => {}
            Some(blocks) if blocks.len() <= MAX_HAVE_RUNS => self.send(to, PeerMessage::Have { file, blocks }),
            Some(_) => self.send_bitfield(to, false),
            None => {
                // If one that began anew was refused, the neighbour still has to begin anew.
                let begins = self.neighbours.get(&to).is_some_and(|neighbour| neighbour.told.begins);
                self.send_bitfield(to, begins);
            }
        }
    }

    pub(super) fn send_bitfield(&mut self, to: PeerId, begin: bool) {
        if let Some(neighbour) = self.neighbours.get_mut(&to) {
            neighbour.told.begins = begin;
        }
        let blocks = self.stored().to_bytes();
        self.send(to, PeerMessage::Bitfield { file: self.tag(), blocks, begin });
    }

    /// Tells those again that they are served who have not used their place for some rounds; they may not know of it.
    pub(super) fn remind_of_places(&mut self) {
        for (peer, neighbour) in &mut self.neighbours {
            let is_served = self.choker.serves(*peer) && neighbour.said.wants(self.blocks.stored());
            if is_served && neighbour.served.idle_rounds() % REMIND_ROUNDS == 1 {
                neighbour.told.served = None;
            }
        }
    }

    /// Nothing came for a while: asks those that said nothing of their blocks to do so, and tells those again that this
    /// peer is interested that do not serve it.
    pub(super) fn remind_of_interest(&mut self) {
        let peers: Vec<_> = self.neighbours.keys().copied().collect();
        for peer in peers {
            let Some(neighbour) = self.neighbours.get_mut(&peer) else { continue };
            if !neighbour.said.is_introduced {
                self.send_bitfield(peer, true);
            } else if neighbour.said.chokes_us && neighbour.said.offers_more_than(self.blocks.verified()) {
                neighbour.told.interested = None;
                self.show_interest(peer);
            }
        }
    }
}
