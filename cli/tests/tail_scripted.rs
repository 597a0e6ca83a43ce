//! `tail` against servers that do as each test says: losing connections, refusing, falling silent.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use clickstream_protocol::stomp::{Decoder, Frame, Limits, Version};
use support::{Running, run, start};
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Message, WebSocket, accept, accept_hdr};

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
const LIVE: &str =
    r#"{"status":"live","at":"2024-01-01T00:00:00.000Z","partitions":1,"lagRecords":0}"#;

/// Serves connections one after the other, each by `serve` with its number from 0.
fn server<F>(connections: usize, serve: F) -> (String, JoinHandle<()>)
where
    F: Fn(usize, TcpStream) + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let thread = thread::spawn(move || {
        for number in 0..connections {
            serve(number, listener.accept().unwrap().0);
        }
    });
    (url, thread)
}

/// Reads a request's first line and headers.
fn request(stream: &TcpStream) -> Vec<String> {
    let lines = BufReader::new(stream).lines().map(Result::unwrap);
    lines.take_while(|line| !line.is_empty()).collect()
}

fn tail(url: &str, more: &[&str]) -> Running {
    start([&["tail", "--url", url], more].concat())
}

/// The server's side of STOMP over a WebSocket.
struct Stomp {
    socket: WebSocket<TcpStream>,
    decoder: Decoder,
}

impl Stomp {
    /// Takes a connection as far as its SUBSCRIBE, and gives that.
    fn accept(stream: TcpStream) -> (Stomp, Frame) {
        let protocol = |_: &Request, mut response: Response| {
            let protocol = HeaderValue::from_static("v12.stomp");
            response
                .headers_mut()
                .insert("sec-websocket-protocol", protocol);
            Ok(response)
        };
        let socket = accept_hdr(stream, protocol).unwrap();
        let decoder = Decoder::new(Limits::SERVER);
        let mut stomp = Stomp { socket, decoder };
        let connect = stomp.next();
        assert_eq!(connect.command, "CONNECT");
        stomp.decoder.set_version(Version::V1_2);
        stomp.send("CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0");
        let subscribe = stomp.next();
        assert_eq!(subscribe.command, "SUBSCRIBE");
        (stomp, subscribe)
    }

    fn next(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.decoder.next().unwrap() {
                return frame;
            }
            let message = self.socket.read().unwrap();
            self.decoder.push(&message.into_data());
        }
    }

    fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    fn status(&mut self, body: &str) {
        self.send(&format!("MESSAGE\nsubscription:0\nstatus:x\n\n{body}\0"));
    }

    fn event(&mut self, body: &str) {
        self.send(&format!(
            "MESSAGE\nsubscription:0\nsource:t/0/1\n\n{body}\0"
        ));
    }

    /// Waits for the polite end: nothing is to be matched for nobody.
    fn goodbye(&mut self) {
        assert_eq!(self.next().command, "UNSUBSCRIBE");
        let disconnect = self.next();
        assert_eq!(disconnect.command, "DISCONNECT");
        let receipt = disconnect.header("receipt").unwrap();
        self.send(&format!("RECEIPT\nreceipt-id:{receipt}\n\n\0"));
    }
}

