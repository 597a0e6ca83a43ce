//! What one lane has told about the source partitions: epochs, counts, how far everything is.
//!
//! Pure: records in, decisions out. Lanes are read at different speeds, so each lane judges by itself.
//!
//! # Guarantees
//! - After a record of an epoch, nothing of a lower epoch of that partition counts.
//! - The totals never count an offset twice: the first range of an epoch withdraws what older epochs
//!   counted from its begin on.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use clickstream_wire::{Incarnation, QueryId, Range, TopicPartitions};

use super::Time;

/// Ranges kept of each partition, to be withdrawn when an owner's successor reads them again. A lane
/// gets one each second, and up to fifty while queries come and go; an owner commits each second.
const MAX_HISTORY: usize = 256;

/// Names for source topics, one per creation, so that the rest compares numbers.
#[derive(Debug, Default)]
pub(crate) struct Sources(Vec<(Arc<str>, Incarnation)>);

/// One partition of one creation of a source topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PartitionId {
    source: usize,
    pub(crate) partition: i32,
}

impl Sources {
    pub(crate) fn id(
        &mut self,
        topic: &str,
        incarnation: Incarnation,
        partition: i32,
    ) -> PartitionId {
        let known = self
            .0
            .iter()
            .position(|(name, of)| &**name == topic && *of == incarnation);
        let source = known.unwrap_or_else(|| {
            self.0.push((topic.into(), incarnation));
            self.0.len() - 1
        });
        PartitionId { source, partition }
    }

    pub(crate) fn topic(&self, at: PartitionId) -> &str {
        &self.0[at.source].0
    }
}

/// One lane, as far as it was read.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    partitions: HashMap<PartitionId, Partition>,
    /// Every source topic with its partitions, from the statement of the highest revision.
    expected: Vec<(PartitionId, u32)>,
    expected_at: u64,
    /// Source records looked at, and unreadable ones among them.
    pub(crate) totals: Scanned,
    complete_to: Option<Time>,
}

/// Source records counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Scanned {
    pub(crate) scanned: i64,
    pub(crate) unreadable: i64,
}

/// Where all partitions are at or past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    /// The lowest revision that any partition's owner runs.
    pub(crate) revision: u64,
    pub(crate) partitions: u32,
}

/// One source partition, as this lane tells it.
#[derive(Debug, Default)]
struct Partition {
    epoch: u32,
    /// The last accepted statement, of whatever epoch.
    last: Option<Statement>,
    /// `last` is by the present epoch.
    current: bool,
    totals: Scanned,
    history: VecDeque<Counted>,
    /// Counts before this offset can no longer be withdrawn.
    forgotten_before: i64,
    /// Records of the lane were lost after this source offset.
    torn_from: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct Statement {
    /// Position in the order of all that this handler read.
    sequence: u64,
    revision: u64,
    end: i64,
    time_ms: i64,
    lag_records: i64,
}

/// What a range counted, as long as it may be withdrawn.
#[derive(Debug)]
struct Counted {
    begin: i64,
    end: i64,
    scanned: Scanned,
    queries: Vec<QueryCount>,
}

/// Matches that a range added to a query's group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueryCount {
    pub(crate) id: QueryId,
    /// Which of the groups that this query has had.
    pub(crate) serial: u64,
    /// Which beginning of the query on the partition.
    pub(crate) beginning: u32,
    pub(crate) matched: i64,
}

/// An accepted range, as far as queries are concerned.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// Every record that the range counts was read by this handler, unless something was lost.
    pub(crate) complete: bool,
    /// Order of the statement before this one; none if this is the first.
    pub(crate) previous: Option<u64>,
    /// Counts of older epochs that are void.
    pub(crate) withdrawn: Vec<QueryCount>,
    /// Where the former owner's last range ended, if this is the first of a new one.
    pub(crate) taken_over_at: Option<i64>,
    /// Source offsets whose matches may have been lost on the lane.
    pub(crate) torn: Option<(i64, i64)>,
    /// What the range added to the totals.
    pub(crate) scanned: Scanned,
    /// Matches below this offset are part of counts that stay.
    pub(crate) counted_before: i64,
}

impl Lane {
    /// Notes a match. None: it is of a former owner and must be ignored; otherwise the offset below which
    /// matches are already part of counts that can no longer be withdrawn.
    pub(crate) fn admit(&mut self, at: PartitionId, epoch: u32) -> Option<i64> {
        let partition = self.partitions.entry(at).or_default();
        partition.reach(epoch).then_some(partition.forgotten_before)
    }

