//! What is known of one neighbour.
//!
//! | file | what it owns |
//! |---|---|
//! | `said` | what it said of itself: what it has and wants, whether it serves |
//! | `told` | what it was told of this peer |
//! | `asked` | what is asked of it, and how it answers |
//! | `served` | what it is served |

mod asked;
mod said;
mod served;
mod told;

pub(super) use asked::{Asked, Fit};
pub(super) use said::Said;
pub(super) use served::{MAX_QUEUED, Rejections, Served};
pub(super) use told::Told;

use crate::Instant;
use protocol::Geometry;
use std::time::Duration;

/// How long it may take a newcomer to say what it has and wants.
const INTRODUCTION: Duration = Duration::from_secs(1);

/// A peer that messages are exchanged with.
#[derive(Debug)]
pub(super) struct Neighbour {
    pub(super) joined: Instant,
    /// For how long the tracker had known it in this swarm when it joined.
    age: Duration,
    pub(super) said: Said,
    pub(super) told: Told,
    pub(super) asked: Asked,
    pub(super) served: Served,
}

impl Neighbour {
    pub(super) fn new(geometry: &Geometry, age: Duration, asked: Asked, served: Served, now: Instant) -> Self {
        Self { joined: now, age, said: Said::nothing(geometry.blocks()), told: Told::nothing(), asked, served }
    }

    /// For how long it has been in the swarm.
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.age + now.since(self.joined)
    }

    /// How many blocks it has, also if it does not tell: what it was sent counts.
    pub(super) fn blocks(&self, block_size: u32) -> u32 {
        self.said.has.count().max((self.served.total() / u64::from(block_size)) as u32)
    }

    /// Whether it joined so recently that it could not say yet what it has and wants.
    pub(super) fn is_unknown(&self, now: Instant) -> bool {
        self.said.has.count() == 0 && self.served.total() == 0 && now.since(self.joined) < INTRODUCTION
    }

    /// Whether it can be relied on: it serves us and delivers.
    pub(super) const fn is_serving(&self) -> bool {
        !self.said.chokes_us && self.asked.wanted > 0 && !self.asked.is_snubbed()
    }

    /// Notes that it has a block, which is `wanted` here or not; tells whether that is news.
    pub(super) fn learn(&mut self, index: u32, is_wanted: bool) -> bool {
        let is_news = self.said.has.set(index);
        if is_news {
            self.asked.wanted += u32::from(is_wanted);
            self.said.was_full |= self.said.has.is_full();
        }
        is_news
    }

    /// Notes that it does not have a block; tells whether that is news.
    pub(super) fn unlearn(&mut self, index: u32, is_wanted: bool) -> bool {
        let is_news = self.said.has.clear(index);
        if is_news {
            self.asked.wanted -= u32::from(is_wanted);
        }
        is_news
    }
}
