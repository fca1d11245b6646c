//! A peer as a stranger would write it from PROTOCOL.md: JSON only, no code of the project.

use crate::{client::Client, tracker::TestTracker};
use anyhow::{Context as _, ensure};
use data_encoding::BASE64;
use protocol::{Manifest, PeerMessage};
use serde_json::{Value, json};

/// A JSON client in the swarm of one file.
#[derive(Debug)]
pub struct JsonPeer {
    /// Its connection.
    pub client: Client,
    manifest: Manifest,
    file: String,
    /// What requests count in: 16 KiB, or a block if that is smaller.
    segment_size: usize,
}

impl JsonPeer {
    /// Joins the lobby and the swarm of the file, saying that it has all blocks or none.
    ///
    /// # Errors
    /// If the tracker refuses.
    pub async fn join(tracker: &TestTracker, manifest: &Manifest, has_all: bool) -> anyhow::Result<Self> {
        let mut client = Client::join(tracker, "lobby").await?;
        let facts = manifest.facts();
        let mut announce = json!({
            "file": facts.file.to_string(),
            "name": facts.name.as_str(),
            "size": facts.size,
            "block_size": facts.block_size.bytes(),
        });
        let blocks = manifest.geometry().blocks();
        announce["type"] = "announce".into();
        announce["blocks"] = bits(blocks, has_all).into();
        let answer = client.ask(announce).await?;
        ensure!(answer["type"] == "announced", "{answer}");
        Ok(Self {
            client,
            file: manifest.file().to_string(),
            manifest: manifest.clone(),
            segment_size: manifest.geometry().block_size().bytes().min(16_384) as usize,
        })
    }

    /// Tells another peer something about the file, which only its manifest names in full.
    ///
    /// # Errors
    /// If the connection is broken.
    pub async fn tell(&mut self, to: &str, kind: &str, mut fields: Value) -> anyhow::Result<()> {
        fields["type"] = kind.into();
        fields["file"] =
            if matches!(kind, "manifest" | "no_manifest") { self.file.as_str() } else { &self.file[..16] }.into();
        self.client.tell(to, fields).await
    }

    /// Reads until another peer says one of `kinds`, answering manifests on the way; gives the peer and the message.
    ///
    /// # Errors
    /// If none does in time.
    pub async fn expect(&mut self, kinds: &[&str]) -> anyhow::Result<(String, Value)> {
        loop {
            let mut envelope = self.client.expect(&format!("{kinds:?}"), |message| message["from"].is_string()).await?;
            let from = envelope["from"].as_str().context("an id")?.to_owned();
            let message = envelope["message"].take();
            let kind = message["type"].as_str().context("a type")?;
            if kind == "get_manifest" {
                let part = message["part"].as_u64().map(u32::try_from).transpose()?;
                match self.manifest.part(part) {
                    Some(part) => {
                        let manifest = PeerMessage::manifest(self.manifest.facts().clone(), part);
                        self.tell(&from, "manifest", serde_json::to_value(manifest)?).await?;
                    }
                    None => self.tell(&from, "no_manifest", json!({})).await?,
                }
            }
            if kinds.contains(&kind) {
                return Ok((from, message));
            }
        }
    }

    /// Greets whoever joins and serves it until it has everything.
    ///
    /// # Errors
    /// If it says nothing for too long.
    pub async fn serve_one(&mut self, content: &[u8]) -> anyhow::Result<()> {
        let blocks = self.blocks();
        loop {
            let (from, message) = self.expect(&["bitfield", "interested", "request", "have"]).await?;
            match message["type"].as_str() {
                Some("bitfield") => self.tell(&from, "bitfield", json!({ "blocks": bits(blocks, true) })).await?,
                Some("interested") => self.tell(&from, "unchoke", json!({})).await?,
                Some("request") => self.answer(&from, &message, content).await?,
                _ if message["blocks"] == json!([[0, blocks]]) => return Ok(()),
                _ => {}
            }
        }
    }

    /// Waits for one request and answers it.
    ///
    /// # Errors
    /// If none comes in time.
    pub async fn serve_request(&mut self, content: &[u8]) -> anyhow::Result<()> {
        let (from, request) = self.expect(&["request"]).await?;
        self.answer(&from, &request, content).await
    }

    async fn answer(&mut self, to: &str, request: &Value, content: &[u8]) -> anyhow::Result<()> {
        let (index, count) = span(request)?;
        let end = content.len().min((index + count) * self.segment_size);
        let data = BASE64.encode(&content[index * self.segment_size..end]);
        self.tell(to, "block", json!({ "index": index, "count": count, "data": data })).await
    }

    /// How many blocks the file has.
    pub fn blocks(&self) -> u32 {
        self.manifest.geometry().blocks()
    }

    /// Fetches the whole file, at most so many segments at a time, from the first peer that serves it.
    ///
    /// # Errors
    /// If nobody serves it in time.
    pub async fn fetch(&mut self, size: usize, step: usize) -> anyhow::Result<Vec<u8>> {
        let segments = size.div_ceil(self.segment_size);
        let mut content = Vec::new();
        self.client.send(&json!({ "type": "get_peers", "file": self.file })).await?;
        let (peer, _) = self.expect(&["bitfield"]).await?;
        self.tell(&peer, "bitfield", json!({ "blocks": bits(self.blocks(), false) })).await?;
        self.tell(&peer, "interested", json!({})).await?;
        self.expect(&["unchoke"]).await?;
        for index in (0..segments).step_by(step) {
            let count = step.min(segments - index);
            self.tell(&peer, "request", json!({ "index": index, "count": count })).await?;
            let (_, block) = self.expect(&["block"]).await?;
            ensure!(span(&block)? == (index, count), "another span: {} {}", block["index"], block["count"]);
            content.extend(BASE64.decode(block["data"].as_str().context("data")?.as_bytes())?);
        }
        Ok(content)
    }
}

fn span(message: &Value) -> anyhow::Result<(usize, usize)> {
    let index = message["index"].as_u64().context("an index")?;
    Ok((index as usize, message["count"].as_u64().unwrap_or(1) as usize))
}

/// A bitfield of all blocks or none, by hand.
pub fn bits(blocks: u32, all: bool) -> String {
    let mut bytes = vec![0; blocks.div_ceil(8) as usize];
    for index in (0..blocks).filter(|_| all) {
        bytes[index as usize / 8] |= 0x80 >> (index % 8);
    }
    BASE64.encode(&bytes)
}
