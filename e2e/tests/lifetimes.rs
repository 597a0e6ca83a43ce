//! How queries end: time to live, a handler that dies, and a database that is away.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clickstream_e2e::compare::seen_once;
use clickstream_e2e::load::Load;
use clickstream_e2e::pipeline::{Pipeline, Setup};
use clickstream_e2e::{SOON, alone, until};
use clickstream_testkit::kafka::Kafka;
use clickstream_testkit::postgres::Postgres;
use clickstream_testkit::viewer::Door;

fn setup(handler_args: &[&str]) -> Setup {
    Setup {
        handler_args: handler_args.iter().map(ToString::to_string).collect(),
        ..Setup::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn query_is_gone_everywhere_after_its_time_to_live() -> Result<()> {
    let _alone = alone().await;
    let (kafka, postgres) = (Kafka::shared()?, Postgres::shared().await?);
    let database = postgres.create_database().await?;
    let pipeline = Pipeline::start(kafka, &database, setup(&["--subscription-ttl", "10s"])).await?;

    let viewer = pipeline
        .viewer(0, Door::Stomp, &[("filter", "event.n == 1")])
        .await?;
    viewer.live(SOON).await?;
    // A shorter time to live is granted, a longer one is not.
    let shorter = pipeline
        .viewer(1, Door::SockJs, &[("filter", "event.n == 2"), ("ttl", "6")])
        .await?;
    let longer = pipeline
        .viewer(1, Door::Sse, &[("filter", "event.n == 3"), ("ttl", "3600")])
        .await?;
    shorter.live(SOON).await?;
    longer.live(SOON).await?;
    ensure!(pipeline.listed(0).await?.len() == 3, "not three queries");
    for viewer in [&shorter, &viewer, &longer] {
        viewer
            .until("`ended`", SOON, |log| log.status("ended").is_some())
            .await?;
        let log = viewer.log();
        ensure!(
            log.status("ended")
                .is_some_and(|ended| ended["reason"] == "expired"),
            "{:?}",
            log.statuses.last()
        );
        ensure!(
            log.status("expiring")
                .is_some_and(|told| told["at"].is_string()),
            "no `expiring` before the end"
        );
    }
    let seconds = pipeline.no_queries(SOON).await?;
    println!(
        "gone from both handlers and both workers {seconds:.2} s after the last `ended` (aim: 2)"
    );
    ensure!(
        viewer.log().ended.is_none(),
        "the connection does not stay after `ended`"
    );
    pipeline.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_of_a_killed_handler_go_and_those_of_the_other_stay() -> Result<()> {
    let _alone = alone().await;
    let (kafka, postgres) = (Kafka::shared()?, Postgres::shared().await?);
    let database = postgres.create_database().await?;
    let mut pipeline = Pipeline::start(kafka, &database, setup(&["--lease", "5s"])).await?;

    let orphan = pipeline
        .viewer(0, Door::Stomp, &[("filter", "event.n == 1")])
        .await?;
    let shared = pipeline
        .viewer(
            0,
            Door::Stomp,
            &[("filter", "event.bucket == 7"), ("rate", "0")],
        )
        .await?;
    let watched = pipeline
        .viewer(
            1,
            Door::Stomp,
            &[("filter", "event.bucket == 7"), ("rate", "0")],
        )
        .await?;
    for viewer in [&orphan, &shared, &watched] {
        viewer.live(SOON).await?;
    }
    ensure!(pipeline.listed(1).await?.len() == 2, "not two queries");
    pipeline.handlers[0].process().kill()?;
    let killed = Instant::now();
    until("the dead handler's query is gone", SOON, async || {
        Ok(pipeline.listed(1).await?.len() == 1)
    })
    .await?;
    println!(
        "gone {:.1} s after the kill (aim: 15)",
        killed.elapsed().as_secs_f64()
    );
    ensure!(
        pipeline.listed(1).await? == ["event.bucket == 7"],
        "{:?}",
        pipeline.listed(1).await?
    );

    let load = Load {
        rate: 1_000,
        seconds: 3,
        partitions: 8,
    };
    load.start(kafka, &pipeline.source)?
        .join()
        .ok()
        .context("the load panicked")??;
    watched
        .until("its events", SOON, |log| {
            log.progress("/scanned") == load.total()
        })
        .await?;
    let expected = (0..load.total())
        .filter(|n| n % 100 == 7)
        .map(Load::event_id);
    seen_once(&watched, expected)?;
    pipeline.handlers.remove(0);
    pipeline.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_watched_query_is_removed_while_the_database_is_away() -> Result<()> {
    let _alone = alone().await;
    let (kafka, postgres) = (Kafka::shared()?, Postgres::start().await?);
    let database = postgres.create_database().await?;
    let mut pipeline = Pipeline::start(kafka, &database, setup(&["--lease", "5s"])).await?;
    let filters = ["true", "event.bucket == 7"];
    let mut viewers = Vec::new();
    for handler in 0..2 {
        for filter in filters {
            let viewer = pipeline
                .viewer(handler, Door::Stomp, &[("filter", filter), ("rate", "0")])
                .await?;
            viewer.live(SOON).await?;
            viewers.push(viewer);
        }
    }

    let load = Load {
        rate: 500,
        seconds: 45,
        partitions: 8,
    };
    let sending = load.start(kafka, &pipeline.source)?;
    postgres.kill()?;
    // Three lease periods: the length of the outage is what is tested.
    tokio::time::sleep(Duration::from_secs(16)).await;
    postgres.start_again().await?;
    for program in pipeline.handlers.iter_mut().chain(&mut pipeline.workers) {
        program.ready(SOON).await?;
    }
    let mut lowest = usize::MAX;
    while !sending.is_finished() {
        lowest = lowest
            .min(pipeline.listed(0).await?.len())
            .min(pipeline.listed(1).await?.len());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    sending.join().ok().context("the load panicked")??;
    ensure!(
        lowest == 2,
        "only {lowest} of 2 watched queries were listed at some time"
    );
    for (viewer, one_of) in viewers.iter().zip([1, 100, 1, 100]) {
        viewer
            .until("all events", SOON, |log| {
                log.progress("/scanned") == load.total()
            })
            .await?;
        let expected = (0..load.total())
            .filter(|n| one_of == 1 || n % one_of == 7)
            .map(Load::event_id);
        seen_once(viewer, expected)?;
    }
    // And it still works: a new query is matched, an old one can go.
    let late = pipeline
        .viewer(1, Door::Stomp, &[("filter", "event.n == 5")])
        .await?;
    late.live(SOON).await?;
    pipeline.stop()
}
