//! Every match is there, once unless something failed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use clickstream_registry::{PostgresRegistry, Registry as _, Standing};
use clickstream_testkit::kafka::{Kafka, unique};
use clickstream_testkit::postgres::Postgres;
use clickstream_testkit::process::Program;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use crate::bed::{Sink, Sunk, numbers, of, put, standing, start, until};
use crate::common::{LIMIT, PARTITIONS, assert_exactly};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_leaves_no_gap_in_a_sink() -> Result<()> {
    let kafka = Kafka::shared()?;
    let (source, filtered) = (
        kafka.unique_topic("events", PARTITIONS).await?,
        unique("filtered"),
    );
    let sink_topic = kafka.unique_topic("sink", 3).await?;
    let url = Postgres::shared().await?.create_database().await?;
    let registry = PostgresRegistry::new(&url, "shop", "test")?;
    registry.migrate().await?;
    let even = Standing {
        fields: vec!["n".into(), "page.path".into()],
        rate: Some(1),
        ..standing("even", 1, "event.n % 2 == 0", Some(&sink_topic))
    };
    let served = registry.put_standing(&even, 0).await?;
    let query = served.context("it is not suspended")?.id;

    let folder = std::env::temp_dir().join(unique("sinks"));
    std::fs::create_dir_all(&folder)?;
    let args: Vec<String> = [
        "--brokers",
        &kafka.brokers(),
        "--source-topic",
        &source,
        "--filtered-topic",
        &filtered,
        "--create-filtered-topic",
        "2",
        "--pipeline",
        "shop",
        "--database-url",
        &url,
        "--group",
        &filtered,
    ]
    .map(str::to_owned)
    .to_vec();
    let mut worker = Program::start("clickstream-worker", "worker-1", &folder, &args)?;
    worker.ready(LIMIT).await?;

    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", kafka.brokers())
        .create()?;
    let total = 6_000;
    let send = |range: std::ops::Range<usize>| -> Result<()> {
        for n in range {
            let (key, value) = (
                format!("user-{n}"),
                format!("{{\"n\":{n},\"secret\":1,\"page\":{{\"path\":\"/{n}\"}}}}"),
            );
            let record = BaseRecord::to(&source)
                .partition(n as i32 % PARTITIONS)
                .key(&key)
                .payload(&value)
                .timestamp(1_700_000_000_000 + n as i64);
            producer.send(record).map_err(|(error, _)| error)?;
        }
        Ok(producer.flush(LIMIT)?)
    };
    let mut sink = Sink::new(&kafka.brokers(), &sink_topic, 3)?;
    send(0..total / 3)?;
    sink.different(50).await?;
    send(total / 3..2 * total / 3)?;
    // In the middle of it: what was written is committed in part only.
    worker.process().kill()?;
    send(2 * total / 3..total)?;
    let mut second = Program::start("clickstream-worker", "worker-2", &folder, &args)?;
    second.ready(LIMIT).await?;
    let found = sink.different(total / 2).await?;
    assert_exactly(&numbers(&found), (0..total).step_by(2));
    for sunk in &sink.records {
        let n = sunk.n().context("no number")?;
        let (partition, offset) = sunk.source;
        assert_eq!(
            (partition, offset),
            (n as i32 % PARTITIONS, n as i64 / i64::from(PARTITIONS))
        );
        assert_eq!(sunk.key.as_deref(), Some(&*format!("user-{n}")));
        assert_eq!(
            sunk.value,
            format!("{{\"n\":{n},\"page\":{{\"path\":\"/{n}\"}}}}")
        );
        assert_eq!(sunk.timestamp_ms, 1_700_000_000_000 + n as i64);
        let expected = [
            ("clickstream-query", "shop/even".to_owned()),
            ("clickstream-query-id", query.to_string()),
            (
                "clickstream-source",
                format!("{source}/{partition}/{offset}"),
            ),
        ];
        let expected: BTreeMap<_, _> = expected
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        assert_eq!(sunk.headers, expected);
    }
    second.stop(LIMIT)?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_and_viewers_do_not_concern_a_sink_and_suspension_ends_it() -> Result<()> {
    let kafka = Kafka::shared()?;
    let mut pipeline = start(kafka).await?;
    let topic = kafka.unique_topic("sink", 2).await?;
    let worker = pipeline.worker(&[]).await?;
    let limited = Standing {
        rate: Some(1),
        ..standing("all", 1, "event.n >= 0", Some(&topic))
    };
    put(&pipeline, &worker, &limited).await?;
    let (mut reader, query) = pipeline.viewer("event.n >= 0", 0, Some(1)).await?;
    pipeline.send(300)?;
    let mut sink = Sink::new(&pipeline.brokers, &topic, 2)?;
    let found = sink.different(300).await?;
    assert_exactly(&numbers(&found), 0..300);
    let state = reader
        .until("it is counted", |state| state.counted(query).0 >= 300)
        .await?;
    assert!(
        state.counted(query).1 > 0,
        "the viewer's rate leaves some out"
    );
    assert_eq!(sink.records.len(), 300, "nothing failed: once each");

    let suspended = Standing {
        suspended: true,
        generation: 2,
        ..limited.clone()
    };
    put(&pipeline, &worker, &suspended).await?;
    pipeline.send(100)?;
    reader
        .until("the viewer's query goes on", |state| {
            state.counted(query).0 >= 400
        })
        .await?;
    let resumed = Standing {
        generation: 3,
        ..limited
    };
    put(&pipeline, &worker, &resumed).await?;
    pipeline.send(100)?;
    let found = sink.different(400).await?;
    assert_exactly(&numbers(&found), (0..300).chain(400..500));
    worker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_moves_and_ends_at_an_exact_position_and_equal_filters_have_their_own() -> Result<()>
{
    let kafka = Kafka::shared()?;
    let mut pipeline = start(kafka).await?;
    let (one, two) = (
        kafka.unique_topic("one", 1).await?,
        kafka.unique_topic("two", 1).await?,
    );
    let worker = pipeline.worker(&[]).await?;
    let on = |generation, topic| standing("moving", generation, "event.n >= 0", topic);
    put(&pipeline, &worker, &on(1, Some(&one))).await?;
    let other = Standing {
        fields: vec!["n".into()],
        ..standing("staying", 1, "event.n >= 0", Some(&two))
    };
    put(&pipeline, &worker, &other).await?;
    pipeline.send(200)?;
    let (mut first, mut second) = (
        Sink::new(&pipeline.brokers, &one, 1)?,
        Sink::new(&pipeline.brokers, &two, 1)?,
    );
    first.different(200).await?;
    // Moved while events flow: where exactly is up to each partition.
    pipeline
        .registry
        .put_standing(&on(2, Some(&two)), 0)
        .await?;
    pipeline.send(200)?;
    put(&pipeline, &worker, &on(2, Some(&two))).await?;
    pipeline.send(200)?;
    until("both have all 600", async || {
        first.read(Duration::from_millis(100)).await?;
        second.read(Duration::from_millis(100)).await?;
        let moved =
            of(&first.records, "shop/moving").len() + of(&second.records, "shop/moving").len();
        Ok(moved >= 600 && of(&second.records, "shop/staying").len() >= 600)
    })
    .await?;
    put(&pipeline, &worker, &on(3, None)).await?;
    pipeline.send(200)?;
    until("the one that stays has everything", async || {
        second.read(Duration::from_millis(100)).await?;
        Ok(of(&second.records, "shop/staying").len() >= 800)
    })
    .await?;
    first.read(Duration::from_millis(500)).await?;
    assert_exactly(&numbers(&of(&second.records, "shop/staying")), 0..800);
    let before = of(&first.records, "shop/moving");
    let after = of(&second.records, "shop/moving");
    assert_eq!(
        first.records.len() + after.len(),
        before.len() + after.len()
    );
    for partition in 0..PARTITIONS {
        let at = |sunk: &BTreeMap<(i32, i64), Sunk>| -> Vec<i64> {
            let of_it = sunk.keys().filter(|(of, _)| *of == partition);
            of_it.map(|(_, offset)| *offset).collect()
        };
        let (mut offsets, moved) = (at(&before), at(&after));
        assert!(!offsets.is_empty() && !moved.is_empty());
        offsets.extend(moved);
        // 600 events on 4 partitions, then no sink.
        assert_eq!(offsets, (0..150).collect::<Vec<i64>>());
    }
    worker.stop().await
}
