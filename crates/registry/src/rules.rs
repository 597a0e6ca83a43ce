//! What a change does to the set, and whose lease has run out: pure functions that every implementation uses.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::query::larger;
use crate::{
    Change, Listed, ProcessId, Query, QueryId, RegistryError, Revision, Served, SinkRef, Standing,
    StandingName, StandingRef, Wanted, query_id,
};

/// How often a handler renews within a lease, at least.
pub const RENEWALS_PER_LEASE: u32 = 3;

/// A query with everything that refers to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    /// The row; `None` before and after its life.
    pub(crate) query: Option<Query>,
    pub(crate) uses: BTreeMap<ProcessId, Use>,
    /// The standing queries that are not suspended.
    pub(crate) standing: BTreeMap<StandingName, Reference>,
}

/// How one handler uses a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) subscribers: u32,
    pub(crate) limit: Option<u32>,
}

impl From<&Wanted> for Use {
    fn from(wanted: &Wanted) -> Use {
        Use {
            subscribers: wanted.subscribers,
            limit: wanted.limit,
        }
    }
}

/// How a standing query refers to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) uid: String,
    pub(crate) generation: i64,
    pub(crate) rate: Option<u32>,
    pub(crate) sink: Option<SinkRef>,
}

impl Entry {
    /// The row as its references want it; `None` when there are none. Keeps lane and revision.
    fn wanted(&self) -> Option<Query> {
        let row = self.query.as_ref()?;
        let limits = self
            .uses
            .values()
            .map(|used| used.limit)
            .chain(self.standing.values().map(|by| by.rate));
        let limit = limits.reduce(larger)?;
        let standing = self.standing.iter().map(|(name, by)| StandingRef {
            name: name.clone(),
            uid: by.uid.clone(),
            generation: by.generation,
            sink: by.sink.clone(),
        });
        Some(Query {
            limit,
            watched: self.uses.values().any(|used| used.subscribers > 0),
            standing: standing.collect(),
            ..row.clone()
        })
    }

    /// As rows of the list of queries.
    pub(crate) fn listed(&self) -> Vec<Listed> {
        let Some(query) = &self.query else {
            return Vec::new();
        };
        let subscribers = self
            .uses
            .values()
            .fold(0_u32, |sum, used| sum.saturating_add(used.subscribers));
        query.listed(subscribers)
    }

    /// The row, made with revision 0 if it is not there.
    fn row(&mut self, id: QueryId, tenant: &str, filter: &str, lane: u32) {
        self.query.get_or_insert_with(|| Query {
            id,
            tenant: tenant.to_owned(),
            filter: filter.to_owned(),
            lane,
            limit: None,
            watched: false,
            standing: Vec::new(),
            revision: 0,
        });
    }
}

/// The changes of one transaction, on the queries they touch. Built from these as they are, changed step by step, then
/// written by [`outcome`](Plan::outcome).
#[derive(Debug, Default)]
pub(crate) struct Plan {
    before: BTreeMap<QueryId, Entry>,
    after: BTreeMap<QueryId, Entry>,
}

/// What a transaction writes: only what differs. Ids ascend.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    /// Rows made or changed, with the new revision.
    pub(crate) put: Vec<Query>,
    /// Rows to remove.
    pub(crate) removed: Vec<QueryId>,
    pub(crate) uses_put: Vec<(QueryId, ProcessId, Use)>,
    pub(crate) uses_removed: Vec<(QueryId, ProcessId)>,
    /// The touched queries as they are now, without those that are gone.
    pub(crate) entries: BTreeMap<QueryId, Entry>,
}

impl Plan {
    /// `entries`: the touched queries that have a row.
    pub(crate) fn new(entries: BTreeMap<QueryId, Entry>) -> Plan {
        Plan {
            after: entries.clone(),
            before: entries,
        }
    }

