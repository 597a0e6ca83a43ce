//! The registry inside one process: the same rules without a database, for the demo and for tests.

mod store;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use self::store::{Store, StoredLease, Worker};
use crate::catalogue;
use crate::presence::FORGOTTEN_AFTER;
use crate::query::check_topics;
use crate::rules::{Entry, Lease, check_changes, check_lease, continues, expired};
use crate::standing::{Batch, Rows};
use crate::{
    Catalogue, Change, Feed, HandlerRow, Listed, ProcessId, Processes, QueryId, Registry,
    RegistryError, Renewed, Revision, SEEN_WITHIN, Served, SinkTrouble, Snapshot, Standing,
    StandingChange, StandingChanged, StandingName, Wanted, WorkerRow,
};

/// A registry that lives in this process; clones share it.
///
/// Its clock is tokio's: a test that pauses tokio's time owns it.
#[derive(Debug, Clone)]
pub struct MemoryRegistry {
    pipeline: Arc<str>,
    store: Arc<Mutex<Store>>,
    signal: watch::Sender<Signal>,
}

/// What feeds wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Signal {
    revision: Revision,
    available: bool,
    /// How often it became unavailable: breaks the feeds opened before.
    outages: u64,
}

impl MemoryRegistry {
    /// An empty one.
    #[must_use]
    pub fn new(pipeline: &str) -> MemoryRegistry {
        MemoryRegistry {
            pipeline: pipeline.into(),
            store: Arc::new(Mutex::new(Store::new())),
            signal: watch::Sender::new(Signal {
                revision: 0,
                available: true,
                outages: 0,
            }),
        }
    }

    /// Plays a database that goes away (feeds break, every call fails) and comes back with all it had.
    pub fn set_available(&self, available: bool) {
        self.signal.send_modify(|signal| {
            signal.outages += u64::from(signal.available && !available);
            signal.available = available;
        });
    }

    /// What a standby has copied.
    #[cfg(test)]
    pub(crate) fn checkpoint(&self) -> Store {
        self.store.lock().clone()
    }

    /// The standby takes over: what came later is lost. Feeds are told nothing.
    #[cfg(test)]
    pub(crate) fn restore(&self, standby: &Store) {
        *self.store.lock() = standby.clone();
    }

    fn check_available(&self) -> Result<(), RegistryError> {
        if self.signal.borrow().available {
            Ok(())
        } else {
            Err(RegistryError::unavailable("it was made unavailable"))
        }
    }

    /// One transaction.
    fn with<T>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        self.check_available()?;
        let mut store = self.store.lock();
        let done = work(&mut store)?;
        let revision = store.revision;
        // Inside the lock, so that revisions are told in their order.
        self.signal.send_if_modified(|signal| {
            std::mem::replace(&mut signal.revision, revision) != revision
        });
        Ok(done)
    }
}

#[async_trait]
impl Registry for MemoryRegistry {
    fn pipeline(&self) -> &str {
        &self.pipeline
    }

    async fn ready(&self) -> Result<(), RegistryError> {
        self.check_available()
    }

    async fn apply(
        &self,
        handler: ProcessId,
        changes: &[Change],
    ) -> Result<Vec<Served>, RegistryError> {
        let ids = check_changes(&self.pipeline, changes)?;
        self.with(|store| {
            if !store.leases.contains_key(&handler) {
                return Err(RegistryError::NoLease);
            }
            let mut plan = store.plan(ids.iter().copied());
            plan.apply(handler, &ids, changes);
            Ok(store.write(plan).served_of(&ids, changes))
        })
    }

