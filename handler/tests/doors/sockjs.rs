//! `/sockjs`, by the rules of SockJS's own protocol test.

use std::time::Duration;

use reqwest::{Client, Method, Response};
use serde_json::json;
use tokio::time::timeout;

use crate::support::{Handler, LIMIT, until};

const CONNECT: &str = "CONNECT\naccept-version:1.2\n\n\0";
const JAVASCRIPT: &str = "application/javascript; charset=UTF-8";
const UNCACHED: &str = "no-store, no-cache, must-revalidate, max-age=0";

/// A client with one session.
struct Session {
    http: Client,
    base: String,
    id: u64,
}

impl Session {
    async fn new() -> Session {
        let http = clickstream_testkit::process::http().unwrap();
        let base = format!("{}/sockjs", Handler::shared().await.url);
        Session {
            http,
            base,
            id: rand::random(),
        }
    }

    async fn request(&self, method: Method, transport: &str, body: &str) -> Response {
        // The server's part is for balancers: any will do, every time.
        let server = rand::random::<u8>();
        let url = format!("{}/{server}/{}/{transport}", self.base, self.id);
        self.http
            .request(method, url)
            .body(body.to_owned())
            .send()
            .await
            .unwrap()
    }

    async fn post(&self, transport: &str, body: &str) -> (u16, String) {
        let answer = self.request(Method::POST, transport, body).await;
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn poll(&self) -> String {
        let (status, body) = self.post("xhr", "").await;
        assert_eq!(status, 200);
        body
    }

    async fn send(&self, stomp: &str) -> (u16, String) {
        self.post("xhr_send", &json!([stomp]).to_string()).await
    }

    /// Messages of the next polls, until one contains `text`.
    async fn poll_until(&self, text: &str) -> String {
        loop {
            let body = self.poll().await;
            assert!(body.starts_with('a'), "{body}");
            if body.contains(text) {
                return body;
            }
        }
    }
}

/// Reads an answer as it comes.
struct Stream {
    answer: Response,
    read: String,
}

impl Stream {
    fn of(answer: Response) -> Stream {
        assert_eq!(answer.status(), 200);
        Stream {
            answer,
            read: String::new(),
        }
    }

    /// What came up to the end of `text`.
    async fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.read.find(text) {
                let rest = self.read.split_off(at + text.len());
                return std::mem::replace(&mut self.read, rest);
            }
            let chunk = timeout(LIMIT, self.answer.chunk()).await.unwrap().unwrap();
            let chunk = chunk.unwrap_or_else(|| panic!("over without {text}: {}", self.read));
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn rest(mut self) -> String {
        while let Some(chunk) = timeout(LIMIT, self.answer.chunk()).await.unwrap().unwrap() {
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        self.read
    }
}

#[tokio::test]
async fn greeting_and_info() {
    let Session { http, base, .. } = Session::new().await;
    for url in [base.clone(), format!("{base}/")] {
        let answer = http.get(url).send().await.unwrap();
        assert_eq!(
            answer.headers()["content-type"],
            "text/plain; charset=UTF-8"
        );
        assert_eq!(answer.text().await.unwrap(), "Welcome to SockJS!\n");
    }
    let mut entropies = Vec::new();
    for _ in 0..2 {
        let answer = http.get(format!("{base}/info")).send().await.unwrap();
        assert_eq!(
            answer.headers()["content-type"],
            "application/json; charset=UTF-8"
        );
        assert_eq!(answer.headers()["cache-control"], UNCACHED);
        assert_eq!(answer.headers()["access-control-allow-origin"], "*");
        assert_eq!(answer.headers()["access-control-allow-credentials"], "true");
        let info: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(info["websocket"], true);
        assert_eq!(info["cookie_needed"], false);
        assert_eq!(info["origins"], json!(["*:*"]));
        entropies.push(info["entropy"].as_u64().unwrap());
    }
    assert_ne!(entropies[0], entropies[1]);
}

#[tokio::test]
async fn other_paths_and_old_transports_are_not_found() {
    let Session { http, base, .. } = Session::new().await;
    for path in [
        "/a",
        "/a.html",
        "//",
        "/a/a",
        "/a/a/",
        "/iframe.html",
        "/iframe-1.html",
        "/a/a/jsonp?c=x",
        "/a/a/jsonp_send",
        "/a/a/htmlfile?c=x",
        "///xhr",
        "/xhr",
        "/a/xhr",
        "/a./a/eventsource",
    ] {
        let status = http
            .get(format!("{base}{path}"))
            .send()
            .await
            .unwrap()
            .status();
        assert_eq!(status, 404, "{path}");
    }
    for path in ["/a./a/xhr", "/a/a./xhr", "/a/a./xhr_send", "/a/%2f/xhr"] {
        let status = http
            .post(format!("{base}{path}"))
            .send()
            .await
            .unwrap()
            .status();
        assert_eq!(status, 404, "{path}");
    }
}

#[tokio::test]
async fn cors_is_answered_for_every_transport() {
    let Session { http, base, .. } = Session::new().await;
    let own = Handler::shared().await.url.clone();
    for (path, methods) in [
        ("/info", "OPTIONS, GET"),
        ("/a/b/xhr", "OPTIONS, POST"),
        ("/a/b/xhr_send", "OPTIONS, POST"),
        ("/a/b/xhr_streaming", "OPTIONS, POST"),
        ("/a/b/eventsource", "OPTIONS, GET"),
    ] {
        for origin in [None, Some("https://app.example.com"), Some(own.as_str())] {
            let mut request = http.request(Method::OPTIONS, format!("{base}{path}"));
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            let request = request.header("access-control-request-headers", "a, b, c");
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 204);
            let header = |name: &str| answer.headers()[name].to_str().unwrap();
            assert_eq!(header("access-control-allow-origin"), origin.unwrap_or("*"));
            assert_eq!(header("access-control-allow-credentials"), "true");
            assert_eq!(header("access-control-allow-methods"), methods);
            assert_eq!(header("access-control-allow-headers"), "a, b, c");
            assert_eq!(header("access-control-max-age"), "31536000");
            assert_eq!(header("cache-control"), "public, max-age=31536000");
            assert!(header("expires").ends_with(" GMT"));
            assert_eq!(answer.text().await.unwrap(), "");
        }
        let request = http.request(Method::OPTIONS, format!("{base}{path}"));
        let answer = request
            .header("origin", "https://evil.example.com")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 403);
    }
}

