//! Standing queries with sinks, and a reader of what is in them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clickstream_registry::{Registry as _, Standing, StandingName};
use clickstream_testkit::kafka::Kafka;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Headers as _;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use crate::common::{LANES, LIMIT, PARTITIONS, Pipeline, Worker, revision};

pub(crate) fn standing(name: &str, generation: i64, filter: &str, sink: Option<&str>) -> Standing {
    Standing {
        name: StandingName {
            namespace: "shop".into(),
            name: name.into(),
        },
        uid: format!("uid-{name}"),
        generation,
        tenant: String::new(),
        filter: filter.into(),
        fields: Vec::new(),
        rate: None,
        suspended: false,
        sink_topic: sink.map(str::to_owned),
    }
}

pub(crate) async fn start(kafka: &Kafka) -> Result<Pipeline> {
    let source = kafka.unique_topic("events", PARTITIONS).await?;
    let filtered = kafka.unique_topic("filtered", LANES).await?;
    Pipeline::new(kafka.brokers(), &source, &filtered)
}

pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let limit = Instant::now() + LIMIT;
    while !done().await? {
        ensure!(Instant::now() < limit, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Registers it and waits until the worker runs it.
pub(crate) async fn put(pipeline: &Pipeline, worker: &Worker, standing: &Standing) -> Result<()> {
    pipeline.registry.put_standing(standing, 0).await?;
    let at = revision(pipeline).await? as f64;
    until("it is matched", async || {
        Ok(worker.metric("worker_revision") >= at)
    })
    .await
}

/// Everything in a sink's topic so far.
pub(crate) struct Sink {
    consumer: BaseConsumer,
    topic: String,
    pub(crate) records: Vec<Sunk>,
}

#[derive(Debug, Clone)]
pub(crate) struct Sunk {
    pub(crate) key: Option<String>,
    pub(crate) value: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) timestamp_ms: i64,
    /// Source partition and offset.
    pub(crate) source: (i32, i64),
}

impl Sunk {
    pub(crate) fn n(&self) -> Option<usize> {
        let value: serde_json::Value = serde_json::from_str(&self.value).ok()?;
        Some(value["n"].as_u64()? as usize)
    }
}

impl Sink {
    pub(crate) fn new(brokers: &str, topic: &str, partitions: i32) -> Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "sink-reader")
            .set("enable.auto.commit", "false")
            .create()?;
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&list)?;
        Ok(Self {
            consumer,
            topic: topic.to_owned(),
            records: Vec::new(),
        })
    }

    /// Reads until so many different source positions are there; in order of the source.
    pub(crate) async fn different(&mut self, count: usize) -> Result<BTreeMap<(i32, i64), Sunk>> {
        let limit = Instant::now() + LIMIT;
        loop {
            let found: BTreeMap<_, _> = self
                .records
                .iter()
                .map(|sunk| (sunk.source, sunk.clone()))
                .collect();
            if found.len() >= count {
                return Ok(found);
            }
            ensure!(
                Instant::now() < limit,
                "`{}` has {} of {count}",
                self.topic,
                found.len()
            );
            self.read(Duration::from_millis(100)).await?;
        }
    }

    /// Reads until there is nothing for so long.
    pub(crate) async fn read(&mut self, quiet: Duration) -> Result<()> {
        let mut last = Instant::now();
        while last.elapsed() < quiet {
            // An outage passes; the limit tells of what does not.
            let Some(Ok(record)) = self.consumer.poll(Duration::ZERO) else {
                tokio::time::sleep(Duration::from_millis(2)).await;
                continue;
            };
            last = Instant::now();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let headers: BTreeMap<String, String> = record
                .headers()
                .context("no headers")?
                .iter()
                .map(|header| {
                    (
                        header.key.to_owned(),
                        text(header.value.unwrap_or_default()),
                    )
                })
                .collect();
            let mut source = headers["clickstream-source"].rsplitn(3, '/');
            let offset = source.next().context("no offset")?.parse()?;
            let partition = source.next().context("no partition")?.parse()?;
            self.records.push(Sunk {
                key: record.key().map(text),
                value: text(record.payload().unwrap_or_default()),
                headers,
                timestamp_ms: record.timestamp().to_millis().unwrap_or(-1),
                source: (partition, offset),
            });
        }
        Ok(())
    }
}

/// What one standing query wrote.
pub(crate) fn of(records: &[Sunk], name: &str) -> BTreeMap<(i32, i64), Sunk> {
    let of_it = records
        .iter()
        .filter(|sunk| sunk.headers["clickstream-query"] == name);
    of_it.map(|sunk| (sunk.source, sunk.clone())).collect()
}

pub(crate) fn numbers(sunk: &BTreeMap<(i32, i64), Sunk>) -> Vec<Option<usize>> {
    sunk.values().map(Sunk::n).collect()
}
