//! One member of the consumer group, on a thread of its own: rebalances, start offsets, the poll loop, commits.
//!
//! # Expected flow
//! 1. Rebalances and statistics arrive while the consumer is polled; the loop handles them right after ([`Inbox`]).
//! 2. A partition assigned waits until the registry was read again, then its start is decided and committed with the new
//!    epoch, and only then librdkafka is told to read it. The group refuses that commit to a former owner.
//! 3. Records are matched inline and their matches handed to the shared producer.
//! 4. Every second all lanes are told the progress; what is acknowledged is committed.
//! 5. A partition revoked: what is in flight is waited for (at most [`SETTLE`]), the last boundary committed, the rest
//!    left to the next owner.
//!
//! # Guarantees
//! - Whatever a partition has (progress, epoch, outstanding output) lives on this thread and ends with the ownership.
//! - While output backs up, while a partition waits and while Kafka is away the consumer is still polled, so the group
//!   keeps its member.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use tracing::{debug, error, info, warn};

use crate::epoch::Metadata;
use crate::looks::{self, Look};
use crate::metrics::TopicPartition;
use crate::owner::Owner;
use crate::producer::Output;
use crate::progress::Place;
use crate::reader::Reader;
use crate::reports::MemberStatus;
use crate::start::{self, Known, Start};
use crate::{Shared, kafka, now_ms};

/// How long an idle thread waits for a record before it looks at everything else.
const IDLE: Duration = Duration::from_millis(10);
/// Records between two looks at the clock.
const BURST: u32 = 64;
const BOUNDARY_EVERY: Duration = Duration::from_secs(1);
const COMMIT_EVERY: Duration = Duration::from_millis(200);
/// Changes of the set of queries are taken over at most this often.
const TAKE_OVER_EVERY: Duration = Duration::from_millis(20);
/// At most this long acknowledgements are waited for when a partition is given away.
const SETTLE: Duration = Duration::from_secs(5);
/// For one question to the brokers.
const ASK: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_millis(300);
/// A partition that waits longer than this is worth a line in the log.
const LONG_WAIT: Duration = Duration::from_secs(5);

/// What librdkafka told while it was polled.
#[derive(Debug, Default)]
struct Inbox {
    rebalances: Vec<Rebalance>,
    /// Of the last statistics.
    looks: Vec<Look>,
}

#[derive(Debug)]
enum Rebalance {
    Assign(Vec<Name>),
    /// `lost`: the group gave them to others already.
    Revoke {
        partitions: Vec<Name>,
        lost: bool,
    },
}

/// A partition's topic and number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    topic: Arc<str>,
    partition: i32,
}

#[derive(Debug, Default)]
struct Callbacks {
    inbox: Mutex<Inbox>,
    /// Something is in the inbox.
    news: AtomicBool,
    commit_failed: AtomicBool,
    /// The consumer is being dropped: nobody reads the inbox any more.
    closing: AtomicBool,
}

impl ClientContext for Callbacks {
    fn stats_raw(&self, statistics: &[u8]) {
        match looks::read(statistics) {
            Ok(looks) => self.tell(|inbox| inbox.looks = looks),
            Err(error) => debug!(%error, "statistics cannot be read"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        warn!(%error, reason, "trouble with Kafka");
    }
}

impl ConsumerContext for Callbacks {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        if self.closing.load(Ordering::Relaxed) {
            let left = consumer
                .assignment()
                .and_then(|assigned| consumer.incremental_unassign(&assigned));
            return drop(left.inspect_err(|error| debug!(%error, "cannot unassign at the end")));
        }
        let partitions = names(list);
        self.tell(|inbox| {
            inbox.rebalances.push(match event {
                RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                    Rebalance::Assign(partitions)
                }
                _ => Rebalance::Revoke {
                    partitions,
                    lost: consumer.assignment_lost(),
                },
            });
        });
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            warn!(%error, "a commit failed; it is made again");
            self.commit_failed.store(true, Ordering::Relaxed);
        }
    }
}

impl Callbacks {
    fn tell(&self, what: impl FnOnce(&mut Inbox)) {
        what(&mut self.inbox.lock());
        self.news.store(true, Ordering::Release);
    }
}

/// A partition that is assigned and not read yet.
#[derive(Debug)]
struct Waiting {
    name: Name,
    /// Set once the registry was read after the assignment, and its queries are compiled.
    caught_up: Arc<AtomicBool>,
    since: Instant,
    not_before: Instant,
    told: bool,
}

