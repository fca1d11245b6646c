//! What is drawn from the seed before a run.

use super::{Breaks, Scenario};
use crate::{Behaviour, Line};
use peer_wasm::{Instant, swarm::Config};
use rand::{RngExt as _, rngs::Xoshiro256PlusPlus, seq::SliceRandom as _};
use std::time::Duration;

/// What a peer is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It fetches, serves, and is there until it is complete.
    Contributor,
    /// It fetches and serves, and leaves at a moment that was drawn.
    Leaver,
    /// It fetches and serves nobody.
    FreeRider,
    /// It behaves as [`Scenario::lie`] says.
    Liar,
    /// It joined while the others were under way, and contributes.
    Newcomer,
    /// It came with [`Arrivals`](super::Arrivals), and contributes.
    Arrival,
}

/// One peer to be added.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) at: Instant,
    pub(super) role: Role,
    pub(super) line: Line,
    /// How long it stays, if it leaves.
    pub(super) stays: Option<Duration>,
    pub(super) breaks: Vec<Break>,
}

/// A line is to break.
#[derive(Debug, Clone, Copy)]
pub(super) struct Break {
    /// How long after its peer joined.
    pub(super) after: Duration,
    pub(super) lasting: Duration,
}

impl Role {
    /// Whether the run waits for it to be complete.
    pub(super) const fn is_awaited(self) -> bool {
        matches!(self, Self::Contributor | Self::Newcomer)
    }

    pub(super) fn config(self, scenario: &Scenario) -> Config {
        match self {
            Self::FreeRider => Config { fixed_slots: 0, trial_slots: 0, ..scenario.config.clone() },
            Self::Contributor | Self::Leaver | Self::Liar | Self::Newcomer | Self::Arrival => scenario.config.clone(),
        }
    }

    pub(super) const fn behaviour(self, scenario: &Scenario) -> Behaviour {
        match self {
            Self::Liar => scenario.lie,
            Self::Contributor | Self::Leaver | Self::FreeRider | Self::Newcomer | Self::Arrival => Behaviour::Honest,
        }
    }
}

impl Scenario {
    /// A seed's line to the relay, which is as fast in the other direction if that is more than a peer's.
    pub(super) fn seed_line(&self, rng: &mut Xoshiro256PlusPlus) -> Line {
        self.line((self.seed_up, self.seed_up.max(self.down)), rng)
    }

    /// A line to the relay.
    fn line(&self, (up, down): (u64, u64), rng: &mut Xoshiro256PlusPlus) -> Line {
        let spread = self.jitter / 4;
        let latency = self.latency / 2 - spread + within(spread * 2, rng);
        Line { up, down, latency, jitter: self.jitter / 2 }
    }

    /// The peers that are there from the beginning, or join within the first time.
    pub(super) fn first_peers(&self, rng: &mut Xoshiro256PlusPlus) -> Vec<Planned> {
        let roles = [
            (Role::FreeRider, self.rider_count()),
            (Role::Liar, self.liar_count()),
            (Role::Leaver, self.leaver_count()),
        ];
        let special = roles.into_iter().flat_map(|(role, count)| std::iter::repeat_n(role, count));
        let mut roles: Vec<_> = special.chain(std::iter::repeat(Role::Contributor)).take(self.peers).collect();
        roles.shuffle(rng);
        let span = self.leaves_within.unwrap_or_else(|| self.fluid_bound());
        (0..)
            .zip(roles)
            .map(|(others, role)| {
                let at = Instant::after_start(within(self.joins_within, rng));
                let stays = (role == Role::Leaver).then(|| within(span, rng));
                let line = self.line(self.rates_of(others), rng);
                Planned { at, role, line, stays, breaks: self.breaks(rng) }
            })
            .collect()
    }

    /// The peers that join from `now` on, while the others are under way.
    pub(super) fn newcomers_from(&self, now: Instant, rng: &mut Xoshiro256PlusPlus) -> Vec<Planned> {
        let Some(newcomers) = self.newcomers else { return Vec::new() };
        let planned = |others| {
            let at = now + within(newcomers.within, rng);
            let line = self.line(self.rates_of(others), rng);
            Planned { at, role: Role::Newcomer, line, stays: None, breaks: Vec::new() }
        };
        (self.peers..self.peers + newcomers.peers).map(planned).collect()
    }

    /// The next of the peers that come all the time, after so many others.
    pub(super) fn next_arrival(&self, others: usize, now: Instant, rng: &mut Xoshiro256PlusPlus) -> Option<Planned> {
        let arrivals = self.arrivals?;
        let gap = -(1.0 - rng.random::<f64>()).ln() / arrivals.per_second;
        let at = now + Duration::try_from_secs_f64(gap).unwrap_or(arrivals.lasting);
        let line = self.line(self.rates_of(others), rng);
        let planned = Planned { at, role: Role::Arrival, line, stays: None, breaks: Vec::new() };
        (at.since_start() < arrivals.lasting).then_some(planned)
    }

    /// When a line breaks.
    pub(super) fn breaks(&self, rng: &mut Xoshiro256PlusPlus) -> Vec<Break> {
        let Some(Breaks { most, shortest, longest, within: time }) = self.breaks else { return Vec::new() };
        let count = rng.random_range(0..=most);
        let one =
            |_| Break { after: within(time, rng), lasting: shortest + within(longest.saturating_sub(shortest), rng) };
        (0..count).map(one).collect()
    }
}

/// A random part of the time.
fn within(time: Duration, rng: &mut Xoshiro256PlusPlus) -> Duration {
    Duration::from_nanos(rng.random_range(0..=time.as_nanos() as u64))
}
