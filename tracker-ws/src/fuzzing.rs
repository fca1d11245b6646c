//! What the fuzz targets call. Each function panics if the tracker breaks a promise.

use crate::{
    Config,
    address::AddressKey,
    connection::Client,
    door::Door,
    half::Signs,
    http::{self, App},
    hub::Hub,
    outbox::Outbox,
    rate::AddressAllowance,
    reader::Incoming,
    registry::ConnId,
    stun::{MAX_REQUEST_BYTES, Responder},
    wire::Batch,
};
use bytes::Bytes;
use futures_util::FutureExt as _;
use protocol::{
    ClientBinary, ClientFrame, Identity, PeerId, PeerMessage, Response, Subject, TrackerFrame, decode_client_binary,
    decode_client_text, decode_tracker_text, encode_forwarded, forwarded_head,
};
use serde::de::IgnoredAny;
use std::{
    io::Cursor,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, duplex, split},
    runtime::Runtime,
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};
use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

/// In inputs the first client's id is written so, as in the specification; and the second's, and the third's.
const IDS: [&str; 3] = ["a1a1a1a1a1a1a1a1", "b2b2b2b2b2b2b2b2", "c3c3c3c3c3c3c3c3"];
/// So is the second client's secret.
const SECRET: &str = "00112233445566778899aabbccddeeff";
/// Stands for brackets in brackets.
const DEEP: &str = "DEEP";
/// How many of them.
const DEPTH: usize = 10_000;
/// Longer than a list of files is held back, and shorter than anything else that the registry waits for.
const SHORT: Duration = Duration::from_secs(1);
/// Longer than anything that the tracker waits for.
const LONG: Duration = Duration::from_secs(3_600);
/// Lets the second client expect block 0 from the first, as a binary frame; the third takes none.
const REQUESTED: &str = include_str!("../fuzz/requested.txt");

/// Its time is virtual and goes on whenever nothing else does.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("it needs no IO")
});

/// Three clients do what the lines of a script say: `A> TEXT` sends a text message, `A-` hangs up, `A~ 100` lets
/// milliseconds pass.
pub fn text_frames(script: &[u8]) {
    RUNTIME.block_on(async {
        let mut room = Room::new();
        room.play(script).await;
        room.end().await;
    });
}

/// The first of three clients sends a binary message.
pub fn binary_frame(frame: &[u8]) {
    RUNTIME.block_on(async {
        let mut room = Room::new();
        room.play(REQUESTED.as_bytes()).await;
        room.send_binary(frame);
        room.end().await;
    });
}

/// A client sends these bytes over HTTP, and then nothing.
pub fn http_head(bytes: &[u8]) {
    RUNTIME.block_on(async {
        let (alive, mut all_done) = mpsc::channel(1);
        let hub = Arc::new(hub());
        let (_stop, stopping) = watch::channel(false);
        let door = Door::new(http::router(App::new(Arc::clone(&hub), alive.downgrade())), hub, None, stopping);
        let slot = Arc::new(Semaphore::new(1)).acquire_owned().await.expect("nobody closes the semaphore");
        let caller = door.admit(Ipv4Addr::LOCALHOST.into(), true, slot).expect("nobody else is here");
        let (client, server) = duplex(64 << 10);
        let (mut answers, mut requests) = split(client);
        let mut answer = Vec::new();
        let all = async {
            // That the server hangs up early, so that one of these fails, is its right.
            let _ = tokio::join!(
                door.serve_http(server, caller),
                requests.write_all(bytes),
                answers.read_to_end(&mut answer),
            );
            drop(alive);
            all_done.recv().await
        };
        assert_eq!(timeout(LONG, all).await, Ok(None), "the connection and what came of it must end");
        check_answer(bytes, &answer);
    });
}

