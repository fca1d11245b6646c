//! The steps of each task, and how they are run: one after another, headed and timed, until one fails.

use crate::toolbox::{Toolbox, WASM};
use anyhow::{Context as _, Result};
use clap::ValueEnum;
use std::{
    env,
    ffi::OsString,
    process::{Command, ExitCode, ExitStatus},
    time::{Duration, Instant},
};

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StepName {
    /// The formatting.
    Fmt,
    /// The linter over everything that runs natively.
    Clippy,
    /// The linter over the page and its worker.
    ClippyWasm,
    /// The documentation of everything that runs natively.
    Doc,
    /// The documentation of the page and its worker.
    DocWasm,
    /// Unit tests, swarms in virtual time, and native peers with a real tracker.
    Native,
    /// Each fuzz target, for some seconds.
    Fuzz,
    /// The page's and the worker's own tests, inside Chromium.
    Wasm,
    /// The page, built in release mode.
    Page,
    /// Real tabs with a real tracker.
    Browser,
    /// Every measurement and `sim` in miniature.
    Miniatures,
    /// The tracker, built in release mode.
    #[value(skip)]
    Tracker,
    /// `minibit`, built in release mode.
    #[value(skip)]
    Terminal,
    /// The measurement of `bench tabs`.
    #[value(skip)]
    BenchTabs,
    /// The measurement of `bench relay`.
    #[value(skip)]
    BenchRelay,
    /// The measurement of `bench lab`.
    #[value(skip)]
    BenchLab,
    /// The measurement of `bench swarm`.
    #[value(skip)]
    BenchSwarm,
    /// The README's picture.
    #[value(skip)]
    Screenshot,
}

impl StepName {
    /// What `cargo xtask test` does.
    pub(crate) const TEST: [Self; 11] = [
        Self::Fmt,
        Self::Clippy,
        Self::ClippyWasm,
        Self::Doc,
        Self::DocWasm,
        Self::Native,
        Self::Fuzz,
        Self::Wasm,
        Self::Page,
        Self::Browser,
        Self::Miniatures,
    ];

    /// Whether the step starts Chromium.
    pub(crate) const fn needs_browser(self) -> bool {
        matches!(self, Self::Wasm | Self::Browser | Self::Miniatures | Self::BenchTabs | Self::Screenshot)
    }

    /// Whether other browsers meet Chromium in the step.
    pub(crate) const fn needs_other_browsers(self) -> bool {
        matches!(self, Self::Browser)
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Fmt => "formatting",
            Self::Clippy => "linter, native",
            Self::ClippyWasm => "linter, wasm32",
            Self::Doc => "documentation, native",
            Self::DocWasm => "documentation, wasm32",
            Self::Fuzz => "fuzzing",
            Self::Native => "unit, swarm and relay tests",
            Self::Wasm => "wasm tests in Chromium",
            Self::Page => "the page in release mode",
            Self::Browser => "browser tests",
            Self::Miniatures => "measurements in miniature",
            Self::Tracker => "the tracker in release mode",
            Self::Terminal => "the terminal in release mode",
            Self::BenchTabs => "throughput of tabs",
            Self::BenchRelay => "figures of the relay",
            Self::BenchLab => "figures of the lab",
            Self::BenchSwarm => "figures of the swarm",
            Self::Screenshot => "screenshot",
        }
    }

    /// The command.
    ///
    /// All native steps name the whole workspace, so that dependencies are built with the same features and only
    /// once; warnings are denied to the linter alone, because RUSTFLAGS would build everything again.
    fn command(self, toolbox: &Toolbox) -> Command {
        let wasm = |line: &str| {
            let mut command = toolbox.cargo(line);
            command.args(["--target", WASM]);
            command
        };
        match self {
            Self::Fmt => toolbox.cargo("fmt --all --check"),
            Self::Clippy => toolbox.cargo(
                "clippy --workspace --all-targets --features tests/browser,tracker-ws/conformance -- --deny warnings",
            ),
            Self::ClippyWasm => {
                let mut command = wasm("clippy -p protocol -p peer-wasm -p web --all-targets");
                command.args(["--", "--deny", "warnings"]);
                command
            }
            Self::Doc => denying_doc_warnings(toolbox.cargo("doc --workspace --no-deps")),
            Self::DocWasm => denying_doc_warnings(wasm("doc -p peer-wasm -p web --no-deps")),
            Self::Native => toolbox.cargo("test --workspace"),
            Self::Fuzz => toolbox.cargo("run --quiet --package xtask -- fuzz"),
            Self::Wasm => {
                let mut command = wasm("test -p protocol -p peer-wasm -p web --lib --bins --tests");
                // Seconds; the runner's own 20 are short for a machine that is also building.
                command.env("WASM_BINDGEN_TEST_TIMEOUT", "300");
                command
            }
            Self::Page => {
                let mut command = toolbox.command("trunk");
                command.args(["build", "--release"]);
                // Trunk takes only `true` and `false` where https://no-color.org allows anything.
                if env::var_os("NO_COLOR").is_some() {
                    command.env("NO_COLOR", "true");
                }
                command
            }
            Self::Browser => toolbox.cargo("test --workspace --features tests/browser --test browser"),
            Self::Miniatures => toolbox.cargo("run --quiet --package xtask -- bench miniatures"),
            Self::Tracker => toolbox.cargo("build --release --package tracker-ws"),
            Self::Terminal => toolbox.cargo("build --release --package peer-native"),
            // The tracker is measured, not its observer, which therefore needs no release build.
            Self::BenchTabs => toolbox.cargo("bench --workspace --profile dev --bench tabs"),
            // The load generator shares the machine with what it loads, so it is optimised too.
            Self::BenchRelay => toolbox.cargo("bench --package tests --bench relay"),
            Self::BenchLab => toolbox.cargo("bench --workspace --profile dev --bench lab"),
            Self::BenchSwarm => toolbox.cargo("bench --package simulator --bench swarm"),
            Self::Screenshot => {
                let mut command = toolbox.cargo("test --workspace --features tests/browser --test browser screenshot");
                command.env("MINIBIT_SCREENSHOT", "1");
                command
            }
        }
    }
}

