//! What one thread does with the partitions it owns: everything but I/O.
//!
//! # Expected flow
//! 1. [`Owner::start`] a partition: its first statement goes to every lane in use.
//! 2. [`Owner::event`] for each record, in order: one record per sink and per lane with a match, then the counts.
//! 3. [`Owner::take_over`] the next set of queries, between two events: the lanes concerned are told first.
//! 4. [`Owner::boundary`] every second: all lanes in use are told up to the same offset, which may be committed once
//!    everything before it is acknowledged.
//!
//! # Guarantees
//! - Whatever a lane is sent is sent in the order of these calls, so that a statement up to an offset comes after all
//!   matches below it and before all matches from it on.
//! - Every match from a statement on is of the set that the statement names.

use std::borrow::Cow;
use std::sync::Arc;

use clickstream_wire::{
    Flags, MAX_HEADER_BYTES, MAX_PROGRESS_BYTES, Match, PROGRESS_KEY, Progress, QueryId, Range,
    Source, TopicPartitions, WorkerId,
};

use crate::offsets::{Offsets, Segments};
use crate::progress::{PartitionProgress, Place};
use crate::queries::QuerySet;
use crate::sinks::{SinkRecord, Sinks};
use crate::start::Start;

/// Takes records for the filtered topic; keeps their order on each lane.
pub(crate) trait Lanes {
    /// The largest record that is taken: key, header and value together.
    fn max_record_bytes(&self) -> usize;

    /// Hands over a record; `segments` are acknowledged when it is delivered.
    fn send(&mut self, lane: u32, record: LaneRecord<'_>, segments: Segments);
}

/// A record for the filtered topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneRecord<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) header: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
}

/// A source record, as far as it is passed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a> {
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<&'a [u8]>,
    /// After masking.
    pub(crate) value: &'a [u8],
}

/// What was counted since it was last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) records: u64,
    pub(crate) matches: u64,
    pub(crate) left_out: u64,
    pub(crate) too_large: u64,
}

/// A partition that is being read.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) progress: PartitionProgress,
    pub(crate) offsets: Offsets,
    /// Where the client stood at the last look, if nothing waited to be processed then.
    idle_at: Option<i64>,
}

impl Partition {
    /// At `time_ms` the partition ended at `high`, and the client would fetch from `idle_at` next, having nothing left
    /// that it had fetched before.
    ///
    /// Only markers of transactions lie between the position and a place where the client was idle twice, a second
    /// apart; once is not enough, as a record may just be on its way from one of the client's queues to another.
    pub(crate) fn looked(&mut self, high: i64, idle_at: Option<i64>, time_ms: i64) {
        let next = idle_at
            .filter(|_| idle_at == self.idle_at)
            .unwrap_or_default();
        self.idle_at = idle_at;
        self.progress.looked(high, next, time_ms);
    }
}

/// The partitions of one thread and the set of queries it runs.
#[derive(Debug)]
pub(crate) struct Owner {
    worker: WorkerId,
    topics: Arc<Vec<TopicPartitions>>,
    set: Arc<QuerySet>,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) tally: Tally,
    /// Records mostly come from the same partition as the one before.
    last: usize,
    hits: Vec<(u32, QueryId)>,
    ids: Vec<QueryId>,
    header: Vec<u8>,
}

impl Owner {
    pub(crate) fn new(worker: WorkerId) -> Self {
        Self {
            worker,
            topics: Arc::default(),
            set: Arc::default(),
            partitions: Vec::new(),
            tally: Tally::default(),
            last: 0,
            hits: Vec::new(),
            ids: Vec::new(),
            header: Vec::new(),
        }
    }

    /// The set of queries that is run.
    pub(crate) fn set(&self) -> &Arc<QuerySet> {
        &self.set
    }

    /// What the pipeline's source topics are, for the next statements.
    pub(crate) fn know(&mut self, topics: Arc<Vec<TopicPartitions>>) {
        self.topics = topics;
    }

