//! One viewer's use of a query: its rate, its time to live, its totals.
//!
//! Pure: it is told the time.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use clickstream_registry::StandingName;
use clickstream_wire::Range;

use super::{
    DropReason, LeftOut, Outbound, Status, Time,
    group::{Counts, Group},
    lane::{Lane, PartitionId, Scanned},
    projection::View,
};

/// What a subscription is told of its end ahead of time, at most.
const MAX_WARNING: Duration = Duration::from_secs(60);

/// A moment, by the clock that only goes forward and by the calendar.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    pub(crate) time: Time,
}

impl Now {
    pub(crate) fn read() -> Self {
        Self {
            instant: Instant::now(),
            time: Time::now(),
        }
    }
}

/// The parts of a request that concern the viewer alone.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) outbound: Arc<Outbound>,
    /// The connection's number for the subscription.
    pub(crate) channel: u32,
    pub(crate) view: Arc<View>,
    /// Matches per second; none is no limit.
    pub(crate) rate: Option<u32>,
    pub(crate) ttl: Duration,
    pub(crate) standing: Option<StandingName>,
    /// `selective`, `broad` or `scan`.
    pub(crate) class: String,
}

/// A running subscription.
#[derive(Debug)]
pub(crate) struct Member {
    /// The handler's number for it.
    pub(crate) id: u64,
    pub(crate) terms: Terms,
    bucket: Option<Bucket>,
    over_rate: u64,
    over_rate_told: u64,
    expires: Instant,
    expires_at: Time,
    warned: bool,
    /// Which partitions already count, until the subscription is live; then none.
    pending: Option<HashSet<PartitionId>>,
    start: Counts,
    scanned_start: Scanned,
    /// What ranges to come count, although it was before `start`.
    earlier: HashMap<PartitionId, Earlier>,
    /// What former queries of a moved subscription added up to.
    carried: Totals,
    /// What was shown last: while a partition is read again, totals stand still rather than go back.
    shown: Totals,
}

/// Totals since `live`, those that this handler counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) scanned: u64,
    pub(crate) matched: u64,
    pub(crate) unreadable: u64,
    pub(crate) over_rate: u64,
}

impl Member {
    /// Joins `group`, whose query the registry has at `group.revision`.
    pub(crate) fn new(id: u64, terms: Terms, now: Now) -> Self {
        let expires = now.instant + terms.ttl;
        let ttl_ms = i64::try_from(terms.ttl.as_millis()).unwrap_or(i64::MAX);
        Self {
            id,
            bucket: terms.rate.map(|rate| Bucket::full(rate, now.instant)),
            over_rate: 0,
            over_rate_told: 0,
            expires,
            expires_at: Time(now.time.0.saturating_add(ttl_ms)),
            warned: false,
            pending: None,
            start: Counts::default(),
            scanned_start: Scanned::default(),
            earlier: HashMap::new(),
            carried: Totals::default(),
            shown: Totals::default(),
            terms,
        }
    }

    /// Starts to count with `group` and to wait for its revision on `lane`.
    pub(crate) fn enter(&mut self, query: String, group: &Group, lane: Option<&Lane>) {
        self.start = group.start();
        self.scanned_start = Scanned::default();
        self.earlier = group.unstated().collect();
        let mut crossed = HashSet::new();
        if let (Some(lane), Some(revision)) = (lane, group.revision) {
            for (at, end) in lane.ends() {
                if let Some(scanned) = lane.reached(at, revision) {
                    self.scanned_start += scanned;
                    crossed.insert(at);
                    if let Some(earlier) = self.earlier.get_mut(&at) {
                        earlier.begin = end;
                    }
                }
            }
        }
        self.pending = Some(crossed);
        self.tell(Status::Registered {
            query,
            filter: group.filter.clone(),
            class: self.terms.class.clone(),
            expires: self.expires_at,
        });
    }

    /// Leaves its group, with its totals so far, to enter another.
    pub(crate) fn carry(&mut self, group: &Group, lane: Option<&Lane>) {
        // Matches passed on but not yet stated are never heard of again here: they count now.
        let counts = group.start();
        let totals = self.totals(&counts, lane);
        self.carried = Totals {
            over_rate: totals.over_rate - self.over_rate,
            ..totals
        };
    }

