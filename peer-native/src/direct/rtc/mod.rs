//! Lines to browser tabs: a data channel, that is SCTP over DTLS over UDP, on ways that ICE finds.
//!
//! Each line is a task with sockets of its own, one at each address of this machine, so that it is known at which one a
//! datagram came. The addresses are in the description that is offered or answered; those of the other side come with its own,
//! or later. The fingerprint of a certificate in the description binds the line to whom the tracker introduced.

mod backlog;
mod sockets;
mod words;

pub(super) use words::Description;

use super::{DEAD_AFTER, Lead, Notice, Notices, Place};
use crate::line::Event;
use anyhow::{Context as _, bail, ensure};
use backlog::Backlog;
use peer_wasm::client::{LineId, Receipt};
use protocol::{Assembly, Frame, SignalStep, cut_to};
use sockets::Sockets;
use std::{
    collections::{BTreeSet, VecDeque},
    mem,
    net::SocketAddr,
    time::{Duration, Instant},
};
use str0m::{
    Candidate, Input, Output, Rtc,
    change::SdpPendingOffer,
    channel::{ChannelConfig, ChannelData, ChannelId},
    net::{Protocol, Receive},
};
use tokio::{task::JoinSet, time::sleep_until};

/// How long a line may take to open: half as long again as the core waits for it.
const OPENING: Duration = Duration::from_secs(15);
/// The most candidates of the other side that are tried; `PROTOCOL.md` allows as many.
const MOST_CANDIDATES: usize = 16;
/// The most addresses from which anything is taken: each costs the library time with every datagram.
const MOST_SOURCES: usize = 32;
/// More than a datagram has on any usual network.
const DATAGRAM: usize = 4 << 10;
/// Bytes of a piece: of larger ones too many datagrams would leave at once.
const PIECE: usize = 16 << 10;
/// More than any frame of text, or a piece, has.
const MOST_TEXT: usize = 64 << 10;
/// What both sides call the channel.
const CHANNEL: u16 = 0;

/// One end of a data channel.
#[derive(Debug)]
pub(super) struct Link {
    rtc: Rtc,
    channel: ChannelId,
    sockets: Sockets,
    place: Place,
    remote: Remote,
    /// How many candidates of the other side were tried.
    tried: usize,
}

/// What is known of the other side.
#[derive(Debug)]
enum Remote {
    /// It has not answered. Candidates may come before the answer.
    Awaited {
        pending: SdpPendingOffer,
        candidates: Vec<Candidate>,
    },
    Known,
}

/// How a line ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Here,
    There,
}

impl Link {
    /// One end, and what whoever dials has to know.
    ///
    /// # Errors
    /// If this machine cannot be reached.
    pub(super) fn offer(place: &Place) -> anyhow::Result<(Self, String)> {
        let (mut rtc, sockets) = prepare(place)?;
        let mut changes = rtc.sdp_api();
        let channel = changes.add_channel_with_config(channel());
        let (offer, pending) = changes.apply().context("a channel is a change")?;
        let words = Description::of_offer(&offer).words()?;
        let remote = Remote::Awaited { pending, candidates: Vec::new() };
        Ok((Self { rtc, channel, sockets, place: place.clone(), remote, tried: 0 }, words))
    }

    /// The other end, and the answer.
    ///
    /// # Errors
    /// If the offer is none, or this machine cannot be reached.
    pub(super) fn answer(place: &Place, offer: &Description) -> anyhow::Result<(Self, String)> {
        let (mut rtc, sockets) = prepare(place)?;
        let answer = rtc.sdp_api().accept_offer(offer.offer()?)?;
        let channel = rtc.direct_api().create_data_channel(channel());
        let mut link = Self { rtc, channel, sockets, place: place.clone(), remote: Remote::Known, tried: 0 };
        offer.candidates().for_each(|candidate| link.reach(candidate));
        Ok((link, Description::of_answer(&answer).words()?))
    }

    /// Takes what the other shell says.
    fn hear(&mut self, step: SignalStep, words: &str) -> anyhow::Result<()> {
        match step {
            SignalStep::Answer => {
                // Said twice, it is of no use.
                let before = mem::replace(&mut self.remote, Remote::Known);
                let Remote::Awaited { pending, candidates } = before else { return Ok(()) };
                let answer = words::answer(words)?;
                self.rtc.sdp_api().accept_answer(pending, answer.answer()?)?;
                candidates.into_iter().chain(answer.candidates()).for_each(|candidate| self.reach(candidate));
            }
            SignalStep::Candidate => {
                if let Some(candidate) = words::candidate(words) {
                    self.reach(candidate);
                }
            }
            SignalStep::Offer | SignalStep::Moved | SignalStep::Over | SignalStep::Other => {}
        }
        Ok(())
    }

