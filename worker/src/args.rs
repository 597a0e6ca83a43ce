//! Every option of the worker: flag, environment variable, unit, default.

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use clickstream_engine::{FieldPath, Mask};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use crate::Config;

/// Settings of librdkafka that the worker's promises rest on.
const OWN_SETTINGS: [&str; 14] = [
    "acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "group.id",
    "group.protocol",
    "message.timeout.ms",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "request.required.acks",
];

/// Reads events from Kafka, matches them against the pipeline's queries and writes the matches to a Kafka topic.
///
/// Every option can also be set by the environment variable shown with it; one that may be repeated takes one
/// value per line from its variable.
#[derive(Debug, Clone, Parser)]
#[command(name = "clickstream-worker", version)]
pub struct Args {
    /// Kafka brokers to start from: HOST:PORT, several separated by commas
    #[arg(long, env, value_parser = brokers)]
    pub brokers: String,

    /// A setting of librdkafka, such as `security.protocol=sasl_ssl`; may be repeated. Those that the worker's promises
    /// rest on are refused
    #[arg(long, env, hide_env_values = true, value_name = "KEY=VALUE", value_delimiter = '\n', value_parser = key_value)]
    pub kafka_config: Vec<(String, String)>,

    /// A topic that holds the pipeline's events: JSON objects; may be repeated
    #[arg(long, env, value_name = "TOPIC", value_delimiter = '\n', value_parser = topic, required = true)]
    pub source_topic: Vec<String>,

    /// The topic to write matches to [default: clickstream-PIPELINE, with `.` for `/`]
    #[arg(long, env, value_name = "TOPIC", value_parser = topic)]
    pub filtered_topic: Option<String>,

    /// Create the filtered topic with this many partitions (1 to 1024) if it is missing: matches are kept for an hour,
    /// with the brokers' default replication
    #[arg(long, env, value_name = "PARTITIONS", value_parser = clap::value_parser!(i32).range(1..=1024))]
    pub create_filtered_topic: Option<i32>,

    /// The pipeline's name, on Kubernetes NAMESPACE/NAME; the same for its workers and handlers
    #[arg(long, env, value_name = "NAME", default_value = "default", value_parser = pipeline)]
    pub pipeline: String,

    /// The consumer group, the same for all workers of the pipeline
    /// [default: clickstream-worker-PIPELINE, with `.` for `/`]
    #[arg(long, env, value_name = "GROUP", value_parser = group)]
    pub group: Option<String>,

    /// Members of the consumer group in this process, each with a thread of its own: 1 to 256
    /// [default: one for each core]
    #[arg(long, env, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub consumers: Option<u16>,

    /// The PostgreSQL database that holds the queries: postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, env, hide_env_values = true, value_name = "URL")]
    pub database_url: String,

    /// Bring the database's schema up to date at start
    #[arg(long, env)]
    pub migrate: bool,

    /// Where to serve /healthz, /readyz and /metrics: HOST:PORT; 0.0.0.0:8080 for all interfaces
    #[arg(long, env, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    pub http_addr: String,

    /// The field that holds an event's type: a dotted path
    #[arg(long, env, value_name = "PATH", default_value = "type", value_parser = path)]
    pub event_type_field: FieldPath,

    /// The field that says whose event it is: a dotted path. Used by handlers; checked here so that both can be given
    /// the same settings
    #[arg(long, env, value_name = "PATH", default_value = "user_id", value_parser = path)]
    pub user_field: FieldPath,

    /// A field that nobody may see: a dotted path; may be repeated. It is removed from events before filters, viewers
    /// and the catalogue of fields get them
    #[arg(long, env, value_name = "PATH", value_delimiter = '\n', value_parser = path)]
    pub masked_field: Vec<FieldPath>,

    /// What holds events against filters
    #[arg(long, env, value_enum, default_value_t = Engine::Index)]
    pub engine: Engine,
}

