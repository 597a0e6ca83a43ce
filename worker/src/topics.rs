//! What the brokers say of the topics: partitions appear, topics are created late.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use clickstream_registry::Registry;
use clickstream_telemetry::{Health, Waiting};
use clickstream_wire::TopicPartitions;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::kafka::Asking;
use crate::producer::DEFAULT_MAX_MESSAGE_BYTES;

/// Topics are looked at this often, and more often while one is missing.
const EVERY: Duration = Duration::from_secs(3);
const EVERY_WHILE_MISSING: Duration = Duration::from_millis(300);
const TIMEOUT: Duration = Duration::from_secs(5);
/// Reading begins without knowing the topic's largest message when the brokers do not tell it in this time; they
/// answer in milliseconds, or never.
const SIZE_TIMEOUT: Duration = Duration::from_secs(1);

/// Matches are of use while somebody watches; an hour covers any outage a handler waits for.
const RETENTION_MS: &str = "3600000";

/// What is known of the topics. Numbers of partitions only grow: a broker that has just started may not know of a topic
/// for a moment, and nothing must be given up for that.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Topics {
    /// The source topics, with 0 partitions while they do not exist.
    pub(crate) sources: Arc<Vec<TopicPartitions>>,
    /// All of them are there, and the brokers answered the last question.
    pub(crate) complete: bool,
    /// How many partitions they had when the pipeline's first worker saw them; none until that is recorded.
    pub(crate) recorded: Arc<HashMap<String, i32>>,
    /// Partitions of the filtered topic; 0 while it does not exist.
    pub(crate) lanes: u32,
    /// Largest message that the filtered topic takes.
    pub(crate) max_message_bytes: usize,
}

/// Keeps [`Topics`] up to date.
pub(crate) struct Watch {
    client: Arc<AdminClient<Asking>>,
    filtered_topic: String,
    create: Option<i32>,
    registry: Arc<dyn Registry>,
    health: Health,
    publish: watch::Sender<Topics>,
    /// Said once.
    size_unknown: bool,
}

impl Watch {
    /// `create`: partitions of the filtered topic, if it is to be created.
    pub(crate) fn new(
        config: &crate::Config,
        client: Arc<AdminClient<Asking>>,
        registry: Arc<dyn Registry>,
        health: Health,
    ) -> (Self, watch::Receiver<Topics>) {
        let missing = |topic: &String| TopicPartitions {
            topic: topic.clone(),
            ..TopicPartitions::default()
        };
        let (publish, topics) = watch::channel(Topics {
            sources: Arc::new(config.source_topics.iter().map(missing).collect()),
            max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES,
            ..Topics::default()
        });
        let watch = Self {
            client,
            filtered_topic: config.filtered_topic.clone(),
            create: config.create_filtered_topic,
            registry,
            health,
            publish,
            size_unknown: false,
        };
        (watch, topics)
    }

    /// Runs for ever.
    pub(crate) async fn run(mut self) {
        loop {
            let complete = self.look().await;
            tokio::time::sleep(if complete { EVERY } else { EVERY_WHILE_MISSING }).await;
        }
    }

    /// Whether everything is there.
    async fn look(&mut self) -> bool {
        let mut topics = self.publish.borrow().clone();
        let mut sources = Vec::clone(&topics.sources);
        let mut complete = true;
        for source in &mut sources {
            match self.partitions(&source.topic).await {
                Ok(partitions) => {
                    complete &= partitions > 0;
                    source.partitions = source.partitions.max(partitions);
                }
                Err(error) => {
                    warn!(topic = source.topic, %error, "cannot look at a source topic");
                    complete = false;
                }
            }
        }
        topics.complete = complete;
        self.record(&sources, &mut topics).await;
        topics.sources = Arc::new(sources);
        let filtered = self.partitions(&self.filtered_topic).await;
        match &filtered {
            Ok(0) => self.create().await,
            Ok(lanes) if topics.lanes == 0 => {
                info!(
                    topic = self.filtered_topic,
                    lanes, "the filtered topic is there"
                );
            }
            Ok(_) => {}
            Err(error) => {
                warn!(topic = self.filtered_topic, %error, "cannot look at the filtered topic");
            }
        }
        let lanes = filtered.unwrap_or_default();
        if lanes > 0 {
            topics.lanes = topics.lanes.max(lanes);
            let size = self.max_message_bytes().await;
            topics.max_message_bytes = size.unwrap_or(topics.max_message_bytes);
            self.health.set_ready(Waiting::FilteredTopic);
        } else {
            self.health.set_waiting(Waiting::FilteredTopic);
        }
        let recorded = topics
            .sources
            .iter()
            .all(|source| topics.recorded.contains_key(&source.topic));
        let complete = complete && recorded && lanes > 0;
        self.publish.send_if_modified(|known| {
            let changed = *known != topics;
            *known = topics;
            changed
        });
        complete
    }

