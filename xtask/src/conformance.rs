//! Autobahn's cases for WebSocket servers, run by the Python package `kosoku` against the tracker's own connections.

use crate::toolbox::{Toolbox, run};
use anyhow::{Context as _, Result, ensure};
use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
};

/// The version of `kosoku`.
const VERSION: &str = "0.1.0";
/// The folder of everything that this leaves behind.
const FOLDER: &str = "target/conformance";
/// The groups about compression, which the tracker does not offer.
const LEFT_OUT: [&str; 2] = ["12.*", "13.*"];
/// Prints the installed version.
const ASK_VERSION: &str = "import importlib.metadata as m; print(m.version('kosoku'))";

/// Runs all cases against an echo server made of the tracker's connections, and tells how each group went.
///
/// # Errors
/// If something cannot be installed or started. A case that fails is told by the exit code.
pub(crate) fn perform(toolbox: &Toolbox) -> Result<ExitCode> {
    let folder = toolbox.root().join(FOLDER);
    prepare(toolbox, &folder)?;

    // It is built first, so that nothing but its address is waited for below.
    run(&mut toolbox.cargo("build --package tracker-ws --features conformance --example echo"))?;
    let mut server = toolbox
        .cargo("run --quiet --package tracker-ws --features conformance --example echo")
        // It ends when this is closed, also if this program is killed.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the echo server")?;
    let mut url = String::new();
    let output = server.stdout.take().context("the echo server has no output")?;
    BufReader::new(output).read_line(&mut url).context("cannot read the echo server's address")?;

    let report = folder.join("report");
    if report.exists() {
        fs::remove_dir_all(&report).with_context(|| format!("cannot remove {}", report.display()))?;
    }
    let mut cases = toolbox.command(program(&folder, "kosoku"));
    cases.arg(url.trim()).arg("--outdir").arg(&report);
    for group in LEFT_OUT {
        cases.args(["--exclude", group]);
    }
    let status = cases.status().context("cannot start kosoku")?;
    drop(server.stdin.take());
    server.wait().context("the echo server does not end")?;

    summarize(&report)?;
    println!("what each case did: {}", report.join("index.html").display());
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Installs `kosoku` into a Python environment of its own.
fn prepare(toolbox: &Toolbox, folder: &Path) -> Result<()> {
    let python = program(folder, "python");
    if python.is_file() && toolbox.output(&python, &["-c", ASK_VERSION]).as_deref() == Some(VERSION) {
        return Ok(());
    }
    println!("==> installing kosoku {VERSION} into {FOLDER}");
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    run(toolbox.command("python3").args(["-m", "venv", "--clear"]).arg(folder.join("venv"))).context(
        "the conformance test needs Python 3.10 or later with `venv`; on Debian: `apt-get install python3-venv`",
    )?;
    run(toolbox.command(&python).args(["-m", "pip", "install", "--quiet"]).arg(format!("kosoku=={VERSION}")))
        .context("kosoku comes from https://pypi.org; is this machine on the internet?")
}

/// A program of the Python environment.
fn program(folder: &Path, name: &str) -> PathBuf {
    let programs = if cfg!(windows) { "Scripts" } else { "bin" };
    folder.join("venv").join(programs).join(name).with_extension(env::consts::EXE_EXTENSION)
}

/// Prints how many cases of each group came to which verdict.
fn summarize(report: &Path) -> Result<()> {
    let index = report.join("index.json");
    let text = fs::read_to_string(&index).with_context(|| format!("cannot read {}", index.display()))?;
    let agents: BTreeMap<String, BTreeMap<String, Verdict>> =
        serde_json::from_str(&text).with_context(|| format!("cannot understand {}", index.display()))?;
    let mut groups = BTreeMap::<u32, BTreeMap<String, u32>>::new();
    for (case, verdict) in agents.values().flatten() {
        let group = case.split('.').next().and_then(|group| group.parse().ok());
        let group = groups.entry(group.with_context(|| format!("{case:?} is no case"))?).or_default();
        *group.entry(verdict.shown()).or_default() += 1;
    }
    ensure!(!groups.is_empty(), "no case was run");
    for (group, verdicts) in groups {
        let verdicts: Vec<_> = verdicts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
        println!("{group:>4}.*  {}", verdicts.join(", "));
    }
    Ok(())
}

/// What is in `index.json` for a case.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    behavior: String,
    behavior_close: String,
}

impl Verdict {
    fn shown(&self) -> String {
        if self.behavior == self.behavior_close || self.behavior_close == "OK" {
            self.behavior.clone()
        } else {
            format!("{} with close {}", self.behavior, self.behavior_close)
        }
    }
}
