//! The real tracker with native clients.

mod access;
mod endpoints;
mod hostile;
mod limits;
mod stopping;
mod stun;
mod swarm;
mod tls;
mod tracker;
