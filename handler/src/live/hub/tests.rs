//! What the model of workers does not play: lost lanes, retention, topics made anew.

use std::time::Duration;

use clickstream_registry::Served;
use clickstream_wire::{Flags, Incarnation, Progress, QueryCounts, Range, Source, TopicPartitions};

use super::super::{
    GapRange, GapReason, Kind, OutboundMetrics, Status, Time, projection::View, subscription::Now,
};
use super::*;

const QUERY: QueryId = QueryId::from_bytes([1; 16]);
const LANE: u32 = 3;

/// A hub with one live viewer, stated up to offset 10 of `events/0`.
struct Bed {
    hub: Hub,
    outbound: Arc<Outbound>,
    now: Now,
}

impl Bed {
    fn new() -> Self {
        let metrics = Metrics::new(&clickstream_telemetry::Metrics::new());
        let now = Now {
            instant: Instant::now(),
            time: Time(0),
        };
        let outbound = Arc::new(Outbound::new(1 << 20, OutboundMetrics::default()));
        let mut bed = Self {
            hub: Hub::new(metrics),
            outbound,
            now,
        };
        let ticket = bed.hub.prepare(QUERY, "", "true", LANE, None);
        bed.hub.served(Served {
            id: QUERY,
            lane: LANE,
            revision: 5,
        });
        bed.hub.join(ticket, terms(&bed.outbound), now);
        bed.state(0, 10, 0, [1; 16], None);
        assert_eq!(bed.told(), ["registered", "live"]);
        bed
    }

    fn state(
        &mut self,
        begin: i64,
        end: i64,
        partition: i32,
        incarnation: Incarnation,
        lost: Option<(i64, i64)>,
    ) {
        self.state_range(Range {
            topic: "events".into(),
            incarnation,
            partition,
            epoch: 1,
            begin,
            end,
            scanned: (end - begin) as u64,
            time_ms: 1_000 + end,
            lag_records: 4,
            lost,
            ..Range::default()
        });
    }

    fn state_range(&mut self, range: Range) {
        let topic = TopicPartitions {
            topic: range.topic.clone(),
            incarnation: range.incarnation,
            partitions: 1,
        };
        let progress = Progress {
            revision: 5,
            topics: vec![topic],
            ranges: vec![range],
            ..Progress::default()
        };
        self.hub.progress(LANE, &progress, self.now);
    }

    /// The records at `offsets` match.
    fn matched(&mut self, offsets: std::ops::Range<i64>) {
        for offset in offsets {
            let record = Match {
                source: Source {
                    topic: "events".into(),
                    incarnation: [1; 16],
                    partition: 0,
                    offset,
                    timestamp_ms: 1,
                },
                epoch: 1,
                queries: std::iter::once(QUERY).collect(),
                flags: Flags::default(),
            };
            self.hub.matched(LANE, &record, b"{}", self.now.instant);
        }
    }

    fn statuses(&self) -> Vec<Status> {
        statuses(&self.outbound)
    }

    fn told(&self) -> Vec<&'static str> {
        self.statuses().iter().map(Status::name).collect()
    }
}

/// Opens a channel on `outbound` for a viewer of everything.
fn terms(outbound: &Arc<Outbound>) -> Terms {
    outbound.open(1).unwrap();
    Terms {
        outbound: Arc::clone(outbound),
        channel: 1,
        view: Arc::new(View::parse(None).unwrap()),
        rate: None,
        ttl: Duration::from_secs(60),
        standing: None,
        class: "scan".to_owned(),
    }
}

fn statuses(outbound: &Outbound) -> Vec<Status> {
    let mut items = Vec::new();
    outbound.take(&mut items);
    let statuses = items.into_iter().filter_map(|item| match item.kind {
        Kind::Status(status) => Some(status),
        Kind::Event(_) => None,
    });
    statuses.collect()
}

fn gap(reason: GapReason, from: i64, to: i64) -> Status {
    let topic = "events".to_owned();
    let ranges = vec![GapRange {
        topic,
        partition: 0,
        from,
        to,
    }];
    Status::Gap { reason, ranges }
}

#[test]
fn records_of_a_lane_deleted_unread_are_told_with_the_source_offsets_they_concern() {
    let mut bed = Bed::new();
    bed.hub.torn(LANE);
    assert_eq!(
        bed.statuses(),
        [],
        "until then nobody knows how far it reaches"
    );
    bed.state(30, 40, 0, [1; 16], None);
    assert_eq!(bed.statuses(), [gap(GapReason::Overload, 10, 40)]);
    bed.state(40, 50, 0, [1; 16], None);
    assert_eq!(bed.statuses(), []);
}

