//! The way from outside to the handlers, who may connect to pods, and what goes when nobody asks for it any more.

use std::path::Path;

use clickstream_resources::{ClickstreamPipeline, ClickstreamQuery};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::bed::{Bed, until};

const HOST: &str = "shop.example.com";

/// The Ingress as it stands.
async fn ingress(bed: &Bed) -> Option<Value> {
    let found = bed.api::<Ingress>().get_opt("shop-handler").await.unwrap();
    found.map(|found| json!(found))
}

async fn query_url(bed: &Bed, begins: &str) {
    until("the query's address", async || {
        let query = bed
            .api::<ClickstreamQuery>()
            .get("purchases")
            .await
            .unwrap();
        let url = query.status?.url?;
        url.starts_with(begins).then_some(())
    })
    .await;
}

#[tokio::test]
async fn ingress_is_kept_as_asked_for_and_goes_when_it_is_not() {
    let bed = Bed::new().await;
    let exposure = json!({"ingress": {
        "host": HOST,
        "className": "public",
        "tlsSecretName": "certificate",
        "annotations": {"example.com/read-timeout": "3600"},
    }});
    bed.pipeline(
        "shop",
        json!({"handler": {"replicas": 1, "exposure": exposure}}),
    )
    .await;
    bed.query("purchases", json!({})).await;
    bed.until_ready("shop").await;
    bed.pipeline_says("shop", "ExposureReady", "True", "Applied")
        .await;
    query_url(&bed, "https://shop.example.com/?query=").await;
    let made = ingress(&bed).await.unwrap();
    assert_eq!(made["spec"]["ingressClassName"], "public");
    assert_eq!(made["spec"]["tls"][0]["secretName"], "certificate");
    assert_eq!(
        made["metadata"]["annotations"]["example.com/read-timeout"],
        "3600"
    );
    let backend = &made["spec"]["rules"][0]["http"]["paths"][0]["backend"];
    assert_eq!(backend["service"]["name"], "shop-handler");

    // Watched, so that nobody has to wait for the next look.
    bed.patch::<Ingress>(
        "shop-handler",
        json!({"spec": {"rules": [{"host": "elsewhere.example.com"}]}}),
    )
    .await;
    until("the host is back", async || {
        (ingress(&bed).await?["spec"]["rules"][0]["host"] == HOST).then_some(())
    })
    .await;
    bed.delete::<Ingress>("shop-handler").await;
    until("the Ingress is back", async || ingress(&bed).await).await;

    bed.patch::<ClickstreamPipeline>("shop", json!({"spec": {"handler": {"exposure": null}}}))
        .await;
    until("the Ingress is gone", async || {
        ingress(&bed).await.is_none().then_some(())
    })
    .await;
    bed.until_ready("shop").await;
    let pipeline = bed.api::<ClickstreamPipeline>().get("shop").await.unwrap();
    let conditions = pipeline.status.unwrap().conditions;
    assert!(
        conditions
            .iter()
            .all(|condition| condition.type_ != "ExposureReady"),
        "{conditions:?}"
    );
    query_url(&bed, "http://shop-handler.").await;
}

#[tokio::test]
async fn object_of_somebody_else_is_not_taken_for_an_orphan() {
    let bed = Bed::new().await;
    let foreign =
        json!({"metadata": {"name": "shop-handler"}, "spec": {"rules": [{"host": HOST}]}});
    let foreign: Ingress = serde_json::from_value(foreign).unwrap();
    let made = bed
        .api::<Ingress>()
        .create(&Default::default(), &foreign)
        .await
        .unwrap();
    bed.pipeline("shop", json!({"networkPolicy": {}})).await;
    bed.until_ready("shop").await;
    bed.patch::<ClickstreamPipeline>("shop", json!({"spec": {"networkPolicy": null}}))
        .await;
    // Both are looked at in one go.
    until("the policies are gone", async || {
        let policies = bed.api::<NetworkPolicy>().list(&Default::default()).await;
        policies.unwrap().items.is_empty().then_some(())
    })
    .await;
    bed.until_ready("shop").await;
    let stands = bed.api::<Ingress>().get("shop-handler").await.unwrap();
    assert_eq!(stands.uid(), made.uid());
}

