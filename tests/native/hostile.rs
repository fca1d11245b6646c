//! The real tracker among hostile clients.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};
use tests::{
    client::{Client, binary_frame},
    eventually::eventually,
    hostile::{Target, all},
    status::{figure, status},
    tracker::TestTracker,
};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

/// A file of 16 blocks.
const FILE: &str = "f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1";
/// What peers call it.
const TAG: &str = "f1f1f1f1f1f1f1f1";
const BLOCKS: usize = 16;
const BLOCK_SIZE: usize = 64 << 10;
/// Requests count in segments of 16 KiB.
const SEGMENTS: usize = BLOCK_SIZE >> 14;
/// Hostile clients, and how often each does what it does.
const HOSTILE: usize = 200;
const ROUNDS: usize = 2;
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_clients_harm_only_themselves() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let addr = tracker.addr();
    let mut seed = Member::join(&tracker, true).await?;
    let mut fetcher = Member::join(&tracker, false).await?;
    fetcher.meet(&seed).await?;
    fetcher.fetch_from(&mut seed, 0).await?;
    let before = status(addr).await?;

    let target = Target {
        addr,
        room: "lobby".to_owned(),
        file: FILE.to_owned(),
        size: (BLOCKS * BLOCK_SIZE) as u64,
        block_size: BLOCK_SIZE as u32,
    };
    let mut hostile = JoinSet::new();
    for behaviour in all().into_iter().cycle().take(HOSTILE) {
        let target = target.clone();
        hostile.spawn(async move {
            for _ in 0..ROUNDS {
                // However the tracker takes it.
                let _ = behaviour.once(&target).await;
            }
        });
    }
    let mut fetched = 0;
    loop {
        match hostile.try_join_next() {
            Some(ended) => ended?,
            None if hostile.is_empty() => break,
            None => {
                fetcher.fetch_from(&mut seed, fetched % BLOCKS).await?;
                fetched += 1;
            }
        }
    }
    ensure!(fetched > 0, "the hostile clients did nothing");

    eventually("the tracker to forget the hostile clients", LIMIT, async || {
        let now = status(addr).await?;
        let is_back = ["connections", "peers", "files", "rooms", "waiting_bytes", "incoming_bytes"]
            .iter()
            .all(|name| figure(&now, name) == figure(&before, name));
        Ok(if is_back { Ok(()) } else { Err(now) })
    })
    .await?;
    let after = status(addr).await?;
    let refused: BTreeSet<_> = after["refused"].as_object().context("refusals")?.keys().map(String::as_str).collect();
    for code in ["malformed", "already_registered", "wrong_secret", "unknown_peer", "invalid_bitfield"] {
        ensure!(refused.contains(code), "nobody was refused as {code}: {after}");
    }

    let mut fresh = Member::join(&tracker, false).await?;
    fresh.meet(&seed).await?;
    fresh.fetch_from(&mut seed, 1).await?;
    fetcher.fetch_from(&mut seed, 2).await
}

/// An honest client in the swarm.
struct Member {
    client: Client,
}

impl Member {
    async fn join(tracker: &TestTracker, has_all: bool) -> anyhow::Result<Self> {
        let mut client = Client::join_as(tracker, json!({ "binary": true })).await?;
        let blocks = if has_all { "//8=" } else { "AAA=" };
        let size = BLOCKS * BLOCK_SIZE;
        let announce = json!({
            "type": "announce", "file": FILE, "name": "it.bin", "size": size, "block_size": BLOCK_SIZE, "blocks": blocks,
        });
        let answer = client.ask(announce).await?;
        ensure!(answer["type"] == "announced", "{answer}");
        Ok(Self { client })
    }

    async fn meet(&mut self, other: &Self) -> anyhow::Result<()> {
        let answer = self.client.ask(json!({ "type": "get_peers", "file": FILE, "limit": 50 })).await?;
        let peers = answer["peers"].as_array().context("peers")?;
        ensure!(peers.iter().any(|peer| peer["id"] == other.client.id()), "{answer}");
        Ok(())
    }

    /// Asks for a block, lets the other send it, and checks that it comes as it was sent. What is refused or rejected
    /// because too much waits already is asked for again, while both go on reading.
    async fn fetch_from(&mut self, seed: &mut Self, block: usize) -> anyhow::Result<()> {
        let (own, other) = (self.client.id().to_owned(), seed.client.id().to_owned());
        let index = block * SEGMENTS;
        let request = json!({ "type": "request", "file": TAG, "index": index, "count": SEGMENTS });
        let data = vec![block as u8; BLOCK_SIZE];
        let block = format!(r#""message":{{"type":"block","file":"{TAG}","index":{index},"count":{SEGMENTS}}}}}"#);
        let sent = Message::Binary(binary_frame(&format!(r#"{{"to":"{own}",{block}"#), &data));
        let expected = Message::Binary(binary_frame(&format!(r#"{{"from":"{other}",{block}"#), &data));
        self.client.tell(&other, request.clone()).await?;
        loop {
            tokio::select! {
                frame = self.client.next_frame() => {
                    let frame = frame?;
                    if frame == expected {
                        return Ok(());
                    }
                    if is_busy(&frame) || is_said(&frame, &other, "reject") {
                        self.client.tell(&other, request.clone()).await?;
                    }
                }
                frame = seed.client.next_frame() => {
                    let frame = frame?;
                    if is_said(&frame, &own, "request") {
                        seed.client.send_raw(sent.clone()).await?;
                    }
                }
            }
        }
    }
}

/// Whether this peer says something of this kind.
fn is_said(frame: &Message, from: &str, kind: &str) -> bool {
    parsed(frame).is_some_and(|envelope| envelope["from"] == from && envelope["message"]["type"] == kind)
}

fn is_busy(frame: &Message) -> bool {
    parsed(frame).is_some_and(|message| message["type"] == "error" && message["code"] == "busy")
}

fn parsed(frame: &Message) -> Option<Value> {
    let Message::Text(text) = frame else { return None };
    serde_json::from_str(text).ok()
}
