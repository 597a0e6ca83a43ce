use anyhow::Context as _;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{Health, Metrics};

/// `/healthz`, `/readyz` and `/metrics`.
///
/// `/readyz` is 200, or 503 with `{"waitingFor": [..]}`; while draining the list is empty.
pub fn routes(health: Health, metrics: Metrics) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(move || readyz(health.clone())))
        .route("/metrics", get(move || encode(metrics.clone())))
}

/// Listens on `--http-addr`.
///
/// # Errors
/// When the address cannot be had; says what to choose.
pub async fn listen(address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listening on `{address}`: choose another --http-addr"))
}

/// Serves [`routes`] alone, for programs that have no other door, until `stop`.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: Metrics,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    axum::serve(listener, routes(health, metrics))
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
        .context("serving health and metrics")
}

async fn readyz(health: Health) -> Response {
    if health.is_ready() {
        return "ok\n".into_response();
    }
    let waiting: Vec<_> = health.waiting_for().iter().map(|w| w.as_str()).collect();
    let body = json!({ "waitingFor": waiting });
    (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response()
}

async fn encode(metrics: Metrics) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.encode()).into_response()
}
