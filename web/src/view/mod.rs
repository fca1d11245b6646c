//! The components of the page, and how it starts.

#![allow(unreachable_pub, reason = "the builders that `#[component]` makes are `pub`")]

mod files;
mod frame;
mod link;
mod mosaic;
mod peers;
mod room;
mod share;
mod transfers;

#[cfg(test)]
mod tests;

use crate::{browser, lines::Lines, model::Model, worker::WorkerHandle};
use leptos::prelude::*;
use peer_wasm::page::{self, Command};
use wasm_bindgen::JsValue;

/// Shows the page and starts the worker.
pub fn start() {
    std::panic::set_hook(Box::new(|info| web_sys::console::error_1(&info.to_string().into())));
    if let Some(loading) = document().get_element_by_id("loading") {
        loading.remove();
    }
    mount_to_body(|| {
        let model = Model::new(browser::preferred_locale());
        connect(model);
        watch(model);
        model.follow(browser::current_route());
        view! { <Page model /> }
    });
}

/// Everything between the edges of the window.
#[component]
fn Page(model: Model) -> impl IntoView {
    Effect::new(move || {
        if let Some(root) = document().document_element()
            && let Err(error) = root.set_attribute("lang", model.locale.get().tag())
        {
            web_sys::console::error_1(&error);
        }
    });
    view! {
        <frame::Header model />
        <main>
            <room::Connection model />
            <frame::Notices model />
            <share::Share model />
            <files::Files model />
            <transfers::Transfers model />
        </main>
        <footer>
            <p>{model.text(|texts| &texts.page.footer)}</p>
            <frame::Ways model />
        </footer>
        <frame::Announcer model />
        <share::Overlay model />
    }
}

/// Joins the model to a worker of its own.
fn connect(model: Model) {
    let lines = Lines::new(model);
    let worker = WorkerHandle::start(move |told| match told {
        Ok((page::Update::Line { session, line, task }, _)) => lines.perform((session, line), task),
        Ok((update, attachment)) => model.apply(update, &attachment),
        Err(notice) => model.notify(notice),
    });
    match worker {
        Ok(worker) => model.set_outbox(move |command, attachment| worker.send(&command, attachment)),
        Err(notice) => model.notify(notice),
    }
}

/// Follows what happens to the window.
fn watch(model: Model) {
    let (window, document) = (window(), document());
    browser::listen(&window, "hashchange", move |_| model.follow(browser::current_route()));
    browser::listen(&window, "pageshow", move |_| model.send(Command::Wake));
    browser::listen(&window, "online", move |_| model.send(Command::Wake));
    browser::listen(&document, "resume", move |_| model.send(Command::Wake));
    browser::listen(&document, "visibilitychange", move |_| {
        if !leptos::prelude::document().hidden() {
            model.send(Command::Wake);
        }
    });
    share::watch_drags(model);
    match window.match_media("(prefers-color-scheme: dark)") {
        Ok(Some(query)) => browser::listen(&query, "change", move |_| model.scheme.update(|changes| *changes += 1)),
        Ok(None) => {}
        Err(error) => report(&error),
    }
}

/// Logs what the browser refused and nobody can mend.
fn report(error: &JsValue) {
    web_sys::console::error_1(error);
}
