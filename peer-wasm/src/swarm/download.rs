//! Asking for blocks, receiving and verifying them.

use super::{BlockState, Event, StorageError, StorageRequest, Swarm, Violation, neighbour::Neighbour, picker::Pick};
use crate::Instant;
use bytes::Bytes;
use protocol::{Bitfield, HaveRun, PeerId, PeerMessage, Run};

/// The first blocks come one by one and may be any: a newcomer needs something to give, soon.
const FIRST_BLOCKS: u32 = 4;
/// Runs asked of one neighbour follow each other inside stretches of this many bytes, and of no more than this part of
/// the file, so that neighbours still hold different parts of it.
const MAX_STRETCH: u64 = 1 << 20;
const MIN_STRETCHES: u64 = 64;

impl Swarm {
    /// Blocks handed out as [`StorageRequest::Write`] are stored, or could not be.
    pub fn handle_stored(&mut self, run: Run, result: Result<(), StorageError>, now: Instant) {
        if let Err(error) = result {
            self.halted = true;
            self.events.push_back(Event::StorageFailed(error));
            return;
        }
        for index in run.blocks() {
            if self.blocks.store(index) {
                self.unannounced.push(index);
            }
        }
        if self.is_complete() {
            self.announce_complete(now);
            self.events.push_back(Event::Completed);
        } else {
            self.schedule_announcements(run, now);
        }
    }

