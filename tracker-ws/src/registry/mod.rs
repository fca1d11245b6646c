//! Who is here, and who has what.
//!
//! The registry performs no IO: it does not read a clock or draw from a global random source. Each input
//! ([`Registry::connected`], [`Registry::handle`], [`Registry::disconnected`], [`Registry::handle_timeout`]) takes
//! the time since the tracker's start where it needs one, and pushes what follows from it to `out`, in order. After
//! any input, [`Registry::poll_timeout`] may have changed. No input fails or panics because of a remote.
//!
//! # Introductions
//!
//! Nobody is told of everybody. When a member of a swarm asks for peers, each peer in the answer is told of the asker
//! (`peer_joined`); the two know each other from then on. When one of them leaves the swarm, exactly those that knew
//! it are told (`peer_left`). So a join costs as many messages as peers were asked for, however large the swarm is.
//!
//! # Opinions
//!
//! What a file's size is, only its content proves, which the registry never sees. So those who announce a file with
//! another size or block size are another swarm of it: who claims something wrong keeps nobody from those who do not.
//! Who is in no swarm of the file yet, because it looks for somebody to ask for the manifest, is given peers of each.
//!
//! # Permission
//!
//! [`Registry::relay`] decides what may pass. Peers that know each other in a swarm may say what they like about its
//! file, except that an answer with data passes only while its receiver's request for it is open. Anybody in the room
//! may be asked for a manifest. So nobody gets data that it did not ask for, and whoever got data from a peer hears
//! when that peer leaves.

mod open;
mod permission;
mod room;
mod secrets;
mod seek;
mod swarm;
#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "a test fails on whatever it did not expect")]
mod tests;
mod views;

pub(crate) use permission::Route;
pub(crate) use secrets::Secrets;
pub(crate) use views::{RoomView, SIZE_CLASSES};

use crate::{Limits, address::AddressKey};
use open::OpenRequests;
use protocol::{
    Bitfield, BitfieldError, ErrorCode, FileFacts, FileId, Geometry, Identity, LineKind, PROTOCOL_VERSION, PeerId,
    PeerName, Request, Response, RoomName, Stun, close,
};
use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};
use room::Room;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use swarm::SwarmKey;

/// How many peers `get_peers` gives if it does not say.
const DEFAULT_PEERS: u32 = 5;

/// One connection, numbered by the tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnId(pub(crate) u64);

/// What follows from an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// One message to one connection.
    Send { to: ConnId, seq: Option<u32>, response: Response },
    /// The same message to many. It tells a state, so that a newer one may replace it as long as it is not sent.
    Update { to: Vec<ConnId>, response: Response },
    /// Closes a connection. The registry has forgotten it.
    Close { conn: ConnId, code: u16 },
}

/// How much there is of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Census {
    pub(crate) rooms: usize,
    pub(crate) peers: usize,
    pub(crate) files: usize,
    /// Bytes that went by direct lines, in the words of those who received them.
    pub(crate) told_direct_bytes: u64,
}

/// A request that is not granted, or an envelope that goes nowhere.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    /// Whether the sender could not know better.
    pub(crate) is_blameless: bool,
}

#[derive(Debug)]
enum Conn {
    Fresh { deadline: Duration, address: AddressKey },
    Registered(PeerId),
}

#[derive(Debug)]
struct Peer {
    conn: ConnId,
    room: RoomName,
    name: Option<PeerName>,
    binary: bool,
    /// Where it is, and the kinds of direct lines that it can have.
    address: AddressKey,
    direct: BTreeSet<LineKind>,
    /// The files that it announced, and which swarm of each it is in.
    files: BTreeMap<FileId, SwarmKey>,
    open: OpenRequests,
    /// Answers that others have asked of it, and that it has not given; also those that nobody waits for any longer.
    owed: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The connection must have registered.
    Register(ConnId),
    /// The room's list goes to its watchers.
    List(RoomName),
}

