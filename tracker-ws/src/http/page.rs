//! The page, as files from a folder.

use axum::{
    Router,
    extract::Request,
    handler::HandlerWithoutStateExt as _,
    http::{HeaderValue, StatusCode, Uri, header},
    middleware::{Next, from_fn},
    response::{Html, IntoResponse as _, Response},
};
use std::path::Path;
use tower_http::{services::ServeDir, set_header::SetResponseHeaderLayer};

/// Says how to build the page.
const NO_PAGE: &str = include_str!("no_page.html");

/// The longest path in bytes that is looked for. File systems fail at longer names instead of not finding them, which
/// would be answered as if the tracker had failed.
const LONGEST_PATH: usize = 255;

/// Serves `folder` as it is at each request, so that a page built later is there without a restart.
pub(super) fn router(folder: &Path) -> Router {
    // A browser asks each time whether a file changed, because a new page must not meet an old worker.
    let no_cache = SetResponseHeaderLayer::overriding(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let no_sniff =
        SetResponseHeaderLayer::overriding(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The address may carry a token, which is nobody else's business.
    let no_referrer =
        SetResponseHeaderLayer::overriding(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let files = ServeDir::new(folder).fallback(missing.into_service());
    Router::new().fallback_service(files).layer(from_fn(only_paths)).layer(no_cache).layer(no_sniff).layer(no_referrer)
}

/// Keeps from the files what cannot be the path of one, such as the `name:port` of a request to a proxy.
async fn only_paths(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path.starts_with('/') && path.len() <= LONGEST_PATH {
        next.run(request).await
    } else {
        missing(request.uri().clone()).await
    }
}

async fn missing(uri: Uri) -> Response {
    if matches!(uri.path(), "/" | "/index.html") {
        Html(NO_PAGE).into_response()
    } else {
        (StatusCode::NOT_FOUND, "not found").into_response()
    }
}
