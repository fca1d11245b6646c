//! Scenarios drawn by number: whatever a swarm may meet, from one distribution.
//!
//! | what | how it is drawn |
//! |---|---|
//! | peers N | log-uniform from 1 to 400 |
//! | size | log-uniform from 64 KiB to 1 GiB; then less, if there are more than [`MOST_DELIVERIES`] blocks to deliver |
//! | blocks | the default size in three of four; else any power of two from 4 KiB to 1 MiB that makes 8 blocks or more |
//! | up | log-uniform from 0.25 Mbit/s to 1 Gbit/s |
//! | down | log-uniform from 1 to 20 times that, at most 1 Gbit/s |
//! | seed | log-uniform from 0.2 to 50 times a peer's uplink; one or two of them |
//! | classes | in a third, peers by turns with 1, 0.2 and 5 times these rates |
//! | latency | log-uniform from 0.5 to 200 ms |
//! | jitter | uniform, up to the latency |
//! | relay | in a quarter, it carries from 0.3 to 2 times (log-uniform) all uplinks together |
//! | joining | in a half everyone at once, else within the fluid bound |
//! | leaving | in a third, from 0 to 40 % of the peers (uniform) vanish within the fluid bound after their join |
//! | lines | in a quarter, each line, the seeds' too, breaks from never to three times for 0.5 to 10 s (uniform), within the fluid bound after its peer's join |
//! | refusals | in a quarter, from 1 to 20 of a thousand envelopes (uniform) are refused as `busy`, small ones too |
//!
//! Everything is drawn for every number, whether it is used or not, so that a change of one part of the distribution
//! leaves the others as they are.

use super::{Breaks, Scenario, mbit};
use protocol::{BlockSize, MAX_BLOCKS};
use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};
use std::{ops::RangeInclusive, time::Duration};

/// The most blocks to deliver, N · blocks, so that 200 scenarios take less than 20 minutes on one core. While a file has
/// more, its size is multiplied by what it may have over what it has; blocks of the default size become smaller with it.
const MOST_DELIVERIES: u64 = 120_000;
/// Keeps what is drawn of a number apart from what a run of it draws.
const DRAWN: u64 = 0xa4e5;

const PEERS: RangeInclusive<f64> = 1.0..=400.0;
const SIZE: RangeInclusive<f64> = 65_536.0..=1_073_741_824.0;
/// The smallest and the largest block, as powers of two.
const BLOCK: RangeInclusive<u32> = 12..=20;
/// The fewest blocks of a size that is not the default.
const FEWEST_BLOCKS: u64 = 8;
/// Bytes per second.
const UP: RangeInclusive<f64> = 31_250.0..=125_000_000.0;
const DOWN_OVER_UP: RangeInclusive<f64> = 1.0..=20.0;
const MOST_DOWN: u64 = mbit(1_000);
const SEED_OVER_UP: RangeInclusive<f64> = 0.2..=50.0;
const CLASSES: [f64; 3] = [1.0, 0.2, 5.0];
/// Seconds.
const LATENCY: RangeInclusive<f64> = 0.000_5..=0.2;
const RELAY_OVER_UPLINKS: RangeInclusive<f64> = 0.3..=2.0;
const MOST_LEAVERS: f64 = 0.4;
const MOST_BREAKS: u32 = 3;
const SHORTEST_BREAK: Duration = Duration::from_millis(500);
const LONGEST_BREAK: Duration = Duration::from_secs(10);
/// Of a thousand.
const REFUSED: RangeInclusive<u32> = 1..=20;
/// A run is given up after this many times the fluid bound, and a minute, from the last join.
const PATIENCE: u32 = 4;
const SAMPLES: u32 = 100;
const SHORTEST_SAMPLING: Duration = Duration::from_millis(10);

impl Scenario {
    /// The scenario with this number; the same on every platform.
    pub fn anywhere(number: u64) -> Self {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(number ^ DRAWN);
        let peers = log_uniform(PEERS, rng).round() as usize;
        let size = log_uniform(SIZE, rng).round() as u64;
        let block_size = any_block_size(size, rng);
        let block_size = if is_one_of(4, rng) { block_size } else { None };
        let up = log_uniform(UP, rng).round() as u64;
        let down = ((up as f64 * log_uniform(DOWN_OVER_UP, rng)).round() as u64).min(MOST_DOWN);
        let seed_up = (up as f64 * log_uniform(SEED_OVER_UP, rng)).round() as u64;
        let seeds = rng.random_range(1..=2);
        let classes = if is_one_of(3, rng) { CLASSES.to_vec() } else { vec![1.0] };
        let latency = Duration::from_micros((log_uniform(LATENCY, rng) * 1e6).round() as u64);
        let jitter = Duration::from_micros((latency.as_micros() as f64 * rng.random::<f64>()).round() as u64);
        let relay = log_uniform(RELAY_OVER_UPLINKS, rng);
        let is_relay_limited = is_one_of(4, rng);
        let comes_by_and_by = is_one_of(2, rng);
        let leavers = MOST_LEAVERS * rng.random::<f64>();
        let leavers = if is_one_of(3, rng) { leavers } else { 0.0 };
        let lines_break = is_one_of(4, rng);
        let refused = rng.random_range(REFUSED);
        let refused = if is_one_of(4, rng) { refused } else { 0 };

        let mut scenario = Self {
            peers,
            size,
            block_size,
            up,
            down,
            classes,
            seeds,
            seed_up,
            latency,
            jitter,
            refused,
            leavers,
            ..Self::default()
        };
        scenario.shrink();
        let uplinks = scenario.seeds_up() as f64 + scenario.mean_up() * peers as f64;
        scenario.relay = is_relay_limited.then_some((uplinks * relay).round() as u64);
        let fluid = scenario.fluid_bound();
        scenario.joins_within = if comes_by_and_by { fluid } else { Duration::ZERO };
        scenario.breaks = lines_break.then_some(Breaks {
            most: MOST_BREAKS,
            shortest: SHORTEST_BREAK,
            longest: LONGEST_BREAK,
            within: fluid,
        });
        scenario.gives_up_after = Some(scenario.joins_within + fluid * PATIENCE + Duration::from_secs(60));
        scenario.sample_every = (fluid / SAMPLES).max(SHORTEST_SAMPLING);
        scenario
    }

