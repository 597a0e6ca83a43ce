//! The custom resources of `clickstream.dev/v1alpha1`, and the names that their conditions use.
//!
//! [`ClickstreamPipeline`] is the platform team's: topics, database, workers and handlers. [`ClickstreamQuery`] is
//! the product team's: a filter that is matched for as long as the object exists. The schemas in `crds/` are made from
//! these types: `make crds`.
//!
//! No client and no I/O: what the operator does about an object is in `operator/`.

#![allow(
    clippy::duplicated_attributes,
    reason = "two printer columns may have the same priority"
)]
#![allow(
    unreachable_pub,
    reason = "KubeSchema repeats each type inside a function"
)]

pub mod condition;
mod pipeline;
mod query;
mod reference;
mod value;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

pub use pipeline::{
    AllowedNamespaces, AllowedQueries, Auth, ClickstreamPipeline, ClickstreamPipelineSpec,
    Decision, Exposure, FilteredTopic, GatewayExposure, Handler, HandlerScaling, HandlerStatus,
    IngressExposure, Kafka, KafkaStatus, KeyRef, Management, Migrations, Mtls, NamespacesFrom,
    NetworkAccess, ParentRef, Phase, PipelineStatus, Plain, PodOverrides, Postgres, PostgresStatus,
    QueriesStatus, ReclaimPolicy, ScalingMode, Scram, ScramMechanism, SecretRef, SourceTopic,
    Spread, TaintEffect, Tls, Toleration, TolerationOperator, UriRef, WhenUnsatisfiable, Worker,
    WorkerScaling, WorkerStatus,
};
pub use query::{
    ClickstreamQuery, ClickstreamQuerySpec, KafkaSink, PipelineRef, Programmed, QueryStatus, Sink,
};
pub use reference::reference;
pub use value::{Resources, Span};

/// The API group.
pub const GROUP: &str = "clickstream.dev";

/// File name in `crds/` and definition, for every kind.
///
/// # Panics
/// Never: a definition survives the way to JSON and back.
#[must_use]
pub fn crds() -> [(&'static str, CustomResourceDefinition); 2] {
    [
        ("clickstreampipelines.yaml", ClickstreamPipeline::crd()),
        ("clickstreamqueries.yaml", ClickstreamQuery::crd()),
    ]
    .map(|(name, crd)| (name, without_null(crd)))
}

/// `yaml` with quotes around words that kubectl, which reads YAML 1.1, would take for `true` or `false`.
#[must_use]
pub fn quoted(yaml: &str) -> String {
    const WORDS: [&str; 8] = ["Off", "On", "No", "Yes", "off", "on", "no", "yes"];
    let line = |line: &str| {
        let text = line.trim_start();
        let item = text.strip_prefix("- ").unwrap_or(text);
        let value = item.split_once(": ").map_or(item, |(_, value)| value);
        if WORDS.contains(&value) {
            format!("{}'{value}'\n", &line[..line.len() - value.len()])
        } else {
            format!("{line}\n")
        }
    };
    yaml.lines().map(line).collect()
}

/// Fields that may be left out come as `nullable`, which would have `null` count as given: for a field that is not, the
/// API server drops a `null` before rules and defaults see it.
#[expect(
    clippy::expect_used,
    reason = "a definition survives the way to JSON and back"
)]
fn without_null(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    fn strip(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(fields) => {
                fields.retain(|name, value| name != "nullable" || !value.is_boolean());
                fields.values_mut().for_each(strip);
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(crd).expect("a definition is JSON");
    strip(&mut value);
    serde_json::from_value(value).expect("it was a definition")
}
