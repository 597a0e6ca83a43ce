//! A reader's copy of the set, and how a snapshot changes it. No I/O, no clock.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::{Category, Query, QueryId, Revision, Snapshot};

/// The set of queries as a [`Follower`](crate::Follower) knows it.
///
/// Cheap to clone: queries are shared, a change copies pointers only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Of the snapshot that was read last; `None` before the first. Lower than before only after a failover that lost
    /// transactions.
    pub revision: Option<Revision>,
    /// The copy is kept in step now. While it is not, the copy stays as it was.
    pub connected: bool,
    /// Why it is not connected, as far as known.
    pub trouble: Option<Category>,
    /// How often everything was read because a connection was new. A handler whose set was stated before this grew
    /// states it again.
    pub loads: u64,
    /// All queries, those kept for their grace among them.
    pub queries: Arc<HashMap<QueryId, Arc<Query>>>,
    /// Queries that vanished without a removal record, and until when they are kept.
    vanished: HashMap<QueryId, Instant>,
}

impl State {
    /// Nothing read yet.
    pub(crate) fn empty() -> State {
        State {
            revision: None,
            connected: false,
            trouble: None,
            loads: 0,
            queries: Arc::default(),
            vanished: HashMap::new(),
        }
    }

    /// The state after reading `snapshot` at `now`.
    ///
    /// A query that a complete snapshot lacks, and of whose removal there is no record, is kept for `grace`: it may have
    /// been lost in a failover, and its handler writes it again. With `None` it goes at once.
    pub(crate) fn merge(
        mut self,
        snapshot: Snapshot,
        now: Instant,
        grace: Option<Duration>,
    ) -> State {
        let known = Arc::make_mut(&mut self.queries);
        let stated: HashSet<QueryId> = snapshot.queries.iter().map(|query| query.id).collect();
        for query in snapshot.queries {
            self.vanished.remove(&query.id);
            // A row that did not change keeps its pointer, so that readers can tell by it.
            match known.get(&query.id) {
                Some(same) if **same == query => {}
                _ => drop(known.insert(query.id, Arc::new(query))),
            }
        }
        for id in snapshot.removed.iter().filter(|id| !stated.contains(id)) {
            known.remove(id);
            self.vanished.remove(id);
        }
        if snapshot.complete {
            match grace {
                Some(grace) => {
                    for id in known.keys().filter(|id| !stated.contains(id)) {
                        self.vanished.entry(*id).or_insert(now + grace);
                    }
                }
                None => known.retain(|id, _| stated.contains(id)),
            }
        }
        self.revision = Some(snapshot.revision);
        self
    }

    /// The state without the queries whose grace is over at `now`.
    pub(crate) fn expire(mut self, now: Instant) -> State {
        let known = Arc::make_mut(&mut self.queries);
        self.vanished.retain(|id, until| {
            let keep = *until > now;
            if !keep {
                known.remove(id);
            }
            keep
        });
        self
    }

    /// When the next grace is over.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.vanished.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::State;
    use crate::{Query, QueryId, Revision, Snapshot};

    const GRACE: Option<Duration> = Some(Duration::from_secs(60));

    fn query(n: u8, revision: Revision) -> Query {
        Query {
            id: QueryId::from_bytes([n; 16]),
            tenant: String::new(),
            filter: format!("event.n == {n}"),
            lane: 0,
            limit: None,
            watched: true,
            standing: vec![],
            revision,
        }
    }

    fn snapshot(
        revision: Revision,
        complete: bool,
        queries: Vec<Query>,
        removed: &[u8],
    ) -> Snapshot {
        let removed = removed
            .iter()
            .map(|n| QueryId::from_bytes([*n; 16]))
            .collect();
        Snapshot {
            revision,
            complete,
            queries,
            removed,
        }
    }

    fn ids(state: &State) -> Vec<u8> {
        let mut ids: Vec<u8> = state.queries.keys().map(|id| id.as_bytes()[0]).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn lost_in_a_failover_is_kept_for_the_grace_and_stays_if_it_comes_back() {
        let now = Instant::now();
        let loaded = snapshot(
            20,
            true,
            vec![query(1, 10), query(2, 15), query(3, 20)],
            &[],
        );
        let state = State::empty().merge(loaded, now, GRACE);
        // The new server never saw 2 and 3.
        let state = state.merge(snapshot(10, true, vec![query(1, 10)], &[]), now, GRACE);
        assert_eq!((state.revision, ids(&state)), (Some(10), vec![1, 2, 3]));
        // Another reload does not prolong it.
        let later = now + Duration::from_secs(30);
        let state = state.merge(snapshot(10, true, vec![query(1, 10)], &[]), later, GRACE);
        let state = state.merge(snapshot(30, false, vec![query(3, 30)], &[]), later, GRACE);
        assert_eq!(state.next_expiry(), Some(now + Duration::from_secs(60)));
        let state = state.expire(now + Duration::from_secs(60));
        assert_eq!((ids(&state), state.next_expiry()), (vec![1, 3], None));
    }

    #[test]
    fn removed_while_away_goes_at_once() {
        let now = Instant::now();
        let state = State::empty().merge(
            snapshot(2, true, vec![query(1, 1), query(2, 2)], &[]),
            now,
            GRACE,
        );
        let state = state.merge(snapshot(3, true, vec![query(1, 1)], &[2]), now, GRACE);
        assert_eq!((ids(&state), state.next_expiry()), (vec![1], None));
    }

    #[test]
    fn without_grace_a_reload_is_the_whole_truth() {
        let now = Instant::now();
        let state = State::empty().merge(
            snapshot(2, true, vec![query(1, 1), query(2, 2)], &[]),
            now,
            None,
        );
        let state = state.merge(snapshot(3, true, vec![query(3, 3)], &[]), now, None);
        assert_eq!(ids(&state), [3]);
    }

    #[test]
    fn unchanged_query_keeps_its_pointer() {
        let now = Instant::now();
        let before = State::empty().merge(snapshot(2, true, vec![query(1, 1)], &[]), now, None);
        let after = before.clone().merge(
            snapshot(3, true, vec![query(1, 1), query(2, 3)], &[]),
            now,
            None,
        );
        let id = QueryId::from_bytes([1; 16]);
        assert!(std::sync::Arc::ptr_eq(
            &before.queries[&id],
            &after.queries[&id]
        ));
    }
}
