//! What the tracker says, and what it is asked.

use super::{
    Client, Output,
    link::{Action, Link},
    transfer::Transfer,
};
use crate::{
    Instant,
    page::{Connection, Problem, RoomFile, Update},
    swarm::Swarm,
};
use protocol::{
    ErrorCode, FileId, FileInfo, Identity, PROTOCOL_VERSION, ParseError, PeerInfo, Request, Response, RoomName,
    TrackerFrame, encode_request,
};
use std::collections::BTreeSet;
use tracing::{debug, info};

/// Peers asked for at once; the tracker may give fewer.
pub(super) const PEERS_WANTED: u32 = 20;

impl Client {
    pub(super) fn handle_frame(&mut self, frame: Result<TrackerFrame, ParseError>, now: Instant) {
        match frame {
            Ok(TrackerFrame::Response { seq, response }) => {
                self.handle_response(seq, response, now);
                self.settle(now);
            }
            Ok(TrackerFrame::Envelope { from, message }) => self.handle_envelope(from, message, now),
            // Another peer's nonsense costs nothing here; a newer tracker's words are not for us.
            Err(error) => debug!(%error, "ignored a frame"),
        }
    }

    fn handle_response(&mut self, seq: Option<u32>, response: Response, now: Instant) {
        match response {
            Response::Registered { identity, room, limits, stun, .. } => {
                self.stun = stun;
                self.rooms.set_queue(limits.queue_bytes.into());
                self.registered(identity, room);
            }
            Response::Announced { .. } => {
                let file = seq.and_then(|seq| self.announcements.remove(&seq));
                if let Some(transfer) = file.and_then(|file| self.transfers.get_mut(&file)) {
                    transfer.announced();
                }
            }
            Response::Peers { file, peers } => self.handle_peers(file, peers, true, now),
            Response::PeerJoined { file, peer } => self.handle_peers(file, vec![peer], false, now),
            Response::PeerLeft { file, peer } => self.handle_peer_left(file, peer, now),
            Response::Files { files } => self.handle_files(files),
            Response::Error { code, message, to, about } => {
                debug!(%code, message, ?about, "the tracker refused");
                match to {
                    Some(to) => self.handle_refused(code, to, about.as_ref(), now),
                    None => self.handle_error(seq, code, now),
                }
            }
            Response::Updated { .. } | Response::Holders { .. } | Response::Left { .. } | Response::Pong => {}
        }
    }

    fn registered(&mut self, identity: Identity, room: RoomName) {
        self.link.registered();
        let id = identity.id;
        info!(%id, %room, "registered");
        self.identity = Some(identity);
        self.update(Update::Connection { connection: Connection::Online { id, room } });
        self.request(None, &Request::ListFiles { watch: true });
        let files: Vec<_> = self.transfers.keys().copied().collect();
        for file in files {
            self.announce(file);
            self.ask_for_peers(file);
        }
    }

    fn handle_peers(&mut self, file: FileId, peers: Vec<PeerInfo>, were_asked_for: bool, now: Instant) {
        let own = self.identity.as_ref().map(|identity| identity.id);
        let Some(transfer) = self.transfers.get_mut(&file) else { return };
        let mut early = Vec::new();
        for peer in peers.into_iter().filter(|peer| Some(peer.id) != own) {
            self.lines.introduced(file, &peer, were_asked_for, now);
            early.extend(self.lines.take_early(peer.id, file).into_iter().map(|message| (peer.id, message)));
            transfer.peer_joined(peer, now);
        }
        self.tell_of_lines(file, now);
        for (peer, message) in early {
            self.hear(peer, message, true, now);
        }
        self.ask_for_manifest(file, now);
    }

    fn handle_files(&mut self, files: Vec<FileInfo>) {
        // Of a file there may be many swarms.
        let listed: BTreeSet<_> = files.iter().map(|info| info.facts.file).collect();
        for file in listed {
            if self.transfers.get(&file).is_some_and(Transfer::is_searching_in_vain) {
                self.ask_for_peers(file);
            }
        }
        for (file, transfer) in &mut self.transfers {
            let sources = files.iter().filter(|info| info.facts.file == *file && info.sources > 0);
            transfer.note_cuts(sources.map(|info| info.facts.clone()));
        }
        let files = files.into_iter().map(|FileInfo { facts, sources, peers }| RoomFile {
            file: facts.file,
            name: facts.name,
            size: facts.size,
            sources,
            peers,
        });
        self.update(Update::Room { files: files.collect() });
    }

