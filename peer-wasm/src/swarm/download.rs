//! Asking for blocks, receiving and verifying them, announcing them.

use super::{BlockState, Event, StorageFailed, StorageRequest, Swarm, Timer, Violation, neighbour::Neighbour};
use crate::Instant;
use bytes::Bytes;
use protocol::{Bitfield, HaveRun, PeerId, PeerMessage, Run};
use std::time::Duration;

/// Stored blocks that are announced without waiting for more.
const HAVE_BATCH: usize = 64;
/// In the endgame a request is repeated elsewhere only after this long, and only where it will be answered in half
/// the time.
const ENDGAME_PATIENCE: Duration = Duration::from_millis(500);
/// What a neighbour that delivers nothing is expected to need in the endgame.
const STALLED: Duration = Duration::from_secs(10);
/// All requests repeated in the endgame together are at most this part of the file, or one block.
const ENDGAME_SHARE: u64 = 200;

impl Swarm {
    /// Blocks handed out as [`StorageRequest::Write`] are stored, or could not be.
    pub fn handle_stored(&mut self, run: Run, result: Result<(), StorageFailed>, now: Instant) {
        if result.is_err() {
            self.halted = true;
            self.events.push_back(Event::StorageFailed);
            return;
        }
        for index in run.blocks() {
            if self.blocks.store(index) {
                self.unannounced.push(index);
            }
        }
        if self.is_complete() {
            self.announce();
            self.events.push_back(Event::Completed);
        } else if self.unannounced.len() >= HAVE_BATCH {
            self.announce();
        } else if !self.timers.is_set(Timer::Announce) {
            self.timers.set(Timer::Announce, now + self.config.have_delay);
        }
    }

    pub(super) fn handle_bitfield(&mut self, from: PeerId, bits: &[u8], now: Instant) -> Result<(), Violation> {
        let has = Bitfield::from_bytes(bits, self.stored().len()).map_err(|_| Violation::BadBitfield)?;
        self.learn(from, has.iter());
        self.update_interest(from);
        self.request_of(from, now);
        Ok(())
    }

    pub(super) fn handle_have(&mut self, from: PeerId, runs: &[HaveRun], now: Instant) -> Result<(), Violation> {
        let geometry = *self.manifest.geometry();
        let mut left = geometry.blocks();
        for HaveRun(index, count) in runs {
            let run = geometry.run(*index, *count).map_err(|_| Violation::OutOfRange)?;
            // More than every block once is no news but a way to keep others busy.
            left = left.checked_sub(run.count()).ok_or(Violation::OutOfRange)?;
            self.learn(from, run.blocks());
        }
        self.update_interest(from);
        self.request_of(from, now);
        Ok(())
    }

    /// What is in flight stays so: each request is still answered, by its block or by a `reject`.
    pub(super) fn handle_choke(&mut self, from: PeerId, now: Instant) {
        if let Some(neighbour) = self.neighbours.get_mut(&from) {
            neighbour.it_chokes_us = true;
        }
        // If it was the last to be relied on, those that are snubbed get another try.
        self.request_of_all(now);
    }

    pub(super) fn handle_unchoke(&mut self, from: PeerId, now: Instant) {
        let Some(neighbour) = self.neighbours.get_mut(&from) else { return };
        neighbour.it_chokes_us = false;
        self.request_of(from, now);
    }

    /// The neighbour refuses a request. If it is not because it chokes us, it does not have the blocks after all.
    pub(super) fn handle_reject(&mut self, from: PeerId, run: Run, now: Instant) {
        let geometry = *self.manifest.geometry();
        let Some(neighbour) = self.neighbours.get_mut(&from) else { return };
        if !neighbour.take_in_flight(run, &geometry) {
            return;
        }
        self.in_flight_bytes -= geometry.run_len(run);
        if !neighbour.it_chokes_us {
            for index in run.blocks() {
                if neighbour.has.clear(index) {
                    self.picker.lost(index, &mut self.rng);
                    neighbour.wanted -= u32::from(self.blocks.is_wanted(index));
                }
            }
        }
        self.release(run);
        self.update_interest(from);
        self.request_of_all(now);
    }

    pub(super) fn handle_block(&mut self, from: PeerId, run: Run, data: &Bytes, now: Instant) -> Result<(), Violation> {
        let geometry = *self.manifest.geometry();
        let bytes = geometry.run_len(run);
        let Some(neighbour) = self.neighbours.get_mut(&from) else { return Ok(()) };
        let was_in_flight = neighbour.answered(run, &geometry).ok_or(Violation::Unrequested)?;
        if was_in_flight {
            self.in_flight_bytes -= bytes;
            self.release(run);
        }
        if !run.blocks().any(|index| self.blocks.is_wanted(index)) {
            self.request_of(from, now);
            return Ok(());
        }
        let correct = self.manifest.check_run(run, data);
        self.store_correct(run, data, &correct);
        if correct.contains(&false) {
            return Err(Violation::BadBlock);
        }
        self.received.add(bytes, now);
        if let Some(neighbour) = self.neighbours.get_mut(&from) {
            neighbour.delivered(bytes, self.config.max_window, now);
        }
        self.cancel_elsewhere(from, run, now);
        self.request_of(from, now);
        Ok(())
    }

