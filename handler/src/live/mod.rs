//! Live subscriptions: from the filtered topic's lanes to the queue of each connection.
//!
//! A door (STOMP, SockJS, SSE) makes one [`Outbound`] per connection, calls [`Live::subscribe`] for each
//! request, and sends what [`Outbound::next`] gives it. Everything else happens behind [`Live`].
//!
//! Inside, `hub` decides (pure), `lanes` reads Kafka, `registrar` writes to the registry.

use std::{
    sync::{Arc, atomic::AtomicU32},
    time::{Duration, Instant},
};

use clickstream_engine::FieldPath;
use clickstream_registry::{Follower, FollowerOptions, ProcessId, Registry, RegistryError, State};
use clickstream_telemetry::Health;
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

mod group;
mod hub;
mod lane;
mod lanes;
#[cfg(test)]
mod model;
pub mod outbound;
mod presence;
mod problem;
mod projection;
mod registrar;
mod request;
mod standing;
mod status;
mod subscribe;
mod subscription;

use self::{hub::Hub, lanes::Lanes, registrar::Registrar};
pub use self::{
    outbound::{Outbound, OutboundMetrics},
    problem::Problem,
    request::{DEFAULT_RATE, MAX_EVENT_TYPES, MIN_TTL},
    status::{
        DropReason, EndReason, Event, GapRange, GapReason, Item, Kind, LeftOut, Status, Time,
    },
    subscribe::Subscription,
};
pub(crate) use self::{registrar::chain, request::filter_problem};
use crate::metrics::Metrics;

/// Between two looks at times to live; progress is told at every fourth.
const TICK: Duration = Duration::from_millis(250);

/// What a viewer asks for; the members are named as on every door.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// A filter; none means all events.
    pub filter: Option<String>,
    /// Event types, any of which; empty means all.
    pub event_types: Vec<String>,
    /// Comma separated paths to show of each event; none means all of it.
    pub fields: Option<String>,
    /// Most matches per second; none means [`DEFAULT_RATE`], 0 means no limit.
    pub rate: Option<u32>,
    /// Time to live, at least [`MIN_TTL`]; at most, and without it, the server's.
    pub ttl: Option<Duration>,
    /// Join this standing query (namespace, name). `filter` and `event_types` must then be empty.
    pub standing: Option<(String, String)>,
}

/// How a viewer leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It said so: the query is released at once.
    Clean,
    /// The connection broke: the query is kept for the resume window.
    Broken,
}

/// How the live part works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Brokers and whatever else the user set for Kafka.
    pub kafka: ClientConfig,
    /// The topic whose partitions are the lanes.
    pub filtered_topic: String,
    /// Where an event has its type.
    pub event_type_field: FieldPath,
    /// Longest time to live of a subscription.
    pub subscription_ttl: Duration,
    /// For how long the registry keeps this handler's queries without a renewal.
    pub lease: Duration,
    /// For how long a query is kept for a viewer whose connection broke.
    pub resume_window: Duration,
}

/// The live part of a handler. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Live(Arc<Inner>);