    /// Applies a range; none if it is of a former owner. The caller adds what it counted for queries
    /// by [`Self::keep`].
    pub(crate) fn state(
        &mut self,
        at: PartitionId,
        revision: u64,
        range: &Range,
        sequence: u64,
    ) -> Option<Accepted> {
        let partition = self.partitions.entry(at).or_default();
        if !partition.reach(range.epoch) {
            return None;
        }
        let before = partition.totals;
        let accepted = partition.state(revision, range, sequence);
        self.totals += partition.totals - before;
        Some(accepted)
    }

    /// Keeps what was counted for queries from `begin` on, by the last range of `at` or before it, so that
    /// it can be withdrawn. What has no offsets counts nothing: `queries` is then empty.
    pub(crate) fn keep(&mut self, at: PartitionId, begin: i64, queries: Vec<QueryCount>) {
        let Some(partition) = self.partitions.get_mut(&at) else {
            return;
        };
        let mut newest = partition.history.iter_mut().rev();
        if let Some(counted) = newest.find(|counted| counted.begin == begin)
            && !queries.is_empty()
        {
            counted.queries = queries;
        }
    }

    /// Learns which partitions there are. Returns topics that were created anew.
    pub(crate) fn expect(
        &mut self,
        sources: &mut Sources,
        revision: u64,
        topics: &[TopicPartitions],
    ) -> Vec<String> {
        // A worker that was frozen may still speak of topics as they were.
        if revision < self.expected_at {
            return Vec::new();
        }
        self.expected_at = revision;
        let mut recreated = Vec::new();
        for stated in topics {
            let known_sources = sources.0.len();
            let id = sources.id(&stated.topic, stated.incarnation, 0);
            let same_topic = self
                .expected
                .iter_mut()
                .find(|(known, _)| sources.topic(*known) == stated.topic);
            match same_topic {
                Some((known, partitions)) if *known == id => {
                    // Partitions are only ever added; a worker that does not know yet says fewer.
                    *partitions = stated.partitions.max(*partitions);
                }
                Some(known) => {
                    *known = (id, stated.partitions);
                    if id.source >= known_sources {
                        recreated.push(stated.topic.clone());
                    }
                }
                None => self.expected.push((id, stated.partitions)),
            }
        }
        recreated
    }

    /// Where all partitions of all source topics are by their owners' statements; none while one of
    /// them has not been stated by its present owner.
    pub(crate) fn settled(&self) -> Option<Settled> {
        let revisions = self.owners().map(|partition| {
            let partition = partition?;
            let last = partition.last.filter(|_| partition.current)?;
            Some(last.revision)
        });
        let mut settled = Settled {
            revision: u64::MAX,
            partitions: 0,
        };
        for revision in revisions {
            settled.revision = settled.revision.min(revision?);
            settled.partitions += 1;
        }
        (settled.partitions > 0).then_some(settled)
    }

    /// Every event before this time was looked at. Never goes back.
    pub(crate) fn complete_to(&mut self) -> Option<Time> {
        let times = self
            .owners()
            .map(|partition| Some(partition?.last?.time_ms));
        let least: Option<Option<i64>> = times.min();
        let complete_to = least.flatten().filter(|time_ms| *time_ms > 0).map(Time);
        self.complete_to = self.complete_to.max(complete_to);
        self.complete_to
    }

    /// Source records not read yet.
    pub(crate) fn lag_records(&self) -> u64 {
        let lags = self
            .owners()
            .flatten()
            .filter_map(|partition| partition.last);
        lags.map(|last| u64::try_from(last.lag_records).unwrap_or(0))
            .sum()
    }

    /// Records of this lane were deleted before they were read, or could not be understood.
    pub(crate) fn tear(&mut self) {
        for partition in self.partitions.values_mut() {
            if let Some(last) = partition.last {
                partition.torn_from.get_or_insert(last.end);
            }
        }
    }

    /// The partition's totals, if its present owner runs at least `revision`.
    pub(crate) fn reached(&self, at: PartitionId, revision: u64) -> Option<Scanned> {
        let partition = self.partitions.get(&at)?;
        let last = partition.last.filter(|_| partition.current)?;
        (last.revision >= revision).then_some(partition.totals)
    }

