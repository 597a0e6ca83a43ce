//! Keeps the registry in step with what this handler serves.
//!
//! One task makes all changes, in order, over time: what a moment brings is gathered into one transaction.
//! What is to be written is read from the [`Hub`] when it is written, so it is never stale.
//!
//! # Guarantees
//! - Whatever failed is made good by stating the whole set, until that succeeds.
//! - A query that is missing in the registry although it is served is registered again, and its viewers
//!   are told the gap.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use clickstream_registry::{
    Change, ProcessId, QueryId, RENEWALS_PER_LEASE, Registry, RegistryError, Served, State, Wanted,
};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot, watch},
    time::{Instant, sleep, sleep_until},
};
use tracing::{info, warn};

use super::hub::Hub;

/// How long changes are gathered: far below what a viewer notices, well above what a burst takes to arrive.
const GATHER: Duration = Duration::from_millis(3);
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// How the rest of the handler asks for a change. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Registrar(Arc<Requests>);

#[derive(Debug, Default)]
struct Requests {
    pending: Mutex<Pending>,
    came: Notify,
}

/// What is to be done next. Bounded by the queries and requests there are.
#[derive(Debug, Default)]
struct Pending {
    changed: HashSet<QueryId>,
    waiting: Vec<(QueryId, oneshot::Sender<Served>)>,
}

impl Registrar {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// The use of a query has changed; it is written soon.
    pub(crate) fn changed(&self, query: QueryId) {
        self.0.pending.lock().changed.insert(query);
        self.0.came.notify_one();
    }

    /// Writes the use of a query and waits until the registry has it. Waits for as long as the registry is away.
    pub(crate) async fn serve(&self, query: QueryId) -> Served {
        let (sender, answer) = oneshot::channel();
        {
            let mut pending = self.0.pending.lock();
            pending.changed.insert(query);
            pending.waiting.push((query, sender));
        }
        self.0.came.notify_one();
        match answer.await {
            Ok(served) => served,
            // The task has ended with the handler.
            Err(_) => std::future::pending().await,
        }
    }
}

/// The task.
pub(crate) struct Task {
    pub(crate) registrar: Registrar,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) handler: ProcessId,
    pub(crate) lease: Duration,
    pub(crate) hub: Arc<Mutex<Hub>>,
    pub(crate) state: watch::Receiver<Arc<State>>,
    /// Told true once the first lease is taken.
    pub(crate) leased: watch::Sender<bool>,
}

