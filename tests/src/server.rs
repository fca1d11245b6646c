//! Servers in processes of their own, above all the tracker as people run it.

use crate::{browser::project_dir, process, scale::Scale};
use anyhow::{Context as _, Result, ensure};
use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
};

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Its address and port.
    host: String,
    /// Kept open: a tracker that cannot print would fail.
    stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts the release build of the tracker, in miniature the development build, on a free port, with more flags than
    /// those for that, and waits until it has said which.
    ///
    /// # Errors
    /// If it has not been built or does not start.
    pub fn tracker(scale: Scale, flags: &[&str]) -> Result<Self> {
        let mut command = Command::new(program(scale, "tracker-ws")?);
        command.args(["--host", "127.0.0.1", "--port", "0", "--page", "web/dist"]).args(flags);
        Self::start(command)
    }

    /// Starts a server that prints a line with its URL when it listens. Its standard input is open as long as this
    /// process lives.
    ///
    /// # Errors
    /// If it does not start, or says something else.
    pub fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .current_dir(project_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let stdout = BufReader::new(child.stdout.take().context("its output was not piped")?);
        let mut server = Self { child, host: String::new(), stdout };
        let mut printed = String::new();
        server.stdout.read_line(&mut printed)?;
        let (_, url) = printed.split_once("http://").with_context(|| format!("the server said only {printed:?}"))?;
        server.host = url.trim_end().trim_end_matches('/').to_owned();
        Ok(server)
    }

    /// The address of a page.
    pub fn http_url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.host)
    }

    /// The address of the WebSocket.
    pub fn ws_url(&self) -> String {
        format!("ws://{}/ws", self.host)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If it listens at a name.
    pub fn addr(&self) -> Result<SocketAddr> {
        self.host.parse().with_context(|| format!("{} is no address", self.host))
    }

    /// The seconds of CPU time that it has used, in steps of 10 ms; on Linux only.
    ///
    /// # Errors
    /// If it is gone.
    pub fn cpu_seconds(&self) -> Result<f64> {
        process::cpu_seconds(self.child.id())
    }

    /// The KiB of memory that are resident; on Linux only.
    ///
    /// # Errors
    /// If it is gone.
    pub fn resident_kib(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

/// A program of the release build, in miniature of the development build.
///
/// # Errors
/// If it has not been built.
pub fn program(scale: Scale, name: &str) -> Result<PathBuf> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let folder = project_dir().join(target).join(scale.build_dir());
    let program = folder.join(name).with_extension(env::consts::EXE_EXTENSION);
    ensure!(program.is_file(), "there is no {}: `cargo xtask bench` builds it", program.display());
    Ok(program)
}

impl Drop for Server {
    fn drop(&mut self) {
        // It keeps nothing that would have to be written; one that is gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
