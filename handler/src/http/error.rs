//! Errors as problem objects (RFC 9457), those of the framework included.

use axum::{
    Json,
    extract::{FromRequest, Request, rejection::JsonRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use clickstream_registry::RegistryError;
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::live::Problem;

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
        (status, content_type, Json(self)).into_response()
    }
}

/// A problem that the registry has, for a user.
pub(super) fn registry_problem(err: &RegistryError) -> Problem {
    warn!(error = %crate::live::chain(err), "a request could not be answered");
    // The message is made to be shown; its causes are not.
    Problem::new(
        503,
        "unavailable",
        "Unavailable for now",
        format!("{err}: try again in a moment"),
    )
}

/// A JSON body. Refuses what it cannot take as a problem object.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(refused(&rejection)),
        }
    }
}

fn refused(rejection: &JsonRejection) -> Problem {
    let detail = rejection.body_text();
    match rejection {
        JsonRejection::JsonSyntaxError(_) => {
            Problem::new(400, "malformed-json", "Malformed JSON", detail)
        }
        JsonRejection::JsonDataError(_) => {
            Problem::new(422, "invalid-request", "Invalid request", detail)
        }
        JsonRejection::MissingJsonContentType(_) => {
            let detail = "send the body as JSON, with the header `content-type: application/json`";
            Problem::new(
                415,
                "unsupported-media-type",
                "Unsupported media type",
                detail,
            )
        }
        other if other.status() == StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            413,
            "too-large",
            "Too large",
            "the body is longer than this address takes",
        ),
        _ => Problem::new(400, "unreadable-body", "Unreadable body", detail),
    }
}

/// The answer for an address that does not exist.
pub(super) async fn not_found() -> Problem {
    Problem::new(
        404,
        "not-found",
        "Not found",
        "there is nothing at this address: `/api/v1/openapi.json` lists the API",
    )
}

/// The answer for a method that an address does not take. The framework adds `allow`.
pub(super) async fn method_not_allowed() -> Problem {
    Problem::new(
        405,
        "method-not-allowed",
        "Method not allowed",
        "this address does not take this method: see the header `allow`",
    )
}
