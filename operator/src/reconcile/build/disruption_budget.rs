//! Nodes are drained one pod at a time; a pod that is not ready holds nobody up.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::json;

use super::{Component, Desired, Plan, selector};

pub(super) fn build(plan: &Plan<'_>, component: Component) -> Desired {
    let spec = json!({
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": selector(&plan.valid.name, component)},
    });
    let name = component.name(&plan.valid.name);
    plan.object::<PodDisruptionBudget>(&name, Some(component), json!({"spec": spec}))
}
