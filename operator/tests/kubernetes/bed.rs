//! A namespace of its own for each test, an operator that works in it, and somebody who plays what is missing.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clickstream_registry::{PostgresRegistry, ProcessId};
use clickstream_resources::{ClickstreamPipeline, ClickstreamQuery, PipelineStatus};
use clickstream_testkit::kafka::{Kafka, unique};
use clickstream_testkit::kubernetes::Kubernetes;
use clickstream_testkit::postgres::Postgres;
use clickstream_testkit::process::Program;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Config, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::proxy::Proxy;

/// For anything that should happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

pub(crate) struct Bed {
    pub(crate) kubernetes: &'static Kubernetes,
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) operators: Vec<Program>,
    pub(crate) database: String,
    brokers: String,
    /// Of the operators.
    kubeconfig: PathBuf,
    folder: tempfile::TempDir,
}

impl Bed {
    /// With an operator that works in a new namespace.
    pub(crate) async fn new() -> Bed {
        let mut bed = Bed::without_operator().await;
        let namespaces = bed.namespace.clone();
        bed.start_operator(&["--watch-namespaces", &namespaces])
            .await;
        bed
    }

    pub(crate) async fn without_operator() -> Bed {
        let kubernetes = Kubernetes::shared().unwrap();
        let database = Postgres::shared()
            .await
            .unwrap()
            .create_database()
            .await
            .unwrap();
        Bed::on(kubernetes, Kafka::shared().unwrap().brokers(), database).await
    }

