use std::collections::BTreeMap;
use std::time::Duration;

use clickstream_registry::{Category, Change, Query, QueryId, Wanted};

use crate::bed::{Bed, LEASE, wanted};

pub(crate) async fn equal_filters_meet_in_one_query(bed: &Bed) {
    let (a, b) = (bed.handler().await, bed.handler().await);
    let first = a
        .serve(Wanted {
            lane: 3,
            ..wanted("event.a == 1")
        })
        .await;
    let second = b
        .serve(Wanted {
            lane: 5,
            subscribers: 2,
            ..wanted("event.a == 1")
        })
        .await;
    assert_eq!(first, second);
    assert_eq!(first.lane, 3);
    let other = b
        .serve(Wanted {
            tenant: "t".into(),
            ..wanted("event.a == 1")
        })
        .await;
    assert_ne!(other.id, first.id);

    let list = bed.list().await;
    assert_eq!(list.len(), 2);
    let shared = list.iter().find(|listed| listed.id == first.id).unwrap();
    assert_eq!(
        (
            shared.subscribers,
            shared.standing.as_ref(),
            shared.filter.as_str()
        ),
        (3, None, "event.a == 1")
    );
    assert_eq!(
        list.iter()
            .find(|listed| listed.id == other.id)
            .unwrap()
            .tenant,
        "t"
    );
}

pub(crate) async fn same_use_again_is_no_change(bed: &Bed) {
    let (a, mut reader) = (bed.handler().await, bed.reader().await);
    let served = a.serve(wanted("event.a == 1")).await;
    assert_eq!(reader.feed.changed().await.unwrap(), served.revision);
    assert_eq!(a.serve(wanted("event.a == 1")).await, served);
    assert_eq!(
        a.serve(Wanted {
            subscribers: 4,
            ..wanted("event.a == 1")
        })
        .await,
        served
    );
    a.release(a.registry.query_id("", "never served")).await;
    assert_eq!(reader.all().await.revision, served.revision);
    // Nobody was woken for any of that: the next signal is that of the next change.
    let next = a.serve(wanted("event.b == 1")).await;
    assert!(next.revision > served.revision);
    assert_eq!(reader.feed.changed().await.unwrap(), next.revision);
}

pub(crate) async fn largest_limit_counts_and_changing_it_is_a_change(bed: &Bed) {
    let (a, b) = (bed.handler().await, bed.handler().await);
    let row = async || -> Query { bed.queries().await.remove(0) };
    let limited = |limit, subscribers| Wanted {
        limit,
        subscribers,
        ..wanted("event.a == 1")
    };

    a.serve(limited(Some(10), 0)).await;
    let first = row().await;
    assert_eq!((first.limit, first.watched), (Some(10), false));
    b.serve(limited(Some(5), 1)).await;
    let second = row().await;
    assert_eq!((second.limit, second.watched), (Some(10), true));
    assert!(second.revision > first.revision);
    b.serve(limited(None, 1)).await;
    assert_eq!(row().await.limit, None);
    b.release(first.id).await;
    let last = row().await;
    assert_eq!((last.limit, last.watched), (Some(10), false));
    a.serve(limited(Some(u32::MAX), 0)).await;
    assert_eq!(row().await.limit, Some(u32::MAX));
}

pub(crate) async fn lane_stays_while_the_query_exists(bed: &Bed) {
    let a = bed.handler().await;
    let at = |lane| Wanted {
        lane,
        ..wanted("event.a == 1")
    };
    let first = a.serve(at(4)).await;
    assert_eq!(a.serve(at(7)).await.lane, 4);
    a.renew(&[at(8)]).await;
    assert_eq!(bed.queries().await[0].lane, 4);
    a.release(first.id).await;
    assert_eq!(a.serve(at(9)).await.lane, 9);
}

pub(crate) async fn query_goes_with_its_last_use(bed: &Bed) {
    let (a, b, mut reader) = (bed.handler().await, bed.handler().await, bed.reader().await);
    let served = a.serve(wanted("event.a == 1")).await;
    b.serve(wanted("event.a == 1")).await;
    a.release(served.id).await;
    assert_eq!(reader.all().await.revision, served.revision);
    b.release(served.id).await;
    let after = reader.since(served.revision).await;
    assert!(after.revision > served.revision && !after.complete);
    assert_eq!((after.queries, after.removed), (vec![], vec![served.id]));
    assert_eq!(reader.since(after.revision).await.removed, []);
}

