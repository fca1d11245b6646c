//! Clients that mean harm. Each comes from [`SOURCE`], because what a tracker allows, it allows to an address.
//!
//! A behaviour is one round of bounded work, after which the client hangs up, mostly without a word. It fails when the
//! tracker hangs up first, which is what a tracker should do to most of them.

use crate::link::{Link, frame, handshake, header, opcode, open};
use anyhow::{Context as _, Result};
use data_encoding::BASE64;
use futures_util::{FutureExt as _, future::BoxFuture};
use serde_json::{Value, json};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt as _,
    time::{sleep, timeout},
};

/// The address of this machine from which all of them come.
pub const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// How long a round may take; a tracker that ceases to read makes it end so.
const PATIENCE: Duration = Duration::from_secs(2);
/// The wait after a round, and after a byte of a slow client.
const PAUSE: Duration = Duration::from_millis(20);
/// The messages of a flood.
const FLOOD: usize = 10_000;
const BUFFER: usize = 16 << 10;
/// A peer that does not exist.
const NOBODY: &str = "0123456789abcdef";

/// Whom to harm.
#[derive(Debug, Clone)]
pub struct Target {
    /// The tracker.
    pub addr: SocketAddr,
    /// The room of honest peers.
    pub room: String,
    /// The id of the file that they share.
    pub file: String,
    /// The file's size in bytes.
    pub size: u64,
    /// The size of its blocks in bytes.
    pub block_size: u32,
}

/// One way to do harm.
#[derive(Debug, Clone, Copy)]
pub struct Behaviour {
    /// What it is called.
    pub name: &'static str,
    attack: for<'a> fn(&'a Target) -> BoxFuture<'a, Result<()>>,
}

impl Behaviour {
    /// Does it once.
    ///
    /// # Errors
    /// If the tracker does not let it do everything.
    pub async fn once(&self, target: &Target) -> Result<()> {
        timeout(PATIENCE, (self.attack)(target)).await.context("the tracker lets it wait")?
    }

    /// Does it again and again, however the tracker takes it.
    pub async fn forever(&self, target: &Target) {
        loop {
            // That the tracker hangs up is no reason to cease.
            let _ = self.once(target).await;
            sleep(PAUSE).await;
        }
    }
}

/// Every way there is.
pub fn all() -> Vec<Behaviour> {
    macro_rules! behaviours {
        ($($name:ident)*) => {
            vec![$(Behaviour { name: stringify!($name), attack: |target| $name(target).boxed() }),*]
        };
    }
    behaviours![
        slow_handshake
        half_open
        oversized_frame
        fragmented_message
        invalid_utf8
        deep_json
        ping_flood
        register_flood
        who_has_flood
        unrequested_blocks
        spoofed_from
        foreign_ids
        duplicate_keys
        wrong_bitfields
        wrong_sizes
        wild_names
        reconnect_loop
    ]
}

