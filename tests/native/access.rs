//! Who may connect to the real tracker, and how often.

use anyhow::Context as _;
use peer_native::{Connection, Error, Peer, PeerConfig, Problem};
use protocol::{FileId, close};
use serde_json::json;
use std::net::Ipv4Addr;
use tests::{
    client::{Client, DEADLINE},
    eventually::eventually,
    http::{UPGRADE, request, request_on},
    status::status,
    tracker::TestTracker,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tracker_ws::{Config, Limits};

/// Another address of this machine.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const TOKEN: &str = "let-us-in";

async fn tracker_with(limits: Limits) -> anyhow::Result<TestTracker> {
    TestTracker::start_with(Config { limits, ..Config::default() }).await
}

/// The status that a page of this origin gets, and the reason if it may not connect.
async fn handshake(tracker: &TestTracker, origin: &str, host: &str) -> anyhow::Result<(u16, String)> {
    let headers = format!("Host: {host}\r\nOrigin: {origin}\r\n{UPGRADE}");
    let answer = request(tracker, "GET", "/ws", &headers).await?;
    Ok((answer.status, answer.body))
}

#[tokio::test]
async fn only_the_trackers_own_page_may_connect_unless_others_are_allowed() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let own = tracker.addr().to_string();
    let port = tracker.addr().port();
    assert_eq!(handshake(&tracker, &format!("http://{own}"), &own).await?.0, 101);
    assert_eq!(handshake(&tracker, &format!("http://teacher-pc:{port}"), &format!("teacher-pc:{port}")).await?.0, 101);
    // As trunk passes on what its page asks for.
    assert_eq!(handshake(&tracker, "http://127.0.0.1:8080", "127.0.0.1").await?.0, 101);
    Client::join(&tracker, "lobby").await.context("a program says no origin")?;

    let rebound = format!("evil.example.com:{port}");
    let rebound_origin = format!("http://{rebound}");
    for (origin, host) in [("http://evil.example.com", &own), ("null", &own), (rebound_origin.as_str(), &rebound)] {
        let (status, reason) = handshake(&tracker, origin, host).await?;
        assert_eq!(status, 403, "{origin}");
        assert!(reason.contains("another site") && reason.contains("--origin"), "{reason}");
    }
    assert_eq!(status(tracker.addr()).await?["refused"]["origin"], 3);

    let origins = vec!["https://share.example.org".parse()?];
    let tracker = TestTracker::start_with(Config { origins, ..Config::default() }).await?;
    let own = tracker.addr().to_string();
    assert_eq!(handshake(&tracker, "https://share.example.org", &own).await?.0, 101);
    assert_eq!(handshake(&tracker, &format!("http://{own}"), &own).await?.0, 403);
    let tracker = TestTracker::start_with(Config { origins: vec!["*".parse()?], ..Config::default() }).await?;
    assert_eq!(handshake(&tracker, "http://evil.example.com", &own).await?.0, 101);
    Ok(())
}

