//! Source topic in, matches out.
//!
//! [`main`] is the program; [`run`] is the same inside another program or a test.
//!
//! | module | is |
//! |---|---|
//! | `epoch` `start` `offsets` `progress` `limit` `queries` `sinks` `owner` `catalogue` `looks` | pure: decisions and accounts |
//! | `member` `handover` `group` `reader` | one thread of the group: partitions come and go, records pass through |
//! | `producer` `sink_producer` | one of each for the process, shared by the threads |
//! | `topics` `follow` `reports` | tasks: what the brokers say, what the registry says, what it is told |

pub mod args;
mod catalogue;
mod epoch;
mod follow;
mod group;
mod handover;
mod kafka;
mod limit;
mod looks;
mod member;
mod metrics;
mod offsets;
mod owner;
mod producer;
mod progress;
mod queries;
mod reader;
mod reports;
mod sink_producer;
mod sinks;
mod start;
mod topics;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use clap::Parser as _;
use clickstream_engine::{FieldPath, Mask};
use clickstream_registry::{Follower, FollowerOptions, ProcessId, Registry};
use clickstream_telemetry::{Health, Metrics as Telemetry, Waiting};
use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::catalogue::Sampler;
use crate::member::Member;
use crate::metrics::Metrics;
use crate::producer::{Output, Producers};
use crate::queries::{Compiler, QuerySet};
use crate::reports::{MemberStatus, Reports};
use crate::sink_producer::SinkProducers;
use crate::topics::Topics;

/// For finishing what is in flight, committing and leaving the group.
const DRAIN: Duration = Duration::from_secs(10);
/// A query that vanished without a record of its removal is kept for a lease period: its handler writes it again.
const VANISH_GRACE: Duration = Duration::from_secs(60);
/// Between two looks at what nobody pushes.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What the worker runs with: [`args::Args`], checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Brokers and the user's settings of librdkafka.
    pub kafka: ClientConfig,
    /// Topics that hold the events.
    pub source_topics: Vec<String>,
    /// The topic that matches and progress go to.
    pub filtered_topic: String,
    /// Create it with this many partitions if it is missing.
    pub create_filtered_topic: Option<i32>,
    /// The consumer group of the pipeline's workers.
    pub group: String,
    /// Members of it in this process, a thread each.
    pub consumers: usize,
    /// Where an event says its type.
    pub event_type_field: FieldPath,
    /// What nobody may see.
    pub mask: Mask,
    /// What does the matching.
    pub engine: args::Engine,
}

impl Config {
    /// One consumer for each core.
    #[must_use]
    pub fn default_consumers() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }
}

/// What all parts of the worker share.
struct Shared {
    config: Config,
    /// Answers while consumers wait for records.
    asking: Arc<AdminClient<kafka::Asking>>,
    worker: ProcessId,
    metrics: Metrics,
    producers: Producers,
    sink_producers: Arc<SinkProducers>,
    sampler: Arc<Sampler>,
    sets: watch::Receiver<Arc<QuerySet>>,
    topics: watch::Receiver<Topics>,
    follower: Follower,
    runtime: tokio::runtime::Handle,
    cancel: CancellationToken,
    /// Where the steady clock begins.
    epoch: Instant,
}

impl Shared {
    /// Sets `done` once the registry was read after this call and what was read is compiled.
    fn catch_up(&self, done: Arc<AtomicBool>) {
        let (follower, mut sets) = (self.follower.clone(), self.sets.clone());
        self.runtime.spawn(async move {
            // An error is the end of the worker.
            if let Ok(revision) = follower.caught_up().await
                && sets.wait_for(|set| set.revision >= revision).await.is_ok()
            {
                done.store(true, Ordering::Release);
            }
        });
    }

