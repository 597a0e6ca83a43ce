//! From a Kafka topic through two workers and two handlers to viewers over every door, with exact counts.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clickstream_e2e::compare::{Difference, seen_once};
use clickstream_e2e::dataset::{self, Row};
use clickstream_e2e::pipeline::{Pipeline, Setup};
use clickstream_e2e::{SOON, alone, until};
use clickstream_testkit::kafka::{Kafka, unique};
use clickstream_testkit::port;
use clickstream_testkit::postgres::Postgres;
use clickstream_testkit::process::{Process, Program, built, http};
use clickstream_testkit::viewer::{Door, Log, Viewer};

const DOORS: [Door; 3] = [Door::Stomp, Door::SockJs, Door::Sse];

/// Limit for 31,106 events to be sent, matched and delivered to all viewers of a test.
const WHOLE_SET: Duration = Duration::from_secs(120);

/// A filter of the language and the same choice made by hand.
type Choice = (&'static str, fn(&Row) -> bool);

const PURCHASES: Choice = (r#"event.type == "purchase""#, |row| row.kind == "purchase");
const BUGS: Choice = (
    r#"event.type == "checkout_bug" && event.platform == "mobile""#,
    |row| row.kind == "checkout_bug" && row.platform == "mobile",
);
const BROWSING: Choice = (
    r#"event.type in ["search","catalog"] && event.platform != "mobile""#,
    |row| (row.kind == "search" || row.kind == "catalog") && row.platform != "mobile",
);

fn ids(rows: &[Row], choose: fn(&Row) -> bool) -> Vec<String> {
    rows.iter()
        .filter(|row| choose(row))
        .map(|row| row.event_id.clone())
        .collect()
}

/// Nothing is on its way any more: all was scanned, and every match is accounted for.
fn at_rest(log: &Log, scanned: u64) -> bool {
    let left_out = log.progress("/leftOut/rate") + log.progress("/leftOut/slow");
    log.progress("/scanned") == scanned
        && log.progress("/matched") == log.progress("/delivered") + left_out
        && log.progress("/delivered") == log.events.len() as u64
}

async fn generate(kafka: &Kafka, pipeline: &Pipeline) -> Result<()> {
    let args = [
        "generate",
        "--brokers",
        &kafka.brokers(),
        "--topic",
        &pipeline.source,
        "--rate",
        "0",
    ];
    let output = pipeline.clickstream(&args, SOON).await?;
    let last = output.lines().last().unwrap_or_default();
    ensure!(
        last == r#"{"acknowledged":31106}"#,
        "`generate` ends with `{last}`"
    );
    Ok(())
}

/// `clickstream tail` with its standard output in `<name>.log` and its status messages in `<name>.err`.
fn tail(folder: &Path, name: &str, args: &[&str]) -> Result<Process> {
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"err=$1; shift; exec "$@" 2>"$err""#, "sh"])
        .arg(folder.join(format!("{name}.err")));
    command.arg(built("clickstream")?).arg("tail").args(args);
    Process::start(name, command, &folder.join(format!("{name}.log")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_viewer_gets_exactly_its_events_over_every_door_of_both_handlers() -> Result<()> {
    let _alone = alone().await;
    let rows = dataset::rows()?;
    let choices = [PURCHASES, BUGS, BROWSING];
    let expected = choices.map(|(_, choose)| ids(&rows, choose));
    ensure!(
        (rows.len(), expected[0].len(), expected[1].len()) == (31_106, 470, 44),
        "another data set"
    );

    let (kafka, postgres) = (Kafka::shared()?, Postgres::shared().await?);
    let database = postgres.create_database().await?;
    let mut setup = Setup::default();
    setup
        .handler_args
        .extend(["--resume-window".to_owned(), "1s".to_owned()]);
    let pipeline = Pipeline::start(kafka, &database, setup).await?;

    let mut viewers: Vec<(Viewer, &[String])> = Vec::new();
    for handler in 0..2 {
        for door in DOORS {
            for ((filter, _), expected) in choices.iter().zip(&expected) {
                let viewer = pipeline
                    .viewer(handler, door, &[("filter", filter), ("rate", "0")])
                    .await?;
                viewers.push((viewer, expected));
            }
        }
    }
    // The simple form names the same query as the filter, and only the fields asked for come.
    let simple = [
        ("event-types", "purchase"),
        ("fields", "event_id,type"),
        ("rate", "0"),
    ];
    viewers.push((
        pipeline.viewer(1, Door::Stomp, &simple).await?,
        &expected[0],
    ));
    let few = pipeline
        .viewer(0, Door::Stomp, &[("filter", BROWSING.0), ("rate", "5")])
        .await?;
    let url = pipeline.handlers[1].url();
    let folder = pipeline.folder().to_owned();
    let mut tails = Vec::new();
    for transport in ["stomp", "sockjs", "sse"] {
        let usual = [
            "--url",
            &url,
            "--filter",
            PURCHASES.0,
            "--rate",
            "0",
            "--transport",
            transport,
        ];
        let args = [&usual[..], &["--count", "470", "--timeout", "150s"]].concat();
        tails.push(tail(&folder, transport, &args)?);
    }
    for (viewer, _) in &viewers {
        viewer.live(SOON).await?;
        ensure!(
            viewer.log().statuses[0]["status"] == "registered",
            "{} is not told its query first",
            viewer.name()
        );
    }
    few.live(SOON).await?;
    for tail in &tails {
        let err = folder.join(format!("{}.err", tail.name()));
        let live = async || Ok(std::fs::read_to_string(&err)?.contains(r#""status":"live""#));
        until("`tail` is live", SOON, live).await?;
    }
    let query = |viewer: &Viewer| {
        viewer
            .log()
            .status("registered")
            .map(|status| status["query"].clone())
    };
    ensure!(
        query(&viewers[18].0) == query(&viewers[0].0),
        "the simple form names another query"
    );
    ensure!(
        pipeline.listed(0).await?.len() == 3,
        "not three queries: {:?}",
        pipeline.listed(0).await?
    );

    generate(kafka, &pipeline).await?;

    for (viewer, expected) in &viewers {
        viewer
            .until("all to be delivered and accounted for", WHOLE_SET, |log| {
                at_rest(log, 31_106)
            })
            .await?;
        seen_once(viewer, expected.iter().cloned())?;
        let log = viewer.log();
        ensure!(
            log.progress("/matched") == expected.len() as u64,
            "{}: {:?}",
            viewer.name(),
            log.statuses.last()
        );
        ensure!(
            log.progress("/unreadable") == 0 && log.error.is_none(),
            "{}: {:?}",
            viewer.name(),
            log.error
        );
        ensure!(
            log.statuses
                .iter()
                .filter(|status| status["status"] == "gap")
                .count()
                == 0,
            "{}: gap",
            viewer.name()
        );
    }
    let projected =
        serde_json::from_slice::<serde_json::Value>(&viewers[18].0.log().events[0].body)?;
    let keys: Vec<_> = projected.as_object().context("no object")?.keys().collect();
    ensure!(keys == ["event_id", "type"], "projection has {keys:?}");

    few.until("the slow rate to be accounted for", WHOLE_SET, |log| {
        at_rest(log, 31_106)
    })
    .await?;
    {
        let log = few.log();
        let left_out = log.progress("/leftOut/rate");
        println!(
            "{}: {} delivered, {left_out} left out for the rate",
            few.name(),
            log.events.len()
        );
        ensure!(
            left_out > 0 && !log.events.is_empty(),
            "a rate of 5 leaves out {left_out}"
        );
        ensure!(
            log.progress("/matched") == expected[2].len() as u64,
            "{:?}",
            log.statuses.last()
        );
        let foreign = Difference::between(expected[2].iter().cloned(), &log)?;
        ensure!(
            foreign.twice.is_empty() && foreign.foreign.is_empty(),
            "{foreign}"
        );
        let told: u64 = log
            .statuses
            .iter()
            .filter(|status| status["status"] == "dropped")
            .filter_map(|s| s["count"].as_u64())
            .sum();
        ensure!(
            told == left_out,
            "{told} told as dropped, {left_out} left out"
        );
    }
    for tail in &mut tails {
        until("`tail` has its count", SOON, async || {
            Ok(tail.status()?.is_some())
        })
        .await?;
        let lines = std::fs::read_to_string(tail.log())?;
        let status = tail.wait(SOON)?;
        ensure!(
            status.success() && lines.lines().count() == 470,
            "`tail` over {} ended with {status}",
            tail.name()
        );
        for line in lines.lines() {
            let event: serde_json::Value = serde_json::from_str(line)?;
            ensure!(
                event["type"] == "purchase",
                "`tail` over {} printed `{line}`",
                tail.name()
            );
        }
    }

    for (mut viewer, _) in viewers {
        viewer.close().await?;
    }
    drop(few);
    let seconds = pipeline.no_queries(SOON).await?;
    println!("no query is left {seconds:.1} s after the last viewer went");
    pipeline.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_joins_later_gets_what_comes_later() -> Result<()> {
    let _alone = alone().await;
    let rows = dataset::rows()?;
    let purchases = ids(&rows, PURCHASES.1);
    let (kafka, postgres) = (Kafka::shared()?, Postgres::shared().await?);
    let pipeline =
        Pipeline::start(kafka, &postgres.create_database().await?, Setup::default()).await?;

    // Nobody watches: the workers read on and write to no lane.
    generate(kafka, &pipeline).await?;
    let first = pipeline
        .viewer(0, Door::Stomp, &[("filter", PURCHASES.0), ("rate", "0")])
        .await?;
    first.live(SOON).await?;
    generate(kafka, &pipeline).await?;
    first
        .until("the second round", WHOLE_SET, |log| {
            log.events.len() >= 470 && at_rest(log, 31_106)
        })
        .await?;
    // Joins a query that is live already, at the other handler; counts from here.
    let second = pipeline
        .viewer(1, Door::Sse, &[("filter", PURCHASES.0), ("rate", "0")])
        .await?;
    let third = pipeline
        .viewer(0, Door::SockJs, &[("filter", PURCHASES.0), ("rate", "0")])
        .await?;
    second.live(SOON).await?;
    third.live(SOON).await?;
    generate(kafka, &pipeline).await?;
    first
        .until("both rounds", WHOLE_SET, |log| at_rest(log, 2 * 31_106))
        .await?;
    ensure!(
        first.log().events.len() == 2 * 470,
        "{} events",
        first.log().events.len()
    );
    for viewer in [&second, &third] {
        viewer
            .until("the third round", WHOLE_SET, |log| at_rest(log, 31_106))
            .await?;
        seen_once(viewer, purchases.iter().cloned())?;
    }
    pipeline.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_lacks_its_services_says_so_and_still_ends_cleanly() -> Result<()> {
    let _alone = alone().await;
    let postgres = Postgres::shared().await?;
    let database = postgres.create_database().await?;
    let folder = tempfile::tempdir()?;
    for (program, extra) in [
        (
            "clickstream-worker",
            ["--create-filtered-topic", "2"].as_slice(),
        ),
        ("clickstream-handler", &[]),
    ] {
        let nobody = port::free()?.to_string();
        let args = [
            "--brokers",
            &nobody,
            "--source-topic",
            "t",
            "--database-url",
            &database,
            "--pipeline",
            &unique("p"),
        ];
        let args: Vec<_> = args.iter().chain(extra).map(ToString::to_string).collect();
        let mut program = Program::start(program, program, folder.path(), &args)?;
        let address = format!("{}/readyz", program.url());
        until("it says what it waits for", SOON, async || {
            let Ok(answer) = http()?.get(&address).send().await else {
                return Ok(false);
            };
            ensure!(answer.status() == 503, "ready without Kafka");
            let waiting = answer.text().await?;
            Ok(waiting.contains("\"kafka\"") && waiting.contains("\"schema\""))
        })
        .await?;
        ensure!(
            http()?
                .get(format!("{}/healthz", program.url()))
                .send()
                .await?
                .status()
                == 200,
            "not healthy"
        );
        program.stop(SOON)?;
    }
    Ok(())
}