    /// Whether this member, and not only its query, is live.
    pub(crate) fn is_live(&self) -> bool {
        self.pending.is_none()
    }

    /// Whether all of a range that is stated now counts for this member.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_live() && self.earlier.is_empty()
    }

    /// A partition was stated: its records count once its owner runs `revision`, the query's. `scanned` is what
    /// `range` counted, if the query was matched in it already; `missed` is the part of it before the group.
    pub(crate) fn partition_stated(
        &mut self,
        at: PartitionId,
        lane: &Lane,
        revision: u64,
        range: &Range,
        scanned: Scanned,
        missed: Option<Earlier>,
    ) {
        if let Some(crossed) = &mut self.pending
            && !crossed.contains(&at)
        {
            let Some(totals) = lane.reached(at, revision) else {
                return;
            };
            crossed.insert(at);
            self.scanned_start += totals - scanned;
            if let Some(missed) = missed {
                self.earlier.entry(at).or_insert(missed);
            }
        }
        if let Some(earlier) = self.earlier.get_mut(&at) {
            self.scanned_start += earlier.take(range, scanned);
            if earlier.begin >= earlier.end {
                self.earlier.remove(&at);
            }
        }
    }

    /// Becomes live when every partition's owner runs `revision`, the query's.
    pub(crate) fn settle(&mut self, lane: &Lane, revision: u64, now: Now) {
        let Some(settled) = lane.settled() else {
            return;
        };
        if settled.revision < revision {
            return;
        }
        let Some(crossed) = self.pending.take() else {
            return;
        };
        // Partitions of a topic that was since made anew: nothing of them belongs to this subscription.
        for (at, scanned) in lane.scanned() {
            if !crossed.contains(&at) {
                self.scanned_start += scanned;
            }
        }
        self.tell(Status::Live {
            at: now.time,
            partitions: settled.partitions,
            lag_records: lane.lag_records(),
        });
    }

    /// Whether the rate allows one more match now; counts it if not.
    pub(crate) fn admits(&mut self, now: Instant) -> bool {
        let admitted = self.bucket.as_mut().is_none_or(|bucket| bucket.take(now));
        if !admitted {
            self.over_rate += 1;
        }
        admitted
    }

    pub(crate) fn rate(&self) -> Option<u32> {
        self.terms.rate
    }

    /// Tells the viewer.
    pub(crate) fn tell(&self, status: Status) {
        self.terms.outbound.push_status(self.terms.channel, status);
    }

    /// Tells what is told each second.
    pub(crate) fn tell_progress(&mut self, group: &Counts, lane: Option<&mut Lane>) {
        let slow = self.terms.outbound.take_slow(self.terms.channel);
        self.tell_dropped(DropReason::Slow, slow);
        let live = lane.filter(|_| self.is_live());
        // Those that workers left out are known once the subscription is live.
        let totals = live.as_deref().map(|lane| self.totals(group, Some(lane)));
        let over_rate = totals.map_or(self.carried.over_rate + self.over_rate, |totals| {
            totals.over_rate
        });
        self.tell_dropped(
            DropReason::Rate,
            over_rate.saturating_sub(self.over_rate_told),
        );
        self.over_rate_told = self.over_rate_told.max(over_rate);
        let (Some(lane), Some(totals)) = (live, totals) else {
            return;
        };
        self.tell(Status::Progress {
            scanned: totals.scanned,
            matched: totals.matched,
            // The queue knows these when the status goes out.
            delivered: 0,
            left_out: LeftOut {
                rate: totals.over_rate,
                slow: 0,
            },
            unreadable: totals.unreadable,
            complete_to: lane.complete_to(),
            lag_records: lane.lag_records(),
        });
    }

    fn tell_dropped(&self, reason: DropReason, count: u64) {
        if count > 0 {
            self.tell(Status::Dropped { reason, count });
        }
    }

    /// Totals since `live`.
    pub(crate) fn totals(&mut self, group: &Counts, lane: Option<&Lane>) -> Totals {
        let scanned = lane.map_or(self.scanned_start, |lane| lane.totals) - self.scanned_start;
        let positive = |count: i64| u64::try_from(count).unwrap_or(0);
        let withheld = positive(group.withheld_since(&self.start));
        let matched = self.carried.matched + positive(group.matched_since(&self.start));
        let unreadable = self.carried.unreadable + positive(scanned.unreadable);
        let scanned = self.carried.scanned + positive(scanned.scanned);
        let now = Totals {
            // The last matches of an owner that is gone may lie in a range that nobody ever stated.
            scanned: scanned.max(matched + unreadable),
            matched,
            unreadable,
            over_rate: self.carried.over_rate + self.over_rate + withheld,
        };
        self.shown = Totals {
            scanned: now.scanned.max(self.shown.scanned),
            matched: now.matched.max(self.shown.matched),
            unreadable: now.unreadable.max(self.shown.unreadable),
            // What one worker withheld, the one that reads again may send: then it is left out no more.
            over_rate: now.over_rate,
        };
        self.shown
    }

    /// Warns of the end, once. Returns true when the time to live is over.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let left = self.expires.saturating_duration_since(now);
        if !self.warned && left <= MAX_WARNING.min(self.terms.ttl / 2) {
            self.warned = true;
            self.tell(Status::Expiring {
                at: self.expires_at,
            });
        }
        left.is_zero()
    }
}

