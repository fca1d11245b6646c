//! The client that stands beside PROTOCOL.md, in another language than everything else here.

use anyhow::{Result, ensure};
use data_encoding::BASE64;
use peer_native::{Peer, PeerConfig};
use protocol::BlockSize;
use serde_json::json;
use std::time::Duration;
use tests::{
    browser::{Lab, Sample, Tab, in_lab},
    eventually::eventually,
};

const MANIFEST: &str = include_str!("../../protocol/examples/manifest.js");
const CLIENT: &str = include_str!("../../protocol/examples/client.js");
const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn a_client_in_javascript_fetches_and_shares_beside_tabs_and_terminals() -> Result<()> {
    in_lab("foreign-client", async |lab| {
        let browser = lab.browser().await?;
        // Any document of the tracker's origin will do, and this one does nothing by itself.
        let foreign = Foreign::start(lab, browser.open(&lab.url("health")).await?).await?;

        // What a tab shares: the foreign client fetches it, and is the only one to have it when the tab is gone.
        let sound = lab.sample("chord.mp3")?;
        let sharing = browser.open(&lab.url("")).await?;
        sharing.choose(&sound.path).await?;
        sharing.wait_for_button(&sound.name, "Stop").await?;
        let file = foreign.id_of(&sound).await?;
        foreign.fetch(&file).await?;
        sharing.close().await?;
        fetch_from_a_terminal(lab, &file, &sound).await?;

        // The same with what a terminal shares in blocks of several segments.
        let picture = lab.sample("fractal.png")?;
        let folder = tempfile::tempdir()?;
        let terminal = Peer::start(PeerConfig::new(lab.tracker().ws_url(), folder.path()));
        let file = terminal.share_in_blocks(&picture.path, Some(BlockSize::try_from(64 << 10)?)).await?.to_string();
        foreign.fetch(&file).await?;
        drop(terminal);
        fetch_from_a_terminal(lab, &file, &picture).await?;

        // What the foreign client shares, in more blocks than a part of a manifest has: a tab fetches it.
        let large = lab.large_file("from-afar.bin", 7, 2)?;
        let bytes = BASE64.encode(&large.bytes);
        foreign
            .run("client.share(url, 'lobby', 'from-afar.bin', client.plain(arguments[0])).then(said)", &bytes)
            .await?;
        foreign.said().await?;
        browser.open(&lab.url("")).await?.fetch(&large).await
    })
}

async fn fetch_from_a_terminal(lab: &Lab, file: &str, sample: &Sample) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let terminal = Peer::start(PeerConfig::new(lab.tracker().ws_url(), folder.path()));
    let path = tokio::time::timeout(LIMIT, terminal.fetch(file.parse()?)).await??;
    ensure!(std::fs::read(path)? == sample.bytes, "a terminal got other bytes");
    Ok(())
}

/// A document that runs the client.
struct Foreign(Tab);

impl Foreign {
    async fn start(lab: &Lab, tab: Tab) -> Result<Self> {
        let module = |text: &str| {
            let lines = text.lines().filter(|line| !line.starts_with("import "));
            lines.map(|line| line.trim_start_matches("export ")).collect::<Vec<_>>().join("\n")
        };
        let client = "window.client = { share, fetchFile, manifestOf, plain };";
        let source = [&module(MANIFEST), &module(CLIENT), client].map(str::to_owned).join("\n");
        let script = "(0, eval)(arguments[0]); window.url = arguments[1]; window.said = what => window.heard = what;";
        tab.evaluate::<()>(script, vec![json!(source), json!(lab.tracker().ws_url())]).await?;
        Ok(Self(tab))
    }

    /// Begins something that ends with `said`.
    async fn run(&self, promise: &str, argument: &str) -> Result<()> {
        let script = format!("window.heard = null; {promise}.catch(error => said('failed: ' + error));");
        self.0.evaluate(&script, vec![json!(argument)]).await
    }

    /// Fetches a file, and goes on serving it.
    async fn fetch(&self, file: &str) -> Result<()> {
        let fetch =
            "client.fetchFile(url, 'lobby', arguments[0]).then(bytes => said(client.manifestOf(bytes, 4096).file))";
        self.run(fetch, file).await?;
        ensure!(self.said().await? == file, "the foreign client fetched other bytes");
        Ok(())
    }

    /// What was said.
    async fn said(&self) -> Result<String> {
        eventually("the foreign client to be done", LIMIT, async || {
            let heard: Option<String> = self.0.evaluate("return window.heard", vec![]).await?;
            Ok(heard.ok_or("nothing"))
        })
        .await
    }

    async fn id_of(&self, sample: &Sample) -> Result<String> {
        let script = "return client.manifestOf(client.plain(arguments[0]), 4096).file";
        self.0.evaluate(script, vec![json!(BASE64.encode(&sample.bytes))]).await
    }
}
