//! `minibit`: share and fetch files from a terminal.

use anyhow::{Context as _, bail, ensure};
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use peer_native::{Connection, Fingerprint, Peer, PeerConfig, RoomFile, Stage, State, Transfer, explain};
use protocol::{FileId, PeerName, RoomName};
use std::{
    fmt,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// Share and fetch files with the browser tabs and terminals of a MiniBit room.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The tracker: an address such as 192.168.0.7:9000, or the link to its page.
    #[arg(long, global = true, env = "MINIBIT_TRACKER", default_value = "127.0.0.1:9000")]
    tracker: String,
    /// The SHA-256 fingerprint of the tracker's own certificate, as it prints it; without it the certificate of an https
    /// tracker has to be one that this system trusts. With it, an address without a scheme is one of https.
    #[arg(long, global = true, env = "MINIBIT_TLS_FINGERPRINT")]
    tls_fingerprint: Option<Fingerprint>,
    /// The tracker's token, if it wants one; a link carries it too.
    #[arg(long, global = true, env = "MINIBIT_TOKEN", hide_env_values = true)]
    token: Option<String>,
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
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not by returning it: a backtrace would bury what the message advises. Nor by `eprintln!`, which panics
            // where the standard error takes nothing.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).log_internal_errors(false).init();
    let Arguments { tracker, tls_fingerprint, token, room, name, action } = arguments;
    let page = Page::new(&tracker, token, tls_fingerprint.is_some())?;
    let folder = if let Action::Get { output, .. } = &action { output.clone() } else { PathBuf::from(".") };
    let config =
        PeerConfig { fingerprint: tls_fingerprint, room: room.clone(), name, ..PeerConfig::new(page.socket(), folder) };
    let peer = Peer::start(config);
    tokio::select! {
        result = act(&peer, &action, &page, &room) => result,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn act(peer: &Peer, action: &Action, page: &Page, room: &RoomName) -> anyhow::Result<()> {
    match action {
        Action::Share { files } => {
            for path in files {
                let file = peer.share(path).await?;
                say(format_args!("{file}  {}\n{}", path.display(), page.link(room, file)))?;
            }
            serve(peer).await
        }
        Action::Get { file, stay, .. } => {
            let file = match file.parse() {
                Ok(id) => id,
                Err(_) => find(peer, file).await?,
            };
            let path = fetch(peer, file).await?;
            say(format_args!("{}", path.display()))?;
            if *stay { serve(peer).await } else { Ok(()) }
        }
    }
}

/// Prints a line; unlike `println!`, fails if nobody reads it.
fn say(line: fmt::Arguments<'_>) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{line}").context("cannot write to the standard output")
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
        Some(Connection::Waiting { retry_ms, problem }) => {
            let unreachable =
                || format!("the tracker cannot be reached ({})", state.trouble.as_deref().unwrap_or("is it running?"));
            let words = problem.as_ref().map_or_else(unreachable, explain);
            Some(format!("{words} (next try in {:.1} s)", f64::from(*retry_ms) / 1e3))
        }
        Some(Connection::Ended { problem }) => Some(explain(problem)),
        Some(Connection::Connecting) | None => Some("connecting to the tracker".to_owned()),
    }
}

/// Waits for something new; fails if the tracker does not want this peer.
async fn wait(state: &mut watch::Receiver<State>) -> anyhow::Result<()> {
    if let Some(Connection::Ended { problem }) = &state.borrow().connection {
        bail!("{}", explain(problem));
    }
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

/// Where the tracker's page is.
struct Page {
    /// Without a slash at its end.
    address: String,
    token: Option<String>,
}

impl Page {
    /// Reads what a person may give, which may be a link to a room or a file. A `token` of its own goes before the
    /// link's. With `pinned`, a certificate is expected, which is an address's that says no scheme.
    ///
    /// # Errors
    /// If a certificate is expected of an address that has none.
    fn new(tracker: &str, token: Option<String>, pinned: bool) -> anyhow::Result<Self> {
        let tracker = tracker.split('#').next().unwrap_or_default();
        let (tracker, query) = tracker.split_once('?').unwrap_or((tracker, ""));
        let linked = query.split('&').find_map(|pair| pair.strip_prefix("token="));
        let tracker = tracker.trim_end_matches('/').trim_end_matches("/ws");
        let address = match tracker.strip_prefix("ws") {
            Some(rest) if rest.starts_with("://") || rest.starts_with("s://") => format!("http{rest}"),
            _ if tracker.contains("://") => tracker.to_owned(),
            _ if pinned => format!("https://{tracker}"),
            _ => format!("http://{tracker}"),
        };
        ensure!(
            !pinned || address.starts_with("https://"),
            "{address} shows no certificate that could have a fingerprint: give an https:// address, or leave \
             --tls-fingerprint out"
        );
        Ok(Self { address, token: token.or_else(|| linked.map(str::to_owned)) })
    }

    /// The address of the tracker's WebSocket.
    fn socket(&self) -> String {
        format!("{}/ws{}", self.address.replacen("http", "ws", 1), self.query())
    }

    /// The link to a file, for others to open.
    fn link(&self, room: &RoomName, file: FileId) -> String {
        format!("{}/{}#/{room}/{file}", self.address, self.query())
    }

    fn query(&self) -> String {
        self.token.as_ref().map(|token| format!("?token={token}")).unwrap_or_default()
    }
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
            ("http://lab:9000/?token=let-us-in#/lobby", "http://lab:9000", "ws://lab:9000/ws?token=let-us-in"),
            ("http://lab/bit/?lang=en&token=let-us-in", "http://lab/bit", "ws://lab/bit/ws?token=let-us-in"),
            ("ws://lab:9000/ws?token=let-us-in", "http://lab:9000", "ws://lab:9000/ws?token=let-us-in"),
        ];
        for (given, address, socket) in cases {
            let page = Page::new(given, None, false).unwrap();
            assert_eq!(page.address, address);
            assert_eq!(page.socket(), socket);
        }
    }

    #[test]
    fn whoever_gives_a_fingerprint_is_not_connected_without_tls() {
        for given in ["lab:9000", "https://lab:9000", "wss://lab:9000/ws"] {
            assert_eq!(Page::new(given, None, true).unwrap().socket(), "wss://lab:9000/ws");
        }
        for given in ["http://lab:9000", "ws://lab:9000/ws"] {
            let error = Page::new(given, None, true).err().unwrap();
            assert!(error.to_string().contains("https://"), "{error}");
        }
    }

    #[test]
    fn a_link_carries_the_token() {
        let file = FileId::from_bytes([0xab; 32]);
        let link = |tracker, token: Option<&str>| {
            Page::new(tracker, token.map(str::to_owned), false).unwrap().link(&RoomName::default(), file)
        };
        assert_eq!(link("lab:9000", None), format!("http://lab:9000/#/lobby/{file}"));
        assert_eq!(link("lab:9000", Some("let-us-in")), format!("http://lab:9000/?token=let-us-in#/lobby/{file}"));
        assert_eq!(
            link("http://lab/?token=old-token", Some("new-token")),
            format!("http://lab/?token=new-token#/lobby/{file}")
        );
    }
}
