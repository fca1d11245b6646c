//! The browser shell: a dedicated worker that moves bytes between the core, the WebSocket, the storage and the page.
//! It never decides anything about the swarm.
//!
//! | file | what it owns |
//! |---|---|
//! | `worker` | the event loop: every event becomes one input, then the outputs are drained |
//! | `socket` | the WebSocket and what waits to be sent |
//! | `channel` | the same for a direct line |
//! | `disk` | the tab's folder in the origin private file system |
//! | `ahead` | reading the person's own `File`, ahead of what is asked for |
//! | `store` | one file's bytes: the person's own `File`, a file on disk, or memory |
//! | `hashing` | making the manifest of a chosen file |
//! | `port` | messages from and to the page |

mod ahead;
mod channel;
mod disk;
mod hashing;
mod port;
mod socket;
mod store;
#[cfg(test)]
mod tests;
mod worker;

pub use worker::start;

use crate::swarm::StorageError;
use wasm_bindgen::{JsCast as _, JsValue};

/// What an exception that the storage threw means.
fn storage_error(error: &JsValue) -> StorageError {
    match exception_name(error).as_str() {
        "QuotaExceededError" => StorageError::Full,
        _ => StorageError::Failed { detail: describe(error) },
    }
}

fn exception_name(error: &JsValue) -> String {
    error.dyn_ref::<js_sys::Error>().map_or_else(String::new, |error| error.name().into())
}

fn describe(error: &JsValue) -> String {
    error.dyn_ref::<js_sys::Error>().map_or_else(|| format!("{error:?}"), |error| error.to_string().into())
}
