//! Terminals on lines of their own, which talk without the tracker as far as they can reach each other.

mod minibit;

use anyhow::{Context as _, ensure};
use minibit::{Minibit, Sample};
use peer_native::{Peer, PeerConfig};
use protocol::LineKind;
use std::{collections::BTreeSet, fs, io::Write as _, path::PathBuf, thread, time::Duration};
use tests::{
    eventually::eventually,
    json_peer::JsonPeer,
    network::{Network, Rates},
    status::{figure, status},
    tracker::TestTracker,
};
use tokio::{runtime, time::timeout};
use tracker_ws::{Config, Direct, Limits};

/// The hosts: one shares, the others fetch.
const SEED: usize = 0;
const FETCHING: [usize; 2] = [1, 2];
const RATES: Rates = Rates { up: 20, down: 20 };
/// Some four seconds of a line.
const SIZE: usize = 8 << 20;
const LONGEST: Duration = Duration::from_secs(60);

/// A room whose file is shared, and those who fetch it.
struct Room {
    network: Network,
    tracker: TestTracker,
    sample: Sample,
    _seed: Minibit,
}

impl Room {
    /// `None` if there can be none here.
    async fn new(direct: Direct) -> anyhow::Result<Option<Self>> {
        let Some(network) = Network::new(1 + FETCHING.len(), RATES)? else {
            eprintln!("not tried: network namespaces may not be made here");
            return Ok(None);
        };
        let limits = Limits { direct, ..Limits::default() };
        let tracker =
            TestTracker::start_with(Config { host: network.bridge().to_string(), limits, ..Config::default() }).await?;
        let sample = Sample::new(SIZE)?;
        let share = ["share", &sample.path.display().to_string()];
        let mut seed = Minibit::run_in(network.host(SEED), &tracker.http_url(), sample.folder.path(), &share)?;
        seed.fetched().await?;
        Ok(Some(Self { network, tracker, sample, _seed: seed }))
    }

    /// Lets the others fetch the file; gives the bytes that the tracker relayed meanwhile, as a multiple of the file.
    async fn fetch(&self, flags: &[&str], meanwhile: impl AsyncFnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
        let get = |host: usize| {
            let folder = self.sample.folder.path().join(host.to_string());
            let arguments = [&["get", "sample.bin", "--stay"], flags].concat();
            Minibit::run_in(self.network.host(host), &self.tracker.http_url(), &folder, &arguments)
        };
        let mut fetching = FETCHING.into_iter().map(get).collect::<anyhow::Result<Vec<_>>>()?;
        meanwhile().await?;
        for terminal in &mut fetching {
            let path = terminal.fetched_within(LONGEST).await?;
            ensure!(fs::read(path)? == self.sample.content, "that is another file");
        }
        self.relayed().await
    }

    /// The bytes that the tracker relayed, as a multiple of the file.
    async fn relayed(&self) -> anyhow::Result<f64> {
        Ok(figure(&status(self.tracker.addr()).await?, "relayed_bytes") as f64 / SIZE as f64)
    }
}

/// Fetches the file on a host, by a peer that has lines of these kinds only.
async fn fetch_by(room: &Room, host: usize, kinds: BTreeSet<LineKind>) -> anyhow::Result<PathBuf> {
    let (name, file) = (room.network.host(host), room.sample.manifest.file());
    let folder = room.sample.folder.path().join(host.to_string());
    fs::create_dir_all(&folder)?;
    let config = PeerConfig { direct: kinds, ..PeerConfig::new(format!("ws://{}/ws", room.tracker.addr()), folder) };
    let (done, path) = tokio::sync::oneshot::channel();
    // A thread of its own, since a host is a place of threads.
    thread::spawn(move || {
        let fetched = Network::enter(&name).and_then(|()| {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { Ok(timeout(LONGEST, Peer::start(config).fetch(file)).await??) })
        });
        _ = done.send(fetched);
    });
    path.await.context("the thread is gone")?
}

