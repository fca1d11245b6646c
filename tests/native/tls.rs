//! A tracker that speaks TLS, with native peers.

use anyhow::{Context as _, ensure};
use peer_native::{Connection, Peer, PeerConfig, State};
use std::{fs, path::Path};
use tests::{client::DEADLINE, noise::noise, tracker::TestTracker};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tracker_ws::{Config, Limits, Tls};

#[tokio::test(flavor = "multi_thread")]
async fn peers_share_a_file_with_a_tracker_that_made_its_own_certificate() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let tracker = start(folder.path(), Limits::default()).await?;
    let content = noise(1, 5_000_001);
    let path = folder.path().join("sample.bin");
    fs::write(&path, &content)?;
    let seed = peer(&tracker, folder.path(), "seed", tracker.fingerprint(), true)?;
    let file = seed.share(&path).await?;
    let peers = [("a", true), ("b", false), ("c", true)]
        .map(|(name, binary)| peer(&tracker, folder.path(), name, tracker.fingerprint(), binary));
    for peer in peers {
        let fetched = timeout(DEADLINE, peer?.fetch(file)).await.context("not fetched in time")??;
        ensure!(fs::read(fetched)? == content);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_believes_no_other_certificate_and_says_so() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let tracker = start(folder.path(), Limits::default()).await?;
    let other = "00".repeat(32);
    for (fingerprint, expected) in [(Some(other.as_str()), "another fingerprint"), (None, "certificate")] {
        let peer = peer(&tracker, folder.path(), "peer", fingerprint, true)?;
        let has_failed = |state: &State| {
            assert!(!matches!(state.connection, Some(Connection::Online { .. })));
            state.trouble.is_some()
        };
        let mut state = peer.state();
        let trouble = timeout(DEADLINE, state.wait_for(has_failed)).await??.trouble.clone().unwrap_or_default();
        ensure!(trouble.contains(expected), "{trouble}");
    }
    Ok(())
}

#[tokio::test]
async fn the_certificate_is_the_same_after_a_restart_and_another_in_another_folder() -> anyhow::Result<()> {
    let [first, second] = [tempfile::tempdir()?, tempfile::tempdir()?];
    let mut fingerprints = Vec::new();
    for folder in [&first, &first, &second] {
        let tracker = start(folder.path(), Limits::default()).await?;
        fingerprints.push(tracker.fingerprint().context("it speaks TLS")?.to_owned());
        tracker.stop().await?;
    }
    assert_eq!(fingerprints[0], fingerprints[1]);
    assert_ne!(fingerprints[0], fingerprints[2]);
    Ok(())
}

#[tokio::test]
async fn who_leaves_the_https_out_is_sent_there() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let tracker = start(folder.path(), Limits::default()).await?;
    let mut stream = TcpStream::connect(tracker.addr()).await?;
    stream.write_all(b"GET /a?b=c HTTP/1.1\r\nHost: lab:9000\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await??;
    ensure!(answer.starts_with("HTTP/1.1 307 "), "{answer}");
    ensure!(answer.contains("location: https://lab:9000/a?b=c\r\n"), "{answer}");
    ensure!(answer.contains("cache-control: no-store\r\n"), "{answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_finish_the_handshake_makes_room_for_others() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let tracker = start(folder.path(), Limits { http_connections: 1, head_ms: 200, ..Limits::default() }).await?;
    let mut silent = TcpStream::connect(tracker.addr()).await?;
    let mut half = TcpStream::connect(tracker.addr()).await?;
    half.write_all(&[0x16, 3, 1]).await?;
    let honest = peer(&tracker, folder.path(), "honest", tracker.fingerprint(), true)?;
    let is_online = |state: &State| matches!(state.connection, Some(Connection::Online { .. }));
    timeout(DEADLINE, honest.state().wait_for(is_online)).await??;
    for stream in [&mut silent, &mut half] {
        let mut rest = Vec::new();
        timeout(DEADLINE, stream.read_to_end(&mut rest)).await??;
    }
    Ok(())
}

/// A tracker that keeps its own certificate in `folder`.
async fn start(folder: &Path, limits: Limits) -> anyhow::Result<TestTracker> {
    let tls = Tls { tls_self_signed: true, tls_folder: Some(folder.to_owned()), ..Tls::default() };
    TestTracker::start_with(Config { tls, limits, ..Config::default() }).await
}

/// A peer that fetches into a folder of its own.
fn peer(
    tracker: &TestTracker,
    folder: &Path,
    name: &str,
    fingerprint: Option<&str>,
    binary: bool,
) -> anyhow::Result<Peer> {
    let fingerprint = fingerprint.map(str::parse).transpose()?;
    Ok(Peer::start(PeerConfig { fingerprint, binary, ..PeerConfig::new(tracker.ws_url(), folder.join(name)) }))
}
