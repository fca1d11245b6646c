//! The real tracker with native clients.

mod hostile;
mod json_peer;
mod swarm;
mod tracker;
