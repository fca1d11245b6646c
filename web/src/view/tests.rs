//! The components in a real browser, fed with updates by hand.

use super::{Page, share};
use crate::{locale::Locale, model::Model, problems, problems::Notice, route::Route, worker::WorkerHandle};
use leptos::{mount::mount_to, prelude::*, task::tick};
use peer_wasm::{
    client::WaitsFor,
    page::{
        About, Carried, Command, Connection, Peer, Problem, RoomFile, Stage, Storage, Transfer, Update as FromWorker,
    },
    swarm::{NeighbourStatus, StorageError},
};
use protocol::{FileId, PeerId};
use std::{cell::RefCell, rc::Rc};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_sys::{DataTransfer, DragEvent, DragEventInit, Element, File, HtmlElement, HtmlInputElement};

wasm_bindgen_test_configure!(run_in_browser);

const NAME: &str = "relatório final.pdf";
const ALL_REASONS: [WaitsFor; 7] = [
    WaitsFor::Tracker,
    WaitsFor::Source,
    WaitsFor::Manifest,
    WaitsFor::HeldBack,
    WaitsFor::Rejected,
    WaitsFor::Answer,
    WaitsFor::Storage,
];

#[wasm_bindgen_test]
async fn a_file_of_the_room_offers_download_until_it_is_fetched() {
    let page = mounted(Locale::English);
    page.tell(room(&[room_file(1, NAME, 3), room_file(2, "b.bin", 1)])).await;
    let item = page.item(".files", NAME);
    let words = text(&item);
    assert!(words.contains(NAME) && words.contains("52.4 MB") && words.contains("3 sources"), "{words}");
    button(&item, "Download").expect("offered").click();
    assert_eq!(page.sent(), [Command::Download { file: id(1) }]);

    page.tell(transfer(1, Stage::Downloading, 22_544_384)).await;
    assert!(button(&item, "Download").is_none());
    assert!(text(&item).contains("Being fetched: 43%"), "{}", text(&item));
    assert!(button(&page.item(".files", "b.bin"), "Download").is_some(), "the other file is still offered");
    page.tell(FromWorker::Stopped { file: id(1) }).await;
    assert!(button(&item, "Download").is_some(), "a file that was stopped is offered again");
}

#[wasm_bindgen_test]
async fn a_transfer_shows_its_progress_and_is_saved_when_complete() {
    let page = mounted(Locale::English);
    page.tell(transfer(1, Stage::Downloading, 22_544_384)).await;
    let item = page.item(".transfers", NAME);
    let bar = item.query_selector("[role=progressbar]").unwrap().expect("a progress bar");
    assert_eq!(bar.get_attribute("aria-valuenow").as_deref(), Some("43"));
    let mosaic = item.query_selector("canvas").unwrap().expect("a mosaic");
    assert_eq!(mosaic.get_attribute("aria-label").as_deref(), Some("512 of 1,024 blocks verified"));
    let words = text(&item);
    for part in ["43% verified", "22.5 MB of 52.4 MB", "Receiving 2 MB/s", "1 min 38 s left", "2 sources"] {
        assert!(words.contains(part), "{part:?} in {words}");
    }
    for part in ["Peer 0101", "has 50%", "does not serve us yet (choked)", "we serve it 1 MB/s"] {
        assert!(words.contains(part), "{part:?} in {words}");
    }
    assert!(button(&item, "Save").is_none(), "an unfinished file cannot be saved");

    page.tell(transfer(1, Stage::Complete, 52_428_800)).await;
    assert_eq!(bar.get_attribute("aria-valuenow").as_deref(), Some("100"));
    assert!(text(&page.root).contains(&format!("{NAME} is complete.")), "a screen reader is told");
    button(&item, "Save").expect("complete").click();
    button(&item, "Stop").expect("always").click();
    assert_eq!(page.sent(), [Command::Save { file: id(1) }, Command::Stop { file: id(1) }]);
}

