//! The task behind a peer: gives the core its inputs and does what it asks for. It decides nothing about the swarm.

use crate::{
    Fingerprint, PeerConfig, State,
    direct::{Direct, Notice},
    disk::{Disk, Done},
    line::{Event, Line},
    store::Store,
    tls,
};
use peer_wasm::{
    Instant,
    client::{Client, ClientConfig, LineId, Output, StoreId},
    page::{Connection, Storage, Update},
    swarm::StorageError,
};
use protocol::{Bitfield, FileId, LineKind, Manifest};
use std::{future::pending, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep_until,
};

/// What the handle asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Share { path: PathBuf, manifest: Arc<Manifest>, store: Store, done: oneshot::Sender<()> },
    Fetch { file: FileId, done: oneshot::Sender<()> },
}

pub(crate) struct Driver {
    url: String,
    fingerprint: Option<Fingerprint>,
    folder: PathBuf,
    client: Client,
    started: tokio::time::Instant,
    line: Option<Line>,
    direct: Direct,
    by_lines: mpsc::Receiver<(LineId, Notice)>,
    disk: Disk,
    done: mpsc::Receiver<Done>,
    state: watch::Sender<State>,
}

impl Driver {
    pub(crate) fn new(config: PeerConfig, state: watch::Sender<State>) -> Self {
        let PeerConfig { url, fingerprint, room, name, binary, direct: kinds, direct_ports, folder, swarm } = config;
        // It only spreads choices; no secret depends on it.
        let seed = getrandom::u64().unwrap_or_default();
        let (disk, done) = Disk::new();
        let (direct, by_lines) = Direct::new(is_local(&url), direct_ports);
        if kinds.contains(&LineKind::Tcp) {
            // It is needed soon, and takes a while.
            tokio::task::spawn_blocking(|| _ = tls::identity());
        }
        let config = ClientConfig { room, name, binary, direct: kinds, swarm };
        Self {
            url,
            fingerprint,
            folder,
            client: Client::new(config, seed, Instant::default()),
            started: clock(),
            line: None,
            direct,
            by_lines,
            disk,
            done,
            state,
        }
    }

    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            self.drain().await;
            let deadline = self.client.poll_timeout().map(|deadline| self.started + deadline.since_start());
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.handle_command(command).await,
                    None => return,
                },
                event = next_event(&mut self.line) => self.handle_event(event),
                Some((line, notice)) = self.by_lines.recv() => self.handle_line(line, notice),
                Some(done) = self.done.recv() => self.handle_done(done),
                () = wait(deadline) => self.client.handle_timeout(self.now()),
            }
        }
    }

    fn now(&self) -> Instant {
        Instant::after_start(clock().saturating_duration_since(self.started))
    }

    async fn handle_command(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Share { path, manifest, store, done } => {
                let file = manifest.file();
                if let Some(kept) = self.client.share(manifest, now) {
                    self.disk.keep(kept, store);
                }
                self.state.send_modify(|state| _ = state.finished.entry(file).or_insert(path));
                // The handle may not wait any more.
                _ = done.send(());
            }
            Command::Fetch { file, done } => {
                self.client.fetch(file, now);
                // What is known of an earlier try is not the outcome of this one.
                self.state.send_if_modified(|state| {
                    state.transfers.remove(&file);
                    false
                });
                self.drain().await;
                _ = done.send(());
            }
        }
    }

    fn handle_event(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Opened => {
                self.state.send_if_modified(|state| state.trouble.take().is_some());
                self.client.handle_opened(now);
            }
            Event::Text(text) => self.client.handle_text(&text, now),
            Event::Binary(frame) => self.client.handle_binary(&frame, now),
            Event::Sent(receipt) => self.client.handle_sent(receipt, now),
            Event::Closed(code) => {
                self.line = None;
                self.client.handle_closed(code, now);
            }
            Event::Failed(trouble) => {
                self.line = None;
                self.state.send_modify(|state| {
                    state.trouble = Some(trouble);
                    state.problem = None;
                });
                self.client.handle_closed(None, now);
            }
        }
    }

    fn handle_line(&mut self, line: LineId, notice: Notice) {
        let now = self.now();
        let event = match notice {
            Notice::Line(event) => event,
            Notice::Say { step, data } => return self.client.handle_signal(line, step, data, now),
        };
        match event {
            Event::Opened => self.client.handle_line_opened(line, now),
            Event::Text(text) => self.client.handle_line_text(line, &text, now),
            Event::Binary(frame) => self.client.handle_line_binary(line, &frame, now),
            Event::Sent(receipt) => self.client.handle_sent(receipt, now),
            Event::Closed(_) | Event::Failed(_) => self.close_line(line),
        }
    }

    fn close_line(&mut self, line: LineId) {
        self.direct.hang_up(line);
        self.client.handle_line_closed(line, self.now());
    }

    fn handle_done(&mut self, done: Done) {
        let now = self.now();
        match done {
            Done::Created { store, blocks, result } => {
                let ready = result.map(|made| {
                    self.disk.keep(store, made);
                    (Bitfield::empty(blocks), Storage::Disk)
                });
                self.client.handle_created(store, ready, now);
            }
            Done::Read { store, id, result } => self.client.handle_read(store, id, result, now),
            Done::Written { store, run, result } => self.client.handle_stored(store, run, result, now),
            Done::Finished { store, file, result } => match result {
                Ok(path) => self.state.send_modify(|state| _ = state.finished.insert(file, path)),
                Err(error) => self.client.handle_failed(store, error, now),
            },
        }
    }

    async fn drain(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Connect => self.line = Some(Line::open(self.url.clone(), self.fingerprint)),
                Output::Disconnect => self.line = None,
                Output::Send { frame, receipt } => {
                    if self.line.as_ref().is_some_and(|line| !line.send(frame, receipt)) {
                        self.line = None;
                        self.client.handle_closed(None, self.now());
                    }
                }
                Output::Offer { line, kind } => match self.direct.offer(line, kind) {
                    Ok(offer) => self.client.handle_reachable(line, offer, self.now()),
                    Err(error) => {
                        tracing::debug!(%error, "no line can be offered");
                        self.close_line(line);
                    }
                },
                Output::Dial { line, offer } => {
                    if let Err(error) = self.direct.dial(line, &offer) {
                        tracing::debug!(%error, "cannot dial");
                        self.close_line(line);
                    }
                }
                Output::Signal { line, step, data } => self.direct.signal(line, step, data),
                Output::SendDirect { line, frame, receipt } => {
                    if !self.direct.send(line, frame, receipt) {
                        self.close_line(line);
                    }
                }
                Output::HangUp { line } => self.direct.hang_up(line),
                Output::Create { store, manifest } => self.disk.create(store, manifest, self.folder.clone()),
                Output::Read { store, id, offset, len } => self.queue(store, move |kept| {
                    let result = kept.and_then(|kept| kept.read(offset, len));
                    Done::Read { store, id, result }
                }),
                Output::Write { store, run, offset, data } => self.queue(store, move |kept| {
                    let result = kept.and_then(|kept| kept.write(offset, &data));
                    Done::Written { store, run, result }
                }),
                Output::Discard { store } => self.disk.discard(store),
                Output::Finished { store, file } => self.queue(store, move |kept| {
                    let result = kept.and_then(Store::finish);
                    Done::Finished { store, file, result }
                }),
                Output::Update(update) => self.tell(update),
            }
        }
    }

    fn queue(&mut self, store: StoreId, job: impl FnOnce(Result<&mut Store, StorageError>) -> Done + Send + 'static) {
        if let Some(done) = self.disk.queue(store, job) {
            self.handle_done(done);
        }
    }

    fn tell(&self, update: Update) {
        self.state.send_modify(|state| match update {
            Update::Connection { connection } => {
                match &connection {
                    Connection::Online { .. } => state.problem = None,
                    Connection::Waiting { problem: Some(problem), .. } => state.problem = Some(problem.clone()),
                    Connection::Connecting | Connection::Waiting { problem: None, .. } | Connection::Ended { .. } => {}
                }
                state.connection = Some(connection);
            }
            Update::Room { files } => state.room = Some(files),
            Update::Transfer { transfer } => _ = state.transfers.insert(transfer.file, *transfer),
            Update::Stopped { file } => _ = state.transfers.remove(&file),
            Update::Problem { problem } => state.problem = Some(problem),
            // Only a page's worker says these.
            Update::Ready
            | Update::Hashing { .. }
            | Update::Shared { .. }
            | Update::Line { .. }
            | Update::NotShared { .. }
            | Update::Saved { .. } => {}
        });
    }
}

async fn next_event(line: &mut Option<Line>) -> Event {
    match line {
        Some(line) => line.event().await,
        None => pending().await,
    }
}

/// Whether the tracker is reached by an address that only this machine has.
fn is_local(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    ["127.", "localhost", "[::1]"].iter().any(|local| host.starts_with(local))
}

async fn wait(deadline: Option<tokio::time::Instant>) {
    match deadline {
        // A millisecond more, so that the deadline has surely come.
        Some(deadline) => sleep_until(deadline + Duration::from_millis(1)).await,
        None => pending().await,
    }
}

/// The one place where this shell reads a clock.
fn clock() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
