//! What the real tracker tells, and lets be done, over HTTP.

use anyhow::{Context as _, ensure};
use peer_native::{Connection, Peer, PeerConfig, Problem};
use protocol::close;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tests::{
    client::{Client, DEADLINE},
    eventually::eventually,
    http::request,
    small_file::{BOTH, FILE, FIRST, announce},
    status::status,
    tracker::TestTracker,
};
use tokio::time::timeout;
use tracker_ws::{Config, Limits};

const TOKEN: &str = "let-us-in";
const ADMIN: &str = "obey-this-one";

/// The samples of a page of metrics. Fails if a line is none, or if its family was not described before.
fn samples(page: &str) -> anyhow::Result<BTreeMap<String, f64>> {
    let mut samples = BTreeMap::new();
    let mut family = "";
    for line in page.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').context("a type")?;
            ensure!(
                (kind == "counter") == name.ends_with("_total") && (kind == "gauge" || kind == "counter"),
                "{line}"
            );
            family = name;
        } else if !line.starts_with("# HELP ") {
            let (sample, value) = line.rsplit_once(' ').context("a sample")?;
            ensure!(sample.split('{').next() == Some(family), "{line} after {family}");
            ensure!(samples.insert(sample.to_owned(), value.parse()?).is_none(), "twice: {line}");
        }
    }
    Ok(samples)
}

