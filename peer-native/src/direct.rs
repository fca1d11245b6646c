//! Direct lines to other programs: TLS over TCP, and inside of it WebSocket frames without a handshake.
//!
//! Who offers a line listens, and tells where, with what certificate, and a secret. Who dials knows by the certificate that it
//! is the right one, and shows by the secret that it is the one that the offer was made to.

use crate::{
    Fingerprint,
    line::{Event, Frames, OUTGOING, carry, keep_unsent_low, message, socket_config},
    tls,
};
use anyhow::{Context as _, ensure};
use peer_wasm::client::{LineId, Receipt};
use protocol::{Frame, Secret};
use serde::{Deserialize, Serialize};
use socket2::{SockRef, TcpKeepalive};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, oneshot},
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{ServerConfig, pki_types::ServerName},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

/// How long a stranger may take to show that it is none.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most strangers at a time.
const MOST_STRANGERS: usize = 32;
/// The most addresses of an offer; a machine has a few.
const MOST_ADDRESSES: usize = 8;
/// Events of all lines that may wait for the driver; beyond that no line is read, and the senders wait.
const EVENTS: usize = 64;
/// After how long a line counts as dead on which nothing arrives of what was sent, or nobody answers.
const DEAD_AFTER: Duration = Duration::from_secs(5);

/// What whoever dials has to know.
#[derive(Debug, Serialize, Deserialize)]
struct Offer {
    addresses: Vec<SocketAddr>,
    fingerprint: String,
    secret: Secret,
}

/// The direct lines of a peer.
#[derive(Debug)]
pub(crate) struct Direct {
    lines: BTreeMap<LineId, Held>,
    door: Option<Door>,
    events: mpsc::Sender<(LineId, Event)>,
    /// Whether the tracker is on this machine, so that others may be.
    is_local: bool,
}

/// What keeps a line: it ends when this is dropped.
#[derive(Debug)]
struct Held {
    outgoing: mpsc::Sender<(Message, Option<Receipt>)>,
    _until: oneshot::Sender<()>,
}

/// The other end of that.
#[derive(Debug)]
struct Lead {
    frames: Frames,
    until: oneshot::Receiver<()>,
}

/// Where others come in.
#[derive(Debug)]
struct Door {
    port: u16,
    fingerprint: Fingerprint,
    expected: Expected,
    task: AbortHandle,
}

/// Who may come in, by the secret of the offer.
type Expected = Arc<Mutex<BTreeMap<Secret, (LineId, Lead)>>>;

impl Direct {
    pub(crate) fn new(is_local: bool) -> (Self, mpsc::Receiver<(LineId, Event)>) {
        let (events, received) = mpsc::channel(EVENTS);
        (Self { lines: BTreeMap::new(), door: None, events, is_local }, received)
    }

    /// Lets whoever shows the secret of the offer, which this gives, open a line.
    pub(crate) async fn offer(&mut self, line: LineId) -> anyhow::Result<String> {
        let door = match self.door.take() {
            Some(door) => door,
            None => Door::open(self.events.clone()).await?,
        };
        let door = self.door.insert(door);
        let mut secret = [0; 16];
        getrandom::fill(&mut secret)?;
        let secret = Secret::from_bytes(secret);
        let interfaces = if_addrs::get_if_addrs().context("cannot learn the addresses of this machine")?;
        let own = interfaces.into_iter().map(|interface| interface.ip()).filter(|ip| is_useful(*ip, self.is_local));
        let addresses: Vec<_> = own.map(|ip| SocketAddr::new(ip, door.port)).take(MOST_ADDRESSES).collect();
        ensure!(!addresses.is_empty(), "this machine has no address of its own");
        let offer = Offer { addresses, fingerprint: door.fingerprint.to_string(), secret };
        let words = serde_json::to_string(&offer)?;
        lock(&door.expected).insert(offer.secret, (line, hold(&mut self.lines, line)));
        Ok(words)
    }

    /// Opens a line that another peer offers.
    pub(crate) fn dial(&mut self, line: LineId, offer: &str) -> anyhow::Result<()> {
        let mut offer: Offer = serde_json::from_str(offer)?;
        offer.addresses.retain(|address| is_useful(address.ip(), self.is_local) && address.port() != 0);
        offer.addresses.truncate(MOST_ADDRESSES);
        ensure!(!offer.addresses.is_empty(), "nothing can be dialled");
        let fingerprint = offer.fingerprint.parse()?;
        let mut lead = hold(&mut self.lines, line);
        let events = self.events.clone();
        tokio::spawn(async move {
            let connected = tokio::select! {
                connected = connect(offer, fingerprint) => connected,
                _ = &mut lead.until => return,
            };
            match connected {
                Ok(socket) => talk(line, socket, lead, events).await,
                Err(error) => {
                    tracing::debug!(%error, "cannot dial");
                    _ = events.send((line, Event::Closed(None))).await;
                }
            }
        });
        Ok(())
    }

    /// Sends a frame; `false` if the line takes no more and has to be given up.
    pub(crate) fn send(&self, line: LineId, frame: Frame, receipt: Option<Receipt>) -> bool {
        let held = self.lines.get(&line);
        held.is_some_and(|line| line.outgoing.try_send((message(frame), receipt)).is_ok())
    }

