//! How fast real browser tabs are, as a part of what is possible: `cargo xtask bench tabs`.
//!
//! **The page.** One tab shares a file; one, or three, other tabs of the same browser press Download. Measured from
//! the press to the moment when the last of them offers Save, that is with everything in between: asking the tracker,
//! the manifest, choosing peers and blocks, the relay, hashing, storing, and drawing the page.
//!
//! **The ceiling.** The same bytes, through the same tracker, between workers of the same browser that do nothing
//! else: one sends from a buffer that is always ready, one, or three, keep the same number of requests open, count
//! what comes and discard it. It speaks the real protocol with binary frames of 256 KiB, so nothing that uses the
//! relay from a browser can be faster by much; what the page falls short of it is what the page's own work costs.
//!
//! **Without direct lines.** The page once more, through a tracker that allows none (`--direct off`): tabs of one machine are
//! to lose nothing by them.
//!
//! Rates are bytes delivered to all fetching tabs together per second until the last is complete, in MB (10^6
//! bytes). CPU time is that of all processes of Chromium and of the tracker together, for each GB (10^9 bytes) delivered.
//! Each measurement has a fresh browser. Page and ceiling take turns, so that a slow minute of the machine
//! hits both, and the medians of all rounds are compared. The tracker is the release build in a process of its own.
//!
//! `cargo xtask bench tabs -- [megabytes] [rounds] [--miniature]`; the result is also written to
//! `target/bench/tabs.json`. On Linux only.
#![allow(clippy::print_stdout, reason = "a measurement speaks on standard output")]

mod ceiling;
mod page;

use anyhow::{Context as _, Result, ensure};
use futures_util::FutureExt as _;
use std::{
    env, fs,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::Arc,
};
use tests::{
    browser::{Browser, Driver, Options, page_dir},
    figures::{Figures, median},
    noise::noise,
    scale::{Scale, Scaled},
    server::Server,
};

/// How many tabs fetch, and what the figures call them.
const FETCHERS: [(usize, &str); 2] = [(1, "one_fetcher"), (3, "three_fetchers")];
/// The size of the file, unless it is said.
const MEGABYTES: Scaled<usize> = Scaled(200, 2);
/// How often everything is measured, unless it is said.
const ROUNDS: Scaled<usize> = Scaled(3, 1);

/// What every measurement needs.
struct Bench {
    tracker: Server,
    chromedriver: Arc<Driver>,
    /// The file to share, and its size.
    path: PathBuf,
    bytes: u64,
}

/// What a transfer took.
struct Took {
    seconds: f64,
    cpu_seconds: f64,
}

/// How fast a transfer was, and what it cost.
struct Rate {
    mb_s: f64,
    cpu_s_per_gb: f64,
}

/// The rates of all rounds, for one number of fetching tabs.
#[derive(Default)]
struct Rates {
    page: Vec<Rate>,
    ceiling: Vec<Rate>,
    /// Of the page, where the tracker allows no direct lines.
    relay_only: Vec<Rate>,
}

fn main() -> Result<()> {
    let scale = Scale::asked();
    let numbers = env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let numbers: Vec<usize> = numbers.map(|text| text.parse().context("a number")).collect::<Result<_>>()?;
    let megabytes = numbers.first().copied().unwrap_or_else(|| MEGABYTES.at(scale));
    let rounds = numbers.get(1).copied().unwrap_or_else(|| ROUNDS.at(scale));
    ensure!(megabytes > 0 && rounds > 0, "there is nothing to measure");
    page_dir()?;

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("bench.bin");
    let bytes = noise(1, megabytes * 1_000_000);
    fs::write(&path, &bytes)?;
    let bytes = bytes.len() as u64;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rates = runtime.block_on(async {
        let chromedriver = Arc::new(Driver::start()?);
        let bench = |flags: &[&str]| -> Result<Bench> {
            let (tracker, chromedriver) = (Server::tracker(scale, flags)?, Arc::clone(&chromedriver));
            Ok(Bench { tracker, chromedriver, path: path.clone(), bytes })
        };
        bench(&[])?.measure(&bench(&["--direct", "off"])?, rounds).await
    })?;
    println!("\n{megabytes} MB, medians of {rounds} rounds, all fetching tabs together:\n");
    println!("written to {}", report(&rates).write(scale, "tabs")?);
    Ok(())
}

