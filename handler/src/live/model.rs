//! The [`Hub`] against a model of everything around it: a source topic, workers that crash, read again or
//! write late as zombies, lanes read at different speeds, viewers who come and go.
//!
//! The workers keep the contract and nothing more: records of one worker reach a lane in order but at any
//! later time; only a statement at one offset on all its lanes, all of it acknowledged, may be committed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use clickstream_registry::{QueryId, Served};
use clickstream_wire::{Flags, Match, Source};
use proptest::prelude::*;

use super::{
    DropReason, GapReason, Item, Kind, Outbound, OutboundMetrics, Status, Time,
    hub::Hub,
    projection::View,
    subscription::{Now, Terms},
};
use crate::metrics::Metrics;

mod worker;

use worker::{Record, Worker};

const PARTITIONS: usize = 2;
const LANES: usize = 2;
const QUERIES: usize = 3;
/// The query whose matches workers leave out at will, as if over a limit.
const LIMITED: usize = 2;

/// Whether a query matches a record; one in eight is unreadable and matches nothing.
fn matches(query: usize, partition: usize, offset: i64) -> bool {
    !unreadable(partition, offset)
        && match query {
            0 => true,
            1 => (offset + partition as i64) % 2 == 0,
            _ => (offset * 7 + partition as i64) % 3 != 0,
        }
}

fn unreadable(partition: usize, offset: i64) -> bool {
    (offset * 5 + partition as i64) % 8 == 3
}

fn id(query: usize) -> QueryId {
    QueryId::from_bytes([query as u8 + 1; 16])
}

/// The lane that a query gets whenever it is registered.
fn lane_of(query: usize) -> usize {
    query % LANES
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize, u8),
    /// A worker reads so many records; which one, counting former owners.
    Read(usize, u8, u8),
    Learn(usize),
    State(usize),
    /// Records of a worker reach a lane.
    Flush(usize, usize, u8),
    Commit(usize),
    /// A new owner begins; the former one crashes or goes on as a zombie.
    TakeOver(usize, bool),
    Deliver(usize, u8),
    Subscribe(usize),
    Leave(usize, bool),
    Progress,
    /// A viewer's connection takes what waits for it.
    Take,
}

fn step() -> impl Strategy<Value = Step> {
    let worker = 0..6usize;
    prop_oneof![
        4 => (0..PARTITIONS, 1..6u8).prop_map(|(p, n)| Step::Append(p, n)),
        6 => (worker.clone(), 1..5u8, any::<u8>()).prop_map(|(w, n, left_out)| Step::Read(w, n, left_out)),
        4 => worker.clone().prop_map(Step::Learn),
        4 => worker.clone().prop_map(Step::State),
        8 => (worker.clone(), 0..LANES, 1..8u8).prop_map(|(w, lane, n)| Step::Flush(w, lane, n)),
        3 => worker.prop_map(Step::Commit),
        1 => (0..PARTITIONS, any::<bool>()).prop_map(|(p, zombie)| Step::TakeOver(p, zombie)),
        8 => (0..LANES, 1..10u8).prop_map(|(lane, n)| Step::Deliver(lane, n)),
        2 => (0..QUERIES).prop_map(Step::Subscribe),
        1 => (0..8usize, any::<bool>()).prop_map(|(viewer, broken)| Step::Leave(viewer, broken)),
        1 => Just(Step::Progress),
        2 => Just(Step::Take),
    ]
}

#[derive(Debug)]
struct Viewer {
    query: usize,
    member: u64,
    outbound: Arc<Outbound>,
    seen: BTreeSet<(usize, i64)>,
    /// The end of each partition when `live` was told: everything from there on is owed.
    live: Option<[i64; PARTITIONS]>,
    gaps: Vec<(usize, i64, i64)>,
    progress: Option<Status>,
    /// What `dropped` told, summed up.
    dropped: u64,
}

struct World {
    ends: [i64; PARTITIONS],
    committed: [i64; PARTITIONS],
    epochs: [u32; PARTITIONS],
    workers: Vec<Worker>,
    lanes: [Vec<Record>; LANES],
    read: [usize; LANES],
    revision: u64,
    registered: BTreeMap<usize, u64>,
    hub: Hub,
    viewers: Vec<Viewer>,
    /// A zombie and a new owner that learned of a query in the middle of what the zombie had stated have both
    /// counted some records: nobody can tell how many of these are unreadable.
    zombies: bool,
    /// A partition may have been read again by a new owner.
    reread: bool,
    now: Now,
}

