//! Whatever comes in, from Kafka or from a client: the one concerned is told, it is counted, and nobody else loses.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clickstream_e2e::compare::seen_once;
use clickstream_e2e::load::Load;
use clickstream_e2e::pipeline::{Pipeline, Setup};
use clickstream_e2e::{SOON, alone, until};
use clickstream_testkit::kafka::Kafka;
use clickstream_testkit::postgres::Postgres;
use clickstream_testkit::process::http;
use clickstream_testkit::stomp::{Carrier, Client, Frame};
use clickstream_testkit::viewer::{Door, Viewer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::Value;

const LOAD: Load = Load {
    rate: 1_000,
    seconds: 5,
    partitions: 8,
};

async fn start(setup: Setup) -> Result<(&'static Kafka, Pipeline)> {
    let (kafka, postgres) = (Kafka::shared()?, Postgres::shared().await?);
    let pipeline = Pipeline::start(kafka, &postgres.create_database().await?, setup).await?;
    Ok((kafka, pipeline))
}

/// Sends the load while a witness at every handler watches; each must see all of it.
async fn nobody_lost_anything(
    kafka: &Kafka,
    pipeline: &Pipeline,
    witnesses: &[Viewer],
) -> Result<()> {
    let before: Vec<usize> = witnesses
        .iter()
        .map(|witness| witness.log().events.len())
        .collect();
    ensure!(
        before.iter().all(|seen| *seen == 0),
        "a witness is used twice"
    );
    LOAD.start(kafka, &pipeline.source)?
        .join()
        .ok()
        .context("the load panicked")??;
    for witness in witnesses {
        witness
            .until("the load", SOON, |log| {
                log.events.len() as u64 >= LOAD.total()
            })
            .await?;
        seen_once(witness, (0..LOAD.total()).map(Load::event_id))?;
    }
    Ok(())
}

async fn witnesses(pipeline: &Pipeline) -> Result<Vec<Viewer>> {
    let mut witnesses = Vec::new();
    for handler in 0..pipeline.handlers.len() {
        let options = [("filter", r#"event.type == "numbered""#), ("rate", "0")];
        let witness = pipeline.viewer(handler, Door::Stomp, &options).await?;
        witness.live(SOON).await?;
        witnesses.push(witness);
    }
    Ok(witnesses)
}

/// Records that are no events, and how many there are.
fn unreadable() -> Vec<(&'static str, Option<Vec<u8>>)> {
    let deep = [
        b"{\"a\":".to_vec(),
        vec![b'['; 10_000],
        vec![b']'; 10_000],
        b"}".to_vec(),
    ]
    .concat();
    let deep_objects = [b"{\"a\":".repeat(10_000), b"1".to_vec(), vec![b'}'; 10_000]].concat();
    vec![
        ("no value", None),
        ("empty", Some(Vec::new())),
        ("blanks", Some(b" \n\t ".to_vec())),
        ("no JSON", Some(b"hello".to_vec())),
        ("half an object", Some(br#"{"type":"numbered","#.to_vec())),
        (
            "two objects",
            Some(br#"{"type":"numbered"}{"type":"numbered"}"#.to_vec()),
        ),
        ("array", Some(br#"[{"type":"numbered"}]"#.to_vec())),
        ("text", Some(br#""numbered""#.to_vec())),
        ("number", Some(b"1e999".to_vec())),
        (
            "invalid UTF-8",
            Some(b"{\"type\":\"num\xff\xfebered\"}".to_vec()),
        ),
        ("zero bytes", Some(vec![0; 1_000])),
        ("900 KB of no JSON", Some(vec![b'x'; 900_000])),
        ("arrays nested 10,000 deep", Some(deep)),
        ("objects nested 10,000 deep", Some(deep_objects)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_are_no_events_are_counted_and_passed_over() -> Result<()> {
    let _alone = alone().await;
    let (kafka, pipeline) = start(Setup::default()).await?;
    let witnesses = witnesses(&pipeline).await?;
    let large = pipeline
        .viewer(0, Door::Stomp, &[("filter", r#"event.type == "large""#)])
        .await?;
    large.live(SOON).await?;

    let producer: FutureProducer = kafka.client().create()?;
    let bad = unreadable();
    for (name, value) in &bad {
        // On every partition, so that each has good events before and after.
        for partition in 0..8 {
            let mut record = FutureRecord::<str, [u8]>::to(&pipeline.source).partition(partition);
            record.payload = value.as_deref();
            let sent = producer.send(record, SOON).await;
            sent.map_err(|(err, _)| err)
                .with_context(|| format!("cannot send {name}"))?;
        }
    }
    let padding = "p".repeat(900_000);
    let event = format!(r#"{{"event_id":"large","type":"large","padding":"{padding}"}}"#);
    let record = FutureRecord::<str, str>::to(&pipeline.source)
        .partition(3)
        .payload(&event);
    producer.send(record, SOON).await.map_err(|(err, _)| err)?;
    nobody_lost_anything(kafka, &pipeline, &witnesses).await?;

    let count = 8 * bad.len() as u64;
    for witness in &witnesses {
        let all = LOAD.total() + count + 1;
        let told = |log: &clickstream_testkit::viewer::Log| log.progress("/scanned") == all;
        witness
            .until("the bad records to be scanned", SOON, told)
            .await?;
        let log = witness.log();
        println!(
            "{}",
            log.status("progress")
                .map(Value::to_string)
                .unwrap_or_default()
        );
        ensure!(
            log.progress("/unreadable") == count,
            "{} of {count} told",
            log.progress("/unreadable")
        );
    }
    let mut counted = 0.0;
    for worker in &pipeline.workers {
        counted += worker.metric("worker_unreadable_total", "").await?;
    }
    ensure!(
        counted == count as f64,
        "the workers counted {counted} of {count}"
    );
    large
        .until("the large event", SOON, |log| !log.events.is_empty())
        .await?;
    ensure!(
        large.log().events[0].body == event.as_bytes(),
        "the large event was changed"
    );
    pipeline.stop()
}

/// What a client sends on a connection, and whether it has CONNECTED before.
struct Wrong {
    name: &'static str,
    connected: bool,
    bytes: Vec<u8>,
}

fn wrong_frames() -> Vec<Wrong> {
    let wrong = |name, bytes: &[u8]| Wrong {
        name,
        connected: true,
        bytes: bytes.to_vec(),
    };
    let early = |name, bytes: &[u8]| Wrong {
        name,
        connected: false,
        bytes: bytes.to_vec(),
    };
    let long_header = [b"SUBSCRIBE\nid:0\nfilter:".to_vec(), vec![b'x'; 200_000]].concat();
    let many_headers = [
        b"SUBSCRIBE\n".to_vec(),
        b"a:b\n".repeat(20_000),
        b"\n\0".to_vec(),
    ]
    .concat();
    let large_body = [
        b"SEND\ndestination:/live\n\n".to_vec(),
        vec![b'x'; 900_000],
        b"\0".to_vec(),
    ]
    .concat();
    vec![
        wrong("unknown command", b"FETCH\n\n\0"),
        wrong(
            "lower-case command",
            b"subscribe\nid:0\ndestination:/live\n\n\0",
        ),
        wrong(
            "bad escape",
            b"SUBSCRIBE\nid:0\ndestination:/live\nfilter:a\\tb\n\n\0",
        ),
        wrong(
            "escape at the end",
            b"SUBSCRIBE\nid:0\ndestination:/live\nfilter:a\\\n\n\0",
        ),
        wrong(
            "header without a colon",
            b"SUBSCRIBE\nid:0\ndestination\n\n\0",
        ),
        wrong(
            "content-length too small",
            b"SEND\ndestination:/live\ncontent-length:2\n\nabcd\0",
        ),
        wrong(
            "content-length no number",
            b"SEND\ndestination:/live\ncontent-length:two\n\nab\0",
        ),
        wrong(
            "content-length negative",
            b"SEND\ndestination:/live\ncontent-length:-1\n\nab\0",
        ),
        wrong(
            "content-length vast",
            b"SEND\ndestination:/live\ncontent-length:18446744073709551615\n\nab\0",
        ),
        wrong(
            "invalid UTF-8 in a header",
            b"SUBSCRIBE\nid:0\ndestination:/live\nfilter:\xff\xfe\n\n\0",
        ),
        wrong("header that does not end", &long_header),
        wrong("too many headers", &many_headers),
        wrong("large body", &large_body),
        wrong(
            "unknown destination",
            b"SUBSCRIBE\nid:0\ndestination:/topic/x\n\n\0",
        ),
        wrong("SUBSCRIBE without destination", b"SUBSCRIBE\nid:0\n\n\0"),
        wrong(
            "SUBSCRIBE without id",
            b"SUBSCRIBE\ndestination:/live\nfilter:true\n\n\0",
        ),
        wrong("SEND", b"SEND\ndestination:/live\n\n{}\0"),
        wrong("BEGIN", b"BEGIN\ntransaction:1\n\n\0"),
        wrong(
            "second CONNECT",
            b"CONNECT\naccept-version:1.2\nhost:x\n\n\0",
        ),
        wrong(
            "filter that does not parse",
            b"SUBSCRIBE\nid:0\ndestination:/live\nfilter:event.type ==\n\n\0",
        ),
        wrong(
            "unknown variable",
            b"SUBSCRIBE\nid:0\ndestination:/live\nfilter:evnt.type == 'a'\n\n\0",
        ),
        wrong(
            "rate that is no number",
            b"SUBSCRIBE\nid:0\ndestination:/live\nfilter:true\nrate:fast\n\n\0",
        ),
        wrong(
            "ttl of nothing",
            b"SUBSCRIBE\nid:0\ndestination:/live\nfilter:true\nttl:0\n\n\0",
        ),
        wrong(
            "resume, not built yet",
            b"SUBSCRIBE\nid:0\ndestination:/live\nfilter:true\nresume:x\n\n\0",
        ),
        early(
            "SUBSCRIBE before CONNECT",
            b"SUBSCRIBE\nid:0\ndestination:/live\n\n\0",
        ),
        early("no STOMP at all", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n\0"),
        early("noise", &[0x80, 0, 1, 2, 0xff, 0xfe, 10, 10, 0]),
        early(
            "version that nobody speaks",
            b"CONNECT\naccept-version:7.0\nhost:x\n\n\0",
        ),
    ]
}

/// The ERROR frame that `wrong` is answered with, after which the server closes.
async fn answer(url: &str, carrier: Carrier, wrong: &Wrong) -> Result<Frame> {
    let mut client = if wrong.connected {
        Client::connect(url, carrier).await?
    } else {
        Client::open(url, carrier).await?
    };
    // The server may refuse before it has read all.
    let _ = client.send_bytes(&wrong.bytes).await;
    let answer = client
        .recv()
        .await?
        .with_context(|| format!("closed without ERROR: {:?}", client.closed()))?;
    ensure!(answer.command == "ERROR", "answered with {answer:?}");
    ensure!(
        answer
            .header("message")
            .is_some_and(|message| !message.is_empty()),
        "ERROR says nothing: {answer:?}"
    );
    while let Ok(Some(more)) = client.recv().await {
        ensure!(more.command == "ERROR", "goes on after ERROR: {more:?}");
    }
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_frames_are_answered_with_error_and_close() -> Result<()> {
    let _alone = alone().await;
    let (kafka, pipeline) = start(Setup::default()).await?;
    let witnesses = witnesses(&pipeline).await?;
    let url = pipeline.handlers[0].url();
    for carrier in [Carrier::WebSocket, Carrier::SockJs] {
        for wrong in wrong_frames() {
            if carrier == Carrier::SockJs && std::str::from_utf8(&wrong.bytes).is_err() {
                continue; // SockJS carries text only.
            }
            let answer = tokio::time::timeout(SOON, answer(&url, carrier, &wrong)).await;
            let answer = answer
                .context("no answer")
                .flatten()
                .with_context(|| format!("{} by {carrier:?}", wrong.name))?;
            let body = String::from_utf8_lossy(&answer.body);
            println!(
                "{:30} {} | {}",
                wrong.name,
                answer.header("message").unwrap_or_default(),
                body.replace('\n', " ~ ")
            );
        }
    }
    // What is larger than any message may be is not read to its end, so there is nobody to answer.
    let mut huge = Client::connect(&url, Carrier::WebSocket).await?;
    let _ = huge.send_bytes(&vec![b'x'; 20_000_000]).await;
    let gone = async { while let Ok(Some(_)) = huge.recv().await {} };
    tokio::time::timeout(SOON, gone)
        .await
        .context("a message of 20 MB is taken")?;
    ensure!(
        pipeline.handlers[0]
            .metric("handler_refused_total", "")
            .await?
            > 0.0,
        "nothing counted as refused"
    );
    until("no connection but the witness is left", SOON, async || {
        Ok(pipeline.handlers[0]
            .metric("handler_connections", "")
            .await?
            == 1.0)
    })
    .await?;
    nobody_lost_anything(kafka, &pipeline, &witnesses).await?;
    pipeline.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_can_be_messages_and_the_connection_stays() -> Result<()> {
    let _alone = alone().await;
    let (_, pipeline) = start(Setup {
        workers: 1,
        handlers: 1,
        ..Setup::default()
    })
    .await?;
    let mut client = Client::connect(&pipeline.handlers[0].url(), Carrier::WebSocket).await?;
    let subscribe = |id: &str, filter: &str| {
        let frame = Frame::new("SUBSCRIBE")
            .with("id", id)
            .with("destination", "/live")
            .with("on-error", "message");
        frame.with("filter", filter)
    };
    client
        .send(&subscribe("bad", "event.price > && true"))
        .await?;
    let refused = client.recv().await?.context("closed")?;
    let status = refused.json()?;
    println!("{status}");
    ensure!(
        refused.header("subscription") == Some("bad") && refused.header("status") == Some("ended"),
        "{refused:?}"
    );
    ensure!(
        status["reason"] == "refused" && status["error"]["status"] == 422,
        "{status}"
    );
    ensure!(
        status["error"]["offset"] == 14,
        "the mistake is at byte 14: {status}"
    );
    ensure!(
        status["error"]["caret"]
            .as_str()
            .is_some_and(|caret| caret.contains('^')),
        "{status}"
    );
    client
        .send(&subscribe("good", "event.price > 1 && true"))
        .await?;
    let registered = client.recv().await?.context("closed")?;
    ensure!(
        registered.header("status") == Some("registered"),
        "{registered:?}"
    );
    drop(client);
    pipeline.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_come_in_any_pieces() -> Result<()> {
    let _alone = alone().await;
    let (kafka, pipeline) = start(Setup::default()).await?;
    let mut clients = Vec::new();
    for carrier in [Carrier::WebSocket, Carrier::SockJs] {
        let connect = Frame::new("CONNECT")
            .with("accept-version", "1.2")
            .with("host", "x")
            .encode();
        let subscribe = Frame::new("SUBSCRIBE")
            .with("id", "0")
            .with("destination", "/live")
            .with("rate", "0");
        let subscribe = subscribe
            .with(
                "filter",
                r#"event.type == "numbered" && event.event_id != "ü:\\""#,
            )
            .encode();
        // Split at every byte; SockJS carries text, so there characters of several bytes stay whole.
        let mut slow = Client::open(&pipeline.handlers[0].url(), carrier).await?;
        let all = [b"\n\r\n".as_slice(), &connect, b"\n", &subscribe, b"\n\n"].concat();
        if carrier == Carrier::WebSocket {
            for byte in &all {
                slow.send_bytes(&[*byte]).await?;
            }
        } else {
            for char in String::from_utf8(all.clone())?.chars() {
                slow.send_bytes(char.to_string().as_bytes()).await?;
            }
        }
        // All at once.
        let mut fast = Client::open(&pipeline.handlers[1].url(), carrier).await?;
        fast.send_bytes(&all).await?;
        clients.extend([slow, fast]);
    }
    for client in &mut clients {
        ensure!(
            client
                .recv()
                .await?
                .is_some_and(|frame| frame.command == "CONNECTED"),
            "not CONNECTED"
        );
        while client
            .recv()
            .await?
            .context("closed before live")?
            .header("status")
            != Some("live")
        {}
    }
    let sending = LOAD.start(kafka, &pipeline.source)?;
    for client in &mut clients {
        let mut seen = 0;
        while seen < LOAD.total() {
            let next = tokio::time::timeout(SOON, client.recv())
                .await
                .with_context(|| format!("{seen} events"))??;
            seen += u64::from(next.context("closed")?.header("source").is_some());
        }
    }
    sending.join().ok().context("the load panicked")??;
    drop(clients);
    pipeline.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_and_one_that_never_connects_harm_nobody() -> Result<()> {
    let _alone = alone().await;
    let (kafka, pipeline) = start(Setup::default()).await?;
    let witnesses = witnesses(&pipeline).await?;
    let url = pipeline.handlers[0].url();

    let opened = Instant::now();
    let mut silent = Client::open(&url, Carrier::WebSocket).await?;
    let silent = tokio::spawn(async move {
        while let Ok(Some(_)) = silent.recv().await {}
        opened.elapsed()
    });

    // Kernel buffers between the two hold some MiB, so what it is sent must be far more.
    let mut deaf = Client::connect(&url, Carrier::WebSocket).await?;
    let subscribe = Frame::new("SUBSCRIBE")
        .with("id", "0")
        .with("destination", "/live")
        .with("rate", "0");
    deaf.send(&subscribe.with("filter", r#"event.type == "heavy""#))
        .await?;
    while deaf
        .recv()
        .await?
        .context("closed before live")?
        .header("status")
        != Some("live")
    {}
    let heavy = format!(
        r#"{{"event_id":"h","type":"heavy","padding":"{}"}}"#,
        "p".repeat(50_000)
    );
    let producer: FutureProducer = kafka
        .client()
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .create()?;
    for _ in 0..20 {
        let batch = (0..50).map(|_| {
            producer.send(
                FutureRecord::<str, str>::to(&pipeline.source).payload(&heavy),
                SOON,
            )
        });
        for sent in batch.collect::<Vec<_>>() {
            sent.await.map_err(|(err, _)| err)?;
        }
    }
    until("what the deaf client misses is counted", SOON, async || {
        Ok(pipeline.handlers[0]
            .metric("handler_dropped_total", "reason=\"slow\"")
            .await?
            > 0.0)
    })
    .await?;
    nobody_lost_anything(kafka, &pipeline, &witnesses).await?;

    let after = tokio::time::timeout(SOON, silent)
        .await
        .context("a silent client is kept")??;
    println!(
        "the client that never sends CONNECT was closed after {:.1} s (aim: 10)",
        after.as_secs_f64()
    );
    drop(deaf);
    pipeline.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_requests_are_answered_with_what_is_wrong() -> Result<()> {
    let _alone = alone().await;
    let (_, pipeline) = start(Setup {
        workers: 1,
        handlers: 1,
        ..Setup::default()
    })
    .await?;
    let url = pipeline.handlers[0].url();
    let get = async |path: &str| -> Result<(u16, String)> {
        let answer = http()?.get(format!("{url}{path}")).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    };
    for (path, status) in [
        ("/api/v1/live?filtre=true", 400),
        ("/api/v1/live?filter=event.type%20%3D%3D", 422),
        ("/api/v1/live?filter=true&rate=-1", 422),
        ("/api/v1/live?query=no/such", 404),
        ("/api/v1/nothing", 404),
        ("/sockjs/000/s1/jsonp", 404),
        ("/sockjs/000/s1/htmlfile", 404),
        ("/stomp", 400),
    ] {
        let (found, body) = get(path).await?;
        println!("{path} -> {found} {body}");
        ensure!(
            found == status,
            "{path} is answered with {found}, not {status}: {body}"
        );
    }
    let (_, problem) = get("/api/v1/live?filter=event.type%20%3D%3D").await?;
    let problem: Value = serde_json::from_str(&problem)?;
    for field in [
        "type", "title", "status", "detail", "offset", "length", "caret",
    ] {
        ensure!(!problem[field].is_null(), "no `{field}` in {problem}");
    }
    let long = format!(r#"{{"filter":"{}"}}"#, "x".repeat(5_000));
    let huge = "x".repeat(20_000_000);
    for (name, body, allowed) in [
        ("no JSON", "{", [400, 422].as_slice()),
        ("no filter", "{}", &[400, 422]),
        ("a filter of 5,000 bytes", &long, &[422]),
        ("20 MB", &huge, &[413]),
    ] {
        let request = http()?.post(format!("{url}/api/v1/filters/check"));
        let answer = request
            .header("content-type", "application/json")
            .body(body.to_owned())
            .send()
            .await;
        // The server may close before it has read 20 MB.
        let Ok(answer) = answer else { continue };
        let status = answer.status().as_u16();
        println!("check {name} -> {status} {}", answer.text().await?);
        ensure!(
            allowed.contains(&status),
            "check of {name} is answered with {status}"
        );
    }
    let explain = http()?.post(format!("{url}/api/v1/filters/explain"));
    let body = r#"{"filter":"event.price > 100","event":{"price":"many"}}"#;
    let answer = explain
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await?;
    let answer: Value = serde_json::from_str(&answer.text().await?)?;
    ensure!(answer["result"] == "error", "{answer}");
    ensure!(
        pipeline.handlers[0]
            .metric("handler_subscriptions", "")
            .await?
            == 0.0,
        "a refused one is kept"
    );
    pipeline.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_origin_is_refused() -> Result<()> {
    let _alone = alone().await;
    let (_, pipeline) = start(Setup {
        workers: 1,
        handlers: 1,
        ..Setup::default()
    })
    .await?;
    let url = pipeline.handlers[0].url();
    for (origin, expected) in [("http://evil.example", 403), (url.as_str(), 200)] {
        let request = http()?
            .get(format!("{url}/api/v1/live?filter=true"))
            .header("origin", origin);
        let status = request
            .timeout(Duration::from_secs(20))
            .send()
            .await?
            .status();
        println!("Origin {origin} -> {status}");
        ensure!(
            status == expected,
            "Origin `{origin}` is answered with {status}"
        );
    }
    pipeline.stop()
}
