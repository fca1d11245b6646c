//! What may pass from one peer to another.

use super::{
    Conn, ConnId, Refusal, Registry,
    open::OpenRequest,
    refusal,
    swarm::{Swarm, SwarmKey},
};
use protocol::{ErrorCode, FileTag, Kind, PeerId, Subject};

/// Where an envelope goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    /// Who sent it.
    pub(crate) from: PeerId,
    /// The receiver's connection.
    pub(crate) to: ConnId,
    /// Whether the receiver takes binary frames.
    pub(crate) binary: bool,
}

impl Registry {
    /// Where an envelope from `conn` to `to` goes, if it may pass. A request is open from then on, unless it could not be
    /// delivered, which [`Registry::withdraw`] is to be told. An answer closes its request, delivered or not.
    ///
    /// # Errors
    /// `not_registered`; `unknown_peer` if the receiver is no other peer of the sender's room; `not_introduced`;
    /// `not_requested`. An answer to somebody who left, or left the file, is not the sender's fault.
    pub(crate) fn relay(&mut self, conn: ConnId, to: PeerId, subject: &Subject) -> Result<Route, Refusal> {
        let Some(&Conn::Registered(from)) = self.conns.get(&conn) else {
            return Err(refusal(ErrorCode::NotRegistered, "register first"));
        };
        if let Some(answered) = OpenRequest::answered_by(subject, from) {
            let sender = self.peers.get_mut(&from).expect("a registered connection's peer is in the table");
            let was_asked = sender.owed > 0;
            sender.owed = sender.owed.saturating_sub(1);
            let blameless = |refused: Refusal| Refusal { is_blameless: was_asked, ..refused };
            let route = self.route(from, to).map_err(blameless)?;
            let is_open = self.peers.get_mut(&to).is_some_and(|receiver| receiver.open.answer(answered));
            let unasked = || blameless(refusal(ErrorCode::NotRequested, "this peer has not asked for that"));
            return is_open.then_some(route).ok_or_else(unasked);
        }
        let route = self.route(from, to)?;
        if subject.kind != Kind::GetManifest {
            let common = self.common_swarm(from, to, subject.tag).ok_or_else(|| {
                let message = "the two are not introduced in a swarm of this file: announce it, then ask for peers";
                refusal(ErrorCode::NotIntroduced, message)
            })?;
            if subject.kind == Kind::Signal && !common.may_signal(from, to) {
                return Err(refusal(ErrorCode::Busy, "enough was said of lines to this peer"));
            }
        }
        if let Some(request) = OpenRequest::made_by(subject, to) {
            if let Some(sender) = self.peers.get_mut(&from) {
                sender.open.open(request, self.limits.open_requests as usize);
            }
            if let Some(receiver) = self.peers.get_mut(&to) {
                receiver.owed = receiver.owed.saturating_add(1);
            }
        }
        Ok(route)
    }

    fn route(&self, from: PeerId, to: PeerId) -> Result<Route, Refusal> {
        let room = self.peers.get(&from).map(|sender| &sender.room);
        match self.peers.get(&to) {
            Some(receiver) if Some(&receiver.room) == room && to != from => {
                Ok(Route { from, to: receiver.conn, binary: receiver.binary })
            }
            _ => Err(refusal(ErrorCode::UnknownPeer, "no such peer is in this room")),
        }
    }

    /// Takes a request back that [`Registry::relay`] let pass and that could not be delivered; of any other message there
    /// is nothing to take back.
    pub(crate) fn withdraw(&mut self, from: PeerId, to: PeerId, subject: &Subject) {
        let Some(request) = OpenRequest::made_by(subject, to) else { return };
        if let Some(sender) = self.peers.get_mut(&from) {
            sender.open.answer(request);
        }
        if let Some(receiver) = self.peers.get_mut(&to) {
            receiver.owed = receiver.owed.saturating_sub(1);
        }
    }

    /// The sender's swarm of a file with this tag in which two peers of a room know each other.
    fn common_swarm(&mut self, from: PeerId, to: PeerId, tag: FileTag) -> Option<&mut Swarm> {
        let sender = self.peers.get(&from)?;
        let swarms = &mut self.rooms.get_mut(&sender.room)?.swarms;
        // Others may announce what they like under the tag, so only the sender's own files are gone through.
        let files = sender.files.range(tag.first_id()..).take_while(|(file, _)| file.tag() == tag);
        let knows = |key: &SwarmKey| swarms.get(key).is_some_and(|swarm| swarm.knows(from, to));
        let key = files.map(|(_, key)| *key).find(knows)?;
        swarms.get_mut(&key)
    }
}
