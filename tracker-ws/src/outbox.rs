//! What waits for one receiver, bounded in bytes: first the tracker's own words, then small messages of peers, then blocks
//! and manifests.
//! Peers take turns, so that what one sends keeps nobody else waiting for long.

use crate::{
    budget::{Budget, may_hold},
    fair::FairQueue,
    wire::{Batch, OutFrame},
};
use protocol::{PeerId, close};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// The most bytes of control waiting. The tracker's own words are never dropped, because the receiver's picture would
/// be wrong forever; one that lets this much pile up is closed and comes back to a fresh state.
const CONTROL_BYTES: usize = 4 << 20;
/// The most bytes of peers' small messages waiting.
const ENVELOPE_BYTES: usize = 1 << 20;
/// The bytes of a peer's turn with small messages, and with data: the usual size of a block or a run of them.
const ENVELOPE_TURN: usize = 4 << 10;
const DATA_TURN: usize = 64 << 10;
/// While data waits, small messages get one part in so many of what is written, so that they cannot take the line.
const ENVELOPE_PART: usize = 4;
/// A client with this many bytes of control waiting is not read from, so that one that asks faster than it reads
/// slows only itself.
const CALM_BYTES: usize = 1 << 20;
/// About the most bytes written at once; what came later and is more urgent waits no longer than that.
const BATCH_BYTES: usize = 512 << 10;
/// Answers to pings waiting; the oldest needs none when there is a newer one (RFC 6455 section 5.5.3).
const MAX_PONGS: usize = 16;
/// The frames that an empty lane keeps room for.
const KEPT_FRAMES: usize = 32;

/// What came of a frame from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits.
    Accepted,
    /// There is no room for it.
    Busy,
    /// The connection is being closed.
    Gone,
}

/// The frames waiting for one receiver.
#[derive(Debug)]
pub(crate) struct Outbox {
    lanes: Mutex<Lanes>,
    /// The most bytes of data waiting.
    data_limit: usize,
    /// The memory that the data of all outboxes shares.
    budget: Arc<Budget>,
    /// There is something to write.
    filled: Notify,
    /// Control was taken out.
    calmed: Notify,
    closed: Notify,
}

#[derive(Debug)]
struct Lanes {
    /// The answers to the newest pings.
    pongs: VecDeque<OutFrame>,
    control: VecDeque<Control>,
    control_bytes: usize,
    envelopes: FairQueue,
    data: FairQueue,
    /// The cost of the data that was taken out and is perhaps not written yet.
    writing: usize,
    closing: Closing,
}

#[derive(Debug)]
struct Control {
    frame: OutFrame,
    /// Whether a newer state makes it worthless.
    is_update: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Closing {
    #[default]
    Open,
    /// Nothing is added, and the code is to be sent once all that waits is.
    Draining(u16),
    /// The code is to be sent once control is.
    Asked(u16),
    /// The writer took everything, the code too.
    Taken(u16),
}

impl Outbox {
    /// An empty outbox that holds at most `data_limit` bytes of data, and no more than `budget` grants.
    pub(crate) fn new(data_limit: usize, budget: Arc<Budget>) -> Self {
        Self {
            lanes: Mutex::new(Lanes::new()),
            data_limit,
            budget,
            filled: Notify::new(),
            calmed: Notify::new(),
            closed: Notify::new(),
        }
    }

    /// Adds a frame that must arrive. If too many wait already, the receiver is closed instead.
    pub(crate) fn push_control(&self, frame: OutFrame) {
        self.push_urgent(Control { frame, is_update: false });
    }

    /// Adds a peer's frame that goes before data, if there is room. A peer may use as much of the room as is left.
    pub(crate) fn push_envelope(&self, source: PeerId, frame: OutFrame) -> Pushed {
        let mut lanes = self.lock();
        if lanes.closing != Closing::Open {
            return Pushed::Gone;
        }
        if !may_hold(lanes.envelopes.cost_of(source), frame.cost(), lanes.envelopes.cost(), ENVELOPE_BYTES) {
            return Pushed::Busy;
        }
        lanes.envelopes.push(source, frame);
        drop(lanes);
        self.filled.notify_one();
        Pushed::Accepted
    }

    /// Adds what must arrive in the order of what a peer says: what the tracker says about it, and the end of a request.
    /// If too much waits already, the receiver is closed instead.
    pub(crate) fn push_about(&self, peer: PeerId, frame: OutFrame) -> Pushed {
        let mut lanes = self.lock();
        if lanes.closing != Closing::Open {
            return Pushed::Gone;
        }
        lanes.envelopes.push(peer, frame);
        if lanes.envelopes.cost() > CONTROL_BYTES {
            self.close_locked(&mut lanes, close::SLOW_RECEIVER);
        }
        drop(lanes);
        self.filled.notify_one();
        Pushed::Accepted
    }

    /// Adds a frame that tells a state, in place of an older one that still waits.
    pub(crate) fn push_update(&self, frame: OutFrame) {
        self.push_urgent(Control { frame, is_update: true });
    }

    /// Answers a ping, in place of the answer to the oldest one if many wait.
    pub(crate) fn push_pong(&self, payload: &[u8]) {
        let mut lanes = self.lock();
        if lanes.closing != Closing::Open {
            return;
        }
        if lanes.pongs.len() == MAX_PONGS {
            lanes.pongs.pop_front();
        }
        lanes.pongs.push_back(OutFrame::pong(payload));
        drop(lanes);
        self.filled.notify_one();
    }

