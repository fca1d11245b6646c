//! A tracker that echoes, for a test of its WebSockets against RFC 6455.
//!
//! Only what is done with a client's text and binary messages is another; listening, the handshake, reading, control
//! frames, queueing, writing and closing are the tracker's own.

use crate::{
    Tracker,
    connection::Client,
    outbox::Pushed,
    rate::Handled,
    reader::Incoming,
    wire::{Opcode, OutFrame},
};
use bytes::Bytes;
use protocol::{PeerId, close};
use std::sync::Arc;

/// All messages have one source.
const NOBODY: PeerId = PeerId::from_bytes([0; 8]);
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

fn send_back(client: &mut Client<'_>, message: Incoming) -> Result<Handled, u16> {
    let (opcode, payload) = match message {
        Incoming::Text(text) => (Opcode::Text, Bytes::from(text)),
        Incoming::Binary(data) => (Opcode::Binary, data),
        control @ (Incoming::Ping(_) | Incoming::Pong | Incoming::Close(_)) => {
            return client.handle(control);
        }
    };
    let frame = OutFrame::new(opcode, &[], payload);
    let pushed = if frame.len() < SMALL {
        client.outbox.push_envelope(NOBODY, frame)
    } else {
        client.outbox.push_data(NOBODY, frame)
    };
    match pushed {
        Pushed::Accepted | Pushed::Gone => Ok(Handled::Relayed),
        Pushed::Busy => Err(close::SLOW_RECEIVER),
    }
}