    /// Makes one handler's changes in order; `ids` are theirs.
    pub(crate) fn apply(&mut self, handler: ProcessId, ids: &[QueryId], changes: &[Change]) {
        for (id, change) in ids.iter().zip(changes) {
            match change {
                Change::Serve(wanted) => self.serve(handler, *id, wanted),
                Change::Release(_) => self.release(handler, *id),
            }
        }
    }

    fn serve(&mut self, handler: ProcessId, id: QueryId, wanted: &Wanted) {
        let entry = self.after.entry(id).or_default();
        entry.row(id, &wanted.tenant, &wanted.filter, wanted.lane);
        entry.uses.insert(handler, Use::from(wanted));
    }

    pub(crate) fn release(&mut self, handler: ProcessId, id: QueryId) {
        if let Some(entry) = self.after.get_mut(&id) {
            entry.uses.remove(&handler);
        }
    }

    fn refer(&mut self, id: QueryId, standing: &Standing, lane: u32) {
        let entry = self.after.entry(id).or_default();
        entry.row(id, &standing.tenant, &standing.filter, lane);
        let reference = Reference {
            uid: standing.uid.clone(),
            generation: standing.generation,
            rate: standing.rate,
            sink: standing.sink(),
        };
        entry.standing.insert(standing.name.clone(), reference);
    }

    pub(crate) fn unrefer(&mut self, id: QueryId, name: &StandingName) {
        if let Some(entry) = self.after.get_mut(&id) {
            entry.standing.remove(name);
        }
    }

    /// Moves a standing query from the query it referred to, if any, to the one it asks for.
    pub(crate) fn put_standing(
        &mut self,
        former: Option<QueryId>,
        id: QueryId,
        standing: &Standing,
        lane: u32,
    ) {
        if let Some(former) = former {
            self.unrefer(former, &standing.name);
        }
        if !standing.suspended {
            self.refer(id, standing, lane);
        }
    }

    /// Whether rows change, so that the transaction needs a revision.
    pub(crate) fn changes_rows(&self) -> bool {
        self.after
            .iter()
            .any(|(id, entry)| entry.wanted() != self.row_before(*id).cloned())
    }

    fn row_before(&self, id: QueryId) -> Option<&Query> {
        self.before.get(&id)?.query.as_ref()
    }

    /// What to write; changed rows get `revision`.
    pub(crate) fn outcome(mut self, revision: Revision) -> Outcome {
        let mut outcome = Outcome::default();
        for (id, mut entry) in std::mem::take(&mut self.after) {
            let nothing = Entry::default();
            let before = self.before.get(&id).unwrap_or(&nothing);
            for (handler, used) in &entry.uses {
                if before.uses.get(handler) != Some(used) {
                    outcome.uses_put.push((id, *handler, *used));
                }
            }
            let gone = before
                .uses
                .keys()
                .filter(|handler| !entry.uses.contains_key(handler));
            outcome
                .uses_removed
                .extend(gone.map(|handler| (id, *handler)));

            let wanted = entry.wanted();
            if wanted == before.query {
                entry.query = wanted;
            } else if let Some(query) = wanted {
                let query = Query { revision, ..query };
                outcome.put.push(query.clone());
                entry.query = Some(query);
            } else {
                outcome.removed.push(id);
                entry.query = None;
            }
            if entry.query.is_some() {
                outcome.entries.insert(id, entry);
            }
        }
        outcome
    }
}

impl Outcome {
    /// What a handler serves of `ids`.
    pub(crate) fn served_of(&self, ids: &[QueryId], changes: &[Change]) -> Vec<Served> {
        let serves = ids
            .iter()
            .zip(changes)
            .filter(|(_, change)| matches!(change, Change::Serve(_)));
        serves.filter_map(|(id, _)| self.served(*id)).collect()
    }

    /// The row of a touched query, if it still has one.
    pub(crate) fn served(&self, id: QueryId) -> Option<Served> {
        let query = self.entries.get(&id)?.query.as_ref()?;
        Some(Served {
            id,
            lane: query.lane,
            revision: query.revision,
        })
    }
}

