//! The MiniBit page: a Leptos application that shows what its worker reports and passes on what the person does.
//!
//! The page knows only the typed messages of [`peer_wasm::page`]; it never sees the tracker, a peer or a block. An
//! `Update` from the worker changes the `Model`, whose signals redraw what shows them, and a click becomes a
//! `Command` to the worker.
//!
//! What can be said without a browser (texts, numbers, links, the mosaic's layout) is plain Rust and is tested on
//! every target; all else is under `cfg(target_arch = "wasm32")`.

#![cfg_attr(
    not(target_arch = "wasm32"),
    allow(dead_code, reason = "the pure parts are used by the page, which only a browser has, and by tests")
)]

mod format;
mod locale;
mod mosaic;
mod peers;
mod problems;
mod route;
mod signals;
mod texts;

#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(target_arch = "wasm32")]
mod lines;
#[cfg(target_arch = "wasm32")]
mod model;
#[cfg(target_arch = "wasm32")]
mod view;
#[cfg(target_arch = "wasm32")]
mod worker;

#[cfg(target_arch = "wasm32")]
pub use view::start;