#[tokio::test]
async fn polling() {
    let session = Session::new().await;
    let answer = session.request(Method::POST, "xhr", "").await;
    assert_eq!(answer.headers()["content-type"], JAVASCRIPT);
    assert_eq!(answer.headers()["cache-control"], UNCACHED);
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    assert_eq!(answer.text().await.unwrap(), "o\n");

    assert_eq!(
        session.post("xhr_send", "").await,
        (500, "Payload expected.".to_owned())
    );
    let broken = (500, "Broken JSON encoding.".to_owned());
    assert_eq!(session.post("xhr_send", "[\"x").await, broken);
    let answer = session
        .request(Method::POST, "xhr_send", &json!([CONNECT]).to_string())
        .await;
    assert_eq!(answer.status(), 204);
    assert_eq!(
        answer.headers()["content-type"],
        "text/plain; charset=UTF-8"
    );
    assert_eq!(answer.headers()["cache-control"], UNCACHED);
    assert_eq!(answer.text().await.unwrap(), "");
    session.poll_until("a[\"CONNECTED\\nversion:1.2\\n").await;

    let subscribe = "SUBSCRIBE\nid:0\ndestination:/live\nfilter:event.polled\n\n\0";
    assert_eq!(session.send(subscribe).await.0, 204);
    let registered = session.poll_until("status:registered").await;
    let query = registered.split("\\\"query\\\":\\\"").nth(1).unwrap();
    let handler = Handler::shared().await;
    let source = handler.matched(&query[..32], "{\"polled\":\"\u{2028}\"}");
    let event = session.poll_until(&source).await;
    assert!(
        event.contains("{\\\"polled\\\":\\\"\\u2028\\\"}"),
        "{event}"
    );

    // The close frame repeats.
    session.send("DISCONNECT\n\n\0").await;
    while session.poll().await != "c[1000,\"bye\"]\n" {}
    assert_eq!(session.poll().await, "c[1000,\"bye\"]\n");
    assert_eq!(session.send("\n").await.0, 404);
}

#[tokio::test]
async fn one_receives_at_a_time() {
    const STILL_OPEN: &str = "c[2010,\"Another connection still open\"]\n";
    const INTERRUPTED: &str = "c[1002,\"Connection interrupted\"]\n";
    for transport in ["xhr", "xhr_streaming"] {
        // Which of two requests comes first is not for the client to say: begin again when it was the other.
        let (session, first) = loop {
            let session = Session::new().await;
            assert_eq!(session.poll().await, "o\n");
            let url = format!("{}/1/{}/{transport}", session.base, session.id);
            let first = session.http.post(url);
            let first = tokio::spawn(async move { first.send().await?.text().await });
            tokio::task::yield_now().await;
            if let Ok(body) = timeout(Duration::from_millis(500), session.poll()).await {
                assert_eq!(body, STILL_OPEN);
                break (session, first);
            }
        };
        let (_, body) = session.post("xhr_streaming", "").await;
        assert!(body.ends_with(&format!("\n{STILL_OPEN}")), "{body}");
        // The first goes away in the middle.
        first.abort();
        let _ = first.await;
        until("the session is interrupted", || async {
            let body = session.poll().await;
            assert!(body == STILL_OPEN || body == INTERRUPTED, "{body}");
            body == INTERRUPTED
        })
        .await;
    }
}

