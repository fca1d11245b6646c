//! Lines that break and come back.

use super::{Happening, Network, id_of};
use peer_wasm::swarm::Swarm;
use std::time::Duration;

/// Round trips to the tracker until a peer whose line is back is known there again: TCP, the WebSocket, `register`.
const RECONNECTING: u32 = 3;

impl Network {
    /// Breaks a peer's line: what is on its way to and from it is lost, and those who know it are told that it left. It
    /// comes back when it is introduced again.
    pub fn break_line(&mut self, number: usize) {
        let now = self.now;
        let Some(node) = self.node_mut(number) else { return };
        node.hang_up(now);
        let others = std::mem::take(&mut node.introduced);
        self.with(number, Swarm::handle_line_lost);
        for other in others {
            if let Some(node) = self.node_mut(other) {
                node.introduced.remove(&number);
            }
            self.with(other, |swarm, now| swarm.handle_peer_left(id_of(number), now));
        }
    }

    /// Breaks a peer's line for so long, unless it is broken already. The peer notices at once. The tracker, whose pings
    /// take longer, notices when the peer connects and registers with its secret: until then it introduces the peer to
    /// others, and what they send to it is lost; then those who know it are told that it left, and it wants peers anew.
    pub fn interrupt(&mut self, number: usize, lasting: Duration) {
        let now = self.now;
        let Some(node) = self.node_mut(number).filter(|node| !node.is_cut_off) else { return };
        node.hang_up(now);
        node.is_cut_off = true;
        node.record.broken.push(now..now + lasting);
        let round_trip = node.line.line.latency * 2;
        self.queue.plan(now + lasting + round_trip * RECONNECTING, Happening::Return { of: number });
        self.with(number, Swarm::handle_line_lost);
    }

    /// A peer registers whose line was broken.
    pub(super) fn come_back(&mut self, number: usize) {
        let now = self.now;
        let Some(node) = self.node_mut(number) else { return };
        // Again, for what others sent meanwhile.
        node.hang_up(now);
        node.is_cut_off = false;
        node.announced = now;
        let others = std::mem::take(&mut node.introduced);
        // The tracker passes nothing of those who do not know it any more.
        node.gone.extend(&others);
        self.tell_departure(number, &others, Duration::ZERO);
        for other in others {
            if let Some(node) = self.node_mut(other) {
                node.introduced.remove(&number);
            }
        }
        self.wanting.push(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Behaviour, File, Line, check_stamps};
    use peer_wasm::swarm::Config;
    use protocol::Bitfield;

    #[test]
    fn the_tracker_notices_a_broken_line_when_its_peer_is_back() {
        let config = || Config { check: check_stamps, ..Config::default() };
        let line = Line::mbit(10, 40, Duration::from_millis(10));
        let mut network = Network::new(File::new(1 << 20, 16 << 10), 1);
        let seed = network.add(config(), Bitfield::full(64), line, Behaviour::Honest);
        let peer = network.add(config(), Bitfield::empty(64), line, Behaviour::Honest);
        network.introduce(seed, peer);
        let stored = |network: &Network| network.node(peer).map_or(0, |node| node.swarm.stored().count());
        let knows = |network: &Network, one: usize, other: usize| {
            network.node(one).is_some_and(|node| node.swarm.is_neighbour(id_of(other)))
        };
        network.run_until(|network| stored(network) >= 8);

        let (broken, had) = (network.now(), stored(&network));
        network.interrupt(peer, Duration::from_secs(2));
        network.ask_for_peers(peer, 20);
        while network.step_before(broken + Duration::from_secs(2)) {}
        assert!(!knows(&network, peer, seed) && knows(&network, seed, peer));
        assert_eq!(stored(&network), had, "nothing comes over a broken line");

        // Three round trips to register, and on to those who know it.
        while network.step_before(broken + Duration::from_millis(2_075)) {}
        assert!(!knows(&network, seed, peer));
        assert!(network.take_wanting().contains(&peer));
        network.ask_for_peers(peer, 20);
        network.run_until(Network::all_complete);
        let lasted = broken..broken + Duration::from_secs(2);
        assert_eq!(network.node(peer).map(|node| node.record.broken.clone()), Some(vec![lasted]));
    }
}
