//! The page in a real browser, driven by Playwright (`ui/tests`), against a pipeline on real services.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use clickstream_e2e::pipeline::{Pipeline, Setup};
use clickstream_e2e::{SOON, alone, until};
use clickstream_testkit::kafka::Kafka;
use clickstream_testkit::postgres::Postgres;
use clickstream_testkit::process::{Process, built};

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

    let mut generate = Command::new(built("clickstream")?);
    generate.args([
        "generate",
        "--brokers",
        &kafka.brokers(),
        "--topic",
        &pipeline.source,
    ]);
    generate.args(["--rate", "200", "--rounds", "0"]);
    let _events = Process::start(
        "generate",
        generate,
        &pipeline.folder().join("generate.log"),
    )?;

    let mut browser = Command::new("npm");
    browser
        .args(["run", "--silent", "e2e"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui"));
    browser
        .env("CLICKSTREAM_URL", pipeline.handlers[0].url())
        .env("CI", "true");
    let mut browser = Process::start("browser", browser, &pipeline.folder().join("browser.log"))?;
    until("the browser tests have ended", BROWSER, async || {
        Ok(browser.status()?.is_some())
    })
    .await?;
    let status = browser.wait(SOON)?;
    println!("{}", browser.log_tail(usize::MAX));
    ensure!(status.success(), "the browser tests ended with {status}");

    // Pages that were closed leave no query behind.
    let seconds = pipeline.no_queries(SOON).await?;
    println!("no query is left {seconds:.1} s after the browser closed");
    pipeline.stop()
}
