//! ClickstreamPipelines, from apply to deletion.

use std::collections::HashMap;

use clickstream_resources::{ClickstreamPipeline, Phase};
use clickstream_testkit::kafka::{Kafka, unique};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::api::DeleteParams;
use kube::{Api, ResourceExt as _};
use rdkafka::admin::{AdminOptions, ResourceSpecifier};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::{Value, json};

use crate::bed::{Bed, LIMIT, until};

async fn topic_config(name: &str) -> HashMap<String, String> {
    let admin = Kafka::shared().unwrap().admin().unwrap();
    let of = [ResourceSpecifier::Topic(name)];
    let mut found = admin
        .describe_configs(&of, &AdminOptions::new())
        .await
        .unwrap();
    let entries = found.remove(0).unwrap().entries.into_iter();
    entries
        .filter_map(|entry| Some((entry.name, entry.value?)))
        .collect()
}

fn partitions(name: &str) -> usize {
    let client: BaseConsumer = Kafka::shared().unwrap().client().create().unwrap();
    let metadata = client.fetch_metadata(Some(name), LIMIT).unwrap();
    metadata.topics()[0].partitions().len()
}

/// Revisions of the two Deployments' pod templates.
async fn templates(bed: &Bed) -> Vec<Value> {
    let deployments = bed.api::<Deployment>();
    let mut templates = Vec::new();
    for name in ["shop-worker", "shop-handler"] {
        let deployment = deployments.get(name).await.unwrap();
        templates.push(serde_json::to_value(deployment.spec.unwrap().template).unwrap());
    }
    templates
}

#[tokio::test]
async fn pipeline_becomes_ready_and_a_second_look_writes_nothing() {
    let bed = Bed::new().await;
    let made = bed
        .pipeline(
            "shop",
            json!({"filteredTopic": {"partitions": 4, "config": {"retention.ms": "600000"}}}),
        )
        .await;
    bed.pipeline_says("shop", "WorkersReady", "False", "Unavailable")
        .await;
    bed.until_ready("shop").await;
    let topic = format!("clickstream-{}.shop", bed.namespace);
    assert_eq!(partitions(&topic), 4);
    let config = topic_config(&topic).await;
    assert_eq!(
        (
            config["retention.ms"].as_str(),
            config["cleanup.policy"].as_str()
        ),
        ("600000", "delete")
    );
    let pipeline = bed.api::<ClickstreamPipeline>().get("shop").await.unwrap();
    let status = pipeline.status.clone().unwrap();
    assert_eq!(status.phase, Some(Phase::Running));
    assert_eq!(status.observed_generation, made.metadata.generation);
    assert_eq!(
        status
            .kafka
            .map(|kafka| (kafka.source_partitions, kafka.filtered_partitions)),
        Some((3, 4))
    );
    assert!(status.postgres.unwrap().schema_version > 0);
    assert_eq!(
        status.worker.map(|worker| (worker.ready, worker.desired)),
        Some((1, 1))
    );
    assert!(pipeline.finalizers().is_empty(), "nothing to wait for");

    let operator = &bed.operators[0];
    let mut writes: Vec<f64> = Vec::new();
    let mut looks = Vec::new();
    for _ in 0..2 {
        let before = operator
            .metric("operator_reconciles_total", "ClickstreamPipeline")
            .await
            .unwrap();
        bed.touch::<ClickstreamPipeline>("shop").await;
        until("another look", async || {
            let now = operator
                .metric("operator_reconciles_total", "ClickstreamPipeline")
                .await
                .unwrap();
            (now > before).then_some(())
        })
        .await;
        let mut all = 0.0;
        for verb in ["create", "update", "patch", "delete"] {
            all += operator
                .metric("operator_kube_requests_total", &format!("verb=\"{verb}\""))
                .await
                .unwrap();
        }
        writes.push(all);
        // Of what it made itself watches tell; Secrets are read by each look.
        looks.push(
            operator
                .metric("operator_kube_requests_total", "kind=\"secrets\"")
                .await
                .unwrap(),
        );
    }
    assert_eq!(writes[0], writes[1], "writes");
    assert!(writes[0] > 0.0 && looks[1] > looks[0], "looks: {looks:?}");
}

