//! The swarm's timers: one deadline for each thing that waits.

use crate::Instant;

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Choose anew whom to serve.
    ChokeRound,
    /// Announce new blocks to those that are served.
    Announce,
    /// Announce new blocks to everyone.
    AnnounceToAll,
    /// Serve somebody more, because the line is idle.
    Idle,
    /// See whether the neighbours are good enough.
    Neighbours,
    /// See which first copies were not passed on.
    FirstCopies,
    /// See which neighbours owe blocks for too long.
    Requests,
    /// Ask again for what was refused.
    Retry,
    /// Say again what the tracker refused.
    Restate,
    /// See whether a line stands still.
    OwnLines,
}

const TIMERS: [Timer; 10] = [
    Timer::ChokeRound,
    Timer::Announce,
    Timer::AnnounceToAll,
    Timer::Idle,
    Timer::Neighbours,
    Timer::FirstCopies,
    Timer::Requests,
    Timer::Retry,
    Timer::Restate,
    Timer::OwnLines,
];

/// At most one deadline per timer.
#[derive(Debug, Default)]
pub(crate) struct TimerTable {
    deadlines: [Option<Instant>; TIMERS.len()],
}

impl TimerTable {
    pub(crate) fn set(&mut self, timer: Timer, deadline: Instant) {
        self.deadlines[timer as usize] = Some(deadline);
    }

    /// Sets a deadline unless an earlier one is set.
    pub(crate) fn set_earlier(&mut self, timer: Timer, deadline: Instant) {
        let set = &mut self.deadlines[timer as usize];
        *set = Some(set.map_or(deadline, |set| set.min(deadline)));
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.deadlines[timer as usize].is_some()
    }

    pub(crate) fn clear(&mut self, timer: Timer) {
        self.deadlines[timer as usize] = None;
    }

    /// The next deadline and what it is for.
    pub(crate) fn next(&self) -> Option<(Instant, Timer)> {
        TIMERS.into_iter().filter_map(|timer| Some((self.deadlines[timer as usize]?, timer))).min()
    }

    /// Takes out one timer whose deadline has come.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<Timer> {
        let (_, timer) = self.next().filter(|(deadline, _)| *deadline <= now)?;
        self.clear(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const fn at(ms: u64) -> Instant {
        Instant::after_start(Duration::from_millis(ms))
    }

    #[test]
    fn the_earliest_deadline_comes_first_and_each_once() {
        let mut timers = TimerTable::default();
        assert_eq!((timers.next(), timers.expire(at(99))), (None, None));
        timers.set(Timer::ChokeRound, at(30));
        timers.set(Timer::Restate, at(10));
        timers.set(Timer::Idle, at(30));
        assert_eq!((timers.next(), timers.expire(at(9))), (Some((at(10), Timer::Restate)), None));
        assert_eq!(timers.expire(at(10)), Some(Timer::Restate));
        let rest: Vec<_> = std::iter::from_fn(|| timers.expire(at(30))).collect();
        assert_eq!(rest, [Timer::ChokeRound, Timer::Idle], "at the same moment, in their order");
        assert!(!timers.is_set(Timer::Idle));
    }

    #[test]
    fn a_deadline_is_replaced_or_only_moved_to_an_earlier_one() {
        let mut timers = TimerTable::default();
        timers.set_earlier(Timer::Retry, at(20));
        timers.set_earlier(Timer::Retry, at(30));
        assert_eq!(timers.next(), Some((at(20), Timer::Retry)));
        timers.set_earlier(Timer::Retry, at(10));
        assert_eq!(timers.next(), Some((at(10), Timer::Retry)));
        timers.set(Timer::Retry, at(30));
        assert_eq!(timers.next(), Some((at(30), Timer::Retry)));
        assert!(timers.is_set(Timer::Retry) && !timers.is_set(Timer::Requests));
        timers.clear(Timer::Retry);
        assert!(!timers.is_set(Timer::Retry) && timers.next().is_none());
    }
}
