//! One browser.

use super::{Driver, Engine, Tab};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use thirtyfour::{
    BrowserLogEntry, Capabilities, ChromiumLikeCapabilities as _, DesiredCapabilities, LoggingPrefsLogLevel, WebDriver,
    WindowHandle,
};
use tokio::sync::{Mutex, MutexGuard};

/// No first-run pages, nothing that goes to the network by itself, and no sandbox, which root may not have.
const FLAGS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
];
/// A busy machine may take a minute over one command, and some wait for a whole file.
const COMMAND_LIMIT: Duration = Duration::from_secs(300);

/// How a browser differs from the usual one.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The language that the person has chosen in it.
    pub language: &'a str,
    /// A host name that leads to 127.0.0.1. Pages of such a host are not in a secure context.
    pub host: Option<&'a str>,
    /// The window's width and height in pixels.
    pub window: (u32, u32),
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { language: "en-US", host: None, window: (1280, 960) }
    }
}

/// A browser with a fresh profile and a download folder of its own.
#[derive(Debug)]
pub struct Browser {
    driver: WebDriver,
    /// The window that commands go to. Held while one is under way.
    current: Mutex<WindowHandle>,
    /// The window that every session begins with, until a tab takes it.
    unused: Mutex<Option<WindowHandle>>,
    downloads: TempDir,
    // Last: a browser must be closed before its driver ends.
    process: Arc<Driver>,
}

impl Browser {
    /// Starts a browser.
    ///
    /// # Errors
    /// If it is not there or does not start.
    pub async fn start(process: Arc<Driver>, options: Options<'_>) -> Result<Arc<Self>> {
        let downloads = tempfile::tempdir()?;
        let capabilities = match process.engine() {
            Engine::Chromium => chromium(&options, downloads.path())?,
            Engine::Firefox => firefox(&options, downloads.path())?,
            Engine::WebKit => webkit()?,
        };
        let driver = WebDriver::builder(process.url(), capabilities)
            .request_timeout(COMMAND_LIMIT)
            .await
            .with_context(|| format!("{:?} does not start", process.engine()))?;
        let window = driver.window().await?;
        Ok(Arc::new(Self {
            driver,
            current: Mutex::new(window.clone()),
            unused: Mutex::new(Some(window)),
            downloads,
            process,
        }))
    }

    /// Opens a tab on an address.
    ///
    /// # Errors
    /// If the page cannot be loaded.
    pub async fn open(self: &Arc<Self>, url: &str) -> Result<Tab> {
        let window = match self.unused.lock().await.take() {
            Some(window) => window,
            None => self.driver.new_tab().await?,
        };
        let tab = Tab::new(Arc::clone(self), window);
        tab.goto(url).await?;
        Ok(tab)
    }

    /// Every open tab.
    ///
    /// # Errors
    /// If the browser is gone.
    pub async fn tabs(self: &Arc<Self>) -> Result<Vec<Tab>> {
        Ok(self.driver.windows().await?.into_iter().map(|window| Tab::new(Arc::clone(self), window)).collect())
    }

    /// What the pages wrote to the console since this was last asked.
    ///
    /// # Errors
    /// If the browser is gone.
    pub async fn console(&self) -> Result<Vec<BrowserLogEntry>> {
        // Only Chromium tells.
        if self.engine() == Engine::Chromium { Ok(self.driver.browser_log().await?) } else { Ok(Vec::new()) }
    }

    /// What it is.
    pub fn engine(&self) -> Engine {
        self.process.engine()
    }

    /// Closes the browser and all its tabs.
    ///
    /// # Errors
    /// If it was gone already.
    pub async fn quit(&self) -> Result<()> {
        Ok(self.driver.clone().quit().await?)
    }

    /// Directs what follows at a window, as long as the guard lives.
    pub(super) async fn turn_to(&self, window: &WindowHandle) -> Result<(&WebDriver, MutexGuard<'_, WindowHandle>)> {
        let mut current = self.current.lock().await;
        if *current != *window {
            self.driver.switch_to_window(window.clone()).await?;
            *current = window.clone();
        }
        Ok((&self.driver, current))
    }

