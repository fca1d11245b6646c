//! One room on lines of its own.

use anyhow::{Context as _, Result, ensure};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tests::{
    eventually::eventually,
    network::{Network, Rates},
    noise::noise,
    scale::{Scale, Scaled},
    server::{Server, program},
};

/// The hosts of the tracker and of the terminal that shares; those that fetch follow.
const TRACKER: usize = 0;
const SEED: usize = 1;
const FIRST: usize = 2;
/// How long half of a file may take.
const LONGEST: Duration = Duration::from_secs(60);
/// The share of those who fetch that are separated from each other, so that about half of all direct lines are cut.
const CUT_SHARE: (usize, usize) = (4, 5);

/// What is tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trial {
    /// How many terminals fetch.
    pub(crate) fetching: usize,
    pub(crate) megabytes: Scaled<usize>,
    /// The rate of each line, each way.
    pub(crate) mbit: u32,
    /// Whether the terminals were told to use no direct lines.
    pub(crate) relay_only: bool,
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
    network: Network,
    tracker: SocketAddr,
    minibit: String,
    folder: TempDir,
    content: Vec<u8>,
    /// Kept until the end, the ones that use something before what they use.
    _seed: Terminal,
    _server: Server,
}

struct Terminal {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Lab {
    /// A room whose file is shared; `None` if there can be none here.
    pub(crate) fn new(trial: &Trial, scale: Scale) -> Result<Option<Self>> {
        let rates = Rates { up: trial.mbit, down: trial.mbit };
        let Some(network) = Network::new(FIRST + trial.fetching, rates)? else { return Ok(None) };
        let mut command = network.command(TRACKER, &path(program(scale, "tracker-ws")?));
        command.args(["--host", &network.address(TRACKER).to_string(), "--port", "0", "--page", "web/dist"]);
        let server = Server::start(command)?;
        let tracker = server.addr()?;
        let folder = tempfile::tempdir()?;
        let content = noise(1, trial.megabytes.at(scale) * 1_000_000);
        let shared = folder.path().join("lab.bin");
        fs::write(&shared, &content)?;
        let minibit = path(program(scale, "minibit")?);
        let mut command = network.command(SEED, &minibit);
        command.args(flags(trial, tracker)).arg("share").arg(&shared);
        let mut seed = Terminal::start(command)?;
        seed.line().context("the file is not shared")?;
        let trial = *trial;
        Ok(Some(Self { trial, network, tracker, minibit, folder, content, _seed: seed, _server: server }))
    }

    /// Lets all others fetch the file.
    #[expect(clippy::disallowed_methods, reason = "it is time that is measured")]
    pub(crate) fn run(&self) -> Result<Took> {
        let Trial { fetching, mbit, cut, .. } = self.trial;
        let fetchers = FIRST..FIRST + fetching;
        if cut == Some(Cut::Before) {
            self.network.separate(SEED..fetchers.end)?;
        }
        let before = self.network.bytes(TRACKER)?;
        let begun = Instant::now();
        let terminals = fetchers.clone().map(|host| self.fetch(host)).collect::<Result<Vec<_>>>()?;
        let (size, line) = (self.content.len() as f64, f64::from(mbit) * 1e6 / 8.0);
        let bound = (size / line).max(fetching as f64 * size / ((fetching + 1) as f64 * line));
        let last = thread::scope(|scope| -> Result<Duration> {
            let waiting: Vec<_> = terminals
                .into_iter()
                .map(|mut terminal| {
                    scope.spawn(move || -> Result<(Duration, PathBuf, Terminal)> {
                        let path = terminal.line()?.into();
                        Ok((begun.elapsed(), path, terminal))
                    })
                })
                .collect();
            if cut == Some(Cut::InTheMiddle) {
                self.until_half_is_sent()?;
                self.network.separate(fetchers.take(fetching * CUT_SHARE.0 / CUT_SHARE.1))?;
            }
            let mut last = Duration::ZERO;
            let mut kept = Vec::new();
            for terminal in waiting {
                let (took, path, terminal) =
                    terminal.join().map_err(|_| anyhow::anyhow!("a terminal was not read"))??;
                ensure!(fs::read(&path)? == self.content, "{} is another file", path.display());
                last = last.max(took);
                // It serves the others.
                kept.push(terminal);
            }
            Ok(last)
        })?;
        let crossed = self.network.bytes(TRACKER)? - before;
        let seconds = last.as_secs_f64();
        Ok(Took { seconds, over_bound: seconds / bound, tracker_bytes_over_file: crossed as f64 / size })
    }

    fn until_half_is_sent(&self) -> Result<()> {
        let before = self.network.bytes(SEED)?;
        let half = self.content.len() as u64 / 2;
        let sent = async || {
            let sent = self.network.bytes(SEED)? - before;
            Ok(if sent >= half { Ok(()) } else { Err(sent) })
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(eventually("half of the file", LONGEST, sent))
    }

    fn fetch(&self, host: usize) -> Result<Terminal> {
        let folder = self.folder.path().join(host.to_string());
        fs::create_dir(&folder)?;
        let mut command = self.network.command(host, &self.minibit);
        command.args(flags(&self.trial, self.tracker)).args(["get", "lab.bin", "--stay", "--output"]).arg(folder);
        Terminal::start(command)
    }
}

impl Terminal {
    fn start(mut command: Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let stdout = BufReader::new(child.stdout.take().context("its output was not piped")?);
        Ok(Self { child, stdout })
    }

    /// The next line that it says.
    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        ensure!(line.ends_with('\n'), "it ended: {}", self.child.wait()?);
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // One that is gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn flags(trial: &Trial, tracker: SocketAddr) -> Vec<String> {
    let mut flags = vec!["--tracker".to_owned(), tracker.to_string()];
    flags.extend(trial.relay_only.then(|| "--relay-only".to_owned()));
    flags
}

fn path(program: impl AsRef<Path>) -> String {
    program.as_ref().display().to_string()
}
