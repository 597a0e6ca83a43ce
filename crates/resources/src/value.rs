//! Values that several fields share.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
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

/// A time such as `90s`, `5m` or `1h30m`: 1 s to 24 h.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Span(String);

impl From<&str> for Span {
    fn from(text: &str) -> Span {
        Span(text.to_owned())
    }
}

impl Span {
    /// As a duration; what the schema would refuse is 1 s or 24 h, whichever is nearer.
    #[must_use]
    pub fn duration(&self) -> Duration {
        let mut seconds = 0u64;
        let mut number = 0u64;
        for c in self.0.chars() {
            let unit = match c {
                'h' => 3_600,
                'm' => 60,
                's' => 1,
                digit => {
                    let digit = u64::from(digit.to_digit(10).unwrap_or(0));
                    number = number.saturating_mul(10).saturating_add(digit);
                    continue;
                }
            };
            seconds = seconds.saturating_add(number.saturating_mul(unit));
            number = 0;
        }
        Duration::from_secs(seconds.clamp(1, 86_400))
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 12,
            "pattern": "^([0-9]+h)?([0-9]+m)?([0-9]+s)?$",
            "x-kubernetes-validations": [{
                "rule": "self != '' && duration(self) >= duration('1s') && duration(self) <= duration('24h')",
                "message": "write a time from 1s to 24h, such as 90s, 5m or 1h30m"
            }]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, seconds) in [
            ("90s", 90),
            ("5m", 300),
            ("1h30m", 5_400),
            ("24h", 86_400),
            ("0s", 1),
        ] {
            assert_eq!(Span::from(text).duration().as_secs(), seconds, "{text}");
        }
    }
}
