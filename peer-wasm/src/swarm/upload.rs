//! Serving: what is asked for, the rarest first, and no more at a time than the line takes.

use super::{
    Event, ReadId, StorageError, StorageRequest, Swarm, Timer, Violation,
    neighbour::{MAX_QUEUED, Neighbour},
};
use crate::Instant;
use bytes::Bytes;
use protocol::{PeerId, PeerMessage, Span};
use std::time::Duration;

/// The most bytes to have between storage and line while the line's rate is not known.
const FIRST_BUDGET: u64 = 32 << 10;
/// What the line sends in a second is this many times what is between storage and line.
const BUDGETS_PER_SECOND: u64 = 10;
/// A line of a neighbour's own stands still if nothing left by it for so many times as long as all lines together need for
/// what they hold, and for as much in the system's hands,
const STANDS_STILL: u64 = 2;
/// but not before a neighbour would be found silent at the earliest, and not after it would be missed altogether.
const STANDS_STILL_AFTER: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));
/// The most bytes to have between storage and such a line: there are some tens of them.
const MOST_BY_LINE: u64 = 1 << 20;
/// How many times as much as a neighbour asks for the others may be sent each until it has its turn, however common that is:
/// somebody with few requests open seldom has the rarest.
const PASSED_OVER: u64 = 4;
/// Of each neighbour's requests only so many are compared to find the rarest.
const LOOK_AHEAD: usize = 8;

/// What is on its way to a neighbour that has a line of its own.
#[derive(Debug)]
pub(super) struct OwnLine {
    /// Bytes that are being read for it, and that are in the shell's hands.
    reading: u64,
    sending: u64,
    /// When something left by it, or there was something again that could.
    moved: Instant,
}

/// What is being read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) peer: PeerId,
    pub(super) span: Span,
    /// Whether it counts for the neighbour's own line.
    pub(super) by_line: bool,
}

impl Swarm {
    /// Bytes asked for by [`StorageRequest::Read`] are here, or could not be read.
    pub fn handle_read(&mut self, id: ReadId, result: Result<Bytes, StorageError>, now: Instant) {
        let Some(Read { peer, span, by_line }) = self.reads.remove(&id) else { return };
        let file = self.tag();
        let bytes = self.manifest.geometry().span_len(span);
        if by_line {
            if let Some(line) = self.own_lines.get_mut(&peer) {
                line.reading = line.reading.saturating_sub(bytes);
            }
        } else {
            self.uploading_bytes = self.uploading_bytes.saturating_sub(bytes);
        }
        let (index, count) = (span.index(), span.count());
        match (self.neighbours.get_mut(&peer), result) {
            (Some(neighbour), Ok(data)) if data.len() as u64 == bytes => {
                neighbour.served.sent(bytes, now);
                // The line may be another one than when it was asked for.
                match self.own_lines.get_mut(&peer) {
                    Some(line) => {
                        if line.sending == 0 {
                            line.moved = now;
                        }
                        line.sending += bytes;
                    }
                    None => self.uploading_bytes += bytes,
                }
                self.sent.add(bytes, now);
                self.sent_to_all += bytes;
                self.send(peer, PeerMessage::Block { file, index, count, data });
                self.stop_serving_taker(peer, now);
                return;
            }
            (None, Ok(_)) => {}
            (neighbour, result) => {
                if neighbour.is_some() {
                    self.send(peer, PeerMessage::Reject { file, index, count });
                }
                let short =
                    |data: Bytes| StorageError::Failed { detail: format!("read {} of {bytes} bytes", data.len()) };
                self.events.push_back(Event::StorageFailed(result.map_or_else(|error| error, short)));
            }
        }
        self.serve(now);
    }

    /// What is said to a neighbour goes by a line of its own from now on, until [`handle_cut_off`](Self::handle_cut_off), or
    /// until it leaves.
    pub fn handle_own_line(&mut self, peer: PeerId, now: Instant) {
        self.own_lines.entry(peer).or_insert(OwnLine { reading: 0, sending: 0, moved: now });
        self.serve(now);
        self.handle_no_line(peer, now);
    }

    /// This many payload bytes of `block` messages for a neighbour left the shell's hands by its own line.
    pub fn handle_sent_by_line(&mut self, peer: PeerId, bytes: u64, now: Instant) {
        // What was on a line that is gone is forgotten already.
        if let Some(line) = self.own_lines.get_mut(&peer) {
            line.sending = line.sending.saturating_sub(bytes);
            line.moved = now;
        }
        self.serve(now);
    }

