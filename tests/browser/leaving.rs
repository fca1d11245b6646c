//! Tabs come and go, and the files stay.

use anyhow::{Context as _, Result};
use tests::{browser::in_lab, observer::Observer};

#[test]
fn the_first_tab_may_close_once_the_others_hold_everything_between_them() -> Result<()> {
    in_lab("first-tab-closes", async |lab| {
        let browser = lab.browser().await?;
        let sample = lab.large_file("passed-on.bin", 3, 100)?;
        let first = browser.open(&lab.url("")).await?;
        first.choose(&sample.path).await?;
        let fetching = [browser.open(&lab.url("")).await?, browser.open(&lab.url("")).await?];
        for tab in &fetching {
            tab.find_button(&sample.name, "Download").await?;
        }
        let mut observer = Observer::join(&lab.tracker().ws_url(), &sample.name).await?;
        observer.wait_until(|peers| peers.len() == 1).await?;
        let source = *observer.peers().keys().next().context("the first tab")?;

        for tab in &fetching {
            tab.press(&sample.name, "Download").await?;
        }
        observer
            .wait_until(|peers| {
                let mut others = peers.iter().filter(|(id, _)| **id != source).map(|(_, has)| has);
                let (Some(one), Some(other)) = (others.next(), others.next()) else { return false };
                (0..one.len()).all(|block| one.has(block) || other.has(block))
            })
            .await?;
        first.close().await?;

        browser.open(&lab.url("")).await?.fetch(&sample).await?;
        for tab in &fetching {
            tab.save(&sample).await?;
        }
        Ok(())
    })
}

#[test]
fn a_tab_that_is_reloaded_in_the_middle_completes() -> Result<()> {
    in_lab("reload", async |lab| {
        let browser = lab.browser().await?;
        let sample = lab.large_file("reloaded.bin", 4, 100)?;
        let sharing = browser.open(&lab.url("")).await?;
        sharing.choose(&sample.path).await?;
        let fetching = browser.open(&lab.url("")).await?;
        fetching.press(&sample.name, "Download").await?;
        fetching.wait_for_middle(&sample.name).await?;
        fetching.reload().await?;
        fetching.fetch(&sample).await
    })
}
