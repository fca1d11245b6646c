//! How fast a swarm can be at best: no protocol completes everyone sooner.

use super::{Outcome, Role, Scenario};
use peer_wasm::Instant;
use std::time::Duration;

impl Scenario {
    /// The fluid bound: max(F / u_seed, F / d, N F / (u_seed + Σ u)) for a file of F bytes, N peers with uplinks u, and
    /// the slowest downlink d (Kumar and Ross 2006), and N F / C if all goes through a relay of capacity C. Everyone is
    /// taken to be there from the beginning; the uplinks of free riders and liars do not count.
    pub fn fluid_bound(&self) -> Duration {
        let size = self.size as f64;
        let needed = size * self.peers as f64;
        let serving = self.peers.saturating_sub(self.rider_count() + self.liar_count());
        let uplinks = self.seed_up as f64 + self.up as f64 * serving as f64;
        let relay = self.relay.map_or(0.0, |relay| needed / relay as f64);
        Duration::from_secs_f64(self.slowest_path().max(needed / uplinks).max(relay))
    }

    /// The block bound: (k + ⌊log2 N⌋) times what a block takes on an uplink, for a file of k blocks and N peers whose
    /// links are all equal: a peer has something to give only once it has a whole block (Mundinger, Weber and Weiss
    /// 2008).
    pub fn block_bound(&self) -> Duration {
        let block = f64::from(self.block_size().bytes());
        let rounds = self.size as f64 / block + f64::from(self.peers.max(1).ilog2());
        Duration::from_secs_f64(rounds * block / self.up as f64)
    }

    /// Seconds that one copy takes at least: from the seed, and on a downlink.
    fn slowest_path(&self) -> f64 {
        let size = self.size as f64;
        (size / self.seed_up as f64).max(size / self.down as f64)
    }
}

impl Outcome {
    /// The fluid bound of a swarm that peers join and leave: the earliest time t that is at least F / u_seed and F / d,
    /// and by which the uplinks of those present could have carried all that was needed, ∫ (u_seed + Σ u) ≥ Σ F over
    /// those that had to be complete + what all others had received: those that left, until then, and free riders and
    /// liars, until the end. An uplink counts from its peer's join until it left or
    /// for ever, whether it is complete or not; those of free riders and liars do not count.
    ///
    /// [`Duration::MAX`] if nobody is left who could have carried it.
    pub fn capacity_bound(&self, scenario: &Scenario) -> Duration {
        let mut changes = vec![(Instant::default(), scenario.seed_up as f64)];
        if let Some(left) = self.seed_left {
            changes.push((left, -(scenario.seed_up as f64)));
        }
        let mut needed = 0.0;
        for fetcher in &self.fetchers {
            let is_awaited = fetcher.role.is_awaited() && fetcher.left.is_none();
            needed += if is_awaited { scenario.size as f64 } else { fetcher.record.useful as f64 };
            if matches!(fetcher.role, Role::FreeRider | Role::Liar) {
                continue;
            }
            changes.push((fetcher.record.joined, scenario.up as f64));
            if let Some(left) = fetcher.left {
                changes.push((left, -(scenario.up as f64)));
            }
        }
        let carried = time_to_carry(needed, changes);
        let least = Duration::from_secs_f64(scenario.slowest_path());
        carried.map_or(Duration::MAX, |carried| carried.max(least))
    }
}

/// When a capacity that changes by so many bytes per second at these moments has carried `needed` bytes.
fn time_to_carry(mut needed: f64, mut changes: Vec<(Instant, f64)>) -> Option<Duration> {
    changes.sort_by(|one, other| one.0.cmp(&other.0).then(other.1.total_cmp(&one.1)));
    let mut capacity = 0.0;
    let mut now = Duration::ZERO;
    for (at, change) in changes {
        let carried = capacity * (at.since_start() - now).as_secs_f64();
        if carried >= needed {
            break;
        }
        needed -= carried;
        capacity += change;
        now = at.since_start();
    }
    if needed <= 0.0 {
        return Some(now);
    }
    Duration::try_from_secs_f64(needed / capacity).ok().map(|rest| now + rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::mbit;

    fn seconds(duration: Duration) -> f64 {
        (duration.as_secs_f64() * 1e6).round() / 1e6
    }

    fn at(seconds: u64) -> Instant {
        Instant::after_start(Duration::from_secs(seconds))
    }

    #[test]
    fn the_fluid_bound_is_what_is_scarce() {
        let scenario = Scenario { peers: 9, size: 10_000_000, up: mbit(8), down: mbit(80), ..Scenario::default() };
        let bound = |change: fn(&mut Scenario)| {
            let mut scenario = Scenario { seed_up: mbit(8), ..scenario.clone() };
            change(&mut scenario);
            seconds(scenario.fluid_bound())
        };
        assert_eq!(bound(|_| {}), 10.0, "the seed's uplink: one copy takes 10 s");
        assert_eq!(bound(|scenario| scenario.seed_up = mbit(72)), 5.0, "all uplinks: 90 MB at 18 MB/s");
        assert_eq!(bound(|scenario| scenario.down = mbit(4)), 20.0, "a downlink");
        assert_eq!(bound(|scenario| scenario.relay = Some(mbit(18))), 40.0, "the relay");
        let half = |scenario: &mut Scenario| (scenario.seed_up, scenario.free_riders) = (mbit(40), 0.5);
        assert_eq!(bound(half), 10.0, "90 MB at 5 + 4 MB/s: five of nine ride");
    }

    #[test]
    fn the_block_bound_adds_the_rounds_of_the_first_block() {
        let scenario = Scenario { peers: 1_000, size: 64 << 20, up: mbit(10), ..Scenario::default() };
        let block = f64::from(scenario.block_size().bytes());
        let blocks = (64 << 20) as f64 / block;
        assert_eq!(seconds(scenario.block_bound()), seconds(Duration::from_secs_f64((blocks + 9.0) * block / 1.25e6)));
    }

    #[test]
    fn a_capacity_that_changes_is_integrated() {
        let changes = || vec![(at(0), 10.0), (at(2), 10.0), (at(4), -15.0)];
        assert_eq!(time_to_carry(15.0, changes()), Some(Duration::from_millis(1_500)));
        assert_eq!(time_to_carry(40.0, changes()), Some(Duration::from_secs(3)));
        assert_eq!(time_to_carry(70.0, changes()), Some(Duration::from_secs(6)));
        assert_eq!(time_to_carry(70.0, vec![(at(0), 10.0), (at(4), -10.0)]), None, "nobody is left");
    }
}
