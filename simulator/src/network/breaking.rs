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
