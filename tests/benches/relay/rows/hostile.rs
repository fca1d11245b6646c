//! Peers at work while others do everything that is forbidden.

use crate::{
    client::{BLOCKS, FILE, Form, Shape},
    load::{Load, Way},
    modes,
};
use anyhow::Result;
use std::{net::SocketAddr, time::Duration};
use tests::{
    eventually::eventually,
    figures::{Figures, median},
    hostile::{Target, all},
    scale::{Scale, Scaled},
    status::{figure, status},
};
use tokio::task::JoinSet;

const ROUNDS: Scaled<usize> = Scaled(3, 2);
const WARM_UP: Scaled<Duration> = Scaled(Duration::from_secs(1), Duration::from_millis(200));
const WINDOW: Scaled<Duration> = Scaled(Duration::from_secs(4), Duration::from_millis(500));
const SHAPE: Shape = Shape { form: Form::Binary, block_size: 64 << 10 };
const PAIRS: u8 = 4;
/// The requests that each pair keeps open.
const REQUESTS: usize = 16;
const HOSTILE: Scaled<usize> = Scaled(200, 20);
/// How long the tracker may take to forget them.
const SOON: Duration = Duration::from_secs(60);

/// Measures with these behaviours.
pub(super) async fn measure(scale: Scale, behaviours: &[String], figures: &mut Figures) -> Result<()> {
    let tracker = modes::tracker(scale)?;
    let (rounds, warm_up, window) = (ROUNDS.at(scale), WARM_UP.at(scale), WINDOW.at(scale));
    let (mut peaceful, mut harassed) = (Vec::new(), Vec::new());
    let (mut attackers, mut resident) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let mut load = Load::full(&tracker, Way::Relay, SHAPE, PAIRS, REQUESTS).await?;
        let without = load.measure(&tracker, warm_up, window).await?;
        let hostile = modes::hostile(tracker.addr()?, load.room(), HOSTILE.at(scale), behaviours)?;
        let with = load.measure(&tracker, warm_up, window).await?;
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
            "round {round} of {rounds}: {:.1} MB/s at {:.2} CPU-s per GB; with hostile clients {:.1} at {:.2}, while those \
             used {cpu:.1} CPU-s",
            without.mb_s, without.cpu_s_per_gb, with.mb_s, with.cpu_s_per_gb,
        );
        peaceful.push(without);
        harassed.push(with);
        attackers.push(cpu);
    }
    let parts = harassed.iter().zip(&peaceful).map(|(with, without)| with.mb_s / without.mb_s);
    figures.add("hostile_ok", median(parts));
    for (name, rounds) in [("without", &peaceful), ("with", &harassed)] {
        figures.add(&format!("hostile_{name}_mb_s"), median(rounds.iter().map(|round| round.mb_s)));
        figures.add(&format!("hostile_{name}_cpu_s_per_gb"), median(rounds.iter().map(|round| round.cpu_s_per_gb)));
    }
    figures.add("hostile_clients_cpu_s", median(attackers));
    // After the first round everything is there that stays.
    if let [first, .., last] = resident[..] {
        figures.add("hostile_memory_mib", (last as f64 - first as f64) / 1024.0);
    }
    Ok(())
}

/// So many clients do these things to the tracker at this address and to the peers of this room, without end.
pub(crate) async fn attack(addr: SocketAddr, room: &str, count: usize, behaviours: &[&str]) {
    let target = Target {
        addr,
        room: room.to_owned(),
        file: FILE.to_owned(),
        size: (BLOCKS * SHAPE.block_size) as u64,
        block_size: SHAPE.block_size as u32,
    };
    let wanted: Vec<_> = all().into_iter().filter(|behaviour| behaviours.contains(&behaviour.name)).collect();
    let mut clients = JoinSet::new();
    for behaviour in wanted.into_iter().cycle().take(count) {
        let target = target.clone();
        clients.spawn(async move { behaviour.forever(&target).await });
    }
    clients.join_all().await;
}
