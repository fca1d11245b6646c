//! The CPU time of processes, as Linux tells it (proc_pid_stat(5)): of user and system, in steps of 10 ms.

use anyhow::{Context as _, Result};
use std::{collections::BTreeMap, fs, str::FromStr};

/// The clock ticks in which Linux tells programs of CPU time, in every configuration of the kernel.
const TICKS_PER_SECOND: f64 = 100.0;

/// What is used of `/proc/<pid>/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// Of the process itself.
    own_ticks: u64,
    /// Of its descendants that have ended and were waited for.
    ended_ticks: u64,
}

impl FromStr for Stat {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> Result<Self> {
        // The second field is the program's name in brackets, which may hold spaces and brackets.
        let (_, fields) = text.rsplit_once(')').context("no name in stat")?;
        let fields: Vec<_> = fields.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).with_context(|| format!("no field {number} in {text:?}"));
        let ticks = |number| Ok::<u64, anyhow::Error>(field(number)?.parse()?);
        Ok(Self {
            parent: field(4)?.parse()?,
            own_ticks: ticks(14)? + ticks(15)?,
            ended_ticks: ticks(16)? + ticks(17)?,
        })
    }
}

/// Seconds that a process has used.
///
/// # Errors
/// If it is gone.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat: Stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?.parse()?;
    Ok(stat.own_ticks as f64 / TICKS_PER_SECOND)
}

/// Seconds that all processes below this one have used, those among them that have ended since included.
///
/// # Errors
/// If the processes cannot be listed.
pub fn cpu_seconds_below(pid: u32) -> Result<f64> {
    let mut by_parent = BTreeMap::<u32, Vec<(u32, u64)>>::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that ends meanwhile is counted by its parent.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let stat: Stat = stat.parse()?;
        by_parent.entry(stat.parent).or_default().push((pid, stat.own_ticks + stat.ended_ticks));
    }
    let (mut parents, mut sum) = (vec![pid], 0);
    while let Some(children) = parents.pop().map(|parent| by_parent.remove(&parent).unwrap_or_default()) {
        sum += children.iter().map(|(_, ticks)| ticks).sum::<u64>();
        parents.extend(children.iter().map(|(child, _)| child));
    }
    Ok(sum as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_what_separates_fields() {
        let stat: Stat = "12 (a) b (c) S 7 1 1 0 -1 4194304 9 9 9 9 3 4 50 60 20 0 1".parse().expect("a line of stat");
        assert_eq!(stat, Stat { parent: 7, own_ticks: 7, ended_ticks: 110 });
    }
}
