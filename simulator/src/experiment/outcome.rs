//! What came of a run, and the figures made of that.

use super::{Role, Scenario};
use crate::Record;
use peer_wasm::Instant;
use std::time::Duration;

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What is noted of each seed. The first is number 0 in [`Record::received_from`].
    pub seeds: Vec<Record>,
    /// When the seeds left.
    pub seeds_left: Option<Instant>,
    /// Those that fetched, in the order in which they joined. Their numbers in [`Record::received_from`] follow those of
    /// the seeds.
    pub fetchers: Vec<Fetcher>,
    /// How the swarm stood, at the beginning and after every [`Scenario::sample_every`].
    pub samples: Vec<Sample>,
    /// When every block had been fetched by somebody.
    pub first_copy: Option<FirstCopy>,
    /// When 95 % of those that were waited for were complete.
    pub at_95: Option<At95>,
    /// The last moment.
    pub ended: Instant,
    /// Whether the run was given up.
    pub gave_up: bool,
}

/// One of those that fetched.
#[derive(Debug, Clone)]
pub struct Fetcher {
    /// What it was there for.
    pub role: Role,
    /// What is noted of it.
    pub record: Record,
    /// Bytes per second to the relay.
    pub up: u64,
    /// Bytes per second from the relay.
    pub down: u64,
    /// When it left.
    pub left: Option<Instant>,
}

impl Fetcher {
    /// Whether its uplink counts.
    pub(super) const fn serves(&self) -> bool {
        !matches!(self.role, Role::FreeRider | Role::Liar)
    }
}

/// How the swarm stood at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The moment.
    pub at: Instant,
    /// How many were there to fetch, complete or not.
    pub present: usize,
    /// How many of these were complete.
    pub complete: usize,
    /// The share of their blocks that they held.
    pub held: f64,
    /// Copies of the rarest block, the seed's among them.
    pub fewest_copies: u32,
    /// Copies of a block on average.
    pub mean_copies: f64,
    /// How many of those present missed the rarest block.
    pub missing_rarest: usize,
    /// The one club: the most that had all blocks but one, and the same one (Hajek and Zhu 2010).
    pub one_club: usize,
}

/// When every block had been fetched by somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstCopy {
    /// The moment.
    pub at: Instant,
    /// Payload bytes that the seeds had sent.
    pub sent: u64,
}

/// When 95 % were complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At95 {
    /// The moment.
    pub at: Instant,
    /// Payload bytes stored by everyone until then.
    pub useful: u64,
}

impl Default for Fetcher {
    fn default() -> Self {
        Self { role: Role::Contributor, record: Record::default(), up: 0, down: 0, left: None }
    }
}

impl Outcome {
    /// Those that had to be complete: who contribute and stay.
    pub fn survivors(&self) -> impl Iterator<Item = &Fetcher> {
        self.fetchers.iter().filter(|fetcher| fetcher.role.is_awaited())
    }

    /// When each of the survivors was complete, in order; those that never were are left out.
    pub fn completions(&self) -> Vec<Instant> {
        let mut times: Vec<_> = self.survivors().filter_map(|fetcher| fetcher.record.completed).collect();
        times.sort_unstable();
        times
    }

    /// When the last survivor was complete, if all were.
    pub fn last(&self) -> Option<Duration> {
        let all = self.survivors().map(|fetcher| fetcher.record.completed).collect::<Option<Vec<_>>>()?;
        all.into_iter().max().map(Instant::since_start)
    }

    /// Jain's index of fairness (Jain, Chiu and Hawe 1984) of the times from join to completion: (Σ t)² / (n Σ t²).
    pub fn jain(&self) -> f64 {
        let time = |fetcher: &Fetcher| Some(fetcher.record.completed?.since(fetcher.record.joined).as_secs_f64());
        let times: Vec<_> = self.survivors().filter_map(time).collect();
        let sum: f64 = times.iter().sum();
        let squares: f64 = times.iter().map(|time| time * time).sum();
        sum * sum / (times.len() as f64 * squares)
    }

    /// Payload that was stored until 95 % were complete, as a part of what all uplinks could carry from the beginning.
    pub fn uplink_use(&self, scenario: &Scenario) -> Option<f64> {
        let At95 { at, useful } = self.at_95?;
        let uplinks = scenario.seeds_up() as f64 + scenario.mean_up() * scenario.peers as f64;
        Some(useful as f64 / (uplinks * at.since_start().as_secs_f64()))
    }

    /// Payload that was sent and not stored, as a part of what was stored.
    pub fn duplicates(&self) -> f64 {
        let (useful, sent, _) = self.bytes();
        sent.saturating_sub(useful) as f64 / useful as f64
    }

    /// Payload that arrived although it had come before, as a part of what was stored: the duplicates that are nobody's leaving
    /// or broken line.
    pub fn repeated(&self) -> f64 {
        let records = || self.fetchers.iter().map(|fetcher| &fetcher.record);
        let repeated: u64 = records().map(|record| record.repeated).sum();
        repeated as f64 / records().map(|record| record.useful).sum::<u64>() as f64
    }

    /// All bytes between peers that are no stored payload, as a part of what is: control messages, heads of blocks,
    /// headers of WebSocket frames, payload that was not stored.
    pub fn overhead(&self) -> f64 {
        let (useful, sent, overhead) = self.bytes();
        (sent.saturating_sub(useful) + overhead) as f64 / useful as f64
    }

    /// Payload that was stored, payload that was sent, other bytes that were sent.
    fn bytes(&self) -> (u64, u64, u64) {
        let records = self.fetchers.iter().map(|fetcher| &fetcher.record).chain(&self.seeds);
        records.fold((0, 0, 0), |(useful, sent, overhead), record| {
            (useful + record.useful, sent + record.sent, overhead + record.overhead)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_what_was_lost_and_what_came_twice() {
        let fetcher = |useful, repeated| {
            let record = Record { useful, repeated, sent: 90, ..Record::default() };
            Fetcher { record, ..Fetcher::default() }
        };
        let seeds = vec![Record { sent: 120, ..Record::default() }];
        let outcome = Outcome { seeds, fetchers: vec![fetcher(120, 50), fetcher(80, 0)], ..Outcome::default() };
        assert_eq!((outcome.duplicates(), outcome.repeated()), (0.5, 0.25));
    }
}
