//! What the page itself promises: links, languages, dropping, and a picture of it at work.

use anyhow::{Context as _, Result, ensure};
use std::{env, fs, time::Duration};
use tests::{
    browser::{Options, Tab, in_lab, page_dir, project_dir},
    eventually::eventually,
    tracker::TestTracker,
};
use tracker_ws::Config;

const SOON: Duration = Duration::from_secs(30);

async fn wait_for_text(tab: &Tab, text: &str) -> Result<()> {
    eventually(&format!("the page to say {text:?}"), SOON, async || {
        let shown = tab.text().await?;
        Ok(if shown.contains(text) { Ok(()) } else { Err(shown) })
    })
    .await
}

#[test]
fn a_link_opens_onto_its_file_in_its_room() -> Result<()> {
    in_lab("link", async |lab| {
        let browser = lab.browser().await?;
        let sample = lab.sample("swarm.pdf")?;
        let sharing = browser.open(&lab.url("#/physics-3")).await?;
        sharing.choose(&sample.path).await?;
        let link = file_link(&sharing, &lab.url("#/physics-3/")).await?;
        browser.open(&link).await?.fetch(&sample).await?;

        let elsewhere = browser.open(&lab.url("")).await?;
        wait_for_text(&elsewhere, "lobby").await?;
        ensure!(elsewhere.items(&sample.name).await?.is_empty(), "another room shows the file");
        Ok(())
    })
}

/// Waits until the page has a link to a file, which begins so.
async fn file_link(tab: &Tab, start: &str) -> Result<String> {
    eventually("a link to the file", SOON, async || {
        let script = "return [...document.querySelectorAll('li a')].map(link => link.href)";
        let links: Vec<String> = tab.evaluate(script, vec![]).await?;
        let wanted = links.iter().find(|link| is_file_link(link, start));
        Ok(wanted.cloned().ok_or(links))
    })
    .await
}

#[test]
fn a_link_with_a_token_opens_onto_the_file_and_one_without_says_what_is_missing() -> Result<()> {
    in_lab("token", async |lab| {
        let config = Config { page_dir: page_dir()?, token: Some("let-us-in".parse()?), ..Config::default() };
        let tracker = TestTracker::start_with(config).await?;
        let url = |query: &str| format!("{}{query}", tracker.http_url());
        let browser = lab.browser().await?;
        let sample = lab.sample("fractal.png")?;
        let sharing = browser.open(&url("?token=let-us-in")).await?;
        sharing.choose(&sample.path).await?;
        let link = file_link(&sharing, &url("?token=let-us-in#/lobby/")).await?;
        browser.open(&link).await?.fetch(&sample).await?;

        for query in ["", "?token=let-me-in"] {
            let outside = browser.open(&url(query)).await?;
            wait_for_text(&outside, "it wants a token").await?;
        }
        Ok(())
    })
}

fn is_file_link(link: &str, start: &str) -> bool {
    link.strip_prefix(start).is_some_and(|id| id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[test]
fn a_file_dropped_anywhere_on_the_window_is_shared() -> Result<()> {
    in_lab("drop", async |lab| {
        let browser = lab.browser().await?;
        let sample = lab.sample("fractal.png")?;
        let (sharing, fetching) = (browser.open(&lab.url("")).await?, browser.open(&lab.url("")).await?);
        sharing.drop_file(&sample.path).await?;
        fetching.fetch(&sample).await
    })
}

#[test]
fn the_page_speaks_portuguese_when_asked_or_when_the_browser_does() -> Result<()> {
    in_lab("portuguese", async |lab| {
        let sample = lab.sample("chord.mp3")?;
        let english = lab.browser().await?;
        let sharing = english.open(&lab.url("")).await?;
        sharing.choose(&sample.path).await?;
        let asked = english.open(&lab.url("?lang=pt-BR")).await?;
        asked.press(&sample.name, "Baixar").await?;
        asked.wait_for_button(&sample.name, "Salvar").await?;

        let brazilian = lab.browser_with(Options { language: "pt-BR", ..Options::default() }).await?;
        let chosen = brazilian.open(&lab.url("")).await?;
        chosen.find_button(&sample.name, "Baixar").await?;
        let language: String = chosen.evaluate("return document.documentElement.lang", vec![]).await?;
        ensure!(language == "pt-BR", "the document says that it is in {language:?}");
        brazilian.open(&lab.url("?lang=en")).await?.fetch(&sample).await
    })
}

/// The picture is taken and looked at each time; `cargo xtask screenshot` also keeps it for the README.
#[test]
fn a_screenshot_shows_a_transfer_running() -> Result<()> {
    in_lab("screenshot", async |lab| {
        // High enough for the room and the transfer with its blocks and peers.
        let browser = lab.browser_with(Options { window: (1100, 1550), ..Options::default() }).await?;
        let sample = lab.large_file("lab-image.iso", 5, 200)?;
        let sharing = browser.open(&lab.url("")).await?;
        for name in ["fractal.png", "swarm.pdf"] {
            sharing.choose(&lab.sample(name)?.path).await?;
        }
        sharing.choose(&sample.path).await?;
        let fetching = [browser.open(&lab.url("")).await?, browser.open(&lab.url("")).await?];
        let [watched, other] = &fetching;
        watched.look().await?;
        for tab in [other, watched] {
            tab.press(&sample.name, "Download").await?;
        }
        eventually("the transfer to be well under way", SOON, async || {
            let percent = watched.percent(&sample.name).await?;
            Ok(percent.filter(|percent| (20.0..=80.0).contains(percent)).ok_or(percent))
        })
        .await?;
        let picture = watched.screenshot().await?;
        let percent = watched.percent(&sample.name).await?.context("the transfer's progress")?;
        ensure!(percent < 100.0, "the transfer was over before the picture was taken");
        ensure!(picture.starts_with(b"\x89PNG\r\n\x1a\n"), "the picture is no PNG");
        if env::var_os("MINIBIT_SCREENSHOT").is_some_and(|value| value == "1") {
            let docs = project_dir().join("docs");
            fs::create_dir_all(&docs)?;
            fs::write(docs.join("screenshot.png"), &picture)?;
        }
        Ok(())
    })
}
