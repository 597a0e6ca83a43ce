//! Checking and explaining filters.

use axum::{Json, extract::State as Extract};
use clickstream_engine::{Filter, Record};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{api::Api, error::Body};
use crate::live::{Problem, filter_problem};

/// Bytes of a body to check: the longest filter, however it is escaped.
pub(super) const MAX_CHECK_BYTES: usize = 64 << 10;
/// Bytes of a body to explain: the largest event, and a filter.
pub(super) const MAX_EXPLAIN_BYTES: usize = (1 << 20) + MAX_CHECK_BYTES;

/// A filter to check.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Check {
    /// In CEL.
    #[schema(example = "event.type == \"purchase\" && event.price > 100")]
    filter: String,
}

/// A filter that is accepted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Checked {
    /// Equal filters have equal canonical texts.
    canonical: String,
    /// The query's id: 32 lowercase hex digits.
    query: String,
    /// What it costs to match: `selective`, `broad` or `scan`.
    class: String,
    /// Why it is of that class.
    reason: String,
}

/// A filter and an event to try it on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Explain {
    /// In CEL.
    filter: String,
    /// The event: a JSON object.
    #[schema(value_type = Object)]
    event: Box<RawValue>,
    /// The Kafka record it comes in.
    #[serde(default)]
    record: RecordParts,
}

/// What a filter can see of a record beside the event. What is left out is empty or 0.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RecordParts {
    topic: String,
    partition: i32,
    offset: i64,
    /// RFC 3339.
    #[schema(format = DateTime)]
    timestamp: Option<String>,
    key: Option<String>,
    headers: std::collections::BTreeMap<String, String>,
}

/// How a filter comes to its result. Describes what [`clickstream_engine::Explanation`] is written as.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Explanation {
    /// `match`, `noMatch` or `error`.
    result: String,
    /// The whole filter; its parts are below it.
    tree: Explained,
    /// The clause that decided.
    decided: Decided,
}

/// A part of a filter with its value.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Explained {
    /// In canonical form.
    text: String,
    /// Its first byte in the filter.
    offset: usize,
    /// Its bytes there.
    length: usize,
    /// `&&`, `||`, `!`, `?:` or `clause`.
    operator: String,
    /// The value as CEL writes it, shortened to 120 characters; `null` if there is none.
    #[schema(required = true)]
    value: Option<String>,
    /// Why there is no value.
    #[schema(nullable = false)]
    error: Option<String>,
    /// Operands; of a clause those whose value is not plain to see.
    #[schema(no_recursion, nullable = false)]
    children: Option<Vec<Explained>>,
}

/// The clause that decided the result.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Decided {
    /// In canonical form.
    text: String,
    /// Its first byte in the filter.
    offset: usize,
    /// Its bytes there.
    length: usize,
    /// Why that decides, in words.
    reason: String,
}

/// Checks a filter.
#[utoipa::path(post, path = "/api/v1/filters/check", request_body = Check, responses(
    (status = 200, body = Checked),
    (status = 422, body = Problem, content_type = "application/problem+json", description = "The filter is refused, with the position of what is wrong"),
))]
pub(super) async fn check(
    Extract(api): Extract<Api>,
    Body(body): Body<Check>,
) -> Result<Json<Checked>, Problem> {
    let filter = Filter::parse(&body.filter).map_err(|err| filter_problem(&err))?;
    let (class, reason) = filter.class();
    Ok(Json(Checked {
        canonical: filter.canonical().to_owned(),
        query: api.registry.query_id("", filter.canonical()).to_string(),
        class: class.to_string(),
        reason: reason.to_owned(),
    }))
}

/// Shows why a filter matches an event, or does not.
#[utoipa::path(post, path = "/api/v1/filters/explain", request_body = Explain, responses(
    (status = 200, body = Explanation),
    (status = 422, body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn explain(
    Body(body): Body<Explain>,
) -> Result<Json<clickstream_engine::Explanation>, Problem> {
    let filter = Filter::parse(&body.filter).map_err(|err| filter_problem(&err))?;
    let invalid = |detail: String| Problem::new(422, "invalid-request", "Invalid request", detail);
    let timestamp_ms = match &body.record.timestamp {
        Some(text) => chrono::DateTime::parse_from_rfc3339(text)
            .map_err(|_| {
                invalid(format!(
                    "`record.timestamp` is `{text}`: write it as `2026-01-31T12:00:00Z`"
                ))
            })?
            .timestamp_millis(),
        None => 0,
    };
    let headers: Vec<(&str, &[u8])> = body
        .record
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    let record = Record {
        topic: &body.record.topic,
        partition: body.record.partition,
        offset: body.record.offset,
        timestamp_ms,
        key: body.record.key.as_deref().map(str::as_bytes),
        headers: &headers,
        value: body.event.get().as_bytes(),
    };
    let explained = clickstream_engine::explain(&filter, &record);
    explained
        .map(Json)
        .map_err(|err| invalid(format!("`event` cannot be matched: {err}")))
}
