//! One test's world, and what is kept of it when the test fails.

use super::{Browser, Driver, Engine, Options};
use crate::{
    network::{Network, Rates},
    noise::noise,
    tracker::TestTracker,
};
use anyhow::{Context as _, Result, ensure};
use futures_util::FutureExt as _;
use std::{
    fmt::Write as _,
    fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tempfile::TempDir;
use tracker_ws::Config;

/// Browsers are heavy: a machine of two cores runs one test's worth of them at a time.
static TURN: Mutex<()> = Mutex::new(());

/// A file to share, and what it must be after saving.
#[derive(Debug)]
pub struct Sample {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A tracker, its page, and browsers.
#[derive(Debug)]
pub struct Lab {
    name: String,
    tracker: TestTracker,
    browsers: Vec<Arc<Browser>>,
    driver: Arc<Driver>,
    files: TempDir,
    /// Last: what runs on its hosts is ended before.
    network: Option<Network>,
}

/// Runs a test in a lab of its own, and ends everything afterwards, whatever became of it. `name` is where evidence of
/// a failure goes.
///
/// # Errors
/// As the test, or if the lab cannot be set up.
///
/// # Panics
/// As the test.
pub fn in_lab(name: &str, test: impl AsyncFnOnce(&mut Lab) -> Result<()>) -> Result<()> {
    run(name, None, test)
}

/// Runs a test in a lab whose browsers are on hosts of a network, with a tracker that all of them reach. Where no network may be
/// made it says so, and that is all.
///
/// # Errors
/// As above.
///
/// # Panics
/// As above.
pub fn in_network(
    name: &str,
    hosts: usize,
    rates: Rates,
    test: impl AsyncFnOnce(&mut Lab) -> Result<()>,
) -> Result<()> {
    match Network::new(hosts, rates)? {
        Some(network) => run(name, Some(network), test),
        None => {
            eprintln!("not tried: network namespaces may not be made here");
            Ok(())
        }
    }
}

fn run(name: &str, network: Option<Network>, test: impl AsyncFnOnce(&mut Lab) -> Result<()>) -> Result<()> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut lab = Lab::set_up(name, network).await?;
        let outcome = AssertUnwindSafe(test(&mut lab)).catch_unwind().await;
        if !matches!(outcome, Ok(Ok(()))) {
            lab.keep_evidence().await;
        }
        let closed = lab.close().await;
        match outcome {
            Ok(outcome) => outcome.and(closed),
            Err(panicked) => panic::resume_unwind(panicked),
        }
    })
}

/// The project's folder.
pub fn project_dir() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// The built page.
///
/// # Errors
/// If it has not been built.
pub fn page_dir() -> Result<PathBuf> {
    let page = project_dir().join("web/dist");
    ensure!(
        page.join("index.html").is_file(),
        "the page has not been built: run `cargo xtask test`, or `trunk build --release` before"
    );
    Ok(page)
}

impl Lab {
    async fn set_up(name: &str, network: Option<Network>) -> Result<Self> {
        let config = Config { page_dir: page_dir()?, ..Config::default() };
        let config = match &network {
            Some(network) => Config { host: network.bridge().to_string(), ..config },
            None => config,
        };
        Ok(Self {
            name: name.to_owned(),
            tracker: TestTracker::start_with(config).await?,
            browsers: Vec::new(),
            driver: Arc::new(Driver::start()?),
            files: tempfile::tempdir()?,
            network,
        })
    }

    /// Starts one more browser.
    ///
    /// # Errors
    /// If Chromium does not start.
    pub async fn browser(&mut self) -> Result<Arc<Browser>> {
        self.browser_with(Options::default()).await
    }

    /// Starts one more browser that is not the usual one.
    ///
    /// # Errors
    /// If Chromium does not start.
    pub async fn browser_with(&mut self, options: Options<'_>) -> Result<Arc<Browser>> {
        let browser = Browser::start(Arc::clone(&self.driver), options).await?;
        self.browsers.push(Arc::clone(&browser));
        Ok(browser)
    }

    /// Starts a browser on a host of the network.
    ///
    /// # Errors
    /// If it does not start, or there is no network.
    pub async fn browser_on(&mut self, host: usize, engine: Engine) -> Result<Arc<Browser>> {
        let driver = Driver::start_on(engine, self.network()?, host).await?;
        let browser = Browser::start(Arc::new(driver), Options::default()).await?;
        self.browsers.push(Arc::clone(&browser));
        Ok(browser)
    }

    /// The network.
    ///
    /// # Errors
    /// If there is none.
    pub fn network(&self) -> Result<&Network> {
        self.network.as_ref().context("this lab has no network")
    }

    /// The tracker.
    pub const fn tracker(&self) -> &TestTracker {
        &self.tracker
    }

    /// The page's address, with what follows it.
    pub fn url(&self, rest: &str) -> String {
        format!("{}{rest}", self.tracker.http_url())
    }

    /// One of the files in `tests/samples`.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn sample(&self, name: &str) -> Result<Sample> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Sample { name: name.to_owned(), path, bytes })
    }

    /// Makes a file of `megabytes` (of 10^6 bytes), different for each `seed`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn large_file(&self, name: &str, seed: u64, megabytes: usize) -> Result<Sample> {
        let path = self.files.path().join(name);
        let bytes = noise(seed, megabytes * 1_000_000);
        fs::write(&path, &bytes)?;
        Ok(Sample { name: name.to_owned(), path, bytes })
    }

    /// Prints what every tab shows and what the consoles say, and keeps a picture of each tab under `target/`.
    async fn keep_evidence(&self) {
        let folder = project_dir().join("target/browser-tests").join(&self.name);
        match self.evidence(&folder).await {
            Ok(report) => eprintln!("{report}\npictures are in {}", folder.display()),
            Err(error) => eprintln!("no evidence of the failure could be kept: {error:#}"),
        }
    }

    async fn evidence(&self, folder: &Path) -> Result<String> {
        fs::create_dir_all(folder)?;
        let mut report = String::new();
        for (number, browser) in self.browsers.iter().enumerate() {
            for (tab_number, tab) in browser.tabs().await?.iter().enumerate() {
                let name = format!("browser-{number}-tab-{tab_number}");
                let url: String = tab.evaluate("return location.href", vec![]).await?;
                writeln!(report, "--- {name}: {url}\n{}", tab.text().await?)?;
                fs::write(folder.join(format!("{name}.png")), tab.screenshot().await?)?;
            }
            for entry in browser.console().await? {
                writeln!(report, "--- console of browser {number}: {} {}", entry.level, entry.message)?;
            }
        }
        fs::write(folder.join("report.txt"), &report)?;
        Ok(report)
    }

    async fn close(self) -> Result<()> {
        // All of them, also when one fails.
        let mut closed = Ok(());
        for browser in &self.browsers {
            closed = closed.and(browser.quit().await);
        }
        closed.and(self.tracker.stop().await)
    }
}
