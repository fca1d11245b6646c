//! The event loop of the worker: every event becomes one input to the core, then the outputs are drained.

use super::{
    ahead::Reading,
    channel::{Channel, ChannelEvent},
    disk::Disk,
    hashing,
    port::{post, read, scope},
    socket::{Socket, SocketEvent},
    store::{Saved, Store, file_of, read_piece},
};
use crate::{
    Instant,
    client::{Client, ClientConfig, LineId, Output, Receipt, StoreId},
    page::{Command, LineEvent, LineTask, Problem, Update},
    swarm::{Config, StorageError},
};
use gloo_timers::callback::Timeout;
use protocol::{Bitfield, FileId, LineKind, Manifest, RoomName, SignalStep};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use wasm_bindgen::{JsCast as _, JsValue, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::{File, MessageEvent, Url};

/// How long to wait before looking again whether the browser has room for more data; it tells nobody by itself.
const LOOK_AGAIN: Duration = Duration::from_millis(4);

/// The worker's state, shared by everything that can happen to it.
#[derive(Clone)]
struct Worker(Rc<RefCell<State>>);

struct State {
    started: f64,
    disk: Option<Rc<Disk>>,
    session: Option<Session>,
    /// Counts sessions and their sockets, so that what comes late from an old one is recognised.
    generation: u32,
    /// Files to be hashed, one at a time.
    to_hash: VecDeque<(u32, File)>,
    hashing: bool,
}

/// One room on one tracker.
struct Session {
    generation: u32,
    url: String,
    room: RoomName,
    client: Client,
    socket: Option<(u32, Socket)>,
    /// The direct lines that the page was asked for, and their channels once they are there.
    lines: BTreeMap<LineId, Option<Channel>>,
    stores: BTreeMap<StoreId, Store>,
    /// The timer that is set, and for when.
    timer: Option<(Instant, Timeout)>,
}

/// Starts the worker; the page hears [`Update::Ready`] once it listens.
pub fn start() {
    std::panic::set_hook(Box::new(|info| web_sys::console::error_1(&info.to_string().into())));
    spawn_local(async {
        let disk = Disk::open().await.inspect_err(|error| web_sys::console::warn_2(&"no disk:".into(), error)).ok();
        let worker = Worker::new(disk);
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            if let Some((command, attachment)) = read(&event.data()) {
                worker.command(command, attachment);
            }
        });
        scope().set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        // Once, for the worker's whole life.
        on_message.forget();
        post(&Update::Ready, None);
    });
}

impl Worker {
    fn new(disk: Option<Disk>) -> Self {
        Self(Rc::new(RefCell::new(State {
            started: clock_ms(),
            disk: disk.map(Rc::new),
            session: None,
            generation: 0,
            to_hash: VecDeque::new(),
            hashing: false,
        })))
    }

    fn command(&self, command: Command, attachment: JsValue) {
        match command {
            Command::Join { url, room, direct } => self.join(url, room, direct),
            Command::Share { share } => {
                if let Ok(file) = attachment.dyn_into() {
                    self.0.borrow_mut().to_hash.push_back((share, file));
                    self.hash_next();
                }
            }
            Command::Download { file } => self.input(None, |session, now| session.client.fetch(file, now)),
            Command::Stop { file } => self.input(None, |session, now| session.client.stop(file, now)),
            Command::Save { file } => self.save(file),
            Command::Line { session, line, event: LineEvent::Channel } => self.take_channel(session, line, attachment),
            Command::Line { session, line, event } => {
                self.input(Some(session), |session, now| session.line_event(line, event, now));
            }
            Command::Wake => self.input(None, |session, now| session.client.wake(now)),
        }
    }