impl Task {
    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            let stated_at = self.state_all().await;
            self.leased.send_replace(true);
            self.follow(stated_at).await;
        }
    }

    /// States the whole set until that succeeds; gives [`State::loads`] from before.
    async fn state_all(&mut self) -> u64 {
        let mut retry = FIRST_RETRY;
        loop {
            let loads = self.state.borrow_and_update().loads;
            match self.renew().await {
                Ok(()) => return loads,
                Err(err) => {
                    warn!(error = %chain(&err), "the served queries cannot be registered yet");
                    sleep(retry.min(self.lease / 4)).await;
                    retry = (retry * 2).min(LAST_RETRY);
                }
            }
        }
    }

    /// Writes changes as they come and renews the lease, until something fails or must be stated anew.
    async fn follow(&mut self, stated_at: u64) {
        let period = self.lease / RENEWALS_PER_LEASE;
        let mut renewal = Instant::now() + period;
        let requests = Arc::clone(&self.registrar.0);
        loop {
            let outcome = tokio::select! {
                () = requests.came.notified() => {
                    sleep(GATHER).await;
                    self.apply().await
                }
                () = sleep_until(renewal) => {
                    renewal = Instant::now() + period;
                    self.renew().await
                }
                changed = self.state.changed() => {
                    if changed.is_err() {
                        // The follower ends with the handler, and so does this task.
                        return std::future::pending().await;
                    }
                    if self.check(stated_at) {
                        return;
                    }
                    Ok(())
                }
            };
            if let Err(err) = outcome {
                warn!(error = %chain(&err), "the registry did not take a change; stating everything again");
                return;
            }
        }
    }

    /// Writes what has changed.
    async fn apply(&self) -> Result<(), RegistryError> {
        let Pending { changed, waiting } = std::mem::take(&mut *self.registrar.0.pending.lock());
        let changed: Vec<QueryId> = changed.into_iter().collect();
        let changes: Vec<Change> = {
            let hub = self.hub.lock();
            let change = |query: &QueryId| {
                hub.wanted(*query)
                    .map_or(Change::Release(*query), Change::Serve)
            };
            changed.iter().map(change).collect()
        };
        if changes.is_empty() {
            return Ok(());
        }
        let applied = self.registry.apply(self.handler, &changes).await;
        match applied {
            Ok(served) => {
                let released = changed.iter().zip(&changes);
                let released = released.filter(|(_, change)| matches!(change, Change::Release(_)));
                self.settle(&served, released.map(|(query, _)| *query), waiting);
                Ok(())
            }
            Err(err) => {
                // Nothing is forgotten: the whole set is stated next, and it answers those who wait.
                self.registrar.0.pending.lock().waiting.extend(waiting);
                Err(err)
            }
        }
    }

    /// States the whole set, which also extends the lease.
    async fn renew(&self) -> Result<(), RegistryError> {
        let Pending {
            changed: _,
            waiting,
        } = std::mem::take(&mut *self.registrar.0.pending.lock());
        let (serves, unused): (Vec<Wanted>, Vec<QueryId>) = {
            let hub = self.hub.lock();
            let queries = hub.queries();
            let unused = queries
                .iter()
                .copied()
                .filter(|query| hub.wanted(*query).is_none());
            (
                queries
                    .iter()
                    .filter_map(|query| hub.wanted(*query))
                    .collect(),
                unused.collect(),
            )
        };
        match self.registry.renew(self.handler, &serves, self.lease).await {
            Ok(renewed) => {
                if !renewed.swept.is_empty() {
                    info!(
                        handlers = renewed.swept.len(),
                        "removed what handlers that are gone had served"
                    );
                }
                self.settle(&renewed.served, unused.into_iter(), waiting);
                Ok(())
            }
            Err(err) => {
                self.registrar.0.pending.lock().waiting.extend(waiting);
                Err(err)
            }
        }
    }

    /// Tells the hub and those who wait what the registry has now.
    fn settle(
        &self,
        served: &[Served],
        released: impl Iterator<Item = QueryId>,
        waiting: Vec<(QueryId, oneshot::Sender<Served>)>,
    ) {
        let mut hub = self.hub.lock();
        for served in served {
            hub.served(*served);
        }
        for query in released {
            hub.released(query);
        }
        drop(hub);
        let served: HashMap<QueryId, Served> =
            served.iter().map(|served| (served.id, *served)).collect();
        for (query, waiting) in waiting {
            // No answer: whoever waited has given up, or nothing would be released.
            if let Some(served) = served.get(&query) {
                let _ = waiting.send(*served);
            }
        }
    }

    /// Compares what is served with what the registry was read to hold. True: state everything again.
    fn check(&mut self, stated_at: u64) -> bool {
        let state = Arc::clone(&self.state.borrow_and_update());
        let Some(revision) = state.revision else {
            return false;
        };
        let mut hub = self.hub.lock();
        let mut missing = 0;
        for query in hub.queries() {
            // What was read before the query was placed says nothing about it.
            let Some((lane, placed)) = hub.placed(query) else {
                continue;
            };
            if revision < placed || hub.wanted(query).is_none() {
                continue;
            }
            match state.queries.get(&query) {
                None => {
                    hub.outage(query);
                    missing += 1;
                }
                // Somebody else registered it anew, elsewhere.
                Some(row) if row.lane != lane && row.revision > placed => {
                    hub.served(Served {
                        id: query,
                        lane: row.lane,
                        revision: row.revision,
                    });
                }
                Some(_) => {}
            }
        }
        if missing > 0 {
            warn!(
                missing,
                "served queries are missing in the registry; registering them again"
            );
        }
        missing > 0 || state.loads > stated_at
    }
}

/// An error with its causes.
pub(crate) fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
