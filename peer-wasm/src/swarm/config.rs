//! What a swarm may be told to do differently. Strategies are values, so that they can be compared on one swarm.

use protocol::{Manifest, Run};
use std::time::Duration;

/// The time between two rounds in BitTorrent, which is made for downloads of hours.
const CLASSIC_ROUND: Duration = Duration::from_secs(10);

/// The settings of one swarm.
#[derive(Debug, Clone)]
pub struct Config {
    /// How blocks are chosen.
    pub block_strategy: BlockStrategy,
    /// How the peers to serve are chosen.
    pub peer_strategy: PeerStrategy,
    /// Peers served because the strategy ranks them first.
    pub fixed_slots: usize,
    /// Peers served on trial.
    pub trial_slots: usize,
    /// Time between two rounds of choosing whom to serve.
    pub choke_round: Duration,
    /// Rounds after which another peer is served on trial.
    pub optimistic_rounds: u32,
    /// The most neighbours at a time.
    pub max_neighbours: usize,
    /// The most bytes requested and not yet received, over all neighbours. This bounds the memory of a peer, because
    /// browsers give no back-pressure on what they receive.
    pub max_in_flight: u64,
    /// The most bytes requested of one neighbour.
    pub max_window: u64,
    /// The most bytes in one request.
    pub max_run: u32,
    /// The most bytes on their way from the storage to the wire, however fast it is, but for those on lines that stand still.
    pub upload_budget: u64,
    /// How long new blocks that are not rare wait to be announced together.
    pub have_delay: Duration,
    /// Tells which blocks of a run the bytes really hold. Every peer hashes them; only a simulation, whose peers would
    /// hash the same bytes a thousand times, checks them in another way.
    pub check: fn(&Manifest, Run, &[u8]) -> Vec<bool>,
}

/// How blocks are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockStrategy {
    /// Those that the fewest neighbours have; ties at random.
    RarestFirst,
    /// Any, with equal chance.
    Random,
    /// In order inside a window that begins at the first missing block, for playing while loading; rarest first
    /// where the neighbour has none of the window.
    Sequential {
        /// Blocks in the window.
        window: u32,
    },
}

/// How the peers to serve are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerStrategy {
    /// Those that gave most (tit-for-tat; Cohen 2003). A peer that needs nothing serves everyone in turn.
    Reciprocal,
    /// Those that hold the rarest blocks; the peer on trial is promoted when it beats the weakest.
    RareBlocks,
    /// Any, with equal chance.
    Random,
}

impl Config {
    /// Every pair of strategies as they are known, with 4 + 1 places in rounds of 10 s, and a name to show.
    pub fn presets() -> Vec<(String, Self)> {
        let blocks = [
            ("rarest first", BlockStrategy::RarestFirst),
            ("random", BlockStrategy::Random),
            ("sequential", BlockStrategy::Sequential { window: 16 }),
        ];
        let peers = [
            ("reciprocal", PeerStrategy::Reciprocal),
            ("rare blocks", PeerStrategy::RareBlocks),
            ("random", PeerStrategy::Random),
        ];
        let pair = |(block_name, block_strategy)| {
            peers.map(|(peer_name, peer_strategy)| {
                let config = Self { block_strategy, peer_strategy, choke_round: CLASSIC_ROUND, ..Self::default() };
                (format!("{block_name} blocks, {peer_name} peers"), config)
            })
        };
        blocks.into_iter().flat_map(pair).collect()
    }
}

impl Default for Config {
    /// Rarest first, tit-for-tat with 4 + 1 places in rounds of 2 s: a file of 64 MiB is there within the first rounds of
    /// BitTorrent's 10 s.
    fn default() -> Self {
        Self {
            block_strategy: BlockStrategy::RarestFirst,
            peer_strategy: PeerStrategy::Reciprocal,
            fixed_slots: 4,
            trial_slots: 1,
            choke_round: Duration::from_secs(2),
            optimistic_rounds: 3,
            max_neighbours: 60,
            // Half of the queue that the tracker has for one receiver by default. Sixty slow neighbours with a block of
            // 256 KiB each on its way leave as much for the fast ones. A client divides it among its files.
            max_in_flight: 32 << 20,
            // A part of that: the fastest neighbour must not take the place of the one that has the rarest blocks.
            max_window: 8 << 20,
            // Tabs move 256 KiB frames fastest.
            max_run: 256 << 10,
            upload_budget: 2 << 20,
            have_delay: Duration::from_millis(500),
            check: Manifest::check_run,
        }
    }
}
