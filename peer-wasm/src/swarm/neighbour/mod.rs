//! What is known of one neighbour.
//!
//! | file | what it owns |
//! |---|---|
//! | `said` | what it said of itself: what it has and wants, whether it serves |
//! | `told` | what it was told of this peer |
//! | `asked`, `patience` | what is asked of it, how it answers, and how long that may take |
//! | `served` | what it is served |

mod asked;
mod patience;
mod said;
mod served;
mod told;

pub(super) use asked::{Asked, Fit, InFlight, Usual};
pub(super) use patience::Patience;
pub(super) use said::Said;
pub(super) use served::{MAX_QUEUED, Rejections, Served};
pub(super) use told::Told;

use crate::Instant;
use protocol::{Bitfield, Geometry};
use std::time::Duration;

/// How long it may take a newcomer to say what it has and wants.
const INTRODUCTION: Duration = Duration::from_secs(1);

/// A peer that messages are exchanged with. What is walked through most often is small and lies together.
#[derive(Debug)]
pub(super) struct Neighbour {
    pub(super) joined: Instant,
    /// For how long the tracker had known it in this swarm when it joined.
    age: Duration,
    pub(super) said: Said,
    pub(super) told: Told,
    pub(super) asked: Box<Asked>,
    pub(super) served: Box<Served>,
}

impl Neighbour {
    pub(super) fn new(geometry: &Geometry, age: Duration, asked: Asked, served: Served, now: Instant) -> Self {
        Self {
            joined: now,
            age,
            said: Said::nothing(geometry.blocks()),
            told: Told::nothing(),
            asked: Box::new(asked),
            served: Box::new(served),
        }
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

    /// Whether it can be relied on: it serves us, delivers, and has more than what is here.
    pub(super) fn is_serving(&self, verified: &Bitfield) -> bool {
        !self.said.chokes_us && !self.asked.is_snubbed() && self.said.offers_more_than(verified)
    }

    /// Notes that it has a block; tells whether that is news.
    pub(super) fn learn(&mut self, index: u32) -> bool {
        let is_news = self.said.has.set(index);
        self.said.was_full |= self.said.has.is_full();
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::BlockSize;

    const BLOCK: u32 = 4_096;

    /// One that joined two seconds after the start.
    fn neighbour() -> Neighbour {
        let geometry = Geometry::new(4 * u64::from(BLOCK), BlockSize::try_from(4_096).unwrap()).unwrap();
        let (asked, served) = (Asked::new(0, 0, at(2_000)), Served::new(0, 0));
        Neighbour::new(&geometry, Duration::from_secs(60), asked, served, at(2_000))
    }

    const fn at(ms: u64) -> Instant {
        Instant::after_start(Duration::from_millis(ms))
    }

    #[test]
    fn its_age_is_that_at_which_it_joined_and_the_time_since() {
        assert_eq!(neighbour().age(at(5_000)), Duration::from_secs(63));
    }

    #[test]
    fn it_has_at_least_what_it_was_sent() {
        let mut neighbour = neighbour();
        assert_eq!(neighbour.blocks(BLOCK), 0);
        neighbour.learn(3);
        assert_eq!(neighbour.blocks(BLOCK), 1);
        neighbour.served.sent(u64::from(BLOCK) * 3 - 1, at(2_000));
        assert_eq!(neighbour.blocks(BLOCK), 2);
    }

    #[test]
    fn it_is_unknown_for_a_second_unless_it_has_something() {
        let unknown = neighbour();
        assert!(unknown.is_unknown(at(2_999)) && !unknown.is_unknown(at(3_000)) && !unknown.is_unknown(at(3_001)));
        let mut has = neighbour();
        has.learn(0);
        assert!(!has.is_unknown(at(2_000)));
        let mut was_sent = neighbour();
        was_sent.served.sent(1, at(2_000));
        assert!(!was_sent.is_unknown(at(2_000)));
    }

    #[test]
    fn it_serves_if_it_does_not_choke_and_has_what_is_wanted_and_delivers() {
        let serving = || {
            let mut neighbour = neighbour();
            neighbour.learn(0);
            neighbour.said.chokes_us = false;
            neighbour
        };
        let nothing = Bitfield::empty(4);
        assert!(serving().is_serving(&nothing) && !serving().is_serving(&serving().said.has));
        let breaks: [fn(&mut Neighbour); 3] = [
            |neighbour| neighbour.said.chokes_us = true,
            |neighbour| _ = neighbour.said.has.clear(0),
            |neighbour| neighbour.asked.snub(at(2_000)),
        ];
        for stop in breaks {
            let mut neighbour = serving();
            stop(&mut neighbour);
            assert!(!neighbour.is_serving(&nothing));
        }
    }

    #[test]
    fn who_had_every_block_is_known_to_have_had_them() {
        let mut neighbour = neighbour();
        assert!((0..3).all(|index| neighbour.learn(index)) && !neighbour.said.was_full);
        assert!(!neighbour.learn(0), "that is no news");
        assert!(neighbour.learn(3) && neighbour.said.was_full);
        neighbour.said.has.clear(3);
        assert!(neighbour.learn(3) && neighbour.said.was_full);
    }
}
