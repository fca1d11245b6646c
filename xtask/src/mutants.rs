//! Mutation testing: changes of one operator or one value ("mutants"), each of which some test should notice.

use crate::{
    steps,
    toolbox::{Toolbox, run},
};
use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use serde::Deserialize;
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// The version of `cargo-mutants`.
const VERSION: &str = "27.1.0";
/// What it leaves behind, a folder for each area.
const FOLDER: &str = "target/mutants";
/// The list of those that are known to live.
const KNOWN: &str = "xtask/mutants.md";
/// The least share of viable mutants that tests have to catch.
const REACH: f64 = 0.92;
/// How much longer than usual the tests may take before a mutant counts as hanging, and the seconds that they have in
/// any case, because a busy machine is slow.
const PATIENCE: [&str; 2] = ["--timeout-multiplier=5", "--minimum-test-timeout=30"];

/// Code, and what tests it.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Area {
    /// The vocabulary and the frames.
    Protocol,
    /// The core for one file, by its own tests and the simulator's.
    Swarm,
    /// The whole peer without IO.
    Client,
    /// Who is here, who has what, what may pass.
    Registry,
}

impl Area {
    const fn name(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Swarm => "swarm",
            Self::Client => "client",
            Self::Registry => "registry",
        }
    }

    /// What is mutated, and the tests: those that know this code, because they are built again for each mutant. What is
    /// under `cfg(test)` is left out by itself.
    const fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Protocol => &["--package=protocol", "--file=protocol/src/**", "--cargo-arg=--tests"],
            Self::Swarm => &[
                "--package=peer-wasm",
                "--file=peer-wasm/src/swarm/**",
                "--test-package=peer-wasm",
                "--test-package=simulator",
                "--cargo-arg=--lib",
                "--cargo-arg=--test=swarm",
            ],
            Self::Client => &["--package=peer-wasm", "--file=peer-wasm/src/client/**", "--cargo-arg=--lib"],
            Self::Registry => &["--package=tracker-ws", "--file=tracker-ws/src/registry/**", "--cargo-arg=--lib"],
        }
    }
}

