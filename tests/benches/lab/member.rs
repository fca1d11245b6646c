//! Who shares the file or fetches it.

use anyhow::{Context as _, Result, ensure};
use std::{fs, path::PathBuf, process::Stdio, sync::Arc};
use tests::browser::{self, Browser, Sample};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStderr, ChildStdout, Command},
};

/// What a terminal logs: a few lines, so that nobody has to read them.
const LOGGED: &str = "peer_wasm::client=info";

/// One who shares or fetches.
pub(crate) enum Member {
    Terminal(Box<Terminal>),
    Tab(Tab),
}

/// The command, in a process that ends with this.
pub(crate) struct Terminal {
    _child: Child,
    stdout: BufReader<ChildStdout>,
    log: BufReader<ChildStderr>,
    /// Where the file is once it is fetched.
    file: Option<PathBuf>,
}

/// A tab of a browser that is its own.
pub(crate) struct Tab(browser::Tab);

impl Member {
    /// Waits until the file is shared, which a tab has to be given first.
    pub(crate) async fn sharing(mut self, sample: &Sample) -> Result<Self> {
        match &mut self {
            Self::Terminal(terminal) => _ = terminal.line().await?,
            Self::Tab(Tab(tab)) => {
                tab.choose(&sample.path).await?;
                tab.find_button(&sample.name, "Stop").await?;
            }
        }
        Ok(self)
    }

    /// Waits until the file is here, for which a tab has to be asked first.
    pub(crate) async fn fetched(mut self, sample: &Sample) -> Result<Self> {
        match &mut self {
            Self::Terminal(terminal) => terminal.file = Some(terminal.line().await?.into()),
            Self::Tab(Tab(tab)) => {
                tab.press(&sample.name, "Download").await?;
                tab.watch_for_button(&sample.name, "Save").await?;
            }
        }
        Ok(self)
    }

    /// Looks whether it is the right file that was fetched.
    pub(crate) async fn check(&self, sample: &Sample) -> Result<()> {
        match self {
            Self::Terminal(terminal) => {
                let path = terminal.file.as_ref().context("nothing was fetched")?;
                ensure!(fs::read(path)? == sample.bytes, "{} is another file", path.display());
                Ok(())
            }
            Self::Tab(Tab(tab)) => tab.save(sample).await,
        }
    }
}

impl Terminal {
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.env("RUST_LOG", LOGGED).env("NO_COLOR", "1").spawn()?;
        let stdout = BufReader::new(child.stdout.take().context("its output was not piped")?);
        let log = BufReader::new(child.stderr.take().context("its log was not piped")?);
        Ok(Self { _child: child, stdout, log, file: None })
    }

    /// Waits until it logs this.
    pub(crate) async fn logs(&mut self, words: &str) -> Result<()> {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            ensure!(self.log.read_line(&mut line).await? > 0, "it ended without logging {words:?}");
        }
        Ok(())
    }

    /// The next line that it says.
    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).await?;
        ensure!(line.ends_with('\n'), "it ended without a word");
        Ok(line.trim_end().to_owned())
    }
}

impl Tab {
    pub(crate) async fn open(browser: &Arc<Browser>, url: &str) -> Result<Self> {
        Ok(Self(browser.open(url).await?))
    }

    /// Waits until the file can be fetched.
    pub(crate) async fn shows(&self, sample: &Sample) -> Result<()> {
        self.0.find_button(&sample.name, "Download").await?;
        Ok(())
    }
}
