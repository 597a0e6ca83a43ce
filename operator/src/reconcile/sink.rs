//! The sink of a query: whether it may be, its topic, and what becomes of that topic in the end.
//!
//! Workers write to the topic; here it is made if the spec says so, and looked at. It is never emptied, and deleted only
//! for a query whose `reclaimPolicy` is Delete: such a query has a finalizer, and all others are deleted at once. Even then
//! only a topic that was made for this query goes: nobody gets the operator's rights over topics by naming one.

use clickstream_registry::{SinkRefusal, SinkTrouble};
use clickstream_resources::condition::{Reason, State, Type};
use clickstream_resources::{
    ClickstreamPipeline, ClickstreamQuery, KafkaSink, Management, QueryStatus, ReclaimPolicy,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use tracing::{debug, info, warn};

use super::Context;
use super::finalize::ABANDON;
use super::grant::Refusal;
use super::query::{key, remove, resolved};
use super::status::{self, Conditions};
use super::validate::validate;
use super::{CALL_LIMIT, chain};
use crate::kafka::{Admin, AdminError, Topic};

/// Stands on queries whose topic goes with them.
const FINALIZER: &str = "clickstream.dev/sink-topic";
/// So that the brokers decide how many partitions a topic gets.
const BROKERS_DEFAULT: i32 = -1;

/// The topic that a query's matches go to.
pub(super) fn of(query: &ClickstreamQuery) -> Option<&KafkaSink> {
    query.spec.sink.as_ref()?.kafka.as_ref()
}

/// Refuses a topic that the pipeline itself reads or writes.
pub(super) fn check(sink: &KafkaSink, pipeline: &ClickstreamPipeline) -> Result<(), Refusal> {
    let topic = &sink.topic;
    // A pipeline that makes no sense tells so itself.
    let Ok(valid) = validate(pipeline) else {
        return Ok(());
    };
    let message = if valid.source_topics.contains(topic) {
        format!(
            "the sink's topic `{topic}` is a source topic of the pipeline: matches would be matched again; choose another `sink.kafka.topic`"
        )
    } else if valid.filtered_topic == *topic {
        format!(
            "the sink's topic `{topic}` is the filtered topic of the pipeline, which is for viewers; choose another `sink.kafka.topic`"
        )
    } else {
        return Ok(());
    };
    Err(Refusal {
        reason: Reason::InvalidSpec,
        message,
    })
}

/// Something to be done to the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create,
    Grow(i32),
}

/// The step from the topic that is there, if it is, to what the spec says.
fn plan(sink: &KafkaSink, found: Option<&Topic>) -> Result<Option<Step>, (Reason, String)> {
    let topic = &sink.topic;
    let managed = sink.management == Management::Managed;
    let Some(found) = found else {
        return match managed {
            true => Ok(Some(Step::Create)),
            false => Err((
                Reason::TopicNotFound,
                format!(
                    "topic `{topic}` does not exist, and matches are left out until it does: create it, or set `sink.kafka.management` to Managed"
                ),
            )),
        };
    };
    if let Some(replication) = sink.replication_factor
        && replication != found.replication
    {
        return Err((
            Reason::NotSupported,
            format!(
                "topic `{topic}` lies on {} brokers and not on {replication}: reassign its partitions with Kafka's own tools",
                found.replication
            ),
        ));
    }
    let wanted = sink
        .partitions
        .filter(|wanted| managed && found.partitions < *wanted);
    Ok(wanted.map(Step::Grow))
}

