//! The operator at scale: thousands of queries in a real API server, on one pipeline with a real worker, among pipelines
//! that are suspended.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clickstream_mixes::Mix;
use clickstream_resources::{ClickstreamPipeline, ClickstreamQuery};
use clickstream_testkit::kubernetes::Kubernetes;
use clickstream_testkit::process::Program;
use futures_util::{TryStreamExt as _, pin_mut, stream};
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Config, ResourceExt as _};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Services;

const QUERIES: usize = 10_000;

const PIPELINES: usize = 200;

/// Objects that are being made at any moment.
const AT_ONCE: usize = 16;

/// Of the queries' filters.
const SEED: u64 = 7;

const NAMESPACE: &str = "default";

/// The pipeline of all queries; the others are suspended.
const BUSY: &str = "busy";

const SOURCE: &str = "events";

/// For anything that should happen.
const LIMIT: Duration = Duration::from_secs(900);

/// For how long nothing may be written before it is quiet, and then is looked at.
const QUIET: Duration = Duration::from_secs(60);

/// Ticks of processor time in a second, as Linux tells them to programs.
const TICKS: f64 = 100.0;

/// Requests of the operator, of which writes, its processor time, and what it holds.
#[derive(Clone, Copy, Default)]
struct Cost {
    requests: f64,
    writes: f64,
    processor_seconds: f64,
    resident_mib: f64,
    most_mib: f64,
}

/// What runs, and how it is reached.
struct Bed<'s> {
    services: &'s Services,
    kubernetes: Kubernetes,
    client: Client,
    database: String,
    folder: tempfile::TempDir,
}

