//! Peers for those who look for some.

use super::{Output, Peer, Refusal, Registry, refusal};
use protocol::{ErrorCode, FileId, PeerId, PeerInfo, Response};
use rand::RngExt as _;

impl Registry {
    /// Chooses peers of a swarm for `asker`, and tells them of it if it is a member too.
    pub(super) fn introduce(&mut self, asker: PeerId, file: FileId, limit: u32, out: &mut Vec<Output>) -> Vec<PeerInfo> {
        let limit = limit.min(self.limits.peers_per_answer) as usize;
        let Some(peer) = self.peers.get(&asker) else { return Vec::new() };
        let Some(swarm) = self.rooms.get_mut(&peer.room).and_then(|room| room.swarms.get_mut(&file)) else {
            return Vec::new();
        };
        let chosen = swarm.choose(asker, limit, &mut self.rng);
        let newcomer = describe(asker, peer, swarm.blocks_of(asker));
        let mut infos = Vec::with_capacity(chosen.len());
        for id in chosen {
            let Some(other) = self.peers.get(&id) else { continue };
            if swarm.introduce(asker, id) {
                let response = Response::PeerJoined { file, peer: newcomer.clone() };
                out.push(Output::Send { to: other.conn, seq: None, response });
            }
            infos.push(describe(id, other, swarm.blocks_of(id)));
        }
        infos
    }

    pub(super) fn who_has(&mut self, id: PeerId, file: FileId, block: Option<u32>) -> Result<Response, Refusal> {
        let start = self.rng.random();
        let limit = self.limits.peers_per_answer as usize;
        let (_, room) = self.place(id);
        let mut peers = Vec::new();
        if let Some(swarm) = room.swarms.get(&file) {
            if let Some(index) = block {
                let outside = |_| refusal(ErrorCode::OutOfRange, format!("the file has no block {index}"));
                swarm.geometry().run(index, 1).map_err(outside)?;
            }
            let holders = swarm.holders(block, start).filter(|holder| *holder != id).take(limit);
            let found: Vec<_> = holders.map(|holder| (holder, swarm.blocks_of(holder))).collect();
            let known = |(id, blocks)| self.peers.get(&id).map(|peer| describe(id, peer, blocks));
            peers = found.into_iter().filter_map(known).collect();
        }
        Ok(Response::Holders { file, block, peers })
    }
}

fn describe(id: PeerId, peer: &Peer, blocks: u32) -> PeerInfo {
    PeerInfo { id, name: peer.name.clone(), binary: peer.binary, blocks }
}
