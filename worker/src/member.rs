//! One member of the consumer group, on a thread of its own: the poll loop and everything that is due between records.
//!
//! # Expected flow
//! 1. Rebalances and statistics arrive while the consumer is polled; the loop handles them right after.
//! 2. A partition assigned is started, and one revoked is given back, as `handover` says.
//! 3. Records are matched inline and their matches handed to the shared producer.
//! 4. Every second all lanes are told the progress; what is acknowledged is committed.
//!
//! # Guarantees
//! - Whatever a partition has (progress, epoch, outstanding output) lives on this thread and ends with the ownership.
//! - While output backs up, while a partition waits and while Kafka is away the consumer is still polled, so the group
//!   keeps its member.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracing::{debug, error, warn};

use crate::epoch::Metadata;
use crate::group::{Callbacks, Inbox, Name, Rebalance};
use crate::handover::Waiting;
use crate::looks::Look;
use crate::owner::Owner;
use crate::producer::Output;
use crate::progress::Place;
use crate::reader::Reader;
use crate::reports::MemberStatus;
use crate::{Shared, kafka};

/// How long an idle thread waits for a record before it looks at everything else.
const IDLE: Duration = Duration::from_millis(10);
/// Records between two looks at the clock.
const BURST: u32 = 64;
const BOUNDARY_EVERY: Duration = Duration::from_secs(1);
const COMMIT_EVERY: Duration = Duration::from_millis(200);
/// Errors of several partitions come together and are handled together.
const RANGE_CHECK_AFTER: Duration = Duration::from_millis(500);
const COMMIT_AGAIN_EVERY: Duration = Duration::from_secs(10);
/// Changes of the set of queries are taken over at most this often.
const TAKE_OVER_EVERY: Duration = Duration::from_millis(20);

/// A member of the group.
pub(crate) struct Member {
    pub(crate) shared: Arc<Shared>,
    pub(crate) status: Arc<MemberStatus>,
    pub(crate) consumer: BaseConsumer<Callbacks>,
    pub(crate) reader: Reader,
    pub(crate) waiting: Vec<Waiting>,
    /// When each partition that is read was started, in wall-clock seconds: older statistics do not concern it.
    pub(crate) started: BTreeMap<Name, i64>,
    pub(crate) paused: bool,
    /// The group has answered.
    pub(crate) assigned: bool,
    /// Some partition cannot be read on where it was.
    range_check_at: Option<Instant>,
    boundary_at: Instant,
    commit_at: Instant,
    commit_again_at: Instant,
    take_over_at: Instant,
    /// Since when it has not waited, but for what is counted already.
    busy_since: Instant,
}

impl Member {
    /// Subscribes; [`Member::run`] does the rest.
    pub(crate) fn new(
        shared: Arc<Shared>,
        status: Arc<MemberStatus>,
        output: Output,
    ) -> anyhow::Result<Self> {
        let settings = kafka::consumer(&shared.config.kafka, &shared.config.group);
        let consumer: BaseConsumer<Callbacks> = settings
            .create_with_context(Callbacks::default())
            .context("making a Kafka consumer")?;
        let topics: Vec<&str> = shared
            .config
            .source_topics
            .iter()
            .map(String::as_str)
            .collect();
        consumer
            .subscribe(&topics)
            .context("subscribing to the source topics")?;
        let owner = Owner::new(shared.worker.to_bytes());
        let now = Instant::now();
        Ok(Self {
            reader: Reader::new(Arc::clone(&shared), owner, output),
            shared,
            status,
            consumer,
            waiting: Vec::new(),
            started: BTreeMap::new(),
            paused: false,
            assigned: false,
            range_check_at: None,
            boundary_at: now,
            commit_at: now,
            commit_again_at: now + COMMIT_AGAIN_EVERY,
            take_over_at: now,
            busy_since: now,
        })
    }