    async fn renew(
        &self,
        handler: ProcessId,
        serves: &[Wanted],
        lease: Duration,
    ) -> Result<Renewed, RegistryError> {
        check_lease(lease)?;
        let changes: Vec<Change> = serves.iter().cloned().map(Change::Serve).collect();
        let ids = check_changes(&self.pipeline, &changes)?;
        self.with(|store| {
            let now = Instant::now();
            let leases: Vec<Lease> = store
                .leases
                .iter()
                .map(|(id, stored)| stored.judged(*id, now))
                .collect();
            let own = leases.iter().find(|lease| lease.handler == handler);
            let continuous_since = match store.leases.get(&handler) {
                Some(stored) if continues(own, lease, true) => stored.continuous_since,
                _ => now,
            };
            let swept = expired(handler, lease, now - continuous_since, &leases);
            swept.iter().for_each(|gone| store.release_all(*gone));
            store.leases.insert(
                handler,
                StoredLease {
                    lease,
                    continuous_since,
                    renewed_at: now,
                },
            );

            let stated: HashSet<QueryId> = ids.iter().copied().collect();
            let mut dropped = store.served_by(handler);
            dropped.retain(|id| !stated.contains(id));
            let mut plan = store.plan(ids.iter().chain(&dropped).copied());
            plan.apply(handler, &ids, &changes);
            dropped.iter().for_each(|id| plan.release(handler, *id));
            let served = store.write(plan).served_of(&ids, &changes);
            Ok(Renewed { served, swept })
        })
    }

    async fn leave(&self, handler: ProcessId) -> Result<(), RegistryError> {
        self.with(|store| {
            store.release_all(handler);
            store.handlers.remove(&handler);
            Ok(())
        })
    }

    async fn feed(&self) -> Result<Box<dyn Feed>, RegistryError> {
        self.check_available()?;
        let mut signal = self.signal.subscribe();
        let opened = *signal.borrow_and_update();
        Ok(Box::new(MemoryFeed {
            registry: self.clone(),
            signal,
            opened,
        }))
    }

    async fn list(&self) -> Result<Vec<Listed>, RegistryError> {
        self.with(|store| {
            let mut list: Vec<Listed> = store.entries.values().flat_map(Entry::listed).collect();
            list.sort_by(Listed::order);
            Ok(list)
        })
    }

    async fn change_standing(
        &self,
        changes: &[StandingChange],
    ) -> Result<Vec<Result<StandingChanged, RegistryError>>, RegistryError> {
        let batch = Batch::new(&self.pipeline, changes);
        self.with(|store| {
            let (names, uids) = (batch.names(), batch.uids());
            let rows = store.standing.iter();
            let rows = rows.filter(|(name, row)| names.contains(name) || uids.contains(&*row.uid));
            let rows: Rows = rows
                .map(|(name, row)| (name.clone(), row.clone()))
                .collect();
            store.standing.retain(|name, _| !rows.contains_key(name));
            let mut plan = store.plan(batch.touched(&rows));
            let mut made = batch.make(rows, &mut plan);
            store.standing.append(&mut made.rows);
            Ok(made.changed(&store.write(plan)))
        })
    }

    async fn standing(&self, name: &StandingName) -> Result<Option<Standing>, RegistryError> {
        self.with(|store| Ok(store.standing.get(name).cloned()))
    }

    async fn report_worker(&self, row: &WorkerRow) -> Result<(), RegistryError> {
        self.with(|store| {
            store
                .workers
                .retain(|_, worker| worker.seen_at.elapsed() < FORGOTTEN_AFTER);
            let worker = store.workers.entry(row.id).or_insert_with(|| Worker {
                row: *row,
                seen_at: Instant::now(),
                standing_rates: Vec::new(),
                sink_troubles: Vec::new(),
                type_rates: Vec::new(),
            });
            worker.row = *row;
            worker.seen_at = Instant::now();
            Ok(())
        })
    }

    async fn report_handler(&self, row: &HandlerRow) -> Result<(), RegistryError> {
        row.check()?;
        self.with(|store| {
            store
                .handlers
                .retain(|_, (_, seen_at)| seen_at.elapsed() < FORGOTTEN_AFTER);
            store.handlers.insert(row.id, (row.clone(), Instant::now()));
            Ok(())
        })
    }

    async fn processes(&self) -> Result<Processes, RegistryError> {
        self.with(|store| {
            let handlers = store
                .handlers
                .values()
                .filter(|(_, seen_at)| seen_at.elapsed() < SEEN_WITHIN);
            Ok(Processes {
                workers: store.workers().map(|worker| worker.row).collect(),
                handlers: handlers.map(|(row, _)| row.clone()).collect(),
            })
        })
    }

