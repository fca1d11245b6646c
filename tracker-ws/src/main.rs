//! Runs a tracker from the command line.

use clap::Parser;
use std::{
    io::{self, IsTerminal as _, Write as _},
    net::SocketAddr,
    process::ExitCode,
};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};
use tracker_ws::{Config, Tracker};

/// The MiniBit tracker: serves the page, registers the peers, and passes messages between them.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    config: Config,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not by returning it: a backtrace would bury what the message advises.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();

    let tracker = Tracker::bind(args.config).await?;
    say_where(tracker.local_addr())?;
    tracker.run(stop_signal()?).await?;
    Ok(())
}

/// Prints the address that a browser on this machine can open.
fn say_where(mut addr: SocketAddr) -> io::Result<()> {
    let everywhere = addr.ip().is_unspecified();
    if everywhere {
        addr.set_ip(if addr.is_ipv4() { [127, 0, 0, 1].into() } else { [0, 0, 0, 0, 0, 0, 0, 1].into() });
    }
    let mut out = io::stdout().lock();
    writeln!(out, "MiniBit is at http://{addr}/")?;
    if everywhere {
        writeln!(out, "Other machines open http://<name or address of this machine>:{}/", addr.port())?;
    }
    out.flush()
}

/// Waits for Ctrl-C, or for SIGTERM where there is such a thing. The handlers are installed before this returns.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        // If Ctrl-C cannot be heard, the tracker runs until it is ended otherwise.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    })
}