/// Makes and looks at the topic, and says how the sink is. `troubles`: what workers could not write lately; `made`: the
/// topic that was made for the query; `known`: the status that is there.
pub(super) async fn settle(
    query: &ClickstreamQuery,
    pipeline: &ClickstreamPipeline,
    troubles: &[&SinkTrouble],
    ctx: &Context,
    said: &mut Conditions,
    made: &mut Option<String>,
    known: &mut Option<QueryStatus>,
) {
    let Some(sink) = of(query) else { return };
    made.take_if(|made| *made != sink.topic);
    let Some(admin) = ctx.admins.known(&key(pipeline)) else {
        if resolved(pipeline) && said.keep_said(Type::SinkReady) {
            return;
        }
        let words = "the pipeline's brokers are not known yet: see the pipeline's conditions";
        return said.set(
            Type::SinkReady,
            State::Unknown,
            Reason::PipelineNotReady,
            words,
        );
    };
    let done = topic(query, sink, pipeline, &admin, ctx, made, known).await;
    if let Err((reason, words)) = done {
        let state = match reason {
            Reason::KafkaUnavailable => State::Unknown,
            _ => State::False,
        };
        return said.set(Type::SinkReady, state, reason, words);
    }
    match refused(&sink.topic, troubles) {
        None => said.set(
            Type::SinkReady,
            State::True,
            Reason::Delivering,
            format!("every match is written to topic `{}`", sink.topic),
        ),
        Some(words) => said.set(Type::SinkReady, State::False, Reason::MatchesRefused, words),
    }
}

/// What workers could not write, in words. Counts are rounded, so that the status does not change with every match.
fn refused(topic: &str, troubles: &[&SinkTrouble]) -> Option<String> {
    if troubles.is_empty() {
        return None;
    }
    let told = troubles.iter().map(|trouble| {
        let why = match trouble.reason {
            SinkRefusal::TopicNotFound => "the workers did not find the topic",
            SinkRefusal::TooLarge => "records larger than the topic's `max.message.bytes`",
            SinkRefusal::NotAuthorized => "the workers' user may not write to the topic",
            SinkRefusal::Loop => "the pipeline itself reads or writes the topic",
            SinkRefusal::Refused => {
                "the brokers refuse the records, such as one without a key for a compacted topic"
            }
            SinkRefusal::Unreadable => "`fields` cannot be cut out of the events",
        };
        format!("{} matches: {why}", about(trouble.dropped))
    });
    let told: Vec<String> = told.collect();
    Some(format!(
        "not written to topic `{topic}` since the workers started, the last within two minutes: {}",
        told.join("; ")
    ))
}

/// `1`, `2`, `5`, `10`, `20` and so on: the largest that is not above.
fn about(count: u64) -> String {
    let mut unit = 1_u64;
    while count / unit >= 10 {
        unit = unit.saturating_mul(10);
    }
    match count / unit {
        0 | 1 => format!("at least {unit}"),
        2..=4 => format!("at least {}", 2 * unit),
        _ => format!("at least {}", 5 * unit),
    }
}

/// Makes the topic what the spec says.
async fn topic(
    query: &ClickstreamQuery,
    sink: &KafkaSink,
    pipeline: &ClickstreamPipeline,
    admin: &Admin,
    ctx: &Context,
    made: &mut Option<String>,
    known: &mut Option<QueryStatus>,
) -> Result<(), (Reason, String)> {
    let name = &sink.topic;
    let said = |err: AdminError| match err {
        AdminError::Unavailable(_) => (Reason::KafkaUnavailable, format!("topic `{name}`: {err}")),
        _ => (Reason::NotSupported, format!("topic `{name}`: {err}")),
    };
    let found = admin.look(std::slice::from_ref(name)).await.map_err(said)?;
    let Some(step) = plan(sink, found.first().and_then(Option::as_ref))? else {
        return Ok(());
    };
    if pipeline.spec.paused {
        let words = format!("topic `{name}` is not as the spec says, and the pipeline is paused");
        return Err((Reason::Paused, words));
    }
    info!(topic = name, ?step, "changing a sink's topic");
    let done = match step {
        Step::Create => {
            // Told before it is done: an operator that ends in between leaves a topic that is known to be the query's.
            state_made(query, name, ctx, known).await?;
            let partitions = sink.partitions.unwrap_or(BROKERS_DEFAULT);
            let nothing = std::collections::BTreeMap::new();
            let created = admin
                .create(name, partitions, sink.replication_factor, &nothing)
                .await;
            // What is refused was not made, or by somebody else; what was not answered may have been.
            let ours = matches!(created, Ok(()) | Err(AdminError::Unavailable(_)));
            *made = ours.then(|| name.clone());
            created
        }
        Step::Grow(partitions) => admin.grow(name, partitions).await,
    };
    done.map_err(said)
}

