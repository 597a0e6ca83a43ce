//! STOMP on SockJS 0.3.3: `/sockjs`, for clients whose network lets no WebSocket through.
//!
//! Served: greeting, info, `websocket` and the raw WebSocket, `xhr` with `xhr_send`, `xhr_streaming`, `eventsource`.
//! The transports of browsers long gone (`jsonp`, `htmlfile`, the iframe) are not: they run a caller's script.
//! Cookies are not used: a balancer that must keep a session on one handler has the path for it.

mod http;
mod pipe;
mod sessions;
mod websocket;

use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRef, Path, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use clickstream_protocol::sockjs;

use self::sessions::Sessions;
use crate::State;

/// Of one request of `xhr_send`: a message of the size that a WebSocket takes, escaped.
const MAX_BODY_BYTES: usize = 128 << 10;

/// What the SockJS routes work with.
#[derive(Debug, Clone)]
struct Context {
    state: State,
    sessions: Sessions,
}

impl FromRef<Context> for State {
    fn from_ref(context: &Context) -> Self {
        context.state.clone()
    }
}

pub(super) fn routes(state: &State) -> Router<State> {
    let context = Context {
        state: state.clone(),
        sessions: Sessions::default(),
    };
    let writes =
        |handler: MethodRouter<Context>| handler.options(http::options_post).fallback(other_method);
    let reads =
        |handler: MethodRouter<Context>| handler.options(http::options_get).fallback(other_method);
    let of_session = Router::new()
        .route("/websocket", get(websocket::framed).fallback(other_method))
        .route("/xhr", writes(post(http::xhr)))
        .route("/xhr_streaming", writes(post(http::xhr_streaming)))
        .route("/xhr_send", writes(post(http::xhr_send)))
        .route("/eventsource", reads(get(http::event_source)))
        .layer(middleware::from_fn(check_path));
    Router::new()
        .nest("/sockjs/{server}/{session}", of_session)
        .route("/sockjs", get(greeting))
        .route("/sockjs/", get(greeting))
        .route("/sockjs/info", reads(get(info)))
        .route(
            "/sockjs/websocket",
            get(websocket::raw).fallback(other_method),
        )
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(context)
}

/// Whether a path may belong to a session that runs already.
pub(super) fn is_of_session(path: &str) -> bool {
    let transports = ["/xhr", "/xhr_send", "/xhr_streaming", "/eventsource"];
    path.starts_with("/sockjs/") && transports.iter().any(|end| path.ends_with(end))
}

/// Server and session may be any text without a dot.
async fn check_path(
    Path((server, session)): Path<(String, String)>,
    request: Request,
    next: Next,
) -> Response {
    if sockjs::is_path_part(&server) && sockjs::is_path_part(&session) {
        next.run(request).await
    } else {
        StatusCode::NOT_FOUND.into_response()
    }
}

/// Without a body, as the protocol has it; the header `allow` is added.
async fn other_method() -> StatusCode {
    StatusCode::METHOD_NOT_ALLOWED
}

async fn greeting() -> Response {
    (
        [(header::CONTENT_TYPE, "text/plain; charset=UTF-8")],
        sockjs::GREETING,
    )
        .into_response()
}

async fn info(headers: HeaderMap) -> Response {
    let body = sockjs::info(rand::random());
    let kind = [(header::CONTENT_TYPE, "application/json; charset=UTF-8")];
    uncached(cors(&headers, (kind, body).into_response()))
}

/// Lets the page that asks read the answer; which pages may ask at all was decided before.
fn cors(request: &HeaderMap, mut response: Response) -> Response {
    let any = HeaderValue::from_static("*");
    let origin = request
        .get(header::ORIGIN)
        .filter(|origin| *origin != "null");
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        origin.cloned().unwrap_or(any),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        HeaderValue::from_static("true"),
    );
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    let asked = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    if let Some(asked) = asked.filter(|asked| !asked.is_empty()) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    response
}

fn uncached(mut response: Response) -> Response {
    let value = "no-store, no-cache, must-revalidate, max-age=0";
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static(value));
    response
}
