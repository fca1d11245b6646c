//! The tracker as people run it: a release build in its own process.

use anyhow::{Context as _, Result, ensure};
use std::{
    env,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
};
use tests::browser::project_dir;

/// A running tracker; it ends when this is dropped.
pub(crate) struct TrackerProcess {
    child: Child,
    /// Its address and port.
    host: String,
    /// Kept open: a tracker that cannot print would fail.
    stdout: BufReader<ChildStdout>,
}

impl TrackerProcess {
    /// Starts the tracker on a free port and waits until it has said which.
    pub(crate) fn start() -> Result<Self> {
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        let program = project_dir().join(target).join("release/tracker-ws").with_extension(env::consts::EXE_EXTENSION);
        ensure!(program.is_file(), "there is no {}: run `cargo xtask bench tabs`", program.display());
        let mut child = Command::new(&program)
            .current_dir(project_dir())
            .args(["--host", "127.0.0.1", "--port", "0", "--page", "web/dist"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let stdout = BufReader::new(child.stdout.take().context("its output was not piped")?);
        let mut tracker = Self { child, host: String::new(), stdout };
        let mut printed = String::new();
        tracker.stdout.read_line(&mut printed)?;
        let (_, url) = printed.split_once("http://").with_context(|| format!("the tracker said only {printed:?}"))?;
        tracker.host = url.trim_end().trim_end_matches('/').to_owned();
        Ok(tracker)
    }

    pub(crate) fn http_url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.host)
    }

    pub(crate) fn ws_url(&self) -> String {
        format!("ws://{}/ws", self.host)
    }
}

impl Drop for TrackerProcess {
    fn drop(&mut self) {
        // It keeps nothing that would have to be written; one that is gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
