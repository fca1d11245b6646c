//! A WebSocket client without a library (RFC 6455), for load and for mischief.
//!
//! It costs little, because a load generator shares the machine with what it loads: frames are written from slices
//! that are there already, their masking key is zero, so that masking changes no byte, and of a large frame only the
//! beginning is looked at. And it sends whatever it is told to, which no library does.

use anyhow::{Context as _, Result, bail, ensure};
use std::{
    io::IoSlice,
    net::{IpAddr, SocketAddr},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

/// The longest frame that is given whole; of a longer one only its beginning is.
pub const WHOLE: usize = 8 << 10;
/// How much of a longer frame is given.
const BEGINNING: usize = 256;
/// The longest header of a frame: two bytes, eight with the length, four with the key.
const MAX_HEADER: usize = 14;
/// The least buffer, in which a frame that is given whole has room.
const MIN_BUFFER: usize = WHOLE + MAX_HEADER;

/// What a frame holds, as its header says it.
pub mod opcode {
    /// The rest of a message that came in several frames.
    pub const CONTINUATION: u8 = 0x0;
    /// Text.
    pub const TEXT: u8 = 0x1;
    /// Bytes.
    pub const BINARY: u8 = 0x2;
    /// The end.
    pub const CLOSE: u8 = 0x8;
    /// A question whether the other is there.
    pub const PING: u8 = 0x9;
    /// The answer to it.
    pub const PONG: u8 = 0xa;
}

/// A frame that was received completely.
#[derive(Debug)]
pub struct Frame<'a> {
    /// What it holds.
    pub opcode: u8,
    /// The size of its payload in bytes.
    pub len: usize,
    /// The payload, or the beginning of one that is longer than [`WHOLE`].
    pub head: &'a [u8],
}

impl Frame<'_> {
    /// The code of a close frame.
    pub fn close_code(&self) -> Option<u16> {
        let code = self.head.first_chunk().filter(|_| self.opcode == opcode::CLOSE)?;
        Some(u16::from_be_bytes(*code))
    }
}

/// One connection.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What of the buffer was received and not looked at yet.
    start: usize,
    end: usize,
    large: Option<Large>,
    /// The beginning of the last large frame.
    head: [u8; BEGINNING],
}

/// A large frame of which not everything came yet.
#[derive(Debug)]
struct Large {
    opcode: u8,
    len: usize,
    missing: usize,
}

impl Link {
    /// Connects, with the handshake. `source` is the address to come from, and `buffer` the bytes to read at once.
    ///
    /// # Errors
    /// If nobody listens or the handshake is refused.
    pub async fn connect(addr: SocketAddr, source: IpAddr, buffer: usize) -> Result<Self> {
        let mut link = Self::over(open(addr, source).await?, buffer);
        link.stream.write_all(handshake(addr).as_bytes()).await?;
        link.handshake_answer().await?;
        Ok(link)
    }

    /// Speaks over a connection for which no handshake is needed, or none was made yet.
    pub fn over(stream: TcpStream, buffer: usize) -> Self {
        Self { stream, buffer: vec![0; buffer.max(MIN_BUFFER)], start: 0, end: 0, large: None, head: [0; BEGINNING] }
    }

    /// Reads the answer to a handshake.
    ///
    /// # Errors
    /// If it is a refusal or does not come.
    pub async fn handshake_answer(&mut self) -> Result<()> {
        let end = loop {
            let received = &self.buffer[..self.end];
            if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            self.read().await?;
        };
        let answer = String::from_utf8_lossy(&self.buffer[..end]);
        ensure!(answer.starts_with("HTTP/1.1 101 "), "no WebSocket: {answer}");
        self.start = end;
        Ok(())
    }

    /// The connection without what was read of it.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// The connection.
    pub const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// If the connection is broken.
    pub async fn send(&mut self, opcode: u8, payload: &[u8]) -> Result<()> {
        self.write(&frame(opcode, payload)).await
    }

    /// Sends a text frame.
    ///
    /// # Errors
    /// If the connection is broken.
    pub async fn text(&mut self, text: &str) -> Result<()> {
        self.send(opcode::TEXT, text.as_bytes()).await
    }

    /// Writes bytes that are frames already, or something else.
    ///
    /// # Errors
    /// If the connection is broken.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Writes slices one after the other in as few calls as possible.
    ///
    /// # Errors
    /// If the connection is broken.
    pub async fn write_vectored(&mut self, mut slices: &mut [IoSlice<'_>]) -> Result<()> {
        while !slices.is_empty() {
            let written = self.stream.write_vectored(slices).await?;
            ensure!(written > 0, "the connection takes nothing");
            IoSlice::advance_slices(&mut slices, written);
        }
        Ok(())
    }

    /// Waits for the next frame. Nothing is lost if the waiting is given up.
    ///
    /// # Errors
    /// If the connection ends.
    pub async fn next(&mut self) -> Result<Frame<'_>> {
        loop {
            if self.has_frame() {
                return self.received().context("a frame is there");
            }
            self.read().await?;
        }
    }

