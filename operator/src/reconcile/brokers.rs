//! Kafka's part of a pipeline: are the brokers there, are the topics as the spec says.

use std::time::Duration;

use clickstream_resources::condition::{Reason, State, Type};
use clickstream_resources::{ClickstreamPipeline, KafkaStatus, PipelineStatus};
use tokio::time::sleep;
use tracing::info;

use super::Context;
use super::fetch::Connections;
use super::status::Conditions;
use super::topics::{self, Step};
use super::validate::Validated;
use crate::kafka::{Admin, AdminError, Topic};

/// Brokers and topics.
pub(super) async fn settle(
    pipeline: &ClickstreamPipeline,
    valid: &Validated,
    connections: &Connections,
    ctx: &Context,
    said: &mut Conditions,
    status: &mut PipelineStatus,
) {
    let admin = ctx
        .admins
        .get(&valid.key, &connections.shared, &connections.kafka);
    let looked = match &admin {
        Ok(admin) => observe_topics(admin, valid).await,
        Err(AdminError::Config(setting, why)) => {
            said.set(
                Type::KafkaReady,
                State::False,
                Reason::InvalidSecret,
                format!("the Kafka setting `{setting}` cannot be used: {why}"),
            );
            return;
        }
        Err(err) => Err(AdminError::Unavailable(err.to_string())),
    };
    let (sources, filtered) = match looked {
        Ok(found) => found,
        Err(err) => {
            let words = format!(
                "{err}: see that `{}` can be reached from the operator, and the Secrets",
                valid.brokers
            );
            said.set(
                Type::KafkaReady,
                State::False,
                Reason::KafkaUnavailable,
                words,
            );
            return;
        }
    };
    said.set(
        Type::KafkaReady,
        State::True,
        Reason::Connected,
        "the brokers answer",
    );
    let missing: Vec<&str> = valid
        .source_topics
        .iter()
        .zip(&sources)
        .filter(|(_, found)| found.is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    let outcome = match admin {
        Ok(admin) => change(pipeline, valid, &admin, filtered).await,
        Err(err) => Err((Reason::KafkaUnavailable, err.to_string())),
    };
    match outcome {
        Ok(filtered_partitions) => {
            status.kafka = Some(KafkaStatus {
                source_partitions: sources.iter().flatten().map(|topic| topic.partitions).sum(),
                filtered_topic: valid.filtered_topic.clone(),
                filtered_partitions,
            });
            if missing.is_empty() {
                said.set(
                    Type::TopicsReady,
                    State::True,
                    Reason::TopicsMatch,
                    "the topics are as the spec says",
                );
            } else {
                let words = format!(
                    "source topics that do not exist: `{}`; create them, or take them out of `sourceTopics`",
                    missing.join("`, `")
                );
                said.set(
                    Type::TopicsReady,
                    State::False,
                    Reason::TopicNotFound,
                    words,
                );
            }
        }
        Err((reason, words)) => said.set(Type::TopicsReady, State::False, reason, words),
    }
}

async fn observe_topics(
    admin: &Admin,
    valid: &Validated,
) -> Result<(Vec<Option<Topic>>, Option<Topic>), AdminError> {
    let mut names = valid.source_topics.clone();
    names.push(valid.filtered_topic.clone());
    let mut sources = admin.look(&names).await?;
    let mut filtered = sources.pop().flatten();
    if let Some(topic) = filtered
        .as_mut()
        .filter(|_| valid.filtered.config.is_some())
    {
        topic.config = admin.config(&valid.filtered_topic).await?;
    }
    Ok((sources, filtered))
}

/// Makes the filtered topic what the spec says; answers its partitions.
async fn change(
    pipeline: &ClickstreamPipeline,
    valid: &Validated,
    admin: &Admin,
    found: Option<Topic>,
) -> Result<i32, (Reason, String)> {
    let name = &valid.filtered_topic;
    let steps = topics::plan(name, &valid.filtered, found.as_ref())
        .map_err(|refusal| (refusal.reason, refusal.message))?;
    if steps.is_empty() {
        return Ok(found.map_or(0, |topic| topic.partitions));
    }
    if pipeline.spec.paused {
        return Err((
            Reason::Paused,
            format!("topic `{name}` is not as the spec says, and the pipeline is paused"),
        ));
    }
    for step in &steps {
        info!(topic = name, ?step, "changing a topic");
        let done = match step {
            Step::Create {
                partitions,
                replication,
                config,
            } => admin.create(name, *partitions, *replication, config).await,
            Step::Grow(partitions) => admin.grow(name, *partitions).await,
            Step::Configure(config) => admin.configure(name, config).await,
        };
        done.map_err(|err| match err {
            AdminError::Refused(_) | AdminError::Config(..) => {
                (Reason::NotSupported, format!("topic `{name}`: {err}"))
            }
            AdminError::Unavailable(_) => {
                (Reason::KafkaUnavailable, format!("topic `{name}`: {err}"))
            }
        })?;
    }
    // Brokers answer before the topic is there everywhere.
    for _ in 0..40 {
        match admin.look(std::slice::from_ref(name)).await {
            Ok(found) => {
                let partitions = found
                    .first()
                    .and_then(Option::as_ref)
                    .map_or(0, |topic| topic.partitions);
                if partitions >= valid.filtered.partitions {
                    return Ok(partitions);
                }
            }
            Err(err) => return Err((Reason::KafkaUnavailable, err.to_string())),
        }
        sleep(Duration::from_millis(250)).await;
    }
    Err((Reason::Progressing, format!("topic `{name}` is being made")))
}
