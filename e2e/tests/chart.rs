//! The Helm chart: every object that its values lead to is accepted by a real API server, by namespaces that admit
//! restricted pods only; wrong values are refused; definitions come, are upgraded, and stay.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clickstream_e2e::{SOON, until};
use clickstream_testkit::kubernetes::Kubernetes;

/// Values for each thing that can be chosen, one by one or in a file.
const VALUES: [(&str, &[&str]); 11] = [
    ("as it comes", &[]),
    (
        "some namespaces",
        &["watchNamespaces={chart-a,chart-b}", "concurrency=2"],
    ),
    ("standbys", &["replicas=3", "log=info\\,kube=debug"]),
    ("no lease", &["leaderElection.enabled=false"]),
    ("definitions from elsewhere", &["crds.enabled=false"]),
    ("definitions that go", &["crds.keep=false"]),
    (
        "rights from elsewhere",
        &[
            "rbac.create=false",
            "rbac.aggregate=false",
            "serviceAccount.create=false",
            "serviceAccount.name=default",
        ],
    ),
    (
        "a pod like others",
        &[
            "image.repository=example.com/a/clickstream",
            "image.digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "imagePullSecrets[0].name=login",
            "podLabels.team=data",
            "podAnnotations.note=new",
            "nodeSelector.disk=fast",
            "tolerations[0].operator=Exists",
            "priorityClassName=system-cluster-critical",
            "serviceAccount.annotations.a=b",
            "fullnameOverride=events",
        ],
    ),
    ("the example of a cluster", &["charts/values/cluster.yaml"]),
    ("the example of a team", &["charts/values/team.yaml"]),
    (
        "monitoring",
        &[
            "monitoring.podMonitor.enabled=true",
            "monitoring.podMonitor.labels.release=prometheus",
            "monitoring.prometheusRule.enabled=true",
            "monitoring.prometheusRule.labels.release=prometheus",
            "monitoring.prometheusRule.lagRecords=5",
            "monitoring.dashboard.enabled=true",
        ],
    ),
];

