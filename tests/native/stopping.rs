//! A tracker that stops.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use std::time::Duration;
use tests::{
    client::{Client, DEADLINE, binary_frame},
    tracker::TestTracker,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_tungstenite::tungstenite::Message;
use tracker_ws::{Config, Limits};

/// A file of many large blocks: more than the system keeps for a receiver.
const FILE: &str = "f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1";
const TAG: &str = "f1f1f1f1f1f1f1f1";
const BLOCK: usize = 256 << 10;
const BLOCKS: usize = 64;
/// Requests count in segments of 16 KiB.
const SEGMENTS: usize = BLOCK >> 14;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_gets_what_waits_for_it_before_the_tracker_stops() -> anyhow::Result<()> {
    let limits = Limits { queue_bytes: 256 << 20, ..Limits::default() };
    let tracker = TestTracker::start_with(Config { limits, ..Config::default() }).await?;
    let addr = tracker.addr();
    let (mut sender, mut receiver) = introduced(&tracker).await?;
    fill(&mut sender, &mut receiver).await?;

    let read = async {
        // Nobody is let in, and the sender is closed at once; only then does the receiver begin to read.
        assert_eq!(sender.expect_close().await?, protocol::close::GOING_AWAY);
        ensure!(TcpStream::connect(addr).await.is_err(), "a new connection must be refused");
        let mut blocks = 0;
        while blocks < BLOCKS {
            if let Message::Binary(frame) = receiver.next_frame().await? {
                ensure!(frame.len() > BLOCK);
                blocks += 1;
            }
        }
        receiver.expect_close().await
    };
    let (stopped, code) = tokio::join!(tracker.stop(), read);
    stopped?;
    assert_eq!(code?, protocol::close::GOING_AWAY);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_cannot_keep_the_tracker_from_stopping() -> anyhow::Result<()> {
    let limits = Limits { queue_bytes: 256 << 20, ..Limits::default() };
    let tracker = TestTracker::start_with(Config { limits, ..Config::default() }).await?;
    let (mut sender, mut stuck) = introduced(&tracker).await?;
    fill(&mut sender, &mut stuck).await?;
    timeout(DEADLINE, tracker.stop()).await.context("not stopped in time")?
}

#[tokio::test]
async fn a_request_that_is_never_finished_is_not_waited_for() -> anyhow::Result<()> {
    let limits = Limits { address_http_connections: 1, ..Limits::default() };
    let tracker = TestTracker::start_with(Config { limits, ..Config::default() }).await?;
    let mut slow = TcpStream::connect(tracker.addr()).await?;
    slow.write_all(b"GET /health HTTP/1.1\r\nHost: ").await?;
    // That there is no place for another tells that the first was let in.
    let mut other = TcpStream::connect(tracker.addr()).await?;
    ensure!(timeout(DEADLINE, other.read_u8()).await?.is_err());
    // Time is virtual from here, and goes on only while somebody waits for it.
    tokio::time::pause();
    let begun = Instant::now();
    tracker.stop().await?;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    Ok(())
}

/// Two clients that know each other in the swarm of the file; the first has it, and the second takes binary frames.
async fn introduced(tracker: &TestTracker) -> anyhow::Result<(Client, Client)> {
    let mut sender = Client::join(tracker, "lobby").await?;
    let mut receiver = Client::join_as(tracker, json!({ "binary": true })).await?;
    for (client, byte) in [(&mut sender, 0xff), (&mut receiver, 0)] {
        let blocks = data_encoding::BASE64.encode(&[byte; BLOCKS / 8]);
        let facts = json!({
            "type": "announce", "file": FILE, "name": "f1", "size": BLOCK * BLOCKS, "block_size": BLOCK,
            "blocks": blocks,
        });
        let answer = client.ask(facts).await?;
        ensure!(answer["type"] == "announced", "{answer}");
    }
    let answer: Value = receiver.ask(json!({ "type": "get_peers", "file": FILE })).await?;
    ensure!(answer["peers"][0]["id"] == sender.id(), "{answer}");
    Ok((sender, receiver))
}

/// Lets `receiver` ask for every block and not read, and `sender` send them all.
async fn fill(sender: &mut Client, receiver: &mut Client) -> anyhow::Result<()> {
    for index in (0..BLOCKS).map(|block| block * SEGMENTS) {
        let request = json!({ "type": "request", "file": TAG, "index": index, "count": SEGMENTS });
        receiver.tell(sender.id(), request).await?;
        let request = sender.expect("a request", |it| it["message"]["type"] == "request").await?;
        assert_eq!(request["message"]["index"], index);
        let block = format!(r#"{{"type":"block","file":"{TAG}","index":{index},"count":{SEGMENTS}}}"#);
        let envelope = format!(r#"{{"to":"{}","message":{block}}}"#, receiver.id());
        sender.send_raw(Message::Binary(binary_frame(&envelope, &vec![7; BLOCK]))).await?;
    }
    // The answer tells that all blocks before it were taken.
    assert_eq!(sender.ask(json!({ "type": "ping" })).await?["type"], "pong");
    Ok(())
}
