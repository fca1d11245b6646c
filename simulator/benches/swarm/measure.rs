//! The scenarios behind the rows, and the figures that are made of their outcomes.

use crate::{cost, run::Run};
use anyhow::Result;
use protocol::BlockSize;
use simulator::experiment::{Afterwards, Arrivals, Newcomers, Outcome, Role, Sample, Scenario, View, mbit};
use std::time::Duration;

/// The peers of the cost rows.
pub(crate) const CROWD: usize = 10_000;
/// The crowd that it is compared with.
const SMALLER_CROWD: usize = 1_000;
/// A share of one club counts from so many peers on.
const FEWEST_OF_CLUB: usize = 10;
/// From a peer to another and back.
const ROUND_TRIP: f64 = 0.05;

pub(crate) fn thousand(run: Run) -> Result<Vec<f64>> {
    let scenario = run.fitted(Scenario::default());
    let outcome = run.outcome(&scenario);
    let first_copy = outcome.first_copy.map_or(f64::INFINITY, |copy| copy.sent as f64 / scenario.size as f64);
    Ok(vec![
        last_over(&outcome, scenario.fluid_bound()),
        outcome.uplink_use(&scenario).unwrap_or(0.0),
        first_copy,
        outcome.jain(),
        outcome.overhead(),
        outcome.duplicates(),
    ])
}

pub(crate) fn class_room(run: Run) -> Result<Vec<f64>> {
    let fast = mbit(100);
    let scenario = Scenario { peers: 30, size: 1 << 30, up: fast, down: fast, seed_up: fast, ..Scenario::default() };
    let scenario = run.fitted(scenario);
    Ok(vec![last_over(&run.outcome(&scenario), scenario.fluid_bound())])
}

pub(crate) fn small(run: Run) -> Result<Vec<f64>> {
    let scenario = Scenario {
        peers: 10,
        size: 32 << 20,
        up: mbit(8),
        down: mbit(80),
        seed_up: mbit(8),
        latency: Duration::from_millis(1),
        jitter: Duration::from_micros(400),
        ..Scenario::default()
    };
    let scenario = run.fitted(scenario);
    Ok(vec![last_over(&run.outcome(&scenario), scenario.fluid_bound())])
}

pub(crate) fn paper_2006(run: Run) -> Result<Vec<f64>> {
    let scenario = Scenario {
        size: 100 << 20,
        block_size: Some(BlockSize::try_from(256 << 10)?),
        up: 50_000,
        down: 187_500,
        seed_up: mbit(6),
        ..Scenario::default()
    };
    let scenario = run.fitted(scenario);
    Ok(vec![last_over(&run.outcome(&scenario), scenario.fluid_bound())])
}

pub(crate) fn fast_seed(run: Run) -> Result<Vec<f64>> {
    let (up, down, seed_up) = (mbit(20), mbit(100), mbit(1_000));
    let scenario = run.fitted(Scenario { peers: 30, size: 256 << 20, up, down, seed_up, ..Scenario::default() });
    Ok(vec![last_over(&run.outcome(&scenario), scenario.fluid_bound())])
}

pub(crate) fn small_1m(run: Run) -> Result<Vec<f64>> {
    Ok(small_file(60, 1 << 20, run))
}

pub(crate) fn small_4m(run: Run) -> Result<Vec<f64>> {
    Ok(small_file(30, 4 << 20, run))
}

/// The last completion over the ideal time, and the overhead.
fn small_file(peers: usize, size: u64, run: Run) -> Vec<f64> {
    let scenario = run.fitted(Scenario { peers, size, ..Scenario::default() });
    let outcome = run.outcome(&scenario);
    vec![last_over(&outcome, outcome.ideal(&scenario)), outcome.overhead()]
}

pub(crate) fn equal_links(run: Run) -> Result<Vec<f64>> {
    let scenario = run.fitted(Scenario { down: mbit(10), ..Scenario::default() });
    Ok(vec![last_over(&run.outcome(&scenario), scenario.block_bound())])
}

pub(crate) fn free_rider(run: Run) -> Result<Vec<f64>> {
    Ok(vec![part_of_riders(View::Normal, run)])
}

pub(crate) fn free_rider_large_view(run: Run) -> Result<Vec<f64>> {
    Ok(vec![part_of_riders(View::Everyone, run)])
}

