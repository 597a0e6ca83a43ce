//! The doors through which viewers come: STOMP on WebSocket, STOMP on SockJS, server-sent events.
//!
//! A door speaks its protocol and nothing else: what a subscription is, when it ends and what is lost for a slow
//! viewer is decided behind [`crate::live::Live`]. STOMP is driven by one loop, `connection`, whatever carries it.

mod connection;
mod listener;
mod request;
mod sockjs;
mod sse;
mod stomp;

use axum::{
    Router,
    extract::{Request, State as Extract},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};

pub use self::listener::Listener;
use crate::{State, metrics::Refused};

/// All doors: `/stomp`, `/sockjs/**` and `/api/v1/live`.
pub fn routes(state: &State) -> Router<State> {
    Router::new()
        .merge(stomp::routes())
        .merge(sockjs::routes(state))
        .merge(sse::routes())
        .layer(middleware::from_fn_with_state(state.clone(), admit))
}

/// Turns away pages of other sites, and everybody while the handler drains.
async fn admit(Extract(state): Extract<State>, request: Request, next: Next) -> Response {
    if !state.origins.allow(request.headers()) {
        state.metrics.refused(Refused::Origin);
        let text = "this origin is not allowed: see `--allowed-origins`\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    // Sessions of SockJS that run have requests to come: they end by themselves.
    if state.drain.is_cancelled() && !sockjs::is_of_session(request.uri().path()) {
        state.metrics.refused(Refused::Draining);
        let text = "this handler is going away: connect again\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    next.run(request).await
}
