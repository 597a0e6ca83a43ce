//! Sinks of queries: their topics, what is said of them, and what stays.

use clickstream_registry::{ProcessId, Registry as _, SinkRefusal, SinkTrouble, StandingName};
use clickstream_resources::ClickstreamQuery;
use clickstream_testkit::kafka::{Kafka, unique};
use kube::ResourceExt as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::json;

use crate::bed::{Bed, LIMIT, until, worker};

/// How many partitions the topic has; 0 if it does not exist.
pub(crate) async fn partitions(topic: &str) -> usize {
    let client: BaseConsumer = Kafka::shared().unwrap().client().create().unwrap();
    let metadata = client.fetch_metadata(Some(topic), LIMIT).unwrap();
    let found = metadata.topics().iter().find(|it| it.name() == topic);
    found.map_or(0, |topic| topic.partitions().len())
}

async fn bed() -> Bed {
    let bed = Bed::new().await;
    bed.pipeline("shop", json!({})).await;
    bed.pipeline_says("shop", "SchemaReady", "True", "UpToDate")
        .await;
    bed.pipeline_says("shop", "TopicsReady", "True", "TopicsMatch")
        .await;
    bed
}

fn name(bed: &Bed, name: &str) -> StandingName {
    StandingName {
        namespace: bed.namespace.clone(),
        name: name.into(),
    }
}

