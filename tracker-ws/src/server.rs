//! Stub.
use crate::Config;
use std::{io, net::SocketAddr};
use tokio::net::TcpListener;

/// A tracker that listens.
#[derive(Debug)]
pub struct Tracker {
    listener: TcpListener,
    addr: SocketAddr,
}

impl Tracker {
    /// Listens.
    ///
    /// # Errors
    /// If it cannot.
    pub async fn bind(config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind((config.host.as_str(), config.port)).await?;
        let addr = listener.local_addr()?;
        Ok(Self { listener, addr })
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `shutdown` is ready.
    ///
    /// # Errors
    /// If the listener fails.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        shutdown.await;
        drop(self.listener);
        Ok(())
    }
}
