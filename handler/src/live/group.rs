//! The viewers of one query that are in step: one mark per source partition, one set of counts.
//!
//! Pure. Each match record that reaches a group is one of three: *early* (from before the group's first
//! match, read by a new owner that began further back), *repeated* (read again by a new owner), or
//! *passed* on to the members. Ranges count all three, so what they count can be checked against what came.

use std::{collections::HashMap, time::Instant};

use clickstream_wire::{QueryId, Range};

use super::{
    lane::{Accepted, PartitionId, QueryCount},
    subscription::{Earlier, Member},
};

/// A query as this handler serves it.
#[derive(Debug)]
pub(crate) struct Group {
    /// Distinguishes this group from earlier ones of the same query.
    pub(crate) serial: u64,
    /// Position in the order of all that this handler read.
    pub(crate) created: u64,
    pub(crate) tenant: String,
    pub(crate) filter: String,
    /// Where the registry put the query; a proposal until `revision` is known.
    pub(crate) lane: u32,
    /// Of the registry's row; none until the registry has answered.
    pub(crate) revision: Option<u64>,
    /// From which revision on every worker knows the query.
    pub(crate) known_since: Option<u64>,
    marks: HashMap<PartitionId, Mark>,
    counts: Counts,
    pub(crate) members: Vec<Member>,
    /// Requests that wait for the registry's answer: ticket and rate.
    pub(crate) waiting: Vec<(u64, Option<u32>)>,
    /// Viewers whose connection broke, until when the query is kept for each.
    pub(crate) lingering: Vec<Instant>,
    /// The rate asked for by whoever left last.
    pub(crate) last_limit: Option<u32>,
    /// Since the registry lost the query: from which source offset on it may not have been matched.
    pub(crate) outage: HashMap<PartitionId, i64>,
}

/// Viewers kept in the resume window, beyond which the earliest go.
const MAX_LINGERING: usize = 1_000;

/// How far a group is on one source partition.
#[derive(Debug)]
struct Mark {
    /// Where the query begins: its first match passed on, or where an owner began to match it.
    first: i64,
    /// Grows when `first` moves: what was counted before stays counted.
    beginning: u32,
    /// Offset of the last match passed on; -1 before the first.
    last: i64,
    /// Epoch of the counters below.
    epoch: u32,
    /// Records that came since the last statement of that epoch.
    came: i64,
    /// Of these, early ones.
    early: i64,
    /// Offsets of the repeated ones. Few: an owner reads again what its predecessor had not committed.
    repeated: Vec<i64>,
    /// Offsets passed on since the last statement of any epoch, ascending. A worker states each second.
    passed: Vec<i64>,
    /// Matches withdrawn and not yet counted again; they come back until a range reaches `withdrawn_to`.
    withdrawn: i64,
    withdrawn_to: i64,
}

/// Cumulative; the difference of two is what happened in between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Matches in all ranges stated.
    pub(crate) matched: i64,
    /// Matches passed on up to the last statements.
    pub(crate) passed: i64,
    /// Workers may withhold matches, because of the query's limit.
    pub(crate) limited: bool,
}

impl Counts {
    /// Matches since `start`. Those passed on count even if a worker that is gone had withheld them before.
    pub(crate) fn matched_since(&self, start: &Self) -> i64 {
        (self.matched - start.matched).max(self.passed - start.passed)
    }

    /// Matches that came to nobody because workers withheld them. What is missing of a query without a limit
    /// is no such match, and not hidden among them.
    pub(crate) fn withheld_since(&self, start: &Self) -> i64 {
        let missing = (self.matched - self.passed) - (start.matched - start.passed);
        if self.limited { missing.max(0) } else { 0 }
    }
}

impl Group {
    pub(crate) fn new(serial: u64, created: u64, tenant: &str, filter: &str, lane: u32) -> Self {
        Self {
            serial,
            created,
            tenant: tenant.to_owned(),
            filter: filter.to_owned(),
            lane,
            revision: None,
            known_since: None,
            marks: HashMap::new(),
            counts: Counts::default(),
            members: Vec::new(),
            waiting: Vec::new(),
            lingering: Vec::new(),
            last_limit: None,
            outage: HashMap::new(),
        }
    }

