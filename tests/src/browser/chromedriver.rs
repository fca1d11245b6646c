//! The process that speaks WebDriver to Chromium.

use crate::process;
use anyhow::{Context as _, Result};
use std::{
    env,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

/// What it prints before the port it listens on.
const GREETING: &str = "started successfully on port ";
/// How often it is started before it is given up: it takes a port that is free in IPv6 and ends if the same one is in use
/// in IPv4, which is not rare after tests with thousands of connections.
const ATTEMPTS: usize = 5;

/// A running chromedriver on a port of its own; it ends when this is dropped.
#[derive(Debug)]
pub struct Chromedriver {
    child: Child,
    port: u16,
    /// Kept open: a driver that cannot print would end.
    _stdout: BufReader<ChildStdout>,
}

impl Chromedriver {
    /// Starts the driver that `CHROMEDRIVER` names, or the one on `PATH`.
    ///
    /// # Errors
    /// If there is none, or it does not start.
    pub fn start() -> Result<Self> {
        let program = env::var_os("CHROMEDRIVER").unwrap_or_else(|| "chromedriver".into());
        let program = Path::new(&program);
        let earlier = (1..ATTEMPTS).find_map(|_| Self::start_once(program).ok());
        earlier.map_or_else(|| Self::start_once(program), Ok)
    }

    fn start_once(program: &Path) -> Result<Self> {
        let mut child = Command::new(program)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}; `cargo xtask test` installs it", program.display()))?;
        let mut stdout = BufReader::new(child.stdout.take().context("its output was not piped")?);
        let mut printed = String::new();
        let port = loop {
            let start = printed.len();
            if stdout.read_line(&mut printed)? == 0 {
                let _ = child.wait();
                anyhow::bail!("{} ended instead of starting: {printed}", program.display());
            }
            if let Some((_, port)) = printed[start..].split_once(GREETING) {
                break port.trim_end().trim_end_matches('.').parse().context("the driver's port")?;
            }
        };
        Ok(Self { child, port, _stdout: stdout })
    }

    /// The address to speak WebDriver to.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The seconds of CPU time that all processes of its browsers have used; on Linux only.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub fn browsers_cpu_seconds(&self) -> Result<f64> {
        process::cpu_seconds_below(self.child.id())
    }
}

impl Drop for Chromedriver {
    fn drop(&mut self) {
        // Its browsers were closed with their sessions before; a driver that is gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
