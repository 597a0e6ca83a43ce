//! What the worker tells the registry of itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use clickstream_registry::{
    ProcessId, QueryId, Registry, RegistryError, SinkRefusal, SinkTrouble, WorkerRow,
};
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
const SINKS_EVERY: Duration = Duration::from_secs(5);
/// A sink that refused nothing for so long is well again.
const SINK_TROUBLE_FOR: Duration = Duration::from_secs(60);

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
        // Some stand in the registry, or may.
        let mut rates_stand = false;
        let mut counts: HashMap<QueryId, u64> = HashMap::new();
        let mut sinks = SinkTroubles::default();
        let mut sinks_at = Instant::now();
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
            if sinks_at.elapsed() >= SINKS_EVERY {
                sinks_at = Instant::now();
                let set = Arc::clone(&self.sets.borrow());
                let refused = set.sinks.iter().flat_map(|sink| sink.refused());
                if let Some(troubles) = sinks.news(refused, sinks_at) {
                    let told = self.registry.report_sink_troubles(self.worker, &troubles);
                    if written(told.await) {
                        sinks.told = troubles;
                    }
                }
            }
            if rates_at.elapsed() >= RATES_EVERY {
                let seconds = rates_at.elapsed().as_secs_f64();
                let now: HashMap<QueryId, u64> = self.sets.borrow().standing().collect();
                let rate = |(id, count): (&QueryId, &u64)| {
                    let before = counts.get(id).copied().unwrap_or_default();
                    (*id, count.saturating_sub(before) as f64 / seconds)
                };
                let rates = now.iter().map(rate).filter(|(_, rate)| *rate > 0.0);
                let rates: Vec<(QueryId, f64)> = rates.collect();
                if rates_stand || !rates.is_empty() {
                    let told = self.registry.report_standing_rates(self.worker, &rates);
                    rates_stand = !written(told.await) || !rates.is_empty();
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

/// What sinks refused lately.
#[derive(Debug, Default)]
struct SinkTroubles {
    /// By uid and reason: how many so far, and when it was first seen that they were so many.
    seen: HashMap<(String, SinkRefusal), (u64, Instant)>,
    /// As it stands in the registry.
    told: Vec<SinkTrouble>,
}

impl SinkTroubles {
    /// What to tell, if it is not what was told. `refused`: uid, reason and count of every sink that refused anything.
    fn news<'a>(
        &mut self,
        refused: impl Iterator<Item = (&'a str, SinkRefusal, u64)>,
        now: Instant,
    ) -> Option<Vec<SinkTrouble>> {
        let before = std::mem::take(&mut self.seen);
        let mut troubles = Vec::new();
        for (uid, reason, count) in refused {
            let key = (uid.to_owned(), reason);
            let seen = before.get(&key).filter(|(before, _)| *before == count);
            let since = seen.map_or(now, |(_, since)| *since);
            if now - since < SINK_TROUBLE_FOR {
                troubles.push(SinkTrouble {
                    uid: uid.to_owned(),
                    reason,
                    dropped: count,
                });
            }
            self.seen.insert(key, (count, since));
        }
        troubles.sort();
        (troubles != self.told).then_some(troubles)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_is_in_trouble_while_it_refuses_and_a_minute_longer() {
        let (mut sinks, start) = (SinkTroubles::default(), Instant::now());
        let mut look = |seconds, refused: &[(&'static str, SinkRefusal, u64)]| {
            let now = start + Duration::from_secs(seconds);
            let news = sinks.news(refused.iter().copied(), now);
            sinks.told = news.clone().unwrap_or(std::mem::take(&mut sinks.told));
            news.map(|troubles| troubles.iter().map(|it| it.dropped).collect::<Vec<_>>())
        };
        let (missing, large) = (SinkRefusal::TopicNotFound, SinkRefusal::TooLarge);
        assert_eq!(look(0, &[]), None);
        assert_eq!(look(5, &[("a", missing, 3)]), Some(vec![3]));
        assert_eq!(look(10, &[("a", missing, 3)]), None);
        let both = [("a", missing, 3), ("a", large, 1)];
        assert_eq!(look(60, &both), Some(vec![3, 1]));
        assert_eq!(look(65, &both), Some(vec![1]));
        assert_eq!(look(70, &[("a", missing, 4)]), Some(vec![4]), "again");
        assert_eq!(look(75, &[]), Some(vec![]), "the sink is gone");
    }
}
