//! The tracker that tells clients how others see them.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};
use tests::{
    client::{Client, DEADLINE},
    eventually::eventually,
    http::request,
    status::{figure, status},
    tracker::TestTracker,
};
use tokio::{net::UdpSocket, time::timeout};
use tracker_ws::{Config, Direct, Limits, StartError, Tracker};

const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// A binding request as Chromium sends it: a bare head.
fn binding_request(number: u8) -> Vec<u8> {
    [&[0, 1, 0, 0][..], &COOKIE, &[number; 12]].concat()
}

/// The address in an answer that has nothing else in it, read by hand as RFC 8489 section 14.2 tells.
fn told(number: u8, answer: &[u8]) -> anyhow::Result<SocketAddr> {
    let key = [&COOKIE[..], &[number; 12]].concat();
    let (head, body) = answer.split_first_chunk::<20>().context("an answer has a head")?;
    ensure!(head[..4] == [1, 1, 0, body.len() as u8] && head[4..] == key, "{answer:x?}");
    ensure!(body[..5] == [0, 0x20, 0, body.len() as u8 - 4, 0], "{answer:x?}");
    let plain = |from: usize| body[from..].iter().zip(&key).map(|(byte, mask)| byte ^ mask).collect::<Vec<_>>();
    let port = u16::from_be_bytes([body[6] ^ key[0], body[7] ^ key[1]]);
    let ip: IpAddr = match body[5] {
        1 => <[u8; 4]>::try_from(plain(8)).ok().context("four bytes")?.into(),
        2 => <[u8; 16]>::try_from(plain(8)).ok().context("sixteen bytes")?.into(),
        family => anyhow::bail!("no family {family}"),
    };
    Ok(SocketAddr::new(ip, port))
}

/// Asks, and gives the address that the answer tells.
async fn ask(socket: &UdpSocket, tracker: SocketAddr, number: u8) -> anyhow::Result<SocketAddr> {
    socket.send_to(&binding_request(number), tracker).await?;
    let mut answer = [0; 100];
    let (len, from) = timeout(DEADLINE, socket.recv_from(&mut answer)).await.context("no answer in time")??;
    ensure!(from == tracker, "an answer of {from}");
    told(number, &answer[..len])
}

/// What a client is told at `registered`.
async fn told_at_registered(tracker: &TestTracker) -> anyhow::Result<Value> {
    let mut client = Client::connect(tracker).await?;
    let register = json!({ "type": "register", "protocol": protocol::PROTOCOL_VERSION });
    Ok(client.ask(register).await?["stun"].take())
}

/// Whether nobody has the tracker's port for UDP.
async fn is_free(addr: SocketAddr) -> bool {
    UdpSocket::bind(addr).await.is_ok()
}

#[tokio::test]
async fn a_client_learns_its_own_address_at_the_port_that_it_is_told() -> anyhow::Result<()> {
    let config = Config { stun_servers: vec!["stun:stun.example.org".parse()?], ..Config::default() };
    let tracker = TestTracker::start_with(config).await?;
    let port = tracker.addr().port();
    assert_eq!(told_at_registered(&tracker).await?, json!({ "port": port, "servers": ["stun:stun.example.org"] }));
    for from in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 9)] {
        // Not every system has all of that network.
        let Ok(socket) = UdpSocket::bind((from, 0)).await else { continue };
        assert_eq!(ask(&socket, tracker.addr(), 1).await?, socket.local_addr()?);
    }
    Ok(())
}

