//! Scaling on a real node: what the operator cannot ask for changes nothing; as soon as it can, sockets bring a handler,
//! and the load of `clickstream generate` workers, which leave after it. A viewer sees everything once meanwhile.

use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clickstream_e2e::compare::account_is_complete;
use clickstream_e2e::release::{OPERATIONS, Pod, Release};
use clickstream_e2e::{SOON, dataset, until};
use clickstream_testkit::process::{Process, Signal, built, http};
use clickstream_testkit::viewer::{Door, Log, Viewer};
use serde_json::Value;

/// What the pipeline of the examples has besides.
const SCALING: &str = r#"worker:
    replicas: 1
    resources: {limits: {cpu: 100m}}
    autoscaling: {mode: Auto, min: 1, max: 3, targetUtilization: "0.3", catchUp: 10s, stabilization: 5s, scaleDownDelay: 20s}
  handler:
    replicas: 1
    autoscaling: {mode: Auto, min: 1, max: 3, targetConnections: 5, stabilization: 5s}
  allowedQueries:"#;

/// Connections of viewers: those of two handlers.
const SOCKETS: usize = 8;

/// Events per second that are tried first, and at most.
const RATES: [u32; 2] = [8_000, 128_000];

/// How much of its time a worker needs for the load: well above the target.
const BUSY: f64 = 0.5;

/// Every event matches it.
const FILTER: &str = r#"event.event_id != """#;

/// Looks at the pipeline after which load and sockets would have changed something.
const LOOKS: f64 = 4.0;

/// Events that are shown through a forwarded port.
const SHOWN: usize = 100;

/// Limit for pods to come, and for what waits to be read.
const CHANGE: Duration = Duration::from_secs(180);

/// The port of pods that has their metrics, and all else.
const PORT: u16 = 8080;

const ACTIVE: &str = ".status.conditions[?(@.type=='ScalingActive')].status";
const REASON: &str = ".status.conditions[?(@.type=='ScalingActive')].reason";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_and_load_bring_pods_once_metrics_can_be_had_and_no_viewer_loses_an_event()
-> Result<()> {
    let release = Release::install().await?;
    let brokers = release.brokers();
    let pipeline = [("kafka:9092", &*brokers), ("allowedQueries:", SCALING)];
    release.apply_with("examples/pipeline.yaml", &pipeline)?;
    release.kubectl("wait --for=condition=Ready csp/shop --timeout=180s")?;
    let purchases = r#"event.type == "purchase" && event.platform == "mobile""#;
    let query = [("mobile-purchases", "everything"), (purchases, FILTER)];
    release.apply_with("examples/query.yaml", &query)?;
    release.kubectl("wait --for=condition=Ready csq/everything --timeout=60s")?;

    release.cluster().block_between_pods(PORT)?;
    let rate = rate_for_several_workers(&release).await?;
    let viewers = viewers(&release).await?;
    let everything = &viewers[0];
    let tail = follow(&release).await?;
    let load = release.generate(rate, 0)?;
    what_is_not_known_changes_nothing(&release, everything).await?;
    release.cluster().unblock_between_pods(PORT)?;

    sockets_bring_a_handler(&release)?;
    load_brings_workers(&release).await?;
    some_was_shown_through_a_forwarded_port(tail)?;
    let sent = stopped(load)?;
    account_is_complete(everything, sent.len(), &sent, CHANGE).await?;
    // Not only ready ones, of which there may be few for a moment.
    wait(&release, ".status.worker.desired", "1")?;
    wait(&release, ".status.worker.replicas", "1")?;
    println!("{}", decisions(&release)?);
    Ok(())
}