/// A handler's lease, in ages by the database's clock (negative ones, after that clock was set back, count as 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) handler: ProcessId,
    pub(crate) lease: Duration,
    pub(crate) renewed_ago: Duration,
    /// How long it has been renewed without interruption.
    pub(crate) continuous_for: Duration,
}

/// Whether a renewal continues the lease without interruption.
///
/// `same_connection`: over the connection of the handler's previous renewal. And the two are at most half a lease apart:
/// renewals come three to a lease, so a database that stood still for any other handler's whole lease shows as a gap
/// here too, even if the connections survived it (a suspended machine, a frozen handler).
pub(crate) fn continues(own: Option<&Lease>, lease: Duration, same_connection: bool) -> bool {
    own.is_some_and(|own| same_connection && own.renewed_ago <= own.lease.min(lease) / 2)
}

/// The handlers whose leases have run out, as far as one that renews now may judge.
///
/// It must have renewed without interruption for as long as its own lease and as the lease it judges: then the other
/// had all that time to come back after whatever kept it from renewing, if the database was a cause of it.
pub(crate) fn expired(
    me: ProcessId,
    lease: Duration,
    continuous_for: Duration,
    leases: &[Lease],
) -> Vec<ProcessId> {
    leases
        .iter()
        .filter(|other| other.handler != me && other.renewed_ago > other.lease)
        .filter(|other| continuous_for >= lease.max(other.lease))
        .map(|other| other.handler)
        .collect()
}

/// The query of each change, in order; refuses what no registry can take.
pub(crate) fn check_changes(
    pipeline: &str,
    changes: &[Change],
) -> Result<Vec<QueryId>, RegistryError> {
    let id = |change: &Change| match change {
        Change::Serve(wanted) => {
            wanted.check()?;
            Ok(query_id(pipeline, &wanted.tenant, &wanted.filter))
        }
        Change::Release(id) => Ok(*id),
    };
    changes.iter().map(id).collect()
}

pub(crate) fn check_lease(lease: Duration) -> Result<(), RegistryError> {
    if (Duration::from_secs(1)..=Duration::from_secs(24 * 3600)).contains(&lease) {
        Ok(())
    } else {
        Err(RegistryError::Invalid(format!(
            "a lease of `{lease:?}` is not within 1 s and 24 h"
        )))
    }
}

/// How long the record of a removal is kept for readers that follow along.
pub(crate) const REMOVALS_KEPT_FOR: Duration = Duration::from_secs(3600);
/// How many are kept; beyond it a reader that is so far behind reads everything, which is no more work.
pub(crate) const MAX_REMOVALS: usize = 10_000;