/// The state of the tracker.
#[derive(Debug)]
pub(crate) struct Registry {
    limits: Limits,
    /// Who answers STUN, which peers are told.
    stun: Stun,
    secrets: Secrets,
    rng: Xoshiro256PlusPlus,
    /// The connections that were not told to close.
    conns: BTreeMap<ConnId, Conn>,
    peers: BTreeMap<PeerId, Peer>,
    /// The rooms with a peer in them.
    rooms: BTreeMap<RoomName, Room>,
    timers: BTreeSet<(Duration, Timer)>,
    told_direct_bytes: u64,
}

impl Registry {
    /// An empty registry. Nobody who does not know what `secrets` holds can take an id that is not theirs, so `seed`
    /// needs to be different in each process but not secret.
    pub(crate) fn new(limits: Limits, secrets: Secrets, seed: u64) -> Self {
        Self {
            limits,
            stun: Stun::default(),
            secrets,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            conns: BTreeMap::new(),
            peers: BTreeMap::new(),
            rooms: BTreeMap::new(),
            timers: BTreeSet::new(),
            told_direct_bytes: 0,
        }
    }

    /// Has those who register from here on told who answers STUN.
    pub(crate) fn tell_stun(&mut self, stun: Stun) {
        self.stun = stun;
    }

    /// A connection was opened from this address.
    pub(crate) fn connected(&mut self, conn: ConnId, address: AddressKey, now: Duration) {
        let deadline = now + self.limits.register_timeout();
        self.conns.insert(conn, Conn::Fresh { deadline, address });
        self.timers.insert((deadline, Timer::Register(conn)));
    }

    /// A connection asks for something. One that was told to close is ignored.
    pub(crate) fn handle(
        &mut self,
        conn: ConnId,
        seq: Option<u32>,
        request: Request,
        now: Duration,
        out: &mut Vec<Output>,
    ) {
        let answer = match (self.conns.get(&conn), request) {
            (None, _) => return,
            (
                Some(&Conn::Fresh { deadline, address }),
                Request::Register { protocol, room, name, binary, direct, resume },
            ) => {
                let (files, open) = (BTreeMap::new(), OpenRequests::default());
                let peer = Peer { conn, room, name, binary, address, direct, files, open, owed: 0 };
                let answer = self.register(protocol, peer, resume, now, out);
                if answer.is_ok() {
                    self.timers.remove(&(deadline, Timer::Register(conn)));
                }
                answer
            }
            (Some(Conn::Fresh { .. }), _) => Err(refusal(ErrorCode::NotRegistered, "register first")),
            (Some(&Conn::Registered(id)), request) => self.handle_peer(id, request, now, out),
        };
        let response = answer.unwrap_or_else(|Refusal { code, message, .. }| Response::Error {
            code,
            message,
            to: None,
            about: None,
        });
        out.push(Output::Send { to: conn, seq, response });
    }

    /// A connection is gone, for whatever reason.
    pub(crate) fn disconnected(&mut self, conn: ConnId, now: Duration, out: &mut Vec<Output>) {
        match self.conns.remove(&conn) {
            Some(Conn::Registered(id)) => self.remove_peer(id, now, out),
            Some(Conn::Fresh { deadline, .. }) => {
                self.timers.remove(&(deadline, Timer::Register(conn)));
            }
            None => {}
        }
    }

    /// Takes a peer out and closes its connection, because whoever runs the tracker wants so; `false` if it is not here.
    /// Its id is as free as that of any peer that is gone: its owner may come back with the secret, or with a new id.
    pub(crate) fn remove(&mut self, id: PeerId, now: Duration, out: &mut Vec<Output>) -> bool {
        let Some(conn) = self.peers.get(&id).map(|peer| peer.conn) else { return false };
        self.disconnected(conn, now, out);
        out.push(Output::Close { conn, code: close::REMOVED });
        true
    }

