//! `generate` into librdkafka's own broker for tests, which needs no service.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use support::{LIMIT, run, run_with_input, start};

const PARTITIONS: i32 = 8;

type Broker = MockCluster<'static, DefaultProducerContext>;

fn broker() -> (Broker, String) {
    let broker = MockCluster::new(1).unwrap();
    broker.create_topic("events", PARTITIONS, 1).unwrap();
    let servers = broker.bootstrap_servers();
    (broker, servers)
}

/// A record as (partition, key, value).
type Sent = (i32, Option<String>, Vec<u8>);

/// The first `count` records of the topic.
fn read(servers: &str, count: usize) -> Vec<Sent> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "test")
        .create()
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions
            .add_partition_offset("events", partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let end = Instant::now() + LIMIT;
    let mut sent = Vec::new();
    while sent.len() < count {
        assert!(Instant::now() < end, "only {} records", sent.len());
        if let Some(record) = consumer.poll(Duration::from_millis(200)) {
            let record = record.unwrap();
            let key = record
                .key()
                .map(|key| String::from_utf8(key.to_vec()).unwrap());
            sent.push((record.partition(), key, record.payload().unwrap().to_vec()));
        }
    }
    sent
}

#[test]
fn the_data_set_is_sent_keyed_by_user() {
    let (_broker, servers) = broker();
    let args = [
        "generate",
        "--brokers",
        &servers,
        "--topic",
        "events",
        "--rate",
        "0",
    ];
    let finished = run(args);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.lines().last(), Some(&r#"{"acknowledged":31106}"#));
    let mut purchases = 0;
    let mut ids = HashSet::new();
    let mut partitions: HashMap<String, i32> = HashMap::new();
    for (partition, key, value) in read(&servers, 31_106) {
        let event: Value = serde_json::from_slice(&value).unwrap();
        purchases += usize::from(event["type"] == "purchase");
        assert!(ids.insert(event["event_id"].as_str().unwrap().to_owned()));
        let key = key.unwrap();
        assert_eq!(event["user_id"], key.as_str());
        assert_eq!(*partitions.entry(key).or_insert(partition), partition);
    }
    assert_eq!(purchases, 470);
    let used: HashSet<i32> = partitions.into_values().collect();
    assert_eq!(used.len(), 8);
}

#[test]
fn lines_of_a_file_are_sent_as_they_are() {
    let (_broker, servers) = broker();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"{\"user_id\":\"a\",  \"n\":1.0}\n\nnot json\r\n{\"user_id\":7}")
        .unwrap();
    let path = file.path().to_str().unwrap();
    let args = [
        "generate",
        "--brokers",
        &servers,
        "--topic",
        "events",
        "--file",
        path,
    ];
    let finished = run([&args[..], &["--rounds", "2", "--rate", "1000"]].concat());
    assert_eq!(finished.lines(), [r#"{"acknowledged":6}"#], "{finished:?}");
    let mut sent = read(&servers, 6);
    sent.sort_by(|a, b| a.2.cmp(&b.2));
    let sent: Vec<_> = sent
        .iter()
        .map(|(_, key, value)| (key.as_deref(), &value[..]))
        .collect();
    let expected: [(Option<&str>, &[u8]); 3] = [
        (None, b"not json"),
        (Some("a"), b"{\"user_id\":\"a\",  \"n\":1.0}"),
        (Some("7"), b"{\"user_id\":7}"),
    ];
    assert_eq!(sent, expected.map(|event| [event, event]).concat());
}

#[test]
fn standard_input_is_sent_once() {
    let (_broker, servers) = broker();
    let args = [
        "generate",
        "--brokers",
        &servers,
        "--topic",
        "events",
        "--file",
        "-",
    ];
    let finished = run_with_input(args, "{\"user_id\":\"a\"}\n");
    assert_eq!(finished.lines(), [r#"{"acknowledged":1}"#], "{finished:?}");
    let twice = run([&args[..], &["--rounds", "2"]].concat());
    assert_eq!(twice.code, Some(1), "{twice:?}");
    assert!(twice.stderr.contains("once"), "{twice:?}");
}

#[test]
fn ctrl_c_ends_it_with_what_was_acknowledged() {
    let (_broker, servers) = broker();
    let args = [
        "generate",
        "--brokers",
        &servers,
        "--topic",
        "events",
        "--rounds",
        "0",
    ];
    let running = start(args);
    read(&servers, 20);
    running.interrupt();
    let finished = running.finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let last: Value = serde_json::from_str(finished.lines().last().unwrap()).unwrap();
    assert!(last["acknowledged"].as_u64().unwrap() >= 20, "{finished:?}");
}

#[test]
fn what_fails_is_said() {
    let (_broker, servers) = broker();
    let setting = ["--kafka-config", "no.such.setting=1"];
    let too_large = ["--kafka-config", "message.max.bytes=1000", "--file", "-"];
    let cases: [(&str, &[&str], &str); 3] = [
        ("127.0.0.1:1", &[], "no answer from Kafka at `127.0.0.1:1`"),
        (&servers, &setting, "no.such.setting"),
        (&servers, &too_large, "line 0 of"),
    ];
    for (brokers, more, said) in cases {
        let args = ["generate", "--brokers", brokers, "--topic", "events"];
        let input = format!("{{\"a\":\"{}\"}}", "x".repeat(2_000));
        let finished = run_with_input([&args[..], more].concat(), &input);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.stderr.contains(said), "{finished:?}");
    }
}
