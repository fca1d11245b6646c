//! The connection in words, and the choice of a room.

use crate::{browser, format, model::Model, problems, route::Route, texts::fill};
use leptos::{ev, prelude::*};
use peer_wasm::page::Connection as State;
use protocol::RoomName;
use std::time::Duration;

/// How many digits of a peer's id are shown.
pub(crate) const SHORT_ID: usize = 4;

/// How the tab is connected, and to which room.
#[component]
pub(crate) fn Connection(model: Model) -> impl IntoView {
    let words = move || {
        let texts = &model.texts().connection;
        model.connection.with(|connection| match connection {
            State::Connecting => texts.connecting.clone(),
            State::Online { id, room } => {
                fill(&texts.online, &[("room", room.as_str()), ("peer", &format!("{id:.SHORT_ID$}"))])
            }
            State::Ended { problem } | State::Waiting { problem: Some(problem), .. } => {
                problems::sentence(problem, model.locale.get())
            }
            State::Waiting { problem: None, .. } if model.been_online.get() => texts.lost.clone(),
            State::Waiting { problem: None, .. } => texts.unreachable.clone(),
        })
    };
    let state = move || {
        model.connection.with(|connection| match connection {
            State::Connecting => "connecting",
            State::Online { .. } => "online",
            State::Waiting { .. } => "waiting",
            State::Ended { .. } => "ended",
        })
    };
    view! {
        <section class="connection" data-state=state>
            <div class="words">
                <span class="lamp" aria-hidden="true"></span>
                <p role="status">{words}</p>
                <Countdown model />
            </div>
            <RoomForm model />
        </section>
    }
}

/// The seconds until the next try. Outside of the live region: a screen reader would count along.
#[component]
fn Countdown(model: Model) -> impl IntoView {
    let seconds = RwSignal::new(None::<u64>);
    Effect::new(move || {
        let retry = model.connection.with(|connection| match connection {
            State::Waiting { retry_ms, .. } => Some(u64::from(*retry_ms).div_ceil(1_000)),
            State::Connecting | State::Online { .. } | State::Ended { .. } => None,
        });
        seconds.set(retry);
        if retry.is_none() {
            return;
        }
        let tick = move || seconds.update(|left| *left = left.map(|left| left.saturating_sub(1)));
        match set_interval_with_handle(tick, Duration::from_secs(1)) {
            Ok(interval) => on_cleanup(move || interval.clear()),
            Err(error) => super::report(&error),
        }
    });
    move || {
        let texts = model.texts();
        let words = match seconds.get()? {
            0 => texts.connection.retry_now.clone(),
            left => fill(&texts.connection.retry, &[("time", &format::duration(left, texts))]),
        };
        Some(view! { <p class="quiet">{words}</p> })
    }
}

/// The field with the room's name.
#[component]
fn RoomForm(model: Model) -> impl IntoView {
    let wanted = RwSignal::new(String::new());
    let invalid = RwSignal::new(false);
    Effect::new(move || {
        wanted.set(model.route.with(|route| route.room.to_string()));
        invalid.set(false);
    });
    let enter = move |event: ev::SubmitEvent| {
        event.prevent_default();
        match wanted.get_untracked().trim().parse::<RoomName>() {
            Ok(room) => {
                invalid.set(false);
                browser::go_to(&Route::to(room, None));
            }
            Err(_) => invalid.set(true),
        }
    };
    let leaving = move || {
        let other = model.route.with(|route| route.room.as_str() != wanted.get().trim());
        other && !model.transfers.with(Vec::is_empty)
    };
    view! {
        <form class="room" on:submit=enter>
            <label for="room">{model.text(|texts| &texts.room.label)}</label>
            <input
                id="room"
                type="text"
                autocomplete="off"
                autocapitalize="none"
                spellcheck="false"
                maxlength="64"
                prop:value=wanted
                on:input=move |event| wanted.set(event_target_value(&event))
                aria-invalid=move || invalid.get().to_string()
                aria-describedby="room-help"
            />
            <button type="submit">{model.text(|texts| &texts.room.enter)}</button>
            <p id="room-help" class="help" role="status">
                {move || {
                    let texts = &model.texts().room;
                    if invalid.get() {
                        texts.invalid.as_str()
                    } else if leaving() {
                        texts.leaves.as_str()
                    } else {
                        ""
                    }
                }}
            </p>
        </form>
    }
}
