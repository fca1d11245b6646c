//! The tracker as a server: listening, accepting, stopping.

use crate::{
    Certificate, Config, TlsError,
    http::{self, App},
    hub::Hub,
    refusals::{Http, Reason},
    summary,
    tls::{self, Front},
};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

/// How long a client may take to send the head of an HTTP request, the first as well as a later one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of such a head.
const HEAD_BYTES: usize = 16 << 10;
/// Connections that speak HTTP at one time; those that became WebSockets are counted apart. Others wait for their turn.
const MAX_HTTP_CONNECTIONS: usize = 1_024;
/// How long a connection may ask for one thing after the other before it has to make room.
const HTTP_LIFETIME: Duration = Duration::from_secs(60);
/// How long the last answer may take after that; the page of some MB gets through a line of 300 kbit/s.
const LAST_ANSWER: Duration = Duration::from_secs(60);
/// The wait after the system could not accept a connection, which mostly means that it has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the connections may take to read what waits for them when the tracker stops.
const DRAIN_GRACE: Duration = Duration::from_secs(4);
/// How long they may take to end after that.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Why a tracker cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {host}:{port}: {error}; {advice}")]
pub struct BindError {
    host: String,
    port: u16,
    error: io::Error,
    advice: &'static str,
}

/// Why a tracker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It cannot listen.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// It has no certificate to show.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A tracker that listens and has yet to [`Tracker::run`].
#[derive(Debug)]
pub struct Tracker {
    listener: TcpListener,
    addr: SocketAddr,
    pub(crate) hub: Arc<Hub>,
    certificate: Option<Arc<Certificate>>,
}

impl Tracker {
    /// Listens on the address that `config` says.
    ///
    /// # Errors
    /// If the address cannot be listened on, or a certificate cannot be used; the message says what to do about it.
    pub async fn bind(config: Config) -> Result<Self, StartError> {
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
        let certificate = Certificate::open(&config.tls, &config.host)?.map(Arc::new);
        let hub = Arc::new(Hub::new(config, key, u64::from_ne_bytes(seed)));
        Ok(Self { listener, addr, hub, certificate })
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// The certificate that it shows, if it speaks TLS.
    pub const fn certificate(&self) -> Option<&Arc<Certificate>> {
        self.certificate.as_ref()
    }

    /// Serves until `shutdown` is ready; then sends every client what waits for it, closes it with 1001, and returns when
    /// all are done, at the latest after 5 seconds.
    ///
    /// # Errors
    /// None so far: a connection that fails ends alone.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let Self { listener, addr, hub, certificate } = self;
        info!(%addr, page = %hub.config().page_dir.display(), "listening");
        let timers = tokio::spawn({
            let hub = Arc::clone(&hub);
            async move { hub.run_timers().await }
        });
        let summaries = tokio::spawn(summary::log_every_minute(Arc::clone(&hub)));
        let (alive, mut all_done) = mpsc::channel(1);
        let (stop, stopping) = watch::channel(false);
        let slots = Arc::new(Semaphore::new(MAX_HTTP_CONNECTIONS));
        let door =
            Door { router: http::router(App { hub: Arc::clone(&hub), alive }), hub: Arc::clone(&hub), certificate };
        accept(&listener, &door, slots, stopping, shutdown).await;
        drop(door);

        info!("stopping");
        drop(listener);
        stop.send_replace(true);
        hub.drain();
        if timeout(DRAIN_GRACE, all_done.recv()).await.is_err() {
            hub.stop();
            if timeout(STOP_GRACE, all_done.recv()).await.is_err() {
                warn!(connections = hub.status().connections, "not everybody read what was waiting for them");
            }
        }
        timers.abort();
        summaries.abort();
        Ok(())
    }
}

/// What every connection comes through.
#[derive(Debug, Clone)]
struct Door {
    router: Router,
    hub: Arc<Hub>,
    certificate: Option<Arc<Certificate>>,
}

impl Door {
    /// Serves one connection until it ends, becomes a WebSocket, or the tracker stops.
    async fn serve(self, stream: TcpStream, mut stopping: watch::Receiver<bool>, slot: OwnedSemaphorePermit) {
        // Requests and grants are small and somebody waits for each.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "cannot set TCP_NODELAY");
        }
        let Some(certificate) = self.certificate else {
            return serve_http(stream, self.router, stopping, slot).await;
        };
        let front = tokio::select! {
            front = tls::accept(stream, &certificate, self.hub.config().limits.head_timeout()) => front,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        match front {
            Ok(Front::Tls(stream)) => serve_http(stream, self.router, stopping, slot).await,
            Ok(Front::Plain(stream)) => serve_http(stream, http::redirect::router(), stopping, slot).await,
            Err(error) => {
                debug!(%error, "no TLS handshake");
                self.hub.count(Reason::Http(Http::TlsHandshake));
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    door: &Door,
    slots: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await.expect("nobody closes the semaphore");
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            next = next => next,
            () = &mut shutdown => return,
        };
        match accepted {
            Ok((stream, _)) => drop(tokio::spawn(door.clone().serve(stream, stopping.clone(), slot))),
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves HTTP on one connection until it ends, becomes a WebSocket, or the tracker stops.
async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    mut stopping: watch::Receiver<bool>,
    _slot: OwnedSemaphorePermit,
) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_header_size(HEAD_BYTES);
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let over = async {
        // Whether the time is over, the tracker stops, or it is gone altogether: the end is the same.
        let _ = timeout(HTTP_LIFETIME, stopping.wait_for(|stop| *stop)).await;
    };
    let served = tokio::select! {
        served = connection.as_mut() => Ok(served),
        () = over => {
            connection.as_mut().graceful_shutdown();
            timeout(LAST_ANSWER, connection).await
        }
    };
    match served {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "an HTTP connection failed"),
        Err(_) => debug!("an HTTP connection took too long"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::future;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    fn door() -> Door {
        let hub = Arc::new(Hub::new(Config::default(), [0; 32], 0));
        Door { router: router(), hub, certificate: None }
    }

    fn router() -> Router {
        Router::new().route("/", get(async || "x".repeat(100_000)))
    }

    /// Time is virtual and goes on whenever nothing else does.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_and_does_not_read_makes_room_in_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let stream = listener.accept().await.unwrap().0;
        let (_stop, stopping) = watch::channel(false);
        let slots = Arc::new(Semaphore::new(1));
        let slot = Arc::clone(&slots).acquire_owned().await.unwrap();
        // The answers are 100 MB.
        client.write_all(&REQUEST.repeat(1_000)).await.unwrap();
        let served = serve_http(stream, router(), stopping, slot);
        timeout(10 * (HTTP_LIFETIME + LAST_ANSWER), served).await.expect("it must end");
        assert_eq!(slots.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_client_for_whom_there_is_no_room_is_served_later() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (_stop, stopping) = watch::channel(false);
        let slots = Arc::new(Semaphore::new(1));
        tokio::spawn(async move { accept(&listener, &door(), slots, stopping, future::pending()).await });
        let mut first = TcpStream::connect(addr).await.unwrap();
        first.write_all(REQUEST).await.unwrap();
        first.read_u8().await.unwrap();
        let mut second = TcpStream::connect(addr).await.unwrap();
        second.write_all(REQUEST).await.unwrap();
        drop(first);
        assert_eq!(second.read_u8().await.unwrap(), b'H');
    }
}
