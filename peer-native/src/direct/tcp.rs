//! Lines to other programs: TLS over TCP, and inside of it WebSocket frames without a handshake.
//!
//! Who offers a line listens, and tells where, with what certificate, and a secret. Who dials knows by the certificate that it
//! is the right one, and shows by the secret that it is the one that the offer was made to.

use super::{DEAD_AFTER, Lead, MOST_ADDRESSES, Notice, Notices, Place};
use crate::{
    Fingerprint,
    line::{Event, carry, keep_unsent_low, socket_config},
    tls,
};
use anyhow::{Context as _, ensure};
use peer_wasm::client::LineId;
use protocol::Secret;
use serde::{Deserialize, Serialize};
use socket2::{SockRef, TcpKeepalive};
use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{ServerConfig, pki_types::ServerName},
};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};

/// How long a stranger may take to show that it is none.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most strangers at a time.
const MOST_STRANGERS: usize = 32;

/// What whoever dials has to know.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Offer {
    addresses: Vec<SocketAddr>,
    fingerprint: String,
    secret: Secret,
}

/// The same after it was checked.
#[derive(Debug)]
pub(super) struct Known {
    addresses: Vec<SocketAddr>,
    fingerprint: Fingerprint,
    secret: Secret,
}

impl Offer {
    #[cfg(test)]
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Leaves out what may not be dialled.
    ///
    /// # Errors
    /// If nothing is left, or the certificate cannot be known.
    pub(super) fn check(self, place: &Place) -> anyhow::Result<Known> {
        let Self { mut addresses, fingerprint, secret } = self;
        addresses.retain(|address| place.may_reach(*address));
        addresses.truncate(MOST_ADDRESSES);
        ensure!(!addresses.is_empty(), "nothing can be dialled");
        Ok(Known { addresses, fingerprint: fingerprint.parse()?, secret })
    }
}

/// Opens a line that another peer offers.
pub(super) fn dial(line: LineId, offer: Known, mut lead: Lead, notices: Notices) {
    tokio::spawn(async move {
        let connected = tokio::select! {
            connected = connect(offer) => connected,
            _ = &mut lead.until => return,
        };
        match connected {
            Ok(socket) => talk(line, socket, lead, notices).await,
            Err(error) => {
                tracing::debug!(%error, "cannot dial");
                _ = notices.send((line, Notice::Line(Event::Closed(None)))).await;
            }
        }
    });
}

/// Where others come in.
#[derive(Debug)]
pub(super) struct Door {
    port: u16,
    fingerprint: Fingerprint,
    expected: Expected,
    task: AbortHandle,
}

/// Who may come in, by the secret of the offer.
type Expected = Arc<Mutex<BTreeMap<Secret, (LineId, Lead)>>>;

impl Door {
    pub(super) fn open(place: &Place, notices: Notices) -> anyhow::Result<Self> {
        let listener = place.bind(|port| match std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)) {
            // A machine without IPv6.
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
            }
            bound => bound,
        })?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let port = listener.local_addr()?.port();
        let (config, fingerprint) = tls::identity()?;
        let expected = Expected::default();
        let task = tokio::spawn(admit(listener, config, Arc::clone(&expected), notices)).abort_handle();
        Ok(Self { port, fingerprint, expected, task })
    }

    /// Lets whoever shows the secret of the offer, which this gives, have a line.
    pub(super) fn expect(
        &self,
        addresses: Vec<IpAddr>,
        line: LineId,
        lead: impl FnOnce() -> Lead,
    ) -> anyhow::Result<String> {
        let mut secret = [0; 16];
        getrandom::fill(&mut secret)?;
        let secret = Secret::from_bytes(secret);
        let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, self.port)).collect();
        let offer = Offer { addresses, fingerprint: self.fingerprint.to_string(), secret };
        let words = serde_json::to_string(&offer)?;
        lock(&self.expected).insert(offer.secret, (line, lead()));
        Ok(words)
    }

    /// Lets nobody in any more for a line.
    pub(super) fn forget(&self, line: LineId) {
        lock(&self.expected).retain(|_, (expected, _)| *expected != line);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Lets in who is expected.
async fn admit(listener: TcpListener, config: Arc<ServerConfig>, expected: Expected, notices: Notices) {
    let strangers = Arc::new(Semaphore::new(MOST_STRANGERS));
    // A set, so that they end with the listener.
    let mut guests = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = guests.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&strangers).try_acquire_owned() else { continue };
        let (acceptor, expected, notices) =
            (TlsAcceptor::from(Arc::clone(&config)), Arc::clone(&expected), notices.clone());
        guests.spawn(async move {
            let greeted = timeout(PATIENCE, async {
                prepare(&stream)?;
                let mut stream = acceptor.accept(stream).await?;
                let mut secret = [0; 16];
                stream.read_exact(&mut secret).await?;
                let guest = lock(&expected).remove(&Secret::from_bytes(secret)).context("nobody was to come")?;
                anyhow::Ok((guest, stream))
            });
            if let Ok(Ok(((line, lead), stream))) = greeted.await {
                drop(place);
                let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(socket_config())).await;
                talk(line, socket, lead, notices).await;
            }
        });
    }
}

