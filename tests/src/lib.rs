//! What the end-to-end tests share: a real tracker, and clients to talk to it.

pub mod browser;
pub mod client;
pub mod eventually;
pub mod figures;
pub mod hostile;
pub mod http;
pub mod json_peer;
pub mod link;
pub mod network;
pub mod noise;
pub mod observer;
pub mod process;
pub mod scale;
pub mod server;
pub mod small_file;
pub mod status;
pub mod tracker;
