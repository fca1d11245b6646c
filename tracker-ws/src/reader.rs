//! WebSocket messages on the way in (RFC 6455 section 5).
//!
//! The counterpart of [`crate::wire`]. A large frame is read straight into a buffer of its own size, from which it is
//! passed on without being copied; a connection from which nothing comes has no buffer at all.

use crate::{rate::Came, space::Space};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::AsyncRead,
    time::{Sleep, sleep},
};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::io::poll_read_buf;

/// The room for a read of which nothing is known: a hundred small messages, or the beginning of a large one.
const READ_BYTES: usize = 16 << 10;
/// A frame from this size on gets a buffer that is its own for the most part. What is smaller is copied when it is
/// kept.
const LARGE_FRAME: usize = 4 << 10;
/// The bytes that the headers of any message's fragments may have; a large message may have more, an eighth of its limit,
/// as fragments of 64 bytes have. Without a limit, empty fragments would be work without end.
const HEADERS: usize = 64 << 10;
/// The time between two looks for memory where there is none.
const RETRY: Duration = Duration::from_millis(20);
/// The most payload of a control frame (section 5.5).
const MAX_CONTROL: usize = 125;

/// A message from a client, or what else it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Incoming {
    Text(Utf8Bytes),
    Binary(Bytes),
    Ping(Bytes),
    Pong,
    /// The client closes, with this code if it gave one.
    Close(Option<u16>),
}

