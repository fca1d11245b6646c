//! The tracker alone, asked by clients that speak plain JSON.

use anyhow::{Context as _, ensure};
use protocol::PROTOCOL_VERSION;
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs};
use tests::{
    client::{Client, DEADLINE, binary_frame},
    small_file::{BOTH, FILE, FIRST, NONE, TAG, announce, announcement, introduce},
    tracker::TestTracker,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::tungstenite::Message;
use tracker_ws::{Config, Limits};

#[tokio::test]
async fn a_peer_gets_an_id_and_hears_the_limits() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let mut client = Client::connect(&tracker).await?;
    let error = client.ask(json!({ "type": "list_files" })).await?;
    assert_eq!(error["code"], "not_registered");
    let answer = client.ask(json!({ "type": "register", "protocol": PROTOCOL_VERSION, "name": "Ana" })).await?;
    assert_eq!(answer["type"], "registered");
    assert_eq!((&answer["room"], &answer["resumed"]), (&json!("lobby"), &json!(false)));
    assert_eq!(answer["id"].as_str().map(str::len), Some(16));
    assert_eq!(answer["secret"].as_str().map(str::len), Some(32));
    assert_eq!(answer["limits"], serde_json::to_value(Limits::default().told())?);
    let error = client.ask(json!({ "type": "register", "protocol": PROTOCOL_VERSION })).await?;
    assert_eq!(error["code"], "already_registered");
    assert_eq!(client.ask(json!({ "type": "ping" })).await?["type"], "pong");
    Ok(())
}

#[tokio::test]
async fn the_secret_takes_the_id_back_and_replaces_the_older_connection() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let mut older = Client::join(&tracker, "lobby").await?;
    let mut newer = Client::connect(&tracker).await?;
    let mut stolen = older.identity();
    stolen["secret"] = "00".repeat(16).into();
    let error = newer.ask(json!({ "type": "register", "protocol": PROTOCOL_VERSION, "resume": stolen })).await?;
    assert_eq!(error["code"], "wrong_secret");
    assert_eq!(older.ask(json!({ "type": "ping" })).await?["type"], "pong");

    newer.register(json!({ "resume": older.identity() })).await?;
    assert_eq!(newer.identity(), older.identity());
    assert_eq!(older.expect_close().await?, protocol::close::REPLACED);
    assert_eq!(newer.ask(json!({ "type": "ping" })).await?["type"], "pong");
    Ok(())
}

#[tokio::test]
async fn an_address_to_listen_on_may_stand_in_brackets_as_in_a_url() -> anyhow::Result<()> {
    // Any address will do, and not every machine has one of IPv6.
    let host = "[127.0.0.1]".to_owned();
    let tracker = TestTracker::start_with(Config { host, ..Config::default() }).await?;
    Client::join(&tracker, "lobby").await?;
    Ok(())
}

#[tokio::test]
async fn a_peer_is_introduced_to_those_whom_it_was_given() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let mut seed = Client::join_as(&tracker, json!({ "name": "seed", "binary": true })).await?;
    let mut fetcher = Client::join_as(&tracker, json!({ "name": "fetcher" })).await?;
    announce(&mut seed, BOTH).await?;
    announce(&mut fetcher, NONE).await?;
    let mut answer = fetcher.ask(json!({ "type": "get_peers", "file": FILE })).await?;
    let mut joined = seed.expect_type("peer_joined").await?;
    for age in [answer["peers"][0]["age"].take(), joined["peer"]["age"].take()] {
        assert!(age.as_u64().is_some_and(|seconds| seconds <= DEADLINE.as_secs()), "{age}");
    }
    let seen = json!([{ "id": seed.id(), "name": "seed", "binary": true, "blocks": 2, "age": null }]);
    assert_eq!(answer["peers"], seen);
    assert_eq!(joined["file"], FILE);
    assert_eq!(
        joined["peer"],
        json!({ "id": fetcher.id(), "name": "fetcher", "binary": false, "blocks": 0, "age": null })
    );

    seed.ask(json!({ "type": "leave", "file": FILE })).await?;
    let left = fetcher.expect_type("peer_left").await?;
    assert_eq!((&left["file"], &left["peer"]), (&json!(FILE), &json!(seed.id())));

    announce(&mut seed, BOTH).await?;
    fetcher.ask(json!({ "type": "get_peers", "file": FILE })).await?;
    seed.expect_type("peer_joined").await?;
    let gone = fetcher.id().to_owned();
    drop(fetcher);
    assert_eq!(seed.expect_type("peer_left").await?["peer"], gone);
    Ok(())
}

