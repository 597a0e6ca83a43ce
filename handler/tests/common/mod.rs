//! A handler over librdkafka's mock cluster and the registry in memory, and a worker played by the test.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(
    clippy::unwrap_used,
    reason = "a fixture that fails is a test that fails"
)]

use std::{
    net::SocketAddr,
    sync::{Arc, Once},
    time::{Duration, Instant},
};

use clap::Parser as _;
use clickstream_handler::{
    Config,
    args::Args,
    live::{Item, Kind, Live, Outbound, Request, Status, Subscription},
    metrics::Metrics,
};
use clickstream_registry::{MemoryRegistry, Query, QueryId, Registry};
use clickstream_telemetry::{Health, Waiting};
use clickstream_wire as wire;
use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    mocking::MockCluster,
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Nothing takes so long unless it never happens.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const TOPIC: &str = "clickstream-shop";
const LANES: i32 = 2;

/// Kafka and the registry.
pub(crate) struct Bed {
    pub(crate) kafka: MockCluster<'static, DefaultProducerContext>,
    pub(crate) registry: Arc<MemoryRegistry>,
    producer: ThreadedProducer<DefaultProducerContext>,
}

impl Bed {
    pub(crate) fn new() -> Self {
        static LOGS: Once = Once::new();
        LOGS.call_once(clickstream_telemetry::init_logs);
        let kafka = MockCluster::new(1).unwrap();
        kafka.create_topic(TOPIC, LANES, 1).unwrap();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", kafka.bootstrap_servers())
            .set("linger.ms", "0")
            .create()
            .unwrap();
        Self {
            kafka,
            registry: Arc::new(MemoryRegistry::new("shop")),
            producer,
        }
    }

    pub(crate) fn config(&self, more: &[&str]) -> Config {
        let brokers = self.kafka.bootstrap_servers();
        let given = [
            "handler",
            "--brokers",
            &brokers,
            "--pipeline",
            "shop",
            "--database-url",
            "none",
        ];
        Args::parse_from(given.iter().chain(more)).config().unwrap()
    }

    pub(crate) async fn live(&self, more: &[&str]) -> Live {
        let metrics = Metrics::new(&clickstream_telemetry::Metrics::new());
        let health = Health::new(&[Waiting::Kafka]);
        let registry = Arc::clone(&self.registry) as Arc<dyn Registry>;
        let live = Live::start(self.config(more).live, registry, metrics, health.clone()).unwrap();
        tokio::time::timeout(PATIENCE, health.ready())
            .await
            .unwrap();
        live
    }

    pub(crate) async fn server(&self, more: &[&str]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cancel = CancellationToken::new();
        let registry = Arc::clone(&self.registry) as Arc<dyn Registry>;
        let run = clickstream_handler::run(self.config(more), registry, listener, cancel.clone());
        let server = Server {
            address,
            cancel,
            task: tokio::spawn(run),
        };
        until("ready", async || {
            server.get("/readyz").await.status() == 200
        })
        .await;
        server
    }

    /// The queries in the registry.
    pub(crate) async fn queries(&self) -> Vec<Query> {
        self.registry
            .feed()
            .await
            .unwrap()
            .read(None)
            .await
            .unwrap()
            .queries
    }

    /// States a range of `events/0` on a lane, as its owner.
    pub(crate) fn state(&self, lane: u32, revision: u64, range: wire::Range) {
        let topic = wire::TopicPartitions {
            topic: "events".into(),
            partitions: 1,
            ..Default::default()
        };
        let progress = wire::Progress {
            revision,
            lanes: LANES as u32,
            topics: vec![topic],
            ranges: vec![wire::Range {
                topic: "events".into(),
                epoch: range.epoch.max(1),
                time_ms: 1_000,
                ..range
            }],
            ..wire::Progress::default()
        };
        self.send(lane, wire::PROGRESS_KEY, None, &progress.encode());
    }

