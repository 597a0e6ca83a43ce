//! The one queue between the routing of matches and a connection.
//!
//! It is bounded in bytes of events. At the bound the connection's oldest event goes, whichever of its
//! subscriptions it belongs to; the loss is counted for that subscription and nobody else is slowed.
//! Statuses are never lost: of each kind at most one waits per subscription, later ones are merged into it.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tokio::sync::Notify;

use super::{Event, GapRange, Item, Kind, Problem, Status};

/// Bytes of events that may wait for one connection. After a pause a lane gives a hundred thousand records a second, more
/// than any connection takes: this is room for half a minute of a busy query. Viewers of a query share its events, so
/// it is seldom what they take.
pub const MAX_BYTES: usize = 32 << 20;
/// The same while all connections together are beyond [`SHARED_BYTES`]: about a second of a busy query.
const CROWDED_BYTES: usize = 1 << 20;
/// Bytes that wait for all connections, beyond which each keeps to [`CROWDED_BYTES`].
const SHARED_BYTES: i64 = 256 << 20;
/// Subscriptions of one connection.
pub const MAX_SUBSCRIPTIONS: usize = 128;
/// Bytes of events given out by one [`Outbound::next`]: enough to fill a write, small enough to share the core.
const BATCH_BYTES: usize = 64 << 10;
/// What an event costs beside its body.
const EVENT_OVERHEAD: usize = 128;
/// Ranges that one waiting `gap` may list; beyond it says "unknown".
const MAX_GAP_RANGES: usize = 256;

/// Counters that all queues of a handler share.
#[derive(Debug, Clone, Default)]
pub struct OutboundMetrics {
    /// Bytes waiting now.
    pub queue_bytes: Gauge,
    /// Events that went because a viewer read too slowly.
    pub slow: Counter,
}

/// The queue of one connection. The door that owns the connection is its only reader.
#[derive(Debug)]
pub struct Outbound {
    inner: Mutex<Inner>,
    ready: Notify,
    max_bytes: usize,
    metrics: OutboundMetrics,
}

#[derive(Debug, Default)]
struct Inner {
    queues: Vec<(u32, Queue)>,
    next_sequence: u64,
    bytes: usize,
    /// Something came since the last wake.
    touched: bool,
    /// Credit of subscriptions that are about to be made.
    early_credit: Vec<(u32, u32)>,
}

/// What waits for one subscription.
#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<(u64, Arc<Event>)>,
    statuses: VecDeque<(u64, Status)>,
    /// Events that may still be given out; none means no limit.
    credit: Option<u32>,
    delivered: u64,
    slow: u64,
    slow_told: u64,
    ended: bool,
}

impl Outbound {
    /// An empty queue for at most `max_bytes` of waiting events (a single larger event still passes), or less while
    /// the queues that share `metrics` hold too much together.
    #[must_use]
    pub fn new(max_bytes: usize, metrics: OutboundMetrics) -> Self {
        Self {
            inner: Mutex::default(),
            ready: Notify::new(),
            max_bytes,
            metrics,
        }
    }

    /// Waits until there is something to send and appends it to `items`, oldest first, about 64 KiB at most.
    /// Cancel safe: nothing is taken unless it is returned.
    pub async fn next(&self, items: &mut Vec<Item>) {
        while !self.take(items) {
            self.ready.notified().await;
        }
    }

    /// As [`Self::next`], without waiting. Returns whether anything was appended.
    pub fn take(&self, items: &mut Vec<Item>) -> bool {
        let mut inner = self.inner.lock();
        let before = items.len();
        let mut taken = 0;
        while taken < BATCH_BYTES {
            let Some(position) = inner.oldest_ready() else {
                break;
            };
            let (subscription, queue) = &mut inner.queues[position];
            let subscription = *subscription;
            let kind = queue.pop();
            let mut freed = 0;
            if let Kind::Event(event) = &kind {
                freed = cost(event);
            } else if matches!(kind, Kind::Status(Status::Ended { .. })) {
                // `ended` is the last message: what waits without credit is never sent.
                freed = inner.remove(position);
            }
            taken += freed;
            inner.bytes -= freed;
            self.metrics.queue_bytes.dec_by(freed as i64);
            items.push(Item { subscription, kind });
        }
        items.len() > before
    }