    /// Reads until the worker is to end, then gives everything back.
    ///
    /// # Errors
    /// When the consumer cannot go on.
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        while !self.shared.cancel.is_cancelled() {
            let mut idle = false;
            for _ in 0..BURST {
                idle = !self.poll(Duration::ZERO)?;
                if idle {
                    break;
                }
            }
            self.chores();
            let now = Instant::now();
            if idle || now - self.busy_since > BOUNDARY_EVERY {
                let busy = now - self.busy_since;
                self.shared.metrics.busy.inc_by(busy.as_secs_f64());
                self.busy_since = now;
            }
            if idle {
                self.poll(IDLE)?;
            }
        }
        self.end();
        Ok(())
    }

    /// Whether there was a record.
    fn poll(&mut self, limit: Duration) -> anyhow::Result<bool> {
        let polled = self.consumer.poll(limit);
        if !limit.is_zero() {
            self.busy_since = Instant::now();
        }
        let had_record = match polled {
            Some(Ok(record)) => {
                self.reader.record(&record);
                true
            }
            Some(Err(error)) => {
                self.on_error(&error)?;
                false
            }
            None => false,
        };
        if self.consumer.context().news.swap(false, Ordering::Acquire) {
            self.read_inbox();
        }
        Ok(had_record)
    }

    fn on_error(&mut self, error: &KafkaError) -> anyhow::Result<()> {
        match error.rdkafka_error_code() {
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                return Err(error.clone()).context("the consumer failed");
            }
            // It does not say of which partition, and others may follow.
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                self.range_check_at = Some(Instant::now() + RANGE_CHECK_AFTER);
            }
            // Told by readiness.
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                debug!(%error, "a source topic is missing");
            }
            // librdkafka goes on by itself.
            _ => warn!(%error, "trouble with reading"),
        }
        Ok(())
    }

    /// Everything that is due, between two records.
    fn chores(&mut self) {
        let now = Instant::now();
        self.reader.clock(now);
        self.reader.flush_tally();
        if self.reader.output.has_failed() {
            self.change_producer(now);
        }
        if self.range_check_at.is_some_and(|at| now >= at) {
            self.range_check_at = None;
            self.restart_out_of_range();
        }
        self.pause_or_resume();
        if !self.paused {
            if now >= self.take_over_at {
                self.take_over(now);
            }
            self.start_waiting(now);
            if now >= self.boundary_at {
                // Late by a moment, not sooner because the last was late.
                self.boundary_at = now + BOUNDARY_EVERY;
                self.reader.know_topics();
                self.reader.owner.boundary(&mut self.reader.output);
            }
        }
        if now >= self.commit_at {
            self.commit_at = now + COMMIT_EVERY;
            self.commit(now);
            self.warn_of_waiting(now);
        }
    }

    fn read_inbox(&mut self) {
        let Inbox { rebalances, looks } =
            std::mem::take(&mut *self.consumer.context().inbox.lock());
        for rebalance in rebalances {
            match rebalance {
                Rebalance::Assign(partitions) => self.assign(partitions),
                Rebalance::Revoke { partitions, lost } => self.revoke(&partitions, lost),
            }
        }
        for look in looks {
            self.look(&look);
        }
    }

    fn look(&mut self, look: &Look) {
        let name = Name {
            topic: look.topic.as_str().into(),
            partition: look.partition,
        };
        if self.paused
            || self
                .started
                .get(&name)
                .is_none_or(|started| look.taken_at_s <= *started)
        {
            return;
        }
        if let Some(index) = self.reader.owner.find(&look.topic, look.partition) {
            let partition = &mut self.reader.owner.partitions[index];
            partition.looked(look.high, look.idle_at, look.found_at_ms);
            let metrics = &self.shared.metrics;
            metrics
                .lag
                .get_or_create(&name.label())
                .set(partition.progress.lag());
            metrics
                .next_offset
                .get_or_create(&name.label())
                .set(partition.progress.position());
        }
    }

    fn change_producer(&mut self, now: Instant) {
        let size = self.shared.topics.borrow().max_message_bytes;
        match self.shared.producers.current(size) {
            Ok(producer) => self.reader.output.switch(producer),
            Err(error) => return error!(%error, "cannot make a producer"),
        }
        let all: Vec<Name> = self.started.keys().cloned().collect();
        // Not at once: what made the producer fail may still be there.
        self.restart(&all, now + Duration::from_secs(1));
    }

    fn pause_or_resume(&mut self) {
        let output = &mut self.reader.output;
        output.retry();
        let pause = if self.paused {
            !output.has_room()
        } else {
            output.is_full()
        };
        if pause == self.paused {
            return;
        }
        let assigned = self.consumer.assignment();
        let outcome = assigned.and_then(|assigned| {
            if pause {
                self.consumer.pause(&assigned)
            } else {
                self.consumer.resume(&assigned)
            }
        });
        match outcome {
            Ok(()) => {
                self.paused = pause;
                self.shared.metrics.pauses.inc_by(u64::from(pause));
                debug!(paused = pause, "unacknowledged output");
            }
            Err(error) => error!(%error, "cannot pause or resume"),
        }
    }

    pub(crate) fn take_over(&mut self, now: Instant) {
        if !self.reader.sets.has_changed().unwrap_or(false) {
            return;
        }
        self.take_over_at = now + TAKE_OVER_EVERY;
        let set = Arc::clone(&self.reader.sets.borrow_and_update());
        let revision = set.revision;
        self.reader.know_topics();
        self.reader.owner.take_over(&mut self.reader.output, set);
        self.status.revision.store(revision, Ordering::Relaxed);
    }

    /// Commits what is safe, without waiting: the next commit makes good one that failed, which librdkafka logs and tells
    /// nobody. So that this holds for partitions where nothing moves, all are committed again now and then.
    fn commit(&mut self, now: Instant) {
        let again = now >= self.commit_again_at;
        if again {
            self.commit_again_at = now + COMMIT_AGAIN_EVERY;
        }
        let mut list = TopicPartitionList::new();
        for partition in &mut self.reader.owner.partitions {
            if again {
                partition.offsets.commit_again();
            }
            if let Some(offset) = partition.offsets.take_commit() {
                add_commit(&mut list, partition.progress.place(), offset);
            }
        }
        if list.count() == 0 {
            return;
        }
        self.shared.metrics.commits.inc();
        if let Err(error) = self.consumer.commit(&list, CommitMode::Async) {
            warn!(%error, "a commit failed; it is made again");
            self.commit_again_at = now;
        }
    }

    /// Gives everything back and leaves the group.
    fn end(mut self) {
        let all: Vec<Name> = self.started.keys().cloned().collect();
        self.settle(&all);
        self.reader.flush_tally();
        self.stop_reading(&all);
        self.shared
            .metrics
            .partitions(0, -(self.waiting.len() as i64));
        self.consumer
            .context()
            .closing
            .store(true, Ordering::Relaxed);
        // Dropping the consumer leaves the group.
    }
}

/// Adds an offset to commit, with the epoch.
pub(crate) fn add_commit(list: &mut TopicPartitionList, place: &Place, offset: i64) {
    let metadata = Metadata {
        epoch: place.epoch,
        incarnation: place.incarnation,
    };
    let mut element = list.add_partition(&place.topic, place.partition);
    element.set_metadata(metadata.encode());
    if let Err(error) = element.set_offset(Offset::Offset(offset)) {
        // Only for offsets that are no offsets; librdkafka then leaves the partition out of the commit.
        error!(%error, offset, "cannot commit");
    }
}
