//! How a request becomes a subscription, and how that ends.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use clickstream_registry::{RegistryError, Standing, StandingName};
use tokio::time::timeout;
use tracing::warn;

use super::{
    End, Live, Outbound, Problem, Request,
    hub::Ticket,
    registrar::chain,
    request::{self, Plan},
    subscription::{Now, Terms},
};

/// How long a request waits for the registry and Kafka.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// Subscriptions of one handler.
const MAX_SUBSCRIPTIONS: usize = 20_000;

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
        outcome.unwrap_or_else(|_| Err(self.unavailable()))
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

    async fn standing(&self, namespace: &str, name: &str) -> Result<Standing, Problem> {
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
                    warn!(error = %chain(&err), "a standing query cannot be read");
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
    pub(super) async fn place(&self, tenant: &str, filter: &str, rate: Option<u32>) -> Place<'_> {
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
pub(super) struct Place<'a> {
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
    pub(super) fn migrate(mut self, member: u64) {
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
