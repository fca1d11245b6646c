//! What a transfer waits for.

use super::transfer::{Stage, Transfer};
use crate::{Instant, swarm::Want};
use serde::{Deserialize, Serialize};

/// Why a file that is fetched does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// There is no line to the tracker.
    Tracker,
    /// Nobody in the room has the file, or the blocks that are missing.
    Source,
    /// Somebody was asked for the list of the file's blocks.
    Manifest,
    /// Room is being made for the file, or the disk is slow to take what is here.
    Storage,
    /// Peers have what is missing, and serve others first.
    HeldBack,
    /// Peers refused what they were asked for; they are asked again.
    Rejected,
    /// Peers were asked and do not answer.
    Answer,
}

impl From<Want> for WaitsFor {
    fn from(want: Want) -> Self {
        match want {
            Want::Source => Self::Source,
            Want::HeldBack => Self::HeldBack,
            Want::Rejected => Self::Rejected,
            Want::Answer => Self::Answer,
            Want::Storage => Self::Storage,
        }
    }
}

impl Transfer {
    /// What it waits for, unless it is whole, has failed, or blocks are coming.
    pub(super) fn waits_for(&self, is_online: bool, now: Instant) -> Option<WaitsFor> {
        match &self.stage {
            Stage::Failed { .. } => None,
            Stage::Active { swarm, .. } if swarm.is_complete() => None,
            Stage::Preparing { .. } => Some(WaitsFor::Storage),
            Stage::Searching(_) | Stage::Active { .. } if !is_online => Some(WaitsFor::Tracker),
            Stage::Searching(search) if search.is_in_vain() => Some(WaitsFor::Source),
            Stage::Searching(_) => Some(WaitsFor::Manifest),
            Stage::Active { swarm, .. } => swarm.want(now).map(WaitsFor::from),
        }
    }
}