#[test]
fn a_lost_stream_is_taken_up_again_and_that_is_told() {
    let (url, server) = server(2, |number, mut stream| {
        let lines = request(&stream);
        assert!(
            lines[0].starts_with("GET /base/api/v1/live?filter=a+%26%26+b&rate=0 "),
            "{lines:?}"
        );
        assert!(lines.contains(&String::from("x-user: me")), "{lines:?}");
        let event = format!("id: t/0/{number}\ndata: {{\ndata: \"n\":{number}}}\n\n");
        let status = format!("event: status\ndata: {LIVE}\n\n");
        stream
            .write_all(format!("{STREAM}{status}{event}").as_bytes())
            .unwrap();
    });
    let base = format!("{url}/base");
    let more = [
        "--filter",
        "a && b",
        "--rate",
        "0",
        "-H",
        "X-User: me",
        "--count",
        "2",
    ];
    let finished = tail(&base, &[&["--transport", "sse"], &more[..]].concat()).finish();
    server.join().unwrap();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.lines(), [r#"{"n":0}"#, r#"{"n":1}"#]);
    assert!(finished.stderr.contains(LIVE), "{finished:?}");
    for status in ["reconnecting", "reconnected"] {
        assert!(finished.has_status(status), "{finished:?}");
    }
}

#[test]
fn status_messages_are_json_lines_and_not_events() {
    let (url, server) = server(1, |_, stream| {
        let (mut stomp, subscribe) = Stomp::accept(stream);
        let asked = [
            "destination",
            "filter",
            "event-types",
            "fields",
            "rate",
            "on-error",
        ];
        let asked = asked.map(|name| subscribe.header(name).unwrap_or("-").to_owned());
        assert_eq!(asked, ["/live", "x:\n\\", "a,b", "user_id", "-", "message"]);
        stomp.status(LIVE);
        stomp.send("MESSAGE\nsubscription:0\nsource:t/0/7\ntoo-large:true\n\nnull\0");
        stomp.event("{\"a\":\r\n 1}");
        stomp.goodbye();
    });
    let more = [
        "--filter",
        "x:\n\\",
        "--event-types",
        "a,b",
        "--fields",
        "user_id",
        "--count",
        "1",
    ];
    let finished = tail(&url, &more).finish();
    server.join().unwrap();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.stdout, "{\"a\": 1}\n");
    let too_large = r#"{"status":"too-large","source":"t/0/7"}"#;
    assert_eq!(finished.stderr, format!("{LIVE}\n{too_large}\n"));
}

