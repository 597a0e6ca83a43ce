//! What a database would hold, and one transaction's work on it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::catalogue::Seen;
use crate::rules::{Entry, Lease, MAX_REMOVALS, Outcome, Plan, REMOVALS_KEPT_FOR, must_reload};
use crate::{
    HandlerRow, ProcessId, QueryId, Revision, SEEN_WITHIN, SinkTrouble, Snapshot, Standing,
    StandingName, WorkerRow,
};

#[derive(Debug, Clone)]
pub(crate) struct Store {
    /// Microseconds since 1970 when it was made, and tokio's time then.
    pub(super) began: (u64, Instant),
    pub(super) revision: Revision,
    pub(super) entries: BTreeMap<QueryId, Entry>,
    pub(super) removals: BTreeMap<QueryId, (Revision, Instant)>,
    pub(super) removed_through: Revision,
    pub(super) leases: BTreeMap<ProcessId, StoredLease>,
    pub(super) standing: BTreeMap<StandingName, Standing>,
    pub(super) workers: BTreeMap<ProcessId, Worker>,
    pub(super) handlers: BTreeMap<ProcessId, (HandlerRow, Instant)>,
    pub(super) partition_counts: BTreeMap<String, i32>,
    pub(super) seen: Seen,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct StoredLease {
    pub(super) lease: Duration,
    pub(super) continuous_since: Instant,
    pub(super) renewed_at: Instant,
}

impl StoredLease {
    pub(super) fn judged(&self, handler: ProcessId, now: Instant) -> Lease {
        Lease {
            handler,
            lease: self.lease,
            renewed_ago: now - self.renewed_at,
            continuous_for: now - self.continuous_since,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Worker {
    pub(super) row: WorkerRow,
    pub(super) seen_at: Instant,
    pub(super) standing_rates: Vec<(QueryId, f64)>,
    pub(super) sink_troubles: Vec<SinkTrouble>,
    pub(super) type_rates: Vec<(String, f64)>,
}

impl Store {
    pub(super) fn new() -> Store {
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Store {
            began: (
                u64::try_from(since_1970.as_micros()).unwrap_or(0),
                Instant::now(),
            ),
            revision: 0,
            entries: BTreeMap::new(),
            removals: BTreeMap::new(),
            removed_through: 0,
            leases: BTreeMap::new(),
            standing: BTreeMap::new(),
            workers: BTreeMap::new(),
            handlers: BTreeMap::new(),
            partition_counts: BTreeMap::new(),
            seen: Seen::default(),
        }
    }

    pub(super) fn plan(&self, ids: impl IntoIterator<Item = QueryId>) -> Plan {
        Plan::new(
            ids.into_iter()
                .filter_map(|id| Some((id, self.entries.get(&id)?.clone())))
                .collect(),
        )
    }

    pub(super) fn write(&mut self, plan: Plan) -> Outcome {
        let now = Instant::now();
        if plan.changes_rows() {
            let (micros, at) = self.began;
            let clock = micros + u64::try_from((now - at).as_micros()).unwrap_or(0);
            self.revision = clock.max(self.revision + 1);
        }
        let outcome = plan.outcome(self.revision);
        for (id, entry) in &outcome.entries {
            self.entries.insert(*id, entry.clone());
            self.removals.remove(id);
        }
        for id in &outcome.removed {
            self.entries.remove(id);
            self.removals.insert(*id, (self.revision, now));
        }
        if !outcome.removed.is_empty() {
            self.prune(now);
        }
        outcome
    }

    pub(super) fn prune(&mut self, now: Instant) {
        let mut revisions: Vec<Revision> = self
            .removals
            .values()
            .map(|(revision, _)| *revision)
            .collect();
        revisions.sort_unstable();
        let beyond = revisions
            .len()
            .checked_sub(MAX_REMOVALS + 1)
            .map_or(0, |index| revisions[index]);
        let through = &mut self.removed_through;
        self.removals.retain(|_, (revision, at)| {
            let keep = *revision > beyond && now - *at <= REMOVALS_KEPT_FOR;
            if !keep {
                *through = (*through).max(*revision);
            }
            keep
        });
    }

    pub(super) fn served_by(&self, handler: ProcessId) -> Vec<QueryId> {
        let uses = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.uses.contains_key(&handler));
        uses.map(|(id, _)| *id).collect()
    }

    /// Ends a handler's lease and all its uses.
    pub(super) fn release_all(&mut self, handler: ProcessId) {
        let ids = self.served_by(handler);
        let mut plan = self.plan(ids.iter().copied());
        ids.iter().for_each(|id| plan.release(handler, *id));
        self.write(plan);
        self.leases.remove(&handler);
    }

    pub(super) fn snapshot(&self, since: Option<Revision>) -> Snapshot {
        let complete = must_reload(since, self.removed_through, self.revision);
        let after = since.filter(|_| !complete).unwrap_or(0);
        let queries = self
            .entries
            .values()
            .filter_map(|entry| entry.query.as_ref());
        Snapshot {
            revision: self.revision,
            complete,
            queries: queries
                .filter(|query| complete || query.revision > after)
                .cloned()
                .collect(),
            removed: self
                .removals
                .iter()
                .filter(|(_, (at, _))| *at > after)
                .map(|(id, _)| *id)
                .collect(),
        }
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.workers
            .values()
            .filter(|worker| worker.seen_at.elapsed() < SEEN_WITHIN)
    }
}
