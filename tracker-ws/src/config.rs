//! What a tracker can be told.

use protocol::Limits;
use std::{path::PathBuf, time::Duration};

/// How a tracker listens, what it serves and what it allows. The defaults are those of the command line.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name or address to listen on; `0.0.0.0` or `::` for every network of this machine.
    pub host: String,
    /// The TCP port; 0 for any free one.
    pub port: u16,
    /// The folder of the built page.
    pub page_dir: PathBuf,
    /// What one client may do; told to it at `registered`.
    pub limits: Limits,
    /// Open WebSocket connections, beyond which new ones are closed with 4003.
    pub max_connections: usize,
    /// How long a connection may stay without `register`.
    pub register_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 9000,
            page_dir: "web/dist".into(),
            limits: Limits::default(),
            max_connections: 20_000,
            register_timeout: Duration::from_secs(10),
        }
    }
}
