//! Asking for blocks, receiving and verifying them.

use super::{
    Event, StorageError, StorageRequest, Swarm, Timer, Violation,
    blocks::Whole,
    neighbour::{Fit, Neighbour},
    picker::Pick,
};
use crate::Instant;
use bytes::Bytes;
use protocol::{Bitfield, HaveRun, PeerId, PeerMessage, Run, Span};
use std::{
    ops::{Bound, Range},
    time::Duration,
};

/// The first blocks come one by one and may be any: a newcomer needs something to give, soon.
const FIRST_BLOCKS: u32 = 4;
/// Runs asked of one neighbour follow each other inside stretches of this many bytes, and of no more than this part of
/// the file, so that neighbours still hold different parts of it.
const MAX_STRETCH: u64 = 1 << 20;
const MIN_STRETCHES: u64 = 64;
/// More in flight than the line takes in this time and two round trips only waits in a queue, and could be asked of who
/// answers sooner.
const LINE_WINDOW: Duration = Duration::from_secs(2);
/// As much is asked for in any case.
const FIRST_LINE_WINDOW: u64 = 256 << 10;
/// As much is asked for by the line that all share of those to whom lines of their own are being opened.
const OPENING_WINDOW: u64 = 64 << 10;
/// The part of the room that is left to those who have every block: only they have the rarest.
const SEEDS_SHARE: u64 = 8;

/// There is no room for another block.
struct NoRoom;

impl Swarm {
    /// Blocks handed out as [`StorageRequest::Write`] are stored, or could not be.
    pub fn handle_stored(&mut self, run: Run, result: Result<(), StorageError>, now: Instant) {
        if let Err(error) = result {
            self.halted = true;
            self.events.push_back(Event::StorageFailed(error));
            return;
        }
        let geometry = *self.manifest.geometry();
        for index in run.blocks() {
            if self.blocks.store(index) {
                self.storing_bytes -= u64::from(geometry.block_len(index));
                self.unannounced.push(index);
            }
        }
        if self.is_complete() {
            self.announce_complete(now);
            self.events.push_back(Event::Completed);
        } else {
            self.schedule_announcements(run, now);
            self.offer_new_blocks(now);
        }
        self.offer_room(now);
    }

    pub(super) fn handle_bitfield(
        &mut self,
        from: PeerId,
        bits: &[u8],
        begin: bool,
        now: Instant,
    ) -> Result<(), Violation> {
        let has = Bitfield::from_bytes(bits, self.stored().len()).map_err(|_| Violation::BadBitfield)?;
        if begin {
            self.begin_anew(from, now);
        }
        let Some(neighbour) = self.neighbours.get_mut(&from) else { return Ok(()) };
        neighbour.said.is_introduced = true;
        neighbour.told.begins = false;
        neighbour.asked.forget_refusals();
        let gone: Vec<_> = neighbour.said.has.iter().filter(|index| !has.has(*index)).collect();
        gone.into_iter().for_each(|index| self.unlearn(from, index));
        self.learn(from, has.iter(), now);
        self.show_interest(from);
        if begin {
            self.tell_all_again(from);
        }
        self.request_of_all(now);
        Ok(())
    }

    pub(super) fn handle_have(&mut self, from: PeerId, runs: &[HaveRun], now: Instant) -> Result<(), Violation> {
        let geometry = *self.manifest.geometry();
        let mut left = geometry.blocks();
        let mut news = Vec::with_capacity(runs.len());
        for HaveRun(index, count) in runs {
            let run = geometry.run(*index, *count).map_err(|_| Violation::OutOfRange)?;
            // More than every block once is no news but a way to keep others busy.
            left = left.checked_sub(run.count()).ok_or(Violation::OutOfRange)?;
            news.push(run);
        }
        self.learn(from, news.into_iter().flat_map(Run::blocks), now);
        self.show_interest(from);
        self.request_of(from, now);
        Ok(())
    }

