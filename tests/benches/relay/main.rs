//! What the tracker's relay does and costs: `cargo xtask bench relay`.
//!
//! Everything is measured in one run and mostly as a ratio, so that the machine matters little. The load comes from
//! this process, and each system that it goes through is a process of its own:
//!
//! - **the tracker**: the release build with its default settings;
//! - **the forwarder** ([`forwarder`]): writes the bytes of one TCP connection to another, and knows no protocol. One
//!   task does so for each direction, and reads nothing while it writes; a relay in which these overlap can be faster;
//! - **the naive relay** ([`naive`]): the smallest one that one would write with tokio-tungstenite.
//!
//! **The load** ([`client`]) is the real protocol: one peer announces a file, another is introduced to it and keeps a
//! number of requests open, and each block answers one request. Through the forwarder go the same frames. To cost as
//! little as it can, the load sends frames that were made before, with a masking key of zeros, and looks only at
//! the beginning of what it receives ([`tests::link`]). That is the same for all systems.
//!
//! MB and GB are 10^6 and 10^9 bytes of payload: blocks before they are encoded. CPU time is that of the system alone,
//! user and kernel. The rows are in [`rows`].
//!
//! `cargo xtask bench relay -- [rows] [--miniature]`, and to see what one thing that hostile clients do costs,
//! `cargo xtask bench relay -- hostile_ok ping_flood`. The result is also written to `target/bench/relay.json`. On Linux
//! only.
#![allow(clippy::print_stdout, reason = "a measurement speaks on standard output")]

mod client;
mod crowd;
mod forwarder;
mod load;
mod modes;
mod naive;
mod report;
mod rows;

use anyhow::{Result, bail, ensure};
use std::env;
use tests::{figures::Figures, hostile, scale::Scale};
use tokio::signal::{
    ctrl_c,
    unix::{SignalKind, signal},
};

#[tokio::main]
async fn main() -> Result<()> {
    let scale = Scale::asked();
    let arguments: Vec<_> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if modes::is_other_process(&arguments).await? {
        return Ok(());
    }
    let behaviours: Vec<_> = hostile::all().iter().map(|behaviour| behaviour.name.to_owned()).collect();
    for name in &arguments {
        let rows = rows::ALL.map(|row| row.name).join(", ");
        let is_known = behaviours.contains(name) || rows::ALL.iter().any(|row| row.name == name);
        ensure!(is_known, "there is no {name}; rows are {rows}, and hostile clients do {}", behaviours.join(", "));
    }
    let is_wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|argument| argument == name);
    let rows: Vec<_> = rows::ALL.into_iter().filter(|row| is_wanted(row.name)).collect();
    let (some, all): (Vec<_>, Vec<_>) = behaviours.into_iter().partition(|name| is_wanted(name));
    let behaviours = if some.is_empty() { all } else { some };
    let mut figures = Figures::default();
    let mut terminate = signal(SignalKind::terminate())?;
    // What is dropped ends its processes, which the default answer to a signal would leave behind.
    tokio::select! {
        measured = rows::measure(scale, &rows, &behaviours, &mut figures) => measured?,
        _ = ctrl_c() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
    }
    report::print(&rows, &figures);
    println!("\nwritten to {}", figures.write(scale, "relay")?);
    Ok(())
}
