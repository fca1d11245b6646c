//! How near to the bounds a swarm comes: `cargo xtask bench swarm`.
//!
//! Every row of the table is a figure of the production core in virtual time, most of them a ratio to what no protocol
//! can exceed. It is measured with several seeds; each seed is another crowd on other lines. Which scenario is behind
//! a row stands in [`measure`], what the row means in [`rows`].
//!
//! `cargo xtask bench swarm -- [rows] [--seeds N] [--write-figures] [--miniature]`; the result is also written to
//! `target/bench/swarm.json`, each row's median under its name and its worst seed under the name and `_worst`.
//!
//! `anywhere` names ten rows of which each is made of 200 scenarios, drawn by number (`Scenario::anywhere`) and run
//! once. The ten that took longest over their ideal time are told at the end, and kept under `anywhere_worst_scenarios`;
//! `cargo xtask sim -- --scenario NUMBER` shows one of them.
#![allow(clippy::print_stdout, reason = "a measurement speaks on standard output")]

mod anywhere;
mod cost;
mod growth;
mod measure;
mod pool;
mod report;
mod rows;
mod run;

use anyhow::Result;
use clap::{Parser, value_parser};
use pool::Extent;
use report::Metrics;
use run::Run;

#[derive(Parser)]
#[command(bin_name = "cargo xtask bench swarm --")]
struct Cli {
    /// Only these rows; all if none is named.
    #[arg(value_parser = rows::names())]
    rows: Vec<String>,
    /// How many seeds each row is measured with.
    #[arg(long, default_value_t = 10, default_value_if("miniature", "true", "1"), value_parser = value_parser!(u64).range(1..=1_000))]
    seeds: u64,
    /// How many scenarios `anywhere` runs.
    #[arg(long, default_value_t = 200, default_value_if("miniature", "true", "4"), value_parser = value_parser!(u64).range(1..=1_000_000))]
    scenarios: u64,
    /// The first of their numbers.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = value_parser!(u64).range(..=1_000_000_000_000))]
    from: u64,
    /// Writes simulator/FIGURES.md as well; rows that are not measured now stay as they were.
    #[arg(long)]
    write_figures: bool,
    /// Runs everything so small that it takes seconds: not to measure, but to see that it works.
    #[arg(long, conflicts_with = "write_figures")]
    miniature: bool,
    /// What `cargo bench` tells every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
    /// Runs the crowd of the cost rows with this seed, and tells what it cost.
    #[arg(long, hide = true)]
    crowd: Option<u64>,
    /// How large that crowd is.
    #[arg(long, hide = true, default_value_t = measure::CROWD)]
    crowd_peers: usize,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    if let Some(seed) = cli.crowd {
        let run = Run { seed, is_miniature: cli.miniature };
        println!("{}", cost::measured(&run.fitted(measure::crowd(cli.crowd_peers)), run)?);
        return Ok(());
    }
    let groups = rows::groups_of(&cli.rows);
    let scenarios = cli.from..cli.from + cli.scenarios;
    let extent = Extent { seeds: cli.seeds, scenarios, is_miniature: cli.miniature };
    let (results, tried) = pool::measure(&groups, &extent)?;
    let figures: Vec<_> = results.into_iter().filter(|figure| rows::is_wanted(figure.row, &cli.rows)).collect();
    let (worst, worst_scenarios) = anywhere::worst(tried);
    let metrics = Metrics::with(&figures, worst_scenarios, cli.miniature);
    print!("\n{}", metrics.table(figures.iter().map(|figure| figure.row)));
    if !worst.is_empty() {
        print!("\nThe scenarios that took longest over their ideal time:\n{worst}");
    }
    metrics.write()?;
    if cli.write_figures {
        report::write_figures(&metrics)?;
    }
    Ok(())
}
