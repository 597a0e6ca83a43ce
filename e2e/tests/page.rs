//! The page in a real browser, driven by Playwright (`ui/tests`), against a pipeline on real services.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use clickstream_e2e::pipeline::{Pipeline, Setup};
use clickstream_e2e::{SOON, alone};
use clickstream_testkit::kafka::Kafka;
use clickstream_testkit::postgres::Postgres;

/// Limit for all browser tests together.
const BROWSER: Duration = Duration::from_secs(360);

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
    let mut browser = Command::new("npm");
    browser
        .args(["run", "--silent", "e2e"])
        .env("CI", "true")
        .env("CLICKSTREAM_URL", pipeline.handlers[0].url());
    pipeline.script(browser, "ui", BROWSER).await?;
    drop(events);
    // Pages that were closed leave no query behind.
    let seconds = pipeline.no_queries(SOON).await?;
    println!("no query is left {seconds:.1} s after the browser closed");
    pipeline.stop()
}
