//! What is going to happen, in order of time.

use peer_wasm::Instant;
use slab::Slab;
use std::{cmp::Reverse, collections::BinaryHeap};

/// Happenings in order of time; those of one moment in the order in which they were planned.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    happenings: Slab<T>,
    planned: u64,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), happenings: Slab::new(), planned: 0 }
    }

    pub(crate) fn plan(&mut self, when: Instant, happening: T) {
        let key = self.happenings.insert(happening);
        self.heap.push(Reverse((when, self.planned, key)));
        self.planned += 1;
    }

    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((when, _, _))| *when)
    }

    pub(crate) fn next(&mut self) -> Option<(Instant, T)> {
        let Reverse((when, _, key)) = self.heap.pop()?;
        Some((when, self.happenings.remove(key)))
    }
}
