//! One room on lines of its own.

use crate::member::{Member, Tab, Terminal};
use anyhow::{Context as _, Result};
use futures_util::future::try_join_all;
use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tests::{
    browser::{Browser, Driver, Engine, Options, Sample, page_dir},
    eventually::eventually,
    network::{Network, Rates},
    noise::noise,
    scale::{Scale, Scaled},
    server::{Server, program},
};

/// The hosts of the tracker and of who shares; those that fetch follow.
const TRACKER: usize = 0;
const SEED: usize = 1;
const FIRST: usize = 2;
/// How long half of a file may take.
const LONGEST: Duration = Duration::from_secs(60);
/// The share of those who fetch that are separated from each other, so that about half of all direct lines are cut.
const CUT_SHARE: (usize, usize) = (4, 5);
/// The file's name: over plain http Chromium asks before it saves what may be a program.
const NAME: &str = "lab.png";

/// What is tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trial {
    /// How many terminals fetch, and how many tabs, each in a browser of its own. If no terminal fetches, a tab shares the file.
    pub(crate) terminals: usize,
    pub(crate) tabs: usize,
    pub(crate) megabytes: Scaled<usize>,
    /// The rate of each line, each way.
    pub(crate) mbit: u32,
    /// Whether the tracker allows direct lines.
    pub(crate) direct: bool,
    pub(crate) cut: Option<Cut>,
}

/// When hosts are kept from reaching each other, though they all reach the tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// All of them, from the beginning.
    Before,
    /// Most of those who fetch, when the seed has sent half of the file.
    InTheMiddle,
}

/// What it took.
#[derive(Debug)]
pub(crate) struct Took {
    pub(crate) seconds: f64,
    pub(crate) over_bound: f64,
    pub(crate) tracker_bytes_over_file: f64,
}

/// Hosts, a tracker, and a file that is shared.
pub(crate) struct Lab {
    trial: Trial,
    scale: Scale,
    tracker: SocketAddr,
    folder: TempDir,
    sample: Arc<Sample>,
    browsers: Vec<Arc<Browser>>,
    /// Kept until the end, the ones that use something before what they use.
    seed: Option<Member>,
    _server: Server,
    network: Network,
}

impl Lab {
    /// A room whose file is shared; `None` if there can be none here.
    pub(crate) async fn new(trial: Trial, scale: Scale) -> Result<Option<Self>> {
        let rates = Rates { up: trial.mbit, down: trial.mbit };
        let Some(network) = Network::new(FIRST + trial.terminals + trial.tabs, rates)? else { return Ok(None) };
        let mut command = network.command(TRACKER, &path(program(scale, "tracker-ws")?));
        let host = network.address(TRACKER).to_string();
        command.args(["--host", &host, "--port", "0", "--page", &path(page_dir()?)]);
        command.args(["--direct", if trial.direct { "near" } else { "off" }]);
        let server = Server::start(command)?;
        let tracker = server.addr()?;
        let folder = tempfile::tempdir()?;
        let bytes = noise(1, trial.megabytes.at(scale) * 1_000_000);
        let shared = folder.path().join(NAME);
        fs::write(&shared, &bytes)?;
        let sample = Arc::new(Sample { name: NAME.to_owned(), path: shared, bytes });
        let browsers = Vec::new();
        let mut lab = Self { trial, scale, tracker, folder, sample, browsers, seed: None, _server: server, network };
        let seed = if trial.terminals > 0 {
            Member::Terminal(Box::new(lab.terminal(SEED, &["share", &path(&lab.sample.path)])?))
        } else {
            Member::Tab(lab.tab(SEED).await?)
        };
        lab.seed = Some(seed.sharing(&lab.sample).await.context("the file is not shared")?);
        Ok(Some(lab))
    }

    /// Lets all others fetch the file.
    pub(crate) async fn run(mut self) -> Result<Took> {
        let took = self.fetch_all().await;
        for browser in &self.browsers {
            browser.quit().await?;
        }
        took
    }

