//! The WebSocket and what waits to be sent on it.
//!
//! Small messages go out at once. Frames with block data wait until the browser has passed on most of what it was
//! given, because it queues without bound and in order: a `have` behind 50 MB of blocks would come too late.

use crate::{client::Receipt, page::Problem};
use bytes::Bytes;
use js_sys::{ArrayBuffer, Uint8Array};
use protocol::Frame;
use std::collections::VecDeque;
use wasm_bindgen::{JsCast as _, closure::Closure};
use web_sys::{BinaryType, CloseEvent, MessageEvent, WebSocket};

/// What happens to a socket.
pub(super) enum SocketEvent {
    Opened,
    Text(String),
    Binary(Bytes),
    Closed(u16),
}

/// Frames with block data that wait for room.
pub(super) type Waiting = VecDeque<(Frame, Receipt)>;

pub(super) struct Socket {
    socket: WebSocket,
    waiting: Waiting,
    /// Where a binary frame is put together; kept, so that it is allocated once.
    frame: Vec<u8>,
    /// One closure of each kind for the socket's whole life.
    _on_open: Closure<dyn FnMut()>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_close: Closure<dyn FnMut(CloseEvent)>,
}

impl Socket {
    /// Begins to connect; what happens comes through `handle`.
    ///
    /// # Errors
    /// If `url` is no WebSocket address.
    pub(super) fn open(url: &str, handle: impl Fn(SocketEvent) + Clone + 'static) -> Result<Self, Problem> {
        let socket = WebSocket::new(url).map_err(|_| Problem::BadAddress)?;
        socket.set_binary_type(BinaryType::Arraybuffer);
        let on_open = Closure::new({
            let handle = handle.clone();
            move || handle(SocketEvent::Opened)
        });
        let on_message = Closure::new({
            let handle = handle.clone();
            move |event: MessageEvent| match event.data().dyn_into::<ArrayBuffer>() {
                Ok(buffer) => handle(SocketEvent::Binary(Uint8Array::new(&buffer).to_vec().into())),
                Err(text) => handle(SocketEvent::Text(text.as_string().unwrap_or_default())),
            }
        });
        let on_close = Closure::new(move |event: CloseEvent| handle(SocketEvent::Closed(event.code())));
        socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        // An `error` event says nothing and is always followed by `close`.
        socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        Ok(Self {
            socket,
            waiting: Waiting::new(),
            frame: Vec::new(),
            _on_open: on_open,
            _on_message: on_message,
            _on_close: on_close,
        })
    }

    /// Sends a frame: at once, or, if it comes with a receipt, when [`Socket::send_waiting`] finds room.
    pub(super) fn send(&mut self, frame: Frame, receipt: Option<Receipt>) {
        match receipt {
            Some(receipt) => self.waiting.push_back((frame, receipt)),
            None => self.send_now(&frame),
        }
    }

    /// Sends the next frame with block data if the browser holds less than `target` bytes.
    pub(super) fn send_waiting(&mut self, target: u64) -> Option<Receipt> {
        if u64::from(self.socket.buffered_amount()) >= target {
            return None;
        }
        let (frame, receipt) = self.waiting.pop_front()?;
        self.send_now(&frame);
        Some(receipt)
    }

    /// Whether frames wait for room, so that somebody has to look again.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn send_now(&mut self, frame: &Frame) {
        let sent = match frame {
            Frame::Text(text) => self.socket.send_with_str(text),
            Frame::Binary { head, payload } => {
                self.frame.clear();
                self.frame.extend_from_slice(head);
                self.frame.extend_from_slice(payload);
                self.socket.send_with_u8_array(&self.frame)
            }
        };
        // It throws only while connecting, when there is nothing to send yet.
        if let Err(error) = sent {
            web_sys::console::error_1(&error);
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        // It throws for reserved codes only, and none is given.
        _ = self.socket.close();
    }
}
