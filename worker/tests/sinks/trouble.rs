//! What goes wrong with a sink concerns nobody else.

use std::time::Duration;

use anyhow::{Result, ensure};
use clickstream_registry::{Registry as _, SinkRefusal};
use clickstream_testkit::kafka::{Kafka, unique};
use rdkafka::admin::AdminOptions;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use crate::bed::{Sink, numbers, put, standing, start, until};
use crate::common::{LIMIT, PARTITIONS, Pipeline, assert_exactly};

/// Waits until the registry knows of just these: uid, reason, matches dropped.
async fn until_told(pipeline: &Pipeline, expected: &[(&str, SinkRefusal, u64)]) -> Result<()> {
    until("the registry is told, by reason", async || {
        let troubles = pipeline.registry.sink_troubles().await?;
        let told = troubles
            .iter()
            .map(|trouble| (trouble.uid.as_str(), trouble.reason, trouble.dropped));
        Ok(told.eq(expected.iter().copied()))
    })
    .await
}

/// Waits until every partition is committed at least to `offset`.
async fn until_committed(pipeline: &Pipeline, offset: i64) -> Result<()> {
    until("everything is committed", async || {
        for partition in 0..PARTITIONS {
            if pipeline.committed(partition)?.0 < offset {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_missing_is_told_and_concerns_nobody_else() -> Result<()> {
    let kafka = Kafka::shared()?;
    let mut pipeline = start(kafka).await?;
    let (missing, good) = (unique("missing"), kafka.unique_topic("good", 1).await?);
    let worker = pipeline.worker(&[]).await?;
    put(
        &pipeline,
        &worker,
        &standing("bad", 1, "event.n >= 0", Some(&missing)),
    )
    .await?;
    put(
        &pipeline,
        &worker,
        &standing("good", 1, "event.n >= 0", Some(&good)),
    )
    .await?;
    // What the pipeline reads itself is no sink: its matches would be matched again.
    let own = pipeline.source.clone();
    put(
        &pipeline,
        &worker,
        &standing("loop", 1, "event.n < 10", Some(&own)),
    )
    .await?;
    let (mut reader, all) = pipeline.viewer("event.n >= 0", 0, None).await?;
    pipeline.send(100)?;
    reader
        .until("the viewer has everything", |state| {
            state.delivered(all).len() >= 100
        })
        .await?;
    let mut sink = Sink::new(&pipeline.brokers, &good, 1)?;
    let found = sink.different(100).await?;
    assert_exactly(&numbers(&found), 0..100);
    until_told(
        &pipeline,
        &[
            ("uid-bad", SinkRefusal::TopicNotFound, 100),
            ("uid-loop", SinkRefusal::Loop, 10),
        ],
    )
    .await?;
    until_committed(&pipeline, 25).await?;
    assert_eq!(worker.metric("worker_sink_dropped_total"), 110.0);
    assert_eq!(worker.metric("worker_sink_records_total"), 100.0);
    assert_eq!(worker.metric("worker_records_total"), 100.0, "no loop");

    // It appears: nothing needs to be started anew.
    kafka.create_topic(&missing, 1).await?;
    let mut late = Sink::new(&pipeline.brokers, &missing, 1)?;
    until("its matches arrive", async || {
        pipeline.send(4)?;
        late.read(Duration::from_millis(100)).await?;
        Ok(!late.records.is_empty())
    })
    .await?;
    worker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_record_goes_alone() -> Result<()> {
    let kafka = Kafka::shared()?;
    let pipeline = start(kafka).await?;
    let (small, compacted) = (unique("small"), unique("compacted"));
    kafka
        .create_topic_with(&small, 1, &[("max.message.bytes", "20000")])
        .await?;
    kafka
        .create_topic_with(&compacted, 1, &[("cleanup.policy", "compact")])
        .await?;
    let worker = pipeline.worker(&[]).await?;
    put(
        &pipeline,
        &worker,
        &standing("small", 1, "event.n >= 0", Some(&small)),
    )
    .await?;
    // Compaction needs keys.
    let keyed = standing("keyed", 1, "event.n % 2 == 0", Some(&compacted));
    put(&pipeline, &worker, &keyed).await?;
    // Not compressible, so that nothing hides the size.
    let filler: String = (0..5_000)
        .map(|n: u64| format!("{:06x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40))
        .collect();
    let producer: ThreadedProducer<DefaultProducerContext> = pipeline.client().create()?;
    for n in 0..400 {
        let value = if n % 40 == 39 {
            format!("{{\"n\":{n},\"filler\":\"{filler}\"}}")
        } else {
            format!("{{\"n\":{n}}}")
        };
        let key = n.to_string();
        let mut record = BaseRecord::to(&pipeline.source)
            .partition(0)
            .payload(&value);
        if n % 8 != 0 {
            record = record.key(&key);
        }
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.flush(LIMIT)?;
    let mut sink = Sink::new(&pipeline.brokers, &small, 1)?;
    let found = sink.different(390).await?;
    assert_exactly(&numbers(&found), (0..400).filter(|n| n % 40 != 39));
    let mut sink = Sink::new(&pipeline.brokers, &compacted, 1)?;
    let found = sink.different(150).await?;
    assert_exactly(
        &numbers(&found),
        (0..400).filter(|n| n % 2 == 0 && n % 8 != 0),
    );
    until_told(
        &pipeline,
        &[
            ("uid-keyed", SinkRefusal::Refused, 50),
            ("uid-small", SinkRefusal::TooLarge, 10),
        ],
    )
    .await?;
    until("everything is committed", async || {
        Ok(pipeline.committed(0)?.0 >= 400)
    })
    .await?;
    worker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_is_deleted_under_way_stops_nobody() -> Result<()> {
    let kafka = Kafka::shared()?;
    let mut pipeline = start(kafka).await?;
    let (doomed, good) = (
        kafka.unique_topic("doomed", 2).await?,
        kafka.unique_topic("good", 1).await?,
    );
    let worker = pipeline.worker(&[]).await?;
    for (name, topic) in [("doomed", &doomed), ("good", &good)] {
        put(
            &pipeline,
            &worker,
            &standing(name, 1, "event.n >= 0", Some(topic)),
        )
        .await?;
    }
    let (mut reader, all) = pipeline.viewer("event.n >= 0", 0, None).await?;
    pipeline.send(100)?;
    Sink::new(&pipeline.brokers, &doomed, 2)?
        .different(100)
        .await?;
    let deleted = kafka
        .admin()?
        .delete_topics(&[&doomed], &AdminOptions::new())
        .await?;
    ensure!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    let mut sink = Sink::new(&pipeline.brokers, &good, 1)?;
    until("its loss is told", async || {
        pipeline.send(20)?;
        Ok(!pipeline.registry.sink_troubles().await?.is_empty())
    })
    .await?;
    let sent = pipeline.sent;
    let found = sink.different(sent).await?;
    assert_exactly(&numbers(&found), 0..sent);
    let state = reader
        .until("the viewer has everything", |state| {
            state.delivered(all).len() >= sent
        })
        .await?;
    assert_exactly(state.delivered(all), 0..sent);
    // Made again, it gets what comes from then on.
    until("it can be made again", async || {
        Ok(kafka.create_topic(&doomed, 2).await.is_ok())
    })
    .await?;
    let mut again = Sink::new(&pipeline.brokers, &doomed, 2)?;
    until("its matches arrive", async || {
        pipeline.send(4)?;
        again.read(Duration::from_millis(100)).await?;
        Ok(!again.records.is_empty())
    })
    .await?;
    worker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_go_away_take_nothing_with_them() -> Result<()> {
    let kafka = Kafka::start()?;
    let mut pipeline = start(&kafka).await?;
    let topic = kafka.unique_topic("sink", 2).await?;
    let worker = pipeline.worker(&[]).await?;
    put(
        &pipeline,
        &worker,
        &standing("all", 1, "event.n >= 0", Some(&topic)),
    )
    .await?;
    pipeline.send(2_000)?;
    kafka.kill()?;
    kafka.start_again()?;
    pipeline.send(1_000)?;
    let mut sink = Sink::new(&pipeline.brokers, &topic, 2)?;
    let found = sink.different(3_000).await?;
    assert_exactly(&numbers(&found), 0..3_000);
    assert_eq!(worker.metric("worker_sink_dropped_total"), 0.0);
    until_committed(&pipeline, 750).await?;
    worker.stop().await
}
