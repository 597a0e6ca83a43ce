//! How people reach the handlers from outside, and who may open connections to pods at all.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// How people outside the cluster reach the handlers: exactly one of these. The object is called `NAME-handler`, kept as
/// it stands here, and removed when it is wanted no more.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("[has(self.ingress), has(self.gateway)].filter(given, given).size() == 1", "`exposure` takes exactly one of `ingress` and `gateway`")
)]
pub struct Exposure {
    /// By an Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressExposure>,
    /// By an HTTPRoute of the Gateway API, version 1.2 or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayExposure>,
}

/// An Ingress in front of the handlers.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IngressExposure {
    /// Which controller serves it; without it the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = HOST))]
    pub class_name: Option<String>,
    /// The name that people open, such as `clickstream.example.com`.
    #[schemars(length(min = 1, max = 253), regex(pattern = HOST))]
    pub host: String,
    /// What comes under this path goes to the handlers. They serve from `/`: another path is for controllers that
    /// take it off, which an annotation of theirs asks for.
    #[serde(default = "root")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^/[^\s?#]*$"))]
    pub path: String,
    /// For the controller, such as the time after which it ends a connection.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotations")]
    pub annotations: BTreeMap<String, String>,
    /// A Secret of this namespace with the certificate, keys `tls.crt` and `tls.key`. Without it people come by `http`,
    /// unless the controller has a certificate of its own: then set `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub tls_secret_name: Option<String>,
}

/// A route from Gateways to the handlers.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayExposure {
    /// The Gateways that it is attached to.
    #[schemars(length(min = 1, max = 8))]
    pub parent_refs: Vec<ParentRef>,
    /// The names that people open; the first one is shown with every query, with `https`. Where it is served without,
    /// set `url`.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253), regex(pattern = HOST)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub hostnames: Vec<String>,
}

/// A Gateway.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = HOST))]
    pub name: String,
    /// Its namespace; the pipeline's own without. The Gateway says whose routes it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub namespace: Option<String>,
    /// One of its listeners; all without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = HOST))]
    pub section_name: Option<String>,
}

/// Who may open connections to the pods, as a NetworkPolicy for the workers and one for the handlers. What pods connect
/// to is not restricted. It takes a cluster network that enforces policies.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkAccess {
    /// Namespaces whose pods may reach the handlers, that of the Ingress controller or Gateway among them. Without any,
    /// everybody may, also from outside the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63), regex(pattern = LABEL)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub client_namespaces: Vec<String>,
    /// Namespaces whose pods may read the metrics of workers and handlers, such as that of Prometheus. The operator's own
    /// always may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63), regex(pattern = LABEL)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub monitoring_namespaces: Vec<String>,
}

/// A name as DNS has it, in lower case.
const HOST: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// One part of such a name.
const LABEL: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

impl Exposure {
    /// Where people begin, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        let path = self.ingress.as_ref().map_or("", |ingress| &*ingress.path);
        let origin = self.origins().into_iter().next()?;
        Some(origin + path.trim_end_matches('/'))
    }

    /// Scheme and host of every page that is served through it, the one to be shown first.
    #[must_use]
    pub fn origins(&self) -> Vec<String> {
        let ingress = self.ingress.iter().map(|ingress| {
            let scheme = if ingress.tls_secret_name.is_some() {
                "https"
            } else {
                "http"
            };
            format!("{scheme}://{}", ingress.host)
        });
        let gateway = self.gateway.iter().flat_map(|gateway| &gateway.hostnames);
        ingress
            .chain(gateway.map(|host| format!("https://{host}")))
            .collect()
    }
}

fn root() -> String {
    "/".to_owned()
}

fn annotations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {"type": "string", "maxLength": 4096}
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn address_is_that_of_the_exposure() {
        for (exposure, url) in [
            (
                json!({"ingress": {"host": "a.example.com"}}),
                "http://a.example.com",
            ),
            (
                json!({"ingress": {"host": "a.example.com", "tlsSecretName": "cert"}}),
                "https://a.example.com",
            ),
            (
                json!({"ingress": {"host": "a.example.com", "path": "/live/"}}),
                "http://a.example.com/live",
            ),
            (
                json!({"gateway": {"parentRefs": [{"name": "public"}], "hostnames": ["b.example.com", "c.example.com"]}}),
                "https://b.example.com",
            ),
        ] {
            let exposure: Exposure = serde_json::from_value(exposure).unwrap();
            assert_eq!(exposure.url().as_deref(), Some(url));
        }
    }
}