/// Values that must be refused, and what the refusal names.
const WRONG: [(&str, &str); 14] = [
    ("watchNamespace=a", "watchNamespace"),
    ("watchNamespaces=a", "watchNamespaces"),
    ("watchNamespaces={A}", "watchNamespaces"),
    ("watchNamespaces={a,a}", "watchNamespaces"),
    ("image.name=x", "image"),
    ("image.digest=sha256:12", "digest"),
    ("image.pullPolicy=Sometimes", "pullPolicy"),
    ("replicas=-1", "replicas"),
    ("replicas=many", "replicas"),
    ("concurrency=0", "concurrency"),
    ("crds.install=true", "crds"),
    ("monitoring.podMonitor.interval=often", "interval"),
    ("podLabels.a=1", "podLabels"),
    ("fullnameOverride=Events", "fullnameOverride"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Output and warnings of a command that must succeed.
fn run(command: &mut Command) -> Result<(String, String)> {
    let output = command.output()?;
    let said = String::from_utf8(output.stdout)?;
    let complained = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "{said}{complained}");
    Ok((said, complained))
}

/// Helm with a command and options, the chart, and values.
fn helm(kubernetes: &Kubernetes, args: &[&str], values: &[&str]) -> Result<(String, String)> {
    let mut helm = kubernetes.helm()?;
    helm.args(args).arg(root().join("charts/clickstream"));
    for value in values {
        match value.contains('=') {
            true => helm.args(["--set", value]),
            false => helm.arg("--values").arg(root().join(value)),
        };
    }
    run(&mut helm)
}

fn kubectl(kubernetes: &Kubernetes, args: &[&str]) -> Result<(String, String)> {
    run(kubernetes.kubectl().args(args))
}

#[test]
fn chart_passes_helms_own_checks() -> Result<()> {
    let kubernetes = Kubernetes::shared()?;
    for (name, values) in VALUES {
        helm(kubernetes, &["lint", "--strict"], values).context(name)?;
    }
    Ok(())
}

#[test]
fn every_object_is_accepted_and_every_pod_is_restricted() -> Result<()> {
    let kubernetes = Kubernetes::shared()?;
    kubernetes.apply_monitoring_crds()?;
    let level = "pod-security.kubernetes.io/warn=restricted";
    for namespace in ["chart-a", "chart-b"] {
        kubectl(kubernetes, &["create", "namespace", namespace])?;
        kubectl(kubernetes, &["label", "namespace", namespace, level])?;
    }
    let folder = tempfile::tempdir()?;
    for (number, (name, values)) in VALUES.into_iter().enumerate() {
        let template = ["template", "events", "--namespace", "chart-a"];
        let (text, _) = helm(kubernetes, &template, values).context(name)?;
        let file = folder.path().join(format!("{number}.yaml"));
        std::fs::write(&file, text)?;
        let file = file.display().to_string();
        let apply = ["apply", "--server-side", "--dry-run=server"];
        let apply = [&apply[..], &["--validate=strict", "-f", &file]].concat();
        let (made, warnings) = kubectl(kubernetes, &apply).context(name)?;
        ensure!(made.contains("deployment.apps/"), "{name}: {made}");
        ensure!(warnings.is_empty(), "{name}: {warnings}");
    }
    Ok(())
}

#[test]
fn rights_are_only_where_the_operator_works() -> Result<()> {
    let values = ["charts/values/team.yaml"];
    let (text, _) = helm(Kubernetes::shared()?, &["template", "events"], &values)?;
    ensure!(!text.contains("ClusterRole"), "{text}");
    ensure!(!text.contains('*'), "a right to everything of a kind");
    Ok(())
}

#[test]
fn wrong_values_are_refused_by_name() -> Result<()> {
    let kubernetes = Kubernetes::shared()?;
    let refusal = |values: &[&str]| match helm(kubernetes, &["template", "events"], values) {
        Ok(_) => "nothing".to_owned(),
        Err(err) => err.to_string(),
    };
    for (value, named) in WRONG {
        let said = refusal(&[value]);
        ensure!(said.contains(named), "{value} is refused with: {said}");
    }
    let said = refusal(&["replicas=2", "leaderElection.enabled=false"]);
    ensure!(said.contains("replicas"), "{said}");
    Ok(())
}

#[tokio::test]
async fn definitions_and_objects_outlive_upgrade_and_release() -> Result<()> {
    let kubernetes = Kubernetes::start()?;
    let place = ["--namespace", "ops"];
    let install = [&["install", "events", "--create-namespace"][..], &place].concat();
    helm(&kubernetes, &install, &["replicas=0"])?;
    let established = "--for=condition=Established";
    kubectl(
        &kubernetes,
        &["wait", established, "crd", "--all", "--timeout=60s"],
    )?;
    // As an older release would have left it: without a field and the columns of today.
    let crd = "crd/clickstreamqueries.clickstream.dev";
    let older = r#"[
        {"op": "remove", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/rate"},
        {"op": "remove", "path": "/spec/versions/0/additionalPrinterColumns"}
    ]"#;
    kubectl(&kubernetes, &["patch", crd, "--type=json", "-p", older])?;
    let query = "csq/mobile-purchases";
    let rate = || -> Result<String> {
        Ok(kubectl(&kubernetes, &["get", query, "-o", "jsonpath={.spec.rate}"])?.0)
    };
    until("the older definition is in force", SOON, async || {
        let example = root().join("examples/query.yaml");
        kubernetes.apply(&example, &[])?;
        let unknown = rate()?.is_empty();
        if !unknown {
            kubectl(&kubernetes, &["delete", query])?;
        }
        Ok(unknown)
    })
    .await?;

    let upgrade = [&["upgrade", "events", "--force-conflicts"][..], &place].concat();
    helm(&kubernetes, &upgrade, &["replicas=0", "concurrency=3"])?;
    let (definition, _) = kubectl(&kubernetes, &["get", crd, "-o", "yaml"])?;
    ensure!(
        definition.contains("additionalPrinterColumns"),
        "{definition}"
    );
    until(
        "the older query has the default of what is new",
        SOON,
        async || Ok(rate()? == "100"),
    )
    .await?;
    let faster = r#"{"spec": {"rate": 7}}"#;
    kubectl(&kubernetes, &["patch", query, "--type=merge", "-p", faster])?;
    ensure!(rate()? == "7", "it does not take what is new");

    let uninstall = [&["uninstall", "events"][..], &place].concat();
    run(kubernetes.helm()?.args(uninstall))?;
    kubectl(&kubernetes, &["get", query])?;
    let (left, _) = kubectl(
        &kubernetes,
        &["get", "deploy,sa,role", "-n", "ops", "-o", "name"],
    )?;
    ensure!(!left.contains("clickstream"), "{left}");
    // Whoever installs again takes over what was kept; Helm 4.0 cannot do that by server-side apply.
    let again = [&install[..], &["--server-side=false"]].concat();
    helm(&kubernetes, &again, &["replicas=0"])?;
    Ok(())
}

#[test]
fn versions_are_those_of_the_programs() -> Result<()> {
    let chart = std::fs::read_to_string(root().join("charts/clickstream/Chart.yaml"))?;
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        format!("version: {version}"),
        format!("appVersion: \"{version}\""),
    ] {
        ensure!(chart.lines().any(|found| found == line), "{line}: {chart}");
    }
    Ok(())
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() -> Result<()> {
    let (_, monitoring) = VALUES[VALUES.len() - 1];
    let (text, _) = helm(Kubernetes::shared()?, &["template", "events"], monitoring)?;
    let mut registered = String::new();
    for program in ["worker", "handler", "operator"] {
        registered += &std::fs::read_to_string(root().join(program).join("src/metrics.rs"))?;
    }
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_metric = |word: &&str| {
        let parts = word.split_once('_');
        parts.is_some_and(|(program, _)| ["worker", "handler", "operator"].contains(&program))
    };
    let asked: Vec<_> = words.filter(is_metric).collect();
    ensure!(asked.len() > 20, "{asked:?}");
    for metric in asked {
        let name = metric
            .trim_end_matches("_total")
            .trim_end_matches("_bucket");
        ensure!(
            registered.contains(&format!("\"{name}\"")),
            "there is no `{metric}`"
        );
    }
    let runbooks = std::fs::read_to_string(root().join("docs/operations.md"))?.to_lowercase();
    let anchors = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("runbook: docs/operations.md#"));
    let anchors: Vec<_> = anchors.collect();
    ensure!(
        anchors.len() == text.matches("alert: ").count(),
        "{anchors:?}"
    );
    for anchor in anchors {
        ensure!(
            runbooks.contains(&format!("# {anchor}\n")),
            "no paragraph `{anchor}`"
        );
    }
    Ok(())
}