    /// Tries an address of the other side, as soon as that has answered.
    fn reach(&mut self, candidate: Candidate) {
        if !self.place.may_reach(candidate.addr()) {
            return;
        }
        match &mut self.remote {
            Remote::Awaited { candidates, .. } if candidates.len() < MOST_CANDIDATES => candidates.push(candidate),
            Remote::Known if self.tried < MOST_CANDIDATES => {
                self.tried += 1;
                self.rtc.add_remote_candidate(candidate);
            }
            Remote::Awaited { .. } | Remote::Known => {}
        }
    }

    /// Says that the line is over, so that the other side need not find out.
    async fn close(&mut self) {
        if self.rtc.close().is_err() {
            return;
        }
        // It is over whatever comes of that.
        while let Ok(output) = self.rtc.poll_output() {
            match output {
                Output::Timeout(_) => return,
                Output::Transmit(datagram) => self.sockets.send(&datagram).await,
                Output::Event(_) => {}
            }
        }
    }
}

/// Runs a line until it breaks, or is held no longer. Whatever the other side says can hurt nothing but this line: should it
/// make the library panic, that ends the line's own task.
pub(super) fn spawn(
    line: LineId,
    lead: Lead,
    notices: Notices,
    open: impl FnOnce() -> anyhow::Result<(Link, Option<String>)> + Send + 'static,
) {
    tokio::spawn(async move {
        let said = notices.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let (link, answer) = open()?;
            if let Some(data) = answer {
                _ = said.send((line, Notice::Say { step: SignalStep::Answer, data })).await;
            }
            Talk::new(line, link, said).run(lead).await
        });
        match task.join_next().await {
            Some(Ok(Ok(End::Here))) => return,
            Some(Ok(Err(error))) => tracing::debug!(%error, "a data channel broke"),
            Some(Err(error)) => tracing::warn!(%error, "a data channel was given up"),
            Some(Ok(Ok(End::There))) | None => {}
        }
        _ = notices.send((line, Notice::Line(Event::Closed(None)))).await;
    });
}

/// A line that is opening or open, and what is on its way.
///
/// What it keeps in memory is bounded: to be sent, one frame in pieces and what [`Backlog`] allows; of what comes, one frame,
/// the receive window of SCTP (1 MiB), and the sockets' buffers. While the driver has no room for more, no socket is read.
struct Talk {
    line: LineId,
    link: Link,
    notices: Notices,
    is_open: bool,
    /// The other side closed it.
    is_over: bool,
    begun: Instant,
    /// When something last came from the other side, and from where anything did.
    heard: Instant,
    sources: BTreeSet<SocketAddr>,
    /// The frame that is being sent, and its receipt.
    pieces: VecDeque<Vec<u8>>,
    is_text: bool,
    receipt: Option<Receipt>,
    backlog: Backlog,
    assembly: Assembly,
}

impl Talk {
    fn new(line: LineId, link: Link, notices: Notices) -> Self {
        let now = clock();
        Self {
            line,
            link,
            notices,
            is_open: false,
            is_over: false,
            begun: now,
            heard: now,
            sources: BTreeSet::new(),
            pieces: VecDeque::new(),
            is_text: false,
            receipt: None,
            backlog: Backlog::new(now),
            assembly: Assembly::default(),
        }
    }

    async fn run(mut self, lead: Lead) -> anyhow::Result<End> {
        let Lead { mut frames, mut signals, mut until } = lead;
        let mut datagram = vec![0; DATAGRAM];
        self.link.rtc.handle_input(Input::Timeout(clock()))?;
        loop {
            let Some(wake) = self.drain().await? else { return Ok(End::There) };
            let waiting = self.waiting();
            let has_room = self.is_open && self.backlog.has_room(waiting, clock());
            if has_room && let Some(piece) = self.pieces.pop_front() {
                self.write(&piece).await?;
                continue;
            }
            let dead = if self.is_open { self.heard + DEAD_AFTER } else { self.begun + OPENING };
            tokio::select! {
                // What waits for a reason of its own goes first: it is little. What has come is read before time passes.
                biased;
                // The handle is gone.
                _ = &mut until => {
                    self.link.close().await;
                    return Ok(End::Here);
                }
                Some((step, words)) = signals.recv() => {
                    self.link.hear(step, &words)?;
                    // What was added is looked at when time passes.
                    self.link.rtc.handle_input(Input::Timeout(clock()))?;
                }
                Some((frame, receipt)) = frames.next(), if has_room => self.begin(&frame, receipt),
                (at, source, len) = self.link.sockets.receive(&mut datagram) => self.take(at, source, &datagram[..len])?,
                () = sleep_until(wake.min(dead).into()) => {
                    let now = clock();
                    ensure!(now < dead, "nothing comes");
                    self.link.rtc.handle_input(Input::Timeout(now))?;
                }
            }
        }
    }

