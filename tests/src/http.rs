//! HTTP by hand, to see and to send exactly what goes over the wire.

use crate::{client::DEADLINE, tracker::TestTracker};
use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// What a WebSocket's handshake has, beside its origin.
pub const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                           Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// One answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status code.
    pub status: u16,
    /// Its first line and its headers.
    pub head: String,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// If it is none.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("no JSON: {self:?}"))
    }
}

/// Asks over a new connection. `headers` are lines that end in `\r\n`; one may be the `Host`.
///
/// # Errors
/// If there is no answer in time.
pub async fn request(tracker: &TestTracker, method: &str, path: &str, headers: &str) -> anyhow::Result<Answer> {
    request_on(&mut TcpStream::connect(tracker.addr()).await?, method, path, headers).await
}

/// Asks over a connection that stays open.
///
/// # Errors
/// If there is no answer in time.
pub async fn request_on(socket: &mut TcpStream, method: &str, path: &str, headers: &str) -> anyhow::Result<Answer> {
    let host = if headers.contains("Host:") { String::new() } else { format!("Host: {}\r\n", socket.peer_addr()?) };
    socket.write_all(format!("{method} {path} HTTP/1.1\r\n{host}{headers}\r\n").as_bytes()).await?;
    timeout(DEADLINE, answer(socket)).await.context("no answer in time")?
}

async fn answer(socket: &mut TcpStream) -> anyhow::Result<Answer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = socket.read_u8().await.context("the connection ended before the answer")?;
        head.push(byte);
    }
    let head = String::from_utf8(head)?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    let mut lines = head.lines();
    let length = lines.find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    ensure!(!head.contains("transfer-encoding"), "chunks are not read here");
    let mut body = vec![0; length.unwrap_or_default()];
    socket.read_exact(&mut body).await?;
    Ok(Answer { status, head, body: String::from_utf8(body)? })
}
