//! The tracker's figures.

use crate::{refusals::Reason, registry::Census};
use serde::Serialize;
use std::collections::BTreeMap;

/// How the tracker is doing at a moment. Nothing in it tells of one peer, file, room or address.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub(crate) version: &'static str,
    pub(crate) uptime_seconds: u64,
    /// WebSockets that are open, and the most that may be.
    pub(crate) connections: usize,
    pub(crate) max_connections: usize,
    #[serde(flatten)]
    pub(crate) census: Census,
    /// How many rooms have how many peers.
    pub(crate) rooms_by_size: BTreeMap<&'static str, usize>,
    pub(crate) relayed_messages: u64,
    pub(crate) relayed_bytes: u64,
    /// Bytes of data that wait for their receivers, and the most that may.
    pub(crate) waiting_bytes: usize,
    /// Bytes of large messages whose end is not there yet, of which there may be as many again.
    pub(crate) incoming_bytes: usize,
    pub(crate) memory_bytes: usize,
    /// How often a client sent too much and was not read for a while.
    pub(crate) pauses: u64,
    /// Datagrams that were answered by STUN, and those that were not: no requests, or too many.
    pub(crate) stun_answers: u64,
    pub(crate) stun_dropped: u64,
    /// Messages that were refused, connections that were closed, and what got no further than HTTP.
    pub(crate) refused: BTreeMap<Reason, u64>,
}
