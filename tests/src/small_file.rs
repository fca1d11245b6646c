//! A file of two blocks that nobody really has, for clients that need something to talk about.

use crate::client::{Client, binary_frame};
use anyhow::ensure;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// Its id.
pub const FILE: &str = "f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1";
/// What peers call it.
pub const TAG: &str = "f1f1f1f1f1f1f1f1";
/// Bitfields of its blocks, in base64: neither, the first, both.
pub const NONE: &str = "AA==";
/// The first block.
pub const FIRST: &str = "gA==";
/// Both blocks.
pub const BOTH: &str = "wA==";

/// The request that announces it.
pub fn announcement(blocks: &str) -> Value {
    json!({ "type": "announce", "file": FILE, "name": "a.txt", "size": 5000, "media_type": "text/plain",
            "block_size": 4096, "blocks": blocks })
}

/// Announces it.
///
/// # Errors
/// If the tracker refuses.
pub async fn announce(client: &mut Client, blocks: &str) -> anyhow::Result<()> {
    let answer = client.ask(announcement(blocks)).await?;
    ensure!(answer["type"] == "announced", "{answer}");
    Ok(())
}

/// Makes two clients members of its swarm that know each other.
///
/// # Errors
/// If the tracker refuses.
pub async fn introduce(one: &mut Client, other: &mut Client) -> anyhow::Result<()> {
    announce(one, BOTH).await?;
    announce(other, BOTH).await?;
    one.ask(json!({ "type": "get_peers", "file": FILE, "limit": 50 })).await?;
    other.expect_type("peer_joined").await?;
    Ok(())
}

/// Asks a peer for its first block this many times. The tracker has them all when this returns.
///
/// # Errors
/// If the connection is broken.
pub async fn ask_for_blocks(client: &mut Client, peer: &str, times: usize) -> anyhow::Result<()> {
    for _ in 0..times {
        client.tell(peer, json!({ "type": "request", "file": TAG, "index": 0 })).await?;
    }
    client.ask(json!({ "type": "ping" })).await?;
    Ok(())
}

/// The first block, or what somebody says is it, in binary.
pub fn block(to: &str, data: &[u8]) -> Message {
    let envelope = format!(r#"{{"to":"{to}","message":{{"type":"block","file":"{TAG}","index":0}}}}"#);
    Message::Binary(binary_frame(&envelope, data))
}

/// Sends blocks to a peer until one is refused, and gives how many were not.
///
/// # Errors
/// If none is.
pub async fn fill_with_blocks(sender: &mut Client, to: &str, most: usize, data: &[u8]) -> anyhow::Result<usize> {
    for sent in 0..most {
        sender.send_raw(block(to, data)).await?;
        sender.send(&json!({ "type": "ping" })).await?;
        let answer = sender.expect("pong or busy", |it| it["type"] == "pong" || it["code"] == "busy").await?;
        if answer["code"] == "busy" {
            ensure!(answer["to"] == to, "{answer}");
            sender.expect_type("pong").await?;
            return Ok(sent);
        }
    }
    anyhow::bail!("{most} blocks were taken")
}
