//! Tabs, and a terminal, of several machines, which talk without the tracker as far as they can reach each other. The browsers hide their
//! addresses behind names, as they do where nobody changed their settings.

use anyhow::{Context as _, Result, ensure};
use peer_native::{Peer, PeerConfig, State};
use protocol::FileId;
use std::{fs, path::PathBuf, thread, time::Duration};
use tests::{
    browser::{Engine, Lab, Sample, Tab, in_network},
    eventually::eventually,
    network::{Network, Rates},
    status::{figure, status},
};
use tokio::{runtime, sync::oneshot, time::timeout};

/// The hosts of who shares and of who fetches.
const SHARING: usize = 0;
const FETCHING: usize = 1;
const RATES: Rates = Rates { up: 20, down: 20 };
/// Some four seconds of a line.
const MEGABYTES: usize = 10;
const LONGEST: Duration = Duration::from_secs(60);

/// A tab that shares a file, and one that may fetch it.
async fn room(lab: &mut Lab) -> Result<(Sample, Tab, Tab)> {
    let url = lab.url("");
    let sharing = lab.browser_on(SHARING, Engine::Chromium).await?.open(&url).await?;
    let fetching = lab.browser_on(FETCHING, Engine::Chromium).await?.open(&url).await?;
    // Over plain http Chromium asks before it saves what may be a program.
    let sample = lab.large_file("direct.png", 1, MEGABYTES)?;
    sharing.choose(&sample.path).await?;
    fetching.find_button(&sample.name, "Download").await?;
    Ok((sample, sharing, fetching))
}

/// The bytes that the tracker relayed, as a multiple of the file.
async fn relayed(lab: &Lab, sample: &Sample) -> Result<f64> {
    let status = status(lab.tracker().addr()).await?;
    Ok(figure(&status, "relayed_bytes") as f64 / sample.bytes.len() as f64)
}

/// Waits until a tab says of its peer that the two talk in this way.
async fn says(tab: &Tab, way: &str) -> Result<()> {
    eventually(&format!("a peer that is {way}"), LONGEST, async || {
        let script = "return [...document.querySelectorAll('.peer .way')].map(way => way.textContent.trim())";
        let ways: Vec<String> = tab.evaluate(script, vec![]).await?;
        Ok(if !ways.is_empty() && ways.iter().all(|said| said == way) { Ok(()) } else { Err(ways) })
    })
    .await
}

#[test]
fn tabs_of_two_machines_leave_the_tracker_alone_and_say_so() -> Result<()> {
    in_network("direct", 2, RATES, async |lab| {
        let (sample, sharing, fetching) = room(lab).await?;
        fetching.fetch(&sample).await?;
        let relayed = relayed(lab, &sample).await?;
        ensure!(relayed < 0.5, "{relayed} of the file came through the tracker");
        for tab in [&sharing, &fetching] {
            says(tab, "direct").await?;
        }
        let told = fetching.items(&sample.name).await?;
        ensure!(
            told.iter().any(|item| item.text.contains("Received: ") && item.text.contains(" directly")),
            "{told:?}"
        );
        Ok(())
    })
}

#[test]
fn a_tab_that_is_to_use_the_tracker_alone_does_so_also_after_a_reload() -> Result<()> {
    in_network("only-through-the-tracker", 2, RATES, async |lab| {
        let (sample, _sharing, fetching) = room(lab).await?;
        fetching.tick("Only through the tracker").await?;
        fetching.reload().await?;
        fetching.fetch(&sample).await?;
        says(&fetching, "through the tracker").await?;
        let relayed = relayed(lab, &sample).await?;
        ensure!(relayed >= 1.0, "only {relayed} of the file came through the tracker");
        Ok(())
    })
}

#[test]
fn tabs_that_cannot_reach_each_other_are_served_through_the_tracker() -> Result<()> {
    in_network("filtered", 2, RATES, async |lab| {
        let (sample, _sharing, fetching) = room(lab).await?;
        lab.network()?.separate([SHARING, FETCHING])?;
        fetching.fetch(&sample).await?;
        let relayed = relayed(lab, &sample).await?;
        ensure!(relayed >= 1.0, "only {relayed} of the file came through the tracker");
        Ok(())
    })
}

#[test]
fn when_a_line_breaks_amid_a_transfer_it_goes_on_through_the_tracker() -> Result<()> {
    in_network("cut", 2, RATES, async |lab| {
        let (sample, _sharing, fetching) = room(lab).await?;
        fetching.press(&sample.name, "Download").await?;
        says(&fetching, "direct").await?;
        fetching.wait_for_middle(&sample.name).await?;
        lab.network()?.separate([SHARING, FETCHING])?;
        fetching.save(&sample).await?;
        says(&fetching, "through the tracker").await
    })
}