    fn join(&self, url: String, room: RoomName, direct: bool) {
        let direct: BTreeSet<_> = direct.then_some(LineKind::WebRtc).into_iter().collect();
        let mut state = self.0.borrow_mut();
        if state.session.as_ref().is_some_and(|session| session.url == url && session.room == room) {
            drop(state);
            return self.input(None, |session, now| session.client.set_lines(direct, now));
        }
        // It only spreads choices; no secret depends on it.
        let seed = getrandom::u64().unwrap_or_else(|_| clock_ms().to_bits());
        let now = state.now();
        if let Some(old) = state.session.take() {
            old.lines.keys().for_each(|line| old.ask_page(*line, LineTask::Close));
            for file in old.client.files() {
                post(&Update::Stopped { file }, None);
            }
            for store in old.stores.into_values() {
                store.discard(state.disk.as_deref());
            }
            // A file chosen in one room is not shared in the next.
            state.to_hash.clear();
        }
        state.generation += 1;
        let config = ClientConfig { room: room.clone(), name: None, binary: true, direct, swarm: Config::default() };
        state.session = Some(Session {
            generation: state.generation,
            url,
            room,
            client: Client::new(config, seed, now),
            socket: None,
            lines: BTreeMap::new(),
            stores: BTreeMap::new(),
            timer: None,
        });
        drop(state);
        self.input(None, |_, _| {});
        self.hash_next();
    }

    /// Gives the core one input and does all that follows. With a `generation`, only if that session still is.
    fn input(&self, generation: Option<u32>, input: impl FnOnce(&mut Session, Instant)) {
        let state = &mut *self.0.borrow_mut();
        let now = state.now();
        let disk = state.disk.as_ref();
        let Some(session) = state.session.as_mut() else { return };
        if generation.is_some_and(|generation| generation != session.generation) {
            return;
        }
        input(session, now);
        let target = session.client.unsent_target(now);
        loop {
            while let Some(output) = session.client.poll_output() {
                session.perform(output, now, self, disk, &mut state.generation);
            }
            let Some(receipt) = session.send_waiting(target) else { break };
            session.client.handle_sent(receipt, now);
        }
        session.set_timer(now, self);
    }

    fn socket_event(&self, generation: u32, number: u32, event: SocketEvent) {
        self.input(Some(generation), |session, now| {
            if session.socket.as_ref().is_none_or(|(current, _)| *current != number) {
                return;
            }
            match event {
                SocketEvent::Opened => session.client.handle_opened(now),
                SocketEvent::Text(text) => session.client.handle_text(&text, now),
                SocketEvent::Binary(frame) => session.client.handle_binary(&frame, now),
                SocketEvent::Closed(code) => {
                    session.socket = None;
                    session.client.handle_closed(Some(code), now);
                }
            }
        });
    }

    /// Takes the channel that the page made for a direct line.
    fn take_channel(&self, generation: u32, line: LineId, channel: JsValue) {
        let Ok(channel) = channel.dyn_into() else { return };
        let worker = self.clone();
        let channel = Channel::new(channel, move |event| worker.channel_event(generation, line, event));
        self.input(Some(generation), |session, now| {
            // It may be wanted no longer.
            let Some(place) = session.lines.get_mut(&line) else { return };
            let is_open = channel.is_open();
            *place = Some(channel);
            if is_open {
                session.client.handle_line_opened(line, now);
            }
        });
    }

    fn channel_event(&self, generation: u32, line: LineId, event: ChannelEvent) {
        self.input(Some(generation), |session, now| match event {
            ChannelEvent::Opened => session.client.handle_line_opened(line, now),
            ChannelEvent::Text(text) => session.client.handle_line_text(line, &text, now),
            ChannelEvent::Binary(frame) => session.client.handle_line_binary(line, &frame, now),
            // Every input looks at what waits.
            ChannelEvent::Room => {}
            ChannelEvent::Closed => session.close_line(line, now),
        });
    }

    fn is_in(&self, generation: u32) -> bool {
        self.0.borrow().session.as_ref().is_some_and(|session| session.generation == generation)
    }

