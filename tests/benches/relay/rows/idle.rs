//! What a peer costs that is there and does nothing.

use crate::{
    client::{Form, Peer},
    crowd, modes,
};
use anyhow::Result;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use std::{ops::Range, time::Duration};
use tests::{
    eventually::eventually,
    figures::Figures,
    scale::{Scale, Scaled},
    server::Server,
    status::{figure, status},
};
use tokio::net::TcpStream;

/// Peers that are there at the beginning, so that what the process takes anyhow is not counted.
const FIRST: Scaled<usize> = Scaled(100, 20);
const PEERS: Scaled<usize> = Scaled(10_000, 200);
const LIMIT: Duration = Duration::from_secs(60);

pub(super) async fn measure(scale: Scale, figures: &mut Figures) -> Result<()> {
    let (first, all) = (FIRST.at(scale), PEERS.at(scale));
    crowd::check_descriptors(all)?;
    let tracker = modes::tracker(scale)?;
    let mut peers = join(&tracker, 0..first).await?;
    let before = at_rest(&tracker, first).await?;
    peers.extend(join(&tracker, first..all).await?);
    let after = at_rest(&tracker, all).await?;
    let per_peer = (after as f64 - before as f64) / (all - first) as f64;
    println!("idle: {before} KiB with {first} peers, {after} KiB with {all}");
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
