use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// The program's metrics, in the text form of OpenMetrics. Clones share one registry.
///
/// Names have the form `worker_records_total` (the library adds `_total` to counters);
/// labels come from fixed sets, never from ids or error texts.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    /// An empty registry.
    pub fn new() -> Metrics {
        Metrics::default()
    }

    /// Adds metrics; called once by each part at its start.
    pub fn register<T>(&self, add: impl FnOnce(&mut Registry) -> T) -> T {
        add(&mut self.registry.lock())
    }

    /// The body of `/metrics`.
    pub fn encode(&self) -> String {
        let mut body = String::new();
        match text::encode(&mut body, &self.registry.lock()) {
            Ok(()) => body,
            // Writing to a `String` fails only if a metric's own encoder does.
            Err(error) => {
                tracing::error!(%error, "metrics could not be encoded");
                String::from("# EOF\n")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn registered_metrics_are_encoded() {
        let metrics = Metrics::new();
        let records = metrics.register(|registry| {
            let records = Counter::<u64>::default();
            registry.register("worker_records", "Records read", records.clone());
            records
        });
        records.inc_by(3);
        assert!(metrics.encode().contains("worker_records_total 3\n"));
    }
}