    /// Hashes the next chosen file, if none is being hashed.
    fn hash_next(&self) {
        let (generation, share, file) = {
            let mut state = self.0.borrow_mut();
            if state.hashing {
                return;
            }
            // What is chosen before there is a room waits for the first.
            let Some(generation) = state.session.as_ref().map(|session| session.generation) else { return };
            let Some((share, file)) = state.to_hash.pop_front() else { return };
            state.hashing = true;
            (generation, share, file)
        };
        let worker = self.clone();
        spawn_local(async move {
            let (name, total) = (hashing::name_of(&file), file.size() as u64);
            let tell = |update: &Update| {
                let wanted = worker.is_in(generation);
                if wanted {
                    post(update, None);
                }
                wanted
            };
            let progress = |done| tell(&Update::Hashing { share, name: name.clone(), done, total });
            match hashing::hash(&file, progress).await {
                Ok(Some(manifest)) => {
                    tell(&Update::Shared { share, file: manifest.file() });
                    worker.share(generation, file, manifest);
                }
                Ok(None) => {}
                Err(problem) => _ = tell(&Update::NotShared { share, name: name.clone(), problem }),
            }
            worker.0.borrow_mut().hashing = false;
            worker.hash_next();
        });
    }

    fn share(&self, generation: u32, source: File, manifest: Manifest) {
        self.input(Some(generation), |session, now| {
            if let Some(store) = session.client.share(Arc::new(manifest), now) {
                session.stores.insert(store, Store::of_source(source));
            }
        });
    }

    fn save(&self, file: FileId) {
        let state = self.0.borrow();
        let Some(session) = &state.session else { return };
        let Some(swarm) = session.client.swarm(file) else { return };
        let Some(store) = session.client.store(file).and_then(|store| session.stores.get(&store)) else { return };
        if !swarm.is_complete() {
            return;
        }
        let facts = swarm.manifest().facts();
        let name = facts.name.clone();
        let finish = move |saved: Result<File, StorageError>| match saved {
            Ok(saved) => post(&Update::Saved { file, name }, Some(&saved)),
            Err(error) => post(&Update::Problem { problem: Problem::Storage(error) }, None),
        };
        match store.saved(facts) {
            Saved::Now(saved) => finish(saved),
            Saved::Later(handle) => spawn_local(async move { finish(file_of(handle).await) }),
        }
    }
}

impl State {
    fn now(&self) -> Instant {
        Instant::after_start(Duration::from_micros(((clock_ms() - self.started) * 1_000.0) as u64))
    }
}

impl Session {
    fn perform(
        &mut self,
        output: Output,
        now: Instant,
        worker: &Worker,
        disk: Option<&Rc<Disk>>,
        generations: &mut u32,
    ) {
        match output {
            Output::Connect => self.connect(now, worker, generations),
            Output::Disconnect => self.socket = None,
            // A page has one kind only.
            Output::Offer { line, kind: _ } => {
                self.lines.insert(line, None);
                self.ask_page(line, LineTask::Offer { stun: self.stun() });
            }
            Output::Dial { line, offer } => {
                self.lines.insert(line, None);
                self.ask_page(line, LineTask::Answer { offer, stun: self.stun() });
            }
            Output::Signal { line, step, data } => match step {
                SignalStep::Answer => self.ask_page(line, LineTask::Accept { answer: data }),
                SignalStep::Candidate => self.ask_page(line, LineTask::Candidate { candidate: data }),
                SignalStep::Offer | SignalStep::Moved | SignalStep::Over | SignalStep::Other => {}
            },
            Output::SendDirect { line, frame, receipt } => {
                if self.channel(line).is_none_or(|channel| !channel.send(frame, receipt)) {
                    self.close_line(line, now);
                }
            }
            Output::HangUp { line } => self.hang_up(line),
            Output::Send { frame, receipt } => {
                if let Some((_, socket)) = &mut self.socket {
                    socket.send(frame, receipt);
                }
            }
            Output::Create { store, manifest } => self.create(store, &manifest, worker, disk.cloned()),
            Output::Read { store, id, offset, len } => {
                let reading = match self.stores.get_mut(&store) {
                    Some(kept) => kept.read(id, offset, len),
                    None => Reading::Done(Err(missing(store))),
                };
                match reading {
                    Reading::Done(result) => self.client.handle_read(store, id, result, now),
                    Reading::Later => {}
                    Reading::Begin(source, piece) => self.read_piece(store, source, piece, worker),
                }
            }
            Output::Write { store, run, offset, data } => {
                let kept = self.stores.get_mut(&store).ok_or_else(|| missing(store));
                let result = kept.and_then(|kept| kept.write(run, offset, &data));
                self.client.handle_stored(store, run, result, now);
            }
            Output::Discard { store } => {
                if let Some(kept) = self.stores.remove(&store) {
                    kept.discard(disk.map(|disk| &**disk));
                }
            }
            // It is saved when the person asks for it.
            Output::Finished { .. } => {}
            Output::Update(update) => post(&update, None),
        }
    }