/// Writes into the status which topic is about to be made for the query, and nothing else that is new.
async fn state_made(
    query: &ClickstreamQuery,
    topic: &str,
    ctx: &Context,
    known: &mut Option<QueryStatus>,
) -> Result<(), (Reason, String)> {
    let stated = QueryStatus {
        made_topic: Some(topic.to_owned()),
        ..known.clone().unwrap_or_default()
    };
    if let Err(err) = status::write(ctx, query, known.as_ref(), &stated).await {
        debug!(error = chain(&err), "a status cannot be written");
        return Err((
            Reason::Progressing,
            format!("topic `{topic}` is not made yet"),
        ));
    }
    *known = Some(stated);
    Ok(())
}

/// Puts the finalizer on a query that needs it, and takes it off one that does not.
///
/// # Errors
/// When the API server refuses or does not answer.
pub(super) async fn keep(query: &ClickstreamQuery, ctx: &Context) -> Result<(), kube::Error> {
    let needed = deletes(query).is_some();
    if needed == has_finalizer(query) {
        return Ok(());
    }
    set(query, ctx, needed).await
}

/// The topic that goes with the query.
fn deletes(query: &ClickstreamQuery) -> Option<&KafkaSink> {
    of(query).filter(|sink| {
        sink.reclaim_policy == ReclaimPolicy::Delete && sink.management == Management::Managed
    })
}

fn has_finalizer(query: &ClickstreamQuery) -> bool {
    query.finalizers().iter().any(|name| name == FINALIZER)
}

async fn set(query: &ClickstreamQuery, ctx: &Context, present: bool) -> Result<(), kube::Error> {
    let mut finalizers = query.finalizers().to_vec();
    finalizers.retain(|name| name != FINALIZER);
    if present {
        finalizers.push(FINALIZER.to_owned());
    }
    let namespace = query.namespace().unwrap_or_default();
    let api = Api::<ClickstreamQuery>::namespaced(ctx.client.clone(), &namespace);
    // With the version, so that nobody else's finalizer is lost.
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": query.resource_version()}});
    api.patch(
        &query.name_any(),
        &PatchParams::default(),
        &Patch::Merge(&patch),
    )
    .await?;
    Ok(())
}

/// The query is being deleted: its row goes, then its topic if it goes with it, then the finalizer.
///
/// # Errors
/// What it waits for, for people.
pub(super) async fn release(query: &ClickstreamQuery, ctx: &Context) -> Result<(), String> {
    remove(ctx, &query.uid().unwrap_or_default()).await;
    if !has_finalizer(query) {
        return Ok(());
    }
    let made = query.status.as_ref().and_then(|it| it.made_topic.as_ref());
    if let Some(sink) = deletes(query).filter(|sink| made == Some(&sink.topic))
        && !let_go(query, sink, ctx).await?
    {
        delete(query, sink, ctx).await.map_err(|why| {
            format!("topic `{}` cannot be deleted yet: {why}; to leave it, set the annotation `{ABANDON}: \"true\"`", sink.topic)
        })?;
    }
    set(query, ctx, false).await.map_err(|err| chain(&err))
}