    /// The tracker refused what it was asked.
    fn handle_error(&mut self, seq: Option<u32>, code: ErrorCode, now: Instant) {
        if let Some(file) = seq.and_then(|seq| self.announcements.remove(&seq)) {
            // What was shared or fetched in this room is not given up because it is full for a moment.
            let is_put_off = self.transfers.get_mut(&file).is_some_and(|transfer| transfer.refused(now));
            if !is_put_off {
                self.fail(file, Problem::Refused { code }, now);
            }
        } else if self.link.is_registering() {
            if code == ErrorCode::WrongSecret {
                self.identity = None;
                self.register();
            } else {
                self.update(Update::Problem { problem: Problem::Refused { code } });
            }
        }
    }

    pub(super) fn transfer_timeout(&mut self, file: FileId, now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&file) else { return };
        let due = transfer.timeout(now);
        let silent = transfer.swarm().into_iter().flat_map(Swarm::silent);
        silent.for_each(|(peer, since)| self.lines.found_silent(peer, since, now));
        if due.tell_tracker
            && let Some(blocks) = transfer.swarm().map(|swarm| swarm.stored().to_bytes())
        {
            // What nobody hears is told later.
            let direct = if self.link.is_online() { transfer.take_untold() } else { 0 };
            self.request(None, &Request::UpdateBlocks { file, blocks, direct });
        }
        if due.try_another_cut {
            return self.try_another_cut(file, now);
        }
        if due.announce {
            self.announce(file);
            self.ask_for_peers(file);
        }
        if due.ask_for_peers {
            self.ask_for_peers(file);
        }
        if due.ask_for_manifest {
            self.ask_for_manifest(file, now);
        }
    }

    pub(super) fn follow(&mut self, action: Action, now: Instant) {
        match action {
            Action::None => {}
            Action::Connect => self.connect(now),
            Action::Probe => _ = self.request(None, &Request::Ping),
            Action::Disconnect => {
                self.outputs.push_back(Output::Disconnect);
                self.handle_closed(None, now);
            }
        }
    }

    pub(super) fn connect(&mut self, now: Instant) {
        self.link = std::mem::replace(&mut self.link, Link::connecting(now)).reconnecting(now);
        self.update(Update::Connection { connection: Connection::Connecting });
        self.outputs.push_back(Output::Connect);
    }

    pub(super) fn register(&mut self) {
        let request = Request::Register {
            protocol: PROTOCOL_VERSION,
            room: self.config.room.clone(),
            name: self.config.name.clone(),
            binary: self.config.binary,
            direct: self.lines.kinds().clone(),
            resume: self.identity.clone(),
        };
        self.request(None, &request);
    }

    pub(super) fn announce(&mut self, file: FileId) {
        let Some(swarm) = self.transfers.get(&file).and_then(Transfer::swarm) else { return };
        let request = Request::Announce { facts: swarm.manifest().facts().clone(), blocks: swarm.stored().to_bytes() };
        self.last_seq = self.last_seq.wrapping_add(1);
        let seq = self.last_seq;
        if self.request(Some(seq), &request) {
            self.announcements.insert(seq, file);
        }
    }

    pub(super) fn ask_for_peers(&mut self, file: FileId) {
        self.request(None, &Request::GetPeers { file, limit: Some(PEERS_WANTED) });
    }

    /// Sends to the tracker; tells whether there is a line to send on.
    pub(super) fn request(&mut self, seq: Option<u32>, request: &Request) -> bool {
        let ready = self.link.is_online() || matches!(request, Request::Register { .. });
        if ready {
            self.outputs.push_back(Output::Send { frame: encode_request(seq, request), receipt: None });
        }
        ready
    }
}
