//! `demo`: worker, handler, page and a stream of events in one process.
//!
//! Unless real ones are given, Kafka is librdkafka's broker for tests and the registry lives in
//! memory: nothing has to be installed, and nothing is left behind.

mod broker;

use std::io::{ErrorKind, Write as _};
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Parser as _;
use clickstream_registry::{MemoryRegistry, PostgresRegistry, Registry};
use clickstream_settings::key_value;
use clickstream_telemetry::{Health, Metrics, init_logs_at, shutdown_signal};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::generate::{Pace, send_dataset};
use crate::kafka::Sender;
use broker::Broker;

/// The demo's own pipeline, so that it meddles with nothing in a real Kafka or PostgreSQL.
const PIPELINE: &str = "demo";
/// Events go here.
const SOURCE_TOPIC: &str = "clickstream-demo-events";
const SOURCE_PARTITIONS: i32 = 2;
/// Matches go here.
const FILTERED_TOPIC: &str = "clickstream-demo";
const LANES: i32 = 4;
/// How long the parts have to end after Ctrl-C; the handler takes the longest, to say goodbye.
const END_LIMIT: Duration = Duration::from_secs(12);
/// How often the handler is asked whether it is ready.
const READY_POLL: Duration = Duration::from_millis(100);

/// What `demo` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Port of the page, on 127.0.0.1; 0 is any free one
    #[arg(long, env = "PORT", hide_env_values = true, default_value_t = 8080)]
    port: u16,
    /// Events per second; 0 is as fast as it can
    #[arg(long, env = "RATE", hide_env_values = true, default_value_t = 200)]
    rate: u32,
    /// Real Kafka brokers, as host:port, comma separated [default: a broker of its own]
    #[arg(long, env = "BROKERS", hide_env_values = true)]
    brokers: Option<String>,
    /// Setting of the Kafka client (librdkafka) for real brokers, as key=value; may be repeated
    #[arg(long, value_name = "KEY=VALUE", env = "KAFKA_CONFIG", hide_env_values = true,
          value_delimiter = '\n', value_parser = key_value)]
    kafka_config: Vec<(String, String)>,
    /// A real PostgreSQL, as postgres://user:password@host/database; tables are made there
    /// [default: a registry in memory]
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
}

/// Runs until Ctrl-C.
///
/// # Errors
/// When the port is taken, Kafka or PostgreSQL cannot be used, or a part fails.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    init_logs_at("warn,librdkafka=error");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let result = runtime.block_on(demo(args));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result.map(|()| ExitCode::SUCCESS)
}

async fn demo(args: Args) -> anyhow::Result<()> {
    let cancel = shutdown_signal().context("listening for signals")?;
    let listener = listen(args.port).await?;
    let url = format!("http://{}", listener.local_addr()?);
    eprintln!("starting at {url}");

    let broker = Broker::start(
        args.brokers.filter(|given| is_given(given)),
        args.kafka_config,
    )?;
    let registry = registry(args.database_url.filter(|given| is_given(given))).await?;
    let sender = Sender::connect(broker.cluster(), SOURCE_TOPIC, Some(SOURCE_PARTITIONS)).await?;

    let mut parts = JoinSet::new();
    let handler = handler_config(&broker)?;
    parts.spawn(clickstream_handler::run(
        handler,
        Arc::clone(&registry),
        listener,
        cancel.clone(),
    ));
    let worker = worker_config(&broker)?;
    parts.spawn(clickstream_worker::run(
        worker,
        registry,
        Health::new(&[]),
        Metrics::new(),
        cancel.clone(),
    ));
    parts.spawn(feed(sender, args.rate, cancel.clone()));

    let served = async {
        wait_until_ready(&url).await?;
        announce(&url, args.rate)?;
        std::future::pending().await
    };
    let outcome = tokio::select! {
        () = cancel.cancelled() => Ok(()),
        failed = served => failed,
        Some(ended) = parts.join_next() => ended.context("a part of the demo").flatten(),
    };
    cancel.cancel();
    let end = async { while parts.join_next().await.is_some() {} };
    if timeout(END_LIMIT, end).await.is_err() {
        eprintln!("not every part has ended in time");
    }
    outcome
}

/// An empty variable, as `make demo BROKERS=` sets it, means that there is none.
fn is_given(value: &str) -> bool {
    !value.is_empty()
}

async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => {
                anyhow!(
                    "port {port} is taken: write `--port {}`, or `--port 0` for a free one",
                    port.checked_add(1).unwrap_or(8080)
                )
            }
            _ => anyhow!(error).context(format!("listening on port {port}")),
        })
}

async fn registry(database_url: Option<String>) -> anyhow::Result<Arc<dyn Registry>> {
    let Some(url) = database_url else {
        return Ok(Arc::new(MemoryRegistry::new(PIPELINE)));
    };
    let registry =
        PostgresRegistry::new(&url, PIPELINE, "clickstream").context("using PostgreSQL")?;
    registry
        .migrate()
        .await
        .context("making the tables in PostgreSQL")?;
    Ok(Arc::new(registry))
}

/// Options that worker and handler have in common.
fn options(program: &str, broker: &Broker) -> Vec<String> {
    let cluster = broker.cluster();
    let mut options = [
        program,
        "--pipeline",
        PIPELINE,
        "--source-topic",
        SOURCE_TOPIC,
        "--filtered-topic",
        FILTERED_TOPIC,
        "--brokers",
        &cluster.brokers,
        // Required, but the registry is made here.
        "--database-url",
        "postgres://",
    ]
    .map(String::from)
    .to_vec();
    for (key, value) in &cluster.settings {
        options.push(format!("--kafka-config={key}={value}"));
    }
    options
}

fn handler_config(broker: &Broker) -> anyhow::Result<clickstream_handler::Config> {
    let options = options("clickstream-handler", broker);
    Ok(clickstream_handler::args::Args::try_parse_from(options)?.config()?)
}

fn worker_config(broker: &Broker) -> anyhow::Result<clickstream_worker::Config> {
    let mut options = options("clickstream-worker", broker);
    if broker.is_real() {
        options.push(format!("--create-filtered-topic={LANES}"));
    }
    Ok(clickstream_worker::args::Args::try_parse_from(options)?.config()?)
}

/// Sends the data set over and over.
async fn feed(sender: Sender, rate: u32, cancel: CancellationToken) -> anyhow::Result<()> {
    let mut pace = Pace::new(rate);
    let mut round = 0;
    while !cancel.is_cancelled() {
        send_dataset(round, &mut pace, &sender, &cancel).await?;
        round += 1;
    }
    Ok(())
}

async fn wait_until_ready(url: &str) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut tries = 0_u32;
    loop {
        let answer = client.get(format!("{url}/readyz")).send().await;
        let answer = answer.context("asking the handler whether it is ready")?;
        if answer.status().is_success() {
            return Ok(());
        }
        tries += 1;
        if tries.is_multiple_of(100) {
            eprintln!(
                "still not ready: {}",
                answer.text().await.unwrap_or_default()
            );
        }
        tokio::time::sleep(READY_POLL).await;
    }
}

fn announce(url: &str, rate: u32) -> std::io::Result<()> {
    let program = std::env::args().next().unwrap_or_default();
    let pace = match rate {
        0 => String::from("as fast as they can"),
        rate => format!("{rate} a second"),
    };
    writeln!(
        std::io::stdout(),
        "
Clickstream runs at {url}

Events of an online shop pass by, {pace}. Open the page, or try in another terminal:

  {program} tail --url {url} --filter 'event.type == \"purchase\"' --count 5

Ctrl-C ends it."
    )
}
