//! A running handler, and records for it.

use std::{
    borrow::Cow,
    future::Future,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicI64, Ordering},
    },
    thread,
    time::Duration,
};

use clickstream_engine::FieldPath;
use clickstream_handler::{Config, http::origin::Origins, live};
use clickstream_registry::MemoryRegistry;
use clickstream_wire::{Flags, HEADER, Match, QueryId, Source};
use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _},
};
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot, task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

/// Longer than anything takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A handler of this process with a Kafka of its own.
pub(crate) struct Handler {
    pub(crate) url: String,
    pub(crate) cancel: CancellationToken,
    pub(crate) running: Option<JoinHandle<anyhow::Result<()>>>,
    producer: BaseProducer,
    offset: AtomicI64,
}

/// The one that tests share; it ends with the process.
static SHARED: LazyLock<Handler> = LazyLock::new(|| {
    let (send, receive) = oneshot::channel();
    thread::spawn(move || {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let _ = send.send(Handler::start().await);
            std::future::pending::<()>().await;
        });
    });
    receive.blocking_recv().unwrap()
});

impl Handler {
    pub(crate) async fn shared() -> &'static Handler {
        tokio::task::spawn_blocking(|| &*SHARED).await.unwrap()
    }

    pub(crate) async fn start() -> Handler {
        let kafka = MockCluster::<DefaultProducerContext>::new(1).unwrap();
        kafka.create_topic("matches", 1, 1).unwrap();
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", kafka.bootstrap_servers());
        let producer = client.create().unwrap();
        // It is tied to this thread, and may live as long as the process.
        std::mem::forget(kafka);
        let config = Config {
            live: live::Settings {
                kafka: client,
                filtered_topic: "matches".to_owned(),
                event_type_field: FieldPath::parse("type").unwrap(),
                subscription_ttl: Duration::from_secs(3600),
                lease: Duration::from_secs(60),
                resume_window: Duration::from_secs(30),
            },
            source_topics: vec!["events".to_owned()],
            user_field: FieldPath::parse("user_id").unwrap(),
            origins: Origins::parse(["https://app.example.com"]).unwrap(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let registry = Arc::new(MemoryRegistry::new("test"));
        let cancel = CancellationToken::new();
        let running = tokio::spawn(clickstream_handler::run(
            config,
            registry,
            listener,
            cancel.clone(),
        ));
        Handler {
            url,
            cancel,
            running: Some(running),
            producer,
            offset: AtomicI64::new(0),
        }
    }

    /// What a worker sends when `body` matches `query`; returns the source position.
    pub(crate) fn matched(&self, query: &str, body: &str) -> String {
        let offset = self.offset.fetch_add(1, Ordering::Relaxed);
        let query: QueryId = query.parse().unwrap();
        let record = Match {
            source: Source {
                topic: Cow::Borrowed("events"),
                incarnation: [0; 16],
                partition: 3,
                offset,
                timestamp_ms: 1_700_000_000_123,
            },
            epoch: 1,
            queries: Cow::Owned(vec![query]),
            flags: Flags::default(),
        };
        let mut header = Vec::new();
        record.encode(&mut header);
        let header = Header {
            key: HEADER,
            value: Some(&header),
        };
        let record = BaseRecord::to("matches")
            .key("k")
            .payload(body)
            .headers(OwnedHeaders::new().insert(header));
        self.producer.send(record).unwrap();
        self.producer.flush(LIMIT).unwrap();
        format!("events/3/{offset}")
    }
}

/// Waits until `condition` holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let waited = tokio::time::timeout(LIMIT, async {
        while !condition().await {
            sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what} does not come true");
}
