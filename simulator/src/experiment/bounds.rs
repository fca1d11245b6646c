//! How fast a swarm can be at best: no protocol completes everyone sooner.

use super::{Outcome, Scenario};
use crate::Record;
use peer_wasm::Instant;
use std::{collections::BTreeSet, time::Duration};

/// A capacity changes at a moment by so many bytes per second.
type Change = (Instant, f64);

/// What asking and answering takes at least until the first block is on its way, in latencies: two round trips.
const LATENCIES: u32 = 4;

impl Scenario {
    /// The fluid bound: max(F / Σ u_seed, F / d, N F / (Σ u_seed + Σ u)) for a file of F bytes, N peers with uplinks u,
    /// and the slowest downlink d (Kumar and Ross 2006), and N F / C if all goes through a relay of capacity C. Everyone
    /// is taken to be there from the beginning; the uplinks of free riders and liars do not count, which are taken to
    /// be those of peers of all classes.
    pub fn fluid_bound(&self) -> Duration {
        let size = self.size as f64;
        let needed = size * self.peers as f64;
        let serving = self.peers.saturating_sub(self.rider_count() + self.liar_count());
        let uplinks = self.seeds_up() as f64 + self.mean_up() * serving as f64;
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

    /// Seconds that one copy takes at least: from the seeds, and on the slowest downlink.
    fn slowest_path(&self) -> f64 {
        let size = self.size as f64;
        let classes = self.classes.len().min(self.peers.max(1));
        let downlinks = (0..classes).map(|class| self.rates_of(class).1 as f64);
        size / downlinks.fold(self.seeds_up() as f64, f64::min)
    }
}

impl Outcome {
    /// The fluid bound of a swarm that peers join and leave: the earliest time t that is at least F / Σ u_seed and F / d,
    /// and by which the uplinks of those present could have carried all that was needed, ∫ (Σ u_seed + Σ u) ≥ Σ F over
    /// those that had to be complete + what all others had received: those that left, until then, and free riders and
    /// liars, until the end. An uplink counts from its peer's join until it left or
    /// for ever, whether it is complete or not, but not while its line is broken; those of free riders and liars do not
    /// count.
    ///
    /// [`Duration::MAX`] if nobody is left who could have carried it.
    pub fn capacity_bound(&self, scenario: &Scenario) -> Duration {
        let carried = time_to_carry(self.needed(scenario), self.uplinks(scenario));
        let least = Duration::from_secs_f64(scenario.slowest_path());
        carried.map_or(Duration::MAX, |carried| carried.max(least))
    }

    /// The ideal time: the earliest time t that no fluid constraint forbids, and what whole blocks and distances add to it,
    /// ⌈log2(N + 1)⌉ · (block / u + latency) + 4 · latency, for N peers and the median u of their uplinks. A block is
    /// given on only when all of it was verified, so that it takes so many steps until everyone has something to give;
    /// and before that, peers are found, interested, served and asked. Unlike the bounds it can be beaten: a seed that is
    /// much faster than its peers spares them steps.
    ///
    /// The constraints, where a line carries nothing before its peer's join, after it left, and while it is broken:
    ///
    /// - all uplinks, as in [`Outcome::capacity_bound`]: ∫ (Σ u_seed + Σ u) ≥ Σ F (must be complete) + Σ received (others);
    ///   and for each moment at which somebody joins the same for those who join then or later, from then on: nothing is sent
    ///   to who is not there;
    /// - the relay: C · t is at least as much;
    /// - one copy from the seeds, from the first join on: ∫ Σ u_seed ≥ F;
    /// - one copy for each peer that had to be complete, from its join on, over all uplinks but its own;
    /// - each peer that had to be complete: ∫ d ≥ F.
    ///
    /// [`Duration::MAX`] if there is no such time.
    pub fn ideal(&self, scenario: &Scenario) -> Duration {
        let size = scenario.size as f64;
        let downlinks = self.survivors().map(|fetcher| changes_of(fetcher.down, &fetcher.record, fetcher.left));
        let relay = scenario.relay.map(|relay| (self.needed(scenario), vec![(Instant::default(), relay as f64)]));
        let all = self.uplinks(scenario);
        let joins: BTreeSet<_> = self.fetchers.iter().map(|fetcher| fetcher.record.joined).collect();
        let first = joins.first().copied().unwrap_or_default();
        let later = joins.iter().map(|join| (self.needed_since(*join, scenario), since(*join, &all)));
        let to_each = self.survivors().map(|fetcher| {
            let own =
                changes_of(fetcher.up, &fetcher.record, fetcher.left).into_iter().map(|(at, change)| (at, -change));
            let others: Vec<_> = all.iter().copied().chain(own.filter(|_| fetcher.serves())).collect();
            (size, since(fetcher.record.joined, &others))
        });
        let constraints = later.chain(to_each).chain([(size, since(first, &self.seeds_uplinks(scenario)))]);
        let constraints = constraints.chain(relay).chain(downlinks.map(|downlink| (size, downlink)));
        let fluid = constraints.map(|(bytes, changes)| time_to_carry(bytes, changes)).collect::<Option<Vec<_>>>();
        let Some(fluid) = fluid.and_then(|times| times.into_iter().max()) else { return Duration::MAX };

        let block = f64::from(scenario.block_size().bytes());
        let step = Duration::from_secs_f64(block / self.median_up(scenario)) + scenario.latency;
        fluid + step * steps(scenario) + scenario.latency * LATENCIES
    }

