//! What whoever runs the tracker can see and do over HTTP.

use super::{App, Caller, metrics, origin, query};
use crate::refusals::{Http, Reason};
use axum::{
    Extension, Json,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use protocol::{PeerId, RoomName};
use serde::Serialize;

/// The most peers in one view of a room.
const MAX_PEERS: usize = 1_000;

/// Refuses what was asked by a name that may be that of another site, whose pages could read the answer.
pub(super) async fn only_own_names(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    request: Request,
    next: Next,
) -> Result<Response, Refused> {
    let host = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    if origin::serves(&app.hub.config().origins, host, caller.over_loopback) {
        return Ok(next.run(request).await);
    }
    let message = "this machine's tracker does not go by that name: ask for 127.0.0.1, or allow the name with --origin";
    Err(app.refused(StatusCode::FORBIDDEN, Http::Origin, message))
}

pub(super) async fn status(State(app): State<App>) -> impl IntoResponse {
    Json(app.hub.status())
}

pub(super) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], metrics::render(&app.hub.status()))
}

/// Whether the tracker takes new clients.
pub(super) async fn ready(State(app): State<App>) -> Response {
    match app.hub.ready() {
        Ok(()) => "ready".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}

/// The files and peers of a room, for whoever may join it.
pub(super) async fn room(
    State(app): State<App>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let config = app.hub.config();
    let given = [bearer(&headers), query(&uri, "token")];
    let mut tokens = config.token.iter().chain(&config.admin_token);
    if config.token.is_some() && !tokens.any(|token| given.iter().any(|given| token.is(*given))) {
        let message = "this tracker wants its token: add ?token=… to the address, or an Authorization: Bearer header";
        return Err(app.refused(StatusCode::UNAUTHORIZED, Http::Token, message));
    }
    let name: RoomName = name.parse().map_err(|_| {
        app.refused(StatusCode::BAD_REQUEST, Http::BadRequest, "a room has 1 to 64 of A-Z a-z 0-9 - _ .")
    })?;
    let limit = match query(&uri, "limit").map(str::parse) {
        None => MAX_PEERS,
        Some(Ok(limit @ 1..=MAX_PEERS)) => limit,
        Some(_) => return Err(app.refused(StatusCode::BAD_REQUEST, Http::BadRequest, "`limit` is from 1 to 1000")),
    };
    let after = query(&uri, "after").map(str::parse).transpose();
    let after = after.map_err(|_| app.refused(StatusCode::BAD_REQUEST, Http::BadRequest, NO_PEER_ID))?;
    let view = app.hub.room(&name, after, limit);
    let message = "nobody is in this room";
    view.map(|view| Json(view).into_response())
        .ok_or_else(|| app.refused(StatusCode::NOT_FOUND, Http::NotFound, message))
}

const NO_PEER_ID: &str = "a peer id has 16 lower-case hexadecimal digits";

/// Closes a peer's connection.
pub(super) async fn remove_peer(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    let Some(token) = &app.hub.config().admin_token else {
        let message = "nobody may remove peers here: start the tracker with --admin-token to allow it";
        return Err(app.refused(StatusCode::FORBIDDEN, Http::NoAdminToken, message));
    };
    if !token.is(bearer(&headers)) {
        let message = "this needs the tracker's admin token, in an Authorization: Bearer header";
        return Err(app.refused(StatusCode::UNAUTHORIZED, Http::Token, message));
    }
    let id: PeerId = id.parse().map_err(|_| app.refused(StatusCode::BAD_REQUEST, Http::BadRequest, NO_PEER_ID))?;
    if app.hub.remove(id) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(app.refused(StatusCode::NOT_FOUND, Http::NotFound, "no such peer is here"))
    }
}

/// A request that is not granted.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    code: Http,
    message: &'static str,
}

impl App {
    fn refused(&self, status: StatusCode, code: Http, message: &'static str) -> Refused {
        self.hub.count(Reason::Http(code));
        Refused { status, code, message }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            code: Http,
            message: &'static str,
        }
        let body = Json(Body { code: self.code, message: self.message });
        match self.status {
            StatusCode::UNAUTHORIZED => (self.status, [(header::WWW_AUTHENTICATE, "Bearer")], body).into_response(),
            status => (status, body).into_response(),
        }
    }
}

/// The token that a request carries (RFC 6750 section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
