//! `minibit`: share and fetch files from a terminal.

#![allow(clippy::print_stdout, reason = "the command talks to a person")]

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use peer_native::{Connection, Fingerprint, Peer, PeerConfig, RoomFile, Stage, State, Transfer, explain};
use protocol::{FileId, PeerName, RoomName};
use std::path::PathBuf;
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// Share and fetch files with the browser tabs and terminals of a MiniBit room.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The tracker: an address such as 192.168.0.7:9000, or the URL of its page.
    #[arg(long, global = true, env = "MINIBIT_TRACKER", default_value = "127.0.0.1:9000")]
    tracker: String,
    /// The SHA-256 fingerprint of the tracker's own certificate, as it prints it; without it the certificate of an https
    /// tracker has to be one that this system trusts.
    #[arg(long, global = true, env = "MINIBIT_TLS_FINGERPRINT")]
    tls_fingerprint: Option<Fingerprint>,
    /// The room.
    #[arg(long, global = true, env = "MINIBIT_ROOM", default_value = "lobby")]
    room: RoomName,
    /// A name for others to see.
    #[arg(long, global = true)]
    name: Option<PeerName>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Share files until Ctrl-C.
    Share {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Fetch a file of the room.
    Get {
        /// The file's id (64 digits, as `b3sum` prints it), or its name.
        file: String,
        /// The folder to put it in.
        #[arg(long, short, default_value = ".")]
        output: PathBuf,
        /// Go on serving it to others until Ctrl-C.
        #[arg(long)]
        stay: bool,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let Arguments { tracker, tls_fingerprint, room, name, action } = Arguments::parse();
    let page = page_address(&tracker);
    let folder = if let Action::Get { output, .. } = &action { output.clone() } else { PathBuf::from(".") };
    let config = PeerConfig {
        fingerprint: tls_fingerprint,
        room: room.clone(),
        name,
        ..PeerConfig::new(socket_address(&page), folder)
    };
    let peer = Peer::start(config);
    tokio::select! {
        result = act(&peer, &action, &page, &room) => result,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn act(peer: &Peer, action: &Action, page: &str, room: &RoomName) -> anyhow::Result<()> {
    match action {
        Action::Share { files } => {
            for path in files {
                let file = peer.share(path).await?;
                println!("{file}  {}\n{page}/#/{room}/{file}", path.display());
            }
            serve(peer).await
        }
        Action::Get { file, stay, .. } => {
            let file = match file.parse() {
                Ok(id) => id,
                Err(_) => find(peer, file).await?,
            };
            let path = fetch(peer, file).await?;
            println!("{}", path.display());
            if *stay { serve(peer).await } else { Ok(()) }
        }
    }
}

/// The id of the room's file of this name; waits until there is one.
async fn find(peer: &Peer, name: &str) -> anyhow::Result<FileId> {
    let bar = spinner();
    let mut state = peer.state();
    loop {
        let named: Vec<RoomFile> = {
            let state = state.borrow_and_update();
            bar.set_message(
                connection_words(&state).unwrap_or_else(|| format!("waiting for somebody to share {name}")),
            );
            state.room.iter().flatten().filter(|file| file.name.as_str() == name).cloned().collect()
        };
        match named.as_slice() {
            [] => wait(&mut state).await?,
            [only] => return Ok(only.file),
            several => {
                let ids: Vec<_> = several.iter().map(|file| format!("{}  {} bytes", file.file, file.size)).collect();
                bail!("{} files are called {name}; give the id of one:\n{}", several.len(), ids.join("\n"));
            }
        }
    }
}

/// Fetches a file behind a progress bar.
async fn fetch(peer: &Peer, file: FileId) -> anyhow::Result<PathBuf> {
    let bar = spinner();
    let mut state = peer.state();
    let watch = async {
        loop {
            show_transfer(&bar, &state.borrow_and_update(), file);
            wait(&mut state).await?;
        }
    };
    let result = tokio::select! {
        result = peer.fetch(file) => result.context("the file was not fetched"),
        result = watch => result,
    };
    bar.finish_and_clear();
    result
}

fn show_transfer(bar: &ProgressBar, state: &State, file: FileId) {
    let transfer = state.transfers.get(&file);
    let about = transfer.and_then(|transfer| transfer.about.as_ref());
    if let Some(words) = connection_words(state) {
        bar.set_message(words);
    } else if let Some((transfer, about)) = transfer.zip(about) {
        if bar.length().is_none() {
            bar.set_length(about.size);
            bar.set_style(style("{msg} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}"));
        }
        bar.set_position(transfer.verified);
        bar.set_message(format!("{} from {}", about.name, count(transfer.peers.len(), "peer")));
    } else if transfer.is_some_and(|transfer: &Transfer| transfer.stage == Stage::Searching) {
        bar.set_message("waiting for somebody who has the file");
    }
}

/// Serves until Ctrl-C, showing how fast.
async fn serve(peer: &Peer) -> anyhow::Result<()> {
    let bar = spinner();
    let mut state = peer.state();
    loop {
        {
            let state = state.borrow_and_update();
            let rate: u64 = state.transfers.values().map(|transfer| transfer.up_rate).sum();
            let peers: usize = state.transfers.values().map(|transfer| transfer.peers.len()).sum();
            let serving =
                || format!("serving {} at {:.1} MB/s; Ctrl-C ends it", count(peers, "peer"), rate as f64 / 1e6);
            bar.set_message(connection_words(&state).unwrap_or_else(serving));
            for transfer in state.transfers.values() {
                if let Stage::Failed { problem } = &transfer.stage {
                    bail!("{}", explain(problem));
                }
            }
        }
        wait(&mut state).await?;
    }
}

/// What to say while there is no connection.
fn connection_words(state: &State) -> Option<String> {
    if let Some(problem) = &state.problem {
        return Some(explain(problem));
    }
    match state.connection.as_ref() {
        Some(Connection::Online { .. }) => None,
        Some(Connection::Waiting { retry_ms }) => Some(format!(
            "the tracker cannot be reached ({}); next try in {:.1} s",
            state.trouble.as_deref().unwrap_or("is it running?"),
            f64::from(*retry_ms) / 1e3
        )),
        Some(Connection::Connecting) | None => Some("connecting to the tracker".to_owned()),
    }
}

async fn wait(state: &mut watch::Receiver<State>) -> anyhow::Result<()> {
    state.changed().await.context("the peer has stopped")
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::no_length().with_style(style("{spinner} {msg}"));
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    bar
}

fn style(template: &str) -> ProgressStyle {
    // The templates are written above.
    ProgressStyle::with_template(template).expect("a valid template")
}

fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// The address of the tracker's page, from what a person may give.
fn page_address(tracker: &str) -> String {
    let tracker = tracker.split('#').next().unwrap_or_default().trim_end_matches('/').trim_end_matches("/ws");
    if let Some(rest) = tracker.strip_prefix("ws")
        && (rest.starts_with("://") || rest.starts_with("s://"))
    {
        return format!("http{rest}");
    }
    if tracker.contains("://") { tracker.to_owned() } else { format!("http://{tracker}") }
}

/// The address of the tracker's WebSocket, from that of its page.
fn socket_address(page: &str) -> String {
    format!("{}/ws", page.replacen("http", "ws", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracker_can_be_given_as_people_would() {
        let cases = [
            ("192.168.0.7:9000", "http://192.168.0.7:9000", "ws://192.168.0.7:9000/ws"),
            ("http://lab:9000/#/lobby/00ff", "http://lab:9000", "ws://lab:9000/ws"),
            ("https://share.example.org/", "https://share.example.org", "wss://share.example.org/ws"),
            ("ws://lab:9000/ws", "http://lab:9000", "ws://lab:9000/ws"),
            ("wss://lab/ws", "https://lab", "wss://lab/ws"),
            ("wslab:1", "http://wslab:1", "ws://wslab:1/ws"),
        ];
        for (given, page, socket) in cases {
            assert_eq!(page_address(given), page);
            assert_eq!(socket_address(&page_address(given)), socket);
        }
    }
}