fn denying_doc_warnings(mut command: Command) -> Command {
    command.env("RUSTDOCFLAGS", "--deny warnings");
    command
}

/// Steps to be run.
pub(crate) struct Plan {
    steps: Vec<(StepName, Command)>,
}

impl Plan {
    /// Plans these steps in their order.
    pub(crate) fn of(toolbox: &Toolbox, steps: impl IntoIterator<Item = StepName>) -> Self {
        Self { steps: steps.into_iter().map(|step| (step, step.command(toolbox))).collect() }
    }

    /// Hands arguments through to what the last step runs.
    pub(crate) fn telling_the_last(mut self, arguments: Vec<OsString>) -> Self {
        if let (Some((_, command)), false) = (self.steps.last_mut(), arguments.is_empty()) {
            command.arg("--").args(arguments);
        }
        self
    }

    /// Runs the steps until one fails, and returns that one's exit code.
    ///
    /// # Errors
    /// If a command cannot be started.
    pub(crate) fn perform(self) -> Result<ExitCode> {
        let total = self.steps.len();
        let mut times = Vec::new();
        for (number, (step, mut command)) in (1..).zip(self.steps) {
            println!("\n==> [{number}/{total}] {}: {}", step.title(), shown(&command));
            let (status, time) = timed(&mut command)?;
            if !status.success() {
                println!(
                    "\nFAILED at step {number} of {total}, {}: `{}` ended with {status}",
                    step.title(),
                    shown(&command)
                );
                return Ok(exit_code(status));
            }
            println!("    {}: ok in {}", step.title(), minutes(time));
            times.push((step, time));
        }
        if total > 1 {
            println!();
            for (step, time) in &times {
                println!("{:>10}  {}", minutes(*time), step.title());
            }
            let sum = times.iter().map(|(_, time)| *time).sum();
            println!("OK: all {total} steps passed in {}", minutes(sum));
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[allow(clippy::disallowed_methods, reason = "the times are for people to read; nothing depends on them")]
fn timed(command: &mut Command) -> Result<(ExitStatus, Duration)> {
    let start = Instant::now();
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    Ok((status, start.elapsed()))
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program()).file_stem().unwrap_or_default();
    let words: Vec<_> = std::iter::once(program).chain(command.get_args()).map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// The child's exit code as ours; one that a signal ended has none.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn minutes(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
    }
}
