//! Peers at work while others do everything that is forbidden.

use crate::{
    client::{BLOCKS, FILE, Form, Shape},
    load::{Load, Way},
    modes,
    report::{Figures, median},
};
use anyhow::Result;
use std::{net::SocketAddr, time::Duration};
use tests::{
    eventually::eventually,
    hostile::{Target, all},
    status::{figure, status},
};
use tokio::task::JoinSet;

const ROUNDS: usize = 3;
const WARM_UP: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(4);
const SHAPE: Shape = Shape { form: Form::Binary, block_size: 64 << 10 };
const PAIRS: u8 = 4;
/// The requests that each pair keeps open.
const REQUESTS: usize = 16;
const HOSTILE: usize = 200;
/// How long the tracker may take to forget them.
const SOON: Duration = Duration::from_secs(60);

/// Measures with these behaviours.
pub(super) async fn measure(behaviours: &[String], figures: &mut Figures) -> Result<()> {
    let tracker = modes::tracker(&[])?;
    let (mut parts, mut resident) = (Vec::new(), Vec::new());
    let (mut peaceful, mut harassed, mut attackers) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let mut load = Load::full(&tracker, Way::Relay, SHAPE, PAIRS, REQUESTS).await?;
        let without = load.measure(&tracker, WARM_UP, WINDOW).await?;
        let hostile = modes::hostile(tracker.addr()?, load.room(), behaviours)?;
        let with = load.measure(&tracker, WARM_UP, WINDOW).await?;
        let cpu = hostile.cpu_seconds()?;
        drop((hostile, load));
        let addr = tracker.addr()?;
        eventually("everybody to be gone", SOON, async || {
            let left = figure(&status(addr).await?, "connections");
            Ok(if left == 0 { Ok(()) } else { Err(left) })
        })
        .await?;
        resident.push(tracker.resident_kib()?);
        println!(
            "round {round} of {ROUNDS}: {:.1} MB/s at {:.2} CPU-s per GB; with hostile clients {:.1} at {:.2}, while those \
             used {cpu:.1} CPU-s",
            without.mb_s, without.cpu_s_per_gb, with.mb_s, with.cpu_s_per_gb,
        );
        parts.push(with.mb_s / without.mb_s);
        peaceful.push(without.mb_s);
        harassed.push(with.mb_s);
        attackers.push(cpu);
    }
    figures.add("hostile_ok", median(parts.into_iter()));
    figures.add("hostile_without_mb_s", median(peaceful.into_iter()));
    figures.add("hostile_with_mb_s", median(harassed.into_iter()));
    figures.add("hostile_clients_cpu_s", median(attackers.into_iter()));
    // After the first round everything is there that stays.
    if let [first, .., last] = resident[..] {
        figures.add("hostile_memory_mib", (last as f64 - first as f64) / 1024.0);
    }
    Ok(())
}

/// Does these things to the tracker at this address and to the peers of this room, without end.
pub(crate) async fn attack(addr: SocketAddr, room: &str, behaviours: &[&str]) {
    let target = Target {
        addr,
        room: room.to_owned(),
        file: FILE.to_owned(),
        size: (BLOCKS * SHAPE.block_size) as u64,
        block_size: SHAPE.block_size as u32,
    };
    let wanted: Vec<_> = all().into_iter().filter(|behaviour| behaviours.contains(&behaviour.name)).collect();
    let mut clients = JoinSet::new();
    for behaviour in wanted.into_iter().cycle().take(HOSTILE) {
        let target = target.clone();
        clients.spawn(async move { behaviour.forever(&target).await });
    }
    clients.join_all().await;
}
