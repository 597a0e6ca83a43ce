//! What workers state, and how it is counted for each query.

use std::collections::{HashMap, HashSet};

use clickstream_registry::QueryId;
use clickstream_wire::{Progress, Range};

use super::{
    super::{
        GapRange, GapReason, Status,
        lane::{Accepted, PartitionId, QueryCount, Scanned},
        subscription::{Member, Now},
    },
    Hub,
};

impl Hub {
    /// A worker's statement.
    pub(crate) fn progress(&mut self, lane_number: u32, progress: &Progress, now: Now) {
        let lane = self.lanes.entry(lane_number).or_default();
        let recreated = lane.expect(&mut self.sources, progress.revision, &progress.topics);
        for range in &progress.ranges {
            self.range(lane_number, progress.revision, range);
        }
        for topic in recreated {
            let ranges = progress.ranges.iter();
            let ranges = ranges.filter(|range| range.topic == topic && range.begin > 0);
            let missed = ranges
                .map(|range| gap_range(range, 0, range.begin))
                .collect();
            self.tell_gap(lane_number, GapReason::Recreated, missed);
        }
        let Some(lane) = self.lanes.get(&lane_number) else {
            return;
        };
        let groups = self
            .groups
            .values_mut()
            .filter(|group| group.lane == lane_number);
        for group in groups {
            let Some(revision) = group.revision else {
                continue;
            };
            for member in group.members.iter_mut().filter(|member| !member.is_live()) {
                member.settle(lane, revision, now);
            }
        }
    }

    fn range(&mut self, lane_number: u32, revision: u64, range: &Range) {
        let sequence = self.number();
        let at = self
            .sources
            .id(&range.topic, range.incarnation, range.partition);
        let Some(lane) = self.lanes.get_mut(&lane_number) else {
            return;
        };
        let Some(accepted) = lane.state(at, revision, range, sequence) else {
            return;
        };
        self.count(lane_number, at, revision, range, &accepted);
        if let Some((from, to)) = accepted.torn {
            self.tell_gap(
                lane_number,
                GapReason::Overload,
                vec![gap_range(range, from, to)],
            );
        }
        if let Some((from, to)) = range.lost {
            self.tell_gap(
                lane_number,
                GapReason::Retention,
                vec![gap_range(range, from, to)],
            );
        }
        self.cover(lane_number, at, revision, range, &accepted);
    }

    /// Adds a range's counts to the groups of its lane.
    fn count(
        &mut self,
        lane: u32,
        at: PartitionId,
        revision: u64,
        range: &Range,
        accepted: &Accepted,
    ) {
        let Some(lane_state) = self.lanes.get_mut(&lane) else {
            return;
        };
        let stated: HashMap<QueryId, (u64, u64)> = range
            .queries
            .iter()
            .map(|of| (of.id, (of.matched, of.left_out)))
            .collect();
        let added: HashSet<QueryId> = range.added.iter().map(|(query, _)| *query).collect();
        let mut withdrawn: HashMap<QueryId, Vec<&QueryCount>> = HashMap::new();
        for count in &accepted.withdrawn {
            withdrawn.entry(count.id).or_default().push(count);
        }
        let (mut unstated, mut counted) = (Vec::new(), Vec::new());
        let groups = self.groups.iter_mut();
        for (id, group) in groups.filter(|(_, group)| group.lane == lane) {
            // Whether the query was matched in the range at all.
            let known = group
                .known_since
                .map(|since| since <= revision && !added.contains(id));
            if let Some(end) = accepted.taken_over_at.filter(|_| known != Some(false)) {
                for count in withdrawn.get(id).into_iter().flatten() {
                    group.withdraw(at, count, end);
                }
                let matched = group.count_unstated(at, range.begin);
                unstated.extend((matched > 0).then(|| group.receipt(at, *id, matched)));
            }
            if known == Some(true) {
                group.known(at, range, accepted);
            }
            let mut counts = stated.get(id).copied().unwrap_or_default();
            if known == Some(false) {
                // What the former owner stated was matched and passed on: it stays counted.
                let first = range.end.max(accepted.taken_over_at.unwrap_or(0));
                group.begin(at, range.epoch, first);
                counts = (0, 0);
            }
            let missed = group.missed(at, range, counts, accepted);
            let matched = group.count(at, range, counts, accepted);
            counted.extend((matched > 0).then(|| group.receipt(at, *id, matched)));
            let Some(revision) = group.revision else {
                continue;
            };
            // A query that is not listed was matched from the range's begin on.
            let scanned = if added.contains(id) {
                Scanned::default()
            } else {
                accepted.scanned
            };
            let members = group.members.iter_mut();
            for member in members.filter(|member| !member.is_settled()) {
                member.partition_stated(at, lane_state, revision, range, scanned, missed);
            }
        }
        if let Some(end) = accepted.taken_over_at {
            lane_state.keep(at, end, unstated);
        }
        lane_state.keep(at, range.begin, counted);
    }

    /// Finds queries that were live and then not matched for a while: a new owner did not know them yet, or
    /// the registry had lost them. Once they are matched again, their viewers are told from where to where.
    fn cover(
        &mut self,
        lane: u32,
        at: PartitionId,
        revision: u64,
        range: &Range,
        accepted: &Accepted,
    ) {
        let before = accepted.taken_over_at.unwrap_or(range.begin);
        let groups = self
            .groups
            .iter_mut()
            .filter(|(_, group)| group.lane == lane);
        for (query, group) in groups {
            // While it is registered again, no statement can speak of it.
            let Some(registered) = group.revision else {
                continue;
            };
            if revision < registered {
                if group.members.iter().any(Member::is_live) {
                    group.outage.entry(at).or_insert(before);
                }
                continue;
            }
            let since = group.outage.remove(&at).unwrap_or(before);
            let added = range.added.iter().find(|(added, _)| added == query);
            let Some((_, first)) = added.filter(|(_, first)| since < *first) else {
                continue;
            };
            for member in group.members.iter().filter(|member| member.is_live()) {
                let ranges = vec![gap_range(range, since, *first)];
                member.tell(Status::Gap {
                    reason: GapReason::Outage,
                    ranges,
                });
            }
        }
    }
}

fn gap_range(range: &Range, from: i64, to: i64) -> GapRange {
    GapRange {
        topic: range.topic.clone(),
        partition: range.partition,
        from,
        to,
    }
}
