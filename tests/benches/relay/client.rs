//! The clients that make the load: one that serves blocks, and one that asks for them, through any of the systems.

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use data_encoding::BASE64;
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    io::IoSlice,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tests::link::{Frame, Link, frame, header, opcode};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// The file of which the blocks are.
pub(crate) const FILE: &str = "f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1";
/// What peers call it.
const TAG: &str = "f1f1f1f1f1f1f1f1";
/// How many blocks it has; the last thousand are asked for, so that every index has about the same number of digits.
pub(crate) const BLOCKS: usize = 2_000;
const FIRST_BLOCK: u32 = 1_000;
/// What both ends of a forwarded connection are called, where nobody gives them an id.
const UNNAMED: &str = "0000000000000000";
/// Bytes read at once.
const BUFFER: usize = 256 << 10;
/// About the most bytes written at once.
const BATCH: usize = 512 << 10;
/// The slices that the system takes in one call are 1,024, and a block has three.
const BATCH_BLOCKS: usize = 64;
/// How long a block may take before it is asked for again, as one has to that was refused as `busy`.
const OVERDUE: Duration = Duration::from_secs(2);
/// The wait before a block that was refused as `busy` is sent again.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// How blocks travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Binary,
    Json,
}

/// What every block is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) form: Form,
    pub(crate) block_size: usize,
}

impl Shape {
    /// The segments of a block, in which requests count.
    const fn segments(self) -> usize {
        self.block_size / protocol::SEGMENT_BYTES as usize
    }
}

/// A registered peer.
pub(crate) struct Peer {
    pub(crate) link: Link,
    pub(crate) id: String,
}

impl Peer {
    /// Connects and registers. `buffer` is the bytes that it reads at once.
    pub(crate) async fn join(addr: SocketAddr, source: IpAddr, room: &str, form: Form, buffer: usize) -> Result<Self> {
        let mut peer = Self { link: Link::connect(addr, source, buffer).await?, id: String::new() };
        let answer = peer.ask(&register(room, form)).await?;
        peer.id = answer["id"].as_str().context("no id")?.to_owned();
        Ok(peer)
    }

    /// Sends a request and gives its answer.
    pub(crate) async fn ask(&mut self, request: &Value) -> Result<Value> {
        self.link.text(&request.to_string()).await?;
        loop {
            let frame = self.link.next().await?;
            if frame.opcode != opcode::TEXT {
                continue;
            }
            let answer: Value = serde_json::from_slice(frame.head)?;
            if answer["seq"] == request["seq"] {
                ensure!(answer["type"] != "error", "{request} was refused: {answer}");
                return Ok(answer);
            }
        }
    }
}

/// The request that makes a peer of a client.
pub(crate) fn register(room: &str, form: Form) -> Value {
    let (protocol, binary) = (protocol::PROTOCOL_VERSION, form == Form::Binary);
    json!({ "seq": 1, "type": "register", "protocol": protocol, "room": room, "binary": binary })
}

/// The request that makes a member of a peer, with all blocks or none.
pub(crate) fn announce(block_size: usize, has_all: bool) -> Value {
    let blocks = BASE64.encode(&[if has_all { 0xff } else { 0 }; BLOCKS / 8]);
    let size = BLOCKS * block_size;
    json!({
        "seq": 2, "type": "announce", "file": FILE, "name": "bench.bin", "size": size, "block_size": block_size,
        "blocks": blocks,
    })
}

/// The request for other members.
pub(crate) fn get_peers(limit: u32) -> Value {
    json!({ "seq": 3, "type": "get_peers", "file": FILE, "limit": limit })
}

