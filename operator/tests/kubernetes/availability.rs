//! What goes away and comes back: brokers, the database, the API server, operators.

use std::time::Duration;

use clickstream_registry::Registry as _;
use clickstream_resources::{ClickstreamPipeline, ClickstreamQuery, Phase};
use clickstream_testkit::kafka::Kafka;
use clickstream_testkit::kubernetes::Kubernetes;
use clickstream_testkit::postgres::Postgres;
use clickstream_testkit::process::Signal;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::bed::{Bed, LIMIT, until};

#[tokio::test]
async fn kafka_and_database_away_tear_nothing_down() {
    let (kafka, postgres) = (Kafka::start().unwrap(), Postgres::start().await.unwrap());
    kafka.create_topic("events", 3).await.unwrap();
    let database = postgres.create_database().await.unwrap();
    let mut bed = Bed::on(Kubernetes::shared().unwrap(), kafka.brokers(), database).await;
    let namespace = bed.namespace.clone();
    bed.start_operator(&["--watch-namespaces", &namespace])
        .await;
    bed.pipeline("shop", json!({"sourceTopics": [{"name": "events"}]}))
        .await;
    bed.query("purchases", json!({})).await;
    bed.until_ready("shop").await;
    bed.query_says("purchases", "Programmed", "False", "NoWorkers")
        .await;
    let deployments = async || {
        let list = bed
            .api::<Deployment>()
            .list(&kube::api::ListParams::default())
            .await
            .unwrap();
        list.items
            .into_iter()
            .map(|deployment| (deployment.name_any(), deployment.metadata.generation))
            .collect::<Vec<_>>()
    };
    let before = deployments().await;
    assert_eq!(before.len(), 2);

    kafka.kill().unwrap();
    postgres.kill().unwrap();
    bed.touch::<ClickstreamPipeline>("shop").await;
    bed.touch::<ClickstreamQuery>("purchases").await;
    bed.pipeline_says("shop", "KafkaReady", "False", "KafkaUnavailable")
        .await;
    bed.pipeline_says("shop", "SchemaReady", "False", "DatabaseUnavailable")
        .await;
    bed.pipeline_says("shop", "WorkersReady", "True", "Available")
        .await;
    bed.query_says("purchases", "Programmed", "Unknown", "DatabaseUnavailable")
        .await;
    let status = bed.pipeline_status("shop").await;
    assert_eq!(status.phase, Some(Phase::Degraded));
    assert_eq!(deployments().await, before);

    kafka.start_again().unwrap();
    postgres.start_again().await.unwrap();
    bed.touch::<ClickstreamPipeline>("shop").await;
    bed.until_ready("shop").await;
    bed.query_says("purchases", "Programmed", "False", "NoWorkers")
        .await;
    assert_eq!(deployments().await, before);
}

#[tokio::test]
async fn two_operators_at_once_do_no_harm() {
    let mut bed = Bed::without_operator().await;
    let namespace = bed.namespace.clone();
    for _ in 0..2 {
        bed.start_operator(&["--watch-namespaces", &namespace])
            .await;
    }
    bed.pipeline("shop", json!({})).await;
    for number in 0..20 {
        bed.query(
            &format!("query-{number}"),
            json!({"filter": format!("event.n == {number}")}),
        )
        .await;
    }
    bed.until_ready("shop").await;
    let registry = bed.registry("shop");
    until("all registered", async || {
        (registry.list().await.unwrap().len() == 20).then_some(())
    })
    .await;
    for number in 0..20 {
        bed.query_says(
            &format!("query-{number}"),
            "Programmed",
            "False",
            "NoWorkers",
        )
        .await;
    }
    let version = async || {
        bed.api::<ClickstreamPipeline>()
            .get("shop")
            .await
            .unwrap()
            .resource_version()
    };
    // Both have looked at what the other wrote once nothing changes any more.
    until("the two agree", async || {
        let before = version().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        (version().await == before).then_some(())
    })
    .await;
    bed.delete::<ClickstreamQuery>("query-7").await;
    until("one less", async || {
        (registry.list().await.unwrap().len() == 19).then_some(())
    })
    .await;
}