    /// This many payload bytes of `block` messages left the shell's hands, by the line that all others share.
    pub fn handle_sent(&mut self, bytes: u64, now: Instant) {
        self.uploading_bytes = self.uploading_bytes.saturating_sub(bytes);
        self.serve(now);
    }

    pub(super) fn handle_request(&mut self, from: PeerId, span: Span, now: Instant) -> Result<(), Violation> {
        let file = self.tag();
        let geometry = *self.manifest.geometry();
        let Some(neighbour) = self.neighbours.get_mut(&from) else { return Ok(()) };
        if neighbour.served.queue.contains(&span) {
            return Ok(());
        }
        if neighbour.served.queue.len() >= MAX_QUEUED {
            return Err(Violation::RequestFlood);
        }
        let is_served =
            self.choker.serves(from) && geometry.span_blocks(span).all(|index| self.blocks.stored().has(index));
        let may_give = is_served && self.may_give(span, from);
        let Some(neighbour) = self.neighbours.get_mut(&from) else { return Ok(()) };
        if may_give {
            neighbour.served.enqueue(span);
            self.note_queue(from);
            self.serve(now);
        } else if !is_served && !neighbour.served.may_be_rejected(now) {
            return Err(Violation::RequestFlood);
        } else {
            self.send(from, PeerMessage::Reject { file, index: span.index(), count: span.count() });
        }
        Ok(())
    }

    /// A cancelled request that is not being served yet is rejected, so that the other knows that no block comes.
    pub(super) fn handle_cancel(&mut self, from: PeerId, span: Span) {
        let Some(neighbour) = self.neighbours.get_mut(&from) else { return };
        let Some(place) = neighbour.served.queue.iter().position(|queued| *queued == span) else { return };
        neighbour.served.queue.remove(place);
        self.note_queue(from);
        let file = self.tag();
        self.send(from, PeerMessage::Reject { file, index: span.index(), count: span.count() });
    }

    /// Starts reading for the neighbours that are served, in turn, within the budget.
    pub(super) fn serve(&mut self, now: Instant) {
        let geometry = *self.manifest.geometry();
        while let Some((peer, span)) = self.next_to_serve(now) {
            if !self.may_give(span, peer) {
                let file = self.tag();
                self.send(peer, PeerMessage::Reject { file, index: span.index(), count: span.count() });
                continue;
            }
            self.give_first_copy(span, peer, now);
            let id = ReadId(self.next_read);
            self.next_read += 1;
            let len = geometry.span_len(span);
            let line = self.own_lines.get_mut(&peer);
            let by_line = line.is_some();
            *line.map_or(&mut self.uploading_bytes, |line| &mut line.reading) += len;
            self.reads.insert(id, Read { peer, span, by_line });
            self.storage.push_back(StorageRequest::Read { id, offset: geometry.span_offset(span), len: len as u32 });
        }
        self.watch_line(now);
        self.watch_own_lines(now);
    }

    /// The most bytes to have between storage and the line that all share: as much as leaves in a tenth of a second, so that
    /// what is decided here soon takes effect there.
    fn budget(&self, now: Instant) -> u64 {
        let most = self.config.upload_budget;
        (self.sent.per_second(now) / BUDGETS_PER_SECOND).clamp(FIRST_BUDGET.min(most), most)
    }

    /// Whether nothing is between storage and any line.
    pub(super) fn is_line_idle(&self) -> bool {
        self.uploading_bytes == 0 && self.own_lines.values().all(|line| line.reading + line.sending == 0)
    }

    /// Whether a neighbour's own line stands still, so that what is on it keeps nobody else from anything.
    pub(super) fn stands_still(&self, peer: PeerId, now: Instant) -> bool {
        let still = |line: &OwnLine| line.sending > 0 && line.moved + self.still_after(now) <= now;
        self.own_lines.get(&peer).is_some_and(still)
    }

    /// How long nothing may leave by a line until it stands still: the others wait for as long.
    fn still_after(&self, now: Instant) -> Duration {
        let (least, most) = STANDS_STILL_AFTER;
        let held: u64 = self.own_lines.values().map(|line| line.sending + FIRST_BUDGET).sum();
        let millis = (STANDS_STILL * 1_000 * held).checked_div(self.sent.per_second(now));
        millis.map_or(least, Duration::from_millis).clamp(least, most)
    }

