//! One tab: what it shows, and what a person does in it.

use super::{Browser, Engine, Sample};
use crate::eventually::eventually;
use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{path::Path, sync::Arc, time::Duration};
use thirtyfour::{By, WebElement, WindowHandle};

/// For what a person would expect at once, on a machine that is busy with other builds.
const SOON: Duration = Duration::from_secs(30);
/// For a whole file, on the same machine.
const TRANSFER: Duration = Duration::from_secs(240);

/// Accessible names, and the list items with what they hold.
const SCRIPT: &str = "
    const nameOf = element => (element.getAttribute('aria-label') ?? element.textContent).trim();
    const items = () => [...document.querySelectorAll('li')];
    const percentOf = item => {
        const bar = item.querySelector('[role=progressbar], progress');
        const value = bar?.getAttribute('aria-valuenow') ?? bar?.getAttribute('value');
        return value == null ? null : Number(value);
    };
    const buttonOf = (file, name) => items()
        .filter(item => item.textContent.includes(file))
        .flatMap(item => [...item.querySelectorAll('button')])
        .find(button => nameOf(button) === name && !button.disabled) ?? null;
";

/// A list item of the page: a file of the room, or a transfer.
#[derive(Debug, Clone, Deserialize)]
pub struct Item {
    /// All its text.
    pub text: String,
    /// The names of its buttons.
    pub buttons: Vec<String>,
    /// What its progress bar shows.
    pub percent: Option<f64>,
}

/// A tab of a browser.
#[derive(Debug, Clone)]
pub struct Tab {
    browser: Arc<Browser>,
    window: WindowHandle,
}

impl Tab {
    pub(super) const fn new(browser: Arc<Browser>, window: WindowHandle) -> Self {
        Self { browser, window }
    }

    /// Loads an address.
    ///
    /// # Errors
    /// If it cannot be loaded.
    pub async fn goto(&self, url: &str) -> Result<()> {
        let (driver, _turn) = self.browser.turn_to(&self.window).await?;
        driver.goto(url).await.with_context(|| format!("cannot open {url}"))
    }

    /// Loads the page again.
    ///
    /// # Errors
    /// If it cannot be loaded.
    pub async fn reload(&self) -> Result<()> {
        let (driver, _turn) = self.browser.turn_to(&self.window).await?;
        Ok(driver.refresh().await?)
    }

    /// Closes the tab.
    ///
    /// # Errors
    /// If the browser is gone.
    pub async fn close(self) -> Result<()> {
        self.browser.close_window(&self.window).await
    }

    /// Brings the tab to the front, as a person does who wants to see it; the others are hidden from then on.
    ///
    /// # Errors
    /// If the browser is gone.
    pub async fn look(&self) -> Result<()> {
        let (_, _turn) = self.browser.turn_to(&self.window).await?;
        // Others show whatever tab is turned to.
        if self.browser.engine() == Engine::Chromium {
            self.browser.devtools("Page.bringToFront", json!({})).await?;
        }
        Ok(())
    }

    /// Chooses a file in the page's file input, as soon as there is one.
    ///
    /// # Errors
    /// If there never is one.
    pub async fn choose(&self, path: &Path) -> Result<()> {
        let input = eventually("the file input", SOON, async || {
            let (driver, _turn) = self.browser.turn_to(&self.window).await?;
            Ok(driver.find(By::Css("input[type=file]")).await)
        })
        .await?;
        let (_, _turn) = self.browser.turn_to(&self.window).await?;
        Ok(input.send_keys(path.to_str().context("a path that is no text")?).await?)
    }

    /// Drags a file from the desktop over the window and drops it.
    ///
    /// # Errors
    /// If the browser is gone.
    pub async fn drop_file(&self, path: &Path) -> Result<()> {
        self.look().await?;
        let (_, _turn) = self.browser.turn_to(&self.window).await?;
        for step in ["dragEnter", "dragOver", "drop"] {
            // 1: the operations allowed are copying.
            let data = json!({ "items": [], "files": [path], "dragOperationsMask": 1 });
            let event = json!({ "type": step, "x": 640, "y": 480, "data": data });
            self.browser.devtools("Input.dispatchDragEvent", event).await?;
        }
        Ok(())
    }