#[tokio::test]
async fn a_session_without_receiver_goes() {
    let session = Session::new().await;
    assert_eq!(
        session.send(CONNECT).await.0,
        404,
        "there is no session yet"
    );
    assert_eq!(session.poll().await, "o\n");
    assert_eq!(session.send("\n").await.0, 204);
    until("the session is gone", || async {
        session.send("\n").await.0 == 404
    })
    .await;
    until("the id begins a new one", || async {
        session.poll().await == "o\n"
    })
    .await;
}

#[tokio::test]
async fn streaming() {
    let session = Session::new().await;
    let answer = session.request(Method::POST, "xhr_streaming", "").await;
    assert_eq!(answer.headers()["content-type"], JAVASCRIPT);
    assert_eq!(answer.headers()["cache-control"], UNCACHED);
    let mut stream = Stream::of(answer);
    let opened = format!("{}\no\n", "h".repeat(2048));
    assert_eq!(stream.until("o\n").await, opened);
    session.send(CONNECT).await;
    assert!(stream.until("]\n").await.starts_with("a[\"CONNECTED\\n"));
    session
        .send("SUBSCRIBE\nid:0\ndestination:/live\nfilter:event.streamed\nrate:0\n\n\0")
        .await;
    let registered = stream.until("]\n").await;
    let query = registered.split("\\\"query\\\":\\\"").nth(1).unwrap()[..32].to_owned();
    // An answer ends after 128 KiB; what comes then waits for the next.
    let handler = Handler::shared().await;
    let body = format!("{{\"streamed\":\"{}\"}}", "x".repeat(10_000));
    let sources: Vec<_> = (0..20).map(|_| handler.matched(&query, &body)).collect();
    let first = stream.rest().await;
    assert!(
        (118 << 10..600 << 10).contains(&first.len()),
        "{}",
        first.len()
    );
    let mut all = first;
    while !all.contains(&format!("source:{}\\n", sources[19])) {
        let mut next = Stream::of(session.request(Method::POST, "xhr_streaming", "").await);
        next.until("h\n").await;
        all += &next.until("]\n").await;
        // To go away in the middle would end the session.
        let last = format!("source:{}\\n", sources[19]);
        if !all.contains(&last) {
            all += &next.until(&last).await;
        }
        session.send("DISCONNECT\n\n\0").await;
        assert!(next.rest().await.ends_with("c[1000,\"bye\"]\n"));
    }
    for source in &sources {
        assert_eq!(
            all.matches(&format!("source:{source}\\n")).count(),
            1,
            "{source}"
        );
    }
}

#[tokio::test]
async fn event_source() {
    let session = Session::new().await;
    let answer = session.request(Method::GET, "eventsource", "").await;
    assert_eq!(
        answer.headers()["content-type"],
        "text/event-stream; charset=UTF-8"
    );
    assert_eq!(answer.headers()["cache-control"], UNCACHED);
    let mut stream = Stream::of(answer);
    assert_eq!(stream.until("o\r\n\r\n").await, "\r\ndata: o\r\n\r\n");
    session.send(CONNECT).await;
    let frame = stream.until("\r\n\r\n").await;
    assert!(frame.starts_with("data: a[\"CONNECTED\\n"), "{frame}");
    session.send("NONSENSE\n\n\0").await;
    let rest = stream.rest().await;
    assert!(rest.starts_with("data: a[\"ERROR\\n"), "{rest}");
    assert!(
        rest.ends_with("data: c[1002,\"see the ERROR frame\"]\r\n\r\n"),
        "{rest}"
    );
}

#[tokio::test]
async fn a_websocket_is_asked_for_as_one() {
    let Session { http, base, .. } = Session::new().await;
    for path in ["/0/0/websocket", "/websocket"] {
        let url = format!("{base}{path}");
        let answer = http.get(&url).send().await.unwrap();
        assert_eq!(answer.status(), 400);
        assert!(
            answer
                .text()
                .await
                .unwrap()
                .contains("Can \"Upgrade\" only to \"WebSocket\".")
        );
        let answer = http.post(&url).send().await.unwrap();
        assert_eq!(answer.status(), 405);
        assert!(answer.headers()["allow"].to_str().unwrap().contains("GET"));
        assert!(!answer.headers().contains_key("content-type"));
        assert_eq!(answer.text().await.unwrap(), "");
    }
}

#[tokio::test]
async fn broken_json_ends_a_websocket_session() {
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::{connect_async, tungstenite::Message};
    let url = Handler::shared().await.url.replacen("http", "ws", 1);
    let (mut socket, _) = connect_async(format!("{url}/sockjs/0/0/websocket"))
        .await
        .unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("o"));
    // Nothing in them, so nothing happens.
    for empty in ["", "[]"] {
        socket.send(Message::text(empty)).await.unwrap();
    }
    // An array or a single string.
    let connect = json!(CONNECT).to_string();
    socket.send(Message::text(connect)).await.unwrap();
    let frame = socket.next().await.unwrap().unwrap();
    assert!(frame.to_text().unwrap().starts_with("a[\"CONNECTED\\n"));
    socket.send(Message::text("[\"x")).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
}
