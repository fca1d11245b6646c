//! The registry among its connections: what comes in is handed to it, what follows is put into the outboxes.

use crate::{
    Config,
    address::AddressKey,
    budget::Budget,
    connection::Handler,
    envelope::Envelope,
    half::Signs,
    outbox::{Outbox, Pushed},
    rate::{AddressAllowance, Handled},
    refusals::{Reason, Refusals},
    registry::{ConnId, Output, Refusal, Registry, RoomView, Route, SIZE_CLASSES, Secrets},
    space::Space,
    status::Status,
    wire::OutFrame,
};
use protocol::{
    ErrorCode, Kind, PeerId, Request, Response, RoomName, Stun, Subject, Unreadable, close, encode_response,
};
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
    stun_answers: AtomicU64,
    stun_dropped: AtomicU64,
    /// The memory for data that waits.
    budget: Arc<Budget>,
    /// The memory for messages that are coming in.
    incoming: Arc<Budget>,
}

#[derive(Debug)]
struct State {
    registry: Registry,
    /// Every open connection.
    connections: BTreeMap<ConnId, Connection>,
    last_conn: u64,
    refusals: Refusals,
    stopping: bool,
}

/// An open connection, as far as others have to do with it.
#[derive(Debug)]
struct Connection {
    outbox: Arc<Outbox>,
    signs: Arc<Signs>,
}

