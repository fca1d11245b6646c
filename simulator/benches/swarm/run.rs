//! One run of a measurement.

use simulator::experiment::{Arrivals, Newcomers, Outcome, Scenario};
use std::time::Duration;

/// The most that a miniature has of each.
const PEERS: usize = 20;
const NEWCOMERS: usize = 5;
const SIZE: u64 = 1 << 20;
const LASTING: Duration = Duration::from_secs(5);
/// The seed of so few peers sends more copies until every block is elsewhere too; it may not leave before.
const FEWEST_COPIES: f64 = 4.0;
/// Often enough for such a swarm's short life.
const SAMPLE_EVERY: Duration = Duration::from_millis(10);

/// With which seed something is measured, and whether only to see that it works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) is_miniature: bool,
}

impl Run {
    /// Runs the scenario.
    pub(crate) fn outcome(self, scenario: &Scenario) -> Outcome {
        scenario.run(&scenario.file(), self.seed)
    }

    /// The scenario, cut down if this is a miniature.
    pub(crate) fn fitted(self, scenario: Scenario) -> Scenario {
        if !self.is_miniature {
            return scenario;
        }
        let fewer = |newcomers: Newcomers| Newcomers { peers: newcomers.peers.min(NEWCOMERS), ..newcomers };
        let shorter = |arrivals: Arrivals| Arrivals { lasting: arrivals.lasting.min(LASTING), ..arrivals };
        Scenario {
            peers: scenario.peers.min(PEERS),
            size: scenario.size.min(SIZE),
            newcomers: scenario.newcomers.map(fewer),
            arrivals: scenario.arrivals.map(shorter),
            seed_leaves_after: scenario.seed_leaves_after.map(|copies| copies.max(FEWEST_COPIES)),
            sample_every: SAMPLE_EVERY,
            ..scenario
        }
    }
}
