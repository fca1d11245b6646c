//! A small network in which everyone is introduced to everyone.

use crate::stranger::{Client, Habits};
use peer_wasm::swarm::Config;
use protocol::{Bitfield, PeerMessage};
use simulator::{Behaviour, File, Line, Network, id_of};
use std::{fmt::Write as _, time::Duration};

/// One way, from any peer to any other.
pub const LATENCY: Duration = Duration::from_millis(20);

pub struct Lab {
    pub network: Network,
    pub config: Config,
    /// Bytes per second that whoever joins next can send.
    pub uplink: u64,
    /// Peers that are no [`Swarm`](peer_wasm::swarm::Swarm).
    pub clients: Vec<Client>,
    /// To how many others the tracker introduces a peer that wants more; without, it is not asked.
    pub introductions: Option<usize>,
}

pub fn lab(file: File) -> Lab {
    Lab {
        network: Network::new(file, 1),
        config: Config::default(),
        uplink: 2_000_000,
        clients: Vec::new(),
        introductions: None,
    }
}

/// One seed, number 0, and `leechers` peers that have nothing.
pub fn swarm_of(leechers: usize, blocks: u32, config: &Config) -> Lab {
    swarm_with(File::new(u64::from(blocks * super::BLOCK) - 1_000, super::BLOCK), leechers, config)
}

/// The same, of this file.
pub fn swarm_with(file: File, leechers: usize, config: &Config) -> Lab {
    let mut lab = lab(file);
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

    /// Adds a client of another author, which meets everyone; tells its number.
    pub fn client(&mut self, has: Bitfield, habits: Habits) -> usize {
        let mut client = Client::new(&mut self.network, has, habits);
        let number = client.number;
        let others: Vec<_> = self.network.nodes().map(|(other, _)| other).collect();
        others.into_iter().for_each(|other| client.meet(other, &mut self.network));
        self.clients.push(client);
        number
    }

    /// A peer's line breaks, and it comes back under its id at once.
    pub fn break_line(&mut self, number: usize) {
        if self.network.node(number).is_some() {
            self.network.break_line(number);
            self.introduce_to_all(number);
        }
    }

    /// A peer leaves; tells what it had.
    pub fn leave(&mut self, number: usize) -> Option<Bitfield> {
        self.clients.iter_mut().for_each(|client| client.forget(number));
        Some(self.network.remove(number, Duration::ZERO)?.swarm.stored().clone())
    }

    /// A peer leaves, and comes back under a new id with what it has; tells its number.
    pub fn come_back_as_another(&mut self, number: usize) -> usize {
        let had = self.leave(number).unwrap();
        self.add(had)
    }

    /// Whether everyone has every block, clients that do as they should included.
    pub fn all_complete(&self) -> bool {
        self.network.all_complete() && self.clients.iter().all(|client| client.has.is_full())
    }

    pub fn run_until_complete(&mut self) {
        self.run_until(Self::all_complete);
    }

    /// Runs until the condition holds; fails if nothing happens any more, or after an hour of virtual time.
    pub fn run_until(&mut self, condition: impl Fn(&Self) -> bool) {
        while !condition(self) {
            assert!(self.step(), "stalled at {:?}", self.elapsed());
            assert!(self.elapsed() < Duration::from_secs(3_600), "not done after an hour");
        }
    }

    /// Goes on to the next happening; `false` if there is none.
    pub fn step(&mut self) -> bool {
        let happened = self.network.step();
        self.follow();
        happened
    }

    /// Goes on until nothing happens any more.
    pub fn settle(&mut self) {
        while self.step() {}
    }

    pub fn settle_for(&mut self, time: Duration) {
        let until = self.network.now() + time;
        while self.network.step_before(until) {
            self.follow();
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.network.now().since_start()
    }

    /// How everyone stands, to be read when a test fails.
    pub fn told(&self) -> String {
        let now = self.network.now();
        let mut told = format!("{:?}\n", self.elapsed());
        for (number, node) in self.network.nodes() {
            let swarm = &node.swarm;
            let (stored, want, behaviour) = (swarm.stored().count(), swarm.want(now), node.behaviour);
            _ = writeln!(told, "{number} {:?}: {stored} blocks, {behaviour:?}, wants {want:?}", id_of(number));
            swarm.neighbours(now).for_each(|other| _ = writeln!(told, "    {other:?}"));
        }
        self.clients.iter().for_each(|client| _ = writeln!(told, "{:?} {client:?}", id_of(client.number)));
        told
    }

    pub fn blocks(&self) -> u32 {
        self.network.file().manifest.geometry().blocks()
    }

    /// What clients and the tracker do after something happened.
    fn follow(&mut self) {
        self.clients.iter_mut().for_each(|client| client.turn(&mut self.network));
        if let Some(count) = self.introductions {
            let wanting = self.network.take_wanting();
            wanting.into_iter().for_each(|number| self.network.ask_for_peers(number, count));
        }
    }

    pub fn introduce_to_all(&mut self, number: usize) {
        let others: Vec<_> = self.network.nodes().map(|(other, _)| other).filter(|&other| other != number).collect();
        others.into_iter().for_each(|other| self.network.introduce(number, other));
        self.clients.iter_mut().for_each(|client| client.meet(number, &mut self.network));
    }
}