    /// Asks one neighbour for as much as its window allows.
    pub(super) fn request_of(&mut self, peer: PeerId, now: Instant) {
        let geometry = *self.manifest.geometry();
        while let Some(neighbour) = self.neighbours.get(&peer) {
            if self.halted || !neighbour.we_are_interested || self.in_flight_bytes >= self.config.max_in_flight {
                return;
            }
            if neighbour.is_snubbed()
                && !neighbour.deserves_another_try(now)
                && self.neighbours.values().any(Neighbour::is_serving)
            {
                return;
            }
            let Some(max_bytes) = neighbour.next_run_bytes(self.config.max_run, now) else { return };
            let picked = if self.blocks.none_missing() {
                self.endgame_pick(peer, now)
            } else {
                self.picker.pick(&neighbour.has, neighbour.last_asked, &geometry, max_bytes, &mut self.rng)
            };
            let Some(run) = picked else { return };
            let missing = self.blocks.request(run);
            if missing.is_empty() {
                self.repeated_bytes += geometry.run_len(run);
            }
            missing.into_iter().for_each(|index| _ = self.picker.remove(index));
            self.in_flight_bytes += geometry.run_len(run);
            let file = self.file();
            if let Some(neighbour) = self.neighbours.get_mut(&peer) {
                neighbour.requested(run, &geometry, now);
            }
            self.send(peer, PeerMessage::Request { file, index: run.index(), count: run.count() });
            self.schedule_requests(now);
        }
    }

    /// Asks every neighbour that has room, after requests became free; those that are snubbed come last.
    pub(super) fn request_of_all(&mut self, now: Instant) {
        let mut peers: Vec<_> = self.neighbours.iter().map(|(&peer, other)| (other.is_snubbed(), peer)).collect();
        peers.sort_unstable();
        peers.into_iter().for_each(|(_, peer)| self.request_of(peer, now));
    }

    /// Takes requests back from neighbours that owe them for too long, so that others can have them.
    pub(super) fn handle_overdue(&mut self, now: Instant) {
        let late = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        let snubbed: Vec<_> = self
            .neighbours
            .iter()
            .filter(|(_, neighbour)| late(neighbour.overdue(self.config.snub_after)))
            .map(|(&peer, _)| peer)
            .collect();
        for peer in snubbed {
            self.cancel_all(peer);
            if let Some(neighbour) = self.neighbours.get_mut(&peer) {
                neighbour.snubbed = Some(now);
                neighbour.last_progress = now;
            }
        }
        self.request_of_all(now);
        self.schedule_requests(now);
    }

    /// Announces the blocks stored since the last time.
    pub(super) fn announce(&mut self) {
        self.timers.clear(Timer::Announce);
        let mut stored = std::mem::take(&mut self.unannounced);
        stored.sort_unstable();
        let runs: Vec<_> =
            stored.chunk_by(|a, b| a + 1 == *b).map(|chunk| HaveRun(chunk[0], chunk.len() as u32)).collect();
        if runs.is_empty() {
            return;
        }
        let file = self.file();
        let peers: Vec<_> = self.neighbours.keys().copied().collect();
        for peer in peers {
            self.send(peer, PeerMessage::Have { file, blocks: runs.clone() });
        }
    }

    /// Gives a run back to the picker, unless it is still asked of somebody else.
    pub(super) fn release(&mut self, run: Run) {
        for index in self.blocks.release(run) {
            self.picker.insert(index, &mut self.rng);
        }
    }

    /// Notes blocks that a neighbour has.
    fn learn(&mut self, from: PeerId, indices: impl Iterator<Item = u32>) {
        let Some(neighbour) = self.neighbours.get_mut(&from) else { return };
        for index in indices {
            if neighbour.has.set(index) {
                self.picker.gained(index, &mut self.rng);
                neighbour.wanted += u32::from(self.blocks.is_wanted(index));
            }
        }
    }

    fn update_interest(&mut self, peer: PeerId) {
        let file = self.file();
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        let interested = neighbour.wanted > 0;
        if interested != neighbour.we_are_interested {
            neighbour.we_are_interested = interested;
            let message =
                if interested { PeerMessage::Interested { file } } else { PeerMessage::NotInterested { file } };
            self.send(peer, message);
        }
    }