    /// A command of Chromium's own protocol, to the window turned to.
    pub(super) async fn devtools(&self, method: &str, parameters: Value) -> Result<Value> {
        Ok(self.driver.cdp().send_raw(method, parameters).await?)
    }

    /// Closes a window and turns to another.
    pub(super) async fn close_window(&self, window: &WindowHandle) -> Result<()> {
        let mut current = self.current.lock().await;
        let windows = self.driver.windows().await?;
        let other = windows.iter().find(|other| *other != window);
        if other.is_none() {
            // Closing the last window would end the browser.
            *self.unused.lock().await = Some(self.driver.new_tab().await?);
        }
        self.driver.switch_to_window(window.clone()).await?;
        self.driver.close_window().await?;
        let next = self.driver.windows().await?.into_iter().next().context("the browser has no window left")?;
        self.driver.switch_to_window(next.clone()).await?;
        *current = next;
        Ok(())
    }

    /// The bytes of a finished download of that name and size, which is then removed; otherwise what is there.
    pub(super) fn take_download(&self, name: &str, size: usize) -> Result<Result<Vec<u8>, String>> {
        let path = self.downloads.path().join(name);
        let files = files(self.downloads.path())?;
        // Chromium writes beside the final name, which stays empty meanwhile, and renames at the end.
        if files.len() != 1 || files[0].0 != path || files[0].1 < size as u64 {
            return Ok(Err(format!("{files:?}")));
        }
        let bytes = fs::read(&path)?;
        fs::remove_file(&path)?;
        Ok(Ok(bytes))
    }

    /// Fails if something lies in the download folder.
    pub(super) fn expect_no_download(&self) -> Result<()> {
        let files = files(self.downloads.path())?;
        ensure!(files.is_empty(), "the download folder already holds {files:?}");
        Ok(())
    }
}

fn chromium(options: &Options<'_>, downloads: &Path) -> Result<Capabilities> {
    let mut capabilities = DesiredCapabilities::chrome();
    for flag in FLAGS {
        capabilities.add_arg(flag)?;
    }
    let (width, height) = options.window;
    capabilities.add_arg(&format!("--window-size={width},{height}"))?;
    if let Some(host) = options.host {
        capabilities.add_arg(&format!("--host-resolver-rules=MAP {host} 127.0.0.1"))?;
    }
    let preferences = json!({
        "download.default_directory": downloads,
        "download.prompt_for_download": false,
        "intl.accept_languages": options.language,
    });
    capabilities.add_experimental_option("prefs", preferences)?;
    capabilities.set_browser_log_level(LoggingPrefsLogLevel::All)?;
    Ok(capabilities.into())
}

fn firefox(options: &Options<'_>, downloads: &Path) -> Result<Capabilities> {
    let preferences = json!({
        "browser.download.dir": downloads,
        // Into that folder.
        "browser.download.folderList": 2,
        "intl.accept_languages": options.language,
    });
    let mut capabilities = Capabilities::new();
    capabilities.set("browserName", "firefox")?;
    capabilities.set("moz:firefoxOptions", json!({ "args": ["-headless"], "prefs": preferences }))?;
    Ok(capabilities)
}

fn webkit() -> Result<Capabilities> {
    let mut capabilities = Capabilities::new();
    let browser = find_mini_browser().context("WebKitGTK has no MiniBrowser; `cargo xtask test` installs it")?;
    capabilities.set("webkitgtk:browserOptions", json!({ "binary": browser, "args": ["--automation"] }))?;
    Ok(capabilities)
}

/// It lies beside the library, in a folder of the machine's architecture.
fn find_mini_browser() -> Option<PathBuf> {
    let libraries = fs::read_dir("/usr/lib").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    libraries.map(|folder| folder.join("webkit2gtk-4.1/MiniBrowser")).find(|program| program.is_file())
}

fn files(folder: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // A file may be renamed between the two looks.
        if let Ok(about) = path.metadata() {
            files.push((path, about.len()));
        }
    }
    Ok(files)
}
