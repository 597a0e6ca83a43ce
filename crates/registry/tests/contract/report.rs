use std::time::Duration;

use clickstream_registry::{
    Catalogue, EventType, Field, HandlerRow, MAX_EVENT_TYPES, ProcessId, SinkRefusal, SinkTrouble,
    StandingName, WorkerRow,
};

use crate::bed::Bed;

fn worker(n: u8, revision: u64) -> WorkerRow {
    WorkerRow {
        id: ProcessId::from_bytes([n; 16]),
        revision,
        lanes: 8,
        partitions: 4,
    }
}

pub(crate) async fn processes_count_while_they_report(bed: &Bed) {
    let registry = bed.registry();
    let viewers = vec![(
        StandingName {
            namespace: "shop".into(),
            name: "carts".into(),
        },
        3,
    )];
    let handler = HandlerRow {
        id: ProcessId::random(),
        revision: 9,
        connections: 5,
        viewers,
    };
    registry.report_worker(&worker(1, 7)).await.unwrap();
    registry.report_worker(&worker(2, 7)).await.unwrap();
    registry.report_handler(&handler).await.unwrap();
    bed.advance(Duration::from_secs(10)).await;
    registry.report_worker(&worker(1, 8)).await.unwrap();
    let seen = registry.processes().await.unwrap();
    assert_eq!(seen.workers, [worker(1, 8), worker(2, 7)]);
    assert_eq!(seen.handlers, std::slice::from_ref(&handler));
    bed.advance(Duration::from_secs(6)).await;
    let seen = registry.processes().await.unwrap();
    assert_eq!((seen.workers, seen.handlers), (vec![worker(1, 8)], vec![]));
    // Rows of the long gone are cleared away; the living are not.
    bed.advance(Duration::from_secs(700)).await;
    registry.report_worker(&worker(3, 9)).await.unwrap();
    registry
        .report_handler(&HandlerRow {
            revision: 10,
            viewers: vec![],
            ..handler.clone()
        })
        .await
        .unwrap();
    let seen = registry.processes().await.unwrap();
    assert_eq!(seen.workers, [worker(3, 9)]);
    assert_eq!(seen.handlers[0].revision, 10);
    registry.leave(handler.id).await.unwrap();
    assert_eq!(registry.processes().await.unwrap().handlers, []);
}

pub(crate) async fn standing_rates_are_summed_over_live_workers(bed: &Bed) {
    let registry = bed.registry();
    let (a, b) = (registry.query_id("", "a"), registry.query_id("", "b"));
    for n in 1..=2 {
        registry.report_worker(&worker(n, 1)).await.unwrap();
    }
    registry
        .report_standing_rates(worker(1, 1).id, &[(a, 1.5), (b, 4.0)])
        .await
        .unwrap();
    registry
        .report_standing_rates(worker(2, 1).id, &[(a, 2.0)])
        .await
        .unwrap();
    registry
        .report_standing_rates(worker(3, 1).id, &[(a, 99.0)])
        .await
        .unwrap();
    let mut sums = registry.standing_rates().await.unwrap();
    sums.sort_by(|one, other| one.1.total_cmp(&other.1));
    assert_eq!(sums, [(a, 3.5), (b, 4.0)]);
    // Reports of the row in between leave the rates alone.
    registry.report_worker(&worker(1, 2)).await.unwrap();
    assert_eq!(registry.standing_rates().await.unwrap().len(), 2);
    bed.advance(Duration::from_secs(20)).await;
    registry.report_worker(&worker(2, 2)).await.unwrap();
    assert_eq!(registry.standing_rates().await.unwrap(), [(a, 2.0)]);
}

pub(crate) async fn sink_troubles_are_summed_over_live_workers(bed: &Bed) {
    let registry = bed.registry();
    let trouble = |uid: &str, reason, dropped| SinkTrouble {
        uid: uid.into(),
        reason,
        dropped,
    };
    for n in 1..=2 {
        registry.report_worker(&worker(n, 1)).await.unwrap();
    }
    let (missing, large) = (SinkRefusal::TopicNotFound, SinkRefusal::TooLarge);
    for (n, troubles) in [
        (
            1,
            vec![trouble("a", missing, 5), trouble("b", large, u64::MAX)],
        ),
        (2, vec![trouble("a", missing, 2), trouble("a", large, 1)]),
        (3, vec![trouble("c", missing, 9)]),
    ] {
        registry
            .report_sink_troubles(worker(n, 1).id, &troubles)
            .await
            .unwrap();
    }
    let read = registry.sink_troubles().await.unwrap();
    assert_eq!(read.len(), 3, "{read:?}");
    assert_eq!(read[0], trouble("a", missing, 7));
    assert_eq!(read[1], trouble("a", large, 1));
    assert_eq!((read[2].uid.as_str(), read[2].reason), ("b", large));
    registry
        .report_sink_troubles(worker(1, 1).id, &[])
        .await
        .unwrap();
    assert_eq!(registry.sink_troubles().await.unwrap().len(), 2);
    bed.advance(Duration::from_secs(20)).await;
    assert_eq!(registry.sink_troubles().await.unwrap(), []);
}

