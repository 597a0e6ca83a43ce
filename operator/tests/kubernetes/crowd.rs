//! Hundreds of queries at once: a few writes for each, and none when nothing changes any more.

use clickstream_registry::{ProcessId, Registry as _};
use clickstream_resources::{ClickstreamPipeline, ClickstreamQuery};
use clickstream_testkit::process::Program;
use futures_util::{StreamExt as _, stream};
use kube::api::ListParams;
use serde_json::json;

use crate::bed::{Bed, LIMIT, until, worker};

const QUERIES: usize = 300;

const REQUESTS: &str = "operator_kube_requests_total";

async fn count(operator: &Program, name: &str, labels: &str) -> f64 {
    operator.metric(name, labels).await.unwrap()
}

async fn writes(operator: &Program) -> f64 {
    let mut all = 0.0;
    for verb in ["create", "update", "patch", "delete"] {
        all += count(operator, REQUESTS, &format!("verb=\"{verb}\"")).await;
    }
    all
}

/// Looks at queries that ended well.
async fn looks(operator: &Program) -> f64 {
    let of = r#"kind="ClickstreamQuery",result="ok""#;
    count(operator, "operator_reconciles_total", of).await
}

#[tokio::test]
async fn hundreds_of_queries_are_programmed_with_few_writes_and_then_with_none() {
    let mut bed = Bed::new().await;
    bed.pipeline("shop", json!({})).await;
    bed.until_ready("shop").await;
    let (registry, id) = (bed.registry("shop"), ProcessId::random());
    // Rows count for 15 s.
    let works = async || {
        let row = worker(id, u64::MAX >> 1);
        registry.report_worker(&row).await.unwrap();
    };
    works().await;
    let made = stream::iter(0..QUERIES).map(async |n| {
        let filter = format!("event.n == {n}");
        bed.query(&format!("query-{n}"), json!({"filter": filter}))
            .await
    });
    made.buffer_unordered(8).collect::<Vec<_>>().await;
    let programmed = async |bed: &Bed| {
        works().await;
        let all = bed.api::<ClickstreamQuery>();
        let all = all.list(&ListParams::default()).await.unwrap();
        let said = |query: &ClickstreamQuery| {
            let conditions = query.status.iter().flat_map(|status| &status.conditions);
            conditions
                .into_iter()
                .any(|said| said.type_ == "Programmed" && said.status == "True")
        };
        (all.items.iter().filter(|query| said(query)).count() == QUERIES).then_some(())
    };
    until("all are programmed", async || programmed(&bed).await).await;
    assert_eq!(registry.list().await.unwrap().len(), QUERIES);
    let of_status = r#"verb="patch",kind="clickstreamqueries/status""#;
    let written = count(&bed.operators[0], REQUESTS, of_status).await;
    // That it is being looked at, and that it is matched.
    assert!(written <= 2.5 * QUERIES as f64, "{written} of statuses");

    bed.touch::<ClickstreamPipeline>("shop").await;
    until("the pipeline counts them", async || {
        works().await;
        let queries = bed.pipeline_status("shop").await.queries?;
        let all = i32::try_from(QUERIES).unwrap();
        (queries.total == all && queries.programmed == all).then_some(())
    })
    .await;
    // A pipeline that changes has all its queries looked at.
    let operator = &bed.operators[0];
    let (before, known) = (looks(operator).await, writes(operator).await);
    bed.touch::<ClickstreamPipeline>("shop").await;
    until("all are looked at again", async || {
        works().await;
        (looks(operator).await >= before + QUERIES as f64).then_some(())
    })
    .await;
    assert_eq!(writes(operator).await, known);

    bed.operators.remove(0).stop(LIMIT).unwrap();
    let namespace = bed.namespace.clone();
    works().await;
    bed.start_operator(&["--watch-namespaces", &namespace])
        .await;
    let operator = &bed.operators[0];
    until("all are looked at by another operator", async || {
        works().await;
        (looks(operator).await >= QUERIES as f64).then_some(())
    })
    .await;
    until("the pipeline, too", async || {
        let of = r#"kind="ClickstreamPipeline",result="ok""#;
        let looks = count(operator, "operator_reconciles_total", of).await;
        (looks > 0.0).then_some(())
    })
    .await;
    assert_eq!(writes(operator).await, 0.0);
}
