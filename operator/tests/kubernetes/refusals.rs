//! Pipelines that pass the schema and cannot work: each says why, and disturbs nobody.

use clickstream_registry::PostgresRegistry;
use clickstream_resources::ClickstreamPipeline;
use clickstream_testkit::port;
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

use crate::bed::Bed;

#[tokio::test]
async fn every_mistake_is_told_with_its_cause_and_a_good_neighbour_is_not_disturbed() {
    let mut bed = Bed::new().await;
    let topic = format!("clickstream-{}.sink", bed.namespace);
    bed.pipeline("sink", json!({"sourceTopics": [{"name": topic}]}))
        .await;
    bed.pipeline("path", json!({"eventTypeField": "a..b"}))
        .await;
    let nowhere = port::free().unwrap().to_string();
    bed.pipeline("nowhere", json!({"kafka": {"bootstrapServers": [nowhere]}}))
        .await;
    bed.pipeline(
        "nosource",
        json!({"sourceTopics": [{"name": "no-such-topic"}]}),
    )
    .await;
    bed.pipeline(
        "external",
        json!({"filteredTopic": {"name": "no-such-sink", "management": "External"}}),
    )
    .await;
    bed.pipeline("copies", json!({"filteredTopic": {"replicationFactor": 3}}))
        .await;
    bed.pipeline(
        "nosecret",
        json!({"postgres": {"secretRef": {"name": "missing"}}}),
    )
    .await;
    bed.pipeline(
        "nokey",
        json!({"postgres": {"secretRef": {"name": "database", "key": "url"}}}),
    )
    .await;
    bed.put_secret("wrong", json!({"uri": "mysql://root:hidden@db/x"}))
        .await;
    bed.pipeline(
        "wrong",
        json!({"postgres": {"secretRef": {"name": "wrong"}}}),
    )
    .await;
    bed.put_secret(
        "away",
        json!({"uri": format!("postgres://root:hidden@{}/x", port::free().unwrap())}),
    )
    .await;
    bed.pipeline("away", json!({"postgres": {"secretRef": {"name": "away"}}}))
        .await;
    bed.pipeline("limits", json!({"worker": {"replicas": 1, "resources": {"requests": {"cpu": 2}, "limits": {"cpu": 1}}}})).await;
    bed.pipeline("good", json!({})).await;

    for (name, kind, status, reason, hint) in [
        (
            "sink",
            "Accepted",
            "False",
            "InvalidSpec",
            "matches would be matched again",
        ),
        ("sink", "Stalled", "True", "InvalidSpec", ""),
        (
            "path",
            "Accepted",
            "False",
            "InvalidSpec",
            "`eventTypeField` is no path",
        ),
        (
            "nowhere",
            "KafkaReady",
            "False",
            "KafkaUnavailable",
            &nowhere,
        ),
        ("nowhere", "Reconciling", "True", "KafkaUnavailable", ""),
        (
            "nosource",
            "TopicsReady",
            "False",
            "TopicNotFound",
            "`no-such-topic`",
        ),
        (
            "external",
            "TopicsReady",
            "False",
            "TopicNotFound",
            "make it Managed",
        ),
        ("copies", "TopicsReady", "False", "NotSupported", ""),
        (
            "nosecret",
            "ResolvedRefs",
            "False",
            "InvalidSecret",
            "Secret `missing` does not exist",
        ),
        (
            "nokey",
            "ResolvedRefs",
            "False",
            "InvalidSecret",
            "has no key `url`",
        ),
        (
            "wrong",
            "ResolvedRefs",
            "False",
            "InvalidSecret",
            "Secret `wrong`",
        ),
        (
            "away",
            "SchemaReady",
            "False",
            "DatabaseUnavailable",
            "Secret `away`",
        ),
        (
            "limits",
            "WorkersReady",
            "False",
            "ApplyFailed",
            "Deployment `limits-worker` is refused",
        ),
    ] {
        let told = bed.pipeline_says(name, kind, status, reason).await;
        assert!(told.contains(hint), "{name}: {told}");
    }
    bed.until_ready("good").await;

    let pipelines = bed
        .kubernetes
        .kubectl()
        .args(["get", "csp,events", "-o", "yaml", "-n", &bed.namespace])
        .output()
        .unwrap();
    let shown = String::from_utf8(pipelines.stdout).unwrap();
    assert!(
        !shown.contains("hidden"),
        "a secret is in a status or an event"
    );
    let log = std::fs::read_to_string(bed.operators[0].process().log()).unwrap();
    assert!(!log.contains("hidden"), "a secret is in the log");

    // A Secret that appears is noticed.
    bed.put_secret("missing", json!({"uri": bed.database}))
        .await;
    bed.pipeline_says("nosecret", "ResolvedRefs", "True", "Resolved")
        .await;
    assert!(
        bed.api::<Secret>()
            .get_opt("missing")
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn of_two_pipelines_on_one_topic_the_older_one_has_it() {
    let bed = Bed::new().await;
    bed.pipeline(
        "older",
        json!({"filteredTopic": {"name": format!("one-{}", bed.namespace), "partitions": 1}}),
    )
    .await;
    bed.pipeline_says("older", "TopicsReady", "True", "TopicsMatch")
        .await;
    // Times of creation are whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    bed.pipeline("younger", json!({"filteredTopic": {"name": format!("one-{}", bed.namespace), "partitions": 8, "reclaimPolicy": "Delete"}})).await;
    let told = bed
        .pipeline_says("younger", "Accepted", "False", "Conflict")
        .await;
    assert!(
        told.contains(&format!("`{}/older`", bed.namespace)),
        "{told}"
    );
    bed.delete::<ClickstreamPipeline>("younger").await;
    bed.touch::<ClickstreamPipeline>("older").await;
    bed.until_ready("older").await;
}

#[tokio::test]
async fn tables_are_migrated_only_by_whom_the_spec_says() {
    let bed = Bed::new().await;
    bed.pipeline(
        "shop",
        json!({"postgres": {"secretRef": {"name": "database"}, "migrations": "Validate"}}),
    )
    .await;
    bed.pipeline_says("shop", "SchemaReady", "False", "SchemaOutdated")
        .await;
    bed.registry("shop").migrate().await.unwrap();
    bed.touch::<ClickstreamPipeline>("shop").await;
    bed.pipeline_says("shop", "SchemaReady", "True", "UpToDate")
        .await;
    bed.patch::<ClickstreamPipeline>("shop", json!({"spec": {"postgres": {"migrations": "Off"}}}))
        .await;
    bed.pipeline_says("shop", "SchemaReady", "True", "NotChecked")
        .await;

    let mut database = <sqlx::PgConnection as sqlx::Connection>::connect(&bed.database)
        .await
        .unwrap();
    sqlx::raw_sql("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (99999, 'later', true, '', 0)")
        .execute(&mut database)
        .await
        .unwrap();
    bed.patch::<ClickstreamPipeline>(
        "shop",
        json!({"spec": {"postgres": {"migrations": "Auto"}}}),
    )
    .await;
    bed.pipeline_says("shop", "SchemaReady", "False", "NewerSchema")
        .await;
    bed.pipeline_says("shop", "Stalled", "True", "NewerSchema")
        .await;
    let registry: PostgresRegistry = bed.registry("shop");
    assert_eq!(registry.schema_versions().await.unwrap().0, 99_999);
}