/// Tries all addresses of an offer; the first that answers is it.
async fn connect(offer: Known) -> anyhow::Result<WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>>> {
    let connector = TlsConnector::from(tls::trusting(offer.fingerprint));
    let mut tries = JoinSet::new();
    for address in offer.addresses {
        let connector = connector.clone();
        tries.spawn(timeout(PATIENCE, async move {
            let stream = TcpStream::connect(address).await?;
            prepare(&stream)?;
            // Its certificate says who it is.
            anyhow::Ok(connector.connect(ServerName::from(address.ip()), stream).await?)
        }));
    }
    while let Some(tried) = tries.join_next().await {
        if let Ok(Ok(Ok(mut stream))) = tried {
            stream.write_all(offer.secret.as_bytes()).await?;
            stream.flush().await?;
            return Ok(WebSocketStream::from_raw_socket(stream, Role::Client, Some(socket_config())).await);
        }
    }
    anyhow::bail!("none of its addresses answers")
}

fn prepare(stream: &TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let alive = TcpKeepalive::new().with_time(DEAD_AFTER / 2).with_interval(DEAD_AFTER / 4);
    socket.set_tcp_keepalive(&alive)?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(DEAD_AFTER))?;
    }
    keep_unsent_low(stream)?;
    Ok(())
}

/// Moves frames until the line breaks, or is held no longer.
async fn talk<S>(line: LineId, socket: WebSocketStream<S>, lead: Lead, notices: Notices)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let Lead { frames, until, signals: _ } = lead;
    tokio::select! {
        ended = carry(socket, frames, &notices, move |event| (line, Notice::Line(event))) => {
            _ = notices.send((line, Notice::Line(Event::Closed(ended.unwrap_or_default())))).await;
        }
        // Whatever it is doing: a peer that reads nothing would keep it for ever.
        _ = until => {}
    }
}

