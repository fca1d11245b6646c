//! Files go from one tab to others, byte for byte.

use anyhow::{Result, ensure};
use std::time::Duration;
use tests::{
    browser::{Options, in_lab},
    eventually::eventually,
};

#[test]
fn files_of_four_kinds_and_a_large_one_reach_two_other_tabs() -> Result<()> {
    in_lab("files-reach-two-tabs", async |lab| {
        let browser = lab.browser().await?;
        let sharing = browser.open(&lab.url("")).await?;
        let fetching = [browser.open(&lab.url("")).await?, browser.open(&lab.url("")).await?];
        let mut samples = vec![lab.large_file("fifty.bin", 1, 50)?];
        for name in ["fractal.png", "swarm.pdf", "chord.mp3", "life.mp4"] {
            samples.push(lab.sample(name)?);
        }
        for sample in &samples {
            sharing.choose(&sample.path).await?;
        }
        for sample in &samples {
            for tab in &fetching {
                tab.press(&sample.name, "Download").await?;
            }
            for tab in &fetching {
                tab.save(sample).await?;
            }
        }
        Ok(())
    })
}

#[test]
fn a_file_goes_from_one_browser_to_another_and_back() -> Result<()> {
    in_lab("two-browsers", async |lab| {
        let (first, second) = (lab.browser().await?, lab.browser().await?);
        let (here, there) = (first.open(&lab.url("")).await?, second.open(&lab.url("")).await?);
        let (film, sound) = (lab.sample("life.mp4")?, lab.sample("chord.mp3")?);
        here.choose(&film.path).await?;
        there.choose(&sound.path).await?;
        there.fetch(&film).await?;
        here.fetch(&sound).await
    })
}

#[test]
fn two_tabs_that_share_the_same_file_are_two_sources_of_one() -> Result<()> {
    in_lab("two-sources", async |lab| {
        let browser = lab.browser().await?;
        let sample = lab.large_file("twice.bin", 2, 20)?;
        let sharing = [browser.open(&lab.url("")).await?, browser.open(&lab.url("")).await?];
        for tab in &sharing {
            tab.choose(&sample.path).await?;
        }
        let third = browser.open(&lab.url("")).await?;
        eventually("one file with two sources", Duration::from_secs(30), async || {
            let items = third.items(&sample.name).await?;
            let right = items.len() == 1 && items[0].text.contains("2 sources");
            Ok(if right { Ok(()) } else { Err(items) })
        })
        .await?;
        third.fetch(&sample).await
    })
}

#[test]
fn plain_http_on_a_lab_network_works_without_private_storage() -> Result<()> {
    in_lab("plain-http", async |lab| {
        let browser = lab.browser_with(Options { host: Some("lab.test"), ..Options::default() }).await?;
        let url = format!("http://lab.test:{}/", lab.tracker().addr().port());
        let (sharing, fetching) = (browser.open(&url).await?, browser.open(&url).await?);
        let secure: bool = fetching.evaluate("return isSecureContext", vec![]).await?;
        ensure!(!secure, "this test is about a page that is in no secure context");
        let sample = lab.sample("fractal.png")?;
        sharing.choose(&sample.path).await?;
        fetching.fetch(&sample).await
    })
}
