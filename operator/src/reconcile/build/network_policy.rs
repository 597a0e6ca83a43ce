//! Who may open connections to pods. Both programs have one port, for people as for metrics; the kubelet's probes come
//! from the node, which policies never keep away.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

use super::{Component, Desired, Plan, selector};

/// The policy that the spec asks for, if it does.
pub(super) fn build(plan: &Plan<'_>, component: Component) -> Option<Desired> {
    let access = plan.pipeline.spec.network_policy.as_ref()?;
    let mut namespaces = vec![plan.operator_namespace];
    namespaces.extend(access.monitoring_namespaces.iter().map(String::as_str));
    if component == Component::Handler {
        namespaces.extend(access.client_namespaces.iter().map(String::as_str));
    }
    namespaces.sort_unstable();
    namespaces.dedup();
    let mut rule = json!({"ports": [{"port": "http", "protocol": "TCP"}]});
    if component == Component::Worker || !access.client_namespaces.is_empty() {
        let from = |name: &&str| json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}});
        rule["from"] = namespaces.iter().map(from).collect::<Value>();
    }
    let spec = json!({
        "podSelector": {"matchLabels": selector(&plan.valid.name, component)},
        "policyTypes": ["Ingress"],
        "ingress": [rule],
    });
    let name = component.name(&plan.valid.name);
    Some(plan.object::<NetworkPolicy>(&name, Some(component), json!({"spec": spec})))
}