    /// What is in flight stays so: each request is still answered, by its block or by a `reject`.
    pub(super) fn handle_choke(&mut self, from: PeerId, now: Instant) {
        if let Some(neighbour) = self.neighbours.get_mut(&from) {
            neighbour.said.chokes_us = true;
        }
        // If it was the last to be relied on, those that are snubbed get another try.
        if self.neighbours.values().any(|neighbour| neighbour.asked.is_snubbed()) {
            self.request_of_all(now);
        }
    }

    /// Whoever serves may be asked again for what it refused.
    pub(super) fn handle_unchoke(&mut self, from: PeerId, now: Instant) {
        let Some(neighbour) = self.neighbours.get_mut(&from) else { return };
        if std::mem::take(&mut neighbour.said.chokes_us) {
            neighbour.asked.serves_again();
        }
        let refused = neighbour.asked.retry(true, now);
        self.learn_again(from, refused, now);
        self.show_interest(from);
        self.request_of(from, now);
    }

    /// The neighbour refuses a request.
    pub(super) fn handle_reject(&mut self, from: PeerId, span: Span, now: Instant) {
        let geometry = *self.manifest.geometry();
        let Some(neighbour) = self.neighbours.get_mut(&from) else { return };
        let Some(request) = neighbour.asked.rejected(span, &geometry) else { return };
        let chokes_us = neighbour.said.chokes_us;
        self.in_flight_bytes -= geometry.span_len(span);
        self.blocks.release(span);
        if let Some(next) = request.moves_to {
            // First of that one; it may have choked this peer meanwhile, or left.
            self.request_of(next, now);
        } else if !chokes_us {
            // It is taken for a neighbour that does not have the blocks, for a while.
            self.believe_refusal(from, span, now);
        }
        self.request_of_all(now);
    }

    pub(super) fn believe_refusal(&mut self, from: PeerId, span: Span, now: Instant) {
        self.manifest.geometry().span_blocks(span).for_each(|index| self.unlearn(from, index));
        if let Some(neighbour) = self.neighbours.get_mut(&from) {
            neighbour.asked.refuse(span, now);
        }
        self.schedule_retry(from);
        self.show_interest(from);
    }

    /// Takes what neighbours refused long enough ago for what they have again.
    pub(super) fn handle_retry(&mut self, now: Instant) {
        let peers: Vec<_> = self.neighbours.keys().copied().collect();
        for peer in peers {
            let due = self.neighbours.get_mut(&peer).map(|neighbour| neighbour.asked.retry(false, now));
            if let Some(due) = due.filter(|due| !due.is_empty()) {
                self.learn_again(peer, due, now);
                self.show_interest(peer);
                self.request_of(peer, now);
            }
            self.schedule_retry(peer);
        }
    }

    fn schedule_retry(&mut self, peer: PeerId) {
        if let Some(at) = self.neighbours.get(&peer).and_then(|neighbour| neighbour.asked.next_retry()) {
            self.timers.set_earlier(Timer::Retry, at);
        }
    }

    pub(super) fn handle_block(
        &mut self,
        from: PeerId,
        span: Span,
        data: &Bytes,
        now: Instant,
    ) -> Result<(), Violation> {
        let geometry = *self.manifest.geometry();
        let bytes = geometry.span_len(span);
        let Some(neighbour) = self.neighbours.get_mut(&from) else { return Ok(()) };
        let asked = match neighbour.asked.answered(span, &geometry) {
            Fit::Asked(sent) => Some(sent),
            Fit::Late => None,
            Fit::Unasked => return Err(Violation::Unrequested),
        };
        let may_come_twice = asked.is_none() || self.blocks.is_repeated(span);
        if asked.is_some() {
            self.in_flight_bytes -= bytes;
            self.blocks.release(span);
        }
        if data.len() as u64 != bytes {
            return Err(Violation::BadBlock);
        }
        // What is left of requests from before a block was found wrong would be mixed with the next try.
        let is_suspect = || geometry.span_blocks(span).any(|index| self.suspects.contains(index));
        if !self.blocks.wants(span) || (asked.is_none() && is_suspect()) {
            self.request_of(from, now);
            self.offer_room(now);
            return Ok(());
        }
        // No room was kept for what comes late. Whole blocks are taken if there is nothing else to store, or a slow line would
        // bring nothing.
        let is_full = self.in_flight() >= self.config.max_in_flight;
        if asked.is_none() && is_full && (self.storing_bytes > 0 || self.blocks.begins(span)) {
            self.request_of(from, now);
            return Ok(());
        }
        // Each is looked at though another is wrong: nothing of what is whole would be asked for again.
        let mut verified = Ok(());
        for whole in self.blocks.receive(span, data, from) {
            verified = self.verify(&whole, now).and(verified);
        }
        verified?;
        self.received.add(bytes, now);
        self.best_rate = self.best_rate.max(self.received.per_second(now));
        self.round_trip = asked.map_or(self.round_trip, |asked| self.round_trip.min(now.since(asked)));
        if let Some(neighbour) = self.neighbours.get_mut(&from) {
            self.patience.answered_after(neighbour.asked.silence(now));
            neighbour.asked.delivered(bytes, asked, self.config.max_window, now);
        }
        self.schedule_retry(from);
        if may_come_twice {
            self.cancel_unwanted(span, now);
        }
        self.request_of(from, now);
        self.offer_room(now);
        Ok(())
    }