#[tokio::test]
async fn a_site_that_points_its_name_at_this_machine_is_told_nothing() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let _alice = Client::join(&tracker, "lobby").await?;
    let told = ["/api/rooms/lobby", "/api/status", "/metrics"];
    let port = tracker.addr().port();
    for path in told {
        let answer = request(&tracker, "GET", path, &format!("Host: evil.example.com:{port}\r\n")).await?;
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.json()?["message"].as_str().is_some_and(|words| words.contains("--origin")), "{answer:?}");
        for own in ["localhost", "teacher-pc.local", "127.0.0.1"] {
            let answer = request(&tracker, "GET", path, &format!("Host: {own}:{port}\r\n")).await?;
            assert_eq!(answer.status, 200, "{path} of {own}");
        }
    }
    assert_eq!(status(tracker.addr()).await?["refused"]["origin"], 3);

    let origins = vec!["https://share.example.org".parse()?];
    let tracker = TestTracker::start_with(Config { origins, ..Config::default() }).await?;
    for path in told.into_iter().skip(1) {
        assert_eq!(request(&tracker, "GET", path, "Host: share.example.org\r\n").await?.status, 200, "{path}");
        assert_eq!(request(&tracker, "GET", path, "Host: evil.example.com\r\n").await?.status, 403, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn whoever_lacks_the_token_is_closed_and_told_so() -> anyhow::Result<()> {
    let tracker = TestTracker::start_with(Config { token: Some(TOKEN.parse()?), ..Config::default() }).await?;
    for query in ["", "?token=", "?token=let-us-i", "?token=let-us-in-", "?other=let-us-in"] {
        let mut client = Client::connect_from(&tracker, Ipv4Addr::LOCALHOST, query).await?;
        assert_eq!(client.expect_close().await?, close::WRONG_TOKEN, "{query}");
    }
    for query in ["?token=let-us-in", "?lang=en&token=let-us-in"] {
        let mut client = Client::connect_from(&tracker, Ipv4Addr::LOCALHOST, query).await?;
        client.register(json!({})).await?;
    }
    assert_eq!(status(tracker.addr()).await?["refused"]["wrong_token"], 5);
    for open in ["/", "/health", "/ready", "/metrics"] {
        assert_eq!(request(&tracker, "GET", open, "").await?.status, 200, "{open}");
    }
    Ok(())
}

#[tokio::test]
async fn the_token_of_everybody_is_not_the_one_to_remove_peers_with() -> anyhow::Result<()> {
    let [token, admin_token] = [Some(TOKEN.parse()?), Some(TOKEN.parse()?)];
    let refused = TestTracker::start_with(Config { token, admin_token, ..Config::default() }).await;
    let words = refused.err().context("it must not start")?.to_string();
    assert!(words.contains("--admin-token"), "{words}");
    Ok(())
}

#[tokio::test]
async fn a_native_peer_with_a_wrong_token_gives_up_and_one_with_the_right_one_joins() -> anyhow::Result<()> {
    let tracker = TestTracker::start_with(Config { token: Some(TOKEN.parse()?), ..Config::default() }).await?;
    let folder = tempfile::tempdir()?;
    let stranger = Peer::start(PeerConfig::new(tracker.ws_url(), folder.path()));
    let fetched = timeout(DEADLINE, stranger.fetch(FileId::from_bytes([1; 32]))).await?;
    assert!(matches!(fetched, Err(Error::Failed(Problem::WrongToken))), "{fetched:?}");
    let ended = Some(Connection::Ended { problem: Problem::WrongToken });
    assert_eq!(stranger.state().borrow().connection, ended);

    let peer = Peer::start(PeerConfig::new(format!("{}?token={TOKEN}", tracker.ws_url()), folder.path()));
    let mut state = peer.state();
    let is_online = |connection: &Option<Connection>| matches!(connection, Some(Connection::Online { .. }));
    timeout(DEADLINE, state.wait_for(|state| is_online(&state.connection))).await??;
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_address_has_as_many_websockets_as_it_may() -> anyhow::Result<()> {
    let tracker = tracker_with(Limits { address_connections: 2, ..Limits::default() }).await?;
    let mut first = Client::join(&tracker, "lobby").await?;
    let second = Client::join(&tracker, "lobby").await?;
    for _ in 0..2 {
        assert_eq!(Client::connect(&tracker).await?.expect_close().await?, close::ADDRESS_FULL);
    }
    Client::connect_from(&tracker, ELSEWHERE, "").await?.register(json!({})).await.context("not this address")?;
    assert_eq!(first.ask(json!({ "type": "ping" })).await?["type"], "pong");
    assert_eq!(status(tracker.addr()).await?["refused"]["address_full"], 2);

    drop(second);
    eventually("a place that is free again", DEADLINE, async || Ok(Client::join(&tracker, "lobby").await)).await?;
    Ok(())
}

/// Whether a new connection from an address is served.
async fn is_served(tracker: &TestTracker, from: Ipv4Addr) -> anyhow::Result<bool> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut socket = socket.connect(tracker.addr()).await?;
    Ok(request_on(&mut socket, "GET", "/health", "").await.is_ok_and(|answer| answer.status == 200))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_address_has_as_many_http_connections_as_it_may() -> anyhow::Result<()> {
    let tracker = tracker_with(Limits { address_http_connections: 2, ..Limits::default() }).await?;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(tracker.addr()).await?;
        assert_eq!(request_on(&mut socket, "GET", "/health", "").await?.status, 200);
        kept.push(socket);
    }
    assert!(!is_served(&tracker, Ipv4Addr::LOCALHOST).await?);
    assert!(is_served(&tracker, ELSEWHERE).await?, "not this address");
    let figures = request_on(&mut kept[0], "GET", "/api/status", "").await?.json()?;
    assert_eq!(figures["refused"]["http_address_full"], 1);

    kept.pop();
    eventually("a place that is free again", DEADLINE, async || {
        Ok(if is_served(&tracker, Ipv4Addr::LOCALHOST).await? { Ok(()) } else { Err("not served") })
    })
    .await
}

#[tokio::test]
async fn a_websocket_is_no_http_connection_and_one_that_is_refused_makes_room() -> anyhow::Result<()> {
    let limits = Limits { http_connections: 1, address_http_connections: 1, max_connections: 2, ..Limits::default() };
    let tracker = tracker_with(limits).await?;
    // Each needs the one place that there is.
    let mut clients = Vec::new();
    for _ in 0..2 {
        let joined = async || Ok(Client::join(&tracker, "lobby").await);
        clients.push(eventually("the place of the one before", DEADLINE, joined).await?);
    }
    let mut refused = Client::connect(&tracker).await?;
    assert_eq!(refused.expect_close().await?, close::TRACKER_FULL);
    drop(refused);
    eventually("the place of the one refused", DEADLINE, async || Ok(request(&tracker, "GET", "/health", "").await))
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_head_that_is_too_long_or_too_slow_is_refused() -> anyhow::Result<()> {
    let tracker = tracker_with(Limits { head_bytes: 8 << 10, ..Limits::default() }).await?;
    let padded = |len: usize| format!("X-Padding: {}\r\n", "x".repeat(len));
    assert_eq!(request(&tracker, "GET", "/health", &padded(7_000)).await?.status, 200);
    assert_eq!(request(&tracker, "GET", "/health", &padded(9_000)).await?.status, 431);
    eventually("the count", DEADLINE, async || {
        let refused = status(tracker.addr()).await?["refused"].take();
        Ok(if refused["head_too_long"] == 1 { Ok(()) } else { Err(refused) })
    })
    .await?;

    let tracker = tracker_with(Limits { head_ms: 100, ..Limits::default() }).await?;
    let mut slow = TcpStream::connect(tracker.addr()).await?;
    slow.write_all(b"GET /health HTTP/1.1\r\nHost: ").await?;
    let mut rest = Vec::new();
    // An answer, an end or a reset: in any case it is over.
    _ = timeout(DEADLINE, slow.read_to_end(&mut rest)).await.context("it must be closed")?;
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
    eventually("the count", DEADLINE, async || {
        let refused = status(tracker.addr()).await?["refused"].take();
        Ok(if refused["head_too_slow"] == 1 { Ok(()) } else { Err(refused) })
    })
    .await
}
