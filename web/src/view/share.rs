//! Choosing files, dropping them anywhere on the page, and watching them being hashed.

use crate::{
    browser, format,
    model::{Hashing, Model},
    problems::Notice,
    texts::fill,
};
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{DataTransfer, DragEvent, Event, File, HtmlInputElement};

/// The field to choose files with, and those that are being hashed.
#[component]
pub(crate) fn Share(model: Model) -> impl IntoView {
    let chosen = move |event: Event| {
        let input: HtmlInputElement = event_target(&event);
        let files = input.files().map(|list| browser::files_of(&list));
        // Emptied, so that choosing the same file again is a change too.
        input.set_value("");
        model.share(files.into_iter().flatten());
    };
    view! {
        <section class="share" aria-labelledby="share-title">
            <h2 id="share-title">{model.text(|texts| &texts.share.title)}</h2>
            <p id="share-hint" class="quiet">{model.text(|texts| &texts.share.hint)}</p>
            // The field itself would speak the browser's language and not the page's.
            <label class="choose">
                {model.text(|texts| &texts.share.input)}
                <input class="hidden" type="file" multiple on:change=chosen aria-describedby="share-hint" />
            </label>
            <ul class="hashing">
                <For
                    each=move || model.hashing.with(|all| all.iter().map(|hashing| hashing.share).collect::<Vec<_>>())
                    key=|share| *share
                    children=move |share| view! { <HashingItem model share /> }
                />
            </ul>
        </section>
    }
}

/// One file that is being hashed.
#[component]
fn HashingItem(model: Model, share: u32) -> impl IntoView {
    let hashing = Memo::new(move |before: Option<&Option<Hashing>>| {
        let now = model.hashing.with(|all| all.iter().find(|hashing| hashing.share == share).cloned());
        now.or_else(|| before?.clone())
    });
    let field = move |read: fn(&Hashing) -> u64| hashing.with(|hashing| hashing.as_ref().map_or(0, read));
    let name = move || hashing.with(|hashing| hashing.as_ref().map(|hashing| hashing.name.clone()));
    let percent = move || format::percent(field(|hashing| hashing.done), field(|hashing| hashing.total));
    let label = move || fill(&model.texts().share.progress, &[("name", &name().unwrap_or_default())]);
    let words = move || {
        let texts = model.texts();
        let total = format::size(field(|hashing| hashing.total), texts);
        match field(|hashing| hashing.done) {
            0 => fill(&texts.share.waiting, &[("total", &total)]),
            done => fill(&texts.share.hashing, &[("done", &format::size(done, texts)), ("total", &total)]),
        }
    };
    view! {
        <li class="card" aria-label=name>
            <div class="row">
                <strong class="name">{name}</strong>
                <span class="quiet">{words}</span>
            </div>
            <div
                class="bar"
                role="progressbar"
                aria-label=label
                aria-valuemin="0"
                aria-valuemax="100"
                aria-valuenow=percent
            >
                <div class="fill" style:width=move || format!("{}%", percent())></div>
            </div>
        </li>
    }
}

/// What covers the window while files are dragged over it.
#[component]
pub(crate) fn Overlay(model: Model) -> impl IntoView {
    let words = move || {
        let room = model.route.with(|route| route.room.to_string());
        fill(&model.texts().share.overlay, &[("room", &room)])
    };
    view! {
        <div id="overlay" class="overlay" aria-hidden="true" hidden=move || !model.dragging.get()>
            <p>{words}</p>
        </div>
    }
}

/// Makes the whole window a place to drop files on.
pub(crate) fn watch_drags(model: Model) {
    let over = move |event: Event| {
        if let Some(transfer) = dragged_files(&event) {
            // Without this the browser would open the file in place of the page.
            event.prevent_default();
            transfer.set_drop_effect("copy");
            if !model.dragging.get_untracked() {
                model.dragging.set(true);
            }
        }
    };
    let leave = move |event: Event| {
        // The overlay takes all further drags, so from then on only leaving the window leads to nowhere.
        if event.dyn_ref::<DragEvent>().is_some_and(|event| event.related_target().is_none()) {
            model.dragging.set(false);
        }
    };
    let drop = move |event: Event| {
        model.dragging.set(false);
        if let Some(transfer) = dragged_files(&event) {
            event.prevent_default();
            model.share(dropped(&transfer, model));
        }
    };
    let window = window();
    browser::listen(&window, "dragenter", over);
    browser::listen(&window, "dragover", over);
    browser::listen(&window, "dragleave", leave);
    browser::listen(&window, "drop", drop);
}

/// What is dragged, where it is files and not a text or a picture of the page.
fn dragged_files(event: &Event) -> Option<DataTransfer> {
    let transfer = event.dyn_ref::<DragEvent>()?.data_transfer()?;
    transfer.types().includes(&"Files".into(), 0).then_some(transfer)
}

/// The files that were dropped; a folder looks like an unreadable file and is told apart.
fn dropped(transfer: &DataTransfer, model: Model) -> Vec<File> {
    let items = transfer.items();
    let mut files = Vec::new();
    for item in (0..items.length()).filter_map(|index| items.get(index)).filter(|item| item.kind() == "file") {
        match item.webkit_get_as_entry() {
            Ok(Some(entry)) if entry.is_directory() => model.notify(Notice::Folder { name: entry.name() }),
            _ => files.extend(item.get_as_file().ok().flatten()),
        }
    }
    files
}
