//! The handlers' address for people, and one for the workers' metrics.

use k8s_openapi::api::core::v1::Service;
use serde_json::json;

use super::{Component, Desired, Plan, selector};

pub(super) fn build(plan: &Plan<'_>, component: Component) -> Desired {
    let selector = selector(&plan.valid.name, component);
    let spec = match component {
        Component::Handler => json!({
            "selector": selector,
            // Proxies that know the name keep WebSockets open.
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP", "appProtocol": "kubernetes.io/ws"}],
        }),
        Component::Worker => json!({
            "clusterIP": "None",
            "selector": selector,
            "ports": [{"name": "http", "port": 8080, "targetPort": "http", "protocol": "TCP"}],
        }),
    };
    let name = component.name(&plan.valid.name);
    plan.object::<Service>(&name, Some(component), json!({"spec": spec}))
}
