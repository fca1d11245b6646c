//! The channel of a direct line, and what waits to be sent by it.
//!
//! It is as with the tracker's socket, but the browser tells when it has room again, and a binary frame goes in pieces.

use super::socket::Waiting;
use crate::client::Receipt;
use bytes::Bytes;
use js_sys::{ArrayBuffer, Uint8Array};
use protocol::{Assembly, Frame, cut};
use wasm_bindgen::{JsCast as _, closure::Closure};
use web_sys::{MessageEvent, RtcDataChannel, RtcDataChannelState, RtcDataChannelType};

/// Bytes that wait for a peer which takes nothing: what is said at once is small, so that it is given up long before.
const MOST_UNSENT: u32 = 4 << 20;

/// What happens to a channel.
pub(super) enum ChannelEvent {
    Opened,
    Text(String),
    Binary(Bytes),
    /// What it had to send has become less.
    Room,
    Closed,
}

pub(super) struct Channel {
    channel: RtcDataChannel,
    waiting: Waiting,
    /// Where a piece is put together; kept, so that it is allocated once.
    piece: Vec<u8>,
    /// One closure of each kind for the channel's whole life.
    _on_open: Closure<dyn FnMut()>,
    _on_room: Closure<dyn FnMut()>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_close: Closure<dyn FnMut()>,
}

impl Channel {
    /// Takes a channel that the page made; what happens comes through `handle`, but if it is open already.
    pub(super) fn new(channel: RtcDataChannel, handle: impl Fn(ChannelEvent) + Clone + 'static) -> Self {
        channel.set_binary_type(RtcDataChannelType::Arraybuffer);
        let telling = |event: fn() -> ChannelEvent| {
            let handle = handle.clone();
            Closure::<dyn FnMut()>::new(move || handle(event()))
        };
        let on_open = telling(|| ChannelEvent::Opened);
        let on_room = telling(|| ChannelEvent::Room);
        let on_close = telling(|| ChannelEvent::Closed);
        let mut assembly = Assembly::default();
        let on_message = Closure::new(move |event: MessageEvent| {
            let data = event.data();
            if let Some(text) = data.as_string() {
                return handle(ChannelEvent::Text(text));
            }
            let Ok(buffer) = data.dyn_into::<ArrayBuffer>() else { return handle(ChannelEvent::Closed) };
            match assembly.take(&Uint8Array::new(&buffer).to_vec()) {
                Ok(Some(frame)) => handle(ChannelEvent::Binary(frame)),
                Ok(None) => {}
                Err(_) => handle(ChannelEvent::Closed),
            }
        });
        channel.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        channel.set_onbufferedamountlow(Some(on_room.as_ref().unchecked_ref()));
        channel.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        channel.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        Self {
            channel,
            waiting: Waiting::default(),
            piece: Vec::new(),
            _on_open: on_open,
            _on_room: on_room,
            _on_message: on_message,
            _on_close: on_close,
        }
    }

    /// Whether it is open.
    pub(super) fn is_open(&self) -> bool {
        self.channel.ready_state() == RtcDataChannelState::Open
    }

    /// Sends a frame: at once, or, if it comes with a receipt, when [`Channel::send_waiting`] finds room. `false` if the channel
    /// is of no use any more.
    pub(super) fn send(&mut self, frame: Frame, receipt: Option<Receipt>) -> bool {
        match receipt {
            Some(receipt) => {
                self.waiting.push_back((frame, receipt));
                true
            }
            None => self.channel.buffered_amount() < MOST_UNSENT && self.send_now(&frame),
        }
    }

    /// Sends the next frame with block data if the browser holds less than `target` bytes.
    pub(super) fn send_waiting(&mut self, target: u64) -> Option<Receipt> {
        if u64::from(self.channel.buffered_amount()) >= target {
            // It holds more than that, so it will tell.
            self.channel.set_buffered_amount_low_threshold((target / 2).try_into().unwrap_or(u32::MAX));
            return None;
        }
        let (frame, receipt) = self.waiting.pop_front()?;
        self.send_now(&frame);
        Some(receipt)
    }

    /// Whether frames wait for room.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn send_now(&mut self, frame: &Frame) -> bool {
        // It throws when it is not open, of which `close` tells, or when it holds too much.
        match frame {
            Frame::Text(text) => self.channel.send_with_str(text).is_ok(),
            Frame::Binary { head, payload } => {
                let (channel, mut is_sent) = (&self.channel, true);
                cut(head, payload, &mut self.piece, |piece| is_sent &= channel.send_with_u8_array(piece).is_ok());
                is_sent
            }
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.channel.set_onopen(None);
        self.channel.set_onbufferedamountlow(None);
        self.channel.set_onmessage(None);
        self.channel.set_onclose(None);
        self.channel.close();
    }
}