    /// The next frame, if it is there already.
    pub fn received(&mut self) -> Option<Frame<'_>> {
        if !self.has_frame() {
            return None;
        }
        if let Some(Large { opcode, len, .. }) = self.large.take() {
            return Some(Frame { opcode, len, head: &self.head });
        }
        let Header { opcode, payload, len } = self.header()?;
        self.start = payload + len;
        Some(Frame { opcode, len, head: &self.buffer[payload..payload + len] })
    }

    /// Whether a frame is complete; what of a large one is there is taken out of the buffer.
    fn has_frame(&mut self) -> bool {
        if self.large.is_none() {
            let Some(Header { opcode, payload, len }) = self.header() else { return false };
            if len <= WHOLE {
                return payload + len <= self.end;
            }
            if payload + BEGINNING > self.end {
                return false;
            }
            self.head.copy_from_slice(&self.buffer[payload..payload + BEGINNING]);
            self.large = Some(Large { opcode, len, missing: len });
            self.start = payload;
        }
        let Some(large) = &mut self.large else { return false };
        let here = large.missing.min(self.end - self.start);
        large.missing -= here;
        self.start += here;
        large.missing == 0
    }

    fn header(&self) -> Option<Header> {
        let bytes = &self.buffer[self.start..self.end];
        let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
        let (len, len_bytes) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 2),
            127 => (usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).unwrap_or(usize::MAX), 8),
            len => (usize::from(len), 0),
        };
        let key = if second & 0x80 == 0 { 0 } else { 4 };
        Some(Header { opcode: first & 0x0f, payload: self.start + 2 + len_bytes + key, len })
    }

    async fn read(&mut self) -> Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.buffer.len() - self.start < MIN_BUFFER || self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        match self.stream.read(&mut self.buffer[self.end..]).await? {
            0 => bail!("the connection ended"),
            count => self.end += count,
        }
        Ok(())
    }
}

struct Header {
    opcode: u8,
    /// Where in the buffer the payload begins.
    payload: usize,
    len: usize,
}

/// Connects from an address of this machine, without a handshake.
///
/// # Errors
/// If nobody listens.
pub async fn open(addr: SocketAddr, source: IpAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    let stream = socket.connect(addr).await.with_context(|| format!("cannot connect from {source} to {addr}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The request for a WebSocket.
pub fn handshake(addr: SocketAddr) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A whole frame from a client.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(opcode, payload.len());
    frame.extend(payload);
    frame
}

/// The header of a frame from a client: final, and masked with a key of zeros.
pub fn header(opcode: u8, len: usize) -> Vec<u8> {
    const FIN: u8 = 0x80;
    const MASKED: u8 = 0x80;
    let mut header = Vec::with_capacity(MAX_HEADER);
    header.push(FIN | opcode);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len), _) if len < 126 => header.push(MASKED | len),
        (_, Ok(len)) => {
            header.push(MASKED | 126);
            header.extend(len.to_be_bytes());
        }
        _ => {
            header.push(MASKED | 127);
            header.extend((len as u64).to_be_bytes());
        }
    }
    header.extend([0; 4]);
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn frames_are_told_apart_whatever_their_lengths() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut link = Link::over(open(addr, addr.ip()).await.unwrap(), 0);
        let mut stream = listener.accept().await.unwrap().0;
        let payload: Vec<u8> = (0..300_000_u32).map(|place| (place % 251) as u8).collect();
        let lengths =
            [0, 1, 125, 126, 255, 256, 257, WHOLE - 1, WHOLE, WHOLE + 1, 65_535, 65_536, 300_000, 2, 9_000, 3];
        let bytes: Vec<_> = lengths.iter().flat_map(|len| frame(opcode::BINARY, &payload[..*len])).collect();
        let writer = tokio::spawn(async move {
            for piece in bytes.chunks(1_009) {
                stream.write_all(piece).await.unwrap();
            }
            stream
        });
        for len in lengths {
            let frame = link.next().await.unwrap();
            assert_eq!((frame.opcode, frame.len), (opcode::BINARY, len));
            let head = if len <= WHOLE { len } else { BEGINNING };
            assert!(frame.head == &payload[..head], "the beginning of a frame of {len} bytes");
        }
        drop(writer.await.unwrap());
        assert!(link.next().await.is_err());
    }
}
