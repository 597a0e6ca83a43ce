//! The API's description.

use axum::Json;
use utoipa::OpenApi;

use super::{api, filters};
use crate::live::Problem;

/// See the specification.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Clickstream",
        description = "Live queries over user events. Viewers subscribe by STOMP at `/stomp` and `/sockjs`, or here by server-sent events."
    ),
    paths(
        api::pipeline,
        api::event_types,
        api::fields,
        api::queries,
        filters::check,
        filters::explain,
        live
    )
)]
struct Api;

/// Events that match, as they happen: server-sent events.
///
/// A match has no `event:` line, its `id:` is `<topic>/<partition>/<offset>` of the source record, its `data:` is the
/// event. Statuses come as `event: status`, their `data:` as in a STOMP status message.
#[utoipa::path(get, path = "/api/v1/live",
    params(
        ("filter" = Option<String>, Query, description = "A filter in CEL; none means all events"),
        ("event-types" = Option<String>, Query, description = "Event types, comma separated"),
        ("fields" = Option<String>, Query, description = "Paths to show of each event, comma separated"),
        ("rate" = Option<u32>, Query, description = "Most matches per second; default 100, 0 means no limit"),
        ("ttl" = Option<u64>, Query, description = "Time to live in seconds"),
        ("query" = Option<String>, Query, description = "A standing query, `<namespace>/<name>`, instead of a filter"),
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "Another parameter"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "A value is refused"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
#[expect(dead_code, reason = "describes the door, which is served elsewhere")]
fn live() {}

/// `/api/v1/openapi.json`.
pub(super) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(description())
}

fn description() -> utoipa::openapi::OpenApi {
    Api::openapi()
}

#[cfg(test)]
mod tests {
    #[test]
    fn description_is_as_published() {
        let description = super::description().to_pretty_json().unwrap();
        insta::assert_snapshot!(description);
    }
}