impl World {
    fn new() -> Self {
        let metrics = Metrics::new(&clickstream_telemetry::Metrics::new());
        let mut world = Self {
            ends: [0; PARTITIONS],
            committed: [0; PARTITIONS],
            epochs: [0; PARTITIONS],
            workers: Vec::new(),
            lanes: Default::default(),
            read: [0; LANES],
            revision: 1,
            registered: BTreeMap::new(),
            hub: Hub::new(metrics),
            viewers: Vec::new(),
            zombies: false,
            reread: false,
            now: Now {
                instant: Instant::now(),
                time: Time(1),
            },
        };
        for partition in 0..PARTITIONS {
            world.take_over(partition, false);
        }
        world
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append(partition, count) => self.ends[partition] += i64::from(count),
            Step::Read(worker, count, left_out) => self.read_source(worker, count, left_out),
            Step::Learn(worker) => self.learn(worker),
            Step::State(worker) => self.state(worker),
            Step::Flush(worker, lane, count) => self.flush(worker, lane, count.into()),
            Step::Commit(worker) => self.commit(worker),
            Step::TakeOver(partition, zombie) => {
                self.reread = true;
                self.take_over(partition, zombie);
            }
            Step::Deliver(lane, count) => self.deliver(lane, count.into()),
            Step::Subscribe(query) => self.subscribe(query),
            Step::Leave(viewer, broken) => self.leave(viewer, broken),
            Step::Progress => self.hub.tell_progress(),
            Step::Take => self.take_items(),
        }
        self.notice_live();
    }

    // ---- handler ----

    fn deliver(&mut self, lane: usize, count: usize) {
        for _ in 0..count {
            let Some(record) = self.lanes[lane].get(self.read[lane]) else {
                return;
            };
            self.read[lane] += 1;
            match record {
                Record::Match {
                    partition,
                    offset,
                    epoch,
                    queries,
                } => {
                    let record = Match {
                        source: Source {
                            topic: "events".into(),
                            incarnation: [0; 16],
                            partition: *partition as i32,
                            offset: *offset,
                            timestamp_ms: 1,
                        },
                        epoch: *epoch,
                        queries: queries.iter().map(|query| id(*query)).collect(),
                        flags: Flags::default(),
                    };
                    self.hub
                        .matched(lane as u32, &record, b"{}", self.now.instant);
                }
                Record::Progress(progress) => self.hub.progress(lane as u32, progress, self.now),
                Record::Boundary(_) => unreachable!("never sent"),
            }
            self.notice_live();
        }
        for outbound in self.hub.take_touched() {
            outbound.wake();
        }
    }

    fn subscribe(&mut self, query: usize) {
        if self.viewers.len() >= 8 {
            return;
        }
        if self.hub.is_idle() {
            // Nothing is read while nobody watches; reading begins at the end, before the registration.
            self.hub.reset_lanes();
            self.read = std::array::from_fn(|lane| self.lanes[lane].len());
        }
        let lane = lane_of(query) as u32;
        let ticket = self.hub.prepare(id(query), "", "f", lane, None);
        if !self.registered.contains_key(&query) {
            self.revision += 1;
            self.registered.insert(query, self.revision);
        }
        let revision = self.registered[&query];
        self.hub.served(Served {
            id: id(query),
            lane,
            revision,
        });
        let outbound = Arc::new(Outbound::new(1 << 20, OutboundMetrics::default()));
        outbound.open(7).unwrap();
        let terms = Terms {
            outbound: Arc::clone(&outbound),
            channel: 7,
            view: Arc::new(View::parse(None).unwrap()),
            // Far more than ever comes: it is workers who leave out.
            rate: (query == LIMITED).then_some(1_000_000),
            ttl: Duration::from_secs(3600),
            standing: None,
            class: "broad".to_owned(),
        };
        let member = self.hub.join(ticket, terms, self.now);
        let viewer = Viewer {
            query,
            member,
            outbound,
            seen: BTreeSet::new(),
            live: None,
            gaps: Vec::new(),
            progress: None,
            dropped: 0,
        };
        self.viewers.push(viewer);
    }

    fn leave(&mut self, viewer: usize, broken: bool) {
        if viewer >= self.viewers.len() {
            return;
        }
        let viewer = self.viewers.remove(viewer);
        let until = broken.then(|| self.now.instant + Duration::from_secs(30));
        assert_eq!(self.hub.leave(viewer.member, until), Some(id(viewer.query)));
        if self.hub.wanted(id(viewer.query)).is_none() {
            self.registered.remove(&viewer.query);
            self.revision += 1;
            self.hub.released(id(viewer.query));
        }
    }

    /// Everything appended after a viewer becomes live is owed to it.
    fn notice_live(&mut self) {
        let waiting: Vec<usize> = (0..self.viewers.len())
            .filter(|n| self.viewers[*n].live.is_none())
            .collect();
        for number in waiting {
            if self.hub.is_live(self.viewers[number].member) {
                self.viewers[number].live = Some(self.ends);
            }
        }
    }

    fn take_items(&mut self) {
        for viewer in &mut self.viewers {
            viewer.take_items();
        }
    }

    /// Lets everything come to rest: no zombie is left, all is read, stated, sent and delivered.
    fn rest(&mut self) {
        self.workers.retain(|worker| worker.owns);
        for worker in 0..self.workers.len() {
            self.learn(worker);
            self.read_source(worker, u8::MAX, 0b1010_1010);
            self.state(worker);
            for lane in 0..LANES {
                self.flush(worker, lane, usize::MAX);
            }
        }
        for lane in 0..LANES {
            self.deliver(lane, usize::MAX);
        }
        self.take_items();
        self.hub.tell_progress();
        self.take_items();
    }
}

