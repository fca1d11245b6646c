//! Direct lines to other peers: to other programs by TLS over TCP (`tcp`), to browser tabs by a data channel (`rtc`).
//!
//! Who offers a line says in the offer how it is reached; who dials tells by the offer of which kind it is. What else the two
//! shells have to say to each other while a line opens, they say through the tracker ([`Notice::Say`], [`Direct::signal`]).

mod rtc;
mod tcp;

use crate::line::{Event, Frames};
use anyhow::{Context as _, bail, ensure};
use peer_wasm::client::{LineId, Receipt};
use protocol::{Frame, LineKind, SignalStep};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// The most addresses of an offer; a machine has a few.
const MOST_ADDRESSES: usize = 8;
/// Notices of all lines that may wait for the driver; beyond that no line is read, and the senders wait.
pub(super) const NOTICES: usize = 64;
/// What the other shell says of a line that may wait for it: more than it has to say.
const SIGNALS: usize = 32;
/// After how long a line counts as dead on which nothing arrives of what was sent, or nobody answers.
const DEAD_AFTER: Duration = Duration::from_secs(5);

/// What is to be known of a line.
#[derive(Debug)]
pub(crate) enum Notice {
    /// Something happened to it.
    Line(Event),
    /// Something is to be said to the other peer's shell.
    Say { step: SignalStep, data: String },
}

/// Where notices of lines go.
type Notices = mpsc::Sender<(LineId, Notice)>;

/// The direct lines of a peer.
#[derive(Debug)]
pub(crate) struct Direct {
    lines: BTreeMap<LineId, Held>,
    door: Option<tcp::Door>,
    notices: Notices,
    place: Place,
}

/// Where this machine can be reached.
#[derive(Debug, Clone)]
struct Place {
    /// Whether the tracker is on this machine, so that others may be.
    is_local: bool,
    /// The ports that lines may use; any if there are none.
    ports: Option<RangeInclusive<u16>>,
}

/// What keeps a line: it ends when this is dropped.
#[derive(Debug)]
struct Held {
    outgoing: mpsc::Sender<(Frame, Option<Receipt>)>,
    signals: mpsc::Sender<(SignalStep, String)>,
    _until: oneshot::Sender<()>,
}

/// The other end of that.
#[derive(Debug)]
struct Lead {
    frames: Frames,
    signals: mpsc::Receiver<(SignalStep, String)>,
    until: oneshot::Receiver<()>,
}

/// What the other peer's shell says at first.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Offer {
    Tcp(tcp::Offer),
    WebRtc(rtc::Description),
}

impl Direct {
    pub(crate) fn new(is_local: bool, ports: Option<RangeInclusive<u16>>) -> (Self, mpsc::Receiver<(LineId, Notice)>) {
        let (notices, received) = mpsc::channel(NOTICES);
        (Self { lines: BTreeMap::new(), door: None, notices, place: Place { is_local, ports } }, received)
    }

    /// Lets whoever gets the offer, which this gives, open a line.
    pub(crate) fn offer(&mut self, line: LineId, kind: LineKind) -> anyhow::Result<String> {
        match kind {
            LineKind::Tcp => {
                let door = match self.door.take() {
                    Some(door) => door,
                    None => tcp::Door::open(&self.place, self.notices.clone())?,
                };
                let door = self.door.insert(door);
                let addresses = self.place.addresses()?;
                door.expect(addresses, line, || hold(&mut self.lines, line))
            }
            LineKind::WebRtc => {
                let (link, offer) = rtc::Link::offer(&self.place)?;
                rtc::spawn(line, hold(&mut self.lines, line), self.notices.clone(), move || Ok((link, None)));
                Ok(offer)
            }
            LineKind::Other => bail!("there are no lines of that kind"),
        }
    }

    /// Opens a line that another peer offers.
    pub(crate) fn dial(&mut self, line: LineId, offer: &str) -> anyhow::Result<()> {
        match serde_json::from_str(offer).context("that is no offer")? {
            Offer::Tcp(offer) => {
                let known = offer.check(&self.place)?;
                tcp::dial(line, known, hold(&mut self.lines, line), self.notices.clone());
            }
            Offer::WebRtc(offer) => {
                let place = self.place.clone();
                let answered = move || rtc::Link::answer(&place, &offer).map(|(link, answer)| (link, Some(answer)));
                rtc::spawn(line, hold(&mut self.lines, line), self.notices.clone(), answered);
            }
        }
        Ok(())
    }

