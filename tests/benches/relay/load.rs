//! Pairs of clients under load, and what is measured of them.

use crate::client::{self, Record, Shape};
use anyhow::{Context as _, Result, bail};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};
use tests::server::Server;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// Where well-behaved clients come from.
pub(crate) const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// How pairs find each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By the protocol.
    Relay,
    /// By the order in which they connect.
    Forwarder,
}

/// Pairs that are at work until this is dropped.
pub(crate) struct Load {
    tasks: JoinSet<Result<()>>,
    record: Arc<Record>,
    block_size: usize,
    /// The room of the last pair.
    room: String,
}

/// What was measured in one window of time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    /// Payload per second in MB (10^6 bytes).
    pub(crate) mb_s: f64,
    /// CPU time of the server for each GB (10^9 bytes) of payload, in seconds.
    pub(crate) cpu_s_per_gb: f64,
    /// Milliseconds from a request to its block: median, 99th and 99.9th percentile.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
}

impl Load {
    /// Pairs of which each has `window` requests open at any time. Each comes from an address of its own, because the
    /// limits of an address are not what is measured.
    pub(crate) async fn full(server: &Server, way: Way, shape: Shape, pairs: u8, window: usize) -> Result<Self> {
        let mut load = Self::none(shape);
        for number in 0..pairs {
            load.room = fresh_room();
            let source = Ipv4Addr::new(127, 0, 3, 1 + number).into();
            let (seed, fetcher) = match way {
                Way::Relay => client::pair(server.addr()?, source, &load.room, shape).await?,
                Way::Forwarder => client::plain_pair(server.addr()?, source, shape).await?,
            };
            let record = Arc::clone(&load.record);
            load.tasks.spawn(seed.serve());
            load.tasks.spawn(async move { fetcher.ask_on(window, &record).await });
        }
        Ok(load)
    }

    /// Pairs of which each asks for a block in every `period`, one after the other.
    pub(crate) async fn light(server: &Server, shape: Shape, pairs: u32, period: Duration) -> Result<Self> {
        let mut load = Self::none(shape);
        let mut ready = Vec::new();
        for _ in 0..pairs {
            load.room = fresh_room();
            ready.push(client::pair(server.addr()?, SOURCE, &load.room, shape).await?);
        }
        for (number, (seed, fetcher)) in (0..pairs).zip(ready) {
            let record = Arc::clone(&load.record);
            load.tasks.spawn(seed.serve());
            let delay = period * number / pairs;
            load.tasks.spawn(async move { fetcher.ask_now_and_then(delay, period, &record).await });
        }
        Ok(load)
    }

    fn none(shape: Shape) -> Self {
        Self { tasks: JoinSet::new(), record: Arc::default(), block_size: shape.block_size, room: String::new() }
    }

    /// The room of one of the pairs.
    pub(crate) fn room(&self) -> &str {
        &self.room
    }

    /// Lets the load run for `warm_up`, and measures for `window`.
    pub(crate) async fn measure(&mut self, server: &Server, warm_up: Duration, window: Duration) -> Result<Figures> {
        sleep(warm_up).await;
        self.record.take();
        let (start, cpu) = (Instant::now(), server.cpu_seconds()?);
        sleep(window).await;
        let (seconds, cpu) = (start.elapsed().as_secs_f64(), server.cpu_seconds()? - cpu);
        let mut trips = self.record.take();
        if let Some(ended) = self.tasks.try_join_next() {
            ended?.context("a client of the load failed")?;
            bail!("a client of the load ended");
        }
        trips.sort_unstable();
        let ms = |part: f64| {
            let place = (trips.len() as f64 * part) as usize;
            trips
                .get(place)
                .or_else(|| trips.last())
                .map(|trip| trip.as_secs_f64() * 1e3)
                .context("nothing came through")
        };
        let bytes = (trips.len() * self.block_size) as f64;
        Ok(Figures {
            mb_s: bytes / 1e6 / seconds,
            cpu_s_per_gb: cpu / (bytes / 1e9),
            p50_ms: ms(0.5)?,
            p99_ms: ms(0.99)?,
            p999_ms: ms(0.999)?,
        })
    }
}

/// The name of a room in which nobody is.
pub(crate) fn fresh_room() -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    format!("room-{}", LAST.fetch_add(1, Relaxed))
}