impl Viewer {
    fn take_items(&mut self) {
        let mut items = Vec::new();
        while self.outbound.take(&mut items) {}
        for Item { subscription, kind } in items {
            assert_eq!(subscription, 7);
            match kind {
                Kind::Event(event) => {
                    let mut parts = event.source.split('/').skip(1);
                    let partition: usize = parts.next().unwrap().parse().unwrap();
                    let offset: i64 = parts.next().unwrap().parse().unwrap();
                    assert!(
                        matches(self.query, partition, offset),
                        "foreign event {}",
                        event.source
                    );
                    assert!(
                        self.seen.insert((partition, offset)),
                        "{} came twice",
                        event.source
                    );
                }
                Kind::Status(Status::Gap { reason, ranges }) => {
                    assert_eq!(reason, GapReason::Outage);
                    let ranges = ranges.iter();
                    self.gaps.extend(
                        ranges.map(|range| (range.partition as usize, range.from, range.to)),
                    );
                }
                Kind::Status(status @ Status::Progress { .. }) => {
                    if let Some(before) = &self.progress {
                        assert!(
                            never_less(before, &status),
                            "went back: {before:?} {status:?}"
                        );
                    }
                    self.progress = Some(status);
                }
                Kind::Status(Status::Dropped { reason, count }) => {
                    assert_eq!(reason, DropReason::Rate);
                    self.dropped += count;
                }
                Kind::Status(_) => {}
            }
        }
    }

    /// What must hold when everything has come to rest.
    fn check(&self, ends: &[i64; PARTITIONS], zombies: bool, reread: bool) {
        let live = self
            .live
            .expect("everything runs the registry's last revision");
        let owed = (0..PARTITIONS)
            .flat_map(|partition| {
                (live[partition]..ends[partition]).map(move |offset| (partition, offset))
            })
            .filter(|(partition, offset)| matches(self.query, *partition, *offset));
        let missing: Vec<_> = owed
            .clone()
            .filter(|at| !self.seen.contains(at))
            .filter(|(at, offset)| {
                !self
                    .gaps
                    .iter()
                    .any(|(p, from, to)| p == at && (from..to).contains(&offset))
            })
            .collect();
        let Some(Status::Progress {
            scanned,
            matched,
            delivered,
            left_out,
            unreadable,
            ..
        }) = &self.progress
        else {
            panic!("no progress was told");
        };
        if self.query != LIMITED {
            assert_eq!(missing, [], "missing, with gaps {:?}", self.gaps);
            assert_eq!(left_out.rate, 0);
        }
        assert_eq!(*delivered, self.seen.len() as u64);
        // What one worker left out, the one that reads again may send.
        assert!(
            self.dropped >= left_out.rate && (reread || self.dropped == left_out.rate),
            "left out {}, told {}",
            left_out.rate,
            self.dropped
        );
        assert_eq!(
            *matched,
            delivered + left_out.rate + left_out.slow,
            "matched = delivered + left out"
        );
        assert!(*matched + self.gaps.len() as u64 * 1_000 >= owed.count() as u64);
        if !reread && self.gaps.is_empty() {
            let owed: i64 = (0..PARTITIONS).map(|at| ends[at] - live[at]).sum();
            assert!(*scanned >= owed as u64, "{scanned} scanned of {owed} owed");
        }
        if !reread && self.query == 0 {
            // What its account begins with is at most one unreadable record before the first match.
            let not_matched = (0..PARTITIONS).flat_map(|partition| {
                let seen = self.seen.range((partition, 0)..(partition + 1, 0)).next();
                let begin = seen.map_or(ends[partition], |(_, first)| *first);
                (begin - 1..ends[partition])
                    .filter(move |offset| self::unreadable(partition, *offset))
            });
            assert!(
                *scanned <= matched + not_matched.count() as u64,
                "{:?}, first seen {:?}",
                self.progress,
                self.seen.first(),
            );
        }
        let all: i64 = ends.iter().sum();
        assert!(
            *matched + *unreadable <= *scanned && (zombies || *scanned <= all as u64),
            "{:?} of {all}",
            self.progress
        );
    }
}

fn never_less(before: &Status, after: &Status) -> bool {
    let numbers = |status: &Status| match status {
        Status::Progress {
            scanned,
            matched,
            delivered,
            left_out,
            unreadable,
            ..
        } => [*scanned, *matched, *delivered, left_out.slow, *unreadable],
        _ => unreachable!("progress only"),
    };
    numbers(before)
        .iter()
        .zip(numbers(after))
        .all(|(before, after)| *before <= after)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_comes_twice_and_nothing_owed_is_missing(
        steps in prop::collection::vec(step(), 1..160),
    ) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.rest();
        for viewer in &world.viewers {
            viewer.check(&world.ends, world.zombies, world.reread);
        }
    }
}
