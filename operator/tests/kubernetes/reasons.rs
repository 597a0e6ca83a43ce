//! Reasons that no other test comes across, and that none is left out.

use clickstream_resources::condition::{Reason, Type};
use clickstream_testkit::port;
use serde_json::json;
use sqlx::Connection as _;
use sqlx::migrate::Migrate as _;

use crate::bed::Bed;

#[tokio::test]
async fn what_waits_says_for_what() {
    let bed = Bed::new().await;
    let nowhere = port::free().unwrap().to_string();
    let scaled = json!({"replicas": 1, "autoscaling": {"mode": "Auto", "min": 1, "max": 2}});
    // Somebody else migrates, and does not come to an end.
    let mut other = sqlx::PgConnection::connect(&bed.database).await.unwrap();
    other.lock().await.unwrap();
    bed.pipeline("locked", json!({})).await;
    bed.pipeline(
        "nowhere",
        json!({"kafka": {"bootstrapServers": [nowhere]}, "worker": scaled}),
    )
    .await;
    bed.pipeline(
        "nosecret",
        json!({"postgres": {"secretRef": {"name": "missing"}}}),
    )
    .await;
    bed.query("early", json!({"pipelineRef": {"name": "nosecret"}}))
        .await;
    bed.query_says("early", "Programmed", "Unknown", "PipelineNotReady")
        .await;
    bed.pipeline_says("nowhere", "WorkersReady", "False", "Progressing")
        .await;
    let told = bed
        .pipeline_says("nowhere", "ScalingActive", "False", "NotReady")
        .await;
    assert!(told.contains("another condition"), "{told}");
    let told = bed
        .pipeline_says("locked", "SchemaReady", "False", "Timeout")
        .await;
    assert!(told.contains("they are tried again"), "{told}");
    bed.pipeline_says("locked", "KafkaReady", "True", "Connected")
        .await;
    other.close().await.unwrap();
    bed.until_ready("locked").await;
    bed.pipeline_says("locked", "HandlersReady", "True", "Available")
        .await;
}

#[test]
fn every_type_and_every_reason_is_asked_for_by_a_test() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kubernetes");
    let files = std::fs::read_dir(folder).unwrap();
    let text: String = files
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    let reasons = Reason::ALL.iter().map(|reason| ("Reason", reason.as_str()));
    let types = Type::ALL.iter().map(|kind| ("Type", kind.as_str()));
    let missing: Vec<_> = reasons
        .chain(types)
        .filter(|(name, value)| {
            let quoted = text.contains(&format!("\"{value}\""));
            let told = text.contains(&format!(" {value}\""));
            !quoted && !told && !text.contains(&format!("{name}::{value}"))
        })
        .collect();
    assert!(missing.is_empty(), "no test asks for {missing:?}");
}