    async fn report_standing_rates(
        &self,
        worker: ProcessId,
        rates: &[(QueryId, f64)],
    ) -> Result<(), RegistryError> {
        self.with(|store| {
            if let Some(worker) = store.workers.get_mut(&worker) {
                worker.standing_rates = rates.to_vec();
            }
            Ok(())
        })
    }

    async fn standing_rates(&self) -> Result<Vec<(QueryId, f64)>, RegistryError> {
        self.with(|store| {
            let mut sums = BTreeMap::new();
            for (id, rate) in store.workers().flat_map(|worker| &worker.standing_rates) {
                *sums.entry(*id).or_default() += rate;
            }
            Ok(sums.into_iter().collect())
        })
    }

    async fn report_sink_troubles(
        &self,
        worker: ProcessId,
        troubles: &[SinkTrouble],
    ) -> Result<(), RegistryError> {
        troubles.iter().try_for_each(SinkTrouble::check)?;
        self.with(|store| {
            if let Some(worker) = store.workers.get_mut(&worker) {
                worker.sink_troubles = troubles.to_vec();
            }
            Ok(())
        })
    }

    async fn sink_troubles(&self) -> Result<Vec<SinkTrouble>, RegistryError> {
        self.with(|store| {
            let mut sums: BTreeMap<_, u64> = BTreeMap::new();
            for trouble in store.workers().flat_map(|worker| &worker.sink_troubles) {
                let key = (trouble.uid.clone(), trouble.reason);
                let sum = sums.entry(key).or_default();
                *sum = sum.saturating_add(trouble.dropped);
            }
            let trouble = |((uid, reason), dropped)| SinkTrouble {
                uid,
                reason,
                dropped,
            };
            Ok(sums.into_iter().map(trouble).collect())
        })
    }

    async fn partition_counts(
        &self,
        current: &[(String, i32)],
    ) -> Result<Vec<(String, i32)>, RegistryError> {
        check_topics(current)?;
        self.with(|store| {
            let recorded = current.iter().map(|(topic, count)| {
                let recorded = store
                    .partition_counts
                    .entry(topic.clone())
                    .or_insert(*count);
                (topic.clone(), *recorded)
            });
            Ok(recorded.collect())
        })
    }

    async fn report_catalogue(
        &self,
        worker: ProcessId,
        report: &Catalogue,
    ) -> Result<(), RegistryError> {
        self.with(|store| {
            store.seen.merge(report);
            if let Some(worker) = store.workers.get_mut(&worker) {
                worker.type_rates = catalogue::rates(report);
            }
            Ok(())
        })
    }

    async fn catalogue(&self) -> Result<Catalogue, RegistryError> {
        self.with(|store| {
            let rates = store.workers().flat_map(|worker| worker.type_rates.clone());
            Ok(store.seen.clone().with_rates(rates))
        })
    }
}

struct MemoryFeed {
    registry: MemoryRegistry,
    signal: watch::Receiver<Signal>,
    opened: Signal,
}

impl MemoryFeed {
    fn check(&self) -> Result<(), RegistryError> {
        if self.signal.borrow().outages == self.opened.outages {
            Ok(())
        } else {
            Err(RegistryError::unavailable("the feed broke"))
        }
    }
}

#[async_trait]
impl Feed for MemoryFeed {
    async fn read(&mut self, since: Option<Revision>) -> Result<Snapshot, RegistryError> {
        self.check()?;
        self.registry.with(|store| Ok(store.snapshot(since)))
    }

    async fn changed(&mut self) -> Result<Revision, RegistryError> {
        loop {
            self.check()?;
            // The sender lives as long as the registry, which this feed holds.
            self.signal.changed().await.map_err(RegistryError::bug)?;
            self.check()?;
            let revision = self.signal.borrow_and_update().revision;
            if revision != self.opened.revision {
                return Ok(revision);
            }
        }
    }
}