    /// Whether more may be read for those who are served: bytes on lines that stand still do not count.
    fn has_room(&self, now: Instant) -> bool {
        let moving = self.own_lines.iter().filter(|(peer, _)| !self.stands_still(**peer, now));
        let by_lines: u64 = moving.map(|(_, line)| line.reading + line.sending).sum();
        self.uploading_bytes + by_lines < self.budget(now)
    }

    /// Whether more may be read for a neighbour as far as its own line is concerned, if it has one.
    fn line_takes_more(&self, peer: PeerId, now: Instant) -> bool {
        let has_space = |line: &OwnLine| line.reading + line.sending < MOST_BY_LINE;
        self.own_lines.get(&peer).is_none_or(has_space) && !self.stands_still(peer, now)
    }

    /// If somebody waits for room, looks again when the next line may turn out to stand still.
    fn watch_own_lines(&mut self, now: Instant) {
        if self.own_lines.is_empty() {
            return;
        }
        let after = self.still_after(now);
        let moving = self.own_lines.values().filter(|line| line.sending > 0 && line.moved + after > now);
        let next = moving.map(|line| line.moved + after).min().filter(|_| !self.asking.is_empty());
        if let Some(at) = next {
            // The rate falls without anything happening, and with it how long is waited.
            self.timers.set(Timer::OwnLines, at.min(now + STANDS_STILL_AFTER.0));
        }
    }

    /// The request for the rarest block, so that it multiplies soonest, unless somebody was passed over for too long; among
    /// equals that of the neighbour that has least, or, if this peer gives first copies, of the next after the last one.
    /// Those go to who passes them on. To whoever has every block, those are equals that have as many copies to the power of
    /// two: everyone is to get the same of it.
    fn next_to_serve(&mut self, now: Instant) -> Option<(PeerId, Span)> {
        if !self.has_room(now) {
            return None;
        }
        let last = self.last_served;
        let geometry = *self.manifest.geometry();
        let block_size = geometry.block_size().bytes();
        let per_block = geometry.segments_per_block();
        let is_complete = self.is_complete();
        let this = &*self;
        let turns = PASSED_OVER * self.asking.len().saturating_sub(1).max(1) as u64;
        let asking = self.asking.iter().filter(|(peer, _)| this.line_takes_more(**peer, now));
        let first_of_each = asking.filter_map(|(&peer, since)| {
            let neighbour = this.neighbours.get(&peer)?;
            let passed_over = this.taken_from_queues - since;
            // A block that is there in part helps nobody.
            let follows = neighbour.served.last.map(Span::end).filter(|end| end % per_block != 0);
            let rank = |span: &Span| {
                let blocks = geometry.span_blocks(*span);
                let goes_on = follows == Some(span.index()) && blocks.len() == 1;
                let waits = passed_over < turns * geometry.span_len(*span);
                let copies = this.blocks.availability(blocks.start);
                let rarity = if is_complete { (copies + 1).ilog2() } else { copies.into() };
                (!goes_on, waits, rarity)
            };
            let ranked = (0..).zip(&neighbour.served.queue).take(LOOK_AHEAD).map(|(place, span)| (rank(span), place));
            let ((is_new, waits, rarity), place) = ranked.min()?;
            let has = if this.first_copies.is_some() { 0 } else { neighbour.blocks(block_size) };
            let order = (has, last.is_some_and(|last| peer <= last), peer);
            Some((((is_new || last != Some(peer)), is_new, this.distrust(peer), waits, rarity, order), place))
        });
        let ((.., (_, _, peer)), place) = first_of_each.min()?;
        self.last_served = Some(peer);
        let served = &mut self.neighbours.get_mut(&peer)?.served;
        let span = served.queue.remove(place)?;
        served.last = Some(span);
        self.taken_from_queues += geometry.span_len(span);
        self.asking.insert(peer, self.taken_from_queues);
        self.note_queue(peer);
        Some((peer, span))
    }

    /// Neighbours whose requests wait to be served.
    pub(super) fn asking(&self) -> impl Iterator<Item = (PeerId, &Neighbour)> {
        self.asking.keys().filter_map(|peer| Some((*peer, self.neighbours.get(peer)?)))
    }

    /// Notes whether requests of this neighbour wait.
    pub(super) fn note_queue(&mut self, peer: PeerId) {
        if self.neighbours.get(&peer).is_some_and(|neighbour| !neighbour.served.queue.is_empty()) {
            self.asking.entry(peer).or_insert(self.taken_from_queues);
        } else {
            self.asking.remove(&peer);
        }
    }
}
