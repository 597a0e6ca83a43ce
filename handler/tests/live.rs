//! Subscriptions from the registry to the viewer's queue, over a mock of Kafka.

mod common;

use std::{sync::Arc, time::Duration};

use clickstream_handler::live::{
    End, EndReason, GapRange, GapReason, Kind, LeftOut, Live, Request, Status,
};
use clickstream_registry::{Query, Registry, Standing, StandingName};
use clickstream_wire::Range;
use common::{Bed, Viewer, added, counts, filter, until};

/// Subscribes and, as the worker, makes the query live from offset 10 on.
async fn watch(bed: &Bed, live: &Live, request: Request) -> (Viewer, Query) {
    let mut viewer = Viewer::subscribe(live, request).await;
    let query = bed.queries().await.remove(0);
    bed.state(query.lane, query.revision, added(&query, 10));
    viewer.status("live").await;
    (viewer, query)
}

#[tokio::test(flavor = "multi_thread")]
async fn matches_come_once_and_are_accounted_for() {
    let bed = Bed::new();
    let live = bed.live(&[]).await;
    let (mut viewer, query) = watch(&bed, &live, filter("event.n > 1")).await;
    assert_eq!(query.filter, "event.n > 1");
    assert_eq!(query.limit, Some(100));

    bed.matched(&query, 10, 1, r#"{"n":2}"#);
    bed.matched(&query, 12, 1, r#"{"n":3}"#);
    // A new owner began further back; then its predecessor, a zombie, writes late.
    bed.matched(&query, 10, 2, r#"{"n":2}"#);
    bed.matched(&query, 12, 2, r#"{"n":3}"#);
    bed.matched(&query, 13, 1, r#"{"n":"zombie"}"#);
    bed.matched(&query, 14, 2, r#"{"n":4}"#);
    let queries = counts(query.id, 3, 0);
    let range = Range {
        epoch: 2,
        begin: 10,
        end: 20,
        scanned: 10,
        unreadable: 2,
        queries,
        ..Range::default()
    };
    bed.state(query.lane, query.revision, range);

    assert_eq!(viewer.event().await, r#"{"n":2}"#);
    assert_eq!(viewer.event().await, r#"{"n":3}"#);
    assert_eq!(viewer.event().await, r#"{"n":4}"#);
    let Status::Progress {
        scanned,
        matched,
        delivered,
        left_out,
        unreadable,
        ..
    } = (loop {
        let status = viewer.status("progress").await;
        if matches!(status, Status::Progress { scanned: 1.., .. }) {
            break status;
        }
    })
    else {
        unreachable!()
    };
    assert_eq!((scanned, matched, delivered, unreadable), (10, 3, 3, 2));
    assert_eq!(left_out, LeftOut::default());

    viewer.subscription.take().unwrap().end(End::Clean);
    until("released", async || bed.queries().await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_of_equal_queries_share_one_and_see_their_own_fields() {
    let bed = Bed::new();
    let live = bed.live(&[]).await;
    let (mut first, query) = watch(&bed, &live, filter(r#"event.a == 1 && event.b == "x""#)).await;
    let fields = Some("b".to_owned());
    let mut second = Viewer::subscribe(
        &live,
        Request {
            fields,
            ..filter(r#"event.b=='x'&&event.a==1"#)
        },
    )
    .await;
    assert_eq!(bed.queries().await.len(), 1);
    second.status("live").await;
    bed.matched(&query, 10, 1, r#"{"a":1,"b":"x"}"#);
    assert_eq!(first.event().await, r#"{"a":1,"b":"x"}"#);
    assert_eq!(second.event().await, r#"{"b":"x"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn event_types_are_a_filter_and_cannot_break_out_of_it() {
    let bed = Bed::new();
    let live = bed.live(&["--event-type-field", "kind.name"]).await;
    let event_types = vec![r#"a" || true || ""#.to_owned()];
    let _viewer = Viewer::subscribe(
        &live,
        Request {
            event_types,
            ..filter("event.n == 1")
        },
    )
    .await;
    let query = bed.queries().await.remove(0);
    let record = |value: &'static [u8]| clickstream_engine::Record {
        topic: "events",
        partition: 0,
        offset: 0,
        timestamp_ms: 0,
        key: None,
        headers: &[],
        value,
    };
    let filter = clickstream_engine::Filter::parse(&query.filter).unwrap();
    let matches = |value: &'static [u8]| {
        clickstream_engine::reference::matches(&filter, &record(value)).unwrap()
    };
    assert_eq!(
        matches(br#"{"n":1,"kind":{"name":"a\" || true || \""}}"#),
        clickstream_engine::Outcome::Match
    );
    assert_ne!(
        matches(br#"{"n":1,"kind":{"name":"a"}}"#),
        clickstream_engine::Outcome::Match
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_rate_is_left_out_and_told() {
    let bed = Bed::new();
    let live = bed.live(&[]).await;
    let (mut viewer, query) = watch(
        &bed,
        &live,
        Request {
            rate: Some(2),
            ..filter("true")
        },
    )
    .await;
    for offset in 10..60 {
        bed.matched(&query, offset, 1, "{}");
    }
    let range = Range {
        begin: 10,
        end: 60,
        scanned: 50,
        queries: counts(query.id, 50, 0),
        ..Range::default()
    };
    bed.state(query.lane, query.revision, range);
    let dropped = viewer.status("dropped").await;
    assert!(
        matches!(dropped, Status::Dropped { count: 1.., .. }),
        "{dropped:?}"
    );
    let Status::Progress {
        matched,
        delivered,
        left_out,
        ..
    } = (loop {
        let status = viewer.status("progress").await;
        if matches!(status, Status::Progress { matched: 50, .. }) {
            break status;
        }
    })
    else {
        unreachable!()
    };
    assert_eq!(matched, delivered + left_out.rate);
    assert!(delivered >= 2 && left_out.rate > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_keeps_its_query_for_the_resume_window() {
    let bed = Bed::new();
    let live = bed.live(&["--resume-window", "2s"]).await;
    let mut viewer = Viewer::subscribe(&live, filter("true")).await;
    drop(viewer.subscription.take());
    let broken = std::time::Instant::now();
    until("released", async || bed.queries().await.is_empty()).await;
    assert!(broken.elapsed() >= Duration::from_secs(2));

    let at_once = bed.live(&["--resume-window", "0"]).await;
    let mut viewer = Viewer::subscribe(&at_once, filter("false")).await;
    drop(viewer.subscription.take());
    until("released", async || bed.queries().await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_to_live_ends_with_a_warning() {
    let bed = Bed::new();
    let live = bed.live(&["--subscription-ttl", "5s"]).await;
    let (mut viewer, query) = watch(&bed, &live, filter("true")).await;
    assert!(matches!(
        viewer.told().await,
        Kind::Status(Status::Expiring { .. })
    ));
    let ended = viewer.told().await;
    assert!(
        matches!(
            ended,
            Kind::Status(Status::Ended {
                reason: EndReason::Expired,
                ..
            })
        ),
        "{ended:?}"
    );
    until("released", async || bed.queries().await.is_empty()).await;
    bed.matched(&query, 10, 1, "{}");
    let after = tokio::time::timeout(Duration::from_millis(500), viewer.next()).await;
    assert!(after.is_err(), "{after:?} came after `ended`");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_registry_running_subscriptions_go_on_and_new_ones_are_refused() {
    let bed = Bed::new();
    let live = bed.live(&["--lease", "2s"]).await;
    let (mut viewer, query) = watch(&bed, &live, filter("true")).await;
    bed.registry.set_available(false);
    bed.matched(&query, 10, 1, r#"{"n":1}"#);
    assert_eq!(viewer.event().await, r#"{"n":1}"#);
    let outbound = live.outbound();
    let refused = live
        .subscribe(filter("event.n == 2"), Arc::clone(&outbound), 1)
        .await
        .unwrap_err();
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.detail.contains("registry"), "{refused:?}");
    bed.registry.set_available(true);
    // The same number may be used again: nothing is left of the refused request.
    let again = live
        .subscribe(filter("event.n == 2"), outbound, 1)
        .await
        .unwrap();
    assert_eq!(bed.queries().await.len(), 2);
    again.end(End::Clean);
    bed.matched(&query, 11, 1, r#"{"n":2}"#);
    assert_eq!(viewer.event().await, r#"{"n":2}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_the_registry_lost_is_registered_again_and_the_gap_told() {
    let bed = Bed::new();
    let live = bed.live(&[]).await;
    let (mut viewer, query) = watch(&bed, &live, filter("true")).await;
    until("reported", async || {
        !bed.registry.processes().await.unwrap().handlers.is_empty()
    })
    .await;
    let handler = bed.registry.processes().await.unwrap().handlers[0].id;
    bed.registry.leave(handler).await.unwrap();
    let again = async || {
        bed.queries()
            .await
            .iter()
            .any(|row| row.revision > query.revision)
    };
    until("registered again", again).await;
    let query = bed.queries().await.remove(0);
    // The handler marks where it was before it registers again, but its answer takes a moment.
    tokio::time::sleep(Duration::from_millis(200)).await;
    bed.state(
        query.lane,
        query.revision,
        Range {
            begin: 10,
            ..added(&query, 25)
        },
    );
    let gap = viewer.status("gap").await;
    let ranges = vec![GapRange {
        topic: "events".into(),
        partition: 0,
        from: 10,
        to: 25,
    }];
    assert_eq!(
        gap,
        Status::Gap {
            reason: GapReason::Outage,
            ranges
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_and_unknown_records_are_told_and_harm_nobody() {
    let bed = Bed::new();
    let live = bed.live(&[]).await;
    let (mut viewer, query) = watch(&bed, &live, filter("true")).await;
    bed.send(query.lane, "x", Some(&[9, 9, 9]), b"{}");
    bed.send(query.lane, "x", None, b"{}");
    bed.send(query.lane, "progress", None, b"\x01\xff\xff\xff");
    bed.matched(&query, 10, 1, r#"{"n":1}"#);
    let gap = viewer.told().await;
    assert!(
        matches!(
            gap,
            Kind::Status(Status::Gap {
                reason: GapReason::Outage,
                ..
            })
        ),
        "{gap:?}"
    );
    loop {
        match viewer.told().await {
            Kind::Event(event) => break assert_eq!(&event.body[..], br#"{"n":1}"#),
            Kind::Status(status) => assert_eq!(status.name(), "gap"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_requests_say_why() {
    let bed = Bed::new();
    let live = bed.live(&[]).await;
    let refuse = async |request| {
        let refused = live
            .subscribe(request, live.outbound(), 1)
            .await
            .unwrap_err();
        (refused.status, refused.offset, refused.detail)
    };
    let (status, offset, _) = refuse(filter("event.n = 1")).await;
    assert_eq!((status, offset), (422, Some(8)));
    let fields = Some("a,,b".to_owned());
    let (status, offset, detail) = refuse(Request {
        fields,
        ..filter("true")
    })
    .await;
    assert_eq!(status, 422, "{detail}");
    assert!(offset.is_some());
    let ttl = Some(Duration::from_secs(1));
    assert_eq!(
        refuse(Request {
            ttl,
            ..filter("true")
        })
        .await
        .0,
        422
    );
    let standing = Some(("team".to_owned(), "none".to_owned()));
    assert_eq!(
        refuse(Request {
            standing: standing.clone(),
            ..Request::default()
        })
        .await
        .0,
        404
    );
    assert!(bed.queries().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_of_a_standing_query_follow_it() {
    let bed = Bed::new();
    let live = bed.live(&[]).await;
    let standing = |generation, filter: &str, suspended| Standing {
        name: StandingName {
            namespace: "team".into(),
            name: "purchases".into(),
        },
        uid: "u1".into(),
        generation,
        tenant: String::new(),
        filter: filter.into(),
        fields: vec!["n".into()],
        rate: Some(7),
        suspended,
        sink_topic: None,
    };
    bed.registry
        .put_standing(&standing(1, "event.n == 1", false), 0)
        .await
        .unwrap();
    let request = || Request {
        standing: Some(("team".into(), "purchases".into())),
        ..Request::default()
    };
    let (mut viewer, query) = watch(&bed, &live, request()).await;
    assert!(query.watched);
    bed.matched(&query, 10, 1, r#"{"m":0,"n":1}"#);
    assert_eq!(viewer.event().await, r#"{"n":1}"#);

    bed.registry
        .put_standing(&standing(2, "event.n == 2", false), 0)
        .await
        .unwrap();
    let Kind::Status(Status::Registered {
        query: moved_to,
        filter,
        ..
    }) = viewer.told().await
    else {
        panic!("not moved")
    };
    assert_eq!(filter, "event.n == 2");
    until("the former one released", async || {
        bed.queries().await.len() == 1
    })
    .await;
    let query = bed.queries().await.remove(0);
    assert_eq!(query.id.to_string(), moved_to);
    bed.state(
        query.lane,
        query.revision,
        Range {
            begin: 10,
            ..added(&query, 11)
        },
    );
    viewer.status("live").await;

    bed.registry
        .put_standing(&standing(3, "event.n == 2", true), 0)
        .await
        .unwrap();
    let ended = viewer.told().await;
    assert!(
        matches!(
            ended,
            Kind::Status(Status::Ended {
                reason: EndReason::Suspended,
                ..
            })
        ),
        "{ended:?}"
    );
    let refused = live
        .subscribe(request(), live.outbound(), 1)
        .await
        .unwrap_err();
    assert_eq!(refused.status, 409);

    bed.registry
        .put_standing(&standing(4, "event.n == 2", false), 0)
        .await
        .unwrap();
    let mut viewer = Viewer::subscribe(&live, request()).await;
    bed.registry.remove_standing("u1").await.unwrap();
    let ended = viewer.told().await;
    assert!(
        matches!(
            ended,
            Kind::Status(Status::Ended {
                reason: EndReason::Deleted,
                ..
            })
        ),
        "{ended:?}"
    );
    until("released", async || bed.queries().await.is_empty()).await;
}
