//! The page's side of the comparison.

use crate::{Bench, Took};
use anyhow::{Context as _, Result};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tests::{browser::Browser, eventually::eventually};

/// The longest that a transfer may take.
const LIMIT: Duration = Duration::from_secs(600);

/// Waits for the word to start, presses Download, and notes when that was and when Save appeared: in the page, because
/// looking from outside takes as long as megabytes. Times are milliseconds since 1970, to compare tabs.
const STOPWATCH: &str = "
    const [file] = arguments;
    const now = () => performance.timeOrigin + performance.now();
    const button = name => [...document.querySelectorAll('li')]
        .filter(item => item.textContent.includes(file))
        .flatMap(item => [...item.querySelectorAll('button')])
        .find(button => (button.getAttribute('aria-label') ?? button.textContent).trim() === name);
    window.stopwatch = { pressed: null, complete: null };
    new MutationObserver(() => {
        if (stopwatch.pressed && !stopwatch.complete && button('Save')) stopwatch.complete = now();
    }).observe(document, { subtree: true, childList: true, attributes: true });
    new BroadcastChannel('bench').onmessage = () => {
        stopwatch.pressed = now();
        button('Download').click();
    };
";

/// What it takes from the first press of Download until all fetching tabs are complete.
pub(crate) async fn measure(bench: &Bench, browser: &Arc<Browser>, fetchers: usize) -> Result<Took> {
    let name = bench.path.file_name().and_then(|name| name.to_str()).context("the file's name")?;
    let url = bench.tracker.http_url("");
    let sharing = browser.open(&url).await?;
    sharing.choose(&bench.path).await?;
    let mut tabs = Vec::new();
    for _ in 0..fetchers {
        let tab = browser.open(&url).await?;
        tab.find_button(name, "Download").await?;
        tab.evaluate::<()>(STOPWATCH, vec![json!(name)]).await?;
        tabs.push(tab);
    }
    // One page is in sight and draws what it does, as a person would have it; a browser shows no more than one.
    tabs[0].look().await?;
    let cpu_seconds = bench.cpu_seconds()?;
    sharing.evaluate::<()>("new BroadcastChannel('bench').postMessage('go')", vec![]).await?;

    let (mut first, mut last) = (f64::INFINITY, f64::NEG_INFINITY);
    for tab in &tabs {
        let (pressed, complete) = eventually("the transfer to be complete", LIMIT, async || {
            let script = "return [stopwatch.pressed, stopwatch.complete]";
            let times: (Option<f64>, Option<f64>) = tab.evaluate(script, vec![]).await?;
            if let (Some(pressed), Some(complete)) = times {
                return Ok(Ok((pressed, complete)));
            }
            Ok(Err(tab.items(name).await?))
        })
        .await?;
        first = first.min(pressed);
        last = last.max(complete);
    }
    Ok(Took { seconds: (last - first) / 1e3, cpu_seconds: bench.cpu_seconds()? - cpu_seconds })
}