#[tokio::test]
async fn topic_is_grown_and_only_named_settings_are_changed() {
    let bed = Bed::new().await;
    let topic = unique("matches");
    let kafka = Kafka::shared().unwrap();
    kafka
        .create_topic_with(
            &topic,
            1,
            &[("retention.ms", "1000"), ("segment.bytes", "1048576")],
        )
        .await
        .unwrap();
    let filtered = |retention: &str| json!({"name": topic, "partitions": 2, "config": {"retention.ms": retention}});
    bed.pipeline("shop", json!({"filteredTopic": filtered("5000")}))
        .await;
    bed.pipeline_says("shop", "TopicsReady", "True", "TopicsMatch")
        .await;
    assert_eq!(partitions(&topic), 2);
    let config = topic_config(&topic).await;
    assert_eq!(config["retention.ms"], "5000");
    assert_eq!(config["segment.bytes"], "1048576", "nobody named it");
    bed.patch::<ClickstreamPipeline>(
        "shop",
        json!({"spec": {"filteredTopic": {"config": {"retention.ms": "no number"}}}}),
    )
    .await;
    let told = bed
        .pipeline_says("shop", "TopicsReady", "False", "NotSupported")
        .await;
    assert!(told.contains(&topic), "{told}");
    bed.patch::<ClickstreamPipeline>(
        "shop",
        json!({"spec": {"filteredTopic": {"config": {"retention.ms": "7000"}}}}),
    )
    .await;
    bed.pipeline_says("shop", "TopicsReady", "True", "TopicsMatch")
        .await;
    assert_eq!(topic_config(&topic).await["retention.ms"], "7000");

    let admin = kafka.admin().unwrap();
    admin
        .delete_topics(&[&topic], &AdminOptions::new())
        .await
        .unwrap();
    until("the topic is back", async || {
        bed.touch::<ClickstreamPipeline>("shop").await;
        (partitions(&topic) == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn pipeline_that_never_rests_is_looked_at() {
    let bed = Bed::new().await;
    bed.pipeline("shop", json!({})).await;
    bed.until_ready("shop").await;
    bed.delete::<Service>("shop-handler").await;
    let touching = async {
        loop {
            bed.touch::<ClickstreamPipeline>("shop").await;
        }
    };
    tokio::select! {
        () = touching => {}
        () = until("the Service is back", async || {
            let service = bed.api::<Service>().get_opt("shop-handler").await.unwrap();
            service.map(drop)
        }) => {}
    }
}

#[tokio::test]
async fn drift_is_corrected_and_a_new_secret_restarts_pods_once() {
    let bed = Bed::new().await;
    bed.pipeline("shop", json!({})).await;
    bed.until_ready("shop").await;
    let before = templates(&bed).await;

    bed.delete::<Service>("shop-handler").await;
    until("the Service is back", async || {
        bed.api::<Service>().get_opt("shop-handler").await.unwrap()
    })
    .await;
    bed.patch::<Deployment>("shop-worker", json!({"spec": {"replicas": 5}}))
        .await;
    until("one worker again", async || {
        let worker = bed.api::<Deployment>().get("shop-worker").await.unwrap();
        (worker.spec.unwrap().replicas == Some(1)).then_some(())
    })
    .await;
    assert_eq!(templates(&bed).await, before);

    bed.put_secret(
        "database",
        json!({"uri": format!("{}?application_name=other", bed.database)}),
    )
    .await;
    until("both templates changed", async || {
        let now = templates(&bed).await;
        (now[0] != before[0] && now[1] != before[1]).then_some(())
    })
    .await;
    let once = templates(&bed).await;
    bed.until_ready("shop").await;
    bed.touch::<ClickstreamPipeline>("shop").await;
    bed.until_ready("shop").await;
    assert_eq!(templates(&bed).await, once);

    let mut scale = bed.kubernetes.kubectl();
    scale.args(["scale", "csp/shop", "--replicas=3", "-n", &bed.namespace]);
    assert!(scale.output().unwrap().status.success());
    bed.until_ready("shop").await;
    let status = bed.pipeline_status("shop").await;
    assert_eq!(status.worker.unwrap().ready, 3);
}

#[tokio::test]
async fn paused_changes_nothing_and_suspended_runs_nothing() {
    let bed = Bed::new().await;
    bed.pipeline("shop", json!({"paused": true})).await;
    bed.pipeline_says("shop", "Paused", "True", "Paused").await;
    bed.pipeline_says("shop", "TopicsReady", "False", "Paused")
        .await;
    bed.pipeline_says("shop", "SchemaReady", "False", "SchemaOutdated")
        .await;
    assert!(
        bed.api::<Deployment>()
            .get_opt("shop-worker")
            .await
            .unwrap()
            .is_none()
    );
    bed.patch::<ClickstreamPipeline>("shop", json!({"spec": {"paused": false}}))
        .await;
    bed.until_ready("shop").await;
    bed.patch::<ClickstreamPipeline>("shop", json!({"spec": {"suspend": true}}))
        .await;
    bed.pipeline_says("shop", "Ready", "True", "Suspended")
        .await;
    let worker = bed.api::<Deployment>().get("shop-worker").await.unwrap();
    assert_eq!(worker.spec.unwrap().replicas, Some(0));
    assert!(
        bed.api::<Service>()
            .get_opt("shop-handler")
            .await
            .unwrap()
            .is_some(),
        "everything else stays"
    );
}

#[tokio::test]
async fn topic_goes_with_its_pipeline_only_when_asked() {
    let bed = Bed::new().await;
    let delete = json!({"reclaimPolicy": "Delete", "partitions": 1});
    bed.pipeline("kept", json!({"filteredTopic": {"partitions": 1}}))
        .await;
    bed.pipeline("gone", json!({"filteredTopic": delete})).await;
    bed.pipeline("left", json!({"filteredTopic": delete})).await;
    let topic = |name: &str| format!("clickstream-{}.{name}", bed.namespace);
    for name in ["kept", "gone", "left"] {
        bed.pipeline_says(name, "TopicsReady", "True", "TopicsMatch")
            .await;
    }
    // A Secret that is gone keeps the operator from Kafka.
    bed.patch::<ClickstreamPipeline>(
        "left",
        json!({"spec": {"kafka": {"auth": {"plain": {"secretRef": {"name": "missing"}}}}}}),
    )
    .await;
    for name in ["kept", "gone", "left"] {
        bed.delete::<ClickstreamPipeline>(name).await;
    }
    let pipelines = bed.api::<ClickstreamPipeline>();
    for name in ["kept", "gone"] {
        until("deleted", async || {
            pipelines
                .get_opt(name)
                .await
                .unwrap()
                .is_none()
                .then_some(())
        })
        .await;
    }
    until("the topic is gone", async || {
        (partitions(&topic("gone")) == 0).then_some(())
    })
    .await;
    let told = bed
        .pipeline_says("left", "Ready", "False", "Deleting")
        .await;
    assert!(told.contains("clickstream.dev/abandon"), "{told}");
    bed.patch::<ClickstreamPipeline>(
        "left",
        json!({"metadata": {"annotations": {"clickstream.dev/abandon": "true"}}}),
    )
    .await;
    until("deleted", async || {
        pipelines
            .get_opt("left")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    assert_eq!(
        (partitions(&topic("kept")), partitions(&topic("left"))),
        (1, 1)
    );
}

#[tokio::test]
async fn namespace_goes_with_kafka_and_database_away() {
    let bed = Bed::new().await;
    let kafka = Kafka::start().unwrap();
    kafka.create_topic("events", 1).await.unwrap();
    bed.pipeline(
        "shop",
        json!({
            "kafka": {"bootstrapServers": [kafka.brokers()]},
            "sourceTopics": [{"name": "events"}],
            "filteredTopic": {"partitions": 1, "reclaimPolicy": "Delete"},
        }),
    )
    .await;
    bed.query("purchases", json!({})).await;
    bed.pipeline_says("shop", "TopicsReady", "True", "TopicsMatch")
        .await;
    bed.query_says("purchases", "Programmed", "False", "NoWorkers")
        .await;
    let pipeline = bed.api::<ClickstreamPipeline>().get("shop").await.unwrap();
    assert!(!pipeline.finalizers().is_empty());
    kafka.kill().unwrap();
    let nowhere = clickstream_testkit::port::free().unwrap();
    bed.put_secret(
        "database",
        json!({"uri": format!("postgres://postgres@{nowhere}/none")}),
    )
    .await;
    let namespaces = Api::<Namespace>::all(bed.client.clone());
    namespaces
        .delete(&bed.namespace, &DeleteParams::default())
        .await
        .unwrap();
    until("the namespace is gone", async || {
        namespaces
            .get_opt(&bed.namespace)
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
}
