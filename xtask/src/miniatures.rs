//! Every measurement, and `sim`, in miniature: not to measure, but to see that each still comes to all its figures.

use crate::toolbox::{Toolbox, run};
use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Where the miniatures' figures go.
const FOLDER: &str = "target/bench/miniature";
/// The measurements, and the folders of their code, where `figures.txt` names what each has to tell.
const BENCHES: [(&str, &str); 4] = [
    ("tabs", "tests/benches/tabs"),
    ("relay", "tests/benches/relay"),
    ("lab", "tests/benches/lab"),
    ("swarm", "simulator/benches/swarm"),
];
/// What the figures of the swarm say for something that never happened.
const NEVER: f64 = 1e9;
/// A swarm with something of everything.
const SIM: &str = "--peers 12 --file 1MiB --churn 10% --free-riders 10% --liars 10% --dwell 1 --seed-leaves-after 8";

/// Runs all of them, and checks that each tells every figure.
///
/// # Errors
/// If one fails, or a figure is missing or no number.
pub(crate) fn perform(toolbox: &Toolbox) -> Result<ExitCode> {
    let folder = toolbox.root().join(FOLDER);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    // Cargo builds a package's programs with its tests: the tracker and `minibit` here, and `sim` with the measurement of the swarm.
    // Built by themselves they would have dependencies with other features, and these would be built again.
    run(&mut toolbox.cargo("test --workspace --no-run --test process --test terminal"))?;
    let mut benches = toolbox.cargo("bench --workspace --profile dev");
    run(benches.args(BENCHES.iter().flat_map(|(name, _)| ["--bench", *name])).args(["--", "--miniature"]))?;
    for (name, code) in BENCHES {
        let list = read(&toolbox.root().join(code).join("figures.txt"))?;
        let told: Told = serde_json::from_str(&read(&folder.join(name).with_extension("json"))?)?;
        if let Some(why) = told.impossible {
            println!("    {name}: not tried, {why}");
            continue;
        }
        check(&told.metrics, &list).with_context(|| format!("`bench {name}` is broken"))?;
        println!("    {name}: all {} figures are there", told.metrics.len());
    }
    let picture = folder.join("sim.svg");
    run(toolbox.command(built("sim")).args(SIM.split_whitespace()).arg("--output").arg(&picture))?;
    check_picture(&read(&picture)?)?;
    Ok(ExitCode::SUCCESS)
}

/// What a measurement writes.
#[derive(Deserialize)]
struct Told {
    metrics: Map<String, Value>,
    /// Why nothing can be measured on this machine.
    impossible: Option<String>,
}

/// A program of the development build.
fn built(program: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    target.join("debug").join(program).with_extension(std::env::consts::EXE_EXTENSION)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Finds what is not as listed, one name a line.
fn check(figures: &Map<String, Value>, list: &str) -> Result<()> {
    let is_told = |name: &&str| figures.get(*name).and_then(Value::as_f64).is_some_and(|value| value.abs() < NEVER);
    let listed: BTreeSet<_> = list.lines().collect();
    let missing: Vec<_> = listed.iter().filter(|name| !is_told(name)).collect();
    ensure!(missing.is_empty(), "no number is told for {missing:?}");
    let unlisted: Vec<_> = figures.keys().filter(|name| !listed.contains(name.as_str())).collect();
    ensure!(unlisted.is_empty(), "its figures.txt does not list {unlisted:?}");
    Ok(())
}

/// Finds out whether a picture is whole, and every place in it a number.
fn check_picture(svg: &str) -> Result<()> {
    ensure!(svg.contains("<polyline") && svg.trim_end().ends_with("</svg>"), "the picture of `sim` is not whole");
    ensure!(!svg.contains("NaN") && !svg.contains("\"inf"), "the picture of `sim` has places that are no numbers");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_figure_that_is_not_as_listed_is_found() {
        let problem = |figures: Value| {
            let figures = figures.as_object().expect("an object");
            check(figures, "a\nb\n").err().map(|error| error.to_string())
        };
        assert_eq!(problem(json!({ "a": 0.0, "b": -1.5 })), None);
        for figures in [json!({ "a": 1.0 }), json!({ "a": 1.0, "b": null }), json!({ "a": 1.0, "b": NEVER })] {
            assert_eq!(problem(figures).as_deref(), Some("no number is told for [\"b\"]"));
        }
        let problem = problem(json!({ "a": 1.0, "b": 1.0, "c": 1.0 }));
        assert_eq!(problem.as_deref(), Some("its figures.txt does not list [\"c\"]"));
    }
}
