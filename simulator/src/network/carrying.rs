//! The way of a message: its sender's line, the relay, its receiver's line.

use super::{Happening, Network, id_of, number_of};
use crate::{Behaviour, Fate, line::Next, relay::subject};
use peer_wasm::{Instant, swarm::Transmit};
use protocol::{PeerMessage, Subject};

/// From whom to whom a message goes, and over which of their connections: what is on its way when one breaks is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    pub(super) from: usize,
    pub(super) to: usize,
    connections: (u32, u32),
}

impl Network {
    /// Puts a message on its sender's line, or in the row of those that wait for it.
    pub(super) fn transmit(&mut self, from: usize, transmit: Transmit) {
        let way = self.way(from, number_of(transmit.to));
        let Some(node) = self.nodes[from].as_deref_mut() else { return };
        if node.behaviour == Behaviour::Quiet && matches!(transmit.message, PeerMessage::Have { .. }) {
            return;
        }
        let bytes = self.wire.len(&transmit.message);
        if let PeerMessage::Block { data, .. } = &transmit.message {
            node.record.overhead += bytes - data.len() as u64;
            node.line.wait(way, transmit.message, bytes);
            return;
        }
        node.record.overhead += bytes;
        let at_relay = node.line.send(bytes, self.now, &mut self.rng);
        let about = subject(&transmit.message);
        match self.relay.fate(from, about.kind, &mut self.rng) {
            Fate::Lost => {}
            Fate::Delivered => self.forward_small(way, transmit.message, bytes, at_relay),
            Fate::Refused => self.tell_refusal(way, about, at_relay),
        }
    }

    /// Puts the next data on a line if it is free, or plans to.
    pub(super) fn take_next_data(&mut self, number: usize) {
        let Some(node) = self.nodes[number].as_deref_mut() else { return };
        match node.line.next_data(self.now) {
            Next::Nothing => {}
            Next::At(when) => self.queue.plan(when, Happening::LineFree { of: number }),
            Next::Data(way, mut message, bytes) => {
                let at_relay = node.line.send(bytes, self.now, &mut self.rng);
                let PeerMessage::Block { data, .. } = &mut message else { return };
                let payload = data.len() as u64;
                node.record.sent += payload;
                let sent = Happening::Sent { by: number, connection: node.connection, payload };
                self.queue.plan(node.line.up_until(), sent);
                match node.behaviour {
                    Behaviour::Silent => return,
                    Behaviour::Corrupting => {
                        let mut corrupted = data.to_vec();
                        corrupted[0] ^= 1;
                        *data = corrupted.into();
                    }
                    Behaviour::Honest | Behaviour::DiskFull | Behaviour::Quiet => {}
                }
                self.queue.plan(at_relay, Happening::AtRelay { way, message, bytes });
            }
        }
    }

    pub(super) fn way(&self, from: usize, to: usize) -> Way {
        let connection = |number| self.node(number).map_or(0, |node| node.connection);
        Way { from, to, connections: (connection(from), connection(to)) }
    }

    /// Whether none of the two connections broke. What somebody sent who left is still delivered.
    pub(super) fn is_open(&self, way: Way) -> bool {
        let is =
            |number, connection| self.node(number).is_none_or(|node| node.connection == connection && !node.is_cut_off);
        is(way.from, way.connections.0) && is(way.to, way.connections.1)
    }

    /// Forwards data, or refuses it.
    pub(super) fn relay_data(&mut self, way: Way, message: PeerMessage, bytes: u64) {
        let about = subject(&message);
        let forwarded = self.relay.forward(bytes, self.now);
        match self.relay.fate(way.from, about.kind, &mut self.rng) {
            Fate::Lost => {}
            Fate::Delivered => {
                let when = match self.node_mut(way.to) {
                    Some(node) => node.line.receive(bytes, forwarded),
                    None => forwarded,
                };
                self.arrive_at(when, way, message);
            }
            Fate::Refused => {
                let Subject { tag: file, index, count, .. } = about;
                let reject = PeerMessage::Reject { file, index, count };
                let bytes = self.wire.len(&reject);
                self.forward_small(way, reject, bytes, self.now);
                self.tell_refusal(way, about, self.now);
            }
        }
    }

    /// Lets a small message that is at the relay arrive.
    fn forward_small(&mut self, way: Way, message: PeerMessage, bytes: u64, at_relay: Instant) {
        let now = self.now;
        let when = match self.node_mut(way.to) {
            Some(node) => node.line.receive_first(bytes, at_relay, now),
            None => at_relay,
        };
        self.arrive_at(when, way, message);
    }

    /// Lets a message arrive, if its receiver is here.
    fn arrive_at(&mut self, when: Instant, way: Way, message: PeerMessage) {
        if self.node(way.to).is_some() || self.mailboxes.contains_key(&way.to) {
            self.queue.plan(when, Happening::Arrival { way, message });
        }
    }

    fn tell_refusal(&mut self, way: Way, about: Subject, at_relay: Instant) {
        let latency = self.node(way.from).map_or_else(Default::default, |node| node.line.line.latency);
        self.queue.plan(at_relay + latency, Happening::Refusal { way, about });
    }

    pub(super) fn arrive(&mut self, way: Way, message: PeerMessage) {
        let Way { from, to, .. } = way;
        let payload = if let PeerMessage::Block { data, .. } = &message { data.len() } else { 0 };
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:?} {from} {to} {:?} {payload}", self.now, std::mem::discriminant(&message)));
        }
        if let Some(mailbox) = self.mailboxes.get_mut(&to) {
            return mailbox.push((from, message));
        }
        // Nothing comes of a peer after the tracker said that it is gone.
        let node = self.nodes.get_mut(to).and_then(Option::as_deref_mut);
        let Some(node) = node.filter(|node| !node.gone.contains(&from)) else { return };
        if matches!(message, PeerMessage::Unchoke { .. }) {
            node.record.first_unchoke.get_or_insert(self.now);
        }
        if payload == 0 {
            self.with(to, |swarm, now| swarm.handle_message(id_of(from), message, now));
            return;
        }
        let before = node.record.useful;
        if let PeerMessage::Block { index, count, .. } = &message
            && let Ok(span) = node.swarm.manifest().geometry().span(*index, *count)
        {
            node.note_arrival(span);
        }
        self.with(to, |swarm, now| swarm.handle_message(id_of(from), message, now));
        if let Some(node) = self.nodes[to].as_deref_mut() {
            let useful = node.record.useful - before;
            *node.record.received_from.entry(from).or_default() += useful;
            if let Some(giver) = self.node_mut(from) {
                giver.record.delivered += useful;
            }
        }
    }
}