    /// Sends a match of a record of `events/0`.
    pub(crate) fn matched(&self, query: &Query, offset: i64, epoch: u32, event: &str) {
        let source = wire::Source {
            topic: "events".into(),
            incarnation: [0; 16],
            partition: 0,
            offset,
            timestamp_ms: 1_767_225_600_000 + offset,
        };
        let record = wire::Match {
            source,
            epoch,
            queries: vec![query.id].into(),
            flags: wire::Flags::default(),
        };
        let mut header = Vec::new();
        record.encode(&mut header);
        self.send(
            query.lane,
            &query.id.to_string(),
            Some(&header),
            event.as_bytes(),
        );
    }

    /// Sends any record.
    pub(crate) fn send(&self, lane: u32, key: &str, header: Option<&[u8]>, value: &[u8]) {
        let mut record = BaseRecord::to(TOPIC)
            .partition(lane as i32)
            .key(key)
            .payload(value);
        if let Some(value) = header {
            let header = Header {
                key: wire::HEADER,
                value: Some(value),
            };
            record = record.headers(OwnedHeaders::new().insert(header));
        }
        self.producer.send(record).map_err(|(err, _)| err).unwrap();
        self.producer.flush(PATIENCE).unwrap();
    }
}

/// A running handler.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) cancel: CancellationToken,
    pub(crate) task: JoinHandle<anyhow::Result<()>>,
}

impl Server {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        client().get(self.url(path)).send().await.unwrap()
    }

    pub(crate) async fn stop(self) {
        self.cancel.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

pub(crate) fn client() -> reqwest::Client {
    static RUSTLS: Once = Once::new();
    RUSTLS.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder()
        .timeout(PATIENCE)
        .build()
        .unwrap()
}

/// A viewer on [`Live`] itself.
pub(crate) struct Viewer {
    pub(crate) subscription: Option<Subscription>,
    outbound: Arc<Outbound>,
    waiting: Vec<Item>,
}

impl Viewer {
    /// Subscribes; the first item has been checked to be `registered`.
    pub(crate) async fn subscribe(live: &Live, request: Request) -> Self {
        let outbound = live.outbound();
        let subscription = live
            .subscribe(request, Arc::clone(&outbound), 1)
            .await
            .unwrap();
        let mut viewer = Self {
            subscription: Some(subscription),
            outbound,
            waiting: Vec::new(),
        };
        let first = viewer.next().await;
        assert!(
            matches!(first, Kind::Status(Status::Registered { .. })),
            "{first:?}"
        );
        viewer
    }

    pub(crate) async fn next(&mut self) -> Kind {
        while self.waiting.is_empty() {
            let next = self.outbound.next(&mut self.waiting);
            tokio::time::timeout(PATIENCE, next)
                .await
                .expect("something is told");
        }
        self.waiting.remove(0).kind
    }

    /// The next item that is not the progress of each second.
    pub(crate) async fn told(&mut self) -> Kind {
        loop {
            match self.next().await {
                Kind::Status(Status::Progress { .. }) => {}
                kind => return kind,
            }
        }
    }

    /// The next event's body.
    pub(crate) async fn event(&mut self) -> String {
        match self.told().await {
            Kind::Event(event) => String::from_utf8(event.body.to_vec()).unwrap(),
            Kind::Status(status) => panic!("told {status:?}"),
        }
    }

    /// The status with this name, after others.
    pub(crate) async fn status(&mut self, name: &str) -> Status {
        loop {
            if let Kind::Status(status) = self.next().await
                && status.name() == name
            {
                return status;
            }
        }
    }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "not {what} in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn filter(text: &str) -> Request {
    Request {
        filter: Some(text.to_owned()),
        ..Request::default()
    }
}

pub(crate) fn added(query: &Query, first: i64) -> wire::Range {
    wire::Range {
        begin: first,
        end: first,
        added: vec![(query.id, first)],
        ..wire::Range::default()
    }
}

pub(crate) fn counts(id: QueryId, matched: u64, left_out: u64) -> Vec<wire::QueryCounts> {
    vec![wire::QueryCounts {
        id,
        matched,
        left_out,
    }]
}
