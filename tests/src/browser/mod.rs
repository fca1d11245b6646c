//! Real browser tabs, driven through WebDriver as a person would use them.
//!
//! A [`Lab`] is one test's world: a real tracker that serves the built page, and any number of [`Browser`]s, each a
//! fresh Chromium without history. A [`Tab`] is looked at through what it shows (list items, buttons, progress bars)
//! and worked with by choosing files and pressing buttons. Nothing reaches into the page's own code.

mod driver;
mod lab;
mod session;
mod tab;

pub use driver::{Driver, Engine};
pub use lab::{Lab, Sample, in_lab, in_network, page_dir, project_dir};
pub use session::{Browser, Options};
pub use tab::{Item, Tab};
