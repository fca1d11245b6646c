//! A client that speaks plain JSON, as a stranger would write it from PROTOCOL.md.

use crate::tracker::TestTracker;
use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::{net::Ipv4Addr, time::Duration};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

/// How long any one thing that must happen may take.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// The receive buffer of a client, small so that one that does not read is soon full.
const RECEIVE_BUFFER: u32 = 64 << 10;

/// One connection to a tracker.
#[derive(Debug)]
pub struct Client {
    socket: WebSocketStream<TcpStream>,
    last_seq: u64,
    /// What the tracker answered to `register`; null before.
    registered: Value,
}

impl Client {
    /// Connects without registering.
    ///
    /// # Errors
    /// If the tracker does not answer.
    pub async fn connect(tracker: &TestTracker) -> anyhow::Result<Self> {
        Self::connect_from(tracker, Ipv4Addr::LOCALHOST, "").await
    }

    /// Connects from one of this machine's addresses, with a query behind the address of the WebSocket.
    ///
    /// # Errors
    /// If the tracker does not answer.
    pub async fn connect_from(tracker: &TestTracker, from: Ipv4Addr, query: &str) -> anyhow::Result<Self> {
        let stream = TcpSocket::new_v4()?;
        stream.bind((from, 0).into())?;
        stream.set_recv_buffer_size(RECEIVE_BUFFER)?;
        let stream = stream.connect(tracker.addr()).await?;
        stream.set_nodelay(true)?;
        let config = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
        let handshake = client_async_with_config(format!("{}{query}", tracker.ws_url()), stream, Some(config));
        let (socket, _) = timeout(DEADLINE, handshake).await.context("no handshake in time")??;
        Ok(Self { socket, last_seq: 0, registered: Value::Null })
    }

    /// Connects and joins a room.
    ///
    /// # Errors
    /// If the tracker refuses.
    pub async fn join(tracker: &TestTracker, room: &str) -> anyhow::Result<Self> {
        Self::join_as(tracker, json!({ "room": room })).await
    }

    /// Connects and registers with more fields than the required ones.
    ///
    /// # Errors
    /// If the tracker refuses.
    pub async fn join_as(tracker: &TestTracker, fields: Value) -> anyhow::Result<Self> {
        let mut client = Self::connect(tracker).await?;
        client.register(fields).await?;
        Ok(client)
    }

    /// Registers and keeps what the tracker tells.
    ///
    /// # Errors
    /// If the tracker refuses.
    pub async fn register(&mut self, mut fields: Value) -> anyhow::Result<()> {
        fields["type"] = "register".into();
        fields["protocol"] = protocol::PROTOCOL_VERSION.into();
        let answer = self.ask(fields).await?;
        ensure!(answer["type"] == "registered", "not registered: {answer}");
        self.registered = answer;
        Ok(())
    }

    /// This client's peer id; empty before it registered.
    pub fn id(&self) -> &str {
        self.registered["id"].as_str().unwrap_or_default()
    }

    /// What takes the id back in another connection.
    pub fn identity(&self) -> Value {
        json!({ "id": self.registered["id"], "secret": self.registered["secret"] })
    }

    /// Sends a request and gives its answer, whatever comes before it.
    ///
    /// # Errors
    /// If there is none in time.
    pub async fn ask(&mut self, mut request: Value) -> anyhow::Result<Value> {
        self.last_seq += 1;
        let seq = self.last_seq;
        request["seq"] = seq.into();
        self.send(&request).await?;
        self.expect(&format!("the answer to {request}"), |message| message["seq"] == seq).await
    }

    /// Sends a message to another peer.
    ///
    /// # Errors
    /// If the connection is broken.
    pub async fn tell(&mut self, to: &str, message: Value) -> anyhow::Result<()> {
        // By hand, because the key `to` must be the first.
        self.send_raw(Message::text(format!(r#"{{"to":"{to}","message":{message}}}"#))).await
    }

    /// Sends JSON.
    ///
    /// # Errors
    /// If the connection is broken.
    pub async fn send(&mut self, message: &Value) -> anyhow::Result<()> {
        self.send_raw(Message::text(message.to_string())).await
    }

    /// Sends anything.
    ///
    /// # Errors
    /// If the connection is broken.
    pub async fn send_raw(&mut self, message: Message) -> anyhow::Result<()> {
        timeout(DEADLINE, self.socket.send(message)).await.context("the tracker does not read")??;
        Ok(())
    }

    /// Sends bytes that no WebSocket library would send.
    ///
    /// # Errors
    /// If the connection is broken.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.socket.flush().await?;
        Ok(self.socket.get_mut().write_all(bytes).await?)
    }

    /// Reads until a message of this type.
    ///
    /// # Errors
    /// If none comes in time.
    pub async fn expect_type(&mut self, wanted: &str) -> anyhow::Result<Value> {
        self.expect(wanted, |message| message["type"] == wanted).await
    }

    /// Reads until an error with this code.
    ///
    /// # Errors
    /// If none comes in time.
    pub async fn expect_error(&mut self, code: &str) -> anyhow::Result<Value> {
        self.expect(code, |message| message["type"] == "error" && message["code"] == code).await
    }

    /// Reads until a message from this peer, and gives it without its envelope.
    ///
    /// # Errors
    /// If none comes in time.
    pub async fn expect_from(&mut self, peer: &str) -> anyhow::Result<Value> {
        let mut envelope = self.expect(peer, |message| message["from"] == peer).await?;
        Ok(envelope["message"].take())
    }

    /// Reads until a JSON message is as `wanted`.
    ///
    /// # Errors
    /// If none is in time; the error tells `what` was wanted and what came instead.
    pub async fn expect(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let mut seen = Vec::new();
        let search = async {
            loop {
                let Message::Text(text) = self.next_frame().await? else { continue };
                let message: Value = serde_json::from_str(&text)?;
                if wanted(&message) {
                    return anyhow::Ok(message);
                }
                seen.push(message);
            }
        };
        let found = timeout(DEADLINE, search).await.context("it did not come in time");
        found.flatten().with_context(|| format!("wanted {what}, got {seen:?}"))
    }

    /// Reads until the connection is closed, and gives the code.
    ///
    /// # Errors
    /// If it ends without a code or not in time.
    pub async fn expect_close(&mut self) -> anyhow::Result<u16> {
        let search = async {
            loop {
                match self.socket.next().await.context("ended without a close frame")?? {
                    Message::Close(Some(close)) => return Ok(close.code.into()),
                    Message::Close(None) => bail!("closed without a code"),
                    Message::Text(_) | Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {
                    }
                }
            }
        };
        timeout(DEADLINE, search).await.context("not closed in time")?
    }

    /// Reads the next text or binary frame.
    ///
    /// # Errors
    /// If the connection is closed, or no frame comes in time.
    pub async fn next_frame(&mut self) -> anyhow::Result<Message> {
        let search = async {
            loop {
                match self.socket.next().await.context("the tracker closed the connection")?? {
                    Message::Close(close) => bail!("the tracker closed the connection: {close:?}"),
                    message @ (Message::Text(_) | Message::Binary(_)) => return Ok(message),
                    Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                }
            }
        };
        timeout(DEADLINE, search).await.context("no frame came in time")?
    }
}

/// A binary frame with an envelope and data.
pub fn binary_frame(envelope: &str, data: &[u8]) -> Bytes {
    [&(envelope.len() as u32).to_be_bytes(), envelope.as_bytes(), data].concat().into()
}
