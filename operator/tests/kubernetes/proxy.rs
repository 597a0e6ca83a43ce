//! Between an operator and the API server: counts, answers errors in the server's place, ends watches, holds writes back.

use std::future::{IntoFuture as _, ready};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, TRANSFER_ENCODING};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use futures_util::stream::{once, select};
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Of a request; the API server takes 3 MiB.
const MAX_BODY: usize = 4 << 20;

/// Requests that are answered with an error.
#[derive(Debug)]
pub(crate) struct Fault {
    /// `GET`, `PATCH`, and so on, `WATCH` for a GET that watches; every one if empty.
    pub(crate) verb: &'static str,
    /// Part of the path and query.
    pub(crate) path: &'static str,
    pub(crate) code: u16,
    /// The first of so many, the second of so many, and so on: 1 is all of them.
    pub(crate) one_of: usize,
    /// How often at most.
    pub(crate) times: usize,
}

/// A plain HTTP server in front of the API server. It ends when it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    server: Arc<Server>,
    _running: DropGuard,
}

struct Server {
    upstream: String,
    client: reqwest::Client,
    faults: Mutex<Vec<(Fault, usize)>>,
    seen: Mutex<Vec<Seen>>,
    watches: Mutex<CancellationToken>,
    /// Writes that may still pass; all if `None`.
    writes: Mutex<Option<usize>>,
    /// Whether one does not.
    held: watch::Sender<bool>,
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) verb: String,
    pub(crate) path: String,
    /// What it was answered with in the server's place.
    pub(crate) fault: Option<u16>,
}

impl Seen {
    pub(crate) fn writes(&self) -> bool {
        !matches!(self.verb.as_str(), "GET" | "WATCH")
    }

    fn is(&self, verb: &str, path: &str) -> bool {
        (verb.is_empty() || self.verb == verb) && self.path.contains(path)
    }
}

impl Proxy {
    /// In front of the API server at `upstream`, whose certificate is not looked at.
    pub(crate) async fn start(upstream: &str) -> Proxy {
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_danger_accept_invalid_certs(true)
            .build()
            .unwrap();
        let server = Arc::new(Server {
            upstream: upstream.to_owned(),
            client,
            faults: Mutex::default(),
            seen: Mutex::default(),
            watches: Mutex::default(),
            writes: Mutex::default(),
            held: watch::Sender::default(),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&server));
        let stop = CancellationToken::new();
        let running = stop.clone();
        tokio::spawn(async move {
            let served = axum::serve(listener, router).into_future();
            running.run_until_cancelled(served).await
        });
        Proxy {
            address,
            server,
            _running: stop.drop_guard(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn inject(&self, fault: Fault) {
        self.server.faults.lock().push((fault, 0));
    }

    /// Injects no more.
    pub(crate) fn heal(&self) {
        self.server.faults.lock().clear();
    }

    /// Ends every open watch in the middle of its stream.
    pub(crate) fn drop_watches(&self) {
        std::mem::take(&mut *self.server.watches.lock()).cancel();
    }

    /// Lets so many writes pass from now on, and holds what follows for good.
    pub(crate) fn allow_writes(&self, writes: Option<usize>) {
        *self.server.writes.lock() = writes;
        self.server.held.send_replace(false);
    }

    /// Returns once a write is held.
    pub(crate) async fn held(&self) {
        let mut held = self.server.held.subscribe();
        held.wait_for(|held| *held).await.unwrap();
    }

    /// What came so far and is such a request.
    pub(crate) fn seen(&self, verb: &str, path: &str) -> Vec<Seen> {
        let seen = self.server.seen.lock();
        let fits = |seen: &&Seen| seen.is(verb, path);
        seen.iter().filter(fits).cloned().collect()
    }
}

async fn answer(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().unwrap().to_string();
    let watches = path.contains("watch=true");
    let mut seen = Seen {
        verb: if watches {
            "WATCH"
        } else {
            parts.method.as_str()
        }
        .to_owned(),
        path,
        fault: None,
    };
    seen.fault = server.fault(&seen);
    server.seen.lock().push(seen.clone());
    if let Some(code) = seen.fault {
        return refusal(code);
    }
    if seen.writes() && !server.may_write() {
        server.held.send_replace(true);
        return std::future::pending().await;
    }
    let ended = server.watches.lock().clone();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return refusal(400);
    };
    let method = Method::clone(&parts.method);
    let request = server
        .client
        .request(method, format!("{}{}", server.upstream, seen.path))
        .headers(passed_on(parts.headers))
        .body(body);
    let Ok(answer) = request.send().await else {
        return refusal(502);
    };
    let (status, headers) = (answer.status(), passed_on(answer.headers().clone()));
    let stream = answer
        .bytes_stream()
        .map(|chunk| chunk.map_err(std::io::Error::other));
    let body = if watches {
        let dropped = async move {
            ended.cancelled_owned().await;
            Some(Err(std::io::Error::other("dropped")))
        };
        // An error ends the connection where it stands.
        let whole = stream.map(Some).chain(once(ready(None)));
        let either = select(whole, once(dropped)).take_while(|next| ready(next.is_some()));
        Body::from_stream(either.filter_map(ready))
    } else {
        Body::from_stream(stream)
    };
    (status, headers, body).into_response()
}

impl Server {
    fn fault(&self, seen: &Seen) -> Option<u16> {
        let mut faults = self.faults.lock();
        let mut code = None;
        for (fault, came) in faults.iter_mut() {
            if code.is_some() || !seen.is(fault.verb, fault.path) {
                continue;
            }
            if *came % fault.one_of == 0 && *came / fault.one_of < fault.times {
                code = Some(fault.code);
            }
            *came += 1;
        }
        code
    }

    fn may_write(&self) -> bool {
        match &mut *self.writes.lock() {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// Without what concerns one connection.
fn passed_on(mut headers: HeaderMap) -> HeaderMap {
    for name in [HOST, CONNECTION, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}

/// As the API server puts it.
fn refusal(code: u16) -> Response {
    let reason = match code {
        403 => "Forbidden",
        409 => "Conflict",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": code, "reason": reason, "message": "injected by the test",
    });
    let code = axum::http::StatusCode::from_u16(code).unwrap();
    let mut answer = (code, status.to_string()).into_response();
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, "application/json".parse().unwrap());
    if code.as_u16() == 429 {
        headers.insert(RETRY_AFTER, "1".parse().unwrap());
    }
    answer
}
