//! How fast bytes move.

use crate::Instant;
use std::time::Duration;

const BUCKETS: usize = 12;
const BUCKET: Duration = Duration::from_millis(250);

/// Bytes per second over the last three seconds, in buckets of a quarter second. Whole numbers only, so that every
/// target computes the same.
#[derive(Debug, Clone)]
pub(crate) struct Rate {
    /// Bytes; 4 GiB in a quarter of a second are out of reach.
    buckets: [u32; BUCKETS],
    /// Which bucket since the start of time is the newest.
    newest: u64,
    /// When the first byte was counted; a young rate is not divided by time before it.
    first: Option<Instant>,
}

impl Rate {
    pub(crate) const fn new() -> Self {
        Self { buckets: [0; BUCKETS], newest: 0, first: None }
    }

    pub(crate) fn add(&mut self, bytes: u64, now: Instant) {
        let bucket = bucket_of(now);
        for stale in (self.newest + 1..=bucket).take(BUCKETS) {
            self.buckets[stale as usize % BUCKETS] = 0;
        }
        self.newest = bucket;
        let newest = &mut self.buckets[bucket as usize % BUCKETS];
        *newest = newest.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.first.get_or_insert(now);
    }

    /// Bytes per second.
    pub(crate) fn per_second(&self, now: Instant) -> u64 {
        let Some(first) = self.first else { return 0 };
        let bucket = bucket_of(now);
        let oldest = (bucket + 1).saturating_sub(BUCKETS as u64);
        let bytes: u64 = (oldest..=self.newest).map(|bucket| u64::from(self.buckets[bucket as usize % BUCKETS])).sum();
        // The newest bucket is only partly over; count at least one whole bucket of time.
        let window = BUCKET * (BUCKETS as u32 - 1) + (now.since_start() - BUCKET * bucket as u32);
        let span = now.since(first).min(window).max(BUCKET);
        bytes * 1_000 / span.as_millis() as u64
    }
}

fn bucket_of(now: Instant) -> u64 {
    (now.since_start().as_millis() / BUCKET.as_millis()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::after_start(Duration::from_millis(ms))
    }

    #[test]
    fn a_steady_stream_has_its_own_rate() {
        let mut rate = Rate::new();
        for ms in (10_000..20_000).step_by(10) {
            rate.add(1_000, at(ms));
        }
        let per_second = rate.per_second(at(20_000));
        assert!((95_000..=105_000).contains(&per_second), "{per_second}");
    }

    #[test]
    fn it_is_known_early_and_forgotten_after_three_seconds() {
        let mut rate = Rate::new();
        rate.add(50_000, at(7_000));
        assert_eq!(rate.per_second(at(7_100)), 200_000);
        assert_eq!(rate.per_second(at(8_000)), 50_000);
        assert_eq!(rate.per_second(at(10_000)), 0);
        rate.add(1, at(60_000));
        assert_eq!(rate.per_second(at(60_000)), 0);
    }

    #[test]
    fn bytes_are_forgotten_a_quarter_second_at_a_time() {
        let mut rate = Rate::new();
        rate.add(1_000, at(1_000));
        rate.add(3_000, at(3_600));
        assert_eq!(rate.per_second(at(3_600)), 4_000 * 1_000 / 2_600, "since the first byte");
        assert_eq!(rate.per_second(at(3_999)), 4_000 * 1_000 / 2_999, "twelve buckets, the newest nearly over");
        assert_eq!(rate.per_second(at(4_100)), 3_000 * 1_000 / 2_850, "eleven buckets, and what is over of the newest");
        rate.add(5_000, at(4_100));
        assert_eq!(rate.per_second(at(4_100)), 8_000 * 1_000 / 2_850, "the oldest bucket is used again");
        rate.add(1, at(60_000));
        assert_eq!(rate.per_second(at(62_000)), 0);
    }
}
