//! Measuring: every group with every seed, on all cores.

use crate::{
    anywhere::{self, Tried},
    rows::{Group, Measure, Row},
    run::Run,
};
use anyhow::Result;
use std::{
    num::NonZero,
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// A row and its value for each seed.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) row: &'static Row,
    pub(crate) values: Vec<f64>,
}

/// How much is measured.
#[derive(Debug, Clone)]
pub(crate) struct Extent {
    pub(crate) seeds: u64,
    /// The numbers of scenarios.
    pub(crate) scenarios: Range<u64>,
    pub(crate) is_miniature: bool,
}

/// One group with one seed.
#[derive(Debug, Clone, Copy)]
struct Job {
    group: usize,
    measure: fn(Run) -> Result<Vec<f64>>,
    run: Run,
}

/// Measures the groups; gives the rows in the groups' order, and the scenarios drawn by number that were tried.
pub(crate) fn measure(groups: &[&'static Group], extent: &Extent) -> Result<(Vec<Figure>, Vec<Tried>)> {
    let figures = groups.iter().map(|group| group.rows.iter().map(|row| Figure { row, values: Vec::new() }).collect());
    let mut figures: Vec<Vec<Figure>> = figures.collect();
    let together = perform(groups, &jobs(groups, extent, false), cores());
    let alone = perform(groups, &jobs(groups, extent, true), 1);
    for (job, values) in together.into_iter().chain(alone) {
        add(&mut figures[job.group], values?);
    }
    let mut tried = Vec::new();
    if let Some(group) = groups.iter().position(|group| matches!(group.measure, Measure::Anywhere)) {
        tried = anywhere::try_all(extent.scenarios.clone(), extent.is_miniature);
        add(&mut figures[group], anywhere::figures(&tried));
    }
    Ok((figures.into_iter().flatten().collect(), tried))
}

fn add(figures: &mut [Figure], values: Vec<f64>) {
    figures.iter_mut().zip(values).for_each(|(figure, value)| figure.values.push(value));
}

/// The runs of the groups that are measured with seeds.
fn jobs(groups: &[&'static Group], extent: &Extent, is_alone: bool) -> Vec<Job> {
    let chosen = groups.iter().enumerate().filter(|(_, group)| group.is_alone == is_alone);
    let by_seeds = chosen.filter_map(|(group, wanted)| match wanted.measure {
        Measure::Seeds(measure) => Some((group, measure, wanted.most_seeds)),
        Measure::Anywhere => None,
    });
    let jobs = by_seeds.flat_map(|(group, measure, most_seeds)| {
        let run = |seed| Run { seed, is_miniature: extent.is_miniature };
        (1..=extent.seeds.min(most_seeds)).map(move |seed| Job { group, measure, run: run(seed) })
    });
    jobs.collect()
}

/// Performs the jobs on so many threads.
fn perform(groups: &[&'static Group], jobs: &[Job], threads: usize) -> Vec<(Job, Result<Vec<f64>>)> {
    in_parallel(jobs, threads, |job| {
        let values = (job.measure)(job.run);
        eprintln!("{} with seed {}: done", groups[job.group].rows[0].name, job.run.seed);
        (job, values)
    })
}

/// How many threads can work at a time.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Does the work for each of the jobs, on so many threads; the results are in no order.
pub(crate) fn in_parallel<J: Copy + Sync, R: Send>(jobs: &[J], threads: usize, work: impl Fn(J) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut results = Vec::new();
        while let Some(&job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            results.push(work(job));
        }
        results
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let results = workers.into_iter().map(|worker| worker.join());
        results.flat_map(|results| results.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))).collect()
    })
}
