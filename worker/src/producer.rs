//! The one producer for lanes of the process, and what it owes.
//!
//! # Guarantees
//! - Records of one thread reach each lane in the order they were sent, each once, or the producer fails as a whole.
//! - A producer that failed takes nothing more; whoever used it begins again at the offset it committed, with a new
//!   epoch, on a new producer.
//! - What is unacknowledged is bounded: see [`Budget`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clickstream_registry::SinkRefusal;
use clickstream_wire::HEADER;
use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use tracing::info;

use crate::kafka::{self, Failure};
use crate::metrics::Metrics;
use crate::offsets::Segments;
use crate::owner::{LaneRecord, Lanes};
use crate::sink_producer::{SinkOutput, SinkProducers};
use crate::sinks::{Sink, SinkRecord, Sinks};

/// Threads stop reading when this many records of the process are unacknowledged, and go on at half of it.
const MAX_RECORDS: usize = 100_000;
/// The same in bytes of keys, headers and values.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Largest record of a topic that says nothing else: librdkafka's and Kafka's default, less what a batch adds.
pub(crate) const DEFAULT_MAX_MESSAGE_BYTES: usize = 1_000_000;
/// What a batch and a record's own framing take at most beside key, header and value.
const FRAMING_BYTES: usize = 512;

/// What the process has handed to its producers and not seen acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

impl Budget {
    /// Reading should stop.
    pub(crate) fn is_used_up(&self) -> bool {
        self.records.load(Ordering::Relaxed) >= MAX_RECORDS
            || self.bytes.load(Ordering::Relaxed) >= MAX_BYTES
    }

    /// Reading may go on after it stopped.
    pub(crate) fn has_room(&self) -> bool {
        self.records.load(Ordering::Relaxed) <= MAX_RECORDS / 2
            && self.bytes.load(Ordering::Relaxed) <= MAX_BYTES / 2
    }

    /// Records unacknowledged.
    pub(crate) fn records(&self) -> usize {
        self.records.load(Ordering::Relaxed)
    }
}

/// One record's share of the budget, given back when it is dropped.
pub(crate) struct Held {
    bytes: usize,
    budget: Arc<Budget>,
}

impl Held {
    pub(crate) fn new(bytes: usize, budget: &Arc<Budget>) -> Self {
        budget.records.fetch_add(1, Ordering::Relaxed);
        budget.bytes.fetch_add(bytes, Ordering::Relaxed);
        Self {
            bytes,
            budget: Arc::clone(budget),
        }
    }
}

/// What travels with a record until it is acknowledged or given up.
pub(crate) struct Delivery {
    segments: Segments,
    _held: Held,
}

