//! What a description may ask for, so that a run ends in minutes and fits into memory.

use super::{Arrivals, Breaks, Scenario};
use protocol::{Geometry, GeometryError};
use std::time::Duration;

/// The most seeds.
const MAX_SEEDS: usize = 100;
/// The most peers that fetch, all together.
const MAX_PEERS: usize = 20_000;
/// The most bytes of a file, which is kept in memory.
const MAX_SIZE: u64 = 4 << 30;
/// The most blocks that are delivered, of all peers together: about an hour's work.
const MAX_DELIVERIES: u64 = 400_000_000;
/// The least bytes per second of a line: 8 kbit/s.
const MIN_RATE: u64 = 1_000;
/// The most bytes per second of a line: 1 Tbit/s.
const MAX_RATE: u64 = 125_000_000_000;
/// The longest latency, and the longest time in which peers join: a week.
const MAX_LATENCY: Duration = Duration::from_secs(10);
const MAX_JOINING: Duration = Duration::from_secs(7 * 86_400);
/// The shortest time between two samples.
const MIN_SAMPLING: Duration = Duration::from_millis(1);
/// The most times that a line breaks.
const MAX_BREAKS: u32 = 1_000;
/// The most times its file that a seed may give before it leaves.
const MAX_COPIES: f64 = 1e6;

/// Why a description cannot be run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unusable {
    /// Nobody fetches.
    #[error("there must be at least one peer that fetches")]
    NoPeers,
    /// More peers than are simulated.
    #[error("{0} peers are too many: at most {MAX_PEERS}")]
    TooManyPeers(usize),
    /// Nobody has the file, or more than are simulated.
    #[error("{0} seeds are none or too many: from 1 to {MAX_SEEDS}")]
    Seeds(usize),
    /// There is no class of peers.
    #[error("there must be a class of peers")]
    NoClass,
    /// There is nothing to fetch.
    #[error("the file must have at least one byte")]
    EmptyFile,
    /// The file does not fit into memory.
    #[error("a file of {0} bytes is too large: at most {MAX_SIZE}")]
    FileTooLarge(u64),
    /// The file and the size of its blocks do not fit together.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// It would take too long.
    #[error("{0} blocks to deliver are too many: at most {MAX_DELIVERIES}; take fewer peers or larger blocks")]
    TooMuchWork(u64),
    /// A line or the relay is too slow or too fast.
    #[error("{what} of {bytes_per_second} bytes per second is out of range: from {MIN_RATE} to {MAX_RATE}")]
    Rate {
        /// Whose rate.
        what: &'static str,
        /// The rate.
        bytes_per_second: u64,
    },
    /// The latency is too long.
    #[error("a latency of {0:?} is too long: at most {MAX_LATENCY:?}")]
    Latency(Duration),
    /// A message cannot arrive before it was sent.
    #[error("the jitter may not be more than the latency")]
    Jitter,
    /// Peers join, leave or lose their lines over too long a time.
    #[error("{0:?} is too long for joining, leaving or being broken: at most {MAX_JOINING:?}")]
    Joining(Duration),
    /// A share is not between 0 and 1, or all of them together are more than everyone.
    #[error("{0} must be a share between 0 and 1")]
    Share(&'static str),
    /// More than all envelopes are refused.
    #[error("of a thousand envelopes, {0} cannot be refused")]
    Refused(u32),
    /// Lines break too often, or are broken at most for less than at least.
    #[error("lines may break at most {MAX_BREAKS} times, and the longest time is no shorter than the shortest")]
    Breaks,
    /// The seed's number of copies is no such number.
    #[error("the copies after which the seed leaves must be between 0 and {MAX_COPIES}")]
    Copies,
    /// Samples so close together would be most of the work.
    #[error("samples must be at least {MIN_SAMPLING:?} apart")]
    Sampling,
    /// Peers arrive at no rate.
    #[error("peers must arrive at a rate above 0 per second")]
    Arrivals,
}

