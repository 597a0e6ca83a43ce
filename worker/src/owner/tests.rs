//! What readers of the lanes see.

use std::collections::{BTreeMap, HashMap, HashSet};

use clickstream_engine::{Record, Scratch};
use clickstream_registry::{Query, SinkRefusal};
use clickstream_wire::{Lane, decode};
use proptest::prelude::*;

use super::*;
use crate::queries::Compiler;
use crate::sinks::Sink;

mod sinks;

const LANES: u32 = 3;

/// Everything sent, by lane, and its segments.
#[derive(Default)]
struct Sent {
    lanes: BTreeMap<u32, Vec<Lane<'static>>>,
    unacknowledged: Vec<Segments>,
    sunk: Vec<Sunk>,
    refused: u64,
}

/// What a sink was given.
#[derive(Debug)]
struct Sunk {
    topic: String,
    query: String,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
    source: String,
    /// Until it is acknowledged.
    segments: Option<Segments>,
}

impl Sinks for Sent {
    fn deliver(&mut self, sink: &Arc<Sink>, record: SinkRecord<'_>, segments: Segments) {
        self.sunk.push(Sunk {
            topic: sink.topic.clone(),
            query: sink.query.clone(),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.to_vec(),
            source: record.source.to_owned(),
            segments: Some(segments),
        });
    }

    fn refuse(&mut self, _: &Sink, _: SinkRefusal) {
        self.refused += 1;
    }
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

/// An event as a thread takes it: matched, then handed over.
fn take(owner: &mut Owner, sent: &mut Sent, scratch: &mut Scratch, index: usize, event: Event<'_>) {
    let record = Record {
        topic: "events",
        partition: index as i32,
        offset: event.offset,
        timestamp_ms: event.timestamp_ms,
        key: None,
        headers: &[],
        value: event.value,
    };
    let mut keys = Vec::new();
    let set = owner.set();
    set.filters.matching(&record, scratch, &mut keys).unwrap();
    owner.event(sent, index, event, &keys, || 0);
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
        let mut scratch = Scratch::default();
        for step in steps {
            match step {
                Step::Event(index) => {
                    let offset = next[index];
                    next[index] += 1;
                    let value = format!("{{\"n\":{offset}}}");
                    let event = Event { offset, timestamp_ms: 0, key: None, value: value.as_bytes() };
                    take(&mut owner, &mut sent, &mut scratch, index, event);
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
                    let event = Event { offset: next[index], timestamp_ms: 0, key: None, value: b"" };
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
            key: None,
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
            key: None,
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
                key: None,
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
            key: None,
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
