//! Kafka as a sender of events needs it: does the topic exist, and was every event acknowledged?

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

/// How long brokers have to answer the first question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before a full queue is tried again.
const QUEUE_RETRY: Duration = Duration::from_millis(5);

/// Where the brokers are, and what else the client is told.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    /// `host:port`, comma separated.
    pub(crate) brokers: String,
    /// Settings of librdkafka, over those that this program chooses.
    pub(crate) settings: Vec<(String, String)>,
}

impl Cluster {
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "clickstream")
            // Asking whether a topic exists must not create it.
            .set("allow.auto.create.topics", "false");
        config
    }

    fn finish(&self, mut config: ClientConfig) -> ClientConfig {
        for (key, value) in &self.settings {
            config.set(key, value);
        }
        config
    }
}

/// Sends events to one topic, each exactly once into its partition's log, and counts what the
/// brokers acknowledged.
pub(crate) struct Sender {
    producer: ThreadedProducer<Deliveries>,
    topic: String,
}

/// What became of the events that were handed over.
#[derive(Default)]
struct Deliveries {
    acknowledged: AtomicU64,
    failure: OnceLock<String>,
    /// Why brokers cannot be reached, as the client said it first.
    trouble: OnceLock<String>,
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        let _ = self.trouble.set(format!("{reason} ({error})"));
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                let _ = self.failure.set(error.to_string());
            }
        }
    }
}

impl Sender {
    /// Connects, and creates the topic if it is missing and `create_partitions` says so.
    ///
    /// # Errors
    /// When no broker answers within 10 s, a setting is unknown, or the topic is missing and
    /// was not to be created, or could not be.
    pub(crate) async fn connect(
        cluster: &Cluster,
        topic: &str,
        create_partitions: Option<i32>,
    ) -> anyhow::Result<Sender> {
        let mut config = cluster.config();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "5")
            .set("queue.buffering.max.kbytes", "65536")
            // The same partition for the same key as every Java client.
            .set("partitioner", "murmur2_random");
        let producer = cluster
            .finish(config)
            .create_with_context(Deliveries::default())
            .context("configuring the Kafka client")?;
        let sender = Sender {
            producer,
            topic: topic.to_owned(),
        };
        if !sender.topic_exists(cluster)? {
            let Some(partitions) = create_partitions else {
                bail!("topic `{topic}` does not exist: create it, or add `--create-partitions 8`");
            };
            create_topic(cluster, topic, partitions).await?;
        }
        Ok(sender)
    }

    fn topic_exists(&self, cluster: &Cluster) -> anyhow::Result<bool> {
        let metadata = self
            .producer
            .client()
            .fetch_metadata(Some(&self.topic), ANSWER_TIMEOUT)
            .map_err(|error| match self.producer.context().trouble.get() {
                Some(trouble) => anyhow!("{trouble}"),
                None => error.into(),
            })
            .with_context(|| format!("no answer from Kafka at `{}`", cluster.brokers))?;
        match metadata.topics().first().and_then(|topic| topic.error()) {
            None => Ok(true),
            Some(error)
                if RDKafkaErrorCode::from(error) == RDKafkaErrorCode::UnknownTopicOrPartition =>
            {
                Ok(false)
            }
            Some(error) => Err(KafkaError::MetadataFetch(error.into()))
                .with_context(|| format!("looking for topic `{}`", self.topic)),
        }
    }

    /// Hands one event over; waits while the client's queue is full.
    ///
    /// # Errors
    /// When an earlier event was not acknowledged in time, or this one cannot be sent at all
    /// (larger than `message.max.bytes`, say).
    pub(crate) async fn send(&self, key: Option<&str>, value: &[u8]) -> anyhow::Result<()> {
        self.check()?;
        let mut record = BaseRecord::to(&self.topic).payload(value);
        record.key = key;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    tokio::time::sleep(QUEUE_RETRY).await;
                    self.check()?;
                }
                Err((error, _)) => return Err(error).context("sending an event"),
            }
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        match self.producer.context().failure.get() {
            Some(failure) => bail!("an event was not acknowledged: {failure}"),
            None => Ok(()),
        }
    }

    /// Waits until every event handed over is acknowledged or given up.
    ///
    /// # Errors
    /// When one was given up: after `message.timeout.ms`, 5 minutes by default.
    pub(crate) async fn flush(&self) -> anyhow::Result<()> {
        while self.producer.in_flight_count() > 0 {
            self.check()?;
            tokio::time::sleep(QUEUE_RETRY).await;
        }
        self.check()
    }

    /// How many events the brokers have.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.producer.context().acknowledged.load(Ordering::Relaxed)
    }
}

async fn create_topic(cluster: &Cluster, topic: &str, partitions: i32) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> = cluster
        .finish(cluster.config())
        .create()
        .context("configuring the Kafka client")?;
    // -1: the brokers' own default for the number of replicas.
    let wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
    let options = AdminOptions::new().operation_timeout(Some(ANSWER_TIMEOUT));
    let results = admin
        .create_topics([&wanted], &options)
        .await
        .with_context(|| format!("creating topic `{topic}`"))?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, error)) => bail!("creating topic `{topic}`: {error}"),
        }
    }
    Ok(())
}
