//! Server-sent events: `GET /api/v1/live`.

use std::{convert::Infallible, fmt::Write as _, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{RawQuery, State as Extract},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::request::{Asked, Unknown};
use crate::{
    State,
    live::{End, GapReason, Item, Kind, Outbound, Problem, Status, Subscription},
    metrics::{Door, Refused},
};

/// A comment comes when nothing else did for so long.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// There is one subscription a connection.
const KEY: u32 = 0;

pub(super) fn routes() -> Router<State> {
    Router::new().route("/api/v1/live", get(live))
}

async fn live(
    Extract(state): Extract<State>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let (soft, outcome) = read(query.as_deref().unwrap_or_default());
    let outbound = state.live.outbound();
    let subscription = match outcome {
        Ok(asked) => {
            state
                .live
                .subscribe(asked.request, Arc::clone(&outbound), KEY)
                .await
        }
        Err(problem) => {
            state.metrics.refused(Refused::Request);
            Err(problem)
        }
    };
    let (send, receive) = mpsc::channel(1);
    match subscription {
        Ok(subscription) => {
            let viewer = Viewer {
                outbound,
                subscription,
                send,
                // A browser that was cut off says where it was: resuming is not built, and it is told so.
                resumes: headers.contains_key("last-event-id"),
            };
            let tracker = state.connections.clone();
            tracker.spawn(viewer.serve(state));
        }
        Err(problem) => {
            if !soft || problem.status == 400 {
                return refuse(&problem);
            }
            let mut text = String::new();
            status(&Status::refused(problem), &mut text);
            // The channel has room for one.
            let _ = send.try_send(Bytes::from(text));
        }
    }
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Else nginx keeps a stream back until it has 4 KiB of it.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let body = ReceiverStream::new(receive).map(Ok::<_, Infallible>);
    (headers, Body::from_stream(body)).into_response()
}

/// The parameters: named as the headers of SUBSCRIBE, and `query`. Each once, but for `event-types`.
///
/// Whether a refusal is to be told as a status is known even then.
fn read(query: &str) -> (bool, Result<Asked, Problem>) {
    let mut asked = Asked::default();
    let mut outcome: Result<(), Problem> = Ok(());
    let mut seen: Vec<String> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let this = if name != "event-types" && seen.iter().any(|seen| *seen == name) {
            Err(bad_parameter(format!("`{name}` is given twice")))
        } else if name == "query" {
            asked.set_standing(&value)
        } else {
            match asked.set(&name, &value) {
                Ok(outcome) => outcome,
                Err(Unknown) => Err(bad_parameter(format!("`{name}` is no parameter"))),
            }
        };
        // A parameter that should not be there is told before a value that is wrong.
        outcome = match (outcome, this) {
            (Err(earlier), Err(later)) if earlier.status != 400 && later.status == 400 => {
                Err(later)
            }
            (Ok(()), this) => this,
            (earlier, _) => earlier,
        };
        seen.push(name.into_owned());
    }
    (asked.soft, outcome.map(|()| asked))
}

fn bad_parameter(detail: String) -> Problem {
    let detail = format!(
        "{detail}: there are filter, event-types, fields, rate, ttl, from, resume, on-error and query"
    );
    Problem::new(400, "unknown-parameter", "Unknown parameter", detail)
}

fn refuse(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(problem).unwrap_or_default();
    (
        status,
        [(header::CONTENT_TYPE, "application/problem+json")],
        body,
    )
        .into_response()
}

struct Viewer {
    outbound: Arc<Outbound>,
    subscription: Subscription,
    send: mpsc::Sender<Bytes>,
    resumes: bool,
}

impl Viewer {
    /// Writes until the subscription or the connection is over. A client that does not read holds up only this
    /// task; its socket is closed below, and then the channel is.
    async fn serve(self, state: State) {
        let _connected = state.metrics.connected(Door::Sse);
        let messages = state.metrics.messages(Door::Sse);
        let mut text = String::new();
        let mut batch = Vec::new();
        if self.resumes {
            let reason = GapReason::Resume;
            let ranges = Vec::new();
            status(&Status::Gap { reason, ranges }, &mut text);
        }
        loop {
            if text.is_empty() {
                tokio::select! {
                    () = self.send.closed() => return self.subscription.end(End::Broken),
                    waited = timeout(KEEP_ALIVE, self.outbound.next(&mut batch)) => {
                        if waited.is_err() {
                            text.push_str(":\n\n");
                        }
                    }
                }
            }
            let mut ended = false;
            for Item { kind, .. } in batch.drain(..) {
                match kind {
                    Kind::Event(event) => {
                        let _ = writeln!(text, "id: {}", event.source);
                        data(&String::from_utf8_lossy(&event.body), &mut text);
                        state.metrics.delivered(&event);
                    }
                    Kind::Status(told) => {
                        ended |= matches!(told, Status::Ended { .. });
                        status(&told, &mut text);
                    }
                }
                messages.inc();
            }
            if self
                .send
                .send(std::mem::take(&mut text).into())
                .await
                .is_err()
            {
                return self.subscription.end(End::Broken);
            }
            if ended {
                return self.subscription.end(End::Clean);
            }
        }
    }
}

fn status(status: &Status, out: &mut String) {
    out.push_str("event: status\n");
    data(&status.to_json(), out);
}

/// The `data` of an event and its end. A line break, which JSON may have between its parts, begins a new `data`.
fn data(text: &str, out: &mut String) {
    for line in text.split(['\n', '\r']) {
        out.push_str("data: ");
        out.push_str(line);
        out.push('\n');
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(query: &str) -> (u16, String) {
        let problem = read(query).1.unwrap_err();
        (problem.status, problem.detail)
    }

    #[test]
    fn parameters_are_decoded() {
        let query =
            "filter=event.type%20%3D%3D+%22a%26b%22&event-types=a,b&event-types=c&rate=0&from=now";
        let request = read(query).1.unwrap().request;
        assert_eq!(request.filter.as_deref(), Some("event.type == \"a&b\""));
        assert_eq!(request.event_types, ["a", "b", "c"]);
        assert_eq!(request.rate, Some(0));
        let standing = read("query=shop%2Ftop").1.unwrap().request.standing;
        assert_eq!(standing, Some(("shop".to_owned(), "top".to_owned())));
        assert_eq!(read("").1.unwrap(), Asked::default());
    }

    #[test]
    fn other_parameters_are_refused() {
        for query in [
            "filtre=x",
            "a",
            "rate=1&rate=2",
            "filter=a&filter=a",
            "rate=x&b=1",
        ] {
            assert_eq!(detail(query).0, 400, "{query}");
        }
        for query in [
            "rate=x",
            "ttl=-1",
            "from=then",
            "resume=1",
            "on-error=x",
            "query=x",
        ] {
            assert_eq!(detail(query).0, 422, "{query}");
        }
        assert!(detail("filtre=x").1.starts_with("`filtre` is no parameter"));
    }

    #[test]
    fn line_breaks_stay_inside_the_event() {
        let mut out = String::new();
        data("{\n\"a\":\r1}", &mut out);
        assert_eq!(out, "data: {\ndata: \"a\":\ndata: 1}\n\n");
    }
}
