//! A small network in which everyone is introduced to everyone.

use peer_wasm::swarm::Config;
use protocol::{Bitfield, PeerMessage};
use simulator::{Behaviour, File, Line, Network, id_of};
use std::time::Duration;

/// One way, from any peer to any other.
pub const LATENCY: Duration = Duration::from_millis(20);

pub struct Lab {
    pub network: Network,
    pub config: Config,
    /// Bytes per second that whoever joins next can send.
    pub uplink: u64,
}

pub fn lab(file: File) -> Lab {
    Lab { network: Network::new(file, 1), config: Config::default(), uplink: 2_000_000 }
}

/// One seed, number 0, and `leechers` peers that have nothing.
pub fn swarm_of(leechers: usize, blocks: u32, config: &Config) -> Lab {
    let mut lab = lab(File::new(u64::from(blocks * super::BLOCK) - 1_000, super::BLOCK));
    lab.config = config.clone();
    lab.seed();
    (0..leechers).for_each(|_| _ = lab.leecher());
    lab
}

impl Lab {
    /// Adds a peer that has every block and meets everyone; tells its number.
    pub fn seed(&mut self) -> usize {
        let number = self.add(Bitfield::full(self.blocks()));
        self.introduce_to_all(number);
        number
    }

    /// Adds a peer that has nothing and meets everyone; tells its number.
    pub fn leecher(&mut self) -> usize {
        let number = self.add(Bitfield::empty(self.blocks()));
        self.introduce_to_all(number);
        number
    }

    /// Adds a peer that knows nobody.
    pub fn add(&mut self, have: Bitfield) -> usize {
        let line = Line { up: self.uplink, down: 1 << 40, latency: LATENCY / 2, jitter: Duration::ZERO };
        self.network.add(self.config.clone(), have, line, Behaviour::Honest)
    }

    /// Tells one peer of another that does not exist and wants something.
    pub fn pretend_to_join(&mut self, of: usize, other: usize) {
        self.network.with(of, |swarm, now| {
            swarm.handle_peer_joined(id_of(other), Duration::ZERO, now);
            swarm.handle_message(id_of(other), PeerMessage::Interested { file: swarm.tag() }, now);
        });
    }

    pub fn pretend_to_leave(&mut self, of: usize, other: usize) {
        self.network.with(of, |swarm, now| swarm.handle_peer_left(id_of(other), now));
    }

    pub fn run_until_complete(&mut self) {
        self.network.run_until(Network::all_complete);
    }

    /// Goes on until nothing happens any more.
    pub fn settle(&mut self) {
        while self.network.step() {}
    }

    pub fn settle_for(&mut self, time: Duration) {
        let until = self.network.now() + time;
        while self.network.step_before(until) {}
    }

    pub fn elapsed(&self) -> Duration {
        self.network.now().since_start()
    }

    fn blocks(&self) -> u32 {
        self.network.file().manifest.geometry().blocks()
    }

    fn introduce_to_all(&mut self, number: usize) {
        let others: Vec<_> = self.network.nodes().map(|(other, _)| other).filter(|&other| other != number).collect();
        others.into_iter().for_each(|other| self.network.introduce(number, other));
    }
}
