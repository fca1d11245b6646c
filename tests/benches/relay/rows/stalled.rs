//! Receivers that do not read, and those who should not notice.

use crate::{
    client::{self, Form, Shape},
    load::{self, Load, fresh_room},
    modes,
    report::{Figures, median},
};
use anyhow::Result;
use std::time::Duration;
use tests::server::Server;
use tokio::task::JoinSet;

const ROUNDS: usize = 5;
const WARM_UP: Duration = Duration::from_millis(800);
const WINDOW: Duration = Duration::from_millis(2_500);
const SHAPE: Shape = Shape { form: Form::Binary, block_size: 64 << 10 };
/// Pairs in all, and those of them whose receiver may not read: 1 %.
const PAIRS: u32 = 200;
const STALLED: u32 = 2;
/// A block for each pair 20 times a second is about 260 MB/s, so that the machine is busy and not full.
const PERIOD: Duration = Duration::from_millis(50);
/// The blocks that such a receiver asked for: more than three times what may wait for it.
const STALLED_BLOCKS: usize = 900;

pub(super) async fn measure(figures: &mut Figures) -> Result<()> {
    let tracker = modes::tracker(&[])?;
    let (mut without, mut with, mut grown) = (Vec::new(), Vec::new(), 0.0_f64);
    for round in 1..=ROUNDS {
        let (undisturbed, before) = one(&tracker, 0).await?;
        let (disturbed, after) = one(&tracker, STALLED).await?;
        grown = grown.max((after as f64 - before as f64) / 1024.0);
        println!(
            "round {round} of {ROUNDS}: p50 {:.2} ms, p99 {:.2} ms; with stalled receivers p50 {:.2} ms, p99 {:.2} ms",
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
async fn one(tracker: &Server, stalled: u32) -> Result<(load::Figures, u64)> {
    let mut load = Load::light(tracker, SHAPE, PAIRS - stalled, PERIOD).await?;
    let mut pushing = JoinSet::new();
    let mut connections = Vec::new();
    for _ in 0..stalled {
        let (seed, fetcher) = client::pair(tracker.addr()?, load::SOURCE, &fresh_room(), SHAPE).await?;
        connections.push(fetcher.ask_and_stall(STALLED_BLOCKS).await?);
        pushing.spawn(seed.insist());
    }
    let figures = load.measure(tracker, WARM_UP, WINDOW).await?;
    Ok((figures, tracker.resident_kib()?))
}
