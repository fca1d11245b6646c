//! What a peer costs that is there and does nothing.

use crate::{
    client::{Form, Peer},
    crowd, modes,
    report::Figures,
};
use anyhow::Result;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use std::{ops::Range, time::Duration};
use tests::{
    eventually::eventually,
    server::Server,
    status::{figure, status},
};
use tokio::net::TcpStream;

/// Peers that are there at the beginning, so that what the process takes anyhow is not counted.
const FIRST: usize = 100;
const PEERS: usize = 10_000;
const LIMIT: Duration = Duration::from_secs(60);

pub(super) async fn measure(figures: &mut Figures) -> Result<()> {
    crowd::check_descriptors()?;
    let tracker = modes::tracker(&[])?;
    let mut peers = join(&tracker, 0..FIRST).await?;
    let before = at_rest(&tracker, FIRST).await?;
    peers.extend(join(&tracker, FIRST..PEERS).await?);
    let after = at_rest(&tracker, PEERS).await?;
    let per_peer = (after as f64 - before as f64) / (PEERS - FIRST) as f64;
    println!("idle: {before} KiB with {FIRST} peers, {after} KiB with {PEERS}");
    figures.add("idle_kib_per_connection", per_peer);
    Ok(())
}

async fn join(tracker: &Server, numbers: Range<usize>) -> Result<Vec<TcpStream>> {
    let addr = tracker.addr()?;
    let joining = numbers.map(|number| async move {
        let peer = Peer::join(addr, crowd::source(number), "lobby", Form::Binary, 0).await?;
        anyhow::Ok(peer.link.into_stream())
    });
    stream::iter(joining).buffer_unordered(crowd::AT_ONCE).try_collect().await
}

/// The resident KiB once all peers are there and the figure ceased to change.
async fn at_rest(tracker: &Server, peers: usize) -> Result<u64> {
    let addr = tracker.addr()?;
    let mut last = (0, 0);
    eventually("the tracker to be at rest", LIMIT, async || {
        let present = figure(&status(addr).await?, "peers");
        let now = (present, tracker.resident_kib()?);
        let is_at_rest = present == peers as u64 && now == last;
        last = now;
        Ok(if is_at_rest { Ok(now.1) } else { Err(now) })
    })
    .await
}