#[wasm_bindgen_test]
async fn an_update_keeps_the_focus_and_other_transfers_as_they_are() {
    let page = mounted(Locale::English);
    page.tell(transfer(1, Stage::Downloading, 1_000)).await;
    page.tell(transfer(2, Stage::Downloading, 1_000)).await;
    let first = page.root.query_selector(".transfers > li:last-child").unwrap().expect("the first transfer");
    let stop = button(&first, "Stop").expect("always");
    stop.focus().unwrap();
    page.tell(transfer(1, Stage::Downloading, 30_000_000)).await;
    page.tell(transfer(2, Stage::Complete, 52_428_800)).await;
    page.tell(transfer(3, Stage::Searching, 0)).await;
    assert!(text(&first).contains("57% verified"), "{}", text(&first));
    assert!(document().active_element().is_some_and(|active| active.is_same_node(Some(&stop))));
}

#[wasm_bindgen_test]
async fn a_link_opens_onto_its_file_even_when_nobody_has_it() {
    let page = mounted(Locale::English);
    page.model.follow(Route::parse(&format!("#/sala-3/{}", id(9))));
    assert!(matches!(page.sent().as_slice(), [Command::Join { room, .. }] if room.as_str() == "sala-3"));
    page.tell(online()).await;
    page.tell(room(&[room_file(1, "a.bin", 1)])).await;
    let first = page.root.query_selector(".files > li").unwrap().expect("the linked file");
    assert!(first.class_list().contains("linked"));
    assert!(text(&first).contains("Nobody in this room has this file yet."), "{}", text(&first));
    button(&first, "Download").expect("offered all the same").click();
    assert_eq!(page.sent(), [Command::Download { file: id(9) }]);

    page.tell(room(&[room_file(1, "a.bin", 1), room_file(9, "z.bin", 1)])).await;
    let first = page.root.query_selector(".files > li").unwrap().expect("the linked file");
    assert_eq!(first.get_attribute("aria-label").as_deref(), Some("z.bin"), "first against the order of names");
    page.model.follow(Route::parse("#/sala-3"));
    assert!(page.sent().is_empty(), "the same room is not joined twice");
}

#[wasm_bindgen_test]
async fn a_link_says_why_its_file_does_not_come() {
    let page = mounted(Locale::English);
    page.model.follow(Route::parse(&format!("#/lobby/{}", id(9))));
    tick().await;
    let first = page.root.query_selector(".files > li").unwrap().expect("the linked file");
    assert!(text(&first).contains("Waiting for the tracker"), "{}", text(&first));
    page.tell(online()).await;
    assert!(text(&first).contains("Nobody in this room has this file yet."), "{}", text(&first));
    assert!(!text(&first).contains("Waiting for the tracker"), "{}", text(&first));
}

#[wasm_bindgen_test]
async fn what_a_transfer_waits_for_is_said_in_both_languages() {
    for locale in Locale::ALL {
        let page = mounted(locale);
        page.tell(transfer(1, Stage::Downloading, 1_000)).await;
        let item = page.item(".transfers", NAME);
        let status = item.query_selector("[role=status]").unwrap().expect("a place for it");
        assert!(status.has_attribute("hidden"), "something comes");
        for reason in ALL_REASONS {
            let FromWorker::Transfer { mut transfer } = transfer(1, Stage::Searching, 0) else { unreachable!() };
            transfer.waits_for = Some(reason);
            page.tell(FromWorker::Transfer { transfer }).await;
            if reason == ALL_REASONS[0] {
                assert!(status.has_attribute("hidden"), "it may pass in a moment");
            }
            while status.has_attribute("hidden") {
                frame().await;
            }
            assert_eq!(text(&status), problems::waiting(reason, locale));
        }
        page.tell(transfer(1, Stage::Downloading, 1_000)).await;
        assert!(status.has_attribute("hidden"), "it goes on");
    }
}