    /// Whether a match at `offset` is to be passed on. `counted_before`: matches below it are part of
    /// counts that stay even when the partition is read again from further back.
    pub(crate) fn offer(
        &mut self,
        at: PartitionId,
        epoch: u32,
        offset: i64,
        counted_before: i64,
    ) -> bool {
        let mark = self
            .marks
            .entry(at)
            .or_insert_with(|| Mark::new(offset, epoch));
        mark.reach(epoch);
        mark.came += 1;
        if offset < mark.first || offset < counted_before {
            mark.early += 1;
            return false;
        }
        let pass = offset > mark.last;
        if pass {
            mark.last = offset;
            mark.passed.push(offset);
        } else {
            mark.repeated.push(offset);
        }
        pass
    }

    /// The partition's owner does not match the query below `first`. What was passed on there is counted now,
    /// for good; should a later owner begin further back, what it finds there is no longer the query's.
    pub(crate) fn begin(&mut self, at: PartitionId, epoch: u32, first: i64) {
        let mark = self
            .marks
            .entry(at)
            .or_insert_with(|| Mark::new(first, epoch));
        let passed = mark.take_passed(first);
        self.counts.passed += passed;
        self.counts.matched += passed;
        mark.first = mark.first.max(first);
        mark.beginning += 1;
    }

    /// The query was matched in all of a range: it begins there, at the latest.
    pub(crate) fn known(&mut self, at: PartitionId, range: &Range, accepted: &Accepted) {
        let whole = self.saw_previous(accepted);
        let first = if whole { range.begin } else { range.end };
        let mark = || Mark::new(first, range.epoch);
        self.marks.entry(at).or_insert_with(mark);
    }

    /// Whether the group was there before the range began.
    fn saw_previous(&self, accepted: &Accepted) -> bool {
        accepted
            .previous
            .is_some_and(|previous| previous > self.created)
    }

    /// Matches passed on since the last statement, below `end`: when a new owner begins there, no range
    /// will ever count them. Counts them; returns what was added to `matched`.
    pub(crate) fn count_unstated(&mut self, at: PartitionId, end: i64) -> i64 {
        let Some(mark) = self.marks.get_mut(&at) else {
            return 0;
        };
        let matched = mark.take_passed(end);
        self.counts.passed += matched;
        self.counts.matched += matched;
        matched
    }

    /// Whether all that a range counts came to the group.
    fn saw_all(&self, accepted: &Accepted) -> bool {
        accepted.complete && self.saw_previous(accepted)
    }

    /// The part of a range before the group's first match, if there were matches in it. To be asked before the
    /// range is counted.
    pub(crate) fn missed(
        &self,
        at: PartitionId,
        range: &Range,
        (matched, left_out): (u64, u64),
        accepted: &Accepted,
    ) -> Option<Earlier> {
        let mark = self.marks.get(&at).filter(|_| !self.saw_all(accepted))?;
        let came = if mark.epoch == range.epoch {
            mark.came
        } else {
            0
        };
        let sent = i64::try_from(matched.saturating_sub(left_out)).unwrap_or(i64::MAX);
        (sent > came).then_some(Earlier {
            begin: range.begin,
            end: mark.first,
            matched: sent - came,
        })
    }

