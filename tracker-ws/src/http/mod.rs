//! What is served over HTTP: the page, the WebSocket's handshake, and the figures.

mod api;
mod caller;
mod handshake;
mod metrics;
mod origin;
mod page;
pub(crate) mod redirect;

pub(crate) use caller::Caller;
pub use origin::{AllowedOrigin, Origin, OriginError};

use crate::{address::Places, hub::Hub};
use axum::{
    Router,
    http::Uri,
    middleware::from_fn_with_state,
    routing::{delete, get},
};
use std::{convert::Infallible, sync::Arc};
use tokio::sync::mpsc;

/// What the handlers share.
#[derive(Debug, Clone)]
pub(crate) struct App {
    hub: Arc<Hub>,
    /// The WebSockets of each address.
    places: Places,
    /// Nothing is sent; each WebSocket holds a strong one, and the receiver waits until all are gone. A connection that
    /// speaks HTTP is not waited for.
    alive: mpsc::WeakSender<Infallible>,
}

impl App {
    pub(crate) fn new(hub: Arc<Hub>, alive: mpsc::WeakSender<Infallible>) -> Self {
        let places = Places::new(hub.config().limits.address_connections);
        Self { hub, places, alive }
    }
}

pub(crate) fn router(app: App) -> Router {
    let page = page::router(&app.hub.config().page_dir);
    let told = Router::new()
        .route("/metrics", get(api::metrics))
        .route("/api/status", get(api::status))
        .route("/api/rooms/{room}", get(api::room))
        .route("/api/peers/{id}", delete(api::remove_peer))
        .route_layer(from_fn_with_state(app.clone(), api::only_own_names));
    Router::new()
        .route("/ws", get(handshake::upgrade))
        .route("/health", get("ok"))
        .route("/ready", get(api::ready))
        .merge(told)
        .with_state(app)
        .fallback_service(page)
}

/// A value in the query of an address, as it stands there: names and tokens need no escapes.
fn query<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}