    fn connect(&mut self, now: Instant, worker: &Worker, generations: &mut u32) {
        *generations += 1;
        let (worker, generation, number) = (worker.clone(), self.generation, *generations);
        match Socket::open(&self.url, move |event| worker.socket_event(generation, number, event)) {
            Ok(socket) => self.socket = Some((number, socket)),
            Err(problem) => {
                post(&Update::Problem { problem }, None);
                self.client.handle_closed(None, now);
            }
        }
    }

    fn ask_page(&self, line: LineId, task: LineTask) {
        post(&Update::Line { session: self.generation, line, task }, None);
    }

    /// URIs of those who tell this device's addresses.
    fn stun(&self) -> Vec<String> {
        let stun = self.client.stun();
        let host = Url::new(&self.url).map(|url| url.hostname()).ok();
        let own = stun.port.zip(host).map(|(port, host)| format!("stun:{host}:{port}"));
        own.into_iter().chain(stun.servers.iter().cloned()).collect()
    }

    /// What the page says of a direct line.
    fn line_event(&mut self, line: LineId, event: LineEvent, now: Instant) {
        match event {
            // It came with something that is none.
            LineEvent::Channel => {}
            LineEvent::Offered { offer } => self.client.handle_reachable(line, offer, now),
            LineEvent::Answered { answer } => self.client.handle_signal(line, SignalStep::Answer, answer, now),
            LineEvent::Candidate { candidate } => {
                self.client.handle_signal(line, SignalStep::Candidate, candidate, now);
            }
            LineEvent::Closed => self.close_line(line, now),
        }
    }

    fn close_line(&mut self, line: LineId, now: Instant) {
        self.hang_up(line);
        self.client.handle_line_closed(line, now);
    }

    fn hang_up(&mut self, line: LineId) {
        self.lines.remove(&line);
        self.ask_page(line, LineTask::Close);
    }

    fn channel(&mut self, line: LineId) -> Option<&mut Channel> {
        self.lines.get_mut(&line)?.as_mut()
    }

    /// Sends the next frame with block data that finds room: the tracker's socket and those channels that have something to
    /// send share what may be unsent.
    fn send_waiting(&mut self, target: u64) -> Option<Receipt> {
        if let Some(receipt) = self.socket.as_mut().and_then(|(_, socket)| socket.send_waiting(target)) {
            return Some(receipt);
        }
        let waiting = self.lines.values().flatten().filter(|channel| channel.is_waiting()).count() as u64;
        let each = target / waiting.max(1);
        let mut channels = self.lines.values_mut().flatten().filter(|channel| channel.is_waiting());
        channels.find_map(|channel| channel.send_waiting(each))
    }

    fn create(&self, store: StoreId, manifest: &Manifest, worker: &Worker, disk: Option<Rc<Disk>>) {
        let geometry = *manifest.geometry();
        let (worker, generation) = (worker.clone(), self.generation);
        spawn_local(async move {
            let mut made = Some(Store::create(disk.clone(), store, geometry).await);
            worker.input(Some(generation), |session, now| {
                let Some(made) = made.take() else { return };
                let ready = made.map(|kept| {
                    let ready = (Bitfield::empty(geometry.blocks()), kept.kind());
                    session.stores.insert(store, kept);
                    ready
                });
                session.client.handle_created(store, ready, now);
            });
            // The room was left meanwhile.
            if let Some(Ok(kept)) = made {
                kept.discard(disk.as_deref());
            }
        });
    }

