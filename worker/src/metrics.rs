//! What the worker counts of itself.

use std::sync::atomic::AtomicU64;

use clickstream_engine::Unreadable;
use clickstream_registry::SinkRefusal;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

type Seconds = Counter<f64, AtomicU64>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reason {
    reason: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct State {
    state: &'static str,
}

/// A source partition; as many as there are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct TopicPartition {
    pub(crate) topic: String,
    pub(crate) partition: i32,
}

/// Clones count into the same metrics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) records: Counter,
    unreadable: Family<Reason, Counter>,
    pub(crate) matches: Counter,
    left_out: Family<Reason, Counter>,
    pub(crate) lost: Counter,
    pub(crate) busy: Seconds,
    pub(crate) lag: Family<TopicPartition, Gauge>,
    partitions: Family<State, Gauge>,
    pub(crate) queries: Gauge,
    pub(crate) queries_refused: Gauge,
    pub(crate) revision: Gauge,
    pub(crate) commits: Counter,
    pub(crate) pauses: Counter,
    pub(crate) producers: Counter,
    pub(crate) unacknowledged: Gauge,
    pub(crate) sink_records: Counter,
    sink_dropped: Family<Reason, Counter>,
}

impl Metrics {
    pub(crate) fn new(telemetry: &clickstream_telemetry::Metrics) -> Self {
        let metrics = Self::default();
        let m = &metrics;
        telemetry.register(|registry| {
            registry.register("worker_records", "Source records read", m.records.clone());
            registry.register(
                "worker_unreadable",
                "Source records that are not a JSON object, while there are queries",
                m.unreadable.clone(),
            );
            registry.register("worker_matches", "Matches, one for each event and query", m.matches.clone());
            registry.register(
                "worker_left_out",
                "Matches not written to a lane: over the query's rate, or written without the event as it is too large",
                m.left_out.clone(),
            );
            registry.register(
                "worker_lost_records",
                "Offsets that retention removed before they were read",
                m.lost.clone(),
            );
            registry.register("worker_busy_seconds", "Time not spent waiting for records, all threads", m.busy.clone());
            registry.register("worker_lag_records", "Records to the end of an owned partition", m.lag.clone());
            registry.register("worker_partitions", "Owned partitions", m.partitions.clone());
            registry.register("worker_queries", "Queries that are matched", m.queries.clone());
            registry.register(
                "worker_queries_refused",
                "Registered queries whose filters this version does not understand",
                m.queries_refused.clone(),
            );
            registry.register("worker_revision", "Revision of the registry that all threads run", m.revision.clone());
            registry.register("worker_commits", "Commits of offsets asked for", m.commits.clone());
            registry.register(
                "worker_pauses",
                "Times a thread stopped reading because of unacknowledged output",
                m.pauses.clone(),
            );
            registry.register(
                "worker_producers",
                "Producers made, the first and one after each fatal error",
                m.producers.clone(),
            );
            registry.register(
                "worker_unacknowledged_records",
                "Records handed to the producer and not acknowledged yet",
                m.unacknowledged.clone(),
            );
            registry.register("worker_sink_records", "Matches written to sinks and acknowledged", m.sink_records.clone());
            registry.register(
                "worker_sink_dropped",
                "Matches that a sink refused for good, by the reason",
                m.sink_dropped.clone(),
            );
        });
        metrics
    }

    pub(crate) fn unreadable(&self, reason: Unreadable) {
        self.unreadable
            .get_or_create(&Reason {
                reason: reason.as_str(),
            })
            .inc();
    }

    pub(crate) fn left_out(&self, rate: u64, too_large: u64) {
        for (reason, count) in [("rate", rate), ("too-large", too_large)] {
            self.left_out
                .get_or_create(&Reason { reason })
                .inc_by(count);
        }
    }

    pub(crate) fn sink_dropped(&self, why: SinkRefusal) {
        let reason = why.as_str();
        self.sink_dropped.get_or_create(&Reason { reason }).inc();
    }

    /// Changes how many partitions are being read, and how many wait.
    pub(crate) fn partitions(&self, reading: i64, waiting: i64) {
        self.partitions
            .get_or_create(&State { state: "reading" })
            .inc_by(reading);
        self.partitions
            .get_or_create(&State { state: "waiting" })
            .inc_by(waiting);
    }
}