/// Two implementations of one meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// All filters at once
    Index,
    /// One filter after the other with crate `cel`, some thousand times slower: for doubt
    Reference,
}

impl Args {
    /// Checks what single values cannot tell.
    ///
    /// # Errors
    /// What is wrong and what to write instead, in clap's form.
    pub fn config(&self) -> Result<Config, clap::Error> {
        let invalid = |message: String| Self::command().error(ErrorKind::ValueValidation, message);
        let mut kafka = ClientConfig::new();
        for (key, value) in &self.kafka_config {
            if OWN_SETTINGS.contains(&key.as_str()) {
                return Err(invalid(format!(
                    "--kafka-config: leave out `{key}`: the worker sets it itself"
                )));
            }
            kafka.set(key, value);
        }
        kafka.set("bootstrap.servers", &self.brokers);
        // Only the key is shown: the value may be a secret.
        kafka.create_native_config().map_err(|err| match err {
            KafkaError::ClientConfig(_, reason, key, _) => invalid(format!(
                "--kafka-config: `{key}` is refused by librdkafka: {reason}"
            )),
            err => invalid(format!("--kafka-config: {err}")),
        })?;
        let name = self.pipeline.replace('/', ".");
        let filtered_topic = match &self.filtered_topic {
            Some(topic) => topic.clone(),
            None => topic(&format!("clickstream-{name}")).map_err(|_| {
                invalid("--pipeline: the name makes no topic name: set --filtered-topic".to_owned())
            })?,
        };
        if self.source_topic.contains(&filtered_topic) {
            return Err(invalid(format!(
                "--source-topic: `{filtered_topic}` is the filtered topic: matches would be matched again; \
                 set another --filtered-topic"
            )));
        }
        let masked: Vec<String> = self.masked_field.iter().map(FieldPath::to_string).collect();
        let mask = Mask::parse(&masked)
            .map_err(|err| invalid(format!("--masked-field: {}", err.message)))?;
        let mut source_topics = self.source_topic.clone();
        source_topics.sort();
        source_topics.dedup();
        Ok(Config {
            kafka,
            source_topics,
            filtered_topic,
            create_filtered_topic: self.create_filtered_topic,
            group: self
                .group
                .clone()
                .unwrap_or_else(|| format!("clickstream-worker-{name}")),
            consumers: self
                .consumers
                .map_or_else(Config::default_consumers, usize::from),
            event_type_field: self.event_type_field.clone(),
            mask,
            engine: self.engine,
        })
    }
}

fn brokers(value: &str) -> Result<String, String> {
    if value
        .split(',')
        .all(|broker| address(broker.trim()).is_ok())
    {
        Ok(value.to_owned())
    } else {
        Err(
            "write HOST:PORT, several separated by commas, such as `kafka-1:9092,kafka-2:9092`"
                .to_owned(),
        )
    }
}

fn address(value: &str) -> Result<String, String> {
    let port = value.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match port.and_then(|(_, port)| port.parse::<u16>().ok()) {
        Some(_) => Ok(value.to_owned()),
        None => Err("write HOST:PORT, such as `0.0.0.0:8080`".to_owned()),
    }
}

fn key_value(value: &str) -> Result<(String, String), String> {
    match value.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err("write KEY=VALUE, such as `security.protocol=sasl_ssl`".to_owned()),
    }
}

fn topic(value: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=249).contains(&value.len()) && value.chars().all(fits) && value != "." && value != ".."
    {
        Ok(value.to_owned())
    } else {
        Err("a topic's name is 1 to 249 letters, digits, `.`, `_` and `-`".to_owned())
    }
}

fn group(value: &str) -> Result<String, String> {
    if value.is_empty() || value.len() > 255 || value.chars().any(char::is_control) {
        return Err(
            "write a name of 1 to 255 characters, such as `clickstream-worker-shop`".to_owned(),
        );
    }
    Ok(value.to_owned())
}

