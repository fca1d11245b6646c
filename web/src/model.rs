//! What the page knows, as signals: updates of the worker change them, the views show them.

use crate::{browser, format, lines::Lines, locale::Locale, problems::Notice, route::Route, texts::Texts};
use leptos::prelude::*;
use peer_wasm::page::{self, Command, Connection, Problem, RoomFile, Stage, Transfer};
use protocol::{FileId, FileName, RoomName};
use std::collections::BTreeMap;
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::File;

/// The most notices shown at a time; the oldest goes first.
const MAX_NOTICES: usize = 5;

/// The state of the page. A handle: copies show the same state.
#[derive(Clone, Copy)]
pub(crate) struct Model {
    pub(crate) locale: RwSignal<Locale>,
    /// Where the address bar points.
    pub(crate) route: RwSignal<Route>,
    pub(crate) connection: RwSignal<Connection>,
    /// Whether this tab has been in the room, so that waiting means a lost connection.
    pub(crate) been_online: RwSignal<bool>,
    /// The files that are being hashed, in the order they were chosen.
    pub(crate) hashing: RwSignal<Vec<Hashing>>,
    pub(crate) files: RwSignal<BTreeMap<FileId, RoomFile>>,
    /// Newest first. A signal each, so that an update touches one transfer's views only.
    pub(crate) transfers: RwSignal<Vec<(FileId, ArcRwSignal<Transfer>)>>,
    /// Newest last, each with a number of its own.
    pub(crate) notices: RwSignal<Vec<(u32, Notice)>>,
    /// The last thing that a screen reader is told.
    pub(crate) said: RwSignal<Option<Said>>,
    /// Whether files are being dragged over the page.
    pub(crate) dragging: RwSignal<bool>,
    /// Whether other peers may be told this device's addresses.
    pub(crate) direct: RwSignal<bool>,
    /// Counts changes of the colour scheme, for what is painted and not styled.
    pub(crate) scheme: RwSignal<u32>,
    /// Whether the page has made all connections that it may.
    has_no_lines: StoredValue<bool>,
    joined: StoredValue<Option<RoomName>>,
    next_number: StoredValue<u32>,
    outbox: StoredValue<Option<Box<Outbox>>, LocalStorage>,
}

/// Takes the commands of the page.
type Outbox = dyn Fn(Command, &JsValue);

/// A file on its way to be shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hashing {
    pub(crate) share: u32,
    pub(crate) name: String,
    pub(crate) done: u64,
    pub(crate) total: u64,
}

/// What a screen reader is told when it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Complete(FileId),
    Shared(FileId),
    Failed(FileId),
    LinkCopied,
}

impl Model {
    /// An empty page. Its signals live as long as the current reactive owner.
    pub(crate) fn new(locale: Locale) -> Self {
        Self {
            locale: RwSignal::new(locale),
            route: RwSignal::new(Route::to(RoomName::default(), None)),
            connection: RwSignal::new(Connection::Connecting),
            been_online: RwSignal::new(false),
            hashing: RwSignal::new(Vec::new()),
            files: RwSignal::new(BTreeMap::new()),
            transfers: RwSignal::new(Vec::new()),
            notices: RwSignal::new(Vec::new()),
            said: RwSignal::new(None),
            dragging: RwSignal::new(false),
            direct: RwSignal::new(browser::kept_direct()),
            scheme: RwSignal::new(0),
            has_no_lines: StoredValue::new(false),
            joined: StoredValue::new(None),
            next_number: StoredValue::new(0),
            outbox: StoredValue::new_local(None),
        }
    }

    /// Says where commands go.
    pub(crate) fn set_outbox(self, outbox: impl Fn(Command, &JsValue) + 'static) {
        self.outbox.set_value(Some(Box::new(outbox)));
    }