/// Two peers in a room of their own who know each other.
pub(crate) async fn pair(addr: SocketAddr, source: IpAddr, room: &str, shape: Shape) -> Result<(Seed, Fetcher)> {
    let mut seed = Peer::join(addr, source, room, shape.form, BUFFER).await?;
    seed.ask(&announce(shape.block_size, true)).await?;
    let mut fetcher = Peer::join(addr, source, room, shape.form, BUFFER).await?;
    fetcher.ask(&announce(shape.block_size, false)).await?;
    let answer = fetcher.ask(&get_peers(1)).await?;
    ensure!(answer["peers"][0]["id"] == seed.id.as_str(), "not introduced: {answer}");
    Ok((Seed::new(seed.link, &fetcher.id, shape), Fetcher::new(fetcher.link, &seed.id, shape)))
}

/// Two ends of a plain connection, over which the same frames go.
pub(crate) async fn plain_pair(addr: SocketAddr, source: IpAddr, shape: Shape) -> Result<(Seed, Fetcher)> {
    let seed = Link::over(tests::link::open(addr, source).await?, BUFFER);
    let fetcher = Link::over(tests::link::open(addr, source).await?, BUFFER);
    Ok((Seed::new(seed, UNNAMED, shape), Fetcher::new(fetcher, UNNAMED, shape)))
}

/// The digits of a block's index, after spaces.
type Digits = [u8; 5];

/// What a frame says.
enum Said {
    Request(Digits),
    Block(Digits),
    /// Somebody was refused a block.
    Busy,
    /// The answer to a ping.
    Pong,
    /// Something that needs no answer.
    Other,
}

impl Said {
    /// Reads a frame; what another than `peer` says is nothing.
    fn of(frame: &Frame<'_>, peer: &str) -> Result<Self> {
        match frame.opcode {
            // The length of the head, and the head.
            opcode::BINARY => Ok(Self::of_envelope(frame.head.get(4..).unwrap_or_default(), peer)),
            opcode::TEXT if frame.head.starts_with(b"{\"from\"") || frame.head.starts_with(b"{\"to\"") => {
                Ok(Self::of_envelope(frame.head, peer))
            }
            opcode::TEXT => {
                let message: Value = serde_json::from_slice(frame.head)?;
                match (message["type"].as_str(), message["code"].as_str()) {
                    (Some("error"), Some("busy")) => Ok(Self::Busy),
                    (Some("error"), _) => bail!("refused: {message}"),
                    (Some("pong"), _) => Ok(Self::Pong),
                    _ => Ok(Self::Other),
                }
            }
            opcode::CLOSE => bail!("closed with {:?}", frame.close_code()),
            _ => Ok(Self::Other),
        }
    }

    /// Reads an envelope as [`envelope`] writes it, and as a relay does that keeps the message as it is.
    fn of_envelope(text: &[u8], peer: &str) -> Self {
        let parse = || {
            let rest = text.strip_prefix(b"{\"from\":\"").or_else(|| text.strip_prefix(b"{\"to\":\""))?;
            let rest = rest.strip_prefix(peer.as_bytes())?.strip_prefix(b"\",\"message\":{\"type\":\"")?;
            let (is_block, rest) = match rest.strip_prefix(b"block") {
                Some(rest) => (true, rest),
                None => (false, rest.strip_prefix(b"request")?),
            };
            let rest = rest.strip_prefix(b"\",\"file\":\"")?.strip_prefix(TAG.as_bytes())?;
            let digits = *rest.strip_prefix(b"\",\"index\":")?.first_chunk()?;
            Some(if is_block { Self::Block(digits) } else { Self::Request(digits) })
        };
        parse().unwrap_or(Self::Other)
    }
}

