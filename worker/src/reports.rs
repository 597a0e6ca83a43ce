//! What the worker tells the registry of itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use clickstream_registry::{ProcessId, QueryId, Registry, RegistryError, WorkerRow};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::debug;

use crate::catalogue::Sampler;
use crate::metrics::Metrics;
use crate::queries::QuerySet;
use crate::topics::Topics;

const LOOK_EVERY: Duration = Duration::from_millis(250);
const ROW_EVERY: Duration = Duration::from_secs(5);
const CATALOGUE_EVERY: Duration = Duration::from_secs(10);
/// From the first record to the first catalogue: who opens the page of a new pipeline is not left without event types.
const FIRST_CATALOGUE_AFTER: Duration = Duration::from_secs(2);
const RATES_EVERY: Duration = Duration::from_secs(30);

/// What one thread says of itself.
#[derive(Debug, Default)]
pub(crate) struct MemberStatus {
    /// The revision it runs.
    pub(crate) revision: AtomicU64,
    /// Partitions it reads.
    pub(crate) partitions: AtomicU32,
    /// It has its first share of the partitions, if only none, and reads it.
    pub(crate) settled: AtomicBool,
}

/// Writes the worker's row, standing queries' rates and the catalogue.
pub(crate) struct Reports {
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) worker: ProcessId,
    pub(crate) members: Vec<Arc<MemberStatus>>,
    pub(crate) topics: watch::Receiver<Topics>,
    pub(crate) sets: watch::Receiver<Arc<QuerySet>>,
    pub(crate) sampler: Arc<Sampler>,
    pub(crate) metrics: Metrics,
}

impl Reports {
    /// Runs for ever. A report that fails is made again at the next turn; that the registry is away is told by the
    /// follower.
    pub(crate) async fn run(self) {
        let mut told: Option<(WorkerRow, Instant)> = None;
        let mut catalogue_at = Instant::now();
        let mut catalogue_after = FIRST_CATALOGUE_AFTER;
        let mut records = self.metrics.records.get();
        let mut rates_at = Instant::now();
        let mut counts: HashMap<QueryId, u64> = HashMap::new();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let row = self.row();
            self.metrics
                .revision
                .set(i64::try_from(row.revision).unwrap_or(i64::MAX));
            if told.is_none_or(|(last, at)| last != row || at.elapsed() >= ROW_EVERY) {
                if !written(self.registry.report_worker(&row).await) {
                    continue;
                }
                told = Some((row, Instant::now()));
            }
            let now = self.metrics.records.get();
            if now == 0 {
                catalogue_at = Instant::now();
            }
            if catalogue_at.elapsed() >= catalogue_after {
                let seconds = catalogue_at.elapsed().as_secs_f64();
                if let Some(catalogue) = self.sampler.report(now - records, seconds) {
                    catalogue_after = CATALOGUE_EVERY;
                    written(
                        self.registry
                            .report_catalogue(self.worker, &catalogue)
                            .await,
                    );
                }
                (records, catalogue_at) = (now, Instant::now());
            }
            if rates_at.elapsed() >= RATES_EVERY {
                let seconds = rates_at.elapsed().as_secs_f64();
                let now: HashMap<QueryId, u64> = self.sets.borrow().standing().collect();
                let rate = |(id, count): (&QueryId, &u64)| {
                    let before = counts.get(id).copied().unwrap_or_default();
                    (*id, count.saturating_sub(before) as f64 / seconds)
                };
                let rates: Vec<(QueryId, f64)> = now.iter().map(rate).collect();
                if !rates.is_empty() || !counts.is_empty() {
                    written(
                        self.registry
                            .report_standing_rates(self.worker, &rates)
                            .await,
                    );
                }
                (counts, rates_at) = (now, Instant::now());
            }
        }
    }

    fn row(&self) -> WorkerRow {
        let members = self.members.iter();
        WorkerRow {
            id: self.worker,
            revision: members
                .clone()
                .map(|member| member.revision.load(Ordering::Relaxed))
                .min()
                .unwrap_or_default(),
            lanes: self.topics.borrow().lanes,
            partitions: members
                .map(|member| member.partitions.load(Ordering::Relaxed))
                .sum(),
        }
    }
}

fn written(outcome: Result<(), RegistryError>) -> bool {
    outcome
        .inspect_err(|error| {
            debug!(
                error = error as &dyn std::error::Error,
                "a report was not written"
            )
        })
        .is_ok()
}
