//! Reads the filtered topic: one thread, all lanes, only while somebody watches.
//!
//! # Expected flow
//! 1. A first subscription asks for reading ([`Lanes::reading`]). The thread takes the end offset of every
//!    lane and begins there. Only then is the query registered, so its matches lie at or above.
//! 2. Records go to the [`Hub`] in batches; each connection with new events is woken once per batch.
//! 3. When nothing has been served for a while, it stops and forgets the lanes.
//!
//! # Guarantees
//! - Brokers that are away are waited for; reading goes on where it was.
//! - Records deleted before they were read are noticed (offsets of a lane follow each other) and told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clickstream_telemetry::{Health, Waiting};
use clickstream_wire as wire;
use parking_lot::{Condvar, Mutex};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::{BorrowedMessage, Headers},
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{hub::Hub, subscription::Now};
use crate::metrics::Metrics;

/// Records handled under one lock of the hub, and bytes of events among them after which no more are added.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 128 << 10;
/// How long the thread waits for a record before it looks whether it should stop.
const POLL: Duration = Duration::from_millis(100);
/// Reading goes on for this long after the last query: people change their filter, and a client that begins to read
/// anew first waits for its former fetch, half a second.
const LINGER: Duration = Duration::from_secs(10);
/// One question to the brokers.
const ASK: Duration = Duration::from_secs(5);
/// Between two looks at the filtered topic: while it is missing, and afterwards.
const LOOK: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];

/// The reader of the lanes; a handle to its thread.
#[derive(Debug)]
pub(crate) struct Lanes {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    topic: String,
    control: Mutex<Control>,
    wanted: Condvar,
    /// Lanes that the filtered topic has; 0 while it is unknown.
    lanes: AtomicU32,
}

