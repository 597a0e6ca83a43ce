//! The options that workers and handlers share: where their pipeline lives, and what its events look like.
//!
//! Both programs can be given the same environment. What only one of them knows stands in its own `args.rs`; how single
//! values are written is said here once, for all programs.

mod values;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clickstream_engine::FieldPath;
use clickstream_registry::{Category, PostgresRegistry, RegistryError};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use tracing::{error, info, warn};

pub use values::{address, key_value, path, topic};
use values::{brokers, pipeline};

/// Between two tries to bring the schema up to date.
const MIGRATE_AGAIN: Duration = Duration::from_secs(1);

/// A pipeline, as its programs are told of it.
#[derive(Debug, Clone, Args)]
pub struct Pipeline {
    /// Kafka brokers to start from: HOST:PORT, several separated by commas
    #[arg(long, env, value_parser = brokers)]
    pub brokers: String,

    /// A setting of librdkafka, such as `security.protocol=sasl_ssl`; may be repeated. Workers refuse those that
    /// their promises rest on
    #[arg(long, env, hide_env_values = true, value_name = "KEY=VALUE", value_delimiter = '\n', value_parser = key_value)]
    pub kafka_config: Vec<(String, String)>,

    /// The topic for matches, from workers to handlers [default: clickstream-PIPELINE, with `.` for `/`]
    #[arg(long, env, value_name = "TOPIC", value_parser = topic)]
    pub filtered_topic: Option<String>,

    /// The pipeline's name, on Kubernetes NAMESPACE/NAME; the same for its workers and handlers
    #[arg(long, env, value_name = "NAME", default_value = "default", value_parser = pipeline)]
    pub pipeline: String,

    /// The PostgreSQL database that holds the queries: postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, env, hide_env_values = true, value_name = "URL")]
    pub database_url: String,

    /// Bring the database's schema up to date at start
    #[arg(long, env)]
    pub migrate: bool,

    /// The field that holds an event's type: a dotted path
    #[arg(long, env, value_name = "PATH", default_value = "type", value_parser = path)]
    pub event_type_field: FieldPath,

    /// The field that says whose event it is: a dotted path. Only handlers use it
    #[arg(long, env, value_name = "PATH", default_value = "user_id", value_parser = path)]
    pub user_field: FieldPath,
}

impl Pipeline {
    /// The name as it stands in names of topics and groups.
    #[must_use]
    pub fn dotted_name(&self) -> String {
        self.pipeline.replace('/', ".")
    }

    /// The topic for matches, as given or by the pipeline's name.
    ///
    /// # Errors
    /// The name makes no topic name; with what to do.
    pub fn filtered_topic(&self) -> Result<String, String> {
        match &self.filtered_topic {
            Some(topic) => Ok(topic.clone()),
            None => topic(&format!("clickstream-{}", self.dotted_name())).map_err(|_| {
                "--pipeline: the name makes no topic name: set --filtered-topic".to_owned()
            }),
        }
    }

    /// The brokers and the user's settings, checked by librdkafka.
    ///
    /// # Errors
    /// A setting that librdkafka refuses: its name and why. Values are not shown, as they may be secrets.
    pub fn kafka(&self) -> Result<ClientConfig, String> {
        let mut kafka = ClientConfig::new();
        for (key, value) in &self.kafka_config {
            kafka.set(key, value);
        }
        kafka.set("bootstrap.servers", &self.brokers);
        match kafka.create_native_config() {
            Ok(_) => Ok(kafka),
            Err(KafkaError::ClientConfig(_, reason, key, _)) => Err(format!(
                "--kafka-config: `{key}` is refused by librdkafka: {reason}"
            )),
            Err(err) => Err(format!("--kafka-config: {err}")),
        }
    }

    /// The pipeline's registry, not connected to yet. `program` is what PostgreSQL calls its connections.
    ///
    /// # Errors
    /// The address or the name cannot be used.
    pub fn registry(&self, program: &'static str) -> Result<Arc<PostgresRegistry>, RegistryError> {
        PostgresRegistry::new(&self.database_url, &self.pipeline, program).map(Arc::new)
    }

    /// Brings the schema up to date as soon as the database is there, if that was asked for.
    pub async fn migrate(&self, registry: &PostgresRegistry) {
        if !self.migrate {
            return;
        }
        loop {
            match registry.migrate().await {
                Ok(()) => return info!("the database's schema is up to date"),
                Err(err) if err.category() == Category::Unavailable => {
                    warn!(
                        error = &err as &dyn std::error::Error,
                        "the schema cannot be brought up to date yet"
                    );
                }
                Err(err) => {
                    return error!(
                        error = &err as &dyn std::error::Error,
                        "the schema cannot be brought up to date"
                    );
                }
            }
            tokio::time::sleep(MIGRATE_AGAIN).await;
        }
    }
}
