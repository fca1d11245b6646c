//! How much gets through, and what it costs. The systems take turns, so that a slow minute of the machine hits all, and
//! of the rounds' ratios the median counts.

use crate::{
    client::{Form, Shape},
    load::{self, Load, Way},
    modes,
};
use anyhow::{Context as _, Result};
use std::time::Duration;
use tests::{
    figures::{Figures, median},
    scale::{Scale, Scaled},
    server::Server,
};

const ROUNDS: Scaled<usize> = Scaled(3, 1);
const WARM_UP: Scaled<Duration> = Scaled(Duration::from_millis(700), Duration::from_millis(200));
const WINDOW: Scaled<Duration> = Scaled(Duration::from_millis(2_500), Duration::from_millis(500));

/// What is sent.
struct Traffic {
    name: &'static str,
    shape: Shape,
    pairs: u8,
    /// The requests that each pair keeps open; about 1 MiB, so that no queue is ever full.
    window: usize,
}

const BINARY_256K: Traffic =
    Traffic { name: "binary_256k", shape: Shape { form: Form::Binary, block_size: 256 << 10 }, pairs: 4, window: 6 };
const BINARY_64K: Traffic =
    Traffic { name: "binary_64k", shape: Shape { form: Form::Binary, block_size: 64 << 10 }, pairs: 4, window: 16 };
// A connection may send no more than 20,000 messages a second.
const BINARY_16K: Traffic =
    Traffic { name: "binary_16k", shape: Shape { form: Form::Binary, block_size: 16 << 10 }, pairs: 8, window: 48 };
const JSON_64K: Traffic =
    Traffic { name: "json_64k", shape: Shape { form: Form::Json, block_size: 64 << 10 }, pairs: 4, window: 16 };

/// What it is sent through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum System {
    Tcp,
    Naive,
    Tracker,
}

/// What is measured of both sides of a ratio.
#[derive(Debug, Clone, Copy)]
enum Measure {
    Speed,
    Cpu,
}

/// A row as a ratio: what, through what, over what, through what.
struct Ratio {
    name: &'static str,
    measure: Measure,
    over: (&'static Traffic, System),
    under: (&'static Traffic, System),
}

const RATIOS: [Ratio; 5] = [
    Ratio {
        name: "binary_256k_over_tcp",
        measure: Measure::Speed,
        over: (&BINARY_256K, System::Tracker),
        under: (&BINARY_256K, System::Tcp),
    },
    Ratio {
        name: "binary_64k_over_tcp",
        measure: Measure::Speed,
        over: (&BINARY_64K, System::Tracker),
        under: (&BINARY_64K, System::Tcp),
    },
    Ratio {
        name: "json_64k_over_tcp",
        measure: Measure::Speed,
        over: (&JSON_64K, System::Tracker),
        under: (&BINARY_64K, System::Tcp),
    },
    Ratio {
        name: "cpu_64k_over_naive",
        measure: Measure::Cpu,
        over: (&BINARY_64K, System::Tracker),
        under: (&BINARY_64K, System::Naive),
    },
    Ratio {
        name: "cpu_16k_over_naive",
        measure: Measure::Cpu,
        over: (&BINARY_16K, System::Tracker),
        under: (&BINARY_16K, System::Naive),
    },
];

/// Everything that was measured of one traffic through one system.
struct Series {
    traffic: &'static Traffic,
    system: System,
    rounds: Vec<load::Figures>,
}

pub(super) async fn measure(scale: Scale, is_wanted: impl Fn(&str) -> bool, figures: &mut Figures) -> Result<()> {
    let ratios: Vec<_> = RATIOS.iter().filter(|ratio| is_wanted(ratio.name)).collect();
    let mut series: Vec<Series> = Vec::new();
    for (traffic, system) in ratios.iter().flat_map(|ratio| [ratio.under, ratio.over]) {
        if find(&series, (traffic, system)).is_none() {
            series.push(Series { traffic, system, rounds: Vec::new() });
        }
    }
    if series.is_empty() {
        return Ok(());
    }
    let (tcp, naive, tracker) = (modes::forwarder()?, modes::naive()?, modes::tracker(scale)?);
    let all_rounds = ROUNDS.at(scale);
    for round in 1..=all_rounds {
        for Series { traffic, system, rounds } in &mut series {
            let server = match system {
                System::Tcp => &tcp,
                System::Naive => &naive,
                System::Tracker => &tracker,
            };
            let measured = one(scale, server, traffic, *system).await;
            let measured = measured.with_context(|| format!("{} through {system:?}", traffic.name))?;
            println!(
                "round {round} of {all_rounds}: {:<11} through {system:<7?} {:>7.1} MB/s, {:.2} CPU-s per GB",
                traffic.name, measured.mb_s, measured.cpu_s_per_gb
            );
            rounds.push(measured);
        }
    }
    for Series { traffic, system, rounds } in &series {
        let name = format!("{}_{}", traffic.name, format!("{system:?}").to_lowercase());
        figures.add(&format!("{name}_mb_s"), median(rounds.iter().map(|round| round.mb_s)));
        figures.add(&format!("{name}_cpu_s_per_gb"), median(rounds.iter().map(|round| round.cpu_s_per_gb)));
        figures.add(&format!("{name}_p50_ms"), median(rounds.iter().map(|round| round.p50_ms)));
        figures.add(&format!("{name}_p99_ms"), median(rounds.iter().map(|round| round.p99_ms)));
        figures.add(&format!("{name}_p999_ms"), median(rounds.iter().map(|round| round.p999_ms)));
    }
    for ratio in ratios {
        let over = find(&series, ratio.over).context("both sides were measured")?;
        let under = find(&series, ratio.under).context("both sides were measured")?;
        let parts = over.rounds.iter().zip(&under.rounds).map(|(over, under)| match ratio.measure {
            Measure::Speed => over.mb_s / under.mb_s,
            Measure::Cpu => over.cpu_s_per_gb / under.cpu_s_per_gb,
        });
        figures.add(ratio.name, median(parts));
    }
    Ok(())
}

fn find<'a>(series: &'a [Series], (traffic, system): (&Traffic, System)) -> Option<&'a Series> {
    series.iter().find(|series| series.traffic.name == traffic.name && series.system == system)
}

async fn one(scale: Scale, server: &Server, traffic: &Traffic, system: System) -> Result<load::Figures> {
    let way = if system == System::Tcp { Way::Forwarder } else { Way::Relay };
    let mut load = Load::full(server, way, traffic.shape, traffic.pairs, traffic.window).await?;
    load.measure(server, WARM_UP.at(scale), WINDOW.at(scale)).await
}