#[tokio::test]
async fn a_managed_topic_is_made_grown_and_goes_with_its_query_if_told_to() {
    let bed = bed().await;
    let topic = unique("sink");
    let kafka = json!({"topic": topic, "management": "Managed", "partitions": 3, "reclaimPolicy": "Delete"});
    bed.query("carts", json!({"sink": {"kafka": kafka}})).await;
    bed.query_says("carts", "SinkReady", "True", "Delivering")
        .await;
    until("made", async || {
        (partitions(&topic).await == 3).then_some(())
    })
    .await;
    let registry = bed.registry("shop");
    let row = registry.standing(&name(&bed, "carts")).await.unwrap();
    assert_eq!(row.unwrap().sink_topic.as_deref(), Some(&*topic));

    bed.patch::<ClickstreamQuery>(
        "carts",
        json!({"spec": {"sink": {"kafka": {"partitions": 5}}}}),
    )
    .await;
    until("grown", async || {
        (partitions(&topic).await == 5).then_some(())
    })
    .await;

    // What workers cannot write is told, and then that it is over.
    let id = ProcessId::random();
    registry
        .report_worker(&worker(id, u64::MAX >> 1))
        .await
        .unwrap();
    let uid = bed
        .api::<ClickstreamQuery>()
        .get("carts")
        .await
        .unwrap()
        .uid();
    let trouble = SinkTrouble {
        uid: uid.unwrap(),
        reason: SinkRefusal::TooLarge,
        dropped: 123,
    };
    let alive = async |troubles: &[SinkTrouble]| {
        registry
            .report_worker(&worker(id, u64::MAX >> 1))
            .await
            .unwrap();
        registry.report_sink_troubles(id, troubles).await.unwrap();
        bed.touch::<ClickstreamQuery>("carts").await;
    };
    alive(&[trouble]).await;
    let told = bed
        .query_says("carts", "SinkReady", "False", "MatchesRefused")
        .await;
    assert!(
        told.contains("at least 100 matches: records larger than the topic's `max.message.bytes`"),
        "{told}"
    );
    bed.query_says("carts", "Ready", "False", "MatchesRefused")
        .await;
    alive(&[]).await;
    bed.query_says("carts", "SinkReady", "True", "Delivering")
        .await;

    let finalizers = bed.api::<ClickstreamQuery>().get("carts").await.unwrap();
    assert_eq!(finalizers.finalizers(), ["clickstream.dev/sink-topic"]);
    bed.delete::<ClickstreamQuery>("carts").await;
    until("gone with its query", async || {
        let gone = bed
            .api::<ClickstreamQuery>()
            .get_opt("carts")
            .await
            .unwrap();
        (gone.is_none() && partitions(&topic).await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_topic_stays_unless_told_otherwise_and_while_another_query_writes_to_it() {
    let bed = bed().await;
    let topic = unique("sink");
    let kafka = |reclaim| json!({"sink": {"kafka": {"topic": topic, "management": "Managed", "partitions": 1, "reclaimPolicy": reclaim}}});
    bed.query("keeping", kafka("Retain")).await;
    bed.query("deleting", kafka("Delete")).await;
    // Nobody deletes what is another's by naming it.
    let foreign = Kafka::shared().unwrap().unique_topic("foreign", 1).await;
    let foreign = foreign.unwrap();
    let taken = json!({"topic": foreign, "management": "Managed", "reclaimPolicy": "Delete"});
    bed.query("taking", json!({"sink": {"kafka": taken}})).await;
    for query in ["keeping", "deleting", "taking"] {
        bed.query_says(query, "SinkReady", "True", "Delivering")
            .await;
    }
    for query in ["deleting", "keeping", "taking"] {
        bed.delete::<ClickstreamQuery>(query).await;
        until("gone", async || {
            let found = bed.api::<ClickstreamQuery>().get_opt(query).await;
            found.unwrap().is_none().then_some(())
        })
        .await;
    }
    let registry = bed.registry("shop");
    until("nothing is registered", async || {
        registry.list().await.unwrap().is_empty().then_some(())
    })
    .await;
    assert_eq!(partitions(&topic).await, 1);
    assert_eq!(partitions(&foreign).await, 1);
}

#[tokio::test]
async fn an_external_topic_that_is_missing_is_told_and_its_query_runs() {
    let bed = bed().await;
    let topic = unique("sink");
    bed.query("carts", json!({"sink": {"kafka": {"topic": topic}}}))
        .await;
    let told = bed
        .query_says("carts", "SinkReady", "False", "TopicNotFound")
        .await;
    assert!(
        told.contains(&*format!("topic `{topic}` does not exist")),
        "{told}"
    );
    let registry = bed.registry("shop");
    until("viewers are served", async || {
        (registry.list().await.unwrap().len() == 1).then_some(())
    })
    .await;
    assert_eq!(partitions(&topic).await, 0, "nobody makes it");
    Kafka::shared()
        .unwrap()
        .create_topic(&topic, 1)
        .await
        .unwrap();
    bed.query_says("carts", "SinkReady", "True", "Delivering")
        .await;
    bed.patch::<ClickstreamQuery>("carts", json!({"spec": {"sink": null}}))
        .await;
    until("no sink any more", async || {
        let row = registry.standing(&name(&bed, "carts")).await.unwrap();
        let query = bed.api::<ClickstreamQuery>().get("carts").await.unwrap();
        let conditions = query.status.unwrap().conditions;
        let told = conditions.iter().any(|it| it.type_ == "SinkReady");
        (row.unwrap().sink_topic.is_none() && !told).then_some(())
    })
    .await;
    assert_eq!(partitions(&topic).await, 1, "it is not ours");
}

#[tokio::test]
async fn a_topic_of_the_pipeline_itself_is_refused_and_never_deleted() {
    let bed = bed().await;
    let pipeline = format!("clickstream-{}.shop", bed.namespace);
    let kafka = json!({"topic": pipeline, "management": "Managed", "reclaimPolicy": "Delete"});
    bed.query("loop", json!({"sink": {"kafka": kafka}})).await;
    let told = bed
        .query_says("loop", "Accepted", "False", "InvalidSpec")
        .await;
    assert!(
        told.contains("is the filtered topic of the pipeline") && told.contains("choose another"),
        "{told}"
    );
    bed.query_says("loop", "Stalled", "True", "InvalidSpec")
        .await;
    let registry = bed.registry("shop");
    assert!(registry.list().await.unwrap().is_empty());
    bed.delete::<ClickstreamQuery>("loop").await;
    until("gone", async || {
        let found = bed.api::<ClickstreamQuery>().get_opt("loop").await;
        found.unwrap().is_none().then_some(())
    })
    .await;
    assert_eq!(partitions(&pipeline).await, 4);
}
