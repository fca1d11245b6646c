//! What a swarm may be told to do differently. Strategies are values, so that they can be compared on one swarm.

use std::time::Duration;

/// The settings of one swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How blocks are chosen.
    pub block_strategy: BlockStrategy,
    /// How the peers to serve are chosen.
    pub peer_strategy: PeerStrategy,
    /// Peers served because the strategy ranks them first.
    pub fixed_slots: usize,
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
    /// The most bytes on their way from the storage to the wire.
    pub upload_budget: u64,
    /// How long new blocks wait to be announced together.
    pub have_delay: Duration,
    /// A neighbour that delivers nothing for this long, beyond what its rate explains, is snubbed.
    pub snub_after: Duration,
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
    /// Every pair of strategies, with a name to show.
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
                let config = Self { block_strategy, peer_strategy, ..Self::default() };
                (format!("{block_name} blocks, {peer_name} peers"), config)
            })
        };
        blocks.into_iter().flat_map(pair).collect()
    }
}

impl Default for Config {
    /// Rarest first, tit-for-tat with 4 + 1 places in rounds of 10 s.
    fn default() -> Self {
        Self {
            block_strategy: BlockStrategy::RarestFirst,
            peer_strategy: PeerStrategy::Reciprocal,
            fixed_slots: 4,
            choke_round: Duration::from_secs(10),
            optimistic_rounds: 3,
            max_neighbours: 80,
            // Two downloads at a time in binary frames stay within the queue that the tracker has for one receiver.
            max_in_flight: 4 << 20,
            // Half of that: the fastest neighbour must not take the place of the one that has the rarest blocks.
            max_window: 2 << 20,
            // Tabs move 256 KiB frames fastest.
            max_run: 256 << 10,
            upload_budget: 2 << 20,
            have_delay: Duration::from_millis(100),
            snub_after: Duration::from_secs(4),
        }
    }
}
