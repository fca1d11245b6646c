//! One client: a task that reads, a task that writes.

use crate::{
    address::Place,
    envelope::Envelope,
    half::{ReadHalf, Signs, WriteHalf},
    http::Caller,
    hub::Hub,
    outbox::Outbox,
    rate::{AddressAllowance, Came, ConnectionAllowance, Handled},
    reader::{Incoming, ReadError, Reader},
    registry::ConnId,
    stream::Stream,
    wire::{Batch, OutFrame},
};
use bytes::Bytes;
use protocol::{ClientBinary, ClientFrame, Unreadable, close, decode_client_binary, decode_client_text};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until, timeout},
};
use tracing::debug;

/// Heartbeats without a sign of life after which a client is closed.
const MAX_SILENCE: u32 = 3;
/// Heartbeats in which a message may come in; the largest has to come at about 80 kbit/s.
const MAX_UNFINISHED: u32 = 10;
/// How long a client may take to read the last frames and to hang up.
const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// Bytes read, and read at once, of what nobody wants to know any longer.
const DRAIN_BYTES: usize = 4 << 20;
const DRAIN_BUFFER: usize = 16 << 10;

/// Normal closure, protocol error, and data that is not of its type (RFC 6455 section 7.4.1).
const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const INVALID_DATA: u16 = 1007;

