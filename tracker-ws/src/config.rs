//! What a tracker can be told.

use crate::{Limits, Tls};
use clap::Args;
use std::path::PathBuf;

/// How a tracker listens, whom it lets in, what it serves and what it allows. The defaults are those of the command
/// line.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Name or address to listen on; 0.0.0.0 for every network of this machine
    #[arg(long, env = "MINIBIT_HOST", default_value_t = Config::default().host)]
    pub host: String,
    /// Port to listen on; 0 for any free one
    #[arg(long, env = "MINIBIT_PORT", default_value_t = Config::default().port)]
    pub port: u16,
    /// Folder of the built page
    #[arg(long = "page", env = "MINIBIT_PAGE", default_value_os_t = Config::default().page_dir, value_name = "FOLDER")]
    pub page_dir: PathBuf,
    /// TLS
    #[command(flatten)]
    pub tls: Tls,
    /// What a client may do
    #[command(flatten)]
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 9000,
            page_dir: "web/dist".into(),
            tls: Tls::default(),
            limits: Limits::default(),
        }
    }
}
