//! The process that speaks WebDriver to Chromium.

use crate::{network::Network, process};
use anyhow::{Context as _, Result};
use std::{
    env,
    io::{BufRead as _, BufReader},
    net::{IpAddr, Ipv4Addr, SocketAddr},
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
    address: SocketAddr,
    /// Kept open: a driver that cannot print would end.
    _stdout: BufReader<ChildStdout>,
}

impl Chromedriver {
    /// Starts the driver that `CHROMEDRIVER` names, or the one on `PATH`.
    ///
    /// # Errors
    /// If there is none, or it does not start.
    pub fn start() -> Result<Self> {
        Self::start_where(None)
    }

    /// Starts it, and with it its browsers, on a host of a network.
    ///
    /// # Errors
    /// As above.
    pub fn start_on(network: &Network, host: usize) -> Result<Self> {
        Self::start_where(Some((network, host)))
    }

    fn start_where(host: Option<(&Network, usize)>) -> Result<Self> {
        let program = env::var_os("CHROMEDRIVER").unwrap_or_else(|| "chromedriver".into());
        let program = Path::new(&program);
        let earlier = (1..ATTEMPTS).find_map(|_| Self::start_once(program, host).ok());
        earlier.map_or_else(|| Self::start_once(program, host), Ok)
    }

    fn start_once(program: &Path, host: Option<(&Network, usize)>) -> Result<Self> {
        let (mut command, address) = match host {
            None => (Command::new(program), IpAddr::from(Ipv4Addr::LOCALHOST)),
            Some((network, host)) => {
                let mut command = network.command(host, &program.display().to_string());
                // It is spoken to from outside of its host.
                command.args(["--allowed-ips=", "--allowed-origins=*"]);
                (command, network.address(host))
            }
        };
        let mut child = command
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
        Ok(Self { child, address: SocketAddr::new(address, port), _stdout: stdout })
    }

    /// The address to speak WebDriver to.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
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
