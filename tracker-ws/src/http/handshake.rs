//! The handshake that makes a WebSocket of an HTTP connection (RFC 6455 section 4.2).
//!
//! It is done here and not by axum, whose WebSocket support brings its own version of tungstenite.

use super::{App, Caller, origin, query};
use crate::{
    address::Place,
    connection,
    refusals::{Http, Reason},
    stream::Stream,
};
use axum::{
    Extension,
    body::HttpBody as _,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use protocol::close;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::{debug, warn};

/// The one version of the WebSocket protocol.
const VERSION: &str = "13";
/// The length of a key: 16 bytes in base64.
const KEY_LEN: usize = 24;
/// The characters of a header that the log shows.
const LOGGED_LEN: usize = 100;

pub(super) async fn upgrade(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    let accept = match check(&app, &caller, &request) {
        Ok(accept) => accept,
        Err(mistake) => return mistake.into_response(),
    };
    let admitted = admit(&app, &caller, &request);
    // There is none if the tracker stops, which then closes the connection and does not wait for it.
    let alive = app.alive.upgrade();
    tokio::spawn(async move {
        // The response is on its way only after this handler returns, so the wait is here.
        let upgraded = match hyper::upgrade::on(request).await {
            Ok(upgraded) => upgraded,
            Err(error) => return debug!(%error, "a client left during the handshake"),
        };
        match stream_of(upgraded) {
            Some((stream, begun)) => connection::serve(app.hub, stream, begun, caller, admitted).await,
            None => debug!("the connection is of no kind that is accepted"),
        }
        drop(alive);
    });
    let headers = [
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// The stream under a WebSocket, and what was read of it already.
fn stream_of(upgraded: Upgraded) -> Option<(Stream, Bytes)> {
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => return Some((Stream::Plain(parts.io.into_inner()), parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    let parts = upgraded.downcast::<TokioIo<Box<TlsStream<TcpStream>>>>().ok()?;
    Some((Stream::Tls(parts.io.into_inner()), parts.read_buf))
}

/// Checks a request for a WebSocket, and gives the key that shows the client that it was understood.
fn check(app: &App, caller: &Caller, request: &Request) -> Result<HeaderValue, Mistake> {
    if request.method() != Method::GET || !request.body().is_end_stream() {
        app.hub.count(Reason::Http(Http::Handshake));
        return Err(Mistake::NoGet);
    }
    let headers = request.headers();
    let accept = accept_key(headers).inspect_err(|_| {
        app.hub.count(Reason::Http(Http::Handshake));
    })?;
    // What is no text is no origin either, and an empty one is refused.
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if origin::admits(&app.hub.config().origins, origin, host, caller.over_loopback) {
        return Ok(accept);
    }
    if app.hub.count(Reason::Http(Http::Origin)) {
        // Whoever put a proxy in front of the tracker sees here what is missing.
        let (origin, host) = (origin.map(beginning), beginning(host));
        warn!(origin, host, "refused a page of another site; if it is yours, allow it with --origin");
    }
    Err(Mistake::Origin)
}

/// What the log shows of a header, which may be as long as a head.
fn beginning(value: &str) -> &str {
    // The text of a header is ASCII, so that every byte is a character.
    value.get(..LOGGED_LEN).unwrap_or(value)
}

/// A place among the WebSockets of the caller's address.
///
/// # Errors
/// The code to close the WebSocket with: a page cannot read why a handshake was refused.
fn admit(app: &App, caller: &Caller, request: &Request) -> Result<Place, u16> {
    let given = query(request.uri(), "token");
    if app.hub.config().token.as_ref().is_some_and(|token| !token.is(given)) {
        return Err(close::WRONG_TOKEN);
    }
    app.places.take(caller.address).ok_or(close::ADDRESS_FULL)
}

/// What is wrong with a request for a WebSocket.
#[derive(Debug)]
enum Mistake {
    Origin,
    NoGet,
    NoUpgrade,
    Version,
    Key,
}

impl IntoResponse for Mistake {
    fn into_response(self) -> Response {
        let (status, reason) = match self {
            Self::Origin => (
                StatusCode::FORBIDDEN,
                "this page comes from another site than the tracker, so it may not connect; open the tracker's own \
                 page, or ask whoever runs the tracker to allow the site with --origin",
            ),
            Self::NoGet => (StatusCode::BAD_REQUEST, "the handshake is a GET without a body"),
            Self::NoUpgrade => (StatusCode::UPGRADE_REQUIRED, "this address speaks WebSocket"),
            Self::Version => (StatusCode::UPGRADE_REQUIRED, "this address speaks version 13 of WebSocket"),
            Self::Key => (StatusCode::BAD_REQUEST, "the Sec-WebSocket-Key must be 16 bytes in base64"),
        };
        let headers = [(header::UPGRADE, "websocket"), (header::SEC_WEBSOCKET_VERSION, VERSION)];
        (status, headers, reason).into_response()
    }
}

/// The key that shows the client that it was understood.
fn accept_key(headers: &HeaderMap) -> Result<HeaderValue, Mistake> {
    if !has_token(headers, header::UPGRADE, "websocket") || !has_token(headers, header::CONNECTION, "upgrade") {
        return Err(Mistake::NoUpgrade);
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != VERSION) {
        return Err(Mistake::Version);
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| key.len() == KEY_LEN).ok_or(Mistake::Key)?;
    derive_accept_key(key.as_bytes()).try_into().map_err(|_| Mistake::Key)
}

/// Whether a header, which may come several times and list several values, has this one in any case.
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(token))
}