    /// The texts in the page's language; a view that reads them follows a change of it.
    pub(crate) fn texts(self) -> &'static Texts {
        self.locale.get().texts()
    }

    /// One text in the page's language, for a view to show.
    pub(crate) fn text(self, pick: fn(&'static Texts) -> &'static String) -> impl Fn() -> &'static str + Copy {
        move || pick(self.texts()).as_str()
    }

    pub(crate) fn send(self, command: Command) {
        self.send_with(command, &JsValue::UNDEFINED);
    }

    /// Sends a command with the file or the channel that belongs to it.
    pub(crate) fn send_with(self, command: Command, attachment: &JsValue) {
        self.outbox.with_value(|outbox| {
            if let Some(outbox) = outbox {
                outbox(command, attachment);
            }
        });
    }

    /// Follows the address bar; joins the room that it names where that is another one.
    pub(crate) fn follow(self, route: Route) {
        let room = route.room.clone();
        self.route.set(route);
        if self.joined.with_value(|joined| joined.as_ref() == Some(&room)) {
            return;
        }
        self.joined.set_value(Some(room.clone()));
        self.been_online.set(false);
        self.connection.set(Connection::Connecting);
        self.files.set(BTreeMap::new());
        self.transfers.set(Vec::new());
        self.hashing.set(Vec::new());
        match browser::tracker() {
            Some(url) => self.send(Command::Join { url, room, direct: self.is_direct() }),
            None => self.notify(Notice::Problem(Problem::BadAddress)),
        }
    }

    /// Lets other peers of the network be reached without the tracker, or not.
    pub(crate) fn set_direct(self, direct: bool) {
        self.direct.set(direct);
        browser::keep_direct(direct);
        self.join_again();
    }

    /// This page can have no more lines.
    pub(crate) fn give_up_lines(self) {
        if !self.has_no_lines.with_value(|none| *none) {
            self.has_no_lines.set_value(true);
            self.join_again();
        }
    }

    /// Joins the same room with other lines.
    fn join_again(self) {
        let room = self.joined.with_value(Clone::clone);
        if let Some((url, room)) = browser::tracker().zip(room) {
            self.send(Command::Join { url, room, direct: self.is_direct() });
        }
    }

    fn is_direct(self) -> bool {
        self.direct.get_untracked() && !self.has_no_lines.with_value(|none| *none) && Lines::are_possible()
    }

    /// Shares files: shows them at once and hands them to the worker.
    pub(crate) fn share(self, files: impl IntoIterator<Item = File>) {
        for file in files {
            let share = self.number();
            // JavaScript has no integers; sizes of files are whole and far below 2^53.
            let total = file.size() as u64;
            self.hashing.update(|all| all.push(Hashing { share, name: file.name(), done: 0, total }));
            self.send_with(Command::Share { share }, &file);
        }
    }

    /// Tells the person something, unless it is told already.
    pub(crate) fn notify(self, notice: Notice) {
        if self.notices.with_untracked(|all| all.iter().any(|(_, told)| *told == notice)) {
            return;
        }
        let number = self.number();
        self.notices.update(|all| {
            all.push((number, notice));
            if all.len() > MAX_NOTICES {
                all.remove(0);
            }
        });
    }

    /// Takes an update of the worker, with what is attached to it.
    pub(crate) fn apply(self, update: page::Update, attachment: &JsValue) {
        match update {
            // Lines are no matter of what is shown.
            page::Update::Ready | page::Update::Line { .. } => {}
            page::Update::Connection { connection } => {
                if matches!(connection, Connection::Online { .. }) {
                    self.been_online.set(true);
                }
                self.connection.set(connection);
            }
            page::Update::Hashing { share, name, done, total } => self.hashing.update(|all| {
                let name = String::from(name);
                match all.iter_mut().find(|hashing| hashing.share == share) {
                    Some(hashing) => *hashing = Hashing { share, name, done, total },
                    None => all.push(Hashing { share, name, done, total }),
                }
            }),
            page::Update::Shared { share, file } => {
                self.hashing.update(|all| all.retain(|hashing| hashing.share != share));
                self.said.set(Some(Said::Shared(file)));
            }
            page::Update::NotShared { share, name, problem } => {
                self.hashing.update(|all| all.retain(|hashing| hashing.share != share));
                self.notify(Notice::NotShared { name: name.into(), problem });
            }
            page::Update::Room { files } => self.files.set(files.into_iter().map(|file| (file.file, file)).collect()),
            page::Update::Transfer { transfer } => self.apply_transfer(*transfer),
            page::Update::Stopped { file } => self.transfers.update(|all| all.retain(|(other, _)| *other != file)),
            page::Update::Saved { file: _, name } => self.save(&name, attachment.dyn_ref()),
            page::Update::Problem { problem } => self.notify(Notice::Problem(problem)),
        }
    }

    fn apply_transfer(self, transfer: Transfer) {
        let file = transfer.file;
        let Some(signal) = self.transfer_untracked(file) else {
            self.transfers.update(|all| all.insert(0, (file, ArcRwSignal::new(transfer))));
            return;
        };
        let said = match (signal.with_untracked(|before| before.stage.clone()), &transfer.stage) {
            (before, now) if before == *now => None,
            (_, Stage::Complete) => Some(Said::Complete(file)),
            (_, Stage::Failed { .. }) => Some(Said::Failed(file)),
            (_, Stage::Searching | Stage::Downloading | Stage::Sharing) => None,
        };
        signal.set(transfer);
        if said.is_some() {
            self.said.set(said);
        }
    }

    fn save(self, name: &FileName, file: Option<&File>) {
        let saved = file.map(|file| browser::save(file, name.as_str()));
        if !matches!(saved, Some(Ok(()))) {
            self.notify(Notice::SaveFailed);
        }
    }

    /// A transfer, followed by the view that asks.
    pub(crate) fn transfer(self, file: FileId) -> Option<ArcRwSignal<Transfer>> {
        self.transfers.with(|all| find(all, file))
    }

    fn transfer_untracked(self, file: FileId) -> Option<ArcRwSignal<Transfer>> {
        self.transfers.with_untracked(|all| find(all, file))
    }

    /// What a file is called, by its transfer, by the room, or by its id.
    pub(crate) fn name_of(self, file: FileId) -> String {
        let by_transfer = self
            .transfer(file)
            .and_then(|transfer| transfer.with(|transfer| Some(transfer.about.as_ref()?.name.to_string())));
        by_transfer
            .or_else(|| self.files.with(|files| Some(files.get(&file)?.name.to_string())))
            .unwrap_or_else(|| format::unknown_file(&file.to_string(), self.texts()))
    }

    /// The link to a file of the room that this tab is in.
    pub(crate) fn link(self, file: FileId) -> Route {
        Route::to(self.route.with(|route| route.room.clone()), Some(file))
    }

    fn number(self) -> u32 {
        self.next_number
            .try_update_value(|next| {
                *next += 1;
                *next
            })
            .unwrap_or_default()
    }
}

fn find(all: &[(FileId, ArcRwSignal<Transfer>)], file: FileId) -> Option<ArcRwSignal<Transfer>> {
    all.iter().find(|(other, _)| *other == file).map(|(_, transfer)| transfer.clone())
}
