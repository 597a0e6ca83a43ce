//! Events of 850 bytes at a steady rate, with the moment each was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};

/// Size of an event.
const EVENT_BYTES: usize = 850;

/// Microseconds after `start` at which event `n` was acknowledged, plus one; 0 while it is not.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    start: Instant,
    at: Vec<AtomicU64>,
}

impl Acknowledged {
    pub(crate) fn new(events: usize) -> Arc<Acknowledged> {
        let at = (0..events).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Acknowledged {
            start: Instant::now(),
            at,
        })
    }

    /// Milliseconds from the acknowledgement of `n` to `seen`; `None` when `n` was not acknowledged.
    /// An event that is seen before its producer hears of the acknowledgement took 0.
    pub(crate) fn milliseconds_until(&self, n: usize, seen: Instant) -> Option<f64> {
        let at = self.at.get(n)?.load(Ordering::Acquire).checked_sub(1)?;
        let acknowledged = self.start + Duration::from_micros(at);
        Some(seen.saturating_duration_since(acknowledged).as_secs_f64() * 1e3)
    }
}

/// Stamps acknowledgements; the opaque of a record is its number.
struct Stamps(Arc<Acknowledged>);

impl ClientContext for Stamps {}

impl ProducerContext for Stamps {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, n: Box<usize>) {
        if let (Ok(_), Some(at)) = (result, self.0.at.get(*n)) {
            at.store(
                self.0.start.elapsed().as_micros() as u64 + 1,
                Ordering::Release,
            );
        }
    }
}

/// Makes the bytes of event `n`.
pub(crate) type Event<'e> = &'e dyn Fn(usize) -> Vec<u8>;

/// Event `n`: bucket `n % 100`, and fields such as a shop's page would send.
pub(crate) fn event(n: usize) -> Vec<u8> {
    let mut event = format!(
        r#"{{"n":{n},"bucket":{},"type":"{}","user_id":"user-{:06}","session_id":"sess-{:08}","price":{}.{:02},"page":{{"path":"/hotels/{}","referrer":"https://example.com/search?q={}","title":"A room with a view"}},"device":{{"platform":"{}","width":{},"language":"en-GB"}},"tags":["a{}","b{}"],"note":""#,
        n % 100,
        ["page_view", "click", "search", "add_to_cart", "purchase"][n % 5],
        n % 50_021,
        n / 7,
        n % 900,
        n % 97,
        n % 5_003,
        n % 811,
        ["desktop", "mobile", "tablet"][n % 3],
        320 + n % 1600,
        n % 17,
        n % 23,
    );
    while event.len() < EVENT_BYTES - 2 {
        event.push((b'a' + (event.len() * 7 + n) as u8 % 26) as char);
    }
    event.push_str("\"}");
    event.into_bytes()
}

/// Sends events `0..total` to partitions in turn, at `rate` a second (0: as fast as it can), and waits for all
/// acknowledgements.
pub(crate) fn send(
    config: &ClientConfig,
    topic: &str,
    total: usize,
    rate: usize,
    acks: Arc<Acknowledged>,
    event: Event<'_>,
) -> Result<()> {
    let producer: ThreadedProducer<Stamps> = config
        .clone()
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", if rate == 0 { "20" } else { "1" })
        .set("queue.buffering.max.messages", "200000")
        .create_with_context(Stamps(acks))?;
    let start = Instant::now();
    let mut n = 0;
    while n < total {
        let due = if rate == 0 {
            total
        } else {
            start.elapsed().as_millis() as usize * rate / 1_000
        };
        while n < due.min(total) {
            let payload = event(n);
            let partition = (n % 8) as i32;
            let mut record = BaseRecord::<(), [u8], _>::with_opaque_to(topic, Box::new(n))
                .payload(&payload)
                .partition(partition);
            while let Err((err, back)) = producer.send(record) {
                if err != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                    return Err(err.into());
                }
                std::thread::sleep(Duration::from_millis(1));
                record = back;
            }
            n += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    producer
        .flush(Duration::from_secs(60))
        .context("not all events were acknowledged")
}