/// Events per second that are too many for one worker with that little of a processor, whatever the machine; all that were
/// sent to find out have been read and accounted for.
async fn rate_for_several_workers(release: &Release) -> Result<u32> {
    let workers = "--selector=app.kubernetes.io/component=worker";
    let busy = async || metric(release, workers, "worker_busy_seconds_total").await;
    let [mut rate, most] = RATES;
    // Without somebody who watches a worker has little to do.
    let mut watching = viewer(release, "a viewer to try rates with", FILTER).await?;
    let mut sent = 0;
    loop {
        let load = release.generate(rate, 0)?;
        let flow = |log: &Log| log.events.len() > sent;
        watching.until("events to flow", SOON, flow).await?;
        let (before, start) = (busy().await?, Instant::now());
        tokio::time::sleep(Duration::from_secs(5)).await;
        let share = (busy().await? - before) / start.elapsed().as_secs_f64();
        sent += stopped(load)?.len();
        // Whoever comes while a worker has yet to state what it read is told of more than came since.
        let stated = |log: &Log| log.progress("/scanned") == sent as u64;
        watching.until("all to be stated", CHANGE, stated).await?;
        println!("{rate} events a second keep a worker busy for {share:.2} of the time");
        if share > BUSY {
            watching.close().await?;
            return Ok(rate);
        }
        // In small steps: what one worker cannot read is caught up by another without haste.
        rate += rate / 4;
        ensure!(rate <= most, "a worker has time left at any rate");
    }
}

/// One of everything, and others that nothing is for, all at the only handler.
async fn viewers(release: &Release) -> Result<Vec<Viewer>> {
    let mut viewers = Vec::new();
    for number in 0..SOCKETS {
        let filter = if number == 0 { FILTER } else { "false" };
        let name = format!("viewer {number} of `{filter}`");
        viewers.push(viewer(release, &name, filter).await?);
    }
    Ok(viewers)
}

/// One that is live, at the only handler.
async fn viewer(release: &Release, name: &str, filter: &str) -> Result<Viewer> {
    let handlers = release.pods("--selector=app.kubernetes.io/component=handler")?;
    let [handler] = <[Pod; 1]>::try_from(handlers).map_err(|all| anyhow!("handlers: {all:?}"))?;
    let options = [("filter", filter), ("rate", "0")];
    let viewer = Viewer::open(name, &handler.url, Door::Stomp, &options).await?;
    viewer.live(SOON).await?;
    Ok(viewer)
}

/// With load and sockets there, and no pod's metrics to be had.
async fn what_is_not_known_changes_nothing(release: &Release, everything: &Viewer) -> Result<()> {
    let flow = |log: &Log| log.events.len() >= 1_000;
    everything.until("events to flow", CHANGE, flow).await?;
    wait(release, REASON, "MetricsUnavailable")?;
    let before = looks(release).await?;
    let several = "the operator has looked several times";
    until(several, CHANGE, async || {
        Ok(looks(release).await? >= before + LOOKS)
    })
    .await?;
    wait(release, REASON, "MetricsUnavailable")?;
    wait(release, ACTIVE, "False")?;
    let pods = "--selector=app.kubernetes.io/name=clickstream";
    let replicas = format!("get deployments {pods} --output=jsonpath={{.items[*].spec.replicas}}");
    let replicas = release.kubectl(&replicas)?;
    ensure!(replicas == "1 1", "replicas of the two: {replicas}");
    let decided = release.kubectl("get csp/shop --output=jsonpath={.status.scaling}")?;
    ensure!(decided.is_empty(), "decided: {decided}");
    Ok(())
}

fn sockets_bring_a_handler(release: &Release) -> Result<()> {
    wait(release, ACTIVE, "True")?;
    wait(release, ".status.handler.ready", "2")
}

async fn load_brings_workers(release: &Release) -> Result<()> {
    let ready = "get csp/shop --output=jsonpath={.status.worker.ready}";
    let several = async || Ok(release.kubectl(ready)?.parse::<u32>()? > 1);
    until("several workers are ready", CHANGE, several).await?;
    println!("{}", decisions(release)?);
    Ok(())
}