    /// Takes back everything asked of a neighbour.
    fn cancel_all(&mut self, peer: PeerId) {
        let file = self.file();
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        self.in_flight_bytes -= neighbour.in_flight_bytes;
        for run in neighbour.take_all_back() {
            self.release(run);
            self.send(peer, PeerMessage::Cancel { file, index: run.index(), count: run.count() });
        }
    }

    /// Hands verified blocks that are still wanted to the storage, in runs as long as possible.
    fn store_correct(&mut self, run: Run, data: &Bytes, correct: &[bool]) {
        let geometry = *self.manifest.geometry();
        let fresh: Vec<_> = run
            .blocks()
            .zip(correct)
            .filter(|&(index, &correct)| correct && self.blocks.is_wanted(index))
            .map(|(index, _)| index)
            .collect();
        for &index in &fresh {
            self.picker.remove(index);
            self.blocks.storing(index);
            let owners = self.neighbours.iter_mut().filter(|(_, neighbour)| neighbour.has.has(index));
            let bored: Vec<_> = owners
                .filter_map(|(&peer, neighbour)| {
                    neighbour.wanted -= 1;
                    (neighbour.wanted == 0).then_some(peer)
                })
                .collect();
            bored.into_iter().for_each(|peer| self.update_interest(peer));
        }
        for chunk in fresh.chunk_by(|a, b| a + 1 == *b) {
            let piece = geometry.run(chunk[0], chunk.len() as u32).expect("blocks of a checked run are in the file");
            let offset = geometry.offset(piece.index());
            let start = (offset - geometry.offset(run.index())) as usize;
            let data = data.slice(start..start + geometry.run_len(piece) as usize);
            self.storage.push_back(StorageRequest::Write { run: piece, offset, data });
        }
    }

    /// Takes back, from other neighbours, requests of which nothing is wanted any more.
    fn cancel_elsewhere(&mut self, except: PeerId, arrived: Run, now: Instant) {
        let geometry = *self.manifest.geometry();
        let file = self.file();
        let overlaps =
            |run: Run| run.blocks().start < arrived.blocks().end && arrived.blocks().start < run.blocks().end;
        let unwanted: Vec<_> = self
            .neighbours
            .iter()
            .filter(|(peer, _)| **peer != except)
            .flat_map(|(&peer, neighbour)| neighbour.in_flight.iter().map(move |request| (peer, request.run)))
            .filter(|(_, run)| overlaps(*run) && !run.blocks().any(|index| self.blocks.is_wanted(index)))
            .collect();
        for (peer, run) in unwanted {
            if let Some(neighbour) = self.neighbours.get_mut(&peer)
                && neighbour.take_back(run, &geometry)
            {
                self.in_flight_bytes -= geometry.run_len(run);
                self.send(peer, PeerMessage::Cancel { file, index: run.index(), count: run.count() });
                self.request_of(peer, now);
            }
        }
    }

    /// When nothing is missing but not everything is here: a request of a slower neighbour to repeat at this one.
    fn endgame_pick(&self, peer: PeerId, now: Instant) -> Option<Run> {
        let geometry = self.manifest.geometry();
        let own = self.neighbours.get(&peer)?;
        let block_size = u64::from(geometry.block_size().bytes());
        let budget = (geometry.size() / ENDGAME_SHARE).max(block_size).checked_sub(self.repeated_bytes)?;
        let most = u32::try_from(budget / block_size).ok().filter(|most| *most > 0)?;
        let asked_once = |index| self.blocks.state(index) == BlockState::Requested(1) && own.has.has(index);
        self.neighbours
            .iter()
            .filter(|(other, _)| **other != peer)
            .flat_map(|(_, other)| other.in_flight.iter().map(move |request| (other, request)))
            .filter(|(_, request)| now.since(request.sent) >= ENDGAME_PATIENCE)
            .filter(|(_, request)| request.run.blocks().all(asked_once))
            .filter(|(other, request)| {
                let here = own.time_to_deliver(geometry.run_len(request.run), now).unwrap_or(ENDGAME_PATIENCE);
                other.time_to_deliver(0, now).unwrap_or(STALLED) > here * 2
            })
            .min_by_key(|(_, request)| request.sent)
            .and_then(|(_, request)| geometry.run(request.run.index(), request.run.count().min(most)).ok())
    }

    /// Sets the timer to the next moment at which a neighbour may be overdue.
    fn schedule_requests(&mut self, now: Instant) {
        let overdue = self.neighbours.values().filter_map(|neighbour| neighbour.overdue(self.config.snub_after)).min();
        let endgame = (self.blocks.none_missing() && overdue.is_some()).then(|| now + ENDGAME_PATIENCE);
        match overdue.into_iter().chain(endgame).min() {
            Some(deadline) => self.timers.set(Timer::Requests, deadline),
            None => self.timers.clear(Timer::Requests),
        }
    }
}