/// Whether nobody wants to wait: by annotation, because the whole namespace goes, or because another query still writes
/// to the topic.
async fn let_go(query: &ClickstreamQuery, sink: &KafkaSink, ctx: &Context) -> Result<bool, String> {
    let annotations = query.annotations();
    if annotations
        .get(ABANDON)
        .is_some_and(|value| value == "true")
    {
        return Ok(true);
    }
    let (namespace, name) = pipeline_of(query);
    let others = ctx.queries_of(&namespace, &name);
    let uses = |other: &&std::sync::Arc<ClickstreamQuery>| {
        other.uid() != query.uid()
            && other.metadata.deletion_timestamp.is_none()
            && of(other).is_some_and(|it| it.topic == sink.topic)
    };
    if let Some(other) = others.iter().find(uses) {
        info!(
            topic = sink.topic,
            query = other.name_any(),
            "a sink's topic stays: another query writes to it"
        );
        return Ok(true);
    }
    let namespaces = Api::<Namespace>::all(ctx.client.clone());
    let own = query.namespace().unwrap_or_default();
    let found = namespaces.get_metadata_opt(&own).await;
    let found = found.map_err(|err| chain(&err))?;
    let terminating = found.is_none_or(|found| found.metadata.deletion_timestamp.is_some());
    if terminating {
        // Nothing must keep a namespace.
        let tried = tokio::time::timeout(CALL_LIMIT, delete(query, sink, ctx)).await;
        if !matches!(tried, Ok(Ok(()))) {
            warn!(
                topic = sink.topic,
                "a sink's topic stays: its namespace is being deleted and Kafka did not take the request"
            );
        }
    }
    Ok(terminating)
}

fn pipeline_of(query: &ClickstreamQuery) -> (String, String) {
    let wanted = &query.spec.pipeline_ref;
    let own = query.namespace().unwrap_or_default();
    (wanted.namespace.clone().unwrap_or(own), wanted.name.clone())
}

async fn delete(query: &ClickstreamQuery, sink: &KafkaSink, ctx: &Context) -> Result<(), String> {
    let (namespace, name) = pipeline_of(query);
    let Some(pipeline) = ctx.pipeline(&namespace, &name) else {
        return Err("its pipeline, which knows the brokers, is gone".to_owned());
    };
    // It was refused as a sink, and is not the query's to delete.
    if check(sink, &pipeline).is_err() {
        return Ok(());
    }
    let admin = ctx.admins.known(&key(&pipeline));
    let admin = admin.ok_or("its pipeline's brokers are not known yet")?;
    admin
        .delete(&sink.topic)
        .await
        .map_err(|err| err.to_string())?;
    info!(topic = sink.topic, "deleted a topic with its query");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::validate::tests::pipeline;
    use super::*;

    fn sink(spec: serde_json::Value) -> KafkaSink {
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn topics_of_the_pipeline_itself_are_refused() {
        let pipeline = pipeline(json!({}));
        let valid = validate(&pipeline).unwrap();
        for (topic, fine) in [
            (valid.source_topics[0].as_str(), false),
            (valid.filtered_topic.as_str(), false),
            ("carts", true),
        ] {
            let checked = check(&sink(json!({"topic": topic})), &pipeline);
            assert_eq!(checked.is_ok(), fine, "{topic}");
        }
    }

    #[test]
    fn only_a_managed_topic_is_made_and_grown() {
        let found = |partitions| Topic {
            partitions,
            replication: 1,
            ..Topic::default()
        };
        let external = sink(json!({"topic": "carts"}));
        assert_eq!(plan(&external, Some(&found(1))), Ok(None));
        assert_eq!(plan(&external, None).unwrap_err().0, Reason::TopicNotFound);
        let managed = |partitions| {
            sink(json!({"topic": "carts", "management": "Managed", "partitions": partitions}))
        };
        assert_eq!(plan(&managed(3), None), Ok(Some(Step::Create)));
        assert_eq!(plan(&managed(3), Some(&found(1))), Ok(Some(Step::Grow(3))));
        assert_eq!(plan(&managed(3), Some(&found(5))), Ok(None));
        let wide = sink(json!({"topic": "carts", "management": "Managed", "replicationFactor": 3}));
        assert_eq!(
            plan(&wide, Some(&found(1))).unwrap_err().0,
            Reason::NotSupported
        );
    }

    #[test]
    fn counts_change_seldom() {
        for (count, text) in [
            (1, "at least 1"),
            (3, "at least 2"),
            (9, "at least 5"),
            (10, "at least 10"),
            (49, "at least 20"),
            (1_234, "at least 1000"),
            (u64::MAX, "at least 10000000000000000000"),
        ] {
            assert_eq!(about(count), text);
        }
    }
}
