//! The MiniBit peer.

pub mod page;
