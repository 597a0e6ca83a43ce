//! What is to be removed outside the cluster when a pipeline is deleted: the filtered topic, if its owner asked for that.
//! A pipeline that asks for nothing has no finalizer, and deleting it waits for nobody.

use clickstream_resources::{ClickstreamPipeline, Management, ReclaimPolicy};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use tracing::{info, warn};

use super::fetch::{connections, secrets};
use super::validate::{conflict, validate};
use super::{Context, chain, query};

/// Stands on pipelines whose topic goes with them.
pub const FINALIZER: &str = "clickstream.dev/filtered-topic";
/// Set to `true`: the pipeline goes, the topic stays.
pub const ABANDON: &str = "clickstream.dev/abandon";

/// Puts the finalizer on a pipeline that needs it, and takes it off one that does not.
///
/// # Errors
/// When the API server refuses or does not answer.
pub async fn keep(pipeline: &ClickstreamPipeline, ctx: &Context) -> Result<(), kube::Error> {
    let topic = &pipeline.spec.filtered_topic;
    let needed =
        topic.reclaim_policy == ReclaimPolicy::Delete && topic.management == Management::Managed;
    if needed == pipeline.finalizers().iter().any(|name| name == FINALIZER) || pipeline.spec.paused
    {
        return Ok(());
    }
    set(pipeline, ctx, needed).await
}

async fn set(
    pipeline: &ClickstreamPipeline,
    ctx: &Context,
    present: bool,
) -> Result<(), kube::Error> {
    let mut finalizers = pipeline.finalizers().to_vec();
    finalizers.retain(|name| name != FINALIZER);
    if present {
        finalizers.push(FINALIZER.to_owned());
    }
    let api = Api::<ClickstreamPipeline>::namespaced(
        ctx.client.clone(),
        &pipeline.namespace().unwrap_or_default(),
    );
    // With the version, so that nobody else's finalizer is lost.
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": pipeline.resource_version()}});
    api.patch(
        &pipeline.name_any(),
        &PatchParams::default(),
        &Patch::Merge(&patch),
    )
    .await?;
    Ok(())
}

/// The pipeline is being deleted: removes what goes with it, then the finalizer.
///
/// # Errors
/// What it waits for, for people.
pub async fn release(pipeline: &ClickstreamPipeline, ctx: &Context) -> Result<(), String> {
    if !pipeline.finalizers().iter().any(|name| name == FINALIZER) {
        return Ok(());
    }
    if !let_go(pipeline, ctx).await? {
        delete_topic(pipeline, ctx).await.map_err(|why| {
            format!("the filtered topic cannot be deleted yet: {why}; to leave it, set the annotation `{ABANDON}: \"true\"`")
        })?;
    }
    set(pipeline, ctx, false).await.map_err(|err| chain(&err))?;
    let key = query::key(pipeline);
    ctx.admins.forget(&key);
    ctx.registries.forget(&key);
    Ok(())
}

/// Whether nobody wants to wait: by annotation, because the whole namespace goes, or because the topic is not ours.
async fn let_go(pipeline: &ClickstreamPipeline, ctx: &Context) -> Result<bool, String> {
    if pipeline
        .annotations()
        .get(ABANDON)
        .is_some_and(|value| value == "true")
    {
        return Ok(true);
    }
    let all: Vec<_> = ctx
        .pipelines
        .iter()
        .flat_map(|store| store.state())
        .collect();
    if conflict(pipeline, &all).is_some() {
        return Ok(true);
    }
    let namespaces = Api::<Namespace>::all(ctx.client.clone());
    let namespace = namespaces
        .get_metadata_opt(&pipeline.namespace().unwrap_or_default())
        .await;
    let namespace = namespace.map_err(|err| chain(&err))?;
    let terminating = namespace.is_none_or(|found| found.metadata.deletion_timestamp.is_some());
    if terminating {
        // Its Secrets may be gone already, and nothing must keep a namespace.
        let tried = tokio::time::timeout(super::CALL_LIMIT, delete_topic(pipeline, ctx)).await;
        if !matches!(tried, Ok(Ok(()))) {
            warn!(
                pipeline = query::key(pipeline),
                "the filtered topic stays: its namespace is being deleted and Kafka did not take the request"
            );
        }
    }
    Ok(terminating)
}

async fn delete_topic(pipeline: &ClickstreamPipeline, ctx: &Context) -> Result<(), String> {
    let valid = validate(pipeline)?;
    let secrets = secrets(&ctx.client, &valid.namespace, &pipeline.spec).await;
    let secrets = secrets.map_err(|err| chain(&err))?;
    let connections = connections(&valid.uid, &valid.brokers, &pipeline.spec, &secrets)?;
    let admin = ctx
        .admins
        .get(&valid.key, &connections.shared, &connections.kafka);
    let admin = admin.map_err(|err| err.to_string())?;
    admin
        .delete(&valid.filtered_topic)
        .await
        .map_err(|err| err.to_string())?;
    info!(
        topic = valid.filtered_topic,
        "deleted a topic with its pipeline"
    );
    Ok(())
}
