//! Telling what was measured: a table for people, figures for programs.

use crate::rows::{Reach, Row};
use anyhow::Result;
use serde_json::{Map, Value, json};
use std::{fs, path::PathBuf};
use tests::browser::project_dir;

/// What was measured, by name.
#[derive(Debug, Default)]
pub(crate) struct Figures(Map<String, Value>);

impl Figures {
    pub(crate) fn add(&mut self, name: &str, value: f64) {
        self.0.insert(name.to_owned(), json!((value * 1e4).round() / 1e4));
    }

    /// Prints the table in Markdown.
    pub(crate) fn print(&self, rows: &[Row]) {
        println!("\n| row | what | to reach | measured | |\n|---|---|---|---|---|");
        for Row { name, what, reach } in rows {
            let Some(value) = self.0.get(*name).and_then(Value::as_f64) else { continue };
            let wanted = match reach {
                Reach::AtLeast(limit) => format!("≥ {limit}"),
                Reach::AtMost(limit) => format!("≤ {limit}"),
                Reach::Anything => "–".to_owned(),
            };
            let verdict = if reach.is_reached(value) { "met" } else { "**missed**" };
            println!("| `{name}` | {what} | {wanted} | {value:.2} | {verdict} |");
        }
    }

    /// Writes `target/bench/relay.json`.
    pub(crate) fn write(&self) -> Result<PathBuf> {
        let folder = project_dir().join("target/bench");
        fs::create_dir_all(&folder)?;
        let file = folder.join("relay.json");
        fs::write(&file, format!("{:#}\n", json!({ "metrics": self.0 })))?;
        Ok(file)
    }
}

/// The middle value; not a number if there is none.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}
