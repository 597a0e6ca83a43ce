//! ClickstreamQueries, from apply to deletion.

use clickstream_registry::{HandlerRow, ProcessId, Registry as _, StandingName};
use clickstream_resources::{ClickstreamPipeline, ClickstreamQuery};
use kube::ResourceExt as _;
use serde_json::json;

use crate::bed::{Bed, until, worker};

#[tokio::test]
async fn query_is_programmed_watched_suspended_and_removed() {
    let bed = Bed::new().await;
    bed.pipeline(
        "shop",
        json!({"handler": {"replicas": 1, "url": "https://clickstream.example.com"}}),
    )
    .await;
    bed.pipeline_says("shop", "SchemaReady", "True", "UpToDate")
        .await;
    bed.query("purchases", json!({"fields": ["user_id"], "rate": 7}))
        .await;
    bed.query_says("purchases", "Programmed", "False", "NoWorkers")
        .await;
    let registry = bed.registry("shop");
    let name = StandingName {
        namespace: bed.namespace.clone(),
        name: "purchases".into(),
    };
    let standing = registry.standing(&name).await.unwrap().unwrap();
    assert_eq!(
        (standing.fields, standing.rate),
        (vec!["user_id".to_owned()], Some(7))
    );
    assert_eq!(standing.filter, r#"event.type == "purchase""#);

    let (one, two, handler) = (
        ProcessId::random(),
        ProcessId::random(),
        ProcessId::random(),
    );
    let behind = async |revision| {
        registry
            .report_worker(&worker(one, u64::MAX >> 1))
            .await
            .unwrap();
        registry
            .report_worker(&worker(two, revision))
            .await
            .unwrap();
    };
    behind(0).await;
    let told = bed
        .query_says("purchases", "Programmed", "False", "WaitingForWorkers")
        .await;
    assert_eq!(told, "1 of 2 workers match it");
    let id = registry.query_id("", &standing.filter);
    let row = HandlerRow {
        id: handler,
        revision: 0,
        connections: 3,
        viewers: vec![(name.clone(), 3)],
    };
    until("programmed by both, with rate and viewers", async || {
        // Rows count for 15 s.
        behind(u64::MAX >> 1).await;
        registry.report_handler(&row).await.unwrap();
        registry
            .report_standing_rates(one, &[(id, 35.2)])
            .await
            .unwrap();
        let query = bed
            .api::<ClickstreamQuery>()
            .get("purchases")
            .await
            .unwrap();
        let status = query.status.unwrap();
        let ready = status
            .conditions
            .iter()
            .any(|c| c.type_ == "Ready" && c.status == "True" && c.reason == "Ready");
        let programmed = status
            .programmed
            .map(|programmed| (programmed.workers, programmed.of));
        (ready
            && programmed == Some((2, 2))
            && status.viewers == Some(3)
            && status.match_rate.as_deref() == Some("35/s"))
        .then(|| {
            assert_eq!(status.query_id, Some(id.to_string()));
            assert_eq!(
                status.filter.as_deref(),
                Some(r#"event.type == "purchase""#)
            );
            let url = format!(
                "https://clickstream.example.com/?query={}/purchases",
                bed.namespace
            );
            assert_eq!(status.url, Some(url));
            assert_eq!(status.observed_generation, query.metadata.generation);
            assert!(query.metadata.finalizers.is_none(), "nothing to wait for");
        })
    })
    .await;

    bed.patch::<ClickstreamQuery>("purchases", json!({"spec": {"suspend": true}}))
        .await;
    bed.query_says("purchases", "Programmed", "False", "Suspended")
        .await;
    bed.query_says("purchases", "Ready", "True", "Suspended")
        .await;
    assert!(registry.list().await.unwrap().is_empty());
    bed.patch::<ClickstreamQuery>("purchases", json!({"spec": {"suspend": false}}))
        .await;
    until("matched again", async || {
        (!registry.list().await.unwrap().is_empty()).then_some(())
    })
    .await;
    bed.delete::<ClickstreamQuery>("purchases").await;
    until("gone from the registry", async || {
        registry
            .standing(&name)
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn bad_filter_is_told_with_its_place_and_stops_what_ran() {
    let bed = Bed::new().await;
    bed.pipeline("shop", json!({})).await;
    bed.pipeline_says("shop", "SchemaReady", "True", "UpToDate")
        .await;
    bed.query("carts", json!({})).await;
    bed.query_says("carts", "Accepted", "True", "Accepted")
        .await;
    let registry = bed.registry("shop");
    until("registered", async || {
        (!registry.list().await.unwrap().is_empty()).then_some(())
    })
    .await;
    bed.patch::<ClickstreamQuery>(
        "carts",
        json!({"spec": {"filter": "event.price > && true"}}),
    )
    .await;
    let told = bed
        .query_says("carts", "Accepted", "False", "InvalidFilter")
        .await;
    assert!(
        told.contains("at byte 14\nevent.price > && true\n              ^"),
        "{told}"
    );
    bed.query_says("carts", "Stalled", "True", "InvalidFilter")
        .await;
    bed.query_says("carts", "Ready", "False", "InvalidFilter")
        .await;
    assert!(registry.list().await.unwrap().is_empty());
    bed.patch::<ClickstreamQuery>(
        "carts",
        json!({"spec": {"filter": "true", "fields": ["a..b"]}}),
    )
    .await;
    bed.query_says("carts", "Accepted", "False", "InvalidFields")
        .await;
    let mut describe = bed.kubernetes.kubectl();
    describe.args(["describe", "csq/carts", "-n", &bed.namespace]);
    let described = String::from_utf8(describe.output().unwrap().stdout).unwrap();
    assert!(
        described.contains("InvalidFilter"),
        "an event tells of it: {described}"
    );
}

#[tokio::test]
async fn pipeline_decides_whose_queries_it_takes() {
    let mut bed = Bed::without_operator().await;
    let other = format!("{}-other", bed.namespace);
    bed.make_namespace(&other, json!({"team": "shop"})).await;
    let namespaces = format!("{},{other}", bed.namespace);
    bed.start_operator(&["--watch-namespaces", &namespaces])
        .await;
    let home = std::mem::replace(&mut bed.namespace, other);
    bed.query(
        "guest",
        json!({"pipelineRef": {"name": "shop", "namespace": home}}),
    )
    .await;
    let guest = std::mem::replace(&mut bed.namespace, home);
    let told_guest = async |bed: &mut Bed, kind: &str, status: &str, reason: &str| {
        let home = std::mem::replace(&mut bed.namespace, guest.clone());
        bed.query_says("guest", kind, status, reason).await;
        bed.namespace = home;
    };
    told_guest(&mut bed, "ResolvedRefs", "False", "PipelineNotFound").await;
    bed.pipeline("shop", json!({})).await;
    told_guest(&mut bed, "ResolvedRefs", "False", "NotPermitted").await;
    let allow = |namespaces| json!({"spec": {"allowedQueries": {"namespaces": namespaces}}});
    bed.patch::<ClickstreamPipeline>(
        "shop",
        allow(json!({"from": "Selector", "matchLabels": {"team": "none"}})),
    )
    .await;
    bed.pipeline_says("shop", "SchemaReady", "True", "UpToDate")
        .await;
    told_guest(&mut bed, "ResolvedRefs", "False", "NotPermitted").await;
    bed.patch::<ClickstreamPipeline>("shop", allow(json!({"matchLabels": {"team": "shop"}})))
        .await;
    told_guest(&mut bed, "ResolvedRefs", "True", "Resolved").await;
    let registry = bed.registry("shop");
    until("registered", async || {
        (!registry.list().await.unwrap().is_empty()).then_some(())
    })
    .await;
    bed.patch::<ClickstreamPipeline>("shop", allow(json!({"from": "Same", "matchLabels": null})))
        .await;
    told_guest(&mut bed, "ResolvedRefs", "False", "NotPermitted").await;
    assert!(
        registry.list().await.unwrap().is_empty(),
        "a right that was taken back ends the query"
    );
}

#[tokio::test]
async fn rows_of_queries_deleted_while_no_operator_ran_are_removed() {
    let mut bed = Bed::new().await;
    bed.pipeline("shop", json!({})).await;
    for name in ["kept", "gone"] {
        bed.query(name, json!({"filter": format!("event.name == '{name}'")}))
            .await;
    }
    let registry = bed.registry("shop");
    bed.pipeline_says("shop", "SchemaReady", "True", "UpToDate")
        .await;
    until("both registered", async || {
        (registry.list().await.unwrap().len() == 2).then_some(())
    })
    .await;
    let mut operator = bed.operators.remove(0);
    operator.stop(std::time::Duration::from_secs(30)).unwrap();
    bed.delete::<ClickstreamQuery>("gone").await;
    let namespace = bed.namespace.clone();
    bed.start_operator(&["--watch-namespaces", &namespace])
        .await;
    until("one is left", async || {
        let list = registry.list().await.unwrap();
        (list.len() == 1).then(|| assert_eq!(list[0].standing.as_ref().unwrap().name, "kept"))
    })
    .await;
    let kept = bed.api::<ClickstreamQuery>().get("kept").await.unwrap();
    assert!(kept.finalizers().is_empty());
}
