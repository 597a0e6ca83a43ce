//! A pipeline's status: written by the operator only.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator sees and did.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// In one word, for people. Programs read the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Kafka, as last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaStatus>,
    /// The database, as last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<PostgresStatus>,
    /// The workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerStatus>,
    /// The handlers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<HandlerStatus>,
    /// The ClickstreamQueries that name this pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queries: Option<QueriesStatus>,
    /// The last five decisions about how many there are, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub scaling: Vec<Decision>,
    /// Ready, Accepted, ResolvedRefs, KafkaReady, TopicsReady, SchemaReady, WorkersReady, HandlersReady, ExposureReady (with `exposure`), ScalingActive, Paused, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A pipeline in one word.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum Phase {
    /// Not everything is there yet.
    Pending,
    /// Workers and handlers run.
    Running,
    /// Something that was there is missing; the conditions say what.
    Degraded,
    /// `spec.paused`.
    Paused,
    /// `spec.suspend`.
    Suspended,
    /// On its way out.
    Deleting,
}

/// Kafka, as last seen.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KafkaStatus {
    /// Partitions of all source topics together: more workers than this have nothing to do.
    pub source_partitions: i32,
    /// Name of the filtered topic.
    pub filtered_topic: String,
    /// Its partitions.
    pub filtered_partitions: i32,
}

/// The database, as last seen.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PostgresStatus {
    /// The last migration that was applied.
    pub schema_version: i64,
}

/// The workers.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStatus {
    /// Pods that exist.
    pub replicas: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods that there should be.
    pub desired: i32,
    /// Their labels, for autoscalers.
    pub selector: String,
}

/// The handlers.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HandlerStatus {
    /// Pods that exist.
    pub replicas: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods that there should be.
    pub desired: i32,
}

/// A decision about how many workers or handlers there are.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// When.
    pub time: Time,
    /// `worker` or `handler`.
    pub component: String,
    /// How many there were.
    pub from: i32,
    /// How many there are to be.
    pub to: i32,
    /// Why: `InputRate`, `Lag`, `Connections`, `LessLoad` or `Bounds`.
    pub reason: String,
    /// What it was decided from.
    pub inputs: String,
    /// Whether it was carried out; otherwise it is advice.
    pub applied: bool,
}

/// The ClickstreamQueries that name a pipeline.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueriesStatus {
    /// All of them.
    pub total: i32,
    /// Those that every worker runs.
    pub programmed: i32,
}
