//! Kafka for the demo: somebody's, or one inside this process.

use anyhow::Context as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::{FILTERED_TOPIC, LANES, SOURCE_PARTITIONS, SOURCE_TOPIC};
use crate::kafka::Cluster;

/// A broker to use, which lives as long as this value if it is the demo's own.
pub(super) struct Broker {
    cluster: Cluster,
    /// librdkafka's broker for tests. It keeps about 5 MB of a partition, and the newest.
    own: Option<MockCluster<'static, DefaultProducerContext>>,
}

impl Broker {
    /// Uses the brokers that are given, or starts one.
    ///
    /// # Errors
    /// When its own cannot be started.
    pub(super) fn start(
        given: Option<String>,
        settings: Vec<(String, String)>,
    ) -> anyhow::Result<Broker> {
        if let Some(brokers) = given {
            let cluster = Cluster { brokers, settings };
            return Ok(Broker { cluster, own: None });
        }
        let own = MockCluster::new(1).context("starting a broker")?;
        // It knows no request to create topics.
        for (topic, partitions) in [(SOURCE_TOPIC, SOURCE_PARTITIONS), (FILTERED_TOPIC, LANES)] {
            own.create_topic(topic, partitions, 1)
                .with_context(|| format!("creating topic `{topic}`"))?;
        }
        let settings = [
            // It answers a fetch that finds nothing only when its time is over, whatever comes meanwhile.
            ("fetch.wait.max.ms", "20"),
            // It walks through all batches it keeps at every fetch: few are quicker.
            ("linger.ms", "40"),
        ];
        let cluster = Cluster {
            brokers: own.bootstrap_servers(),
            settings: settings
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .to_vec(),
        };
        Ok(Broker {
            cluster,
            own: Some(own),
        })
    }

    /// How to reach it.
    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Whether it is one that was there before and stays.
    pub(super) fn is_real(&self) -> bool {
        self.own.is_none()
    }
}
