//! Peers for those who look for some.

use super::{
    Output, Peer, Refusal, Registry, refusal,
    swarm::{Swarm, SwarmKey},
};
use crate::Direct;
use protocol::{ErrorCode, FileId, LineKind, PeerId, PeerInfo, Response};
use rand::{RngExt as _, seq::index};
use std::{collections::BTreeSet, time::Duration};

impl Registry {
    /// Chooses peers of the asker's own swarm, and tells them of it; of all swarms of the file if it is in none.
    pub(super) fn find(
        &mut self,
        asker: PeerId,
        file: FileId,
        limit: u32,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Vec<PeerInfo> {
        let limit = limit.min(self.limits.peers_per_answer) as usize;
        match self.swarm_of(asker, file) {
            Some(own) => self.introduce(asker, own, limit, now, out),
            None => self.survey(asker, file, limit, now),
        }
    }

    fn swarm_of(&self, id: PeerId, file: FileId) -> Option<SwarmKey> {
        self.peers.get(&id)?.files.get(&file).copied()
    }

    fn introduce(
        &mut self,
        asker: PeerId,
        own: SwarmKey,
        limit: usize,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Vec<PeerInfo> {
        let Some(peer) = self.peers.get(&asker) else { return Vec::new() };
        let Some(swarm) = self.rooms.get_mut(&peer.room).and_then(|room| room.swarms.get_mut(&own)) else {
            return Vec::new();
        };
        let chosen = swarm.choose(asker, limit, &mut self.rng);
        let newcomer = describe(asker, peer, swarm, now);
        let mut infos = Vec::with_capacity(chosen.len());
        for id in chosen {
            let Some(other) = self.peers.get(&id) else { continue };
            let direct = peer.lines_to(other, self.limits.direct);
            if swarm.introduce(asker, id) {
                let peer = PeerInfo { direct: direct.clone(), ..newcomer.clone() };
                let response = Response::PeerJoined { file: own.file, peer };
                out.push(Output::Send { to: other.conn, seq: None, response });
            }
            infos.push(PeerInfo { direct, ..describe(id, other, swarm, now) });
        }
        infos
    }

    /// Members of a file's swarms, one of each by turns, so that no opinion of the file hides another, however many have
    /// it.
    fn survey(&mut self, asker: PeerId, file: FileId, limit: usize, now: Duration) -> Vec<PeerInfo> {
        let Self { peers, rooms, rng, .. } = self;
        let Some(room) = peers.get(&asker).and_then(|peer| rooms.get(&peer.room)) else { return Vec::new() };
        let swarms: Vec<_> = room.swarms_of(file).collect();
        let drawn: Vec<_> = index::sample(rng, swarms.len(), limit.min(swarms.len()))
            .iter()
            .map(|place| (swarms[place], swarms[place].choose(asker, limit, rng)))
            .collect();
        (0..limit)
            .flat_map(|turn| drawn.iter().filter_map(move |(swarm, chosen)| Some((*swarm, *chosen.get(turn)?))))
            .take(limit)
            .filter_map(|(swarm, id)| Some(describe(id, peers.get(&id)?, swarm, now)))
            .collect()
    }

    /// Who has a file or a block of it: in the asker's own swarm, or in the one with the most sources if it is in none.
    pub(super) fn who_has(
        &mut self,
        id: PeerId,
        file: FileId,
        block: Option<u32>,
        now: Duration,
    ) -> Result<Response, Refusal> {
        let start = self.rng.random();
        let limit = self.limits.peers_per_answer as usize;
        let own = self.swarm_of(id, file);
        let room = self.peers.get(&id).and_then(|peer| self.rooms.get(&peer.room));
        let swarm = room.and_then(|room| match own {
            Some(own) => room.swarms.get(&own),
            None => room.swarms_of(file).max_by_key(|swarm| swarm.sources()),
        });
        let mut peers = Vec::new();
        if let Some(swarm) = swarm {
            if let Some(index) = block {
                let outside = |_| refusal(ErrorCode::OutOfRange, format!("the file has no block {index}"));
                swarm.geometry().run(index, 1).map_err(outside)?;
            }
            let holders = swarm.holders(block, start).filter(|holder| *holder != id).take(limit);
            let known = |holder| Some(describe(holder, self.peers.get(&holder)?, swarm, now));
            peers.extend(holders.filter_map(known));
        }
        Ok(Response::Holders { file, block, peers })
    }
}

impl Peer {
    /// The kinds of direct lines that two peers may try.
    fn lines_to(&self, other: &Self, direct: Direct) -> BTreeSet<LineKind> {
        let may = match direct {
            Direct::Near => self.address.is_near(other.address),
            Direct::Any => true,
            Direct::Off => false,
        };
        let may_try = |kind: &LineKind| match kind {
            LineKind::Tcp => may,
            // On one machine the relay takes a tenth of what encrypting and decrypting does.
            LineKind::WebRtc => may && !self.address.is_one_machine(other.address),
            // Each may mean another one by it.
            LineKind::Other => false,
        };
        self.direct.intersection(&other.direct).copied().filter(may_try).collect()
    }
}

fn describe(id: PeerId, peer: &Peer, swarm: &Swarm, now: Duration) -> PeerInfo {
    PeerInfo {
        id,
        name: peer.name.clone(),
        binary: peer.binary,
        blocks: swarm.blocks_of(id),
        age: swarm.age_of(id, now).as_secs().try_into().unwrap_or(u32::MAX),
        direct: BTreeSet::new(),
    }
}
