//! The tracker as people run it: a release build in its own process.

use anyhow::{Context as _, Result, ensure};
use std::{
    env,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tests::{browser::project_dir, eventually::eventually};
use tokio::net::TcpStream;

/// How long a tracker may take to listen.
const START: Duration = Duration::from_secs(30);

/// A running tracker; it ends when this is dropped.
pub(crate) struct TrackerProcess {
    child: Child,
    addr: SocketAddr,
}

impl TrackerProcess {
    /// Starts the tracker and waits until it listens.
    pub(crate) async fn start() -> Result<Self> {
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        let program = project_dir().join(target).join("release/tracker-ws").with_extension(env::consts::EXE_EXTENSION);
        ensure!(program.is_file(), "there is no {}: run `cargo xtask bench tabs`", program.display());
        // Given back before the tracker takes it; nothing else asks for a port at that moment.
        let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let child = Command::new(&program)
            .current_dir(project_dir())
            .args(["--host", &addr.ip().to_string(), "--port", &addr.port().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut tracker = Self { child, addr };
        eventually("the tracker to listen", START, async || {
            if let Some(status) = tracker.child.try_wait()? {
                anyhow::bail!("the tracker ended at once: {status}");
            }
            Ok(TcpStream::connect(addr).await.map(drop))
        })
        .await?;
        Ok(tracker)
    }

    pub(crate) fn http_url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.addr)
    }

    pub(crate) fn ws_url(&self) -> String {
        format!("ws://{}/ws", self.addr)
    }
}

impl Drop for TrackerProcess {
    fn drop(&mut self) {
        // It keeps nothing that would have to be written; one that is gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