    /// The index of a partition that is being read.
    pub(crate) fn find(&mut self, topic: &str, partition: i32) -> Option<usize> {
        let is_it = |owned: &Partition| {
            let place = owned.progress.place();
            place.partition == partition && *place.topic == *topic
        };
        if !self.partitions.get(self.last).is_some_and(is_it) {
            self.last = self.partitions.iter().position(is_it)?;
        }
        Some(self.last)
    }

    /// Begins to read a partition; its start is committed.
    pub(crate) fn start(
        &mut self,
        lanes: &mut impl Lanes,
        place: Place,
        start: Start,
        high: i64,
        now_ms: i64,
    ) {
        let in_use = self.set.lanes.keys().copied();
        let mut progress = PartitionProgress::new(place, start.begin, start.lost(), in_use);
        progress.looked(high, start.read_from, now_ms);
        let index = self.partitions.len();
        self.partitions.push(Partition {
            progress,
            offsets: Offsets::new(start.begin),
            idle_at: None,
        });
        // The lanes learn of the new epoch at once, and their queries go live again.
        self.state(lanes, index..index + 1);
    }

    /// Ends the reading of a partition; what it still has to say is said by a [`Owner::boundary`] before, or never.
    pub(crate) fn end(&mut self, index: usize) -> Partition {
        self.partitions.swap_remove(index)
    }

    /// The next set of queries runs from here on.
    pub(crate) fn take_over(&mut self, lanes: &mut impl Lanes, set: Arc<QuerySet>) {
        let former = std::mem::replace(&mut self.set, set);
        let set = Arc::clone(&self.set);
        for (lane, added) in set.changes(&former) {
            let in_use = set.lanes.contains_key(&lane);
            let mut ranges = Vec::with_capacity(self.partitions.len());
            for partition in &mut self.partitions {
                ranges.extend(partition.progress.change(lane, &added, in_use));
            }
            let all = 0..self.partitions.len();
            self.send_progress(lanes, lane, ranges, all);
        }
    }

    /// States progress up to here on every lane in use; here may be committed once that is acknowledged.
    pub(crate) fn boundary(&mut self, lanes: &mut impl Lanes) {
        self.state(lanes, 0..self.partitions.len());
    }

    /// As [`Owner::boundary`], for one partition.
    pub(crate) fn boundary_of(&mut self, lanes: &mut impl Lanes, index: usize) {
        self.state(lanes, index..index + 1);
    }

    fn state(&mut self, lanes: &mut impl Lanes, which: std::ops::Range<usize>) {
        let set = Arc::clone(&self.set);
        for lane in set.lanes.keys() {
            let ranges = self.partitions[which.clone()].iter_mut();
            let ranges = ranges
                .filter_map(|partition| partition.progress.state(*lane))
                .collect();
            self.send_progress(lanes, *lane, ranges, which.clone());
        }
        for partition in &mut self.partitions[which] {
            partition.offsets.boundary(partition.progress.position());
        }
    }

    fn send_progress(
        &mut self,
        lanes: &mut impl Lanes,
        lane: u32,
        ranges: Vec<Range>,
        which: std::ops::Range<usize>,
    ) {
        if ranges.is_empty() {
            return;
        }
        let progress = Progress {
            revision: self.set.revision,
            lanes: self.set.lane_count,
            worker: self.worker,
            topics: Vec::clone(&self.topics),
            ranges,
        };
        for value in progress.split(MAX_PROGRESS_BYTES) {
            let stated = self.partitions[which.clone()].iter();
            if let Some(segments) = Segments::all(stated.map(|partition| partition.offsets.send()))
            {
                let record = LaneRecord {
                    key: PROGRESS_KEY.as_bytes(),
                    header: None,
                    value: Some(&value),
                };
                lanes.send(lane, record, segments);
            }
        }
    }

