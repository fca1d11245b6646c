//! Telling neighbours of new blocks.
//!
//! A `have` is useful at once only to those who may ask for the block: those that are served. They are told soon, and
//! at once of a block that is rare. Everyone else is told now and then, and just before being served. When nobody asks
//! for anything, everyone is told: somebody may want what is new.

use super::{Swarm, Timer, neighbour::Neighbour};
use crate::Instant;
use protocol::{HaveRun, PeerId, PeerMessage, Run};
use std::time::Duration;

/// A block that no more neighbours have is announced at once.
const RARE: u16 = 2;
/// Stored blocks that are announced without waiting for more.
const HAVE_BATCH: usize = 64;
/// How long new blocks wait at most to be announced to everyone.
const TELL_ALL_AFTER: Duration = Duration::from_millis(2_500);

impl Swarm {
    /// Sees to it that the run, which is stored, is announced, now or together with others.
    pub(super) fn schedule_announcements(&mut self, run: Run, now: Instant) {
        let is_rare = |index| self.picker.availability(index) <= RARE;
        if self.uploading_bytes == 0 && self.may_tell_all(now) {
            self.announce_to_all(now);
        } else if self.unannounced.len() >= HAVE_BATCH || run.blocks().any(is_rare) {
            self.announce_to_served();
        } else if !self.timers.is_set(Timer::Announce) {
            self.timers.set(Timer::Announce, now + self.config.have_delay);
        }
        if !self.timers.is_set(Timer::AnnounceToAll) && !self.unannounced.is_empty() {
            self.timers.set(Timer::AnnounceToAll, now + TELL_ALL_AFTER);
        }
    }

    /// Whether there are news for everyone and the last are not too recent.
    pub(super) fn may_tell_all(&self, now: Instant) -> bool {
        !self.unannounced.is_empty() && now.since(self.announced) >= self.config.have_delay
    }

    /// Announces new blocks to those who may ask for them now, and to those who have every block: the seed of a new file
    /// watches it spread.
    pub(super) fn announce_to_served(&mut self) {
        self.timers.clear(Timer::Announce);
        let complete = self.neighbours.iter().filter(|(_, neighbour)| neighbour.was_full);
        let peers: Vec<_> = self.choker.served().chain(complete.map(|(&peer, _)| peer)).collect();
        peers.into_iter().for_each(|peer| self.announce_to(peer));
    }

    /// Announces new blocks to everyone.
    pub(super) fn announce_to_all(&mut self, now: Instant) {
        self.announced = now;
        self.timers.clear(Timer::Announce);
        self.timers.clear(Timer::AnnounceToAll);
        self.lose_interest();
        let peers: Vec<_> = self.neighbours.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.announce_to(peer));
        self.unannounced.clear();
        self.neighbours.values_mut().for_each(|neighbour| neighbour.told = 0);
    }

    /// Tells everyone that every block is here.
    pub(super) fn announce_complete(&mut self, now: Instant) {
        self.unannounced.clear();
        self.neighbours.values_mut().for_each(|neighbour| neighbour.told = 0);
        self.announce_to_all(now);
        let file = self.tag();
        let peers: Vec<_> = self.neighbours.keys().copied().collect();
        for peer in peers {
            self.send(peer, PeerMessage::Have { file, blocks: vec![HaveRun(0, self.stored().len())] });
        }
    }

    /// Announces to a neighbour those new blocks that it lacks. One that has every block is told of all.
    pub(super) fn announce_to(&mut self, to: PeerId) {
        let file = self.tag();
        let Some(neighbour) = self.neighbours.get_mut(&to) else { return };
        let is_news = |index: &u32| neighbour.was_full || !neighbour.has.has(*index);
        let blocks = have_runs(self.unannounced[neighbour.told..].iter().copied().filter(is_news).collect());
        neighbour.told = self.unannounced.len();
        if !blocks.is_empty() {
            self.send(to, PeerMessage::Have { file, blocks });
        }
    }

    /// Tells those who have nothing more that is wanted. This can wait: who is served and asks for nothing costs nothing.
    fn lose_interest(&mut self) {
        let is_bored = |neighbour: &Neighbour| neighbour.we_are_interested && neighbour.wanted == 0;
        let bored: Vec<_> =
            self.neighbours.iter().filter(|(_, neighbour)| is_bored(neighbour)).map(|(&peer, _)| peer).collect();
        bored.into_iter().for_each(|peer| self.update_interest(peer));
    }
}

/// Blocks as the runs of a `have`.
pub(super) fn have_runs(mut indices: Vec<u32>) -> Vec<HaveRun> {
    indices.sort_unstable();
    indices.chunk_by(|a, b| a + 1 == *b).map(|chunk| HaveRun(chunk[0], chunk.len() as u32)).collect()
}
