//! The flags, and the scenario they describe.

use anyhow::Result;
use clap::{Parser, ValueEnum};
use peer_wasm::swarm::{BlockStrategy, Config, PeerStrategy};
use protocol::BlockSize;
use simulator::{
    Behaviour, check_stamps,
    experiment::{Afterwards, Scenario, View},
    units::{self, counted, shown_rate, shown_size, shown_time},
};
use std::{path::PathBuf, time::Duration};

/// Blocks in the window of `--blocks sequential`.
const WINDOW: u32 = 16;
/// Samples that the picture's curves have at least.
const SAMPLES: u32 = 100;

/// What describes a swarm, and therefore stands in no scenario's stead.
const DESCRIBING: [&str; 19] = [
    "peers",
    "file",
    "block",
    "up",
    "down",
    "seed_up",
    "relay",
    "latency",
    "jitter",
    "blocks",
    "choking",
    "joins_within",
    "churn",
    "noticed_after",
    "free_riders",
    "large_view",
    "liars",
    "seed_leaves_after",
    "dwell",
];

/// Runs one swarm in virtual time: one seed has a file, peers fetch it. Tells how it went, and draws it.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask sim --", version)]
pub(crate) struct Flags {
    /// The scenario with this number of those that `bench swarm -- anywhere` draws, or any number beyond; describes all
    /// that the other flags do.
    #[arg(long, value_name = "NUMBER", conflicts_with_all = DESCRIBING)]
    scenario: Option<u64>,
    /// How many peers fetch.
    #[arg(long, default_value_t = 60)]
    peers: usize,
    /// The file's size.
    #[arg(long, default_value = "64MiB", value_parser = units::size)]
    file: u64,
    /// A block's size, a power of two from 4KiB to 1MiB [default: what MiniBit takes for such a file].
    #[arg(long)]
    block: Option<BlockSize>,
    /// A peer's uplink.
    #[arg(long, default_value = "10Mbit/s", value_parser = units::rate)]
    up: u64,
    /// A peer's downlink.
    #[arg(long, default_value = "40Mbit/s", value_parser = units::rate)]
    down: u64,
    /// The seed's uplink [default: as a peer's].
    #[arg(long, value_parser = units::rate)]
    seed_up: Option<u64>,
    /// The most that the relay forwards [default: everything].
    #[arg(long, value_parser = units::rate)]
    relay: Option<u64>,
    /// From one peer to another.
    #[arg(long, default_value = "25ms", value_parser = units::time)]
    latency: Duration,
    /// The most by which a message is later or earlier [default: two fifths of the latency].
    #[arg(long, value_parser = units::time)]
    jitter: Option<Duration>,
    /// How blocks are chosen.
    #[arg(long, value_enum, default_value_t = Blocks::RarestFirst)]
    blocks: Blocks,
    /// How the peers to serve are chosen.
    #[arg(long, value_enum, default_value_t = Choking::Reciprocal)]
    choking: Choking,
    /// The peers join at random moments of this time.
    #[arg(long, default_value = "0s", value_parser = units::time)]
    joins_within: Duration,
    /// The share of peers that vanishes at random moments.
    #[arg(long, default_value = "0", value_parser = units::share)]
    churn: f64,
    /// How long after that the others are told.
    #[arg(long, default_value = "10s", value_parser = units::time)]
    noticed_after: Duration,
    /// The share of peers that serves nobody.
    #[arg(long, default_value = "0", value_parser = units::share)]
    free_riders: f64,
    /// Free riders ask the tracker for everyone.
    #[arg(long)]
    large_view: bool,
    /// The share of peers that sends wrong blocks.
    #[arg(long, default_value = "0", value_parser = units::share)]
    liars: f64,
    /// The seed leaves when it has sent this many copies of the file [default: it stays].
    #[arg(long)]
    seed_leaves_after: Option<f64>,
    /// A complete peer leaves when others have stored this many more of its blocks [default: it stays].
    #[arg(long)]
    dwell: Option<u32>,
    /// Another number is another crowd; the same number is the same run [default: 1, or the scenario's number].
    #[arg(long)]
    seed: Option<u64>,
    /// Where to put the picture, in SVG.
    #[arg(long, default_value = "target/sim.svg")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Blocks {
    /// Those that the fewest neighbours have.
    RarestFirst,
    /// Any.
    Random,
    /// In order, for playing while loading.
    Sequential,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Choking {
    /// Those that gave most (tit-for-tat).
    Reciprocal,
    /// Those that hold the rarest blocks.
    RareBlocks,
    /// Any.
    Random,
}

impl Flags {
    /// What they describe.
    ///
    /// # Errors
    /// If that cannot be run.
    pub(crate) fn scenario(&self) -> Result<Scenario> {
        if let Some(number) = self.scenario {
            return Ok(Scenario::anywhere(number));
        }
        let mut scenario = Scenario {
            peers: self.peers,
            size: self.file,
            block_size: self.block,
            up: self.up,
            down: self.down,
            seed_up: self.seed_up.unwrap_or(self.up),
            latency: self.latency,
            jitter: self.jitter.unwrap_or(self.latency * 2 / 5),
            relay: self.relay,
            joins_within: self.joins_within,
            leavers: self.churn,
            noticed_after: self.noticed_after,
            free_riders: self.free_riders,
            view: if self.large_view { View::Everyone } else { View::Normal },
            liars: self.liars,
            lie: Behaviour::Corrupting,
            seed_leaves_after: self.seed_leaves_after,
            afterwards: self.dwell.map_or(Afterwards::Stay, |blocks| Afterwards::LeaveAfter { blocks }),
            config: self.config(),
            ..Scenario::default()
        };
        scenario.check()?;
        let shortest = Duration::from_millis(10);
        scenario.sample_every = (scenario.fluid_bound() / SAMPLES).clamp(shortest, scenario.sample_every);
        Ok(scenario)
    }

