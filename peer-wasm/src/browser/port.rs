//! Messages from and to the page: a JavaScript array of the JSON and what some carry, a `File` or a channel.

use crate::page::{Command, Update};
use js_sys::Array;
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::{DedicatedWorkerGlobalScope, File};

/// The global scope of this worker.
pub(super) fn scope() -> DedicatedWorkerGlobalScope {
    js_sys::global().unchecked_into()
}

/// Tells the page something.
pub(super) fn post(update: &Update, attachment: Option<&File>) {
    // Updates have string keys and no fallible serializers.
    let json = serde_json::to_string(update).expect("updates always serialize");
    let message = Array::of2(&JsValue::from_str(&json), &attachment.into());
    if let Err(error) = scope().post_message(&message) {
        web_sys::console::error_2(&"the page cannot be told:".into(), &error);
    }
}

/// Reads what the page sent, and what is attached to it.
pub(super) fn read(data: &JsValue) -> Option<(Command, JsValue)> {
    let message = data.dyn_ref::<Array>()?;
    let command = serde_json::from_str(&message.get(0).as_string()?).ok()?;
    Some((command, message.get(1)))
}