struct Inner {
    registry: Arc<dyn Registry>,
    handler: ProcessId,
    settings: Settings,
    hub: Arc<Mutex<Hub>>,
    registrar: Registrar,
    lanes: Lanes,
    worker_lanes: Arc<AtomicU32>,
    state: watch::Receiver<Arc<State>>,
    /// Ends when its last handle is dropped.
    _follower: Follower,
    leased: watch::Receiver<bool>,
    metrics: Metrics,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Live {
    /// Starts reading and registering on the current tokio runtime.
    ///
    /// # Errors
    /// A Kafka setting that librdkafka does not take.
    pub fn start(
        settings: Settings,
        registry: Arc<dyn Registry>,
        metrics: Metrics,
        health: Health,
    ) -> anyhow::Result<Self> {
        let cancel = CancellationToken::new();
        let hub = Arc::new(Mutex::new(Hub::new(metrics.clone())));
        let group = format!(
            "clickstream-handler-{}",
            registry.pipeline().replace('/', ".")
        );
        let lanes = Lanes::start(
            &settings.kafka,
            &settings.filtered_topic,
            &group,
            Arc::clone(&hub),
            metrics.clone(),
            health,
            cancel.clone(),
        )?;
        let follower = Follower::start(
            Arc::clone(&registry),
            FollowerOptions::default(),
            cancel.clone(),
        );
        let (leased, lease_taken) = watch::channel(false);
        let live = Self(Arc::new(Inner {
            handler: ProcessId::random(),
            registrar: Registrar::new(),
            worker_lanes: Arc::default(),
            state: follower.subscribe(),
            _follower: follower,
            leased: lease_taken,
            tasks: TaskTracker::new(),
            registry,
            settings,
            hub,
            lanes,
            metrics,
            cancel,
        }));
        live.spawn_tasks(leased);
        Ok(live)
    }

    fn spawn_tasks(&self, leased: watch::Sender<bool>) {
        let inner = &self.0;
        let registrar = registrar::Task {
            registrar: inner.registrar.clone(),
            registry: Arc::clone(&inner.registry),
            handler: inner.handler,
            lease: inner.settings.lease,
            hub: Arc::clone(&inner.hub),
            state: inner.state.clone(),
            leased,
        };
        let presence = presence::Presence {
            registry: Arc::clone(&inner.registry),
            handler: inner.handler,
            hub: Arc::clone(&inner.hub),
            metrics: inner.metrics.clone(),
            state: inner.state.clone(),
            worker_lanes: Arc::clone(&inner.worker_lanes),
        };
        let standing = standing::Standing {
            live: self.clone(),
            state: inner.state.clone(),
        };
        self.spawn(registrar.run());
        self.spawn(presence.run());
        self.spawn(standing.run());
        self.spawn(tick(Arc::clone(&inner.hub), inner.registrar.clone()));
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.0.cancel.clone();
        self.0
            .tasks
            .spawn(async move { cancel.run_until_cancelled(task).await });
    }

    /// The queue for a new connection.
    #[must_use]
    pub fn outbound(&self) -> Arc<Outbound> {
        Arc::new(Outbound::new(
            outbound::MAX_BYTES,
            self.0.metrics.outbound.clone(),
        ))
    }

    /// The registry as this handler has read it.
    pub(crate) fn state(&self) -> watch::Receiver<Arc<State>> {
        self.0.state.clone()
    }

    /// Becomes true once this handler has a lease.
    pub(crate) fn leased(&self) -> watch::Receiver<bool> {
        self.0.leased.clone()
    }

    /// Lanes of the filtered topic; 0 while they are unknown.
    pub(crate) fn lanes(&self) -> u32 {
        self.0.lanes.count()
    }

    /// Ends every subscription with `ended`, reason `draining`.
    pub(crate) fn drain(&self) {
        let message = "this handler is going away: connect again to reach another";
        self.0.hub.lock().end_all(EndReason::Draining, message);
    }

    /// Stops reading and leaves the registry.
    ///
    /// # Errors
    /// The registry cannot be reached; the handlers that stay remove this one's queries when its lease is over.
    pub(crate) async fn stop(&self) -> Result<(), RegistryError> {
        self.0.cancel.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.lanes.stop().await;
        self.0.registry.leave(self.0.handler).await
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live")
            .field("handler", &self.handler)
            .finish_non_exhaustive()
    }
}

/// Times to live and progress.
async fn tick(hub: Arc<Mutex<Hub>>, registrar: Registrar) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut count = 0u32;
    loop {
        ticks.tick().await;
        count = count.wrapping_add(1);
        let changed = {
            let mut hub = hub.lock();
            if count.is_multiple_of(4) {
                hub.tell_progress();
            }
            hub.expire(Instant::now())
        };
        for query in changed {
            registrar.changed(query);
        }
    }
}