impl Bench {
    async fn measure(&self, relay_only: &Self, rounds: usize) -> Result<[Rates; FETCHERS.len()]> {
        let mut rates: [Rates; FETCHERS.len()] = Default::default();
        for round in 1..=rounds {
            for ((fetchers, _), rates) in FETCHERS.into_iter().zip(&mut rates) {
                let ceiling = self.in_fresh_browser(async |browser| ceiling::measure(self, browser, fetchers).await);
                rates.ceiling.push(self.rate(fetchers, ceiling.await.context("the ceiling")?));
                rates.page.push(self.page(fetchers).await.context("the page")?);
                rates.relay_only.push(relay_only.page(fetchers).await.context("the page without direct lines")?);
                let shown = |rates: &[Rate]| rates.last().map(Rate::shown).unwrap_or_default();
                println!(
                    "round {round} of {rounds}, {fetchers} fetching: page {}, ceiling {}",
                    shown(&rates.page),
                    shown(&rates.ceiling)
                );
            }
        }
        Ok(rates)
    }

    async fn page(&self, fetchers: usize) -> Result<Rate> {
        let page = self.in_fresh_browser(async |browser| page::measure(self, browser, fetchers).await);
        Ok(self.rate(fetchers, page.await?))
    }

    async fn in_fresh_browser(&self, measurement: impl AsyncFnOnce(&Arc<Browser>) -> Result<Took>) -> Result<Took> {
        let browser = Browser::start(Arc::clone(&self.chromedriver), Options::default()).await?;
        let outcome = AssertUnwindSafe(measurement(&browser)).catch_unwind().await;
        let closed = browser.quit().await;
        let outcome = outcome.unwrap_or_else(|panicked| panic::resume_unwind(panicked))?;
        closed?;
        Ok(outcome)
    }

    /// Seconds of CPU time that Chromium and the tracker have used so far.
    fn cpu_seconds(&self) -> Result<f64> {
        Ok(self.chromedriver.browsers_cpu_seconds()? + self.tracker.cpu_seconds()?)
    }

    /// The rate, when every one of `fetchers` had the whole file after that.
    fn rate(&self, fetchers: usize, took: Took) -> Rate {
        let bytes = self.bytes as f64 * fetchers as f64;
        Rate { mb_s: bytes / 1e6 / took.seconds, cpu_s_per_gb: took.cpu_seconds / (bytes / 1e9) }
    }
}

impl Rate {
    fn shown(&self) -> String {
        format!("{:.1} MB/s at {:.1} CPU-s per GB", self.mb_s, self.cpu_s_per_gb)
    }

    fn median(rates: &[Self]) -> Self {
        Self {
            mb_s: median(rates.iter().map(|rate| rate.mb_s)),
            cpu_s_per_gb: median(rates.iter().map(|rate| rate.cpu_s_per_gb)),
        }
    }
}

/// Prints the table and gives the figures for programs.
fn report(rates: &[Rates; FETCHERS.len()]) -> Figures {
    let mut figures = Figures::default();
    println!("| tabs | page | bare transfer | page / bare | page / page without direct lines |");
    println!("|---|---|---|---|---|");
    for ((fetchers, name), rates) in FETCHERS.into_iter().zip(rates) {
        let (page, ceiling) = (Rate::median(&rates.page), Rate::median(&rates.ceiling));
        let part = page.mb_s / ceiling.mb_s;
        let same = page.mb_s / Rate::median(&rates.relay_only).mb_s;
        println!("| 1 sharing, {fetchers} fetching | {} | {} | {part:.2} | {same:.2} |", page.shown(), ceiling.shown());
        figures.add(&format!("{name}_over_ceiling"), part);
        figures.add(&format!("{name}_over_relay_only"), same);
        for (name, rate) in [(name.to_owned(), page), (format!("{name}_ceiling"), ceiling)] {
            figures.add(&format!("{name}_mb_s"), rate.mb_s);
            figures.add(&format!("{name}_cpu_s_per_gb"), rate.cpu_s_per_gb);
        }
    }
    figures
}
