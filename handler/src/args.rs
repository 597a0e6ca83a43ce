//! Every option of the handler: flag, environment variable, unit, default.

use std::time::Duration;

use clap::{CommandFactory, Parser, error::ErrorKind};
use clickstream_engine::FieldPath;
use rdkafka::ClientConfig;

use crate::{Config, http::origin::Origins, live};

/// Lets people see the matches of their queries: STOMP over WebSocket and SockJS, server-sent events, an HTTP
/// API and a page.
///
/// Every option can also be set by the environment variable shown with it; one that may be repeated takes one
/// value per line from its variable.
#[derive(Debug, Clone, Parser)]
#[command(name = "clickstream-handler", version)]
pub struct Args {
    /// Kafka brokers to start from: HOST:PORT, several separated by commas
    #[arg(long, env, value_parser = brokers)]
    pub brokers: String,

    /// A setting of librdkafka, such as `security.protocol=sasl_ssl`; may be repeated
    #[arg(long, env, hide_env_values = true, value_name = "KEY=VALUE", value_delimiter = '\n', value_parser = key_value)]
    pub kafka_config: Vec<(String, String)>,

    /// A topic that holds the pipeline's events; may be repeated. The handler only shows the names
    #[arg(long, env, value_name = "TOPIC", value_delimiter = '\n', value_parser = topic)]
    pub source_topic: Vec<String>,

    /// The topic on which workers send matches [default: clickstream-PIPELINE, with `.` for `/`]
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

    /// Where to listen: HOST:PORT; 0.0.0.0:8080 for all interfaces
    #[arg(long, env, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    pub http_addr: String,

    /// The field that holds an event's type: a dotted path
    #[arg(long, env, value_name = "PATH", default_value = "type", value_parser = path)]
    pub event_type_field: FieldPath,

    /// The field that says whose event it is: a dotted path
    #[arg(long, env, value_name = "PATH", default_value = "user_id", value_parser = path)]
    pub user_field: FieldPath,

    /// Another site whose pages may connect, such as `https://app.example.com`; may be repeated. Pages that this
    /// handler serves, and programs that are no page, always may
    #[arg(long, env, value_name = "ORIGIN", value_delimiter = '\n')]
    pub allowed_origins: Vec<String>,

    /// After this time a subscription ends and has to be made again: 5s to 24h
    #[arg(long, env, value_name = "TIME", default_value = "8h", value_parser = subscription_ttl)]
    pub subscription_ttl: Duration,

    /// How long the queries of a handler that is gone are still matched: 2s to 24h
    #[arg(long, env, value_name = "TIME", default_value = "60s", value_parser = lease)]
    pub lease: Duration,

    /// How long a query is kept for a viewer whose connection broke: 0s to 24h
    #[arg(long, env, value_name = "TIME", default_value = "30s", value_parser = resume_window)]
    pub resume_window: Duration,
}

