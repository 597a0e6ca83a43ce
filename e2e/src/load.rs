//! A steady stream of numbered events, sent as a careful producer would: nothing lost, nothing twice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clickstream_testkit::kafka::Kafka;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

/// How much to send.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Events per second.
    pub rate: u64,
    /// For how long.
    pub seconds: u64,
    /// Of the topic; event `n` goes to partition `n % partitions`.
    pub partitions: i32,
}

impl Load {
    /// Events in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.rate * self.seconds
    }

    /// `event_id` of event `n`.
    #[must_use]
    pub fn event_id(n: u64) -> String {
        format!("n-{n}")
    }

    /// Sends on a thread: `{"event_id":"n-<n>","type":"numbered","n":<n>,"bucket":<n % 100>,…}`.
    /// The thread ends when the broker has acknowledged all, and fails when it has not 90 s after the last was sent.
    ///
    /// # Errors
    /// When the producer cannot be made.
    pub fn start(self, kafka: &Kafka, topic: &str) -> Result<JoinHandle<Result<()>>> {
        let outcome = Arc::new(Outcome::default());
        let producer: ThreadedProducer<Deliveries> = kafka
            .client()
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", "0")
            .set("linger.ms", "2")
            // After an outage there is soon something again that can flow.
            .set("reconnect.backoff.max.ms", "500")
            .set("queue.buffering.max.messages", "1000000")
            .create_with_context(Deliveries(Arc::clone(&outcome)))?;
        let topic = topic.to_owned();
        Ok(std::thread::spawn(move || {
            self.send(&producer, &topic, &outcome)
        }))
    }

    fn send(
        self,
        producer: &ThreadedProducer<Deliveries>,
        topic: &str,
        outcome: &Outcome,
    ) -> Result<()> {
        let start = Instant::now();
        let partitions = u64::try_from(self.partitions)?;
        let mut n = 0;
        while n < self.total() {
            let due = u64::try_from(start.elapsed().as_millis())? * self.rate / 1_000;
            while n < due.min(self.total()) {
                let id = Load::event_id(n);
                let payload = format!(
                    r#"{{"event_id":"{id}","type":"numbered","n":{n},"bucket":{},"user_id":"user-{}"}}"#,
                    n % 100,
                    n % 977
                );
                let partition = i32::try_from(n % partitions)?;
                let mut record = BaseRecord::to(topic)
                    .key(&id)
                    .payload(&payload)
                    .partition(partition);
                while let Err((err, back)) = producer.send(record) {
                    ensure!(
                        err == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull),
                        "cannot send: {err}"
                    );
                    std::thread::sleep(Duration::from_millis(10));
                    record = back;
                }
                n += 1;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        producer
            .flush(Duration::from_secs(90))
            .context("the broker has not acknowledged all")?;
        if let Some(error) = outcome
            .error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            return Err(anyhow!("an event was not acknowledged: {error}"));
        }
        let acknowledged = outcome.acknowledged.load(Ordering::Relaxed);
        ensure!(
            acknowledged == self.total(),
            "{acknowledged} of {} acknowledged",
            self.total()
        );
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Outcome {
    acknowledged: AtomicU64,
    error: Mutex<Option<KafkaError>>,
}

struct Deliveries(Arc<Outcome>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.0.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                self.0
                    .error
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert_with(|| error.clone());
            }
        }
    }
}