/// What the median free rider has when the median contributor is complete, which is when the run ends.
fn part_of_riders(view: View, run: Run) -> f64 {
    let scenario = Scenario {
        peers: 500,
        free_riders: 0.1,
        view,
        seed_leaves_after: Some(1.05),
        until: 0.5,
        ..Scenario::default()
    };
    let scenario = run.fitted(scenario);
    let outcome = run.outcome(&scenario);
    if outcome.gave_up {
        return f64::INFINITY;
    }
    let riders = outcome.fetchers.iter().filter(|fetcher| fetcher.role == Role::FreeRider);
    let parts: Vec<_> = riders.map(|rider| rider.record.useful as f64 / scenario.size as f64).collect();
    percentile(&parts, 0.5)
}

pub(crate) fn churn(run: Run) -> Result<Vec<f64>> {
    let scenario = run.fitted(Scenario { leavers: 0.3, ..Scenario::default() });
    let outcome = run.outcome(&scenario);
    Ok(vec![last_over(&outcome, outcome.capacity_bound(&scenario))])
}

/// Bytes of the file, and of its blocks, of those that keep coming.
const CLUB_SIZE: u64 = 16 << 20;
const CLUB_BLOCK: u32 = 64 << 10;

pub(crate) fn one_club(run: Run) -> Result<Vec<f64>> {
    largest_club(2.0 * mbit(10) as f64 / f64::from(CLUB_BLOCK), 10.0, run)
}

/// The largest one club, and how the population grows, if so many peers come per second for `copies` times what the
/// seed needs for one copy.
fn largest_club(per_second: f64, copies: f64, run: Run) -> Result<Vec<f64>> {
    let lasting = Duration::from_secs_f64(copies * CLUB_SIZE as f64 / mbit(10) as f64);
    let scenario = Scenario {
        peers: 0,
        size: CLUB_SIZE,
        block_size: Some(BlockSize::try_from(CLUB_BLOCK)?),
        arrivals: Some(Arrivals { per_second, lasting }),
        afterwards: Afterwards::LeaveAfter { blocks: 1 },
        ..Scenario::default()
    };
    let samples = run.outcome(&run.fitted(scenario)).samples;
    let quarter = |number: usize| &samples[samples.len() * number / 4..samples.len() * (number + 1) / 4];
    let club = |sample: &Sample| {
        if sample.present < FEWEST_OF_CLUB { 0.0 } else { sample.one_club as f64 / sample.present as f64 }
    };
    let population = |samples: &[Sample]| mean(samples.iter().map(|sample| sample.present as f64));
    Ok(vec![mean(quarter(2).iter().chain(quarter(3)).map(club)), population(quarter(3)) / population(quarter(1))])
}

pub(crate) fn newcomers(run: Run) -> Result<Vec<f64>> {
    let newcomers = Newcomers { peers: 50, when_held: 0.5, within: Duration::from_secs(10) };
    let scenario = run.fitted(Scenario { peers: 200, newcomers: Some(newcomers), ..Scenario::default() });
    let outcome = run.outcome(&scenario);
    let waited = |record: &simulator::Record| {
        record.first_unchoke.map_or(f64::INFINITY, |first| first.since(record.joined).as_secs_f64())
    };
    let newcomers = outcome.fetchers.iter().filter(|fetcher| fetcher.role == Role::Newcomer);
    let waits: Vec<_> = newcomers.map(|fetcher| waited(&fetcher.record)).collect();
    Ok(vec![percentile(&waits, 0.5) / ROUND_TRIP, percentile(&waits, 0.99)])
}

/// The crowd of the cost rows.
pub(crate) fn crowd(peers: usize) -> Scenario {
    Scenario { peers, joins_within: Duration::from_secs(10), ..Scenario::default() }
}

pub(crate) fn flash(run: Run) -> Result<Vec<f64>> {
    let smaller = run.fitted(crowd(SMALLER_CROWD));
    let last = run.outcome(&smaller).last().unwrap_or_default().as_secs_f64();
    let cost = cost::in_own_process(run)?;
    Ok(vec![cost.last_s / last, cost.cpu_s, cost.kib / run.fitted(crowd(CROWD)).peers as f64])
}

fn last_over(outcome: &Outcome, bound: Duration) -> f64 {
    outcome.last().map_or(f64::INFINITY, |last| last.div_duration_f64(bound))
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0_u32, 0.0), |(count, sum), value| (count + 1, sum + value));
    sum / f64::from(count.max(1))
}

/// The value that this share of the values does not exceed.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * share).ceil() as usize;
    values[rank.saturating_sub(1)]
}
