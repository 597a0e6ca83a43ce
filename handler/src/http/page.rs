//! The page, embedded in the program.

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use rust_embed::{Embed, EmbeddedFile};

use super::error::not_found;

#[derive(Embed)]
#[folder = "../ui/dist"]
struct Page;

/// The page loads nothing from elsewhere and runs nothing inline.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `/`.
pub(super) async fn index(headers: HeaderMap) -> Response {
    file("index.html", &headers).await
}

/// Everything else that the page consists of.
pub(super) async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Response {
    file(&path, &headers).await
}

async fn file(path: &str, headers: &HeaderMap) -> Response {
    let Some(file) = Page::get(path) else {
        return not_found().await.into_response();
    };
    let etag = etag(&file);
    // Files under `assets/` have their content's hash in the name.
    let caching = if path.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let common: [(HeaderName, &str); 5] = [
        (header::CACHE_CONTROL, caching),
        (header::ETAG, &etag),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    let known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == etag.as_bytes());
    if known {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let content_type = [(header::CONTENT_TYPE, content_type(file.metadata.mimetype()))];
    (common, content_type, file.data).into_response()
}

/// With the encoding that all of the page's text has, so that no browser has to guess it.
fn content_type(mime: &str) -> String {
    if mime.starts_with("text/") {
        format!("{mime}; charset=utf-8")
    } else {
        mime.to_owned()
    }
}

/// Weak, because the body may go out compressed.
fn etag(file: &EmbeddedFile) -> String {
    let hash = file.metadata.sha256_hash();
    let hex: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("W/\"{hex}\"")
}
