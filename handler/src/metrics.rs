//! The handler's metrics. Labels come from fixed sets only.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};

use crate::live::{Event, OutboundMetrics, Time};

/// Seconds from a record's timestamp to the frame that carries it.
const DELIVERY_BUCKETS: [f64; 13] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// By which door a viewer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    /// STOMP on a WebSocket.
    Stomp,
    /// STOMP on SockJS, whatever its transport.
    Sockjs,
    /// Server-sent events.
    Sse,
}

impl Door {
    const ALL: [Self; 3] = [Self::Stomp, Self::Sockjs, Self::Sse];

    fn label(self) -> ByDoor {
        let door = match self {
            Self::Stomp => "stomp",
            Self::Sockjs => "sockjs",
            Self::Sse => "sse",
        };
        ByDoor { door }
    }
}

/// Why something was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// The filter, or another value of the request.
    Request,
    /// A limit of the connection or the handler.
    Limit,
    /// The registry or Kafka did not answer in time.
    Unavailable,
    /// The page of another site.
    Origin,
    /// Bytes that break the door's protocol.
    Protocol,
    /// The client was silent or did not read for too long.
    Timeout,
    /// The handler is going away.
    Draining,
}

impl Refused {
    fn label(self) -> ByReason {
        let reason = match self {
            Self::Request => "request",
            Self::Limit => "limit",
            Self::Unavailable => "unavailable",
            Self::Origin => "origin",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::Draining => "draining",
        };
        ByReason { reason }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByDoor {
    door: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

/// All of the handler's metrics. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    connections: Family<ByDoor, Gauge>,
    messages: Family<ByDoor, Counter>,
    refused: Family<ByReason, Counter>,
    delivery_seconds: Histogram,
    /// Running subscriptions.
    pub(crate) subscriptions: Gauge,
    /// Matches over the rate a viewer asked for.
    pub(crate) over_rate: Counter,
    /// What the queues of connections count.
    pub(crate) outbound: OutboundMetrics,
    /// Records of the filtered topic read.
    pub(crate) lane_records: Counter,
    /// Of these, not understood: another version, or damaged.
    pub(crate) lane_unknown: Counter,
    /// Lane offsets that were deleted before they were read, as events.
    pub(crate) lane_gaps: Counter,
}

impl Metrics {
    /// Makes the metrics and registers them, to be shown on `/metrics`.
    #[must_use]
    pub fn new(telemetry: &clickstream_telemetry::Metrics) -> Self {
        let dropped: Family<ByReason, Counter> = Family::default();
        let of = |reason| dropped.get_or_create_owned(&ByReason { reason });
        let this = Self {
            connections: Family::default(),
            messages: Family::default(),
            refused: Family::default(),
            delivery_seconds: Histogram::new(DELIVERY_BUCKETS),
            subscriptions: Gauge::default(),
            over_rate: of("rate"),
            outbound: OutboundMetrics {
                queue_bytes: Gauge::default(),
                slow: of("slow"),
            },
            lane_records: Counter::default(),
            lane_unknown: Counter::default(),
            lane_gaps: Counter::default(),
        };
        telemetry.register(|registry| {
            registry.register(
                "handler_connections",
                "Connections of viewers",
                this.connections.clone(),
            );
            registry.register(
                "handler_subscriptions",
                "Running subscriptions",
                this.subscriptions.clone(),
            );
            registry.register(
                "handler_messages",
                "Events and statuses sent",
                this.messages.clone(),
            );
            registry.register("handler_dropped", "Matches withheld from a viewer", dropped);
            registry.register(
                "handler_refused",
                "Requests and connections turned away",
                this.refused.clone(),
            );
            registry.register(
                "handler_queue_bytes",
                "Bytes of events waiting for viewers",
                this.outbound.queue_bytes.clone(),
            );
            registry.register(
                "handler_delivery_seconds",
                "Record timestamp to frame",
                this.delivery_seconds.clone(),
            );
            registry.register(
                "handler_lane_records",
                "Records read from the filtered topic",
                this.lane_records.clone(),
            );
            registry.register(
                "handler_lane_unknown",
                "Records of the filtered topic not understood",
                this.lane_unknown.clone(),
            );
            registry.register(
                "handler_lane_gaps",
                "Times a lane went on after records deleted unread",
                this.lane_gaps.clone(),
            );
        });
        this
    }

    /// Counts a connection for as long as the guard lives.
    #[must_use]
    pub fn connected(&self, door: Door) -> Connected {
        let gauge = self.connections.get_or_create_owned(&door.label());
        gauge.inc();
        Connected(gauge)
    }

    /// Connections now, of all doors.
    #[must_use]
    pub fn connections(&self) -> u32 {
        let count: i64 = Door::ALL
            .iter()
            .map(|door| self.connections.get_or_create(&door.label()).get())
            .sum();
        u32::try_from(count).unwrap_or_default()
    }

    /// Counts messages sent; a door asks once per connection and keeps the counter.
    #[must_use]
    pub fn messages(&self, door: Door) -> Counter {
        self.messages.get_or_create_owned(&door.label())
    }

    /// Notes how old an event is when its frame is made.
    pub fn delivered(&self, event: &Event) {
        let age =
            Duration::from_millis(u64::try_from(Time::now().0 - event.time.0).unwrap_or_default());
        self.delivery_seconds.observe(age.as_secs_f64());
    }

    /// Counts something turned away.
    pub fn refused(&self, reason: Refused) {
        self.refused.get_or_create(&reason.label()).inc();
    }
}

/// One connection, counted.
#[derive(Debug)]
pub struct Connected(Gauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}
