//! Which pages may use this handler: the Origin rule.
//!
//! Browsers let any page open a WebSocket to any host, so the same-origin rule is ours to keep. A request
//! without `Origin` comes from no page and is allowed.

use std::collections::HashSet;

use axum::{
    extract::{Request, State as Extract},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{State, live::Problem, metrics::Refused};

/// The pages of other hosts that may use this handler.
#[derive(Debug, Clone, Default)]
pub struct Origins(HashSet<String>);

impl Origins {
    /// Reads `--allowed-origins`: `https://app.example.com`, `http://localhost:5173`.
    ///
    /// # Errors
    /// What to write instead, when a value is no origin.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut origins = HashSet::new();
        for value in values {
            let Some((scheme, authority)) = parts(value) else {
                return Err(format!(
                    "`{value}` is no origin: write it as `https://app.example.com`, with a port if it is not the usual one, and no path"
                ));
            };
            origins.insert(format!("{scheme}://{authority}"));
        }
        Ok(Self(origins))
    }

    /// Whether a request with these headers may go on.
    #[must_use]
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return true;
        };
        let Some((scheme, authority)) = origin.to_str().ok().and_then(parts) else {
            return false;
        };
        if self.0.contains(&format!("{scheme}://{authority}")) {
            return true;
        }
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        // Behind a proxy that ends TLS the request's own scheme is unknown; the origin's tells the usual port.
        host.and_then(|host| parts(&format!("{scheme}://{host}")))
            .is_some_and(|(_, host)| host == authority)
    }
}

/// Keeps the rule for the API, and lets the pages of allowed sites read its answers (CORS). The doors on
/// WebSocket and SockJS answer for themselves.
pub(crate) async fn guard(
    Extract(state): Extract<State>,
    request: Request,
    next: Next,
) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let Some(origin) = origin.filter(|_| request.uri().path().starts_with("/api/")) else {
        return next.run(request).await;
    };
    if !state.origins.allow(request.headers()) {
        state.metrics.refused(Refused::Origin);
        let detail = "pages of this site may not use this handler: see `--allowed-origins`";
        return Problem::new(403, "origin", "Origin not allowed", detail).into_response();
    }
    let preflight = request.method() == Method::OPTIONS;
    let mut response = if preflight {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if preflight {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, POST"),
        );
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("content-type"),
        );
        headers.insert(
            header::ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from_static("3600"),
        );
    }
    response
}

/// Scheme and `host:port` of an origin, in lower case, with the port always said.
fn parts(origin: &str) -> Option<(String, String)> {
    let uri: Uri = origin.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let usual_port = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let authority = uri.authority()?;
    if uri
        .path_and_query()
        .is_some_and(|path| path.as_str() != "/")
        || authority.as_str().contains('@')
    {
        return None;
    }
    let port = authority.port_u16().unwrap_or(usual_port);
    Some((
        scheme,
        format!("{}:{port}", authority.host().to_ascii_lowercase()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origins: &[&str], origin: &str, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        headers.insert(header::ORIGIN, origin.parse().unwrap());
        Origins::parse(origins.iter().copied())
            .unwrap()
            .allow(&headers)
    }

    #[test]
    fn only_the_own_host_and_listed_origins_may_connect() {
        assert!(Origins::default().allow(&HeaderMap::new()));
        assert!(allowed(&[], "http://localhost:8080", "localhost:8080"));
        assert!(allowed(
            &[],
            "https://clicks.example.com",
            "clicks.example.com"
        ));
        assert!(allowed(
            &[],
            "https://Clicks.example.com:443",
            "clicks.example.com"
        ));
        assert!(!allowed(&[], "http://localhost:8081", "localhost:8080"));
        assert!(!allowed(
            &[],
            "http://evil.example.com",
            "clicks.example.com"
        ));
        assert!(!allowed(&[], "null", "clicks.example.com"));
        assert!(!allowed(&[], "file://", "clicks.example.com"));
        assert!(allowed(
            &["https://app.example.com"],
            "https://app.example.com",
            "clicks.example.com"
        ));
        assert!(!allowed(
            &["https://app.example.com"],
            "http://app.example.com",
            "clicks.example.com"
        ));
        assert!(!allowed(
            &["https://example.com"],
            "https://example.com.evil.org",
            "clicks.example.com"
        ));
    }

    #[test]
    fn an_origin_with_a_path_or_a_wildcard_is_refused() {
        for value in [
            "*",
            "app.example.com",
            "https://app.example.com/page",
            "ftp://x",
            "https://a@b",
        ] {
            assert!(Origins::parse([value]).is_err(), "{value}");
        }
    }
}