    /// The seed of the run.
    pub(crate) fn seed(&self) -> u64 {
        self.seed.or(self.scenario).unwrap_or(1)
    }

    /// What the picture shows, in two lines.
    pub(crate) fn title(&self, scenario: &Scenario) -> [String; 2] {
        if let Some(number) = self.scenario {
            return [format!("Scenario {number}"), scenario.described()];
        }
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map_or_else(String::new, |value| value.get_name().to_owned())
        };
        let mut lines = format!(
            "{} up, {} down, seed {} up, {} ± {}; blocks {}, choking {}",
            shown_rate(scenario.up),
            shown_rate(scenario.down),
            shown_rate(scenario.seed_up),
            shown_time(scenario.latency),
            shown_time(scenario.jitter),
            name(self.blocks.to_possible_value()),
            name(self.choking.to_possible_value()),
        );
        for (share, what) in [(self.churn, "leave"), (self.free_riders, "ride free"), (self.liars, "lie")] {
            if share > 0.0 {
                lines += &format!("; {:.0} % {what}", share * 100.0);
            }
        }
        [format!("One seed, {}, {}", counted(scenario.peers as u64, "peer"), shown_size(scenario.size)), lines]
    }

    fn config(&self) -> Config {
        let block_strategy = match self.blocks {
            Blocks::RarestFirst => BlockStrategy::RarestFirst,
            Blocks::Random => BlockStrategy::Random,
            Blocks::Sequential => BlockStrategy::Sequential { window: WINDOW },
        };
        let peer_strategy = match self.choking {
            Choking::Reciprocal => PeerStrategy::Reciprocal,
            Choking::RareBlocks => PeerStrategy::RareBlocks,
            Choking::Random => PeerStrategy::Random,
        };
        Config { block_strategy, peer_strategy, check: check_stamps, ..Config::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with these flags, if anything.
    fn error_of(flags: &str) -> Option<String> {
        match Flags::try_parse_from(["sim"].into_iter().chain(flags.split_whitespace())) {
            Err(error) => Some(error.to_string()),
            Ok(flags) => flags.scenario().err().map(|error| error.to_string()),
        }
    }

    #[test]
    fn no_flags_describe_a_swarm() {
        assert_eq!(error_of(""), None);
    }

    #[test]
    fn a_number_describes_a_swarm() {
        assert_eq!(error_of("--scenario 1"), None);
        assert_eq!(error_of("--scenario 18446744073709551615 --seed 3 --output o.svg"), None);
        for flag in ["--peers 3", "--large-view", "--dwell 1", "--seed-up 1Mbit"] {
            let error = error_of(&format!("--scenario 1 {flag}")).expect("they describe two swarms");
            assert!(error.contains("cannot be used with"), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = [
            ("--peers 0", "at least one peer"),
            ("--peers 1000000", "at most 20000"),
            ("--peers -1", "-1"),
            ("--peers 18446744073709551615", "too many"),
            ("--file 0", "at least one byte"),
            ("--file 1TiB", "a size such as 64MiB"),
            ("--file 99999GiB", "too large"),
            ("--file 4GiB --block 4KiB", "more than 32768 blocks"),
            ("--peers 20000 --file 1GiB --block 32KiB", "fewer peers or larger blocks"),
            ("--block 5KiB", "power of two"),
            ("--block 8GiB", "from 4KiB to 1MiB"),
            ("--up 0", "an uplink of 0"),
            ("--down 0.001kbit", "a downlink of 0"),
            ("--relay 0", "a relay of 0"),
            ("--seed-up 99999999Gbit", "too much"),
            ("--latency 25", "25ms or 10s"),
            ("--latency 1min", "too long"),
            ("--latency 1ms --jitter 2ms", "jitter"),
            ("--joins-within 100000min", "too long"),
            ("--churn 2", "at most 1"),
            ("--churn 60% --free-riders 60%", "together"),
            ("--seed-leaves-after -1", "-1"),
            ("--seed-leaves-after 1e9", "copies"),
            ("--seed-leaves-after NaN", "copies"),
            ("--blocks backwards", "rarest-first"),
            ("--choking never", "rare-blocks"),
            ("--colour", "--colour"),
        ];
        for (flags, expected) in wrong {
            let error = error_of(flags).unwrap_or_else(|| panic!("{flags} should be refused"));
            assert!(error.contains(expected), "{flags}: {error}");
        }
    }
}
