//! Serving: whom, what, and no more at a time than the line takes.

use super::{Event, PeerStrategy, ReadId, StorageFailed, StorageRequest, Swarm, Timer, Transmit, Violation};
use super::{
    choker::Candidate,
    neighbour::{MAX_QUEUED, Neighbour},
};
use crate::Instant;
use bytes::Bytes;
use protocol::{PeerId, PeerMessage, Run};
use std::ops::Bound;

impl Swarm {
    /// Bytes asked for by [`StorageRequest::Read`] are here, or could not be read.
    pub fn handle_read(&mut self, id: ReadId, result: Result<Bytes, StorageFailed>, now: Instant) {
        let Some((peer, run)) = self.reads.remove(&id) else { return };
        let file = self.file();
        let bytes = self.manifest.geometry().run_len(run);
        let (index, count) = (run.index(), run.count());
        match (self.neighbours.get_mut(&peer), result) {
            (Some(neighbour), Ok(data)) if data.len() as u64 == bytes => {
                neighbour.sent.add(bytes, now);
                neighbour.total_sent += bytes;
                self.sent.add(bytes, now);
                self.send(peer, PeerMessage::Block { file, index, count, data });
                return;
            }
            (None, Ok(_)) => {}
            (neighbour, Ok(_) | Err(StorageFailed)) => {
                if neighbour.is_some() {
                    self.send(peer, PeerMessage::Reject { file, index, count });
                }
                self.events.push_back(Event::StorageFailed);
            }
        }
        self.handle_sent(bytes);
    }

    /// This many payload bytes of `block` messages left the shell's hands.
    pub fn handle_sent(&mut self, bytes: u64) {
        self.uploading_bytes = self.uploading_bytes.saturating_sub(bytes);
        self.serve();
    }

    pub(super) fn handle_interest(&mut self, from: PeerId, interested: bool, now: Instant) {
        let Some(neighbour) = self.neighbours.get_mut(&from) else { return };
        neighbour.it_is_interested = interested;
        if interested && !self.timers.is_set(Timer::ChokeRound) {
            self.timers.set(Timer::ChokeRound, now + self.config.choke_round);
        }
        self.fill_slots();
    }

    pub(super) fn handle_request(&mut self, from: PeerId, run: Run, now: Instant) -> Result<(), Violation> {
        let file = self.file();
        let Some(neighbour) = self.neighbours.get_mut(&from) else { return Ok(()) };
        if neighbour.queue.contains(&run) {
            return Ok(());
        }
        if neighbour.queue.len() >= MAX_QUEUED {
            return Err(Violation::RequestFlood);
        }
        if !neighbour.we_choke_it && run.blocks().all(|index| self.blocks.stored().has(index)) {
            neighbour.queue.push_back(run);
            neighbour.asked_this_round = true;
            neighbour.idle = false;
            self.serve();
        } else if !neighbour.may_be_rejected(now) {
            return Err(Violation::RequestFlood);
        } else {
            self.send(from, PeerMessage::Reject { file, index: run.index(), count: run.count() });
        }
        Ok(())
    }

    pub(super) fn handle_cancel(&mut self, from: PeerId, run: Run) {
        if let Some(neighbour) = self.neighbours.get_mut(&from) {
            neighbour.queue.retain(|queued| *queued != run);
        }
    }

    pub(super) fn choke_round(&mut self, now: Instant) {
        let complete = self.is_complete();
        self.neighbours.values_mut().for_each(Neighbour::end_round);
        let candidates: Vec<_> = self
            .neighbours
            .iter()
            .filter(|(_, neighbour)| neighbour.it_is_interested)
            .map(|(&peer, neighbour)| Candidate { peer, score: self.score(neighbour, complete), idle: neighbour.idle })
            .collect();
        if !candidates.is_empty() {
            self.timers.set(Timer::ChokeRound, now + self.config.choke_round);
        }
        self.choker.round(candidates, &self.config, &mut self.rng);
        self.apply_choker();
        for neighbour in self.neighbours.values_mut() {
            neighbour.served_since_round = !neighbour.we_choke_it;
        }
    }

    /// Gives places that became free to whoever waits.
    pub(super) fn fill_slots(&mut self) {
        let interested = self.neighbours.iter().filter(|(_, neighbour)| neighbour.it_is_interested);
        let interested = interested.map(|(&peer, _)| peer).collect();
        self.choker.fill(interested, &self.config, &mut self.rng);
        self.apply_choker();
    }

    /// Starts reading for the neighbours that are served, in turn, within the budget.
    pub(super) fn serve(&mut self) {
        let geometry = *self.manifest.geometry();
        while self.uploading_bytes < self.config.upload_budget {
            let Some((peer, run)) = self.next_to_serve() else { return };
            let id = ReadId(self.next_read);
            self.next_read += 1;
            self.reads.insert(id, (peer, run));
            let len = geometry.run_len(run);
            self.uploading_bytes += len;
            self.storage.push_back(StorageRequest::Read { id, offset: geometry.offset(run.index()), len: len as u32 });
        }
    }

    /// The next neighbour after the last one that waits for something, and what it waits for.
    fn next_to_serve(&mut self) -> Option<(PeerId, Run)> {
        let after = self.last_served.map_or(Bound::Unbounded, Bound::Excluded);
        let waiting = |(peer, neighbour): (&PeerId, &Neighbour)| (!neighbour.queue.is_empty()).then_some(*peer);
        let peer = self
            .neighbours
            .range((after, Bound::Unbounded))
            .find_map(waiting)
            .or_else(|| self.neighbours.iter().find_map(waiting))?;
        self.last_served = Some(peer);
        Some((peer, self.neighbours.get_mut(&peer)?.queue.pop_front()?))
    }

    /// Tells neighbours whose place changed.
    fn apply_choker(&mut self) {
        let file = self.file();
        for (&to, neighbour) in &mut self.neighbours {
            let serve = self.choker.serves(to);
            if serve == neighbour.we_choke_it {
                neighbour.we_choke_it = !serve;
                let message = if serve { PeerMessage::Unchoke { file } } else { PeerMessage::Choke { file } };
                let refused = neighbour.queue.drain(..);
                let rejects = refused.map(|run| PeerMessage::Reject { file, index: run.index(), count: run.count() });
                let messages = std::iter::once(message).chain(rejects);
                self.transmits.extend(messages.map(|message| Transmit { to, message }));
            }
        }
    }

    /// How much a neighbour deserves to be served.
    fn score(&self, neighbour: &Neighbour, complete: bool) -> u64 {
        match self.config.peer_strategy {
            // Who needs nothing cannot be paid: it serves those first that it has given least.
            PeerStrategy::Reciprocal if complete => u64::MAX - neighbour.total_sent,
            PeerStrategy::Reciprocal => neighbour.received_rounds.iter().sum(),
            PeerStrategy::RareBlocks => {
                let rarity = |index| u64::from(u16::MAX / self.picker.availability(index).max(1));
                neighbour.has.iter().filter(|&index| self.blocks.is_wanted(index)).map(rarity).sum()
            }
            PeerStrategy::Random => 0,
        }
    }
}