    /// Does all that the library asks for; tells when it has to be called again, unless the line is over.
    async fn drain(&mut self) -> anyhow::Result<Option<Instant>> {
        loop {
            match self.link.rtc.poll_output()? {
                Output::Timeout(at) => return Ok((self.link.rtc.is_alive() && !self.is_over).then_some(at)),
                Output::Transmit(datagram) => self.link.sockets.send(&datagram).await,
                Output::Event(event) => self.handle_event(event).await?,
            }
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "most of the library's events are about media")]
    async fn handle_event(&mut self, event: str0m::Event) -> anyhow::Result<()> {
        match event {
            str0m::Event::ChannelOpen(channel, _) if channel == self.link.channel => {
                self.is_open = true;
                self.tell(Event::Opened).await;
            }
            str0m::Event::ChannelData(data) if data.id == self.link.channel => self.pass_on(data).await?,
            str0m::Event::ChannelOpen(..) | str0m::Event::ChannelData(_) => bail!("there is one channel only"),
            str0m::Event::ChannelClose(_) | str0m::Event::Closed => self.is_over = true,
            _ => {}
        }
        Ok(())
    }

    /// Hands the driver a frame that is whole.
    async fn pass_on(&mut self, data: ChannelData) -> anyhow::Result<()> {
        if !data.binary {
            self.tell(Event::Text(String::from_utf8(data.data)?)).await;
        } else if let Some(frame) = self.assembly.take(&data.data)? {
            self.tell(Event::Binary(frame)).await;
        }
        Ok(())
    }

    async fn tell(&self, event: Event) {
        // Nobody listens if the driver is gone; then the line ends as well.
        _ = self.notices.send((self.line, Notice::Line(event))).await;
    }

    /// Takes a datagram.
    fn take(&mut self, at: SocketAddr, source: SocketAddr, datagram: &[u8]) -> anyhow::Result<()> {
        let now = clock();
        let received = Receive::new(Protocol::Udp, source, at, datagram).map(|received| Input::Receive(now, received));
        let is_known = self.sources.contains(&source);
        let may_be = is_known || (self.sources.len() < MOST_SOURCES && self.link.place.may_reach(source));
        // Others can send something to these ports too.
        let input = match received {
            Ok(input) if may_be && self.link.rtc.accepts(&input) => {
                self.heard = now;
                self.sources.insert(source);
                input
            }
            _ => Input::Timeout(now),
        };
        Ok(self.link.rtc.handle_input(input)?)
    }

    /// Begins to send a frame.
    fn begin(&mut self, frame: &Frame, receipt: Option<Receipt>) {
        self.receipt = receipt;
        self.is_text = matches!(frame, Frame::Text(_));
        match frame {
            Frame::Text(text) => self.pieces.push_back(text.clone().into_bytes()),
            Frame::Binary { head, payload } => {
                let mut buffer = Vec::with_capacity(PIECE);
                cut_to(PIECE, head, payload, &mut buffer, |piece| self.pieces.push_back(piece.to_vec()));
            }
        }
    }

    /// Sends a piece of the frame.
    async fn write(&mut self, piece: &[u8]) -> anyhow::Result<()> {
        let mut channel = self.link.rtc.channel(self.link.channel).context("the channel is closed")?;
        ensure!(channel.write(!self.is_text, piece)?, "the channel takes less than it holds");
        self.backlog.note(piece.len(), clock());
        if self.pieces.is_empty()
            && let Some(receipt) = self.receipt.take()
        {
            self.tell(Event::Sent(receipt)).await;
        }
        Ok(())
    }

    /// Bytes that were written and of which the other side has not said yet that they came.
    fn waiting(&mut self) -> usize {
        self.link.rtc.channel(self.link.channel).map_or(0, |mut channel| channel.buffered_amount())
    }
}

/// Sockets, and one that knows where they are.
fn prepare(place: &Place) -> anyhow::Result<(Rtc, Sockets)> {
    let mut config = Rtc::builder().clear_codecs().set_sctp_max_buffered_amount(Backlog::MOST + MOST_TEXT);
    // How often it is looked whether the other side is there.
    config.set_max_stun_rto(DEAD_AFTER / 4);
    let mut rtc = config.build(clock());
    let sockets = Sockets::open(place)?;
    for address in sockets.addresses() {
        rtc.add_local_candidate(Candidate::host(address, Protocol::Udp)?);
    }
    Ok((rtc, sockets))
}

fn channel() -> ChannelConfig {
    ChannelConfig { negotiated: Some(CHANNEL), ..ChannelConfig::default() }
}

/// The one place where a line reads a clock.
fn clock() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
