//! The ceiling's side of the comparison.

use crate::{Bench, Took};
use anyhow::{Context as _, Result, bail};
use data_encoding::BASE64;
use protocol::{Bitfield, PROTOCOL_VERSION};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tests::{
    browser::{Browser, Tab},
    eventually::eventually,
};

/// What the workers run.
const WORKER: &str = include_str!("ceiling.js");
/// The longest that a transfer may take.
const LIMIT: Duration = Duration::from_secs(600);
/// The length of a block, as the page's peers have it by default.
const FRAME_BYTES: u32 = 256 << 10;
/// Requests that a receiver keeps open: 4 MiB, half of what the tracker queues for it. More is not faster.
const WINDOW: u32 = 16;

/// What a worker has said so far.
#[derive(Debug, Deserialize)]
struct Said {
    id: Option<String>,
    started: Option<f64>,
    complete: Option<f64>,
    failed: Option<String>,
}

/// What it takes from the first request until all receivers have counted all bytes.
pub(crate) async fn measure(bench: &Bench, browser: &Arc<Browser>, receivers: usize) -> Result<Took> {
    // Any document of the tracker's origin will do, and this one does nothing by itself.
    let url = bench.tracker.http_url("health");
    let settings = |sender: Option<&str>| {
        let count = bench.bytes.div_ceil(FRAME_BYTES.into()) as u32;
        let blocks = if sender.is_some() { Bitfield::empty(count) } else { Bitfield::full(count) };
        json!({
            "protocol": PROTOCOL_VERSION,
            "url": bench.tracker.ws_url(),
            "sender": sender,
            "bytes": bench.bytes,
            "frame": FRAME_BYTES,
            "blocks": BASE64.encode(&blocks.to_bytes()),
            "window": WINDOW,
        })
    };
    let sending = browser.open(&url).await?;
    let sender = start_worker(&sending, settings(None)).await?;
    let mut tabs = Vec::new();
    for _ in 0..receivers {
        let tab = browser.open(&url).await?;
        start_worker(&tab, settings(Some(&sender))).await?;
        tabs.push(tab);
    }
    tabs[0].look().await?;
    let cpu_seconds = bench.cpu_seconds()?;
    sending.evaluate::<()>("new BroadcastChannel('bench').postMessage('go')", vec![]).await?;

    let (mut first, mut last) = (f64::INFINITY, f64::NEG_INFINITY);
    for tab in &tabs {
        let (started, complete) = eventually("the bare transfer to be complete", LIMIT, async || {
            said(&sending).await?;
            let said = said(tab).await?;
            Ok(said.started.zip(said.complete).ok_or(said))
        })
        .await?;
        first = first.min(started);
        last = last.max(complete);
    }
    Ok(Took { seconds: (last - first) / 1e3, cpu_seconds: bench.cpu_seconds()? - cpu_seconds })
}

/// Starts a worker in the tab, and gives its id once it is ready to serve, or to fetch.
async fn start_worker(tab: &Tab, settings: Value) -> Result<String> {
    let script = "
        const source = new Blob([arguments[0]], { type: 'text/javascript' });
        const worker = new Worker(URL.createObjectURL(source));
        window.said = {};
        worker.onmessage = message => Object.assign(window.said, message.data);
        worker.onerror = error => Object.assign(window.said, { failed: error.message || 'the worker does not run' });
        worker.postMessage(arguments[1]);
    ";
    tab.evaluate::<()>(script, vec![json!(WORKER), settings]).await?;
    let limit = Duration::from_secs(30);
    eventually("the worker to be ready", limit, async || {
        let said = said(tab).await?;
        Ok(said.id.clone().ok_or(said))
    })
    .await
    .context("cannot start a worker")
}

async fn said(tab: &Tab) -> Result<Said> {
    let said: Said = tab.evaluate("return window.said", vec![]).await?;
    if let Some(failed) = said.failed {
        bail!("a worker of the bare transfer failed: {failed}");
    }
    Ok(said)
}
