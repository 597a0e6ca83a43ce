//! Values that several fields share.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// What a container asks for and may use, as in a pod.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What the scheduler sets aside, such as `cpu: 500m` and `memory: 256Mi`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub requests: BTreeMap<String, IntOrString>,
    /// What it may use at most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub limits: BTreeMap<String, IntOrString>,
}

impl Resources {
    /// As a pod has it.
    #[must_use]
    pub fn requirements(&self) -> ResourceRequirements {
        let quantities = |amounts: &BTreeMap<String, IntOrString>| {
            let amounts = amounts.iter().map(|(name, amount)| {
                let amount = match amount {
                    IntOrString::Int(amount) => amount.to_string(),
                    IntOrString::String(amount) => amount.clone(),
                };
                (name.clone(), Quantity(amount))
            });
            Some(amounts.collect::<BTreeMap<_, _>>()).filter(|amounts| !amounts.is_empty())
        };
        ResourceRequirements {
            claims: None,
            limits: quantities(&self.limits),
            requests: quantities(&self.requests),
        }
    }
}

/// Quantities by the name of a resource, checked by Kubernetes' own pattern.
fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {
            "x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": r"^(\+)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?[0-9]+))?$",
            "maxLength": 64
        }
    })
}