#[tokio::test]
async fn nothing_but_a_request_is_answered_and_all_is_counted() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let mut garbage = vec![Vec::new(), vec![0; 20], vec![0xff; 1_400], binding_request(1)[..19].to_vec()];
    for kind in [[0, 0x11], [1, 1], [1, 0x11], [0, 3]] {
        garbage.push([&kind[..], &binding_request(2)[2..]].concat());
    }
    garbage.push([&binding_request(3)[..], &[0; 1_000]].concat());
    for datagram in &garbage {
        socket.send_to(datagram, tracker.addr()).await?;
    }
    // The tracker reads in order, so that an answer to one of those would be here first.
    for number in [7, 8] {
        assert_eq!(ask(&socket, tracker.addr(), number).await?, socket.local_addr()?);
    }
    let mut more = [0; 100];
    assert_eq!(socket.try_recv(&mut more).map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));

    let figures = eventually("the last answer to be counted", DEADLINE, async || {
        let figures = status(tracker.addr()).await?;
        Ok(if figure(&figures, "stun_answers") == 2 { Ok(figures) } else { Err(figures) })
    })
    .await?;
    assert_eq!(figure(&figures, "stun_dropped"), garbage.len() as u64);
    let page = request(&tracker, "GET", "/metrics", "").await?.body;
    for line in ["minibit_stun_answers_total 2", &format!("minibit_stun_dropped_total {}", garbage.len())] {
        assert!(page.lines().any(|it| it == line), "{line} in {page}");
    }
    Ok(())
}

#[tokio::test]
async fn whoever_comes_by_ipv4_is_told_so_where_the_tracker_listens_on_both() -> anyhow::Result<()> {
    let config = Config { host: "::".to_owned(), ..Config::default() };
    // Not every machine has IPv6.
    let Ok(tracker) = TestTracker::start_with(config).await else { return Ok(()) };
    for from in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        let Ok(socket) = UdpSocket::bind((from, 0)).await else { continue };
        assert_eq!(ask(&socket, (from, tracker.addr().port()).into(), 1).await?, socket.local_addr()?);
    }
    Ok(())
}

#[tokio::test]
async fn a_tracker_that_is_not_to_answer_opens_no_socket() -> anyhow::Result<()> {
    let stun_servers = vec!["stun:192.0.2.1:3478".parse()?];
    let tracker =
        TestTracker::start_with(Config { no_stun: true, stun_servers: stun_servers.clone(), ..Config::default() })
            .await?;
    assert!(is_free(tracker.addr()).await);
    assert_eq!(told_at_registered(&tracker).await?, json!({ "servers": ["stun:192.0.2.1:3478"] }));

    let limits = Limits { direct: Direct::Off, ..Limits::default() };
    let tracker = TestTracker::start_with(Config { stun_servers, limits, ..Config::default() }).await?;
    assert!(is_free(tracker.addr()).await);
    assert_eq!(told_at_registered(&tracker).await?, Value::Null, "without direct lines nobody needs to ask");
    Ok(())
}

#[tokio::test]
async fn a_tracker_whose_udp_port_is_taken_runs_without() -> anyhow::Result<()> {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let tracker = TestTracker::start_at(taken.local_addr()?.port()).await?;
    assert_eq!(told_at_registered(&tracker).await?, Value::Null);
    Ok(())
}

#[tokio::test]
async fn a_tracker_that_stopped_has_no_socket_left() -> anyhow::Result<()> {
    let tracker = TestTracker::start().await?;
    let addr = tracker.addr();
    assert!(!is_free(addr).await);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    ask(&socket, addr, 1).await?;
    tracker.stop().await?;
    assert!(is_free(addr).await);
    Ok(())
}

#[tokio::test]
async fn nobody_is_told_of_more_servers_than_a_browser_should_ask() -> anyhow::Result<()> {
    let servers = |count| vec!["stun:stun.example.org".parse(); count].into_iter().collect::<Result<Vec<_>, _>>();
    let config = Config { port: 0, stun_servers: servers(8)?, ..Config::default() };
    Tracker::bind(config.clone()).await?;
    let error =
        Tracker::bind(Config { stun_servers: servers(9)?, ..config }).await.err().context("nine are too many")?;
    ensure!(matches!(error, StartError::TooManyStunServers) && error.to_string().contains("at most 8"), "{error}");
    Ok(())
}
