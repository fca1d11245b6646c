//! The figures that a measurement is about, for programs.

use crate::scale::Scale;
use anyhow::Result;
use serde_json::{Map, Value, json};
use std::fs;

/// What was measured, by name, or why nothing was.
#[derive(Debug, Default)]
pub struct Figures(Map<String, Value>, Option<String>);

impl Figures {
    /// Adds a figure.
    pub fn add(&mut self, name: &str, value: f64) {
        self.0.insert(name.to_owned(), json!((value * 1e4).round() / 1e4));
    }

    /// Notes why nothing can be measured here.
    pub fn impossible(&mut self, why: &str) {
        self.1 = Some(why.to_owned());
    }

    /// A figure that was added.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name)?.as_f64()
    }

    /// Writes all of them to `target/bench/<name>.json`, in miniature to `target/bench/miniature/<name>.json`, and
    /// tells where that is.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, scale: Scale, name: &str) -> Result<String> {
        let folder = scale.figures_dir();
        fs::create_dir_all(&folder)?;
        let file = folder.join(name).with_extension("json");
        fs::write(&file, format!("{:#}\n", json!({ "metrics": self.0, "impossible": self.1 })))?;
        Ok(file.display().to_string())
    }
}

/// The middle value; not a number if there is none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}