/// A member of the group.
pub(crate) struct Member {
    shared: Arc<Shared>,
    status: Arc<MemberStatus>,
    consumer: BaseConsumer<Callbacks>,
    reader: Reader,
    waiting: Vec<Waiting>,
    /// When each partition that is read was started, in wall-clock seconds: older statistics do not concern it.
    started: BTreeMap<Name, i64>,
    paused: bool,
    boundary_at: Instant,
    commit_at: Instant,
    take_over_at: Instant,
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
            boundary_at: now,
            commit_at: now,
            take_over_at: now,
        })
    }

    /// Reads until the worker is to end, then gives everything back.
    ///
    /// # Errors
    /// When the consumer cannot go on.
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        let mut busy_since = Instant::now();
        let mut burst = 0;
        while !self.shared.cancel.is_cancelled() {
            let had_record = self.poll(Duration::ZERO)?;
            burst += 1;
            if had_record && burst < BURST {
                continue;
            }
            burst = 0;
            self.chores();
            if !had_record {
                let idle_since = Instant::now();
                self.shared
                    .metrics
                    .busy
                    .inc_by((idle_since - busy_since).as_secs_f64());
                self.poll(IDLE)?;
                busy_since = Instant::now();
            } else if busy_since.elapsed() > BOUNDARY_EVERY {
                self.shared
                    .metrics
                    .busy
                    .inc_by(busy_since.elapsed().as_secs_f64());
                busy_since = Instant::now();
            }
        }
        self.end();
        Ok(())
    }

    /// Whether there was a record.
    fn poll(&mut self, limit: Duration) -> anyhow::Result<bool> {
        let polled = self.consumer.poll(limit);
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
            // It does not say of which partition.
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                self.restart_out_of_range()
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
        if self.reader.output.has_failed() {
            self.change_producer(now);
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
                self.reader.flush_tally();
            }
        }
        if now >= self.commit_at {
            self.commit_at = now + COMMIT_EVERY;
            self.commit();
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
            self.shared
                .metrics
                .lag
                .get_or_create(&name.label())
                .set(partition.progress.lag());
        }
    }

    /// Ends the rebalance at once, so that the group is not held up; the partitions are read when they may be.
    fn assign(&mut self, partitions: Vec<Name>) {
        if let Err(error) = self.consumer.incremental_assign(&TopicPartitionList::new()) {
            error!(%error, "cannot accept an assignment");
        }
        if partitions.is_empty() {
            return;
        }
        info!(partitions = shown(&partitions), "assigned");
        let caught_up = Arc::new(AtomicBool::new(false));
        self.shared.catch_up(Arc::clone(&caught_up));
        let now = Instant::now();
        for name in partitions {
            self.wait(name, Arc::clone(&caught_up), now, now);
        }
    }

    fn wait(&mut self, name: Name, caught_up: Arc<AtomicBool>, now: Instant, not_before: Instant) {
        self.shared.metrics.partitions(0, 1);
        self.waiting.push(Waiting {
            name,
            caught_up,
            since: now,
            not_before,
            told: false,
        });
    }

    /// Gives partitions back.
    fn revoke(&mut self, partitions: &[Name], lost: bool) {
        if !partitions.is_empty() {
            info!(partitions = shown(partitions), lost, "revoked");
        }
        let before = self.waiting.len();
        self.waiting
            .retain(|waiting| !partitions.contains(&waiting.name));
        self.shared
            .metrics
            .partitions(0, self.waiting.len() as i64 - before as i64);
        let read: Vec<Name> = partitions
            .iter()
            .filter(|name| self.started.contains_key(name))
            .cloned()
            .collect();
        if !lost {
            self.settle(&read);
        }
        self.stop_reading(&read);
    }

    /// States, waits for acknowledgements, commits.
    fn settle(&mut self, partitions: &[Name]) {
        let mut indices: Vec<usize> = Vec::with_capacity(partitions.len());
        for name in partitions {
            indices.extend(self.reader.owner.find(&name.topic, name.partition));
        }
        let Reader { owner, output, .. } = &mut self.reader;
        for index in &indices {
            owner.boundary_of(output, *index);
        }
        let limit = Instant::now() + SETTLE;
        while !indices
            .iter()
            .all(|index| owner.partitions[*index].offsets.is_settled())
        {
            if output.has_failed() || Instant::now() >= limit {
                warn!(
                    partitions = shown(partitions),
                    "not everything is acknowledged; the next owner repeats the rest"
                );
                break;
            }
            output.retry();
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut list = TopicPartitionList::new();
        for index in indices {
            let partition = &mut owner.partitions[index];
            if let Some(offset) = partition.offsets.take_commit() {
                add_commit(&mut list, partition.progress.place(), offset);
            }
        }
        if list.count() > 0 {
            let outcome = self.consumer.commit(&list, CommitMode::Sync);
            self.shared.metrics.commit(outcome.is_ok());
            if let Err(error) = outcome {
                warn!(%error, "the last commit failed; the next owner repeats what came after the one before");
            }
        }
    }

    fn stop_reading(&mut self, partitions: &[Name]) {
        let mut list = TopicPartitionList::new();
        for name in partitions {
            self.started.remove(name);
            if let Some(index) = self.reader.owner.find(&name.topic, name.partition) {
                self.reader.owner.end(index);
            }
            self.shared.metrics.lag.remove(&name.label());
            list.add_partition(&name.topic, name.partition);
        }
        self.shared
            .metrics
            .partitions(-(partitions.len() as i64), 0);
        self.tell_partitions();
        // Also when there is none: it ends the rebalance.
        if let Err(error) = self.consumer.incremental_unassign(&list) {
            error!(%error, "cannot give partitions back");
        }
    }

    /// Begins again where these partitions were committed, with a new epoch.
    fn restart(&mut self, partitions: &[Name], not_before: Instant) {
        self.stop_reading(partitions);
        let now = Instant::now();
        for name in partitions {
            // What is known of the registry is kept: these partitions did not change hands.
            self.wait(
                name.clone(),
                Arc::new(AtomicBool::new(true)),
                now,
                not_before,
            );
        }
    }

    fn restart_out_of_range(&mut self) {
        let mut outside = Vec::new();
        for name in self.started.keys() {
            let Some(index) = self.reader.owner.find(&name.topic, name.partition) else {
                continue;
            };
            let position = self.reader.owner.partitions[index].progress.position();
            match self
                .consumer
                .fetch_watermarks(&name.topic, name.partition, ASK)
            {
                Ok((low, high)) if (low..=high).contains(&position) => {}
                _ => outside.push(name.clone()),
            }
        }
        warn!(
            partitions = shown(&outside),
            "the next record is gone; starting anew"
        );
        self.restart(&outside, Instant::now());
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

    fn take_over(&mut self, now: Instant) {
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

    /// Starts the partitions that wait for nothing any more.
    fn start_waiting(&mut self, now: Instant) {
        let ready = |waiting: &Waiting| {
            waiting.caught_up.load(Ordering::Acquire) && now >= waiting.not_before
        };
        if !self.waiting.iter().any(ready) {
            return;
        }
        // What the registry said after the assignment holds from the first record on.
        self.take_over(now);
        let names: Vec<Name> = self
            .waiting
            .iter()
            .filter(|w| ready(w))
            .map(|w| w.name.clone())
            .collect();
        let started = self.start(&names).unwrap_or_else(|error| {
            warn!(
                error = format!("{error:#}"),
                "partitions cannot be started yet"
            );
            Vec::new()
        });
        let before = self.waiting.len();
        self.waiting
            .retain(|waiting| !started.contains(&waiting.name));
        let count = before - self.waiting.len();
        self.shared
            .metrics
            .partitions(count as i64, -(count as i64));
        for waiting in self
            .waiting
            .iter_mut()
            .filter(|waiting| names.contains(&waiting.name))
        {
            waiting.not_before = Instant::now() + RETRY;
        }
        self.tell_partitions();
    }

    /// Decides and commits the starts of these partitions and reads from there; those whose topic's size is not recorded
    /// yet go on waiting.
    fn start(&mut self, names: &[Name]) -> anyhow::Result<Vec<Name>> {
        let topics = self.shared.topics.borrow().clone();
        let known: Vec<&Name> = names
            .iter()
            .filter(|name| topics.recorded.contains_key(&*name.topic))
            .collect();
        if known.is_empty() {
            return Ok(Vec::new());
        }
        let mut list = TopicPartitionList::new();
        for name in &known {
            list.add_partition(&name.topic, name.partition);
        }
        let committed = self
            .consumer
            .committed_offsets(list, ASK)
            .context("asking for committed offsets")?;
        let mut starts: Vec<(Name, Place, Start, i64)> = Vec::new();
        let mut commits = TopicPartitionList::new();
        let mut assigned = TopicPartitionList::new();
        for name in known {
            let (low, high) = self
                .consumer
                .fetch_watermarks(&name.topic, name.partition, ASK)
                .with_context(|| {
                    format!("asking for the ends of `{}` {}", name.topic, name.partition)
                })?;
            let commit = committed.find_partition(&name.topic, name.partition);
            if let Some(commit) = &commit {
                commit.error().context("asking for committed offsets")?;
            }
            let source = topics
                .sources
                .iter()
                .find(|source| *source.topic == *name.topic);
            let incarnation = source.map(|source| source.incarnation).unwrap_or_default();
            let start = start::decide(&Known {
                committed: commit.as_ref().and_then(|commit| match commit.offset() {
                    Offset::Offset(offset) => Some((offset, commit.metadata())),
                    _ => None,
                }),
                partition: name.partition,
                recorded_partitions: topics.recorded[&*name.topic],
                low,
                high,
                incarnation,
                unix_seconds: (now_ms() / 1000).unsigned_abs(),
            });
            let place = Place {
                topic: Arc::clone(&name.topic),
                incarnation,
                partition: name.partition,
                epoch: start.epoch,
            };
            add_commit(&mut commits, &place, start.begin);
            assigned.add_partition_offset(
                &name.topic,
                name.partition,
                Offset::Offset(start.read_from),
            )?;
            starts.push((name.clone(), place, start, high));
        }
        let outcome = self.consumer.commit(&commits, CommitMode::Sync);
        self.shared.metrics.commit(outcome.is_ok());
        outcome.context("committing where to start")?;
        self.consumer
            .incremental_assign(&assigned)
            .context("starting to read")?;
        let mut started = Vec::with_capacity(starts.len());
        for (name, place, start, high) in starts {
            info!(
                topic = &*name.topic,
                partition = name.partition,
                epoch = start.epoch,
                offset = start.read_from,
                lag_records = high - start.read_from,
                "reading"
            );
            if let Some((first, next)) = start.lost() {
                warn!(
                    topic = &*name.topic,
                    partition = name.partition,
                    first,
                    next,
                    "retention removed records unread"
                );
                self.shared
                    .metrics
                    .lost
                    .inc_by((next - first).unsigned_abs());
            }
            if start.recreated {
                warn!(
                    topic = &*name.topic,
                    partition = name.partition,
                    "the commit is beyond the end: begun anew"
                );
            }
            self.reader
                .owner
                .start(&mut self.reader.output, place, start, high, now_ms());
            self.started.insert(name.clone(), now_ms() / 1000);
            started.push(name);
        }
        Ok(started)
    }

    fn commit(&mut self) {
        let failed = self
            .consumer
            .context()
            .commit_failed
            .swap(false, Ordering::Relaxed);
        let mut list = TopicPartitionList::new();
        for partition in &mut self.reader.owner.partitions {
            if failed {
                partition.offsets.commit_failed();
            }
            if let Some(offset) = partition.offsets.take_commit() {
                add_commit(&mut list, partition.progress.place(), offset);
            }
        }
        if list.count() == 0 {
            return;
        }
        let outcome = self.consumer.commit(&list, CommitMode::Async);
        self.shared.metrics.commit(outcome.is_ok());
        if let Err(error) = outcome {
            warn!(%error, "a commit failed; it is made again");
            self.reader
                .owner
                .partitions
                .iter_mut()
                .for_each(|partition| partition.offsets.commit_failed());
        }
    }

    fn warn_of_waiting(&mut self, now: Instant) {
        for waiting in &mut self.waiting {
            if !waiting.told && now - waiting.since >= LONG_WAIT {
                waiting.told = true;
                warn!(
                    topic = &*waiting.name.topic,
                    partition = waiting.name.partition,
                    registry_read = waiting.caught_up.load(Ordering::Acquire),
                    "a partition waits to be read"
                );
            }
        }
    }

    fn tell_partitions(&self) {
        self.status
            .partitions
            .store(self.started.len() as u32, Ordering::Relaxed);
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

impl Name {
    fn label(&self) -> TopicPartition {
        TopicPartition {
            topic: self.topic.to_string(),
            partition: self.partition,
        }
    }
}

fn add_commit(list: &mut TopicPartitionList, place: &Place, offset: i64) {
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

fn names(list: &TopicPartitionList) -> Vec<Name> {
    let name = |topic: &str, partition| Name {
        topic: topic.into(),
        partition,
    };
    list.elements()
        .iter()
        .map(|element| name(element.topic(), element.partition()))
        .collect()
}

/// For logs: partitions by topic.
fn shown(names: &[Name]) -> String {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for name in names {
        topics.entry(&name.topic).or_default().push(name.partition);
    }
    let topics: Vec<String> = topics
        .iter()
        .map(|(topic, partitions)| format!("{topic} {partitions:?}"))
        .collect();
    topics.join(", ")
}