#[test]
fn a_tab_that_is_reloaded_amid_a_transfer_fetches_directly_again() -> Result<()> {
    in_network("reload", 2, RATES, async |lab| {
        let (sample, sharing, fetching) = room(lab).await?;
        fetching.press(&sample.name, "Download").await?;
        says(&fetching, "direct").await?;
        fetching.reload().await?;
        fetching.press(&sample.name, "Download").await?;
        for tab in [&sharing, &fetching] {
            says(tab, "direct").await?;
        }
        fetching.save(&sample).await
    })
}

#[test]
fn firefox_and_chromium_meet_directly_and_webkit_is_served_through_the_tracker() -> Result<()> {
    in_network("engines", 3, RATES, async |lab| {
        let url = lab.url("");
        let sample = lab.large_file("engines.png", 2, MEGABYTES)?;
        let back = lab.large_file("back.png", 3, 1)?;
        let chromium = lab.browser_on(0, Engine::Chromium).await?.open(&url).await?;
        let firefox = lab.browser_on(1, Engine::Firefox).await?.open(&url).await?;
        let webkit = lab.browser_on(2, Engine::WebKit).await?.open(&url).await?;
        chromium.choose(&sample.path).await?;
        firefox.fetch(&sample).await?;
        for tab in [&chromium, &firefox] {
            says(tab, "direct").await?;
        }
        let direct: bool = webkit.evaluate("return 'RTCPeerConnection' in window", vec![]).await?;
        ensure!(!direct, "this test is about a browser without direct lines");
        webkit.press(&sample.name, "Download").await?;
        webkit.wait_for_button(&sample.name, "Save").await?;
        says(&webkit, "through the tracker").await?;
        // And it shares, to one by a direct line and to one without.
        webkit.choose(&back.path).await?;
        firefox.fetch(&back).await?;
        chromium.fetch(&back).await
    })
}

/// A terminal on a host that shares one file and fetches another as soon as somebody shares it; tells where that is. It stays
/// until this is dropped.
struct Terminal {
    fetched: oneshot::Receiver<Result<PathBuf>>,
    _stay: oneshot::Sender<()>,
}

impl Terminal {
    fn start(network: &Network, host: usize, config: PeerConfig, shares: PathBuf, fetches: String) -> Self {
        let ((done, fetched), (stay, end)) = (oneshot::channel(), oneshot::channel::<()>());
        let host = network.host(host);
        // A thread of its own, since a host is a place of threads.
        thread::spawn(move || {
            let work = async {
                let peer = Peer::start(config);
                peer.share(&shares).await?;
                let mut state = peer.state();
                let named = |state: &State| -> Option<FileId> {
                    Some(state.room.as_ref()?.iter().find(|file| file.name.as_str() == fetches)?.file)
                };
                let file = named(&*timeout(LONGEST, state.wait_for(|state| named(state).is_some())).await??);
                let path = timeout(LONGEST, peer.fetch(file.context("it was there")?)).await??;
                Ok((peer, path))
            };
            let run = || -> Result<()> {
                Network::enter(&host)?;
                let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async {
                    match work.await {
                        Ok((_peer, path)) => {
                            _ = done.send(Ok(path));
                            _ = end.await;
                        }
                        Err(error) => _ = done.send(Err(error)),
                    }
                });
                Ok(())
            };
            // Whoever waits hears that nothing is told any more.
            _ = run();
        });
        Self { fetched, _stay: stay }
    }
}

#[test]
fn a_tab_and_a_terminal_talk_directly_whoever_of_them_shares() -> Result<()> {
    in_network("terminal", 2, RATES, async |lab| {
        let [there, back] =
            [("there.png", 4), ("back.png", 5)].map(|(name, seed)| lab.large_file(name, seed, MEGABYTES));
        let (there, back) = (there?, back?);
        let folder = there.path.parent().context("a folder")?.join("fetched");
        let config = PeerConfig::new(lab.tracker().ws_url(), folder);
        let terminal = Terminal::start(lab.network()?, SHARING, config, there.path.clone(), back.name.clone());
        let tab = lab.browser_on(FETCHING, Engine::Chromium).await?.open(&lab.url("")).await?;
        tab.fetch(&there).await?;
        says(&tab, "direct").await?;
        tab.choose(&back.path).await?;
        let path = terminal.fetched.await.context("the terminal is gone")??;
        ensure!(fs::read(path)? == back.bytes, "that is another file");
        let relayed = relayed(lab, &there).await?;
        ensure!(relayed < 1.0, "{relayed} of two files came through the tracker");
        Ok(())
    })
}
