//! `minibit` on slow lines: each host is a network namespace whose line the kernel slows down.

mod minibit;

use anyhow::{Context as _, ensure};
use minibit::{Minibit, Sample};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    process::Command,
    time::Duration,
};
use tests::tracker::TestTracker;
use tokio::time::Instant;
use tracker_ws::Config;

const PEERS: usize = 8;
const SIZE: usize = 8 << 20;
/// As a multiple of the ideal time. The headers of TCP, and what confirms what comes, take some 7 % of an uplink.
const LONGEST: f64 = 1.3;
/// Bytes per second.
const UP: f64 = 250_000.0;
const UP_RATE: &str = "2mbit";
const DOWN_RATE: &str = "10mbit";

#[tokio::test(flavor = "multi_thread")]
async fn eight_on_slow_lines_have_a_file_in_hardly_more_time_than_they_take() -> anyhow::Result<()> {
    let Some(network) = Network::new()? else {
        eprintln!("not tried: network namespaces may not be made here");
        return Ok(());
    };
    let config = Config { host: network.address(1).to_string(), ..Config::default() };
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

/// Hosts on a bridge. They are gone when this is dropped.
struct Network {
    name: String,
    subnet: u8,
}

impl Network {
    /// `None` if this may not be done here.
    fn new() -> anyhow::Result<Option<Self>> {
        let id = std::process::id();
        let network = Self { name: format!("mb{id}"), subnet: (id % 200) as u8 };
        if run(&format!("ip link add {} type bridge", network.name)).is_err() {
            return Ok(None);
        }
        run(&format!("ip address add {}/24 dev {}", network.address(1), network.name))?;
        run(&format!("ip link set {} up", network.name))?;
        for host in 0..=PEERS {
            let (name, line) = (network.host(host), network.line(host));
            if run(&format!("ip netns add {name}")).is_err() {
                return Ok(None);
            }
            run(&format!("ip link add {line} type veth peer name line netns {name}"))?;
            run(&format!("ip link set {line} master {} up", network.name))?;
            run(&format!("ip -n {name} address add {}/24 dev line", network.address(host as u8 + 2)))?;
            run(&format!("ip -n {name} link set line up"))?;
            run(&format!("tc -n {name} qdisc add dev line root tbf rate {UP_RATE} burst 16kb latency 200ms"))?;
            run(&format!("tc qdisc add dev {line} root tbf rate {DOWN_RATE} burst 16kb latency 200ms"))?;
        }
        Ok(Some(network))
    }

    fn address(&self, host: u8) -> IpAddr {
        Ipv4Addr::new(10, 77, self.subnet, host).into()
    }

    fn host(&self, number: usize) -> String {
        format!("{}h{number}", self.name)
    }

    fn line(&self, number: usize) -> String {
        format!("{}l{number}", self.name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What was not made cannot be removed.
        for host in 0..=PEERS {
            let _ = run(&format!("ip netns delete {}", self.host(host)));
        }
        let _ = run(&format!("ip link delete {}", self.name));
    }
}

fn run(command: &str) -> anyhow::Result<()> {
    let mut words = command.split(' ');
    let program = words.next().context("a command has a name")?;
    let output = Command::new(program).args(words).output().with_context(|| command.to_owned())?;
    ensure!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
