//! Where connections come in, each until it became a WebSocket or is over.

use crate::{
    Certificate,
    address::{AddressKey, Places},
    http::{self, Caller},
    hub::Hub,
    rate::{AddressRates, CONNECTED, Came, Handled},
    refusals::{Http, Reason},
    tls::{self, Front},
};
use axum::Router;
use hyper::{
    Request,
    body::{Body as _, Incoming},
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{convert::Infallible, net::IpAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};
use tracing::{debug, warn};

/// How long a connection may ask for one thing after the other before it has to make room.
const HTTP_LIFETIME: Duration = Duration::from_secs(60);
/// How long the last answer may take after that; the page of some MB gets through a line of 300 kbit/s.
const LAST_ANSWER: Duration = Duration::from_secs(60);
/// Bytes that the system takes for a connection beyond those that are on their way.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_BYTES: u32 = 256 << 10;
/// The wait after the system could not accept a connection, which mostly means that it has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What every connection comes through. A handle: copies share what they count.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    router: Router,
    hub: Arc<Hub>,
    certificate: Option<Arc<Certificate>>,
    stopping: watch::Receiver<bool>,
    /// Connections that speak HTTP at one time; those that became WebSockets are counted apart.
    slots: Arc<Semaphore>,
    places: Places,
    rates: Arc<AddressRates>,
}

impl Door {
    pub(crate) fn new(
        router: Router,
        hub: Arc<Hub>,
        certificate: Option<Arc<Certificate>>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let limits = &hub.config().limits;
        let slots = Arc::new(Semaphore::new(limits.http_connections));
        let places = Places::new(limits.address_http_connections);
        let rates = Arc::new(AddressRates::new(limits));
        Self { router, hub, certificate, stopping, slots, places, rates }
    }

