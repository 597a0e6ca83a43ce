//! Live subscriptions: from the filtered topic's lanes to the queue of each connection.
//!
//! A door (STOMP, SockJS, SSE) makes one [`Outbound`] per connection, calls [`Live::subscribe`] for each
//! request, and sends what [`Outbound::next`] gives it. Everything else happens behind [`Live`].

use std::{sync::Arc, time::Duration};

pub mod outbound;
mod problem;
mod status;

pub use self::{
    outbound::{Outbound, OutboundMetrics},
    problem::Problem,
    status::{
        DropReason, EndReason, Event, GapRange, GapReason, Item, Kind, LeftOut, Status, Time,
    },
};

/// What a viewer asks for; the members are named as on every door.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// A filter; none means all events.
    pub filter: Option<String>,
    /// Event types, any of which; empty means all.
    pub event_types: Vec<String>,
    /// Comma separated paths to show of each event; none means all of it.
    pub fields: Option<String>,
    /// Most matches per second; none means the default of 100, 0 means no limit.
    pub rate: Option<u32>,
    /// Time to live, shorter than the server's; none means the server's.
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

/// The live part of a handler. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Live(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    metrics: OutboundMetrics,
}

/// One running subscription. Dropping it is [`End::Broken`].
#[derive(Debug)]
pub struct Subscription {
    outbound: Arc<Outbound>,
    key: u32,
}

impl Live {
    /// The queue for a new connection.
    #[must_use]
    pub fn outbound(&self) -> Arc<Outbound> {
        Arc::new(Outbound::new(
            outbound::DEFAULT_BYTES,
            self.0.metrics.clone(),
        ))
    }

    /// Starts a subscription whose items come through `outbound`, marked with `key`, the connection's own number
    /// for it, never used twice on one connection. Returns once the query is registered; the first item is
    /// the status `registered`.
    ///
    /// # Errors
    /// A [`Problem`]: 422 for a filter, fields or other value at fault, 404 for an unknown standing query,
    /// 409 or 429 for the connection's limits, 503 when the registry or Kafka does not answer within 10 s.
    pub async fn subscribe(
        &self,
        request: Request,
        outbound: Arc<Outbound>,
        key: u32,
    ) -> Result<Subscription, Problem> {
        let _ = (request, outbound, key);
        Err(Problem::new(
            503,
            "starting",
            "Starting",
            "the handler is starting",
        ))
    }
}

impl Subscription {
    /// Ends it. Nothing more comes for it.
    pub fn end(self, how: End) {
        let _ = how;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.outbound.close(self.key);
    }
}