/// A datagram comes from an address of IPv4 and from one of IPv6.
pub fn stun_datagram(datagram: &[u8]) {
    /// What a message of STUN has behind its type and its length.
    const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    let own = SocketAddr::from(([192, 0, 2, 1], 9000));
    let mut responder = Responder::new(own, [7; 32]);
    for (from, family, excess) in [
        (SocketAddr::from(([203, 0, 113, 7], 40_123)), 1, 12),
        (SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7], 40_123)), 2, 24),
    ] {
        let Some(answer) = responder.handle(datagram, from, Duration::ZERO) else { continue };
        assert!(datagram.starts_with(&[0, 1]) && datagram[4..8] == COOKIE, "an answer to no request");
        assert!(datagram.len() <= MAX_REQUEST_BYTES && answer.len() <= datagram.len() + excess, "a long answer");
        assert!(answer.starts_with(&[1, 1]) && answer[4..20] == datagram[4..20], "an answer to another request");
        assert_eq!((&answer[20..22], answer[25]), (&[0, 0x20][..], family), "no address");
        assert_eq!(responder.handle(&answer, from, Duration::ZERO), None, "an answer to an answer");
    }
}

fn check_answer(request: &[u8], answer: &[u8]) {
    let Some((line, _)) = answer.split_first_chunk::<12>() else {
        return assert!(answer.is_empty(), "a cut answer");
    };
    assert!(line.starts_with(b"HTTP/1."), "no answer: {line:?}");
    assert_ne!(line[9], b'5', "a failure of the server: {}", answer.escape_ascii());
    if line.ends_with(b"101") {
        let request = request.to_ascii_lowercase();
        let has = |header: &[u8]| request.windows(header.len()).any(|window| window == header);
        assert!(has(b"sec-websocket-key:") && has(b"upgrade:") && has(b"connection:"), "an upgrade that nobody wanted");
    }
}

fn hub() -> Hub {
    // The sources of the HTTP module serve as a page.
    let page_dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http").into();
    Hub::new(Config { page_dir, ..Config::default() }, [7; 32], 7)
}

/// A tracker with three clients.
struct Room {
    hub: Hub,
    guests: [Option<Guest>; 3],
    /// The identities that the clients have, or had last.
    identities: [Option<Identity>; 3],
}

struct Guest {
    conn: ConnId,
    outbox: Arc<Outbox>,
    peer: Option<PeerId>,
}

/// What all clients got of one step.
#[derive(Debug, Default)]
struct Got {
    responses: Vec<(usize, Option<u32>, Response)>,
    envelopes: Vec<(usize, Bytes)>,
    blocks: Vec<(usize, Bytes)>,
}

impl Room {
    fn new() -> Self {
        Self { hub: hub(), guests: [const { None }; 3], identities: [const { None }; 3] }
    }

    async fn play(&mut self, script: &[u8]) {
        for line in script.split(|byte| *byte == b'\n') {
            let Some(([client, action], text)) = line.split_first_chunk() else { continue };
            let client = (usize::from(*client) + 1) % self.guests.len();
            match (action, str::from_utf8(text)) {
                (b'>', Ok(text)) => self.send_text(client, text.trim_start()),
                (b'-', _) => self.hang_up(client),
                (b'~', Ok(text)) => {
                    let time = Duration::from_millis(text.trim().parse::<u16>().unwrap_or(1_000).into());
                    self.pass(time).await;
                }
                _ => {}
            }
        }
    }

    fn send_text(&mut self, client: usize, text: &str) {
        let text = self.filled(text);
        let from = self.send(client, Incoming::Text((&*text).into()));
        let got = self.settle();
        let errors = got.count(|to, response| to == client && matches!(response, Response::Error { .. }));
        match decode_client_text(&text) {
            Ok(ClientFrame::Request { seq, .. }) => {
                let answers = got.responses.iter().filter(|(to, found, _)| *to == client && *found == seq).count();
                assert!(answers > 0, "no answer to {text}: {got:?}");
                let numbered: Vec<_> = got.responses.iter().filter(|(_, seq, _)| seq.is_some()).collect();
                assert_eq!(numbered.len(), seq.iter().len(), "one answer, and no other with a number: {got:?}");
                assert!(got.envelopes.is_empty());
            }
            Ok(ClientFrame::Envelope { message, .. }) => {
                assert_eq!(got.envelopes.len() + errors, 1, "neither or both of delivered and refused: {got:?}");
                for (to, envelope) in &got.envelopes {
                    let from = from.expect("who is not registered sends nothing");
                    assert_ne!(*to, client);
                    assert_eq!(**envelope, *format!("{}{message}}}", forwarded_head(from)).as_bytes());
                    serde_json::from_slice::<IgnoredAny>(envelope).expect("it must be JSON");
                }
            }
            Err(_) => assert!(errors == 1 && got.envelopes.is_empty(), "{got:?}"),
        }
        assert!(got.blocks.is_empty(), "a text message must stay one");
    }

