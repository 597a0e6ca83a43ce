//! The worker against librdkafka's mock cluster: matches, statements, rebalances, failures, bad records.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser as _;
use clickstream_engine::Filter;
use clickstream_registry::{MemoryRegistry, ProcessId, QueryId, Registry, Wanted};
use clickstream_telemetry::{Health, Metrics, Waiting};
use clickstream_wire::{HEADER, Lane, Progress, decode};
use clickstream_worker::args::Args;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PARTITIONS: i32 = 4;
const LANES: i32 = 2;
/// Generous: nothing here measures time.
const LIMIT: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(600);

/// A broker, its topics and a registry.
struct Pipeline {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: ThreadedProducer<rdkafka::producer::DefaultProducerContext>,
    registry: Arc<MemoryRegistry>,
    handler: ProcessId,
    wanted: Vec<Wanted>,
    sent: usize,
}

impl Pipeline {
    fn start() -> Result<Self> {
        let cluster = MockCluster::new(1)?;
        cluster.create_topic("events", PARTITIONS, 1)?;
        cluster.create_topic("filtered", LANES, 1)?;
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .create()?;
        Ok(Self {
            cluster,
            producer,
            registry: Arc::new(MemoryRegistry::new("test")),
            handler: ProcessId::random(),
            wanted: Vec::new(),
            sent: 0,
        })
    }

    /// Starts a worker and waits until it is ready.
    async fn worker(&self, more: &[&str]) -> Result<Worker> {
        let brokers = self.cluster.bootstrap_servers();
        let options = [
            "clickstream-worker",
            "--brokers",
            &brokers,
            "--source-topic",
            "events",
            "--filtered-topic",
            "filtered",
            "--database-url",
            "postgres://",
            "--consumers",
            "2",
        ];
        let config = Args::try_parse_from(options.iter().chain(more))?.config()?;
        let health = Health::new(&[
            Waiting::Kafka,
            Waiting::FilteredTopic,
            Waiting::Registry,
            Waiting::Database,
        ]);
        let metrics = Metrics::new();
        let cancel = CancellationToken::new();
        let registry = Arc::clone(&self.registry) as Arc<dyn Registry>;
        let run = clickstream_worker::run(
            config,
            registry,
            health.clone(),
            metrics.clone(),
            cancel.clone(),
        );
        let task = tokio::spawn(run);
        tokio::time::timeout(LIMIT, health.ready())
            .await
            .context("the worker is not ready")?;
        Ok(Worker {
            cancel,
            metrics,
            task,
        })
    }

    /// Registers one more query and returns its id.
    async fn watch(&mut self, filter: &str, lane: u32, limit: Option<u32>) -> Result<QueryId> {
        let filter = Filter::parse(filter)?.canonical().to_owned();
        self.wanted.push(Wanted {
            tenant: String::new(),
            filter: filter.clone(),
            lane,
            subscribers: 1,
            limit,
        });
        self.registry
            .renew(self.handler, &self.wanted, LEASE)
            .await?;
        Ok(self.registry.query_id("", &filter))
    }

    /// Sends events `{"n": ..}`, numbered on from the last, over all partitions.
    fn send(&mut self, count: usize) -> Result<()> {
        for n in self.sent..self.sent + count {
            self.send_to(n as i32 % PARTITIONS, format!("{{\"n\":{n}}}").as_bytes())?;
        }
        self.sent += count;
        Ok(self.producer.flush(LIMIT)?)
    }

    fn send_to(&self, partition: i32, value: &[u8]) -> Result<()> {
        let record: BaseRecord<'_, (), [u8]> =
            BaseRecord::to("events").partition(partition).payload(value);
        self.producer.send(record).map_err(|(error, _)| error)?;
        Ok(())
    }