    /// Limits how many events of a subscription may be given out from now on: how client acknowledgements
    /// become back-pressure. `None` lifts the limit. Events that wait for credit count towards the bound.
    /// For a subscription that is about to be made, the limit holds from its first event on; the door lifts it
    /// again when none is made.
    pub fn set_credit(&self, subscription: u32, credit: Option<u32>) {
        let mut inner = self.inner.lock();
        if let Some(queue) = inner.queue(subscription) {
            queue.credit = credit;
        } else {
            inner.early_credit.retain(|(key, _)| *key != subscription);
            inner
                .early_credit
                .extend(credit.map(|credit| (subscription, credit)));
        }
        drop(inner);
        self.ready.notify_one();
    }

    /// Adds to the credit of a subscription that has a limit.
    pub fn add_credit(&self, subscription: u32, more: u32) {
        if let Some(queue) = self.inner.lock().queue(subscription) {
            queue.credit = queue.credit.map(|credit| credit.saturating_add(more));
        }
        self.ready.notify_one();
    }

    /// Bytes waiting.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }

    /// Makes room for a subscription. `subscription` must not be in use on this connection.
    pub(crate) fn open(&self, subscription: u32) -> Result<(), Problem> {
        let mut inner = self.inner.lock();
        if inner.queue(subscription).is_some() {
            return Err(Problem::new(
                409,
                "subscription-in-use",
                "Subscription in use",
                "this connection already has this subscription: end it first, or choose another id",
            ));
        }
        if inner.queues.len() >= MAX_SUBSCRIPTIONS {
            return Err(Problem::new(
                429,
                "too-many-subscriptions",
                "Too many subscriptions",
                format!(
                    "a connection may have {MAX_SUBSCRIPTIONS} subscriptions: end one, or open another connection"
                ),
            ));
        }
        let early = inner
            .early_credit
            .iter()
            .position(|(key, _)| *key == subscription);
        let queue = Queue {
            credit: early.map(|position| inner.early_credit.swap_remove(position).1),
            ..Queue::default()
        };
        inner.queues.push((subscription, queue));
        Ok(())
    }

    /// Forgets a subscription and what waits for it.
    pub(crate) fn close(&self, subscription: u32) {
        let mut inner = self.inner.lock();
        if let Some(position) = inner
            .queues
            .iter()
            .position(|(key, _)| *key == subscription)
        {
            let freed = inner.remove(position);
            inner.bytes -= freed;
            self.metrics.queue_bytes.dec_by(freed as i64);
        }
    }

    /// Appends an event. Returns true when the connection must be woken by [`Self::wake`], once per batch.
    pub(crate) fn push_event(&self, subscription: u32, event: &Arc<Event>) -> bool {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let cost = cost(event);
        let sequence = inner.next_sequence;
        if inner.queue(subscription).is_none_or(|queue| queue.ended) {
            return false;
        }
        let crowded = self.metrics.queue_bytes.get() > SHARED_BYTES;
        let max_bytes = if crowded {
            self.max_bytes.min(CROWDED_BYTES)
        } else {
            self.max_bytes
        };
        while inner.bytes + cost > max_bytes && inner.drop_oldest(&self.metrics) {}
        if let Some(queue) = inner.queue(subscription) {
            queue.events.push_back((sequence, Arc::clone(event)));
        }
        inner.next_sequence += 1;
        inner.bytes += cost;
        self.metrics.queue_bytes.inc_by(cost as i64);
        !std::mem::replace(&mut inner.touched, true)
    }

    /// Appends a status, merging it into one of its kind that still waits, and wakes the door.
    pub(crate) fn push_status(&self, subscription: u32, status: Status) {
        let mut inner = self.inner.lock();
        let sequence = inner.next_sequence;
        inner.next_sequence += 1;
        if let Some(queue) = inner.queue(subscription).filter(|queue| !queue.ended) {
            queue.push_status(sequence, status);
            drop(inner);
            self.ready.notify_one();
        }
    }

    /// Wakes the door.
    pub(crate) fn wake(&self) {
        self.inner.lock().touched = false;
        self.ready.notify_one();
    }

    /// Events of a subscription that went because the viewer was slow, since the last call.
    pub(crate) fn take_slow(&self, subscription: u32) -> u64 {
        let mut inner = self.inner.lock();
        let Some(queue) = inner.queue(subscription) else {
            return 0;
        };
        let count = queue.slow - queue.slow_told;
        queue.slow_told = queue.slow;
        count
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        self.metrics
            .queue_bytes
            .dec_by(self.inner.get_mut().bytes as i64);
    }
}