    fn read_piece(&self, store: StoreId, source: File, piece: Range<u64>, worker: &Worker) {
        let (worker, generation) = (worker.clone(), self.generation);
        spawn_local(async move {
            let read = read_piece(&source, piece.clone()).await;
            worker.input(Some(generation), |session, now| {
                // Given back meanwhile: the core waits for no answer.
                let Some(kept) = session.stores.get_mut(&store) else { return };
                for (id, result) in kept.take_piece(piece, read) {
                    session.client.handle_read(store, id, result, now);
                }
            });
        });
    }

    /// Sets the timer to the next deadline, unless one that is set comes before.
    fn set_timer(&mut self, now: Instant, worker: &Worker) {
        let waiting = self.socket.as_ref().is_some_and(|(_, socket)| socket.is_waiting());
        let look_again = waiting.then(|| now + LOOK_AGAIN);
        let Some(deadline) = self.client.poll_timeout().into_iter().chain(look_again).min() else { return };
        if self.timer.as_ref().is_some_and(|(set, _)| *set <= deadline) {
            return;
        }
        let millis = deadline.since(now).as_millis().min(u32::MAX.into()) as u32;
        let (worker, generation) = (worker.clone(), self.generation);
        let timeout = Timeout::new(millis + 1, move || {
            worker.input(Some(generation), |session, now| {
                session.timer = None;
                session.client.handle_timeout(now);
            });
        });
        self.timer = Some((deadline, timeout));
    }
}

/// The core asks for no storage that it gave back; should one be missing, its file fails.
fn missing(store: StoreId) -> StorageError {
    StorageError::Failed { detail: format!("there is no storage {store}") }
}

fn clock_ms() -> f64 {
    scope().performance().map_or_else(js_sys::Date::now, |performance| performance.now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use js_sys::Array;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test]
    async fn a_file_chosen_before_there_is_a_room_is_shared_in_the_first_and_in_no_other() {
        let worker = Worker::new(None);
        worker.command(Command::Share { share: 1 }, chosen("early").into());
        worker.command(Command::Share { share: 2 }, chosen("early too").into());
        worker.join_for_test("first");
        worker.shares_for_test(2).await;
        worker.command(Command::Share { share: 3 }, chosen("left behind").into());
        worker.join_for_test("second");
        worker.command(Command::Share { share: 4 }, chosen("here").into());
        worker.shares_for_test(1).await;
        let here = hashing::hash(&chosen("here"), |_| true).await.expect("hashed").expect("wanted").file();
        let files: Vec<_> = worker.0.borrow().session.iter().flat_map(|session| session.client.files()).collect();
        assert_eq!(files, [here]);
    }

    fn chosen(content: &str) -> File {
        File::new_with_str_sequence(&Array::of1(&content.into()), "a.txt").expect("a file")
    }

    impl Worker {
        /// Nobody listens there: nothing that is asked for here needs a line.
        fn join_for_test(&self, room: &str) {
            let url = "ws://127.0.0.1:9/ws".to_owned();
            let room = room.parse().expect("a room");
            self.command(Command::Join { url, room, direct: true }, JsValue::UNDEFINED);
        }

        /// Waits until so many files are shared and none is to be.
        async fn shares_for_test(&self, count: usize) {
            let settled = || {
                let state = self.0.borrow();
                let shared = state.session.as_ref().map_or(0, |session| session.client.files().count());
                !state.hashing && state.to_hash.is_empty() && shared == count
            };
            while !settled() {
                // What hashing waits for, too.
                read_piece(&chosen("something"), 0..1).await.expect("read");
            }
        }
    }
}