#[wasm_bindgen_test]
async fn a_wrong_address_and_other_problems_are_told_until_dismissed() {
    let page = mounted(Locale::English);
    page.model.follow(Route::parse("#/lobby/123"));
    page.tell(FromWorker::Problem { problem: Problem::Storage(StorageError::Full) }).await;
    page.tell(FromWorker::Problem { problem: Problem::Storage(StorageError::Full) }).await;
    let alert = page.root.query_selector("[role=alert]").unwrap().expect("an alert");
    assert!(text(&alert).contains("“123”"), "{}", text(&alert));
    assert_eq!(text(&alert).matches("no room left").count(), 1, "told once");
    button(&alert, "Dismiss").expect("can be dismissed").click();
    tick().await;
    assert!(!text(&alert).contains("no room left"));
}

#[wasm_bindgen_test]
async fn the_connection_is_told_in_words() {
    let page = mounted(Locale::English);
    let waiting = || FromWorker::Connection { connection: Connection::Waiting { retry_ms: 7_500, problem: None } };
    assert!(text(&page.root).contains("Connecting to the tracker…"));
    page.tell(waiting()).await;
    assert!(text(&page.root).contains("The tracker does not answer."));
    page.tell(online()).await;
    assert!(text(&page.root).contains("In room lobby as peer abcd"));
    page.tell(waiting()).await;
    assert!(text(&page.root).contains("The connection to the tracker is lost."));
    assert!(text(&page.root).contains("Trying again in 8 s."), "{}", text(&page.root));

    let full = Connection::Waiting { retry_ms: 7_500, problem: Some(Problem::AddressFull) };
    page.tell(FromWorker::Connection { connection: full }).await;
    assert!(text(&page.root).contains("from your network"), "{}", text(&page.root));
    assert!(text(&page.root).contains("Trying again in 8 s."), "{}", text(&page.root));
    let ended = Connection::Ended { problem: Problem::WrongToken };
    page.tell(FromWorker::Connection { connection: ended }).await;
    assert!(text(&page.root).contains("Open the link that you were given"), "{}", text(&page.root));
    assert!(!text(&page.root).contains("Trying again"), "{}", text(&page.root));
}

#[wasm_bindgen_test]
async fn the_page_speaks_both_languages_and_changes_between_them() {
    let page = mounted(Locale::BrazilianPortuguese);
    page.tell(room(&[room_file(1, NAME, 1), room_file(2, "b.bin", 1)])).await;
    page.tell(transfer(1, Stage::Complete, 52_428_800)).await;
    assert!(button(&page.item(".files", "b.bin"), "Baixar").is_some());
    let item = page.item(".transfers", NAME);
    assert!(button(&item, "Salvar").is_some());
    assert!(text(&item).contains("52,4 MB de 52,4 MB"), "{}", text(&item));
    let language = || document().document_element().and_then(|root| root.get_attribute("lang"));
    assert_eq!(language().as_deref(), Some("pt-BR"));

    page.model.locale.set(Locale::English);
    tick().await;
    assert!(button(&item, "Save").is_some());
    assert_eq!(language().as_deref(), Some("en"));
}

#[wasm_bindgen_test]
async fn dropped_files_are_shared_and_hashed_in_sight() {
    let page = mounted(Locale::English);
    let overlay = || page.root.query_selector("#overlay").unwrap().expect("an overlay").has_attribute("hidden");
    let transfer = DataTransfer::new().unwrap();
    transfer.items().add_with_file(&file("a.txt")).unwrap();
    transfer.items().add_with_file(&file("b.txt")).unwrap();
    drag("dragenter", &transfer);
    tick().await;
    assert!(!overlay(), "the overlay shows while files are dragged");
    drag("drop", &transfer);
    tick().await;
    assert!(overlay());
    let shares: Vec<_> = page.sent().into_iter().collect();
    let [Command::Share { share: first }, Command::Share { share: second }] = shares[..] else {
        panic!("two files, but {shares:?}")
    };
    assert_eq!(*page.files.borrow(), ["a.txt", "b.txt"]);

    let name = || "a.txt".parse().unwrap();
    page.tell(FromWorker::Hashing { share: first, name: name(), done: 50, total: 200 }).await;
    let item = page.item(".hashing", "a.txt");
    assert!(text(&item).contains("Hashing: 50 B of 200 B"), "{}", text(&item));
    page.tell(FromWorker::NotShared {
        share: first,
        name: name(),
        problem: Problem::Storage(StorageError::Unreadable),
    })
    .await;
    page.tell(FromWorker::Shared { share: second, file: id(2) }).await;
    assert!(page.root.query_selector(".hashing > li").unwrap().is_none());
    assert!(text(&page.root).contains("“a.txt” is not shared."));
}

