//! The live set of compiled queries, as the threads use it.
//!
//! A [`QuerySet`] never changes; the [`Compiler`] makes a new one for each state of the registry, sharing what did not
//! change, so that taking the next one over costs a thread a pointer.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clickstream_engine::{Filter, FilterSet};
use clickstream_registry::{Query, QueryId, Revision};
use tracing::error;

use crate::limit::Limit;
use crate::sinks::Sink;

/// A query in use.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: QueryId,
    /// Where matches go; `None` while nobody watches, and for a lane that does not exist (yet).
    pub(crate) lane: Option<u32>,
    pub(crate) limit: Option<Arc<Limit>>,
    /// Matches on all threads since the query came; for standing queries only.
    pub(crate) standing: Option<Arc<AtomicU64>>,
    /// Where else matches go, each for one standing query.
    pub(crate) sinks: Box<[Arc<Sink>]>,
    understood: bool,
    uses_record: bool,
    /// The registry's row. Another pointer is another row.
    query: Arc<Query>,
}

impl Entry {
    /// Counts a match if the query is a standing one.
    pub(crate) fn count(&self) {
        if let Some(standing) = &self.standing {
            standing.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// All queries at one revision. Cheap to share, never changed.
#[derive(Debug, Default)]
pub(crate) struct QuerySet {
    /// The registry has been read.
    pub(crate) loaded: bool,
    /// Of the registry; 0 before the first read.
    pub(crate) revision: Revision,
    /// Number of lanes that can be written to.
    pub(crate) lane_count: u32,
    /// What to match; its keys are indices of `entries`.
    pub(crate) filters: FilterSet,
    /// Some filter looks at the record around the event, so that headers must be gathered.
    pub(crate) uses_record: bool,
    /// Queries whose filter this worker does not understand; they match nothing.
    pub(crate) refused: usize,
    pub(crate) entries: Vec<Option<Arc<Entry>>>,
    /// Lanes in use, with the number of their queries.
    pub(crate) lanes: BTreeMap<u32, usize>,
    /// All sinks of all queries.
    pub(crate) sinks: Vec<Arc<Sink>>,
}

impl QuerySet {
    /// The lanes whose queries differ from those of `former`, each with the queries that are matched for it now and were
    /// not before.
    ///
    /// Every query whose row changed in any way counts: whoever changed it waits for its revision on its lane.
    pub(crate) fn changes(&self, former: &QuerySet) -> BTreeMap<u32, Vec<QueryId>> {
        let mut lanes: BTreeMap<u32, Vec<QueryId>> = BTreeMap::new();
        for key in 0..self.entries.len().max(former.entries.len()) {
            let new = self.entries.get(key).and_then(Option::as_ref);
            let old = former.entries.get(key).and_then(Option::as_ref);
            if let (Some(new), Some(old)) = (new, old)
                && Arc::ptr_eq(new, old)
            {
                continue;
            }
            let place = |entry: &Arc<Entry>| entry.lane.map(|lane| (lane, entry.id));
            let (new, old) = (new.and_then(place), old.and_then(place));
            if let Some((lane, _)) = old {
                lanes.entry(lane).or_default();
            }
            if let Some((lane, id)) = new {
                let added = lanes.entry(lane).or_default();
                if new != old {
                    added.push(id);
                }
            }
        }
        lanes
    }

    /// Queries with their number of matches so far; standing ones only.
    pub(crate) fn standing(&self) -> impl Iterator<Item = (QueryId, u64)> {
        self.entries
            .iter()
            .flatten()
            .filter_map(|entry| Some((entry.id, entry.standing.as_ref()?.load(Ordering::Relaxed))))
    }
}

/// Makes the next [`QuerySet`] from the registry's state.
#[derive(Debug, Default)]
pub(crate) struct Compiler {
    filters: FilterSet,
    entries: Vec<Option<Arc<Entry>>>,
    keys: HashMap<QueryId, u32>,
    free: Vec<u32>,
    /// What the pipeline reads and writes itself: no topic for a sink.
    own_topics: HashSet<String>,
}

impl Compiler {
    /// `own_topics`: what the pipeline reads and writes itself.
    pub(crate) fn new(own_topics: HashSet<String>) -> Self {
        Self {
            own_topics,
            ..Self::default()
        }
    }

    /// The set for `queries`; matches can be written to lanes below `lane_count`.
    pub(crate) fn compile(
        &mut self,
        revision: Revision,
        queries: &HashMap<QueryId, Arc<Query>>,
        lane_count: u32,
    ) -> QuerySet {
        self.keys.retain(|id, key| {
            let stays = queries.contains_key(id);
            if !stays {
                self.filters.remove(*key);
                self.entries[*key as usize] = None;
                self.free.push(*key);
            }
            stays
        });
        for query in queries.values() {
            self.put(query, lane_count);
        }
        let mut lanes = BTreeMap::new();
        for lane in self.entries.iter().flatten().filter_map(|entry| entry.lane) {
            *lanes.entry(lane).or_default() += 1;
        }
        QuerySet {
            loaded: true,
            revision,
            lane_count,
            filters: self.filters.clone(),
            uses_record: self.entries.iter().flatten().any(|entry| entry.uses_record),
            refused: self
                .entries
                .iter()
                .flatten()
                .filter(|entry| !entry.understood)
                .count(),
            entries: self.entries.clone(),
            lanes,
            sinks: self
                .entries
                .iter()
                .flatten()
                .flat_map(|entry| entry.sinks.iter().cloned())
                .collect(),
        }
    }

    fn put(&mut self, query: &Arc<Query>, lane_count: u32) {
        let lane = (query.watched && query.lane < lane_count).then_some(query.lane);
        let known = self.keys.get(&query.id).map(|key| *key as usize);
        let former = known.and_then(|key| self.entries[key].as_deref());
        let is_same = |former: &Entry| Arc::ptr_eq(&former.query, query) && former.lane == lane;
        if former.is_some_and(is_same) {
            return;
        }
        let sinks = self.sinks(query, former);
        let (key, entry) = match (known, former) {
            // The id is that of the filter, which therefore stays.
            (Some(key), Some(former)) => {
                let limit = match &former.limit {
                    Some(limit) if former.query.limit == query.limit => Some(Arc::clone(limit)),
                    _ => query.limit.map(Limit::new).map(Arc::new),
                };
                let standing = (!query.standing.is_empty())
                    .then(|| former.standing.clone().unwrap_or_default());
                let (understood, uses_record) = (former.understood, former.uses_record);
                (
                    key,
                    Entry {
                        id: query.id,
                        lane,
                        limit,
                        standing,
                        sinks,
                        understood,
                        uses_record,
                        query: Arc::clone(query),
                    },
                )
            }
            _ => {
                let key = self.free.pop().unwrap_or_else(|| {
                    self.entries.push(None);
                    // Ids are dense, and memory ends long before they do.
                    (self.entries.len() - 1) as u32
                });
                self.keys.insert(query.id, key);
                let filter = self.parse(query);
                let entry = Entry {
                    id: query.id,
                    lane,
                    limit: query.limit.map(Limit::new).map(Arc::new),
                    standing: (!query.standing.is_empty()).then(Arc::default),
                    sinks,
                    understood: filter.is_some(),
                    uses_record: filter.as_ref().is_some_and(Filter::uses_record),
                    query: Arc::clone(query),
                };
                if let Some(filter) = filter {
                    self.filters.insert(key, filter);
                }
                (key as usize, entry)
            }
        };
        self.entries[key] = Some(Arc::new(entry));
    }

    /// The sinks of a query; those that it had keep their counts.
    fn sinks(&self, query: &Query, former: Option<&Entry>) -> Box<[Arc<Sink>]> {
        let former = former.map_or(&[][..], |former| &former.sinks);
        let loops = |topic: &str| self.own_topics.contains(topic);
        let sink = |by| match former.iter().find(|sink| sink.is_of(by)) {
            Some(same) => Some(Arc::clone(same)),
            None => Sink::new(query.id, by, loops).map(Arc::new),
        };
        query.standing.iter().filter_map(sink).collect()
    }

    /// Handlers check filters before they register them, so what is refused here was written by a newer handler.
    fn parse(&self, query: &Query) -> Option<Filter> {
        Filter::parse(&query.filter)
            .inspect_err(|refusal| {
                error!(
                    query = %query.id,
                    category = refusal.category(),
                    "a registered filter is not understood: this worker is older than the handler that registered it"
                );
            })
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use clickstream_registry::{StandingName, StandingRef};

    use super::*;

    fn row(n: u8, lane: u32, revision: Revision) -> Query {
        Query {
            id: QueryId::from_bytes([n; 16]),
            tenant: String::new(),
            filter: format!("event.n == {n}"),
            lane,
            limit: None,
            watched: true,
            standing: Vec::new(),
            revision,
        }
    }

    fn rows(rows: &[&Arc<Query>]) -> HashMap<QueryId, Arc<Query>> {
        rows.iter().map(|row| (row.id, Arc::clone(row))).collect()
    }

    fn id(n: u8) -> QueryId {
        QueryId::from_bytes([n; 16])
    }

    #[test]
    fn only_lanes_whose_queries_changed_are_named() {
        let mut compiler = Compiler::default();
        let (a, b, c) = (
            Arc::new(row(1, 0, 1)),
            Arc::new(row(2, 1, 1)),
            Arc::new(row(3, 2, 2)),
        );
        let first = compiler.compile(1, &rows(&[&a, &b]), 4);
        assert_eq!(
            first.changes(&QuerySet::default()),
            BTreeMap::from([(0, vec![id(1)]), (1, vec![id(2)])])
        );
        let second = compiler.compile(2, &rows(&[&a, &c]), 4);
        assert_eq!(
            second.changes(&first),
            BTreeMap::from([(1, vec![]), (2, vec![id(3)])])
        );
        assert_eq!(second.lanes, BTreeMap::from([(0, 1), (2, 1)]));
        assert_eq!(second.changes(&second), BTreeMap::new());
        assert_eq!(second.filters.len(), 2);
    }

    #[test]
    fn a_changed_row_changes_its_lane_without_adding_its_query() {
        let mut compiler = Compiler::default();
        let first = compiler.compile(1, &rows(&[&Arc::new(row(1, 0, 1))]), 4);
        let limited = Arc::new(Query {
            limit: Some(5),
            revision: 2,
            ..row(1, 0, 1)
        });
        let second = compiler.compile(2, &rows(&[&limited]), 4);
        assert_eq!(second.changes(&first), BTreeMap::from([(0, vec![])]));
        let relimited = Arc::new(Query {
            limit: Some(5),
            revision: 3,
            ..row(1, 0, 1)
        });
        let third = compiler.compile(3, &rows(&[&relimited]), 4);
        let limit = |set: &QuerySet| set.entries[0].as_ref().unwrap().limit.clone().unwrap();
        assert!(
            Arc::ptr_eq(&limit(&second), &limit(&third)),
            "an equal limit keeps its allowance"
        );
    }

    #[test]
    fn an_unwatched_standing_query_is_matched_and_counted_but_has_no_lane() {
        let mut compiler = Compiler::default();
        let name = StandingName {
            namespace: "shop".into(),
            name: "big".into(),
        };
        let standing = vec![StandingRef {
            name,
            uid: "u".into(),
            generation: 1,
            sink: None,
        }];
        let unwatched = Arc::new(Query {
            watched: false,
            standing,
            ..row(1, 0, 1)
        });
        let first = compiler.compile(1, &rows(&[&unwatched]), 4);
        assert_eq!((first.filters.len(), first.lanes.len()), (1, 0));
        first.entries[0].as_ref().unwrap().count();
        let watched = Arc::new(Query {
            watched: true,
            revision: 2,
            ..Query::clone(&unwatched)
        });
        let second = compiler.compile(2, &rows(&[&watched]), 4);
        assert_eq!(second.changes(&first), BTreeMap::from([(0, vec![id(1)])]));
        assert_eq!(second.standing().collect::<Vec<_>>(), [(id(1), 1)]);
    }

    #[test]
    fn a_lane_is_used_once_it_exists() {
        let mut compiler = Compiler::default();
        let query = Arc::new(row(1, 4, 1));
        let first = compiler.compile(1, &rows(&[&query]), 4);
        assert_eq!(first.lanes, BTreeMap::new());
        let second = compiler.compile(1, &rows(&[&query]), 8);
        assert_eq!(second.changes(&first), BTreeMap::from([(4, vec![id(1)])]));
    }

    #[test]
    fn a_filter_that_is_not_understood_is_counted_and_its_neighbours_work() {
        let mut compiler = Compiler::default();
        let strange = Arc::new(Query {
            filter: "event.n === 1".into(),
            ..row(1, 0, 1)
        });
        let set = compiler.compile(1, &rows(&[&strange, &Arc::new(row(2, 0, 1))]), 4);
        assert_eq!((set.refused, set.filters.len()), (1, 1));
        assert_eq!(compiler.compile(2, &HashMap::new(), 4).refused, 0);
    }
}
