//! The page in a real browser, driven by Playwright (`ui/tests`), against a pipeline on real services.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use clickstream_e2e::pipeline::{Pipeline, Setup, script};
use clickstream_e2e::{SOON, alone, until};
use clickstream_testkit::kafka::Kafka;
use clickstream_testkit::port;
use clickstream_testkit::postgres::Postgres;
use clickstream_testkit::process::{Process, Signal, built, http};

/// Limit for all browser tests together, about twice what they take; without the seconds that a longer run asks for.
const BROWSER: Duration = Duration::from_secs(900);

/// Seconds that `make soak` wants one of the tests in `ui/tests` to last.
fn asked(variable: &str) -> Duration {
    let seconds = std::env::var(variable).ok();
    Duration::from_secs(
        seconds
            .and_then(|seconds| seconds.parse().ok())
            .unwrap_or(0),
    )
}

fn npm(run: &str, url: &str) -> Command {
    let mut browser = Command::new("npm");
    browser
        .args(["run", "--silent", run])
        .env("CI", "true")
        .env("CLICKSTREAM_URL", url);
    browser
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_does_what_a_person_expects() -> Result<()> {
    let _alone = alone().await;
    let (kafka, postgres) = (Kafka::shared()?, Postgres::shared().await?);
    let mut setup = Setup::default();
    setup
        .handler_args
        .extend(["--resume-window".to_owned(), "2s".to_owned()]);
    let pipeline = Pipeline::start(kafka, &postgres.create_database().await?, setup).await?;
    let events = pipeline.flow(kafka)?;
    // The first catalogues are samples of a few seconds, which the rarer types may be missing from.
    until("the page can offer purchases", SOON, async || {
        let types = pipeline.handlers[0].json("/api/v1/event-types").await?;
        let items = types["items"].as_array().context("no `items`")?;
        Ok(items.iter().any(|seen| seen["name"] == "purchase"))
    })
    .await?;
    let limit = BROWSER + asked("CLICKSTREAM_BACKGROUND_SECONDS");
    let browser = npm("e2e", &pipeline.handlers[0].url());
    pipeline.script(browser, "ui", limit).await?;
    drop(events);
    // Pages that were closed leave no query behind.
    let seconds = pipeline.no_queries(SOON).await?;
    println!("no query is left {seconds:.1} s after the browser closed");
    pipeline.stop()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_keeps_up_with_two_thousand_matches_a_second() -> Result<()> {
    let _alone = alone().await;
    let folder = tempfile::tempdir()?;
    let port = port::free()?.port();
    let mut command = Command::new(built("clickstream")?);
    command
        .args(["demo", "--rate", "2000", "--port", &port.to_string()])
        .env_remove("BROKERS")
        .env_remove("DATABASE_URL");
    let mut demo = Process::start("demo", command, &folder.path().join("log"))?;
    let url = format!("http://127.0.0.1:{port}");
    until("the demo is ready", SOON, async || {
        match http()?.get(format!("{url}/readyz")).send().await {
            Ok(answer) => Ok(answer.status().is_success()),
            Err(_) => Ok(false),
        }
    })
    .await
    .with_context(|| demo.log_tail(20))?;
    let limit = BROWSER + asked("CLICKSTREAM_LOAD_SECONDS");
    script(npm("load", &url), "ui", folder.path(), limit).await?;
    demo.signal(Signal::Term)?;
    demo.wait(Duration::from_secs(30))?;
    Ok(())
}
