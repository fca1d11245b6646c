//! WebSocket frames on the way out (RFC 6455 section 5.2).
//!
//! Frames to a client are not masked, so that what was received can be sent again as it is: a frame is a few bytes of
//! its own and a shared slice of the frame it came in, written to the socket together. Only what is small is copied,
//! because a slice keeps all of what it was cut from.

use bytes::Bytes;
use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

/// The slices handed to the system in one call; Linux takes up to 1,024.
const MAX_SLICES: usize = 64;
/// About what a frame takes besides its bytes: its place in a queue, and what the allocator and the shared slices keep.
const FRAME_OVERHEAD: usize = 128;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Opcode {
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

/// A whole frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutFrame {
    /// The frame's header and the beginning of its payload.
    head: Bytes,
    /// The rest of the payload; may be a slice of a received frame.
    body: Bytes,
}

impl OutFrame {
    pub(crate) fn text(text: &str) -> Self {
        Self::new(Opcode::Text, &[text.as_bytes()], Bytes::new())
    }

    pub(crate) fn text_with_body(head: &str, body: Bytes) -> Self {
        Self::new(Opcode::Text, &[head.as_bytes()], body)
    }

    /// An envelope with data: the length of the envelope, the envelope, and the data.
    pub(crate) fn binary(envelope: &str, data: Bytes) -> Self {
        let len = (envelope.len() as u32).to_be_bytes();
        Self::new(Opcode::Binary, &[&len, envelope.as_bytes()], data)
    }

    pub(crate) fn ping() -> Self {
        Self::new(Opcode::Ping, &[], Bytes::new())
    }

    pub(crate) fn pong(payload: &[u8]) -> Self {
        Self::new(Opcode::Pong, &[payload], Bytes::new())
    }

    pub(crate) fn close(code: u16) -> Self {
        Self::new(Opcode::Close, &[&code.to_be_bytes()], Bytes::new())
    }

    /// The frame's size in bytes.
    pub(crate) const fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// About the memory that the frame takes while it waits.
    pub(crate) const fn cost(&self) -> usize {
        self.len() + FRAME_OVERHEAD
    }

    pub(crate) fn new(opcode: Opcode, begin: &[&[u8]], body: Bytes) -> Self {
        /// The frame is the last, and only, one of its message.
        const FIN: u8 = 0x80;
        let begin_len: usize = begin.iter().map(|part| part.len()).sum();
        let len = begin_len + body.len();
        let mut head = Vec::with_capacity(10 + begin_len);
        head.push(FIN | opcode as u8);
        match (u8::try_from(len), u16::try_from(len)) {
            (Ok(len), _) if len < 126 => head.push(len),
            (_, Ok(len)) => {
                head.push(126);
                head.extend(len.to_be_bytes());
            }
            _ => {
                head.push(127);
                head.extend((len as u64).to_be_bytes());
            }
        }
        begin.iter().for_each(|part| head.extend(*part));
        Self { head: head.into(), body }
    }
}

/// Frames that are written together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// No slice is empty.
    slices: VecDeque<Bytes>,
    len: usize,
}

impl Batch {
    pub(crate) fn push(&mut self, frame: OutFrame) {
        self.len += frame.len();
        self.slices.extend([frame.head, frame.body].into_iter().filter(|slice| !slice.is_empty()));
    }

    /// Bytes not written yet.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Writes everything, in as few calls as the socket allows.
    ///
    /// # Errors
    /// Those of the socket; `TimedOut` if it takes no byte for as long as `stall`.
    pub(crate) async fn write_to(&mut self, socket: &mut (impl AsyncWrite + Unpin), stall: Duration) -> io::Result<()> {
        while self.len > 0 {
            let written = timeout(stall, poll_fn(|cx| self.poll_write(socket, cx))).await??;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.advance(written);
        }
        self.slices.shrink_to(MAX_SLICES);
        // TLS keeps what did not fill the line; TCP has nothing to flush.
        timeout(stall, socket.flush()).await?
    }

    fn poll_write(&self, socket: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // Not in the future, where it would take a KiB of every connection.
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let count = self.slices.len().min(MAX_SLICES);
        for (slice, bytes) in slices.iter_mut().zip(&self.slices) {
            *slice = IoSlice::new(bytes);
        }
        Pin::new(socket).poll_write_vectored(cx, &slices[..count])
    }

    fn advance(&mut self, mut written: usize) {
        self.len -= written;
        while let Some(first) = self.slices.front_mut() {
            if written < first.len() {
                bytes::Buf::advance(first, written);
                return;
            }
            written -= first.len();
            self.slices.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt as _;
    use tokio_tungstenite::{
        WebSocketStream,
        tungstenite::{Message, protocol::Role},
    };

    #[tokio::test]
    async fn a_client_reads_what_was_written_whatever_its_length() {
        let mut batch = Batch::default();
        let lengths = [0, 1, 120, 121, 122, 125, 126, 127, 65_530, 65_531, 65_532, 65_535, 65_536, 1 << 20];
        for len in lengths {
            batch.push(OutFrame::binary("{}", vec![7; len].into()));
            batch.push(OutFrame::text_with_body("é", Bytes::from("x".repeat(len))));
            batch.push(OutFrame::ping());
        }
        batch.push(OutFrame::close(4_001));
        // The pipe is narrow, so that no write takes everything.
        let (mut socket, stream) = tokio::io::duplex(7_001);
        let writer = tokio::spawn(async move {
            batch.write_to(&mut socket, Duration::MAX).await.unwrap();
            assert_eq!(batch.len(), 0);
            socket
        });

        let mut client = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        for len in lengths {
            let binary = [&b"\0\0\0\x02{}"[..], &vec![7; len]].concat();
            assert_eq!(client.next().await.unwrap().unwrap(), Message::Binary(binary.into()));
            assert_eq!(client.next().await.unwrap().unwrap(), Message::text(format!("é{}", "x".repeat(len))));
            assert_eq!(client.next().await.unwrap().unwrap(), Message::Ping(Bytes::new()));
        }
        let Message::Close(Some(close)) = client.next().await.unwrap().unwrap() else { panic!("must be closed") };
        assert_eq!(u16::from(close.code), 4_001);
        drop(writer.await.unwrap());
    }
}
