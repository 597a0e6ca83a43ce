//! The viewers of one query that are in step: one mark per source partition, one set of counts.
//!
//! Pure. Each match record that reaches a group is one of three: *early* (from before the group's first
//! match, read by a new owner that began further back), *repeated* (read again by a new owner), or
//! *passed* on to the members. Ranges count all three, so what they count can be checked against what came.

use std::{collections::HashMap, time::Instant};

use super::{lane::PartitionId, subscription::Member};

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
    /// Offset of the first match passed on.
    first: i64,
    /// Offset of the last.
    last: i64,
    /// Epoch of the counters below.
    epoch: u32,
    /// Records that came since the last statement of that epoch.
    came: i64,
    /// Of these, early ones.
    early: i64,
    /// Passed on since the last statement of any epoch.
    passed: i64,
}

/// Cumulative; the difference of two is what happened in between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Matches in all ranges stated.
    pub(crate) matched: i64,
    /// Matches passed on up to the last statements.
    pub(crate) passed: i64,
    /// Matches that workers said they withheld. Includes ranges withdrawn since, so it is an upper bound.
    pub(crate) left_out: i64,
}

impl Counts {
    /// What a member that starts now begins at: matches passed on since the last statement are already
    /// behind it, although no range counts them yet.
    fn with_open(mut self, open: i64) -> Self {
        self.matched += open;
        self.passed += open;
        self
    }

    /// Matches that came to nobody, as far as workers account for them.
    pub(crate) fn withheld_since(&self, start: &Self) -> i64 {
        let missing = (self.matched - self.passed) - (start.matched - start.passed);
        missing.clamp(0, self.left_out - start.left_out)
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
        let mark = self.marks.entry(at).or_insert(Mark {
            first: offset,
            last: -1,
            epoch,
            came: 0,
            early: 0,
            passed: 0,
        });
        mark.reach(epoch);
        mark.came += 1;
        if offset < mark.first || offset < counted_before {
            mark.early += 1;
            return false;
        }
        let pass = offset > mark.last;
        if pass {
            mark.last = offset;
            mark.passed += 1;
        }
        pass
    }

    /// Counts a range. `complete`: all its match records came to this group, unless something was lost.
    /// Returns what was added to `matched`.
    pub(crate) fn count(
        &mut self,
        at: PartitionId,
        epoch: u32,
        matched: u64,
        left_out: u64,
        complete: bool,
    ) -> i64 {
        let (mut came, mut early) = (0, 0);
        if let Some(mark) = self.marks.get_mut(&at) {
            mark.reach(epoch);
            self.counts.passed += std::mem::take(&mut mark.passed);
            came = std::mem::take(&mut mark.came);
            early = std::mem::take(&mut mark.early);
        }
        let left_out = i64::try_from(left_out).unwrap_or(i64::MAX);
        let mut matched = i64::try_from(matched).unwrap_or(i64::MAX);
        if !complete {
            // Part of the range was before this handler read the lane, or before this group.
            matched = matched.min(came.saturating_add(left_out));
        }
        matched = (matched - early).max(0);
        self.counts.left_out = self.counts.left_out.saturating_add(left_out);
        self.counts.matched = self.counts.matched.saturating_add(matched);
        matched
    }

    /// Takes back what a range had added.
    pub(crate) fn withdraw(&mut self, matched: i64) {
        self.counts.matched -= matched;
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Where a member that joins now starts counting.
    pub(crate) fn start(&self) -> Counts {
        self.counts
            .with_open(self.marks.values().map(|mark| mark.passed).sum())
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
    fn reach(&mut self, epoch: u32) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.came = 0;
            self.early = 0;
        }
    }
}
