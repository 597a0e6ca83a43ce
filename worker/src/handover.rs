//! How partitions come to a member and leave it.
//!
//! # Expected flow
//! 1. An assignment is accepted at once, so that the group is not held up; the partitions wait until the registry was
//!    read again and their topic's first size is recorded.
//! 2. Then the start is decided and committed with the new epoch, which the group refuses to a former owner, and only
//!    then librdkafka is told to read.
//! 3. A partition revoked: its progress is stated, acknowledgements are waited for (at most [`SETTLE`]), the last
//!    boundary is committed, the rest is left to the next owner. One that was lost is dropped: it has another owner.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracing::{error, info, warn};

use crate::group::{Name, shown};
use crate::member::{Member, add_commit};
use crate::now_ms;
use crate::progress::Place;
use crate::reader::Reader;
use crate::start::{self, Known, Start};

/// At most this long acknowledgements are waited for when a partition is given away.
const SETTLE: Duration = Duration::from_secs(5);
/// For one question to the brokers.
const ASK: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_millis(300);
/// A partition that waits longer than this is worth a line in the log.
const LONG_WAIT: Duration = Duration::from_secs(5);

/// A partition that is assigned and not read yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) name: Name,
    /// Set once the registry was read after the assignment, and its queries are compiled.
    caught_up: Arc<AtomicBool>,
    since: Instant,
    not_before: Instant,
    told: bool,
}

impl Member {
    /// Ends the rebalance at once, so that the group is not held up; the partitions are read when they may be.
    pub(crate) fn assign(&mut self, partitions: Vec<Name>) {
        if let Err(error) = self.consumer.incremental_assign(&TopicPartitionList::new()) {
            error!(%error, "cannot accept an assignment");
        }
        self.assigned = true;
        if partitions.is_empty() {
            return self.tell_partitions();
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
    pub(crate) fn revoke(&mut self, partitions: &[Name], lost: bool) {
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
    pub(crate) fn settle(&mut self, partitions: &[Name]) {
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
            // Also what was committed without waiting: that may have failed.
            partition.offsets.commit_again();
            if let Some(offset) = partition.offsets.take_commit() {
                add_commit(&mut list, partition.progress.place(), offset);
            }
        }
        if list.count() > 0 {
            let outcome = self.consumer.commit(&list, CommitMode::Sync);
            self.shared.metrics.commits.inc();
            if let Err(error) = outcome {
                warn!(%error, "the last commit failed; the next owner repeats what came after the one before");
            }
        }
    }

    pub(crate) fn stop_reading(&mut self, partitions: &[Name]) {
        let mut list = TopicPartitionList::new();
        for name in partitions {
            self.started.remove(name);
            if let Some(index) = self.reader.owner.find(&name.topic, name.partition) {
                self.reader.owner.end(index);
            }
            self.shared.metrics.lag.remove(&name.label());
            self.shared.metrics.next_offset.remove(&name.label());
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
    pub(crate) fn restart(&mut self, partitions: &[Name], not_before: Instant) {
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

    pub(crate) fn restart_out_of_range(&mut self) {
        let mut outside = Vec::new();
        for name in self.started.keys() {
            let Some(index) = self.reader.owner.find(&name.topic, name.partition) else {
                continue;
            };
            let position = self.reader.owner.partitions[index].progress.position();
            match self.ends(name) {
                Ok((low, high)) if (low..=high).contains(&position) => {}
                _ => outside.push(name.clone()),
            }
        }
        // librdkafka does not go on with the one it spoke of, whichever it is.
        if outside.is_empty() {
            outside.extend(self.started.keys().cloned());
        }
        warn!(
            partitions = shown(&outside),
            "the next record is gone; starting anew"
        );
        self.restart(&outside, Instant::now());
    }

    /// Starts the partitions that wait for nothing any more.
    pub(crate) fn start_waiting(&mut self, now: Instant) {
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
            let (low, high) = self.ends(name).with_context(|| {
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
        self.shared.metrics.commits.inc();
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

    /// Offsets of the first record kept and after the last.
    fn ends(&self, name: &Name) -> KafkaResult<(i64, i64)> {
        self.shared
            .asking
            .inner()
            .fetch_watermarks(&name.topic, name.partition, ASK)
    }

    pub(crate) fn warn_of_waiting(&mut self, now: Instant) {
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
        if self.assigned && self.waiting.is_empty() {
            self.status.settled.store(true, Ordering::Relaxed);
        }
        self.status
            .partitions
            .store(self.started.len() as u32, Ordering::Relaxed);
    }
}