    /// The ideal time of those who send only what they are asked for, as the tracker demands: a step is also the `have` and the
    /// request that come before the block, two latencies more.
    pub fn ideal_if_asked(&self, scenario: &Scenario) -> Duration {
        self.ideal(scenario).saturating_add(scenario.latency * 2 * steps(scenario))
    }

    /// What all uplinks together had to carry.
    fn needed(&self, scenario: &Scenario) -> f64 {
        self.needed_since(Instant::default(), scenario)
    }

    /// The same, to those who joined then or later.
    fn needed_since(&self, join: Instant, scenario: &Scenario) -> f64 {
        let needed = self.fetchers.iter().filter(|fetcher| fetcher.record.joined >= join).map(|fetcher| {
            let is_awaited = fetcher.role.is_awaited() && fetcher.left.is_none();
            if is_awaited { scenario.size as f64 } else { fetcher.record.useful as f64 }
        });
        needed.sum()
    }

    fn seeds_uplinks(&self, scenario: &Scenario) -> Vec<Change> {
        let uplink = |seed| changes_of(scenario.seed_up, seed, self.seeds_left);
        self.seeds.iter().flat_map(uplink).collect()
    }

    /// The uplinks of all who serve.
    fn uplinks(&self, scenario: &Scenario) -> Vec<Change> {
        let serving = self.fetchers.iter().filter(|fetcher| fetcher.serves());
        let uplinks = serving.flat_map(|fetcher| changes_of(fetcher.up, &fetcher.record, fetcher.left));
        self.seeds_uplinks(scenario).into_iter().chain(uplinks).collect()
    }