/// Records of a partition up to the last match that is known to have come before somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Earlier {
    pub(crate) begin: i64,
    pub(crate) end: i64,
    /// Matches among them.
    pub(crate) matched: i64,
}

impl Earlier {
    /// Takes out those that `range`, which counted `scanned`, counts. Its unreadable records are taken for
    /// earlier ones as far as there is room for them between the matches.
    fn take(&mut self, range: &Range, scanned: Scanned) -> Scanned {
        // Offsets of a topic without compaction are its records.
        let records = self.end.min(range.end) - self.begin.max(range.begin);
        let records = records.clamp(0, scanned.scanned);
        let matched = self.matched.min(records);
        self.matched -= matched;
        self.begin = self.begin.max(range.end);
        Scanned {
            scanned: records,
            unreadable: scanned.unreadable.min(records - matched),
        }
    }
}

/// A token bucket: `rate` matches per second, as many at once after a quiet second.
#[derive(Debug)]
struct Bucket {
    rate: u32,
    /// Millionths of a match.
    tokens: u64,
    filled: Instant,
}

const TOKEN: u64 = 1_000_000;

impl Bucket {
    fn full(rate: u32, now: Instant) -> Self {
        Self {
            rate,
            tokens: u64::from(rate) * TOKEN,
            filled: now,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let passed = now
            .saturating_duration_since(self.filled)
            .min(Duration::from_secs(1));
        let earned = u64::from(self.rate) * u64::from(passed.subsec_micros());
        let earned = earned + u64::from(self.rate) * TOKEN * passed.as_secs();
        self.filled = now.max(self.filled);
        self.tokens = (self.tokens + earned).min(u64::from(self.rate) * TOKEN);
        let enough = self.tokens >= TOKEN;
        if enough {
            self.tokens -= TOKEN;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_rate_is_kept_over_any_time(rate in 1..50u32, gaps in prop::collection::vec(0..300_000u64, 1..400)) {
            let start = Instant::now();
            let mut bucket = Bucket::full(rate, start);
            let mut now = start;
            let mut admitted = Vec::new();
            for gap in gaps {
                now += Duration::from_micros(gap);
                if bucket.take(now) {
                    admitted.push(now);
                }
            }
            // From any one on: the burst of a quiet second, and then the rate.
            for (position, from) in admitted.iter().enumerate() {
                let most = f64::from(rate) * (1.0 + (now - *from).as_secs_f64());
                prop_assert!((admitted.len() - position) as f64 <= most + 1.0);
            }
        }

        #[test]
        fn who_stays_below_the_rate_loses_nothing(rate in 1..50u32, count in 1..400u32) {
            let start = Instant::now();
            let mut bucket = Bucket::full(rate, start);
            for number in 0..count {
                let now = start + Duration::from_secs(1) * number / rate;
                prop_assert!(bucket.take(now), "number {number}");
            }
        }
    }
}
