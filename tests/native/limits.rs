//! Limits of the real tracker that need two to be reached.

use anyhow::Context as _;
use protocol::close;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use tests::{
    client::{Client, DEADLINE},
    eventually::eventually,
    small_file::{NONE, TAG, announcement, ask_for_blocks, block, fill_with_blocks, introduce},
    status::{figure, status},
    tracker::TestTracker,
};
use tokio_tungstenite::tungstenite::Message;
use tracker_ws::{Config, Limits};

async fn tracker_with(limits: Limits) -> anyhow::Result<TestTracker> {
    TestTracker::start_with(Config { limits, ..Config::default() }).await
}

/// Two clients that know each other, of which the second takes binary frames.
async fn pair(tracker: &TestTracker) -> anyhow::Result<(Client, Client)> {
    let mut sender = Client::join(tracker, "lobby").await?;
    let mut receiver = Client::join_as(tracker, json!({ "binary": true })).await?;
    introduce(&mut sender, &mut receiver).await?;
    Ok((sender, receiver))
}

/// Sends requests of at least this size at once and reads every answer; gives how often the tracker paused by then.
async fn pings(tracker: &TestTracker, client: &mut Client, count: usize, bytes: usize) -> anyhow::Result<u64> {
    let ping = format!(r#"{{"type":"ping"{}}}"#, " ".repeat(bytes));
    for _ in 0..count {
        client.send_raw(Message::text(&ping)).await?;
    }
    for _ in 0..count {
        client.expect_type("pong").await?;
    }
    Ok(figure(&status(tracker.addr()).await?, "pauses"))
}

#[tokio::test]
async fn who_sends_more_messages_than_it_may_is_read_more_slowly_and_loses_nothing() -> anyhow::Result<()> {
    // A request counts as 20.
    let tracker = tracker_with(Limits { messages_per_second: 2_000, ..Limits::default() }).await?;
    let mut client = Client::join(&tracker, "lobby").await?;
    assert_eq!(pings(&tracker, &mut client, 50, 0).await?, 0);
    assert!(pings(&tracker, &mut client, 200, 0).await? > 0);
    Ok(())
}

#[tokio::test]
async fn who_sends_more_bytes_than_it_may_is_read_more_slowly_and_loses_nothing() -> anyhow::Result<()> {
    let tracker = tracker_with(Limits { bytes_per_second: 100_000, ..Limits::default() }).await?;
    let mut client = Client::join(&tracker, "lobby").await?;
    assert_eq!(pings(&tracker, &mut client, 5, 10_000).await?, 0);
    assert!(pings(&tracker, &mut client, 20, 10_000).await? > 0);
    Ok(())
}

#[tokio::test]
async fn the_connections_of_one_address_have_one_allowance_and_those_of_another_their_own() -> anyhow::Result<()> {
    let no_limit_of_its_own = Limits { messages_per_second: 0, ..Limits::default() };
    for (limits, bytes, many) in [
        (Limits { address_messages_per_second: 10_000, ..no_limit_of_its_own.clone() }, 0, 2_000),
        (Limits { address_bytes_per_second: 100_000, ..no_limit_of_its_own }, 1_500, 200),
    ] {
        let tracker = tracker_with(limits).await?;
        let mut clients = [Client::join(&tracker, "lobby").await?, Client::join(&tracker, "lobby").await?];
        assert_eq!(pings(&tracker, &mut clients[0], 35, bytes).await?, 0);
        assert!(pings(&tracker, &mut clients[1], many, bytes).await? > 0);

        // The first address has more to say than it may in seconds, which nobody else waits for.
        let ping = format!(r#"{{"type":"ping"{}}}"#, " ".repeat(bytes));
        for _ in 0..500 {
            clients[0].send_raw(Message::text(&ping)).await?;
        }
        let elsewhere = Ipv4Addr::new(127, 0, 0, 2);
        let mut other = Client::connect_from(&tracker, elsewhere, "").await?;
        other.register(json!({})).await?;
        assert_eq!(other.ask(json!({ "type": "ping" })).await?["type"], "pong");
    }
    Ok(())
}

#[tokio::test]
async fn who_takes_no_byte_is_closed_and_those_who_know_it_are_told() -> anyhow::Result<()> {
    let tracker = tracker_with(Limits { stall_ms: 300, open_requests: 10_000, ..Limits::default() }).await?;
    let (mut sender, mut stuck) = pair(&tracker).await?;
    ask_for_blocks(&mut stuck, sender.id(), 1_000).await?;
    let data = [7; 64 << 10];
    // Far more than what the system buffers.
    for _ in 0..400 {
        sender.send_raw(block(stuck.id(), &data)).await?;
    }
    assert_eq!(sender.expect_type("peer_left").await?["peer"], stuck.id());
    eventually("the close to be counted", DEADLINE, async || {
        let status = status(tracker.addr()).await?;
        let is_told = status["refused"]["slow_receiver"] == 1 && status["connections"] == 1;
        Ok(if is_told && status["waiting_bytes"] == 0 { Ok(()) } else { Err(status) })
    })
    .await?;
    assert_eq!(sender.ask(json!({ "type": "ping" })).await?["type"], "pong");
    Ok(())
}

#[tokio::test]
async fn data_that_waits_never_takes_more_than_the_budget_and_control_goes_on() -> anyhow::Result<()> {
    const BUDGET: u64 = 4 << 20;
    let limits = Limits { memory_bytes: BUDGET as usize, ..Limits::default() };
    let tracker = tracker_with(limits).await?;
    let mut stuck = Vec::new();
    let data = [7; 64 << 10];
    let mut waiting = 0;
    for _ in 0..3 {
        let (mut sender, mut receiver) = pair(&tracker).await?;
        ask_for_blocks(&mut receiver, sender.id(), 1_000).await?;
        fill_with_blocks(&mut sender, receiver.id(), 1_000, &data).await?;
        let now = figure(&status(tracker.addr()).await?, "waiting_bytes");
        assert!(waiting < now && now <= BUDGET, "each gets a part of what is left: {waiting} {now}");
        waiting = now;
        stuck.push((sender, receiver));
    }
    for (sender, receiver) in &mut stuck {
        sender.tell(receiver.id(), json!({ "type": "choke", "file": TAG })).await?;
        let is_choke = |message: &Value| message["message"]["type"] == "choke";
        receiver.expect("the choke", is_choke).await?;
    }
    Ok(())
}

#[tokio::test]
async fn one_sender_leaves_room_for_another_whose_block_does_not_wait_for_all_of_the_first() -> anyhow::Result<()> {
    let limits = Limits { queue_bytes: 4 << 20, ..Limits::default() };
    let tracker = tracker_with(limits).await?;
    let (mut first, mut slow) = pair(&tracker).await?;
    let mut second = Client::join(&tracker, "lobby").await?;
    introduce(&mut second, &mut slow).await?;
    ask_for_blocks(&mut slow, first.id(), 1_000).await?;
    ask_for_blocks(&mut slow, second.id(), 1).await?;
    let taken = fill_with_blocks(&mut first, slow.id(), 1_000, &[1; 64 << 10]).await?;
    second.send_raw(block(slow.id(), &[2; 64 << 10])).await?;
    second.send(&json!({ "type": "ping" })).await?;
    let answer = second.expect("pong or busy", |it| it["type"] == "pong" || it["code"] == "busy").await?;
    assert_eq!(answer["type"], "pong", "there is room for another sender");

    let mut seen = Vec::new();
    while seen.len() <= taken {
        if let Message::Binary(frame) = slow.next_frame().await? {
            seen.push(frame.last().copied().context("a block")?);
        }
    }
    let place = seen.iter().position(|byte| *byte == 2).context("the second sender's block")?;
    // Half of the queue is the first one's; after the other's turn most of it is still to come.
    assert!(seen.len() - place > 10, "{place} of {}", seen.len());
    Ok(())
}

#[tokio::test]
async fn a_block_passes_for_an_open_request_and_the_oldest_of_too_many_are_forgotten() -> anyhow::Result<()> {
    let tracker = tracker_with(Limits { open_requests: 2, ..Limits::default() }).await?;
    let (mut sender, mut receiver) = pair(&tracker).await?;
    sender.send_raw(block(receiver.id(), b"data")).await?;
    assert_eq!(sender.expect_error("not_requested").await?["to"], receiver.id());
    // Two may be open, and of three the first is forgotten.
    for asked in [1, 2, 3] {
        ask_for_blocks(&mut receiver, sender.id(), asked).await?;
        for _ in 0..asked.min(2) {
            sender.send_raw(block(receiver.id(), b"data")).await?;
            assert!(matches!(receiver.next_frame().await?, Message::Binary(_)));
        }
        sender.send_raw(block(receiver.id(), b"data")).await?;
        sender.expect_error("not_requested").await?;
    }
    Ok(())
}

#[tokio::test]
async fn nothing_passes_between_strangers_but_the_question_for_a_manifest() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let mut alice = Client::join(&tracker, "lobby").await?;
    let mut bob = Client::join(&tracker, "lobby").await?;
    for kind in ["bitfield", "have", "interested", "unchoke", "request", "cancel"] {
        let blocks = if kind == "have" { json!([[0, 1]]) } else { json!("") };
        alice.tell(bob.id(), json!({ "type": kind, "file": TAG, "index": 0, "blocks": blocks })).await?;
        let error = alice.expect_error("not_introduced").await?;
        assert_eq!((&error["to"], &error["about"]["type"]), (&json!(bob.id()), &json!(kind)));
    }
    let file = TAG.repeat(4);
    let mut manifest = announcement(NONE);
    manifest["type"] = "manifest".into();
    manifest["hashes"] = "".into();
    for answer in [manifest, json!({ "type": "no_manifest", "file": file })] {
        alice.tell(bob.id(), answer.clone()).await?;
        alice.expect_error("not_requested").await?;
        bob.tell(alice.id(), json!({ "type": "get_manifest", "file": file, "part": 0 })).await?;
        assert_eq!(alice.expect_from(bob.id()).await?["type"], "get_manifest");
        alice.tell(bob.id(), answer.clone()).await?;
        assert_eq!(bob.expect_from(alice.id()).await?, answer);
    }
    Ok(())
}

#[tokio::test]
async fn what_no_peer_could_understand_goes_no_further_than_the_tracker() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let (mut sender, mut receiver) = pair(&tracker).await?;
    let (from, to) = (sender.id().to_owned(), receiver.id().to_owned());
    receiver.tell(&from, json!({ "type": "request", "file": TAG, "index": 0 })).await?;
    sender.expect_from(&to).await?;
    for message in [
        json!({ "type": "request", "file": TAG }),
        json!({ "type": "request", "file": TAG, "index": 0, "count": 0 }),
        json!({ "type": "have", "file": TAG }),
        json!({ "type": "have", "file": TAG, "blocks": [[0, 1]], "x": "x".repeat(8 << 10) }),
        json!({ "type": "block", "file": TAG, "index": 0, "data": "" }),
    ] {
        sender.tell(&to, message).await?;
        assert_eq!(sender.expect_error("malformed").await?["to"], to);
    }
    for len in [0, (1 << 20) + 1] {
        sender.send_raw(block(&to, &vec![7; len])).await?;
        assert_eq!(sender.expect_error("malformed").await?["to"], to);
    }
    // The request is open all the same.
    sender.send_raw(block(&to, &vec![7; 1 << 20])).await?;
    assert!(matches!(receiver.next_frame().await?, Message::Binary(_)));
    Ok(())
}

