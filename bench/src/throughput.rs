//! How fast a worker reads and matches, as a ratio to a bare loop that consumes and counts the same topic.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clickstream_e2e::SOON;
use clickstream_e2e::pipeline::{Pipeline, Setup};
use clickstream_testkit::process::Signal;
use clickstream_testkit::viewer::{Door, Viewer};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::load::{self, Acknowledged};
use crate::{Services, percentile};

const EVENTS: usize = 400_000;

const PARTITIONS: i32 = 8;

/// Prints a row per number of queries.
pub(crate) async fn print(services: &Services) -> Result<()> {
    println!("A worker's throughput, {EVENTS} events of {PARTITIONS} partitions\n");
    println!("| queries | events/s | ratio to a bare loop |\n|---|---|---|");
    for queries in [0, 1, 100] {
        let (worker, bare) = measure(services, queries).await?;
        println!(
            "| {queries} | {worker:.0} | {:.2} of {bare:.0} |",
            worker / bare
        );
    }
    Ok(())
}

/// Events per second of a worker and of the bare loop.
async fn measure(services: &Services, queries: usize) -> Result<(f64, f64)> {
    let database = services.postgres.create_database().await?;
    let setup = Setup {
        workers: 1,
        handlers: 1,
        partitions: PARTITIONS,
        ..Setup::default()
    };
    let mut pipeline = Pipeline::start(&services.kafka, &database, setup).await?;
    let mut viewers: Vec<Viewer> = Vec::new();
    for bucket in 0..queries {
        let filter = format!("event.bucket == {bucket}");
        let viewer = pipeline
            .viewer(0, Door::Stomp, &[("filter", &filter), ("rate", "0")])
            .await?;
        viewer.live(SOON).await?;
        viewers.push(viewer);
    }
    // The worker goes, the topic is filled, and only the worker comes back: handler and viewers stand still meanwhile.
    pipeline.workers[0].stop(SOON)?;
    let (config, topic) = (services.kafka.client(), pipeline.source.clone());
    tokio::task::spawn_blocking(move || {
        load::send(&config, &topic, EVENTS, 0, Acknowledged::new(0))
    })
    .await??;
    let bare = {
        let mut rates = Vec::new();
        for _ in 0..3 {
            rates.push(bare_loop(services, &pipeline.source)?);
        }
        rates.sort_by(f64::total_cmp);
        percentile(&rates, 0.5)
    };
    pipeline.handlers[0].process().signal(Signal::Stop)?;
    pipeline.add_worker()?;
    let worker = pipeline.workers.last_mut().context("no worker")?;
    worker.ready(SOON).await?;
    let (mut first, limit) = (None, Instant::now() + 3 * SOON);
    let rate = loop {
        let records = worker.metric("worker_records_total", "").await?;
        let (start, before) = match first {
            Some(first) => first,
            None if records > 0.0 => *first.insert((Instant::now(), records)),
            None => (Instant::now(), 0.0),
        };
        if records >= EVENTS as f64 {
            break (records - before) / start.elapsed().as_secs_f64();
        }
        ensure!(
            Instant::now() < limit,
            "the worker read {records} of {EVENTS} events"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    pipeline.handlers[0].process().signal(Signal::Cont)?;
    drop(viewers);
    pipeline.stop()?;
    Ok((rate, bare))
}

/// Consumes and counts, one thread.
fn bare_loop(services: &Services, topic: &str) -> Result<f64> {
    let consumer: BaseConsumer = services.kafka.client().set("group.id", "bare").create()?;
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    let (mut start, mut count) = (None, 0);
    while count < EVENTS {
        let record = consumer.poll(SOON).context("the topic ends early")??;
        start.get_or_insert_with(Instant::now);
        drop(record);
        count += 1;
    }
    Ok(count as f64 / start.context("no event")?.elapsed().as_secs_f64())
}
