//! The peers of a transfer, with what goes on between them and this tab in words.

use super::room::SHORT_ID;
use crate::{format, model::Model, peers, texts::fill};
use leptos::prelude::*;
use peer_wasm::page::{Peer, Stage, Transfer};
use protocol::PeerId;

/// The peers that this tab talks to.
#[component]
pub(crate) fn Peers(model: Model, transfer: RwSignal<Transfer>) -> impl IntoView {
    let ids = Memo::new(move |_| {
        transfer.with(|transfer| transfer.peers.iter().map(|peer| peer.status.peer).collect::<Vec<_>>())
    });
    let title = move || {
        let texts = model.texts();
        match ids.with(Vec::len) {
            0 => texts.peers.none.clone(),
            count => texts.peers.title.of(count.try_into().unwrap_or(u64::MAX), texts),
        }
    };
    view! {
        <details class="peers" open>
            <summary>{title}</summary>
            <ul>
                <For each=move || ids.get() key=|id| *id children=move |id| view! { <PeerItem model transfer id /> } />
            </ul>
        </details>
    }
}

/// One peer.
#[component]
fn PeerItem(model: Model, transfer: RwSignal<Transfer>, id: PeerId) -> impl IntoView {
    let peer = Memo::new(move |before: Option<&Option<Peer>>| {
        let now = transfer.with(|transfer| transfer.peers.iter().find(|peer| peer.status.peer == id).cloned());
        now.or_else(|| before?.clone())
    });
    let blocks = Memo::new(move |_| transfer.with(|transfer| transfer.mosaic.len()));
    let finished =
        Memo::new(move |_| transfer.with(|transfer| matches!(transfer.stage, Stage::Complete | Stage::Sharing)));
    let name = move || {
        let short = fill(&model.texts().peers.name, &[("id", &format!("{id:.SHORT_ID$}"))]);
        match peer.with(|peer| peer.as_ref()?.name.clone()) {
            Some(name) => format!("{name} ({short})"),
            None => short,
        }
    };
    let share = move || {
        let total = u64::try_from(blocks.get()).ok().filter(|&total| total > 0)?;
        let has = peer.with(|peer| peer.as_ref().map(|peer| u64::from(peer.status.blocks)))?;
        let percent = format::percentage(format::percent(has, total));
        Some(fill(&model.texts().peers.blocks, &[("percent", &percent)]))
    };
    let phrases = move || {
        let phrases = peer.with(|peer| Some(peers::phrases(&peer.as_ref()?.status, finished.get(), model.texts())));
        phrases
            .into_iter()
            .flatten()
            .map(|phrase| view! { <span class="phrase" class:active=phrase.active>{phrase.text}</span> })
            .collect_view()
    };
    let way = move || {
        let words = &model.texts().ways;
        let is_direct = peer.with(|peer| peer.as_ref().is_some_and(|peer| peer.direct));
        if is_direct { words.direct.as_str() } else { words.relayed.as_str() }
    };
    view! {
        <li class="peer">
            <span class="peer-name">{name}</span>
            <span class="quiet way">{way}</span>
            <span class="quiet">{share}</span>
            {phrases}
        </li>
    }
}
