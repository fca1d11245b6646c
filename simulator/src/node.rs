//! One peer: the production core, its line, and what is noted of it.

use crate::{Disk, Line, line::BusyLine};
use peer_wasm::{
    Instant,
    swarm::{Event, Swarm},
};
use protocol::{Bitfield, Span};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// How a peer treats what its core decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Behaviour {
    /// Does it.
    #[default]
    Honest,
    /// Sends blocks with one bit wrong.
    Corrupting,
    /// Takes requests and never answers them.
    Silent,
    /// Cannot write to its disk.
    DiskFull,
    /// Tells nobody of the blocks that it gets.
    Quiet,
}

/// One peer.
#[derive(Debug)]
pub struct Node {
    /// The core.
    pub swarm: Swarm,
    /// How it treats what the core decides.
    pub behaviour: Behaviour,
    /// What it told, in order.
    pub events: Vec<Event>,
    /// What is noted of it.
    pub record: Record,
    /// Its storage.
    pub disk: Disk,
    pub(crate) line: BusyLine,
    /// How often its line broke or came back.
    pub(crate) connection: u32,
    /// Its line is broken, and the tracker has not noticed.
    pub(crate) is_cut_off: bool,
    /// When it announced itself to the tracker.
    pub(crate) announced: Instant,
    /// Those that the tracker told of it, and will tell when it leaves.
    pub(crate) introduced: BTreeSet<usize>,
    /// Those of whom the tracker said that they left.
    pub(crate) gone: BTreeSet<usize>,
    /// When it is to be woken.
    pub(crate) wake_at: Option<Instant>,
    /// The segments that came.
    pub(crate) came: Bitfield,
}

impl Node {
    pub(crate) fn new(swarm: Swarm, line: Line, behaviour: Behaviour, now: Instant) -> Self {
        let line = BusyLine::new(line, now);
        let came = Bitfield::empty(swarm.manifest().geometry().segments());
        let record = Record { joined: now, ..Record::default() };
        Self {
            swarm,
            behaviour,
            events: Vec::new(),
            record,
            disk: Disk::default(),
            line,
            connection: 0,
            is_cut_off: false,
            announced: now,
            introduced: BTreeSet::new(),
            gone: BTreeSet::new(),
            wake_at: None,
            came,
        }
    }

    /// Notes payload that came.
    pub(crate) fn note_arrival(&mut self, span: Span) {
        let geometry = self.swarm.manifest().geometry();
        let came = &mut self.came;
        let again = span.segments().filter(|segment| !came.set(*segment));
        let again = again.filter_map(|segment| geometry.span(segment, 1).ok());
        self.record.repeated += again.map(|segment| geometry.span_len(segment)).sum::<u64>();
        self.record.received += geometry.span_len(span);
    }

    /// Its line breaks, and what waits for it is lost.
    pub(crate) fn hang_up(&mut self, now: Instant) {
        self.line = BusyLine::new(self.line.line, now);
        self.connection += 1;
    }
}

/// What is noted of a peer.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// When it joined.
    pub joined: Instant,
    /// When it had every block.
    pub completed: Option<Instant>,
    /// When it was told first that somebody serves it.
    pub first_unchoke: Option<Instant>,
    /// Payload bytes that left on its line.
    pub sent: u64,
    /// Payload bytes that arrived.
    pub received: u64,
    /// Payload bytes that arrived and were stored.
    pub useful: u64,
    /// Payload bytes that arrived although they had come before.
    pub repeated: u64,
    /// Payload bytes of its own that others stored.
    pub delivered: u64,
    /// All other bytes that left on its line.
    pub overhead: u64,
    /// When its line was broken.
    pub broken: Vec<Range<Instant>>,
    /// Useful payload bytes from each other peer.
    pub received_from: BTreeMap<usize, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{File, Network, check_stamps};
    use peer_wasm::swarm::Config;
    use std::time::Duration;

    #[test]
    fn what_came_before_is_counted_apart_when_it_comes_again() {
        let mut network = Network::new(File::new((48 << 10) + 100, 16 << 10), 1);
        let config = Config { check: check_stamps, ..Config::default() };
        let line = Line::mbit(10, 40, Duration::from_millis(10));
        let peer = network.add(config, Bitfield::empty(4), line, Behaviour::Honest);
        let node = network.node_mut(peer).expect("it was added");
        let geometry = *node.swarm.manifest().geometry();
        let span = |index, count| geometry.span(index, count).expect("segments of the file");
        node.note_arrival(span(0, 2));
        assert_eq!((node.record.received, node.record.repeated), (32 << 10, 0));
        node.note_arrival(span(1, 2));
        assert_eq!((node.record.received, node.record.repeated), (64 << 10, 16 << 10));
        node.note_arrival(span(3, 1));
        node.note_arrival(span(2, 2));
        assert_eq!((node.record.received, node.record.repeated), ((80 << 10) + 200, (32 << 10) + 100));
    }
}
