//! Telling what was measured: a table for people, figures for programs.

use crate::{
    pool::Figure,
    rows::{self, Reach, Row},
};
use anyhow::Result;
use serde_json::{Map, Value, json};
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// What stands in the figures for programs where something never happened.
const NEVER: f64 = 1e9;
/// What the list of scenarios is called there.
const WORST_SCENARIOS: &str = "anywhere_worst_scenarios";

/// What is known of the rows: those just measured, and of the others what was measured before.
#[derive(Debug)]
pub(crate) struct Metrics {
    by_name: Map<String, Value>,
    /// Scenarios drawn by number, the worst first.
    worst_scenarios: Value,
    file: PathBuf,
}

impl Metrics {
    /// Adds what was measured to what `target/bench/swarm.json` says, or in miniature
    /// `target/bench/miniature/swarm.json`.
    pub(crate) fn with(figures: &[Figure], worst_scenarios: Value, is_miniature: bool) -> Self {
        let folder = if is_miniature { "target/bench/miniature" } else { "target/bench" };
        let file = project_dir().join(folder).join("swarm.json");
        let before = fs::read(&file).ok().and_then(|json| serde_json::from_slice::<Value>(&json).ok());
        let before = before.unwrap_or_default();
        let mut by_name = before.get("metrics").and_then(Value::as_object).cloned().unwrap_or_default();
        for Figure { row, values } in figures {
            by_name.insert(row.name.to_owned(), json!(rounded(median(values))));
            if !row.is_anywhere() {
                by_name.insert(format!("{}_worst", row.name), json!(rounded(row.reach.worst(values))));
            }
        }
        let is_new = worst_scenarios.as_array().is_some_and(|scenarios| !scenarios.is_empty());
        let kept = if is_new { None } else { before.get(WORST_SCENARIOS).cloned() };
        Self { by_name, worst_scenarios: kept.unwrap_or(worst_scenarios), file }
    }

    /// Writes the file for programs.
    pub(crate) fn write(&self) -> Result<()> {
        self.file.parent().map_or(Ok(()), fs::create_dir_all)?;
        write(&self.file, &format!("{:#}\n", json!({ "metrics": self.by_name, WORST_SCENARIOS: self.worst_scenarios })))
    }

    /// The table in Markdown, of the rows that are known.
    pub(crate) fn table<'a>(&self, rows: impl IntoIterator<Item = &'a Row>) -> String {
        let mut table = String::from("| name | what | formula and reference | to reach | median | worst |\n");
        table += "|---|---|---|---|---|---|\n";
        for row in rows {
            let value = |name: &str| self.by_name.get(name).and_then(Value::as_f64);
            let Some(median) = value(row.name) else { continue };
            let worst = value(&format!("{}_worst", row.name)).map_or_else(|| "–".to_owned(), shown);
            let missed = if row.reach.is_reached(median) { "" } else { " (missed)" };
            let reach = match row.reach {
                Reach::AtMost(limit) => format!("≤ {limit}"),
                Reach::AtLeast(limit) => format!("≥ {limit}"),
                Reach::Anything => "–".to_owned(),
            };
            let median = shown(median);
            let Row { name, what, formula, .. } = row;
            let _ = writeln!(table, "| `{name}` | {what} | {formula} | {reach} | {median}{missed} | {worst} |");
        }
        table
    }
}

/// Writes `simulator/FIGURES.md`.
pub(crate) fn write_figures(metrics: &Metrics) -> Result<()> {
    let table = metrics.table(rows::all());
    let text = format!(
        "# Figures of the swarm

Made by `cargo xtask bench swarm -- --write-figures`: the production core in virtual time, median and worst of ten seeds.
`flash_10k_cpu_s`, `flash_10k_kib_per_peer`, `have_growth` and `pick_growth` are this machine's;
all other rows are the same everywhere for the same code. `anywhere_…` are each one figure of 200 scenarios.

Unless a row says otherwise: 64 MiB in blocks of the protocol's default size, N = 1,000 peers with 10 Mbit/s up and 40
down, one seed with the same uplink, 25 ms ± 10 from a peer to another, everyone there from the beginning, and everyone
stays. F is the file's size, u an uplink, d a downlink, k the number of blocks, T when the last peer was complete.

{table}
## Notes

- No row is tuned by its definition; those that miss what they are to reach say so.
- A line sends one message at a time, control before data, and carries the headers too. The bounds count payload only,
  and know no latency.
- What peers and tracker say to each other is not counted as overhead: it is a few hundred bytes for each introduction.
- Bytes are those of binary frames. The core is the one that a tab runs. Around it, a block is checked by a stamp instead
  of its hash, storage takes no time, and no socket holds data that control would have to wait for.
- In `one_club` those that are complete and dwell are among those present. A peer that nobody wants anything of stays.
- In `churn_30` an uplink counts from its peer's join until it leaves, also when the peer is complete.
- The ideal time adds to the fluid bound with those that were there, as in `churn_30`, what whole blocks and distances
  add: ⌈log2(N + 1)⌉ · (block / median u + latency) + 4 · latency. A line carries nothing while it is broken. A seed that
  is much faster than its peers spares them steps, so that a little less than this time is possible.
- How the scenarios of `anywhere_…` are drawn stands in `src/experiment/anywhere.rs`. One that is not complete counts with
  the time at which it was given up.
- What `anywhere_…` misses is with small files and short transfers: a step from one to the next costs a `have`, a request
  and a block, of which the ideal time counts the block; and a `have` takes a hundred bytes, whatever the block.
- The crowd of `flash_10k` takes minutes: its three rows are of one seed.
- `flash_10k_cpu_s` and `flash_10k_kib_per_peer` are measured in a process of their own, from the moment when the file
  is there.
"
    );
    write(&project_dir().join("simulator/FIGURES.md"), &text)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    println!("written to {}", path.display());
    Ok(())
}

fn project_dir() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

fn rounded(value: f64) -> f64 {
    if value.is_finite() { (value * 1e4).round() / 1e4 } else { NEVER }
}

fn shown(value: f64) -> String {
    if value < NEVER { format!("{value}") } else { "never".to_owned() }
}
