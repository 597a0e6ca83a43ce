//! ClickstreamQuery: what a product team writes, and what the operator answers.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::pipeline::{Management, ReclaimPolicy};

/// A filter that is matched for as long as the object exists.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "clickstream.dev",
    version = "v1alpha1",
    kind = "ClickstreamQuery",
    plural = "clickstreamqueries",
    shortname = "csq",
    category = "clickstream",
    namespaced,
    derive = "PartialEq",
    status = "QueryStatus",
    doc = "A filter on a pipeline's events that is matched for as long as the object exists: a live view that can be shared.",
    selectable = ".spec.pipelineRef.name",
    printcolumn(
        name = "Pipeline",
        type_ = "string",
        json_path = ".spec.pipelineRef.name"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(
        name = "Workers",
        type_ = "integer",
        json_path = ".status.programmed.workers",
        description = "Workers that match it"
    ),
    printcolumn(name = "Viewers", type_ = "integer", json_path = ".status.viewers"),
    printcolumn(name = "Matches", type_ = "string", json_path = ".status.matchRate"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Filter",
        type_ = "string",
        json_path = ".spec.filter",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ClickstreamQuerySpec {
    /// The pipeline whose events are matched. Cannot be changed.
    #[x_kube(validation = ("self == oldSelf", "`pipelineRef` cannot be changed: delete the query and make it again"))]
    pub pipeline_ref: PipelineRef,
    /// Which events: a CEL expression over `event` and `record`, such as
    /// `event.type == "purchase" && event.platform == "mobile"`.
    #[schemars(length(min = 1, max = 4096))]
    pub filter: String,
    /// What viewers see of an event and what the sink gets, as dotted paths; the whole event without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 255)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub fields: Vec<String>,
    /// Matches per second for a viewer who asks for no other rate; 0 is no limit.
    #[serde(default = "hundred")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub rate: i32,
    /// Keep the object, match nothing; viewers are told.
    #[serde(default)]
    pub suspend: bool,
    /// Where every match is written, whoever watches and whatever `rate` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<Sink>,
}

/// Where every match is written: exactly one of these.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.kafka)", "`sink` takes exactly one of: `kafka`"))]
pub struct Sink {
    /// A topic on the pipeline's brokers. Each match is written at least once: with the event's key and time, the event
    /// (or its `fields`) as value, and the headers `clickstream-query` (NAMESPACE/NAME), `clickstream-query-id` and
    /// `clickstream-source` (TOPIC/PARTITION/OFFSET of the event, the same in a repetition).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaSink>,
}

/// A topic that matches are written to.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("self.management == 'Managed' || (!has(self.partitions) && !has(self.replicationFactor))", "a topic that is External is never altered: leave out `partitions` and `replicationFactor`"),
    validation = ("self.management == 'Managed' || self.reclaimPolicy == 'Retain'", "a topic that is External is never deleted: `reclaimPolicy` must be Retain"),
    validation = ("self.topic != oldSelf.topic || !has(self.partitions) || !has(oldSelf.partitions) || self.partitions >= oldSelf.partitions", "a topic's partitions cannot be taken away"),
    validation = ("self.topic != oldSelf.topic || !has(self.replicationFactor) || !has(oldSelf.replicationFactor) || self.replicationFactor == oldSelf.replicationFactor", "`replicationFactor` of a topic cannot be changed: reassign the partitions with Kafka's own tools")
)]
pub struct KafkaSink {
    /// Its name. Not a topic that the pipeline reads or writes itself. With another name matches go there from then on;
    /// the former topic stays as it is.
    #[schemars(length(min = 1, max = 249), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    #[x_kube(
        validation = ("self != '.' && self != '..'", "no topic is called `.` or `..`"),
        validation = ("!self.startsWith('__')", "a topic that begins with `__` is Kafka's own")
    )]
    pub topic: String,
    /// Who creates and alters it.
    #[serde(default = "external")]
    #[schemars(schema_with = "sink_management")]
    pub management: Management,
    /// How many partitions it has at least. Can only grow. Default: the brokers'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub partitions: Option<i32>,
    /// On how many brokers each partition lies when the topic is made. Cannot be changed. Default: the brokers'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub replication_factor: Option<i32>,
    /// What happens to it when the query is deleted.
    #[serde(default)]
    #[schemars(schema_with = "sink_reclaim_policy")]
    pub reclaim_policy: ReclaimPolicy,
}

fn external() -> Management {
    Management::External
}

/// The words about a topic are those of a sink here.
fn sink_management(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "enum": ["External", "Managed"],
        "description": "Who creates and alters it. External: somebody else; while it is missing, matches are left out, \
                        counted and told. Managed: the operator, for this query."
    })
}

fn sink_reclaim_policy(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "enum": ["Retain", "Delete"],
        "description": "What happens to it when the query is deleted. Retain: it stays. Delete: it is deleted, if it \
                        was made for this query; deleting the query waits for that while Kafka cannot be reached, unless its namespace is being deleted \
                        or the annotation `clickstream.dev/abandon: \"true\"` is set."
    })
}

fn hundred() -> i32 {
    100
}

/// A ClickstreamPipeline.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineRef {
    /// Its name.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// Its namespace; the query's own without. Another one must allow it by `allowedQueries`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub namespace: Option<String>,
}

/// What the operator sees and did.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The id under which the filter is matched: equal filters have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_id: Option<String>,
    /// The filter in canonical form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Who matches it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub programmed: Option<Programmed>,
    /// Who watches it, all handlers together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub viewers: Option<i32>,
    /// Matches per second, rounded, such as `35/s`; refreshed at most every 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_rate: Option<String>,
    /// The sink's topic, if the operator made it for this query: only such a topic is deleted with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_topic: Option<String>,
    /// Where it can be watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Ready, Accepted, ResolvedRefs, Programmed, SinkReady (with a sink), Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Who matches a query.
#[derive(Clone, Copy, Debug, Default, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Programmed {
    /// Workers that run this generation.
    pub workers: i32,
    /// Workers that there are.
    pub of: i32,
}
