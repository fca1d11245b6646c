//! The link to a file, to pass on.

use crate::{
    browser,
    model::{Model, Said},
    texts::fill,
};
use leptos::{html, prelude::*, task::spawn_local};
use protocol::FileId;
use std::time::Duration;
use wasm_bindgen_futures::JsFuture;

/// How long a button says that the link was copied.
const COPIED_TIME: Duration = Duration::from_secs(3);

/// What became of the wish to copy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Copied {
    Not,
    Clipboard,
    /// The clipboard is withheld, as it is on plain http: the person copies from a field.
    Field,
}

/// Copies the link to a file.
#[component]
pub(crate) fn CopyLink(model: Model, file: FileId) -> impl IntoView {
    let copied = RwSignal::new(Copied::Not);
    let field = NodeRef::<html::Input>::new();
    let address = move || browser::link_to(&model.link(file));
    let copy = move |_| {
        if !window().is_secure_context() {
            copied.set(Copied::Field);
            return;
        }
        let written = window().navigator().clipboard().write_text(&untrack(address));
        spawn_local(async move {
            let done = match JsFuture::from(written).await {
                Ok(_) => Copied::Clipboard,
                Err(_) => Copied::Field,
            };
            // The card may have gone in the meantime.
            if copied.try_set(done).is_none() && done == Copied::Clipboard {
                model.said.set(Some(Said::LinkCopied));
                set_timeout(
                    move || {
                        let _ = copied.try_set(Copied::Not);
                    },
                    COPIED_TIME,
                );
            }
        });
    };
    Effect::new(move || {
        if let Some(field) = field.get() {
            browser::focus(&field);
            field.select();
        }
    });
    let shown = move || {
        let texts = &model.texts().link;
        match copied.get() {
            Copied::Clipboard => texts.copied.as_str(),
            Copied::Not | Copied::Field => texts.copy.as_str(),
        }
    };
    let label = move || fill(&model.texts().link.field, &[("name", &model.name_of(file))]);
    let by_hand = move || {
        (copied.get() == Copied::Field).then(|| {
            view! {
                <span class="by-hand">
                    <input type="text" readonly node_ref=field prop:value=address aria-label=label />
                    <span class="quiet">{model.text(|texts| &texts.link.manual)}</span>
                </span>
            }
        })
    };
    view! {
        <button type="button" class="plain" on:click=copy>{shown}</button>
        {by_hand}
    }
}

/// The name of a file, as a link to it.
#[component]
pub(crate) fn FileName(model: Model, file: FileId) -> impl IntoView {
    view! {
        <a class="name" href=move || model.link(file).to_string()>
            {move || model.name_of(file)}
        </a>
    }
}
