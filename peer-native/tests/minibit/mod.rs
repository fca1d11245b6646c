//! A running `minibit`, and a file for it.

#![allow(dead_code, reason = "each test uses some of it")]
#![allow(unreachable_pub, reason = "modules of a test have no other crate to be unreachable from")]

use anyhow::{Context as _, ensure};
use protocol::{BlockSize, Geometry, Manifest, ManifestHasher, MediaType};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tempfile::TempDir;
use tests::{client::DEADLINE, noise::noise, tracker::TestTracker};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
    time::timeout,
};

const MINIBIT: &str = env!("CARGO_BIN_EXE_minibit");

/// A file in a folder.
pub struct Sample {
    pub folder: TempDir,
    pub path: PathBuf,
    pub content: Vec<u8>,
    pub manifest: Manifest,
}

impl Sample {
    pub fn new(size: usize) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("sample.bin");
        let content = noise(1, size);
        fs::write(&path, &content)?;
        let mut hasher = ManifestHasher::new(Geometry::new(size as u64, BlockSize::for_file(size as u64))?);
        hasher.update(&content);
        let manifest = hasher.finish("sample.bin".parse()?, MediaType::default())?;
        Ok(Self { folder, path, content, manifest })
    }

    pub fn id(&self) -> String {
        self.manifest.file().to_string()
    }

    pub fn get(&self, tracker: &TestTracker) -> anyhow::Result<Minibit> {
        Minibit::run(&tracker.http_url(), &self.folder.path().join("got"), &["get", &self.id()])
    }
}

/// A running `minibit`; it ends when this is dropped.
pub struct Minibit {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Minibit {
    pub fn run(tracker: &str, folder: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::spawn(Command::new(MINIBIT), tracker, folder, arguments)
    }

    /// On a host that is a network namespace.
    pub fn run_in(host: String, tracker: &str, folder: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &host, MINIBIT]);
        Self::spawn(command, tracker, folder, arguments)
    }

    fn spawn(mut command: Command, tracker: &str, folder: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        command.args(["--tracker", tracker]).args(arguments).env_remove("RUST_LOG").kill_on_drop(true);
        if arguments.first() == Some(&"get") {
            command.arg("--output").arg(folder);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().context("its output was not piped")?;
        let stderr = child.stderr.take().context("its errors were not piped")?;
        Ok(Self { child, stdout: lines(stdout), stderr: lines(stderr) })
    }

    /// Reads the next line of the standard error, which is about this.
    pub async fn says(&mut self, part: &str) -> anyhow::Result<()> {
        let line = self.next_word().await.with_context(|| format!("no word of {part:?}"))?;
        ensure!(line.contains(part), "{part:?} is not in {line:?}");
        Ok(())
    }

    /// Reads lines of the standard error until one is about this.
    pub async fn says_at_last(&mut self, part: &str) -> anyhow::Result<()> {
        while !self.next_word().await.with_context(|| format!("no word of {part:?}"))?.contains(part) {}
        Ok(())
    }

    async fn next_word(&mut self) -> anyhow::Result<String> {
        let line = timeout(DEADLINE, self.stderr.next_line()).await.context("it is silent")??;
        line.context("it ended")
    }

    /// Sends it a signal, which is called so.
    pub async fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.child.id().context("it is gone")?;
        let sent = Command::new("kill").args(["-s", name, &id.to_string()]).status().await?;
        ensure!(sent.success(), "no {name} for {id}");
        Ok(())
    }

    /// Waits until it ends, and checks that it tells so.
    pub async fn ends_badly(&mut self) -> anyhow::Result<()> {
        let status = timeout(DEADLINE, self.child.wait()).await.context("it goes on")??;
        ensure!(!status.success(), "it ended with {status}");
        Ok(())
    }

    /// Waits until a file is fetched, and tells where it is.
    pub async fn fetched(&mut self) -> anyhow::Result<PathBuf> {
        self.fetched_within(DEADLINE).await
    }

    pub async fn fetched_within(&mut self, time: Duration) -> anyhow::Result<PathBuf> {
        let line = timeout(time, self.stdout.next_line()).await.context("it is not fetched")??;
        Ok(line.context("it ended without a file")?.into())
    }
}

fn lines<R: AsyncRead>(stream: R) -> Lines<BufReader<R>> {
    BufReader::new(stream).lines()
}