    /// Partitions of a topic; 0 if there is none of that name.
    async fn partitions(&self, topic: &str) -> KafkaResult<u32> {
        let client = Arc::clone(&self.client);
        let name = topic.to_owned();
        let asked = tokio::task::spawn_blocking(move || {
            let metadata = client.inner().fetch_metadata(Some(&name), TIMEOUT)?;
            let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else {
                return Ok(0);
            };
            match topic.error() {
                None => Ok(topic.partitions().len() as u32),
                Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => Ok(0),
                Some(error) => Err(rdkafka::error::KafkaError::MetadataFetch(error.into())),
            }
        });
        // Only a panic or the end of the runtime keeps a task from its answer.
        asked
            .await
            .unwrap_or(Err(rdkafka::error::KafkaError::Canceled))
    }

    /// The first worker of the pipeline decides which partitions were there at its beginning.
    async fn record(&self, sources: &[TopicPartitions], topics: &mut Topics) {
        let new: Vec<(String, i32)> = sources
            .iter()
            .filter(|source| source.partitions > 0 && !topics.recorded.contains_key(&source.topic))
            .map(|source| (source.topic.clone(), source.partitions as i32))
            .collect();
        if new.is_empty() {
            return;
        }
        match self.registry.partition_counts(&new).await {
            Ok(recorded) => Arc::make_mut(&mut topics.recorded).extend(recorded),
            Err(error) => warn!(
                error = &error as &dyn std::error::Error,
                "cannot record the number of partitions yet"
            ),
        }
    }

    async fn create(&self) {
        let Some(partitions) = self.create else {
            return;
        };
        let topic = NewTopic::new(
            &self.filtered_topic,
            partitions,
            TopicReplication::Fixed(-1),
        )
        .set("cleanup.policy", "delete")
        .set("retention.ms", RETENTION_MS);
        let options = AdminOptions::new()
            .operation_timeout(Some(TIMEOUT))
            .request_timeout(Some(TIMEOUT));
        match self
            .client
            .create_topics(&[topic], &options)
            .await
            .map(|mut results| results.pop())
        {
            Ok(Some(Ok(_))) => info!(
                topic = self.filtered_topic,
                partitions, "created the filtered topic"
            ),
            // Another worker was quicker.
            Ok(Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | None) => {}
            Ok(Some(Err((_, error)))) => {
                warn!(topic = self.filtered_topic, %error, "cannot create the filtered topic")
            }
            Err(error) => {
                warn!(topic = self.filtered_topic, %error, "cannot create the filtered topic")
            }
        }
    }

    /// What the topic's own setting says, where the worker may ask.
    async fn max_message_bytes(&mut self) -> Option<usize> {
        let topic = ResourceSpecifier::Topic(&self.filtered_topic);
        let options = AdminOptions::new().request_timeout(Some(SIZE_TIMEOUT));
        let described = self.client.describe_configs([&topic], &options).await;
        let resource = described
            .ok()
            .and_then(|mut resources| resources.pop()?.ok());
        let bytes = resource.and_then(|resource| {
            resource
                .get("max.message.bytes")?
                .value
                .as_deref()?
                .parse()
                .ok()
        });
        if bytes.is_none() && !std::mem::replace(&mut self.size_unknown, true) {
            info!(
                topic = self.filtered_topic,
                assumed = DEFAULT_MAX_MESSAGE_BYTES,
                "the brokers do not tell the topic's max.message.bytes"
            );
        }
        // librdkafka takes no less than 1,000.
        bytes.map(|bytes: usize| bytes.clamp(1_000, 1_000_000_000))
    }
}
