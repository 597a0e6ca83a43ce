//! From `helm install` to `helm uninstall` on a real node: a pipeline and standing queries by `kubectl apply`, pods that
//! really run and are really lost, and what people see meanwhile.

use std::collections::HashSet;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clickstream_e2e::compare::account_is_complete;
use clickstream_e2e::dataset::{self, Row};
use clickstream_e2e::pipeline::script;
use clickstream_e2e::release::{OPERATIONS, ROLLOUT, Release};
use clickstream_e2e::{SOON, until};
use clickstream_testkit::process::{Process, built, http};
use clickstream_testkit::viewer::{Door, Log, Viewer};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use serde_json::Value;

/// Limit for the data set to be sent, matched and delivered, even while pods come and go.
const WHOLE_SET: Duration = Duration::from_secs(180);

/// Limit for the browser tests of a standing query.
const BROWSER: Duration = Duration::from_secs(180);

/// What `examples/queries/payment-trouble.yaml` asks, and the same choice made by hand.
const STANDING: &str = "default/payment-trouble";
fn is_trouble(row: &Row) -> bool {
    row.kind == "payment_error" || row.kind == "support_chat"
}

/// A viewer's query of its own, which every event matches.
const EVERYTHING: [(&str, &str); 2] = [("filter", r#"event.event_id != """#), ("rate", "0")];

/// Which events of one round of the data set are to be seen.
struct Expected {
    all: Vec<String>,
    trouble: Vec<String>,
}

impl Expected {
    fn new() -> Result<Expected> {
        let rows = dataset::rows()?;
        let ids = |choose: fn(&Row) -> bool| {
            let chosen = rows.iter().filter(|row| choose(row));
            chosen.map(|row| row.event_id.clone()).collect()
        };
        Ok(Expected {
            all: ids(|_| true),
            trouble: ids(is_trouble),
        })
    }

    /// Waits until the viewer's account is complete, and compares.
    async fn seen_by(&self, viewer: &Viewer, events: &[String]) -> Result<()> {
        account_is_complete(viewer, self.all.len(), events, WHOLE_SET).await
    }
}

/// A viewer of everything and one of the standing query at `url`, both live.
async fn viewers(at: &str, url: &str) -> Result<[Viewer; 2]> {
    let names = ["everything", STANDING].map(|what| format!("{what} at {at}"));
    let viewers = [
        Viewer::open(&names[0], url, Door::Stomp, &EVERYTHING).await?,
        Viewer::open(&names[1], url, Door::Sse, &[("query", STANDING)]).await?,
    ];
    for viewer in &viewers {
        viewer.live(SOON).await?;
    }
    Ok(viewers)
}

fn sent(mut sending: Process) -> Result<()> {
    let status = sending.wait(WHOLE_SET)?;
    ensure!(status.success(), "`generate`: {}", sending.log_tail(5));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn release_serves_standing_queries_through_lost_pods_upgrade_and_removal() -> Result<()> {
    let expected = Expected::new()?;
    let release = Release::install().await?;

    let brokers = release.brokers();
    release.apply_with("examples/pipeline.yaml", &[("kafka:9092", &brokers)])?;
    release.kubectl("wait --for=condition=Ready csp/shop --timeout=180s")?;
    let queries = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/queries");
    release.kubernetes().apply(queries.as_ref(), &[])?;
    release.kubectl("wait --for=condition=Ready csq --all --timeout=60s")?;

    page_shows_the_standing_query(&release).await?;
    everybody_sees_exactly_the_matches(&release, &expected).await?;
    sink_has_the_matches_and_nothing_else(&release, &expected).await?;
    lost_pods_lose_nothing(&release, &expected).await?;
    mistakes_are_shown_and_deleted_queries_end(&release).await?;
    upgrade_replaces_the_operator_only(&release).await?;
    pipelines_outlive_the_operator_and_go_when_they_are_deleted(&release, &expected).await
}

async fn page_shows_the_standing_query(release: &Release) -> Result<()> {
    let events = release.generate(200, 0)?;
    let mut browser = Command::new("npm");
    browser
        .args(["run", "--silent", "standing"])
        .env("CI", "true")
        .env("CLICKSTREAM_URL", release.service()?)
        .env("CLICKSTREAM_QUERY", STANDING);
    script(browser, "ui", release.folder(), BROWSER).await?;
    drop(events);
    Ok(())
}

/// At both handlers, over their Service, and by the command line.
async fn everybody_sees_exactly_the_matches(release: &Release, expected: &Expected) -> Result<()> {
    let [one, other] = release.pair("handler", None).await?;
    let viewers = [
        viewers(&one.name, &one.url).await?,
        viewers(&other.name, &other.url).await?,
        viewers("the Service", &release.service()?).await?,
    ];
    let count = expected.trouble.len().to_string();
    let mut tail = Command::new(built("clickstream")?);
    tail.args(["tail", "--url", &release.service()?, "--query", STANDING])
        .args(["--rate", "0", "--count", &count, "--timeout", "180s"]);
    let log = release.folder().join("tail.log");
    let mut tail = Process::start("tail", tail, &log)?;
    let live = async || Ok(std::fs::read_to_string(&log)?.contains(r#""status":"live""#));
    until("`tail` is live", SOON, live).await?;

    sent(release.generate(4_000, 1)?)?;
    for [everything, standing] in &viewers {
        expected.seen_by(everything, &expected.all).await?;
        expected.seen_by(standing, &expected.trouble).await?;
    }
    let status = tail.wait(WHOLE_SET)?;
    ensure!(status.success(), "`tail`: {}", tail.log_tail(5));
    let lines = std::fs::read_to_string(&log)?;
    let lines = lines
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<Vec<Value>, _>>()?;
    let mut shown: Vec<_> = lines
        .iter()
        .filter_map(|line| line["event_id"].as_str())
        .collect();
    let mut wanted: Vec<_> = expected.trouble.iter().map(String::as_str).collect();
    shown.sort_unstable();
    wanted.sort_unstable();
    ensure!(shown == wanted, "`tail` shows {} of {count}", shown.len());
    Ok(())
}

/// In the topic that the standing query names. A match may be there twice, and those of the page's rounds are there, too.
async fn sink_has_the_matches_and_nothing_else(
    release: &Release,
    expected: &Expected,
) -> Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", release.brokers())
        .set("group.id", "sink")
        .set("auto.offset.reset", "earliest")
        .create()?;
    consumer.subscribe(&["payment-trouble"])?;
    // Without the number of the round.
    let line = |id: &str| id.split_once('-').map(|(_, line)| line.to_owned());
    let wanted: HashSet<_> = expected.trouble.iter().map(|id| line(id)).collect();
    let mut found = HashSet::new();
    until("every match is in the topic", SOON, async || {
        while let Some(record) = consumer.poll(Duration::from_millis(20)) {
            let event: Value = serde_json::from_slice(record?.payload().context("no value")?)?;
            let id = event["event_id"].as_str().and_then(line);
            ensure!(wanted.contains(&id), "{event} is no match");
            found.insert(id);
        }
        Ok(found == wanted)
    })
    .await?;
    Ok(())
}

/// A worker and a handler go while events flow; who is at the other handler sees everything once.
async fn lost_pods_lose_nothing(release: &Release, expected: &Expected) -> Result<()> {
    let [worker, _] = release.pair("worker", None).await?;
    let [lost, left] = release.pair("handler", None).await?;
    let [everything, standing] = viewers(&left.name, &left.url).await?;
    let [orphan, _] = viewers(&lost.name, &lost.url).await?;
    let sending = release.generate(2_000, 1)?;
    let some = |log: &Log| log.events.len() > 4_000;
    everything.until("events to flow", WHOLE_SET, some).await?;
    let pods = format!("{} {}", worker.name, lost.name);
    release.kubectl(&format!("delete pods --wait=false {pods}"))?;
    until(
        "the lost handler has let go of its viewer",
        SOON,
        async || Ok(orphan.log().ended.is_some()),
    )
    .await?;
    ensure!(
        everything.log().events.len() < expected.all.len(),
        "the pods were lost after all events"
    );
    sent(sending)?;
    expected.seen_by(&everything, &expected.all).await?;
    expected.seen_by(&standing, &expected.trouble).await?;
    release.pair("worker", Some(&worker)).await?;
    release.pair("handler", Some(&lost)).await?;
    release.kubectl("wait --for=condition=Ready csp/shop --timeout=120s")?;
    Ok(())
}

async fn mistakes_are_shown_and_deleted_queries_end(release: &Release) -> Result<()> {
    let mistake = [("mobile-purchases", "mistake"), ("==", "=")];
    release.apply_with("examples/query.yaml", &mistake)?;
    release.kubectl("wait --for=condition=Accepted=False csq/mistake --timeout=60s")?;
    let described = release.kubectl("describe csq/mistake")?;
    let caret = described.lines().any(|line| line.trim() == "^");
    ensure!(caret && described.contains("InvalidFilter"), "{described}");

    let is_listed = async || {
        let names = release.listed().await?;
        anyhow::Ok(names.iter().any(|name| STANDING.ends_with(name)))
    };
    ensure!(is_listed().await?, "the standing query is not listed");
    release.kubectl("delete csq/payment-trouble csq/mistake")?;
    let left = "the deleted query has left the registry";
    until(left, SOON, async || Ok(!is_listed().await?)).await?;
    Ok(())
}

async fn upgrade_replaces_the_operator_only(release: &Release) -> Result<()> {
    let pipelines = "--selector=app.kubernetes.io/name=clickstream";
    let (operators, former) = (
        format!("--namespace {OPERATIONS}"),
        release.pods(pipelines)?,
    );
    let before = release.pods(&operators)?;
    release.helm("upgrade", "--set concurrency=3")?;
    let deployed = release.kubectl(&format!("get deployment --output=yaml {operators}"))?;
    ensure!(deployed.contains("--concurrency=3"), "{deployed}");

    // Which works: it does what is asked.
    release.kubectl(r#"patch csq/checkout-bug --type=merge -p {"spec":{"suspend":true}}"#)?;
    let suspended = "--for=jsonpath={.status.conditions[?(@.type=='Ready')].reason}=Suspended";
    release.kubectl(&format!("wait {suspended} csq/checkout-bug --timeout=60s"))?;
    ensure!(release.pods(pipelines)? == former, "pods were replaced");
    for pod in release.pods(&operators)? {
        ensure!(!before.contains(&pod), "{} was not replaced", pod.name);
        let metrics = http()?.get(format!("{}/metrics", pod.url)).send().await?;
        let metrics = metrics.error_for_status()?.text().await?;
        ensure!(metrics.contains("operator_leader"), "{metrics}");
        let refused = metrics.lines().find(|line| line.contains(r#"code="403""#));
        ensure!(refused.is_none(), "a right is missing: {refused:?}");
    }
    Ok(())
}

async fn pipelines_outlive_the_operator_and_go_when_they_are_deleted(
    release: &Release,
    expected: &Expected,
) -> Result<()> {
    let [handler, _] = release.pair("handler", None).await?;
    let everything = Viewer::open("everything", &handler.url, Door::Stomp, &EVERYTHING).await?;
    everything.live(SOON).await?;
    release.uninstall()?;
    release.kubectl("get csp/shop csq/checkout-bug")?;
    sent(release.generate(4_000, 1)?)?;
    expected.seen_by(&everything, &expected.all).await?;

    release.kubectl("delete csq --all")?;
    release.kubectl("delete csp --all")?;
    until("nothing of the pipeline is left", ROLLOUT, async || {
        let kinds = "pods,deployments,services,configmaps,serviceaccounts,poddisruptionbudgets";
        let left = release.kubectl(&format!("get {kinds} --output=name"))?;
        Ok(!left.contains("shop"))
    })
    .await
    .context("without an operator")?;
    Ok(())
}
