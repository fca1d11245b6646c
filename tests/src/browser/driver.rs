//! The process that speaks WebDriver to a browser.

use super::project_dir;
use crate::{eventually::eventually, network::Network, process};
use anyhow::{Context as _, Result};
use std::{
    env,
    ffi::OsString,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};
use tokio::net::TcpStream;

/// What chromedriver prints before the port it listens on.
const GREETING: &str = "started successfully on port ";
/// How often it is started before it is given up: it takes a port that is free in IPv6 and ends if the same one is in use
/// in IPv4, which is not rare after tests with thousands of connections.
const ATTEMPTS: usize = 5;
/// Where drivers listen on hosts of their own.
const PORT: u16 = 4_444;
/// How long one may take until it listens.
const PATIENCE: Duration = Duration::from_secs(30);

/// What shows pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Chromium.
    Chromium,
    /// Firefox.
    Firefox,
    /// The small browser of WebKitGTK, which has neither WebRTC nor a file system for pages.
    WebKit,
}

/// A running driver; it ends when this is dropped.
#[derive(Debug)]
pub struct Driver {
    engine: Engine,
    child: Child,
    address: SocketAddr,
    /// Kept open: a driver that cannot print would end.
    _stdout: BufReader<ChildStdout>,
}

impl Driver {
    /// Starts the driver of Chromium that `CHROMEDRIVER` names, or the one on `PATH`.
    ///
    /// # Errors
    /// If there is none, or it does not start.
    pub fn start() -> Result<Self> {
        let start = || {
            let mut command = Command::new(chromedriver());
            command.arg("--port=0");
            let (child, mut stdout) = spawn(command)?;
            let mut printed = String::new();
            let port = loop {
                let start = printed.len();
                anyhow::ensure!(stdout.read_line(&mut printed)? > 0, "it ended instead of starting: {printed}");
                if let Some((_, port)) = printed[start..].split_once(GREETING) {
                    break port.trim_end().trim_end_matches('.').parse().context("the driver's port")?;
                }
            };
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            Ok(Self { engine: Engine::Chromium, child, address, _stdout: stdout })
        };
        (1..ATTEMPTS).find_map(|_| start().ok()).map_or_else(start, Ok)
    }

    /// Starts a driver, and with it its browsers, on a host of a network that nothing else runs on.
    ///
    /// # Errors
    /// If there is none, or it does not start.
    pub async fn start_on(engine: Engine, network: &Network, host: usize) -> Result<Self> {
        let address = network.at(host, PORT);
        let (program, arguments) = match engine {
            Engine::Chromium => {
                (chromedriver(), vec![format!("--port={PORT}"), "--allowed-ips=".into(), "--allowed-origins=*".into()])
            }
            Engine::Firefox => {
                let ip = address.ip().to_string();
                let port = PORT.to_string();
                let arguments = ["--host", &ip, "--port", &port, "--allow-hosts", &ip].map(str::to_owned);
                ("geckodriver".into(), arguments.to_vec())
            }
            Engine::WebKit => {
                let arguments = ["-a", "WebKitWebDriver", &format!("--port={PORT}"), "--host=all"].map(str::to_owned);
                // It shows its windows, somewhere.
                ("xvfb-run".into(), arguments.to_vec())
            }
        };
        let mut command = network.command(host, &program.to_string_lossy());
        // As root it can only be had without its sandbox.
        command.args(arguments).env("WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS", "1");
        let (child, stdout) = spawn(command)?;
        let driver = Self { engine, child, address, _stdout: stdout };
        eventually(&format!("the driver of {engine:?} to listen"), PATIENCE, async || {
            Ok(TcpStream::connect(address).await)
        })
        .await?;
        Ok(driver)
    }

    /// Of which browsers.
    pub const fn engine(&self) -> Engine {
        self.engine
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

fn chromedriver() -> OsString {
    env::var_os("CHROMEDRIVER").unwrap_or_else(|| "chromedriver".into())
}

fn spawn(mut command: Command) -> Result<(Child, BufReader<ChildStdout>)> {
    let mut child = command
        .current_dir(project_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {command:?}; `cargo xtask test` installs it"))?;
    let stdout = BufReader::new(child.stdout.take().context("its output was not piped")?);
    Ok((child, stdout))
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Its browsers were closed with their sessions before, or end with their host; a driver that is gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
