//! What is answered to plain HTTP where the tracker speaks TLS: people leave the `https` out.

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};

/// Sends every request to the same address by https.
pub(crate) fn router() -> Router {
    Router::new().fallback(redirect)
}

async fn redirect(uri: Uri, headers: HeaderMap) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    match HeaderValue::try_from(format!("https://{host}{path}")) {
        Ok(location) if !host.is_empty() => {
            let text = format!("this tracker speaks https: open https://{host}{path}\n");
            // Not for good: browsers would keep the address, its token too, and go there also when there is no TLS.
            let no_store = HeaderValue::from_static("no-store");
            let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, no_store)];
            (StatusCode::TEMPORARY_REDIRECT, headers, text).into_response()
        }
        _ => (StatusCode::BAD_REQUEST, "this tracker speaks https\n").into_response(),
    }
}
