//! Runs one swarm in virtual time, tells how it went, and draws it: `cargo xtask sim`.
#![allow(clippy::print_stdout, reason = "a command line tool speaks on standard output")]

mod flags;
mod picture;
mod summary;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use flags::Flags;
use std::{fs, process::ExitCode};

fn main() -> ExitCode {
    match simulate(&Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn simulate(flags: &Flags) -> Result<()> {
    let scenario = flags.scenario()?;
    println!("{}.", scenario.described());
    let outcome = scenario.run(&scenario.file(), flags.seed());
    print!("{}", summary::of(&scenario, &outcome));
    if let Some(folder) = flags.output.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let picture = picture::draw(&flags.title(&scenario), &scenario, &outcome).context("cannot draw")?;
    fs::write(&flags.output, picture).with_context(|| format!("cannot write {}", flags.output.display()))?;
    println!("The picture is in {}.", flags.output.display());
    Ok(())
}