    /// Adds a frame with data of a source, if there is room. A source may use as much of the room as is left, and so
    /// may this outbox of the budget. A frame larger than that is accepted by an empty outbox, if the budget allows.
    pub(crate) fn push_data(&self, source: PeerId, frame: OutFrame) -> Pushed {
        let mut lanes = self.lock();
        if lanes.closing != Closing::Open {
            return Pushed::Gone;
        }
        let held = lanes.data.cost() + lanes.writing;
        let has_room = held == 0 || may_hold(lanes.data.cost_of(source), frame.cost(), held, self.data_limit);
        if !has_room || !self.budget.take(held, frame.cost()) {
            return Pushed::Busy;
        }
        lanes.data.push(source, frame);
        drop(lanes);
        self.filled.notify_one();
        Pushed::Accepted
    }

    /// Closes the connection once the control that waits is written. The first code stands, and is given back.
    pub(crate) fn close(&self, code: u16) -> u16 {
        let mut lanes = self.lock();
        self.close_locked(&mut lanes, code);
        match lanes.closing {
            Closing::Asked(first) | Closing::Taken(first) => first,
            Closing::Open | Closing::Draining(_) => code,
        }
    }

    /// Closes the connection once all that waits is written, for as long as the client reads; [`Outbox::close`] cuts
    /// that short.
    pub(crate) fn drain_then_close(&self, code: u16) {
        let mut lanes = self.lock();
        if lanes.closing == Closing::Open {
            lanes.closing = Closing::Draining(code);
            drop(lanes);
            self.filled.notify_one();
        }
    }

    /// Waits until the connection is to be closed, and gives the code.
    pub(crate) async fn closed(&self) -> u16 {
        loop {
            let closed = self.closed.notified();
            if let Closing::Asked(code) | Closing::Taken(code) = self.lock().closing {
                return code;
            }
            closed.await;
        }
    }

    /// Whether so little control waits that the client may ask for more.
    pub(crate) fn is_calm(&self) -> bool {
        self.lock().control_bytes <= CALM_BYTES
    }

    /// Waits until it is calm. Of several that wait only one is told.
    pub(crate) async fn calmed(&self) {
        while !self.is_calm() {
            self.calmed.notified().await;
        }
    }

    /// Waits for frames and moves some to `batch`, which must be empty, all of it written; `false` if these were the
    /// last, with the close frame at the end.
    pub(crate) async fn fill(&self, batch: &mut Batch) -> bool {
        loop {
            {
                let mut lanes = self.lock();
                self.budget.give_back(std::mem::take(&mut lanes.writing));
                lanes.fill(batch);
                if let Closing::Asked(code) | Closing::Draining(code) = lanes.closing
                    && lanes.control.is_empty()
                    && lanes.envelopes.cost() + lanes.data.cost() == 0
                {
                    lanes.closing = Closing::Taken(code);
                    self.closed.notify_waiters();
                    batch.push(OutFrame::close(code));
                    return false;
                }
            }
            if batch.len() > 0 {
                self.calmed.notify_one();
                return true;
            }
            self.filled.notified().await;
        }
    }

    fn push_urgent(&self, control: Control) {
        let mut lanes = self.lock();
        if lanes.closing != Closing::Open {
            return;
        }
        if control.is_update {
            lanes.drop_updates();
        }
        lanes.control_bytes += control.frame.cost();
        lanes.control.push_back(control);
        if lanes.control_bytes > CONTROL_BYTES {
            self.close_locked(&mut lanes, close::SLOW_RECEIVER);
        }
        drop(lanes);
        self.filled.notify_one();
    }

    fn close_locked(&self, lanes: &mut Lanes, code: u16) {
        if matches!(lanes.closing, Closing::Open | Closing::Draining(_)) {
            lanes.closing = Closing::Asked(code);
            self.budget.give_back(lanes.data.clear());
            self.filled.notify_one();
            self.closed.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        // No code that holds the lock can leave the lanes half changed.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let lanes = self.lanes.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.budget.give_back(lanes.data.clear() + lanes.writing);
    }
}

impl Lanes {
    const fn new() -> Self {
        Self {
            pongs: VecDeque::new(),
            control: VecDeque::new(),
            control_bytes: 0,
            envelopes: FairQueue::new(ENVELOPE_TURN),
            data: FairQueue::new(DATA_TURN),
            writing: 0,
            closing: Closing::Open,
        }
    }

    fn fill(&mut self, batch: &mut Batch) {
        std::mem::take(&mut self.pongs).into_iter().for_each(|pong| batch.push(pong));
        while batch.len() < BATCH_BYTES
            && let Some(control) = self.control.pop_front()
        {
            self.control_bytes -= control.frame.cost();
            batch.push(control.frame);
        }
        let room = BATCH_BYTES.saturating_sub(batch.len());
        let envelopes = if self.data.cost() == 0 { room } else { room.min(BATCH_BYTES / ENVELOPE_PART) };
        let end = batch.len() + envelopes;
        while batch.len() < end
            && let Some(frame) = self.envelopes.pop()
        {
            batch.push(frame);
        }
        while batch.len() < BATCH_BYTES
            && let Some(frame) = self.data.pop()
        {
            self.writing += frame.cost();
            batch.push(frame);
        }
        if self.control.is_empty() {
            self.control.shrink_to(KEPT_FRAMES);
        }
    }

    fn drop_updates(&mut self) {
        self.control.retain(|control| {
            if control.is_update {
                self.control_bytes -= control.frame.cost();
            }
            !control.is_update
        });
    }
}

#[cfg(test)]
mod tests;
