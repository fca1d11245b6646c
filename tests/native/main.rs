//! The real tracker with native clients.

mod json_peer;
mod swarm;
mod tracker;
