//! The tracker as a server: listening, accepting, stopping.

use crate::{
    Certificate, Config, Direct, TlsError,
    door::Door,
    http::{self, App},
    hub::Hub,
    stun, summary,
};
use protocol::Stun;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::timeout,
};
use tracing::{info, warn};

/// How long the connections may take to read what waits for them when the tracker stops.
const DRAIN_GRACE: Duration = Duration::from_secs(4);
/// How long they may take to end after that.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// How many ports are tried, if any will do, until one is free for UDP too.
const PORT_TRIES: u32 = 8;
/// How many other STUN servers clients are told: each asks all of them, at every line.
const MAX_STUN_SERVERS: usize = 8;

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
    /// Whoever may come could remove others.
    #[error("the admin token is the token that every client has: give --admin-token another one")]
    SameToken,
    /// Clients would have too many to ask.
    #[error("at most {MAX_STUN_SERVERS} STUN servers can be told: give --stun fewer times")]
    TooManyStunServers,
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
    stun: Option<stun::Server>,
}

impl Tracker {
    /// Listens on the address that `config` says.
    ///
    /// # Errors
    /// If the address cannot be listened on, a certificate cannot be used, or the two tokens are the same; the message
    /// says what to do about it.
    pub async fn bind(mut config: Config) -> Result<Self, StartError> {
        if config.admin_token.is_some() && config.admin_token == config.token {
            return Err(StartError::SameToken);
        }
        if config.stun_servers.len() > MAX_STUN_SERVERS {
            return Err(StartError::TooManyStunServers);
        }
        // An address of IPv6 as it stands in a URL.
        if let Some(address) = config.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            config.host = address.to_owned();
        }
        let failed = |error: io::Error| BindError {
            host: config.host.clone(),
            port: config.port,
            advice: advice(error.kind()),
            error,
        };
        let (mut key, mut stun_key, mut seed) = ([0; 32], [0; 32], [0; 8]);
        for random in [&mut key[..], &mut stun_key, &mut seed] {
            getrandom::fill(random).map_err(|error| failed(error.into()))?;
        }
        let (listener, addr, stun) = listen(&config, stun_key).await.map_err(failed)?;
        let certificate = Certificate::open(&config.tls, &config.host)?.map(Arc::new);
        let told = told_stun(&config, stun.is_some().then_some(addr.port()));
        let hub = Arc::new(Hub::new(config, key, u64::from_ne_bytes(seed)));
        hub.tell_stun(told);
        Ok(Self { listener, addr, hub, certificate, stun })
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
    /// all are done, at the latest after 5 seconds. Connections that speak HTTP are not waited for.
    ///
    /// # Errors
    /// None so far: a connection that fails ends alone.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let Self { listener, addr, hub, certificate, stun } = self;
        info!(%addr, page = %hub.config().page_dir.display(), stun = stun.is_some(), "listening");
        let timers = tokio::spawn({
            let hub = Arc::clone(&hub);
            async move { hub.run_timers().await }
        });
        let summaries = tokio::spawn(summary::log_every_minute(Arc::clone(&hub)));
        let stun = stun.map(|server| tokio::spawn(server.serve(Arc::clone(&hub))));
        let (alive, mut all_done) = mpsc::channel(1);
        let (stop, stopping) = watch::channel(false);
        let router = http::router(App::new(Arc::clone(&hub), alive.downgrade()));
        let door = Door::new(router, Arc::clone(&hub), certificate, stopping);
        door.accept(&listener, shutdown).await;
        drop(door);

        info!("stopping");
        drop(listener);
        if let Some(stun) = stun {
            stun.abort();
            // Until it has ended it has the port.
            let _ = stun.await;
        }
        stop.send_replace(true);
        hub.drain();
        drop(alive);
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

/// Listens for connections, and for datagrams at the same address and port if somebody is to be told of it.
async fn listen(config: &Config, key: [u8; 32]) -> io::Result<(TcpListener, SocketAddr, Option<stun::Server>)> {
    let mut tries = 1;
    loop {
        let listener = TcpListener::bind((config.host.as_str(), config.port)).await?;
        let addr = listener.local_addr()?;
        if config.no_stun || config.limits.direct == Direct::Off {
            return Ok((listener, addr, None));
        }
        match stun::Server::bind(addr, key).await {
            Ok(server) => return Ok((listener, addr, Some(server))),
            Err(error) if config.port == 0 && error.kind() == io::ErrorKind::AddrInUse && tries < PORT_TRIES => {
                tries += 1
            }
            Err(error) => {
                warn!(
                    %error, %addr,
                    "cannot answer STUN over UDP, so browsers do not learn from here how others see them: stop the \
                     program that has this UDP port, choose another one with --port, or say --no-stun"
                );
                return Ok((listener, addr, None));
            }
        }
    }
}

/// What clients are told of STUN.
fn told_stun(config: &Config, port: Option<u16>) -> Stun {
    match config.limits.direct {
        Direct::Off => Stun::default(),
        Direct::Near | Direct::Any => {
            let servers = config.stun_servers.iter().map(|server| server.as_str().to_owned()).collect();
            Stun { port, servers }
        }
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