    /// The list items whose text has `file` in it.
    ///
    /// # Errors
    /// If the browser is gone.
    pub async fn items(&self, file: &str) -> Result<Vec<Item>> {
        let script = "return items().filter(item => item.textContent.includes(arguments[0])).map(item => ({
            text: item.innerText,
            buttons: [...item.querySelectorAll('button')].map(nameOf),
            percent: percentOf(item),
        }));";
        self.evaluate(&format!("{SCRIPT}{script}"), vec![json!(file)]).await
    }

    /// What the progress bar of a file shows, if there is one.
    ///
    /// # Errors
    /// If the browser is gone.
    pub async fn percent(&self, file: &str) -> Result<Option<f64>> {
        Ok(self.items(file).await?.iter().find_map(|item| item.percent))
    }

    /// All text of the page.
    ///
    /// # Errors
    /// If the browser is gone.
    pub async fn text(&self) -> Result<String> {
        self.evaluate("return document.body?.innerText ?? ''", vec![]).await
    }

    /// Runs a script, and reads what it returns.
    ///
    /// # Errors
    /// If it throws or returns something else.
    pub async fn evaluate<T: DeserializeOwned>(&self, script: &str, arguments: Vec<Value>) -> Result<T> {
        let (driver, _turn) = self.browser.turn_to(&self.window).await?;
        Ok(driver.execute(script, arguments).await?.convert()?)
    }

    /// The button of that name of a file, as soon as there is one.
    ///
    /// # Errors
    /// If there never is one.
    pub async fn find_button(&self, file: &str, button: &str) -> Result<WebElement> {
        self.find_button_within(file, button, SOON).await
    }

    /// Waits until a file is complete, which is when it has that button.
    ///
    /// # Errors
    /// If it never is.
    pub async fn wait_for_button(&self, file: &str, button: &str) -> Result<()> {
        self.find_button_within(file, button, TRANSFER).await.map(drop)
    }

    /// The same, but the page itself looks for the button whenever it changes: being asked again and again costs it time that is
    /// missing elsewhere. Until then nothing else can be done with the browser.
    ///
    /// # Errors
    /// If it never has one.
    pub async fn watch_for_button(&self, file: &str, button: &str) -> Result<()> {
        let (driver, _turn) = self.browser.turn_to(&self.window).await?;
        driver.set_script_timeout(TRANSFER).await?;
        let script = "
            const [file, button, done] = arguments;
            const look = () => buttonOf(file, button) && (observer.disconnect(), done());
            const observer = new MutationObserver(look);
            observer.observe(document, { subtree: true, childList: true });
            look();
        ";
        let found = driver.execute_async(&format!("{SCRIPT}{script}"), vec![json!(file), json!(button)]).await;
        found.with_context(|| format!("{file} never has a button {button:?}"))?;
        Ok(())
    }

    /// Presses a button of a file, as soon as there is one.
    ///
    /// # Errors
    /// If there never is one.
    pub async fn press(&self, file: &str, button: &str) -> Result<()> {
        let found = self.find_button(file, button).await?;
        let (_, _turn) = self.browser.turn_to(&self.window).await?;
        found.click().await.with_context(|| format!("cannot press {button} of {file}"))
    }

    /// Clicks on a box that a label names.
    ///
    /// # Errors
    /// If there is none.
    pub async fn tick(&self, label: &str) -> Result<()> {
        let (driver, _turn) = self.browser.turn_to(&self.window).await?;
        let path = format!("//label[contains(., '{label}')]/input[@type='checkbox']");
        let found = driver.find(By::XPath(path)).await.with_context(|| format!("no box is called {label}"))?;
        Ok(found.click().await?)
    }

    /// Waits until a file's progress bar is past 0 and short of 100 percent, and returns what it shows.
    ///
    /// # Errors
    /// If that never happens.
    pub async fn wait_for_middle(&self, file: &str) -> Result<f64> {
        eventually(&format!("{file} to be under way"), SOON, async || {
            let percent = self.percent(file).await?;
            Ok(percent.filter(|percent| (1.0..=95.0).contains(percent)).ok_or(percent))
        })
        .await
    }

    /// Fetches a file and saves it, and checks every byte.
    ///
    /// # Errors
    /// If it is never complete or is another one.
    pub async fn fetch(&self, sample: &Sample) -> Result<()> {
        self.press(&sample.name, "Download").await?;
        self.save(sample).await
    }

    /// Saves a file once it is complete, and checks every byte.
    ///
    /// # Errors
    /// If it is never complete or is another one.
    pub async fn save(&self, sample: &Sample) -> Result<()> {
        self.wait_for_button(&sample.name, "Save").await?;
        self.browser.expect_no_download()?;
        self.look().await?;
        self.press(&sample.name, "Save").await?;
        let saved = eventually(&format!("{} to be saved", sample.name), TRANSFER, async || {
            self.browser.take_download(&sample.name, sample.bytes.len())
        })
        .await?;
        ensure!(saved == sample.bytes, "{} was saved with other bytes", sample.name);
        Ok(())
    }

    /// A picture of the tab, as the bytes of a PNG file.
    ///
    /// # Errors
    /// If the browser is gone.
    pub async fn screenshot(&self) -> Result<Vec<u8>> {
        self.look().await?;
        let (driver, _turn) = self.browser.turn_to(&self.window).await?;
        Ok(driver.screenshot_as_png().await?)
    }

    async fn find_button_within(&self, file: &str, button: &str, limit: Duration) -> Result<WebElement> {
        let script = format!("{SCRIPT}return buttonOf(arguments[0], arguments[1]);");
        eventually(&format!("a button {button:?} of {file:?}"), limit, async || {
            let found = {
                let (driver, _turn) = self.browser.turn_to(&self.window).await?;
                driver.execute(script.as_str(), vec![json!(file), json!(button)]).await?
            };
            if found.json().is_null() { Ok(Err(self.items(file).await?)) } else { Ok(Ok(found.element()?)) }
        })
        .await
    }
}
