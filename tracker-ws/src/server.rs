//! The tracker as a server: listening, accepting, stopping.

use crate::{
    Config,
    http::{self, App},
    hub::Hub,
};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

/// How long a client may take to send the head of an HTTP request, the first as well as a later one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of such a head.
const HEAD_BYTES: usize = 16 << 10;
/// Connections that speak HTTP at one time; those that became WebSockets are counted apart.
const MAX_HTTP_CONNECTIONS: usize = 1_024;
/// The wait after the system could not accept a connection, which mostly means that it has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the connections may take to end when the tracker stops.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Why a tracker cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {host}:{port}: {error}; {advice}")]
pub struct BindError {
    host: String,
    port: u16,
    error: io::Error,
    advice: &'static str,
}

/// A tracker that listens and has yet to [`Tracker::run`].
#[derive(Debug)]
pub struct Tracker {
    listener: TcpListener,
    addr: SocketAddr,
    hub: Arc<Hub>,
}

impl Tracker {
    /// Listens on the address that `config` says.
    ///
    /// # Errors
    /// If the address cannot be listened on; the message says what to do about it.
    pub async fn bind(config: Config) -> Result<Self, BindError> {
        let failed = |error: io::Error| BindError {
            host: config.host.clone(),
            port: config.port,
            advice: advice(error.kind()),
            error,
        };
        let listener = TcpListener::bind((config.host.as_str(), config.port)).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let (mut key, mut seed) = ([0; 32], [0; 8]);
        for random in [&mut key[..], &mut seed] {
            getrandom::fill(random).map_err(|error| failed(error.into()))?;
        }
        let hub = Arc::new(Hub::new(config, key, u64::from_ne_bytes(seed)));
        Ok(Self { listener, addr, hub })
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `shutdown` is ready; then closes every connection with 1001 and returns when all are done, at the
    /// latest after 5 seconds.
    ///
    /// # Errors
    /// None so far: a connection that fails ends alone.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let Self { listener, addr, hub } = self;
        info!(%addr, page = %hub.config().page_dir.display(), "listening");
        let timers = tokio::spawn({
            let hub = Arc::clone(&hub);
            async move { hub.run_timers().await }
        });
        let (alive, mut all_done) = mpsc::channel(1);
        let (stop, stopping) = watch::channel(false);
        accept(&listener, http::router(App { hub: Arc::clone(&hub), alive }), stopping, shutdown).await;

        info!("stopping");
        drop(listener);
        stop.send_replace(true);
        hub.stop();
        if timeout(STOP_GRACE, all_done.recv()).await.is_err() {
            warn!("some connections did not end in time");
        }
        timers.abort();
        Ok(())
    }
}

async fn accept(
    listener: &TcpListener,
    router: Router,
    stopping: watch::Receiver<bool>,
    shutdown: impl Future<Output = ()>,
) {
    let slots = Arc::new(Semaphore::new(MAX_HTTP_CONNECTIONS));
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => return,
        };
        match accepted {
            Ok((stream, addr)) => match Arc::clone(&slots).try_acquire_owned() {
                Ok(slot) => drop(tokio::spawn(serve_http(stream, router.clone(), stopping.clone(), slot))),
                Err(_) => debug!(%addr, "too many HTTP connections"),
            },
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves HTTP on one connection until it ends, becomes a WebSocket, or the tracker stops.
async fn serve_http(
    stream: TcpStream,
    router: Router,
    mut stopping: watch::Receiver<bool>,
    _slot: OwnedSemaphorePermit,
) {
    // Requests and grants are small and somebody waits for each.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "cannot set TCP_NODELAY");
    }
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_header_size(HEAD_BYTES);
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let stop = async {
        // An error means that the tracker is gone altogether.
        let _ = stopping.wait_for(|stop| *stop).await;
    };
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        debug!(%error, "an HTTP connection failed");
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "there are dozens of kinds, and advice for three")]
fn advice(error: io::ErrorKind) -> &'static str {
    match error {
        io::ErrorKind::AddrInUse => {
            "another program, perhaps another tracker, has this port: stop it, or choose another port with --port"
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 are reserved: choose a higher one with --port",
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: use --host 127.0.0.1 for this machine alone, or --host 0.0.0.0 for \
             every network it is in"
        }
        _ => "check --host and --port",
    }
}