    fn reader(&self) -> Result<Reader> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.cluster.bootstrap_servers())
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .create()?;
        let mut lanes = TopicPartitionList::new();
        for lane in 0..LANES {
            lanes.add_partition_offset("filtered", lane, Offset::Beginning)?;
        }
        consumer.assign(&lanes)?;
        Ok(Reader {
            consumer,
            state: State::default(),
        })
    }

    /// Offset and metadata committed for a source partition.
    fn committed(&self, partition: i32) -> Result<(i64, String)> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.cluster.bootstrap_servers())
            .set("group.id", "clickstream-worker-default")
            .create()?;
        let mut list = TopicPartitionList::new();
        list.add_partition("events", partition);
        let committed = consumer.committed_offsets(list, LIMIT)?;
        let element = committed
            .find_partition("events", partition)
            .context("no such partition")?;
        Ok((
            element.offset().to_raw().context("no offset")?,
            element.metadata().to_owned(),
        ))
    }
}

struct Worker {
    cancel: CancellationToken,
    metrics: Metrics,
    task: JoinHandle<Result<()>>,
}

impl Worker {
    async fn stop(self) -> Result<()> {
        self.cancel.cancel();
        tokio::time::timeout(LIMIT, self.task)
            .await
            .context("the worker does not end")??
    }

    /// Sum of a metric over its labels.
    fn metric(&self, name: &str) -> f64 {
        let body = self.metrics.encode();
        let value = |line: &str| {
            line.rsplit_once(' ')
                .and_then(|(_, value)| value.parse::<f64>().ok())
        };
        body.lines()
            .filter(|line| {
                line.starts_with(&format!("{name} ")) || line.starts_with(&format!("{name}{{"))
            })
            .filter_map(value)
            .sum()
    }
}

/// Reads all lanes as a handler does.
struct Reader {
    consumer: BaseConsumer,
    state: State,
}

#[derive(Default)]
struct State {
    /// Per lane and source partition: the highest epoch seen.
    epochs: HashMap<(i32, i32), u32>,
    /// Per query and source partition: the highest offset delivered.
    marks: HashMap<(QueryId, i32), i64>,
    /// Events delivered, by query, in order of arrival: the number, or `None` for one that is too large.
    delivered: BTreeMap<QueryId, Vec<Option<usize>>>,
    bodies: Vec<Vec<u8>>,
    /// Per lane and source partition: revision and end of the last range.
    stated: HashMap<(i32, i32), (u64, i64)>,
    /// By query, from ranges of every epoch; what a later epoch repeats is withdrawn.
    counts: Vec<Counted>,
    /// Where a query was first matched, by partition.
    added: HashMap<(QueryId, i32), i64>,
    last: Option<Progress>,
    /// Records in the order of their lanes that were ignored because of a higher epoch.
    stale: usize,
}

struct Counted {
    lane: i32,
    partition: i32,
    epoch: u32,
    begin: i64,
    end: i64,
    scanned: u64,
    unreadable: u64,
    queries: Vec<(QueryId, u64, u64)>,
}