pub(crate) async fn first_partition_counts_stay(bed: &Bed) {
    let (first, second) = (bed.registry(), bed.registry());
    let counts = |list: &[(&str, i32)]| {
        list.iter()
            .map(|(topic, n)| ((*topic).to_owned(), *n))
            .collect::<Vec<_>>()
    };
    let eight = counts(&[("clicks", 8)]);
    assert_eq!(first.partition_counts(&eight).await.unwrap(), eight);
    let grown = counts(&[("orders", 3), ("clicks", 12)]);
    assert_eq!(
        second.partition_counts(&grown).await.unwrap(),
        counts(&[("orders", 3), ("clicks", 8)])
    );
    assert_eq!(
        first
            .partition_counts(&counts(&[("orders", 1)]))
            .await
            .unwrap(),
        counts(&[("orders", 3)])
    );
    assert_eq!(first.partition_counts(&[]).await.unwrap(), []);
    assert!(
        first
            .partition_counts(&counts(&[("none", 0)]))
            .await
            .is_err()
    );
}

pub(crate) async fn catalogue_is_merged_and_bounded(bed: &Bed) {
    let registry = bed.registry();
    let event_type = |name: &str, per_second, last_seen_ms| EventType {
        name: name.into(),
        per_second,
        last_seen_ms,
    };
    let field = |path: &str, kinds: &[&str], examples: &[&str]| Field {
        path: path.into(),
        kinds: kinds.iter().map(|&kind| kind.into()).collect(),
        examples: examples.iter().map(|&example| example.into()).collect(),
    };
    for n in 1..=2 {
        registry.report_worker(&worker(n, 1)).await.unwrap();
    }
    let first = Catalogue {
        event_types: vec![
            event_type("purchase", 1.5, 1_700_000_000_123),
            event_type("search", 4.0, 5),
        ],
        fields: vec![field("price", &["int"], &["1", "2"])],
    };
    let second = Catalogue {
        event_types: vec![event_type("purchase", 2.0, 1_600_000_000_000)],
        fields: vec![
            field("price", &["double"], &["3.5", "2"]),
            field("type", &["string"], &["\"a\\u0000\"", "\u{1f}"]),
        ],
    };
    registry
        .report_catalogue(worker(1, 1).id, &first)
        .await
        .unwrap();
    registry
        .report_catalogue(worker(2, 1).id, &second)
        .await
        .unwrap();
    let read = bed.registry().catalogue().await.unwrap();
    assert_eq!(
        read.event_types,
        [
            event_type("purchase", 3.5, 1_700_000_000_123),
            event_type("search", 4.0, 5)
        ]
    );
    assert_eq!(
        read.fields,
        [
            field("price", &["double", "int"], &["3.5", "2", "1"]),
            field("type", &["string"], &["\"a\\u0000\"", "\u{1f}"]),
        ]
    );
    // Types outlive their workers, rates do not.
    bed.advance(Duration::from_secs(20)).await;
    let read = registry.catalogue().await.unwrap();
    assert_eq!(
        read.event_types
            .iter()
            .map(|found| found.per_second)
            .sum::<f64>(),
        0.0
    );

    let many = (0..600)
        .map(|n| event_type(&format!("type {n:03}"), 1.0, 2_000_000_000_000 + n))
        .collect();
    let hostile = Catalogue {
        event_types: many,
        fields: vec![field("nul \0", &[], &[]), field("ok", &[], &["nul \0"])],
    };
    registry
        .report_catalogue(worker(1, 1).id, &hostile)
        .await
        .unwrap();
    registry
        .report_catalogue(
            worker(1, 1).id,
            &Catalogue {
                event_types: vec![
                    event_type("type 599", f64::NAN, i64::MAX),
                    event_type("type 598", 1.0, i64::MIN),
                ],
                fields: vec![],
            },
        )
        .await
        .unwrap();
    let read = registry.catalogue().await.unwrap();
    assert_eq!(read.event_types.len(), MAX_EVENT_TYPES);
    assert_eq!(read.event_types[0].name, "type 100");
    assert_eq!(read.fields.len(), 3);
}
