//! The workers of the model.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use clickstream_wire::{Progress, QueryCounts, Range, TopicPartitions};

use super::{LANES, LIMITED, PARTITIONS, World, id, lane_of, matches, unreadable};

#[derive(Debug, Clone)]
pub(super) enum Record {
    Match {
        partition: usize,
        offset: i64,
        epoch: u32,
        queries: Vec<usize>,
    },
    Progress(Progress),
    /// Not sent: everything before it was acknowledged on this lane up to this boundary.
    Boundary(i64),
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counted {
    pub(super) matched: u64,
    pub(super) left_out: u64,
}

/// What a worker knows of a lane that is in use.
#[derive(Debug, Default)]
pub(super) struct WorkerLane {
    pub(super) stated: i64,
    pub(super) scanned: u64,
    pub(super) unreadable: u64,
    pub(super) counts: BTreeMap<usize, Counted>,
}

/// One ownership of one partition.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) partition: usize,
    pub(super) epoch: u32,
    pub(super) position: i64,
    pub(super) revision: u64,
    pub(super) known: BTreeSet<usize>,
    pub(super) lanes: BTreeMap<usize, WorkerLane>,
    pub(super) out: [VecDeque<Record>; LANES],
    /// Offset of each boundary, and on which lanes it is acknowledged.
    pub(super) boundaries: VecDeque<(i64, HashSet<usize>)>,
    pub(super) owns: bool,
}

impl World {
    pub(super) fn take_over(&mut self, partition: usize, zombie: bool) {
        for worker in &mut self.workers {
            worker.owns &= worker.partition != partition;
        }
        self.zombies |= zombie;
        if !zombie {
            self.workers.retain(|worker| worker.partition != partition);
        }
        self.epochs[partition] += 1;
        let position = self.committed[partition];
        let known: BTreeSet<usize> = self.registered.keys().copied().collect();
        let lane = |query: &usize| {
            (
                lane_of(*query),
                WorkerLane {
                    stated: position,
                    ..WorkerLane::default()
                },
            )
        };
        self.workers.push(Worker {
            partition,
            epoch: self.epochs[partition],
            position,
            revision: self.revision,
            lanes: known.iter().map(lane).collect(),
            known,
            out: Default::default(),
            boundaries: VecDeque::new(),
            owns: true,
        });
    }

    pub(super) fn read_source(&mut self, worker: usize, count: u8, mut left_out: u8) {
        let Some(worker) = self.workers.get_mut(worker) else {
            return;
        };
        for _ in 0..count {
            if worker.position >= self.ends[worker.partition] {
                return;
            }
            let offset = worker.position;
            worker.position += 1;
            for (number, lane) in &mut worker.lanes {
                lane.scanned += 1;
                lane.unreadable += u64::from(unreadable(worker.partition, offset));
                let mut queries = Vec::new();
                for query in worker
                    .known
                    .iter()
                    .filter(|query| lane_of(**query) == *number)
                {
                    if !matches(*query, worker.partition, offset) {
                        continue;
                    }
                    left_out = left_out.rotate_left(1);
                    let left_out = *query == LIMITED && left_out & 1 == 1;
                    let counted = lane.counts.entry(*query).or_default();
                    counted.matched += 1;
                    counted.left_out += u64::from(left_out);
                    if !left_out {
                        queries.push(*query);
                    }
                }
                if !queries.is_empty() {
                    let (partition, epoch) = (worker.partition, worker.epoch);
                    worker.out[*number].push_back(Record::Match {
                        partition,
                        offset,
                        epoch,
                        queries,
                    });
                }
            }
        }
    }

    /// States what changed lanes counted, then runs the registry's present set.
    pub(super) fn learn(&mut self, worker: usize) {
        let Some(worker) = self.workers.get_mut(worker) else {
            return;
        };
        let wanted: BTreeSet<usize> = self.registered.keys().copied().collect();
        worker.revision = self.revision;
        for lane in 0..LANES {
            let of_lane = |set: &BTreeSet<usize>| -> BTreeSet<usize> {
                set.iter()
                    .copied()
                    .filter(|query| lane_of(*query) == lane)
                    .collect()
            };
            let (before, after) = (of_lane(&worker.known), of_lane(&wanted));
            // A query registered anew has a new revision, but the worker matched it all the time.
            if before == after
                && !after
                    .iter()
                    .any(|query| self.registered[query] > worker.revision)
            {
                continue;
            }
            let added: Vec<usize> = after.difference(&before).copied().collect();
            let position = worker.position;
            worker.lanes.entry(lane).or_insert(WorkerLane {
                stated: position,
                ..WorkerLane::default()
            });
            worker.state(lane, &added);
            if after.is_empty() {
                worker.lanes.remove(&lane);
            }
        }
        worker.known = wanted;
    }

    /// A statement on all lanes in use, at one offset.
    pub(super) fn state(&mut self, worker: usize) {
        let Some(worker) = self.workers.get_mut(worker) else {
            return;
        };
        let lanes: Vec<usize> = worker.lanes.keys().copied().collect();
        for lane in &lanes {
            worker.state(*lane, &[]);
        }
        for lane in 0..LANES {
            worker.out[lane].push_back(Record::Boundary(worker.position));
        }
        worker
            .boundaries
            .push_back((worker.position, HashSet::new()));
    }

    pub(super) fn flush(&mut self, worker: usize, lane: usize, count: usize) {
        let Some(worker) = self.workers.get_mut(worker) else {
            return;
        };
        for _ in 0..count {
            match worker.out[lane].pop_front() {
                Some(Record::Boundary(offset)) => {
                    // Several boundaries may lie at one offset; the first that misses this lane gets it.
                    let boundary = worker
                        .boundaries
                        .iter_mut()
                        .find(|(at, acked)| *at == offset && !acked.contains(&lane));
                    if let Some((_, acked)) = boundary {
                        acked.insert(lane);
                    }
                }
                Some(record) => self.lanes[lane].push(record),
                None => return,
            }
        }
    }

    pub(super) fn commit(&mut self, worker: usize) {
        let Some(worker) = self.workers.get_mut(worker).filter(|worker| worker.owns) else {
            return;
        };
        while let Some((offset, _)) = worker
            .boundaries
            .pop_front_if(|(_, acked)| acked.len() == LANES)
        {
            self.committed[worker.partition] = offset;
        }
    }
}

impl Worker {
    fn state(&mut self, lane: usize, added: &[usize]) {
        let Some(known) = self.lanes.get_mut(&lane) else {
            return;
        };
        let counts = std::mem::take(&mut known.counts);
        let range = Range {
            topic: "events".into(),
            partition: self.partition as i32,
            epoch: self.epoch,
            begin: std::mem::replace(&mut known.stated, self.position),
            end: self.position,
            time_ms: 1,
            scanned: std::mem::take(&mut known.scanned),
            unreadable: std::mem::take(&mut known.unreadable),
            queries: counts
                .into_iter()
                .map(|(query, Counted { matched, left_out })| QueryCounts {
                    id: id(query),
                    matched,
                    left_out,
                })
                .collect(),
            added: added
                .iter()
                .map(|query| (id(*query), self.position))
                .collect(),
            ..Range::default()
        };
        let topics = vec![TopicPartitions {
            topic: "events".into(),
            incarnation: [0; 16],
            partitions: PARTITIONS as u32,
        }];
        let progress = Progress {
            revision: self.revision,
            lanes: LANES as u32,
            topics,
            ranges: vec![range],
            ..Progress::default()
        };
        self.out[lane].push_back(Record::Progress(progress));
    }
}
