//! The producer for sinks: one for the process, made when the first record is due.
//!
//! It is not the one of the lanes, which fails as a whole when a single record does: here a refusal concerns one
//! record. What it cannot say the fate of makes it fail, and everything is read again from where it was committed.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clickstream_registry::SinkRefusal;
use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Message as _};
use tracing::{error, info};

use crate::kafka::{self, Failure};
use crate::metrics::Metrics;
use crate::offsets::Segments;
use crate::producer::{Budget, Held};
use crate::sinks::{QUERY, QUERY_ID, SOURCE, Sink, SinkRecord, Sinks};

/// Between two attempts to make a producer.
const RETRY: Duration = Duration::from_secs(1);

/// What becomes of a record with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It will never be written.
    Refused(SinkRefusal),
    /// It was in one batch with a record that is refused: it is sent again.
    Resend,
    /// Nobody knows: it is read and written again.
    Again,
    /// The producer is being closed, and the partition given up without this record.
    GivenUp,
}

/// librdkafka repeats what is worth repeating, without end, so a broker's error that arrives here is a refusal.
///
/// `was_there`: this producer has written to the topic before. A broker that has just started may not know of it for a
/// moment; the next producer waits for the topic ([`kafka::sinks`]) before it takes it for missing.
fn fate(error: RDKafkaErrorCode, was_there: bool) -> Fate {
    use RDKafkaErrorCode::{
        ClusterAuthorizationFailed, InvalidDifferentRecord, InvalidMessageSize,
        InvalidProducerEpoch, MessageBatchTooLarge, MessageSizeTooLarge, OutOfOrderSequenceNumber,
        ProducerFenced, PurgeInflight, PurgeQueue, TopicAuthorizationFailed, UnknownPartition,
        UnknownProducerId, UnknownTopic, UnknownTopicOrPartition,
    };
    match error {
        PurgeQueue | PurgeInflight => Fate::GivenUp,
        InvalidDifferentRecord => Fate::Resend,
        UnknownTopic | UnknownTopicOrPartition | UnknownPartition if was_there => Fate::Again,
        UnknownTopic | UnknownTopicOrPartition | UnknownPartition => {
            Fate::Refused(SinkRefusal::TopicNotFound)
        }
        MessageSizeTooLarge | MessageBatchTooLarge | InvalidMessageSize => {
            Fate::Refused(SinkRefusal::TooLarge)
        }
        TopicAuthorizationFailed | ClusterAuthorizationFailed => {
            Fate::Refused(SinkRefusal::NotAuthorized)
        }
        // About the producer, not about the record.
        OutOfOrderSequenceNumber | InvalidProducerEpoch | UnknownProducerId | ProducerFenced => {
            Fate::Again
        }
        // Errors of librdkafka's own are negative.
        error if error as i32 > 0 => Fate::Refused(SinkRefusal::Refused),
        _ => Fate::Again,
    }
}

/// What travels with a record until its fate is known.
pub(crate) struct Delivery {
    sink: Arc<Sink>,
    segments: Segments,
    _held: Held,
}

/// Receives delivery reports.
pub(crate) struct Reports {
    failure: Failure,
    /// Topics that a record was written to.
    there: Mutex<HashSet<String>>,
    /// What is to be sent again; the next thread that looks takes it. At most what is unacknowledged.
    resend: Mutex<VecDeque<Stuck>>,
    metrics: Metrics,
}

impl Reports {
    fn failed(&self, error: &KafkaError, record: SinkRecord<'_>, delivery: Box<Delivery>) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        let was_there = self.there.lock().contains(&delivery.sink.topic);
        match fate(code, was_there) {
            Fate::Refused(why) => {
                refuse(&self.metrics, &delivery.sink, why);
                delivery.segments.acknowledge();
            }
            Fate::Resend => self.resend.lock().push_back(Stuck::new(record, delivery)),
            Fate::Again => self.failure.fail(error),
            Fate::GivenUp => {}
        }
    }
}