    pub(crate) async fn on(
        kubernetes: &'static Kubernetes,
        brokers: String,
        database: String,
    ) -> Bed {
        kubernetes.apply_crds().unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(kubernetes.kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .unwrap();
        let client = Client::try_from(config).unwrap();
        let bed = Bed {
            kubernetes,
            client,
            namespace: unique("ns"),
            operators: Vec::new(),
            database,
            brokers,
            kubeconfig: kubernetes.kubeconfig(),
            folder: tempfile::tempdir().unwrap(),
        };
        bed.make_namespace(&bed.namespace, json!({})).await;
        bed.put_secret("database", json!({"uri": bed.database}))
            .await;
        bed
    }

    pub(crate) async fn make_namespace(&self, name: &str, labels: Value) {
        let namespace = json!({"metadata": {"name": name, "labels": labels}});
        let namespace: Namespace = serde_json::from_value(namespace).unwrap();
        Api::all(self.client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
    }

    /// What stands between the API server and all operators that are started from now on; the test itself goes past it.
    /// Their test needs a runtime with several threads.
    pub(crate) async fn proxy(&mut self) -> Proxy {
        let direct = std::fs::read_to_string(self.kubernetes.kubeconfig()).unwrap();
        let clusters = Kubeconfig::from_yaml(&direct).unwrap().clusters;
        let server = clusters[0].cluster.as_ref().unwrap().server.as_ref();
        let server = server.unwrap();
        let proxy = Proxy::start(server).await;
        self.kubeconfig = self.folder.path().join("proxied.kubeconfig");
        std::fs::write(&self.kubeconfig, direct.replace(server, &proxy.url())).unwrap();
        proxy
    }

    pub(crate) async fn start_operator(&mut self, more: &[&str]) -> &mut Program {
        let name = format!("operator-{}", self.operators.len());
        let kubeconfig = self.kubeconfig.display().to_string();
        let mut args = vec!["--kubeconfig".to_owned(), kubeconfig];
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        let mut operator =
            Program::start("clickstream-operator", &name, self.folder.path(), &args).unwrap();
        operator.ready(LIMIT).await.unwrap();
        self.operators.push(operator);
        self.operators.last_mut().unwrap()
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) async fn put_secret(&self, name: &str, data: Value) {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
        let params = PatchParams::apply("test").force();
        self.api::<Secret>()
            .patch(name, &params, &Patch::Apply(&secret))
            .await
            .unwrap();
    }

    /// Makes a source topic and a pipeline on it; `changes` go into the spec.
    pub(crate) async fn pipeline(&self, name: &str, changes: Value) -> ClickstreamPipeline {
        let mut spec = json!({
            "kafka": {"bootstrapServers": [self.brokers]},
            "sourceTopics": [{"name": Kafka::shared().unwrap().unique_topic("source", 3).await.unwrap()}],
            "filteredTopic": {"partitions": 4},
            "postgres": {"secretRef": {"name": "database"}},
            "worker": {"replicas": 1},
            "handler": {"replicas": 1},
        });
        for (field, change) in changes.as_object().unwrap() {
            spec[field] = change.clone();
        }
        self.make(name, spec).await
    }

    pub(crate) async fn query(&self, name: &str, changes: Value) -> ClickstreamQuery {
        let mut spec =
            json!({"pipelineRef": {"name": "shop"}, "filter": "event.type == 'purchase'"});
        for (field, change) in changes.as_object().unwrap() {
            spec[field] = change.clone();
        }
        self.make(name, spec).await
    }

    async fn make<K>(&self, name: &str, spec: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Serialize
            + std::fmt::Debug,
    {
        let object = json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": name}, "spec": spec});
        let object = serde_json::from_value(object).unwrap();
        self.api::<K>()
            .create(&PostParams::default(), &object)
            .await
            .unwrap()
    }

    /// Merges into an object.
    pub(crate) async fn patch<K>(&self, name: &str, patch: Value)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        self.api::<K>()
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    /// Has the operator look again.
    pub(crate) async fn touch<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        self.patch::<K>(
            name,
            json!({"metadata": {"annotations": {"touched": unique("at")}}}),
        )
        .await;
    }

    pub(crate) async fn delete<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        self.api::<K>()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    pub(crate) async fn pipeline_status(&self, name: &str) -> PipelineStatus {
        let pipeline = self.api::<ClickstreamPipeline>().get(name).await.unwrap();
        pipeline.status.unwrap()
    }

    /// Waits until the pipeline has the condition, of its present generation; returns its message.
    pub(crate) async fn pipeline_says(
        &self,
        name: &str,
        kind: &str,
        status: &str,
        reason: &str,
    ) -> String {
        self.says::<ClickstreamPipeline>(name, kind, status, reason, |object| {
            object
                .status
                .as_ref()
                .map(|status| status.conditions.clone())
        })
        .await
    }

    /// As [`Bed::pipeline_says`].
    pub(crate) async fn query_says(
        &self,
        name: &str,
        kind: &str,
        status: &str,
        reason: &str,
    ) -> String {
        self.says::<ClickstreamQuery>(name, kind, status, reason, |object| {
            object
                .status
                .as_ref()
                .map(|status| status.conditions.clone())
        })
        .await
    }

    async fn says<K>(
        &self,
        name: &str,
        kind: &str,
        status: &str,
        reason: &str,
        conditions: impl Fn(&K) -> Option<Vec<Condition>>,
    ) -> String
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let mut last = String::new();
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            let object = self.api::<K>().get(name).await;
            if let Ok(object) = object {
                let conditions = conditions(&object).unwrap_or_default();
                let found = conditions.iter().find(|condition| {
                    condition.type_ == kind
                        && condition.status == status
                        && condition.reason == reason
                        && condition.observed_generation == object.meta().generation
                });
                if let Some(found) = found {
                    return found.message.clone();
                }
                last = conditions
                    .iter()
                    .map(|c| format!("{}={} {}: {}\n", c.type_, c.status, c.reason, c.message))
                    .collect();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{name} never says {kind}={status} {reason}, but\n{last}");
    }

    /// Says of every pod that it runs and is ready, as a kubelet would.
    pub(crate) async fn play_kubelet(&self) {
        let pods = self.api::<Pod>();
        for pod in pods.list(&ListParams::default()).await.unwrap() {
            let ready = pod
                .status
                .iter()
                .flat_map(|status| status.conditions.iter().flatten());
            if ready
                .into_iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True")
            {
                continue;
            }
            let status = json!({"status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            }});
            // A pod may be gone meanwhile.
            let _ = pods
                .patch_status(
                    &pod.name_any(),
                    &PatchParams::default(),
                    &Patch::Merge(&status),
                )
                .await;
        }
    }

    /// Plays the kubelet until the pipeline is ready.
    pub(crate) async fn until_ready(&self, name: &str) {
        let end = Instant::now() + LIMIT;
        loop {
            self.play_kubelet().await;
            let pipeline = self.api::<ClickstreamPipeline>().get(name).await.unwrap();
            let conditions = pipeline.status.iter().flat_map(|status| &status.conditions);
            let ready = |condition: &Condition| {
                condition.type_ == "Ready"
                    && condition.status == "True"
                    && condition.observed_generation == pipeline.metadata.generation
            };
            if conditions.clone().any(ready) {
                return;
            }
            let told: Vec<_> = conditions
                .map(|c| format!("{}={} {}: {}", c.type_, c.status, c.reason, c.message))
                .collect();
            assert!(Instant::now() < end, "{}", told.join("\n"));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The registry of a pipeline, for playing workers and handlers.
    pub(crate) fn registry(&self, pipeline: &str) -> PostgresRegistry {
        PostgresRegistry::new(
            &self.database,
            &format!("{}/{pipeline}", self.namespace),
            "test",
        )
        .unwrap()
    }
}

/// Waits until `probe` gives something.
pub(crate) async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A worker that runs all there is.
pub(crate) fn worker(id: ProcessId, revision: u64) -> clickstream_registry::WorkerRow {
    clickstream_registry::WorkerRow {
        id,
        revision,
        lanes: 4,
        partitions: 3,
    }
}
