//! The MiniBit peer.

pub mod page;
pub mod swarm;
mod time;

pub use time::Instant;