#[derive(Debug, Default)]
struct Control {
    reading: bool,
    stop: bool,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Lanes {
    /// Starts the thread, and a task that looks how many lanes there are and whether Kafka answers.
    /// `config` holds the brokers and whatever the user set.
    ///
    /// # Errors
    /// A setting that librdkafka does not take.
    pub(crate) fn start(
        config: &ClientConfig,
        topic: &str,
        group: &str,
        hub: Arc<Mutex<Hub>>,
        metrics: Metrics,
        health: Health,
        cancel: CancellationToken,
    ) -> anyhow::Result<Self> {
        let consumer: BaseConsumer = consumer_config(config, group)
            .create()
            .context("setting up the Kafka consumer")?;
        let consumer = Arc::new(consumer);
        let shared = Arc::new(Shared {
            topic: topic.to_owned(),
            control: Mutex::default(),
            wanted: Condvar::new(),
            lanes: AtomicU32::new(0),
        });
        let look = Arc::clone(&shared).look(Arc::clone(&consumer), health);
        tokio::spawn(async move { cancel.run_until_cancelled(look).await });
        let reader = Reader {
            shared: Arc::clone(&shared),
            consumer,
            hub,
            metrics,
        };
        let thread = thread::Builder::new()
            .name("lanes".to_owned())
            .spawn(move || reader.run())
            .context("starting the thread that reads lanes")?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Returns once every lane is being read from an offset that was its end after this call, or earlier.
    /// The caller holds a place in the hub, so that reading does not stop again.
    pub(crate) async fn reading(&self) {
        let answer = {
            let mut control = self.shared.control.lock();
            if control.reading {
                return;
            }
            let (sender, answer) = oneshot::channel();
            control.waiting.push(sender);
            self.shared.wanted.notify_one();
            answer
        };
        // The thread drops the sender without an answer only when it stops for good.
        if answer.await.is_err() {
            std::future::pending().await
        }
    }

    /// Lanes that the filtered topic has; 0 while it is unknown.
    pub(crate) fn count(&self) -> u32 {
        self.shared.lanes.load(Ordering::Relaxed)
    }

    /// Ends the thread and waits for that, a moment.
    pub(crate) async fn stop(&self) {
        self.tell_to_stop();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    fn tell_to_stop(&self) {
        let mut control = self.shared.control.lock();
        control.stop = true;
        control.waiting.clear();
        self.shared.wanted.notify_one();
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.tell_to_stop();
    }
}

fn consumer_config(config: &ClientConfig, group: &str) -> ClientConfig {
    let mut config = config.clone();
    // Nothing is committed and no group is joined; librdkafka wants the name all the same.
    config.set("group.id", group);
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("allow.auto.create.topics", "false");
    // A lane that lost records goes on at its earliest; `Reader` sees the jump and tells it.
    config.set("auto.offset.reset", "earliest");
    config.set("enable.partition.eof", "false");
    config.set("fetch.error.backoff.ms", "100");
    config.set("reconnect.backoff.max.ms", "1000");
    // What may wait in librdkafka while the hub is busy.
    config.set("queued.max.messages.kbytes", "16384");
    config
}

impl Shared {
    /// Keeps the number of lanes and the readiness up to date.
    async fn look(self: Arc<Self>, consumer: Arc<BaseConsumer>, health: Health) {
        loop {
            let (shared, asked) = (Arc::clone(&self), Arc::clone(&consumer));
            let lanes = tokio::task::spawn_blocking(move || shared.ask(&asked)).await;
            let lanes = lanes.unwrap_or_else(|err| Err(err.into()));
            match &lanes {
                Ok(lanes) => {
                    health.set_ready(Waiting::Kafka);
                    if *lanes == 0 {
                        health.set_waiting(Waiting::FilteredTopic);
                    } else {
                        health.set_ready(Waiting::FilteredTopic);
                        self.lanes.fetch_max(*lanes, Ordering::Relaxed);
                    }
                }
                Err(err) => {
                    debug!(%err, "Kafka does not answer");
                    health.set_waiting(Waiting::Kafka);
                }
            }
            tokio::time::sleep(LOOK[usize::from(lanes.is_ok_and(|lanes| lanes > 0))]).await;
        }
    }

    /// How many lanes there are now; 0 if the topic does not exist.
    fn ask(&self, consumer: &BaseConsumer) -> anyhow::Result<u32> {
        let metadata = consumer.fetch_metadata(Some(&self.topic), ASK)?;
        let topic = metadata
            .topics()
            .iter()
            .find(|topic| topic.name() == self.topic);
        let lanes = topic.filter(|topic| topic.error().is_none());
        Ok(lanes
            .map_or(0, |topic| topic.partitions().len())
            .try_into()?)
    }
}

/// The thread's own.
struct Reader {
    shared: Arc<Shared>,
    consumer: Arc<BaseConsumer>,
    hub: Arc<Mutex<Hub>>,
    metrics: Metrics,
}

impl Reader {
    fn run(self) {
        while self.wait() {
            match self.begin() {
                Ok(next) => self.read(next),
                Err(err) => {
                    warn!(topic = self.shared.topic, error = %format!("{err:#}"), "lanes cannot be read yet");
                    let mut control = self.shared.control.lock();
                    if !control.stop {
                        self.shared.wanted.wait_for(&mut control, LOOK[0]);
                    }
                }
            }
        }
    }

    /// Waits until somebody wants lanes to be read; false when the thread should end.
    fn wait(&self) -> bool {
        let mut control = self.shared.control.lock();
        while control.waiting.is_empty() && !control.stop {
            self.shared.wanted.wait(&mut control);
        }
        // Who has given up waiting wants nothing.
        control.waiting.retain(|waiting| !waiting.is_closed());
        !control.stop
    }

    /// Assigns every lane at its end and answers those who wait. Gives the next offset of each lane.
    fn begin(&self) -> anyhow::Result<Vec<Option<i64>>> {
        if self.shared.control.lock().waiting.is_empty() {
            anyhow::bail!("nobody waits any more");
        }
        let lanes = match self.shared.lanes.load(Ordering::Relaxed) {
            0 => self.shared.ask(&self.consumer)?,
            known => known,
        };
        anyhow::ensure!(lanes > 0, "the filtered topic does not exist");
        let mut next = Vec::new();
        let mut ends = TopicPartitionList::new();
        for lane in 0..lanes {
            ends.add_partition_offset(&self.shared.topic, i32::try_from(lane)?, Offset::End)?;
        }
        // A "timestamp" of -1 asks for the end: one request to each broker instead of one for each lane.
        let ends = self.consumer.offsets_for_times(ends, ASK)?;
        for end in ends.elements() {
            end.error()?;
            match end.offset() {
                Offset::Offset(offset) => next.push(Some(offset)),
                other => anyhow::bail!(
                    "the end of lane `{}` is unknown ({other:?})",
                    end.partition()
                ),
            }
        }
        self.assign(&next)?;
        info!(topic = self.shared.topic, lanes, "reading lanes");
        let mut control = self.shared.control.lock();
        control.reading = true;
        for waiting in control.waiting.drain(..) {
            let _ = waiting.send(());
        }
        Ok(next)
    }

    fn assign(&self, next: &[Option<i64>]) -> anyhow::Result<()> {
        let mut lanes = TopicPartitionList::new();
        for (lane, offset) in next.iter().enumerate() {
            // A lane that was just added is read from its beginning: whoever chose it may be ahead.
            let offset = offset.map_or(Offset::Beginning, Offset::Offset);
            lanes.add_partition_offset(&self.shared.topic, i32::try_from(lane)?, offset)?;
        }
        self.consumer.assign(&lanes).context("assigning lanes")
    }

    fn read(&self, mut next: Vec<Option<i64>>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut idle_since = None;
        while !self.is_over(&mut idle_since) {
            let lanes = self.shared.lanes.load(Ordering::Relaxed) as usize;
            if lanes > next.len() {
                next.resize(lanes, None);
                match self.assign(&next) {
                    Ok(()) => info!(lanes, "reading added lanes"),
                    Err(err) => warn!(error = %format!("{err:#}"), "added lanes cannot be read"),
                }
            }
            let mut wait = POLL;
            let mut bytes = 0;
            while batch.len() < BATCH
                && bytes < BATCH_BYTES
                && let Some(polled) = self.consumer.poll(wait)
            {
                match polled {
                    Ok(record) => {
                        bytes += record.payload_len();
                        batch.push(record);
                    }
                    Err(err) => {
                        warn!(%err, "reading lanes");
                        break;
                    }
                }
                wait = Duration::ZERO;
            }
            if !batch.is_empty() {
                self.handle(&mut next, &batch);
                batch.clear();
            }
        }
        if let Err(err) = self.consumer.unassign() {
            warn!(%err, "stopping to read lanes");
        }
    }

    /// Whether reading should end; then nothing is left of it, so that it can begin anew.
    fn is_over(&self, idle_since: &mut Option<Instant>) -> bool {
        let mut control = self.shared.control.lock();
        let mut hub = self.hub.lock();
        let idle = hub
            .is_idle()
            .then(|| *idle_since.get_or_insert_with(Instant::now));
        *idle_since = idle;
        let over = control.stop || idle.is_some_and(|since| since.elapsed() >= LINGER);
        if over {
            control.reading = false;
            hub.reset_lanes();
        }
        over
    }

    fn handle(&self, next: &mut [Option<i64>], batch: &[BorrowedMessage<'_>]) {
        let now = Now::read();
        let mut hub = self.hub.lock();
        for record in batch {
            let Ok(lane) = u32::try_from(record.partition()) else {
                continue;
            };
            if let Some(next) = next.get_mut(lane as usize) {
                if next.is_some_and(|next| next != record.offset()) {
                    warn!(lane, "records were deleted before they were read");
                    hub.torn(lane);
                }
                *next = Some(record.offset() + 1);
            }
            self.metrics.lane_records.inc();
            route(&mut hub, lane, record, now);
        }
        let touched = hub.take_touched();
        drop(hub);
        for outbound in &touched {
            outbound.wake();
        }
    }
}

fn route(hub: &mut Hub, lane: u32, record: &BorrowedMessage<'_>, now: Now) {
    let value = record.payload();
    let header = record.headers().and_then(|headers| {
        headers
            .iter()
            .find(|header| header.key == wire::HEADER)
            .and_then(|header| header.value)
    });
    match wire::decode(record.key(), header, value) {
        Ok(wire::Lane::Match(found)) => {
            hub.matched(lane, &found, value.unwrap_or_default(), now.instant);
        }
        Ok(wire::Lane::Progress(progress)) => hub.progress(lane, &progress, now),
        Err(err) => {
            debug!(lane, %err, "record of the filtered topic is not understood");
            hub.unknown(lane);
        }
    }
}