/// Waits until the pipeline has this in its status.
fn wait(release: &Release, path: &str, value: &str) -> Result<()> {
    let limit = CHANGE.as_secs();
    let told = release.kubectl(&format!(
        "wait --for=jsonpath={{{path}}}={value} csp/shop --timeout={limit}s"
    ));
    told.map(drop).with_context(|| {
        let status = release.kubectl("get csp/shop --output=jsonpath={.status}");
        format!("no `{value}` at `{path}` of {}", status.unwrap_or_default())
    })
}

/// What was decided, the last first.
fn decisions(release: &Release) -> Result<String> {
    let each = "{.component}{' '}{.from}{' to '}{.to}{', '}{.reason}{': '}{.inputs}{'\\n'}";
    let mut kubectl = release.kubernetes().kubectl();
    let template = format!("--output=jsonpath={{range .status.scaling[*]}}{each}{{end}}");
    let output = kubectl.args(["get", "csp/shop", &template]).output()?;
    Ok(String::from_utf8(output.stdout)?)
}

/// How often the operators have looked at the pipeline.
async fn looks(release: &Release) -> Result<f64> {
    let operators = format!("--namespace {OPERATIONS}");
    let looks = r#"operator_reconciles_total{kind="ClickstreamPipeline""#;
    metric(release, &operators, looks).await
}

/// The sum of what these pods have in lines of metrics that begin so.
async fn metric(release: &Release, pods: &str, lines: &str) -> Result<f64> {
    let mut sum = 0.0;
    for pod in release.pods(pods)? {
        let metrics = http()?.get(format!("{}/metrics", pod.url)).send().await?;
        let metrics = metrics.error_for_status()?.text().await?;
        for line in metrics.lines().filter(|line| line.starts_with(lines)) {
            let value = line.rsplit(' ').next().unwrap_or_default();
            sum += value.parse::<f64>().with_context(|| line.to_owned())?;
        }
    }
    Ok(sum)
}

/// Starts `kubectl clickstream tail` for the query of everything, as a person types it.
async fn follow(release: &Release) -> Result<Process> {
    let (kubernetes, folder) = (release.kubernetes(), release.folder());
    symlink(built("clickstream")?, folder.join("kubectl-clickstream"))?;
    let kubectl = kubernetes.kubectl().get_program().to_owned();
    let programs = folder.join(&kubectl);
    let programs = programs.parent().context("a program is in a folder")?;
    let mut tail = Command::new(&kubectl);
    tail.args(["clickstream", "tail", "csq/everything"])
        .args(["--count", &SHOWN.to_string(), "--timeout", "180s"])
        .env("PATH", std::env::join_paths([folder, programs])?)
        .env("KUBECONFIG", kubernetes.kubeconfig())
        .env("NO_PROXY", "*");
    let log = folder.join("tail.log");
    let tail = Process::start("`kubectl clickstream tail`", tail, &log)?;
    let live = async || Ok(std::fs::read_to_string(&log)?.contains(r#""status":"live""#));
    until("`kubectl clickstream tail` is live", SOON, live).await?;
    Ok(tail)
}

fn some_was_shown_through_a_forwarded_port(mut tail: Process) -> Result<()> {
    let status = tail.wait(CHANGE)?;
    ensure!(status.success(), "it ends with {}", tail.log_tail(5));
    let lines = std::fs::read_to_string(tail.log())?;
    let lines = lines
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let events = lines.filter(|line: &Value| line["event_id"].is_string());
    let events = events.count();
    ensure!(events == SHOWN, "{events} events of {SHOWN} are shown");
    Ok(())
}

/// Ends it; the events that it has sent.
fn stopped(mut load: Process) -> Result<Vec<String>> {
    load.signal(Signal::Term)?;
    let status = load.wait(SOON)?;
    let said = load.log_tail(1);
    ensure!(status.success(), "`generate`: {said}");
    let said: Value = serde_json::from_str(&said)?;
    let sent = said["acknowledged"].as_u64().context("no number")?;
    let round = dataset::rows()?.len() as u64;
    let id = |n| format!("{}-{}", n / round, n % round);
    Ok((0..sent).map(id).collect())
}
