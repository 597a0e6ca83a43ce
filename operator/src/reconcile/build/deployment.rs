//! Workers and handlers.

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Component, Desired, PORT, Plan, config_map, overrides, selector};
use crate::reconcile::fetch::protocol;

/// Where Secrets with certificates are mounted.
const AUTHORITY: &str = "/etc/clickstream/kafka-ca";
const CERTIFICATE: &str = "/etc/clickstream/kafka-certificate";

pub(super) fn build(plan: &Plan<'_>, component: Component) -> Desired {
    let spec = &plan.pipeline.spec;
    let (replicas, resources, strategy) = match component {
        Component::Worker => (
            plan.replicas[0],
            &spec.worker.resources,
            // A worker more for a moment would be one rebalance more.
            json!({"maxSurge": 0, "maxUnavailable": 1}),
        ),
        Component::Handler => (
            plan.replicas[1],
            &spec.handler.resources,
            json!({"maxSurge": 1, "maxUnavailable": 0}),
        ),
    };
    let name = component.name(&plan.valid.name);
    let labels = selector(&plan.valid.name, component);
    let (volumes, mounts) = certificates(plan);
    let probe = |path: &str, period: i32| json!({"httpGet": {"path": path, "port": "http"}, "periodSeconds": period, "timeoutSeconds": 2});
    let container = json!({
        "name": component.as_str(),
        "image": plan.image,
        "imagePullPolicy": "IfNotPresent",
        "command": [format!("clickstream-{}", component.as_str())],
        "envFrom": [{"configMapRef": {"name": config_map::name(plan)}}],
        "env": environment(plan),
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": probe("/readyz", 5),
        "livenessProbe": probe("/healthz", 10),
        "resources": resources.requirements(),
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
        },
    });
    let mut data = json!({"spec": {
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": labels},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": strategy},
        "template": {
            "metadata": {
                "labels": labels,
                // Programs read their settings once: another value restarts them.
                "annotations": {"clickstream.dev/settings": settings(plan)},
            },
            "spec": {
                "serviceAccountName": name,
                "automountServiceAccountToken": false,
                // Variables made from Services would be read as options of the programs.
                "enableServiceLinks": false,
                "securityContext": {
                    "runAsNonRoot": true,
                    "runAsUser": 65532,
                    "runAsGroup": 65532,
                    "fsGroup": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "topologySpreadConstraints": [{
                    "maxSkew": 1,
                    "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": labels},
                }],
                "containers": [container],
                "volumes": volumes,
            },
        },
    }});
    if let Some(more) = &spec.pod_template_overrides {
        overrides::merge(&mut data["spec"]["template"], more);
    }
    if let Some(replicas) = replicas {
        data["spec"]["replicas"] = replicas.into();
    }
    plan.object::<Deployment>(&name, Some(component), data)
}

/// Variables whose values stand in Secrets, and those made of them.
fn environment(plan: &Plan<'_>) -> Value {
    let spec = &plan.pipeline.spec;
    let from = |variable: &str, name: &str, key: &str| json!({"name": variable, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}});
    let postgres = &spec.postgres.secret_ref;
    let mut environment = vec![from("DATABASE_URL", &postgres.name, &postgres.key)];
    let mut settings: Vec<String> = protocol(spec)
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let auth = spec.kafka.auth.as_ref();
    let scram = auth.and_then(|auth| Some(&auth.scram.as_ref()?.secret_ref));
    let plain = auth.and_then(|auth| Some(&auth.plain.as_ref()?.secret_ref));
    if let Some(login) = scram.or(plain) {
        environment.push(from("KAFKA_USERNAME", &login.name, "username"));
        environment.push(from("KAFKA_PASSWORD", &login.name, "password"));
        // The kubelet puts in what the variables above hold.
        settings.push("sasl.username=$(KAFKA_USERNAME)".to_owned());
        settings.push("sasl.password=$(KAFKA_PASSWORD)".to_owned());
    }
    if let Some(authority) = spec
        .kafka
        .tls
        .as_ref()
        .and_then(|tls| tls.ca_secret_ref.as_ref())
    {
        settings.push(format!("ssl.ca.location={AUTHORITY}/{}", authority.key));
    }
    if auth.is_some_and(|auth| auth.mtls.is_some()) {
        settings.push(format!("ssl.certificate.location={CERTIFICATE}/tls.crt"));
        settings.push(format!("ssl.key.location={CERTIFICATE}/tls.key"));
    }
    environment.push(json!({"name": "KAFKA_CONFIG", "value": settings.join("\n")}));
    Value::Array(environment)
}

/// Volumes and mounts of Secrets with certificates.
fn certificates(plan: &Plan<'_>) -> (Value, Value) {
    let kafka = &plan.pipeline.spec.kafka;
    let authority = kafka
        .tls
        .iter()
        .filter_map(|tls| tls.ca_secret_ref.as_ref());
    let authority = authority.map(|secret| ("kafka-ca", AUTHORITY, &secret.name));
    let mtls = kafka.auth.iter().filter_map(|auth| auth.mtls.as_ref());
    let mtls = mtls.map(|mtls| ("kafka-certificate", CERTIFICATE, &mtls.secret_ref.name));
    let all: Vec<_> = authority.chain(mtls).collect();
    let volumes = all
        .iter()
        .map(|(name, _, secret)| json!({"name": name, "secret": {"secretName": secret}}));
    let mounts = all
        .iter()
        .map(|(name, path, _)| json!({"name": name, "mountPath": path, "readOnly": true}));
    (volumes.collect(), mounts.collect())
}

/// Differs when a setting or a Secret does.
fn settings(plan: &Plan<'_>) -> String {
    let mut hash = Sha256::new();
    hash.update(plan.fingerprint);
    for (name, value) in config_map::variables(plan) {
        hash.update(format!("\n{name}={value}"));
    }
    hash.finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