    /// Stores what is right of blocks that are here. What is wrong is the fault of its giver, if there is only one.
    fn verify(&mut self, whole: &Whole, now: Instant) -> Result<(), Violation> {
        let geometry = *self.manifest.geometry();
        let Whole { run, data, given } = whole;
        let correct = (self.config.check)(&self.manifest, *run, data);
        self.store_correct(*run, data, &correct);
        let right = run.blocks().zip(&correct).filter(|(_, correct)| **correct).map(|(index, _)| index);
        for index in right.filter(|index| self.suspects.contains(*index)).collect::<Vec<_>>() {
            let start = (geometry.offset(index) - geometry.offset(run.index())) as usize;
            let data = &data[start..start + geometry.block_len(index) as usize];
            for liar in self.suspects.judge(index, data, &geometry) {
                // It may have lied again since.
                if !self.is_banned(liar) {
                    self.drop_neighbour(liar, Violation::BadBlock, now);
                }
            }
        }
        if !correct.contains(&false) {
            return Ok(());
        }
        let is_mixed = given.windows(2).any(|pair| pair[0].by != pair[1].by);
        if !given.is_empty() {
            self.blocks.discard(run.index());
        }
        if !is_mixed {
            return Err(Violation::BadBlock);
        }
        self.suspects.note(run.index(), given);
        self.take_back_block(run.index());
        // Whoever has it may be asked.
        self.timers.set_earlier(Timer::Requests, now);
        Ok(())
    }

    /// Asks one neighbour for as much as its window allows.
    pub(super) fn request_of(&mut self, peer: PeerId, now: Instant) {
        let geometry = *self.manifest.geometry();
        let block = geometry.block_size().bytes();
        while let Some(neighbour) = self.neighbours.get(&peer) {
            let verified = self.blocks.verified();
            if neighbour.said.chokes_us || self.halted || !neighbour.said.offers_more_than(verified) {
                return;
            }
            if neighbour.asked.is_snubbed()
                && !neighbour.asked.deserves_another_try(now)
                && self.neighbours.values().any(|neighbour| neighbour.is_serving(verified))
            {
                return;
            }
            let Some(mut most) = neighbour.asked.next_request(self.config.max_run, block, now) else { return };
            let is_full =
                self.in_flight_bytes >= self.line_window() && !neighbour.asked.answers_within(LINE_WINDOW / 2, now);
            if is_full || self.saves_relay_for(peer) {
                // One segment of each, so that everybody's pace stays known, and nobody waits for another one.
                if !neighbour.asked.in_flight().is_empty() {
                    return;
                }
                most = geometry.segment_size();
            }
            if self.blocks.none_missing() {
                self.take_over(peer, now);
            }
            let Some(neighbour) = self.neighbours.get(&peer) else { return };
            let picked = if self.blocks.none_missing() {
                if self.in_flight() >= self.room_for(neighbour) {
                    self.is_limited = true;
                    return;
                }
                self.endgame_pick(peer, now)
            } else {
                match self.next_span(peer, most) {
                    Ok(span) => span,
                    Err(NoRoom) if self.give_up_orphan() => continue,
                    Err(NoRoom) => {
                        self.is_limited = true;
                        return;
                    }
                }
            };
            let Some(span) = picked else { return self.steer_to(peer, now) };
            self.blocks.request(span);
            self.in_flight_bytes += geometry.span_len(span);
            let file = self.tag();
            if let Some(neighbour) = self.neighbours.get_mut(&peer) {
                neighbour.asked.requested(span, &geometry, now);
            }
            self.send(peer, PeerMessage::Request { file, index: span.index(), count: span.count() });
            self.expect_answer(peer, now);
        }
    }

