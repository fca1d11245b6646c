//! What waits for one receiver, with a queue for each source.

use crate::wire::OutFrame;
use protocol::PeerId;
use std::collections::VecDeque;

/// Frames of several sources, which leave in turns of the same number of bytes (deficit round robin; Shreedhar and
/// Varghese, SIGCOMM 1995). The frames of one source keep their order.
#[derive(Debug)]
pub(crate) struct FairQueue {
    /// The bytes that a source may send before it is the next one's turn.
    quantum: usize,
    /// Those with something waiting; it is the first one's turn.
    turns: VecDeque<Source>,
    cost: usize,
}

#[derive(Debug)]
struct Source {
    id: PeerId,
    frames: VecDeque<OutFrame>,
    cost: usize,
    /// The bytes that it may still send in this turn.
    deficit: usize,
}

impl FairQueue {
    /// An empty queue with turns of `quantum` bytes.
    pub(crate) const fn new(quantum: usize) -> Self {
        Self { quantum, turns: VecDeque::new(), cost: 0 }
    }

    /// About the memory of all that waits.
    pub(crate) const fn cost(&self) -> usize {
        self.cost
    }

    /// About the memory of what waits of one source.
    pub(crate) fn cost_of(&self, id: PeerId) -> usize {
        self.turns.iter().find(|source| source.id == id).map_or(0, |source| source.cost)
    }

    /// Adds a frame of a source.
    pub(crate) fn push(&mut self, id: PeerId, frame: OutFrame) {
        let cost = frame.cost();
        self.cost += cost;
        if let Some(source) = self.turns.iter_mut().find(|source| source.id == id) {
            source.cost += cost;
            source.frames.push_back(frame);
        } else {
            // A place for one: mostly it is gone before the next comes.
            let mut frames = VecDeque::with_capacity(1);
            frames.push_back(frame);
            self.turns.push_back(Source { id, frames, cost, deficit: self.quantum });
        }
    }

    /// Takes the frame out whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<OutFrame> {
        loop {
            let is_alone = self.turns.len() == 1;
            let source = self.turns.front_mut()?;
            // No source is kept without a frame.
            let next = source.frames.front()?.len();
            if next > source.deficit && !is_alone {
                source.deficit += self.quantum;
                self.turns.rotate_left(1);
                continue;
            }
            let frame = source.frames.pop_front()?;
            source.deficit = source.deficit.saturating_sub(next);
            source.cost -= frame.cost();
            self.cost -= frame.cost();
            if source.frames.is_empty() {
                self.turns.pop_front();
            }
            return Some(frame);
        }
    }

    /// Drops everything, and gives the cost of what was dropped.
    pub(crate) fn clear(&mut self) -> usize {
        self.turns.clear();
        std::mem::take(&mut self.cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUANTUM: usize = 64 << 10;
    const ALICE: PeerId = PeerId::from_bytes([0xa1; 8]);
    const BOB: PeerId = PeerId::from_bytes([0xb2; 8]);

    fn frame(byte: u8, len: usize) -> OutFrame {
        OutFrame::binary("", vec![byte; len].into())
    }

    #[test]
    fn sources_get_the_same_bytes_whatever_their_frames() {
        let mut queue = FairQueue::new(QUANTUM);
        for _ in 0..10 {
            queue.push(ALICE, frame(1, 1 << 20));
        }
        for _ in 0..1_000 {
            queue.push(BOB, frame(2, 10_000));
        }
        let (large, small) = (frame(1, 1 << 20).len(), frame(2, 10_000).len());
        let mut sent = [0, 0];
        // As long as both have something waiting.
        while sent[0] < 8 * large && sent[1] < 900 * small {
            let len = queue.pop().unwrap().len();
            sent[usize::from(len == small)] += len;
            assert!(sent[0].abs_diff(sent[1]) <= large + 2 * QUANTUM, "{sent:?}");
        }
    }

    #[test]
    fn what_one_source_sends_stays_in_order_and_everything_leaves() {
        let mut queue = FairQueue::new(QUANTUM);
        for i in 0..100 {
            queue.push(if i % 3 == 0 { ALICE } else { BOB }, frame(i, 1_000 * usize::from(i)));
        }
        let (mut order, mut count) = (Vec::new(), 0);
        while let Some(frame) = queue.pop() {
            count += 1;
            order.push(frame.len());
        }
        let of = |multiple: bool| {
            let lens = (0..100_usize).filter(move |i| (i % 3 == 0) == multiple).map(|i| frame(0, 1_000 * i).len());
            lens.collect::<Vec<_>>()
        };
        for lens in [of(true), of(false)] {
            assert_eq!(order.iter().copied().filter(|len| lens.contains(len)).collect::<Vec<_>>(), lens);
        }
        assert_eq!((count, queue.cost(), queue.turns.len()), (100, 0, 0));
    }

    #[test]
    fn costs_add_up() {
        let mut queue = FairQueue::new(QUANTUM);
        queue.push(ALICE, frame(1, 1_000));
        queue.push(BOB, frame(2, 2_000));
        assert_eq!(queue.cost_of(ALICE) + queue.cost_of(BOB), queue.cost());
        assert!(queue.cost_of(ALICE) >= 1_000 && queue.cost_of(BOB) >= 2_000);
        let cost = queue.cost();
        assert_eq!((queue.clear(), queue.cost(), queue.cost_of(ALICE)), (cost, 0, 0));
    }
}
