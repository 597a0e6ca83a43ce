//! How the worker sets its Kafka clients, and what it makes of their logs.

use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, ClientContext};
use tracing::{debug, error, info, warn};

/// Whether a producer has failed. Told once, with the reason.
#[derive(Debug)]
pub(crate) struct Failure {
    producer: &'static str,
    failed: AtomicBool,
}

impl Failure {
    /// `producer`: what the log calls it.
    pub(crate) fn of(producer: &'static str) -> Self {
        Self {
            producer,
            failed: AtomicBool::new(false),
        }
    }

    pub(crate) fn fail(&self, reason: &KafkaError) {
        if !self.failed.swap(true, Ordering::Relaxed) {
            error!(error = %reason, producer = self.producer, "a producer failed; partitions begin again where they were committed");
        }
    }

    /// What librdkafka says about the client; only what it calls fatal is.
    pub(crate) fn heard(&self, error: &KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.fail(error);
        } else {
            warn!(%error, reason, "trouble with Kafka");
        }
    }

    pub(crate) fn has_come(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

/// Defaults of ours, then the user's settings, then what the worker's promises rest on.
fn layered(ours: &[(&str, &str)], user: &ClientConfig, own: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    let client = [
        ("client.id", "clickstream-worker"),
        // After an outage the brokers are found again within about a second.
        ("reconnect.backoff.max.ms", "1000"),
        ("socket.keepalive.enable", "true"),
        ("log.connection.close", "false"),
    ];
    let user = user.config_map();
    let layers = client
        .iter()
        .chain(ours)
        .copied()
        .chain(user)
        .chain(own.iter().copied());
    for (key, value) in layers {
        config.set(key, value);
    }
    config
}

/// A member of the group that reads the source topics.
pub(crate) fn consumer(user: &ClientConfig, group: &str) -> ClientConfig {
    let ours = [
        // A worker that dies is missed after this. A broker that starts again is mostly back before: a member whose
        // session ran out meanwhile would join as a new one, and wait for the old one that it was.
        ("session.timeout.ms", "8000"),
        ("heartbeat.interval.ms", "1000"),
        // New partitions are noticed within seconds.
        ("topic.metadata.refresh.interval.ms", "5000"),
        // Idle partitions hold up the first fetch of one that was just started no longer than this.
        ("fetch.wait.max.ms", "100"),
        // A full queue is looked at again soon; the default of a second would make gaps at full speed.
        ("fetch.queue.backoff.ms", "20"),
        ("fetch.error.backoff.ms", "100"),
        ("queued.min.messages", "20000"),
        ("queued.max.messages.kbytes", "32768"),
        // Where partitions end.
        ("statistics.interval.ms", "1000"),
    ];
    let own = [
        ("group.id", group),
        ("group.protocol", "classic"),
        ("partition.assignment.strategy", "cooperative-sticky"),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("auto.offset.reset", "error"),
        ("allow.auto.create.topics", "false"),
    ];
    layered(&ours, user, &own)
}

/// The producer of matches and progress. Records up to `max_record_bytes`; the bound on unacknowledged output is
/// [`crate::producer::Budget`]'s, librdkafka's own is only a second line.
pub(crate) fn producer(user: &ClientConfig, max_record_bytes: usize) -> ClientConfig {
    let size = max_record_bytes.to_string();
    let ours = [
        ("linger.ms", "5"),
        ("compression.type", "lz4"),
        ("queue.buffering.max.messages", "1000000"),
        ("queue.buffering.max.kbytes", "262144"),
        ("message.max.bytes", &size),
        ("batch.size", &size),
        ("retry.backoff.max.ms", "500"),
    ];
    let own = [
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("enable.gapless.guarantee", "true"),
        ("message.timeout.ms", "0"),
        ("allow.auto.create.topics", "false"),
    ];
    layered(&ours, user, &own)
}

/// The producer for sinks. A record that is refused does not concern the others.
pub(crate) fn sinks(user: &ClientConfig) -> ClientConfig {
    let ours = [
        ("linger.ms", "5"),
        ("compression.type", "lz4"),
        // Of equal keys as Kafka's own clients do, so that streams can be joined by partition.
        ("partitioner", "murmur2_random"),
        ("queue.buffering.max.messages", "1000000"),
        ("queue.buffering.max.kbytes", "262144"),
        ("retry.backoff.max.ms", "500"),
    ];
    let own = [
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("enable.gapless.guarantee", "false"),
        ("message.timeout.ms", "0"),
        ("allow.auto.create.topics", "false"),
        // Brokers refuse batches, not records: one record that is larger goes alone, and any topic takes batches of the
        // size that Kafka's own clients make.
        ("batch.size", "16384"),
        // It is the topic that decides, up to the bound on unacknowledged output.
        ("message.max.bytes", "67108864"),
        // A topic that the brokers do not know for so long does not exist.
        ("topic.metadata.propagation.max.ms", "5000"),
    ];
    layered(&ours, user, &own)
}

/// A client that only asks, on connections where no idle fetch makes questions wait.
pub(crate) fn asking(user: &ClientConfig) -> ClientConfig {
    layered(&[], user, &[("allow.auto.create.topics", "false")])
}

/// Logs a line of librdkafka.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, line: &str) {
    use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error, Info, Notice, Warning};
    // Settings are checked at start; what remains is that a consumer's are none of a producer's, and the like.
    if facility == "CONFWARN" {
        return debug!(line, "librdkafka");
    }
    match level {
        Emerg | Alert | Critical | Error => error!(facility, line, "librdkafka"),
        Warning => warn!(facility, line, "librdkafka"),
        Notice | Info => info!(facility, line, "librdkafka"),
        Debug => debug!(facility, line, "librdkafka"),
    }
}

/// The callbacks of a client that only asks.
#[derive(Debug, Default)]
pub(crate) struct Asking;

impl ClientContext for Asking {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, reason, "trouble with Kafka");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_settings_beat_defaults_and_lose_to_promises() {
        let mut user = ClientConfig::new();
        user.set("session.timeout.ms", "9000")
            .set("auto.offset.reset", "latest")
            .set("linger.ms", "50");
        let consumer = consumer(&user, "g");
        assert_eq!(consumer.get("session.timeout.ms"), Some("9000"));
        assert_eq!(consumer.get("auto.offset.reset"), Some("error"));
        assert_eq!(consumer.get("group.id"), Some("g"));
        let producer = producer(&user, 123_456);
        assert_eq!(producer.get("linger.ms"), Some("50"));
        assert_eq!(producer.get("batch.size"), Some("123456"));
    }

    #[test]
    fn librdkafka_takes_every_setting() {
        let user = ClientConfig::new();
        for config in [
            consumer(&user, "g"),
            producer(&user, 1_000_000),
            sinks(&user),
            asking(&user),
        ] {
            config.create_native_config().unwrap();
        }
    }
}
