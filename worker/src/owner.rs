//! What one thread does with the partitions it owns: everything but I/O.
//!
//! # Expected flow
//! 1. [`Owner::start`] a partition: its first statement goes to every lane in use.
//! 2. [`Owner::event`] for each record, in order: one record per lane with a match, then the counts.
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
        lanes: &mut impl Lanes,
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
            self.send_match(lanes, hits, index, event);
        }
        self.hits = hits;
        // No statement grows without bound.
        for lane in self.partitions[index].progress.full() {
            let range = self.partitions[index].progress.state(lane);
            self.send_progress(lanes, lane, range.into_iter().collect(), index..index + 1);
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap, HashSet};

    use clickstream_engine::{Record, Scratch};
    use clickstream_registry::Query;
    use clickstream_wire::{Lane, decode};
    use proptest::prelude::*;

    use super::*;
    use crate::queries::Compiler;

    const LANES: u32 = 3;

    /// Everything sent, by lane, and its segments.
    #[derive(Default)]
    struct Sent {
        lanes: BTreeMap<u32, Vec<Lane<'static>>>,
        unacknowledged: Vec<Segments>,
    }

    impl Lanes for Sent {
        fn max_record_bytes(&self) -> usize {
            1_000
        }

        fn send(&mut self, lane: u32, record: LaneRecord<'_>, segments: Segments) {
            let record = match decode(Some(record.key), record.header, record.value).unwrap() {
                Lane::Match(matched) => {
                    assert_eq!(record.value.is_none(), matched.flags.too_large);
                    Lane::Match(matched.into_owned())
                }
                Lane::Progress(progress) => Lane::Progress(progress),
            };
            self.lanes.entry(lane).or_default().push(record);
            self.unacknowledged.push(segments);
        }
    }

    /// Query `n` matches events whose field `n` is a multiple of `n`.
    fn row(n: u8, revision: u64) -> Query {
        Query {
            id: QueryId::from_bytes([n; 16]),
            tenant: String::new(),
            filter: format!("event.n % {n} == 0"),
            lane: u32::from(n) % LANES,
            limit: None,
            watched: true,
            standing: Vec::new(),
            revision,
        }
    }

    fn place(partition: i32) -> Place {
        Place {
            topic: "events".into(),
            incarnation: [0; 16],
            partition,
            epoch: 5,
        }
    }

    fn start(begin: i64) -> Start {
        Start {
            epoch: 5,
            begin,
            read_from: begin,
            recreated: false,
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Event(usize),
        Unreadable(usize),
        /// The set is now the queries with these bits.
        Queries(u8),
        Boundary,
        /// All that was sent so far is acknowledged.
        Acknowledge,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (0usize..2).prop_map(Step::Event),
            1 => (0usize..2).prop_map(Step::Unreadable),
            2 => any::<u8>().prop_map(Step::Queries),
            2 => Just(Step::Boundary),
            1 => Just(Step::Acknowledge),
        ];
        prop::collection::vec(step, 0..80)
    }

    proptest! {
        /// A reader of each lane sees, for each partition: a statement of a query's revision before its first match;
        /// after a statement up to an offset only matches from it on; every match of every query from its start to its
        /// end, once; and counts that say the same.
        #[test]
        fn lanes_tell_the_truth_in_order(steps in steps()) {
            let mut sent = Sent::default();
            let mut owner = Owner::new([9; 16]);
            let mut compiler = Compiler::default();
            let mut rows: HashMap<QueryId, Arc<Query>> = HashMap::new();
            let mut revision = 1;
            let mut next = [100i64, 200];
            owner.take_over(&mut sent, Arc::new(compiler.compile(revision, &rows, LANES)));
            for partition in 0..2 {
                owner.start(&mut sent, place(partition), start(next[partition as usize]), 0, 0);
            }
            // (partition, offset, query) in the order of each lane.
            let mut truth: BTreeMap<u32, Vec<(i32, i64, QueryId)>> = BTreeMap::new();
            let mut added: HashSet<(QueryId, u64)> = HashSet::new();
            let mut keys = Vec::new();
            let mut scratch = Scratch::default();
            for step in steps {
                match step {
                    Step::Event(index) => {
                        let offset = next[index];
                        next[index] += 1;
                        let value = format!("{{\"n\":{offset}}}");
                        let record = Record {
                            topic: "events", partition: index as i32, offset, timestamp_ms: 0,
                            key: None, headers: &[], value: value.as_bytes(),
                        };
                        keys.clear();
                        owner.set().filters.matching(&record, &mut scratch, &mut keys).unwrap();
                        let event = Event { offset, timestamp_ms: 0, value: value.as_bytes() };
                        owner.event(&mut sent, index, event, &keys, || 0);
                        let mut hits: Vec<_> = rows.values()
                            .filter(|row| offset % i64::from(row.id.as_bytes()[0]) == 0)
                            .map(|row| (row.lane, row.id))
                            .collect();
                        hits.sort_unstable();
                        for (lane, id) in hits {
                            truth.entry(lane).or_default().push((index as i32, offset, id));
                        }
                    }
                    Step::Unreadable(index) => {
                        let event = Event { offset: next[index], timestamp_ms: 0, value: b"" };
                        owner.unreadable(index, event);
                        next[index] += 1;
                    }
                    Step::Queries(bits) => {
                        revision += 1;
                        for n in 1..=8u8 {
                            let id = row(n, 0).id;
                            if bits >> (n - 1) & 1 == 0 {
                                rows.remove(&id);
                            } else {
                                rows.entry(id).or_insert_with(|| Arc::new(row(n, revision)));
                            }
                        }
                        added.extend(rows.values().map(|row| (row.id, row.revision)));
                        owner.take_over(&mut sent, Arc::new(compiler.compile(revision, &rows, LANES)));
                    }
                    Step::Boundary => owner.boundary(&mut sent),
                    Step::Acknowledge => {
                        sent.unacknowledged.drain(..).for_each(|segments| segments.acknowledge());
                        prop_assert!(owner.partitions.iter_mut().all(|partition| partition.offsets.is_settled()));
                    }
                }
            }
            owner.boundary(&mut sent);
            for (lane, records) in &sent.lanes {
                let mut seen = Vec::new();
                let mut running = [0u64; 2];
                let mut stated = [0i64; 2];
                let mut known: HashSet<(i32, QueryId)> = HashSet::new();
                let mut counted: BTreeMap<QueryId, u64> = BTreeMap::new();
                for record in records {
                    match record {
                        Lane::Match(matched) => {
                            let partition = matched.source.partition as usize;
                            prop_assert!(matched.source.offset >= stated[partition]);
                            for id in matched.queries.iter() {
                                prop_assert!(known.contains(&(partition as i32, *id)), "matched before it was stated");
                                seen.push((partition as i32, matched.source.offset, *id));
                            }
                        }
                        Lane::Progress(progress) => {
                            for range in &progress.ranges {
                                let partition = range.partition as usize;
                                prop_assert!(progress.revision >= running[partition]);
                                running[partition] = progress.revision;
                                stated[partition] = range.end;
                                for (id, from) in &range.added {
                                    prop_assert_eq!(*from, range.end);
                                    prop_assert!(added.contains(&(*id, progress.revision)));
                                    known.insert((range.partition, *id));
                                }
                                for counts in &range.queries {
                                    *counted.entry(counts.id).or_default() += counts.matched;
                                }
                            }
                        }
                    }
                }
                prop_assert_eq!(&seen, &truth.get(lane).cloned().unwrap_or_default());
                let mut expected: BTreeMap<QueryId, u64> = BTreeMap::new();
                for (_, _, id) in &seen {
                    *expected.entry(*id).or_default() += 1;
                }
                prop_assert_eq!(counted, expected);
            }
            prop_assert!(truth.keys().all(|lane| sent.lanes.contains_key(lane)));
        }
    }

    fn running(queries: &[Query]) -> (Owner, Sent) {
        let rows = queries
            .iter()
            .map(|row| (row.id, Arc::new(row.clone())))
            .collect();
        let mut sent = Sent::default();
        let mut owner = Owner::new([9; 16]);
        owner.take_over(
            &mut sent,
            Arc::new(Compiler::default().compile(1, &rows, LANES)),
        );
        owner.start(&mut sent, place(0), start(0), 0, 0);
        (owner, sent)
    }

    #[test]
    fn a_new_owner_states_its_epoch_before_it_reads() {
        let (_, sent) = running(&[row(1, 1)]);
        let [Lane::Progress(progress)] = &sent.lanes[&1][..] else {
            panic!("{:?}", sent.lanes)
        };
        assert_eq!(
            (progress.revision, progress.lanes, progress.worker),
            (1, LANES, [9; 16])
        );
        assert_eq!(
            (
                progress.ranges[0].epoch,
                progress.ranges[0].begin,
                progress.ranges[0].end
            ),
            (5, 0, 0)
        );
    }

    #[test]
    fn without_queries_nothing_is_written_and_boundaries_are_safe_at_once() {
        let (mut owner, mut sent) = running(&[]);
        owner.event(
            &mut sent,
            0,
            Event {
                offset: 0,
                timestamp_ms: 0,
                value: b"{}",
            },
            &[],
            || 0,
        );
        owner.boundary(&mut sent);
        assert_eq!(owner.partitions[0].offsets.take_commit(), Some(1));
        assert!(sent.lanes.is_empty());
    }

    #[test]
    fn an_event_that_is_too_large_goes_as_its_position_only() {
        let (mut owner, mut sent) = running(&[row(1, 1)]);
        let value = vec![b' '; 1_000];
        owner.event(
            &mut sent,
            0,
            Event {
                offset: 0,
                timestamp_ms: 7,
                value: &value,
            },
            &[0],
            || 0,
        );
        let Lane::Match(matched) = &sent.lanes[&1][1] else {
            panic!("{:?}", sent.lanes)
        };
        assert!(matched.flags.too_large);
        assert_eq!((matched.source.offset, matched.source.timestamp_ms), (0, 7));
        assert_eq!(
            owner.tally,
            Tally {
                records: 1,
                matches: 1,
                left_out: 0,
                too_large: 1
            }
        );
    }

    #[test]
    fn matches_beyond_the_limit_are_counted_and_left_out() {
        let (mut owner, mut sent) = running(&[Query {
            limit: Some(2),
            ..row(1, 1)
        }]);
        for offset in 0..5 {
            owner.event(
                &mut sent,
                0,
                Event {
                    offset,
                    timestamp_ms: 0,
                    value: b"{}",
                },
                &[0],
                || 0,
            );
        }
        owner.boundary(&mut sent);
        let records = &sent.lanes[&1];
        assert_eq!(
            records
                .iter()
                .filter(|record| matches!(record, Lane::Match(_)))
                .count(),
            2
        );
        let Some(Lane::Progress(progress)) = records.last() else {
            panic!("{records:?}")
        };
        let counts = progress.ranges[0].queries[0];
        assert_eq!((counts.matched, counts.left_out), (5, 3));
    }

    #[test]
    fn a_marker_is_passed_over_once_the_client_was_idle_behind_it_twice() {
        let (mut owner, mut sent) = running(&[]);
        owner.event(
            &mut sent,
            0,
            Event {
                offset: 0,
                timestamp_ms: 0,
                value: b"{}",
            },
            &[],
            || 0,
        );
        let partition = &mut owner.partitions[0];
        for (idle_at, position) in [
            (Some(2), 1),
            (None, 1),
            (Some(2), 1),
            (Some(2), 2),
            (Some(1), 2),
            (Some(1), 2),
        ] {
            partition.looked(2, idle_at, 0);
            assert_eq!(partition.progress.position(), position);
        }
    }

    #[test]
    fn only_a_partition_that_is_read_is_found() {
        let (mut owner, mut sent) = running(&[]);
        owner.start(&mut sent, place(4), start(0), 0, 0);
        assert_eq!(owner.find("events", 4), Some(1));
        assert_eq!(owner.find("events", 0), Some(0));
        assert_eq!(owner.find("events", 1), None);
        assert_eq!(owner.find("other", 0), None);
        owner.end(0);
        assert_eq!(
            (owner.find("events", 0), owner.find("events", 4)),
            (None, Some(0))
        );
    }
}