    /// What to ask of a neighbour next, of so many bytes at most: the rest of a block that was begun with it, or else the
    /// rarest that it has, and among equals one that was begun. What is begun has its room already.
    fn next_span(&mut self, peer: PeerId, most: u32) -> Result<Option<Span>, NoRoom> {
        let Some(neighbour) = self.neighbours.get(&peer) else { return Ok(None) };
        let has = &neighbour.said.has;
        let last = neighbour.asked.last.map(|span| self.manifest.geometry().span_blocks(span).end - 1);
        let goes_on = last.filter(|index| self.blocks.is_unfinished(*index) && has.has(*index));
        let begun = goes_on.or_else(|| self.blocks.unfinished(has));
        let has_room = self.in_flight() < self.room_for(neighbour);
        if goes_on.is_some() || !has_room {
            let index = begun.ok_or(NoRoom)?;
            return Ok(self.span_of(index..index + 1, most));
        }
        let pick = self.next_pick(neighbour, most);
        let Some(picked) = self.blocks.pick(has, pick, &mut self.rng) else { return Ok(None) };
        let is_no_rarer = |index: &u32| {
            let rarity = |index| self.blocks.availability(index);
            pick.any || picked.contains(index) || rarity(*index) <= rarity(picked.start)
        };
        let begun =
            begun.filter(is_no_rarer).or_else(|| picked.clone().find(|index| self.blocks.is_unfinished(*index)));
        Ok(self.span_of(begun.map_or(picked, |index| index..index + 1), most))
    }

    /// Gives up a block that is begun and that nobody offers who serves: it would keep its room for as long. Tells whether there
    /// was one.
    fn give_up_orphan(&mut self) -> bool {
        let serving = || self.neighbours.values().filter(|neighbour| !neighbour.said.chokes_us);
        let is_orphan = |index: &u32| serving().all(|neighbour| !neighbour.said.has.has(*index));
        let orphan = self.blocks.idle().find(is_orphan);
        orphan.inspect(|index| self.blocks.discard(*index)).is_some()
    }

    /// What to ask of these blocks, of which only the first may be begun: all of them, or as much of the first.
    fn span_of(&self, blocks: Range<u32>, most: u32) -> Option<Span> {
        let geometry = self.manifest.geometry();
        let (first, last) = (blocks.start, blocks.end - 1);
        let in_part = most < geometry.block_size().bytes() || self.blocks.is_unfinished(first);
        if in_part && !self.suspects.contains(first) {
            return self.blocks.next_segments(first, most / geometry.segment_size());
        }
        let segments = geometry.block_segments(first).start..geometry.block_segments(last).end;
        geometry.span(segments.start, segments.len() as u32).ok()
    }

    /// How many bytes in flight fill the line: what it takes in two seconds and two round trips.
    fn line_window(&self) -> u64 {
        let millis = LINE_WINDOW.saturating_add(self.round_trip * 2).as_millis() as u64;
        (self.best_rate.saturating_mul(millis) / 1_000).max(FIRST_LINE_WINDOW)
    }

    /// A line to a neighbour is being opened: until it is there, or will not be there soon, little is asked of it.
    pub fn handle_opening_line(&mut self, peer: PeerId) {
        self.opening_lines.insert(peer);
    }

    /// No line to a neighbour is being opened any more.
    pub fn handle_no_line(&mut self, peer: PeerId, now: Instant) {
        if self.opening_lines.remove(&peer) {
            self.request_of_all(now);
        }
    }

