//! Clients that others made, unchanged: @stomp/stompjs and sockjs-client on Node, stomp.py on Python.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use clickstream_e2e::pipeline::{Pipeline, Setup};
use clickstream_e2e::{SOON, alone};
use clickstream_testkit::kafka::Kafka;
use clickstream_testkit::postgres::Postgres;

/// Limit for all of them, their installation included.
const CLIENTS: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_others_work_unchanged() -> Result<()> {
    let _alone = alone().await;
    let (kafka, postgres) = (Kafka::shared()?, Postgres::shared().await?);
    let mut setup = Setup::default();
    setup
        .handler_args
        .extend(["--resume-window".to_owned(), "1s".to_owned()]);
    let pipeline = Pipeline::start(kafka, &postgres.create_database().await?, setup).await?;
    let events = pipeline.flow(kafka)?;
    let mut clients = Command::new("./run");
    clients.arg(pipeline.handlers[1].url());
    pipeline.script(clients, "e2e/clients", CLIENTS).await?;
    drop(events);
    let seconds = pipeline.no_queries(SOON).await?;
    println!("no query is left {seconds:.1} s after the last client went");
    pipeline.stop()
}
