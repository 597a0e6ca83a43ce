//! Doors for viewers: STOMP, SockJS, SSE, HTTP and the page.
//!
//! [`main`] is the program; [`run`] is the same inside another program or a test. What is live is in [`live`], how
//! viewers reach it in [`doors`] and [`http`].

pub mod args;
pub mod doors;
pub mod http;
pub mod live;
pub mod metrics;

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Parser as _;
use clickstream_engine::FieldPath;
use clickstream_registry::{Category, Registry};
use clickstream_telemetry::{Health, Waiting};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

/// For connections to be told and closed when the handler ends.
const DRAIN: Duration = Duration::from_secs(7);
/// For leaving the registry after that.
const LEAVE: Duration = Duration::from_secs(2);

/// What the handler runs with: [`args::Args`], checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Kafka, and the times of subscriptions.
    pub live: live::Settings,
    /// Names of the source topics, shown to users.
    pub source_topics: Vec<String>,
    /// Where an event says whose it is.
    pub user_field: FieldPath,
    /// Whose pages may connect.
    pub origins: http::origin::Origins,
}

/// What every request handler and every door works with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct State {
    /// Subscriptions.
    pub live: live::Live,
    /// Which pages may connect.
    pub origins: Arc<http::origin::Origins>,
    /// Counters.
    pub metrics: metrics::Metrics,
    /// Cancelled when the handler drains: every subscription has then been sent `ended`, reason `draining`;
    /// a door takes no new connection, sends what waits and closes (WebSocket code 1012).
    pub drain: CancellationToken,
    /// Doors run each connection as a task of this tracker; draining waits for it.
    pub connections: TaskTracker,
}

/// Runs the handler until `cancel`, then drains it, within 10 s.
///
/// Kafka, the database and the filtered topic may come later and may go away: `/readyz` says what is waited for.
///
/// # Errors
/// A Kafka setting that librdkafka does not take; a listener that fails for good.
pub async fn run(
    config: Config,
    registry: Arc<dyn Registry>,
    listener: TcpListener,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let telemetry = clickstream_telemetry::Metrics::new();
    let health = Health::new(&[Waiting::Kafka, Waiting::FilteredTopic, Waiting::Registry]);
    let metrics = metrics::Metrics::new(&telemetry);
    let live = live::Live::start(
        config.live.clone(),
        Arc::clone(&registry),
        metrics.clone(),
        health.clone(),
    )?;
    let state = State {
        live: live.clone(),
        origins: Arc::new(config.origins.clone()),
        metrics,
        drain: CancellationToken::new(),
        connections: TaskTracker::new(),
    };
    let app = http::routes(&state, &config, registry)
        .merge(clickstream_telemetry::routes(health.clone(), telemetry));
    let watching = tokio::spawn(watch_registry(live.clone(), health.clone()));

    let stopping = CancellationToken::new();
    let server = axum::serve(doors::Listener::new(listener), app)
        .with_graceful_shutdown(stopping.clone().cancelled_owned());
    let mut server = tokio::spawn(server.into_future());
    let failed = tokio::select! {
        ended = &mut server => Some(ended),
        () = cancel.cancelled() => None,
    };

    watching.abort();
    health.drain();
    live.drain();
    state.drain.cancel();
    stopping.cancel();
    state.connections.close();
    let closed = async {
        state.connections.wait().await;
        if failed.is_none() {
            let _ = server.await;
        }
    };
    if timeout(DRAIN, closed).await.is_err() {
        warn!(
            connections = state.connections.len(),
            "some connections did not close in time"
        );
    }
    match timeout(LEAVE, live.stop()).await {
        Ok(Ok(())) => info!("left the registry"),
        _ => warn!(
            "the registry could not be left; its other handlers remove this one's queries after the lease"
        ),
    }
    match failed {
        Some(ended) => ended.context("serving")?.context("serving"),
        None => Ok(()),
    }
}

/// Keeps readiness in step with the registry.
async fn watch_registry(live: live::Live, health: Health) {
    let (mut state, mut leased) = (live.state(), live.leased());
    loop {
        let (read, trouble) = {
            let state = state.borrow_and_update();
            (
                state.revision.is_some(),
                state.trouble.filter(|_| !state.connected),
            )
        };
        let set = |need, ready| {
            if ready {
                health.set_ready(need)
            } else {
                health.set_waiting(need)
            }
        };
        set(Waiting::Registry, read && *leased.borrow_and_update());
        set(Waiting::Schema, trouble != Some(Category::SchemaMissing));
        set(
            Waiting::Database,
            trouble.is_none_or(|trouble| trouble == Category::SchemaMissing),
        );
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            changed = leased.changed() => if changed.is_err() { return },
        }
    }
}

/// The program: arguments, logs, signals, exit code.
#[must_use]
pub fn main() -> ExitCode {
    let args = args::Args::parse();
    let config = args.config().unwrap_or_else(|err| err.exit());
    clickstream_telemetry::init_logs();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let outcome = runtime
        .context("starting the runtime")
        .and_then(|runtime| runtime.block_on(serve(args, config)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            error!(error = format!("{err:#}"), "ending");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: args::Args, config: Config) -> anyhow::Result<()> {
    let cancel = clickstream_telemetry::shutdown_signal().context("listening for signals")?;
    let registry = args
        .pipeline
        .registry("clickstream-handler")
        .context("reading --database-url and --pipeline")?;
    let listener = clickstream_telemetry::listen(&args.http_addr).await?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        address = %listener.local_addr()?,
        pipeline = args.pipeline.pipeline,
        filtered_topic = config.live.filtered_topic,
        brokers = args.pipeline.brokers,
        "starting"
    );
    let migrated = args.pipeline.migrate(&registry);
    let handler = run(
        config,
        Arc::clone(&registry) as Arc<dyn Registry>,
        listener,
        cancel.clone(),
    );
    let (_, outcome) = tokio::join!(cancel.run_until_cancelled(migrated), handler);
    outcome
}
