//! The Kubernetes objects of a pipeline, as it is to be. No I/O: the same pipeline gives the same objects.

mod config_map;
mod deployment;
mod disruption_budget;
pub(crate) mod exposure;
mod network_policy;
mod overrides;
mod service;
mod service_account;

use std::collections::BTreeMap;

use clickstream_resources::ClickstreamPipeline;
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use kube::core::{ApiResource, DynamicObject};
use kube::{Resource, ResourceExt as _};
use serde_json::{Value, json};

use super::validate::Validated;

/// Who applies the objects.
pub const FIELD_MANAGER: &str = "clickstream-operator/pipeline";
/// Port of both programs.
pub const PORT: i32 = 8080;

/// One of the two programs that a pipeline runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// Reads and matches.
    Worker,
    /// Serves people.
    Handler,
}

impl Component {
    /// As in names and labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Component::Worker => "worker",
            Component::Handler => "handler",
        }
    }

    /// Name of its objects.
    #[must_use]
    pub fn name(self, pipeline: &str) -> String {
        format!("{pipeline}-{}", self.as_str())
    }
}

/// An object to be applied.
#[derive(Clone, Debug)]
pub struct Desired {
    /// Its kind.
    pub resource: ApiResource,
    /// It.
    pub object: DynamicObject,
}

/// What objects are made from.
pub struct Plan<'a> {
    /// The object they belong to.
    pub pipeline: &'a ClickstreamPipeline,
    /// Its spec, completed.
    pub valid: &'a Validated,
    /// Of workers and handlers.
    pub image: &'a str,
    /// Changes with the Secrets.
    pub fingerprint: &'a str,
    /// How many workers and handlers; without a number that is left to somebody else.
    pub replicas: [Option<i32>; 2],
    /// Where the operator runs, which asks pods for their metrics.
    pub operator_namespace: &'a str,
}

/// All objects but the exposure, in the order they are applied in: what Deployments need comes before them.
#[must_use]
pub fn objects(plan: &Plan<'_>) -> Vec<Desired> {
    let both = [Component::Worker, Component::Handler];
    let mut objects = vec![config_map::build(plan)];
    objects.extend(both.map(|component| service_account::build(plan, component)));
    objects.extend(both.map(|component| service::build(plan, component)));
    objects.extend(both.map(|component| disruption_budget::build(plan, component)));
    objects.extend(
        both.into_iter()
            .filter_map(|component| network_policy::build(plan, component)),
    );
    objects.extend(both.map(|component| deployment::build(plan, component)));
    objects
}

/// Kinds and names of objects that other specs ask for, and this one does not.
pub(super) fn unwanted(plan: &Plan<'_>) -> Vec<(ApiResource, String)> {
    let name = |component: Component| component.name(&plan.valid.name);
    let policy = ApiResource::erase::<NetworkPolicy>(&());
    let mut kinds = vec![
        (policy.clone(), name(Component::Worker)),
        (policy, name(Component::Handler)),
        (ApiResource::erase::<Ingress>(&()), name(Component::Handler)),
        (exposure::route(), name(Component::Handler)),
    ];
    let wanted: Vec<_> = objects(plan)
        .into_iter()
        .chain(exposure::build(plan))
        .collect();
    kinds.retain(|(resource, name)| {
        !wanted
            .iter()
            .any(|desired| desired.resource == *resource && desired.object.name_any() == *name)
    });
    kinds
}

/// Labels that never change: pods are found by them.
#[must_use]
pub fn selector(pipeline: &str, component: Component) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name", "clickstream".to_owned()),
        ("app.kubernetes.io/instance", pipeline.to_owned()),
        ("app.kubernetes.io/component", component.as_str().to_owned()),
    ])
}

