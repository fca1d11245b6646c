//! How long a neighbour that owes something may deliver nothing.

use std::time::Duration;

/// The bounds of patience, of which the first also counts as long as no answer is known. A relay or a tab that is busy for a
/// moment must not cost a neighbour: with half a second, the last of 1,000 peers that all stayed took one per cent longer.
/// Nobody is waited for longer than a block of 1 MiB takes that the slowest of modems sends.
const LEAST: Duration = Duration::from_secs(2);
const MOST: Duration = Duration::from_secs(300);
/// So many means may pass however steady it was: others may be served so often before it is our turn (`upload`).
const TURNS: u32 = 4;
const MAX_DOUBLINGS: u32 = 8;

/// The time that a neighbour takes from one answer to the next: the mean and the mean deviation, from which patience
/// follows as the time to a retransmission does in TCP (RFC 6298).
#[derive(Debug, Default)]
pub(in crate::swarm) struct Patience {
    pace: Option<Pace>,
    /// How often it was lost since the neighbour last kept to it.
    doublings: u32,
}

/// In microseconds: there is one for each neighbour of each peer.
#[derive(Debug)]
struct Pace {
    mean: u32,
    deviation: u32,
}

impl Patience {
    /// Notes that an answer came so long after the one before, or after the first request.
    pub(in crate::swarm) fn answered_after(&mut self, time: Duration) {
        self.doublings = self.doublings.saturating_sub(1);
        let time = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let share = |old: u32, new: u32, parts: u32| old - old / parts + new / parts;
        self.pace = Some(self.pace.as_ref().map_or(Pace { mean: time, deviation: time / 2 }, |pace| Pace {
            mean: share(pace.mean, time, 8),
            deviation: share(pace.deviation, pace.mean.abs_diff(time), 4),
        }));
    }

    /// Notes that it was lost.
    pub(in crate::swarm) fn lost(&mut self) {
        self.doublings = (self.doublings + 1).min(MAX_DOUBLINGS);
    }

    /// Whether anything is known.
    pub(in crate::swarm) const fn is_founded(&self) -> bool {
        self.pace.is_some()
    }

    /// How long nothing may come.
    pub(in crate::swarm) fn lasts(&self) -> Duration {
        (self.usual().unwrap_or(LEAST).clamp(LEAST, MOST) * (1 << self.doublings)).min(MOST)
    }

    /// How long nothing comes at most as a rule, if anything is known.
    pub(in crate::swarm) fn usual(&self) -> Option<Duration> {
        let micros = |micros: u32| Duration::from_micros(micros.into());
        self.pace.as_ref().map(|pace| {
            let mean = micros(pace.mean);
            (mean + micros(pace.deviation) * 4).max(mean * TURNS)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn it_follows_the_pace_of_the_answers_and_how_much_that_varies() {
        let mut patience = Patience::default();
        assert_eq!(patience.lasts(), LEAST);
        patience.answered_after(ms(2_000));
        assert_eq!(patience.lasts(), ms(4 * 2_000), "others may be served four times before");
        patience.answered_after(ms(18_000));
        assert_eq!(patience.lasts(), ms(4_000 + 4 * 4_750), "an eighth and a quarter of the difference of 16 s");
        (0..100).for_each(|_| patience.answered_after(ms(3_000)));
        assert!(patience.lasts().abs_diff(ms(4 * 3_000)) < ms(1), "{:?}", patience.lasts());
    }

    #[test]
    fn it_has_bounds() {
        let mut patience = Patience::default();
        patience.answered_after(ms(1));
        assert_eq!(patience.lasts(), LEAST);
        patience.answered_after(ms(1_000_000));
        assert_eq!(patience.lasts(), MOST);
        (0..99).for_each(|_| patience.lost());
        assert_eq!(patience.lasts(), MOST);
    }

    #[test]
    fn it_doubles_each_time_that_it_is_lost_and_each_answer_takes_one_doubling_back() {
        let mut patience = Patience::default();
        patience.lost();
        assert_eq!(patience.lasts(), LEAST * 2);
        patience.lost();
        assert_eq!(patience.lasts(), LEAST * 4);
        let steady = |patience: &mut Patience| patience.answered_after(ms(2_000));
        (0..100).for_each(|_| steady(&mut patience));
        patience.lost();
        patience.lost();
        assert_eq!(patience.lasts(), ms(32_000));
        steady(&mut patience);
        assert_eq!(patience.lasts(), ms(16_000));
        steady(&mut patience);
        steady(&mut patience);
        assert_eq!(patience.lasts(), ms(8_000));
    }
}
