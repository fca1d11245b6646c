//! The MiniBit tracker.

mod config;
mod server;

pub use config::Config;
pub use server::Tracker;
