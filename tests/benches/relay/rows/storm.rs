//! Everybody at once: a class opens the link, or comes back after the tracker was restarted.

use crate::{
    client::{Form, announce, get_peers, register},
    crowd, modes,
};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tests::{
    eventually::eventually,
    figures::Figures,
    link::{Link, opcode},
    scale::{Scale, Scaled},
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, timeout},
};

const JOINS: Scaled<usize> = Scaled(10_000, 200);
/// As many peers as a tab asks for.
const PEERS: u32 = 20;
const BLOCK_SIZE: usize = 64 << 10;
const LIMIT: Duration = Duration::from_secs(90);

pub(super) async fn measure(scale: Scale, figures: &mut Figures) -> Result<()> {
    let joins = JOINS.at(scale);
    crowd::check_descriptors(joins)?;
    let tracker = modes::tracker(scale)?;
    let addr = tracker.addr()?;
    let heard = Arc::new(AtomicU64::new(0));
    let places = Arc::new(Semaphore::new(crowd::AT_ONCE));
    let (joined, mut joining) = mpsc::channel(joins);
    let mut clients = JoinSet::new();
    let start = Instant::now();
    for number in 0..joins {
        let place = Arc::clone(&places).acquire_owned().await?;
        let (heard, joined) = (Arc::clone(&heard), joined.clone());
        clients.spawn(async move {
            let mut client = Client { link: join(addr, number).await?, heard };
            joined.send(client.introductions().await?).await?;
            drop(place);
            client.listen().await
        });
    }
    drop(joined);
    let mut introductions = Vec::new();
    for number in 0..joins {
        let next = timeout(LIMIT, joining.recv()).await;
        match next {
            Ok(Some(pairs)) => introductions.extend(pairs),
            Ok(None) | Err(_) => {
                let why = clients.try_join_next().context("no answer in time").and_then(|ended| ended?);
                why.with_context(|| format!("only {number} clients joined"))?;
                bail!("only {number} clients joined");
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    // `registered`, `announced`, `peers`, and one `peer_joined` for each pair, also if both were given each other.
    let pairs: BTreeSet<_> = introductions.into_iter().collect();
    let expected = (3 * joins + pairs.len()) as u64;
    eventually("all news to arrive", LIMIT, async || {
        let heard = heard.load(Relaxed);
        Ok(if heard >= expected { Ok(()) } else { Err((heard, expected)) })
    })
    .await?;
    let heard = heard.load(Relaxed);
    println!("storm: {joins} joins in {seconds:.2} s, {heard} messages, tracker {:.2} CPU-s", tracker.cpu_seconds()?);
    figures.add("storm_10k_s", seconds);
    figures.add("storm_cpu_s", tracker.cpu_seconds()?);
    figures.add("storm_messages_per_join", heard as f64 / joins as f64);
    Ok(())
}

/// Connects, and says everything at once.
async fn join(addr: SocketAddr, number: usize) -> Result<Link> {
    let mut link = Link::connect(addr, crowd::source(number), 0).await?;
    for request in [register("lobby", Form::Binary), announce(BLOCK_SIZE, false), get_peers(PEERS)] {
        link.text(&request.to_string()).await?;
    }
    Ok(link)
}

/// The id of whoever the message is about.
fn id(message: &Value) -> Result<u64> {
    Ok(u64::from_str_radix(message["id"].as_str().context("no id")?, 16)?)
}

struct Client {
    link: Link,
    heard: Arc<AtomicU64>,
}

impl Client {
    /// Waits for the peers that were asked for, and gives the pairs that they and this one make.
    async fn introductions(&mut self) -> Result<Vec<[u64; 2]>> {
        let mut own = 0;
        loop {
            let message = self.hear().await?;
            match message["type"].as_str() {
                Some("registered") => own = id(&message)?,
                Some("peers") => {
                    let others = message["peers"].as_array().context("no peers")?.iter().map(id);
                    return others.map(|other| other.map(|other| [own.min(other), own.max(other)])).collect();
                }
                Some("error") => bail!("refused: {message}"),
                _ => {}
            }
        }
    }

    async fn listen(mut self) -> Result<()> {
        loop {
            self.hear().await?;
        }
    }

    async fn hear(&mut self) -> Result<Value> {
        loop {
            let frame = self.link.next().await?;
            match frame.opcode {
                opcode::TEXT => {
                    self.heard.fetch_add(1, Relaxed);
                    return Ok(serde_json::from_slice(frame.head)?);
                }
                opcode::CLOSE => bail!("closed with {:?}", frame.close_code()),
                _ => {}
            }
        }
    }
}