impl Hub {
    /// A hub without connections. `key` must be unpredictable.
    pub(crate) fn new(config: Config, key: [u8; 32], seed: u64) -> Self {
        let registry = Registry::new(config.limits.clone(), Secrets::new(key), seed);
        let [budget, incoming] = [(); 2].map(|()| Arc::new(Budget::new(config.limits.memory_bytes)));
        let state = State {
            registry,
            connections: BTreeMap::new(),
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
            stun_answers: AtomicU64::new(0),
            stun_dropped: AtomicU64::new(0),
            budget,
            incoming,
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

    /// Has clients told who answers STUN.
    pub(crate) fn tell_stun(&self, stun: Stun) {
        self.lock().registry.tell_stun(stun);
    }

    /// The outbox of a new connection.
    pub(crate) fn outbox(&self) -> Outbox {
        Outbox::new(self.config.limits.queue_bytes as usize, Arc::clone(&self.budget))
    }

    /// The space of a new connection for what is coming in.
    pub(crate) fn space(&self, address: AddressAllowance) -> Space {
        Space::new(Arc::clone(&self.incoming), address)
    }

    /// Takes a connection from this address in.
    ///
    /// # Errors
    /// The code to close it with.
    pub(crate) fn connect(&self, address: AddressKey, outbox: &Arc<Outbox>, signs: &Arc<Signs>) -> Result<ConnId, u16> {
        let mut state = self.lock();
        if state.stopping {
            return Err(close::GOING_AWAY);
        }
        if state.connections.len() >= self.config.limits.max_connections {
            return Err(close::TRACKER_FULL);
        }
        state.last_conn += 1;
        let conn = ConnId(state.last_conn);
        state.connections.insert(conn, Connection { outbox: Arc::clone(outbox), signs: Arc::clone(signs) });
        drop(state);
        self.input(|registry, now, _| registry.connected(conn, address, now));
        Ok(conn)
    }

    /// Forgets a connection.
    pub(crate) fn disconnect(&self, conn: ConnId) {
        let mut state = self.lock();
        state.connections.remove(&conn);
        drop(state);
        self.input(|registry, now, out| registry.disconnected(conn, now, out));
    }

    /// Handles what a client asks of the tracker.
    pub(crate) fn request(&self, conn: ConnId, seq: Option<u32>, request: Request) -> Handled {
        trace!(conn = conn.0, ?request, "request");
        let mut is_refused = false;
        let answered = self.input(|registry, now, out| {
            registry.handle(conn, seq, request, now, out);
            is_refused = matches!(out.last(), Some(Output::Send { response: Response::Error { .. }, .. }));
        });
        if is_refused { Handled::Refused } else { Handled::Asked { answered } }
    }

    /// Passes an envelope on. If that cannot be, its sender, whose outbox is `own`, is told why, and no request is left
    /// without an end: the receiver is told if an answer to one of its own does not come.
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
        let outbox = route.as_ref().ok().and_then(|route| state.outbox(route.to));
        drop(state);
        let route = match route {
            Ok(route) => route,
            Err(Refusal { code, message, is_blameless }) => {
                self.refuse(own, to, subject, code, message);
                return if is_blameless { Handled::Relayed } else { Handled::Refused };
            }
        };
        let pushed = self.push(outbox.as_deref(), &route, subject.kind, envelope);
        let Err((code, message)) = pushed else { return Handled::Relayed };
        self.lock().registry.withdraw(route.from, to, subject);
        if let (Some(outbox), Some(text)) = (outbox, envelope.in_place(route.from, subject)) {
            outbox.push_about(route.from, OutFrame::text(&text));
        }
        self.refuse(own, to, subject, code, message);
        // What the receiver is short of is not the sender's fault, whose messages to others must not wait for it.
        if code == ErrorCode::Malformed { Handled::Refused } else { Handled::Relayed }
    }

    fn push(
        &self,
        outbox: Option<&Outbox>,
        route: &Route,
        kind: Kind,
        envelope: &Envelope<'_>,
    ) -> Result<(), (ErrorCode, &'static str)> {
        const GONE: (ErrorCode, &str) = (ErrorCode::UnknownPeer, "this peer is leaving");
        // It is between its removal here and in the registry.
        let Some(outbox) = outbox else { return Err(GONE) };
        if !route.binary && matches!(envelope, Envelope::Binary { .. }) {
            return Err((ErrorCode::Malformed, "this peer takes no binary frames"));
        }
        let frame = envelope.forwarded(route.from);
        let len = frame.len() as u64;
        let pushed = match kind {
            Kind::Block | Kind::Manifest => outbox.push_data(route.from, frame),
            // There are no more of them than requests of the receiver, which would wait for an answer if they were lost.
            Kind::Reject | Kind::NoManifest => outbox.push_about(route.from, frame),
            Kind::GetManifest
            | Kind::Bitfield
            | Kind::Have
            | Kind::Interested
            | Kind::NotInterested
            | Kind::Choke
            | Kind::Unchoke
            | Kind::Request
            | Kind::Cancel
            | Kind::Signal => outbox.push_envelope(route.from, frame),
        };
        match pushed {
            Pushed::Accepted => {
                self.relayed_messages.fetch_add(1, Relaxed);
                self.relayed_bytes.fetch_add(len, Relaxed);
                Ok(())
            }
            Pushed::Busy => Err((ErrorCode::Busy, "too much is waiting for this peer")),
            Pushed::Gone => Err(GONE),
        }
    }

    /// Tells a client that an envelope of its was refused.
    fn refuse(&self, own: &Outbox, to: PeerId, subject: &Subject, code: ErrorCode, message: impl Into<String>) {
        let response = Response::Error { code, message: message.into(), to: Some(to), about: Some(*subject) };
        self.complain(own, None, code, &response);
    }

    /// Tells a client that a frame of its could not be understood.
    pub(crate) fn refuse_unreadable(&self, own: &Outbox, Unreadable { error, seq, to }: &Unreadable) -> Handled {
        let response = Response::Error { code: error.code(), message: error.to_string(), to: *to, about: None };
        self.complain(own, *seq, error.code(), &response);
        Handled::Refused
    }

    fn complain(&self, own: &Outbox, seq: Option<u32>, code: ErrorCode, error: &Response) {
        self.count(Reason::Message(code));
        own.push_control(OutFrame::text(&encode_response(seq, error)));
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

    /// Counts a datagram that was answered by STUN, or dropped.
    pub(crate) fn count_stun(&self, is_answered: bool) {
        let counter = if is_answered { &self.stun_answers } else { &self.stun_dropped };
        counter.fetch_add(1, Relaxed);
    }

    /// Counts a refusal, and logs it unless another of its kind was a moment ago; tells whether it did.
    pub(crate) fn count(&self, reason: Reason) -> bool {
        self.lock().count(reason, self.now())
    }

    /// Lets no connection in, and closes each once it was sent what waits for it.
    pub(crate) fn drain(&self) {
        let mut state = self.lock();
        state.stopping = true;
        state.connections.values().for_each(|connection| connection.outbox.drain_then_close(close::GOING_AWAY));
    }

    /// Closes every connection and lets no other in.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        for connection in state.connections.values() {
            connection.outbox.close(close::GOING_AWAY);
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
                () = due => {
                    self.input(|registry, now, out| registry.handle_timeout(now, out));
                }
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
            connections: state.connections.len(),
            max_connections: self.config.limits.max_connections,
            census: state.registry.census(),
            rooms_by_size: sizes.map(|((class, _), count)| (*class, count)).collect(),
            relayed_messages: self.relayed_messages.load(Relaxed),
            relayed_bytes: self.relayed_bytes.load(Relaxed),
            pauses: self.pauses.load(Relaxed),
            stun_answers: self.stun_answers.load(Relaxed),
            stun_dropped: self.stun_dropped.load(Relaxed),
            waiting_bytes: self.budget.used(),
            incoming_bytes: self.incoming.used(),
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
        } else if state.connections.len() >= self.config.limits.max_connections {
            Err("the tracker has as many connections as it may hold")
        } else {
            Ok(())
        }
    }