fn lock(expected: &Expected) -> MutexGuard<'_, BTreeMap<Secret, (LineId, Lead)>> {
    // Nobody panics while it is held.
    expected.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::direct::{
        Direct,
        tests::{DEADLINE, Received, is_closed, line, local, next},
    };
    use protocol::{Frame, LineKind};

    /// Two shells, and the offer of the first one.
    async fn offering() -> ([(Direct, Received); 2], Offer) {
        let [mut first, second] = [(); 2].map(|()| local());
        let offer = first.0.offer(line(7), LineKind::Tcp).unwrap();
        ([first, second], serde_json::from_str(&offer).unwrap())
    }

    fn words(offer: &Offer) -> String {
        serde_json::to_string(offer).unwrap()
    }

    #[tokio::test]
    async fn a_line_carries_both_ways_until_one_side_hangs_up() {
        let ([(mut host, mut at_host), (mut guest, mut at_guest)], offer) = offering().await;
        guest.dial(line(3), &words(&offer)).unwrap();
        for (events, id) in [(&mut at_host, line(7)), (&mut at_guest, line(3))] {
            assert!(matches!(next(events).await, (of, Notice::Line(Event::Opened)) if of == id));
        }
        assert!(host.send(line(7), Frame::Text("from the host".to_owned()), None));
        let frame = Frame::Binary { head: b"head".to_vec(), payload: bytes::Bytes::from(vec![7; 1 << 20]) };
        assert!(guest.send(line(3), frame, None));
        assert!(matches!(next(&mut at_guest).await, (_, Notice::Line(Event::Text(text))) if text == "from the host"));
        assert!(
            matches!(next(&mut at_host).await, (_, Notice::Line(Event::Binary(bytes))) if bytes.len() == 4 + (1 << 20))
        );
        guest.hang_up(line(3));
        assert!(is_closed(&next(&mut at_host).await));
        host.hang_up(line(7));
        assert!(!host.send(line(7), Frame::Text(String::new()), None));
    }

    #[tokio::test]
    async fn who_does_not_know_the_secret_opens_nothing_and_an_offer_is_good_once() {
        let ([(_host, mut at_host), (mut guest, mut at_guest)], offer) = offering().await;
        let wrong = Offer { secret: Secret::from_bytes([1; 16]), addresses: offer.addresses.clone(), ..offer };
        let right = Offer { secret: offer.secret, addresses: offer.addresses, fingerprint: wrong.fingerprint.clone() };
        guest.dial(line(1), &words(&wrong)).unwrap();
        // The other end is closed without a word; that the line seemed open to the guest is its own matter.
        while !is_closed(&next(&mut at_guest).await) {}
        guest.dial(line(2), &words(&right)).unwrap();
        assert!(matches!(next(&mut at_host).await, (of, Notice::Line(Event::Opened)) if of == line(7)));
        assert!(matches!(next(&mut at_guest).await, (of, Notice::Line(Event::Opened)) if of == line(2)));
        guest.dial(line(3), &words(&right)).unwrap();
        loop {
            let event = next(&mut at_guest).await;
            assert_eq!(event.0, line(3));
            if is_closed(&event) {
                break;
            }
        }
        assert!(at_host.try_recv().is_err(), "nothing else happened");
    }

    #[tokio::test]
    async fn who_shows_another_certificate_is_not_believed() {
        let ([_host, (mut guest, mut at_guest)], offer) = offering().await;
        let wrong = Offer { fingerprint: "ab".repeat(32), ..offer };
        guest.dial(line(1), &words(&wrong)).unwrap();
        let event = next(&mut at_guest).await;
        assert!(is_closed(&event), "{event:?}");
    }

    #[tokio::test]
    async fn what_is_offered_no_longer_cannot_be_opened() {
        let ([(mut host, mut at_host), (mut guest, mut at_guest)], offer) = offering().await;
        host.hang_up(line(7));
        guest.dial(line(1), &words(&offer)).unwrap();
        while !is_closed(&next(&mut at_guest).await) {}
        assert!(at_host.try_recv().is_err());
    }

    #[tokio::test]
    async fn strangers_who_say_nothing_keep_nobody_out_for_long() {
        let ([(_host, mut at_host), (mut guest, _at_guest)], offer) = offering().await;
        let address = offer.addresses[0];
        let mut strangers = Vec::new();
        for _ in 0..MOST_STRANGERS {
            strangers.push(TcpStream::connect(address).await.unwrap());
        }
        let opened = async {
            loop {
                guest.dial(line(1), &words(&offer)).unwrap();
                let event = timeout(PATIENCE / 2, at_host.recv()).await;
                if let Ok(Some((_, Notice::Line(Event::Opened)))) = event {
                    break;
                }
            }
        };
        timeout(DEADLINE, opened).await.unwrap();
    }

    #[tokio::test]
    async fn an_offer_that_makes_no_sense_is_refused() {
        let (mut direct, _events) = Direct::new(false, None);
        let secret = "00".repeat(16);
        for offer in [
            String::new(),
            "{}".to_owned(),
            format!(r#"{{"addresses":[],"fingerprint":"{}","secret":"{secret}"}}"#, "ab".repeat(32)),
            format!(r#"{{"addresses":["192.168.0.7:0"],"fingerprint":"{}","secret":"{secret}"}}"#, "ab".repeat(32)),
            format!(r#"{{"addresses":["192.168.0.7:1"],"fingerprint":"ab","secret":"{secret}"}}"#),
            format!(r#"{{"addresses":["192.168.0.7:1"],"fingerprint":"{}","secret":"ab"}}"#, "ab".repeat(32)),
        ] {
            assert!(direct.dial(line(1), &offer).is_err(), "{offer}");
        }
    }
}