/// Whether a reader at `since` must read everything. `removed_through` is the revision of the latest removal whose
/// record is gone; `revision` the registry's own, lower than the reader's after a failover that lost transactions.
pub(crate) fn must_reload(
    since: Option<Revision>,
    removed_through: Revision,
    revision: Revision,
) -> bool {
    since.is_none_or(|since| since < removed_through || since > revision)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::{Entry, Lease, Plan, continues, expired};
    use crate::{ProcessId, QueryId, Served, Wanted, query_id};

    const LEASE: Duration = Duration::from_secs(60);

    fn handler(n: u8) -> ProcessId {
        ProcessId::from_bytes([n; 16])
    }

    fn wanted(subscribers: u32, limit: Option<u32>) -> (QueryId, Wanted) {
        let wanted = Wanted {
            tenant: String::new(),
            filter: "true".into(),
            lane: 3,
            subscribers,
            limit,
        };
        (query_id("p", "", "true"), wanted)
    }

    fn with_uses(uses: &[(u8, u32, Option<u32>)]) -> BTreeMap<QueryId, Entry> {
        let mut plan = Plan::default();
        for (n, subscribers, limit) in uses {
            let (id, wanted) = wanted(*subscribers, *limit);
            plan.serve(handler(*n), id, &wanted);
        }
        plan.outcome(7).entries
    }

    #[test]
    fn row_takes_the_largest_limit_and_none_beats_all() {
        for (uses, limit, watched) in [
            (&[(1, 1, Some(5))][..], Some(5), true),
            (&[(1, 1, Some(5)), (2, 0, Some(9))], Some(9), true),
            (&[(1, 0, Some(5)), (2, 0, None)], None, false),
        ] {
            let entries = with_uses(uses);
            let row = entries.values().next().unwrap().query.as_ref().unwrap();
            assert_eq!((row.limit, row.watched, row.revision), (limit, watched, 7));
        }
    }

    #[test]
    fn same_use_again_writes_nothing() {
        let (id, wanted) = wanted(2, Some(5));
        let mut plan = Plan::new(with_uses(&[(1, 2, Some(5))]));
        plan.serve(handler(1), id, &Wanted { lane: 9, ..wanted });
        assert!(!plan.changes_rows());
        let outcome = plan.outcome(8);
        assert!(
            outcome.put.is_empty() && outcome.uses_put.is_empty() && outcome.removed.is_empty()
        );
        assert_eq!(
            outcome.served(id),
            Some(Served {
                id,
                lane: 3,
                revision: 7
            })
        );
    }

    #[test]
    fn subscriber_more_is_written_without_a_revision() {
        let (id, wanted) = wanted(3, Some(5));
        let mut plan = Plan::new(with_uses(&[(1, 2, Some(5))]));
        plan.serve(handler(1), id, &wanted);
        assert!(!plan.changes_rows());
        assert_eq!(plan.outcome(8).uses_put.len(), 1);
    }

    #[test]
    fn query_goes_with_its_last_use() {
        let (id, _) = wanted(1, None);
        let mut plan = Plan::new(with_uses(&[(1, 1, None), (2, 1, None)]));
        plan.release(handler(1), id);
        assert!(!plan.changes_rows());
        plan.release(handler(2), id);
        assert!(plan.changes_rows());
        let outcome = plan.outcome(8);
        assert_eq!(outcome.removed, [id]);
        assert_eq!(outcome.uses_removed.len(), 2);
    }

    #[test]
    fn query_that_comes_and_goes_in_one_transaction_leaves_no_trace() {
        let (id, wanted) = wanted(1, None);
        let mut plan = Plan::default();
        plan.serve(handler(1), id, &wanted);
        plan.release(handler(1), id);
        assert!(!plan.changes_rows());
        assert_eq!(plan.outcome(8), super::Outcome::default());
    }

    fn lease(n: u8, renewed_ago: u64) -> Lease {
        Lease {
            handler: handler(n),
            lease: LEASE,
            renewed_ago: Duration::from_secs(renewed_ago),
            continuous_for: Duration::from_secs(1_000),
        }
    }

    #[test]
    fn lease_is_judged_only_after_a_whole_lease_of_its_own() {
        let me = handler(1);
        let judged = |continuous_for| {
            expired(
                me,
                LEASE,
                Duration::from_secs(continuous_for),
                &[lease(2, 61)],
            )
        };
        assert!(judged(59).is_empty());
        assert_eq!(judged(60), [handler(2)]);
        assert!(expired(me, LEASE, LEASE, &[lease(2, 60), lease(1, 999)]).is_empty());
    }

    #[test]
    fn longer_lease_is_judged_only_after_as_long() {
        let short = Duration::from_secs(2);
        assert!(expired(handler(1), short, LEASE / 2, &[lease(2, 61)]).is_empty());
        assert_eq!(
            expired(handler(1), short, LEASE, &[lease(2, 61)]),
            [handler(2)]
        );
    }

    #[test]
    fn renewal_after_a_gap_or_on_a_new_connection_begins_anew() {
        assert!(continues(Some(&lease(1, 30)), LEASE, true));
        assert!(!continues(Some(&lease(1, 31)), LEASE, true));
        assert!(!continues(Some(&lease(1, 1)), LEASE, false));
        assert!(!continues(None, LEASE, true));
    }
}
