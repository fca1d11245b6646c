//! The WebSocket to the tracker, or to another peer: one task that reads and one that writes, so that neither waits for the
//! other.

use crate::tls::{self, Fingerprint};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use peer_wasm::client::Receipt;
use protocol::{Frame, MAX_MESSAGE_BYTES};
#[cfg(target_os = "linux")]
use socket2::SockRef;
use std::{collections::VecDeque, io};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
    tungstenite::{Error, Message, protocol::WebSocketConfig},
};

/// Bytes that the system keeps of what cannot be sent yet: an eighth of a second at 2 Mbit/s.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 32 << 10;
/// Frames that may wait to be sent. Block data is bounded by the core's budget; more small messages than this mean
/// that the line is dead.
const OUTGOING: usize = 8_192;
/// Events that may wait for the driver; beyond that the line is not read, and the sender waits.
const EVENTS: usize = 64;

/// What waits to be sent: words first, since they decide what else is sent, then what is large and comes with a receipt. The core's
/// budgets bound how much of that is taken out of the channel.
#[derive(Debug)]
pub(crate) struct Frames {
    incoming: mpsc::Receiver<(Frame, Option<Receipt>)>,
    blocks: VecDeque<(Frame, Option<Receipt>)>,
}

impl Frames {
    /// Where frames are handed in, and where they come out.
    pub(crate) fn new() -> (mpsc::Sender<(Frame, Option<Receipt>)>, Self) {
        let (outgoing, incoming) = mpsc::channel(OUTGOING);
        (outgoing, Self { incoming, blocks: VecDeque::new() })
    }

    /// The next one; `None` when there will be no more. Nothing is lost if it is not waited for to the end.
    pub(crate) async fn next(&mut self) -> Option<(Frame, Option<Receipt>)> {
        loop {
            let next = if self.blocks.is_empty() { self.incoming.recv().await } else { self.incoming.try_recv().ok() };
            match next {
                Some(block @ (_, Some(_))) => self.blocks.push_back(block),
                Some(word) => return Some(word),
                None => return self.blocks.pop_front(),
            }
        }
    }

    /// Whether nothing waits.
    fn is_empty(&self) -> bool {
        self.incoming.is_empty() && self.blocks.is_empty()
    }
}

/// What happens to a line.
#[derive(Debug)]
pub(crate) enum Event {
    Opened,
    Text(String),
    Binary(Bytes),
    Sent(Receipt),
    Closed(Option<u16>),
    /// It broke or never opened, for a reason that people can read.
    Failed(String),
}

/// A line to the tracker that is open or being opened. It closes when dropped.
#[derive(Debug)]
pub(crate) struct Line {
    outgoing: mpsc::Sender<(Frame, Option<Receipt>)>,
    events: mpsc::Receiver<Event>,
    task: AbortHandle,
}

impl Line {
    pub(crate) fn open(url: String, fingerprint: Option<Fingerprint>) -> Self {
        let (outgoing, frames) = Frames::new();
        let (sender, events) = mpsc::channel(EVENTS);
        let task = tokio::spawn(async move {
            let end = match talk(&url, fingerprint, frames, &sender).await {
                Ok(code) => Event::Closed(code),
                Err(error) => {
                    tracing::debug!(%error, "the line broke");
                    Event::Failed(tls::explain(&error))
                }
            };
            // Nobody listens if the driver dropped the line.
            _ = sender.send(end).await;
        });
        Self { outgoing, events, task: task.abort_handle() }
    }

    /// Sends a frame; `false` if the line takes no more and has to be given up.
    pub(crate) fn send(&self, frame: Frame, receipt: Option<Receipt>) -> bool {
        self.outgoing.try_send((frame, receipt)).is_ok()
    }