impl Inner {
    fn queue(&mut self, subscription: u32) -> Option<&mut Queue> {
        self.queues
            .iter_mut()
            .find(|(key, _)| *key == subscription)
            .map(|(_, queue)| queue)
    }

    /// Which queue has the oldest item that may go out.
    fn oldest_ready(&self) -> Option<usize> {
        let ready = self.queues.iter().enumerate();
        let ready =
            ready.filter_map(|(position, (_, queue))| Some((queue.next_sequence()?, position)));
        ready.min().map(|(_, position)| position)
    }

    /// Drops the connection's oldest event; false when none waits.
    fn drop_oldest(&mut self, metrics: &OutboundMetrics) -> bool {
        let waiting = self
            .queues
            .iter_mut()
            .map(|(_, queue)| queue)
            .filter(|queue| !queue.events.is_empty());
        let oldest =
            waiting.min_by_key(|queue| queue.events.front().map(|(sequence, _)| *sequence));
        let Some(queue) = oldest else { return false };
        let Some((_, event)) = queue.events.pop_front() else {
            return false;
        };
        queue.slow += 1;
        metrics.slow.inc();
        self.bytes -= cost(&event);
        metrics.queue_bytes.dec_by(cost(&event) as i64);
        true
    }

    /// Removes a queue; returns the bytes that waited in it.
    fn remove(&mut self, position: usize) -> usize {
        let (_, queue) = self.queues.swap_remove(position);
        queue.events.iter().map(|(_, event)| cost(event)).sum()
    }
}

impl Queue {
    fn next_sequence(&self) -> Option<u64> {
        let event = self
            .events
            .front()
            .filter(|_| self.credit != Some(0))
            .map(|(sequence, _)| *sequence);
        let status = self.statuses.front().map(|(sequence, _)| *sequence);
        [event, status].into_iter().flatten().min()
    }

    /// Takes the item that [`Self::next_sequence`] speaks of; the caller has checked that there is one.
    fn pop(&mut self) -> Kind {
        let next = self.next_sequence();
        if let Some((_, mut status)) = self
            .statuses
            .pop_front_if(|(sequence, _)| Some(*sequence) == next)
        {
            if let Status::Progress {
                delivered,
                left_out,
                ..
            } = &mut status
            {
                // Only here is it certain what went out before this status and what did not.
                *delivered = self.delivered;
                left_out.slow = self.slow;
            }
            return Kind::Status(status);
        }
        #[expect(
            clippy::expect_used,
            reason = "called only when an item is ready, and it was no status"
        )]
        let (_, event) = self.events.pop_front().expect("an event is ready");
        self.credit = self.credit.map(|credit| credit.saturating_sub(1));
        self.delivered += 1;
        Kind::Event(event)
    }

    fn push_status(&mut self, sequence: u64, mut status: Status) {
        let same_kind = |waiting: &Status| match (waiting, &status) {
            (Status::Dropped { reason: a, .. }, Status::Dropped { reason: b, .. }) => a == b,
            (Status::Gap { reason: a, .. }, Status::Gap { reason: b, .. }) => a == b,
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        };
        if let Some(position) = self
            .statuses
            .iter()
            .position(|(_, waiting)| same_kind(waiting))
            && let Some((_, waiting)) = self.statuses.remove(position)
        {
            merge(waiting, &mut status);
        }
        self.ended = matches!(status, Status::Ended { .. });
        self.statuses.push_back((sequence, status));
    }
}

/// Adds what a waiting status said to the one that takes its place.
fn merge(waiting: Status, status: &mut Status) {
    match (waiting, status) {
        (Status::Dropped { count: earlier, .. }, Status::Dropped { count, .. }) => {
            *count += earlier
        }
        (
            Status::Gap {
                ranges: mut earlier,
                ..
            },
            Status::Gap { ranges, .. },
        ) => {
            let unknown = |ranges: &Vec<GapRange>| ranges.is_empty();
            if unknown(&earlier) || unknown(ranges) || earlier.len() + ranges.len() > MAX_GAP_RANGES
            {
                ranges.clear();
            } else {
                earlier.append(ranges);
                *ranges = earlier;
            }
        }
        _ => {}
    }
}

fn cost(event: &Event) -> usize {
    event.body.len() + EVENT_OVERHEAD
}

#[cfg(test)]
mod tests;