pub(crate) async fn removed_query_that_comes_back_is_told_once(bed: &Bed) {
    let (a, mut reader) = (bed.handler().await, bed.reader().await);
    let served = a.serve(wanted("event.a == 1")).await;
    a.release(served.id).await;
    let again = a.serve(wanted("event.a == 1")).await;
    let after = reader.since(served.revision).await;
    assert_eq!(after.removed, []);
    assert_eq!(
        after
            .queries
            .iter()
            .map(|query| (query.id, query.revision))
            .collect::<Vec<_>>(),
        [(again.id, again.revision)]
    );
}

pub(crate) async fn changes_of_a_call_are_made_in_order(bed: &Bed) {
    let a = bed.handler().await;
    let id = |filter: &str| a.registry.query_id("", filter);
    let served = a
        .apply(&[
            Change::Serve(wanted("stays")),
            Change::Serve(wanted("goes")),
            Change::Release(id("goes")),
            Change::Release(id("comes")),
            Change::Serve(wanted("comes")),
            Change::Serve(Wanted {
                limit: Some(7),
                ..wanted("stays")
            }),
        ])
        .await;
    assert_eq!(
        served.iter().map(|served| served.id).collect::<Vec<_>>(),
        [id("stays"), id("comes"), id("stays")]
    );
    assert_eq!(bed.filters().await, ["comes", "stays"]);
    assert_eq!(
        bed.queries()
            .await
            .iter()
            .filter_map(|query| query.limit)
            .collect::<Vec<_>>(),
        [7]
    );
}

pub(crate) async fn hundreds_of_changes_are_one_revision(bed: &Bed) {
    let (a, mut reader) = (bed.handler().await, bed.reader().await);
    let before = reader.all().await.revision;
    let filters: Vec<Wanted> = (0..700)
        .map(|n| wanted(&format!("event.n == {n}")))
        .collect();
    let served = a
        .apply(
            &filters
                .iter()
                .cloned()
                .map(Change::Serve)
                .collect::<Vec<_>>(),
        )
        .await;
    assert_eq!(served.len(), 700);
    assert!(served.iter().all(|one| one.revision == served[0].revision));
    assert_eq!(reader.since(before).await.queries.len(), 700);
    a.renew(&filters[..600]).await;
    let after = reader.since(served[0].revision).await;
    assert_eq!((after.queries.len(), after.removed.len()), (0, 100));
}

pub(crate) async fn pipelines_do_not_meet(bed: &Bed) {
    let a = bed.handler().await;
    let served = a.serve(wanted("event.a == 1")).await;
    let other = bed.registry_of("shop/orders");
    let handler = clickstream_registry::ProcessId::random();
    let renewed = other
        .renew(handler, &[wanted("event.a == 1")], LEASE)
        .await
        .unwrap();
    assert_ne!(renewed.served[0].id, served.id);
    assert_eq!(
        other
            .feed()
            .await
            .unwrap()
            .read(None)
            .await
            .unwrap()
            .queries
            .len(),
        1
    );
    other.leave(handler).await.unwrap();
    assert_eq!(bed.queries().await.len(), 1);
}

pub(crate) async fn forgotten_removals_make_the_reader_reload(bed: &Bed) {
    let (a, mut reader) = (bed.handler().await, bed.reader().await);
    a.serve(wanted("stays")).await;
    let old = a.serve(wanted("removed long ago")).await;
    a.release(old.id).await;
    bed.advance(Duration::from_secs(3500)).await;
    let recent = a.serve(wanted("removed lately")).await;
    a.release(recent.id).await;
    assert!(!reader.since(old.revision).await.complete);
    bed.advance(Duration::from_secs(200)).await;
    let last = a.serve(wanted("removed last")).await;
    a.release(last.id).await;
    let reload = reader.since(old.revision).await;
    assert!(reload.complete);
    assert_eq!(
        reload
            .queries
            .iter()
            .map(|query| query.filter.as_str())
            .collect::<Vec<_>>(),
        ["stays"]
    );
    let follow = reader.since(recent.revision).await;
    assert!(!follow.complete);
    assert_eq!(follow.removed.len(), 2);
}