/// The beginning of an envelope up to a place for the digits of the index.
fn envelope(to: &str, kind: &str) -> String {
    format!(r#"{{"to":"{to}","message":{{"type":"{kind}","file":"{TAG}","index":"#)
}

/// What stands in it after the index.
fn count(shape: Shape) -> String {
    format!(r#","count":{}"#, shape.segments())
}

/// Answers each request with its block.
pub(crate) struct Seed {
    link: Link,
    /// The fetcher's id.
    peer: String,
    /// A block's frame before the digits, after them up to the data, and after the data.
    before: Vec<u8>,
    after: Vec<u8>,
    data: Bytes,
    end: &'static [u8],
    wanted: VecDeque<Digits>,
}

impl Seed {
    fn new(link: Link, peer: &str, shape: Shape) -> Self {
        let envelope = envelope(peer, "block");
        let data = vec![b'x'; shape.block_size];
        let count = count(shape);
        let (begin, after, data, end): (Vec<u8>, String, Bytes, &[u8]) = match shape.form {
            Form::Binary => {
                let after = format!("{count}}}}}");
                let len = (envelope.len() + size_of::<Digits>() + after.len()) as u32;
                ([&len.to_be_bytes(), envelope.as_bytes()].concat(), after, data.into(), b"")
            }
            Form::Json => (envelope.into(), format!(r#"{count},"data":""#), BASE64.encode(&data).into(), b"\"}}"),
        };
        let opcode = if shape.form == Form::Binary { opcode::BINARY } else { opcode::TEXT };
        let len = begin.len() + size_of::<Digits>() + after.len() + data.len() + end.len();
        let before = [header(opcode, len), begin].concat();
        Self { link, peer: peer.to_owned(), before, after: after.into(), data, end, wanted: VecDeque::new() }
    }

    /// Serves until the connection ends. What is refused as `busy` is left to the fetcher, who asks again.
    pub(crate) async fn serve(mut self) -> Result<()> {
        loop {
            self.hear().await?;
            while !self.wanted.is_empty() {
                let count = self.wanted.len().min((BATCH / self.data.len()).clamp(1, BATCH_BLOCKS));
                let blocks: Vec<Digits> = self.wanted.drain(..count).collect();
                self.send(&blocks).await?;
            }
        }
    }

    /// Serves one block after the other, and sends what is refused as `busy` again after a while.
    pub(crate) async fn insist(mut self) -> Result<()> {
        loop {
            self.hear().await?;
            while let Some(digits) = self.wanted.pop_front() {
                while !self.is_taken(digits).await? {
                    sleep(BUSY_PAUSE).await;
                }
            }
        }
    }

    /// Sends a block, and tells whether it was not refused. A refusal comes before the answer to what is asked later.
    async fn is_taken(&mut self, digits: Digits) -> Result<bool> {
        self.send(&[digits]).await?;
        self.link.text(r#"{"type":"ping"}"#).await?;
        let mut is_taken = true;
        loop {
            match Said::of(&self.link.next().await?, &self.peer)? {
                Said::Pong => return Ok(is_taken),
                Said::Busy => is_taken = false,
                Said::Request(digits) => self.wanted.push_back(digits),
                Said::Block(_) | Said::Other => {}
            }
        }
    }

    /// Waits for something, and takes in all that is there.
    async fn hear(&mut self) -> Result<()> {
        let mut said = Said::of(&self.link.next().await?, &self.peer)?;
        loop {
            if let Said::Request(digits) = said {
                self.wanted.push_back(digits);
            }
            match self.link.received() {
                Some(frame) => said = Said::of(&frame, &self.peer)?,
                None => return Ok(()),
            }
        }
    }

    async fn send(&mut self, blocks: &[Digits]) -> Result<()> {
        let mut slices = Vec::with_capacity(5 * blocks.len());
        for digits in blocks {
            let parts = [&self.before, &digits[..], &self.after, &self.data, self.end];
            slices.extend(parts.into_iter().filter(|part| !part.is_empty()).map(IoSlice::new));
        }
        self.link.write_vectored(&mut slices).await
    }
}

/// What fetchers got.
#[derive(Debug, Default)]
pub(crate) struct Record(Mutex<Vec<Duration>>);

impl Record {
    /// The times from request to block of what was got since the last call.
    pub(crate) fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, trips: &mut Vec<Duration>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).append(trips);
    }
}

/// Asks for blocks, and throws away what it gets.
pub(crate) struct Fetcher {
    link: Link,
    /// The seed's id.
    peer: String,
    /// A request's frame, of which the digits are yet to be filled in, and how much comes after them.
    request: Vec<u8>,
    after: usize,
    next_block: u32,
    segments: u32,
    open: VecDeque<(Digits, Instant)>,
    /// What was got and not recorded yet.
    trips: Vec<Duration>,
}

impl Fetcher {
    fn new(link: Link, peer: &str, shape: Shape) -> Self {
        let after = format!("{}}}}}", count(shape));
        let digits = " ".repeat(size_of::<Digits>());
        let request = [&envelope(peer, "request"), &digits, &after].map(String::as_str).concat();
        Self {
            link,
            peer: peer.to_owned(),
            request: frame(opcode::TEXT, request.as_bytes()),
            after: after.len(),
            next_block: FIRST_BLOCK,
            segments: shape.segments() as u32,
            open: VecDeque::new(),
            trips: Vec::new(),
        }
    }

    /// Keeps `window` requests open until the connection ends.
    pub(crate) async fn ask_on(mut self, window: usize, record: &Record) -> Result<()> {
        let mut look = interval(OVERDUE / 4);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.ask(window - self.open.len()).await?;
            tokio::select! {
                biased;
                heard = self.hear() => heard?,
                _ = look.tick() => self.ask_again().await?,
            }
            record.add(&mut self.trips);
        }
    }

    /// Asks for one block in each `period`, after `delay`, until the connection ends.
    pub(crate) async fn ask_now_and_then(mut self, delay: Duration, period: Duration, record: &Record) -> Result<()> {
        sleep(delay).await;
        let mut turn = interval(period);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turn.tick().await;
            self.ask(1).await?;
            while !self.open.is_empty() {
                self.hear().await?;
            }
            record.add(&mut self.trips);
        }
    }

    /// Asks for `count` blocks, and reads nothing of what comes. The connection lasts as long as the result is kept.
    pub(crate) async fn ask_and_stall(mut self, count: usize) -> Result<Link> {
        self.ask(count).await?;
        Ok(self.link)
    }

    async fn ask(&mut self, count: usize) -> Result<()> {
        let mut requests = Vec::with_capacity(count * self.request.len());
        for _ in 0..count {
            let digits = digits(self.next_block * self.segments);
            self.next_block += 1;
            if self.next_block == BLOCKS as u32 {
                self.next_block = FIRST_BLOCK;
            }
            self.open.push_back((digits, Instant::now()));
            self.write_request(&mut requests, digits);
        }
        self.link.write(&requests).await
    }

    async fn ask_again(&mut self) -> Result<()> {
        let now = Instant::now();
        let mut overdue = Vec::new();
        for (digits, since) in self.open.iter_mut().filter(|(_, since)| now - *since > OVERDUE) {
            *since = now;
            overdue.push(*digits);
        }
        let mut requests = Vec::new();
        overdue.into_iter().for_each(|digits| self.write_request(&mut requests, digits));
        self.link.write(&requests).await
    }

    fn write_request(&self, requests: &mut Vec<u8>, digits: Digits) {
        requests.extend(&self.request);
        let place = requests.len() - self.after - digits.len();
        requests[place..][..digits.len()].copy_from_slice(&digits);
    }

    /// Waits for something, and takes in all that is there.
    async fn hear(&mut self) -> Result<()> {
        let mut said = Said::of(&self.link.next().await?, &self.peer)?;
        let now = Instant::now();
        loop {
            // Nearly always the first is the one, because blocks come in the order of their requests.
            if let Said::Block(digits) = said
                && let Some(place) = self.open.iter().position(|(open, _)| *open == digits)
                && let Some((_, since)) = self.open.remove(place)
            {
                self.trips.push(now - since);
            }
            match self.link.received() {
                Some(frame) => said = Said::of(&frame, &self.peer)?,
                None => return Ok(()),
            }
        }
    }
}

fn digits(index: u32) -> Digits {
    let mut digits = [b' '; size_of::<Digits>()];
    let mut rest = index;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    digits
}
