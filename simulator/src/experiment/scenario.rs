//! The description of a swarm.

use crate::{Behaviour, File, check_stamps};
use peer_wasm::swarm::Config;
use protocol::BlockSize;
use std::time::Duration;

/// A swarm: one seed, which has the file, and peers that fetch it.
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
    /// Bytes per second from the seed to the relay.
    pub seed_up: u64,
    /// From one peer to another, on average. Each peer's leg is half of it, give or take a quarter of the jitter, drawn
    /// once.
    pub latency: Duration,
    /// The most by which a message takes longer or shorter than `latency`: a quarter is in each of the two legs, and
    /// half is drawn for each message.
    pub jitter: Duration,
    /// Bytes per second through the relay.
    pub relay: Option<u64>,
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
    /// The seed leaves when it has sent this many times the file's bytes.
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
            seed_up: mbit(10),
            latency: Duration::from_millis(25),
            jitter: Duration::from_millis(10),
            relay: None,
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

    /// The file that is shared; runs may share it too.
    pub fn file(&self) -> File {
        File::new(self.size, self.block_size().bytes())
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
