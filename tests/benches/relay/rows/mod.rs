//! The rows of the table: what is measured, and what is to be reached.

mod hostile;
mod idle;
mod stalled;
mod storm;
mod throughput;

pub(crate) use hostile::attack;

use anyhow::Result;
use tests::{figures::Figures, scale::Scale};

/// One figure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) reach: Reach,
}

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reach {
    AtLeast(f64),
    AtMost(f64),
    Anything,
}

impl Reach {
    pub(crate) fn is_reached(self, value: f64) -> bool {
        match self {
            Self::AtLeast(limit) => value >= limit,
            Self::AtMost(limit) => value <= limit,
            Self::Anything => true,
        }
    }
}

/// Every row.
pub(crate) const ALL: [Row; 11] = [
    Row {
        name: "binary_256k_over_tcp",
        what: "payload relayed in binary frames of 256 KiB / through the TCP forwarder",
        reach: Reach::AtLeast(0.75),
    },
    Row { name: "binary_64k_over_tcp", what: "the same with 64 KiB", reach: Reach::AtLeast(0.65) },
    Row {
        name: "json_64k_over_tcp",
        what: "payload relayed as base64 in JSON, 64 KiB before encoding / through the TCP forwarder, not encoded",
        reach: Reach::AtLeast(0.4),
    },
    Row {
        name: "cpu_64k_over_naive",
        what: "the tracker's CPU time per GB, binary frames of 64 KiB / the naive relay's",
        reach: Reach::AtMost(0.9),
    },
    Row { name: "cpu_16k_over_naive", what: "the same with 16 KiB", reach: Reach::AtMost(0.7) },
    Row {
        name: "idle_kib_per_connection",
        what: "resident KiB for each of 10,000 registered peers",
        reach: Reach::AtMost(12.0),
    },
    Row {
        name: "stalled_victim_p99",
        what: "99th percentile from request to block while 2 of 200 receivers do not read / while all do",
        reach: Reach::AtMost(1.2),
    },
    Row {
        name: "stalled_memory_mib",
        what: "resident MiB that the tracker grew by meanwhile; the budget is 512",
        reach: Reach::AtMost(512.0),
    },
    Row {
        name: "storm_10k_s",
        what: "seconds until 10,000 clients have connected, registered, announced one file and asked for 20 peers",
        reach: Reach::Anything,
    },
    Row {
        name: "storm_messages_per_join",
        what: "messages from the tracker for each of them",
        reach: Reach::AtMost(40.0),
    },
    Row {
        name: "hostile_ok",
        what: "payload relayed while 200 clients do everything that is forbidden / while none does",
        reach: Reach::AtLeast(0.7),
    },
];

/// Measures these rows; what hostile clients do is `behaviours`.
pub(crate) async fn measure(scale: Scale, rows: &[Row], behaviours: &[String], figures: &mut Figures) -> Result<()> {
    let is_wanted = |name: &str| rows.iter().any(|row| row.name == name);
    throughput::measure(scale, is_wanted, figures).await?;
    if is_wanted("idle_kib_per_connection") {
        idle::measure(scale, figures).await?;
    }
    if is_wanted("stalled_victim_p99") || is_wanted("stalled_memory_mib") {
        stalled::measure(scale, figures).await?;
    }
    if is_wanted("storm_10k_s") || is_wanted("storm_messages_per_join") {
        storm::measure(scale, figures).await?;
    }
    if is_wanted("hostile_ok") {
        hostile::measure(scale, behaviours, figures).await?;
    }
    Ok(())
}
