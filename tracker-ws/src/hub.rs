//! The registry among its connections: what comes in is handed to it, what follows is put into the outboxes.

use crate::{
    Config,
    outbox::{Outbox, Pushed},
    registry::{Census, ConnId, Output, Refusal, Registry, Secrets},
    wire::OutFrame,
};
use bytes::Bytes;
use protocol::{ErrorCode, PeerId, Request, Response, close, encode_response, forwarded_head};
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
/// A bitfield goes before data even if it is larger, because it must arrive before what is said after it.
const BITFIELD: &str = r#"{"type":"bitfield""#;
/// That of [`protocol::MAX_BLOCKS`] blocks has 4 KiB, a third more in base64.
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
    started: Instant,
    state: Mutex<State>,
    /// The registry's next deadline changed.
    rearm: Notify,
    relayed_messages: AtomicU64,
    relayed_bytes: AtomicU64,
}

#[derive(Debug)]
struct State {
    registry: Registry,
    /// Every open connection.
    outboxes: BTreeMap<ConnId, Arc<Outbox>>,
    last_conn: u64,
    refused: BTreeMap<ErrorCode, u64>,
    stopping: bool,
}

/// The tracker's figures.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Status {
    version: &'static str,
    uptime_seconds: u64,
    connections: usize,
    #[serde(flatten)]
    census: Census,
    relayed_messages: u64,
    relayed_bytes: u64,
    refused: BTreeMap<ErrorCode, u64>,
}

impl Hub {
    /// A hub without connections. `key` must be unpredictable.
    pub(crate) fn new(config: Config, key: [u8; 32], seed: u64) -> Self {
        let registry = Registry::new(config.limits.clone(), config.register_timeout, Secrets::new(key), seed);
        let outboxes = BTreeMap::new();
        let state = State { registry, outboxes, last_conn: 0, refused: BTreeMap::new(), stopping: false };
        Self {
            config,
            started: Instant::now(),
            state: Mutex::new(state),
            rearm: Notify::new(),
            relayed_messages: AtomicU64::new(0),
            relayed_bytes: AtomicU64::new(0),
        }
    }

    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }

    /// Takes a connection in.
    ///
    /// # Errors
    /// The code to close it with.
    pub(crate) fn connect(&self, outbox: &Arc<Outbox>) -> Result<ConnId, u16> {
        let mut state = self.lock();
        if state.stopping {
            return Err(close::GOING_AWAY);
        }
        if state.outboxes.len() >= self.config.max_connections {
            return Err(close::TRACKER_FULL);
        }
        state.last_conn += 1;
        let conn = ConnId(state.last_conn);
        state.outboxes.insert(conn, Arc::clone(outbox));
        drop(state);
        self.input(|registry, now, _| registry.connected(conn, now));
        Ok(conn)
    }

    /// Forgets a connection.
    pub(crate) fn disconnect(&self, conn: ConnId) {
        self.lock().outboxes.remove(&conn);
        self.input(|registry, now, out| registry.disconnected(conn, now, out));
    }

    /// Handles what a client asks of the tracker.
    pub(crate) fn request(&self, conn: ConnId, seq: Option<u32>, request: Request) {
        trace!(conn = conn.0, ?request, "request");
        self.input(|registry, now, out| registry.handle(conn, seq, request, now, out));
    }

    /// Passes an envelope on; if that cannot be, its sender, whose outbox is `own`, is told why.
    pub(crate) fn relay(&self, conn: ConnId, own: &Outbox, to: PeerId, envelope: &Envelope<'_>) {
        let state = self.lock();
        let route = state.registry.route(conn, to);
        let outbox = route.as_ref().ok().and_then(|route| state.outboxes.get(&route.to).map(Arc::clone));
        drop(state);
        let route = match route {
            Ok(route) => route,
            Err(Refusal { code, message }) => return self.refuse(own, code, message, Some(to)),
        };
        // Between its removal here and in the registry a receiver has no outbox; it is gone, as its peers will hear.
        let Some(outbox) = outbox else { return };
        if !route.binary && matches!(envelope, Envelope::Binary { .. }) {
            return self.refuse(own, ErrorCode::Malformed, "this peer takes no binary frames", Some(to));
        }
        let (frame, is_control) = envelope.forwarded(route.from);
        let len = frame.len() as u64;
        if is_control {
            outbox.push_control(frame);
        } else if outbox.push_data(frame) == Pushed::Busy {
            return self.refuse(own, ErrorCode::Busy, "too much is waiting for this peer; send it later", Some(to));
        }
        self.relayed_messages.fetch_add(1, Relaxed);
        self.relayed_bytes.fetch_add(len, Relaxed);
    }

    /// Tells a client that a message of its was refused.
    pub(crate) fn refuse(&self, own: &Outbox, code: ErrorCode, message: impl Into<String>, to: Option<PeerId>) {
        self.lock().count_refusal(code);
        let response = Response::Error { code, message: message.into(), to };
        own.push_control(OutFrame::text(&encode_response(None, &response)));
    }

    /// Closes every connection and lets no other in.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        state.outboxes.values().for_each(|outbox| outbox.close(close::GOING_AWAY));
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
        Status {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: self.now().as_secs(),
            connections: state.outboxes.len(),
            census: state.registry.census(),
            relayed_messages: self.relayed_messages.load(Relaxed),
            relayed_bytes: self.relayed_bytes.load(Relaxed),
            refused: state.refused.clone(),
        }
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
        out.into_iter().for_each(|output| state.deliver(output));
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // If an input panicked, that was our mistake, and the other clients shall not pay for it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn deliver(&mut self, output: Output) {
        match output {
            Output::Send { to, seq, response } => {
                if let Response::Error { code, .. } = response {
                    self.count_refusal(code);
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

    fn count_refusal(&mut self, code: ErrorCode) {
        *self.refused.entry(code).or_default() += 1;
    }
}

impl Envelope<'_> {
    /// The frame for the receiver, and whether it is control. Only small ones are copied; that also keeps them from
    /// holding on to the large buffer that they were received in.
    fn forwarded(&self, from: PeerId) -> (OutFrame, bool) {
        let mut head = forwarded_head(from);
        match self {
            Self::Text { frame, message } if frame.len() < SMALL_ENVELOPE => {
                head.push_str(message);
                head.push('}');
                (OutFrame::text(&head), true)
            }
            Self::Text { frame, message } => {
                // The message is the envelope's last value; nothing but its closing brace follows.
                let start = message.as_ptr().addr() - frame.as_ptr().addr();
                let is_bitfield = frame.len() < LARGEST_BITFIELD && message.starts_with(BITFIELD);
                (OutFrame::text_with_body(&head, frame.slice(start..)), is_bitfield)
            }
            Self::Binary { message, data } => {
                head.push_str(message);
                head.push('}');
                (OutFrame::binary(&head, data.clone()), false)
            }
        }
    }
}
