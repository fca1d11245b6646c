//! What is served over HTTP: the page, the WebSocket's handshake, and the figures.

mod handshake;
mod page;
pub(crate) mod redirect;

use crate::hub::Hub;
use axum::{Json, Router, extract::State, routing::get};
use std::{convert::Infallible, sync::Arc};
use tokio::sync::mpsc;

/// What the handlers share.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) hub: Arc<Hub>,
    /// Nothing is sent; a clone is held as long as there is work, and the receiver waits until all are gone.
    pub(crate) alive: mpsc::Sender<Infallible>,
}

pub(crate) fn router(app: App) -> Router {
    let page = page::router(&app.hub.config().page_dir);
    Router::new()
        .route("/ws", get(handshake::upgrade))
        .route("/health", get("ok"))
        .route("/api/status", get(async |State(app): State<App>| Json(app.hub.status())))
        .with_state(app)
        .fallback_service(page)
}