impl Reader {
    /// Reads until `done`.
    async fn until(&mut self, what: &str, mut done: impl FnMut(&State) -> bool) -> Result<&State> {
        let limit = Instant::now() + LIMIT;
        while !done(&self.state) {
            ensure!(
                Instant::now() < limit,
                "waited in vain until {what}: {}",
                self.state.shown()
            );
            match self.consumer.poll(Duration::ZERO) {
                Some(record) => {
                    let record = record?;
                    let headers = record.headers();
                    let header = headers.and_then(|headers| {
                        headers.iter().find(|header| header.key == HEADER)?.value
                    });
                    self.state.record(
                        record.partition(),
                        record.key(),
                        header,
                        record.payload(),
                    )?;
                }
                None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
        Ok(&self.state)
    }
}

impl State {
    fn record(
        &mut self,
        lane: i32,
        key: Option<&[u8]>,
        header: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<()> {
        match decode(key, header, value)? {
            Lane::Match(matched) => {
                let source = &matched.source;
                let highest = self.epochs.entry((lane, source.partition)).or_default();
                if matched.epoch < *highest {
                    self.stale += 1;
                    return Ok(());
                }
                *highest = matched.epoch;
                let (_, end) = self
                    .stated
                    .get(&(lane, source.partition))
                    .context("a match before any statement")?;
                ensure!(source.offset >= *end, "a match below what was stated");
                let first = matched.queries.first().context("a match of nothing")?;
                ensure!(
                    key == Some(first.to_string().as_bytes()),
                    "the key is the first query"
                );
                self.bodies.extend(value.map(<[u8]>::to_vec));
                for query in matched.queries.iter() {
                    let mark = self.marks.entry((*query, source.partition)).or_insert(-1);
                    if source.offset > *mark {
                        *mark = source.offset;
                        let event = value.and_then(|value| {
                            serde_json::from_slice::<serde_json::Value>(value).ok()
                        });
                        let n = event.and_then(|event| Some(event["n"].as_u64()? as usize));
                        self.delivered.entry(*query).or_default().push(n);
                    }
                }
            }
            Lane::Progress(progress) => {
                for range in &progress.ranges {
                    let place = (lane, range.partition);
                    let highest = self.epochs.entry(place).or_default();
                    if range.epoch < *highest {
                        self.stale += 1;
                        continue;
                    }
                    if range.epoch > *highest {
                        *highest = range.epoch;
                        let withdrawn = |counted: &Counted| {
                            (counted.lane, counted.partition) == place
                                && counted.begin >= range.begin
                        };
                        self.counts.retain(|counted| !withdrawn(counted));
                        let straddles = |counted: &Counted| {
                            (counted.lane, counted.partition) == place && counted.end > range.begin
                        };
                        ensure!(
                            !self.counts.iter().any(straddles),
                            "an epoch begins in the middle of a range"
                        );
                    } else if let Some((_, end)) = self.stated.get(&place) {
                        ensure!(
                            range.begin == *end || !range.added.is_empty(),
                            "ranges have a gap"
                        );
                    }
                    self.stated.insert(place, (progress.revision, range.end));
                    for (query, offset) in &range.added {
                        self.added
                            .entry((*query, range.partition))
                            .or_insert(*offset);
                    }
                    self.counts.push(Counted {
                        lane,
                        partition: range.partition,
                        epoch: range.epoch,
                        begin: range.begin,
                        end: range.end,
                        scanned: range.scanned,
                        unreadable: range.unreadable,
                        queries: range
                            .queries
                            .iter()
                            .map(|c| (c.id, c.matched, c.left_out))
                            .collect(),
                    });
                }
                self.last = Some(progress);
            }
        }
        Ok(())
    }

    fn delivered(&self, query: QueryId) -> &[Option<usize>] {
        self.delivered.get(&query).map_or(&[], Vec::as_slice)
    }

    /// Matched and left out, as stated.
    fn counted(&self, query: QueryId) -> (u64, u64) {
        let counts = self
            .counts
            .iter()
            .flat_map(|counted| &counted.queries)
            .filter(|(id, ..)| *id == query);
        counts.fold((0, 0), |sum, (_, matched, left_out)| {
            (sum.0 + matched, sum.1 + left_out)
        })
    }

    fn scanned(&self, lane: i32) -> (u64, u64) {
        let counts = self.counts.iter().filter(|counted| counted.lane == lane);
        counts.fold((0, 0), |sum, counted| {
            (sum.0 + counted.scanned, sum.1 + counted.unreadable)
        })
    }

    /// Every partition states this revision or a later one on the lane.
    fn is_live(&self, lane: i32, revision: u64) -> bool {
        (0..PARTITIONS).all(|partition| {
            self.stated
                .get(&(lane, partition))
                .is_some_and(|(at, _)| *at >= revision)
        })
    }

    fn shown(&self) -> String {
        let delivered: Vec<usize> = self.delivered.values().map(Vec::len).collect();
        format!(
            "delivered {delivered:?}, stated {:?}, stale {}",
            self.stated, self.stale
        )
    }
}

async fn revision(pipeline: &Pipeline) -> Result<u64> {
    Ok(pipeline.registry.feed().await?.read(None).await?.revision)
}

/// Exactly these numbers, each once.
fn assert_exactly(delivered: &[Option<usize>], expected: impl Iterator<Item = usize>) {
    let mut delivered: Vec<_> = delivered.to_vec();
    delivered.sort_unstable();
    assert_eq!(delivered, expected.map(Some).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_gets_every_event_from_its_statement_on_and_counts_that_agree() -> Result<()> {
    let mut pipeline = Pipeline::start()?;
    let worker = pipeline.worker(&[]).await?;
    let mut reader = pipeline.reader()?;
    let third = pipeline.watch("event.n % 3 == 0", 0, None).await?;
    let at = revision(&pipeline).await?;
    reader
        .until("the first query is live", |state| state.is_live(0, at))
        .await?;
    pipeline.send(300)?;
    reader
        .until("its matches are there", |state| {
            state.delivered(third).len() >= 100
        })
        .await?;

    let both = pipeline.watch("event.n % 6 == 0", 0, None).await?;
    let other = pipeline.watch("event.n % 2 == 1", 1, None).await?;
    let at = revision(&pipeline).await?;
    reader
        .until("the others are live", |state| {
            state.is_live(0, at) && state.is_live(1, at)
        })
        .await?;
    pipeline.send(300)?;
    let state = reader
        .until("everything is counted", |state| {
            state.counted(third).0 >= 200
                && state.counted(both).0 >= 50
                && state.counted(other).0 >= 150
        })
        .await?;
    assert_exactly(state.delivered(third), (0..600).filter(|n| n % 3 == 0));
    assert_exactly(state.delivered(both), (300..600).filter(|n| n % 6 == 0));
    assert_exactly(state.delivered(other), (300..600).filter(|n| n % 2 == 1));
    assert_eq!(
        (
            state.counted(third),
            state.counted(both),
            state.counted(other)
        ),
        ((200, 0), (50, 0), (150, 0))
    );
    assert_eq!((state.scanned(0), state.scanned(1)), ((600, 0), (300, 0)));
    for partition in 0..PARTITIONS {
        assert_eq!(
            state.added.get(&(both, partition)),
            Some(&(300 / i64::from(PARTITIONS)))
        );
    }
    let last = state.last.as_ref().context("no statement")?;
    assert_eq!(
        (last.lanes, last.topics.len(), last.topics[0].partitions),
        (2, 1, PARTITIONS as u32)
    );
    assert_eq!(
        (
            worker.metric("worker_records_total"),
            worker.metric("worker_queries")
        ),
        (600.0, 3.0)
    );

    // Idle: the last look found the end, and says so with a time that goes on.
    let time = |state: &State| {
        let ranges = state.last.iter().flat_map(|progress| &progress.ranges);
        ranges.map(|range| range.time_ms).min().unwrap_or_default()
    };
    let before = time(state);
    reader
        .until("time goes on without events", |state| {
            time(state) > before + 1_000
        })
        .await?;
    worker.stop().await?;
    for partition in 0..PARTITIONS {
        let (offset, metadata) = pipeline.committed(partition)?;
        ensure!(
            offset == 150 && metadata.starts_with("v1;epoch="),
            "committed {offset} {metadata}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_change_hands_and_nothing_is_lost_or_delivered_twice() -> Result<()> {
    let mut pipeline = Pipeline::start()?;
    let first = pipeline.worker(&[]).await?;
    let mut reader = pipeline.reader()?;
    let all = pipeline.watch("event.n >= 0", 0, None).await?;
    let some = pipeline.watch("event.n % 10 == 7", 1, None).await?;
    let at = revision(&pipeline).await?;
    reader
        .until("the queries are live", |state| {
            state.is_live(0, at) && state.is_live(1, at)
        })
        .await?;
    let epochs = reader.state.epochs.clone();

    pipeline.send(200)?;
    let second = pipeline.worker(&[]).await?;
    let limit = Instant::now() + LIMIT;
    // Its members get a share while events flow.
    while second.metric("worker_partitions{state=\"reading\"}") < 1.0 {
        ensure!(
            Instant::now() < limit,
            "the second worker gets no partition"
        );
        pipeline.send(20)?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    pipeline.send(200)?;
    first.stop().await?;
    pipeline.send(200)?;
    let sent = pipeline.sent;
    let expected = sent.div_ceil(10);
    let state = reader
        .until("everything came and is counted", |state| {
            state.delivered(all).len() >= sent
                && state.delivered(some).len() + 1 >= expected
                && state.scanned(0).0 >= sent as u64
                && state.scanned(1).0 >= sent as u64
        })
        .await?;
    assert_exactly(state.delivered(all), 0..sent);
    assert_exactly(state.delivered(some), (0..sent).filter(|n| n % 10 == 7));
    assert_eq!(state.counted(all), (sent as u64, 0));
    assert!(
        state
            .epochs
            .iter()
            .all(|(place, epoch)| *epoch > epochs[place]),
        "every partition changed hands"
    );
    second.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_producer_is_replaced_and_the_rest_is_repeated_in_a_new_epoch() -> Result<()> {
    let mut pipeline = Pipeline::start()?;
    let worker = pipeline.worker(&[]).await?;
    let mut reader = pipeline.reader()?;
    let all = pipeline.watch("event.n >= 0", 0, None).await?;
    let at = revision(&pipeline).await?;
    reader
        .until("the query is live", |state| state.is_live(0, at))
        .await?;
    pipeline.send(100)?;
    reader
        .until("the first matches", |state| {
            state.delivered(all).len() >= 100
        })
        .await?;
    let before = reader.state.epochs.clone();
    // Not retriable: the idempotent producer gives up for good.
    let fatal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    pipeline
        .cluster
        .request_errors(RDKafkaApiKey::Produce, &[fatal]);
    // The mock has one stack of errors for all clients: this must go to the worker's producer, whose next statement is
    // less than a second away.
    let limit = Instant::now() + LIMIT;
    while worker.metric("worker_producers_total") < 2.0 {
        ensure!(Instant::now() < limit, "the producer was not replaced");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    pipeline.send(100)?;
    let state = reader
        .until("everything came", |state| state.delivered(all).len() >= 200)
        .await?;
    assert_exactly(state.delivered(all), 0..200);
    assert!(
        before
            .iter()
            .all(|(place, epoch)| state.epochs[place] > *epoch),
        "every partition has a new epoch"
    );
    worker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_go_away_and_come_back_lose_nothing() -> Result<()> {
    let mut pipeline = Pipeline::start()?;
    let worker = pipeline.worker(&[]).await?;
    let mut reader = pipeline.reader()?;
    let all = pipeline.watch("event.n >= 0", 0, None).await?;
    let at = revision(&pipeline).await?;
    reader
        .until("the query is live", |state| state.is_live(0, at))
        .await?;
    pipeline.send(100)?;
    pipeline.cluster.broker_down(1)?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    pipeline.cluster.broker_up(1)?;
    pipeline.send(100)?;
    let state = reader
        .until("everything came", |state| state.delivered(all).len() >= 200)
        .await?;
    assert_exactly(state.delivered(all), 0..200);
    worker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_are_no_events_are_counted_and_passed_over() -> Result<()> {
    let mut pipeline = Pipeline::start()?;
    let worker = pipeline.worker(&["--masked-field", "secret.card"]).await?;
    let mut reader = pipeline.reader()?;
    let all = pipeline.watch("event.n >= 0", 0, None).await?;
    let probe = pipeline.watch("event.secret.card == 4711", 1, None).await?;
    let at = revision(&pipeline).await?;
    reader
        .until("the queries are live", |state| {
            state.is_live(0, at) && state.is_live(1, at)
        })
        .await?;
    let deep = [vec![b'['; 10_000], vec![b']'; 10_000]].concat();
    let deep = [br#"{"n":1,"deep":"#.to_vec(), deep, b"}".to_vec()].concat();
    let bad: [&[u8]; 6] = [
        b"",
        b"not json",
        b"[1,2]",
        b"\"text\"",
        b"{\"n\":\"\xff\xfe\"}",
        &deep,
    ];
    for (index, value) in bad.iter().enumerate() {
        pipeline.send_to(index as i32 % PARTITIONS, value)?;
    }
    let large = format!("{{\"n\":900000,\"filler\":\"{}\"}}", "x".repeat(900_000));
    pipeline.send_to(0, large.as_bytes())?;
    pipeline.send_to(1, br#"{"n":7, "secret": {"card": 4711, "open": true}}"#)?;
    pipeline.send(100)?;
    let state = reader
        .until("everything is counted", |state| {
            state.scanned(0).0 >= 108 && state.delivered(all).len() >= 102
        })
        .await?;
    assert_eq!(state.scanned(0), (108, bad.len() as u64));
    assert_exactly(
        state.delivered(all),
        (0..8).chain([7]).chain(8..100).chain([900_000]),
    );
    assert!(
        state.bodies.iter().any(|body| body == large.as_bytes()),
        "a large event goes whole"
    );
    let masked: Vec<_> = state
        .bodies
        .iter()
        .filter(|body| body.windows(6).any(|part| part == b"secret"))
        .collect();
    assert_eq!(masked.len(), 1);
    assert!(
        !masked[0].windows(4).any(|part| part == b"4711"),
        "masked fields never leave the worker"
    );
    assert_eq!(state.delivered(probe), &[], "nor can a filter ask for them");
    assert_eq!(worker.metric("worker_unreadable_total"), bad.len() as f64);
    worker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_does_not_fit_goes_as_its_position_and_a_limit_leaves_out_the_rest()
-> Result<()> {
    let mut pipeline = Pipeline::start()?;
    // The mock takes records of any size; this producer does not.
    let worker = pipeline.worker(&["--no-such-option"]).await;
    assert!(worker.is_err(), "an unknown option is refused");
    let worker = pipeline.worker(&[]).await?;
    let mut reader = pipeline.reader()?;
    let limited = pipeline.watch("event.n >= 0", 0, Some(5)).await?;
    let all = pipeline.watch("true", 1, None).await?;
    let at = revision(&pipeline).await?;
    reader
        .until("the queries are live", |state| {
            state.is_live(0, at) && state.is_live(1, at)
        })
        .await?;
    pipeline.send(1_000)?;
    let state = reader
        .until("everything is counted", |state| {
            state.counted(limited).0 >= 1_000 && state.counted(all).0 >= 1_000
        })
        .await?;
    let (matched, left_out) = state.counted(limited);
    assert_eq!(matched, 1_000);
    assert_eq!(
        state.delivered(limited).len() as u64,
        matched - left_out,
        "matched = written + left out"
    );
    assert!(left_out > 0 && left_out < 1_000);
    assert_eq!(worker.metric("worker_left_out_total"), left_out as f64);
    worker.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_queries_records_are_read_and_committed_and_nothing_is_written() -> Result<()> {
    let mut pipeline = Pipeline::start()?;
    let worker = pipeline.worker(&[]).await?;
    let limit = Instant::now() + LIMIT;
    while worker.metric("worker_partitions{state=\"reading\"}") < f64::from(PARTITIONS) {
        ensure!(Instant::now() < limit, "partitions are not read");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    pipeline.send(400)?;
    while (0..PARTITIONS).any(|partition| {
        pipeline
            .committed(partition)
            .is_ok_and(|(offset, _)| offset < 100)
    }) {
        ensure!(Instant::now() < limit, "offsets are not committed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    worker.stop().await?;
    let reader = pipeline.reader()?;
    for lane in 0..LANES {
        assert_eq!(
            reader.consumer.fetch_watermarks("filtered", lane, LIMIT)?,
            (0, 0)
        );
    }
    let catalogue = pipeline.registry.catalogue().await?;
    assert!(catalogue.event_types.is_empty());
    Ok(())
}