    /// Takes what the other peer's shell says of a line. What nobody waits for is forgotten.
    pub(crate) fn signal(&self, line: LineId, step: SignalStep, data: String) {
        if let Some(held) = self.lines.get(&line)
            && held.signals.try_send((step, data)).is_err()
        {
            tracing::debug!("a word about a line finds nobody");
        }
    }

    /// Sends a frame; `false` if the line takes no more and has to be given up.
    pub(crate) fn send(&self, line: LineId, frame: Frame, receipt: Option<Receipt>) -> bool {
        let held = self.lines.get(&line);
        held.is_some_and(|line| line.outgoing.try_send((frame, receipt)).is_ok())
    }

    /// Closes a line, or expects it no longer.
    pub(crate) fn hang_up(&mut self, line: LineId) {
        self.lines.remove(&line);
        if let Some(door) = &self.door {
            door.forget(line);
        }
    }
}

fn hold(lines: &mut BTreeMap<LineId, Held>, line: LineId) -> Lead {
    let (outgoing, frames) = Frames::new();
    let (told, signals) = mpsc::channel(SIGNALS);
    let (held, until) = oneshot::channel();
    lines.insert(line, Held { outgoing, signals: told, _until: held });
    Lead { frames, signals, until }
}

impl Place {
    /// The addresses at which others reach this machine.
    fn addresses(&self) -> anyhow::Result<Vec<IpAddr>> {
        let interfaces = if_addrs::get_if_addrs().context("cannot learn the addresses of this machine")?;
        let own = interfaces.into_iter().map(|interface| interface.ip()).filter(|ip| is_useful(*ip, self.is_local));
        let addresses: Vec<_> = own.take(MOST_ADDRESSES).collect();
        ensure!(!addresses.is_empty(), "this machine has no address of its own");
        Ok(addresses)
    }

    /// Whether an address that another peer names may be tried.
    fn may_reach(&self, address: SocketAddr) -> bool {
        is_useful(address.ip(), self.is_local) && address.port() != 0
    }

    /// Opens something at a port that lines may use.
    fn bind<T>(&self, bind: impl Fn(u16) -> io::Result<T>) -> anyhow::Result<T> {
        let Some(ports) = &self.ports else { return Ok(bind(0)?) };
        for port in ports.clone() {
            match bind(port) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                bound => return Ok(bound?),
            }
        }
        bail!("all ports from {} to {} are taken", ports.start(), ports.end());
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use tokio::time::timeout;

    pub(super) const DEADLINE: Duration = Duration::from_secs(30);

    pub(super) type Received = mpsc::Receiver<(LineId, Notice)>;

    pub(super) fn line(number: u32) -> LineId {
        LineId::for_test(number)
    }

    /// A shell whose tracker is on this machine.
    pub(super) fn local() -> (Direct, Received) {
        Direct::new(true, None)
    }

    pub(super) async fn next(received: &mut Received) -> (LineId, Notice) {
        timeout(DEADLINE, received.recv()).await.unwrap().unwrap()
    }

    /// Whether it is closed, or never opened.
    pub(super) fn is_closed((_, notice): &(LineId, Notice)) -> bool {
        matches!(notice, Notice::Line(Event::Closed(_)))
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
    async fn lines_use_the_ports_that_they_may_use() {
        // Whatever is free here; somebody else may take one of them first, but hardly all.
        let taken = TcpListener::bind("0.0.0.0:0").unwrap();
        let first = taken.local_addr().unwrap().port().min(u16::MAX - 20);
        let ports = first..=first + 20;
        let (mut direct, _received) = Direct::new(true, Some(ports.clone()));
        let offer = direct.offer(line(1), LineKind::Tcp).unwrap();
        let Offer::Tcp(offer) = serde_json::from_str(&offer).unwrap() else { panic!("{offer}") };
        assert!(offer.addresses().iter().all(|address| ports.contains(&address.port())));
        let offer = direct.offer(line(2), LineKind::WebRtc).unwrap();
        let Offer::WebRtc(offer) = serde_json::from_str(&offer).unwrap() else { panic!("{offer}") };
        assert!(offer.candidates().all(|candidate| ports.contains(&candidate.addr().port())));
        assert!(offer.candidates().count() > 0);
    }

    #[tokio::test]
    async fn nothing_is_offered_when_all_ports_are_taken() {
        let taken = TcpListener::bind("[::]:0").or_else(|_| TcpListener::bind("0.0.0.0:0")).unwrap();
        let port = taken.local_addr().unwrap().port();
        let (mut direct, _received) = Direct::new(true, Some(port..=port));
        let error = direct.offer(line(1), LineKind::Tcp).unwrap_err();
        assert!(error.to_string().contains(&format!("from {port} to {port}")), "{error}");
    }
}