#[wasm_bindgen_test]
async fn every_control_has_a_name_in_both_languages() {
    for locale in Locale::ALL {
        let page = mounted(locale);
        page.model.follow(Route::parse(&format!("#/lobby/{}", id(9))));
        page.tell(room(&[room_file(1, NAME, 1)])).await;
        page.tell(FromWorker::Hashing { share: 7, name: NAME.parse().unwrap(), done: 1, total: 2 }).await;
        page.tell(transfer(2, Stage::Complete, 52_428_800)).await;
        page.tell(transfer(3, Stage::Failed { problem: Problem::Storage(StorageError::Full) }, 0)).await;
        page.tell(FromWorker::Problem { problem: Problem::Storage(StorageError::Full) }).await;
        let controls = page.root.query_selector_all("button, input, select, a, canvas, [role=progressbar]").unwrap();
        assert!(controls.length() > 15);
        for index in 0..controls.length() {
            let control: Element = controls.get(index).unwrap().unchecked_into();
            assert!(!accessible_name(&control).trim().is_empty(), "{}", control.outer_html());
        }
    }
}

#[wasm_bindgen_test]
async fn a_worker_that_cannot_be_loaded_is_told() {
    let told = Rc::new(RefCell::new(None));
    let worker = WorkerHandle::start({
        let told = told.clone();
        move |what| *told.borrow_mut() = what.err()
    });
    let worker = worker.expect("it fails only when it is loaded");
    worker.send(&Command::Wake, &JsValue::UNDEFINED);
    while told.borrow().is_none() {
        frame().await;
    }
    assert!(matches!(*told.borrow(), Some(Notice::WorkerFailed { .. })), "{told:?}");
}

/// A page whose commands are kept, removed from the document when dropped.
struct Mounted {
    root: HtmlElement,
    model: Model,
    commands: Rc<RefCell<Vec<Command>>>,
    files: Rc<RefCell<Vec<String>>>,
    mounted: Option<Box<dyn std::any::Any>>,
}

fn mounted(locale: Locale) -> Mounted {
    let root: HtmlElement = document().create_element("div").unwrap().unchecked_into();
    document().body().unwrap().append_child(&root).unwrap();
    let (commands, files) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(Vec::new())));
    let kept = Rc::new(RefCell::new(None));
    let handle = mount_to(root.clone(), {
        let (commands, files, kept) = (commands.clone(), files.clone(), kept.clone());
        move || {
            let model = Model::new(locale);
            model.set_outbox(move |command, attachment| {
                commands.borrow_mut().push(command);
                files.borrow_mut().extend(attachment.dyn_ref().map(File::name));
            });
            share::watch_drags(model);
            *kept.borrow_mut() = Some(model);
            view! { <Page model /> }
        }
    });
    let model = kept.borrow_mut().take().expect("mounting ran the function");
    Mounted { root, model, commands, files, mounted: Some(Box::new(handle)) }
}

impl Mounted {
    async fn tell(&self, update: FromWorker) {
        self.model.apply(update, &JsValue::UNDEFINED);
        tick().await;
    }

    /// The commands since the last time.
    fn sent(&self) -> Vec<Command> {
        self.commands.take()
    }

