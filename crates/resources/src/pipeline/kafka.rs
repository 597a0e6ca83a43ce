//! Kafka in a pipeline's spec.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How to reach Kafka.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.consumerGroup) == has(oldSelf.consumerGroup) && (!has(self.consumerGroup) || self.consumerGroup == oldSelf.consumerGroup)", "`consumerGroup` cannot be changed: the committed offsets belong to it"),
    validation = ("!has(self.auth) || !has(self.auth.mtls) || has(self.tls)", "`auth.mtls` needs `tls`")
)]
pub struct Kafka {
    /// Brokers to start from, as HOST:PORT.
    #[schemars(
        length(min = 1, max = 16),
        inner(
            length(max = 261),
            regex(pattern = r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[1-9][0-9]{0,4}$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub bootstrap_servers: Vec<String>,
    /// Speak TLS. Without it connections are not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// How programs prove who they are. Without it they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// The consumer group of the workers. Cannot be changed. Default: `clickstream-worker-NAMESPACE.NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub consumer_group: Option<String>,
}

/// TLS towards the brokers.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Whom to trust, in PEM; without it, whom the image trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<KeyRef>,
}

/// How programs prove who they are: exactly one of these.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("[has(self.scram), has(self.plain), has(self.mtls)].filter(given, given).size() == 1", "`auth` takes exactly one of `scram`, `plain` and `mtls`")
)]
pub struct Auth {
    /// By SASL SCRAM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scram: Option<Scram>,
    /// By SASL PLAIN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain: Option<Plain>,
    /// By a client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtls: Option<Mtls>,
}

/// SASL SCRAM.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scram {
    /// Which hash the brokers use.
    #[serde(default)]
    pub mechanism: ScramMechanism,
    /// A Secret with the keys `username` and `password`.
    pub secret_ref: SecretRef,
}

/// The hash of SASL SCRAM.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum ScramMechanism {
    /// SCRAM-SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    Sha256,
    /// SCRAM-SHA-512.
    #[default]
    #[serde(rename = "SCRAM-SHA-512")]
    Sha512,
}

/// SASL PLAIN.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plain {
    /// A Secret with the keys `username` and `password`.
    pub secret_ref: SecretRef,
}

/// A client certificate.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mtls {
    /// A Secret with the keys `tls.crt` and `tls.key`, in PEM.
    pub secret_ref: SecretRef,
}

/// A Secret of the pipeline's namespace.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A key of a Secret of the pipeline's namespace.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it.
    #[serde(default = "ca_crt")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

fn ca_crt() -> String {
    "ca.crt".to_owned()
}

/// A topic that holds events.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceTopic {
    /// Its name.
    #[schemars(length(min = 1, max = 249), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    #[x_kube(validation = ("self != '.' && self != '..'", "no topic is called `.` or `..`"))]
    pub name: String,
}

/// The topic through which matches reach the handlers.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.name) == has(oldSelf.name) && (!has(self.name) || self.name == oldSelf.name)", "`filteredTopic.name` cannot be changed"),
    validation = ("has(self.replicationFactor) == has(oldSelf.replicationFactor) && (!has(self.replicationFactor) || self.replicationFactor == oldSelf.replicationFactor)", "`filteredTopic.replicationFactor` cannot be changed: reassign the partitions with Kafka's own tools"),
    validation = ("self.management == 'Managed' || self.reclaimPolicy == 'Retain'", "a topic that is External is never deleted: `reclaimPolicy` must be Retain"),
    validation = ("self.management == 'Managed' || !has(self.config)", "a topic that is External is never altered: leave out `config`"),
)]
pub struct FilteredTopic {
    /// Its name. Cannot be changed. Default: `clickstream-NAMESPACE.NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    #[x_kube(validation = ("self != '.' && self != '..'", "no topic is called `.` or `..`"))]
    pub name: Option<String>,
    /// Who creates and alters it.
    #[serde(default)]
    pub management: Management,
    /// How many partitions it has at least, the *lanes* of queries. Can only grow.
    #[serde(default = "eight")]
    #[schemars(range(min = 1, max = 1024))]
    #[x_kube(validation = ("self >= oldSelf", "a topic's partitions cannot be taken away"))]
    pub partitions: i32,
    /// On how many brokers each partition lies when the topic is made. Cannot be changed. Default: the brokers'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub replication_factor: Option<i32>,
    /// Settings of the topic that are kept as they stand here; all others are left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "topic_config")]
    pub config: Option<BTreeMap<String, String>>,
    /// What happens to it when the pipeline is deleted.
    #[serde(default)]
    pub reclaim_policy: ReclaimPolicy,
}

impl Default for FilteredTopic {
    fn default() -> Self {
        FilteredTopic {
            name: None,
            management: Management::default(),
            partitions: eight(),
            replication_factor: None,
            config: None,
            reclaim_policy: ReclaimPolicy::default(),
        }
    }
}

fn eight() -> i32 {
    8
}

fn topic_config(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 1024}
    })
}

/// Who creates and alters a topic.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum Management {
    /// The operator creates it, adds partitions and keeps the settings that are named.
    #[default]
    Managed,
    /// Somebody else; the operator only looks.
    External,
}

/// What happens to a topic when its owner is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum ReclaimPolicy {
    /// It stays.
    #[default]
    Retain,
    /// It is deleted. Deleting the pipeline waits for that while Kafka cannot be reached, unless its namespace is being
    /// deleted or the annotation `clickstream.dev/abandon: "true"` is set.
    Delete,
}
