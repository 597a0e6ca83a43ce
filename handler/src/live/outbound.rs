//! The one queue between the routing of matches and a connection.
//!
//! It is bounded in bytes of events. At the bound the connection's oldest event goes, whichever of its
//! subscriptions it belongs to; the loss is counted for that subscription and nobody else is slowed.
//! Statuses are never lost: of each kind at most one waits per subscription, later ones are merged into it.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tokio::sync::Notify;

use super::{Event, GapRange, Item, Kind, Problem, Status};

/// Bytes of events that may wait for one connection, unless said otherwise: about a second of a busy query.
pub const DEFAULT_BYTES: usize = 1 << 20;
/// Subscriptions of one connection.
pub const MAX_SUBSCRIPTIONS: usize = 128;
/// Bytes of events given out by one [`Outbound::next`]: enough to fill a write, small enough to share the core.
const BATCH_BYTES: usize = 64 << 10;
/// A connection that has been behind for less than this is given time to catch up; then it is slow.
const PATIENCE: Duration = Duration::from_secs(2);
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
    /// Since when more than half of the bound has been waiting.
    behind_since: Option<Instant>,
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
    /// An empty queue for at most `max_bytes` of waiting events (a single larger event still passes).
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
        inner.judge(self.max_bytes);
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
            inner.judge(self.max_bytes);
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
        while inner.bytes + cost > self.max_bytes && inner.drop_oldest(&self.metrics) {}
        if let Some(queue) = inner.queue(subscription) {
            queue.events.push_back((sequence, Arc::clone(event)));
        }
        inner.next_sequence += 1;
        inner.bytes += cost;
        inner.judge(self.max_bytes);
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

    /// Whether the connection is behind and may still be waited for. Matches come faster than any connection can
    /// be written to when lanes are read after a pause; that does not make the viewer slow.
    pub(crate) fn is_catching_up(&self, now: Instant) -> bool {
        let since = self.inner.lock().behind_since;
        since.is_some_and(|since| now.saturating_duration_since(since) < PATIENCE)
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

    /// Notes since when too much has been waiting.
    fn judge(&mut self, max_bytes: usize) {
        if self.bytes <= max_bytes / 2 {
            self.behind_since = None;
        } else if self.behind_since.is_none() {
            self.behind_since = Some(Instant::now());
        }
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
mod tests {
    use super::super::{DropReason, EndReason, GapReason, LeftOut, Time};
    use super::*;

    fn event(number: u64, bytes: usize) -> Arc<Event> {
        Arc::new(Event {
            source: number.to_string(),
            time: Time(0),
            body: vec![b'x'; bytes].into(),
            too_large: false,
        })
    }

    fn progress(matched: u64) -> Status {
        Status::Progress {
            scanned: matched,
            matched,
            delivered: 0,
            left_out: LeftOut::default(),
            unreadable: 0,
            complete_to: None,
            lag_records: 0,
        }
    }

    /// What goes out, in order: events by their source, statuses by name.
    fn taken(outbound: &Outbound) -> Vec<(u32, String)> {
        let mut items = Vec::new();
        while outbound.take(&mut items) {}
        let name = |kind| match kind {
            Kind::Event(event) => event.source.clone(),
            Kind::Status(status) => status.name().to_owned(),
        };
        let items = items.into_iter();
        items
            .map(|item| (item.subscription, name(item.kind)))
            .collect()
    }

    fn queue(max_bytes: usize, subscriptions: &[u32]) -> Outbound {
        let outbound = Outbound::new(max_bytes, OutboundMetrics::default());
        for subscription in subscriptions {
            outbound.open(*subscription).unwrap();
        }
        outbound
    }

    #[test]
    fn the_oldest_event_of_the_connection_goes_and_is_counted_for_its_subscription() {
        let outbound = queue(3 * (EVENT_OVERHEAD + 100), &[1, 2]);
        for (number, subscription) in [1, 2, 1, 2, 1].into_iter().enumerate() {
            outbound.push_event(subscription, &event(number as u64, 100));
        }
        assert_eq!((outbound.take_slow(1), outbound.take_slow(2)), (1, 1));
        assert_eq!(
            (outbound.take_slow(1), outbound.take_slow(2)),
            (0, 0),
            "told once"
        );
        let rest = [
            (1, "2".to_owned()),
            (2, "3".to_owned()),
            (1, "4".to_owned()),
        ];
        assert_eq!(taken(&outbound), rest);
        outbound.push_event(1, &event(9, 100_000));
        assert_eq!(
            taken(&outbound),
            [(1, "9".to_owned())],
            "one event always fits"
        );
        assert_eq!(outbound.bytes(), 0);
    }

    #[test]
    fn statuses_wait_once_of_each_kind_and_add_up() {
        let outbound = queue(1_000, &[1]);
        let range = |from| GapRange {
            topic: "t".into(),
            partition: 0,
            from,
            to: from + 1,
        };
        for number in 0..1_000 {
            outbound.push_status(1, progress(number));
            outbound.push_status(
                1,
                Status::Dropped {
                    reason: DropReason::Rate,
                    count: 2,
                },
            );
            if number < 2 {
                let ranges = vec![range(number as i64)];
                outbound.push_status(
                    1,
                    Status::Gap {
                        reason: GapReason::Retention,
                        ranges,
                    },
                );
            }
        }
        let mut items = Vec::new();
        assert!(outbound.take(&mut items));
        let statuses: Vec<Status> = items
            .into_iter()
            .map(|item| match item.kind {
                Kind::Status(status) => status,
                Kind::Event(event) => panic!("{event:?}"),
            })
            .collect();
        let gap = Status::Gap {
            reason: GapReason::Retention,
            ranges: vec![range(0), range(1)],
        };
        let dropped = Status::Dropped {
            reason: DropReason::Rate,
            count: 2_000,
        };
        assert_eq!(statuses, [gap, progress(999), dropped]);
    }

    #[test]
    fn progress_tells_what_went_out_before_it() {
        let outbound = queue(2 * (EVENT_OVERHEAD + 100), &[1]);
        outbound.push_event(1, &event(1, 100));
        outbound.push_event(1, &event(2, 100));
        outbound.push_status(1, progress(3));
        outbound.push_event(1, &event(3, 100));
        let mut items = Vec::new();
        assert!(outbound.take(&mut items));
        let Kind::Status(Status::Progress {
            delivered,
            left_out,
            ..
        }) = &items[1].kind
        else {
            panic!("{items:?}")
        };
        assert_eq!((*delivered, left_out.slow), (1, 1));
    }

    #[test]
    fn without_credit_events_wait_and_others_pass() {
        let outbound = queue(10_000, &[1, 2]);
        outbound.set_credit(1, Some(1));
        for number in 0..3 {
            outbound.push_event(1, &event(number, 1));
        }
        outbound.push_event(2, &event(3, 1));
        outbound.push_status(1, progress(3));
        let told = [
            (1, "0".to_owned()),
            (2, "3".to_owned()),
            (1, "progress".to_owned()),
        ];
        assert_eq!(taken(&outbound), told);
        outbound.add_credit(1, 1);
        assert_eq!(taken(&outbound), [(1, "1".to_owned())]);
        let ended = Status::Ended {
            reason: EndReason::Expired,
            message: String::new(),
            error: None,
        };
        outbound.push_status(1, ended);
        outbound.push_event(1, &event(4, 1));
        assert_eq!(taken(&outbound), [(1, "ended".to_owned())]);
        assert_eq!(outbound.bytes(), 0, "nothing comes after `ended`");
    }

    #[tokio::test]
    async fn the_door_is_woken_once_for_a_batch() {
        let outbound = queue(10_000, &[1]);
        assert!(
            outbound.push_event(1, &event(0, 1)),
            "the first needs a wake"
        );
        assert!(!outbound.push_event(1, &event(1, 1)));
        outbound.wake();
        let mut items = Vec::new();
        outbound.next(&mut items).await;
        assert_eq!(items.len(), 2);
        assert!(outbound.push_event(1, &event(2, 1)));
    }

    #[test]
    fn a_connection_that_is_behind_is_waited_for_until_it_has_caught_up_or_is_slow() {
        let outbound = Outbound::new(1_000_000, OutboundMetrics::default());
        outbound.open(7).unwrap();
        let event = Arc::new(Event {
            source: "events/0/1".to_owned(),
            time: Time(0),
            body: vec![b'x'; 10_000].into(),
            too_large: false,
        });
        let push = |count| {
            for _ in 0..count {
                outbound.push_event(7, &event);
            }
        };
        push(40);
        assert!(
            !outbound.is_catching_up(Instant::now()),
            "less than half is nothing unusual"
        );
        push(20);
        let behind = Instant::now();
        assert!(outbound.is_catching_up(behind));
        let mut items = Vec::new();
        while outbound.take(&mut items) {}
        assert_eq!(items.len(), 60);
        assert!(!outbound.is_catching_up(behind), "it has caught up");
        push(200);
        assert!(outbound.is_catching_up(Instant::now()));
        assert!(
            !outbound.is_catching_up(Instant::now() + PATIENCE),
            "it is slow"
        );
        assert!(outbound.take_slow(7) > 0);
    }
}