#[tokio::test]
async fn route_is_applied_once_the_cluster_knows_the_gateway_api() {
    let bed = Bed::new().await;
    let exposure = json!({"gateway": {
        "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}],
        "hostnames": [HOST],
    }});
    bed.pipeline(
        "shop",
        json!({"handler": {"replicas": 1, "exposure": exposure}}),
    )
    .await;
    let told = bed
        .pipeline_says("shop", "ExposureReady", "False", "GatewayApiMissing")
        .await;
    assert!(told.contains("install the Gateway API"), "{told}");
    until("everything else is ready", async || {
        bed.play_kubelet().await;
        let pipeline = bed.api::<ClickstreamPipeline>().get("shop").await.unwrap();
        let conditions = pipeline.status?.conditions;
        let holds = |kind: &str| {
            conditions
                .iter()
                .any(|condition| condition.type_ == kind && condition.status == "True")
        };
        (holds("WorkersReady") && holds("HandlersReady") && holds("Stalled")).then_some(())
    })
    .await;
    bed.pipeline_says("shop", "Ready", "False", "GatewayApiMissing")
        .await;

    let definition = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kubernetes/httproute.yaml");
    bed.kubernetes.apply(&definition, &[]).unwrap();
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
    let resource = ApiResource::from_gvk_with_plural(&kind, "httproutes");
    let routes =
        Api::<DynamicObject>::namespaced_with(bed.client.clone(), &bed.namespace, &resource);
    let route = async || routes.get_opt("shop-handler").await.ok().flatten();
    let made = until("the route is there", async || {
        bed.touch::<ClickstreamPipeline>("shop").await;
        route().await
    })
    .await;
    assert_eq!(made.data["spec"]["hostnames"], json!([HOST]));
    assert_eq!(made.data["spec"]["parentRefs"][0]["sectionName"], "https");
    assert_eq!(made.data["spec"]["rules"][0]["timeouts"]["request"], "0s");
    bed.until_ready("shop").await;

    // What the Gateway answers is told.
    let refused = json!({"status": {"parents": [{"conditions": [
        {"type": "Accepted", "status": "False", "reason": "NotAllowedByListeners", "message": "no listener takes it"},
    ]}]}});
    routes
        .patch_status(
            "shop-handler",
            &PatchParams::default(),
            &Patch::Merge(&refused),
        )
        .await
        .unwrap();
    bed.touch::<ClickstreamPipeline>("shop").await;
    let told = bed
        .pipeline_says("shop", "ExposureReady", "False", "NotAccepted")
        .await;
    assert!(
        told.contains("NotAllowedByListeners: no listener takes it"),
        "{told}"
    );

    // From one to the other.
    let ingress_instead = json!({"gateway": null, "ingress": {"host": HOST}});
    bed.patch::<ClickstreamPipeline>(
        "shop",
        json!({"spec": {"handler": {"exposure": ingress_instead}}}),
    )
    .await;
    until("an Ingress and no route", async || {
        (route().await.is_none() && ingress(&bed).await.is_some()).then_some(())
    })
    .await;
    bed.until_ready("shop").await;
}

#[tokio::test]
async fn pods_are_closed_to_others_and_have_what_the_platform_wants() {
    let bed = Bed::new().await;
    bed.pipeline(
        "shop",
        json!({
            "networkPolicy": {"clientNamespaces": ["ingress"], "monitoringNamespaces": ["monitoring"]},
            "podTemplateOverrides": {
                "labels": {"team": "shop"},
                "nodeSelector": {"pool": "streams"},
                "tolerations": [{"key": "streams", "operator": "Exists", "effect": "NoSchedule"}],
            },
        }),
    )
    .await;
    let policies = bed.api::<NetworkPolicy>();
    for (name, peers) in [("shop-worker", 2), ("shop-handler", 3)] {
        let policy = until("a policy", async || policies.get_opt(name).await.unwrap()).await;
        let rules = json!(policy)["spec"]["ingress"].clone();
        assert_eq!(rules[0]["from"].as_array().unwrap().len(), peers, "{rules}");
        assert_eq!(rules[0]["ports"][0]["port"], "http");
    }
    let deployments = bed.api::<Deployment>();
    until("the pods' template", async || {
        let worker = json!(deployments.get_opt("shop-worker").await.unwrap()?);
        let template = &worker["spec"]["template"];
        assert_eq!(template["metadata"]["labels"]["team"], "shop");
        assert_eq!(template["spec"]["nodeSelector"]["pool"], "streams");
        assert_eq!(template["spec"]["tolerations"][0]["key"], "streams");
        Some(())
    })
    .await;

    // Only the API server can tell whether this can be used.
    bed.patch::<ClickstreamPipeline>(
        "shop",
        json!({"spec": {"podTemplateOverrides": {"affinity": {"nodeAffinity": {"sometimes": 1}}}}}),
    )
    .await;
    let told = bed
        .pipeline_says("shop", "WorkersReady", "False", "ApplyFailed")
        .await;
    assert!(told.contains("sometimes"), "{told}");
    bed.patch::<ClickstreamPipeline>(
        "shop",
        json!({"spec": {"podTemplateOverrides": {"affinity": null}}}),
    )
    .await;
    bed.until_ready("shop").await;
}