/// Prints times, memory and requests.
pub(crate) async fn print(services: &Services) -> Result<()> {
    println!("The operator, {QUERIES} queries on one pipeline of {PIPELINES}, real API server\n");
    println!(
        "| | seconds | of the operator's processor | requests | writes | MiB | most MiB |\n|---|---|---|---|---|---|---|"
    );
    let bed = Bed::start(services).await?;
    let mut operator = bed.operator("first").await?;
    let start = Instant::now();
    bed.make_pipelines().await?;
    bed.pipelines_are_settled().await?;
    let pipelines = cost(&mut operator).await?;
    row(
        &format!("{PIPELINES} pipelines, from the first apply until all are settled"),
        start.elapsed(),
        pipelines,
        None,
    );
    let worker = bed.worker().await?;

    let start = Instant::now();
    let (programmed, made) = tokio::try_join!(bed.all_are_programmed(), async {
        bed.make_queries().await?;
        Ok(start.elapsed())
    })?;
    let queries = cost(&mut operator).await?;
    println!(
        "| {QUERIES} queries, until the last apply | {:.1} | | | | | |",
        made.as_secs_f64()
    );
    let took = programmed - start;
    row(
        "from the first apply until all are `Programmed`",
        took,
        queries,
        Some(pipelines),
    );
    println!(
        "| from the last apply | {:.1} | | | | | |",
        took.saturating_sub(made).as_secs_f64()
    );

    quiet(&mut operator, "a quiet minute").await?;

    operator.stop(LIMIT)?;
    let start = Instant::now();
    let mut operator = bed.operator("second").await?;
    let looks = r#"kind="ClickstreamQuery",result="ok""#;
    while operator.metric("operator_reconciles_total", looks).await? < QUERIES as f64 {
        ensure!(start.elapsed() < LIMIT, "not every query is looked at");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let again = cost(&mut operator).await?;
    row(
        "started again, until every query was looked at",
        start.elapsed(),
        again,
        None,
    );
    quiet(&mut operator, "a quiet minute after it").await?;
    operator.stop(LIMIT)?;
    drop(worker);
    println!();
    Ok(())
}

/// Prints a row; with `before` only what came since.
fn row(what: &str, took: Duration, cost: Cost, before: Option<Cost>) {
    let before = before.unwrap_or_default();
    println!(
        "| {what} | {:.1} | {:.1} | {:.0} | {:.0} | {:.0} | {:.0} |",
        took.as_secs_f64(),
        cost.processor_seconds - before.processor_seconds,
        cost.requests - before.requests,
        cost.writes - before.writes,
        cost.resident_mib,
        cost.most_mib,
    );
}

/// Waits until nothing is written for [`QUIET`], and prints what that time costs.
async fn quiet(operator: &mut Program, what: &str) -> Result<()> {
    let end = Instant::now() + LIMIT;
    loop {
        let before = cost(operator).await?;
        tokio::time::sleep(QUIET).await;
        let after = cost(operator).await?;
        if after.writes <= before.writes {
            row(what, QUIET, after, Some(before));
            return Ok(());
        }
        row("(not quiet yet)", QUIET, after, Some(before));
        ensure!(Instant::now() < end, "it never rests");
    }
}

/// All requests but those for the Lease.
async fn cost(operator: &mut Program) -> Result<Cost> {
    const REQUESTS: &str = "operator_kube_requests_total";
    let (mut requests, mut writes) = (operator.metric(REQUESTS, "").await?, 0.0);
    for verb in ["get", "create", "update", "patch", "delete"] {
        let lease = format!(r#"verb="{verb}",kind="leases""#);
        let of_lease = operator.metric(REQUESTS, &lease).await?;
        requests -= of_lease;
        if verb != "get" {
            writes += operator
                .metric(REQUESTS, &format!(r#"verb="{verb}""#))
                .await?
                - of_lease;
        }
    }
    let of = format!("/proc/{}", operator.process().id());
    let status = std::fs::read_to_string(format!("{of}/status"))?;
    let times = std::fs::read_to_string(format!("{of}/stat"))?;
    // Time in user space and in the kernel, counted from behind the program's name, which may have spaces.
    let times = times.rsplit(')').next().unwrap_or_default();
    let times = times.split_whitespace().skip(11).take(2);
    let ticks: f64 = times.filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    let mib = |field: &str| {
        let line = status.lines().find(|line| line.starts_with(field));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        kib.map(|kib| kib / 1024.0)
            .with_context(|| format!("no `{field}`"))
    };
    Ok(Cost {
        requests,
        writes,
        processor_seconds: ticks / TICKS,
        resident_mib: mib("VmRSS:")?,
        most_mib: mib("VmHWM:")?,
    })
}

impl Bed<'_> {
    async fn start(services: &Services) -> Result<Bed<'_>> {
        let kubernetes = tokio::task::spawn_blocking(Kubernetes::start).await??;
        kubernetes.apply_crds()?;
        // Two dependencies could bring a provider each.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let read = Kubeconfig::read_from(kubernetes.kubeconfig())?;
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
        let bed = Bed {
            services,
            client: Client::try_from(config)?,
            kubernetes,
            database: services.postgres.create_database().await?,
            folder: tempfile::tempdir()?,
        };
        services.kafka.create_topic(SOURCE, 8).await?;
        bed.make::<k8s_openapi::api::core::v1::Secret>(json!({
            "metadata": {"name": "database"},
            "stringData": {"uri": bed.database},
        }))
        .await?;
        Ok(bed)
    }

    async fn operator(&self, name: &str) -> Result<Program> {
        let kubeconfig = self.kubernetes.kubeconfig().display().to_string();
        let args = ["--kubeconfig", &kubeconfig, "--leader-elect"].map(str::to_owned);
        let mut operator = Program::start("clickstream-operator", name, self.path(), &args)?;
        operator.ready(LIMIT).await?;
        Ok(operator)
    }

    /// As the operator would start it in a pod.
    async fn worker(&self) -> Result<Program> {
        let args = [
            ("--brokers", self.services.kafka.brokers()),
            ("--source-topic", SOURCE.to_owned()),
            ("--pipeline", format!("{NAMESPACE}/{BUSY}")),
            ("--database-url", self.database.clone()),
        ];
        let args = args
            .into_iter()
            .flat_map(|(flag, value)| [flag.to_owned(), value]);
        let args: Vec<String> = args.collect();
        let mut worker = Program::start("clickstream-worker", "worker", self.path(), &args)?;
        worker.ready(LIMIT).await?;
        Ok(worker)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    async fn make<K>(&self, object: Value) -> Result<()>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + serde::de::DeserializeOwned
            + Serialize
            + std::fmt::Debug,
    {
        let object: K = serde_json::from_value(object)?;
        let api = Api::<K>::namespaced(self.client.clone(), NAMESPACE);
        api.create(&PostParams::default(), &object).await?;
        Ok(())
    }

    async fn make_pipelines(&self) -> Result<()> {
        let all =
            stream::iter((0..PIPELINES).map(Ok)).try_for_each_concurrent(AT_ONCE, async |n| {
                let (name, suspend) = match n {
                    0 => (BUSY.to_owned(), false),
                    n => (format!("idle-{n}"), true),
                };
                let pipeline = json!({
                    "apiVersion": "clickstream.dev/v1alpha1",
                    "kind": "ClickstreamPipeline",
                    "metadata": {"name": name},
                    "spec": {
                        "kafka": {"bootstrapServers": [self.services.kafka.brokers()]},
                        "sourceTopics": [{"name": SOURCE}],
                        "filteredTopic": {"partitions": if suspend { 1 } else { 4 }},
                        "postgres": {"secretRef": {"name": "database"}},
                        "suspend": suspend,
                    },
                });
                self.make::<ClickstreamPipeline>(pipeline).await
            });
        all.await
    }

    async fn make_queries(&self) -> Result<()> {
        let filters = (0..).zip(Mix::S.filters(SEED, QUERIES)).map(Ok);
        let all = stream::iter(filters).try_for_each_concurrent(AT_ONCE, async |(n, filter)| {
            let query = json!({
                "apiVersion": "clickstream.dev/v1alpha1",
                "kind": "ClickstreamQuery",
                "metadata": {"name": format!("query-{n}")},
                "spec": {"pipelineRef": {"name": BUSY}, "filter": filter},
            });
            self.make::<ClickstreamQuery>(query).await
        });
        all.await
    }

    /// Until all but the busy one are ready, and that one has its topics and tables: no node runs its pods.
    async fn pipelines_are_settled(&self) -> Result<()> {
        let api = Api::<ClickstreamPipeline>::all(self.client.clone());
        until(api, PIPELINES, |pipeline: &ClickstreamPipeline| {
            let wanted = if pipeline.spec.suspend {
                "Ready"
            } else {
                "SchemaReady"
            };
            let said = pipeline.status.iter().flat_map(|status| &status.conditions);
            said.into_iter()
                .any(|said| said.type_ == wanted && said.status == "True")
        })
        .await?;
        Ok(())
    }

    async fn all_are_programmed(&self) -> Result<Instant> {
        let api = Api::<ClickstreamQuery>::all(self.client.clone());
        until(api, QUERIES, |query: &ClickstreamQuery| {
            let said = query.status.iter().flat_map(|status| &status.conditions);
            said.into_iter()
                .any(|said| said.type_ == "Programmed" && said.status == "True")
        })
        .await
    }
}

/// Watches until `count` objects are as wanted at once; answers when that was.
async fn until<K>(api: Api<K>, count: usize, wanted: impl Fn(&K) -> bool) -> Result<Instant>
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let told = watcher(api, watcher::Config::default())
        .default_backoff()
        .applied_objects();
    pin_mut!(told);
    let mut are = HashSet::new();
    let watched = async {
        while let Some(object) = told.try_next().await? {
            let name = object.name_any();
            if wanted(&object) {
                are.insert(name);
            } else {
                are.remove(&name);
            }
            if are.len() == count {
                return Ok(Instant::now());
            }
        }
        anyhow::bail!("the watch ended")
    };
    let limited = tokio::time::timeout(LIMIT, watched).await;
    limited.with_context(|| format!("not all of {count} are as wanted within {LIMIT:?}"))?
}
