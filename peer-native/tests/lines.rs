//! `minibit` on slow lines: each host is a network namespace whose line the kernel slows down.

mod minibit;

use anyhow::ensure;
use minibit::{Minibit, Sample};
use std::{fs, time::Duration};
use tests::{
    network::{Network, Rates},
    tracker::TestTracker,
};
use tokio::time::Instant;
use tracker_ws::Config;

const PEERS: usize = 8;
const SIZE: usize = 8 << 20;
/// As a multiple of the ideal time. The headers of TCP, and what confirms what comes, take some 7 % of an uplink.
const LONGEST: f64 = 1.3;
/// Bytes per second.
const UP: f64 = 250_000.0;
const RATES: Rates = Rates { up: 2, down: 10 };

#[tokio::test(flavor = "multi_thread")]
async fn eight_on_slow_lines_have_a_file_in_hardly_more_time_than_they_take() -> anyhow::Result<()> {
    let Some(network) = Network::new(PEERS + 1, RATES)? else {
        eprintln!("not tried: network namespaces may not be made here");
        return Ok(());
    };
    let config = Config { host: network.bridge().to_string(), ..Config::default() };
    let tracker = TestTracker::start_with(config).await?;
    for block_size in [None, Some(1 << 20)] {
        let sample = Sample::new(SIZE)?;
        let path = sample.path.display().to_string();
        let mut share = vec!["share", &path];
        if block_size.is_some() {
            share.extend(["--block-size", "1MiB"]);
        }
        let folder = |peer: usize| sample.folder.path().join(peer.to_string());
        let _seed = Minibit::run_in(network.host(0), &tracker.http_url(), &folder(0), &share)?;
        let got = |peer| {
            Minibit::run_in(network.host(peer), &tracker.http_url(), &folder(peer), &["get", "sample.bin", "--stay"])
        };
        let begun = Instant::now();
        let mut peers = (1..=PEERS).map(got).collect::<anyhow::Result<Vec<_>>>()?;
        for peer in &mut peers {
            let path = peer.fetched_within(ideal(block_size) * 3).await?;
            ensure!(fs::read(path)? == sample.content, "that is another file");
        }
        let (took, ideal) = (begun.elapsed(), ideal(block_size));
        eprintln!("{took:.1?}, where {ideal:.1?} would be ideal");
        ensure!(took <= ideal.mul_f64(LONGEST), "it took {took:.1?}, where {ideal:.1?} would be ideal");
    }
    Ok(())
}

/// The time of one copy from the seed, and of the steps of whole blocks until each peer has something to give.
fn ideal(block_size: Option<u32>) -> Duration {
    let block_size = block_size.unwrap_or(16 << 10);
    let steps = (PEERS + 1).next_power_of_two().ilog2();
    Duration::from_secs_f64((SIZE as f64 + f64::from(steps) * f64::from(block_size)) / UP)
}
