//! What a platform wants of every pod.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::SecretRef;

/// What the pods of workers and handlers have besides what the operator gives them. What Kubernetes does not take is told
/// by `WorkersReady`, reason `ApplyFailed`.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("!has(self.labels) || ['app.kubernetes.io/name', 'app.kubernetes.io/instance', 'app.kubernetes.io/component'].all(own, !(own in self.labels))", "`labels` must leave `app.kubernetes.io/name`, `instance` and `component` alone: pods are found by them"),
    validation = ("!has(self.annotations) || !('clickstream.dev/settings' in self.annotations)", "`annotations` must leave `clickstream.dev/settings` alone: it restarts pods when a setting changes")
)]
pub struct PodOverrides {
    /// More labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "texts")]
    pub labels: BTreeMap<String, String>,
    /// More annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "texts")]
    pub annotations: BTreeMap<String, String>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "texts")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that do not keep them away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// Near what they should run, and near what not, as in a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "affinity")]
    pub affinity: Option<Value>,
    /// How those of a Deployment are spread, in place of evenly over nodes where there is room.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub topology_spread_constraints: Vec<Spread>,
    /// The name of a PriorityClass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Secrets of this namespace with the passwords of registries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub image_pull_secrets: Vec<SecretRef>,
}

/// Taints that do not keep pods away.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.key) || self.operator == 'Exists'", "without `key` only `operator: Exists` makes sense: every taint")
)]
pub struct Toleration {
    /// The taint's key; every one without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317))]
    pub key: Option<String>,
    /// Whether the value counts.
    #[serde(default)]
    pub operator: TolerationOperator,
    /// The taint's value; empty without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// The taint's effect; every one without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
    /// How long a pod stays on a node that gets such a taint, with `effect: NoExecute`; for ever without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub toleration_seconds: Option<i64>,
}

/// Whether the value of a taint counts.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum TolerationOperator {
    /// It must be the same.
    #[default]
    Equal,
    /// Any will do.
    Exists,
}

/// What a taint does to pods.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum TaintEffect {
    /// None come.
    NoSchedule,
    /// They come only where nothing else is free.
    PreferNoSchedule,
    /// None come, and those that are there go.
    NoExecute,
}

/// How the pods of a Deployment are spread.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// A label of nodes, such as `topology.kubernetes.io/zone`: nodes with the same value are one place.
    #[schemars(length(min = 1, max = 317))]
    pub topology_key: String,
    /// By how many pods two places may differ.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024))]
    pub max_skew: i32,
    /// What happens to a pod that would make them differ more.
    #[serde(default)]
    pub when_unsatisfiable: WhenUnsatisfiable,
}

/// What happens to a pod that cannot be spread as asked for.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum WhenUnsatisfiable {
    /// It waits.
    DoNotSchedule,
    /// It runs where it makes the least difference.
    #[default]
    ScheduleAnyway,
}

fn one() -> i32 {
    1
}

fn texts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {"type": "string", "maxLength": 4096}
    })
}

/// Its parts are checked by the API server when the Deployments are applied: spelt out they would be most of the schema.
fn affinity(_: &mut SchemaGenerator) -> Schema {
    let any = |about: &str| json_schema!({"type": "object", "description": about, "x-kubernetes-preserve-unknown-fields": true});
    json_schema!({
        "type": "object",
        "properties": {
            "nodeAffinity": any("To nodes, as in a pod."),
            "podAffinity": any("To the places of other pods, as in a pod."),
            "podAntiAffinity": any("Away from the places of other pods, as in a pod.")
        }
    })
}