    /// A room's files, and at most `limit` of its peers from behind `after` on; none if nobody is in it.
    pub(crate) fn room(&self, name: &RoomName, after: Option<PeerId>, limit: usize) -> Option<RoomView> {
        let state = self.lock();
        let silence =
            |conn| state.connections.get(&conn).map_or(Duration::ZERO, |connection| connection.signs.silence());
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

    /// Hands something to the registry and sends what follows from it, the bytes of which are given back.
    fn input(&self, input: impl FnOnce(&mut Registry, Duration, &mut Vec<Output>)) -> usize {
        let mut state = self.lock();
        let mut out = Vec::new();
        let deadline = state.registry.poll_timeout();
        input(&mut state.registry, self.now(), &mut out);
        if state.registry.poll_timeout() != deadline {
            self.rearm.notify_one();
        }
        // Still under the lock, so that every client hears of events in the order in which they happened.
        out.into_iter().map(|output| state.deliver(output, self.now())).sum()
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
    fn outbox(&self, conn: ConnId) -> Option<Arc<Outbox>> {
        self.connections.get(&conn).map(|connection| Arc::clone(&connection.outbox))
    }

    /// Sends an output, and gives its bytes.
    fn deliver(&mut self, output: Output, now: Duration) -> usize {
        match output {
            Output::Send { to, seq, response } => {
                if let Response::Error { code, .. } = response {
                    self.count(Reason::Message(code), now);
                }
                trace!(conn = to.0, ?response, "response");
                let Some(outbox) = self.outbox(to) else { return 0 };
                let frame = OutFrame::text(&encode_response(seq, &response));
                let len = frame.len();
                match response {
                    Response::PeerJoined { peer, .. } => drop(outbox.push_about(peer.id, frame)),
                    Response::PeerLeft { peer, .. } => drop(outbox.push_about(peer, frame)),
                    Response::Registered { .. }
                    | Response::Announced { .. }
                    | Response::Updated { .. }
                    | Response::Peers { .. }
                    | Response::Files { .. }
                    | Response::Holders { .. }
                    | Response::Left { .. }
                    | Response::Pong
                    | Response::Error { .. } => outbox.push_control(frame),
                }
                len
            }
            Output::Update { to, response } => {
                let frame = OutFrame::text(&encode_response(None, &response));
                let outboxes = to.into_iter().filter_map(|conn| self.outbox(conn));
                outboxes.map(|outbox| outbox.push_update(frame.clone())).count() * frame.len()
            }
            Output::Close { conn, code } => {
                debug!(conn = conn.0, code, "closing");
                if let Some(outbox) = self.outbox(conn) {
                    outbox.close(code);
                }
                0
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

#[cfg(test)]
mod tests;