    /// The median uplink of those that fetch; of an even number, the lower of the two in the middle.
    fn median_up(&self, scenario: &Scenario) -> f64 {
        let mut uplinks: Vec<_> = self.fetchers.iter().map(|fetcher| fetcher.up).collect();
        uplinks.sort_unstable();
        uplinks.get(uplinks.len().saturating_sub(1) / 2).copied().unwrap_or(scenario.up) as f64
    }
}

/// A capacity from this moment on.
fn since(moment: Instant, changes: &[Change]) -> Vec<Change> {
    changes.iter().map(|&(at, change)| (at.max(moment), change)).collect()
}

/// What one direction of a peer's line adds to a capacity, from its join until it left, and not while it is broken.
fn changes_of(rate: u64, record: &Record, left: Option<Instant>) -> Vec<Change> {
    let rate = rate as f64;
    let mut changes = vec![(record.joined, rate)];
    changes.extend(left.map(|left| (left, -rate)));
    for broken in &record.broken {
        let end = left.map_or(broken.end, |left| left.min(broken.end));
        changes.extend([(broken.start, -rate), (end, rate)]);
    }
    changes
}

/// When a capacity that changes by so many bytes per second at these moments has carried `needed` bytes.
fn time_to_carry(mut needed: f64, mut changes: Vec<Change>) -> Option<Duration> {
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

/// So many steps from one to all, each of which doubles those who have a block.
const fn steps(scenario: &Scenario) -> u32 {
    (scenario.peers as u64 + 1).next_power_of_two().ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::{Fetcher, Role, mbit};

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

    #[test]
    fn several_seeds_and_classes_are_added_up() {
        let scenario = Scenario {
            peers: 3,
            size: 12_000_000,
            up: mbit(8),
            down: mbit(80),
            seed_up: mbit(4),
            seeds: 2,
            classes: vec![1.0, 0.1, 4.9],
            ..Scenario::default()
        };
        assert_eq!(seconds(scenario.fluid_bound()), 12.0, "one copy from both seeds, at 1 MB/s");
        let scenario = Scenario { seed_up: mbit(40), ..scenario };
        assert_eq!(seconds(scenario.fluid_bound()), 12.0, "the downlink of the second class, 1 MB/s");
        let scenario = Scenario { down: mbit(800), seed_up: mbit(20), ..scenario };
        assert_eq!(seconds(scenario.fluid_bound()), seconds(Duration::from_secs_f64(36.0 / 11.0)), "5 + 6 MB/s");
    }

    /// Three peers that fetch 10 MB at 1 MB/s up and 10 down, with a seed of 2 MB/s, and the time of a step.
    fn three() -> (Scenario, Outcome, Duration) {
        let scenario = Scenario {
            peers: 3,
            size: 10_000_000,
            up: mbit(8),
            down: mbit(80),
            seed_up: mbit(16),
            latency: Duration::from_millis(100),
            ..Scenario::default()
        };
        let fetcher = || Fetcher { up: scenario.up, down: scenario.down, ..Fetcher::default() };
        let outcome = Outcome {
            seeds: vec![Record::default()],
            fetchers: (0..3).map(|_| fetcher()).collect(),
            ..Outcome::default()
        };
        let block = Duration::from_secs_f64(f64::from(scenario.block_size().bytes()) / 1e6);
        (scenario, outcome, block + Duration::from_millis(100))
    }

    #[test]
    fn the_ideal_time_adds_the_steps_to_what_flows() {
        let (scenario, outcome, step) = three();
        let ideal = |change: fn(&mut Scenario, &mut Outcome)| {
            let (mut scenario, mut outcome) = (scenario.clone(), outcome.clone());
            change(&mut scenario, &mut outcome);
            seconds(outcome.ideal(&scenario) - step * 2 - Duration::from_millis(400))
        };
        assert_eq!(ideal(|_, _| {}), 6.0, "30 MB at 5 MB/s, and two steps until three have something");
        assert_eq!(ideal(|scenario, _| scenario.seed_up = mbit(4)), 20.0, "one copy of the seed at 0.5 MB/s");
        assert_eq!(ideal(|scenario, _| scenario.relay = Some(mbit(12))), 20.0, "30 MB through 1.5 MB/s");
        assert_eq!(ideal(|_, outcome| outcome.fetchers[1].down = 1_000_000), 10.0, "one downlink");
        assert_eq!(ideal(|_, outcome| outcome.fetchers[2].record.joined = at(8)), 10.5, "10 MB from others, at 4 MB/s");
        let leaves = |_: &mut Scenario, outcome: &mut Outcome| {
            let leaver = &mut outcome.fetchers[0];
            (leaver.role, leaver.left, leaver.record.useful) = (Role::Leaver, Some(at(2)), 4_000_000);
        };
        assert_eq!(ideal(leaves), 5.5, "24 MB: 2 s at 5 MB/s, then at 4");
        let asking = outcome.ideal_if_asked(&scenario) - outcome.ideal(&scenario);
        assert_eq!(asking, scenario.latency * 4, "two steps, each with a have and a request");
    }

    #[test]
    fn nothing_is_sent_to_who_is_not_there() {
        let (scenario, mut outcome, step) = three();
        let join = |outcome: &mut Outcome, joins: [u64; 3]| {
            outcome.fetchers.iter_mut().zip(joins).for_each(|(fetcher, join)| fetcher.record.joined = at(join));
            seconds(outcome.ideal(&scenario) - step * 2 - Duration::from_millis(400))
        };
        assert_eq!(join(&mut outcome, [3, 3, 3]), 9.0, "30 MB at 5 MB/s from then on");
        assert_eq!(join(&mut outcome, [0, 20, 20]), 24.0, "20 MB at 5 MB/s from 20 s on");
        assert_eq!(join(&mut outcome, [0, 0, 20]), 22.5, "10 MB at 4 MB/s: its own line brings it nothing");
        outcome.fetchers.truncate(1);
        outcome.fetchers[0].record.joined = at(20);
        assert_eq!(
            seconds(outcome.ideal(&Scenario { peers: 1, ..scenario.clone() }) - step - Duration::from_millis(400)),
            25.0
        );
    }

    #[test]
    fn a_broken_line_carries_nothing() {
        let (scenario, outcome, step) = three();
        let ideal = |change: fn(&mut Outcome)| {
            let mut outcome = outcome.clone();
            change(&mut outcome);
            seconds(outcome.ideal(&scenario) - step * 2 - Duration::from_millis(400))
        };
        assert_eq!(ideal(|outcome| outcome.seeds[0].broken.push(at(1)..at(3))), 7.0, "5 s for one copy, and 2 without");
        assert_eq!(ideal(|outcome| outcome.fetchers[0].record.broken.push(at(0)..at(20))), 21.0, "1 s afterwards");
        let leaves_meanwhile = |outcome: &mut Outcome| {
            let leaver = &mut outcome.fetchers[0];
            (leaver.role, leaver.left) = (Role::Leaver, Some(at(2)));
            leaver.record.broken.push(at(1)..at(60));
        };
        assert_eq!(ideal(leaves_meanwhile), 5.0, "one copy; 20 MB are carried before that, at 5 and then 4 MB/s");
    }
}
