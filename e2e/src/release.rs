//! A release of the Helm chart on a real node, with the Kafka and the PostgreSQL that its pipeline uses.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clickstream_testkit::kafka::Kafka;
use clickstream_testkit::kubernetes::{Cluster, Kubernetes};
use clickstream_testkit::postgres::Postgres;
use clickstream_testkit::process::{Process, built, http};
use serde_json::Value;
use tempfile::TempDir;

use crate::until;

/// Limit for pods to be scheduled, started and ready.
pub const ROLLOUT: Duration = Duration::from_secs(180);

/// The namespace of the operator.
pub const OPERATIONS: &str = "operations";

/// The release `events` and what it talks to. Dropping it removes all of it.
#[derive(Debug)]
pub struct Release {
    // Dropped in this order: pods end before what they talk to.
    cluster: Cluster,
    kafka: Kafka,
    _postgres: Postgres,
    folder: TempDir,
}

/// A pod that is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// `http://HOST:PORT` of its program, which this machine reaches.
    pub url: String,
}

impl Release {
    /// Starts a node with the image of the built programs, a broker with the topic `events` of eight partitions, and a
    /// database that the Secret `clickstream-db` names, and installs the chart. Namespaces admit restricted pods only.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn install() -> Result<Release> {
        let cluster = Cluster::start()?;
        let kafka = Kafka::start_on(cluster.host())?;
        kafka.create_topic("events", 8).await?;
        let postgres = Postgres::start_on(cluster.host()).await?;
        let database = postgres.create_database().await?;
        let release = Release {
            cluster,
            kafka,
            _postgres: postgres,
            folder: tempfile::tempdir()?,
        };
        release.cluster.load(&release.image()?)?;
        release.kubectl(&format!("create namespace {OPERATIONS}"))?;
        release.kubectl(&format!(
            "label namespace default {OPERATIONS} pod-security.kubernetes.io/enforce=restricted"
        ))?;
        release.kubectl(&format!(
            "create secret generic clickstream-db --from-literal=uri={database}"
        ))?;
        release.helm("install", "")?;
        Ok(release)
    }

    /// Installs or upgrades the chart with two operators and more `options`, and waits for its rollout.
    ///
    /// # Errors
    /// When Helm refuses, or the operators do not become ready.
    pub fn helm(&self, verb: &str, options: &str) -> Result<()> {
        let mut helm = self.kubernetes().helm()?;
        helm.args([verb, "events"])
            .arg(repository("charts/clickstream"))
            .args(["--namespace", OPERATIONS, "--set", "replicas=2"])
            .args(options.split_whitespace());
        run(&mut helm)?;
        self.kubectl(&format!(
            "rollout status deployment --namespace {OPERATIONS} --timeout=180s"
        ))?;
        Ok(())
    }

    /// Removes the release and waits until its pods are gone.
    ///
    /// # Errors
    /// When Helm refuses.
    pub fn uninstall(&self) -> Result<()> {
        let mut helm = self.kubernetes().helm()?;
        run(helm.args(["uninstall", "events", "--wait", "--namespace", OPERATIONS]))?;
        self.kubectl(&format!(
            "wait --for=delete pods --all --namespace {OPERATIONS} --timeout=120s"
        ))?;
        Ok(())
    }

    /// kubectl with `args`, separated by spaces; returns what it says.
    ///
    /// # Errors
    /// When it fails, with what it says.
    pub fn kubectl(&self, args: &str) -> Result<String> {
        run(self.kubernetes().kubectl().args(args.split_whitespace()))
    }

    /// Applies a file or folder of this repository, every `from` in it replaced by `to`.
    ///
    /// # Errors
    /// When there is none to replace, or the API server refuses.
    pub fn apply_with(&self, path: &str, changes: &[(&str, &str)]) -> Result<()> {
        let mut text = std::fs::read_to_string(repository(path))?;
        for (from, to) in changes {
            ensure!(text.contains(from), "no `{from}` in `{path}`");
            text = text.replace(from, to);
        }
        let file = self.folder.path().join("applied.yaml");
        std::fs::write(&file, text)?;
        self.kubernetes().apply(&file, &[]).map(drop)
    }

    /// Its control plane.
    #[must_use]
    pub fn kubernetes(&self) -> &Kubernetes {
        self.cluster.kubernetes()
    }

    /// Its node.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Where its brokers are, for pods and for this machine.
    #[must_use]
    pub fn brokers(&self) -> String {
        self.kafka.brokers()
    }

    /// A folder for what the test writes.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The ready pods that `selector` (kubectl's options) finds, and that are not being deleted.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub fn pods(&self, selector: &str) -> Result<Vec<Pod>> {
        let found = self.kubectl(&format!("get pods --output=json {selector}"))?;
        let found: Value = serde_json::from_str(&found)?;
        let pods = found["items"].as_array().into_iter().flatten();
        let ready = pods.filter(|pod| {
            let conditions = pod["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            pod["metadata"]["deletionTimestamp"].is_null()
                && conditions.any(|is| is["type"] == "Ready" && is["status"] == "True")
        });
        ready
            .map(|pod| {
                let name = pod["metadata"]["name"].as_str().context("no name")?;
                let address = pod["status"]["podIP"].as_str().context("no address")?;
                Ok(Pod {
                    name: name.to_owned(),
                    url: format!("http://{address}:8080"),
                })
            })
            .collect()
    }

    /// Waits until two pods of the `component` are ready, none of them `gone`.
    ///
    /// # Errors
    /// When they are not within [`ROLLOUT`].
    pub async fn pair(&self, component: &str, gone: Option<&Pod>) -> Result<[Pod; 2]> {
        let selector = format!("--selector=app.kubernetes.io/component={component}");
        let mut pair = None;
        until(
            &format!("two {component} pods are ready"),
            ROLLOUT,
            async || {
                let pods = self.pods(&selector)?;
                pair = <[Pod; 2]>::try_from(pods).ok();
                let settled = |pair: &[Pod; 2]| !pair.iter().any(|pod| Some(pod) == gone);
                Ok(pair.as_ref().is_some_and(settled))
            },
        )
        .await?;
        pair.context("there is no pair")
    }

    /// `http://HOST` of the Service of the pipeline `shop`'s handlers.
    ///
    /// # Errors
    /// When there is none.
    pub fn service(&self) -> Result<String> {
        let address =
            self.kubectl("get service shop-handler --output=jsonpath={.spec.clusterIP}")?;
        Ok(format!("http://{address}"))
    }

    /// Starts to send the data set `rounds` times, 0 for over and over, at `rate` events per second.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn generate(&self, rate: u32, rounds: u32) -> Result<Process> {
        let mut command = Command::new(built("clickstream")?);
        command
            .args([
                "generate",
                "--topic",
                "events",
                "--brokers",
                &self.brokers(),
            ])
            .args(["--rate", &rate.to_string(), "--rounds", &rounds.to_string()]);
        Process::start("generate", command, &self.folder().join("generate.log"))
    }

    /// Names of the standing queries that handlers find in the registry.
    ///
    /// # Errors
    /// When no handler answers.
    pub async fn listed(&self) -> Result<Vec<String>> {
        let url = format!("{}/api/v1/queries", self.service()?);
        let answer = http()?.get(url).send().await?.error_for_status()?;
        let answer: Value = answer.json().await?;
        let items = answer["items"].as_array().context("no `items`")?;
        let names = items.iter().filter_map(|item| item["name"].as_str());
        Ok(names.map(str::to_owned).collect())
    }

    /// What `make images` makes, of the programs that the tests were built with.
    fn image(&self) -> Result<PathBuf> {
        let program = built("clickstream-operator")?;
        let programs = program.parent().context("a program is in a folder")?;
        let [root, archive] = ["image", "image.tar"].map(|name| self.folder().join(name));
        run(Command::new(repository("image/rootfs"))
            .arg(programs)
            .arg(&root))?;
        run(Command::new(repository("image/archive"))
            .arg(concat!(
                "docker.io/library/clickstream:",
                env!("CARGO_PKG_VERSION")
            ))
            .args([&root, &archive])
            .arg("clickstream"))?;
        Ok(archive)
    }
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(
        output.status.success(),
        "{}: {said}{}",
        command.get_program().display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said)
}
