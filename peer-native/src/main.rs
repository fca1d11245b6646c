//! `minibit`: share and fetch files from a terminal.

mod progress;

use anyhow::{Context as _, bail, ensure};
use clap::{Parser, Subcommand};
use peer_native::{Fingerprint, Peer, PeerConfig, RoomFile, Stage, State, Transfer, explain};
use progress::{Moment, Progress, Reason, Wait};
use protocol::{BlockSize, FileId, PeerName, RoomName};
use std::{
    future::pending,
    io::{self, Write as _},
    ops::RangeInclusive,
    path::PathBuf,
    process::ExitCode,
};
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
    /// Talk to others through the tracker alone: nobody of the same network is told the addresses of this machine.
    #[arg(long, global = true)]
    relay_only: bool,
    /// The ports that direct lines may use, of TCP and of UDP, such as 40000-40099: for a firewall that lets only some
    /// through. A line to a browser tab takes one at each address of this machine.
    #[arg(long, global = true, value_name = "FROM-TO", value_parser = ports, conflicts_with = "relay_only")]
    direct_ports: Option<RangeInclusive<u16>>,
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
        /// The size of their blocks, a power of two from 4KiB to 1MiB [default: what suits each file]. A peer that shares
        /// the same file in other blocks cannot help to serve it.
        #[arg(long, value_name = "SIZE")]
        block_size: Option<BlockSize>,
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
    let Arguments { tracker, tls_fingerprint, token, room, name, relay_only, direct_ports, action } = arguments;
    let page = Page::new(&tracker, token, tls_fingerprint.is_some())?;
    let folder = if let Action::Get { output, .. } = &action { output.clone() } else { PathBuf::from(".") };
    let mut config = PeerConfig {
        fingerprint: tls_fingerprint,
        room: room.clone(),
        name,
        direct_ports,
        ..PeerConfig::new(page.socket(), folder)
    };
    if relay_only {
        config.direct.clear();
    }
    let peer = Peer::start(config);
    tokio::select! {
        result = act(&peer, &action, &page, &room) => result,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn act(peer: &Peer, action: &Action, page: &Page, room: &RoomName) -> anyhow::Result<()> {
    let mut progress = Progress::new(peer.state());
    match action {
        Action::Share { files, block_size } => {
            for path in files {
                let hashing = |state: &State| sharing(state, || format!("hashing {}", path.display()));
                let file = progress.during(peer.share_in_blocks(path, *block_size), hashing).await?;
                progress.print(format_args!("{file}  {}\n{}", path.display(), page.link(room, file)))?;
            }
            serve(&mut progress).await
        }
        Action::Get { file, stay, .. } => {
            let file = match file.parse() {
                Ok(id) => id,
                Err(_) => find(peer, file, room, &mut progress).await?,
            };
            let path = progress.during(peer.fetch(file), |state| Ok(fetching(state, file))).await;
            let path = path.context("the file was not fetched")?;
            if let Some(ways) = ways(&peer.state().borrow(), file) {
                progress.note(&ways);
            }
            progress.print(format_args!("{}", path.display()))?;
            if *stay { serve(&mut progress).await } else { Ok(()) }
        }
    }
}

/// The id of the room's file of this name; waits until there is one.
async fn find(peer: &Peer, name: &str, room: &RoomName, progress: &mut Progress) -> anyhow::Result<FileId> {
    let named = |state: &State| -> Vec<RoomFile> {
        state.room.iter().flatten().filter(|file| file.name.as_str() == name).cloned().collect()
    };
    let mut state = peer.state();
    let listed = async {
        let state = state.wait_for(|state| !named(state).is_empty()).await.context("the peer has stopped")?;
        anyhow::Ok(named(&state))
    };
    let looking = |state: &State| {
        let nobody = || Wait {
            reason: Reason::Name,
            words: format!("nobody in room {room} shares a file called {name} yet; it is fetched when somebody does"),
        };
        let doing = format!("looking for {name}");
        Ok(Moment { doing, amount: None, wait: progress::tracker(state).or_else(|| Some(nobody())) })
    };
    match progress.during(listed, looking).await?.as_slice() {
        [only] => Ok(only.file),
        several => {
            let ids: Vec<_> = several.iter().map(|file| format!("{}  {} bytes", file.file, file.size)).collect();
            bail!("{} files are called {name}; give the id of one:\n{}", several.len(), ids.join("\n"));
        }
    }
}

/// What to tell while a file is fetched.
fn fetching(state: &State, file: FileId) -> Moment {
    let transfer = state.transfers.get(&file);
    let waits_for = transfer.and_then(|transfer| transfer.waits_for);
    let wait = progress::tracker(state).or_else(|| waits_for.map(Wait::for_file));
    let Some((transfer, about)) = transfer.and_then(|transfer| Some((transfer, transfer.about.as_ref()?))) else {
        return Moment { doing: "fetching the file".to_owned(), amount: None, wait };
    };
    let doing = format!("{} from {}", about.name, peers([transfer]));
    Moment { doing, amount: Some((transfer.verified, about.size)), wait }
}

/// Serves until Ctrl-C, telling how fast.
async fn serve(progress: &mut Progress) -> anyhow::Result<()> {
    let serving = |state: &State| {
        sharing(state, || {
            let rate: u64 = state.transfers.values().map(|transfer| transfer.up_rate).sum();
            format!("serving {} at {:.1} MB/s; Ctrl-C ends it", peers(state.transfers.values()), rate as f64 / 1e6)
        })
    };
    progress.during(pending::<anyhow::Result<()>>(), serving).await
}

/// What to tell while files are shared; fails if one of them does.
fn sharing(state: &State, doing: impl FnOnce() -> String) -> anyhow::Result<Moment> {
    for transfer in state.transfers.values() {
        if let Stage::Failed { problem } = &transfer.stage {
            bail!("{}", explain(problem));
        }
    }
    Ok(Moment { doing: doing(), amount: None, wait: progress::tracker(state) })
}

/// The peers of some transfers, and how many of them are reached without the tracker.
fn peers<'a>(transfers: impl IntoIterator<Item = &'a Transfer>) -> String {
    let (mut peers, mut direct) = (0, 0);
    for peer in transfers.into_iter().flat_map(|transfer| &transfer.peers) {
        peers += 1;
        direct += usize::from(peer.direct);
    }
    let peers = if peers == 1 { "1 peer".to_owned() } else { format!("{peers} peers") };
    if direct == 0 { peers } else { format!("{peers} ({direct} directly)") }
}

