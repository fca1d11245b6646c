//! Chromium and its driver, which only tests and measurements need.

use crate::toolbox::{Toolbox, run};
use anyhow::{Context as _, Result, bail};
use std::{env, path::PathBuf};

/// The names under which systems install the browser; its driver looks for the same ones.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const DRIVER: &str = "chromedriver";

/// Sees that both are there, installing them where apt can, and returns the driver's place.
pub(crate) fn prepare(toolbox: &Toolbox) -> Result<PathBuf> {
    if let Some(driver) = find(toolbox) {
        return Ok(driver);
    }
    let Some(apt) = apt(toolbox) else {
        bail!(
            "the browser tests need Chromium and chromedriver of the same version on PATH, and they cannot be installed \
             from here; on Debian: `sudo apt-get install chromium chromium-driver`; elsewhere: Chrome or Chromium, and \
             its driver from https://googlechromelabs.github.io/chrome-for-testing/"
        )
    };
    println!("==> installing Chromium and its driver");
    for args in [&["update"][..], &["install", "--yes", "--no-install-recommends", "chromium", "chromium-driver"]] {
        let mut command = toolbox.command(apt[0]);
        run(command.args(&apt[1..]).args(args).env("DEBIAN_FRONTEND", "noninteractive"))
            .context("install Chromium and chromedriver by hand, then try again")?;
    }
    find(toolbox).context("chromium and chromium-driver were installed, but are not on PATH")
}

/// The driver, if both are there.
fn find(toolbox: &Toolbox) -> Option<PathBuf> {
    BROWSERS.iter().find_map(|browser| toolbox.find(browser))?;
    // The variable is also what wasm-bindgen's test runner reads.
    toolbox.find(env::var_os("CHROMEDRIVER").unwrap_or_else(|| DRIVER.into()))
}

/// How to call apt-get here without being asked for a password.
fn apt(toolbox: &Toolbox) -> Option<&'static [&'static str]> {
    toolbox.find("apt-get")?;
    if toolbox.output("id", &["-u"]).as_deref() == Some("0") {
        return Some(&["apt-get"]);
    }
    toolbox.output("sudo", &["-n", "true"])?;
    Some(&["sudo", "-n", "apt-get"])
}