pub(crate) async fn reader_from_the_future_reloads(bed: &Bed) {
    let (a, mut reader) = (bed.handler().await, bed.reader().await);
    let served = a.serve(wanted("event.a == 1")).await;
    for ahead in [served.revision + 1, u64::MAX] {
        let snapshot = reader.since(ahead).await;
        assert!(snapshot.complete);
        assert_eq!(
            (snapshot.revision, snapshot.queries.len()),
            (served.revision, 1)
        );
    }
}

pub(crate) async fn what_cannot_be_kept_is_refused(bed: &Bed) {
    let a = bed.handler().await;
    for bad in [
        Wanted {
            filter: String::new(),
            ..wanted("")
        },
        wanted("null \0 character"),
        wanted(&"x".repeat(70_000)),
        Wanted {
            tenant: "two\nlines".into(),
            ..wanted("a")
        },
        Wanted {
            tenant: "x".repeat(600),
            ..wanted("a")
        },
        Wanted {
            lane: u32::MAX,
            ..wanted("a")
        },
    ] {
        let refused = a
            .registry
            .apply(a.id, &[Change::Serve(bad.clone())])
            .await
            .unwrap_err();
        assert_eq!(refused.category(), Category::Invalid);
        let refused = a.registry.renew(a.id, &[bad], LEASE).await.unwrap_err();
        assert_eq!(refused.category(), Category::Invalid);
    }
    for lease in [Duration::ZERO, Duration::from_secs(25 * 3600)] {
        assert_eq!(
            a.registry
                .renew(a.id, &[], lease)
                .await
                .unwrap_err()
                .category(),
            Category::Invalid
        );
    }
    assert_eq!(bed.queries().await, []);
    let quoted = r#"'; DROP TABLE query; -- "$1" \ é"#;
    a.serve(wanted(quoted)).await;
    assert_eq!(bed.filters().await, [quoted]);
}

/// Three handlers with four tasks each change the set at once; whoever follows the revisions ends up with the same set.
pub(crate) async fn reader_that_follows_misses_nothing(bed: &Bed) {
    let mut reader = bed.reader().await;
    let mut known: BTreeMap<QueryId, Query> = BTreeMap::new();
    let mut revision = reader.all().await.revision;
    for round in 0..4_u32 {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let handler = std::sync::Arc::new(bed.handler().await);
            for task in 0..4_u32 {
                let handler = handler.clone();
                tasks.spawn(async move {
                    for step in 0..12_u32 {
                        let filter = format!("event.n == {}", (step * 7 + task * 3 + round) % 20);
                        let id = handler.registry.query_id("", &filter);
                        let limit = Some(step % 3 + 1);
                        match (step + task) % 3 {
                            0 => handler.release(id).await,
                            _ => drop(
                                handler
                                    .serve(Wanted {
                                        limit,
                                        ..wanted(&filter)
                                    })
                                    .await,
                            ),
                        }
                    }
                });
            }
        }
        let mut running = true;
        while running {
            // The last read begins after the last change.
            tokio::select! {
                done = tasks.join_next() => match done {
                    Some(done) => done.unwrap(),
                    None => running = false,
                },
                told = reader.feed.changed() => assert!(told.unwrap() > 0),
            }
            let snapshot = reader.since(revision).await;
            assert!(!snapshot.complete && snapshot.revision >= revision);
            for query in snapshot.queries {
                assert!(query.revision > revision && query.revision <= snapshot.revision);
                known.insert(query.id, query);
            }
            for id in snapshot.removed {
                known.remove(&id);
            }
            revision = snapshot.revision;
        }
        let mut truth = reader.all().await.queries;
        truth.sort_by_key(|query| query.id);
        assert_eq!(known.values().cloned().collect::<Vec<_>>(), truth);
        assert!(!truth.is_empty());
    }
}