#[test]
fn what_retention_removed_is_told_once() {
    let mut bed = Bed::new();
    bed.state(10, 50, 0, [1; 16], Some((10, 45)));
    assert_eq!(bed.statuses(), [gap(GapReason::Retention, 10, 45)]);
}

#[test]
fn a_topic_made_anew_begins_anew_and_is_told() {
    let mut bed = Bed::new();
    bed.state(0, 3, 0, [2; 16], None);
    let ranges = Vec::new();
    let reason = GapReason::Recreated;
    assert_eq!(bed.statuses(), [Status::Gap { reason, ranges }]);
    bed.hub.tell_progress();
    let Status::Progress { scanned, .. } = &bed.statuses()[0] else {
        panic!("no progress")
    };
    assert_eq!(*scanned, 13, "nothing of the new topic is taken for old");
}

#[test]
fn the_account_of_a_running_query_begins_after_the_last_match_before_its_viewer() {
    let mut bed = Bed::new();
    bed.matched(10..14);
    let ticket = bed.hub.prepare(QUERY, "", "true", LANE, None);
    let second = Arc::new(Outbound::new(1 << 20, OutboundMetrics::default()));
    bed.hub.join(ticket, terms(&second), bed.now);
    bed.matched(14..17);
    bed.state_range(Range {
        topic: "events".into(),
        incarnation: [1; 16],
        epoch: 1,
        begin: 10,
        end: 18,
        scanned: 8,
        unreadable: 1,
        queries: vec![QueryCounts {
            id: QUERY,
            matched: 7,
            left_out: 0,
        }],
        ..Range::default()
    });
    bed.hub.tell_progress();
    let told = statuses(&second);
    let Some(Status::Progress {
        scanned,
        matched,
        delivered,
        unreadable,
        ..
    }) = told.last()
    else {
        panic!("{told:?}")
    };
    assert_eq!((*scanned, *matched, *delivered, *unreadable), (4, 3, 3, 1));
}

#[test]
fn a_record_that_is_not_understood_is_a_gap_nobody_can_measure() {
    let mut bed = Bed::new();
    bed.hub.unknown(LANE);
    let ranges = Vec::new();
    let reason = GapReason::Outage;
    assert_eq!(bed.statuses(), [Status::Gap { reason, ranges }]);
    bed.hub.unknown(LANE + 1);
    assert_eq!(bed.statuses(), [], "it is of another lane");
}

#[test]
fn progress_is_that_of_the_partition_that_is_furthest_behind() {
    let mut bed = Bed::new();
    bed.state(10, 20, 0, [1; 16], None);
    bed.hub.tell_progress();
    let told = bed.statuses();
    let Status::Progress {
        complete_to,
        lag_records,
        scanned,
        ..
    } = &told[0]
    else {
        panic!("{told:?}")
    };
    assert_eq!(
        (*complete_to, *lag_records, *scanned),
        (Some(Time(1_020)), 4, 20)
    );
}

#[test]
fn a_viewer_that_comes_while_all_are_sent_away_is_sent_away_too() {
    let mut bed = Bed::new();
    bed.hub.end_all(EndReason::Draining, "away");
    assert_eq!(bed.told(), ["ended"]);
    assert!(bed.hub.wanted(QUERY).is_none());
    let ticket = bed.hub.prepare(QUERY, "", "true", LANE, None);
    let other = Arc::new(Outbound::new(1 << 20, OutboundMetrics::default()));
    bed.hub.join(ticket, terms(&other), bed.now);
    let mut items = Vec::new();
    other.take(&mut items);
    let last = items.last().map(|item| &item.kind);
    assert!(
        matches!(last, Some(Kind::Status(Status::Ended { .. }))),
        "{items:?}"
    );
    assert_eq!(bed.hub.subscriptions(), 0);
}

#[test]
fn the_quietest_lane_is_chosen() {
    let mut bed = Bed::new();
    for _ in 0..20 {
        assert_ne!(bed.hub.quietest_lane(LANE + 1), LANE);
    }
    assert_eq!(bed.hub.quietest_lane(1), 0);
    assert_eq!(bed.hub.quietest_lane(0), 0);
    bed.hub
        .prepare(QueryId::from_bytes([2; 16]), "", "true", 0, None);
    assert_eq!(bed.hub.quietest_lane(2), 1);
}