/// Tests these areas, or all, and tells which mutants live. Of the code, only what is in a diff if there is one: in a
/// file, or between a revision and what is there.
///
/// # Errors
/// If something is missing that cannot be installed, or the tests fail without any mutant.
pub(crate) fn perform(
    toolbox: &Toolbox,
    areas: &[Area],
    diff: Option<&str>,
    arguments: &[OsString],
) -> Result<ExitCode> {
    toolbox.prepare_tool("cargo-mutants", &["cargo-mutants"], VERSION)?;
    let known = fs::read_to_string(toolbox.root().join(KNOWN)).with_context(|| format!("cannot read {KNOWN}"))?;
    let diff = diff.map(|diff| diff_file(toolbox, diff)).transpose()?;
    let mut code = ExitCode::SUCCESS;
    for area in if areas.is_empty() { Area::value_variants() } else { areas } {
        let folder = toolbox.root().join(FOLDER).join(area.name());
        let mut command = toolbox.cargo("mutants --profile mutants");
        command.args(area.flags()).args(PATIENCE).arg("--output").arg(&folder);
        if let Some(diff) = &diff {
            command.arg("--in-diff").arg(diff);
        }
        println!("\n==> {}", area.name());
        let verdict = Verdict::of(&outcomes(command.args(arguments), &folder)?, &known);
        println!("{}: {}", area.name(), verdict.shown());
        if verdict.share().is_some_and(|share| share < REACH) {
            println!("{}: FAILED, {REACH} is to be reached", area.name());
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// The file of a diff, which is made if a revision is named.
fn diff_file(toolbox: &Toolbox, diff: &str) -> Result<PathBuf> {
    if Path::new(diff).is_file() {
        return Ok(Path::new(diff).canonicalize()?);
    }
    let folder = toolbox.root().join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let file = folder.join("change.diff");
    let mut git = toolbox.command("git");
    git.args(["diff", "--no-ext-diff", "--src-prefix=a/", "--dst-prefix=b/", "--output"]).arg(&file);
    run(git.args([diff, "--"])).with_context(|| format!("{diff} is neither a file nor a revision"))?;
    Ok(file)
}

/// Runs cargo-mutants, and gives what became of each mutant; nothing if there was none.
fn outcomes(command: &mut Command, folder: &Path) -> Result<Vec<Outcome>> {
    let file = folder.join("mutants.out/outcomes.json");
    if file.exists() {
        // Without mutants no other is written.
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    println!("    {}", steps::shown(command));
    let status = command.status().context("cannot start cargo-mutants")?;
    match status.code() {
        // All were caught, some lived, some hung.
        Some(0 | 2 | 3) => {}
        Some(4) => bail!("the tests fail without any mutant"),
        _ => bail!("cargo-mutants ended with {status}"),
    }
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let report: Report =
        serde_json::from_str(&text).with_context(|| format!("cannot understand {}", file.display()))?;
    Ok(report.outcomes)
}

/// What is in `outcomes.json`.
#[derive(Deserialize)]
struct Report {
    outcomes: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    scenario: Scenario,
    summary: Summary,
}

#[derive(Deserialize)]
enum Scenario {
    /// The code as it is.
    Baseline,
    Mutant {
        /// The file, the line, the column, and what was done there.
        name: String,
        file: String,
    },
}

#[derive(Deserialize, PartialEq)]
enum Summary {
    Success,
    CaughtMutant,
    MissedMutant,
    /// It does not compile.
    Unviable,
    Failure,
    /// The tests hang, which is noticed too.
    Timeout,
}

/// How the tests did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdict {
    caught: usize,
    known: Vec<String>,
    new: Vec<String>,
}

impl Verdict {
    /// Tells those that the list has, in lines that begin as "- `file: what was done`", from others. A line stands for
    /// one mutant. It names no place in the file, because that changes with every edit.
    fn of(outcomes: &[Outcome], list: &str) -> Self {
        let mut listed: Vec<_> = list.lines().filter_map(|line| line.strip_prefix("- `")?.split('`').next()).collect();
        let mut verdict = Self::default();
        for Outcome { scenario, summary } in outcomes {
            let Scenario::Mutant { name, file } = scenario else { continue };
            match summary {
                Summary::CaughtMutant | Summary::Timeout => verdict.caught += 1,
                Summary::MissedMutant => {
                    let done = name.split_once(": ").map_or(name.as_str(), |(_, done)| done);
                    match listed.iter().position(|line| *line == format!("{file}: {done}")) {
                        Some(place) => {
                            listed.swap_remove(place);
                            verdict.known.push(name.clone());
                        }
                        None => verdict.new.push(name.clone()),
                    }
                }
                Summary::Success | Summary::Unviable | Summary::Failure => {}
            }
        }
        verdict
    }

    const fn viable(&self) -> usize {
        self.caught + self.known.len() + self.new.len()
    }

    /// Of the viable mutants, those that were caught.
    fn share(&self) -> Option<f64> {
        (self.viable() > 0).then(|| self.caught as f64 / self.viable() as f64)
    }

    fn shown(&self) -> String {
        let Some(share) = self.share() else { return "no viable mutants".to_owned() };
        let mut text = format!("{} of {} viable mutants caught, {share:.3}", self.caught, self.viable());
        for (kind, mutants) in [("known", &self.known), ("new", &self.new)] {
            text.extend(mutants.iter().map(|name| format!("\n    lives, {kind}: {name}")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn outcome(summary: &str, name: &str) -> Value {
        let mutant = json!({ "name": name, "file": "a/src/b.rs", "package": "a", "genre": "FnValue" });
        json!({ "summary": summary, "scenario": { "Mutant": mutant } })
    }

    #[test]
    fn those_that_live_are_told_from_those_that_are_known_to() {
        let twice = ["a/src/b.rs:7:9: replace || with && in B::c", "a/src/b.rs:8:9: replace || with && in B::c"];
        let report = json!({ "outcomes": [
            { "summary": "Success", "scenario": "Baseline" },
            outcome("CaughtMutant", "a/src/b.rs:1:2: replace B::d with ()"),
            outcome("Timeout", "a/src/b.rs:2:2: replace B::e -> bool with true"),
            outcome("Unviable", "a/src/b.rs:3:2: replace B::f -> G with Default::default()"),
            outcome("MissedMutant", twice[0]),
            outcome("MissedMutant", twice[1]),
        ]});
        let report: Report = serde_json::from_value(report).expect("as cargo-mutants writes it");
        let verdict =
            Verdict::of(&report.outcomes, "# Title\n\n- `a/src/b.rs: replace || with && in B::c`: a reason\n");
        let known = vec![twice[0].to_owned()];
        assert_eq!(verdict, Verdict { caught: 2, known, new: vec![twice[1].to_owned()] });
        assert_eq!((verdict.viable(), verdict.share()), (4, Some(0.5)));
    }

    #[test]
    fn without_mutants_there_is_no_share() {
        assert_eq!(Verdict::of(&[], "").share(), None);
    }
}
