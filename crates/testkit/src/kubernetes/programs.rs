//! Kubernetes, CoreDNS and Helm as programs, and definitions of others: by Go once, which takes minutes, and kept in
//! `${XDG_CACHE_HOME:-$HOME/.cache}/clickstream/`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::kafka::{cache, require};

/// As in `testbed/kubernetes/go.mod`.
const KUBERNETES: (&str, &str) = ("1.34", "1.34.2");
const COREDNS: &str = "1.12.4";
const HELM: &str = "4.0.0";
const MONITORING: &str = "0.79.2";
const MONITORING_KINDS: [&str; 2] = ["podmonitors", "prometheusrules"];

/// What the one program of Kubernetes is called by, and so is.
const COMPONENTS: [&str; 7] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
];

/// The folder of the programs of Kubernetes: etcd, kubectl and all components.
pub(super) fn kubernetes() -> Result<PathBuf> {
    let source = source();
    let mut hash = DefaultHasher::new();
    for file in ["main.go", "go.mod", "go.sum"] {
        std::fs::read(source.join(file))?.hash(&mut hash);
    }
    let (minor, version) = KUBERNETES;
    kept(
        &format!("kubernetes-{version}-{:016x}", hash.finish()),
        |folder| {
            let base = "k8s.io/component-base/version";
            let minor = minor.trim_start_matches("1.");
            go(Command::new("go")
            .args(["build", "-trimpath", "-buildvcs=false"])
            .arg(format!(
                "-ldflags=-s -w -X {base}.gitVersion=v{version} -X {base}.gitMajor=1 -X {base}.gitMinor={minor}"
            ))
            .arg("-o")
            .arg(folder.join("kube"))
            .arg(".")
            .current_dir(&source))?;
            for component in COMPONENTS {
                std::os::unix::fs::symlink("kube", folder.join(component))?;
            }
            Ok(())
        },
    )
}

/// The program CoreDNS.
pub(super) fn coredns() -> Result<PathBuf> {
    let folder = kept(&format!("coredns-{COREDNS}"), |folder| {
        go(Command::new("go")
            .args(["install", "-trimpath", "-ldflags=-s -w"])
            .arg(format!("github.com/coredns/coredns@v{COREDNS}"))
            .env("GOBIN", folder))
        .map(drop)
    })?;
    Ok(folder.join("coredns"))
}

/// The program Helm.
pub(super) fn helm() -> Result<PathBuf> {
    let (minor, _) = KUBERNETES;
    let folder = kept(&format!("helm-{HELM}-for-{minor}"), |folder| {
        let minor = minor.trim_start_matches("1.");
        // Without them it renders and lints for a Kubernetes of years ago.
        let variables = ["pkg/chart/common", "pkg/chart/v2/lint/rules"].map(|package| {
            let package = format!("helm.sh/helm/v4/{package}");
            format!("-X {package}.k8sVersionMajor=1 -X {package}.k8sVersionMinor={minor}")
        });
        go(Command::new("go")
            .args(["install", "-trimpath"])
            .arg(format!("-ldflags=-s -w {}", variables.join(" ")))
            .arg(format!("helm.sh/helm/v4/cmd/helm@v{HELM}"))
            .env("GOBIN", folder))
        .map(drop)
    })?;
    Ok(folder.join("helm"))
}

/// Definitions of the Prometheus Operator's kinds PodMonitor and PrometheusRule, as files.
pub(super) fn monitoring() -> Result<[PathBuf; 2]> {
    let folder = kept(&format!("prometheus-operator-{MONITORING}"), |folder| {
        let module = format!("github.com/prometheus-operator/prometheus-operator@v{MONITORING}");
        let said = go(Command::new("go").args(["mod", "download", "-json", &module]))?;
        let said: serde_json::Value = serde_json::from_slice(&said)?;
        let module = said["Dir"].as_str().context("`go` does not say where")?;
        for kind in MONITORING_KINDS {
            let from = Path::new(module).join("example/prometheus-operator-crd");
            let bytes = std::fs::read(from.join(format!("monitoring.coreos.com_{kind}.yaml")))?;
            std::fs::write(folder.join(format!("{kind}.yaml")), bytes)?;
        }
        Ok(())
    })?;
    Ok(MONITORING_KINDS.map(|kind| folder.join(format!("{kind}.yaml"))))
}

/// Where this repository has what is ours of a test cluster.
pub(super) fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testbed/kubernetes")
}

/// The folder `name` among what is kept; `build` fills it when it is not there.
fn kept(name: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = cache()?;
    let folder = cache.join(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    require("go", "apt-get install -y golang-go, or see https://go.dev")?;
    eprintln!("building `{}` once: this takes minutes", folder.display());
    std::fs::create_dir_all(&cache)?;
    let fresh = tempfile::tempdir_in(&cache)?;
    build(fresh.path())?;
    // Another test process may have been quicker; its programs are the same.
    let fresh = fresh.keep();
    if std::fs::rename(&fresh, &folder).is_err() {
        ensure!(
            folder.is_dir(),
            "cannot move the programs to `{}`",
            folder.display()
        );
        std::fs::remove_dir_all(&fresh)?;
    }
    Ok(folder)
}

/// Runs Go and returns what it prints.
fn go(command: &mut Command) -> Result<Vec<u8>> {
    let built = command
        .env("CGO_ENABLED", "0")
        .output()
        .context("cannot run `go`")?;
    ensure!(
        built.status.success(),
        "Go cannot build: {}{}",
        String::from_utf8_lossy(&built.stdout),
        String::from_utf8_lossy(&built.stderr)
    );
    Ok(built.stdout)
}