    #[expect(clippy::disallowed_methods, reason = "it is time that is measured")]
    async fn fetch_all(&mut self) -> Result<Took> {
        let Trial { terminals, tabs, mbit, cut, .. } = self.trial;
        let fetching = terminals + tabs;
        let fetchers = FIRST..FIRST + fetching;
        // A page shows the file before somebody presses the button.
        let mut opened = Vec::new();
        for host in fetchers.clone().skip(terminals) {
            let tab = self.tab(host).await?;
            tab.shows(&self.sample).await?;
            opened.push(tab);
        }
        if cut == Some(Cut::Before) {
            self.network.separate(SEED..fetchers.end)?;
        }
        let before = self.network.bytes(TRACKER)?;
        let begun = Instant::now();
        let mut members: Vec<_> = opened.into_iter().map(Member::Tab).collect();
        for host in fetchers.clone().take(terminals) {
            members.push(Member::Terminal(Box::new(self.get(host)?)));
        }
        let waiting = members.into_iter().map(async |member| {
            let member = member.fetched(&self.sample).await?;
            anyhow::Ok((begun.elapsed(), member))
        });
        let cutting = async {
            if cut == Some(Cut::InTheMiddle) {
                self.until_half_is_sent().await?;
                self.network.separate(fetchers.take(fetching * CUT_SHARE.0 / CUT_SHARE.1))?;
            }
            Ok(())
        };
        let (fetched, ()) = tokio::try_join!(try_join_all(waiting), cutting)?;
        let last = fetched.iter().map(|(took, _)| *took).max().unwrap_or_default();
        let crossed = self.network.bytes(TRACKER)? - before;
        for (_, member) in &fetched {
            member.check(&self.sample).await?;
        }
        let (size, line) = (self.sample.bytes.len() as f64, f64::from(mbit) * 1e6 / 8.0);
        let bound = (size / line).max(fetching as f64 * size / ((fetching + 1) as f64 * line));
        let seconds = last.as_secs_f64();
        Ok(Took { seconds, over_bound: seconds / bound, tracker_bytes_over_file: crossed as f64 / size })
    }

    /// Lets the terminals fetch the file, one after the other, and stay; tells how long each took from when the tracker knew it
    /// until it had a line of its own, in milliseconds.
    #[expect(clippy::disallowed_methods, reason = "it is time that is measured")]
    pub(crate) async fn opening(self) -> Result<Vec<f64>> {
        let (mut members, mut took) = (Vec::new(), Vec::new());
        for host in FIRST..FIRST + self.trial.terminals {
            let mut terminal = self.get(host)?;
            terminal.logs("registered").await?;
            let registered = Instant::now();
            terminal.logs("a direct line is open").await?;
            took.push(registered.elapsed().as_secs_f64() * 1_000.0);
            members.push(Member::Terminal(Box::new(terminal)).fetched(&self.sample).await?);
        }
        Ok(took)
    }

    async fn until_half_is_sent(&self) -> Result<()> {
        let before = self.network.bytes(SEED)?;
        let half = self.sample.bytes.len() as u64 / 2;
        let sent = async || {
            let sent = self.network.bytes(SEED)? - before;
            Ok(if sent >= half { Ok(()) } else { Err(sent) })
        };
        eventually("half of the file", LONGEST, sent).await
    }

    fn get(&self, host: usize) -> Result<Terminal> {
        let folder = self.folder.path().join(host.to_string());
        fs::create_dir(&folder)?;
        self.terminal(host, &["get", NAME, "--stay", "--output", &path(folder)])
    }

    fn terminal(&self, host: usize, arguments: &[&str]) -> Result<Terminal> {
        let mut command = self.network.command(host, &path(program(self.scale, "minibit")?));
        command.args(["--tracker", &self.tracker.to_string()]).args(arguments);
        Terminal::start(command.into())
    }

    async fn tab(&mut self, host: usize) -> Result<Tab> {
        let driver = Driver::start_on(Engine::Chromium, &self.network, host).await?;
        let browser = Browser::start(Arc::new(driver), Options::default()).await?;
        self.browsers.push(Arc::clone(&browser));
        Tab::open(&browser, &format!("http://{}/", self.tracker)).await
    }
}

fn path(program: impl AsRef<Path>) -> String {
    program.as_ref().display().to_string()
}
