//! ClickstreamPipeline: what the platform team writes, and what the operator answers.

mod exposure;
mod kafka;
mod pods;
mod scaling;
mod status;

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Resources;

pub use self::exposure::{Exposure, GatewayExposure, IngressExposure, NetworkAccess, ParentRef};
pub use self::kafka::{
    Auth, FilteredTopic, Kafka, KeyRef, Management, Mtls, Plain, ReclaimPolicy, Scram,
    ScramMechanism, SecretRef, SourceTopic, Tls,
};
pub use self::pods::{
    PodOverrides, Spread, TaintEffect, Toleration, TolerationOperator, WhenUnsatisfiable,
};
pub use self::scaling::{HandlerScaling, ScalingMode, WorkerScaling};
pub use self::status::{
    Decision, HandlerStatus, KafkaStatus, Phase, PipelineStatus, PostgresStatus, QueriesStatus,
    WorkerStatus,
};

/// A stream of events that people can query: its topics, its database, its workers and its handlers.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "clickstream.dev",
    version = "v1alpha1",
    kind = "ClickstreamPipeline",
    plural = "clickstreampipelines",
    shortname = "csp",
    category = "clickstream",
    namespaced,
    derive = "PartialEq",
    status = "PipelineStatus",
    doc = "A stream of events that people can query: source topics, the topic of matches, the registry of queries, workers and handlers.",
    scale(
        spec_replicas_path = ".spec.worker.replicas",
        status_replicas_path = ".status.worker.replicas",
        label_selector_path = ".status.worker.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Workers", type_ = "integer", json_path = ".status.worker.ready", description = "Workers that are ready"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".status.worker.desired", description = "Workers that there should be"),
    printcolumn(name = "Handlers", type_ = "integer", json_path = ".status.handler.ready", description = "Handlers that are ready"),
    printcolumn(name = "Queries", type_ = "integer", json_path = ".status.queries.total"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Schema", type_ = "integer", json_path = ".status.postgres.schemaVersion", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && self.metadata.name.size() <= 48").message("a pipeline's name is 1 to 48 lower case letters, digits and `-`, and begins with a letter: Services are named after it").reason(Reason::FieldValueInvalid)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("!has(self.filteredTopic.name) || !self.sourceTopics.exists(topic, topic.name == self.filteredTopic.name)", "the filtered topic must not be a source topic: matches would be matched again")
)]
pub struct ClickstreamPipelineSpec {
    /// Observe and report, change nothing: neither topics nor tables nor anything in the cluster. Queries come and go as
    /// before.
    #[serde(default)]
    pub paused: bool,
    /// Run no workers and no handlers, and keep everything else.
    #[serde(default)]
    pub suspend: bool,
    /// How to reach Kafka.
    pub kafka: Kafka,
    /// The topics that hold the events, as JSON objects. They must exist; they are never created, altered or deleted.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub source_topics: Vec<SourceTopic>,
    /// The topic through which matches reach the handlers.
    #[serde(default)]
    pub filtered_topic: FilteredTopic,
    /// The database that holds the queries.
    pub postgres: Postgres,
    /// The field that holds an event's type: a dotted path.
    #[serde(default = "event_type_field")]
    #[schemars(length(min = 1, max = 255))]
    pub event_type_field: String,
    /// The field that says whose event it is: a dotted path.
    #[serde(default = "user_field")]
    #[schemars(length(min = 1, max = 255))]
    pub user_field: String,
    /// Fields that nobody may see, as dotted paths: removed before filters and viewers get an event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 255)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub masked_fields: Vec<String>,
    /// The programs that read the source topics and match.
    #[serde(default)]
    pub worker: Worker,
    /// The programs that people connect to.
    #[serde(default)]
    pub handler: Handler,
    /// Whose ClickstreamQueries may name this pipeline.
    #[serde(default)]
    pub allowed_queries: AllowedQueries,
    /// Who may open connections to workers and handlers. Without it the operator makes no NetworkPolicy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkAccess>,
    /// What the pods of workers and handlers have besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template_overrides: Option<PodOverrides>,
}

fn event_type_field() -> String {
    "type".to_owned()
}

fn user_field() -> String {
    "user_id".to_owned()
}