    /// Lets connections in until `shutdown` is ready.
    pub(crate) async fn accept(&self, listener: &TcpListener, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        loop {
            let next = async {
                let slot = Arc::clone(&self.slots).acquire_owned().await.expect("nobody closes the semaphore");
                (slot, listener.accept().await)
            };
            let (slot, accepted) = tokio::select! {
                next = next => next,
                () = &mut shutdown => return,
            };
            match accepted {
                Ok((stream, from)) => {
                    let over_loopback = stream.local_addr().is_ok_and(|own| own.ip().to_canonical().is_loopback());
                    if let Some(caller) = self.admit(from.ip(), over_loopback, slot) {
                        tokio::spawn(self.clone().serve(stream, caller));
                    }
                }
                Err(error) => {
                    if self.hub.count(Reason::Http(Http::AcceptFailed)) {
                        warn!(%error, "cannot accept a connection");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Takes a place among the connections of an address, if it may have one more.
    pub(crate) fn admit(&self, from: IpAddr, over_loopback: bool, slot: OwnedSemaphorePermit) -> Option<Caller> {
        let address = AddressKey::of(from);
        let Some(place) = self.places.take(address) else {
            self.hub.count(Reason::Http(Http::AddressFull));
            return None;
        };
        Some(Caller::new(address, over_loopback, self.rates.of(address, self.hub.now()), slot, place))
    }

    async fn serve(mut self, stream: TcpStream, caller: Caller) {
        // Who connects all the time waits, in places that only its own address has.
        tokio::select! {
            () = pause(&self.hub, &caller, CONNECTED) => {}
            _ = self.stopping.wait_for(|stop| *stop) => return,
        }
        set_up(&stream);
        let Some(certificate) = self.certificate.take() else {
            return self.serve_http(stream, caller).await;
        };
        let front = tokio::select! {
            front = tls::accept(stream, &certificate, self.hub.config().limits.head_timeout()) => front,
            _ = self.stopping.wait_for(|stop| *stop) => return,
        };
        match front {
            Ok(Front::Tls(stream)) => self.serve_http(stream, caller).await,
            Ok(Front::Plain(stream)) => {
                self.router = http::redirect::router();
                self.serve_http(stream, caller).await;
            }
            Err(error) => {
                debug!(%error, "no TLS handshake");
                self.hub.count(Reason::Http(Http::TlsHandshake));
            }
        }
    }

    /// Serves HTTP until the connection ends, becomes a WebSocket, or the tracker stops.
    pub(crate) async fn serve_http(
        mut self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        caller: Caller,
    ) {
        let limits = &self.hub.config().limits;
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(limits.head_timeout()).max_header_size(limits.head_bytes);
        let router = TowerToHyperService::new(self.router);
        let service = service_fn(|mut request: Request<Incoming>| {
            request.extensions_mut().insert(caller.clone());
            let is_view = request.uri().path().starts_with("/api/");
            let (answer, hub, caller) = (router.call(request), Arc::clone(&self.hub), caller.clone());
            async move {
                let answer = answer.await?;
                // Files are read from the disk as the client takes them; a view was made at once.
                let answered = if is_view { answer.body().size_hint().lower() as usize } else { 0 };
                pause(&hub, &caller, Handled::Asked { answered }.messages(Came::default())).await;
                Ok::<_, Infallible>(answer)
            }
        });
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
        let over = async {
            // Whether the time is over, the tracker stops, or it is gone altogether: the end is the same.
            let _ = timeout(HTTP_LIFETIME, self.stopping.wait_for(|stop| *stop)).await;
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
            Ok(Err(error)) => {
                if error.is_parse_too_large() {
                    self.hub.count(Reason::Http(Http::HeadTooLong));
                } else if error.is_timeout() {
                    self.hub.count(Reason::Http(Http::HeadTooSlow));
                }
                debug!(%error, "an HTTP connection failed");
            }
            Err(_) => debug!("an HTTP connection took too long"),
        }
    }
}

/// Charges messages to the address of a caller, and waits as long as that costs.
async fn pause(hub: &Hub, caller: &Caller, messages: u64) {
    let wait = caller.rate.spend_http(messages, hub.now());
    if !wait.is_zero() {
        hub.count_pause();
        sleep(wait).await;
    }
}

/// Has the system send at once what it is given, and take little more than it can send.
fn set_up(stream: &TcpStream) {
    // Requests and grants are small and somebody waits for each.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "cannot set TCP_NODELAY");
    }
    // Else the system may take megabytes for a slow line, behind which control waits, and then nothing for so long that
    // its reader seems to be gone.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES) {
        debug!(%error, "cannot set TCP_NOTSENT_LOWAT");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Limits};
    use axum::routing::get;
    use std::future;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    fn router() -> Router {
        Router::new().route("/", get(async || "x".repeat(100_000)))
    }

    fn door(limits: Limits) -> (Door, watch::Sender<bool>) {
        let hub = Arc::new(Hub::new(Config { limits, ..Config::default() }, [0; 32], 0));
        let (stop, stopping) = watch::channel(false);
        (Door::new(router(), hub, None, stopping), stop)
    }

    /// Time is virtual and goes on whenever nothing else does.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_and_does_not_read_makes_room_in_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, from) = listener.accept().await.unwrap();
        let (door, _stop) = door(Limits { http_connections: 1, address_http_connections: 1, ..Limits::default() });
        let slot = Arc::clone(&door.slots).acquire_owned().await.unwrap();
        let caller = door.admit(from.ip(), true, slot).unwrap();
        // The answers are 100 MB.
        client.write_all(&REQUEST.repeat(1_000)).await.unwrap();
        let served = door.clone().serve_http(stream, caller);
        timeout(10 * (HTTP_LIFETIME + LAST_ANSWER), served).await.expect("it must end");
        assert_eq!(door.slots.available_permits(), 1);
        assert!(door.places.take(AddressKey::of(from.ip())).is_some());
    }

    #[tokio::test]
    async fn a_client_for_whom_there_is_no_room_is_served_later() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (door, _stop) = door(Limits { http_connections: 1, ..Limits::default() });
        tokio::spawn(async move { door.accept(&listener, future::pending()).await });
        let mut first = TcpStream::connect(addr).await.unwrap();
        first.write_all(REQUEST).await.unwrap();
        first.read_u8().await.unwrap();
        let mut second = TcpStream::connect(addr).await.unwrap();
        second.write_all(REQUEST).await.unwrap();
        drop(first);
        assert_eq!(second.read_u8().await.unwrap(), b'H');
    }
}
