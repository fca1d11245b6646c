//! The registry among its connections: what comes in is handed to it, what follows is put into the outboxes.

use crate::{
    Config,
    budget::Budget,
    connection::Handler,
    half::Signs,
    outbox::{Outbox, Pushed},
    rate::Handled,
    refusals::{Reason, Refusals},
    registry::{ConnId, Output, Refusal, Registry, RoomView, SIZE_CLASSES, Secrets},
    status::Status,
    wire::OutFrame,
};
use bytes::Bytes;
use protocol::{ErrorCode, Kind, PeerId, Request, Response, RoomName, Subject, close, encode_response, forwarded_head};
use std::{
    collections::BTreeMap,
    future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tracing::{debug, trace};

/// Envelopes below this size go before data; they say what to do, and they cost little.
const SMALL_ENVELOPE: usize = 4 << 10;
/// A bitfield goes before data even if it is not small, because it must arrive before what is said after it. That of
/// [`protocol::MAX_BLOCKS`] blocks has 4 KiB, a third more in base64.
const LARGEST_BITFIELD: usize = 6 << 10;

/// An envelope as it was received.
#[derive(Debug)]
pub(crate) enum Envelope<'a> {
    /// The whole frame, and the message in it.
    Text { frame: &'a Bytes, message: &'a str },
    /// The message in the head, and the data.
    Binary { message: &'a str, data: Bytes },
}

/// What everything in the tracker shares. No lock is held while waiting.
#[derive(Debug)]
pub(crate) struct Hub {
    config: Config,
    handler: Handler,
    started: Instant,
    state: Mutex<State>,
    /// The registry's next deadline changed.
    rearm: Notify,
    relayed_messages: AtomicU64,
    relayed_bytes: AtomicU64,
    pauses: AtomicU64,
    /// The memory for data that waits.
    budget: Arc<Budget>,
}

#[derive(Debug)]
struct State {
    registry: Registry,
    /// Every open connection.
    outboxes: BTreeMap<ConnId, Arc<Outbox>>,
    /// Of the same connections.
    signs: BTreeMap<ConnId, Arc<Signs>>,
    last_conn: u64,
    refusals: Refusals,
    stopping: bool,
}

impl Hub {
    /// A hub without connections. `key` must be unpredictable.
    pub(crate) fn new(config: Config, key: [u8; 32], seed: u64) -> Self {
        let registry = Registry::new(config.limits.clone(), Secrets::new(key), seed);
        let budget = Arc::new(Budget::new(config.limits.memory_bytes));
        let state = State {
            registry,
            outboxes: BTreeMap::new(),
            signs: BTreeMap::new(),
            last_conn: 0,
            refusals: Refusals::default(),
            stopping: false,
        };
        Self {
            config,
            handler: |client, message| client.handle(message),
            started: Instant::now(),
            state: Mutex::new(state),
            rearm: Notify::new(),
            relayed_messages: AtomicU64::new(0),
            relayed_bytes: AtomicU64::new(0),
            pauses: AtomicU64::new(0),
            budget,
        }
    }

    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }

    /// What is done with each message of a client.
    pub(crate) const fn handler(&self) -> Handler {
        self.handler
    }

    /// Lets something else be done with the messages.
    #[cfg(feature = "conformance")]
    pub(crate) fn handle_with(&mut self, handler: Handler) {
        self.handler = handler;
    }

    /// The outbox of a new connection.
    pub(crate) fn outbox(&self) -> Outbox {
        Outbox::new(self.config.limits.queue_bytes as usize, Arc::clone(&self.budget))
    }

    /// Takes a connection in.
    ///
    /// # Errors
    /// The code to close it with.
    pub(crate) fn connect(&self, outbox: &Arc<Outbox>, signs: &Arc<Signs>) -> Result<ConnId, u16> {
        let mut state = self.lock();
        if state.stopping {
            return Err(close::GOING_AWAY);
        }
        if state.outboxes.len() >= self.config.limits.max_connections {
            return Err(close::TRACKER_FULL);
        }
        state.last_conn += 1;
        let conn = ConnId(state.last_conn);
        state.outboxes.insert(conn, Arc::clone(outbox));
        state.signs.insert(conn, Arc::clone(signs));
        drop(state);
        self.input(|registry, now, _| registry.connected(conn, now));
        Ok(conn)
    }

    /// Forgets a connection.
    pub(crate) fn disconnect(&self, conn: ConnId) {
        let mut state = self.lock();
        state.outboxes.remove(&conn);
        state.signs.remove(&conn);
        drop(state);
        self.input(|registry, now, out| registry.disconnected(conn, now, out));
    }

    /// Handles what a client asks of the tracker.
    pub(crate) fn request(&self, conn: ConnId, seq: Option<u32>, request: Request) {
        trace!(conn = conn.0, ?request, "request");
        self.input(|registry, now, out| registry.handle(conn, seq, request, now, out));
    }

    /// Passes an envelope on; if that cannot be, its sender, whose outbox is `own`, is told why.
    pub(crate) fn relay(
        &self,
        conn: ConnId,
        own: &Outbox,
        to: PeerId,
        subject: &Subject,
        envelope: &Envelope<'_>,
    ) -> Handled {
        let mut state = self.lock();
        let route = state.registry.relay(conn, to, subject);
        let outbox = route.as_ref().ok().and_then(|route| state.outboxes.get(&route.to).map(Arc::clone));
        drop(state);
        let route = match route {
            Ok(route) => route,
            Err(Refusal { code, message }) => return self.refuse(own, code, message, Some(to)),
        };
        if !route.binary && matches!(envelope, Envelope::Binary { .. }) {
            self.lock().registry.reopen(route.from, to, subject);
            return self.refuse(own, ErrorCode::Malformed, "this peer takes no binary frames", Some(to));
        }
        let frame = envelope.forwarded(route.from);
        let len = frame.len() as u64;
        let pushed = match outbox {
            // It is between its removal here and in the registry.
            None => Pushed::Gone,
            Some(outbox) if is_control(subject.kind, frame.len()) => outbox.push_envelope(frame),
            Some(outbox) => outbox.push_data(route.from, frame),
        };
        match pushed {
            Pushed::Accepted => {
                self.relayed_messages.fetch_add(1, Relaxed);
                self.relayed_bytes.fetch_add(len, Relaxed);
                Handled::Relayed
            }
            Pushed::Busy => {
                self.lock().registry.reopen(route.from, to, subject);
                self.refuse(own, ErrorCode::Busy, "too much is waiting for this peer; send it later", Some(to));
                Handled::Asked
            }
            Pushed::Gone => self.refuse(own, ErrorCode::UnknownPeer, "this peer is leaving", Some(to)),
        }
    }

    /// Tells a client that a message of its was refused.
    pub(crate) fn refuse(
        &self,
        own: &Outbox,
        code: ErrorCode,
        message: impl Into<String>,
        to: Option<PeerId>,
    ) -> Handled {
        self.count(Reason::Message(code));
        let response = Response::Error { code, message: message.into(), to };
        own.push_control(OutFrame::text(&encode_response(None, &response)));
        Handled::Refused
    }

    /// Counts a connection that ended with this code.
    pub(crate) fn count_close(&self, code: u16) {
        if let Some(reason) = Reason::of_close(code) {
            self.count(reason);
        }
    }

    /// Counts that a client sent too much and is not read for a while.
    pub(crate) fn count_pause(&self) {
        self.pauses.fetch_add(1, Relaxed);
    }

    /// Counts a refusal, and logs it unless another of its kind was a moment ago; tells whether it did.
    pub(crate) fn count(&self, reason: Reason) -> bool {
        self.lock().count(reason, self.now())
    }

    /// Lets no connection in, and closes each once it was sent what waits for it.
    pub(crate) fn drain(&self) {
        let mut state = self.lock();
        state.stopping = true;
        state.outboxes.values().for_each(|outbox| outbox.drain_then_close(close::GOING_AWAY));
    }

    /// Closes every connection and lets no other in.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        for outbox in state.outboxes.values() {
            outbox.close(close::GOING_AWAY);
        }
    }

    /// Calls the registry when it wants to be called; never returns.
    pub(crate) async fn run_timers(&self) {
        loop {
            let deadline = self.lock().registry.poll_timeout();
            let due = async {
                match deadline {
                    Some(deadline) => sleep_until(self.started + deadline).await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                () = due => self.input(|registry, now, out| registry.handle_timeout(now, out)),
                () = self.rearm.notified() => {}
            }
        }
    }

    /// The figures of this moment.
    pub(crate) fn status(&self) -> Status {
        let state = self.lock();
        let sizes = SIZE_CLASSES.iter().zip(state.registry.rooms_by_size());
        Status {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: self.now().as_secs(),
            connections: state.outboxes.len(),
            max_connections: self.config.limits.max_connections,
            census: state.registry.census(),
            rooms_by_size: sizes.map(|((class, _), count)| (*class, count)).collect(),
            relayed_messages: self.relayed_messages.load(Relaxed),
            relayed_bytes: self.relayed_bytes.load(Relaxed),
            pauses: self.pauses.load(Relaxed),
            waiting_bytes: self.budget.used(),
            memory_bytes: self.config.limits.memory_bytes,
            refused: state.refusals.totals(),
        }
    }

    /// Whether new clients are let in.
    ///
    /// # Errors
    /// Why not, for people.
    pub(crate) fn ready(&self) -> Result<(), &'static str> {
        let state = self.lock();
        if state.stopping {
            Err("the tracker is stopping")
        } else if state.outboxes.len() >= self.config.limits.max_connections {
            Err("the tracker has as many connections as it may hold")
        } else {
            Ok(())
        }
    }

    /// A room's files, and at most `limit` of its peers from behind `after` on; none if nobody is in it.
    pub(crate) fn room(&self, name: &RoomName, after: Option<PeerId>, limit: usize) -> Option<RoomView> {
        let state = self.lock();
        let silence = |conn| state.signs.get(&conn).map_or(Duration::ZERO, |signs| signs.silence());
        state.registry.view(name, after, limit, silence)
    }

    /// Removes a peer as whoever runs the tracker wants; `false` if it is not here.
    pub(crate) fn remove(&self, id: PeerId) -> bool {
        let mut removed = false;
        self.input(|registry, now, out| removed = registry.remove(id, now, out));
        removed
    }

    /// Whether nothing is left to be done at any time.
    #[cfg(fuzzing)]
    pub(crate) fn is_idle(&self) -> bool {
        self.lock().registry.poll_timeout().is_none()
    }

    fn input(&self, input: impl FnOnce(&mut Registry, Duration, &mut Vec<Output>)) {
        let mut state = self.lock();
        let mut out = Vec::new();
        let deadline = state.registry.poll_timeout();
        input(&mut state.registry, self.now(), &mut out);
        if state.registry.poll_timeout() != deadline {
            self.rearm.notify_one();
        }
        // Still under the lock, so that every client hears of events in the order in which they happened.
        out.into_iter().for_each(|output| state.deliver(output, self.now()));
    }

    /// The time since the tracker's start.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // If an input panicked, that was our mistake, and the other clients shall not pay for it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn deliver(&mut self, output: Output, now: Duration) {
        match output {
            Output::Send { to, seq, response } => {
                if let Response::Error { code, .. } = response {
                    self.count(Reason::Message(code), now);
                }
                trace!(conn = to.0, ?response, "response");
                if let Some(outbox) = self.outboxes.get(&to) {
                    outbox.push_control(OutFrame::text(&encode_response(seq, &response)));
                }
            }
            Output::Update { to, response } => {
                let frame = OutFrame::text(&encode_response(None, &response));
                for outbox in to.iter().filter_map(|conn| self.outboxes.get(conn)) {
                    outbox.push_update(frame.clone());
                }
            }
            Output::Close { conn, code } => {
                debug!(conn = conn.0, code, "closing");
                if let Some(outbox) = self.outboxes.get(&conn) {
                    outbox.close(code);
                }
            }
        }
    }

    fn count(&mut self, reason: Reason, now: Duration) -> bool {
        let logged = self.refusals.count(reason, now);
        if let Some(suppressed) = logged {
            debug!(%reason, suppressed, "refused");
        }
        logged.is_some()
    }
}

