//! Accounts of the programs: neither speaks to the Kubernetes API.

use k8s_openapi::api::core::v1::ServiceAccount;
use serde_json::json;

use super::{Component, Desired, Plan};

pub(super) fn build(plan: &Plan<'_>, component: Component) -> Desired {
    let data = json!({"automountServiceAccountToken": false});
    plan.object::<ServiceAccount>(&component.name(&plan.valid.name), Some(component), data)
}
