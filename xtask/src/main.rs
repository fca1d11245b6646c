//! The project's own commands: `cargo xtask run`, `test`, `fuzz`, `mutants`, `conformance`, `bench`, `sim` and
//! `screenshot`.
//!
//! Each does all its own set-up first ([`toolbox`]), so that a fresh machine needs nothing but Rust. Then it runs the
//! tools a person would run by hand, in this order and with these flags ([`steps`]).
#![allow(clippy::print_stdout, reason = "a command line tool speaks on standard output")]

mod browser;
mod conformance;
mod fuzz;
mod miniatures;
mod mutants;
mod steps;
mod toolbox;

use crate::{
    steps::{Plan, StepName},
    toolbox::Toolbox,
};
use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use std::{
    ffi::OsString,
    process::{Command, ExitCode},
};

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about, version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Builds the page and starts the tracker, which serves it and prints its address.
    Run {
        /// Flags for the tracker; `cargo xtask run -- --help` lists them. `MINIBIT_*` variables reach it too.
        #[arg(last = true)]
        tracker: Vec<OsString>,
    },
    /// Runs every check and every test, and stops at the first that fails.
    Test {
        /// Only these, in the usual order.
        steps: Vec<StepName>,
    },
    /// Feeds the tracker with inputs that are made to break it, and keeps those that do in tracker-ws/fuzz/artifacts.
    Fuzz {
        /// What is fuzzed; everything if it is not said.
        target: Option<fuzz::Target>,
        /// How long, for each.
        #[arg(default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
        seconds: u32,
    },
    /// Changes the code here and there, and tells which changes no test notices; takes hours.
    Mutants {
        /// Where; everywhere if it is not said.
        areas: Vec<mutants::Area>,
        /// Only what is in this diff, or what has changed since this revision.
        #[arg(long, value_name = "FILE_OR_REV")]
        in_diff: Option<String>,
        /// Flags for cargo-mutants, such as `--shard 0/8` or `--jobs 2`.
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Runs Autobahn's WebSocket cases against the tracker's connections; needs Python.
    Conformance,
    /// Measures.
    Bench {
        /// What to measure.
        bench: Bench,
        /// What the measurement may be told, such as megabytes and rounds, or rows and `--seeds`.
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Runs a swarm of the production core in virtual time, tells how it went, and draws it to target/sim.svg.
    Sim {
        /// What the swarm is like; `cargo xtask sim -- --help` lists it.
        #[arg(last = true)]
        swarm: Vec<OsString>,
    },
    /// Takes the README's screenshot again: a page with a transfer running.
    Screenshot,
}

#[derive(Clone, Copy, ValueEnum)]
enum Bench {
    /// Whole-page throughput between real browser tabs, beside a bare transfer through the same tracker; writes
    /// target/bench/tabs.json.
    Tabs,
    /// What the tracker's relay does and costs, beside a plain TCP forwarder and a naive relay; writes
    /// target/bench/relay.json.
    Relay,
    /// How near to the bounds a room comes in which each machine has a line of its own; writes target/bench/lab.json.
    Lab,
    /// How near to the bounds a swarm comes, in virtual time; writes target/bench/swarm.json.
    Swarm,
    /// All of these and `sim` in miniature, to see that each comes to its figures: what `cargo xtask test page miniatures`
    /// runs, once the page is built.
    #[value(hide = true)]
    Miniatures,
}

fn main() -> ExitCode {
    match Cli::parse().task.perform() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Task {
    fn perform(self) -> Result<ExitCode> {
        let toolbox = Toolbox::open()?;
        match self {
            Self::Run { tracker } => {
                toolbox.prepare_page()?;
                let code = Plan::of(&toolbox, [StepName::Page]).perform()?;
                if code != ExitCode::SUCCESS {
                    return Ok(code);
                }
                become_command(toolbox.cargo("run --release --package tracker-ws --").args(tracker))
            }
            Self::Test { steps } => {
                toolbox.prepare_checks()?;
                toolbox.prepare_page()?;
                let mut steps = if steps.is_empty() { StepName::TEST.to_vec() } else { steps };
                if let Some(obstacle) = fuzz::obstacle(&toolbox).filter(|_| steps.contains(&StepName::Fuzz)) {
                    println!("==> fuzzing is left out: {obstacle}");
                    steps.retain(|step| *step != StepName::Fuzz);
                }
                let toolbox =
                    if steps.iter().any(|step| step.needs_browser()) { toolbox.with_browser()? } else { toolbox };
                if steps.contains(&StepName::Native) {
                    browser::prepare_network(&toolbox)?;
                }
                if steps.iter().any(|step| step.needs_other_browsers()) {
                    browser::prepare_others(&toolbox)?;
                }
                Plan::of(&toolbox, StepName::TEST.iter().copied().filter(|step| steps.contains(step))).perform()
            }
            Self::Fuzz { target, seconds } => fuzz::perform(&toolbox, target, seconds),
            Self::Mutants { areas, in_diff, arguments } => {
                mutants::perform(&toolbox, &areas, in_diff.as_deref(), &arguments)
            }
            Self::Conformance => conformance::perform(&toolbox),
            Self::Bench { bench: Bench::Tabs, arguments } => {
                let toolbox = toolbox.with_browser()?;
                toolbox.prepare_page()?;
                Plan::of(&toolbox, [StepName::Page, StepName::Tracker, StepName::BenchTabs])
                    .telling_the_last(arguments)
                    .perform()
            }
            Self::Bench { bench: Bench::Relay, arguments } => {
                Plan::of(&toolbox, [StepName::Tracker, StepName::BenchRelay]).telling_the_last(arguments).perform()
            }
            Self::Bench { bench: Bench::Lab, arguments } => {
                Plan::of(&toolbox, [StepName::Tracker, StepName::Terminal, StepName::BenchLab])
                    .telling_the_last(arguments)
                    .perform()
            }
            Self::Bench { bench: Bench::Swarm, arguments } => {
                Plan::of(&toolbox, [StepName::BenchSwarm]).telling_the_last(arguments).perform()
            }
            Self::Bench { bench: Bench::Miniatures, .. } => miniatures::perform(&toolbox.with_browser()?),
            Self::Sim { swarm } => {
                become_command(toolbox.cargo("run --release --package simulator --bin sim --").args(swarm))
            }
            Self::Screenshot => {
                let toolbox = toolbox.with_browser()?;
                toolbox.prepare_page()?;
                Plan::of(&toolbox, [StepName::Page, StepName::Screenshot]).perform()
            }
        }
    }
}

/// Puts the command in this process's place, so that Ctrl-C and SIGTERM reach it and its exit code is ours.
#[cfg(unix)]
fn become_command(command: &mut Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt as _;
    let error = command.exec();
    Err(anyhow::Error::new(error).context(format!("cannot start {}", steps::shown(command))))
}

/// Runs the command to its end. Ctrl-C reaches every process of the console by itself.
#[cfg(not(unix))]
fn become_command(command: &mut Command) -> Result<ExitCode> {
    use anyhow::Context as _;
    let status = command.status().with_context(|| format!("cannot start {}", steps::shown(command)))?;
    Ok(steps::exit_code(status))
}