    /// Counts a range: how many of the query's matches it says there were, and how many of them left out.
    /// Returns what was added to `matched`.
    pub(crate) fn count(
        &mut self,
        at: PartitionId,
        range: &Range,
        (matched, left_out): (u64, u64),
        accepted: &Accepted,
    ) -> i64 {
        let (mut came, mut early) = (0, 0);
        if let Some(mark) = self.marks.get_mut(&at) {
            mark.reach(range.epoch);
            // What a former owner sent from `end` on will be in a range to come.
            self.counts.passed += mark.take_passed(range.end);
            came = std::mem::take(&mut mark.came);
            early = std::mem::take(&mut mark.early);
            let counted = mark.repeated.iter();
            let counted = counted.filter(|offset| **offset < accepted.counted_before);
            early += i64::try_from(counted.count()).unwrap_or(i64::MAX);
            mark.repeated.clear();
        }
        let left_out = i64::try_from(left_out).unwrap_or(i64::MAX);
        let mut matched = i64::try_from(matched).unwrap_or(i64::MAX);
        if !self.saw_all(accepted) {
            // Part of the range was before this handler read the lane, or before this group.
            matched = matched.min(came.saturating_add(left_out));
        }
        matched = (matched - early).max(0);
        if let Some(mark) = self.marks.get_mut(&at) {
            mark.withdrawn = if range.end < mark.withdrawn_to {
                (mark.withdrawn - matched).max(0)
            } else {
                0
            };
        }
        self.counts.limited |= left_out > 0 || self.limit().is_some();
        self.counts.matched = self.counts.matched.saturating_add(matched);
        matched
    }

    /// Takes back what a range up to `end` had added: a new owner reads it again.
    pub(crate) fn withdraw(&mut self, at: PartitionId, count: &QueryCount, end: i64) {
        let Some(mark) = self.marks.get_mut(&at) else {
            return;
        };
        if count.serial == self.serial && count.beginning == mark.beginning {
            self.counts.matched -= count.matched;
            mark.withdrawn += count.matched;
            mark.withdrawn_to = end;
        }
    }

    /// How to take `matched` back later.
    pub(crate) fn receipt(&self, at: PartitionId, id: QueryId, matched: i64) -> QueryCount {
        QueryCount {
            id,
            serial: self.serial,
            beginning: self.marks.get(&at).map_or(0, |mark| mark.beginning),
            matched,
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Where a member that joins now starts counting: what was passed on is behind it, although ranges are
    /// yet to count it, for the first time or again.
    pub(crate) fn start(&self) -> Counts {
        let mut start = self.counts;
        for mark in self.marks.values() {
            let open = i64::try_from(mark.passed.len()).unwrap_or(i64::MAX);
            start.passed += open;
            start.matched += open + mark.withdrawn;
        }
        start
    }

    /// What was passed on since the last statements.
    pub(crate) fn unstated(&self) -> impl Iterator<Item = (PartitionId, Earlier)> {
        self.marks.iter().filter_map(|(at, mark)| {
            let earlier = Earlier {
                begin: i64::MIN,
                end: mark.passed.last()? + 1,
                matched: i64::try_from(mark.passed.len()).unwrap_or(i64::MAX),
            };
            Some((*at, earlier))
        })
    }

    /// The largest rate anybody needs; none is no limit and beats all.
    pub(crate) fn limit(&self) -> Option<u32> {
        let members = self.members.iter().map(Member::rate);
        let limits = members.chain(self.waiting.iter().map(|(_, rate)| *rate));
        let largest = limits.reduce(|a, b| Some(a?.max(b?)));
        largest.unwrap_or(self.last_limit)
    }

    /// Viewers, those in the resume window among them.
    pub(crate) fn subscribers(&self) -> usize {
        self.members.len() + self.waiting.len() + self.lingering.len()
    }

    /// Keeps the query for a viewer whose connection broke.
    pub(crate) fn linger(&mut self, until: Instant) {
        if self.lingering.len() >= MAX_LINGERING {
            self.lingering.remove(0);
        }
        self.lingering.push(until);
    }
}

impl Mark {
    fn new(first: i64, epoch: u32) -> Self {
        Self {
            first,
            beginning: 0,
            last: -1,
            epoch,
            came: 0,
            early: 0,
            repeated: Vec::new(),
            passed: Vec::new(),
            withdrawn: 0,
            withdrawn_to: 0,
        }
    }

    /// Forgets the offsets passed on below `end`; says how many they are.
    fn take_passed(&mut self, end: i64) -> i64 {
        let below = self.passed.partition_point(|offset| *offset < end);
        self.passed.drain(..below);
        i64::try_from(below).unwrap_or(i64::MAX)
    }

    fn reach(&mut self, epoch: u32) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.came = 0;
            self.early = 0;
            self.repeated.clear();
        }
    }
}
