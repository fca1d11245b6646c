//! Runs a tracker from the command line.

mod process;

use clap::Parser;
use mimalloc::MiMalloc;
use process::LogFormat;
use std::{
    io::{self, Write as _},
    process::ExitCode,
    sync::Arc,
};
use tracker_ws::{Config, Token, Tracker};

/// Blocks are allocated by the thread that reads them and freed by the one that writes them. With the system's allocator,
/// most of their pages are taken from the system anew each time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The MiniBit tracker: serves the page, registers the peers, and passes messages between them.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// How to write the log, which goes to the standard error; RUST_LOG says how much of it
    #[arg(long, env = "MINIBIT_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    #[command(flatten)]
    config: Config,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not by returning it: a backtrace would bury what the message advises.
            // Nor by `eprintln!`, which panics where the standard error takes nothing.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(mut args: Args) -> anyhow::Result<()> {
    process::init_log(args.log_format);
    process::raise_file_limit(&mut args.config.limits);
    let stop = process::stop_signal()?;
    let token = args.config.token.clone();
    let tracker = Tracker::bind(args.config).await?;
    process::reload_at_hang_up(tracker.certificate().map(Arc::clone))?;
    say_where(&tracker, token.as_ref())?;
    tracker.run(stop).await?;
    Ok(())
}

/// Prints the address that a browser on this machine can open.
fn say_where(tracker: &Tracker, token: Option<&Token>) -> io::Result<()> {
    let mut addr = tracker.local_addr();
    let scheme = if tracker.certificate().is_some() { "https" } else { "http" };
    let query = token.map(|token| format!("?token={}", token.as_str())).unwrap_or_default();
    let everywhere = addr.ip().is_unspecified();
    if everywhere {
        addr.set_ip(if addr.is_ipv4() { [127, 0, 0, 1].into() } else { [0, 0, 0, 0, 0, 0, 0, 1].into() });
    }
    let mut out = io::stdout().lock();
    writeln!(out, "MiniBit is at {scheme}://{addr}/{query}")?;
    if everywhere {
        writeln!(out, "Other machines open {scheme}://<name or address of this machine>:{}/{query}", addr.port())?;
    }
    if let Some(certificate) = tracker.certificate() {
        writeln!(out, "The certificate's SHA-256 fingerprint is {}", certificate.fingerprint())?;
    }
    out.flush()
}
