//! Telling neighbours of new blocks.
//!
//! A `have` is useful at once only to those who may ask for the block: those that are served. They are told soon, and
//! at once of a block that is rare. Everyone else is told now and then, and just before being served. When nobody asks
//! for anything, everyone is told: somebody may want what is new.

use super::{Swarm, Timer};
use crate::Instant;
use protocol::{HaveRun, Run};
use std::time::Duration;

/// A block that no more neighbours have is announced at once.
const RARE: u16 = 1;
/// Stored blocks that are announced without waiting for more: this part of the file, and at most so many.
const HAVE_BATCHES: u32 = 16;
const MAX_HAVE_BATCH: u32 = 64;
/// Everyone is told of new blocks at most once in so many round trips: who asks because of them has to be able to.
const TELL_ALL_PAUSE: u32 = 8;
/// How long new blocks wait at most to be announced to everyone.
const TELL_ALL_AFTER: Duration = Duration::from_millis(2_500);

impl Swarm {
    /// Sees to it that the run, which is stored, is announced, now or together with others.
    pub(super) fn schedule_announcements(&mut self, run: Run, now: Instant) {
        let batch = (self.stored().len() / HAVE_BATCHES).clamp(1, MAX_HAVE_BATCH);
        let is_rare = |index| self.blocks.availability(index) <= RARE;
        if self.is_line_idle() && self.may_tell_all(now) {
            self.announce_to_all(now);
        } else if self.unannounced.len() - self.told_served >= batch as usize || run.blocks().any(is_rare) {
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
        !self.unannounced.is_empty()
            && now.since(self.announced) >= self.config.have_delay.min(self.round_trip * TELL_ALL_PAUSE)
    }

    /// Announces new blocks to those who may ask for them now, and to those who have every block: the seed of a new file
    /// watches it spread.
    pub(super) fn announce_to_served(&mut self) {
        self.timers.clear(Timer::Announce);
        self.told_served = self.unannounced.len();
        let complete = self.neighbours.iter().filter(|(_, neighbour)| neighbour.said.was_full);
        let peers: Vec<_> = self.choker.served().chain(complete.map(|(&peer, _)| peer)).collect();
        peers.into_iter().for_each(|peer| self.announce_to(peer));
    }

    /// Everyone was told of the new blocks.
    fn count_news_anew(&mut self) {
        self.unannounced.clear();
        self.told_served = 0;
        for neighbour in self.neighbours.values_mut() {
            neighbour.told.blocks = neighbour.told.blocks.map(|_| 0);
        }
    }

    /// Announces new blocks to everyone.
    pub(super) fn announce_to_all(&mut self, now: Instant) {
        self.announced = now;
        self.timers.clear(Timer::Announce);
        self.timers.clear(Timer::AnnounceToAll);
        let peers: Vec<_> = self.neighbours.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.announce_to(peer));
        self.count_news_anew();
    }

    /// Tells everyone that every block is here.
    pub(super) fn announce_complete(&mut self, now: Instant) {
        self.count_news_anew();
        self.announce_to_all(now);
        let all = vec![HaveRun(0, self.stored().len())];
        let peers: Vec<_> = self.neighbours.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.tell_blocks(peer, Some(all.clone())));
    }
}

/// Blocks as the runs of a `have`.
pub(super) fn have_runs(mut indices: Vec<u32>) -> Vec<HaveRun> {
    indices.sort_unstable();
    indices.chunk_by(|a, b| a + 1 == *b).map(|chunk| HaveRun(chunk[0], chunk.len() as u32)).collect()
}