    /// The worker's steady clock.
    fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The wall clock: milliseconds since 1970 UTC.
fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Runs the worker until `cancel`, then finishes what is in flight, within 10 s.
///
/// Kafka, its topics and the registry may come later and may go away: `health` says what is waited for.
///
/// # Errors
/// A Kafka setting that librdkafka does not take; a consumer that fails for good.
pub async fn run(
    config: Config,
    registry: Arc<dyn Registry>,
    health: Health,
    telemetry: Telemetry,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let metrics = Metrics::new(&telemetry);
    let worker = ProcessId::random();
    let ended = CancellationToken::new();
    let _end = ended.clone().drop_guard();
    let options = FollowerOptions {
        vanish_grace: Some(VANISH_GRACE),
    };
    let follower = Follower::start(Arc::clone(&registry), options, ended.clone());
    let asking = kafka::asking(&config.kafka).create_with_context(kafka::Asking);
    let asking: Arc<AdminClient<kafka::Asking>> =
        Arc::new(asking.context("making a Kafka client")?);
    let (topics_watch, topics) = topics::Watch::new(
        &config,
        Arc::clone(&asking),
        Arc::clone(&registry),
        health.clone(),
    );
    let own_topics = config.source_topics.iter().chain([&config.filtered_topic]);
    let (compile, sets) = follow::Compile::new(
        follower.subscribe(),
        topics.clone(),
        metrics.clone(),
        health.clone(),
        Compiler::new(own_topics.cloned().collect()),
    );
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(topics_watch.run());
    tasks.spawn(compile.run());

    let sampler = Arc::new(Sampler::new(config.event_type_field.clone()));
    let producers = Producers::new(
        config.kafka.clone(),
        config.filtered_topic.clone(),
        metrics.clone(),
    );
    let shared = Arc::new(Shared {
        sink_producers: Arc::new(SinkProducers::new(
            config.kafka.clone(),
            Arc::clone(producers.budget()),
            metrics.clone(),
        )),
        producers,
        config,
        asking,
        worker,
        metrics,
        sampler,
        sets,
        topics,
        follower,
        runtime: tokio::runtime::Handle::current(),
        cancel: cancel.clone(),
        epoch: Instant::now(),
    });
    let prepared = async {
        shared
            .topics
            .clone()
            .wait_for(|topics| topics.lanes > 0)
            .await
            .context("watching the topics")?;
        shared
            .sets
            .clone()
            .wait_for(|set| set.loaded && set.lane_count > 0)
            .await
            .context("following the registry")?;
        anyhow::Ok(())
    };
    match cancel.run_until_cancelled(prepared).await {
        None => return Ok(()),
        Some(prepared) => prepared?,
    }

    let (members, mut outcomes) = start_members(&shared)?;
    let reports = Reports {
        registry,
        worker,
        members: members.clone(),
        topics: shared.topics.clone(),
        sets: shared.sets.clone(),
        sampler: Arc::clone(&shared.sampler),
        metrics: shared.metrics.clone(),
    };
    tasks.spawn(reports.run());
    tasks.spawn(watch_over(Arc::clone(&shared), members, health.clone()));

    let failed = tokio::select! {
        () = cancel.cancelled() => None,
        outcome = outcomes.recv() => outcome,
        // They run for ever: one that ended has panicked.
        ended = tasks.join_next() => Some(ended.map_or(Ok(()), |ended| ended.context("a task of the worker"))),
    };
    health.drain();
    cancel.cancel();
    // Threads drop their ends of the channel when they are done.
    let all_done = async { while outcomes.recv().await.is_some() {} };
    if tokio::time::timeout(DRAIN, all_done).await.is_err() {
        warn!("not everything in flight was acknowledged in time; the next owners repeat it");
    }
    tasks.abort_all();
    let closing = Arc::clone(&shared);
    // Joins librdkafka's threads.
    let closed = tokio::task::spawn_blocking(move || {
        closing.producers.close();
        closing.sink_producers.close();
    });
    if tokio::time::timeout(Duration::from_secs(2), closed)
        .await
        .is_err()
    {
        warn!("the producer did not close in time");
    }
    failed.unwrap_or(Ok(()))
}

type Outcomes = mpsc::UnboundedReceiver<anyhow::Result<()>>;

/// Starts the threads; a failure of one comes out of the channel, which ends when all have ended.
fn start_members(shared: &Arc<Shared>) -> anyhow::Result<(Vec<Arc<MemberStatus>>, Outcomes)> {
    // At most one message for each thread.
    let (sender, outcomes) = mpsc::unbounded_channel();
    let size = shared.topics.borrow().max_message_bytes;
    let producer = shared
        .producers
        .current(size)
        .context("making a Kafka producer")?;
    let mut members = Vec::new();
    for number in 0..shared.config.consumers {
        let status = Arc::new(MemberStatus::default());
        members.push(Arc::clone(&status));
        let output = Output::new(
            &shared.producers,
            Arc::clone(&producer),
            Arc::clone(&shared.sink_producers),
        );
        let member = Member::new(Arc::clone(shared), status, output)?;
        let sender = sender.clone();
        std::thread::Builder::new()
            .name(format!("consumer-{number}"))
            .spawn(move || {
                let outcome =
                    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| member.run()));
                let outcome =
                    outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("a consumer thread panicked")));
                if let Err(failure) = outcome {
                    // Nobody listens only when the worker ends anyway.
                    let _ = sender.send(Err(failure));
                }
            })
            .context("starting a thread")?;
    }
    let consumers = i64::try_from(members.len()).unwrap_or(i64::MAX);
    shared.metrics.consumers.set(consumers);
    info!(consumers, worker = %shared.worker, "reading");
    Ok((members, outcomes))
}