#[tokio::test]
async fn five_peers_are_given_unless_another_number_is_asked_for() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let mut members = Vec::new();
    for _ in 0..8 {
        let mut member = Client::join(&tracker, "lobby").await?;
        announce(&mut member, NONE).await?;
        members.push(member);
    }
    let mut asker = members.pop().context("eight members")?;
    for (limit, expected) in [(Value::Null, 5), (json!(3), 3), (json!(7), 7), (json!(50), 7)] {
        let request = json!({ "type": "get_peers", "file": FILE, "limit": limit });
        let answer = asker.ask(request).await?;
        let given: BTreeSet<_> = ids(&answer).into_iter().collect();
        assert_eq!(given.len(), expected);
        assert!(!given.contains(asker.id()));
    }
    Ok(())
}

#[tokio::test]
async fn whoever_watches_hears_of_each_change_and_rooms_are_separate() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let mut watcher = Client::join(&tracker, "lobby").await?;
    let mut stranger = Client::join(&tracker, "elsewhere").await?;
    let list = json!({ "type": "list_files", "watch": true });
    assert_eq!(watcher.ask(list).await?["files"], json!([]));

    let mut sharer = Client::join(&tracker, "lobby").await?;
    announce(&mut sharer, FIRST).await?;
    let expected = |sources| {
        let media_type = "text/plain";
        json!([{ "file": FILE, "name": "a.txt", "size": 5000, "media_type": media_type, "block_size": 4096,
                 "sources": sources, "peers": 1 }])
    };
    watcher.expect("the new file", |message| message["files"] == expected(0)).await?;
    sharer.ask(json!({ "type": "update_blocks", "file": FILE, "blocks": BOTH })).await?;
    watcher.expect("the new source", |message| message["files"] == expected(1)).await?;
    for (block, holders) in [(Value::Null, 1), (json!(1), 1)] {
        let request = json!({ "type": "who_has", "file": FILE, "block": block });
        assert_eq!(ids(&watcher.ask(request.clone()).await?).len(), holders);
        assert_eq!(ids(&stranger.ask(request).await?), Vec::<String>::new());
    }
    assert_eq!(stranger.ask(json!({ "type": "list_files" })).await?["files"], json!([]));
    stranger.tell(sharer.id(), json!({ "type": "interested", "file": TAG })).await?;
    assert_eq!(stranger.expect_error("unknown_peer").await?["to"], sharer.id());
    sharer.ask(json!({ "type": "leave" })).await?;
    watcher.expect("no file", |message| message["files"] == json!([])).await?;
    Ok(())
}

#[tokio::test]
async fn a_wrong_bitfield_is_refused() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let mut client = Client::join(&tracker, "lobby").await?;
    // No byte, one too many, a bit past the last block.
    for blocks in ["", "wAA=", "4A=="] {
        let answer = client.ask(announcement(blocks)).await?;
        assert_eq!(answer["code"], "invalid_bitfield", "{blocks}");
    }
    announce(&mut client, NONE).await?;
    let answer = client.ask(json!({ "type": "update_blocks", "file": FILE, "blocks": "wAA=" })).await?;
    assert_eq!(answer["code"], "invalid_bitfield");
    Ok(())
}

