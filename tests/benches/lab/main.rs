//! What a room of machines does on lines of their own: `cargo xtask bench lab`.
//!
//! Hosts are network namespaces of this machine on a bridge, each with a line that the kernel makes as slow as a real one, the
//! same each way: the tracker's, that of who shares, and those of who fetch and serve on, be they terminals or tabs, each of
//! those in a browser of its own. All are the release build in processes of their own. The clock runs from when the terminals
//! that fetch are started and the tabs are told to fetch, all at once, until the last has its file.
//!
//! Nothing can be faster than max(F/u, N·F/((N+1)·u)): the seed sends the file of F bytes once, and all N+1 lines of rate u
//! together send N copies. Through the tracker's line alone it would take N·F/u.
//!
//! `cargo xtask bench lab -- [rows] [--miniature]`; the result is also written to `target/bench/lab.json`. On Linux, where
//! network namespaces may be made; elsewhere it says so.
#![allow(clippy::print_stdout, reason = "a measurement speaks on standard output")]

mod lab;
mod member;

use anyhow::Result;
use lab::{Cut, Lab, Trial};
use std::env;
use tests::{
    figures::Figures,
    scale::{Scale, Scaled},
};
use tokio::runtime::Runtime;

/// One figure: its name, what it is, and what is to be reached at most.
struct Row {
    name: &'static str,
    what: &'static str,
    at_most: f64,
}

const fn row(name: &'static str, what: &'static str, at_most: f64) -> Row {
    Row { name, what, at_most }
}

/// Rows that one trial, or a pair of them, gives.
struct Group {
    rows: &'static [Row],
    measure: fn(Scale) -> Result<Option<Vec<f64>>>,
}

const GROUPS: [Group; 7] = [
    Group {
        rows: &[row("terminals_5_over_bound", "5 terminals, 100 MB, 100 Mbit/s: the last / the bound", 1.15)],
        measure: |scale| measure(scale, &[FIVE], |took| vec![took[0].over_bound]),
    },
    Group {
        rows: &[
            row("terminals_12_over_bound", "12 terminals, 60 MB, 50 Mbit/s: the same", 1.20),
            row("tracker_bytes_over_file", "what crossed the tracker's line meanwhile / the file", 0.3),
        ],
        measure: |scale| measure(scale, &[TWELVE], |took| vec![took[0].over_bound, took[0].tracker_bytes_over_file]),
    },
    Group {
        rows: &[row(
            "tabs_4_over_bound",
            "4 tabs that fetch from a fifth, 20 MB, 20 Mbit/s: the last / the bound",
            1.5,
        )],
        measure: |scale| measure(scale, &[TABS], |took| vec![took[0].over_bound]),
    },
    Group {
        rows: &[row("mixed_over_bound", "2 tabs and 4 terminals, 40 MB, 20 Mbit/s: the same", 1.4)],
        measure: |scale| measure(scale, &[MIXED], |took| vec![took[0].over_bound]),
    },
    Group {
        rows: &[row(
            "blocked_over_relay_only",
            "3 terminals that cannot reach each other, 20 MB, 100 Mbit/s: the last / with `--direct off`",
            1.05,
        )],
        measure: |scale| {
            let blocked = Trial { cut: Some(Cut::Before), ..THREE };
            let relay_only = Trial { direct: false, ..THREE };
            measure(scale, &[blocked, relay_only], |took| vec![took[0].seconds / took[1].seconds])
        },
    },
    Group {
        rows: &[row(
            "cut_lost_s",
            "5 terminals, 100 MB, 100 Mbit/s, of which 4 cannot reach each other from the middle on: seconds until the last, \
             beyond those of the same without",
            5.0,
        )],
        measure: |scale| {
            let cut = Trial { cut: Some(Cut::InTheMiddle), ..FIVE };
            measure(scale, &[cut, FIVE], |took| vec![took[0].seconds - took[1].seconds])
        },
    },
    Group {
        rows: &[row(
            "open_ms_p50",
            "9 terminals, one after the other, 10 MB, 100 Mbit/s: ms from when the tracker knows a terminal until it has a \
             line of its own to another, the median; it asks for the list, the manifest and a block in between",
            300.0,
        )],
        measure: opening,
    },
];

const FIVE: Trial = Trial { terminals: 5, tabs: 0, megabytes: Scaled(100, 2), mbit: 100, direct: true, cut: None };
const THREE: Trial = Trial { terminals: 3, megabytes: Scaled(20, 2), ..FIVE };
const OPENING: Trial = Trial { terminals: 9, megabytes: Scaled(10, 2), ..FIVE };
const TWELVE: Trial = Trial { terminals: 12, megabytes: Scaled(60, 2), mbit: 50, ..FIVE };
const TABS: Trial = Trial { terminals: 0, tabs: 4, megabytes: Scaled(20, 2), mbit: 20, ..FIVE };
const MIXED: Trial = Trial { terminals: 4, tabs: 2, megabytes: Scaled(40, 2), mbit: 20, ..FIVE };

/// How long it takes until a line is open.
fn opening(scale: Scale) -> Result<Option<Vec<f64>>> {
    runtime()?.block_on(async {
        let Some(lab) = Lab::new(OPENING, scale).await? else { return Ok(None) };
        let mut took = lab.opening().await?;
        took.sort_by(f64::total_cmp);
        Ok(Some(vec![took[took.len() / 2]]))
    })
}

fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Runs trials one after the other; `None` if there can be no lab here.
fn measure(scale: Scale, trials: &[Trial], figures: fn(&[lab::Took]) -> Vec<f64>) -> Result<Option<Vec<f64>>> {
    runtime()?.block_on(async {
        let mut took = Vec::new();
        for trial in trials {
            let Some(lab) = Lab::new(*trial, scale).await? else { return Ok(None) };
            took.push(lab.run().await?);
        }
        Ok(Some(figures(&took)))
    })
}

fn main() -> Result<()> {
    let scale = Scale::asked();
    let wanted: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let mut figures = Figures::default();
    let is_wanted =
        |group: &&Group| wanted.is_empty() || group.rows.iter().any(|row| wanted.iter().any(|name| name == row.name));
    println!("| row | what | to reach | measured | |\n|---|---|---|---|---|");
    for Group { rows, measure } in GROUPS.iter().filter(is_wanted) {
        let Some(values) = measure(scale)? else {
            figures.impossible("no network namespaces may be made here");
            println!("\nno network namespaces may be made here, so there is nothing to measure with");
            break;
        };
        for (Row { name, what, at_most }, value) in rows.iter().zip(values) {
            let verdict = if value <= *at_most { "met" } else { "**missed**" };
            println!("| `{name}` | {what} | ≤ {at_most} | {value:.2} | {verdict} |");
            figures.add(name, value);
        }
    }
    println!("\nwritten to {}", figures.write(scale, "lab")?);
    Ok(())
}
