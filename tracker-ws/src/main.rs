//! Runs a tracker from the command line.

use clap::Parser;
use protocol::Limits;
use std::{
    io::{self, IsTerminal as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};
use tracker_ws::{Config, Tracker};

/// The MiniBit tracker: serves the page, registers the peers, and passes messages between them.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Name or address to listen on; 0.0.0.0 for every network of this machine
    #[arg(long, env = "MINIBIT_HOST", default_value_t = Config::default().host)]
    host: String,
    /// Port to listen on
    #[arg(long, env = "MINIBIT_PORT", default_value_t = Config::default().port)]
    port: u16,
    /// Folder of the built page
    #[arg(long, env = "MINIBIT_PAGE", default_value_os_t = Config::default().page_dir)]
    page: PathBuf,
    /// Open connections
    #[arg(long, default_value_t = Config::default().max_connections)]
    max_connections: usize,
    /// Peers in one room
    #[arg(long, default_value_t = Limits::default().peers_per_room)]
    peers_per_room: u32,
    /// Files in one room
    #[arg(long, default_value_t = Limits::default().files_per_room)]
    files_per_room: u32,
    /// Files that one peer may announce
    #[arg(long, default_value_t = Limits::default().files_per_peer)]
    files_per_peer: u32,
    /// Peers in one answer
    #[arg(long, default_value_t = Limits::default().peers_per_answer)]
    peers_per_answer: u32,
    /// Bytes of data waiting for one receiver
    #[arg(long, default_value_t = Limits::default().queue_bytes)]
    queue_bytes: u32,
    /// Milliseconds between two pings to a silent client, which is closed after three
    #[arg(long, default_value_t = Limits::default().heartbeat_ms, value_parser = clap::value_parser!(u32).range(1..))]
    heartbeat_ms: u32,
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

    let tracker = Tracker::bind(args.config()).await?;
    say_where(tracker.local_addr())?;
    tracker.run(stop_signal()?).await?;
    Ok(())
}

impl Args {
    fn config(self) -> Config {
        let limits = Limits {
            peers_per_room: self.peers_per_room,
            files_per_room: self.files_per_room,
            files_per_peer: self.files_per_peer,
            peers_per_answer: self.peers_per_answer,
            queue_bytes: self.queue_bytes,
            heartbeat_ms: self.heartbeat_ms,
            ..Limits::default()
        };
        Config {
            host: self.host,
            port: self.port,
            page_dir: self.page,
            limits,
            max_connections: self.max_connections,
            ..Config::default()
        }
    }
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
