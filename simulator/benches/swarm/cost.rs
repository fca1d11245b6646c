//! What a run costs: in a process of its own, because the peak of a process's memory never goes down.

use crate::run::Run;
use anyhow::{Context as _, Result, ensure};
use simulator::experiment::Scenario;
use std::{
    env, fmt, fs,
    process::{Command, Stdio},
    str::FromStr,
};

/// Clock ticks in a second as the kernel tells them to programs (`USER_HZ`), the same on all common platforms.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a run cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Virtual seconds until the last peer was complete.
    pub(crate) last_s: f64,
    /// Seconds of the processor.
    pub(crate) cpu_s: f64,
    /// How much the peak of the resident memory grew, in KiB.
    pub(crate) kib: f64,
}

/// Measures the crowd in a process of its own, with nothing else in it.
pub(crate) fn in_own_process(run: Run) -> Result<Cost> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["--crowd", &run.seed.to_string()]).args(run.is_miniature.then_some("--miniature"));
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the crowd's process ended with {}", output.status);
    String::from_utf8(output.stdout)?.parse()
}

/// Runs the scenario in this process, which must have done nothing else.
pub(crate) fn measured(scenario: &Scenario, run: Run) -> Result<Cost> {
    let file = scenario.file();
    let (cpu_s, kib) = (cpu_s()?, peak_kib()?);
    let outcome = scenario.run(&file, run.seed);
    let last_s = outcome.last().map_or(f64::INFINITY, |last| last.as_secs_f64());
    Ok(Cost { last_s, cpu_s: self::cpu_s()? - cpu_s, kib: peak_kib()? - kib })
}

/// Seconds that the processor has worked for this process (proc(5), /proc/pid/stat: utime and stime).
fn cpu_s() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat").context("the cost is measured on Linux only")?;
    // The second field, in brackets, is the only one that may hold spaces.
    let (_, fields) = stat.rsplit_once(')').context("a name in brackets")?;
    let mut ticks = fields.split_whitespace().skip(11).map(u64::from_str);
    let mut next = || Ok::<_, anyhow::Error>(ticks.next().context("a time")??);
    Ok((next()? + next()?) as f64 / TICKS_PER_SECOND)
}

/// The peak of this process's resident memory in KiB.
fn peak_kib() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status").context("the cost is measured on Linux only")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.last_s, self.cpu_s, self.kib)
    }
}

impl FromStr for Cost {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> Result<Self> {
        let numbers: Vec<f64> = text.split_whitespace().map(f64::from_str).collect::<Result<_, _>>()?;
        let [last_s, cpu_s, kib] = numbers[..] else { anyhow::bail!("expected three numbers: {text}") };
        Ok(Self { last_s, cpu_s, kib })
    }
}
