//! What the page and other programs ask: the pipeline, what its events look like, its queries.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State as Extract},
};
use clickstream_registry::Registry;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::registry_problem;
use crate::{
    Config, State,
    live::{Problem, Time},
};

/// What the API works with.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) state: State,
    pub(super) config: Arc<Config>,
    pub(super) registry: Arc<dyn Registry>,
}

/// A list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct List<T> {
    items: Vec<T>,
}

/// The pipeline that this handler serves.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pipeline {
    /// Its name.
    pipeline: String,
    /// Topics that hold its events.
    source_topics: Vec<String>,
    /// Topic of its matches.
    filtered_topic: String,
    /// Partitions of that topic; 0 while unknown.
    lanes: u32,
    /// Dotted path to an event's type.
    event_type_field: String,
    /// Dotted path to whose event it is.
    user_field: String,
    /// Matches per second of a viewer who asks for no rate.
    default_rate: u32,
    /// Longest time to live of a subscription.
    subscription_ttl_seconds: u64,
    /// This program's version.
    version: &'static str,
}

/// A kind of event that was seen.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventType {
    /// Value of the event type field.
    name: String,
    /// Events per second, over all workers.
    per_second: f64,
    /// RFC 3339, UTC.
    #[schema(value_type = String, format = DateTime)]
    last_seen: Time,
}

/// A field that was seen in events.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Field {
    /// Dotted path.
    path: String,
    /// Kinds of value seen there.
    kinds: Vec<String>,
    /// Values seen there, newest first.
    examples: Vec<String>,
}

/// A query that is being matched.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    /// 32 lowercase hex digits.
    id: String,
    kind: Kind,
    /// Of a standing query.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    /// Of a standing query.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Canonical filter.
    filter: String,
    /// Subscriptions, on all handlers.
    subscribers: u32,
}

/// Why a query exists.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// Somebody watches.
    Live,
    /// A ClickstreamQuery asks for it.
    Standing,
}

/// Which fields to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct FieldsQuery {
    /// Only paths that begin so.
    #[serde(default)]
    prefix: String,
}

/// The pipeline.
#[utoipa::path(get, path = "/api/v1/pipeline", responses((status = 200, body = Pipeline)))]
pub(super) async fn pipeline(Extract(api): Extract<Api>) -> Json<Pipeline> {
    let live = &api.config.live;
    Json(Pipeline {
        pipeline: api.registry.pipeline().to_owned(),
        source_topics: api.config.source_topics.clone(),
        filtered_topic: live.filtered_topic.clone(),
        lanes: api.state.live.lanes(),
        event_type_field: live.event_type_field.to_string(),
        user_field: api.config.user_field.to_string(),
        default_rate: crate::live::DEFAULT_RATE,
        subscription_ttl_seconds: live.subscription_ttl.as_secs(),
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Event types seen lately, the most frequent first.
#[utoipa::path(get, path = "/api/v1/event-types", responses(
    (status = 200, body = List<EventType>),
    (status = 503, body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn event_types(
    Extract(api): Extract<Api>,
) -> Result<Json<List<EventType>>, Problem> {
    let catalogue = api
        .registry
        .catalogue()
        .await
        .map_err(|err| registry_problem(&err))?;
    let mut types = catalogue.event_types;
    types.sort_by(|a, b| {
        b.per_second
            .total_cmp(&a.per_second)
            .then_with(|| a.name.cmp(&b.name))
    });
    let items = types.into_iter().map(|seen| EventType {
        name: seen.name,
        per_second: seen.per_second,
        last_seen: Time(seen.last_seen_ms),
    });
    Ok(Json(List {
        items: items.collect(),
    }))
}

/// Fields seen in events, by path.
#[utoipa::path(get, path = "/api/v1/fields", params(FieldsQuery), responses(
    (status = 200, body = List<Field>),
    (status = 503, body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn fields(
    Extract(api): Extract<Api>,
    Query(query): Query<FieldsQuery>,
) -> Result<Json<List<Field>>, Problem> {
    let catalogue = api
        .registry
        .catalogue()
        .await
        .map_err(|err| registry_problem(&err))?;
    let fields = catalogue
        .fields
        .into_iter()
        .filter(|field| field.path.starts_with(&query.prefix));
    let items = fields.map(|field| Field {
        path: field.path,
        kinds: field.kinds,
        examples: field.examples,
    });
    Ok(Json(List {
        items: items.collect(),
    }))
}

/// Queries being matched, on all handlers.
#[utoipa::path(get, path = "/api/v1/queries", responses(
    (status = 200, body = List<Listed>),
    (status = 503, body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn queries(Extract(api): Extract<Api>) -> Result<Json<List<Listed>>, Problem> {
    let queries = api
        .registry
        .list()
        .await
        .map_err(|err| registry_problem(&err))?;
    let items = queries.into_iter().map(|query| {
        let kind = if query.standing.is_some() {
            Kind::Standing
        } else {
            Kind::Live
        };
        let (namespace, name) = query
            .standing
            .map(|name| (name.namespace, name.name))
            .unzip();
        Listed {
            id: query.id.to_string(),
            kind,
            namespace,
            name,
            filter: query.filter,
            subscribers: query.subscribers,
        }
    });
    Ok(Json(List {
        items: items.collect(),
    }))
}
