//! The worker against librdkafka's mock cluster: matches, statements, rebalances, failures, bad records.

mod common;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clickstream_registry::{Registry, Standing, StandingName};
use rdkafka::consumer::Consumer;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::common::{LANES, LIMIT, PARTITIONS, Pipeline, State, Worker, assert_exactly, revision};

fn start() -> Result<(MockCluster<'static, DefaultProducerContext>, Pipeline)> {
    let cluster = MockCluster::new(1)?;
    cluster.create_topic("events", PARTITIONS, 1)?;
    cluster.create_topic("filtered", LANES, 1)?;
    let pipeline = Pipeline::new(cluster.bootstrap_servers(), "events", "filtered")?;
    Ok((cluster, pipeline))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_gets_every_event_from_its_statement_on_and_counts_that_agree() -> Result<()> {
    let (_cluster, mut pipeline) = start()?;
    let worker = pipeline.worker(&[]).await?;
    let (mut reader, third) = pipeline.viewer("event.n % 3 == 0", 0, None).await?;
    pipeline.send(300)?;
    reader
        .until("its matches are there", |state| {
            state.delivered(third).len() >= 100
        })
        .await?;

    let both = pipeline.watch("event.n % 6 == 0", 0, None).await?;
    let other = pipeline.watch("event.n % 2 == 1", 1, None).await?;
    let at = revision(&pipeline).await?;
    reader
        .until("the others are live", |state| {
            state.is_live(0, at) && state.is_live(1, at)
        })
        .await?;
    pipeline.send(300)?;
    let state = reader
        .until("everything is counted", |state| {
            state.scanned(0).0 >= 600
                && state.scanned(1).0 >= 300
                && state.delivered(other).len() >= 150
        })
        .await?;
    assert_exactly(state.delivered(third), (0..600).filter(|n| n % 3 == 0));
    assert_exactly(state.delivered(both), (300..600).filter(|n| n % 6 == 0));
    assert_exactly(state.delivered(other), (300..600).filter(|n| n % 2 == 1));
    assert_eq!(
        (
            state.counted(third),
            state.counted(both),
            state.counted(other)
        ),
        ((200, 0), (50, 0), (150, 0))
    );
    assert_eq!((state.scanned(0), state.scanned(1)), ((600, 0), (300, 0)));
    for partition in 0..PARTITIONS {
        assert_eq!(
            state.added.get(&(both, partition)),
            Some(&(300 / i64::from(PARTITIONS)))
        );
    }
    let last = state.last.as_ref().context("no statement")?;
    assert_eq!(
        (last.lanes, last.topics.len(), last.topics[0].partitions),
        (2, 1, PARTITIONS as u32)
    );
    assert_eq!(
        (
            worker.metric("worker_records_total"),
            worker.metric("worker_queries")
        ),
        (600.0, 3.0)
    );

    // Idle: the last look found the end, and says so with a time that goes on.
    let time = |state: &State| {
        let ranges = state.last.iter().flat_map(|progress| &progress.ranges);
        ranges.map(|range| range.time_ms).min().unwrap_or_default()
    };
    let before = time(state);
    reader
        .until("time goes on without events", |state| {
            time(state) > before + 1_000
        })
        .await?;
    worker.stop().await?;
    for partition in 0..PARTITIONS {
        let (offset, metadata) = pipeline.committed(partition)?;
        ensure!(
            offset == 150 && metadata.starts_with("v1;epoch="),
            "committed {offset} {metadata}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_change_hands_and_nothing_is_lost_or_delivered_twice() -> Result<()> {
    let (_cluster, mut pipeline) = start()?;
    let first = pipeline.worker(&[]).await?;
    let mut reader = pipeline.reader()?;
    let all = pipeline.watch("event.n >= 0", 0, None).await?;
    let some = pipeline.watch("event.n % 10 == 7", 1, None).await?;
    let at = revision(&pipeline).await?;
    reader
        .until("the queries are live", |state| {
            state.is_live(0, at) && state.is_live(1, at)
        })
        .await?;
    let epochs = reader.state.epochs.clone();

    pipeline.send(200)?;
    let second = pipeline.worker(&[]).await?;
    let limit = Instant::now() + LIMIT;
    // Its members get a share while events flow.
    while second.metric("worker_partitions{state=\"reading\"}") < 1.0 {
        ensure!(
            Instant::now() < limit,
            "the second worker gets no partition"
        );
        pipeline.send(20)?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    pipeline.send(200)?;
    first.stop().await?;
    pipeline.send(200)?;
    let sent = pipeline.sent;
    let expected = sent.div_ceil(10);
    let state = reader
        .until("everything came and is counted", |state| {
            state.delivered(all).len() >= sent
                && state.delivered(some).len() + 1 >= expected
                && state.scanned(0).0 >= sent as u64
                && state.scanned(1).0 >= sent as u64
        })
        .await?;
    assert_exactly(state.delivered(all), 0..sent);
    assert_exactly(state.delivered(some), (0..sent).filter(|n| n % 10 == 7));
    assert_eq!(state.counted(all), (sent as u64, 0));
    assert!(
        state
            .epochs
            .iter()
            .all(|(place, epoch)| *epoch > epochs[place]),
        "every partition changed hands"
    );
    second.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_producer_is_replaced_and_the_rest_is_repeated_in_a_new_epoch() -> Result<()> {
    let (cluster, mut pipeline) = start()?;
    let worker = pipeline.worker(&[]).await?;
    let (mut reader, all) = pipeline.viewer("event.n >= 0", 0, None).await?;
    pipeline.send(100)?;
    reader
        .until("the first matches", |state| {
            state.delivered(all).len() >= 100
        })
        .await?;
    let before = reader.state.epochs.clone();
    // Not retriable: the idempotent producer gives up for good.
    let fatal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::Produce, &[fatal]);
    // The mock has one stack of errors for all clients: this must go to the worker's producer, whose next statement is
    // less than a second away.
    let limit = Instant::now() + LIMIT;
    while worker.metric("worker_producers_total") < 2.0 {
        ensure!(Instant::now() < limit, "the producer was not replaced");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    pipeline.send(100)?;
    let state = reader
        .until("everything came", |state| state.delivered(all).len() >= 200)
        .await?;
    assert_exactly(state.delivered(all), 0..200);
    assert!(
        before
            .iter()
            .all(|(place, epoch)| state.epochs[place] > *epoch),
        "every partition has a new epoch"
    );
    worker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_go_away_and_come_back_lose_nothing() -> Result<()> {
    let (cluster, mut pipeline) = start()?;
    let worker = pipeline.worker(&[]).await?;
    let (mut reader, all) = pipeline.viewer("event.n >= 0", 0, None).await?;
    pipeline.send(100)?;
    cluster.broker_down(1)?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.broker_up(1)?;
    pipeline.send(100)?;
    let state = reader
        .until("everything came", |state| state.delivered(all).len() >= 200)
        .await?;
    assert_exactly(state.delivered(all), 0..200);
    worker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_are_no_events_are_counted_and_passed_over() -> Result<()> {
    let (_cluster, mut pipeline) = start()?;
    let worker = pipeline.worker(&["--masked-field", "secret.card"]).await?;
    let mut reader = pipeline.reader()?;
    let all = pipeline.watch("event.n >= 0", 0, None).await?;
    let probe = pipeline.watch("event.secret.card == 4711", 1, None).await?;
    let at = revision(&pipeline).await?;
    reader
        .until("the queries are live", |state| {
            state.is_live(0, at) && state.is_live(1, at)
        })
        .await?;
    let deep = [vec![b'['; 10_000], vec![b']'; 10_000]].concat();
    let deep = [br#"{"n":1,"deep":"#.to_vec(), deep, b"}".to_vec()].concat();
    let bad: [&[u8]; 6] = [
        b"",
        b"not json",
        b"[1,2]",
        b"\"text\"",
        b"{\"n\":\"\xff\xfe\"}",
        &deep,
    ];
    for (index, value) in bad.iter().enumerate() {
        pipeline.send_to(index as i32 % PARTITIONS, value)?;
    }
    let large = format!("{{\"n\":900000,\"filler\":\"{}\"}}", "x".repeat(900_000));
    pipeline.send_to(0, large.as_bytes())?;
    pipeline.send_to(1, br#"{"n":7, "secret": {"card": 4711, "open": true}}"#)?;
    pipeline.send(100)?;
    let state = reader
        .until("everything is counted", |state| {
            state.scanned(0).0 >= 108 && state.delivered(all).len() >= 102
        })
        .await?;
    assert_eq!(state.scanned(0), (108, bad.len() as u64));
    assert_exactly(
        state.delivered(all),
        (0..8).chain([7]).chain(8..100).chain([900_000]),
    );
    assert!(
        state.bodies.iter().any(|body| body == large.as_bytes()),
        "a large event goes whole"
    );
    let masked: Vec<_> = state
        .bodies
        .iter()
        .filter(|body| body.windows(6).any(|part| part == b"secret"))
        .collect();
    assert_eq!(masked.len(), 1);
    assert!(
        !masked[0].windows(4).any(|part| part == b"4711"),
        "masked fields never leave the worker"
    );
    assert_eq!(state.delivered(probe), &[], "nor can a filter ask for them");
    assert_eq!(worker.metric("worker_unreadable_total"), bad.len() as f64);
    worker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_leaves_out_the_rest_and_counts_it() -> Result<()> {
    let (_cluster, mut pipeline) = start()?;
    let worker = pipeline.worker(&[]).await?;
    let (mut reader, limited) = pipeline.viewer("event.n >= 0", 0, Some(5)).await?;
    pipeline.send(1_000)?;
    let state = reader
        .until("everything is counted", |state| {
            state.counted(limited).0 >= 1_000
        })
        .await?;
    let (matched, left_out) = state.counted(limited);
    assert_eq!(matched, 1_000);
    assert_eq!(
        state.delivered(limited).len() as u64,
        matched - left_out,
        "matched = written + left out"
    );
    assert!(left_out > 0 && left_out < 1_000);
    assert_eq!(worker.metric("worker_left_out_total"), left_out as f64);
    worker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_that_backs_up_stops_reading_and_loses_nothing() -> Result<()> {
    let (_cluster, mut pipeline) = start()?;
    let worker = pipeline
        .worker(&["--kafka-config", "queue.buffering.max.messages=20"])
        .await?;
    let (mut reader, all) = pipeline.viewer("event.n >= 0", 0, None).await?;
    pipeline.send(3_000)?;
    let state = reader
        .until("everything came and is counted", |state| {
            state.delivered(all).len() >= 3_000 && state.counted(all).0 >= 3_000
        })
        .await?;
    assert_exactly(state.delivered(all), 0..3_000);
    assert_eq!(state.counted(all), (3_000, 0));
    assert!(worker.metric("worker_pauses_total") > 0.0);
    worker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_registry_partitions_go_on_and_those_that_change_hands_wait() -> Result<()> {
    let (_cluster, mut pipeline) = start()?;
    let staying = pipeline.worker(&[]).await?;
    let leaving = pipeline.worker(&[]).await?;
    let reading = |worker: &Worker| worker.metric("worker_partitions{state=\"reading\"}");
    let waiting = |worker: &Worker| worker.metric("worker_partitions{state=\"waiting\"}");
    let half = f64::from(PARTITIONS / 2);
    until("both have a share", || {
        reading(&staying) == half && reading(&leaving) == half
    })
    .await?;
    let (mut reader, all) = pipeline.viewer("event.n >= 0", 0, None).await?;

    pipeline.registry.set_available(false);
    leaving.stop().await?;
    until("what was the other's waits", || waiting(&staying) == half).await?;
    pipeline.send(100)?;
    reader
        .until("its own goes on", |state| state.delivered(all).len() >= 50)
        .await?;
    assert_eq!((reading(&staying), waiting(&staying)), (half, half));
    pipeline.registry.set_available(true);
    let state = reader
        .until("everything came", |state| state.delivered(all).len() >= 100)
        .await?;
    assert_exactly(state.delivered(all), 0..100);
    assert_eq!((reading(&staying), waiting(&staying)), (2.0 * half, 0.0));
    staying.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standing_query_that_nobody_watches_is_counted_and_not_written() -> Result<()> {
    let (_cluster, mut pipeline) = start()?;
    let worker = pipeline.worker(&[]).await?;
    let standing = Standing {
        name: StandingName {
            namespace: "shop".into(),
            name: "even".into(),
        },
        uid: "1".into(),
        generation: 1,
        tenant: String::new(),
        filter: "event.n % 2 == 0".into(),
        fields: Vec::new(),
        rate: None,
        suspended: false,
        sink_topic: None,
    };
    let served = pipeline
        .registry
        .put_standing(&standing, 0)
        .await?
        .context("it is not suspended")?;
    until("it is matched", || {
        worker.metric("worker_revision") >= served.revision as f64
    })
    .await?;
    let limit = Instant::now() + LIMIT;
    let rate = loop {
        pipeline.send(8)?;
        let rates = pipeline.registry.standing_rates().await?;
        if let Some((id, rate)) = rates.first() {
            assert_eq!((*id, rates.len()), (served.id, 1));
            break *rate;
        }
        ensure!(Instant::now() < limit, "no rate is reported");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(rate > 0.0);
    until("all matches are counted", || {
        worker.metric("worker_records_total") == pipeline.sent as f64
    })
    .await?;
    assert_eq!(
        worker.metric("worker_matches_total"),
        pipeline.sent as f64 / 2.0
    );
    let reader = pipeline.reader()?;
    assert_eq!(
        reader
            .consumer
            .fetch_watermarks(&pipeline.filtered, 0, LIMIT)?,
        (0, 0)
    );
    worker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_queries_records_are_read_and_committed_and_nothing_is_written() -> Result<()> {
    let (_cluster, mut pipeline) = start()?;
    let worker = pipeline.worker(&[]).await?;
    let reading = || worker.metric("worker_partitions{state=\"reading\"}");
    until("partitions are read", || reading() == f64::from(PARTITIONS)).await?;
    pipeline.send(400)?;
    let committed = |partition| {
        pipeline
            .committed(partition)
            .is_ok_and(|(offset, _)| offset == 100)
    };
    until("offsets are committed", || (0..PARTITIONS).all(committed)).await?;
    let limit = Instant::now() + LIMIT;
    loop {
        pipeline.send_to(0, br#"{"type":"view","page":{"path":"/a"}}"#)?;
        let catalogue = pipeline.registry.catalogue().await?;
        if catalogue
            .fields
            .iter()
            .any(|field| field.path == "page.path")
        {
            assert_eq!(catalogue.event_types[0].name, "view");
            break;
        }
        ensure!(
            Instant::now() < limit,
            "the catalogue shows nothing: {catalogue:?}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let workers = pipeline.registry.processes().await?.workers;
    assert_eq!(
        (workers.len(), workers[0].lanes, workers[0].partitions),
        (1, LANES as u32, PARTITIONS as u32)
    );
    worker.stop().await?;
    let reader = pipeline.reader()?;
    for lane in 0..LANES {
        assert_eq!(
            reader
                .consumer
                .fetch_watermarks(&pipeline.filtered, lane, LIMIT)?,
            (0, 0)
        );
    }
    Ok(())
}

/// Waits until `done`.
async fn until(what: &str, mut done: impl FnMut() -> bool) -> Result<()> {
    let limit = Instant::now() + LIMIT;
    while !done() {
        ensure!(Instant::now() < limit, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
