//! What this tab fetches and shares.

use super::{
    link::{CopyLink, FileName},
    mosaic::Mosaic,
    peers::Peers,
};
use crate::{browser, format, model::Model, problems, texts::fill};
use leptos::{html, leptos_dom::helpers::TimeoutHandle, prelude::*};
use peer_wasm::{
    client::WaitsFor,
    page::{Carried, Command, Stage, Storage, Transfer},
};
use protocol::FileId;
use std::time::Duration;

/// How long something is waited for before the card says so; most of it passes sooner.
const WORTH_SAYING: Duration = Duration::from_secs(1);

/// The list of this tab's transfers, newest first.
#[component]
pub(crate) fn Transfers(model: Model) -> impl IntoView {
    let title = NodeRef::<html::H2>::new();
    view! {
        <section aria-labelledby="transfers-title">
            <h2 id="transfers-title" tabindex="-1" node_ref=title>
                {model.text(|texts| &texts.transfers.title)}
            </h2>
            <p class="empty" hidden=move || !model.transfers.with(Vec::is_empty)>
                {model.text(|texts| &texts.transfers.empty)}
            </p>
            <ul class="cards transfers">
                <For
                    each=move || model.transfers.get()
                    key=|(file, _)| *file
                    children=move |(file, transfer)| {
                        let transfer = RwSignal::from(transfer);
                        view! { <TransferItem model file transfer title /> }
                    }
                />
            </ul>
        </section>
    }
}

/// One transfer.
#[component]
fn TransferItem(
    model: Model,
    file: FileId,
    transfer: RwSignal<Transfer>,
    /// Where the keyboard goes when the transfer is stopped.
    title: NodeRef<html::H2>,
) -> impl IntoView {
    let stage = Memo::new(move |_| transfer.with(|transfer| transfer.stage.clone()));
    let name = move || model.name_of(file);
    let again = move |_| {
        model.send(Command::Stop { file });
        model.send(Command::Download { file });
    };
    let stop = move |_| {
        if let Some(title) = title.get_untracked() {
            browser::focus(&title);
        }
        model.send(Command::Stop { file });
    };
    let failed = move || matches!(stage.get(), Stage::Failed { .. });
    let problem = move || match stage.get() {
        Stage::Failed { problem } => Some(problems::sentence(&problem, model.locale.get())),
        Stage::Searching | Stage::Downloading | Stage::Complete | Stage::Sharing => None,
    };
    let waits_for = lasting(Memo::new(move |_| transfer.with(|transfer| transfer.waits_for)));
    let waiting = move || waits_for().map(|reason| problems::waiting(reason, model.locale.get()));
    let in_memory = move || transfer.with(|transfer| transfer.storage == Some(Storage::Memory));
    view! {
        <li class="card transfer" tabindex="-1" aria-label=name data-file=file.to_string()>
            <div class="row">
                <div class="what">
                    <FileName model file />
                    <span class="state">{move || stage_words(&stage.get(), model)}</span>
                </div>
                <div class="actions">
                    <CopyLink model file />
                    <Show when=failed>
                        <button type="button" class="plain" on:click=again>
                            {model.text(|texts| &texts.transfers.retry)}
                        </button>
                    </Show>
                    <button type="button" class="plain" on:click=stop>
                        {model.text(|texts| &texts.transfers.stop)}
                    </button>
                    <Show when=move || stage.get() == Stage::Complete>
                        <button type="button" class="primary" on:click=move |_| model.send(Command::Save { file })>
                            {model.text(|texts| &texts.transfers.save)}
                        </button>
                    </Show>
                </div>
            </div>
            <p class="problem" hidden=move || !failed()>{problem}</p>
            <p class="quiet" role="status" hidden=move || waits_for().is_none()>{waiting}</p>
            <Progress model file transfer />
            <Figures model transfer />
            <Ways model transfer />
            <p class="quiet" hidden=move || !in_memory()>{model.text(|texts| &texts.transfers.memory)}</p>
            <Mosaic model transfer />
            <Peers model transfer />
        </li>
    }
}

/// What is waited for, once there has been something for a while.
fn lasting(waits_for: Memo<Option<WaitsFor>>) -> impl Fn() -> Option<WaitsFor> + Copy {
    let lasts = RwSignal::new(false);
    let is_waiting = Memo::new(move |_| waits_for.get().is_some());
    Effect::new(move |timer: Option<Option<TimeoutHandle>>| {
        if let Some(timer) = timer.flatten() {
            timer.clear();
        }
        lasts.set(false);
        // The card may be gone when the time is over.
        let last = move || _ = lasts.try_set(true);
        if is_waiting.get() { set_timeout_with_handle(last, WORTH_SAYING).ok() } else { None }
    });
    move || waits_for.get().filter(|_| lasts.get())
}

