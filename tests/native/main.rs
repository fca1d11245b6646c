//! The real tracker with native clients.

mod tracker;