impl Envelope<'_> {
    /// The frame for the receiver.
    fn forwarded(&self, from: PeerId) -> OutFrame {
        let mut head = forwarded_head(from);
        match self {
            Self::Text { frame, message } if frame.len() < SMALL_ENVELOPE => {
                head.push_str(message);
                head.push('}');
                OutFrame::text(&head)
            }
            Self::Text { frame, message } => {
                // The message is the envelope's last value; nothing but its closing brace follows.
                let start = message.as_ptr().addr() - frame.as_ptr().addr();
                OutFrame::text_with_body(&head, kept(frame.slice(start..), frame.len()))
            }
            Self::Binary { message, data } => {
                head.push_str(message);
                head.push('}');
                // The head of a frame is short, so that large data is nearly all of it.
                OutFrame::binary(&head, kept(data.clone(), data.len()))
            }
        }
    }
}

/// Whether a message goes before data: it says what to do, and costs little.
fn is_control(kind: Kind, len: usize) -> bool {
    match kind {
        Kind::Block | Kind::Manifest => len < SMALL_ENVELOPE,
        // It must arrive before what is said after it.
        Kind::Bitfield => len < LARGEST_BITFIELD,
        Kind::GetManifest
        | Kind::Have
        | Kind::Interested
        | Kind::NotInterested
        | Kind::Choke
        | Kind::Unchoke
        | Kind::Request
        | Kind::Cancel
        | Kind::Reject => len < SMALL_ENVELOPE,
    }
}