    pub(crate) async fn event(&mut self) -> Event {
        self.events.recv().await.unwrap_or(Event::Closed(None))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The frame as it is sent.
fn message(frame: Frame) -> Message {
    match frame {
        Frame::Text(text) => Message::text(text),
        Frame::Binary { head, payload } => Message::binary([head.as_slice(), &payload].concat()),
    }
}

/// Connects and moves frames until the line closes; tells the close code.
async fn talk(
    url: &str,
    fingerprint: Option<Fingerprint>,
    frames: Frames,
    events: &mpsc::Sender<Event>,
) -> Result<Option<u16>, Error> {
    let connector = tls::connector(fingerprint);
    let (socket, _) = connect_async_tls_with_config(url, Some(socket_config()), true, connector).await?;
    match socket.get_ref() {
        MaybeTlsStream::Plain(stream) => keep_unsent_low(stream)?,
        MaybeTlsStream::Rustls(stream) => keep_unsent_low(stream.get_ref().0)?,
        _ => {}
    }
    carry(socket, frames, events, |event| event).await
}

/// Keeps little in the system of what cannot be sent yet, so that what is said at once is not late.
pub(crate) fn keep_unsent_low(stream: &TcpStream) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT)?;
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
    Ok(())
}

/// What a socket takes at most.
pub(crate) fn socket_config() -> WebSocketConfig {
    let most = 2 * MAX_MESSAGE_BYTES as usize;
    WebSocketConfig::default().max_message_size(Some(most)).max_frame_size(Some(most))
}

/// Moves frames over a socket that is open until it closes, or `frames` does; tells the close code.
pub(crate) async fn carry<S, T>(
    socket: WebSocketStream<S>,
    mut frames: Frames,
    events: &mpsc::Sender<T>,
    told: impl Fn(Event) -> T + Clone + Send + 'static,
) -> Result<Option<u16>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: Send + 'static,
{
    let (mut sink, mut stream) = socket.split();
    _ = events.send(told(Event::Opened)).await;
    // A set, so that the writer ends with the reader.
    let mut writer = JoinSet::new();
    let (sent, told_sent) = (events.clone(), told.clone());
    writer.spawn(async move {
        while let Some((frame, receipt)) = frames.next().await {
            sink.feed(message(frame)).await?;
            if receipt.is_some() || frames.is_empty() {
                sink.flush().await?;
            }
            if let Some(receipt) = receipt {
                _ = sent.send(told_sent(Event::Sent(receipt))).await;
            }
        }
        Ok::<_, Error>(())
    });
    loop {
        let message = tokio::select! {
            message = stream.next() => message.transpose()?,
            Some(written) = writer.join_next() => {
                written.unwrap_or(Ok(()))?;
                return Ok(None);
            }
        };
        let event = match message {
            Some(Message::Text(text)) => Event::Text(text.as_str().to_owned()),
            Some(Message::Binary(bytes)) => Event::Binary(bytes),
            Some(Message::Close(frame)) => return Ok(frame.map(|frame| frame.code.into())),
            Some(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
            None => return Ok(None),
        };
        _ = events.send(told(event)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peer_wasm::client::Receipt;

    #[tokio::test]
    async fn what_is_said_goes_before_blocks_that_wait() {
        let (outgoing, mut frames) = Frames::new();
        let block = || (Frame::Binary { head: Vec::new(), payload: Bytes::new() }, Some(Receipt::for_test(1)));
        let word = |text: &str| (Frame::Text(text.to_owned()), None);
        for frame in [block(), word("first"), block(), word("second")] {
            outgoing.try_send(frame).unwrap();
        }
        assert_eq!(frames.next().await.unwrap().0, Frame::Text("first".to_owned()));
        assert_eq!(frames.next().await.unwrap().0, Frame::Text("second".to_owned()));
        assert!(frames.next().await.unwrap().1.is_some() && !frames.is_empty());
        outgoing.try_send(word("third")).unwrap();
        assert!(!frames.is_empty());
        assert_eq!(frames.next().await.unwrap().0, Frame::Text("third".to_owned()));
        drop(outgoing);
        assert!(frames.next().await.unwrap().1.is_some(), "blocks that wait are sent after the last word");
        assert!(frames.is_empty() && frames.next().await.is_none());
    }
}
