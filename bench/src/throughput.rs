//! How fast a worker reads and matches, as a ratio to a bare loop that consumes and counts the same topic.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clickstream_e2e::SOON;
use clickstream_e2e::pipeline::{Pipeline, Setup};
use clickstream_engine::Filter;
use clickstream_mixes::Mix;
use clickstream_registry::{PostgresRegistry, ProcessId, Registry, Wanted};
use clickstream_testkit::process::Signal;
use clickstream_testkit::viewer::{Door, Viewer};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::load::{self, Acknowledged};
use crate::{Services, percentile};

const EVENTS: usize = 400_000;

const PARTITIONS: i32 = 8;

const LANES: u32 = 4;

const HOUR: Duration = Duration::from_secs(3_600);

/// Queries of mix S, which nobody looks at: a handler that is not there holds their lease.
const SHOP_QUERIES: usize = 10_000;

/// Of the filters and the events of mix S.
const SEED: u64 = 7;

/// What the worker does.
#[derive(Clone, Copy)]
enum Work {
    /// As many viewers, each of whom sees one event in a hundred.
    Viewers(usize),
    /// [`SHOP_QUERIES`] on events of 1.1 KB, compressed with lz4.
    Shop,
}

/// Prints a row per number of queries.
pub(crate) async fn print(services: &Services) -> Result<()> {
    println!("A worker's throughput, {EVENTS} events of {PARTITIONS} partitions\n");
    println!("| queries | events/s | ratio to a bare loop |\n|---|---|---|");
    for queries in [0, 1, 100] {
        let (worker, bare) = measure(services, Work::Viewers(queries)).await?;
        println!(
            "| {queries} | {worker:.0} | {:.2} of {bare:.0} |",
            worker / bare
        );
    }
    let (worker, bare) = measure(services, Work::Shop).await?;
    println!(
        "| {SHOP_QUERIES} of mix S, lz4 | {worker:.0} | {:.2} of {bare:.0} (goal: 0.6) |",
        worker / bare
    );
    Ok(())
}

/// Puts the filters of mix S into the registry.
async fn register(database_url: &str, pipeline: &str) -> Result<()> {
    let registry = PostgresRegistry::new(database_url, pipeline, "clickstream-bench")?;
    let wanted = (0..)
        .zip(Mix::S.filters(SEED, SHOP_QUERIES))
        .map(|(number, filter)| {
            Ok(Wanted {
                tenant: String::new(),
                filter: Filter::parse(&filter)?.canonical().to_owned(),
                lane: number % LANES,
                subscribers: 1,
                limit: None,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    registry.renew(ProcessId::random(), &wanted, HOUR).await?;
    Ok(())
}

/// Events per second of a worker and of the bare loop.
async fn measure(services: &Services, work: Work) -> Result<(f64, f64)> {
    let database = services.postgres.create_database().await?;
    let setup = Setup {
        workers: 1,
        handlers: 1,
        partitions: PARTITIONS,
        lanes: LANES.cast_signed(),
        ..Setup::default()
    };
    let mut pipeline = Pipeline::start(&services.kafka, &database, setup).await?;
    let mut viewers: Vec<Viewer> = Vec::new();
    let (queries, compression) = match work {
        Work::Viewers(queries) => (queries, "none"),
        Work::Shop => {
            register(&database, &pipeline.name).await?;
            (0, "lz4")
        }
    };
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
    let (mut config, topic) = (services.kafka.client(), pipeline.source.clone());
    config.set("compression.type", compression);
    tokio::task::spawn_blocking(move || {
        let shop = match work {
            Work::Viewers(_) => Vec::new(),
            Work::Shop => Mix::S.events(SEED, 20_000),
        };
        let event = |n: usize| match shop.len() {
            0 => load::event(n),
            events => shop[n % events].clone(),
        };
        load::send(&config, &topic, EVENTS, 0, Acknowledged::new(0), &event)
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
    let (mut first, limit) = (None, Instant::now() + 3 * SOON);
    let rate = loop {
        // Asked from its start on, as it has read all of it in a third of a second; until then it does not answer.
        let records = worker.metric("worker_records_total", "").await;
        let records = records.unwrap_or_default();
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