#[tokio::test]
async fn an_envelope_arrives_byte_for_byte_with_the_senders_true_id() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let mut alice = Client::join(&tracker, "lobby").await?;
    let mut bob = Client::join_as(&tracker, json!({ "binary": true })).await?;
    introduce(&mut alice, &mut bob).await?;
    let (from, to) = (alice.id().to_owned(), bob.id().to_owned());
    // Short ones and long ones take different ways through the tracker.
    for (filler, data) in [(0, 1), (3_000, 3_000), (5_000, 5_000), (8_000, 1_000_000)] {
        let filler = "é".repeat(filler / 2);
        let message =
            format!(r#"{{ "type" : "have","file":"{TAG}","blocks":[[0, 1]],"x":"\u00e9 {filler}","n":[1,2.50, 1e3]}}"#);
        alice.send_raw(Message::text(format!(r#"{{ "to":"{to}" , "message":{message} }}"#))).await?;
        let Message::Text(text) = bob.next_frame().await? else { panic!("must be text") };
        let start = format!(r#"{{"from":"{from}","message":{message}"#);
        assert_eq!(text.strip_prefix(&start).map(str::trim), Some("}"));

        bob.tell(&from, json!({ "type": "request", "file": TAG, "index": 1 })).await?;
        alice.expect_from(&to).await?;
        let data = &vec![7; data];
        let message = format!(r#"{{"type":"block","file":"{TAG}","index":1}}"#);
        let envelope = format!(r#"{{"to":"{to}","message":{message}}}"#);
        alice.send_raw(Message::Binary(binary_frame(&envelope, data))).await?;
        let forwarded = binary_frame(&format!(r#"{{"from":"{from}","message":{message}}}"#), data);
        assert_eq!(bob.next_frame().await?, Message::Binary(forwarded));
    }
    Ok(())
}

#[tokio::test]
async fn an_envelope_that_lies_or_goes_nowhere_is_refused() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let mut alice = Client::join(&tracker, "lobby").await?;
    let mut bob = Client::join(&tracker, "lobby").await?;
    introduce(&mut alice, &mut bob).await?;
    let (id, to) = (alice.id().to_owned(), bob.id().to_owned());
    for text in [
        format!(r#"{{"to":"{to}","from":"{to}","message":{{"type":"choke","file":"{TAG}"}}}}"#),
        format!(r#"{{"from":"{to}","message":{{"type":"choke","file":"{TAG}"}}}}"#),
        format!(r#"{{"to":"{to}","to":"{id}","message":{{"type":"choke","file":"{TAG}"}}}}"#),
    ] {
        alice.send_raw(Message::text(text)).await?;
        alice.expect_error("malformed").await?;
    }
    for nobody in [&id, "0000000000000000"] {
        alice.tell(nobody, json!({ "type": "choke", "file": TAG })).await?;
        assert_eq!(alice.expect_error("unknown_peer").await?["to"], *nobody);
    }
    bob.tell(&id, json!({ "type": "request", "file": TAG, "index": 0 })).await?;
    alice.expect_from(&to).await?;
    let envelope = format!(r#"{{"to":"{to}","message":{{"type":"block","file":"{TAG}","index":0}}}}"#);
    alice.send_raw(Message::Binary(binary_frame(&envelope, b"data"))).await?;
    let error = alice.expect_error("malformed").await?;
    assert_eq!(error["to"], *to, "Bob did not say that he takes binary frames");
    assert_eq!(error["about"], json!({ "type": "block", "file": TAG, "index": 0, "count": 1 }));
    assert_eq!(bob.expect_from(&id).await?, json!({ "type": "reject", "file": TAG, "index": 0 }));
    let mut stranger = Client::connect(&tracker).await?;
    stranger.tell(&to, json!({ "type": "choke", "file": TAG })).await?;
    stranger.expect_error("not_registered").await?;
    Ok(())
}

#[tokio::test]
async fn a_client_that_talks_nonsense_is_told_and_then_closed() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let mut client = Client::join(&tracker, "lobby").await?;
    client.send(&json!({ "type": "dance" })).await?;
    client.expect_error("unknown_type").await?;
    for nonsense in 1..20 {
        client
            .send_raw(if nonsense % 2 == 0 { Message::text("nonsense") } else { Message::binary(vec![0xff; 8]) })
            .await?;
        client.expect_error("malformed").await?;
    }
    assert_eq!(client.expect_close().await?, protocol::close::TOO_MANY_ERRORS);
    Ok(())
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused_at_its_header() -> anyhow::Result<()> {
    let limits = Limits { message_bytes: 10_000, ..Limits::default() };
    let tracker = TestTracker::start_with(Config { limits, ..Config::default() }).await?;
    let mut client = Client::join(&tracker, "lobby").await?;
    let padded = |len: usize| Message::text(format!(r#"{{"type":"ping"{}}}"#, " ".repeat(len - 15)));
    client.send_raw(padded(10_000)).await?;
    client.expect_type("pong").await?;
    client.send_raw(padded(10_001)).await?;
    assert_eq!(client.expect_close().await?, protocol::close::TOO_BIG);

    let mut client = Client::join(&tracker, "lobby").await?;
    // A binary frame of 100 MB that is masked with zeros, of which nothing follows.
    let header = [&[0x82, 0xff][..], &100_000_000_u64.to_be_bytes(), &[0; 4]].concat();
    client.send_bytes(&header).await?;
    assert_eq!(client.expect_close().await?, protocol::close::TOO_BIG);
    Ok(())
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_expired() -> anyhow::Result<()> {
    let limits = Limits { heartbeat_ms: 500, ..Limits::default() };
    let tracker = TestTracker::start_with(Config { limits, ..Config::default() }).await?;
    let mut silent = Client::join(&tracker, "lobby").await?;
    announce(&mut silent, BOTH).await?;
    let mut alive = Client::join(&tracker, "lobby").await?;
    announce(&mut alive, NONE).await?;
    alive.ask(json!({ "type": "get_peers", "file": FILE })).await?;
    // Who reads answers the tracker's pings; `silent` does not read.
    assert_eq!(alive.expect_type("peer_left").await?["peer"], silent.id());
    assert_eq!(silent.expect_close().await?, protocol::close::SILENT);
    assert_eq!(alive.ask(json!({ "type": "ping" })).await?["type"], "pong");
    Ok(())
}

#[tokio::test]
async fn a_connection_without_register_and_one_too_many_are_closed() -> anyhow::Result<()> {
    let limits = Limits { max_connections: 1, register_ms: 100, ..Limits::default() };
    let tracker = TestTracker::start_with(Config { limits, ..Config::default() }).await?;
    let mut client = Client::connect(&tracker).await?;
    assert_eq!(client.expect_close().await?, protocol::close::REGISTER_TIMEOUT);
    drop(client);

    let limits = Limits { max_connections: 1, ..Limits::default() };
    let tracker = TestTracker::start_with(Config { limits, ..Config::default() }).await?;
    let mut first = Client::join(&tracker, "lobby").await?;
    assert_eq!(Client::connect(&tracker).await?.expect_close().await?, protocol::close::TRACKER_FULL);
    assert_eq!(first.ask(json!({ "type": "ping" })).await?["type"], "pong");
    Ok(())
}

#[tokio::test]
async fn a_receiver_that_does_not_read_harms_nobody_else() -> anyhow::Result<()> {
    let limits = Limits { queue_bytes: 256 << 10, open_requests: 10_000, ..Limits::default() };
    let tracker = TestTracker::start_with(Config { limits, ..Config::default() }).await?;
    let mut sender = Client::join(&tracker, "lobby").await?;
    let mut stuck = Client::join_as(&tracker, json!({ "binary": true })).await?;
    let mut healthy = Client::join_as(&tracker, json!({ "binary": true })).await?;
    for (receiver, requests) in [(&mut stuck, 1_600), (&mut healthy, 1)] {
        introduce(&mut sender, receiver).await?;
        for _ in 0..requests {
            receiver.tell(sender.id(), json!({ "type": "request", "file": TAG, "index": 0 })).await?;
        }
        receiver.ask(json!({ "type": "ping" })).await?;
    }
    let block = |to: &str| {
        let envelope = format!(r#"{{"to":"{to}","message":{{"type":"block","file":"{TAG}","index":0}}}}"#);
        Message::Binary(binary_frame(&envelope, &[7; 64 << 10]))
    };
    // What the system buffers is not known; it is far less than the most that is sent here.
    let mut refused = Value::Null;
    for _ in 0..100 {
        for _ in 0..16 {
            sender.send_raw(block(stuck.id())).await?;
        }
        sender.send(&json!({ "type": "ping" })).await?;
        refused = sender.expect("pong or busy", |it| it["type"] == "pong" || it["code"] == "busy").await?;
        if refused["code"] == "busy" {
            break;
        }
    }
    assert_eq!((&refused["code"], &refused["to"]), (&json!("busy"), &json!(stuck.id())));
    assert_eq!(refused["about"], json!({ "type": "block", "file": TAG, "index": 0, "count": 1 }));

    sender.send_raw(block(healthy.id())).await?;
    let expected = binary_frame(
        &format!(r#"{{"from":"{}","message":{{"type":"block","file":"{TAG}","index":0}}}}"#, sender.id()),
        &[7; 64 << 10],
    );
    assert_eq!(healthy.next_frame().await?, Message::Binary(expected.clone()));
    // What was accepted for the slow one is still whole, and control goes before data.
    sender.tell(stuck.id(), json!({ "type": "choke", "file": TAG })).await?;
    assert_eq!(stuck.next_frame().await?, Message::Binary(expected));
    stuck.expect("a reject for what was refused", |it| it["message"]["type"] == "reject").await?;
    stuck.expect("the choke", |it| it["message"]["type"] == "choke").await?;
    Ok(())
}

#[tokio::test]
async fn who_takes_a_file_for_another_size_keeps_nobody_from_it() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let mut liar = Client::join(&tracker, "lobby").await?;
    let mut claim = announcement(BOTH);
    claim["size"] = 5001.into();
    assert_eq!(liar.ask(claim).await?["type"], "announced");
    let [mut sharer, mut fetcher] = [Client::join(&tracker, "lobby").await?, Client::join(&tracker, "lobby").await?];
    announce(&mut sharer, BOTH).await?;
    let get_peers = json!({ "type": "get_peers", "file": FILE });
    let found: BTreeSet<_> = ids(&fetcher.ask(get_peers.clone()).await?).into_iter().collect();
    assert_eq!(found, BTreeSet::from([liar.id().to_owned(), sharer.id().to_owned()]));
    announce(&mut fetcher, NONE).await?;
    assert_eq!(ids(&fetcher.ask(get_peers).await?), [sharer.id()]);
    let files = fetcher.ask(json!({ "type": "list_files" })).await?["files"].take();
    let sizes: Vec<_> = files.as_array().context("files")?.iter().map(|file| file["size"].as_u64()).collect();
    assert_eq!(sizes, [Some(5000), Some(5001)]);
    Ok(())
}

#[tokio::test]
async fn a_flood_of_small_messages_is_refused_and_does_not_close_its_receiver() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let mut sender = Client::join(&tracker, "lobby").await?;
    let mut slow = Client::join(&tracker, "lobby").await?;
    introduce(&mut sender, &mut slow).await?;
    fill_with_small(&mut sender, slow.id()).await?;
    // Still more of the same changes nothing.
    for _ in 0..2_000 {
        sender.tell(slow.id(), padded_have()).await?;
    }
    assert_eq!(sender.ask(json!({ "type": "ping" })).await?["type"], "pong");

    assert_eq!(slow.ask(json!({ "type": "ping" })).await?["type"], "pong");
    sender.tell(slow.id(), json!({ "type": "choke", "file": TAG })).await?;
    slow.expect("the choke", |it| it["message"]["type"] == "choke").await?;
    Ok(())
}

#[tokio::test]
async fn a_client_that_asks_and_does_not_read_is_not_kept_for_ever() -> anyhow::Result<()> {
    // Its line breaks, or it only stays silent.
    for (heartbeat_ms, breaks) in [(15_000, true), (500, false)] {
        let limits = Limits { heartbeat_ms, ..Limits::default() };
        let tracker = TestTracker::start_with(Config { limits, ..Config::default() }).await?;
        let mut watcher = Client::join(&tracker, "lobby").await?;
        for file in 0..200 {
            let mut facts = announcement(NONE);
            facts["file"] = format!("{file:064x}").into();
            facts["name"] = "a".repeat(250).into();
            watcher.ask(facts).await?;
        }
        announce(&mut watcher, NONE).await?;
        let mut stuck = Client::join(&tracker, "lobby").await?;
        announce(&mut stuck, NONE).await?;
        watcher.ask(json!({ "type": "get_peers", "file": FILE })).await?;
        // The answers are some 17 MB, far more than what the system buffers and the tracker lets wait.
        for _ in 0..200 {
            stuck.send(&json!({ "type": "list_files" })).await?;
        }
        let id = stuck.id().to_owned();
        if breaks {
            fill_with_small(&mut watcher, &id).await?;
        }
        let stuck = (!breaks).then_some(stuck);
        assert_eq!(watcher.expect_type("peer_left").await?["peer"], id);
        drop(stuck);
    }
    Ok(())
}

#[tokio::test]
async fn a_tracker_that_stops_says_so_to_everyone() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let mut registered = Client::join(&tracker, "lobby").await?;
    let mut fresh = Client::connect(&tracker).await?;
    let (stopped, first, second) = tokio::join!(tracker.stop(), registered.expect_close(), fresh.expect_close());
    stopped?;
    assert_eq!((first?, second?), (protocol::close::GOING_AWAY, protocol::close::GOING_AWAY));
    Ok(())
}

#[tokio::test]
async fn the_page_is_served_as_soon_as_it_is_built() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let page_dir = folder.path().join("dist");
    fs::write(folder.path().join("secret"), "secret")?;
    let tracker = TestTracker::start_with(Config { page_dir: page_dir.clone(), ..Config::default() }).await?;
    let (head, body) = get(&tracker, "/", "").await?;
    assert!(head.starts_with("HTTP/1.1 200") && body.contains("cargo xtask run"), "{head}");

    fs::create_dir(&page_dir)?;
    for (name, content) in [("index.html", "<p>built"), ("app.js", "1"), ("app.wasm", "\0asm")] {
        fs::write(page_dir.join(name), content)?;
    }
    for (path, media_type, content) in [
        ("/", "text/html", "<p>built"),
        ("/app.js", "text/javascript", "1"),
        ("/app.wasm", "application/wasm", "\0asm"),
    ] {
        let (head, body) = get(&tracker, path, "").await?;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains(&format!("content-type: {media_type}")), "{head}");
        assert!(head.contains("cache-control: no-cache"), "{head}");
        assert_eq!(body, content);
    }
    for path in ["/missing.js", "/../secret", "/%2e%2e/secret", "/..%2fsecret", "//etc/passwd", "/dist/%00"] {
        let (head, body) = get(&tracker, path, "").await?;
        assert!(head.starts_with("HTTP/1.1 4") && !body.contains("secret"), "{path}: {head}");
    }
    Ok(())
}

#[tokio::test]
async fn the_figures_tell_what_is_going_on() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let (head, body) = get(&tracker, "/health", "").await?;
    assert!(head.starts_with("HTTP/1.1 200") && body == "ok", "{head}");

    let mut alice = Client::join(&tracker, "lobby").await?;
    let mut bob = Client::join(&tracker, "lobby").await?;
    introduce(&mut alice, &mut bob).await?;
    alice.tell(bob.id(), json!({ "type": "choke", "file": TAG })).await?;
    alice.tell("0000000000000000", json!({ "type": "choke", "file": TAG })).await?;
    alice.expect_error("unknown_peer").await?;
    bob.expect_from(alice.id()).await?;
    let (_, body) = get(&tracker, "/api/status", "").await?;
    let status: Value = serde_json::from_str(&body)?;
    for (figure, expected) in [("connections", 2), ("rooms", 1), ("peers", 2), ("files", 1), ("relayed_messages", 1)] {
        assert_eq!(status[figure], expected, "{figure}");
    }
    assert_eq!(status["refused"], json!({ "unknown_peer": 1 }));
    ensure!(status["version"].is_string() && status["uptime_seconds"].is_u64() && status["relayed_bytes"].is_u64());
    Ok(())
}

#[tokio::test]
async fn a_wrong_handshake_gets_an_http_answer() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let upgrade = "Upgrade: WebSocket\r\nConnection: close, Upgrade\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (headers, status) in [
        (String::new(), "426"),
        (format!("{key}Sec-WebSocket-Version: 13\r\n"), "426"),
        (format!("{upgrade}{key}Sec-WebSocket-Version: 8\r\n"), "426"),
        (format!("{upgrade}Sec-WebSocket-Version: 13\r\n"), "400"),
        (format!("{upgrade}Sec-WebSocket-Key: short\r\nSec-WebSocket-Version: 13\r\n"), "400"),
        (format!("{upgrade}{key}Sec-WebSocket-Version: 13\r\nContent-Length: 1\r\n"), "400"),
    ] {
        let (head, _) = get(&tracker, "/ws", &headers).await?;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{headers}: {head}");
    }
    Ok(())
}

/// A message that goes before data and is as large as such a one may be.
fn padded_have() -> Value {
    json!({ "type": "have", "file": TAG, "blocks": [[0, 1]], "padding": "x".repeat(3_000) })
}

/// Sends small messages to a peer that does not read, until one is refused.
async fn fill_with_small(sender: &mut Client, to: &str) -> anyhow::Result<()> {
    loop {
        for _ in 0..100 {
            sender.tell(to, padded_have()).await?;
        }
        sender.send(&json!({ "type": "ping" })).await?;
        let answer = sender.expect("pong or error", |it| it["type"] == "pong" || it["type"] == "error").await?;
        if answer["type"] == "error" {
            ensure!(answer["code"] == "busy" && answer["to"] == to, "{answer}");
            return Ok(());
        }
    }
}

fn ids(answer: &Value) -> Vec<String> {
    let peers = answer["peers"].as_array().into_iter().flatten();
    peers.filter_map(|peer| peer["id"].as_str().map(str::to_owned)).collect()
}

/// The head and the body of an answer to `GET`.
async fn get(tracker: &TestTracker, path: &str, headers: &str) -> anyhow::Result<(String, String)> {
    let mut socket = TcpStream::connect(tracker.addr()).await?;
    let close = if headers.contains("Connection:") { "" } else { "Connection: close\r\n" };
    socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{close}\r\n").as_bytes()).await?;
    let mut answer = String::new();
    timeout(DEADLINE, socket.read_to_string(&mut answer)).await.context("no answer in time")??;
    let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
    Ok((head.to_owned(), body.to_owned()))
}
