//! What a tracker can be told.

use crate::{AllowedOrigin, Limits, StunServer, Tls, Token};
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
    /// Origin of pages that may connect, as a scheme, a host and perhaps a port, or * for any; can be given several
    /// times. By default only the tracker's own page may
    #[arg(long = "origin", env = "MINIBIT_ORIGIN", value_delimiter = ',', value_name = "ORIGIN")]
    pub origins: Vec<AllowedOrigin>,
    /// Token without which nobody may connect; the address that is printed carries it
    #[arg(long, env = "MINIBIT_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<Token>,
    /// Token with which peers may be removed; without one nobody may
    #[arg(long, env = "MINIBIT_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub admin_token: Option<Token>,
    /// Answer no STUN requests, by which browsers learn how others see them; they come over UDP, to the same port
    #[arg(long, env = "MINIBIT_NO_STUN")]
    pub no_stun: bool,
    /// Other STUN server for clients to ask, such as stun:stun.example.org:3478; can be given several times, at most 8
    #[arg(long = "stun", env = "MINIBIT_STUN", value_delimiter = ',', value_name = "URI")]
    pub stun_servers: Vec<StunServer>,
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
            origins: Vec::new(),
            token: None,
            admin_token: None,
            no_stun: false,
            stun_servers: Vec::new(),
            tls: Tls::default(),
            limits: Limits::default(),
        }
    }
}
