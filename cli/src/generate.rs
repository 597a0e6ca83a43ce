//! `generate`: sends events to a topic, the bundled ones or those of a file.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::builder::NonEmptyStringValueParser;
use clickstream_settings::key_value;
use clickstream_telemetry::shutdown_signal;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::dataset;
use crate::kafka::{Cluster, Sender};
use crate::ndjson::Lines;

/// Longest line of a file, in bytes: far above what brokers accept.
const MAX_LINE_BYTES: usize = 16 << 20;
/// A pause longer than this is not made up for by sending faster afterwards.
const MAX_CATCH_UP: Duration = Duration::from_secs(1);

/// What `generate` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kafka brokers, as host:port, comma separated
    #[arg(long, env = "BROKERS", hide_env_values = true, value_parser = NonEmptyStringValueParser::new())]
    brokers: String,
    /// Setting of the Kafka client (librdkafka), as key=value; may be repeated
    #[arg(long, value_name = "KEY=VALUE", env = "KAFKA_CONFIG", hide_env_values = true,
          value_delimiter = '\n', value_parser = key_value)]
    kafka_config: Vec<(String, String)>,
    /// Topic to send to
    #[arg(long)]
    topic: String,
    /// Create the topic with this many partitions if it is missing
    #[arg(long, value_name = "PARTITIONS", value_parser = clap::value_parser!(i32).range(1..))]
    create_partitions: Option<i32>,
    /// File of events, one JSON object per line, sent as they are; `-` is standard input
    /// [default: the bundled data set]
    #[arg(long)]
    file: Option<PathBuf>,
    /// Events per second; 0 is as fast as it can
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// How often the events are sent; 0 is until stopped
    #[arg(long, default_value_t = 1)]
    rounds: u64,
}

/// Sends, waits for the acknowledgements and prints their number.
///
/// # Errors
/// When Kafka or the file cannot be used, or an event was not acknowledged; the number of those
/// that were is printed before.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let cluster = Cluster {
        brokers: args.brokers.clone(),
        settings: args.kafka_config.clone(),
    };
    let standard_input = args.file.as_deref() == Some(Path::new("-"));
    if standard_input && args.rounds != 1 {
        bail!(
            "standard input can be sent once only: use a file for `--rounds {}`",
            args.rounds
        );
    }
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("starting the runtime")?
        .block_on(async {
            let cancel = shutdown_signal().context("listening for signals")?;
            let sender = Sender::connect(&cluster, &args.topic, args.create_partitions).await?;
            let sent = send(args, &sender, &cancel).await;
            let flushed = sender.flush().await;
            writeln!(
                std::io::stdout(),
                r#"{{"acknowledged":{}}}"#,
                sender.acknowledged()
            )?;
            sent.and(flushed)?;
            Ok(ExitCode::SUCCESS)
        })
}

async fn send(args: &Args, sender: &Sender, cancel: &CancellationToken) -> anyhow::Result<()> {
    let mut pace = Pace::new(args.rate);
    let mut round = 0;
    while (args.rounds == 0 || round < args.rounds) && !cancel.is_cancelled() {
        match &args.file {
            None => send_dataset(round, &mut pace, sender, cancel).await?,
            Some(path) => send_file(path, &mut pace, sender, cancel).await?,
        }
        round += 1;
    }
    Ok(())
}

/// Sends the bundled data set once, or until `cancel`.
///
/// # Errors
/// As [`Sender::send`].
pub(crate) async fn send_dataset(
    round: u64,
    pace: &mut Pace,
    sender: &Sender,
    cancel: &CancellationToken,
) -> anyhow::Result<()> {
    for event in dataset::events(round) {
        let (user, value) = event?;
        if cancel.run_until_cancelled(pace.next()).await.is_none() {
            break;
        }
        sender.send(Some(&user), &value).await?;
    }
    Ok(())
}

async fn send_file(
    path: &Path,
    pace: &mut Pace,
    sender: &Sender,
    cancel: &CancellationToken,
) -> anyhow::Result<()> {
    let mut lines = Lines::open(path, MAX_LINE_BYTES)?;
    while let Some(line) = lines.next()? {
        if line.bytes.is_empty() {
            continue;
        }
        let number = line.number;
        if line.bytes.len() > MAX_LINE_BYTES {
            bail!(
                "line {number} of `{}` is longer than 16 MiB",
                path.display()
            );
        }
        if cancel.run_until_cancelled(pace.next()).await.is_none() {
            break;
        }
        sender
            .send(user_id(line.bytes).as_deref(), line.bytes)
            .await
            .with_context(|| format!("line {number} of `{}`", path.display()))?;
    }
    Ok(())
}

/// The key of an event: the text of its `user_id`. What is not a JSON object is sent, too,
/// without a key, because a stream may hold such records.
fn user_id(event: &[u8]) -> Option<String> {
    let fields: HashMap<String, &RawValue> = serde_json::from_slice(event).ok()?;
    let raw = fields.get("user_id")?.get();
    match serde_json::from_str(raw) {
        Ok(Value::Null) => None,
        Ok(Value::String(text)) => Some(text),
        _ => Some(raw.to_owned()),
    }
}

/// Spreads events evenly over time.
pub(crate) struct Pace {
    /// Events per second; 0 is no limit.
    rate: u32,
    start: Instant,
    passed: u64,
}

impl Pace {
    /// Starts now, at `rate` events per second; 0 is no limit.
    pub(crate) fn new(rate: u32) -> Pace {
        Pace {
            rate,
            start: Instant::now(),
            passed: 0,
        }
    }

    /// Completes when the next event is due.
    pub(crate) async fn next(&mut self) {
        if self.rate == 0 {
            // A loop that never waits must still let others run.
            return tokio::task::consume_budget().await;
        }
        let due = self.start + Duration::from_secs_f64(self.passed as f64 / f64::from(self.rate));
        self.passed += 1;
        let late = Instant::now().saturating_duration_since(due);
        if late > MAX_CATCH_UP {
            self.start += late;
        }
        sleep_until(due).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_text_of_the_user_id() {
        assert_eq!(
            user_id(br#"{"a":1,"user_id":"u\u0031"}"#).as_deref(),
            Some("u1")
        );
        assert_eq!(user_id(br#"{"user_id":17}"#).as_deref(), Some("17"));
        for no_key in [&br#"{"user_id":null}"#[..], b"{}", b"[1]", b"\xff", b"7"] {
            assert_eq!(user_id(no_key), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn events_are_spread_over_time() {
        let start = Instant::now();
        let mut pace = Pace::new(200);
        for _ in 0..=400 {
            pace.next().await;
        }
        let taken = start.elapsed();
        assert!((2000..2100).contains(&taken.as_millis()), "{taken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_pause_is_not_made_up_for() {
        let mut pace = Pace::new(10);
        pace.next().await;
        tokio::time::advance(Duration::from_secs(60)).await;
        pace.next().await;
        let start = Instant::now();
        for _ in 0..20 {
            pace.next().await;
        }
        assert!(start.elapsed() >= Duration::from_millis(1900));
    }
}
