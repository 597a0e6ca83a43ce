//! Every option of the worker: flag, environment variable, unit, default.

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use clickstream_engine::{FieldPath, Mask};
use clickstream_settings::{Pipeline, address, path, topic};

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
    #[command(flatten)]
    pub(crate) pipeline: Pipeline,

    /// A topic that holds the pipeline's events: JSON objects; may be repeated
    #[arg(long, env, value_name = "TOPIC", value_delimiter = '\n', value_parser = topic, required = true)]
    pub source_topic: Vec<String>,

    /// Create the filtered topic with this many partitions (1 to 1024) if it is missing: matches are kept for an hour,
    /// with the brokers' default replication
    #[arg(long, env, value_name = "PARTITIONS", value_parser = clap::value_parser!(i32).range(1..=1024))]
    pub create_filtered_topic: Option<i32>,

    /// The consumer group, the same for all workers of the pipeline
    /// [default: clickstream-worker-PIPELINE, with `.` for `/`]
    #[arg(long, env, value_name = "GROUP", value_parser = group)]
    pub group: Option<String>,

    /// Members of the consumer group in this process, each with a thread of its own: 1 to 256
    /// [default: one for each core]
    #[arg(long, env, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub consumers: Option<u16>,

    /// Where to serve /healthz, /readyz and /metrics: HOST:PORT; 0.0.0.0:8080 for all interfaces
    #[arg(long, env, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    pub http_addr: String,

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
        let mut given = self.pipeline.kafka_config.iter();
        if let Some((key, _)) = given.find(|(key, _)| OWN_SETTINGS.contains(&key.as_str())) {
            return Err(invalid(format!(
                "--kafka-config: leave out `{key}`: the worker sets it itself"
            )));
        }
        let kafka = self.pipeline.kafka().map_err(invalid)?;
        let filtered_topic = self.pipeline.filtered_topic().map_err(invalid)?;
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
                .unwrap_or_else(|| format!("clickstream-worker-{}", self.pipeline.dotted_name())),
            consumers: self
                .consumers
                .map_or_else(Config::default_consumers, usize::from),
            event_type_field: self.pipeline.event_type_field.clone(),
            mask,
            engine: self.engine,
        })
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