/// What is kept of a frame of `frame_len` bytes so that `part` of it can wait.
fn kept(part: Bytes, frame_len: usize) -> Bytes {
    if part.len() < SMALL_ENVELOPE.max(frame_len / 2) { Bytes::copy_from_slice(&part) } else { part }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: PeerId = PeerId::from_bytes([0xa1; 8]);

    /// Whether the frame that is forwarded keeps the frame it came in.
    fn is_shared(frame: Bytes, forward: impl FnOnce(&Bytes) -> OutFrame) -> bool {
        let forwarded = forward(&frame);
        let is_shared = !frame.is_unique();
        drop(forwarded);
        assert!(frame.is_unique());
        is_shared
    }

    fn text(padding: usize, len: usize) -> bool {
        let message = format!("[{}]", "1".repeat(len));
        let frame = format!(r#"{{"to":"{ALICE}",{}"message":{message}}}"#, " ".repeat(padding));
        is_shared(frame.into(), |frame| {
            let text = std::str::from_utf8(frame).unwrap();
            let message = &text[text.find('[').unwrap()..text.len() - 1];
            Envelope::Text { frame, message }.forwarded(ALICE)
        })
    }

    #[test]
    fn what_is_kept_of_a_frame_is_about_what_is_charged() {
        assert!(text(0, 1 << 20), "large messages are not copied");
        assert!(!text(1 << 20, 10), "a short message does not keep the spaces around it");
        assert!(!text(1 << 20, 100_000), "nor does a longer one");
        for (len, expected) in [(1, false), (1_000, false), (16 << 10, true), (1 << 20, true)] {
            let frame = Bytes::from(vec![7; 100 + len]);
            let forward = |frame: &Bytes| Envelope::Binary { message: "{}", data: frame.slice(100..) }.forwarded(ALICE);
            assert_eq!(is_shared(frame, forward), expected, "{len} bytes of data");
        }
    }

    #[test]
    fn what_goes_before_data_is_small_and_is_none() {
        for (kind, len, expected) in [
            (Kind::Request, 100, true),
            (Kind::Have, SMALL_ENVELOPE, false),
            (Kind::Block, 100, true),
            (Kind::Block, SMALL_ENVELOPE, false),
            // The longest bitfield in base64, with its envelope.
            (Kind::Bitfield, (protocol::MAX_BLOCKS as usize / 8).div_ceil(3) * 4 + 200, true),
            (Kind::Bitfield, LARGEST_BITFIELD, false),
        ] {
            assert_eq!(is_control(kind, len), expected, "{kind:?} of {len} bytes");
        }
    }

    #[tokio::test]
    async fn a_hub_that_stops_is_not_ready() {
        let hub = Hub::new(Config::default(), [0; 32], 0);
        assert_eq!(hub.ready(), Ok(()));
        hub.stop();
        assert!(hub.ready().is_err_and(|reason| reason.contains("stopping")));
    }
}
