//! The MiniBit peer.

#[cfg(target_arch = "wasm32")]
pub mod browser;
pub mod client;
pub mod page;
pub mod swarm;
mod time;

pub use time::Instant;
