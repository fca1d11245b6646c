//! How much of what is sent may wait in a channel.

use protocol::MAX_PIECE_BYTES;
use std::time::{Duration, Instant};

/// What was written to a channel and waits there until the other side has it.
///
/// If less may wait than crosses the line in a round trip, the line stands still now and then; if more, what is said at once is
/// late. So as much may wait as left in the last tenth of a second, and a piece more, by which it is found out that the line
/// became faster.
#[derive(Debug)]
pub(super) struct Backlog {
    /// The bytes that may wait.
    limit: usize,
    /// When that was decided.
    since: Instant,
    /// Bytes that were written so far.
    written: u64,
    /// Bytes that had left at `since`.
    left: u64,
}

impl Backlog {
    /// The most bytes that may wait: 26 MB/s with 5 ms from here to there and back. More costs the library more for each
    /// datagram, and could be lost in the socket of a browser that is busy, which holds about as much.
    pub(super) const MOST: usize = 128 << 10;
    const LEAST: usize = MAX_PIECE_BYTES;
    const SPAN: Duration = Duration::from_millis(100);

    pub(super) const fn new(now: Instant) -> Self {
        Self { limit: Self::LEAST, since: now, written: 0, left: 0 }
    }

    /// Notes that so many bytes were written.
    pub(super) const fn note(&mut self, bytes: usize) {
        self.written += bytes as u64;
    }

    /// Whether more may be written while so many bytes wait.
    pub(super) fn has_room(&mut self, waiting: usize, now: Instant) -> bool {
        let span = now.saturating_duration_since(self.since);
        if span >= Self::SPAN {
            let left = self.written.saturating_sub(waiting as u64);
            let in_a_span = left.saturating_sub(self.left) as f64 * Self::SPAN.as_secs_f64() / span.as_secs_f64();
            self.limit = Self::MOST.min(Self::LEAST + in_a_span as usize);
            (self.since, self.left) = (now, left);
        }
        waiting < self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills a line that carries so many bytes in a millisecond, whose far end says `delay` milliseconds later that they came;
    /// tells what may wait after ten seconds.
    fn limit_of(rate: usize, delay: usize) -> usize {
        let start = tokio::time::Instant::now().into_std();
        let mut backlog = Backlog::new(start);
        // What left in each millisecond until the far end says that it came.
        let mut flying = vec![0; delay];
        let mut unsent = 0;
        for millisecond in 0..10_000 {
            let now = start + Duration::from_millis(millisecond);
            while backlog.has_room(unsent + flying.iter().sum::<usize>(), now) {
                backlog.note(1_000);
                unsent += 1_000;
            }
            let sent = unsent.min(rate);
            unsent -= sent;
            flying.remove(0);
            flying.push(sent);
        }
        backlog.limit
    }

    #[test]
    fn about_a_tenth_of_a_second_may_wait() {
        for (rate, delay) in [(100, 1), (500, 1), (500, 50), (300, 90)] {
            let (limit, tenth) = (limit_of(rate, delay), 100 * rate);
            assert!((tenth..=tenth + 2 * Backlog::LEAST).contains(&limit), "{rate} {delay}: {limit}");
        }
        assert_eq!(limit_of(100_000, 1), Backlog::MOST);
    }
}
