//! One client: a task that reads, a task that writes.

use crate::{
    half::{ReadOnly, Signs, WriteHalf},
    hub::{Envelope, Hub},
    outbox::Outbox,
    registry::ConnId,
    wire::{Batch, OutFrame},
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use protocol::{ClientFrame, ParseError, close, decode_client_binary, decode_client_text};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, Interval, MissedTickBehavior, interval_at, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WsError, Message,
        protocol::{Role, WebSocketConfig},
    },
};
use tracing::debug;

/// Bytes read at once, and kept for each connection. Larger ones save few calls: a large frame gets a buffer of its
/// own size, and only the calls that fill it are limited by this.
const READ_BUFFER: usize = 16 << 10;
/// Messages that cannot be understood, after which a client is closed.
const MAX_MALFORMED: u32 = 20;
/// Heartbeats without a sign of life after which a client is closed.
const MAX_SILENCE: u32 = 3;
/// How long a client may take to read the last frames and to hang up.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// Normal closure, protocol error, and data that is not of its type (RFC 6455 section 7.4.1).
const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const INVALID_DATA: u16 = 1007;

type Socket = WebSocketStream<ReadOnly>;

/// What is done with each message of a client; the error is the code to close with.
pub(crate) type Handler = fn(&mut Client<'_>, Message) -> Result<(), u16>;

/// Serves one client from after the handshake until it is gone. `begun` is what it sent with the handshake.
pub(crate) async fn serve(hub: Arc<Hub>, stream: TcpStream, begun: Bytes) {
    let limits = &hub.config().limits;
    let outbox = Arc::new(Outbox::new(limits.queue_bytes as usize));
    let signs = Arc::new(Signs::default());
    let (read_half, write_half) = stream.into_split();
    let read_half = ReadOnly { half: read_half, signs: Arc::clone(&signs) };
    let write_half = WriteHalf { half: write_half, signs: Arc::clone(&signs) };
    let mut writer = tokio::spawn(write(write_half, Arc::clone(&outbox)));

    let max = Some(limits.message_bytes as usize);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(max)
        .max_frame_size(max)
        // It writes nothing but its answers to pings and closes, which `ReadOnly` drops.
        .write_buffer_size(0)
        .max_write_buffer_size(1 << 10);
    let mut socket = Socket::from_partially_read(read_half, begun.into(), Role::Server, Some(config)).await;

    let code = match hub.connect(&outbox) {
        Ok(conn) => {
            let code = Client { hub: &hub, outbox: &outbox, signs: &signs, conn, malformed: 0 }.read(&mut socket).await;
            hub.disconnect(conn);
            debug!(conn = conn.0, code, "connection ended");
            code
        }
        Err(code) => code,
    };
    outbox.close(code);
    let hang_up = async {
        let _ = (&mut writer).await;
        drain(socket.into_inner()).await;
    };
    if timeout(CLOSE_GRACE, hang_up).await.is_err() {
        writer.abort();
    }
}

/// A client that is read from.
pub(crate) struct Client<'a> {
    hub: &'a Hub,
    pub(crate) outbox: &'a Outbox,
    signs: &'a Signs,
    conn: ConnId,
    malformed: u32,
}

impl Client<'_> {
    /// Reads until the end, and gives the code to close with.
    async fn read(&mut self, socket: &mut Socket) -> u16 {
        let mut heartbeat = heartbeat(self.hub.config().limits.heartbeat_ms);
        let mut silence = 0;
        loop {
            let is_calm = self.outbox.is_calm();
            tokio::select! {
                biased;
                // The outbox has its code already.
                () = self.outbox.closed() => return NORMAL,
                () = self.outbox.calmed(), if !is_calm => {}
                message = socket.next(), if is_calm => {
                    let handled = match message {
                        Some(Ok(message)) => self.hub.handler()(self, message),
                        Some(Err(error)) => Err(code_of(&error)),
                        None => Err(NORMAL),
                    };
                    if let Err(code) = handled {
                        return code;
                    }
                }
                _ = heartbeat.tick() => {
                    let (heard, written) = self.signs.take();
                    // While nothing is read from a client, that it reads is what shows that it is there.
                    if heard || (written && !is_calm) {
                        silence = 0;
                    } else if silence == MAX_SILENCE {
                        return close::SILENT;
                    } else {
                        silence += 1;
                        self.outbox.push_control(OutFrame::ping());
                    }
                }
            }
        }
    }

    /// Handles one message.
    ///
    /// # Errors
    /// The code to close with.
    pub(crate) fn handle(&mut self, message: Message) -> Result<(), u16> {
        match message {
            Message::Text(text) => {
                let frame = Bytes::from(text.clone());
                match decode_client_text(&text) {
                    Ok(ClientFrame::Request { seq, request }) => self.hub.request(self.conn, seq, request),
                    Ok(ClientFrame::Envelope { to, message }) => {
                        self.hub.relay(self.conn, self.outbox, to, &Envelope::Text { frame: &frame, message });
                    }
                    Err(error) => return self.complain(&error),
                }
            }
            Message::Binary(frame) => match decode_client_binary(&frame) {
                Ok((to, message, data)) => {
                    self.hub.relay(self.conn, self.outbox, to, &Envelope::Binary { message, data });
                }
                Err(error) => return self.complain(&error),
            },
            Message::Ping(payload) => self.outbox.push_pong(&payload),
            Message::Close(close) => return Err(close.map_or(NORMAL, |close| close.code.into())),
            Message::Pong(_) | Message::Frame(_) => {}
        }
        Ok(())
    }

    fn complain(&mut self, error: &ParseError) -> Result<(), u16> {
        self.hub.refuse(self.outbox, error.code(), error.to_string(), None);
        self.malformed += 1;
        if self.malformed < MAX_MALFORMED { Ok(()) } else { Err(close::TOO_MANY_ERRORS) }
    }
}

async fn write(mut socket: WriteHalf, outbox: Arc<Outbox>) {
    if let Err(error) = write_all(&mut socket, &outbox).await {
        debug!(%error, "cannot write");
    }
    // Whoever waits for room hears by this that there will be none.
    outbox.close(NORMAL);
}

async fn write_all(socket: &mut WriteHalf, outbox: &Outbox) -> io::Result<()> {
    let mut batch = Batch::default();
    let mut more = true;
    while more {
        more = outbox.fill(&mut batch).await;
        batch.write_to(socket).await?;
    }
    socket.shutdown().await
}

/// Reads to the end, so that the system does not reset the connection over unread bytes and the client gets to see
/// the close frame.
async fn drain(mut socket: ReadOnly) {
    let mut buffer = vec![0; READ_BUFFER];
    while let Ok(1..) = socket.read(&mut buffer).await {}
}

fn heartbeat(interval_ms: u32) -> Interval {
    let interval = Duration::from_millis(interval_ms.max(1).into());
    let mut heartbeat = interval_at(Instant::now() + interval, interval);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat
}

#[expect(clippy::wildcard_enum_match_arm, reason = "every other error means that nobody will read the code")]
fn code_of(error: &WsError) -> u16 {
    match error {
        WsError::Capacity(_) => close::TOO_BIG,
        WsError::Protocol(_) => PROTOCOL_ERROR,
        WsError::Utf8(_) => INVALID_DATA,
        _ => NORMAL,
    }
}