    /// Whether enough is asked by the line that all share of those who will soon have lines of their own: what else is asked there
    /// keeps the words waiting by which those are opened.
    fn saves_relay_for(&self, peer: PeerId) -> bool {
        let opening = || self.opening_lines.iter().filter_map(|peer| self.neighbours.get(peer));
        let in_flight = || opening().map(|neighbour| neighbour.asked.bytes()).sum::<u64>();
        self.opening_lines.contains(&peer) && in_flight() >= OPENING_WINDOW
    }

    /// How many bytes may be in flight so that more is asked of this neighbour.
    const fn room_for(&self, neighbour: &Neighbour) -> u64 {
        let room = self.config.max_in_flight;
        if neighbour.said.has.is_full() { room } else { room - room / SEEDS_SHARE }
    }

    fn next_pick(&self, neighbour: &Neighbour, max_bytes: u32) -> Pick {
        let geometry = self.manifest.geometry();
        let block_size = geometry.block_size().bytes();
        let is_first = self.stored().count() < FIRST_BLOCKS;
        let stretch = (geometry.size() / MIN_STRETCHES).min(MAX_STRETCH) / u64::from(block_size);
        Pick {
            following: neighbour.asked.last.map(|span| geometry.span_blocks(span).end),
            most: if is_first { 1 } else { max_bytes / block_size },
            stretch: stretch as u32,
            any: is_first,
        }
    }

    /// Asks every neighbour that serves this peer and has room, after requests became free; those that are snubbed come last.
    pub(super) fn request_of_all(&mut self, now: Instant) {
        let serving = self.neighbours.iter().filter(|(_, neighbour)| !neighbour.said.chokes_us);
        let mut peers: Vec<_> = serving.map(|(&peer, neighbour)| (neighbour.asked.is_snubbed(), peer)).collect();
        peers.sort_unstable();
        peers.into_iter().for_each(|(_, peer)| self.request_of(peer, now));
    }

    /// Offers room that became free to those who found none, in turn.
    pub(super) fn offer_room(&mut self, now: Instant) {
        if !self.is_limited || self.in_flight() >= self.config.max_in_flight {
            return;
        }
        self.is_limited = false;
        let start = self.last_offered.map_or(Bound::Unbounded, Bound::Excluded);
        let after = self.neighbours.range((start, Bound::Unbounded));
        let peers: Vec<_> = after.chain(&self.neighbours).map(|(&peer, _)| peer).take(self.neighbours.len()).collect();
        for peer in peers {
            let before = self.in_flight_bytes;
            self.request_of(peer, now);
            if self.in_flight_bytes > before {
                self.last_offered = Some(peer);
            }
            if self.in_flight() >= self.config.max_in_flight {
                self.is_limited = true;
                return;
            }
        }
    }

    /// Notes blocks that a neighbour has.
    fn learn(&mut self, from: PeerId, indices: impl Iterator<Item = u32>, now: Instant) {
        let Some(neighbour) = self.neighbours.get_mut(&from) else { return };
        // Who is new may have a place because it may come to want something.
        let wished = neighbour.said.wants(self.blocks.stored()) || neighbour.is_unknown(now);
        for index in indices {
            if neighbour.learn(index) {
                if let Some(copies) = &mut self.first_copies {
                    copies.announced(index, from, now);
                }
                self.blocks.gained(index);
            }
        }
        if wished {
            self.pass_place_on(from, now);
        }
    }

    /// Notes that a neighbour has again what it refused.
    fn learn_again(&mut self, from: PeerId, refused: Vec<Span>, now: Instant) {
        let geometry = *self.manifest.geometry();
        self.learn(from, refused.into_iter().flat_map(|span| geometry.span_blocks(span)), now);
    }

    /// Notes that a neighbour does not have a block.
    fn unlearn(&mut self, from: PeerId, index: u32) {
        if self.neighbours.get_mut(&from).is_some_and(|neighbour| neighbour.said.has.clear(index)) {
            self.blocks.lost(index);
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
            self.blocks.storing(index);
            self.storing_bytes += u64::from(geometry.block_len(index));
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