fn stage_words(stage: &Stage, model: Model) -> &'static str {
    let words = &model.texts().transfers;
    match stage {
        Stage::Searching => &words.searching,
        Stage::Downloading => &words.downloading,
        Stage::Complete => &words.complete,
        Stage::Sharing => &words.sharing,
        Stage::Failed { .. } => &words.failed,
    }
}

/// How much of the file is here, in percent; `None` while its size is unknown.
fn percent(transfer: &Transfer) -> Option<u64> {
    if matches!(transfer.stage, Stage::Complete | Stage::Sharing) {
        return Some(100);
    }
    Some(format::percent(transfer.verified, transfer.about.as_ref()?.size))
}

/// The verified part as a bar and in words.
#[component]
fn Progress(model: Model, file: FileId, transfer: RwSignal<Transfer>) -> impl IntoView {
    let percent = Memo::new(move |_| transfer.with(percent));
    let label = move || fill(&model.texts().transfers.progress, &[("name", &model.name_of(file))]);
    let words = move || {
        let percent = format::percentage(percent.get()?);
        Some(fill(&model.texts().transfers.verified, &[("percent", &percent)]))
    };
    let amount = move || {
        let texts = model.texts();
        transfer.with(|transfer| {
            let size = transfer.about.as_ref()?.size;
            let (done, total) = (format::size(transfer.verified, texts), format::size(size, texts));
            Some(fill(&texts.transfers.amount, &[("done", &done), ("total", &total)]))
        })
    };
    view! {
        <div
            class="bar"
            role="progressbar"
            aria-label=label
            aria-valuemin="0"
            aria-valuemax="100"
            aria-valuenow=move || percent.get().map(|percent| percent.to_string())
            aria-valuetext=words
        >
            <div class="fill" style:width=move || format!("{}%", percent.get().unwrap_or(0))></div>
        </div>
        <div class="row">
            <strong class="percent">{words}</strong>
            <span class="quiet">{amount}</span>
        </div>
    }
}

/// The bytes by each way, as soon as some took the direct one.
#[component]
fn Ways(model: Model, transfer: RwSignal<Transfer>) -> impl IntoView {
    let carried = Memo::new(move |_| transfer.with(|transfer| (transfer.received, transfer.sent)));
    let line = move |template: &str, Carried { direct, relayed }: Carried| {
        let texts = model.texts();
        let words = |bytes| format::size(bytes, texts);
        let filled = fill(template, &[("direct", &words(direct)), ("relayed", &words(relayed))]);
        (direct > 0).then(|| view! { <span>{filled}</span> })
    };
    view! {
        <p class="figures quiet ways">
            {move || line(&model.texts().ways.received, carried.get().0)}
            {move || line(&model.texts().ways.sent, carried.get().1)}
        </p>
    }
}

/// Rates, time left and sources.
#[component]
fn Figures(model: Model, transfer: RwSignal<Transfer>) -> impl IntoView {
    let fetching = move |transfer: &Transfer| matches!(transfer.stage, Stage::Downloading | Stage::Searching);
    let rate =
        |template: &str, rate: u64, model: Model| fill(template, &[("rate", &format::rate(rate, model.texts()))]);
    let down = move || {
        let shown = transfer.with(|transfer| fetching(transfer).then_some(transfer.down_rate))?;
        Some(view! { <span>{rate(&model.texts().transfers.down, shown, model)}</span> })
    };
    let up = move || {
        let shown = transfer.with(|transfer| transfer.up_rate);
        view! { <span>{rate(&model.texts().transfers.up, shown, model)}</span> }
    };
    let left = move || {
        let texts = model.texts();
        let seconds = transfer.with(|transfer| transfer.seconds_left.filter(|_| fetching(transfer)))?;
        let time = format::duration(seconds, texts);
        Some(view! { <span class="left">{fill(&texts.transfers.left, &[("time", &time)])}</span> })
    };
    let sources = move || {
        let texts = model.texts();
        match transfer.with(|transfer| (transfer.sources, fetching(transfer))) {
            // Who has all of it is a source itself and waits for none.
            (0, false) => String::new(),
            (0, true) => texts.files.no_sources.clone(),
            (count, _) => texts.transfers.sources.of(count.into(), texts),
        }
    };
    view! {
        <p class="figures quiet">
            {down}
            {up}
            {left}
            <span class="sources">{sources}</span>
        </p>
    }
}