/// As `kubectl get pods -l` takes it.
#[must_use]
pub fn selector_text(pipeline: &str, component: Component) -> String {
    let labels = selector(pipeline, component);
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

impl Plan<'_> {
    fn labels(&self, component: Option<Component>) -> Value {
        let mut labels = json!({
            "app.kubernetes.io/name": "clickstream",
            "app.kubernetes.io/instance": self.valid.name,
            "app.kubernetes.io/managed-by": "clickstream-operator",
            "app.kubernetes.io/part-of": "clickstream",
        });
        if let Some(component) = component {
            labels["app.kubernetes.io/component"] = component.as_str().into();
        }
        labels
    }

    /// An object that goes with the pipeline.
    fn object<K: Resource<DynamicType = ()>>(
        &self,
        name: &str,
        component: Option<Component>,
        data: Value,
    ) -> Desired {
        self.object_of(ApiResource::erase::<K>(&()), name, component, data)
    }

    /// As [`Plan::object`], of a kind that has no type.
    fn object_of(
        &self,
        resource: ApiResource,
        name: &str,
        component: Option<Component>,
        data: Value,
    ) -> Desired {
        let mut object = DynamicObject::new(name, &resource)
            .within(&self.valid.namespace)
            .data(data);
        object.metadata.owner_references = self
            .pipeline
            .controller_owner_ref(&())
            .map(|owner| vec![owner]);
        object.metadata.labels = serde_json::from_value(self.labels(component)).ok();
        object.annotations_mut().clear();
        Desired { resource, object }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::validate::{tests::pipeline, validate};
    use super::*;

    fn built(changes: Value, fingerprint: &str) -> Vec<Desired> {
        let pipeline = pipeline(changes);
        let valid = validate(&pipeline).unwrap();
        objects(&Plan {
            pipeline: &pipeline,
            valid: &valid,
            image: "clickstream:1",
            fingerprint,
            replicas: [Some(2), None],
            operator_namespace: "clickstream",
        })
    }

    fn template<'a>(objects: &'a [Desired], name: &str) -> &'a Value {
        let of = objects.iter().find(|desired| {
            desired.resource.kind == "Deployment" && desired.object.name_any() == name
        });
        &of.unwrap().object.data["spec"]["template"]
    }

    #[test]
    fn everything_of_a_pipeline() {
        let objects = built(
            json!({
                "kafka": {"bootstrapServers": ["k:1"], "tls": {"caSecretRef": {"name": "ca"}}, "auth": {"scram": {"secretRef": {"name": "user"}}}},
                "maskedFields": ["card", "user.email"],
                "handler": {"allowedOrigins": ["https://a.example.com"], "replicas": 3},
            }),
            "f",
        );
        let rendered: Vec<String> = objects
            .iter()
            .map(|desired| serde_yaml::to_string(&desired.object).unwrap())
            .collect();
        insta::assert_snapshot!(rendered.join("---\n"));
    }

    #[test]
    fn pods_restart_when_configuration_or_a_secret_changes_and_not_otherwise() {
        let pods =
            |changes, fingerprint| template(&built(changes, fingerprint), "shop-worker").clone();
        let first = pods(json!({}), "a");
        assert_eq!(first, pods(json!({"worker": {"replicas": 7}}), "a"));
        assert_ne!(first, pods(json!({}), "b"), "another Secret");
        assert_ne!(
            first,
            pods(json!({"maskedFields": ["card"]}), "a"),
            "another setting"
        );
    }

    #[test]
    fn what_only_some_pipelines_ask_for() {
        let pods = json!({
            "labels": {"team": "shop"},
            "annotations": {"example.com/a": "b"},
            "nodeSelector": {"pool": "streams"},
            "tolerations": [{"operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "topologySpreadConstraints": [{"topologyKey": "zone"}],
            "priorityClassName": "high",
            "imagePullSecrets": [{"name": "registry"}],
        });
        let ways = [
            json!({"ingress": {"host": "a.example.com", "className": "public", "tlsSecretName": "cert", "annotations": {"example.com/c": "d"}}}),
            json!({"gateway": {"parentRefs": [{"name": "public"}], "hostnames": ["a.example.com"]}}),
        ];
        let mut rendered = Vec::new();
        for exposure in ways {
            let pipeline = pipeline(json!({
                "handler": {"exposure": exposure},
                "networkPolicy": {"monitoringNamespaces": ["monitoring"]},
                "podTemplateOverrides": pods,
            }));
            let valid = validate(&pipeline).unwrap();
            let plan = Plan {
                pipeline: &pipeline,
                valid: &valid,
                image: "clickstream:1",
                fingerprint: "f",
                replicas: [Some(2), None],
                operator_namespace: "clickstream",
            };
            let exposed = exposure::build(&plan).unwrap();
            assert!(
                unwanted(&plan)
                    .iter()
                    .all(|(kind, _)| *kind != exposed.resource)
            );
            assert_eq!(unwanted(&plan).len(), 1, "the other way");
            rendered.push(exposed);
            if rendered.len() == 1 {
                let all = objects(&plan).into_iter();
                rendered.extend(all.filter(|desired| {
                    desired.resource.kind == "NetworkPolicy"
                        || desired.object.name_any() == "shop-worker"
                            && desired.resource.kind == "Deployment"
                }));
            }
        }
        let rendered: Vec<String> = rendered
            .iter()
            .map(|desired| serde_yaml::to_string(&desired.object).unwrap())
            .collect();
        insta::assert_snapshot!(rendered.join("---\n"));
    }

    #[test]
    fn no_secret_is_in_any_object() {
        let objects = built(
            json!({"kafka": {"bootstrapServers": ["k:1"], "auth": {"plain": {"secretRef": {"name": "user"}}}}}),
            "f",
        );
        let text = format!("{objects:?}");
        assert!(
            text.contains("sasl.password=$(KAFKA_PASSWORD)"),
            "by reference"
        );
        assert!(text.contains("secretKeyRef"));
    }
}