    fn send_binary(&mut self, frame: &[u8]) {
        const SENDER: usize = 0;
        let frame = self.filled_binary(frame);
        let from = self.send(SENDER, Incoming::Binary(frame.clone())).expect("it is registered");
        let got = self.settle();
        let errors = got.count(|to, response| to == SENDER && matches!(response, Response::Error { .. }));
        assert_eq!(got.blocks.len() + errors, 1, "neither or both of delivered and refused: {got:?}");
        assert!(got.envelopes.len() <= errors, "a binary message must stay one");
        for (to, envelope) in got.envelopes {
            let Ok(ClientBinary { subject: Subject { tag, index, count, .. }, .. }) = decode_client_binary(&frame)
            else {
                panic!("what is not understood ends no request");
            };
            let reject = encode_forwarded(from, &PeerMessage::Reject { file: tag, index, count });
            assert_eq!((to, &*envelope), (2, reject.as_bytes()), "only the third client takes none");
        }
        for (to, block) in got.blocks {
            assert_eq!(to, 1, "only the second client takes binary messages");
            let ClientBinary { message, data, .. } =
                decode_client_binary(&frame).expect("what is not understood is not delivered");
            let head = format!("{}{message}}}", forwarded_head(from));
            assert_eq!(block, [&(head.len() as u32).to_be_bytes(), head.as_bytes(), &data].concat());
        }
    }

    /// Hands the message to the tracker; gives the id of who sends it.
    fn send(&mut self, client: usize, message: Incoming) -> Option<PeerId> {
        let guest = self.guests[client].get_or_insert_with(|| {
            let outbox = Arc::new(self.hub.outbox());
            let address = AddressKey::of([10, 0, 0, 1].into());
            let signs = Arc::new(Signs::new());
            let conn = self.hub.connect(address, &outbox, &signs).expect("there is room for three");
            Guest { conn, outbox, peer: None }
        });
        let rate = AddressAllowance::new(&self.hub.config().limits);
        Client::new(&self.hub, &guest.outbox, &Signs::new(), guest.conn, rate)
            .handle(message)
            .expect("no reason to close");
        guest.peer
    }

    fn hang_up(&mut self, client: usize) {
        if let Some(guest) = self.guests[client].take() {
            self.hub.disconnect(guest.conn);
        }
        self.settle_without_answers();
    }

    async fn pass(&mut self, time: Duration) {
        let elapsed = timeout(time, self.hub.run_timers()).await;
        assert!(elapsed.is_err(), "the timers never end");
        self.settle_without_answers();
    }

    /// Everybody hangs up; nothing remains.
    async fn end(mut self) {
        for client in 0..self.guests.len() {
            self.hang_up(client);
        }
        self.pass(SHORT).await;
        assert!(self.hub.is_idle(), "a timer remains");
        assert_eq!(self.counts(), [0; 4]);
    }

    fn settle_without_answers(&mut self) {
        let got = self.settle();
        assert!(got.responses.iter().all(|(_, seq, _)| seq.is_none()), "an answer to nothing: {got:?}");
        assert!(got.envelopes.is_empty() && got.blocks.is_empty(), "an envelope of nobody: {got:?}");
    }

