//! The transports that are plain HTTP requests.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State as Extract},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use clickstream_protocol::sockjs;
use futures_util::stream;
use tokio::time::timeout;

use super::{
    Context, cors,
    pipe::Piece,
    sessions::{Receiver, Session},
    uncached,
};
use crate::{doors::connection::KEEP_ALIVE, metrics::Refused};

/// A streaming answer ends after this: browsers keep all of it in memory.
const MAX_STREAMED_BYTES: usize = 128 << 10;
const ONE_YEAR: &str = "31536000";

pub(super) async fn options_get(headers: HeaderMap) -> Response {
    options(&headers, "OPTIONS, GET")
}

pub(super) async fn options_post(headers: HeaderMap) -> Response {
    options(&headers, "OPTIONS, POST")
}

fn options(headers: &HeaderMap, methods: &'static str) -> Response {
    let expires = chrono::Utc::now() + chrono::Duration::days(365);
    let answer = [
        (header::CACHE_CONTROL, "public, max-age=31536000".to_owned()),
        (
            header::EXPIRES,
            expires.format("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        ),
        (header::ACCESS_CONTROL_MAX_AGE, ONE_YEAR.to_owned()),
        (header::ACCESS_CONTROL_ALLOW_METHODS, methods.to_owned()),
    ];
    cors(headers, (StatusCode::NO_CONTENT, answer).into_response())
}

/// How frames are set into an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// One frame a line.
    Lines,
    /// One frame an event.
    Events,
}

impl Framing {
    fn set(self, frame: &str) -> Bytes {
        match self {
            Self::Lines => format!("{frame}\n").into(),
            Self::Events => format!("data: {frame}\r\n\r\n").into(),
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Lines => "application/javascript; charset=UTF-8",
            Self::Events => "text/event-stream; charset=UTF-8",
        }
    }

    fn answer(self, request: &HeaderMap, body: Body) -> Response {
        let headers = [
            (header::CONTENT_TYPE, self.content_type()),
            // Else nginx keeps a stream back until it has 4 KiB of it.
            (HeaderName::from_static("x-accel-buffering"), "no"),
        ];
        uncached(cors(request, (headers, body).into_response()))
    }
}

/// The session of that id, begun if need be (`true`), or the answer that says why not.
fn session(context: &Context, id: &str) -> Result<(Arc<Session>, bool), Response> {
    context
        .sessions
        .get_or_begin(id, &context.state)
        .map_err(|_| {
            context.state.metrics.refused(Refused::Limit);
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        })
}

/// Polling: one frame an answer.
pub(super) async fn xhr(
    Extract(context): Extract<Context>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let (session, is_new) = match session(&context, &id) {
        Ok(session) => session,
        Err(response) => return response,
    };
    let frame = if is_new {
        sockjs::OPEN.to_owned()
    } else if let Some(closed) = session.pipe.closed() {
        closed
    } else if let Some(mut receiver) = session.attach() {
        let frame = next(&receiver).await;
        receiver.done();
        match frame {
            Piece::Messages(frame) | Piece::Close(frame) => frame,
        }
    } else {
        still_open()
    };
    Framing::Lines.answer(&headers, Framing::Lines.set(&frame).into())
}

pub(super) async fn xhr_streaming(
    Extract(context): Extract<Context>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let prelude = Bytes::from_static(&sockjs::STREAMING_PRELUDE);
    streaming(&context, &id, &headers, Framing::Lines, prelude)
}

pub(super) async fn event_source(
    Extract(context): Extract<Context>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    streaming(
        &context,
        &id,
        &headers,
        Framing::Events,
        Bytes::from_static(b"\r\n"),
    )
}

/// An answer of many frames.
fn streaming(
    context: &Context,
    id: &str,
    headers: &HeaderMap,
    framing: Framing,
    prelude: Bytes,
) -> Response {
    let (session, is_new) = match session(context, id) {
        Ok(session) => session,
        Err(response) => return response,
    };
    let mut first = vec![prelude];
    let receiver = if let Some(closed) = session.pipe.closed() {
        first.push(framing.set(&closed));
        None
    } else if let Some(receiver) = session.attach() {
        first.extend(is_new.then(|| framing.set(sockjs::OPEN)));
        Some(receiver)
    } else {
        first.push(framing.set(&still_open()));
        None
    };
    let first = stream::iter(first);
    let rest = stream::unfold((receiver, 0), move |(receiver, sent)| async move {
        let mut receiver = receiver?;
        let (frame, is_last) = match next(&receiver).await {
            Piece::Messages(frame) => (frame, false),
            Piece::Close(frame) => (frame, true),
        };
        let frame = framing.set(&frame);
        let sent = sent + frame.len();
        let next = if is_last || sent >= MAX_STREAMED_BYTES {
            receiver.done();
            None
        } else {
            Some(receiver)
        };
        Some((frame, (next, sent)))
    });
    let body = futures_util::StreamExt::chain(first, rest);
    let body = futures_util::StreamExt::map(body, Ok::<_, std::convert::Infallible>);
    framing.answer(headers, Body::from_stream(body))
}

/// What is to be carried next: a heart-beat, when there is nothing else for long.
async fn next(receiver: &Receiver) -> Piece {
    match timeout(KEEP_ALIVE, receiver.pipe().read()).await {
        Ok(piece) => piece,
        Err(_) => Piece::Messages(sockjs::HEARTBEAT.to_owned()),
    }
}

fn still_open() -> String {
    let close = sockjs::Close::STILL_OPEN;
    sockjs::close(close.code, close.reason)
}

/// What the client says, for both transports.
pub(super) async fn xhr_send(
    Extract(context): Extract<Context>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(session) = context.sessions.get(&id) else {
        return cors(&headers, StatusCode::NOT_FOUND.into_response());
    };
    let broken = |text: &'static str| {
        cors(
            &headers,
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response(),
        )
    };
    if body.is_empty() {
        return broken("Payload expected.");
    }
    let messages = std::str::from_utf8(&body).ok().map(sockjs::decode_messages);
    let Some(Ok(messages)) = messages else {
        return broken("Broken JSON encoding.");
    };
    // To STOMP they are one stream of bytes.
    if !messages.is_empty() && !session.send(messages.concat().into()).await {
        return cors(&headers, StatusCode::NOT_FOUND.into_response());
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=UTF-8")];
    uncached(cors(
        &headers,
        (StatusCode::NO_CONTENT, kind).into_response(),
    ))
}