    /// A record of the partition that is no event: it is counted and passed over.
    pub(crate) fn unreadable(&mut self, index: usize, event: Event<'_>) {
        let progress = &mut self.partitions[index].progress;
        progress.scanned(event.offset, event.timestamp_ms);
        progress.unreadable();
        self.tally.records += 1;
    }

    /// An event of the partition that matched the queries with these keys (of [`Owner::set`]).
    ///
    /// `now` is a steady clock in nanoseconds, asked only for queries with a limit.
    pub(crate) fn event(
        &mut self,
        out: &mut (impl Lanes + Sinks),
        index: usize,
        event: Event<'_>,
        matched: &[u32],
        now: impl Fn() -> u64,
    ) {
        let partition = &mut self.partitions[index];
        partition.progress.scanned(event.offset, event.timestamp_ms);
        self.tally.records += 1;
        self.tally.matches += matched.len() as u64;
        self.hits.clear();
        for entry in matched
            .iter()
            .filter_map(|key| self.set.entries[*key as usize].as_ref())
        {
            entry.count();
            for sink in &entry.sinks {
                match sink.value(event.value) {
                    Ok(value) => {
                        let source = source_of(partition.progress.place(), event.offset);
                        let record = SinkRecord {
                            key: event.key,
                            value: &value,
                            timestamp_ms: event.timestamp_ms,
                            source: &source,
                        };
                        out.deliver(sink, record, Segments::one(partition.offsets.send()));
                    }
                    Err(why) => out.refuse(sink, why),
                }
            }
            let Some(lane) = entry.lane else { continue };
            let left_out = entry
                .limit
                .as_ref()
                .is_some_and(|limit| !limit.allow(now()));
            partition.progress.matched(lane, entry.id, left_out);
            if left_out {
                self.tally.left_out += 1;
            } else {
                self.hits.push((lane, entry.id));
            }
        }
        self.hits.sort_unstable();
        let hits = std::mem::take(&mut self.hits);
        for hits in hits.chunk_by(|a, b| a.0 == b.0) {
            self.send_match(out, hits, index, event);
        }
        self.hits = hits;
        // No statement grows without bound.
        for lane in self.partitions[index].progress.full() {
            let range = self.partitions[index].progress.state(lane);
            self.send_progress(out, lane, range.into_iter().collect(), index..index + 1);
        }
    }

    /// One record with all the queries of one lane; several only if their ids do not fit one header.
    fn send_match(
        &mut self,
        lanes: &mut impl Lanes,
        hits: &[(u32, QueryId)],
        index: usize,
        event: Event<'_>,
    ) {
        let lane = hits[0].0;
        self.ids.clear();
        self.ids.extend(hits.iter().map(|(_, id)| *id));
        let partition = &self.partitions[index];
        let place = partition.progress.place();
        let whole = Match {
            source: Source {
                topic: Cow::Borrowed(&place.topic),
                incarnation: place.incarnation,
                partition: place.partition,
                offset: event.offset,
                timestamp_ms: event.timestamp_ms,
            },
            epoch: place.epoch,
            queries: Cow::Borrowed(&self.ids),
            flags: Flags::default(),
        };
        for mut part in whole.split(MAX_HEADER_BYTES) {
            let key = part.queries[0].to_hex();
            self.header.clear();
            part.encode(&mut self.header);
            let mut value = Some(event.value);
            if key.len() + self.header.len() + event.value.len() > lanes.max_record_bytes() {
                part.flags.too_large = true;
                self.header.clear();
                part.encode(&mut self.header);
                value = None;
                self.tally.too_large += 1;
            }
            let record = LaneRecord {
                key: &key,
                header: Some(&self.header),
                value,
            };
            lanes.send(lane, record, Segments::one(partition.offsets.send()));
        }
    }
}

/// A source position as it is written for readers.
fn source_of(place: &Place, offset: i64) -> String {
    format!("{}/{}/{offset}", place.topic, place.partition)
}

#[cfg(test)]
mod tests;
