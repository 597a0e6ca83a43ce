//! Every option of the handler: flag, environment variable, unit, default.

use std::time::Duration;

use clap::{CommandFactory, Parser, error::ErrorKind};
use clickstream_settings::{Pipeline, address, topic};

use crate::{Config, http::origin::Origins, live};

/// Lets people see the matches of their queries: STOMP over WebSocket and SockJS, server-sent events, an HTTP
/// API and a page.
///
/// Every option can also be set by the environment variable shown with it; one that may be repeated takes one
/// value per line from its variable.
#[derive(Debug, Clone, Parser)]
#[command(name = "clickstream-handler", version)]
pub struct Args {
    #[command(flatten)]
    pub(crate) pipeline: Pipeline,

    /// A topic that holds the pipeline's events; may be repeated. The handler only shows the names
    #[arg(long, env, value_name = "TOPIC", value_delimiter = '\n', value_parser = topic)]
    pub source_topic: Vec<String>,

    /// Where to listen: HOST:PORT; 0.0.0.0:8080 for all interfaces
    #[arg(long, env, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    pub http_addr: String,

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
        let mut kafka = self.pipeline.kafka().map_err(invalid)?;
        kafka.set("client.id", "clickstream-handler");
        let filtered_topic = self.pipeline.filtered_topic().map_err(invalid)?;
        Ok(Config {
            live: live::Settings {
                kafka,
                filtered_topic,
                event_type_field: self.pipeline.event_type_field.clone(),
                subscription_ttl: self.subscription_ttl,
                lease: self.lease,
                resume_window: self.resume_window,
            },
            source_topics: self.source_topic.clone(),
            user_field: self.pipeline.user_field.clone(),
            origins,
        })
    }
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
