//! A worker in this process, and a reader of its lanes that obeys a handler's rules.

#![allow(dead_code, reason = "each test binary uses its part")]

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
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const PARTITIONS: i32 = 4;
pub(crate) const LANES: i32 = 2;
/// Generous: nothing here measures time.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(600);

/// Topics with [`PARTITIONS`] and [`LANES`], and a registry.
pub(crate) struct Pipeline {
    pub(crate) brokers: String,
    pub(crate) source: String,
    pub(crate) filtered: String,
    pub(crate) registry: Arc<MemoryRegistry>,
    producer: ThreadedProducer<DefaultProducerContext>,
    handler: ProcessId,
    wanted: Vec<Wanted>,
    /// Events sent by [`Pipeline::send`].
    pub(crate) sent: usize,
}

impl Pipeline {
    /// On topics that exist.
    pub(crate) fn new(brokers: String, source: &str, filtered: &str) -> Result<Self> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &brokers)
            .create()?;
        Ok(Self {
            brokers,
            source: source.to_owned(),
            filtered: filtered.to_owned(),
            registry: Arc::new(MemoryRegistry::new("test")),
            producer,
            handler: ProcessId::random(),
            wanted: Vec::new(),
            sent: 0,
        })
    }

    /// The workers' consumer group.
    pub(crate) fn group(&self) -> String {
        format!("workers-of-{}", self.source)
    }

    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    /// Starts a worker and waits until it is ready.
    pub(crate) async fn worker(&self, more: &[&str]) -> Result<Worker> {
        let group = self.group();
        let options = [
            "clickstream-worker",
            "--brokers",
            &self.brokers,
            "--source-topic",
            &self.source,
            "--filtered-topic",
            &self.filtered,
            "--group",
            &group,
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
    pub(crate) async fn watch(
        &mut self,
        filter: &str,
        lane: u32,
        limit: Option<u32>,
    ) -> Result<QueryId> {
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

    /// The same, and a reader of the lanes that has seen it become live.
    pub(crate) async fn viewer(
        &mut self,
        filter: &str,
        lane: u32,
        limit: Option<u32>,
    ) -> Result<(Reader, QueryId)> {
        let mut reader = self.reader()?;
        let query = self.watch(filter, lane, limit).await?;
        let at = revision(self).await?;
        let lane = lane.try_into()?;
        reader
            .until("the query is live", |state| state.is_live(lane, at))
            .await?;
        Ok((reader, query))
    }

    /// Takes the last query away.
    pub(crate) async fn unwatch(&mut self) -> Result<()> {
        self.wanted.pop();
        self.registry
            .renew(self.handler, &self.wanted, LEASE)
            .await?;
        Ok(())
    }

    /// Sends events `{"n": ..}`, numbered on from the last, over all partitions.
    pub(crate) fn send(&mut self, count: usize) -> Result<()> {
        for n in self.sent..self.sent + count {
            self.send_to(n as i32 % PARTITIONS, format!("{{\"n\":{n}}}").as_bytes())?;
        }
        self.sent += count;
        Ok(self.producer.flush(LIMIT)?)
    }

    pub(crate) fn send_to(&self, partition: i32, value: &[u8]) -> Result<()> {
        let record: BaseRecord<'_, (), [u8]> = BaseRecord::to(&self.source)
            .partition(partition)
            .payload(value);
        self.producer.send(record).map_err(|(error, _)| error)?;
        Ok(())
    }

    /// As [`Pipeline::send_to`], for a partition that was made a moment ago.
    pub(crate) async fn send_to_when_known(&self, partition: i32, value: &[u8]) -> Result<()> {
        let limit = Instant::now() + LIMIT;
        loop {
            match self.send_to(partition, value) {
                Err(error) if Instant::now() < limit => {
                    let asked = self
                        .producer
                        .client()
                        .fetch_metadata(Some(&self.source), LIMIT);
                    asked.context(error)?;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                sent => return sent,
            }
        }
    }

    pub(crate) fn reader(&self) -> Result<Reader> {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .create()?;
        let mut lanes = TopicPartitionList::new();
        for lane in 0..LANES {
            lanes.add_partition_offset(&self.filtered, lane, Offset::Beginning)?;
        }
        consumer.assign(&lanes)?;
        Ok(Reader {
            consumer,
            state: State::default(),
        })
    }

    /// Offset and metadata committed for a source partition.
    pub(crate) fn committed(&self, partition: i32) -> Result<(i64, String)> {
        let consumer: BaseConsumer = self.client().set("group.id", self.group()).create()?;
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.source, partition);
        let committed = consumer.committed_offsets(list, LIMIT)?;
        let element = committed
            .find_partition(&self.source, partition)
            .context("no such partition")?;
        Ok((
            element.offset().to_raw().context("no offset")?,
            element.metadata().to_owned(),
        ))
    }
}

pub(crate) struct Worker {
    cancel: CancellationToken,
    metrics: Metrics,
    task: JoinHandle<Result<()>>,
}

impl Worker {
    pub(crate) async fn stop(self) -> Result<()> {
        self.cancel.cancel();
        tokio::time::timeout(LIMIT, self.task)
            .await
            .context("the worker does not end")??
    }

    /// Sum of a metric over its labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
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
pub(crate) struct Reader {
    pub(crate) consumer: BaseConsumer,
    pub(crate) state: State,
}

#[derive(Default)]
pub(crate) struct State {
    /// Per lane and source partition: the highest epoch seen.
    pub(crate) epochs: HashMap<(i32, i32), u32>,
    /// Per query and source partition: the highest offset delivered.
    marks: HashMap<(QueryId, i32), i64>,
    /// Events delivered, by query, in order of arrival: the number, or `None` for one that is too large.
    pub(crate) delivered: BTreeMap<QueryId, Vec<Option<usize>>>,
    pub(crate) bodies: Vec<Vec<u8>>,
    /// Per lane and source partition: revision and end of the last range.
    pub(crate) stated: HashMap<(i32, i32), (u64, i64)>,
    /// By query, from ranges of every epoch; what a later epoch repeats is withdrawn.
    pub(crate) counts: Vec<Counted>,
    /// Where a query was first matched, by partition.
    pub(crate) added: HashMap<(QueryId, i32), i64>,
    /// Lane, source partition, offsets lost to retention.
    pub(crate) lost: Vec<(i32, i32, (i64, i64))>,
    pub(crate) last: Option<Progress>,
    /// Records in the order of their lanes that were ignored because of a higher epoch.
    pub(crate) stale: usize,
}

pub(crate) struct Counted {
    pub(crate) lane: i32,
    pub(crate) partition: i32,
    pub(crate) begin: i64,
    pub(crate) end: i64,
    pub(crate) scanned: u64,
    pub(crate) unreadable: u64,
    pub(crate) queries: Vec<(QueryId, u64, u64)>,
}

impl Reader {
    /// Reads until `done`.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        mut done: impl FnMut(&State) -> bool,
    ) -> Result<&State> {
        let limit = Instant::now() + LIMIT;
        while !done(&self.state) {
            ensure!(
                Instant::now() < limit,
                "waited in vain until {what}: {}",
                self.state.shown()
            );
            match self.consumer.poll(Duration::ZERO) {
                Some(Ok(record)) => {
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
                // An outage passes; the limit tells of what does not.
                Some(Err(_)) | None => tokio::time::sleep(Duration::from_millis(2)).await,
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
                    self.lost
                        .extend(range.lost.map(|lost| (lane, range.partition, lost)));
                    for (query, offset) in &range.added {
                        self.added
                            .entry((*query, range.partition))
                            .or_insert(*offset);
                    }
                    self.counts.push(Counted {
                        lane,
                        partition: range.partition,
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

    pub(crate) fn delivered(&self, query: QueryId) -> &[Option<usize>] {
        self.delivered.get(&query).map_or(&[], Vec::as_slice)
    }

    /// Matched and left out, as stated.
    pub(crate) fn counted(&self, query: QueryId) -> (u64, u64) {
        let counts = self
            .counts
            .iter()
            .flat_map(|counted| &counted.queries)
            .filter(|(id, ..)| *id == query);
        counts.fold((0, 0), |sum, (_, matched, left_out)| {
            (sum.0 + matched, sum.1 + left_out)
        })
    }

    pub(crate) fn scanned(&self, lane: i32) -> (u64, u64) {
        let counts = self.counts.iter().filter(|counted| counted.lane == lane);
        counts.fold((0, 0), |sum, counted| {
            (sum.0 + counted.scanned, sum.1 + counted.unreadable)
        })
    }

    /// Every partition states this revision or a later one on the lane.
    pub(crate) fn is_live(&self, lane: i32, revision: u64) -> bool {
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

pub(crate) async fn revision(pipeline: &Pipeline) -> Result<u64> {
    Ok(pipeline.registry.feed().await?.read(None).await?.revision)
}

/// Exactly these numbers, each once.
pub(crate) fn assert_exactly(delivered: &[Option<usize>], expected: impl Iterator<Item = usize>) {
    let mut delivered: Vec<_> = delivered.to_vec();
    delivered.sort_unstable();
    assert_eq!(delivered, expected.map(Some).collect::<Vec<_>>());
}