fn refuse(metrics: &Metrics, sink: &Sink, why: SinkRefusal) {
    sink.count_refused(why);
    metrics.sink_dropped(why);
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        kafka::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.failure.heard(&error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Box<Delivery>) {
        match result {
            Ok(written) => {
                let mut there = self.there.lock();
                if !there.contains(written.topic()) {
                    there.insert(written.topic().to_owned());
                }
                drop(there);
                self.metrics.sink_records.inc();
                delivery.segments.acknowledge();
            }
            Err((error, message)) => {
                let source = message.headers().and_then(|headers| {
                    let source = headers.iter().find(|header| header.key == SOURCE)?;
                    std::str::from_utf8(source.value?).ok()
                });
                let record = SinkRecord {
                    key: message.key(),
                    value: message.payload().unwrap_or_default(),
                    timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
                    source: source.unwrap_or_default(),
                };
                self.failed(error, record, delivery);
            }
        }
    }
}

/// One producer. It is used until it fails.
struct SinkProducer {
    inner: ThreadedProducer<Reports>,
    reports: Arc<Reports>,
}

impl SinkProducer {
    fn has_failed(&self) -> bool {
        self.reports.failure.has_come()
    }
}

/// Makes the producer when it is needed, and the next one when it failed; threads share it.
pub(crate) struct SinkProducers {
    kafka: ClientConfig,
    budget: Arc<Budget>,
    metrics: Metrics,
    current: Mutex<Option<Arc<SinkProducer>>>,
}

impl SinkProducers {
    /// `budget`: of all output of the process.
    pub(crate) fn new(kafka: ClientConfig, budget: Arc<Budget>, metrics: Metrics) -> Self {
        Self {
            kafka,
            budget,
            metrics,
            current: Mutex::new(None),
        }
    }

    fn current(&self) -> KafkaResult<Arc<SinkProducer>> {
        let mut current = self.current.lock();
        if let Some(producer) = &*current
            && !producer.has_failed()
        {
            return Ok(Arc::clone(producer));
        }
        let reports = Reports {
            failure: Failure::of("sinks"),
            there: Mutex::default(),
            resend: Mutex::default(),
            metrics: self.metrics.clone(),
        };
        let inner: ThreadedProducer<Reports> =
            kafka::sinks(&self.kafka).create_with_context(reports)?;
        let reports = Arc::clone(rdkafka::producer::Producer::client(&inner).context());
        let producer = Arc::new(SinkProducer { inner, reports });
        info!("producer for sinks is ready");
        *current = Some(Arc::clone(&producer));
        Ok(producer)
    }

    /// Lets the producer go, when no thread uses it any more.
    pub(crate) fn close(&self) {
        self.current.lock().take();
    }
}

/// One thread's way to the sinks.
pub(crate) struct SinkOutput {
    producers: Arc<SinkProducers>,
    producer: Option<Arc<SinkProducer>>,
    /// What librdkafka had no room for; in order.
    stuck: VecDeque<Stuck>,
    not_before: Option<Instant>,
}

struct Stuck {
    key: Option<Vec<u8>>,
    value: Vec<u8>,
    timestamp_ms: i64,
    source: String,
    delivery: Box<Delivery>,
}

impl Stuck {
    fn new(record: SinkRecord<'_>, delivery: Box<Delivery>) -> Self {
        Self {
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.to_vec(),
            timestamp_ms: record.timestamp_ms,
            source: record.source.to_owned(),
            delivery,
        }
    }
}

