//! How much of what is sent may wait in a channel.

use std::time::{Duration, Instant};

/// What was written to a channel and waits there until the other side has it.
///
/// If less may wait than crosses the line in a round trip, the line stands still now and then. What is more than that only
/// waits in a queue, where it makes late what is said at once, or is lost: Chromium's socket holds 56 datagrams, and the
/// library waits a second before it repeats the last of what was lost. So as much may wait as leaves in the shortest time that
/// anything took, and [`LEAST`](Self::LEAST) more, which is the queue that remains, and by which it is found out how fast the
/// line is. (TCP Vegas keeps its queue short in the same way.)
#[derive(Debug)]
pub(super) struct Backlog {
    /// The bytes that may wait.
    limit: usize,
    /// Bytes that were written so far.
    written: u64,
    /// When the limit was decided, and the bytes that had left by then.
    decided: (Instant, u64),
    /// How many bytes have to leave until it is known how long the last of them took, and when that was written.
    mark: Option<(u64, Instant)>,
    /// The shortest time that something took.
    shortest: Option<Duration>,
}

impl Backlog {
    /// The most bytes that may wait: 10 MB/s with 100 ms from here to there and back.
    pub(super) const MOST: usize = 1 << 20;
    /// The bytes that may wait in any case, an eighth of a second at 1.5 Mbit/s.
    const LEAST: usize = 24 << 10;
    /// How often the limit is decided.
    const SPAN: Duration = Duration::from_millis(100);

    pub(super) const fn new(now: Instant) -> Self {
        Self { limit: Self::LEAST, written: 0, decided: (now, 0), mark: None, shortest: None }
    }

    /// Notes that so many bytes are written.
    pub(super) fn note(&mut self, bytes: usize, now: Instant) {
        self.written += bytes as u64;
        self.mark.get_or_insert((self.written, now));
    }

    /// Whether more may be written while so many bytes wait.
    pub(super) fn has_room(&mut self, waiting: usize, now: Instant) -> bool {
        let left = self.written.saturating_sub(waiting as u64);
        if let Some((_, written)) = self.mark.take_if(|(mark, _)| *mark <= left) {
            let took = now.saturating_duration_since(written);
            self.shortest = Some(self.shortest.map_or(took, |shortest| shortest.min(took)));
        }
        let span = now.saturating_duration_since(self.decided.0);
        if span >= Self::SPAN {
            let rate = left.saturating_sub(self.decided.1) as f64 / span.as_secs_f64();
            let crossing = rate * self.shortest.unwrap_or_default().as_secs_f64();
            self.limit = Self::MOST.min(Self::LEAST + crossing as usize);
            self.decided = (now, left);
        }
        waiting < self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: usize = 20;

    /// Fills a line that carries so many bytes in a millisecond, whose far end says `delay` milliseconds later that they came;
    /// tells how many bytes crossed it in the last second, and how many waited in front of it at the end.
    fn fill(rate: usize, delay: usize) -> (usize, usize) {
        let start = tokio::time::Instant::now().into_std();
        let mut backlog = Backlog::new(start);
        // What left in each millisecond until the far end says that it came.
        let mut flying = vec![0; delay];
        let mut queue = 0;
        let mut sent = Vec::new();
        for millisecond in 0..1_000 * SECONDS {
            let now = start + Duration::from_millis(millisecond as u64);
            while backlog.has_room(queue + flying.iter().sum::<usize>(), now) {
                backlog.note(1_000, now);
                queue += 1_000;
            }
            let leaving = queue.min(rate);
            queue -= leaving;
            sent.push(leaving);
            flying.remove(0);
            flying.push(leaving);
        }
        (sent[1_000 * (SECONDS - 1)..].iter().sum(), queue)
    }

    #[test]
    fn a_line_is_filled_and_hardly_anything_waits_in_front_of_it() {
        for (rate, delay) in [(100, 1), (100, 100), (1_000, 5), (10_000, 1), (10_000, 10), (10_000, 80)] {
            let (crossed, queue) = fill(rate, delay);
            assert!(crossed >= 950 * rate, "{rate} {delay}: {crossed}");
            assert!(queue <= 2 * Backlog::LEAST, "{rate} {delay}: {queue}");
        }
    }
}