#[tokio::test]
async fn second_operator_takes_over_when_the_first_stops_or_freezes() {
    let mut bed = Bed::without_operator().await;
    let namespace = bed.namespace.clone();
    let args = [
        "--watch-namespaces",
        &namespace,
        "--leader-elect",
        "--lease-namespace",
        &namespace,
    ];
    let leases: Api<Lease> = bed.api();
    let holder = async || {
        leases
            .get_opt("clickstream-operator")
            .await
            .unwrap()?
            .spec?
            .holder_identity
    };
    bed.start_operator(&args).await;
    let first = until("a first leader", async || holder().await).await;
    bed.pipeline("shop", json!({})).await;
    bed.pipeline_says("shop", "SchemaReady", "True", "UpToDate")
        .await;
    bed.start_operator(&args).await;
    let of_second = async |name: &str, labels: &str| {
        let metric = bed.operators[1].metric(name, labels);
        metric.await.unwrap()
    };
    const WATCHES: &str = r#"verb="watch",kind="clickstreampipelines""#;
    const LISTS: &str = r#"verb="get",kind="clickstreampipelines""#;
    until("the second watches", async || {
        let watches = of_second("operator_kube_requests_total", WATCHES).await;
        (watches >= 2.0).then_some(())
    })
    .await;
    let lists = of_second("operator_kube_requests_total", LISTS).await;
    assert_eq!(of_second("operator_leader", "").await, 0.0);
    assert_eq!(of_second("operator_reconciles_total", "").await, 0.0);
    bed.operators[0].stop(Duration::from_secs(30)).unwrap();
    let second = until("a second leader", async || {
        holder().await.filter(|now| *now != first)
    })
    .await;
    let of_second = async |name: &str, labels: &str| {
        let metric = bed.operators[1].metric(name, labels);
        metric.await.unwrap()
    };
    until("the second looks", async || {
        let looks = of_second("operator_reconciles_total", "").await;
        (looks > 0.0).then_some(())
    })
    .await;
    assert_eq!(of_second("operator_leader", "").await, 1.0);
    let again = of_second("operator_kube_requests_total", LISTS).await;
    assert_eq!(again, lists, "it knew the pipelines already");

    bed.start_operator(&args).await;
    bed.operators[1].process().signal(Signal::Stop).unwrap();
    until("a third leader", async || {
        holder().await.filter(|now| *now != second)
    })
    .await;
    bed.operators[1].process().signal(Signal::Cont).unwrap();
    let ended = bed.operators[1].process().wait(LIMIT).unwrap();
    assert!(
        !ended.success(),
        "whoever was frozen ends, and does not go on"
    );
    bed.pipeline("later", json!({})).await;
    bed.pipeline_says("later", "SchemaReady", "True", "UpToDate")
        .await;
}

#[tokio::test]
async fn api_server_that_dies_and_comes_back_is_followed_again() {
    // Its own, and for the rest of the process, because tests cannot share one that dies.
    let kubernetes: &'static Kubernetes = Box::leak(Box::new(Kubernetes::start().unwrap()));
    let database = Postgres::shared()
        .await
        .unwrap()
        .create_database()
        .await
        .unwrap();
    let mut bed = Bed::on(kubernetes, Kafka::shared().unwrap().brokers(), database).await;
    let namespace = bed.namespace.clone();
    bed.start_operator(&["--watch-namespaces", &namespace])
        .await;
    bed.pipeline("shop", json!({})).await;
    bed.until_ready("shop").await;
    kubernetes.kill_api_server().unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    kubernetes.start_api_server().unwrap();
    bed.query("purchases", json!({})).await;
    bed.query_says("purchases", "Accepted", "True", "Accepted")
        .await;
    bed.query_says("purchases", "Programmed", "False", "NoWorkers")
        .await;
    bed.until_ready("shop").await;
    assert!(
        bed.operators[0].process().status().unwrap().is_none(),
        "no restart was needed"
    );
}