#[tokio::test]
async fn the_metrics_tell_how_the_tracker_does_and_of_nobody_in_it() -> anyhow::Result<()> {
    let tracker = TestTracker::start_with(Config { token: None, ..Config::default() }).await?;
    let mut alice = Client::join_as(&tracker, json!({ "room": "physics", "name": "Alice" })).await?;
    let mut bob = Client::join(&tracker, "physics").await?;
    let _carol = Client::join(&tracker, "maths").await?;
    announce(&mut alice, BOTH).await?;
    announce(&mut bob, FIRST).await?;
    bob.ask(json!({ "type": "get_peers", "file": FILE })).await?;
    alice.tell(bob.id(), json!({ "type": "interested", "file": &FILE[..16] })).await?;
    bob.expect_from(alice.id()).await?;
    alice.tell("0000000000000000", json!({ "type": "interested", "file": &FILE[..16] })).await?;
    alice.expect_error("unknown_peer").await?;
    request(&tracker, "GET", "/api/rooms/nobody", "").await?;
    let mut other = Client::connect(&tracker).await?;
    other.register(json!({ "room": "physics", "resume": bob.identity() })).await?;
    assert_eq!(bob.expect_close().await?, close::REPLACED);

    let wanted = [
        ("minibit_connections", 4.0),
        ("minibit_connections_max", 20_000.0),
        ("minibit_peers", 3.0),
        ("minibit_files", 1.0),
        (r#"minibit_rooms{peers="1"}"#, 1.0),
        (r#"minibit_rooms{peers="2-9"}"#, 1.0),
        (r#"minibit_rooms{peers="100+"}"#, 0.0),
        ("minibit_relayed_messages_total", 1.0),
        ("minibit_waiting_bytes", 0.0),
        ("minibit_waiting_bytes_max", (512 << 20).into()),
        (r#"minibit_refused_total{reason="unknown_peer"}"#, 1.0),
        (r#"minibit_refused_total{reason="replaced"}"#, 1.0),
        (r#"minibit_refused_total{reason="not_found"}"#, 1.0),
    ];
    let page = eventually("the connection that was replaced to end", DEADLINE, async || {
        let answer = request(&tracker, "GET", "/metrics", "").await?;
        ensure!(answer.status == 200 && answer.head.contains("content-type: text/plain; version=0.0.4"), "{answer:?}");
        let samples = samples(&answer.body)?;
        let is_over = samples.get("minibit_connections") == Some(&3.0);
        Ok(if is_over { Ok(answer.body) } else { Err(answer.body) })
    })
    .await?;
    let samples = samples(&page)?;
    for (sample, value) in &wanted[1..] {
        assert_eq!(samples.get(*sample), Some(value), "{sample} in {page}");
    }
    ensure!(samples["minibit_relayed_bytes_total"] > 50.0 && samples.contains_key("minibit_uptime_seconds"), "{page}");
    for secret in ["physics", "Alice", alice.id(), FILE, "127.0.0.1"] {
        assert!(!page.contains(secret), "{secret} in {page}");
    }
    Ok(())
}

#[tokio::test]
async fn a_room_can_be_looked_into() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let mut alice = Client::join_as(&tracker, json!({ "room": "physics", "name": "Alice" })).await?;
    let mut bob = Client::join(&tracker, "physics").await?;
    let _carol = Client::join(&tracker, "maths").await?;
    announce(&mut alice, BOTH).await?;
    announce(&mut bob, FIRST).await?;
    let answer = request(&tracker, "GET", "/api/rooms/physics", "").await?;
    assert_eq!(answer.status, 200);
    let mut room = answer.json()?;
    assert_eq!((&room["room"], &room["next"]), (&json!("physics"), &Value::Null));
    let media_type = "text/plain";
    let files = json!([{ "file": FILE, "name": "a.txt", "size": 5000, "media_type": media_type, "block_size": 4096,
                         "sources": 1, "peers": 2 }]);
    assert_eq!(room["files"], files);
    let peers = room["peers"].as_array_mut().context("peers")?;
    peers.sort_by_key(|peer| peer["files"][0]["blocks"].as_u64());
    for peer in &mut *peers {
        let silent = peer["last_seen_seconds"].take();
        assert!(silent.as_u64().is_some_and(|seconds| seconds <= DEADLINE.as_secs()), "{silent}");
    }
    let has = |blocks| json!([{ "file": FILE, "blocks": blocks, "told_direct_bytes": 0 }]);
    let expected = [
        json!({ "id": bob.id(), "last_seen_seconds": null, "files": has(1) }),
        json!({ "id": alice.id(), "name": "Alice", "last_seen_seconds": null, "files": has(2) }),
    ];
    assert_eq!(*peers, expected);

    // In parts.
    let first = request(&tracker, "GET", "/api/rooms/physics?limit=1", "").await?.json()?;
    let after = first["next"].as_str().context("there is more")?;
    let second = request(&tracker, "GET", &format!("/api/rooms/physics?limit=1&after={after}"), "").await?.json()?;
    assert_eq!(second["next"], Value::Null);
    let ids = [&first, &second].map(|view| view["peers"][0]["id"].as_str().unwrap_or_default());
    assert_eq!(BTreeSet::from(ids), BTreeSet::from([alice.id(), bob.id()]));

    for (path, status) in [
        ("/api/rooms/nobody", 404),
        ("/api/rooms/a%20b", 400),
        ("/api/rooms/physics?limit=0", 400),
        ("/api/rooms/physics?limit=1001", 400),
        ("/api/rooms/physics?limit=x", 400),
        ("/api/rooms/physics?after=x", 400),
    ] {
        let answer = request(&tracker, "GET", path, "").await?;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.json()?["message"].is_string(), "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn a_room_behind_a_token_shows_itself_only_to_those_who_know_one() -> anyhow::Result<()> {
    let config = Config { token: Some(TOKEN.parse()?), admin_token: Some(ADMIN.parse()?), ..Config::default() };
    let tracker = TestTracker::start_with(config).await?;
    let room = async |query: &str, token: Option<&str>| {
        let header = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        anyhow::Ok(request(&tracker, "GET", &format!("/api/rooms/lobby{query}"), &header).await?.status)
    };
    assert_eq!(room("", None).await?, 401);
    assert_eq!(room("?token=let-us-out", None).await?, 401);
    assert_eq!(room("", Some("let-us-out")).await?, 401);
    // Nobody is in it.
    assert_eq!(room("?token=let-us-in", None).await?, 404);
    assert_eq!(room("", Some(TOKEN)).await?, 404);
    assert_eq!(room("", Some(ADMIN)).await?, 404);
    let figures = status(tracker.addr()).await?;
    assert_eq!(figures["refused"], json!({ "not_found": 3, "token": 3 }));
    Ok(())
}

#[tokio::test]
async fn whoever_runs_the_tracker_can_remove_a_peer() -> anyhow::Result<()> {
    let tracker = TestTracker::start_with(Config { admin_token: Some(ADMIN.parse()?), ..Config::default() }).await?;
    let mut alice = Client::join(&tracker, "lobby").await?;
    let mut bob = Client::join(&tracker, "lobby").await?;
    announce(&mut alice, BOTH).await?;
    announce(&mut bob, FIRST).await?;
    bob.ask(json!({ "type": "get_peers", "file": FILE })).await?;
    let remove = async |id: &str, header: &str| {
        anyhow::Ok(request(&tracker, "DELETE", &format!("/api/peers/{id}"), header).await?.status)
    };
    let right = format!("Authorization: Bearer {ADMIN}\r\n");
    for wrong in ["", "Authorization: Bearer let-us-in\r\n", &format!("Authorization: Basic {ADMIN}\r\n")] {
        assert_eq!(remove(alice.id(), wrong).await?, 401, "{wrong}");
    }
    assert_eq!(remove("x", &right).await?, 400);
    assert_eq!(remove("0000000000000000", &right).await?, 404);
    assert_eq!(alice.ask(json!({ "type": "ping" })).await?["type"], "pong");

    assert_eq!(remove(alice.id(), &right).await?, 204);
    let room = request(&tracker, "GET", "/api/rooms/lobby", "").await?.json()?;
    assert_eq!(room["peers"].as_array().map(Vec::len), Some(1), "{room}");
    assert_eq!(alice.expect_close().await?, close::REMOVED);
    assert_eq!(bob.expect_type("peer_left").await?["peer"], alice.id());
    assert_eq!(remove(alice.id(), &right).await?, 404);

    let folder = tempfile::tempdir()?;
    let peer = Peer::start(PeerConfig::new(tracker.ws_url(), folder.path()));
    let mut state = peer.state();
    let id = timeout(DEADLINE, state.wait_for(|state| matches!(state.connection, Some(Connection::Online { .. }))))
        .await??
        .connection
        .clone();
    let Some(Connection::Online { id, .. }) = id else { panic!("it is online") };
    assert_eq!(remove(&id.to_string(), &right).await?, 204);
    let ended = Some(Connection::Ended { problem: Problem::Removed });
    timeout(DEADLINE, state.wait_for(|state| state.connection == ended)).await??;

    let tracker = TestTracker::start().await?;
    let answer = request(&tracker, "DELETE", "/api/peers/0000000000000000", &right).await?;
    assert_eq!(answer.status, 403);
    assert!(answer.json()?["message"].as_str().is_some_and(|words| words.contains("--admin-token")), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn a_tracker_is_ready_as_long_as_it_takes_clients() -> anyhow::Result<()> {
    let limits = Limits { max_connections: 1, ..Limits::default() };
    let tracker = TestTracker::start_with(Config { limits, ..Config::default() }).await?;
    let health = async |path: &str| anyhow::Ok(request(&tracker, "GET", path, "").await?);
    assert_eq!(health("/ready").await?.status, 200);
    let client = Client::join(&tracker, "lobby").await?;
    let answer = health("/ready").await?;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("as many connections"), "{answer:?}");
    assert_eq!(health("/health").await?.status, 200);
    drop(client);
    eventually("the connection to end", DEADLINE, async || {
        let answer = health("/ready").await?;
        Ok(if answer.status == 200 { Ok(()) } else { Err(answer) })
    })
    .await
}
