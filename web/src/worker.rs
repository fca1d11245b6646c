//! The dedicated worker, as the page sees it: commands go in, updates come out.

use crate::problems::Notice;
use js_sys::Array;
use peer_wasm::page::{Command, Update};
use std::{cell::RefCell, rc::Rc};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{ErrorEvent, Event, MessageEvent, RtcDataChannel, Worker};

/// Where the build puts the worker's loader, beside the page.
const LOADER: &str = "worker_loader.js";

/// The running worker.
///
/// It hears nothing before its wasm has started, so commands wait for `Update::Ready`. Dropping the handle ends the
/// worker.
pub(crate) struct WorkerHandle {
    worker: Worker,
    waiting: Waiting,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_error: Closure<dyn FnMut(Event)>,
}

/// The messages for a worker that is not ready; `None` once it is.
struct Waiting(Rc<RefCell<Option<Vec<Array>>>>);

impl WorkerHandle {
    /// Starts the worker. `tell` hears every update after `Ready`, with what is attached to it, and a notice when the
    /// worker does not start or breaks down.
    pub(crate) fn start(tell: impl Fn(Result<(Update, JsValue), Notice>) + 'static) -> Result<Self, Notice> {
        let worker = Worker::new(LOADER).map_err(|error| Notice::WorkerFailed { detail: words_of(&error) })?;
        let waiting = Rc::new(RefCell::new(Some(Vec::new())));
        let tell = Rc::new(tell);

        let on_message = Closure::new({
            let (worker, waiting, tell) = (worker.clone(), waiting.clone(), tell.clone());
            move |event: MessageEvent| match read(&event.data()) {
                Ok((Update::Ready, _)) => {
                    for message in waiting.borrow_mut().take().into_iter().flatten() {
                        post(&worker, &message);
                    }
                }
                Ok(update) => tell(Ok(update)),
                Err(detail) => tell(Err(Notice::WorkerStopped { detail })),
            }
        });
        let on_error = Closure::new({
            let waiting = waiting.clone();
            move |event: Event| {
                // A loader that cannot be fetched gives a plain event without words.
                let detail = event
                    .dyn_ref::<ErrorEvent>()
                    .map(ErrorEvent::message)
                    .filter(|words| !words.is_empty())
                    .unwrap_or_else(|| LOADER.to_owned());
                let started = waiting.borrow().is_none();
                tell(Err(if started { Notice::WorkerStopped { detail } } else { Notice::WorkerFailed { detail } }));
            }
        });
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        Ok(Self { worker, waiting: Waiting(waiting), _on_message: on_message, _on_error: on_error })
    }

    /// Sends a command, with the file or the channel that belongs to it. A channel is of no use here any more.
    pub(crate) fn send(&self, command: &Command, attachment: &JsValue) {
        let json = match serde_json::to_string(command) {
            Ok(json) => json,
            Err(error) => {
                web_sys::console::error_1(&error.to_string().into());
                return;
            }
        };
        let message = Array::of2(&json.into(), attachment);
        match &mut *self.waiting.0.borrow_mut() {
            Some(waiting) => waiting.push(message),
            None => post(&self.worker, &message),
        }
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.worker.terminate();
    }
}

fn post(worker: &Worker, message: &Array) {
    let attachment = message.get(1);
    let posted = if attachment.is_instance_of::<RtcDataChannel>() {
        worker.post_message_with_transfer(message, &Array::of1(&attachment))
    } else {
        worker.post_message(message)
    };
    if let Err(error) = posted {
        web_sys::console::error_1(&error);
    }
}

fn read(data: &JsValue) -> Result<(Update, JsValue), String> {
    let message: &Array = data.dyn_ref().ok_or("a message that is no array")?;
    let json = message.get(0).as_string().ok_or("a message without text")?;
    let update = serde_json::from_str(&json).map_err(|error| error.to_string())?;
    Ok((update, message.get(1)))
}

/// What a thrown value says of itself.
fn words_of(error: &JsValue) -> String {
    error.dyn_ref::<js_sys::Error>().map_or_else(|| format!("{error:?}"), |error| error.message().into())
}
