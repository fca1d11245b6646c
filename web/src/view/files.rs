//! The files of the room.

use super::link::{CopyLink, FileName};
use crate::{browser, format, model::Model, texts::fill};
use leptos::{html, prelude::*};
use peer_wasm::page::{Command, Connection, Stage};
use protocol::FileId;

/// The list of the room's files, the one that the address names first.
#[component]
pub(crate) fn Files(model: Model) -> impl IntoView {
    let order = Memo::new(move |_| {
        let linked = model.route.with(|route| route.file);
        let mut files = model.files.with(|files| {
            let mut files: Vec<_> = files.values().map(|file| (file.name.as_str().to_lowercase(), file.file)).collect();
            files.sort();
            files.into_iter().map(|(_, file)| file).collect::<Vec<_>>()
        });
        if let Some(linked) = linked {
            files.retain(|file| *file != linked);
            files.insert(0, linked);
        }
        files
    });
    view! {
        <section aria-labelledby="files-title">
            <h2 id="files-title">{model.text(|texts| &texts.files.title)}</h2>
            <p class="empty" hidden=move || !order.with(Vec::is_empty)>
                {model.text(|texts| &texts.files.empty)}
            </p>
            <ul class="cards files">
                <For
                    each=move || order.get()
                    key=|file| *file
                    children=move |file| view! { <FileItem model file /> }
                />
            </ul>
        </section>
    }
}

/// What this tab does with a file of the room.
#[derive(Clone, PartialEq)]
enum Held {
    Not,
    Searching,
    Downloading { percent: u64 },
    Complete,
    Sharing,
    Failed,
}

/// One file of the room, or the one that the address names and nobody has.
#[component]
fn FileItem(model: Model, file: FileId) -> impl IntoView {
    let item = NodeRef::<html::Li>::new();
    let facts = Memo::new(move |_| model.files.with(|files| files.get(&file).cloned()));
    let linked = Memo::new(move |_| model.route.with(|route| route.file) == Some(file));
    let held = Memo::new(move |_| {
        model.transfer(file).map_or(Held::Not, |transfer| {
            transfer.with(|transfer| match transfer.stage {
                Stage::Searching => Held::Searching,
                Stage::Downloading => {
                    let size = transfer.about.as_ref().map_or(0, |about| about.size);
                    Held::Downloading { percent: format::percent(transfer.verified, size) }
                }
                Stage::Complete => Held::Complete,
                Stage::Sharing => Held::Sharing,
                Stage::Failed { .. } => Held::Failed,
            })
        })
    });
    let figures = move || {
        let texts = model.texts();
        let words = &texts.files;
        facts.with(|facts| {
            facts.as_ref().map(|facts| {
                let sources = match facts.sources {
                    0 => words.no_sources.clone(),
                    count => words.sources.of(count.into(), texts),
                };
                let peers = words.peers.of(facts.peers.into(), texts);
                [format::size(facts.size, texts), sources, peers].map(|text| view! { <span>{text}</span> })
            })
        })
    };
    let missing = move || {
        let texts = model.texts();
        if !facts.with(Option::is_none) || held.with(|held| *held != Held::Not) {
            return None;
        }
        let online = model.connection.with(|connection| matches!(connection, Connection::Online { .. }));
        Some(if online { texts.files.missing.as_str() } else { texts.waits.tracker.as_str() })
    };
    let state = move || {
        let words = &model.texts().files;
        held.with(|held| match held {
            Held::Not => None,
            Held::Searching => Some(words.searching.clone()),
            Held::Downloading { percent } => {
                Some(fill(&words.downloading, &[("percent", &format::percentage(*percent))]))
            }
            Held::Complete => Some(words.complete.clone()),
            Held::Sharing => Some(words.sharing.clone()),
            Held::Failed => Some(words.failed.clone()),
        })
    };
    let download = move |_| {
        // The button goes away; the keyboard stays at the file.
        if let Some(item) = item.get_untracked() {
            browser::focus(&item);
        }
        model.send(Command::Download { file });
    };
    let action = move || match state() {
        Some(state) => view! { <span class="state">{state}</span> }.into_any(),
        None => view! {
            <button type="button" class="primary" on:click=download>
                {model.text(|texts| &texts.files.download)}
            </button>
        }
        .into_any(),
    };
    view! {
        <li
            class="card file"
            class:linked=linked
            node_ref=item
            tabindex="-1"
            aria-label=move || model.name_of(file)
            data-file=file.to_string()
        >
            <div class="row">
                <div class="what">
                    <span class="badge" hidden=move || !linked.get()>
                        {model.text(|texts| &texts.files.linked)}
                    </span>
                    <FileName model file />
                    <span class="figures quiet">{figures}</span>
                </div>
                <div class="actions">
                    <CopyLink model file />
                    {action}
                </div>
            </div>
            <p class="quiet" hidden=move || missing().is_none()>{missing}</p>
        </li>
    }
}
