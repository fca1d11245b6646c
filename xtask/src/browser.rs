//! Browsers and their drivers, which only tests and measurements need.

use crate::toolbox::{Toolbox, run};
use anyhow::{Context as _, Result, bail};
use std::{env, path::PathBuf};

/// The names under which systems install the browser; its driver looks for the same ones.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const DRIVER: &str = "chromedriver";
/// The programs of the other browsers, and what Debian calls the package of each.
const OTHERS: [(&str, &str); 4] =
    [("firefox", "firefox-esr"), ("WebKitWebDriver", "webkit2gtk-driver"), ("xvfb-run", "xvfb"), ("xauth", "xauth")];
const GECKODRIVER_VERSION: &str = "0.37.1";

/// Sees that both are there, installing them where apt can, and returns the driver's place.
pub(crate) fn prepare(toolbox: &Toolbox) -> Result<PathBuf> {
    if let Some(driver) = find(toolbox) {
        return Ok(driver);
    }
    install(
        toolbox,
        &["chromium", "chromium-driver"],
        "the browser tests need Chromium and chromedriver of the same version on PATH, and they cannot be installed from \
         here; on Debian: `sudo apt-get install chromium chromium-driver`; elsewhere: Chrome or Chromium, and its driver \
         from https://googlechromelabs.github.io/chrome-for-testing/",
    )?;
    find(toolbox).context("chromium and chromium-driver were installed, but are not on PATH")
}

/// Sees that the router of the tests' networks is there, where apt can install it; without it that test says so.
pub(crate) fn prepare_network(toolbox: &Toolbox) -> Result<()> {
    if cfg!(target_os = "linux") && toolbox.find("nft").is_none() && apt(toolbox).is_some() {
        install(toolbox, &["nftables"], "")?;
    }
    Ok(())
}

/// Sees that the browsers are there that meet Chromium in the tests. They do so on hosts that only Linux can make, so that
/// elsewhere none is needed.
pub(crate) fn prepare_others(toolbox: &Toolbox) -> Result<()> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    if OTHERS.iter().any(|(program, _)| toolbox.find(program).is_none()) {
        let packages = OTHERS.map(|(_, package)| package);
        install(
            toolbox,
            &packages,
            "the browser tests need Firefox, WebKitWebDriver and xvfb-run on PATH, and they cannot be installed from here; on \
             Debian: `sudo apt-get install firefox-esr webkit2gtk-driver xvfb xauth`; or leave them out: `cargo xtask test` \
             with the names of the other steps",
        )?;
    }
    toolbox.prepare_tool("geckodriver", &["geckodriver"], GECKODRIVER_VERSION)
}

/// Installs packages of the system, or tells what to do where that cannot be done.
fn install(toolbox: &Toolbox, packages: &[&str], by_hand: &str) -> Result<()> {
    let Some(apt) = apt(toolbox) else { bail!("{by_hand}") };
    println!("==> installing {}", packages.join(", "));
    for args in [&["update"][..], &[&["install", "--yes", "--no-install-recommends"], packages].concat()] {
        let mut command = toolbox.command(apt[0]);
        run(command.args(&apt[1..]).args(args).env("DEBIAN_FRONTEND", "noninteractive"))
            .with_context(|| format!("install {} by hand, then try again", packages.join(", ")))?;
    }
    Ok(())
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
