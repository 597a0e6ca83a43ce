//! ClickstreamQuery: what a product team writes, and what the operator answers.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

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
    /// What viewers see of an event, as dotted paths; the whole event without.
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
    /// Where it can be watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Ready, Accepted, ResolvedRefs, Programmed, Reconciling, Stalled.
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
