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
fn when_all_queues_together_are_long_each_keeps_to_less() {
    let metrics = OutboundMetrics::default();
    let queue = Outbound::new(MAX_BYTES, metrics.clone());
    queue.open(1).unwrap();
    let large = event(0, CROWDED_BYTES / 4);
    for _ in 0..8 {
        queue.push_event(1, &large);
    }
    assert_eq!(queue.take_slow(1), 0);
    metrics.queue_bytes.inc_by(SHARED_BYTES);
    queue.push_event(1, &large);
    assert_eq!(queue.take_slow(1), 6);
    assert!(queue.bytes() <= CROWDED_BYTES);
    metrics.queue_bytes.dec_by(SHARED_BYTES);
    queue.push_event(1, &large);
    assert_eq!(queue.take_slow(1), 0, "there is room again");
}
