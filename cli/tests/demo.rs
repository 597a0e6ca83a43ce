//! `demo`, and `tail` against it.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use serde_json::Value;
use support::{Finished, Running, run, start};

const TRANSPORTS: [&str; 3] = ["stomp", "sockjs", "sse"];
const PURCHASES: &str = r#"event.type == "purchase""#;

/// One demo for everything here, because it takes seconds until a new one matches.
#[test]
fn a_demo_is_watched_by_tail_in_every_way() {
    let mut demo = start(["demo", "--port", "0", "--rate", "2000"]);
    let line = demo.until("Clickstream runs at ");
    let url = line.rsplit(' ').next().unwrap();
    let suggested = demo.until(" tail ");
    assert!(
        suggested.contains(&format!("tail --url {url} --filter ")),
        "{suggested}"
    );

    matches_come_over_every_transport(url);
    an_event_comes_as_it_was_sent(url);
    fields_and_event_types_are_chosen_by_the_server(url);
    time_can_be_up(url);
    mistakes_are_refused_over_every_transport(url);
    the_commands_of_the_readme_run(url);
    a_reader_may_go(url);
    ctrl_c_removes_the_query(url);

    demo.interrupt();
    let finished = demo.finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let gone = tail(url, &["--timeout", "2s"]);
    assert_eq!(gone.code, Some(1), "{gone:?}");
}

fn tail(url: &str, more: &[&str]) -> Finished {
    run([&["tail", "--url", url], more].concat())
}

fn events(finished: &Finished) -> Vec<Value> {
    finished
        .lines()
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn matches_come_over_every_transport(url: &str) {
    let tails = TRANSPORTS.map(|transport| {
        let args = ["tail", "--url", url, "--filter", PURCHASES, "--count", "5"];
        start([&args[..], &["--transport", transport]].concat())
    });
    for finished in tails.map(Running::finish) {
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let events = events(&finished);
        assert_eq!(events.len(), 5, "{finished:?}");
        assert!(
            events.iter().all(|event| event["type"] == "purchase"),
            "{finished:?}"
        );
        assert!(finished.has_status("live"), "{finished:?}");
        for line in finished.stderr.lines() {
            let status: Value = serde_json::from_str(line).unwrap();
            assert!(status["status"].is_string(), "{line}");
        }
    }
}

fn an_event_comes_as_it_was_sent(url: &str) {
    let finished = tail(url, &["--count", "1"]);
    let names = [
        "event_id",
        "type",
        "timestamp",
        "user_id",
        "session_id",
        "platform",
    ];
    let places = names.map(|name| finished.stdout.find(&format!("\"{name}\":")).unwrap());
    assert!(places.is_sorted(), "{places:?} in {finished:?}");
}

fn fields_and_event_types_are_chosen_by_the_server(url: &str) {
    for transport in TRANSPORTS {
        let more = [
            "--event-types",
            "search,catalog",
            "--fields",
            "type,user_id",
        ];
        let more = [&more[..], &["--count", "5", "--transport", transport]].concat();
        for event in events(&tail(url, &more)) {
            let event = event.as_object().unwrap();
            assert!(["search", "catalog"].contains(&event["type"].as_str().unwrap()));
            assert_eq!(event.keys().collect::<Vec<_>>(), ["type", "user_id"]);
        }
    }
}

fn time_can_be_up(url: &str) {
    let nothing = [
        "--filter",
        r#"event.type == "no such type""#,
        "--timeout",
        "3s",
    ];
    for transport in TRANSPORTS {
        let more = [&nothing[..], &["--transport", transport]].concat();
        let finished = tail(url, &more);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert_eq!(finished.stdout, "");
        let finished = tail(url, &[&more[..], &["--count", "1"]].concat());
        assert_eq!(finished.code, Some(3), "{finished:?}");
    }
}

fn mistakes_are_refused_over_every_transport(url: &str) {
    for transport in TRANSPORTS {
        let filter = tail(
            url,
            &["--filter", "event.type = 1", "--transport", transport],
        );
        assert_eq!(filter.code, Some(2), "{filter:?}");
        assert_eq!(filter.stdout, "");
        let mut lines = filter
            .stderr
            .lines()
            .skip_while(|line| !line.contains("event.type = 1"));
        let column = lines.next().unwrap().find('=');
        assert_eq!(lines.next().unwrap().find('^'), column, "{filter:?}");

        let fields = tail(url, &["--fields", "a..b", "--transport", transport]);
        assert_eq!(fields.code, Some(2), "{fields:?}");
        let query = tail(url, &["--query", "no/such", "--transport", transport]);
        assert_eq!(query.code, Some(1), "{query:?}");
        assert!(query.stderr.contains("no/such"), "{query:?}");
    }
}

fn the_commands_of_the_readme_run(url: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let commands: Vec<_> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("clickstream tail --url http://127.0.0.1:8080 "))
        .collect();
    assert_eq!(commands.len(), 4);
    for command in commands {
        let output = Command::new("bash")
            .args(["-c", &format!(r#""$0" tail --url "$1" {command}"#)])
            .args([env!("CARGO_BIN_EXE_clickstream"), url])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{command}: {output:?}");
        let count = command.rsplit(' ').next().unwrap();
        assert_eq!(
            String::from_utf8(output.stdout)
                .unwrap()
                .lines()
                .count()
                .to_string(),
            count
        );
    }
}

fn a_reader_may_go(url: &str) {
    let command =
        r#""$0" tail --url "$1" --rate 0 | head -n 1 >/dev/null; echo "${PIPESTATUS[0]}""#;
    let output = Command::new("bash")
        .args(["-c", command, env!("CARGO_BIN_EXE_clickstream"), url])
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"0\n", "{output:?}");
}

/// The answer of `/api/v1/queries`, head and body.
fn queries(url: &str) -> String {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let request = "GET /api/v1/queries HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn ctrl_c_removes_the_query(url: &str) {
    let filter = r#"event.type == "only here""#;
    for transport in ["stomp", "sockjs"] {
        let args = [
            "tail",
            "--url",
            url,
            "--filter",
            filter,
            "--transport",
            transport,
        ];
        let mut watching = start(args);
        watching.until(r#""status":"live""#);
        assert!(queries(url).contains("only here"));
        watching.interrupt();
        let finished = watching.finish();
        assert_eq!(finished.code, Some(0), "{finished:?}");
        // The server has acknowledged it before the program ended.
        assert!(!queries(url).contains("only here"), "{}", queries(url));
    }
}

#[test]
fn a_taken_port_is_told_with_what_to_write() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let finished = run(["demo", "--port", &port.to_string()]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("--port"), "{finished:?}");
    assert!(
        finished.stderr.contains(&format!("port {port} is taken")),
        "{finished:?}"
    );
}

#[test]
fn real_services_that_are_not_there_are_told() {
    let kafka = run(["demo", "--port", "0", "--brokers", "127.0.0.1:1"]);
    assert_eq!(kafka.code, Some(1), "{kafka:?}");
    assert!(
        kafka
            .stderr
            .contains("no answer from Kafka at `127.0.0.1:1`"),
        "{kafka:?}"
    );
    let postgres = run([
        "demo",
        "--port",
        "0",
        "--database-url",
        "postgres://127.0.0.1:1/none",
    ]);
    assert_eq!(postgres.code, Some(1), "{postgres:?}");
    assert!(postgres.stderr.contains("PostgreSQL"), "{postgres:?}");
}
