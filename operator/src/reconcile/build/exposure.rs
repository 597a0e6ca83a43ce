//! What brings people from outside to the handlers' Service.

use k8s_openapi::api::networking::v1::Ingress;
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::{Component, Desired, Plan};

/// Of the Gateway API, which a cluster may lack.
pub(crate) const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

/// The kind HTTPRoute.
pub(super) fn route() -> ApiResource {
    let kind = GroupVersionKind::gvk(GATEWAY_GROUP, "v1", "HTTPRoute");
    ApiResource::from_gvk_with_plural(&kind, "httproutes")
}

/// The object that the spec asks for, if it does.
pub(crate) fn build(plan: &Plan<'_>) -> Option<Desired> {
    let exposure = plan.pipeline.spec.handler.exposure.as_ref()?;
    let component = Component::Handler;
    let name = component.name(&plan.valid.name);
    if let Some(ingress) = &exposure.ingress {
        let backend = json!({"service": {"name": name, "port": {"name": "http"}}});
        let mut spec = json!({"rules": [{
            "host": ingress.host,
            "http": {"paths": [{"path": ingress.path, "pathType": "Prefix", "backend": backend}]},
        }]});
        if let Some(class) = &ingress.class_name {
            spec["ingressClassName"] = class.as_str().into();
        }
        if let Some(secret) = &ingress.tls_secret_name {
            spec["tls"] = json!([{"hosts": [ingress.host], "secretName": secret}]);
        }
        let data = json!({"spec": spec});
        let mut desired = plan.object::<Ingress>(&name, Some(component), data);
        desired.object.metadata.annotations = Some(ingress.annotations.clone());
        return Some(desired);
    }
    let gateway = exposure.gateway.as_ref()?;
    let parents: Vec<Value> = gateway
        .parent_refs
        .iter()
        .map(|parent| json!(parent))
        .collect();
    let spec = json!({
        "parentRefs": parents,
        "hostnames": gateway.hostnames,
        "rules": [{
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            "backendRefs": [{"name": name, "port": 80}],
            // A viewer stays for hours.
            "timeouts": {"request": "0s"},
        }],
    });
    Some(plan.object_of(route(), &name, Some(component), json!({"spec": spec})))
}