/// Why no more can be read of a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("a message is too large")]
    TooBig,
    #[error("the frames break the protocol: {0}")]
    Protocol(&'static str),
    #[error("a text is no UTF-8")]
    NoUtf8,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads the messages of one client.
#[derive(Debug)]
pub(crate) struct Reader<S> {
    stream: S,
    max_message: usize,
    /// The memory that the message takes that is coming in.
    space: Space,
    /// When to look again whether there is memory.
    retry: Option<Pin<Box<Sleep>>>,
    /// What was read and not yet taken.
    buffer: BytesMut,
    /// The size that the buffer was made with; it shrinks by what is taken.
    allocated: usize,
    /// The size of the frame that comes in; 0 if its header is not there yet.
    incoming: usize,
    /// About the size of the frames that came last, if they were large.
    expected: usize,
    /// The message whose fragments come in.
    fragments: Option<(DataType, BytesMut)>,
    /// The bytes of the headers of those fragments.
    headers: usize,
    /// What was taken since this was last asked.
    taken: Came,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DataType {
    Text,
    Binary,
}

/// A frame's header, checked as far as it goes without knowing the frames before.
struct Header {
    fin: bool,
    opcode: Opcode,
    mask: [u8; 4],
    /// Its own size, and that of the payload.
    len: usize,
    payload: usize,
}

enum Opcode {
    Continuation,
    Data(DataType),
    Close,
    Ping,
    Pong,
}

impl<S: AsyncRead + Unpin> Reader<S> {
    /// Reads messages of at most `max_message` bytes from `stream`, after what was `begun` to be read of it. What is
    /// coming in takes its memory from `space`.
    pub(crate) fn new(stream: S, begun: &[u8], max_message: usize, space: Space) -> Self {
        Self {
            stream,
            max_message,
            space,
            retry: None,
            buffer: begun.into(),
            allocated: begun.len(),
            incoming: 0,
            expected: 0,
            fragments: None,
            headers: 0,
            taken: Came::default(),
        }
    }

    /// Waits for the next message; `None` at the end of the stream. Nothing is lost if it is no longer waited for.
    ///
    /// # Errors
    /// If no more can be read. Control frames count as messages here, and may come amid fragments.
    pub(crate) async fn next(&mut self) -> Result<Option<Incoming>, ReadError> {
        loop {
            if let Some(incoming) = self.take()? {
                return Ok(Some(incoming));
            }
            let read = poll_fn(|cx| self.poll_read(cx)).await?;
            if read == 0 {
                return Ok(None);
            }
        }
    }

    /// Whether the client began a message that did not end yet.
    pub(crate) const fn is_amid_message(&self) -> bool {
        self.incoming > 0 || self.fragments.is_some()
    }

    /// Whether nothing is read because there is no memory for it.
    pub(crate) const fn is_held(&self) -> bool {
        self.retry.is_some()
    }

    /// What came since the last call.
    pub(crate) fn taken(&mut self) -> Came {
        std::mem::take(&mut self.taken)
    }

    /// What is left of the stream.
    pub(crate) fn into_inner(self) -> S {
        self.stream
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let held = self.buffer.len();
        let message = self.incoming + self.fragments.as_ref().map_or(0, |(_, before)| before.len());
        // What is smaller is counted with the connections.
        while message > READ_BYTES && !self.space.take(message) {
            let retry = self.retry.get_or_insert_with(|| Box::pin(sleep(RETRY)));
            ready!(retry.as_mut().poll(cx));
            self.retry = None;
        }
        let room = match self.incoming {
            0 => READ_BYTES.max(self.expected),
            // No more than that, so that the next frame begins in a buffer of its own.
            incoming => incoming - held,
        };
        if self.buffer.capacity() - held < room {
            let mut larger = BytesMut::with_capacity(held + room);
            larger.extend_from_slice(&self.buffer);
            self.buffer = larger;
            self.allocated = held + room;
        }
        let read = poll_read_buf(Pin::new(&mut self.stream), cx, &mut (&mut self.buffer).limit(room));
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        read
    }

    /// Takes the next message out of the buffer, if all of it is there.
    fn take(&mut self) -> Result<Option<Incoming>, ReadError> {
        while let Some(header) = Header::read(&self.buffer)? {
            let whole = header.len + self.check(&header)?;
            if self.buffer.len() < whole {
                self.incoming = whole;
                return Ok(None);
            }
            self.incoming = 0;
            self.taken.frames += 1;
            self.taken.bytes += whole;
            self.expected = if whole >= LARGE_FRAME { whole } else { self.expected / 2 };
            self.buffer.advance(header.len);
            let mut payload = self.buffer.split_to(header.payload);
            unmask(&mut payload, header.mask);
            if let Some(incoming) = self.incoming(&header, payload)? {
                if self.fragments.is_none() {
                    self.space.give_back();
                }
                return Ok(Some(incoming));
            }
            self.headers += header.len;
            if self.headers > HEADERS + self.max_message / 8 {
                return Err(ReadError::TooBig);
            }
        }
        Ok(None)
    }

    /// Whether a frame may come now, before all of it is there; gives the size of its payload.
    fn check(&self, header: &Header) -> Result<usize, ReadError> {
        let before = self.fragments.as_ref().map(|(_, before)| before.len());
        let before = match (&header.opcode, before) {
            (Opcode::Data(_), Some(_)) => return Err(ReadError::Protocol("a message began inside another")),
            (Opcode::Continuation, None) => return Err(ReadError::Protocol("a message goes on that never began")),
            (Opcode::Continuation, Some(before)) => before,
            (Opcode::Data(_) | Opcode::Close | Opcode::Ping | Opcode::Pong, _) => 0,
        };
        if header.payload > self.max_message - before { Err(ReadError::TooBig) } else { Ok(header.payload) }
    }

    fn incoming(&mut self, header: &Header, payload: BytesMut) -> Result<Option<Incoming>, ReadError> {
        let (data_type, payload) = match (&header.opcode, self.fragments.take()) {
            (Opcode::Data(data_type), None) if header.fin => (*data_type, self.exact(payload)),
            (Opcode::Data(data_type), _) => {
                // Not the frame itself, which may be a small part of its buffer.
                self.fragments = Some((*data_type, payload[..].into()));
                self.headers = 0;
                return Ok(None);
            }
            (Opcode::Continuation, Some((data_type, mut message))) => {
                message.extend_from_slice(&payload);
                if !header.fin {
                    self.fragments = Some((data_type, message));
                    return Ok(None);
                }
                (data_type, message.freeze())
            }
            (Opcode::Continuation, None) => return Ok(None),
            (control @ (Opcode::Close | Opcode::Ping | Opcode::Pong), fragments) => {
                self.fragments = fragments;
                return match control {
                    Opcode::Ping => Ok(Some(Incoming::Ping(payload.freeze()))),
                    Opcode::Close => Ok(Some(Incoming::Close(close_code(&payload)?))),
                    Opcode::Continuation | Opcode::Data(_) | Opcode::Pong => Ok(Some(Incoming::Pong)),
                };
            }
        };
        Ok(Some(match data_type {
            DataType::Text => Incoming::Text(payload.try_into().map_err(|_| ReadError::NoUtf8)?),
            DataType::Binary => Incoming::Binary(payload),
        }))
    }

    /// A payload that keeps no buffer of more than about twice its size, unless it is small anyway.
    fn exact(&self, payload: BytesMut) -> Bytes {
        if payload.len() < LARGE_FRAME || payload.len() >= self.allocated / 2 {
            payload.freeze()
        } else {
            Bytes::copy_from_slice(&payload)
        }
    }
}

impl Header {
    /// Reads a header from the beginning of `bytes`; `None` if it is not whole yet.
    fn read(bytes: &[u8]) -> Result<Option<Self>, ReadError> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        if first & 0b0111_0000 != 0 {
            return Err(ReadError::Protocol("no extension was agreed on"));
        }
        if second & 0x80 == 0 {
            return Err(ReadError::Protocol("a client must mask its frames"));
        }
        let fin = first & 0x80 != 0;
        let opcode = match first & 0x0f {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Data(DataType::Text),
            0x2 => Opcode::Data(DataType::Binary),
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xa => Opcode::Pong,
            _ => return Err(ReadError::Protocol("there is no such frame")),
        };
        let short = usize::from(second & 0x7f);
        let is_control = matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong);
        if is_control && (short > MAX_CONTROL || !fin) {
            return Err(ReadError::Protocol("a control frame is short and in one piece"));
        }
        let (payload, mask) = match (short, rest) {
            (126, [a, b, mask @ ..]) => (u16::from_be_bytes([*a, *b]).into(), mask),
            (127, [a, b, c, d, e, f, g, h, mask @ ..]) => {
                let len = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
                // A length that does not fit is above every limit.
                (usize::try_from(len).unwrap_or(usize::MAX), mask)
            }
            (126 | 127, _) => return Ok(None),
            (short, mask) => (short, mask),
        };
        let Some((mask, after)) = mask.split_first_chunk() else { return Ok(None) };
        Ok(Some(Self { fin, opcode, mask: *mask, len: bytes.len() - after.len(), payload }))
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let (words, rest) = payload.as_chunks_mut::<4>();
    let mask_word = u32::from_ne_bytes(mask);
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ mask_word).to_ne_bytes();
    }
    rest.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
}

/// The code in a close frame (sections 5.5.1 and 7.4).
fn close_code(payload: &[u8]) -> Result<Option<u16>, ReadError> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        [_] => return Err(ReadError::Protocol("half a close code")),
    };
    // 1004 to 1006 and 1015 are never sent; 1012 to 1014 were registered later.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(ReadError::Protocol("there is no such close code"));
    }
    std::str::from_utf8(reason).map_err(|_| ReadError::NoUtf8)?;
    Ok(Some(code))
}

#[cfg(test)]
mod tests;