#[tokio::test]
async fn a_code_that_a_client_closes_with_is_not_the_trackers() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let mut client = Client::join(&tracker, "lobby").await?;
    // A masked close frame with 4005.
    let [high, low] = close::SLOW_RECEIVER.to_be_bytes();
    client.send_bytes(&[0x88, 0x82, 0, 0, 0, 0, high, low]).await?;
    assert_eq!(client.expect_close().await?, close::SLOW_RECEIVER);
    eventually("the end", DEADLINE, async || {
        let status = status(tracker.addr()).await?;
        Ok(if status["connections"] == 0 { Ok(()) } else { Err(status) })
    })
    .await?;
    assert_eq!(status(tracker.addr()).await?["refused"], json!({}));
    Ok(())
}

#[tokio::test]
async fn messages_without_an_end_leave_memory_to_others_and_are_given_up() -> anyhow::Result<()> {
    let limits = Limits { memory_bytes: 1 << 20, heartbeat_ms: 50, ..Limits::default() };
    let tracker = tracker_with(limits).await?;
    // The first fragment of a masked binary message, which is all that comes of it.
    let begun = [&[0x02, 0xff][..], &300_000_u64.to_be_bytes(), &[0; 4], &[0; 300_000]].concat();
    let mut endless = Vec::new();
    for _ in 0..4 {
        let mut client = Client::connect(&tracker).await?;
        client.send_bytes(&begun[..14]).await?;
        endless.push(client);
    }
    let first = endless.first_mut().context("one of them")?;
    first.send_bytes(&begun[14..]).await?;
    let mut elsewhere = Client::connect_from(&tracker, Ipv4Addr::new(127, 0, 0, 2), "").await?;
    elsewhere.register(json!({})).await?;
    let ping = format!(r#"{{"type":"ping"{}}}"#, " ".repeat(100_000));
    elsewhere.send_raw(Message::text(ping)).await?;
    elsewhere.expect_type("pong").await?;
    // Whoever reads answers the pings; it is closed all the same.
    assert_eq!(first.expect_close().await?, close::SILENT);
    Ok(())
}