/// Sends the handshake byte by byte, and goes before the end.
///
/// # Errors
/// If the tracker hangs up first.
pub async fn slow_handshake(target: &Target) -> Result<()> {
    let mut stream = open(target.addr, SOURCE).await?;
    for byte in &handshake(target.addr).as_bytes()[..40] {
        stream.write_u8(*byte).await?;
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Connects, begins a frame, and waits until the tracker hangs up or patience ends.
///
/// # Errors
/// In any case.
pub async fn half_open(target: &Target) -> Result<()> {
    let _without_handshake = open(target.addr, SOURCE).await?;
    let mut link = connect(target).await?;
    link.write(&[0x81]).await?;
    link.next().await.map(drop)
}

/// Sends the header of a frame of 8 EiB, and some of it.
///
/// # Errors
/// If the tracker hangs up first.
pub async fn oversized_frame(target: &Target) -> Result<()> {
    let (mut link, _) = register(target).await?;
    link.write(&header(opcode::BINARY, i64::MAX as usize)).await?;
    for _ in 0..256 {
        link.write(&[0; 64 << 10]).await?;
    }
    Ok(())
}

/// Sends a message in tiny frames, with a ping between any two, and never ends it.
///
/// # Errors
/// If the tracker hangs up first.
pub async fn fragmented_message(target: &Target) -> Result<()> {
    const FIN: u8 = 0x80;
    let (mut link, _) = register(target).await?;
    let mut first = frame(opcode::TEXT, b"{");
    first[0] &= !FIN;
    link.write(&first).await?;
    let mut part = frame(opcode::CONTINUATION, b" ");
    part[0] &= !FIN;
    let parts = [part, frame(opcode::PING, b"")].concat();
    flood(&mut link, &parts).await
}

/// Sends text that is none.
///
/// # Errors
/// If the tracker hangs up first.
pub async fn invalid_utf8(target: &Target) -> Result<()> {
    let (mut link, _) = register(target).await?;
    flood(&mut link, &frame(opcode::TEXT, b"{\"type\":\"\xff\xfe\"}")).await
}

/// Sends JSON of 10,000 levels, to the tracker and to the other peers.
///
/// # Errors
/// If the tracker hangs up first.
pub async fn deep_json(target: &Target) -> Result<()> {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let (mut link, victims) = introduced(target).await?;
    for _ in 0..10 {
        link.text(&deep).await?;
        link.text(&format!(r#"{{"type":"ping","x":{deep}}}"#)).await?;
        for victim in &victims {
            link.text(&envelope(victim, &deep)).await?;
        }
    }
    Ok(())
}

/// Sends pings and reads no pong.
///
/// # Errors
/// If the tracker hangs up first.
pub async fn ping_flood(target: &Target) -> Result<()> {
    let (mut link, _) = register(target).await?;
    flood(&mut link, &frame(opcode::PING, &[b'x'; 125])).await
}

/// Registers again and again.
///
/// # Errors
/// If the tracker hangs up first.
pub async fn register_flood(target: &Target) -> Result<()> {
    let (mut link, _) = register(target).await?;
    let register = json!({ "type": "register", "protocol": protocol::PROTOCOL_VERSION });
    flood(&mut link, &frame(opcode::TEXT, register.to_string().as_bytes())).await
}

/// Asks who has what, and reads no answer.
///
/// # Errors
/// If the tracker hangs up first.
pub async fn who_has_flood(target: &Target) -> Result<()> {
    let (mut link, _) = introduced(target).await?;
    let ask = json!({ "type": "who_has", "file": target.file, "block": 0 });
    flood(&mut link, &frame(opcode::TEXT, ask.to_string().as_bytes())).await
}

/// Sends blocks for which nobody asked, in both forms.
///
/// # Errors
/// If the tracker hangs up first.
pub async fn unrequested_blocks(target: &Target) -> Result<()> {
    let (mut link, victims) = introduced(target).await?;
    let message = json!({ "type": "block", "file": tag(target), "index": 0, "count": 4 });
    let mut text = message.clone();
    text["data"] = BASE64.encode(&[0; 64 << 10]).into();
    let data = vec![0; 64 << 10];
    for _ in 0..50 {
        for victim in &victims {
            let head = envelope(victim, &message);
            let len = (head.len() as u32).to_be_bytes();
            link.send(opcode::BINARY, &[&len, head.as_bytes(), &data].concat()).await?;
            link.text(&envelope(victim, &text)).await?;
        }
    }
    Ok(())
}

/// Speaks in the name of others.
///
/// # Errors
/// If the tracker hangs up first.
pub async fn spoofed_from(target: &Target) -> Result<()> {
    let (mut link, victims) = introduced(target).await?;
    let message = json!({ "type": "choke", "file": tag(target) });
    for victim in &victims {
        link.text(&format!(r#"{{"from":"{victim}","message":{message}}}"#)).await?;
        link.text(&format!(r#"{{"to":"{victim}","from":"{victim}","message":{message}}}"#)).await?;
        link.text(&format!(r#"{{"to":"{victim}","message":{message},"from":"{victim}"}}"#)).await?;
        link.text(&format!(r#"{{"type":"leave","from":"{victim}","id":"{victim}","peer":"{victim}"}}"#)).await?;
    }
    until_answered(&mut link).await
}

/// Claims other peers' ids, and writes to peers that do not exist.
///
/// # Errors
/// If the tracker hangs up first.
pub async fn foreign_ids(target: &Target) -> Result<()> {
    let (mut link, victims) = introduced(target).await?;
    for victim in &victims {
        let mut thief = connect(target).await?;
        let resume = json!({ "id": victim, "secret": "0".repeat(32) });
        thief.text(&register_text(target, json!({ "resume": resume }))).await?;
        thief.next().await?;
    }
    let choke = json!({ "type": "choke", "file": tag(target) });
    flood(&mut link, &frame(opcode::TEXT, envelope(NOBODY, &choke).as_bytes())).await
}

/// Gives keys twice.
///
/// # Errors
/// If the tracker hangs up first.
pub async fn duplicate_keys(target: &Target) -> Result<()> {
    let (mut link, victims) = introduced(target).await?;
    for victim in &victims {
        link.text(&format!(r#"{{"to":"{NOBODY}","to":"{victim}","message":{{}}}}"#)).await?;
        link.text(&format!(r#"{{"to":"{victim}","message":{{}},"message":[]}}"#)).await?;
    }
    link.text(r#"{"type":"ping","type":"leave"}"#).await?;
    until_answered(&mut link).await
}

/// Announces bitfields that do not fit, and tells nonsense to the other peers.
///
/// # Errors
/// If the tracker hangs up first.
pub async fn wrong_bitfields(target: &Target) -> Result<()> {
    let (mut link, victims) = introduced(target).await?;
    for blocks in ["", "/w==", "!", &BASE64.encode(&[0xff; 4_096])] {
        link.text(&announce(target, blocks)).await?;
        link.text(&json!({ "type": "update_blocks", "file": target.file, "blocks": blocks }).to_string()).await?;
    }
    for victim in &victims {
        let message = json!({ "type": "have", "file": tag(target), "blocks": [[0, u32::MAX], [u32::MAX, u32::MAX]] });
        link.text(&envelope(victim, &message)).await?;
    }
    until_answered(&mut link).await
}

/// Claims one size of the file after the other, and asks who agrees.
///
/// # Errors
/// If the tracker hangs up first.
pub async fn wrong_sizes(target: &Target) -> Result<()> {
    let (mut link, _) = introduced(target).await?;
    for size in target.size + 1..target.size + 100 {
        let other = Target { size, ..target.clone() };
        link.text(&announce(&other, &nothing(&other))).await?;
        link.text(&json!({ "type": "get_peers", "file": target.file, "limit": 50 }).to_string()).await?;
    }
    until_answered(&mut link).await
}

/// Takes names that are far too long, hold control characters or lead out of the folder.
///
/// # Errors
/// If the tracker hangs up first.
pub async fn wild_names(target: &Target) -> Result<()> {
    let mut link = connect(target).await?;
    let long = "x".repeat(1_000_000);
    for name in [&long, "\u{7}", "a\u{202e}b", "\0", ""] {
        link.text(&register_text(target, json!({ "name": name }))).await?;
        link.text(&register_text(target, json!({ "room": name }))).await?;
    }
    link.text(&register_text(target, json!({}))).await?;
    for name in [&long, "../../etc/passwd", "\u{1b}[2J", ".", ""] {
        let mut request: Value = serde_json::from_str(&announce(target, &nothing(target)))?;
        request["name"] = name.into();
        link.text(&request.to_string()).await?;
    }
    until_answered(&mut link).await
}

/// Connects, registers, and resets the connection, many times.
///
/// # Errors
/// If the tracker hangs up first.
pub async fn reconnect_loop(target: &Target) -> Result<()> {
    for _ in 0..20 {
        let (link, _) = register(target).await?;
        // A connection that is not reset keeps its port for a minute, and there are 28,000.
        link.into_stream().set_zero_linger()?;
    }
    Ok(())
}

async fn connect(target: &Target) -> Result<Link> {
    Link::connect(target.addr, SOURCE, BUFFER).await
}

/// A registered client, and its id.
async fn register(target: &Target) -> Result<(Link, String)> {
    let mut link = connect(target).await?;
    link.text(&register_text(target, json!({}))).await?;
    let answer = answer(&mut link, "registered").await?;
    Ok((link, answer["id"].as_str().unwrap_or_default().to_owned()))
}

/// A member of the swarm, and the ids of some others.
async fn introduced(target: &Target) -> Result<(Link, Vec<String>)> {
    let (mut link, _) = register(target).await?;
    link.text(&announce(target, &nothing(target))).await?;
    link.text(&json!({ "type": "get_peers", "file": target.file, "limit": 5 }).to_string()).await?;
    let answer = answer(&mut link, "peers").await?;
    let peers = answer["peers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut ids: Vec<String> = peers.iter().filter_map(|peer| Some(peer["id"].as_str()?.to_owned())).collect();
    ids.push(NOBODY.to_owned());
    Ok((link, ids))
}

/// Reads until an answer of this type.
async fn answer(link: &mut Link, wanted: &str) -> Result<Value> {
    loop {
        let frame = link.next().await?;
        if frame.opcode == opcode::TEXT
            && let Ok(message) = serde_json::from_slice::<Value>(frame.head)
            && message["type"] == wanted
        {
            return Ok(message);
        }
    }
}

/// Waits until the tracker has handled everything before this.
async fn until_answered(link: &mut Link) -> Result<()> {
    link.text(r#"{"type":"ping"}"#).await?;
    answer(link, "pong").await.map(drop)
}

async fn flood(link: &mut Link, frame: &[u8]) -> Result<()> {
    const AT_ONCE: usize = 100;
    let frames = frame.repeat(AT_ONCE);
    for _ in 0..FLOOD / AT_ONCE {
        link.write(&frames).await?;
    }
    Ok(())
}

fn register_text(target: &Target, mut fields: Value) -> String {
    fields["type"] = "register".into();
    fields["protocol"] = protocol::PROTOCOL_VERSION.into();
    if fields["room"].is_null() {
        fields["room"] = target.room.as_str().into();
    }
    fields.to_string()
}

fn announce(target: &Target, blocks: &str) -> String {
    let Target { file, size, block_size, .. } = target;
    let announce = json!({
        "type": "announce", "file": file, "name": "it.bin", "size": size, "block_size": block_size, "blocks": blocks,
    });
    announce.to_string()
}

/// The bitfield of somebody who has nothing.
fn nothing(target: &Target) -> String {
    let blocks = target.size.div_ceil(target.block_size.into());
    BASE64.encode(&vec![0; blocks.div_ceil(8) as usize])
}

fn tag(target: &Target) -> &str {
    &target.file[..16]
}

fn envelope(to: &str, message: &impl std::fmt::Display) -> String {
    // By hand, because the key `to` must be the first.
    format!(r#"{{"to":"{to}","message":{message}}}"#)
}
