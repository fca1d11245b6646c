//! A real tracker inside the test's own process, on a port of its own.

use anyhow::Context as _;
use std::net::SocketAddr;
use tokio::{sync::oneshot, task::JoinHandle};
use tracker_ws::{Config, Tracker};

/// A running tracker; it stops when this is dropped, or gracefully by [`TestTracker::stop`].
#[derive(Debug)]
pub struct TestTracker {
    addr: SocketAddr,
    /// Of its certificate, if it speaks TLS.
    fingerprint: Option<String>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl TestTracker {
    /// Starts a tracker with the default settings.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(Config::default()).await
    }

    /// Starts a tracker with other settings, but always on any free port of 127.0.0.1 unless `config` names a host.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start_with(config: Config) -> anyhow::Result<Self> {
        Self::run(Config { port: 0, ..config }).await
    }

    /// Starts a tracker with the default settings on the port of another that has stopped.
    ///
    /// # Errors
    /// If the port is taken.
    pub async fn start_at(port: u16) -> anyhow::Result<Self> {
        Self::run(Config { port, ..Config::default() }).await
    }

    async fn run(config: Config) -> anyhow::Result<Self> {
        let tracker = Tracker::bind(config).await?;
        let addr = tracker.local_addr();
        let fingerprint = tracker.certificate().map(|certificate| certificate.fingerprint());
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            // A dropped sender stops the tracker too.
            let _ = stopped.await;
        };
        let task = tokio::spawn(async { Ok(tracker.run(shutdown).await?) });
        Ok(Self { addr, fingerprint, stop, task })
    }

    /// Where the tracker listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address of the page.
    pub fn http_url(&self) -> String {
        format!("http{}://{}/", self.secure(), self.addr)
    }

    /// The address of the WebSocket.
    pub fn ws_url(&self) -> String {
        format!("ws{}://{}/ws", self.secure(), self.addr)
    }

    /// The fingerprint of the tracker's certificate, if it speaks TLS.
    pub fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    fn secure(&self) -> &'static str {
        if self.fingerprint.is_some() { "s" } else { "" }
    }

    /// Stops the tracker gracefully and waits until it has returned.
    ///
    /// # Errors
    /// If the tracker failed.
    pub async fn stop(self) -> anyhow::Result<()> {
        // It may have stopped by itself; its result says so.
        let _ = self.stop.send(());
        self.task.await.context("the tracker panicked")?
    }
}