/// What is done with each message of a client; the error is the code to close with.
pub(crate) type Handler = fn(&mut Client<'_>, Incoming) -> Result<Handled, u16>;

/// Serves one client from after the handshake until it is gone. `begun` is what it sent with the handshake; `admitted`
/// is its place, or the code to close it with. Until it is let in it counts as an HTTP connection, by its `caller`.
pub(crate) async fn serve(hub: Arc<Hub>, stream: Stream, begun: Bytes, caller: Caller, admitted: Result<Place, u16>) {
    let limits = &hub.config().limits;
    let outbox = Arc::new(hub.outbox());
    let signs = Arc::new(Signs::new());
    let (read_half, write_half) = stream.into_split();
    let read_half = ReadHalf { half: read_half, signs: Arc::clone(&signs) };
    let write_half = WriteHalf { half: write_half, signs: Arc::clone(&signs) };
    let mut writer = tokio::spawn(write(write_half, Arc::clone(&outbox), limits.stall_timeout()));
    let mut reader = Reader::new(read_half, &begun, limits.message_bytes as usize, hub.space(caller.rate.clone()));

    let mut hung_up = false;
    let entered = admitted.and_then(|place| Ok((hub.connect(caller.address, &outbox, &signs)?, place)));
    let code = match entered {
        Ok((conn, _place)) => {
            let rate = caller.rate.clone();
            drop(caller);
            let mut client = Client::new(&hub, &outbox, &signs, conn, rate);
            let code = client.read(&mut reader).await;
            hung_up = client.hung_up;
            hub.disconnect(conn);
            code
        }
        Err(code) => {
            debug!(address = %caller.address, code, "connection refused");
            code
        }
    };
    let code = outbox.close(code);
    debug!(code, "connection ended");
    if !hung_up {
        hub.count_close(code);
    }
    let hang_up = async {
        let _ = (&mut writer).await;
        drain(reader.into_inner()).await;
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
    allowance: ConnectionAllowance,
    malformed: u32,
    /// It closed by itself, with a code of its choice.
    hung_up: bool,
}

impl<'a> Client<'a> {
    /// A client of which nothing was read yet.
    pub(crate) fn new(
        hub: &'a Hub,
        outbox: &'a Outbox,
        signs: &'a Signs,
        conn: ConnId,
        rate: AddressAllowance,
    ) -> Self {
        let allowance = ConnectionAllowance::new(&hub.config().limits, rate);
        Self { hub, outbox, signs, conn, allowance, malformed: 0, hung_up: false }
    }

    /// Reads until the end, and gives the code to close with.
    async fn read(&mut self, reader: &mut Reader<ReadHalf>) -> u16 {
        let mut heartbeat = heartbeat(self.hub.config().limits.heartbeat_ms);
        let (mut silence, mut unfinished) = (0, 0);
        // Until when nothing is read, because the client sent more than it may in that time.
        let mut pause = None;
        loop {
            let is_calm = self.outbox.is_calm();
            tokio::select! {
                biased;
                code = self.outbox.closed() => return code,
                () = self.outbox.calmed(), if !is_calm => {}
                () = sleep_until(pause.unwrap_or_else(Instant::now)), if pause.is_some() => pause = None,
                incoming = reader.next(), if is_calm && pause.is_none() => {
                    if matches!(incoming, Ok(Some(Incoming::Text(_) | Incoming::Binary(_)))) {
                        unfinished = 0;
                    }
                    let handled = match incoming {
                        Ok(Some(incoming)) => self.hub.handler()(self, incoming),
                        Ok(None) => Err(NORMAL),
                        Err(error) => Err(code_of(&error)),
                    };
                    match handled {
                        Ok(handled) => pause = self.pause_after(handled, reader.taken()),
                        Err(code) => return code,
                    }
                }
                _ = heartbeat.tick() => {
                    let (heard, written) = self.signs.take();
                    let is_held = pause.is_some() || reader.is_held();
                    if is_calm && !is_held && reader.is_amid_message() {
                        unfinished += 1;
                    }
                    if unfinished > MAX_UNFINISHED {
                        return close::SILENT;
                    }
                    // While nothing is read from a client, that it reads is what shows that it is there.
                    if heard || is_held || (written && !is_calm) {
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

    /// Charges a message to the client, and gives the time until which nothing more is read from it.
    fn pause_after(&mut self, handled: Handled, came: Came) -> Option<Instant> {
        let wait = self.allowance.spend(handled.messages(came), came.bytes, self.hub.now());
        (!wait.is_zero()).then(|| {
            self.hub.count_pause();
            Instant::now() + wait
        })
    }

    /// Handles one message.
    ///
    /// # Errors
    /// The code to close with.
    pub(crate) fn handle(&mut self, incoming: Incoming) -> Result<Handled, u16> {
        let envelope = match &incoming {
            Incoming::Text(text) => match decode_client_text(text) {
                Ok(ClientFrame::Request { seq, request }) => {
                    return Ok(self.hub.request(self.conn, seq, request));
                }
                Ok(ClientFrame::Envelope { to, subject, message }) => {
                    Ok((to, subject, Envelope::Text { frame: text.as_ref(), message }))
                }
                Err(error) => Err(error),
            },
            Incoming::Binary(frame) => decode_client_binary(frame)
                .map(|ClientBinary { to, subject, message, data }| (to, subject, Envelope::Binary { message, data })),
            Incoming::Ping(payload) => {
                self.outbox.push_pong(payload);
                return Ok(Handled::Asked { answered: payload.len() });
            }
            Incoming::Pong => return Ok(Handled::Asked { answered: 0 }),
            Incoming::Close(code) => {
                self.hung_up = true;
                return Err(code.unwrap_or(NORMAL));
            }
        };
        match envelope {
            Ok((to, subject, envelope)) => Ok(self.hub.relay(self.conn, self.outbox, to, &subject, &envelope)),
            Err(unreadable) => self.complain(&unreadable),
        }
    }

    fn complain(&mut self, unreadable: &Unreadable) -> Result<Handled, u16> {
        let handled = self.hub.refuse_unreadable(self.outbox, unreadable);
        self.malformed += 1;
        let is_enough = self.malformed >= self.hub.config().limits.malformed_messages;
        if is_enough { Err(close::TOO_MANY_ERRORS) } else { Ok(handled) }
    }
}

async fn write(mut socket: WriteHalf, outbox: Arc<Outbox>, stall: Duration) {
    let code = match write_all(&mut socket, &outbox, stall).await {
        Ok(()) => NORMAL,
        Err(error) => {
            debug!(%error, "cannot write");
            if error.kind() == io::ErrorKind::TimedOut { close::SLOW_RECEIVER } else { NORMAL }
        }
    };
    // Whoever waits for room hears by this that there will be none.
    outbox.close(code);
}

async fn write_all(socket: &mut WriteHalf, outbox: &Outbox, stall: Duration) -> io::Result<()> {
    let mut batch = Batch::default();
    let mut more = true;
    while more {
        more = outbox.fill(&mut batch).await;
        batch.write_to(socket, stall).await?;
    }
    socket.shutdown().await
}

/// Reads to the end, or about so far, so that the system does not reset the connection over unread bytes and the client gets to see
/// the close frame.
async fn drain(mut socket: ReadHalf) {
    let mut buffer = vec![0; DRAIN_BUFFER];
    let mut left = DRAIN_BYTES;
    while left > 0
        && let Ok(read @ 1..) = socket.read(&mut buffer).await
    {
        left = left.saturating_sub(read);
    }
}

fn heartbeat(interval_ms: u32) -> Interval {
    let interval = Duration::from_millis(interval_ms.max(1).into());
    let mut heartbeat = interval_at(Instant::now() + interval, interval);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat
}

const fn code_of(error: &ReadError) -> u16 {
    match error {
        ReadError::TooBig => close::TOO_BIG,
        ReadError::Protocol(_) => PROTOCOL_ERROR,
        ReadError::NoUtf8 => INVALID_DATA,
        // Nobody will read the code.
        ReadError::Io(_) => NORMAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, address::AddressKey};
    use tokio::net::{TcpListener, TcpStream};

    /// Time is virtual and goes on whenever nothing else does.
    #[tokio::test(start_paused = true)]
    async fn the_largest_message_may_come_at_20_kb_a_second_and_one_that_stands_still_is_given_up() {
        for (rate, expected) in [(20_000, NORMAL), (5_000, close::SILENT), (0, close::SILENT)] {
            let hub = Hub::new(Config::default(), [0; 32], 0);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (half, _write) = Stream::Plain(listener.accept().await.unwrap().0).into_split();
            let (outbox, signs) = (Arc::new(hub.outbox()), Arc::new(Signs::new()));
            let limits = &hub.config().limits;
            let rate_of_address = AddressAllowance::new(limits);
            let half = ReadHalf { half, signs: Arc::clone(&signs) };
            let max = limits.message_bytes as usize;
            let mut reader = Reader::new(half, &[], max, hub.space(rate_of_address.clone()));
            let conn = hub.connect(AddressKey::of([10, 0, 0, 1].into()), &outbox, &signs).unwrap();
            let sending = async {
                client.write_all(&[0x82, 0xff]).await.unwrap();
                client.write_all(&(max as u64).to_be_bytes()).await.unwrap();
                client.write_all(&[0; 4]).await.unwrap();
                let mut left = max;
                // Longer than any of them may take.
                for _ in 0..600 {
                    let piece = rate.min(left);
                    left -= piece;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    if client.write_all(&vec![0; piece]).await.is_err() || (rate > 0 && left == 0) {
                        break;
                    }
                }
                drop(client);
            };
            let mut served = Client::new(&hub, &outbox, &signs, conn, rate_of_address);
            let (code, ()) = tokio::join!(served.read(&mut reader), sending);
            assert_eq!(code, expected, "{rate} bytes a second");
        }
    }
}
