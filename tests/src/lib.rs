//! What the end-to-end tests share: a real tracker, and clients to talk to it.

pub mod tracker;
