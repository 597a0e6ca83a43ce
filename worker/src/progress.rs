//! What one partition has to say of its progress, lane by lane.
//!
//! Counters only grow; each lane remembers what they were at its last statement, so that a statement is a difference and
//! lanes can be stated at different offsets without one disturbing another.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use clickstream_wire::{Incarnation, QueryCounts, QueryId, Range};

/// A lane is stated early when this many queries have counts to state, so that a record stays far below
/// [`clickstream_wire::MAX_PROGRESS_BYTES`] (a count takes 18 to 36 bytes).
const MAX_COUNTS: usize = 8_000;

/// Of more queries added at once, the rest are named in empty ranges that follow (each takes 17 to 26 bytes).
const MAX_ADDED: usize = 8_000;

/// A source partition in one ownership.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) topic: Arc<str>,
    pub(crate) incarnation: Incarnation,
    pub(crate) partition: i32,
    pub(crate) epoch: u32,
}

/// Counters of one partition in one ownership.
#[derive(Debug)]
pub(crate) struct PartitionProgress {
    place: Place,
    /// The next offset: everything below it was read.
    position: i64,
    scanned: u64,
    unreadable: u64,
    time_ms: i64,
    /// The end of the partition when it was last looked at.
    high: i64,
    lanes: BTreeMap<u32, LaneProgress>,
    /// Some lane may have [`MAX_COUNTS`].
    has_full: bool,
}

/// The counters of the partition at a lane's last statement, and what its queries counted since.
#[derive(Debug, Default)]
struct LaneProgress {
    stated: i64,
    scanned: u64,
    unreadable: u64,
    lost: Option<(i64, i64)>,
    counts: HashMap<QueryId, Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    matched: u64,
    left_out: u64,
}

impl PartitionProgress {
    /// Begins at the committed offset `begin`; `lost` is what retention removed from there on; `lanes` are in use.
    pub(crate) fn new(
        place: Place,
        begin: i64,
        lost: Option<(i64, i64)>,
        lanes: impl Iterator<Item = u32>,
    ) -> Self {
        let position = lost.map_or(begin, |(_, next)| next);
        let lane = |lane| {
            (
                lane,
                LaneProgress {
                    stated: begin,
                    lost,
                    ..LaneProgress::default()
                },
            )
        };
        Self {
            place,
            position,
            scanned: 0,
            unreadable: 0,
            time_ms: 0,
            high: position,
            lanes: lanes.map(lane).collect(),
            has_full: false,
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn position(&self) -> i64 {
        self.position
    }

    /// Records from the position to the end of the partition, at the last look.
    pub(crate) fn lag(&self) -> i64 {
        (self.high - self.position).max(0)
    }

    /// The record at `offset` was read, with a timestamp unless that is negative.
    pub(crate) fn scanned(&mut self, offset: i64, timestamp_ms: i64) {
        self.position = offset + 1;
        self.scanned += 1;
        if timestamp_ms >= 0 {
            self.time_ms = timestamp_ms;
        }
    }

    /// That record is not a JSON object.
    pub(crate) fn unreadable(&mut self) {
        self.unreadable += 1;
    }

    /// That record matched a query of `lane`, and was written to it unless it was left out.
    pub(crate) fn matched(&mut self, lane: u32, query: QueryId, left_out: bool) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            let counts = lane.counts.entry(query).or_default();
            counts.matched += 1;
            counts.left_out += u64::from(left_out);
            self.has_full |= lane.counts.len() >= MAX_COUNTS;
        }
    }

    /// At `time_ms` the partition ended at `high`; `next` is the offset that would be read next, above the position when
    /// only markers of transactions lie between.
    pub(crate) fn looked(&mut self, high: i64, next: i64, time_ms: i64) {
        self.high = high;
        self.position = self.position.max(next);
        if self.position >= high {
            self.time_ms = time_ms;
        }
    }

    /// The lanes in use.
    #[cfg(test)]
    pub(crate) fn lanes(&self) -> impl Iterator<Item = u32> {
        self.lanes.keys().copied()
    }

