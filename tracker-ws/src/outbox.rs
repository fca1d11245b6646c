//! What waits for one receiver, bounded in bytes: first the tracker's own words, then small messages of peers, then data.
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

    /// Adds what the tracker says about a peer, in the order of what that peer itself says. It must arrive; if too much
    /// waits already, the receiver is closed instead.
    pub(crate) fn push_about(&self, peer: PeerId, frame: OutFrame) {
        let mut lanes = self.lock();
        if lanes.closing != Closing::Open {
            return;
        }
        lanes.envelopes.push(peer, frame);
        if lanes.envelopes.cost() > CONTROL_BYTES {
            self.close_locked(&mut lanes, close::SLOW_RECEIVER);
        }
        drop(lanes);
        self.filled.notify_one();
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
mod tests {
    use super::*;

    const ALICE: PeerId = PeerId::from_bytes([0xa1; 8]);
    const BOB: PeerId = PeerId::from_bytes([0xb2; 8]);

    fn outbox(data_limit: usize) -> Outbox {
        Outbox::new(data_limit, Arc::new(Budget::new(1 << 30)))
    }

    fn frame(len: usize) -> OutFrame {
        OutFrame::text(&"x".repeat(len))
    }

    async fn taken(outbox: &Outbox) -> (Vec<u8>, bool) {
        let mut batch = Batch::default();
        let more = outbox.fill(&mut batch).await;
        let mut written = Vec::new();
        batch.write_to(&mut written, std::time::Duration::MAX).await.unwrap();
        (written, more)
    }

    #[tokio::test]
    async fn control_goes_before_data() {
        let outbox = outbox(1_000);
        outbox.push_data(ALICE, OutFrame::text("data"));
        outbox.push_control(OutFrame::text("first"));
        outbox.push_control(OutFrame::text("second"));
        assert_eq!(taken(&outbox).await, (b"\x81\x05first\x81\x06second\x81\x04data".to_vec(), true));
    }

    #[tokio::test]
    async fn data_is_refused_above_its_limit_until_some_is_written() {
        let outbox = outbox(1_000);
        assert_eq!(outbox.push_data(ALICE, frame(600)), Pushed::Accepted);
        assert_eq!(outbox.push_data(ALICE, frame(600)), Pushed::Busy);
        taken(&outbox).await;
        assert_eq!(outbox.push_data(ALICE, frame(600)), Pushed::Busy, "what is being written still waits");
        outbox.push_control(frame(1));
        taken(&outbox).await;
        assert_eq!(outbox.push_data(ALICE, frame(600)), Pushed::Accepted);
    }

    #[tokio::test]
    async fn no_source_takes_the_room_of_the_others() {
        let outbox = outbox(100_000);
        let push = |source| outbox.push_data(source, frame(1_000)) == Pushed::Accepted;
        let alice = (0..1_000).take_while(|_| push(ALICE)).count();
        let bob = (0..1_000).take_while(|_| push(BOB)).count();
        assert!((40..50).contains(&alice) && (20..25).contains(&bob), "{alice} {bob}");
        assert!(push(PeerId::from_bytes([0xc3; 8])));
    }

    #[tokio::test]
    async fn the_budget_shrinks_data_and_never_control() {
        let budget = Arc::new(Budget::new(10_000));
        let (full, other) = (Outbox::new(1 << 20, Arc::clone(&budget)), Outbox::new(1 << 20, Arc::clone(&budget)));
        while full.push_data(ALICE, frame(1_000)) == Pushed::Accepted {}
        assert_eq!(other.push_data(ALICE, frame(4_000)), Pushed::Accepted, "one gets half");
        assert_eq!(other.push_data(BOB, frame(4_000)), Pushed::Busy);
        assert_eq!(full.push_envelope(BOB, frame(4_000)), Pushed::Accepted);
        taken(&full).await;
        drop(full);
        assert_eq!(other.push_data(BOB, frame(500)), Pushed::Accepted);
        other.close(1_000);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn many_empty_frames_are_not_for_free() {
        let outbox = outbox(10_000);
        assert!((0..1_000).any(|_| outbox.push_data(ALICE, frame(0)) == Pushed::Busy));
        for _ in 0..CONTROL_BYTES / 100 {
            outbox.push_control(frame(0));
        }
        assert_eq!(outbox.lock().closing, Closing::Asked(close::SLOW_RECEIVER));
    }

    #[tokio::test]
    async fn of_many_pings_the_newest_are_answered() {
        let outbox = outbox(0);
        outbox.push_control(OutFrame::text("x"));
        for number in 0..=u16::MAX {
            outbox.push_pong(&number.to_be_bytes());
        }
        let newest = (u16::MAX - MAX_PONGS as u16 + 1)..=u16::MAX;
        let mut expected: Vec<u8> =
            newest.flat_map(|number| [&[0x8a, 2], &number.to_be_bytes()[..]].concat()).collect();
        expected.extend(b"\x81\x01x");
        assert_eq!(taken(&outbox).await, (expected, true));
    }

    #[tokio::test]
    async fn an_empty_lane_gives_its_room_back() {
        let outbox = outbox(1 << 20);
        for _ in 0..1_000 {
            outbox.push_control(frame(1));
            outbox.push_data(ALICE, frame(1));
        }
        taken(&outbox).await;
        let lanes = outbox.lock();
        assert!(lanes.control.capacity() < 100);
        assert_eq!((lanes.control_bytes, lanes.data.cost()), (0, 0));
    }

    #[tokio::test]
    async fn a_newer_state_takes_the_place_of_an_older_one() {
        let outbox = outbox(0);
        outbox.push_update(OutFrame::text("old"));
        outbox.push_control(OutFrame::text("x"));
        outbox.push_update(OutFrame::text("new"));
        assert_eq!(taken(&outbox).await.0, b"\x81\x01x\x81\x03new");
    }

    #[tokio::test]
    async fn a_close_waits_for_control_and_drops_data() {
        let outbox = outbox(1_000);
        outbox.push_data(ALICE, OutFrame::text("data"));
        outbox.push_control(OutFrame::text("x"));
        outbox.close(4_000);
        outbox.close(4_001);
        outbox.push_control(OutFrame::text("late"));
        assert_eq!(taken(&outbox).await, (b"\x81\x01x\x88\x02\x0f\xa0".to_vec(), false));
        assert_eq!(outbox.closed().await, 4_000);
    }

    #[tokio::test]
    async fn draining_writes_all_that_waits_before_the_close() {
        let outbox = outbox(4 * BATCH_BYTES);
        outbox.push_data(ALICE, frame(BATCH_BYTES));
        outbox.push_data(ALICE, OutFrame::text("data"));
        outbox.drain_then_close(1_001);
        outbox.push_control(OutFrame::text("late"));
        assert!(taken(&outbox).await.1);
        assert_eq!(taken(&outbox).await, (b"\x81\x04data\x88\x02\x03\xe9".to_vec(), false));
        outbox.closed().await;
    }

    #[tokio::test]
    async fn a_close_cuts_draining_short() {
        let outbox = outbox(1_000);
        outbox.push_data(ALICE, OutFrame::text("data"));
        outbox.drain_then_close(1_001);
        outbox.close(1_001);
        outbox.closed().await;
        assert_eq!(taken(&outbox).await, (b"\x88\x02\x03\xe9".to_vec(), false));
    }

    #[tokio::test]
    async fn peers_cannot_have_a_receiver_closed_nor_take_the_room_of_others() {
        let outbox = outbox(0);
        let push = |source| outbox.push_envelope(source, frame(1_000)) == Pushed::Accepted;
        let alice = (0..).take_while(|_| push(ALICE)).count();
        let bob = (0..).take_while(|_| push(BOB)).count();
        assert!((400..500).contains(&alice) && (200..250).contains(&bob), "{alice} {bob}");
        outbox.push_control(frame(1_000));
        assert!(outbox.is_calm(), "what others send does not keep it from being read");
        assert_eq!(outbox.lock().closing, Closing::Open);
        taken(&outbox).await;
        taken(&outbox).await;
        assert!(push(ALICE));
    }

    #[tokio::test]
    async fn small_messages_of_one_peer_hold_up_neither_data_nor_those_of_another() {
        let outbox = outbox(16 << 20);
        while outbox.push_envelope(ALICE, OutFrame::text(&"a".repeat(3_000))) == Pushed::Accepted {}
        outbox.push_envelope(BOB, OutFrame::text("bob"));
        for _ in 0..100 {
            outbox.push_data(BOB, OutFrame::binary("", vec![b'd'; 64 << 10].into()));
        }
        let (first, _) = taken(&outbox).await;
        let count = |byte| first.iter().filter(|it| **it == byte).count();
        assert!(first.windows(3).any(|window| window == b"bob"), "it waits for one turn");
        assert!(count(b'd') > 2 * count(b'a') && count(b'a') > 0, "{} {}", count(b'd'), count(b'a'));
    }

    #[tokio::test]
    async fn what_is_said_of_a_peer_keeps_its_place_among_what_it_says() {
        let outbox = outbox(1_000);
        for text in ["one", "two"] {
            outbox.push_envelope(ALICE, OutFrame::text(text));
        }
        outbox.push_about(ALICE, OutFrame::text("left"));
        outbox.push_about(ALICE, OutFrame::text("joined"));
        outbox.push_envelope(ALICE, OutFrame::text("three"));
        let expected = b"\x81\x03one\x81\x03two\x81\x04left\x81\x06joined\x81\x05three";
        assert_eq!(taken(&outbox).await.0, expected);
    }

    #[tokio::test]
    async fn a_receiver_that_lets_control_pile_up_is_closed() {
        let outbox = outbox(0);
        for _ in 0..=CONTROL_BYTES / 1_000 {
            outbox.push_control(frame(1_000));
        }
        outbox.closed().await;
        assert_eq!(outbox.lock().closing, Closing::Asked(close::SLOW_RECEIVER));
    }
}
