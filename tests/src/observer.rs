//! Somebody who joins a swarm only to see who has what.

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use protocol::{
    Bitfield, FileFacts, Frame, HaveRun, PROTOCOL_VERSION, PeerId, PeerMessage, Request, Response, RoomName,
    TrackerFrame, decode_tracker_binary, decode_tracker_text, encode_envelope, encode_request,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

/// Longer than any swarm is silent while something is being fetched.
const SILENCE: Duration = Duration::from_secs(60);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A peer that wants nothing and has nothing, and keeps the others' bitfields.
#[derive(Debug)]
pub struct Observer {
    socket: Socket,
    facts: FileFacts,
    blocks: u32,
    peers: BTreeMap<PeerId, Bitfield>,
}

impl Observer {
    /// Joins the swarm of the one file of that name in the lobby.
    ///
    /// # Errors
    /// If there is no such file.
    pub async fn join(url: &str, name: &str) -> Result<Self> {
        let (mut socket, _) = connect_async(url).await?;
        let register = Request::Register {
            protocol: PROTOCOL_VERSION,
            room: RoomName::default(),
            name: None,
            binary: false,
            direct: BTreeSet::new(),
            resume: None,
        };
        send(&mut socket, encode_request(None, &register)).await?;
        send(&mut socket, encode_request(None, &Request::ListFiles { watch: false })).await?;
        let facts = loop {
            if let TrackerFrame::Response { response: Response::Files { files }, .. } = receive(&mut socket).await? {
                let file = files.into_iter().find(|file| file.facts.name.as_str() == name);
                break file.with_context(|| format!("the room has no {name}"))?.facts;
            }
        };
        let blocks = facts.geometry()?.blocks();
        let mut observer = Self { socket, facts, blocks, peers: BTreeMap::new() };
        let announce = Request::Announce { facts: observer.facts.clone(), blocks: observer.nothing() };
        send(&mut observer.socket, encode_request(None, &announce)).await?;
        let ask = Request::GetPeers { file: observer.facts.file, limit: Some(50) };
        send(&mut observer.socket, encode_request(None, &ask)).await?;
        Ok(observer)
    }

    /// Who is in the swarm, and what they said that they have.
    pub const fn peers(&self) -> &BTreeMap<PeerId, Bitfield> {
        &self.peers
    }

    /// Waits until `enough` holds for the bitfields of all peers known.
    ///
    /// # Errors
    /// If the swarm falls silent before.
    pub async fn wait_until(&mut self, enough: impl Fn(&BTreeMap<PeerId, Bitfield>) -> bool) -> Result<()> {
        while !enough(&self.peers) {
            let frame = receive(&mut self.socket).await.with_context(|| {
                let counts: Vec<_> = self.peers.iter().map(|(id, has)| (id, has.count())).collect();
                format!("of {} blocks, at last: {counts:?}", self.blocks)
            })?;
            self.note(frame).await?;
        }
        Ok(())
    }

    async fn note(&mut self, frame: TrackerFrame) -> Result<()> {
        let file = self.facts.file.tag();
        match frame {
            TrackerFrame::Response { response: Response::Peers { peers, .. }, .. } => {
                for peer in peers {
                    self.greet(peer.id).await?;
                }
            }
            TrackerFrame::Response { response: Response::PeerJoined { peer, .. }, .. } => self.greet(peer.id).await?,
            TrackerFrame::Response { response: Response::PeerLeft { peer, .. }, .. } => {
                self.peers.remove(&peer);
            }
            TrackerFrame::Response { response: Response::Error { code, message, .. }, .. } => {
                bail!("the tracker refused the observer: {code}: {message}")
            }
            TrackerFrame::Response { .. } => {}
            TrackerFrame::Envelope { from, message: PeerMessage::Bitfield { blocks, begin, .. } } => {
                self.peers.insert(from, Bitfield::from_bytes(&blocks, self.blocks)?);
                if begin {
                    self.greet(from).await?;
                }
            }
            TrackerFrame::Envelope { from, message: PeerMessage::Have { blocks, .. } } => {
                let has = self.peers.entry(from).or_insert_with(|| Bitfield::empty(self.blocks));
                for HaveRun(first, count) in blocks {
                    for index in first..first + count {
                        has.set(index);
                    }
                }
            }
            TrackerFrame::Envelope { from, message: PeerMessage::Request { index, count, .. } } => {
                let reject = PeerMessage::Reject { file, index, count };
                send(&mut self.socket, encode_envelope(from, reject, false)).await?;
            }
            TrackerFrame::Envelope { from, message: PeerMessage::GetManifest { file, .. } } => {
                send(&mut self.socket, encode_envelope(from, PeerMessage::NoManifest { file }, false)).await?;
            }
            TrackerFrame::Envelope { .. } => {}
        }
        Ok(())
    }

    async fn greet(&mut self, peer: PeerId) -> Result<()> {
        let message = PeerMessage::Bitfield { file: self.facts.file.tag(), blocks: self.nothing(), begin: false };
        send(&mut self.socket, encode_envelope(peer, message, false)).await
    }

    fn nothing(&self) -> Bytes {
        Bitfield::empty(self.blocks).to_bytes()
    }
}

async fn send(socket: &mut Socket, frame: Frame) -> Result<()> {
    let message = match frame {
        Frame::Text(text) => Message::text(text),
        Frame::Binary { head, payload } => Message::binary([&head, payload.as_ref()].concat()),
    };
    Ok(socket.send(message).await?)
}

async fn receive(socket: &mut Socket) -> Result<TrackerFrame> {
    loop {
        let message = timeout(SILENCE, socket.next()).await.context("the swarm is silent")?;
        match message.context("the tracker closed the connection")?? {
            Message::Text(text) => return Ok(decode_tracker_text(&text)?),
            Message::Binary(bytes) => return Ok(decode_tracker_binary(&bytes)?),
            Message::Close(close) => bail!("the tracker closed the connection: {close:?}"),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}