impl Args {
    /// Checks what single values cannot tell.
    ///
    /// # Errors
    /// What is wrong and what to write instead, in clap's form.
    pub fn config(&self) -> Result<Config, clap::Error> {
        let invalid = |message: String| Self::command().error(ErrorKind::ValueValidation, message);
        let origins = Origins::parse(self.allowed_origins.iter().map(String::as_str))
            .map_err(|message| invalid(format!("--allowed-origins: {message}")))?;
        let mut kafka = ClientConfig::new();
        for (key, value) in &self.kafka_config {
            kafka.set(key, value);
        }
        kafka.set("bootstrap.servers", &self.brokers);
        kafka.set("client.id", "clickstream-handler");
        // Only the key is shown: the value may be a secret.
        kafka.create_native_config().map_err(|err| match err {
            rdkafka::error::KafkaError::ClientConfig(_, reason, key, _) => invalid(format!(
                "--kafka-config: `{key}` is refused by librdkafka: {reason}"
            )),
            err => invalid(format!("--kafka-config: {err}")),
        })?;
        let filtered_topic = match &self.filtered_topic {
            Some(topic) => topic.clone(),
            None => topic(&format!("clickstream-{}", self.pipeline.replace('/', "."))).map_err(
                |_| {
                    invalid(
                        "--pipeline: the name makes no topic name: set --filtered-topic".to_owned(),
                    )
                },
            )?,
        };
        Ok(Config {
            live: live::Settings {
                kafka,
                filtered_topic,
                event_type_field: self.event_type_field.clone(),
                subscription_ttl: self.subscription_ttl,
                lease: self.lease,
                resume_window: self.resume_window,
            },
            source_topics: self.source_topic.clone(),
            user_field: self.user_field.clone(),
            origins,
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

fn pipeline(value: &str) -> Result<String, String> {
    if value.is_empty() || value.len() > 256 || value.chars().any(char::is_control) {
        return Err(
            "write a name of 1 to 256 characters, such as `shop` or `team/shop`".to_owned(),
        );
    }
    Ok(value.to_owned())
}

fn path(value: &str) -> Result<FieldPath, String> {
    let path = FieldPath::parse(value);
    path.map_err(|err| {
        format!(
            "{}: write a dotted path, such as `user.id`\n{}",
            err.message,
            err.caret()
        )
    })
}

const DAY: Duration = Duration::from_secs(24 * 3600);

fn subscription_ttl(value: &str) -> Result<Duration, String> {
    within(value, live::MIN_TTL, DAY)
}

fn lease(value: &str) -> Result<Duration, String> {
    within(value, Duration::from_secs(2), DAY)
}

fn resume_window(value: &str) -> Result<Duration, String> {
    within(value, Duration::ZERO, DAY)
}

/// A time with its unit; a bare number counts seconds.
fn within(value: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let seconds = value.parse().map(Duration::from_secs);
    let time = seconds.or_else(|_| humantime::parse_duration(value));
    match time {
        Ok(time) if (least..=most).contains(&time) => Ok(time),
        _ => Err(format!(
            "write a time from {least:?} to {}h, such as `90s`, `5m` or `8h`",
            most.as_secs() / 3600
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &[&str]) -> Result<Config, clap::Error> {
        let mut args = vec!["clickstream-handler", "--database-url", "postgres://db/x"];
        if !more.contains(&"--brokers") {
            args.extend(["--brokers", "kafka:9092"]);
        }
        args.extend(more);
        Args::try_parse_from(args).and_then(|args| args.config())
    }

    #[test]
    fn defaults_are_those_of_the_specification() {
        let config = parse(&[]).unwrap();
        assert_eq!(config.live.filtered_topic, "clickstream-default");
        assert_eq!(config.live.subscription_ttl, Duration::from_secs(8 * 3600));
        assert_eq!(config.live.lease, Duration::from_secs(60));
        assert_eq!(config.live.resume_window, Duration::from_secs(30));
        assert_eq!(config.live.event_type_field.to_string(), "type");
        assert_eq!(config.user_field.to_string(), "user_id");
        let config = parse(&["--pipeline", "team/shop"]).unwrap();
        assert_eq!(config.live.filtered_topic, "clickstream-team.shop");
    }

    #[test]
    fn wrong_values_are_refused_with_what_to_write_instead() {
        let cases: [(&[&str], &str); 11] = [
            (&["--brokers", "kafka"], "HOST:PORT"),
            (&["--kafka-config", "nonsense"], "KEY=VALUE"),
            (&["--kafka-config", "no.such=1"], "`no.such` is refused"),
            (&["--source-topic", "a b"], "topic's name"),
            (&["--pipeline", ""], "write a name"),
            (&["--pipeline", "ü"], "set --filtered-topic"),
            (&["--http-addr", "8080"], "HOST:PORT"),
            (&["--event-type-field", "a..b"], "dotted path"),
            (&["--allowed-origins", "*"], "https://app.example.com"),
            (&["--subscription-ttl", "4s"], "write a time from 5s to 24h"),
            (&["--lease", "1s"], "write a time from 2s to 24h"),
        ];
        for (args, hint) in cases {
            let error = parse(args).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(hint), "{args:?}: {error}");
        }
        assert!(parse(&["--resume-window", "0"]).is_ok());
    }

    #[test]
    fn help_names_every_option_with_its_variable_and_default() {
        let mut command = Args::command().term_width(100);
        insta::assert_snapshot!(command.render_long_help());
    }
}
