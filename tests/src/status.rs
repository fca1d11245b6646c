//! What a tracker says about itself.

use crate::client::DEADLINE;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Asks a tracker for its figures.
///
/// # Errors
/// If it does not answer in time.
pub async fn status(addr: SocketAddr) -> Result<Value> {
    let asking = async {
        let mut stream = TcpStream::connect(addr).await?;
        let request = format!("GET /api/status HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
        serde_json::from_str(body).with_context(|| format!("no figures in {answer:?}"))
    };
    timeout(DEADLINE, asking).await.context("no figures in time")?
}

/// One of the figures.
pub fn figure(status: &Value, name: &str) -> u64 {
    status[name].as_u64().unwrap_or_default()
}
