//! Makes a cluster match the ClickstreamPipelines and ClickstreamQueries in it.
//!
//! [`main`] is the program; [`run`] is the same inside a test. What is to be is decided in [`reconcile`], when it is
//! looked at in [`controller`], by which of several operators in [`lease`].

pub mod args;
mod backoff;
mod client;
pub mod controller;
pub mod kafka;
pub mod lease;
pub mod metrics;
pub mod owned;
pub mod reconcile;
pub mod registries;
pub mod scaling;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser as _;
use clickstream_resources::{ClickstreamPipeline, ClickstreamQuery};
use clickstream_telemetry::{Health, Metrics as Telemetry, Waiting};
use kube::api::ListParams;
use kube::runtime::events::{Recorder, Reporter};
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::args::Args;
use crate::metrics::Metrics;
use crate::reconcile::Context;

/// For looks that have begun when the operator ends.
const DRAIN: Duration = Duration::from_secs(20);
/// A watch that was not renewed for so long is dead, whatever its connection says.
const WATCH_DEAD: Duration = Duration::from_secs(3 * client::WATCH_SECONDS as u64);

/// Runs the operator until `cancel`, or until it loses its Lease or a watch: then it ends with an error, to be started
/// again.
///
/// The API server may come later and may go away: `/readyz` says what is waited for.
///
/// # Errors
/// No cluster is named, the Lease was lost, a watch is dead, or the listener fails for good.
pub async fn run(
    args: Args,
    listener: TcpListener,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let health = Health::new(&[Waiting::Kubernetes, Waiting::CustomResources]);
    let telemetry = Telemetry::new();
    let metrics = Metrics::new(&telemetry);
    let stopped = CancellationToken::new();
    let _stop = stopped.clone().drop_guard();
    let served = clickstream_telemetry::serve(listener, health.clone(), telemetry, stopped);
    tokio::spawn(async move {
        if let Err(err) = served.await {
            error!(
                error = format!("{err:#}"),
                "health and metrics are not served any more"
            );
        }
    });
    let client = client::client(args.kubeconfig.as_deref(), metrics.clone()).await?;
    let waited = cancel.run_until_cancelled(wait_for_definitions(&client, &args, &health));
    if waited.await.is_none() {
        return Ok(());
    }
    let identity = identity();
    let scopes = controller::scopes(&args.watch_namespaces);
    let (pipelines, queries) = scopes.iter().map(controller::Scope::stores).unzip();
    let reporter = Reporter {
        controller: "clickstream-operator".to_owned(),
        instance: Some(identity.clone()),
    };
    let leading = CancellationToken::new();
    let ctx = Arc::new(Context {
        leading: leading.clone(),
        filled: scopes.iter().flat_map(controller::Scope::filled).collect(),
        recorder: Recorder::new(client.clone(), reporter),
        client: client.clone(),
        metrics: metrics.clone(),
        backoff: backoff::Backoff::default(),
        registries: registries::Registries::default(),
        admins: kafka::Admins::default(),
        scalers: scaling::Scalers::default(),
        owned: owned::Owned::default(),
        http: http()?,
        pipelines,
        queries,
        image: args.image.clone(),
        told: Mutex::default(),
        tidied: Mutex::default(),
        labels: Mutex::default(),
    });
    let working = CancellationToken::new();
    let _working = working.clone().drop_guard();
    // Whoever stands by watches, too, so that nothing has to be listed when it takes over.
    let mut controllers = tokio::spawn(controller::run(
        scopes,
        ctx,
        args.concurrency,
        working.clone(),
    ));
    let mut candidate = lease::Candidate::new(client, &args.lease_namespace, identity.clone());
    let led = async {
        if args.leader_elect {
            info!(identity, "standing by");
            candidate.acquire().await;
        }
        metrics.set_leader(true);
        leading.cancel();
        if args.leader_elect {
            candidate.hold().await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        () = cancel.cancelled() => Ok(()),
        // At once: somebody else may begin within seconds.
        () = led => {
            controllers.abort();
            bail!("the lease was lost");
        }
        kind = dead_watch(&metrics) => Err(anyhow::anyhow!("the watch of {kind} is dead")),
        _ = &mut controllers => Err(anyhow::anyhow!("the controllers ended")),
    };
    if !leading.is_cancelled() {
        // Looks wait for the Lease, and nothing has begun that could be finished.
        controllers.abort();
        return ended;
    }
    health.drain();
    working.cancel();
    if !controllers.is_finished() && timeout(DRAIN, controllers).await.is_err() {
        warn!("some looks did not end in time");
    }
    metrics.set_leader(false);
    if args.leader_elect {
        candidate.release().await;
    }
    ended
}

/// For the metrics of pods, which are reached directly.
fn http() -> anyhow::Result<reqwest::Client> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(2))
        .build()
        .context("making a client for metrics")
}

/// Waits until the API server answers and knows both kinds.
async fn wait_for_definitions(client: &Client, args: &Args, health: &Health) {
    let namespace = args.watch_namespaces.first();
    loop {
        let one = ListParams::default().limit(1);
        let pipelines: Api<ClickstreamPipeline> = api(client, namespace);
        let queries: Api<ClickstreamQuery> = api(client, namespace);
        let asked = async {
            pipelines.list_metadata(&one).await?;
            queries.list_metadata(&one).await
        };
        match timeout(reconcile::CALL_LIMIT, asked).await {
            Ok(Ok(_)) => {
                health.set_ready(Waiting::Kubernetes);
                health.set_ready(Waiting::CustomResources);
                return;
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
                health.set_ready(Waiting::Kubernetes);
                warn!("the custom resources are not defined: apply `crds/`; waiting");
            }
            Ok(Err(err)) => warn!(
                error = reconcile::chain(&err),
                "the Kubernetes API cannot be used yet"
            ),
            Err(_) => warn!("the Kubernetes API does not answer"),
        }
        sleep(Duration::from_secs(2)).await;
    }
}

fn api<K>(client: &Client, namespace: Option<&String>) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Returns the kind whose watch is not renewed any more while the API server answers other requests.
async fn dead_watch(metrics: &Metrics) -> &'static str {
    loop {
        sleep(Duration::from_secs(30)).await;
        let ages = metrics.watches().ages();
        // While all are old, the API server is away, and starting again would not help.
        let answers = ages
            .iter()
            .any(|(_, age)| *age < WATCH_DEAD.as_secs_f64() / 2.0);
        let dead = ages.iter().find(|(_, age)| *age > WATCH_DEAD.as_secs_f64());
        if let Some((kind, _)) = dead.filter(|_| answers) {
            return kind;
        }
    }
}

/// The pod's name, and something that no other start of it has.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "operator".to_owned());
    format!("{host}_{:08x}", rand::random::<u32>())
}

/// The program: arguments, logs, signals, exit code.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    clickstream_telemetry::init_logs();
    // Two dependencies could bring a provider each; this one is ours.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let outcome = runtime
        .context("starting the runtime")
        .and_then(|runtime| runtime.block_on(serve(args)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            error!(error = format!("{err:#}"), "ending");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let cancel = clickstream_telemetry::shutdown_signal().context("listening for signals")?;
    let listener = clickstream_telemetry::listen(&args.http_addr).await?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        address = %listener.local_addr()?,
        namespaces = args.watch_namespaces.join(","),
        image = args.image,
        leader_elect = args.leader_elect,
        "starting"
    );
    run(args, listener, cancel).await
}
