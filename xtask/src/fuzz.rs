//! Fuzzing of what the tracker takes from strangers.

use crate::{
    steps,
    toolbox::{Toolbox, run},
};
use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use std::{
    env,
    fs::{self, File},
    process::{Command, ExitCode},
};

/// The version of `cargo-fuzz`.
const VERSION: &str = "0.13.2";
/// The package of the targets.
const PACKAGE: &str = "tracker-ws/fuzz";
/// What is built, and the inputs that were found to do something new.
const FOLDER: &str = "target/fuzz";
/// What libFuzzer is told: the bytes of the longest input, the MiB of memory that it may take, and its seconds.
const BOUNDS: [&str; 3] = ["-max_len=4096", "-rss_limit_mb=1024", "-timeout=10"];

/// What is fuzzed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Target {
    /// Text messages of three clients, to the registry and to each other.
    TextFrames,
    /// A binary message from one client to another.
    BinaryFrames,
    /// Requests over HTTP, the handshake of a WebSocket among them.
    HttpHead,
    /// Datagrams to the port that answers STUN.
    StunDatagram,
}

/// What keeps this machine from fuzzing.
pub(crate) fn obstacle(toolbox: &Toolbox) -> Option<&'static str> {
    if cfg!(windows) {
        return Some("cargo-fuzz does not run on Windows");
    }
    // libFuzzer is built from its sources.
    let compiler = env::var_os("CXX").unwrap_or_else(|| "c++".into());
    toolbox.find(compiler).is_none().then_some("libFuzzer needs a C++ compiler; on Debian: `apt-get install g++`")
}

/// Runs one target, or each, for so many seconds, and stops at the first that fails.
///
/// # Errors
/// If something is missing that cannot be installed.
pub(crate) fn perform(toolbox: &Toolbox, target: Option<Target>, seconds: u32) -> Result<ExitCode> {
    if let Some(obstacle) = obstacle(toolbox) {
        bail!("cannot fuzz: {obstacle}");
    }
    toolbox.prepare_tool("cargo-fuzz", &["cargo-fuzz"], VERSION)?;
    run(&mut cargo_fuzz(toolbox, "build"))?;
    for one in Target::value_variants().iter().filter(|one| target.is_none_or(|target| target == **one)) {
        let value = one.to_possible_value().context("a target has no name")?;
        let name = value.get_name();
        let corpus = format!("{FOLDER}/corpus/{name}");
        fs::create_dir_all(toolbox.root().join(&corpus)).with_context(|| format!("cannot make {corpus}"))?;
        let log = format!("{FOLDER}/{name}.log");
        println!("==> {name} for {seconds} s; {log} tells how it goes");
        let log = toolbox.root().join(log);
        let mut command = cargo_fuzz(toolbox, "run");
        // What is found goes to the first folder.
        command.args([name, &corpus, &format!("{PACKAGE}/seeds/{name}"), "--"]);
        command.args(BOUNDS).arg(format!("-max_total_time={seconds}"));
        command.stderr(File::create(&log).with_context(|| format!("cannot write {}", log.display()))?);
        let status = command.status().context("cannot start cargo-fuzz")?;
        let text = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
        let text = String::from_utf8_lossy(&text);
        if !status.success() {
            println!("{text}\n{name} failed: `{}` ended with {status}", steps::shown(&command));
            return Ok(steps::exit_code(status));
        }
        // It is how many inputs were tried.
        println!("    {}", text.lines().last().unwrap_or_default());
    }
    Ok(ExitCode::SUCCESS)
}

/// The project forbids unsafe code, so that the address sanitizer, which takes a nightly compiler and makes everything
/// 15 times as slow, would only look after its dependencies.
fn cargo_fuzz(toolbox: &Toolbox, task: &str) -> Command {
    toolbox.cargo(&format!("fuzz {task} --fuzz-dir {PACKAGE} --target-dir {FOLDER} --sanitizer none"))
}
