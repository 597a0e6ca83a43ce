//! What the handler answers over HTTP: the page, the API, and around them the rules for all addresses.

mod api;
mod error;
mod filters;
mod openapi;
pub mod origin;
mod page;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};
use clickstream_registry::Registry;
use tower_http::compression::CompressionLayer;

use crate::{Config, State, doors};

/// Everything but health and metrics.
pub(crate) fn routes(state: &State, config: &Config, registry: Arc<dyn Registry>) -> Router {
    let api = api::Api {
        state: state.clone(),
        config: Arc::new(config.clone()),
        registry,
    };
    let check = post(filters::check).layer(DefaultBodyLimit::max(filters::MAX_CHECK_BYTES));
    let explain = post(filters::explain).layer(DefaultBodyLimit::max(filters::MAX_EXPLAIN_BYTES));
    let page_and_api = Router::new()
        .route("/", get(page::index))
        .route("/{*path}", get(page::asset))
        .route("/api/v1/openapi.json", get(openapi::openapi))
        .route("/api/v1/pipeline", get(api::pipeline))
        .route("/api/v1/event-types", get(api::event_types))
        .route("/api/v1/fields", get(api::fields))
        .route("/api/v1/queries", get(api::queries))
        .route("/api/v1/filters/check", check)
        .route("/api/v1/filters/explain", explain)
        .with_state(api)
        // Events are compressed by nobody: a compressor would hold them back.
        .layer(CompressionLayer::new());
    page_and_api
        .merge(doors::routes(state).with_state(state.clone()))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(middleware::from_fn_with_state(state.clone(), origin::guard))
}