impl Scenario {
    /// Tells whether this can be run.
    ///
    /// # Errors
    /// What is wrong first.
    pub fn check(&self) -> Result<(), Unusable> {
        self.check_lines()?;
        self.check_shares()?;
        self.check_troubles()?;
        if !(1..=MAX_SEEDS).contains(&self.seeds) {
            return Err(Unusable::Seeds(self.seeds));
        }
        if self.size == 0 {
            return Err(Unusable::EmptyFile);
        }
        if self.size > MAX_SIZE {
            return Err(Unusable::FileTooLarge(self.size));
        }
        let blocks = Geometry::new(self.size, self.block_size())?.blocks();
        let arriving = match self.arrivals {
            None => 0.0,
            Some(Arrivals { per_second, lasting }) if per_second > 0.0 && per_second.is_finite() => {
                per_second * lasting.as_secs_f64()
            }
            Some(_) => return Err(Unusable::Arrivals),
        };
        let newcomers = self.newcomers.map_or(0, |newcomers| newcomers.peers);
        let peers = self.peers.saturating_add(newcomers).saturating_add(arriving.ceil() as usize);
        if peers == 0 {
            return Err(Unusable::NoPeers);
        }
        if peers > MAX_PEERS {
            return Err(Unusable::TooManyPeers(peers));
        }
        let deliveries = peers as u64 * u64::from(blocks);
        if deliveries > MAX_DELIVERIES {
            return Err(Unusable::TooMuchWork(deliveries));
        }
        Ok(())
    }

    fn check_lines(&self) -> Result<(), Unusable> {
        let rates = [
            ("an uplink", self.up),
            ("a downlink", self.down),
            ("the seed's uplink", self.seed_up),
            ("a relay", self.relay.unwrap_or(MAX_RATE)),
        ];
        if self.classes.is_empty() {
            return Err(Unusable::NoClass);
        }
        let classes = (0..self.classes.len()).map(|class| self.rates_of(class));
        let classes = classes.flat_map(|(up, down)| [("an uplink of a class", up), ("a downlink of a class", down)]);
        for (what, bytes_per_second) in rates.into_iter().chain(classes) {
            if !(MIN_RATE..=MAX_RATE).contains(&bytes_per_second) {
                return Err(Unusable::Rate { what, bytes_per_second });
            }
        }
        if self.latency > MAX_LATENCY {
            return Err(Unusable::Latency(self.latency));
        }
        if self.jitter > self.latency {
            return Err(Unusable::Jitter);
        }
        if self.sample_every < MIN_SAMPLING {
            return Err(Unusable::Sampling);
        }
        let newcomers = self.newcomers.map_or(Duration::ZERO, |newcomers| newcomers.within);
        let arrivals = self.arrivals.map_or(Duration::ZERO, |arrivals| arrivals.lasting);
        let leaving = self.leaves_within.unwrap_or_default().max(self.noticed_after);
        let breaking = self.breaks.map_or(Duration::ZERO, |breaks| breaks.within.max(breaks.longest));
        let longest = self.joins_within.max(newcomers).max(arrivals).max(leaving).max(breaking);
        if longest > MAX_JOINING { Err(Unusable::Joining(longest)) } else { Ok(()) }
    }

    fn check_troubles(&self) -> Result<(), Unusable> {
        if self.refused > 1_000 {
            return Err(Unusable::Refused(self.refused));
        }
        let is_possible = |breaks: Breaks| breaks.most <= MAX_BREAKS && breaks.shortest <= breaks.longest;
        if self.breaks.is_none_or(is_possible) { Ok(()) } else { Err(Unusable::Breaks) }
    }

    fn check_shares(&self) -> Result<(), Unusable> {
        let shares = [
            ("leavers", self.leavers),
            ("free riders", self.free_riders),
            ("liars", self.liars),
            ("leavers, free riders and liars together", self.leavers + self.free_riders + self.liars),
            ("what must be complete", self.until),
            ("what newcomers wait for", self.newcomers.map_or(0.0, |newcomers| newcomers.when_held)),
        ];
        if let Some((what, _)) = shares.into_iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
            return Err(Unusable::Share(what));
        }
        let copies = self.seed_leaves_after.unwrap_or_default();
        if (0.0..=MAX_COPIES).contains(&copies) { Ok(()) } else { Err(Unusable::Copies) }
    }
}
