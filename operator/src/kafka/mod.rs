//! Kafka's side of topics. Every call ends within seconds.

mod incremental;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// For one request.
const CALL_LIMIT: Duration = Duration::from_secs(8);

/// Clients, one for each way to reach brokers, however many pipelines use it.
#[derive(Default)]
pub struct Admins {
    /// By the pipeline's key.
    known: Mutex<HashMap<String, (String, Arc<Admin>)>>,
}

impl Admins {
    /// The client for `config`. `shared` tells configurations apart, and is the same for pipelines with the same one.
    ///
    /// # Errors
    /// [`AdminError::Config`].
    pub fn get(
        &self,
        key: &str,
        shared: &str,
        config: &ClientConfig,
    ) -> Result<Arc<Admin>, AdminError> {
        let mut known = self.known.lock();
        let same = known.values().find(|(other, _)| other == shared);
        let admin = match same {
            Some((_, admin)) => Arc::clone(admin),
            None => Arc::new(Admin::new(config)?),
        };
        known.insert(key.to_owned(), (shared.to_owned(), Arc::clone(&admin)));
        Ok(admin)
    }

    /// The client of a pipeline whose brokers were looked at.
    pub fn known(&self, key: &str) -> Option<Arc<Admin>> {
        let known = self.known.lock();
        known.get(key).map(|(_, admin)| Arc::clone(admin))
    }

    /// The pipeline is gone.
    pub fn forget(&self, key: &str) {
        self.known.lock().remove(key);
    }
}

/// A client of some brokers.
pub struct Admin {
    client: Arc<AdminClient<DefaultClientContext>>,
}

/// A topic that exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    /// How many partitions it has.
    pub partitions: i32,
    /// On how many brokers the first of them lies.
    pub replication: i32,
    /// Its settings, defaults among them.
    pub config: BTreeMap<String, String>,
}

/// Why the brokers did not do what they were asked.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// librdkafka does not take a setting. Names it, not its value.
    #[error("the Kafka setting `{0}` cannot be used: {1}")]
    Config(String, String),
    /// No answer.
    #[error("the brokers do not answer: {0}")]
    Unavailable(String),
    /// They answered, and refused.
    #[error("the brokers refuse: {0}")]
    Refused(String),
}

impl From<KafkaError> for AdminError {
    fn from(err: KafkaError) -> Self {
        match &err {
            // The value may be a secret.
            KafkaError::ClientConfig(_, reason, name, _) => {
                AdminError::Config(name.clone(), reason.clone())
            }
            KafkaError::AdminOp(code) if !unavailable(*code) => {
                AdminError::Refused(code.to_string())
            }
            _ => match err.rdkafka_error_code() {
                Some(code) if !unavailable(code) => AdminError::Refused(code.to_string()),
                _ => AdminError::Unavailable(err.to_string()),
            },
        }
    }
}

fn unavailable(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::Resolve
            | Code::TimedOutQueue
            | Code::LeaderNotAvailable
            | Code::NotController
            | Code::Fail
    )
}

/// One answer for one topic.
fn outcome(mut results: Vec<Result<String, (String, RDKafkaErrorCode)>>) -> Result<(), AdminError> {
    match results.pop() {
        Some(Err((_, code))) => Err(KafkaError::AdminOp(code).into()),
        _ => Ok(()),
    }
}

impl Admin {
    fn new(config: &ClientConfig) -> Result<Admin, AdminError> {
        let mut config = config.clone();
        config
            .set("client.id", "clickstream-operator")
            .set("allow.auto.create.topics", "false")
            .set("reconnect.backoff.max.ms", "1000")
            .set("log.connection.close", "false");
        Ok(Admin {
            client: Arc::new(config.create()?),
        })
    }

    /// How many partitions each topic has, and on how many brokers; `None` for one that does not exist.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn look(&self, names: &[String]) -> Result<Vec<Option<Topic>>, AdminError> {
        let (client, names) = (Arc::clone(&self.client), names.to_vec());
        let looked = tokio::task::spawn_blocking(move || {
            names.iter().map(|name| look(&client, name)).collect()
        });
        looked
            .await
            .unwrap_or_else(|err| Err(AdminError::Unavailable(err.to_string())))
    }

    /// The settings of a topic.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn config(&self, name: &str) -> Result<BTreeMap<String, String>, AdminError> {
        let of = [ResourceSpecifier::Topic(name)];
        let mut found = self.client.describe_configs(&of, &options()).await?;
        let resource = match found.pop() {
            Some(Ok(resource)) => resource,
            Some(Err(code)) => return Err(KafkaError::AdminOp(code).into()),
            None => return Ok(BTreeMap::new()),
        };
        let entries = resource.entries.into_iter();
        Ok(entries
            .filter_map(|entry| Some((entry.name, entry.value?)))
            .collect())
    }

    /// Makes a topic; without `replication` the brokers' default.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn create(
        &self,
        name: &str,
        partitions: i32,
        replication: Option<i32>,
        config: &BTreeMap<String, String>,
    ) -> Result<(), AdminError> {
        let replication = TopicReplication::Fixed(replication.unwrap_or(-1));
        let topic = NewTopic::new(name, partitions, replication);
        let topic = config
            .iter()
            .fold(topic, |topic, (key, value)| topic.set(key, value));
        outcome(self.client.create_topics([&topic], &options()).await?)
    }

    /// Adds partitions, up to this many.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn grow(&self, name: &str, partitions: i32) -> Result<(), AdminError> {
        let count = usize::try_from(partitions).unwrap_or(0);
        let grown = NewPartitions::new(name, count);
        outcome(self.client.create_partitions([&grown], &options()).await?)
    }

    /// Changes these settings and leaves all others alone.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn configure(
        &self,
        name: &str,
        config: &BTreeMap<String, String>,
    ) -> Result<(), AdminError> {
        let (client, name, config) = (Arc::clone(&self.client), name.to_owned(), config.clone());
        let done = tokio::task::spawn_blocking(move || {
            incremental::alter_topic(client.inner(), &name, &config, CALL_LIMIT)
        });
        done.await
            .unwrap_or_else(|err| Err(AdminError::Unavailable(err.to_string())))
    }

    /// Deletes a topic; one that does not exist is deleted.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn delete(&self, name: &str) -> Result<(), AdminError> {
        let mut results = self.client.delete_topics(&[name], &options()).await?;
        results.retain(|result| {
            !matches!(result, Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)))
        });
        outcome(results)
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(CALL_LIMIT))
        .operation_timeout(Some(CALL_LIMIT))
}

fn look(
    client: &AdminClient<DefaultClientContext>,
    name: &str,
) -> Result<Option<Topic>, AdminError> {
    let metadata = client.inner().fetch_metadata(Some(name), CALL_LIMIT)?;
    let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else {
        return Ok(None);
    };
    match topic.error().map(RDKafkaErrorCode::from) {
        None => {}
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            return Ok(None);
        }
        Some(code) => return Err(KafkaError::MetadataFetch(code).into()),
    }
    let first = topic.partitions().first();
    Ok(Some(Topic {
        partitions: i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX),
        replication: first.map_or(0, |first| {
            i32::try_from(first.replicas().len()).unwrap_or(i32::MAX)
        }),
        config: BTreeMap::new(),
    }))
}
