//! Why nothing comes, for people.

use super::{Swarm, Want, neighbour::Neighbour};
use crate::Instant;

impl Swarm {
    /// What is waited for, if blocks are missing and none comes.
    pub fn want(&self, now: Instant) -> Option<Want> {
        if self.is_complete() || self.halted || self.received.per_second(now) > 0 {
            return None;
        }
        let any = |is: fn(&Neighbour) -> bool| self.neighbours.values().any(is);
        Some(if self.in_flight_bytes > 0 {
            Want::Answer
        } else if self.storing_bytes > 0 {
            Want::Storage
        } else if any(|neighbour| neighbour.asked.next_retry().is_some()) {
            Want::Rejected
        } else if any(|neighbour| neighbour.is_serving()) || any(|neighbour| neighbour.asked.is_snubbed()) {
            Want::Answer
        } else if any(|neighbour| neighbour.asked.wanted > 0) {
            Want::HeldBack
        } else {
            Want::Source
        })
    }
}