    /// The list item of a file, by its accessible name.
    fn item(&self, list: &str, name: &str) -> Element {
        let item = self.root.query_selector(&format!("{list} > li[aria-label='{name}']")).unwrap();
        item.unwrap_or_else(|| panic!("{name} in {list}"))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.mounted = None;
        self.root.remove();
    }
}

fn id(byte: u8) -> FileId {
    FileId::from_bytes([byte; 32])
}

fn online() -> FromWorker {
    let id = PeerId::from_bytes([0xab, 0xcd, 0, 0, 0, 0, 0, 0]);
    FromWorker::Connection { connection: Connection::Online { id, room: "lobby".parse().unwrap() } }
}

fn room(files: &[RoomFile]) -> FromWorker {
    FromWorker::Room { files: files.to_vec() }
}

fn room_file(byte: u8, name: &str, sources: u32) -> RoomFile {
    RoomFile { file: id(byte), name: name.parse().unwrap(), size: 52_428_800, sources, peers: sources + 1 }
}

fn transfer(byte: u8, stage: Stage, verified: u64) -> FromWorker {
    let status = NeighbourStatus {
        peer: PeerId::from_bytes([1; 8]),
        blocks: 512,
        serves_us: false,
        wanted_by_us: true,
        served_by_us: true,
        wants_from_us: true,
        snubbed: false,
        in_flight: 0,
        down_rate: 0,
        up_rate: 1_000_000,
    };
    let about = About { name: NAME.parse().unwrap(), size: 52_428_800, media_type: Default::default() };
    FromWorker::Transfer {
        transfer: Box::new(Transfer {
            file: id(byte),
            about: Some(about),
            stage,
            waits_for: None,
            storage: Some(Storage::Disk),
            verified,
            down_rate: 2_000_000,
            up_rate: 1_000_000,
            seconds_left: Some(98),
            sources: 2,
            mosaic: "#".repeat(512) + &"so..".repeat(128),
            received: Carried::default(),
            sent: Carried::default(),
            peers: vec![Peer { name: None, direct: false, status }],
        }),
    }
}

fn button(inside: &Element, name: &str) -> Option<HtmlElement> {
    let buttons = inside.query_selector_all("button").unwrap();
    (0..buttons.length())
        .filter_map(|index| buttons.get(index)?.dyn_into::<HtmlElement>().ok())
        .find(|button| button.text_content().as_deref() == Some(name))
}

fn text(element: &Element) -> String {
    element.text_content().unwrap_or_default().replace('\u{a0}', " ")
}

/// The nearest to a browser's own computation that the page's markup needs.
fn accessible_name(element: &Element) -> String {
    let label = element.get_attribute("aria-label");
    let labels = || {
        let around = element.closest("label").ok().flatten();
        let by_id = || document().query_selector(&format!("label[for='{}']", element.id())).ok().flatten();
        around.or_else(by_id).map(|label| text(&label))
    };
    let is_field = element.dyn_ref::<HtmlInputElement>().is_some() || element.tag_name() == "SELECT";
    label.or_else(|| if is_field { labels() } else { element.text_content() }).unwrap_or_default()
}

fn file(name: &str) -> File {
    File::new_with_str_sequence(&js_sys::Array::of1(&"text".into()), name).unwrap()
}

fn drag(kind: &str, transfer: &DataTransfer) {
    let init = DragEventInit::new();
    init.set_data_transfer(Some(transfer));
    init.set_bubbles(true);
    init.set_cancelable(true);
    let event = DragEvent::new_with_event_init_dict(kind, &init).unwrap();
    document().body().unwrap().dispatch_event(&event).unwrap();
}

/// Waits until the browser paints.
async fn frame() {
    let painted = js_sys::Promise::new(&mut |resolve, _| {
        window().request_animation_frame(&resolve).unwrap();
    });
    wasm_bindgen_futures::JsFuture::from(painted).await.unwrap();
}