fn pipeline(value: &str) -> Result<String, String> {
    if value.is_empty() || value.len() > 256 || value.chars().any(char::is_control) {
        return Err(
            "write a name of 1 to 256 characters, such as `shop` or `team/shop`".to_owned(),
        );
    }
    Ok(value.to_owned())
}

fn path(value: &str) -> Result<FieldPath, String> {
    FieldPath::parse(value).map_err(|err| {
        format!(
            "{}: write a dotted path, such as `user.id`\n{}",
            err.message,
            err.caret()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &[&str]) -> Result<Config, clap::Error> {
        let brokers: &[&str] = if more.contains(&"--brokers") {
            &[]
        } else {
            &["--brokers", "k:9092"]
        };
        let given = [
            "clickstream-worker",
            "--database-url",
            "postgres://db/x",
            "--source-topic",
            "events",
        ];
        Args::try_parse_from(given.iter().chain(brokers).chain(more)).and_then(|args| args.config())
    }

    #[test]
    fn defaults_are_those_of_the_specification() {
        let config = parse(&[]).unwrap();
        assert_eq!(config.filtered_topic, "clickstream-default");
        assert_eq!(config.group, "clickstream-worker-default");
        assert_eq!(config.consumers, Config::default_consumers());
        assert_eq!(config.event_type_field.to_string(), "type");
        assert!(config.mask.is_empty());
        assert_eq!(config.engine, Engine::Index);
        let config = parse(&["--pipeline", "team/shop"]).unwrap();
        assert_eq!(config.filtered_topic, "clickstream-team.shop");
        assert_eq!(config.group, "clickstream-worker-team.shop");
    }

    #[test]
    fn a_repeated_option_takes_one_value_per_line() {
        let config = parse(&[
            "--source-topic",
            "clicks\nviews",
            "--kafka-config",
            "client.id=a\nsocket.timeout.ms=1000",
        ]);
        let config = config.unwrap();
        assert_eq!(config.source_topics, ["clicks", "events", "views"]);
        assert_eq!(config.kafka.get("client.id"), Some("a"));
        assert_eq!(config.kafka.get("socket.timeout.ms"), Some("1000"));
    }

    #[test]
    fn wrong_values_are_refused_with_what_to_write_instead() {
        let cases: [(&[&str], &str); 14] = [
            (&["--brokers", "kafka"], "HOST:PORT"),
            (&["--kafka-config", "nonsense"], "KEY=VALUE"),
            (&["--kafka-config", "no.such=1"], "`no.such` is refused"),
            (
                &["--kafka-config", "enable.auto.commit=true"],
                "leave out `enable.auto.commit`",
            ),
            (&["--source-topic", "a b"], "topic's name"),
            (
                &["--source-topic", "clickstream-default"],
                "set another --filtered-topic",
            ),
            (&["--pipeline", ""], "write a name"),
            (&["--pipeline", "ü"], "set --filtered-topic"),
            (&["--group", ""], "write a name"),
            (&["--consumers", "0"], "1..=256"),
            (&["--create-filtered-topic", "0"], "1..=1024"),
            (&["--http-addr", "8080"], "HOST:PORT"),
            (&["--event-type-field", "a..b"], "dotted path"),
            (&["--masked-field", ""], "dotted path"),
        ];
        for (args, hint) in cases {
            let error = parse(args).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(hint), "{args:?}: {error}");
        }
        let missing = Args::try_parse_from(["clickstream-worker"])
            .unwrap_err()
            .to_string();
        for option in [
            "--brokers <BROKERS>",
            "--source-topic <TOPIC>",
            "--database-url <URL>",
        ] {
            assert!(missing.contains(option), "{missing}");
        }
    }

    #[test]
    fn help_names_every_option_with_its_variable_and_default() {
        let mut command = Args::command().term_width(100);
        insta::assert_snapshot!(command.render_long_help());
    }
}