/// Which way the bytes of a file came, if some came directly.
fn ways(state: &State, file: FileId) -> Option<String> {
    let came = state.transfers.get(&file)?.received;
    let megabytes = |bytes| bytes as f64 / 1e6;
    let (direct, relayed) = (megabytes(came.direct), megabytes(came.relayed));
    (came.direct > 0).then(|| format!("{direct:.1} MB came directly, {relayed:.1} MB through the tracker"))
}

/// Reads a range of ports.
fn ports(words: &str) -> Result<RangeInclusive<u16>, &'static str> {
    let wrong = "give the first and the last port, such as 40000-40099";
    let (from, to) = words.split_once('-').ok_or(wrong)?;
    let [from, to] = [from, to].map(|port| port.parse().ok().filter(|port| *port != 0));
    let (from, to): (u16, u16) = from.zip(to).ok_or(wrong)?;
    if from <= to { Ok(from..=to) } else { Err("the first port has to be the smaller one") }
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
    fn a_range_of_ports_has_a_first_and_a_last() {
        assert_eq!(ports("40000-40099"), Ok(40000..=40099));
        assert_eq!(ports("7-7"), Ok(7..=7));
        for wrong in ["", "-", "40000", "40000-", "0-7", "40000-70000", "7-8-9", "9-8", "a-b"] {
            assert!(ports(wrong).is_err(), "{wrong}");
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