async fn nothing() -> anyhow::Result<()> {
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_reach_each_other_leave_the_tracker_alone() -> anyhow::Result<()> {
    let Some(room) = Room::new(Direct::Near).await? else { return Ok(()) };
    let relayed = room.fetch(&[], nothing).await?;
    ensure!(relayed < 0.5, "{relayed} of the file came through the tracker");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_have_data_channels_only_leave_the_tracker_alone_too() -> anyhow::Result<()> {
    let Some(room) = Room::new(Direct::Near).await? else { return Ok(()) };
    let kinds = BTreeSet::from([LineKind::WebRtc]);
    let [first, second] = FETCHING.map(|host| fetch_by(&room, host, kinds.clone()));
    let (first, second) = tokio::join!(first, second);
    for path in [first?, second?] {
        ensure!(fs::read(path)? == room.sample.content, "that is another file");
    }
    let relayed = room.relayed().await?;
    ensure!(relayed < 0.5, "{relayed} of the file came through the tracker");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lies_over_its_line_is_found_out_and_the_file_comes_from_others() -> anyhow::Result<()> {
    let Some(room) = Room::new(Direct::Near).await? else { return Ok(()) };
    let [liar, fetching] = FETCHING;
    let copy = room.sample.folder.path().join("copy.bin");
    fs::write(&copy, &room.sample.content)?;
    let share = ["share", &copy.display().to_string()];
    let mut sharing =
        Minibit::run_in(room.network.host(liar), &room.tracker.http_url(), room.sample.folder.path(), &share)?;
    sharing.fetched().await?;
    let before = room.network.bytes(liar)?;
    let sent = async || Ok::<_, anyhow::Error>(room.network.bytes(liar)? - before);
    let lie = async {
        let much = async || Ok(Some(sent().await?).filter(|sent| *sent > 1 << 20).ok_or("little"));
        eventually("data of the liar's", LONGEST, much).await?;
        // Its file becomes another one, but does not look so.
        sharing.signal("STOP").await?;
        let relayed = room.relayed().await?;
        let modified = fs::metadata(&copy)?.modified()?;
        let mut file = fs::OpenOptions::new().write(true).open(&copy)?;
        file.write_all(&vec![0; SIZE])?;
        file.set_modified(modified)?;
        sharing.signal("CONT").await?;
        anyhow::Ok((relayed, sent().await?))
    };
    let fetched = fetch_by(&room, fetching, BTreeSet::from([LineKind::Tcp]));
    let (path, (relayed, told)) = tokio::try_join!(fetched, lie)?;
    ensure!(fs::read(path)? == room.sample.content, "that is another file");
    let lies = sent().await? - told;
    ensure!(lies > 16 << 10, "it was not asked any more: {lies} bytes");
    ensure!(lies < SIZE as u64 / 8, "it was believed for {lies} bytes");
    let more = room.relayed().await? - relayed;
    ensure!(more * (SIZE as f64) < f64::from(16 << 10), "the lies came through the tracker");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_to_use_the_tracker_alone_does_so() -> anyhow::Result<()> {
    for (direct, flags) in [(Direct::Near, &["--relay-only"][..]), (Direct::Off, &[])] {
        let Some(room) = Room::new(direct).await? else { return Ok(()) };
        let relayed = room.fetch(flags, nothing).await?;
        ensure!(relayed >= FETCHING.len() as f64, "only {relayed} of the file came through the tracker");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_cannot_reach_each_other_are_served_through_the_tracker() -> anyhow::Result<()> {
    let Some(room) = Room::new(Direct::Near).await? else { return Ok(()) };
    room.network.separate([SEED].into_iter().chain(FETCHING))?;
    let relayed = room.fetch(&[], nothing).await?;
    ensure!(relayed >= FETCHING.len() as f64, "only {relayed} of the file came through the tracker");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_lines_break_amid_a_transfer_it_goes_on_through_the_tracker() -> anyhow::Result<()> {
    let Some(room) = Room::new(Direct::Near).await? else { return Ok(()) };
    let half = async || {
        // The seed has sent about half of the file by whatever way.
        let before = room.network.bytes(SEED)?;
        let sent = async || {
            let sent = room.network.bytes(SEED)? - before;
            Ok(if sent > SIZE as u64 / 2 { Ok(()) } else { Err(sent) })
        };
        eventually("half of the file", LONGEST, sent).await?;
        room.network.separate([SEED].into_iter().chain(FETCHING))
    };
    let relayed = room.fetch(&[], half).await?;
    ensure!(relayed > 0.3, "only {relayed} of the file came through the tracker, though nothing else was left");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_lines_is_a_full_member_of_a_room_whose_others_talk_directly() -> anyhow::Result<()> {
    let Some(room) = Room::new(Direct::Near).await? else { return Ok(()) };
    let get = |host: usize, id: &str| {
        let folder = room.sample.folder.path().join(format!("{host} {id}"));
        Minibit::run_in(room.network.host(host), &room.tracker.http_url(), &folder, &["get", id, "--stay"])
    };
    let mut first = get(FETCHING[0], &room.sample.id())?;
    first.fetched_within(LONGEST).await?;
    let mut stranger = JsonPeer::join(&room.tracker, &room.sample.manifest, false).await?;
    ensure!(stranger.fetch(SIZE, 16).await? == room.sample.content, "that is another file");

    let other = Sample::new(100_000)?;
    let mut stranger = JsonPeer::join(&room.tracker, &other.manifest, true).await?;
    let mut second = get(FETCHING[1], &other.id())?;
    let (served, path) = tokio::join!(stranger.serve_one(&other.content), second.fetched_within(LONGEST));
    served?;
    ensure!(fs::read(path?)? == other.content, "that is another file");
    drop(stranger);
    let mut third = get(FETCHING[0], &other.id())?;
    ensure!(fs::read(third.fetched_within(LONGEST).await?)? == other.content, "that is another file");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_behind_a_router_has_the_file_whatever_lines_the_tracker_allows() -> anyhow::Result<()> {
    // Others cannot reach it, and whether it reaches them turns out when the file may be here already.
    for (direct, least) in [(Direct::Near, 0.0), (Direct::Any, 0.0), (Direct::Off, 1.0)] {
        let Some(room) = Room::new(direct).await? else { return Ok(()) };
        let Some(inside) = room.network.behind(FETCHING[0])? else {
            eprintln!("not tried: there is no nft");
            return Ok(());
        };
        let folder = room.sample.folder.path().join("inside");
        let arguments = ["get", "sample.bin", "--stay"];
        let mut terminal = Minibit::run_in(inside, &room.tracker.http_url(), &folder, &arguments)?;
        ensure!(fs::read(terminal.fetched_within(LONGEST).await?)? == room.sample.content, "that is another file");
        let relayed = room.relayed().await?;
        ensure!(relayed >= least, "{direct:?}: {relayed} of the file came through the tracker");
    }
    Ok(())
}
