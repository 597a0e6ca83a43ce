//! What the operator counts. Labels come from fixed sets.

use std::time::Instant;

use clickstream_telemetry::Metrics as Telemetry;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The operator's metrics; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    reconciles: Family<Reconcile, Counter>,
    requests: Family<Request, Counter>,
    leader: Gauge,
    watches: Watches,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reconcile {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    verb: &'static str,
    kind: &'static str,
    code: u16,
}

/// When each kind's watch was last begun or renewed. A healthy one is renewed within its time-out.
#[derive(Clone, Debug, Default)]
pub struct Watches(Arc<Mutex<BTreeMap<&'static str, Instant>>>);

impl Watches {
    /// The kind's watch was begun or renewed.
    pub fn begun(&self, kind: &'static str) {
        self.0.lock().insert(kind, Instant::now());
    }

    /// Seconds since each kind's watch was begun or renewed.
    #[must_use]
    pub fn ages(&self) -> Vec<(&'static str, f64)> {
        let ages = self.0.lock();
        ages.iter()
            .map(|(kind, begun)| (*kind, begun.elapsed().as_secs_f64()))
            .collect()
    }
}

impl Collector for Watches {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let mut family = encoder.encode_descriptor(
            "operator_watch_age_seconds",
            "Time since the watch of a kind was begun or renewed",
            None,
            MetricType::Gauge,
        )?;
        for (kind, age) in self.ages() {
            ConstGauge::new(age).encode(family.encode_family(&[("kind", kind)])?)?;
        }
        Ok(())
    }
}

impl Metrics {
    /// Registers them.
    #[must_use]
    pub fn new(telemetry: &Telemetry) -> Metrics {
        let metrics = Metrics {
            reconciles: Family::default(),
            requests: Family::default(),
            leader: Gauge::default(),
            watches: Watches::default(),
        };
        telemetry.register(|registry| {
            registry.register(
                "operator_reconciles",
                "Looks at an object, by kind and outcome",
                metrics.reconciles.clone(),
            );
            registry.register(
                "operator_kube_requests",
                "Requests to the Kubernetes API",
                metrics.requests.clone(),
            );
            registry.register(
                "operator_leader",
                "1 while this operator works, 0 while it stands by",
                metrics.leader.clone(),
            );
            registry.register_collector(Box::new(metrics.watches.clone()));
        });
        metrics
    }

    pub(crate) fn reconciled(&self, kind: &'static str, result: &'static str) {
        self.reconciles
            .get_or_create(&Reconcile { kind, result })
            .inc();
    }

    pub(crate) fn requested(&self, verb: &'static str, kind: &'static str, code: u16) {
        self.requests
            .get_or_create(&Request { verb, kind, code })
            .inc();
    }

    pub(crate) fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// When watches were last begun.
    #[must_use]
    pub fn watches(&self) -> &Watches {
        &self.watches
    }
}
