//! Each fault in a run of its own, under load: what was sent is compared with what was seen, by `event_id`.
//!
//! 2,000 numbered events a second for 40 s into 8 partitions, two workers, two handlers, on each a viewer of
//! everything and one of 1 %. At 10 s the fault. The viewers that remain miss nothing, see nothing twice and nothing
//! of anybody else's, and at rest their accounts agree with the load.

use std::collections::HashMap;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clickstream_e2e::compare::Difference;
use clickstream_e2e::load::Load;
use clickstream_e2e::pipeline::{Pipeline, Setup};
use clickstream_e2e::{SOON, alone};
use clickstream_testkit::kafka::Kafka;
use clickstream_testkit::postgres::Postgres;
use clickstream_testkit::process::Signal;
use clickstream_testkit::viewer::{Door, Viewer};

const LOAD: Load = Load {
    rate: 2_000,
    seconds: 40,
    partitions: 8,
};

/// From the first event to the fault.
const FAULT_AFTER: Duration = Duration::from_secs(10);

/// Longer than the workers' session time-out of 8 s.
const FROZEN: Duration = Duration::from_secs(12);

/// What a fault can touch.
struct Run {
    kafka: Kafka,
    postgres: Postgres,
    pipeline: Pipeline,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_killed_and_not_replaced() -> Result<()> {
    run("worker SIGKILLed, not replaced", 2, async |run| {
        run.pipeline.workers[0].process().kill()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_killed_and_replaced() -> Result<()> {
    run("worker SIGKILLed, replaced", 2, async |run| {
        run.pipeline.workers[0].process().kill()?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        run.pipeline.add_worker()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_frozen_past_its_session_and_woken() -> Result<()> {
    let name = format!("worker SIGSTOPped for {} s", FROZEN.as_secs());
    run(&name, 2, async |run| {
        run.pipeline.workers[0].process().signal(Signal::Stop)?;
        tokio::time::sleep(FROZEN).await;
        run.pipeline.workers[0].process().signal(Signal::Cont)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_killed_and_started() -> Result<()> {
    run("PostgreSQL SIGKILLed, started after 3 s", 2, async |run| {
        run.postgres.kill()?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        run.postgres.start_again().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_killed_and_started() -> Result<()> {
    run("Kafka SIGKILLed, started at once", 2, async |run| {
        run.kafka.kill()?;
        run.kafka.start_again()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handler_ended() -> Result<()> {
    run("a handler SIGTERMed", 1, async |run| {
        run.pipeline.handlers[1].process().signal(Signal::Term)
    })
    .await
}

/// Runs the load with `fault`; the viewers at the first `remaining` handlers are held to everything.
async fn run(
    name: &str,
    remaining: usize,
    fault: impl AsyncFnOnce(&mut Run) -> Result<()>,
) -> Result<()> {
    let _alone = alone().await;
    let (kafka, postgres) = (Kafka::start()?, Postgres::start().await?);
    let database = postgres.create_database().await?;
    let pipeline = Pipeline::start(&kafka, &database, Setup::default()).await?;
    let mut run = Run {
        kafka,
        postgres,
        pipeline,
    };

    let mut viewers: Vec<(Viewer, u64)> = Vec::new();
    for handler in 0..2 {
        for (filter, one_of) in [("event.n >= 0", 1), ("event.bucket == 7", 100)] {
            let viewer = run
                .pipeline
                .viewer(handler, Door::Stomp, &[("filter", filter), ("rate", "0")])
                .await?;
            viewers.push((viewer, one_of));
        }
    }
    for (viewer, _) in &viewers {
        viewer.live(SOON).await?;
    }

    let sending: JoinHandle<Result<()>> = LOAD.start(&run.kafka, &run.pipeline.source)?;
    tokio::time::sleep(FAULT_AFTER).await;
    let at = Instant::now();
    fault(&mut run).await?;
    println!("{name}: done {:.1} s later", at.elapsed().as_secs_f64());
    tokio::task::spawn_blocking(|| sending.join())
        .await?
        .ok()
        .context("the load panicked")??;

    let leaving = viewers.split_off(2 * remaining);
    let mut wrong = Vec::new();
    for (viewer, one_of) in &viewers {
        let told = viewer
            .until("everything to be accounted for", SOON, |log| {
                log.progress("/scanned") == LOAD.total()
                    && log.progress("/matched") == LOAD.total() / one_of
                    && log.progress("/delivered") == log.events.len() as u64
            })
            .await;
        let log = viewer.log();
        let difference = Difference::between(expected(*one_of), &log)?;
        let silence = silence(&log.events, at)?;
        println!(
            "{name}: {}: {difference}; every partition flows again {silence:.1} s after it",
            viewer.name()
        );
        if !difference.is_none() || told.is_err() {
            let gaps = log
                .statuses
                .iter()
                .filter(|status| status["status"] == "gap");
            let gaps: Vec<_> = gaps.map(ToString::to_string).collect();
            wrong.push(format!(
                "{}: {difference}; gaps {gaps:?}; {told:?}",
                viewer.name()
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (viewer, one_of) in &leaving {
        let log = viewer.log();
        let difference = Difference::between(expected(*one_of), &log)?;
        println!("{name}: {} (which ended): {difference}", viewer.name());
        ensure!(
            difference.twice.is_empty() && difference.foreign.is_empty(),
            "{}: {difference}",
            viewer.name()
        );
        ensure!(
            log.ended.as_ref().is_some_and(|how| how.contains("1012")),
            "{}: {:?}",
            viewer.name(),
            log.ended
        );
    }
    run.pipeline.stop()
}

fn expected(one_of: u64) -> impl Iterator<Item = String> {
    (0..LOAD.total())
        .filter(move |n| one_of == 1 || n % one_of == 7)
        .map(Load::event_id)
}

/// Seconds from the fault until every partition's longest silence after it was over; 0 when none was over a second.
fn silence(events: &[clickstream_testkit::viewer::Seen], fault: Instant) -> Result<f64> {
    // Per partition: when its last event came, and length and end of its longest silence that ended after the fault.
    let mut partitions: HashMap<i32, (Instant, Duration, Instant)> = HashMap::new();
    for seen in events {
        let (last, longest, end) =
            partitions
                .entry(seen.partition()?)
                .or_insert((seen.at, Duration::ZERO, fault));
        if seen.at > fault && seen.at - *last > *longest {
            (*longest, *end) = (seen.at - *last, seen.at);
        }
        *last = seen.at;
    }
    let silences = partitions
        .into_values()
        .filter(|(_, longest, _)| *longest > Duration::from_secs(1));
    Ok(silences
        .map(|(_, _, end)| (end - fault).as_secs_f64())
        .fold(0.0, f64::max))
}