/// How to reach the database.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Postgres {
    /// A Secret of this namespace with the address: postgres://USER:PASSWORD@HOST/DATABASE.
    pub secret_ref: UriRef,
    /// An address past a connection pooler, for migrations; without it they use `secretRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct_secret_ref: Option<UriRef>,
    /// Who brings the tables up to date.
    #[serde(default)]
    pub migrations: Migrations,
}

/// An address in a Secret.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UriRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key that holds the address.
    #[serde(default = "uri")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

fn uri() -> String {
    "uri".to_owned()
}

/// Who brings the tables up to date.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum Migrations {
    /// The operator, before it rolls out workers and handlers, under a lock.
    #[default]
    Auto,
    /// Somebody else; workers and handlers are rolled out once the tables are there. The operator only reads.
    Validate,
    /// Somebody else; the operator does not look at the tables. In quotes: kubectl reads a bare Off as false.
    Off,
}

/// The workers.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Worker {
    /// How many. More than the source topics have partitions have nothing to do. `kubectl scale` and an autoscaler
    /// write this field.
    #[serde(default = "two")]
    #[schemars(range(min = 0, max = 1024))]
    pub replicas: i32,
    /// What each asks for and may use.
    #[serde(default = "worker_resources")]
    pub resources: Resources,
    /// Who decides how many there are, and how. Unless that is `Off` or `Advise`, `replicas` is only the first number.
    #[serde(default)]
    pub autoscaling: WorkerScaling,
}

impl Default for Worker {
    fn default() -> Self {
        Worker {
            replicas: two(),
            resources: worker_resources(),
            autoscaling: WorkerScaling::default(),
        }
    }
}

/// The handlers.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Handler {
    /// How many.
    #[serde(default = "two")]
    #[schemars(range(min = 0, max = 1024))]
    pub replicas: i32,
    /// What each asks for and may use.
    #[serde(default = "handler_resources")]
    pub resources: Resources,
    /// Who decides how many there are, and how. Unless that is `Off` or `Advise`, `replicas` is only the first number.
    #[serde(default)]
    pub autoscaling: HandlerScaling,
    /// Where people reach the handlers from outside the cluster, such as `https://clickstream.example.com`: shown with
    /// every query. Without it that of `exposure`, or else the Service's address inside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255), regex(pattern = r"^https?://[^\s/?#]+$"))]
    pub url: Option<String>,
    /// Other sites whose pages may connect, such as `https://app.example.com`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(max = 255), regex(pattern = r"^https?://[^\s/?#*]+$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed_origins: Vec<String>,
    /// How people outside the cluster reach the handlers. Without it that is somebody else's work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,
}

impl Default for Handler {
    fn default() -> Self {
        Handler {
            replicas: two(),
            resources: handler_resources(),
            autoscaling: HandlerScaling::default(),
            url: None,
            allowed_origins: Vec::new(),
            exposure: None,
        }
    }
}

fn two() -> i32 {
    2
}

fn worker_resources() -> Resources {
    requests("500m", "256Mi")
}

fn handler_resources() -> Resources {
    requests("250m", "256Mi")
}

fn requests(cpu: &str, memory: &str) -> Resources {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::String as Text;
    Resources {
        requests: BTreeMap::from([
            ("cpu".to_owned(), Text(cpu.to_owned())),
            ("memory".to_owned(), Text(memory.to_owned())),
        ]),
        limits: BTreeMap::new(),
    }
}

/// Whose ClickstreamQueries may name the pipeline.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowedQueries {
    /// Those of which namespaces.
    #[serde(default)]
    pub namespaces: AllowedNamespaces,
}

/// A choice of namespaces, as listeners of the Gateway API make it.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("(self.from == 'Selector') == has(self.matchLabels)", "`matchLabels` goes with `from: Selector`, and with nothing else")
)]
pub struct AllowedNamespaces {
    /// How they are chosen.
    #[serde(default)]
    pub from: NamespacesFrom,
    /// Labels that a namespace must have, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16))]
    pub match_labels: Option<BTreeMap<String, String>>,
}

/// How namespaces are chosen.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum NamespacesFrom {
    /// The pipeline's own.
    #[default]
    Same,
    /// Every one.
    All,
    /// Those with certain labels.
    Selector,
}