    /// Closes a line, or expects it no longer.
    pub(crate) fn hang_up(&mut self, line: LineId) {
        self.lines.remove(&line);
        if let Some(door) = &self.door {
            lock(&door.expected).retain(|_, (expected, _)| *expected != line);
        }
    }
}

impl Door {
    async fn open(events: mpsc::Sender<(LineId, Event)>) -> anyhow::Result<Self> {
        let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).await {
            Ok(listener) => listener,
            // A machine without IPv6.
            Err(_) => TcpListener::bind(("0.0.0.0", 0)).await?,
        };
        let port = listener.local_addr()?.port();
        let (config, fingerprint) = tls::identity()?;
        let expected = Expected::default();
        let task = tokio::spawn(admit(listener, config, Arc::clone(&expected), events)).abort_handle();
        Ok(Self { port, fingerprint, expected, task })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Lets in who is expected.
async fn admit(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    expected: Expected,
    events: mpsc::Sender<(LineId, Event)>,
) {
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
        let (acceptor, expected, events) =
            (TlsAcceptor::from(Arc::clone(&config)), Arc::clone(&expected), events.clone());
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
                talk(line, socket, lead, events).await;
            }
        });
    }
}

/// Tries all addresses of an offer; the first that answers is it.
async fn connect(
    offer: Offer,
    fingerprint: Fingerprint,
) -> anyhow::Result<WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>>> {
    let connector = TlsConnector::from(tls::trusting(fingerprint));
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
async fn talk<S>(line: LineId, socket: WebSocketStream<S>, lead: Lead, events: mpsc::Sender<(LineId, Event)>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let Lead { frames, until } = lead;
    tokio::select! {
        ended = carry(socket, frames, &events, move |event| (line, event)) => {
            _ = events.send((line, Event::Closed(ended.unwrap_or_default()))).await;
        }
        // Whatever it is doing: a peer that reads nothing would keep it for ever.
        _ = until => {}
    }
}

fn hold(lines: &mut BTreeMap<LineId, Held>, line: LineId) -> Lead {
    let (outgoing, frames) = mpsc::channel(OUTGOING);
    let (held, until) = oneshot::channel();
    lines.insert(line, Held { outgoing, _until: held });
    Lead { frames, until }
}

/// Whether others may reach this address, or this machine itself if they are on it.
fn is_useful(address: IpAddr, is_local: bool) -> bool {
    // One of IPv4 may be written as one of IPv6.
    let address = address.to_canonical();
    // In IPv6 these need the number of an interface, which is another one on each machine; in IPv4 clouds have secrets there.
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !address.is_unspecified() && !address.is_multicast() && !is_link_local && (is_local || !address.is_loopback())
}

fn lock(expected: &Expected) -> MutexGuard<'_, BTreeMap<Secret, (LineId, Lead)>> {
    // Nobody panics while it is held.
    expected.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use peer_wasm::client::LineId;

    const DEADLINE: Duration = Duration::from_secs(30);

    type Events = mpsc::Receiver<(LineId, Event)>;

    fn line(number: u32) -> LineId {
        LineId::for_test(number)
    }

    async fn next(events: &mut Events) -> (LineId, Event) {
        timeout(DEADLINE, events.recv()).await.unwrap().unwrap()
    }

    /// Whether it is closed, or never opened.
    fn is_closed((_, event): &(LineId, Event)) -> bool {
        matches!(event, Event::Closed(_))
    }

    /// Two shells, and the offer of the first one.
    async fn offering() -> ([(Direct, Events); 2], Offer) {
        let [mut first, second] = [(); 2].map(|()| Direct::new(true));
        let offer = first.0.offer(line(7)).await.unwrap();
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
            assert!(matches!(next(events).await, (of, Event::Opened) if of == id));
        }
        assert!(host.send(line(7), Frame::Text("from the host".to_owned()), None));
        let frame = Frame::Binary { head: b"head".to_vec(), payload: bytes::Bytes::from(vec![7; 1 << 20]) };
        assert!(guest.send(line(3), frame, None));
        assert!(matches!(next(&mut at_guest).await, (_, Event::Text(text)) if text == "from the host"));
        assert!(matches!(next(&mut at_host).await, (_, Event::Binary(bytes)) if bytes.len() == 4 + (1 << 20)));
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
        assert!(matches!(next(&mut at_host).await, (of, Event::Opened) if of == line(7)));
        assert!(matches!(next(&mut at_guest).await, (of, Event::Opened) if of == line(2)));
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
                if let Ok(Some((_, Event::Opened))) = event {
                    break;
                }
            }
        };
        timeout(DEADLINE, opened).await.unwrap();
    }

    #[test]
    fn nobody_can_make_this_machine_dial_its_own_addresses_unless_the_tracker_is_here() {
        let own = ["127.0.0.1", "::1"];
        for address in ["192.168.0.7", "10.1.2.3", "203.0.113.1", "fd00::1", "2001:db8::1"] {
            assert!(is_useful(address.parse().unwrap(), false), "{address}");
        }
        for address in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "fe80::1", "169.254.169.254", "::ffff:127.0.0.1"]
            .into_iter()
            .chain(own)
        {
            assert!(!is_useful(address.parse().unwrap(), false), "{address}");
        }
        assert!(own.iter().all(|address| is_useful(address.parse().unwrap(), true)));
    }

    #[tokio::test]
    async fn an_offer_that_makes_no_sense_is_refused() {
        let (mut direct, _events) = Direct::new(false);
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
