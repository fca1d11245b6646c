//! Why nothing comes, for people.

use super::{Swarm, Want, neighbour::Neighbour};
use crate::Instant;
use protocol::Bitfield;

impl Swarm {
    /// What is waited for, if blocks are missing and none comes.
    pub fn want(&self, now: Instant) -> Option<Want> {
        if self.is_complete() || self.halted || self.received.per_second(now) > 0 {
            return None;
        }
        let verified = self.blocks.verified();
        let any = |is: fn(&Neighbour, &Bitfield) -> bool| self.neighbours.values().any(|other| is(other, verified));
        Some(if self.in_flight_bytes > 0 {
            Want::Answer
        } else if self.storing_bytes > 0 {
            Want::Storage
        } else if any(|other, _| other.asked.next_retry().is_some()) {
            Want::Rejected
        } else if any(Neighbour::is_serving) || any(|other, _| other.asked.is_snubbed()) {
            Want::Answer
        } else if any(|other, verified| other.said.offers_more_than(verified)) {
            Want::HeldBack
        } else {
            Want::Source
        })
    }
}
