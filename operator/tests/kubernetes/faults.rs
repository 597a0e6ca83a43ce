//! An API server that answers errors or loses watches: nothing is torn down, nothing is asked without a rest, and in the
//! end all is as it should be.

use std::time::Duration;

use clickstream_registry::Registry as _;
use clickstream_resources::{ClickstreamPipeline, ClickstreamQuery};
use futures_util::future::join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::json;

use crate::bed::{Bed, until};
use crate::proxy::{Fault, Proxy};

/// A look makes some fifteen requests. With more errors most looks would fail, and an object that fails again and again is
/// looked at minutes later.
const ONE_OF: usize = 61;

async fn deployments(bed: &Bed) -> Vec<(String, Option<i64>)> {
    let list = bed.api::<Deployment>().list(&ListParams::default()).await;
    let list = list.unwrap().into_iter();
    list.map(|found| (found.uid().unwrap(), found.metadata.generation))
        .collect()
}

/// Has the operator look at both objects, and waits until it has.
async fn looked(bed: &Bed) {
    let looks = async |kind: &str| {
        let labels = format!("kind=\"{kind}\",result=\"ok\"");
        let looks = bed.operators[0].metric("operator_reconciles_total", &labels);
        looks.await.unwrap()
    };
    let before = (
        looks("ClickstreamPipeline").await,
        looks("ClickstreamQuery").await,
    );
    bed.touch::<ClickstreamPipeline>("shop").await;
    bed.touch::<ClickstreamQuery>("purchases").await;
    until("a look at both", async || {
        let pipelines = looks("ClickstreamPipeline").await;
        let queries = looks("ClickstreamQuery").await;
        (pipelines > before.0 && queries > before.1).then_some(())
    })
    .await;
}