    pub(super) fn handle_bitfield(&mut self, from: PeerId, bits: &[u8], now: Instant) -> Result<(), Violation> {
        let has = Bitfield::from_bytes(bits, self.stored().len()).map_err(|_| Violation::BadBitfield)?;
        if self.neighbours.get(&from).is_some_and(|neighbour| neighbour.is_introduced) {
            self.welcome_again(from, now);
        }
        if let Some(neighbour) = self.neighbours.get_mut(&from) {
            neighbour.is_introduced = true;
        }
        self.learn(from, has.iter());
        self.update_interest(from);
        self.request_of_all(now);
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
        if self.neighbours.values().any(Neighbour::is_snubbed) {
            self.request_of_all(now);
        }
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
        // If it was asked twice and the first request was taken back, it is that one which is rejected.
        if neighbour.forget_stale(run) {
            return;
        }
        let Some(request) = neighbour.take_in_flight(run, &geometry) else { return };
        self.in_flight_bytes -= geometry.run_len(run);
        if let Some(next) = request.moves_to {
            self.release(run);
            self.request_of(next, now);
            self.request_of(from, now);
            return;
        }
        if !neighbour.it_chokes_us {
            neighbour.refuses = true;
            for index in run.blocks() {
                if neighbour.has.clear(index) {
                    self.picker.lost(index);
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
        let was_repeated = run.blocks().any(|index| self.repeated.contains(&index));
        if was_in_flight.is_some() {
            self.in_flight_bytes -= bytes;
            self.release(run);
        }
        if !run.blocks().any(|index| self.blocks.is_wanted(index)) {
            self.duplicate_bytes += bytes;
            self.request_of(from, now);
            return Ok(());
        }
        let correct = (self.config.check)(&self.manifest, run, data);
        self.store_correct(run, data, &correct);
        if correct.contains(&false) {
            return Err(Violation::BadBlock);
        }
        self.received.add(bytes, now);
        if let Some(neighbour) = self.neighbours.get_mut(&from) {
            neighbour.delivered(bytes, was_in_flight, self.config.max_window, now);
        }
        if was_repeated {
            self.repeated.retain(|index| !run.blocks().contains(index));
            self.cancel_elsewhere(from, run, now);
        }
        self.request_of(from, now);
        Ok(())
    }

    /// Asks one neighbour for as much as its window allows.
    pub(super) fn request_of(&mut self, peer: PeerId, now: Instant) {
        let geometry = *self.manifest.geometry();
        while let Some(neighbour) = self.neighbours.get(&peer) {
            if neighbour.it_chokes_us
                || !neighbour.we_are_interested
                || self.halted
                || self.in_flight_bytes >= self.room_for(neighbour)
            {
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
                let pick = self.next_pick(neighbour, max_bytes);
                let blocks = self.picker.pick(&neighbour.has, pick, &mut self.rng);
                blocks.and_then(|blocks| geometry.run(blocks.start, blocks.end - blocks.start).ok())
            };
            let Some(run) = picked else { return self.steer_to(peer, now) };
            let missing = self.blocks.request(run);
            if missing.is_empty() {
                self.repeated.extend(run.blocks());
            }
            missing.into_iter().for_each(|index| _ = self.picker.remove(index));
            self.in_flight_bytes += geometry.run_len(run);
            let file = self.tag();
            if let Some(neighbour) = self.neighbours.get_mut(&peer) {
                neighbour.requested(run, &geometry, now);
            }
            self.send(peer, PeerMessage::Request { file, index: run.index(), count: run.count() });
            self.expect_answer(peer, now);
        }
    }

    /// How many bytes may be in flight so that more is asked of this neighbour. A quarter of the room is left to those
    /// who have every block: only they have the rarest.
    const fn room_for(&self, neighbour: &Neighbour) -> u64 {
        let room = self.config.max_in_flight;
        if neighbour.has.is_full() { room } else { room - room / 8 }
    }

    fn next_pick(&self, neighbour: &Neighbour, max_bytes: u32) -> Pick {
        let geometry = self.manifest.geometry();
        let block_size = geometry.block_size().bytes();
        let is_first = self.stored().count() < FIRST_BLOCKS;
        let stretch = (geometry.size() / MIN_STRETCHES).min(MAX_STRETCH) / u64::from(block_size);
        Pick {
            following: neighbour.last_asked.map(|run| run.blocks().end),
            most: if is_first { 1 } else { max_bytes / block_size },
            stretch: stretch as u32,
            any: is_first,
        }
    }

    /// Asks every neighbour that has room, after requests became free; those that are snubbed come last.
    pub(super) fn request_of_all(&mut self, now: Instant) {
        let mut peers: Vec<_> = self.neighbours.iter().map(|(&peer, other)| (other.is_snubbed(), peer)).collect();
        peers.sort_unstable();
        peers.into_iter().for_each(|(_, peer)| self.request_of(peer, now));
    }

    /// Gives a run back to the picker, unless it is still asked of somebody else.
    pub(super) fn release(&mut self, run: Run) {
        for index in self.blocks.release(run) {
            self.picker.insert(index);
        }
        let asked_twice = |index: &u32| matches!(self.blocks.state(*index), BlockState::Requested(times) if times > 1);
        self.repeated.retain(|index| !run.blocks().contains(index) || asked_twice(index));
    }

    /// Notes blocks that a neighbour has.
    fn learn(&mut self, from: PeerId, indices: impl Iterator<Item = u32>) {
        let Some(neighbour) = self.neighbours.get_mut(&from) else { return };
        for index in indices {
            if neighbour.has.set(index) {
                if let Some(copies) = &mut self.first_copies {
                    copies.announced(index, from);
                }
                self.picker.gained(index);
                neighbour.wanted += u32::from(self.blocks.is_wanted(index));
            }
        }
        neighbour.was_full |= neighbour.has.is_full();
    }

    pub(super) fn update_interest(&mut self, peer: PeerId) {
        let file = self.tag();
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        let interested = neighbour.wanted > 0;
        if interested != neighbour.we_are_interested {
            neighbour.we_are_interested = interested;
            let message =
                if interested { PeerMessage::Interested { file } } else { PeerMessage::NotInterested { file } };
            self.send(peer, message);
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
            let owners = self.neighbours.values_mut().filter(|neighbour| neighbour.has.has(index));
            owners.for_each(|neighbour| neighbour.wanted -= 1);
        }
        for chunk in fresh.chunk_by(|a, b| a + 1 == *b) {
            let piece = geometry.run(chunk[0], chunk.len() as u32).expect("blocks of a checked run are in the file");
            let offset = geometry.offset(piece.index());
            let start = (offset - geometry.offset(run.index())) as usize;
            let data = data.slice(start..start + geometry.run_len(piece) as usize);
            self.storage.push_back(StorageRequest::Write { run: piece, offset, data });
        }
    }
}
