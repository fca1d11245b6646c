//! The frame of the page: its head, what went wrong, and what a screen reader is told.

use crate::{
    browser,
    lines::Lines,
    locale::Locale,
    model::{Model, Said},
    problems::{self, Notice},
    texts::fill,
};
use leptos::{html, prelude::*};

/// The name of the page, what it is for, and the choice of its language.
#[component]
pub(crate) fn Header(model: Model) -> impl IntoView {
    let choose = move |event| {
        let tag: String = event_target_value(&event);
        if let Some(locale) = Locale::ALL.into_iter().find(|locale| locale.tag() == tag) {
            model.locale.set(locale);
            browser::keep_locale_in_address(locale);
        }
    };
    let options = Locale::ALL.map(|locale| {
        view! {
            <option value=locale.tag() lang=locale.tag() selected=move || model.locale.get() == locale>
                {locale.name()}
            </option>
        }
    });
    view! {
        <header class="top">
            <svg class="logo" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
                <rect width="32" height="32" rx="8" fill="var(--accent)" />
                <g fill="var(--on-accent)">
                    <rect x="7" y="7" width="8" height="8" rx="2" />
                    <rect x="17" y="7" width="8" height="8" rx="2" opacity=".55" />
                    <rect x="7" y="17" width="8" height="8" rx="2" opacity=".55" />
                    <rect x="17" y="17" width="8" height="8" rx="2" />
                </g>
            </svg>
            <div class="brand">
                <h1>"MiniBit"</h1>
                <p class="quiet">{model.text(|texts| &texts.page.tagline)}</p>
            </div>
            <label class="language">
                <span class="hidden">{model.text(|texts| &texts.page.language)}</span>
                <select on:change=choose>{options}</select>
            </label>
        </header>
    }
}

/// The choice of the ways that bytes may take.
#[component]
pub(crate) fn Ways(model: Model) -> impl IntoView {
    let choose = move |event| model.set_direct(!event_target_checked(&event));
    if !Lines::are_possible() {
        return view! { <p>{model.text(|texts| &texts.ways.impossible)}</p> }.into_any();
    }
    view! {
        <p>
            <label class="choice">
                <input
                    type="checkbox"
                    aria-describedby="who-learns"
                    prop:checked=move || !model.direct.get()
                    on:change=choose
                />
                {model.text(|texts| &texts.ways.only_tracker)}
            </label>
        </p>
        <p id="who-learns">{model.text(|texts| &texts.ways.who_learns)}</p>
    }
    .into_any()
}

/// What went wrong, each until it is dismissed.
#[component]
pub(crate) fn Notices(model: Model) -> impl IntoView {
    let region = NodeRef::<html::Section>::new();
    let address = move || {
        let locale = model.locale.get();
        model.route.with(|route| route.error.as_ref().map(|error| problems::route_sentence(error, &route.room, locale)))
    };
    let row = move |(number, notice): (u32, Notice)| {
        let dismiss = move |_| {
            if let Some(region) = region.get_untracked() {
                browser::focus(&region);
            }
            model.notices.update(|all| all.retain(|(other, _)| *other != number));
        };
        view! {
            <div class="notice">
                <p>{move || notice.sentence(model.locale.get())}</p>
                <button type="button" class="plain" on:click=dismiss>
                    {model.text(|texts| &texts.page.dismiss)}
                </button>
            </div>
        }
    };
    view! {
        <section
            class="notices"
            role="alert"
            tabindex="-1"
            node_ref=region
            aria-label=model.text(|texts| &texts.page.problems)
        >
            {move || address().map(|sentence| view! { <div class="notice"><p>{sentence}</p></div> })}
            <For each=move || model.notices.get() key=|(number, _)| *number children=row />
        </section>
    }
}

/// Tells a screen reader of what others see happen.
#[component]
pub(crate) fn Announcer(model: Model) -> impl IntoView {
    let words = move || {
        let texts = model.texts();
        let (text, file) = match model.said.get()? {
            Said::Complete(file) => (&texts.said.complete, file),
            Said::Shared(file) => (&texts.said.shared, file),
            Said::Failed(file) => (&texts.said.failed, file),
            Said::LinkCopied => return Some(texts.link.copied.clone()),
        };
        Some(fill(text, &[("name", &model.name_of(file))]))
    };
    view! { <p class="hidden" role="status">{words}</p> }
}
