//! The halves of a socket, which note that bytes go through them.

use crate::stream::{ReadSide, WriteSide};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// Signs that somebody is at the other end. They are bytes and not messages, because a large one takes its time on a
/// slow line.
#[derive(Debug)]
pub(crate) struct Signs {
    begun: Instant,
    heard: AtomicBool,
    /// Milliseconds from the beginning to the last byte that came.
    last_heard: AtomicU64,
    written: AtomicBool,
}

impl Signs {
    /// Those of a connection that begins.
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            heard: AtomicBool::new(false),
            last_heard: AtomicU64::new(0),
            written: AtomicBool::new(false),
        }
    }

    /// How long ago something was heard; at first, how long ago the connection began.
    pub(crate) fn silence(&self) -> Duration {
        self.begun.elapsed().saturating_sub(Duration::from_millis(self.last_heard.load(Relaxed)))
    }

    fn hear(&self) {
        self.heard.store(true, Relaxed);
        self.last_heard.store(self.begun.elapsed().as_millis() as u64, Relaxed);
    }

    /// Whether bytes came, and whether bytes went, since the last call.
    pub(crate) fn take(&self) -> (bool, bool) {
        (self.heard.swap(false, Relaxed), self.written.swap(false, Relaxed))
    }
}

/// The reading half.
#[derive(Debug)]
pub(crate) struct ReadHalf {
    pub(crate) half: ReadSide,
    pub(crate) signs: Arc<Signs>,
}

impl AsyncRead for ReadHalf {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.half).poll_read(cx, buf));
        if buf.filled().len() > before {
            self.signs.hear();
        }
        Poll::Ready(read)
    }
}

/// The writing half.
#[derive(Debug)]
pub(crate) struct WriteHalf {
    pub(crate) half: WriteSide,
    pub(crate) signs: Arc<Signs>,
}

impl WriteHalf {
    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.signs.written.store(true, Relaxed);
        }
        written
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.half).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.half).poll_write_vectored(cx, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.half).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.half).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Stream;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    #[tokio::test]
    async fn each_byte_is_a_sign_and_the_end_is_none() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (read, write) = Stream::Plain(listener.accept().await.unwrap().0).into_split();
        let signs = Arc::new(Signs::new());
        let mut read = ReadHalf { half: read, signs: Arc::clone(&signs) };
        let mut write = WriteHalf { half: write, signs: Arc::clone(&signs) };
        assert_eq!(signs.take(), (false, false));

        // The first byte of a frame, which is no message yet.
        client.write_all(&[0x81]).await.unwrap();
        read.read_u8().await.unwrap();
        assert_eq!(signs.take(), (true, false));
        write.write_all(&[0x81]).await.unwrap();
        assert_eq!(signs.take(), (false, true));
        drop(client);
        assert_eq!(read.read(&mut [0]).await.unwrap_or(0), 0);
        assert_eq!(signs.take(), (false, false));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_with_each_byte() {
        let signs = Signs::new();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(signs.silence(), Duration::from_secs(5));
        signs.hear();
        assert_eq!(signs.silence(), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(signs.silence(), Duration::from_secs(2));
    }
}
