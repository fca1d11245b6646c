//! SIGHUP reads the certificate again, SIGTERM stops.

use crate::tracker::{DEADLINE, TrackerProcess};
use anyhow::{Context as _, ensure};
use peer_native::{Connection, Fingerprint, Peer, PeerConfig, State};
use std::{
    fs::{self, File},
    path::Path,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

#[tokio::test]
async fn a_renewed_certificate_is_shown_after_sighup_and_a_broken_one_is_not() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let arguments = ["--tls-cert", &cert.to_string_lossy(), "--tls-key", &key.to_string_lossy()];
    let first = renew(&cert, &key)?;
    let mut tracker = TrackerProcess::start("0", &arguments).await?;
    connect(&tracker, folder.path(), first).await?;

    let second = renew(&cert, &key)?;
    tracker.signal("HUP").await?;
    tracker.logged("read the certificate again").await?;
    connect(&tracker, folder.path(), second).await?;

    fs::write(&key, "no key")?;
    tracker.signal("HUP").await?;
    let line = tracker.logged("the certificate stays as it was").await?;
    ensure!(line["level"] == "WARN" && line["error"].to_string().contains("key.pem"), "{line}");
    connect(&tracker, folder.path(), second).await
}

#[tokio::test]
async fn sigterm_ends_it_well_and_sighup_without_a_certificate_does_not_end_it() -> anyhow::Result<()> {
    let mut tracker = TrackerProcess::start("0", &[]).await?;
    tracker.signal("HUP").await?;
    tracker.logged("there is nothing to read again").await?;
    tracker.signal("TERM").await?;
    ensure!(tracker.ended().await?.success());
    Ok(())
}

/// Every write to this device fails, as on a full disk.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_log_that_cannot_be_written_does_not_end_it() -> anyhow::Result<()> {
    for format in ["text", "json"] {
        let full = File::options().write(true).open("/dev/full")?;
        let mut tracker = TrackerProcess::start_logging_to(full.into(), "0", &["--log-format", format]).await?;
        let mut stream = TcpStream::connect(&tracker.host).await?;
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        timeout(DEADLINE, stream.read_to_string(&mut answer)).await.context("no answer in time")??;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        tracker.signal("TERM").await?;
        ensure!(tracker.ended().await?.success(), "with {format}");
    }
    Ok(())
}

#[tokio::test]
async fn a_certificate_without_its_key_is_refused_with_words() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let [cert, key, other] = ["cert.pem", "key.pem", "other.pem"].map(|name| folder.path().join(name));
    renew(&cert, &key)?;
    renew(&other, &key)?;
    for (cert, key, expected) in [
        (&cert, &key, "give the key that the certificate is for"),
        (&folder.path().join("none"), &key, "No such file"),
        (&other, &cert, "there is no key in"),
    ] {
        let program = env!("CARGO_BIN_EXE_tracker-ws");
        let mut command = tokio::process::Command::new(program);
        command.args(["--port", "0", "--tls-cert"]).arg(cert).arg("--tls-key").arg(key).kill_on_drop(true);
        let output = timeout(DEADLINE, command.output()).await.context("it does not end")??;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success() && said.contains(expected), "{said}");
    }
    Ok(())
}

/// Writes a new certificate and its key, and gives the certificate's fingerprint.
fn renew(cert: &Path, key: &Path) -> anyhow::Result<Fingerprint> {
    let rcgen::CertifiedKey { cert: made, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    fs::write(cert, made.pem())?;
    fs::write(key, signing_key.serialize_pem())?;
    let digest = ring::digest::digest(&ring::digest::SHA256, made.der());
    let digits: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(digits.parse()?)
}

/// Connects with a peer that believes only this certificate.
async fn connect(tracker: &TrackerProcess, folder: &Path, fingerprint: Fingerprint) -> anyhow::Result<()> {
    let url = format!("wss://{}/ws", tracker.host);
    let peer = Peer::start(PeerConfig { fingerprint: Some(fingerprint), ..PeerConfig::new(url, folder) });
    let mut state = peer.state();
    let settled =
        |state: &State| matches!(state.connection, Some(Connection::Online { .. })) || state.trouble.is_some();
    let state = timeout(DEADLINE, state.wait_for(settled)).await.context("no connection in time")??;
    ensure!(state.trouble.is_none(), "{:?}", state.trouble);
    Ok(())
}