    /// All partitions known, with the end of the last range.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (PartitionId, i64)> {
        self.partitions
            .iter()
            .filter_map(|(at, partition)| Some((*at, partition.last?.end)))
    }

    /// All partitions known, with their totals.
    pub(crate) fn scanned(&self) -> impl Iterator<Item = (PartitionId, Scanned)> {
        self.partitions
            .iter()
            .map(|(at, partition)| (*at, partition.totals))
    }

    /// The partitions there should be; none for those nothing is known of.
    fn owners(&self) -> impl Iterator<Item = Option<&Partition>> {
        self.expected.iter().flat_map(|(first, partitions)| {
            (0..*partitions).map(|partition| {
                let partition = i32::try_from(partition).ok()?;
                self.partitions.get(&PartitionId {
                    partition,
                    ..*first
                })
            })
        })
    }
}

impl Partition {
    /// Whether a record of `epoch` counts; a higher one than before is a new owner.
    fn reach(&mut self, epoch: u32) -> bool {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.current = false;
        }
        epoch == self.epoch
    }

    fn state(&mut self, revision: u64, range: &Range, sequence: u64) -> Accepted {
        let previous = self.last;
        let torn_from = self.torn_from.take();
        let mut accepted = Accepted {
            complete: torn_from.is_none()
                && previous.is_some_and(|last| self.current && last.end == range.begin),
            previous: previous.map(|last| last.sequence),
            withdrawn: Vec::new(),
            taken_over_at: None,
            torn: torn_from
                .map(|from| (from, range.end))
                .filter(|(from, to)| from < to),
            scanned: Scanned::default(),
            counted_before: 0,
        };
        if !self.current
            && let Some(last) = previous
        {
            accepted.taken_over_at = Some(last.end);
            self.withdraw(range.begin, &mut accepted.withdrawn);
            // Nobody states what the former owner did between its last range and here.
            self.remember(last.end, range.begin, Scanned::default());
        }
        self.current = true;
        self.last = Some(Statement {
            sequence,
            revision,
            end: range.end,
            time_ms: range.time_ms,
            lag_records: range.lag_records,
        });
        accepted.counted_before = self.forgotten_before;
        accepted.scanned = self.count(range);
        accepted
    }

    /// Takes back what older epochs counted from `begin` on.
    fn withdraw(&mut self, begin: i64, withdrawn: &mut Vec<QueryCount>) {
        while let Some(counted) = self.history.pop_back_if(|counted| counted.begin >= begin) {
            self.totals -= counted.scanned;
            withdrawn.extend(counted.queries);
        }
        // A commit is the end of a range, so only an owner that did not use the lane before it came here
        // can begin inside one.
        if let Some(across) = self.history.back().filter(|counted| counted.end > begin) {
            self.forgotten_before = self.forgotten_before.max(across.end);
        }
    }

    fn count(&mut self, range: &Range) -> Scanned {
        let mut scanned = Scanned {
            scanned: range.scanned.try_into().unwrap_or(i64::MAX),
            unreadable: range.unreadable.try_into().unwrap_or(i64::MAX),
        };
        // What is read again but can no longer be withdrawn must not count twice. Offsets of a topic
        // without compaction are its records, so the difference is how many these are.
        let again = self.forgotten_before.min(range.end) - range.begin;
        scanned.scanned -= again.clamp(0, scanned.scanned);
        scanned.unreadable = scanned.unreadable.min(scanned.scanned);
        self.totals += scanned;
        self.remember(range.begin, range.end, scanned);
        scanned
    }

    fn remember(&mut self, begin: i64, end: i64, scanned: Scanned) {
        if begin >= end {
            return;
        }
        self.history.push_back(Counted {
            begin,
            end,
            scanned,
            queries: Vec::new(),
        });
        if self.history.len() > MAX_HISTORY
            && let Some(oldest) = self.history.pop_front()
        {
            self.forgotten_before = self.forgotten_before.max(oldest.end);
        }
    }
}

impl std::ops::AddAssign for Scanned {
    fn add_assign(&mut self, other: Self) {
        self.scanned += other.scanned;
        self.unreadable += other.unreadable;
    }
}

impl std::ops::SubAssign for Scanned {
    fn sub_assign(&mut self, other: Self) {
        self.scanned -= other.scanned;
        self.unreadable -= other.unreadable;
    }
}

impl std::ops::Sub for Scanned {
    type Output = Self;

    fn sub(mut self, other: Self) -> Self {
        self -= other;
        self
    }
}