/// Writes but for the Lease's.
fn writes(proxy: &Proxy) -> Vec<String> {
    let writes = proxy.seen("", "").into_iter();
    let told = writes.filter(|seen| seen.writes() && !seen.path.contains("/leases"));
    told.map(|seen| format!("{} {}", seen.verb, seen.path))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_the_api_server_are_overcome() {
    join_all([409, 429, 500, 503].map(overcome)).await;
}

async fn overcome(code: u16) {
    let mut bed = Bed::without_operator().await;
    let proxy = bed.proxy().await;
    for (verb, path, times) in [
        ("GET", "limit=1&", 1),
        ("GET", "limit=500", 3),
        ("WATCH", "", 4),
        ("PATCH", "/clickstreampipelines/shop/status", 1),
        ("PATCH", "/deployments/shop-worker", 1),
        ("PATCH", "/clickstreamqueries/purchases/status", 1),
        ("POST", "/events", 2),
    ] {
        proxy.inject(Fault {
            verb,
            path,
            code,
            one_of: 1,
            times,
        });
    }
    proxy.inject(Fault {
        verb: "",
        path: "",
        code,
        one_of: ONE_OF,
        times: usize::MAX,
    });
    let namespace = bed.namespace.clone();
    bed.start_operator(&[
        "--watch-namespaces",
        &namespace,
        "--leader-elect",
        "--lease-namespace",
        &namespace,
    ])
    .await;
    bed.pipeline("shop", json!({})).await;
    bed.query("purchases", json!({})).await;
    bed.until_ready("shop").await;
    bed.query_says("purchases", "Programmed", "False", "NoWorkers")
        .await;
    assert_eq!(bed.registry("shop").list().await.unwrap().len(), 1);
    // An event is told after the status that it is about.
    until("each fault above, and one of those between", async || {
        let seen = proxy.seen("", "").into_iter();
        (seen.filter(|seen| seen.fault.is_some()).count() >= 14).then_some(())
    })
    .await;
    let before = deployments(&bed).await;
    assert_eq!(before.len(), 2);
    bed.delete::<Service>("shop-handler").await;
    until("the Service is back", async || {
        let service = bed.api::<Service>().get_opt("shop-handler").await;
        service.unwrap().map(drop)
    })
    .await;

    proxy.heal();
    bed.until_ready("shop").await;
    looked(&bed).await;
    let known = writes(&proxy);
    looked(&bed).await;
    assert_eq!(writes(&proxy)[known.len()..], [""; 0]);

    // Nothing but errors for a step in the middle.
    const SECRET: &str = "/secrets/database";
    let attempts = proxy.seen("GET", SECRET).len();
    proxy.inject(Fault {
        verb: "GET",
        path: SECRET,
        code,
        one_of: 1,
        times: usize::MAX,
    });
    bed.touch::<ClickstreamPipeline>("shop").await;
    until("a second attempt", async || {
        (proxy.seen("GET", SECRET).len() > attempts + 1).then_some(())
    })
    .await;
    // Long enough for thousands, were there no back-off.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let attempts = proxy.seen("GET", SECRET).len() - attempts;
    assert!(attempts <= 8, "{attempts} attempts under {code}");
    bed.pipeline_says("shop", "Ready", "True", "Ready").await;
    assert_eq!(deployments(&bed).await, before);
    proxy.heal();
    looked(&bed).await;
    let operator = bed.operators[0].process();
    assert!(operator.status().unwrap().is_none(), "no restart");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_that_are_dropped_or_expire_are_begun_again() {
    let mut bed = Bed::without_operator().await;
    let proxy = bed.proxy().await;
    let namespace = bed.namespace.clone();
    bed.start_operator(&["--watch-namespaces", &namespace])
        .await;
    bed.pipeline("shop", json!({})).await;
    bed.query("purchases", json!({})).await;
    bed.until_ready("shop").await;
    let kinds = [
        "/clickstreampipelines",
        "/clickstreamqueries",
        "/secrets",
        "/deployments",
        "/configmaps",
        "/services?",
        "/serviceaccounts",
        "/poddisruptionbudgets",
    ];
    // With 410 the server does not know any more what happened since: all is listed again.
    for (round, code) in [None, Some(410), Some(500)].into_iter().enumerate() {
        let begun = kinds.map(|kind| proxy.seen("WATCH", kind).len());
        for (path, code) in kinds.into_iter().zip(code.into_iter().cycle()) {
            proxy.inject(Fault {
                verb: "WATCH",
                path,
                code,
                one_of: 1,
                times: 1,
            });
        }
        proxy.drop_watches();
        let filter = format!("event.round == {round}");
        bed.patch::<ClickstreamQuery>("purchases", json!({"spec": {"filter": filter}}))
            .await;
        bed.patch::<ClickstreamPipeline>(
            "shop",
            json!({"spec": {"worker": {"replicas": round + 2}}}),
        )
        .await;
        bed.query_says("purchases", "Accepted", "True", "Accepted")
            .await;
        let query = bed.api::<ClickstreamQuery>().get("purchases").await;
        assert_eq!(query.unwrap().status.unwrap().filter, Some(filter));
        bed.until_ready("shop").await;
        until("every kind is watched again", async || {
            let again = kinds.map(|kind| proxy.seen("WATCH", kind).len());
            let all = begun.iter().zip(again).all(|(begun, again)| again > *begun);
            all.then_some(())
        })
        .await;
        proxy.heal();
    }
    let begun = proxy.seen("WATCH", "").len();
    assert!(begun < 100, "{begun} watches were begun");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn right_that_is_missing_is_told_and_its_return_noticed() {
    let mut bed = Bed::without_operator().await;
    let proxy = bed.proxy().await;
    let namespace = bed.namespace.clone();
    proxy.inject(Fault {
        verb: "GET",
        path: "/secrets/database",
        code: 403,
        one_of: 1,
        times: usize::MAX,
    });
    bed.start_operator(&["--watch-namespaces", &namespace])
        .await;
    bed.pipeline("shop", json!({})).await;
    let told = bed
        .pipeline_says("shop", "Ready", "Unknown", "InternalError")
        .await;
    assert!(told.contains("injected by the test"), "{told}");
    proxy.heal();
    bed.until_ready("shop").await;
}
