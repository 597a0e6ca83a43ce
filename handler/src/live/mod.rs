//! Live subscriptions: from the filtered topic's lanes to the queue of each connection.
//!
//! A door (STOMP, SockJS, SSE) makes one [`Outbound`] per connection, calls [`Live::subscribe`] for each
//! request, and sends what [`Outbound::next`] gives it. Everything else happens behind [`Live`].
//!
//! Inside, the [`Hub`] decides (pure), [`lanes`] reads Kafka, [`registrar`] writes to the registry.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use clickstream_engine::FieldPath;
use clickstream_registry::{
    Follower, FollowerOptions, ProcessId, Registry, RegistryError, StandingName, State,
};
use clickstream_telemetry::Health;
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use tokio::{sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

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
mod subscription;

use self::{
    hub::{Hub, Ticket},
    lanes::Lanes,
    registrar::Registrar,
    request::Plan,
    subscription::{Now, Terms},
};
pub use self::{
    outbound::{Outbound, OutboundMetrics},
    problem::Problem,
    request::{DEFAULT_RATE, MAX_EVENT_TYPES, MIN_TTL},
    status::{
        DropReason, EndReason, Event, GapRange, GapReason, Item, Kind, LeftOut, Status, Time,
    },
};
pub(crate) use self::{registrar::chain, request::filter_problem};
use crate::metrics::{Metrics, Refused};

/// How long a request waits for the registry and Kafka.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// Subscriptions of one handler.
const MAX_SUBSCRIPTIONS: usize = 20_000;
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

/// One running subscription. Dropping it is [`End::Broken`].
#[derive(Debug)]
pub struct Subscription {
    live: Live,
    member: u64,
    outbound: Arc<Outbound>,
    key: u32,
    how: End,
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
            outbound::DEFAULT_BYTES,
            self.0.metrics.outbound.clone(),
        ))
    }

    /// Starts a subscription whose items come through `outbound`, marked with `key`, the connection's own number
    /// for it, never used twice on one connection. Returns once the query is registered; the first item is
    /// the status `registered`. Dropping the future gives the request up.
    ///
    /// # Errors
    /// A [`Problem`]: 422 for a filter, fields or other value at fault, 404 for an unknown standing query and 409
    /// for a suspended one, 409 or 429 for the connection's limits, 503 when this handler has too many
    /// subscriptions or is going away, or when the registry or Kafka does not answer within 10 s.
    pub async fn subscribe(
        &self,
        request: Request,
        outbound: Arc<Outbound>,
        key: u32,
    ) -> Result<Subscription, Problem> {
        let outcome = timeout(MAX_WAIT, self.try_subscribe(request, outbound, key)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(self.unavailable()));
        if let Err(problem) = &outcome {
            self.0.metrics.refused(match problem.status {
                503 => Refused::Unavailable,
                429 => Refused::Limit,
                _ => Refused::Request,
            });
        }
        outcome
    }

    async fn try_subscribe(
        &self,
        request: Request,
        outbound: Arc<Outbound>,
        key: u32,
    ) -> Result<Subscription, Problem> {
        let inner = &self.0;
        let standing = match &request.standing {
            Some((namespace, name)) => Some(self.standing(namespace, name).await?),
            None => None,
        };
        let settings = &inner.settings;
        let plan = Plan::new(
            &request,
            standing.as_ref(),
            &settings.event_type_field,
            settings.subscription_ttl,
        )?;
        if inner.hub.lock().subscriptions() >= MAX_SUBSCRIPTIONS {
            return Err(Problem::new(
                503,
                "handler-full",
                "Handler full",
                format!(
                    "this handler has {MAX_SUBSCRIPTIONS} subscriptions, its most: connect again to reach another"
                ),
            ));
        }
        outbound.open(key)?;
        // From here on, giving up for whatever reason closes the queue again.
        let opened = Opened {
            outbound: &outbound,
            key,
            done: false,
        };
        let place = self
            .place(&plan.tenant, plan.filter.canonical(), plan.rate)
            .await;
        let terms = Terms {
            outbound: Arc::clone(&outbound),
            channel: key,
            view: plan.view,
            rate: plan.rate,
            ttl: plan.ttl,
            standing: plan.standing,
            class: plan.filter.class().0.to_string(),
        };
        let member = place.join(terms);
        opened.keep();
        Ok(Subscription {
            live: self.clone(),
            member,
            outbound,
            key,
            how: End::Broken,
        })
    }

    async fn standing(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<clickstream_registry::Standing, Problem> {
        let key = StandingName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let found = self
            .0
            .registry
            .standing(&key)
            .await
            .map_err(|err| match err {
                RegistryError::Invalid(message) => request::invalid(message),
                err => {
                    warn!(error = %registrar::chain(&err), "a standing query cannot be read");
                    self.unavailable()
                }
            })?;
        match found {
            None => Err(Problem::new(
                404,
                "unknown-query",
                "Unknown query",
                format!("there is no standing query `{namespace}/{name}`"),
            )),
            Some(standing) if standing.suspended => Err(Problem::new(
                409,
                "query-suspended",
                "Query suspended",
                format!("the standing query `{namespace}/{name}` is suspended"),
            )),
            Some(standing) => Ok(standing),
        }
    }

    /// Gets a query read and registered. In this order, because a match may come as soon as it is registered.
    async fn place(&self, tenant: &str, filter: &str, rate: Option<u32>) -> Place<'_> {
        let inner = &self.0;
        let query = inner.registry.query_id(tenant, filter);
        let lanes = [
            inner.lanes.count(),
            inner.worker_lanes.load(Ordering::Relaxed),
        ];
        let lanes = lanes
            .into_iter()
            .filter(|lanes| *lanes > 0)
            .min()
            .unwrap_or(1);
        let ticket = {
            let mut hub = inner.hub.lock();
            let lane = hub.quietest_lane(lanes);
            hub.prepare(query, tenant, filter, lane, rate)
        };
        let place = Place {
            live: self,
            ticket,
            done: false,
        };
        inner.lanes.reading().await;
        inner.registrar.serve(query).await;
        place
    }

    /// What is missing when a request had to wait for too long.
    fn unavailable(&self) -> Problem {
        let state = self.0.state.borrow();
        let what = if self.0.lanes.count() == 0 {
            "Kafka or the filtered topic cannot be reached"
        } else if !state.connected || !*self.0.leased.borrow() {
            "the query registry cannot be reached"
        } else {
            "Kafka or the query registry does not answer"
        };
        Problem::new(
            503,
            "unavailable",
            "Unavailable for now",
            format!(
                "{what}; running subscriptions go on, new ones have to wait: try again in a moment"
            ),
        )
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

impl Subscription {
    /// Ends it. Nothing more comes for it.
    pub fn end(mut self, how: End) {
        self.how = how;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let inner = &self.live.0;
        let window = inner.settings.resume_window;
        let keep = self.how == End::Broken && !window.is_zero();
        let keep_until = keep.then(|| Instant::now() + window);
        let changed = inner.hub.lock().leave(self.member, keep_until);
        self.outbound.close(self.key);
        if let Some(query) = changed {
            inner.registrar.changed(query);
        }
    }
}

/// A queue that is open for a request which may still fail.
struct Opened<'a> {
    outbound: &'a Outbound,
    key: u32,
    done: bool,
}

impl Opened<'_> {
    fn keep(mut self) {
        self.done = true;
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.outbound.close(self.key);
        }
    }
}

/// A place in a group, given up unless it is joined.
struct Place<'a> {
    live: &'a Live,
    ticket: Ticket,
    done: bool,
}

impl Place<'_> {
    fn join(mut self, terms: Terms) -> u64 {
        self.done = true;
        self.live.0.hub.lock().join(self.ticket, terms, Now::read())
    }

    /// Moves a subscription here, if it is still there.
    fn migrate(mut self, member: u64) {
        self.done = self
            .live
            .0
            .hub
            .lock()
            .migrate(member, self.ticket, Now::read());
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.live.0.hub.lock().abandon(self.ticket);
            self.live.0.registrar.changed(self.ticket.query);
        }
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
