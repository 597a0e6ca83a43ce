//! Tells the registry that this handler is there, and learns from it which lanes workers can write to.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use clickstream_registry::{HandlerRow, ProcessId, Registry, RegistryError, State};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::debug;

use super::hub::Hub;
use crate::metrics::Metrics;

/// A row counts while it is younger than 15 s.
const EVERY: Duration = Duration::from_secs(5);
/// After a change of the revision.
const SOONEST: Duration = Duration::from_millis(250);

/// The task.
pub(crate) struct Presence {
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) handler: ProcessId,
    pub(crate) hub: Arc<Mutex<Hub>>,
    pub(crate) metrics: Metrics,
    pub(crate) state: watch::Receiver<Arc<State>>,
    /// Lanes that every worker can write to; 0 while no worker is known.
    pub(crate) worker_lanes: Arc<AtomicU32>,
}

impl Presence {
    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            if let Err(err) = self.report().await {
                debug!(error = %super::registrar::chain(&err), "presence is not reported");
            }
            sleep(SOONEST).await;
            if let Ok(Err(_)) = timeout(EVERY - SOONEST, self.state.changed()).await {
                return;
            }
        }
    }

    async fn report(&mut self) -> Result<(), RegistryError> {
        let Some(revision) = self.state.borrow_and_update().revision else {
            return Ok(());
        };
        let mut viewers = BTreeMap::new();
        for (_, name, _) in self.hub.lock().standing() {
            *viewers.entry(name).or_insert(0) += 1;
        }
        let row = HandlerRow {
            id: self.handler,
            revision,
            connections: self.metrics.connections(),
            viewers: viewers.into_iter().collect(),
        };
        self.registry.report_handler(&row).await?;
        let workers = self.registry.processes().await?.workers;
        let lanes = workers
            .iter()
            .map(|worker| worker.lanes)
            .filter(|lanes| *lanes > 0)
            .min();
        self.worker_lanes
            .store(lanes.unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }
}