impl SinkOutput {
    pub(crate) fn new(producers: Arc<SinkProducers>) -> Self {
        Self {
            producers,
            producer: None,
            stuck: VecDeque::new(),
            not_before: None,
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.producer.as_ref().is_some_and(|it| it.has_failed())
    }

    /// Something waits for librdkafka to take it.
    pub(crate) fn is_stuck(&self) -> bool {
        !self.stuck.is_empty()
    }

    /// Forgets what was not handed over, and a producer that failed.
    pub(crate) fn begin_again(&mut self) {
        self.stuck.clear();
        self.producer = None;
    }

    /// Offers librdkafka again what it had no room for, and what is to be sent again.
    pub(crate) fn retry(&mut self) {
        if let Some(producer) = &self.producer {
            self.stuck.append(&mut producer.reports.resend.lock());
        }
        while let Some(mut first) = self.stuck.pop_front() {
            let record = SinkRecord {
                key: first.key.as_deref(),
                value: &first.value,
                timestamp_ms: first.timestamp_ms,
                source: &first.source,
            };
            if let Some(delivery) = self.offer(record, first.delivery) {
                first.delivery = delivery;
                self.stuck.push_front(first);
                break;
            }
        }
    }

    /// Gives the delivery back if it cannot be taken now.
    fn offer(&mut self, record: SinkRecord<'_>, delivery: Box<Delivery>) -> Option<Box<Delivery>> {
        let Some(producer) = self.producer() else {
            return Some(delivery);
        };
        let sink = Arc::clone(&delivery.sink);
        let header = |key, value| Header {
            key,
            value: Some(value),
        };
        let headers = OwnedHeaders::new_with_capacity(3)
            .insert(header(QUERY, &sink.query))
            .insert(header(QUERY_ID, &sink.query_id))
            .insert(Header {
                key: SOURCE,
                value: Some(record.source),
            });
        let mut outgoing: BaseRecord<'_, [u8], [u8], Box<Delivery>> =
            BaseRecord::with_opaque_to(&sink.topic, delivery)
                .payload(record.value)
                .headers(headers);
        if let Some(key) = record.key {
            outgoing = outgoing.key(key);
        }
        if record.timestamp_ms >= 0 {
            outgoing = outgoing.timestamp(record.timestamp_ms);
        }
        match producer.inner.send(outgoing) {
            Ok(()) => None,
            Err((error, outgoing))
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) =>
            {
                Some(outgoing.delivery_opaque)
            }
            Err((error, outgoing)) => {
                producer
                    .reports
                    .failed(&error, record, outgoing.delivery_opaque);
                None
            }
        }
    }

    fn producer(&mut self) -> Option<Arc<SinkProducer>> {
        if self.producer.is_none() && self.not_before.is_none_or(|at| Instant::now() >= at) {
            match self.producers.current() {
                Ok(producer) => self.producer = Some(producer),
                Err(error) => {
                    error!(%error, "cannot make a producer for sinks");
                    self.not_before = Some(Instant::now() + RETRY);
                }
            }
        }
        self.producer.clone()
    }
}

impl Sinks for SinkOutput {
    fn deliver(&mut self, sink: &Arc<Sink>, record: SinkRecord<'_>, segments: Segments) {
        let bytes = record.key.map_or(0, <[u8]>::len) + record.value.len();
        let mut delivery = Box::new(Delivery {
            sink: Arc::clone(sink),
            segments,
            _held: Held::new(bytes, &self.producers.budget),
        });
        if self.stuck.is_empty() {
            match self.offer(record, delivery) {
                None => return,
                Some(back) => delivery = back,
            }
        }
        self.stuck.push_back(Stuck::new(record, delivery));
    }

    fn refuse(&mut self, sink: &Sink, why: SinkRefusal) {
        refuse(&self.producers.metrics, sink, why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_be_refused_is_left_out() {
        use RDKafkaErrorCode as Code;
        for (code, was_there, expected) in [
            (
                Code::UnknownTopic,
                false,
                Fate::Refused(SinkRefusal::TopicNotFound),
            ),
            (Code::UnknownTopic, true, Fate::Again),
            (Code::UnknownTopicOrPartition, true, Fate::Again),
            (
                Code::MessageSizeTooLarge,
                true,
                Fate::Refused(SinkRefusal::TooLarge),
            ),
            (
                Code::TopicAuthorizationFailed,
                false,
                Fate::Refused(SinkRefusal::NotAuthorized),
            ),
            (
                Code::InvalidRecord,
                true,
                Fate::Refused(SinkRefusal::Refused),
            ),
            (Code::InvalidDifferentRecord, true, Fate::Resend),
            (Code::OutOfOrderSequenceNumber, true, Fate::Again),
            (Code::Fatal, true, Fate::Again),
            (Code::Unknown, true, Fate::Again),
            (Code::MessageTimedOut, true, Fate::Again),
            (Code::PurgeQueue, true, Fate::GivenUp),
        ] {
            assert_eq!(fate(code, was_there), expected, "{code:?} {was_there}");
        }
    }
}
