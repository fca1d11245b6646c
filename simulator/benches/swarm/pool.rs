//! Measuring: every group with every seed, on all cores.

use crate::{
    rows::{Group, Row},
    run::Run,
};
use anyhow::Result;
use std::{
    num::NonZero,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// A row and its value for each seed.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) row: &'static Row,
    pub(crate) values: Vec<f64>,
}

/// One group with one seed.
#[derive(Debug, Clone, Copy)]
struct Job {
    group: usize,
    run: Run,
}

/// Measures the groups with so many seeds, or in miniature; gives the rows in the groups' order.
pub(crate) fn measure(groups: &[&'static Group], seeds: u64, is_miniature: bool) -> Result<Vec<Figure>> {
    let figures = groups.iter().map(|group| group.rows.iter().map(|row| Figure { row, values: Vec::new() }).collect());
    let mut figures: Vec<Vec<Figure>> = figures.collect();
    let jobs = |is_alone| {
        let chosen = groups.iter().enumerate().filter(move |(_, group)| group.is_alone == is_alone);
        chosen
            .flat_map(move |(group, wanted)| {
                (1..=seeds.min(wanted.most_seeds)).map(move |seed| Job { group, run: Run { seed, is_miniature } })
            })
            .collect::<Vec<_>>()
    };
    let together = perform(groups, &jobs(false), thread::available_parallelism().map_or(1, NonZero::get));
    let alone = perform(groups, &jobs(true), 1);
    for (job, values) in together.into_iter().chain(alone) {
        for (figure, value) in figures[job.group].iter_mut().zip(values?) {
            figure.values.push(value);
        }
    }
    Ok(figures.into_iter().flatten().collect())
}

/// Performs the jobs on so many threads.
fn perform(groups: &[&'static Group], jobs: &[Job], threads: usize) -> Vec<(Job, Result<Vec<f64>>)> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut results = Vec::new();
        while let Some(&job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let group = groups[job.group];
            results.push((job, (group.measure)(job.run)));
            eprintln!("{} with seed {}: done", group.rows[0].name, job.run.seed);
        }
        results
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let results = workers.into_iter().map(|worker| worker.join());
        results.flat_map(|results| results.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))).collect()
    })
}
