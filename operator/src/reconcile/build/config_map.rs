//! Settings of both programs that are no secret, as environment variables.

use std::collections::BTreeMap;

use clickstream_resources::Exposure;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use super::{Desired, PORT, Plan};

pub(super) fn name(plan: &Plan<'_>) -> String {
    format!("{}-settings", plan.valid.name)
}

/// The variables. One that would be empty is left out: it would count as one empty value.
pub(super) fn variables(plan: &Plan<'_>) -> BTreeMap<&'static str, String> {
    let (spec, valid) = (&plan.pipeline.spec, plan.valid);
    let mut variables = BTreeMap::from([
        ("BROKERS", valid.brokers.clone()),
        ("SOURCE_TOPIC", valid.source_topics.join("\n")),
        ("FILTERED_TOPIC", valid.filtered_topic.clone()),
        ("PIPELINE", valid.key.clone()),
        ("GROUP", valid.group.clone()),
        ("HTTP_ADDR", format!("0.0.0.0:{PORT}")),
        ("EVENT_TYPE_FIELD", spec.event_type_field.clone()),
        ("USER_FIELD", spec.user_field.clone()),
        ("MASKED_FIELD", spec.masked_fields.join("\n")),
        ("ALLOWED_ORIGINS", origins(plan)),
    ]);
    variables.retain(|_, value| !value.is_empty());
    variables
}

/// The page that people open at `handler.url`, or by an exposure, comes from there, whatever the proxy in between makes
/// of `Host`.
fn origins(plan: &Plan<'_>) -> String {
    let handler = &plan.pipeline.spec.handler;
    let mut all: Vec<String> = handler.url.iter().cloned().collect();
    all.extend(handler.exposure.iter().flat_map(Exposure::origins));
    all.extend(handler.allowed_origins.iter().cloned());
    all.join("\n")
}

pub(super) fn build(plan: &Plan<'_>) -> Desired {
    plan.object::<ConfigMap>(&name(plan), None, json!({"data": variables(plan)}))
}