/// Keeps in step what nobody pushes to: readiness and gauges.
async fn watch_over(shared: Arc<Shared>, members: Vec<Arc<MemberStatus>>, health: Health) {
    loop {
        let settled = members
            .iter()
            .all(|member| member.settled.load(Ordering::Relaxed));
        if settled && shared.topics.borrow().complete {
            health.set_ready(Waiting::Kafka);
        } else {
            health.set_waiting(Waiting::Kafka);
        }
        let records = shared.producers.budget().records();
        shared
            .metrics
            .unacknowledged
            .set(i64::try_from(records).unwrap_or(i64::MAX));
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The program: arguments, logs, signals, exit code.
#[must_use]
pub fn main() -> ExitCode {
    let args = args::Args::parse();
    let config = args.config().unwrap_or_else(|err| err.exit());
    clickstream_telemetry::init_logs();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")
        .and_then(|runtime| {
            let outcome = runtime.block_on(serve(args, config));
            // A thread that still waits for Kafka must not hold the process.
            runtime.shutdown_background();
            outcome
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            error!(error = format!("{err:#}"), "ending");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: args::Args, config: Config) -> anyhow::Result<()> {
    let cancel = clickstream_telemetry::shutdown_signal().context("listening for signals")?;
    let registry = args
        .pipeline
        .registry("clickstream-worker")
        .context("reading --database-url and --pipeline")?;
    let listener = clickstream_telemetry::listen(&args.http_addr).await?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        address = %listener.local_addr()?,
        pipeline = args.pipeline.pipeline,
        brokers = args.pipeline.brokers,
        source_topics = config.source_topics.join(","),
        filtered_topic = config.filtered_topic,
        group = config.group,
        consumers = config.consumers,
        "starting"
    );
    let health = Health::new(&[
        Waiting::Kafka,
        Waiting::Database,
        Waiting::Schema,
        Waiting::FilteredTopic,
        Waiting::Registry,
    ]);
    let telemetry = Telemetry::new();
    // Served to the very end, so that draining can be watched.
    let stopped = CancellationToken::new();
    let _stop = stopped.clone().drop_guard();
    let admin = clickstream_telemetry::serve(listener, health.clone(), telemetry.clone(), stopped);
    tokio::spawn(async move {
        if let Err(err) = admin.await {
            error!(
                error = format!("{err:#}"),
                "health and metrics are not served any more"
            );
        }
    });
    let migrated = args.pipeline.migrate(&registry);
    let worker = run(
        config,
        Arc::clone(&registry) as Arc<dyn Registry>,
        health,
        telemetry,
        cancel.clone(),
    );
    let (_, outcome) = tokio::join!(cancel.run_until_cancelled(migrated), worker);
    outcome
}
