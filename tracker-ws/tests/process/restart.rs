//! A tracker that is killed in the middle of a transfer, and started again.

use crate::tracker::{DEADLINE, TrackerProcess};
use anyhow::{Context as _, ensure};
use peer_native::{Connection, Peer, PeerConfig, State};
use protocol::{FileId, PeerId};
use std::{collections::BTreeSet, fs, future::pending, path::Path};
use tokio::{
    io::{AsyncReadExt as _, copy},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

/// The bytes of the file.
const SIZE: usize = 16 << 20;
/// The bytes that leave its seed before the tracker is started again: the transfers cannot end before that.
const FIRST_BYTES: u64 = 4 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn transfers_go_on_with_a_tracker_that_was_killed_and_started_again() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut content = vec![0; SIZE];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    let path = folder.path().join("sample.bin");
    fs::write(&path, &content)?;

    let mut tracker = TrackerProcess::start("0", &[]).await?;
    let url = format!("ws://{}/ws", tracker.host);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let narrow_url = format!("ws://{}/ws", listener.local_addr()?);
    // A set, so that the line ends with the test.
    let mut line = JoinSet::new();
    line.spawn(narrow_line(listener, tracker.host.clone()));
    // Direct lines would go around the narrow one.
    let peers = [("seed", &narrow_url), ("a", &url), ("b", &url)].map(|(name, url)| {
        Peer::start(PeerConfig { direct: BTreeSet::new(), ..PeerConfig::new(url, folder.path().join(name)) })
    });
    let [seed, first, second] = &peers;
    let file = seed.share(&path).await?;

    let (fetched_first, fetched_second, restarted) = tokio::join!(
        fetch(first, file, &content),
        fetch(second, file, &content),
        restart_in_the_middle(&mut tracker, &peers, file)
    );
    let _restarted = restarted?;
    fetched_first?;
    fetched_second
}

/// Kills the tracker when both receivers have some of the file, starts it again, and waits until all peers are back.
async fn restart_in_the_middle(
    tracker: &mut TrackerProcess,
    peers: &[Peer; 3],
    file: FileId,
) -> anyhow::Result<TrackerProcess> {
    let [seed, first, second] = peers;
    let has_some = |state: &State| state.transfers.get(&file).is_some_and(|transfer| transfer.verified > 0);
    for receiver in [first, second] {
        until(receiver, has_some).await.context("the transfer does not begin")?;
    }
    let before = [id(seed).await?, id(first).await?, id(second).await?];
    tracker.signal("KILL").await?;
    tracker.ended().await?;
    for receiver in [first, second] {
        ensure!(receiver.state().borrow().finished.is_empty(), "the transfer was not interrupted");
    }
    let restarted = TrackerProcess::start(tracker.port(), &[]).await?;
    for (peer, before) in peers.iter().zip(before) {
        let is_back = |state: &State| matches!(&state.connection, Some(Connection::Online { id, .. }) if *id != before);
        until(peer, is_back).await.context("a peer does not come back")?;
    }
    Ok(restarted)
}

/// Passes bytes between a seed and the tracker. The seed's first connection stops to pass them on after
/// [`FIRST_BYTES`], until the tracker is gone.
async fn narrow_line(listener: TcpListener, tracker: String) {
    let mut allowed = FIRST_BYTES;
    while let Ok((seed, _)) = listener.accept().await {
        let Ok(tracker) = TcpStream::connect(&tracker).await else { continue };
        let (from_seed, mut to_seed) = seed.into_split();
        let (mut from_tracker, mut to_tracker) = tracker.into_split();
        let up = async {
            _ = copy(&mut from_seed.take(allowed), &mut to_tracker).await;
            pending::<()>().await;
        };
        tokio::select! {
            () = up => {}
            _ = copy(&mut from_tracker, &mut to_seed) => {}
        }
        allowed = u64::MAX;
    }
}

async fn fetch(peer: &Peer, file: FileId, content: &[u8]) -> anyhow::Result<()> {
    let path = timeout(2 * DEADLINE, peer.fetch(file)).await.context("not fetched in time")??;
    ensure!(is_at(&path, content)?, "the content is another");
    Ok(())
}

fn is_at(path: &Path, content: &[u8]) -> anyhow::Result<bool> {
    Ok(fs::read(path)? == content)
}

/// The id under which a peer is in the room.
async fn id(peer: &Peer) -> anyhow::Result<PeerId> {
    let mut state = peer.state();
    let is_online = |state: &State| matches!(state.connection, Some(Connection::Online { .. }));
    match &timeout(DEADLINE, state.wait_for(is_online)).await??.connection {
        Some(Connection::Online { id, .. }) => Ok(*id),
        other => anyhow::bail!("the peer is {other:?}"),
    }
}

/// Waits until what a peer knows is as wanted.
async fn until(peer: &Peer, wanted: impl Fn(&State) -> bool) -> anyhow::Result<()> {
    let mut state = peer.state();
    timeout(DEADLINE, state.wait_for(wanted)).await.context("it did not come in time")??;
    Ok(())
}