    /// Lets every client read what waits for it, and those that are told to close hang up, until there is nothing more.
    fn settle(&mut self) -> Got {
        let mut got = Got::default();
        while (0..self.guests.len()).any(|client| self.read(client, &mut got)) {}
        let here = self.guests.iter().flatten();
        let [connections, rooms, peers, files] = self.counts();
        assert_eq!(connections, here.clone().count());
        assert_eq!(peers, here.filter(|guest| guest.peer.is_some()).count());
        assert!(rooms <= peers, "an empty room");
        assert!(rooms > 0 || files == 0, "files without a room");
        got
    }

    /// Whether there was anything.
    fn read(&mut self, client: usize, got: &mut Got) -> bool {
        let Some(guest) = &mut self.guests[client] else { return false };
        let mut batch = Batch::default();
        let Some(more) = guest.outbox.fill(&mut batch).now_or_never() else { return false };
        let mut bytes = Vec::new();
        batch.write_to(&mut bytes, LONG).now_or_never().expect("memory never waits").expect("nor fails");
        let mut frames = Cursor::new(Bytes::from(bytes));
        let mut closed = false;
        while let Some((header, len)) = FrameHeader::parse(&mut frames).expect("a frame of the tracker is right") {
            assert!(!closed, "something after the close");
            let start = frames.position();
            frames.set_position(start + len);
            let payload = frames.get_ref().slice(start as usize..(start + len) as usize);
            match header.opcode {
                OpCode::Data(Data::Text) if payload.starts_with(br#"{"from""#) => got.envelopes.push((client, payload)),
                OpCode::Data(Data::Text) => {
                    let text = str::from_utf8(&payload).expect("text is UTF-8");
                    let Ok(TrackerFrame::Response { seq, response }) = decode_tracker_text(text) else {
                        panic!("not understood: {text}");
                    };
                    if let Response::Registered { identity, .. } = &response {
                        guest.peer = Some(identity.id);
                        self.identities[client] = Some(identity.clone());
                    }
                    got.responses.push((client, seq, response));
                }
                OpCode::Data(Data::Binary) => got.blocks.push((client, payload)),
                OpCode::Control(Control::Close) => closed = true,
                other @ (OpCode::Data(_) | OpCode::Control(_)) => panic!("a frame of kind {other} out of nowhere"),
            }
        }
        assert_eq!(frames.position(), frames.get_ref().len() as u64, "a cut frame");
        assert_eq!(closed, !more, "the last frame is the close");
        if closed {
            self.hub.disconnect(guest.conn);
            self.guests[client] = None;
        }
        true
    }

    /// How many connections, rooms, peers and files there are.
    fn counts(&self) -> [usize; 4] {
        let status = serde_json::to_value(self.hub.status()).expect("it is JSON");
        ["connections", "rooms", "peers", "files"].map(|what| status[what].as_u64().expect("a number") as usize)
    }

    /// Puts the true values in the places of those that an input cannot know.
    fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (id, identity) in IDS.iter().zip(&self.identities) {
            if let Some(identity) = identity {
                text = text.replace(id, &identity.id.to_string());
            }
        }
        if let Some(identity) = &self.identities[1] {
            let secret = serde_json::to_value(identity.secret).expect("it is JSON");
            text = text.replace(SECRET, secret.as_str().expect("it is a string"));
        }
        // Once, so that a short input stays a short message.
        text.replacen(DEEP, &["[".repeat(DEPTH), "]".repeat(DEPTH)].concat(), 1)
    }

    fn filled_binary(&self, frame: &[u8]) -> Bytes {
        let mut frame = frame.to_owned();
        for (id, identity) in IDS.iter().zip(&self.identities) {
            let Some(identity) = identity else { continue };
            while let Some(at) = frame.windows(id.len()).position(|window| window == id.as_bytes()) {
                frame[at..at + id.len()].copy_from_slice(identity.id.to_string().as_bytes());
            }
        }
        frame.into()
    }
}

impl Got {
    fn count(&self, matches: impl Fn(usize, &Response) -> bool) -> usize {
        self.responses.iter().filter(|(to, _, response)| matches(*to, response)).count()
    }
}
