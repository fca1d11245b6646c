//! The real binary.

use anyhow::{Context as _, ensure};
use std::{
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
    time::timeout,
};

/// How long any one thing that must happen may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A running tracker; it is killed when this is dropped.
pub(crate) struct TrackerProcess {
    child: Child,
    /// Kept open: a tracker that cannot print would fail.
    _stdout: Lines<BufReader<ChildStdout>>,
    /// Unless it goes elsewhere.
    log: Option<Lines<BufReader<ChildStderr>>>,
    /// Its address and port.
    pub(crate) host: String,
}

impl TrackerProcess {
    /// Starts a tracker and waits until it has said where it is.
    pub(crate) async fn start(port: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_logging_to(Stdio::piped(), port, arguments).await
    }

    /// The same with another standard error.
    pub(crate) async fn start_logging_to(stderr: Stdio, port: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tracker-ws"))
            .args(["--host", "127.0.0.1", "--port", port])
            .env("MINIBIT_LOG_FORMAT", "json")
            .args(arguments)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("its output was not piped")?).lines();
        let log = child.stderr.take().map(|log| BufReader::new(log).lines());
        let said = timeout(DEADLINE, stdout.next_line()).await.context("it says nothing")??.unwrap_or_default();
        let (_, host) = said.split_once("://").with_context(|| format!("it said {said:?}"))?;
        let host = host.trim_end_matches('/').to_owned();
        Ok(Self { child, _stdout: stdout, log, host })
    }

    /// The port on which it listens.
    pub(crate) fn port(&self) -> &str {
        self.host.rsplit(':').next().unwrap_or_default()
    }

    /// Sends a signal, as `kill` calls it.
    pub(crate) async fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.child.id().context("it has ended")?;
        let sent = Command::new("kill").args([format!("-{name}"), id.to_string()]).status().await?;
        ensure!(sent.success(), "cannot send {name}");
        Ok(())
    }

    /// Reads the log up to a line with this message, and gives the line.
    pub(crate) async fn logged(&mut self, message: &str) -> anyhow::Result<serde_json::Value> {
        let log = self.log.as_mut().context("its log was not piped")?;
        let search = async {
            loop {
                let line = log.next_line().await?.context("the log ended")?;
                let line: serde_json::Value = serde_json::from_str(&line)?;
                if line["message"] == message {
                    return anyhow::Ok(line);
                }
            }
        };
        timeout(DEADLINE, search).await.with_context(|| format!("{message:?} was not logged in time"))?
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        Ok(timeout(DEADLINE, self.child.wait()).await.context("it does not end")??)
    }
}
