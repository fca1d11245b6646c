//! The description of a swarm.

use crate::{Behaviour, File, check_stamps};
use peer_wasm::swarm::Config;
use protocol::BlockSize;
use std::time::Duration;

/// A swarm: one seed or several, which have the file, and peers that fetch it.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Peers that fetch, without those that come later.
    pub peers: usize,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of a block; without it, what the protocol has for a file of this size.
    pub block_size: Option<BlockSize>,
    /// Bytes per second from a peer to the relay.
    pub up: u64,
    /// Bytes per second from the relay to a peer.
    pub down: u64,
    /// What the classes of peers have, as multiples of `up` and `down`; the peers are of each class by turns.
    pub classes: Vec<f64>,
    /// Peers that have the file from the beginning.
    pub seeds: usize,
    /// Bytes per second from a seed to the relay.
    pub seed_up: u64,
    /// From one peer to another, on average. Each peer's leg is half of it, give or take a quarter of the jitter, drawn
    /// once.
    pub latency: Duration,
    /// The most by which a message takes longer or shorter than `latency`: a quarter is in each of the two legs, and
    /// half is drawn for each message.
    pub jitter: Duration,
    /// Bytes per second through the relay.
    pub relay: Option<u64>,
    /// Of a thousand envelopes, small ones too, so many are refused as `busy`.
    pub refused: u32,
    /// How the lines break of `peers` and the seeds.
    pub breaks: Option<Breaks>,
    /// The peers join at random moments of this time.
    pub joins_within: Duration,
    /// Peers that come while the others are under way.
    pub newcomers: Option<Newcomers>,
    /// Peers that come all the time; the run then ends after [`Arrivals::lasting`].
    pub arrivals: Option<Arrivals>,
    /// The share of `peers` that leaves at random moments.
    pub leavers: f64,
    /// The time after its join within which a leaver leaves; without it, the fluid bound.
    pub leaves_within: Option<Duration>,
    /// How long after it left the others are told; nothing if it says goodbye.
    pub noticed_after: Duration,
    /// The share of `peers` that serves nobody.
    pub free_riders: f64,
    /// How many peers a free rider knows.
    pub view: View,
    /// The share of `peers` that behaves as `lie` says.
    pub liars: f64,
    /// What a liar does.
    pub lie: Behaviour,
    /// The seeds leave when they have sent this many times the file's bytes together.
    pub seed_leaves_after: Option<f64>,
    /// What peers do that have every block.
    pub afterwards: Afterwards,
    /// How many peers a peer asks the tracker for.
    pub asks_for: usize,
    /// The settings of every core; free riders have no places for anyone.
    pub config: Config,
    /// The run ends when this share of the contributors that stay is complete.
    pub until: f64,
    /// Time between two samples.
    pub sample_every: Duration,
    /// The run is given up after this time; without it, after ten times the fluid bound and a minute.
    pub gives_up_after: Option<Duration>,
}

/// How lines break and come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaks {
    /// Each line breaks from never to this many times, as often one as the other.
    pub most: u32,
    /// How long it is broken at least.
    pub shortest: Duration,
    /// How long it is broken at most.
    pub longest: Duration,
    /// It breaks at random moments of this time after its peer joined.
    pub within: Duration,
}

/// How many peers a free rider knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// As many as anyone.
    Normal,
    /// It asks the tracker for all: the large-view exploit (Sirivianos et al. 2007).
    Everyone,
}

/// What peers do that have every block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// They stay and serve.
    Stay,
    /// They leave, with notice, when others have stored this many more of their blocks; none is at once.
    LeaveAfter {
        /// Blocks stored by others after the completion.
        blocks: u32,
    },
}

/// Peers that join a swarm which is under way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Newcomers {
    /// How many.
    pub peers: usize,
    /// They begin to come when the peers that are here hold this share of all their blocks.
    pub when_held: f64,
    /// They join at random moments of this time.
    pub within: Duration,
}

/// Peers that come at random, independently of each other (a Poisson process).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrivals {
    /// Peers per second.
    pub per_second: f64,
    /// How long they come, and how long the run is.
    pub lasting: Duration,
}

/// Bytes per second of so many megabits (1,000,000 bits) per second.
pub const fn mbit(megabits: u64) -> u64 {
    megabits * 125_000
}

impl Default for Scenario {
    /// A thousand peers at homes: 64 MiB, 10 Mbit/s up and 40 down, 25 ms ± 10, all from the beginning.
    fn default() -> Self {
        Self {
            peers: 1_000,
            size: 64 << 20,
            block_size: None,
            up: mbit(10),
            down: mbit(40),
            classes: vec![1.0],
            seeds: 1,
            seed_up: mbit(10),
            latency: Duration::from_millis(25),
            jitter: Duration::from_millis(10),
            relay: None,
            refused: 0,
            breaks: None,
            joins_within: Duration::ZERO,
            newcomers: None,
            arrivals: None,
            leavers: 0.0,
            leaves_within: None,
            noticed_after: Duration::from_secs(10),
            free_riders: 0.0,
            view: View::Normal,
            liars: 0.0,
            lie: Behaviour::Corrupting,
            seed_leaves_after: None,
            afterwards: Afterwards::Stay,
            asks_for: 20,
            config: Config { check: check_stamps, ..Config::default() },
            until: 1.0,
            sample_every: Duration::from_secs(1),
            gives_up_after: None,
        }
    }
}

impl Scenario {
    /// Bytes of a block.
    pub fn block_size(&self) -> BlockSize {
        self.block_size.unwrap_or_else(|| BlockSize::for_file(self.size))
    }

    /// How many blocks the file has.
    pub fn blocks(&self) -> u64 {
        self.size.div_ceil(self.block_size().bytes().into())
    }

    /// The file that is shared; runs may share it too.
    pub fn file(&self) -> File {
        File::new(self.size, self.block_size().bytes())
    }

    /// Bytes per second up and down of the peer that joins after so many others.
    pub(super) fn rates_of(&self, others: usize) -> (u64, u64) {
        let class = self.classes[others % self.classes.len()];
        let part_of = |rate: u64| (rate as f64 * class).round() as u64;
        (part_of(self.up), part_of(self.down))
    }

    /// Bytes per second of a peer's uplink, on average.
    pub(super) fn mean_up(&self) -> f64 {
        let ups = (0..self.peers).map(|others| self.rates_of(others).0 as f64);
        if self.peers == 0 { self.up as f64 } else { ups.sum::<f64>() / self.peers as f64 }
    }

    /// Bytes per second of all seeds' uplinks.
    pub(super) const fn seeds_up(&self) -> u64 {
        self.seed_up * self.seeds as u64
    }

    /// How many of `peers` serve nobody.
    pub(super) fn rider_count(&self) -> usize {
        self.part(self.free_riders)
    }

    /// How many of `peers` lie.
    pub(super) fn liar_count(&self) -> usize {
        self.part(self.liars)
    }

    /// How many of `peers` leave.
    pub(super) fn leaver_count(&self) -> usize {
        self.part(self.leavers)
    }

    /// When a run is given up.
    pub(super) fn patience(&self) -> Duration {
        let lasting = self.arrivals.map_or(Duration::ZERO, |arrivals| arrivals.lasting);
        let usual = self.joins_within + lasting + self.fluid_bound() * 10 + Duration::from_secs(60);
        self.gives_up_after.unwrap_or(usual)
    }

    fn part(&self, share: f64) -> usize {
        (self.peers as f64 * share).round() as usize
    }
}
