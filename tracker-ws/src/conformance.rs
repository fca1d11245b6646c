//! A tracker that echoes, for a test of its WebSockets against RFC 6455.
//!
//! Only what is done with a client's text and binary messages is another; listening, the handshake, reading, control
//! frames, queueing, writing and closing are the tracker's own.

use crate::{
    Tracker,
    connection::Client,
    outbox::Pushed,
    wire::{Opcode, OutFrame},
};
use protocol::close;
use std::sync::Arc;
use tokio_tungstenite::tungstenite::Message;

/// Messages below this size go before larger ones, as small envelopes do.
const SMALL: usize = 4 << 10;

impl Tracker {
    /// Has each message sent back to its sender.
    #[must_use]
    pub fn echoing(mut self) -> Self {
        Arc::get_mut(&mut self.hub).expect("nobody shares the hub before it runs").handle_with(send_back);
        self
    }
}

fn send_back(client: &mut Client<'_>, message: Message) -> Result<(), u16> {
    let (opcode, payload) = match message {
        Message::Text(text) => (Opcode::Text, text.into()),
        Message::Binary(data) => (Opcode::Binary, data),
        control @ (Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_)) => {
            return client.handle(control);
        }
    };
    let frame = OutFrame::new(opcode, &[], payload);
    let pushed = if frame.len() < SMALL { client.outbox.push_envelope(frame) } else { client.outbox.push_data(frame) };
    match pushed {
        Pushed::Accepted => Ok(()),
        Pushed::Busy => Err(close::SLOW_RECEIVER),
    }
}