    /// When to call [`Registry::handle_timeout`] next.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        self.timers.first().map(|(when, _)| *when)
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Duration, out: &mut Vec<Output>) {
        while let Some((when, timer)) = self.timers.pop_first() {
            if when > now {
                self.timers.insert((when, timer));
                return;
            }
            match timer {
                Timer::Register(conn) => {
                    self.conns.remove(&conn);
                    out.push(Output::Close { conn, code: close::REGISTER_TIMEOUT });
                }
                Timer::List(name) => {
                    if let Some(update) = self.rooms.get_mut(&name).and_then(|room| room.list_update(when, now)) {
                        out.push(update);
                    }
                }
            }
        }
    }

    /// How much there is of everything.
    pub(crate) fn census(&self) -> Census {
        let files = self.rooms.values().map(|room| room.swarms.len()).sum();
        let told_direct_bytes = self.told_direct_bytes;
        Census { rooms: self.rooms.len(), peers: self.peers.len(), files, told_direct_bytes }
    }

    fn register(
        &mut self,
        protocol: u32,
        peer: Peer,
        resume: Option<Identity>,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<Response, Refusal> {
        if protocol != PROTOCOL_VERSION {
            let message = format!("this tracker speaks version {PROTOCOL_VERSION}");
            return Err(refusal(ErrorCode::UnsupportedProtocol, message));
        }
        let resumed = resume.is_some();
        let id = match resume {
            Some(identity) if !self.secrets.fits(&identity) => {
                return Err(refusal(ErrorCode::WrongSecret, "register without `resume` for an id of your own"));
            }
            Some(identity) => identity.id,
            None => self.unused_id(),
        };
        // The older connection may be half open; its owner is here.
        if let Some(older) = self.peers.get(&id).map(|older| older.conn) {
            self.disconnected(older, now, out);
            out.push(Output::Close { conn: older, code: close::REPLACED });
        }
        let population = self.rooms.get(&peer.room).map_or(0, |room| room.peers.len());
        if population >= self.limits.peers_per_room as usize {
            return Err(refusal(ErrorCode::RoomFull, format!("the room has {population} peers and may have no more")));
        }
        self.rooms.entry(peer.room.clone()).or_default().peers.insert(id);
        self.conns.insert(peer.conn, Conn::Registered(id));
        let identity = Identity { id, secret: self.secrets.of(id) };
        let response = Response::Registered {
            identity,
            room: peer.room.clone(),
            resumed,
            limits: self.limits.told(),
            stun: self.stun.clone(),
        };
        self.peers.insert(id, peer);
        Ok(response)
    }

    fn handle_peer(
        &mut self,
        id: PeerId,
        request: Request,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<Response, Refusal> {
        match request {
            Request::Register { .. } => {
                Err(refusal(ErrorCode::AlreadyRegistered, "open another connection for another peer"))
            }
            Request::Announce { facts, blocks } => self.announce(id, facts, &blocks, now, out),
            Request::UpdateBlocks { file, blocks, direct } => self.update_blocks(id, file, &blocks, direct, now),
            Request::GetPeers { file, limit } => {
                let peers = self.find(id, file, limit.unwrap_or(DEFAULT_PEERS), now, out);
                Ok(Response::Peers { file, peers })
            }
            Request::ListFiles { watch } => {
                let (peer, room) = self.place(id);
                room.watch(peer.conn, watch);
                Ok(Response::Files { files: room.list() })
            }
            Request::WhoHas { file, block } => self.who_has(id, file, block, now),
            Request::Leave { file } => {
                match file {
                    Some(file) => self.leave(id, file, now, out),
                    None => {
                        self.leave_all(id, now, out);
                        let (peer, room) = self.place(id);
                        room.watch(peer.conn, false);
                    }
                }
                Ok(Response::Left { file })
            }
            Request::Ping => Ok(Response::Pong),
        }
    }

    /// Puts a peer into the swarm of those who agree with its facts, and takes it out of any other swarm of the file.
    fn announce(
        &mut self,
        id: PeerId,
        facts: FileFacts,
        blocks: &[u8],
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<Response, Refusal> {
        let limits = self.limits.clone();
        let (peer, room) = self.place(id);
        let (file, key) = (facts.file, SwarmKey::of(&facts));
        let geometry = facts.geometry().map_err(|error| refusal(ErrorCode::Malformed, error.to_string()))?;
        let blocks = bitfield(blocks, &geometry)?;
        let former = peer.files.get(&file).copied();
        if former.is_none() && peer.files.len() >= limits.files_per_peer as usize {
            let message = format!("leave a file first: a peer may announce {}", limits.files_per_peer);
            return Err(refusal(ErrorCode::TooManyFiles, message));
        }
        if !room.swarms.contains_key(&key) && room.swarms.len() >= limits.files_per_room as usize {
            let message = format!("the room has {} files and may have no more", limits.files_per_room);
            return Err(refusal(ErrorCode::RoomFull, message));
        }
        if former.is_some_and(|former| former != key) {
            self.leave(id, file, now, out);
        }
        let (peer, room) = self.place(id);
        peer.files.insert(file, key);
        if room.join(id, facts, geometry, blocks, now) {
            self.list_changed(id, now);
        }
        Ok(Response::Announced { file })
    }

    fn update_blocks(
        &mut self,
        id: PeerId,
        file: FileId,
        blocks: &[u8],
        direct: u64,
        now: Duration,
    ) -> Result<Response, Refusal> {
        let (peer, room) = self.place(id);
        let swarm = peer.files.get(&file).and_then(|key| room.swarms.get_mut(key));
        let swarm = swarm.ok_or_else(|| refusal(ErrorCode::UnknownFile, "announce the file first"))?;
        let changed = swarm.put(id, bitfield(blocks, swarm.geometry())?, now);
        let told = swarm.came_directly(id, direct);
        self.told_direct_bytes = self.told_direct_bytes.saturating_add(told);
        if changed {
            self.list_changed(id, now);
        }
        Ok(Response::Updated { file })
    }

    /// Takes a peer out of a swarm and tells those that knew it there.
    fn leave(&mut self, id: PeerId, file: FileId, now: Duration, out: &mut Vec<Output>) {
        let (peer, room) = self.place(id);
        let Some(key) = peer.files.remove(&file) else { return };
        peer.open.forget(file.tag());
        let acquaintances = room.leave(id, key);
        for other in acquaintances.iter().filter_map(|other| self.peers.get(other)) {
            out.push(Output::Send { to: other.conn, seq: None, response: Response::PeerLeft { file, peer: id } });
        }
        self.list_changed(id, now);
    }

    fn leave_all(&mut self, id: PeerId, now: Duration, out: &mut Vec<Output>) {
        for file in self.place(id).0.files.keys().copied().collect::<Vec<_>>() {
            self.leave(id, file, now, out);
        }
    }

    fn remove_peer(&mut self, id: PeerId, now: Duration, out: &mut Vec<Output>) {
        self.leave_all(id, now, out);
        let (peer, room) = self.place(id);
        room.watch(peer.conn, false);
        room.peers.remove(&id);
        if room.peers.is_empty() {
            let name = peer.room.clone();
            self.rooms.remove(&name);
        }
        self.peers.remove(&id);
    }

    fn list_changed(&mut self, id: PeerId, now: Duration) {
        let (peer, room) = self.place(id);
        if let Some(when) = room.list_changed(now) {
            let name = peer.room.clone();
            self.timers.insert((when, Timer::List(name)));
        }
    }

    /// A registered peer and its room.
    fn place(&mut self, id: PeerId) -> (&mut Peer, &mut Room) {
        let peer = self.peers.get_mut(&id).expect("a registered connection's peer is in the table");
        let room = self.rooms.get_mut(&peer.room).expect("a room stays while a peer is in it");
        (peer, room)
    }

    fn unused_id(&mut self) -> PeerId {
        loop {
            let id = PeerId::from_bytes(self.rng.random());
            if !self.peers.contains_key(&id) {
                return id;
            }
        }
    }
}

fn bitfield(bytes: &[u8], geometry: &Geometry) -> Result<Bitfield, Refusal> {
    let invalid = |error: BitfieldError| refusal(ErrorCode::InvalidBitfield, error.to_string());
    Bitfield::from_bytes(bytes, geometry.blocks()).map_err(invalid)
}

fn refusal(code: ErrorCode, message: impl Into<String>) -> Refusal {
    Refusal { code, message: message.into(), is_blameless: false }
}