    /// Makes the file smaller until there are few enough blocks to deliver.
    fn shrink(&mut self) {
        loop {
            let deliveries = self.peers as u64 * self.blocks();
            if deliveries <= MOST_DELIVERIES {
                return;
            }
            self.size = self.size * MOST_DELIVERIES / deliveries;
        }
    }
}

/// Any size of blocks of which there are neither too few nor more than a file may have.
fn any_block_size(size: u64, rng: &mut Xoshiro256PlusPlus) -> Option<BlockSize> {
    let smallest = size.div_ceil(MAX_BLOCKS.into()).next_power_of_two().ilog2();
    let largest = (size / FEWEST_BLOCKS).ilog2();
    let exponent = rng.random_range(smallest.max(*BLOCK.start())..=largest.min(*BLOCK.end()));
    BlockSize::try_from(1 << exponent).ok()
}

/// As often in each octave of the range as in another.
fn log_uniform(range: RangeInclusive<f64>, rng: &mut Xoshiro256PlusPlus) -> f64 {
    let (least, most) = range.into_inner();
    let octaves = (most / least).ln() * rng.random::<f64>();
    (least * octaves.exp()).clamp(least, most)
}

/// True once in so many times.
fn is_one_of(times: u32, rng: &mut Xoshiro256PlusPlus) -> bool {
    rng.random_range(0..times) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::Range;

    /// Whether a rate is so many times another, give or take what rounding does.
    fn is_times(rate: u64, times: RangeInclusive<f64>, other: f64) -> bool {
        let (least, most) = times.into_inner();
        (other * least - 1.0..=other * most + 1.0).contains(&(rate as f64))
    }

    #[test]
    fn the_distribution_stays_inside_its_ranges() {
        for number in 1..=2_000 {
            let scenario = Scenario::anywhere(number);
            assert_eq!(scenario.check(), Ok(()), "{number}");
            let Scenario { peers, size, up, down, seed_up, seeds, latency, jitter, .. } = scenario;
            assert!(PEERS.contains(&(peers as f64)) && SIZE.contains(&(size as f64)), "{number}");
            assert!(peers as u64 * scenario.blocks() <= MOST_DELIVERIES, "{number}");
            assert!(scenario.block_size.is_none() || scenario.blocks() >= FEWEST_BLOCKS, "{number}");
            assert!(UP.contains(&(up as f64)) && (1..=2).contains(&seeds), "{number}");
            assert!(down == MOST_DOWN || is_times(down, DOWN_OVER_UP, up as f64), "{number}");
            assert!(down <= MOST_DOWN && is_times(seed_up, SEED_OVER_UP, up as f64), "{number}");
            assert!(LATENCY.contains(&latency.as_secs_f64()) && jitter <= latency, "{number}");
            let uplinks = scenario.seeds_up() as f64 + scenario.mean_up() * peers as f64;
            assert!(scenario.relay.is_none_or(|relay| is_times(relay, RELAY_OVER_UPLINKS, uplinks)), "{number}");
            assert!((0.0..=MOST_LEAVERS).contains(&scenario.leavers), "{number}");
            assert!(scenario.refused == 0 || REFUSED.contains(&scenario.refused), "{number}");
        }
    }

    #[test]
    fn each_part_is_in_as_many_as_it_should() {
        let drawn: Vec<_> = (1..=2_000).map(Scenario::anywhere).collect();
        let is_in = |share: Range<f64>, part: fn(&Scenario) -> bool| {
            let with = drawn.iter().filter(|scenario| part(scenario)).count();
            assert!(share.contains(&(with as f64 / drawn.len() as f64)), "{with} are not {share:?}");
        };
        let about = |share: f64| share - 0.04..share + 0.04;
        is_in(about(0.25), |scenario| scenario.block_size.is_some());
        is_in(about(0.33), |scenario| scenario.classes.len() == 3);
        is_in(about(0.25), |scenario| scenario.relay.is_some());
        is_in(about(0.5), |scenario| scenario.joins_within.is_zero());
        is_in(about(0.33), |scenario| scenario.leavers > 0.0);
        is_in(about(0.25), |scenario| scenario.breaks.is_some());
        is_in(about(0.25), |scenario| scenario.refused > 0);
        is_in(about(0.5), |scenario| scenario.seeds == 2);
        is_in(about(0.5), |scenario| scenario.peers <= 20);
    }
}