    /// The lanes that should be stated now, because they have counts for very many queries.
    pub(crate) fn full(&mut self) -> Vec<u32> {
        if !std::mem::take(&mut self.has_full) {
            return Vec::new();
        }
        let full = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.counts.len() >= MAX_COUNTS);
        full.map(|(lane, _)| *lane).collect()
    }

    /// The range from the lane's last statement to the position; nothing if the lane is not in use.
    pub(crate) fn state(&mut self, lane: u32) -> Option<Range> {
        let mut range = self.range();
        let lane = self.lanes.get_mut(&lane)?;
        range.begin = std::mem::replace(&mut lane.stated, self.position);
        range.scanned = self.scanned - std::mem::replace(&mut lane.scanned, self.scanned);
        range.unreadable =
            self.unreadable - std::mem::replace(&mut lane.unreadable, self.unreadable);
        range.lost = lane.lost.take();
        let counts = lane.counts.drain();
        range.queries = counts
            .map(|(id, Counts { matched, left_out })| QueryCounts {
                id,
                matched,
                left_out,
            })
            .collect();
        Some(range)
    }

    /// The queries of `lane` change at the position: states what was counted before, and what is matched from here on.
    ///
    /// A lane that was not in use begins here; one with no query left (`in_use` false) ends here. Gives one range, and
    /// more (empty ones) only when very many queries are added.
    pub(crate) fn change(&mut self, lane: u32, added: &[QueryId], in_use: bool) -> Vec<Range> {
        self.lanes.entry(lane).or_insert_with(|| LaneProgress {
            stated: self.position,
            scanned: self.scanned,
            unreadable: self.unreadable,
            ..LaneProgress::default()
        });
        let mut ranges = Vec::with_capacity(1);
        ranges.extend(self.state(lane));
        for (index, queries) in added.chunks(MAX_ADDED).enumerate() {
            if index == ranges.len() {
                ranges.push(self.range());
            }
            ranges[index].added = queries
                .iter()
                .map(|query| (*query, self.position))
                .collect();
        }
        if !in_use {
            self.lanes.remove(&lane);
        }
        ranges
    }

    /// An empty range at the position.
    fn range(&self) -> Range {
        Range {
            topic: self.place.topic.to_string(),
            incarnation: self.place.incarnation,
            partition: self.place.partition,
            epoch: self.place.epoch,
            begin: self.position,
            end: self.position,
            time_ms: self.time_ms,
            lag_records: self.lag(),
            ..Range::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> Place {
        Place {
            topic: "events".into(),
            incarnation: [0; 16],
            partition: 3,
            epoch: 7,
        }
    }

    fn query(n: usize) -> QueryId {
        QueryId::from_bytes((n as u128).to_be_bytes())
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// A record, after so many offsets without one; unreadable or matching (lane, query, left out).
        Record(i64, bool, Vec<(u32, usize, bool)>),
        Tick,
        /// Lane, queries added, still in use.
        Change(u32, usize, bool),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let matches = prop::collection::vec((0u32..4, 0usize..3, any::<bool>()), 0..5);
        let step = prop_oneof![
            6 => (0i64..3, any::<bool>(), matches).prop_map(|(gap, unreadable, matches)| {
                Step::Record(gap, unreadable, if unreadable { Vec::new() } else { matches })
            }),
            2 => Just(Step::Tick),
            1 => (0u32..4, 0usize..3, any::<bool>()).prop_map(|(lane, added, in_use)| Step::Change(lane, added, in_use)),
        ];
        prop::collection::vec(step, 0..100)
    }

    proptest! {
        #[test]
        fn ranges_of_a_lane_tile_the_offsets_and_their_counts_add_up(
            steps in steps(), begin in 0i64..100, lost in prop::option::of(1i64..50),
        ) {
            let lost = lost.map(|length| (begin, begin + length));
            let mut progress = PartitionProgress::new(place(), begin, lost, 0..2);
            // What a lane should be told in all, and what it was told: end, scanned, unreadable, counts by query.
            type Told = (i64, u64, u64, BTreeMap<QueryId, (u64, u64)>);
            let mut truth: BTreeMap<u32, Told> = BTreeMap::new();
            let mut told: BTreeMap<u32, Told> = BTreeMap::new();
            for lane in 0..2 {
                truth.insert(lane, (progress.position(), 0, 0, BTreeMap::new()));
                told.insert(lane, (begin, 0, 0, BTreeMap::new()));
            }
            let mut lost_told: BTreeMap<u32, usize> = BTreeMap::new();
            let mut hear = |lane: u32, range: &Range, told: &mut BTreeMap<u32, Told>| {
                let heard = told.get_mut(&lane).unwrap();
                assert_eq!(range.begin, heard.0, "ranges follow each other");
                assert!(range.scanned <= (range.end - range.begin) as u64);
                heard.0 = range.end;
                heard.1 += range.scanned;
                heard.2 += range.unreadable;
                for counts in &range.queries {
                    assert!(counts.matched > 0 && counts.left_out <= counts.matched);
                    let sum = heard.3.entry(counts.id).or_default();
                    sum.0 += counts.matched;
                    sum.1 += counts.left_out;
                }
                if range.lost.is_some() {
                    assert_eq!(range.lost, lost);
                    *lost_told.entry(lane).or_default() += 1;
                }
            };
            let mut position = progress.position();
            for step in steps {
                match step {
                    Step::Record(gap, unreadable, matches) => {
                        progress.scanned(position + gap, -1);
                        position += gap + 1;
                        if unreadable {
                            progress.unreadable();
                        }
                        for (lane, id, left_out) in &matches {
                            progress.matched(*lane, query(*id), *left_out);
                        }
                        for (lane, told) in &mut truth {
                            told.0 = position;
                            told.1 += 1;
                            told.2 += u64::from(unreadable);
                            for (_, id, left_out) in matches.iter().filter(|(to, ..)| to == lane) {
                                let sum = told.3.entry(query(*id)).or_default();
                                sum.0 += 1;
                                sum.1 += u64::from(*left_out);
                            }
                        }
                    }
                    Step::Tick => {
                        for lane in 0..4 {
                            let range = progress.state(lane);
                            prop_assert_eq!(range.is_some(), truth.contains_key(&lane));
                            if let Some(range) = range {
                                prop_assert_eq!(range.end, position);
                                hear(lane, &range, &mut told);
                            }
                        }
                        prop_assert_eq!(&told, &truth);
                    }
                    Step::Change(lane, added, in_use) => {
                        if let std::collections::btree_map::Entry::Vacant(entry) = truth.entry(lane) {
                            entry.insert((position, 0, 0, BTreeMap::new()));
                            told.insert(lane, (position, 0, 0, BTreeMap::new()));
                        }
                        let others: Vec<_> = (0..4).filter(|other| *other != lane).collect();
                        let before: Vec<_> = others.iter().map(|other| progress.lanes.get(other).map(|l| l.stated)).collect();
                        let queries: Vec<_> = (0..added).map(query).collect();
                        let ranges = progress.change(lane, &queries, in_use);
                        prop_assert_eq!(ranges.len(), 1);
                        hear(lane, &ranges[0], &mut told);
                        prop_assert_eq!(&ranges[0].added, &queries.iter().map(|id| (*id, position)).collect::<Vec<_>>());
                        prop_assert_eq!(&told[&lane], &truth[&lane]);
                        let after: Vec<_> = others.iter().map(|other| progress.lanes.get(other).map(|l| l.stated)).collect();
                        prop_assert_eq!(before, after, "a change touches its lane only");
                        if !in_use {
                            truth.remove(&lane);
                            told.remove(&lane);
                        }
                        prop_assert_eq!(progress.lanes().collect::<Vec<_>>(), truth.keys().copied().collect::<Vec<_>>());
                    }
                }
            }
            prop_assert!(lost_told.values().all(|times| *times == 1), "a loss is told once on a lane");
        }
    }

    #[test]
    fn a_loss_belongs_to_the_first_range_of_every_lane() {
        let mut progress = PartitionProgress::new(place(), 40, Some((40, 100)), 0..1);
        progress.scanned(100, 5);
        let range = progress.state(0).unwrap();
        assert_eq!(
            (range.begin, range.end, range.scanned, range.lost),
            (40, 101, 1, Some((40, 100)))
        );
        assert_eq!(progress.state(0).unwrap().lost, None);
    }

    #[test]
    fn time_is_that_of_the_last_record_or_of_the_last_look_that_found_the_end() {
        let mut progress = PartitionProgress::new(place(), 0, None, 0..1);
        progress.scanned(0, 1_000);
        progress.looked(5, 1, 9_000);
        let range = progress.state(0).unwrap();
        assert_eq!((range.time_ms, range.lag_records), (1_000, 4));
        progress.looked(1, 1, 9_500);
        let range = progress.state(0).unwrap();
        assert_eq!((range.time_ms, range.lag_records), (9_500, 0));
        progress.scanned(1, 2_000);
        assert_eq!(progress.state(0).unwrap().time_ms, 2_000);
    }

    #[test]
    fn a_marker_at_the_end_is_passed_over() {
        let mut progress = PartitionProgress::new(place(), 0, None, 0..1);
        progress.scanned(0, 1_000);
        progress.looked(2, 2, 9_000);
        let range = progress.state(0).unwrap();
        assert_eq!(
            (range.end, range.scanned, range.lag_records, range.time_ms),
            (2, 1, 0, 9_000)
        );
    }

    #[test]
    fn very_many_queries_are_named_in_ranges_that_fit() {
        let mut progress = PartitionProgress::new(place(), 10, None, 0..0);
        let queries: Vec<_> = (0..2 * MAX_ADDED + 1).map(query).collect();
        let ranges = progress.change(5, &queries, true);
        assert_eq!(
            ranges
                .iter()
                .map(|range| range.added.len())
                .collect::<Vec<_>>(),
            [MAX_ADDED, MAX_ADDED, 1]
        );
        assert!(
            ranges
                .iter()
                .all(|range| (range.begin, range.end) == (10, 10))
        );
        for id in queries.iter().take(MAX_COUNTS) {
            assert!(progress.full().is_empty());
            progress.matched(5, *id, false);
        }
        assert_eq!(progress.full(), [5]);
    }
}