#[test]
fn ctrl_c_takes_the_subscription_back() {
    let (url, server) = server(1, |_, stream| {
        let (mut stomp, subscribe) = Stomp::accept(stream);
        assert_eq!(
            subscribe.header("destination"),
            Some("/queries/shop/purchases")
        );
        stomp.status(LIVE);
        stomp.goodbye();
    });
    let mut running = tail(&url, &["--query", "shop/purchases"]);
    running.until("live");
    running.interrupt();
    let finished = running.finish();
    server.join().unwrap();
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[test]
fn a_timeout_without_a_count_is_a_success_and_with_one_is_not() {
    for (more, code) in [
        (&["--timeout", "2s"][..], 0),
        (&["--timeout", "2s", "--count", "2"], 3),
    ] {
        let (url, server) = server(1, |_, stream| {
            let (mut stomp, _) = Stomp::accept(stream);
            stomp.event("{}");
            stomp.goodbye();
        });
        let finished = tail(&url, more).finish();
        server.join().unwrap();
        assert_eq!(finished.code, Some(code), "{finished:?}");
        assert_eq!(finished.stdout, "{}\n");
    }
}

#[test]
fn a_refused_filter_is_shown_with_its_place() {
    const PROBLEM: &str = r#"{"type":"about:blank","title":"t","status":422,"detail":"unknown variable `x`","offset":0,"length":1,"caret":"x == 1\n^","suggestion":"event.x"}"#;
    let (url, stomp) = server(1, |_, stream| {
        let (mut stomp, _) = Stomp::accept(stream);
        stomp.status(&format!(
            r#"{{"status":"ended","reason":"refused","message":"m","error":{PROBLEM}}}"#
        ));
        // Until the client hangs up.
        let _ = stomp.socket.read();
    });
    let by_stomp = tail(&url, &["--filter", "x == 1"]).finish();
    stomp.join().unwrap();
    let (url, sse) = server(1, |_, mut stream| {
        request(&stream);
        let head = "HTTP/1.1 422 Unprocessable Content\r\nconnection: close\r\n";
        let answer = format!("{head}content-length: {}\r\n\r\n{PROBLEM}", PROBLEM.len());
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let by_sse = tail(&url, &["--filter", "x == 1", "--transport", "sse"]).finish();
    sse.join().unwrap();
    for finished in [by_stomp, by_sse] {
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert_eq!(finished.stdout, "");
        let expected = "unknown variable `x`\n  x == 1\n  ^\n  try: event.x\n";
        assert!(finished.stderr.ends_with(expected), "{finished:?}");
    }
}

#[test]
fn a_draining_server_is_left_and_an_expired_subscription_ends_it() {
    let (url, server) = server(2, |number, stream| {
        let (mut stomp, _) = Stomp::accept(stream);
        let reason = ["draining", "expired"][number];
        stomp.status(&format!(
            r#"{{"status":"ended","reason":"{reason}","message":"m"}}"#
        ));
        let _ = stomp.socket.read();
    });
    let finished = tail(&url, &[]).finish();
    server.join().unwrap();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.has_status("reconnected"), "{finished:?}");
}

#[test]
fn sockjs_frames_carry_stomp() {
    let (url, server) = server(1, |_, stream| {
        let mut socket = accept(stream).unwrap();
        socket.send(Message::text("o")).unwrap();
        let mut read = || {
            let text = socket.read().unwrap().into_text().unwrap();
            let messages: Vec<String> = serde_json::from_str(&text).unwrap();
            let command = messages[0].lines().next().unwrap().to_owned();
            let answers: &[&str] = match command.as_str() {
                "CONNECT" => &["h", r#"a["CONNECTED\nversion:1.2\n\n\u0000"]"#],
                "SUBSCRIBE" => &[
                    r#"a["MESSAGE\nsubscription:0\n\n{\"a\":1}\u0000MESS","AGE\nsubscription:0\n\n{}\u0000"]"#,
                ],
                "DISCONNECT" => &[r#"a["RECEIPT\nreceipt-id:bye\n\n\u0000"]"#],
                _ => &[],
            };
            for answer in answers {
                socket.send(Message::text(*answer)).unwrap();
            }
            command
        };
        let commands = [read(), read(), read(), read()];
        assert_eq!(
            commands,
            ["CONNECT", "SUBSCRIBE", "UNSUBSCRIBE", "DISCONNECT"]
        );
    });
    let finished = tail(&url, &["--transport", "sockjs", "--count", "2"]).finish();
    server.join().unwrap();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.stdout, "{\"a\":1}\n{}\n");
}

#[test]
fn an_address_that_serves_something_else_is_told() {
    for transport in ["stomp", "sockjs", "sse"] {
        let (url, server) = server(1, |_, mut stream| {
            request(&stream);
            let answer = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let finished = tail(&url, &["--transport", transport]).finish();
        server.join().unwrap();
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.stderr.contains("404"), "{finished:?}");
    }
}

#[test]
fn nobody_there_is_exit_code_1() {
    // A port that was free a moment ago, and that nobody listens on.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("http://127.0.0.1:{port}");
    for transport in ["stomp", "sockjs", "sse"] {
        let finished = run([
            "tail",
            "--url",
            &url,
            "--transport",
            transport,
            "--timeout",
            "1s",
        ]);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert_eq!(finished.stdout, "");
    }
    let patient = run(["tail", "--url", &url]);
    assert_eq!(patient.code, Some(1), "{patient:?}");
    assert!(patient.stderr.contains("cannot reach"), "{patient:?}");
}

#[test]
fn a_closed_standard_output_ends_it_quietly() {
    let (url, server) = server(1, |_, stream| {
        let (mut stomp, _) = Stomp::accept(stream);
        // More than any pipe holds, until the client hangs up.
        let event = format!(
            "MESSAGE\nsubscription:0\n\n{{\"a\":\"{}\"}}\0",
            "x".repeat(1_000)
        );
        while stomp.socket.send(Message::text(event.clone())).is_ok() {}
    });
    let command = r#""$0" tail --url "$1" --rate 0 | head -n 1 | wc -l; echo "${PIPESTATUS[0]}""#;
    let output = std::process::Command::new("bash")
        .args(["-c", command, env!("CARGO_BIN_EXE_clickstream"), &url])
        .output()
        .unwrap();
    server.join().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["1", "0"]);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
