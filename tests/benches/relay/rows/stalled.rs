//! Receivers that do not read, and those who should not notice.

use crate::{
    client::{self, Form, Shape},
    load::{self, Load, fresh_room},
    modes,
};
use anyhow::Result;
use std::time::Duration;
use tests::{
    figures::{Figures, median},
    scale::{Scale, Scaled},
    server::Server,
};
use tokio::task::JoinSet;

const ROUNDS: Scaled<usize> = Scaled(5, 1);
const WARM_UP: Scaled<Duration> = Scaled(Duration::from_millis(800), Duration::from_millis(200));
const WINDOW: Scaled<Duration> = Scaled(Duration::from_millis(2_500), Duration::from_millis(500));
const SHAPE: Shape = Shape { form: Form::Binary, block_size: 64 << 10 };
/// Pairs in all, and those of them whose receiver may not read: 1 %, if not in miniature.
const PAIRS: Scaled<u32> = Scaled(200, 20);
const STALLED: u32 = 2;
/// A block for each pair 20 times a second is about 260 MB/s, so that the machine is busy and not full.
const PERIOD: Duration = Duration::from_millis(50);
/// The blocks that such a receiver asked for: more than three times what may wait for it.
const STALLED_BLOCKS: usize = 900;

pub(super) async fn measure(scale: Scale, figures: &mut Figures) -> Result<()> {
    let tracker = modes::tracker(scale)?;
    let rounds = ROUNDS.at(scale);
    let (mut without, mut with, mut grown) = (Vec::new(), Vec::new(), 0.0_f64);
    for round in 1..=rounds {
        let (undisturbed, before) = one(scale, &tracker, 0).await?;
        let (disturbed, after) = one(scale, &tracker, STALLED).await?;
        grown = grown.max((after as f64 - before as f64) / 1024.0);
        println!(
            "round {round} of {rounds}: p50 {:.2} ms, p99 {:.2} ms; with stalled receivers p50 {:.2} ms, p99 {:.2} ms",
            undisturbed.p50_ms, undisturbed.p99_ms, disturbed.p50_ms, disturbed.p99_ms
        );
        without.push(undisturbed);
        with.push(disturbed);
    }
    for (name, rounds) in [("without", &without), ("with", &with)] {
        figures.add(&format!("stalled_{name}_p50_ms"), median(rounds.iter().map(|round| round.p50_ms)));
        figures.add(&format!("stalled_{name}_p99_ms"), median(rounds.iter().map(|round| round.p99_ms)));
        figures.add(&format!("stalled_{name}_p999_ms"), median(rounds.iter().map(|round| round.p999_ms)));
    }
    let parts = with.iter().zip(&without).map(|(with, without)| with.p99_ms / without.p99_ms);
    figures.add("stalled_victim_p99", median(parts));
    figures.add("stalled_memory_mib", grown);
    Ok(())
}

/// Measures those that read, while `stalled` others do not, and the resident KiB of the tracker at the end.
async fn one(scale: Scale, tracker: &Server, stalled: u32) -> Result<(load::Figures, u64)> {
    let mut load = Load::light(tracker, SHAPE, PAIRS.at(scale) - stalled, PERIOD).await?;
    let mut pushing = JoinSet::new();
    let mut connections = Vec::new();
    for _ in 0..stalled {
        let (seed, fetcher) = client::pair(tracker.addr()?, load::SOURCE, &fresh_room(), SHAPE).await?;
        connections.push(fetcher.ask_and_stall(STALLED_BLOCKS).await?);
        pushing.spawn(seed.insist());
    }
    let figures = load.measure(tracker, WARM_UP.at(scale), WINDOW.at(scale)).await?;
    Ok((figures, tracker.resident_kib()?))
}
