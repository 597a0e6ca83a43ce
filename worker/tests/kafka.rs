//! The worker against a real broker: what librdkafka's mock cluster cannot do.

mod common;

use anyhow::{Context, Result, ensure};
use clickstream_testkit::kafka::{Kafka, unique};
use rdkafka::admin::{AdminOptions, NewPartitions};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use crate::common::{LANES, LIMIT, PARTITIONS, Pipeline, State, assert_exactly, revision};

async fn start(filtered_settings: &[(&str, &str)]) -> Result<(&'static Kafka, Pipeline)> {
    let kafka = Kafka::shared()?;
    let source = kafka.unique_topic("events", PARTITIONS).await?;
    let filtered = unique("filtered");
    kafka
        .create_topic_with(&filtered, LANES, filtered_settings)
        .await?;
    Ok((kafka, Pipeline::new(kafka.brokers(), &source, &filtered)?))
}

fn stated_end(state: &State, partition: i32) -> i64 {
    state
        .stated
        .get(&(0, partition))
        .map_or(-1, |(_, end)| *end)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_retention_removed_is_told_once_and_the_rest_is_read() -> Result<()> {
    let (kafka, mut pipeline) = start(&[]).await?;
    let worker = pipeline.worker(&[]).await?;
    let (mut reader, all) = pipeline.viewer("event.n >= 0", 0, None).await?;
    pipeline.send(100)?;
    reader
        .until("the first events", |state| {
            state.delivered(all).len() >= 100
        })
        .await?;
    worker.stop().await?;
    pipeline.send(100)?;
    // Records 25 to 39 of partition 1 go unread.
    let mut gone = TopicPartitionList::new();
    gone.add_partition_offset(&pipeline.source, 1, Offset::Offset(40))?;
    kafka
        .admin()?
        .delete_records(&gone, &AdminOptions::new())
        .await?;
    let worker = pipeline.worker(&[]).await?;
    let state = reader
        .until("the rest is counted", |state| {
            state.delivered(all).len() >= 185
                && (0..PARTITIONS).all(|partition| stated_end(state, partition) >= 50)
        })
        .await?;
    let kept = |n: &usize| n % 4 != 1 || !(25..40).contains(&(n / 4));
    assert_exactly(state.delivered(all), (0..200).filter(kept));
    assert_eq!(state.lost, [(0, 1, (25, 40))]);
    assert_eq!(state.scanned(0), (185, 0));
    assert_eq!(worker.metric("worker_lost_records_total"), 15.0);
    worker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_added_later_is_read_from_its_beginning() -> Result<()> {
    let (kafka, mut pipeline) = start(&[]).await?;
    let worker = pipeline.worker(&[]).await?;
    let (mut reader, all) = pipeline.viewer("event.n >= 0", 0, None).await?;
    let more = NewPartitions::new(&pipeline.source, PARTITIONS as usize + 1);
    let added = kafka
        .admin()?
        .create_partitions(&[more], &AdminOptions::new())
        .await?;
    ensure!(added.iter().all(Result::is_ok), "{added:?}");
    // Long before the worker knows of it.
    for n in 0..50 {
        pipeline
            .send_to_when_known(PARTITIONS, format!("{{\"n\":{n}}}").as_bytes())
            .await?;
    }
    let state = reader
        .until("its events came and it is told", |state| {
            let topics = state.last.iter().flat_map(|progress| &progress.topics);
            state.delivered(all).len() >= 50
                && topics.map(|topic| topic.partitions).max() == Some(PARTITIONS as u32 + 1)
        })
        .await?;
    assert_exactly(state.delivered(all), 0..50);
    worker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_does_not_fit_the_filtered_topic_goes_as_its_position() -> Result<()> {
    let (_, mut pipeline) = start(&[("max.message.bytes", "10000")]).await?;
    let worker = pipeline.worker(&[]).await?;
    let (mut reader, all) = pipeline.viewer("event.n >= 0", 0, None).await?;
    // Not compressible, so that nothing hides the size.
    let filler: String = (0..1_700)
        .map(|n: u64| format!("{:06x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40))
        .collect();
    let large = format!("{{\"n\":1,\"filler\":\"{filler}\"}}");
    pipeline.send_to(0, large.as_bytes())?;
    pipeline.send_to(0, br#"{"n":2}"#)?;
    let state = reader
        .until("both are counted", |state| {
            state.delivered(all).len() >= 2 && state.counted(all).0 >= 2
        })
        .await?;
    assert_eq!(state.delivered(all), [None, Some(2)]);
    assert_eq!(state.counted(all), (2, 0));
    assert_eq!(
        worker.metric("worker_producers_total"),
        1.0,
        "the broker refused nothing"
    );
    worker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_are_read_when_committed_and_their_markers_are_no_lag() -> Result<()> {
    let (kafka, mut pipeline) = start(&[]).await?;
    let worker = pipeline.worker(&[]).await?;
    let (mut reader, all) = pipeline.viewer("event.n >= 0", 0, None).await?;
    let producer: ThreadedProducer<_> = kafka
        .client()
        .set("transactional.id", unique("sender"))
        .create()?;
    producer.init_transactions(LIMIT)?;
    for (n, commit) in [(1, true), (2, false), (3, true)] {
        producer.begin_transaction()?;
        let value = format!("{{\"n\":{n}}}");
        let record: BaseRecord<'_, (), str> = BaseRecord::to(&pipeline.source)
            .partition(2)
            .payload(&value);
        producer.send(record).map_err(|(error, _)| error)?;
        producer.flush(LIMIT)?;
        if commit {
            producer.commit_transaction(LIMIT)?;
        } else {
            producer.abort_transaction(LIMIT)?;
        }
    }
    let state = reader
        .until("the last marker is passed", |state| {
            state.delivered(all).len() >= 2 && stated_end(state, 2) >= 6
        })
        .await?;
    assert_eq!(state.delivered(all), [Some(1), Some(3)]);
    assert_eq!((state.counted(all), state.scanned(0)), ((2, 0), (2, 0)));
    let range = state
        .last
        .iter()
        .flat_map(|progress| &progress.ranges)
        .find(|range| range.partition == 2);
    assert_eq!(range.context("no statement of partition 2")?.lag_records, 0);
    worker.stop().await?;
    assert_eq!(pipeline.committed(2)?.0, 6);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_may_come_after_the_worker_and_it_creates_its_own() -> Result<()> {
    let kafka = Kafka::shared()?;
    let (source, filtered) = (unique("late"), unique("filtered"));
    let mut pipeline = Pipeline::new(kafka.brokers(), &source, &filtered)?;
    let lanes = LANES.to_string();
    let options = ["--create-filtered-topic", &lanes];
    let starting = pipeline.worker(&options);
    let (worker, created) = tokio::join!(starting, async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        kafka.create_topic(&source, PARTITIONS).await
    });
    created?;
    let worker = worker?;
    let (mut reader, all) = pipeline.viewer("event.n >= 0", 1, None).await?;
    pipeline.send(100)?;
    let state = reader
        .until("every event", |state| state.delivered(all).len() >= 100)
        .await?;
    assert_exactly(state.delivered(all), 0..100);
    worker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_topic_that_is_created_anew_is_read_again() -> Result<()> {
    let (kafka, mut pipeline) = start(&[]).await?;
    let worker = pipeline.worker(&[]).await?;
    let (mut reader, before) = pipeline.viewer("event.n >= 0", 0, None).await?;
    pipeline.send(400)?;
    reader
        .until("the first events", |state| {
            state.delivered(before).len() >= 400
        })
        .await?;
    let epochs = reader.state.epochs.clone();
    let source = pipeline.source.clone();
    let deleted = kafka
        .admin()?
        .delete_topics(&[&source], &AdminOptions::new())
        .await?;
    ensure!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    until_created(kafka, &source).await?;
    reader
        .until("the new topic is read in new epochs", |state| {
            epochs
                .iter()
                .all(|(place, epoch)| state.epochs[place] > *epoch)
                && (0..PARTITIONS).all(|partition| stated_end(state, partition) < 100)
        })
        .await?;
    // Handlers tell old and new offsets apart by the topic's id only, so this is about a new viewer.
    let after = pipeline.watch("event.n >= 400", 0, None).await?;
    let at = revision(&pipeline).await?;
    reader
        .until("the new query is live", |state| state.is_live(0, at))
        .await?;
    pipeline.send(100)?;
    let state = reader
        .until("the new events", |state| {
            state.delivered(after).len() >= 100
        })
        .await?;
    assert_exactly(state.delivered(after), 400..500);
    worker.stop().await
}

/// Deleting takes the broker a moment.
async fn until_created(kafka: &Kafka, topic: &str) -> Result<()> {
    let limit = std::time::Instant::now() + LIMIT;
    while let Err(error) = kafka.create_topic(topic, PARTITIONS).await {
        ensure!(std::time::Instant::now() < limit, "{error:#}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    Ok(())
}