impl Delivery {
    fn new(segments: Segments, bytes: usize, budget: &Arc<Budget>) -> Box<Self> {
        Box::new(Self {
            segments,
            _held: Held::new(bytes, budget),
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.records.fetch_sub(1, Ordering::Relaxed);
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Receives delivery reports.
#[derive(Debug)]
pub(crate) struct Reports {
    failure: Failure,
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
            Ok(_) => delivery.segments.acknowledge(),
            // Nothing is given up for time, so this is for good: the topic is gone or refuses the record.
            Err((reason, _)) => self.failure.fail(reason),
        }
    }
}

/// One producer. It is used until it fails.
pub(crate) struct Producer {
    inner: ThreadedProducer<Reports>,
    reports: Arc<Reports>,
    max_record_bytes: usize,
}

impl Producer {
    /// A fatal error came: nothing more is taken or acknowledged.
    pub(crate) fn has_failed(&self) -> bool {
        self.reports.failure.has_come()
    }
}

/// Makes the next producer when one failed; threads share it.
pub(crate) struct Producers {
    kafka: ClientConfig,
    topic: String,
    budget: Arc<Budget>,
    metrics: Metrics,
    current: Mutex<Option<Arc<Producer>>>,
}

impl Producers {
    pub(crate) fn new(kafka: ClientConfig, topic: String, metrics: Metrics) -> Self {
        Self {
            kafka,
            topic,
            budget: Arc::default(),
            metrics,
            current: Mutex::new(None),
        }
    }

    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// The producer in use; a new one if it failed or there was none, for a topic whose records may have
    /// `max_message_bytes`.
    pub(crate) fn current(&self, max_message_bytes: usize) -> KafkaResult<Arc<Producer>> {
        let mut current = self.current.lock();
        if let Some(producer) = &*current
            && !producer.has_failed()
        {
            return Ok(Arc::clone(producer));
        }
        let config = kafka::producer(&self.kafka, max_message_bytes);
        let failure = Failure::of("lanes");
        let inner: ThreadedProducer<Reports> = config.create_with_context(Reports { failure })?;
        let reports = Arc::clone(rdkafka::producer::Producer::client(&inner).context());
        let max_record_bytes = max_message_bytes.saturating_sub(FRAMING_BYTES);
        let producer = Arc::new(Producer {
            inner,
            reports,
            max_record_bytes,
        });
        self.metrics.producers.inc();
        info!(topic = self.topic, max_record_bytes, "producer is ready");
        *current = Some(Arc::clone(&producer));
        Ok(producer)
    }

    /// Lets the producer go, when no thread uses it any more.
    pub(crate) fn close(&self) {
        self.current.lock().take();
    }
}

/// One thread's way to the lanes and to the sinks.
pub(crate) struct Output {
    sinks: SinkOutput,
    producer: Arc<Producer>,
    topic: String,
    budget: Arc<Budget>,
    /// What librdkafka had no room for; in order.
    stuck: VecDeque<Stuck>,
}

struct Stuck {
    lane: u32,
    key: Vec<u8>,
    header: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    delivery: Box<Delivery>,
}

impl Output {
    pub(crate) fn new(
        producers: &Producers,
        producer: Arc<Producer>,
        sinks: Arc<SinkProducers>,
    ) -> Self {
        Self {
            sinks: SinkOutput::new(sinks),
            producer,
            topic: producers.topic.clone(),
            budget: Arc::clone(&producers.budget),
            stuck: VecDeque::new(),
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.producer.has_failed() || self.sinks.has_failed()
    }

    /// Goes on with this producer, and another one for sinks; what the former ones were not given yet is forgotten.
    pub(crate) fn switch(&mut self, producer: Arc<Producer>) {
        self.stuck.clear();
        self.producer = producer;
        self.sinks.begin_again();
    }

    /// Too much is unacknowledged: reading should stop.
    pub(crate) fn is_full(&self) -> bool {
        !self.stuck.is_empty() || self.sinks.is_stuck() || self.budget.is_used_up()
    }

    /// Reading may go on after it stopped.
    pub(crate) fn has_room(&self) -> bool {
        self.stuck.is_empty() && !self.sinks.is_stuck() && self.budget.has_room()
    }

    /// Offers librdkafka again what it had no room for.
    pub(crate) fn retry(&mut self) {
        self.sinks.retry();
        while let Some(Stuck {
            lane,
            key,
            header,
            value,
            delivery,
        }) = self.stuck.pop_front()
        {
            let record = LaneRecord {
                key: &key,
                header: header.as_deref(),
                value: value.as_deref(),
            };
            if let Some(delivery) = self.offer(lane, record, delivery) {
                self.stuck.push_front(Stuck {
                    lane,
                    key,
                    header,
                    value,
                    delivery,
                });
                break;
            }
        }
    }

    /// Gives the delivery back if there is no room now.
    fn offer(
        &self,
        lane: u32,
        record: LaneRecord<'_>,
        delivery: Box<Delivery>,
    ) -> Option<Box<Delivery>> {
        let mut outgoing: BaseRecord<'_, [u8], [u8], Box<Delivery>> =
            BaseRecord::with_opaque_to(&self.topic, delivery)
                .partition(lane as i32)
                .key(record.key);
        if let Some(value) = record.value {
            outgoing = outgoing.payload(value);
        }
        if let Some(header) = record.header {
            let header = Header {
                key: HEADER,
                value: Some(header),
            };
            outgoing = outgoing.headers(OwnedHeaders::new_with_capacity(1).insert(header));
        }
        match self.producer.inner.send(outgoing) {
            Ok(()) => None,
            Err((error, outgoing)) => {
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) {
                    return Some(outgoing.delivery_opaque);
                }
                self.producer.reports.failure.fail(&error);
                None
            }
        }
    }
}

impl Lanes for Output {
    fn max_record_bytes(&self) -> usize {
        self.producer.max_record_bytes
    }

    fn send(&mut self, lane: u32, record: LaneRecord<'_>, segments: Segments) {
        let size = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let bytes = record.key.len() + size(record.header) + size(record.value);
        let mut delivery = Delivery::new(segments, bytes, &self.budget);
        if self.stuck.is_empty() {
            match self.offer(lane, record, delivery) {
                None => return,
                Some(back) => delivery = back,
            }
        }
        self.stuck.push_back(Stuck {
            lane,
            key: record.key.to_vec(),
            header: record.header.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            delivery,
        });
    }
}

impl Sinks for Output {
    fn deliver(&mut self, sink: &Arc<Sink>, record: SinkRecord<'_>, segments: Segments) {
        self.sinks.deliver(sink, record, segments);
    }

    fn refuse(&mut self, sink: &Sink, why: SinkRefusal) {
        self.sinks.refuse(sink, why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offsets::Offsets;

    #[test]
    fn the_budget_is_given_back_whatever_becomes_of_a_record() {
        let budget = Arc::new(Budget::default());
        let offsets = Offsets::new(0);
        let delivery = |bytes| Delivery::new(Segments::one(offsets.send()), bytes, &budget);
        let large = delivery(MAX_BYTES);
        assert!(budget.is_used_up() && !budget.has_room());
        drop(large);
        assert!(budget.has_room());
        let mut many: Vec<_> = (0..MAX_RECORDS).map(|_| delivery(1)).collect();
        assert!(budget.is_used_up());
        many.truncate(MAX_RECORDS - 1);
        assert!(
            !budget.is_used_up() && !budget.has_room(),
            "once stopped, reading waits for half of it"
        );
        many.truncate(MAX_RECORDS / 2);
        assert!(budget.has_room());
        drop(many);
        assert_eq!(budget.records(), 0);
    }
}
