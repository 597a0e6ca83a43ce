use clickstream_registry::{
    Category, Query, RegistryError, SinkRef, Standing, StandingChange, StandingChanged,
    StandingName, StandingRef,
};

use crate::bed::{Bed, wanted};

fn name(name: &str) -> StandingName {
    StandingName {
        namespace: "shop".into(),
        name: name.into(),
    }
}

fn standing(of: &str, generation: i64, filter: &str) -> Standing {
    Standing {
        name: name(of),
        uid: format!("uid-{of}"),
        generation,
        tenant: String::new(),
        filter: filter.into(),
        fields: vec!["type".into(), "page.path".into()],
        rate: Some(100),
        suspended: false,
        sink_topic: None,
    }
}

fn reference(of: &str, generation: i64) -> StandingRef {
    StandingRef {
        name: name(of),
        uid: format!("uid-{of}"),
        generation,
        sink: None,
    }
}

pub(crate) async fn standing_query_keeps_its_row_without_viewers(bed: &Bed) {
    let (operator, a) = (bed.registry(), bed.handler().await);
    let served = operator
        .put_standing(&standing("carts", 1, "event.a == 1"), 2)
        .await
        .unwrap()
        .unwrap();
    let row = async || -> Query { bed.queries().await.remove(0) };
    let alone = row().await;
    assert_eq!(
        (alone.id, alone.lane, alone.revision),
        (served.id, 2, served.revision)
    );
    assert_eq!((alone.watched, alone.limit), (false, Some(100)));
    assert_eq!(alone.standing, [reference("carts", 1)]);
    assert_eq!(
        operator.standing(&name("carts")).await.unwrap(),
        Some(standing("carts", 1, "event.a == 1"))
    );
    assert_eq!(operator.standing(&name("others")).await.unwrap(), None);

    assert_eq!(a.serve(wanted("event.a == 1")).await.id, served.id);
    let viewed = row().await;
    assert!(viewed.watched && viewed.revision > alone.revision);
    assert_eq!(viewed.standing, alone.standing);
    a.release(served.id).await;
    assert!(!row().await.watched);
    assert!(operator.remove_standing("uid-carts").await.unwrap());
    assert!(!operator.remove_standing("uid-carts").await.unwrap());
    assert_eq!(bed.queries().await, []);
    assert_eq!(operator.standing(&name("carts")).await.unwrap(), None);
}

pub(crate) async fn changed_filter_moves_the_reference(bed: &Bed) {
    let (operator, mut reader) = (bed.registry(), bed.reader().await);
    let before = operator
        .put_standing(&standing("carts", 1, "event.a == 1"), 0)
        .await
        .unwrap()
        .unwrap();
    let after = operator
        .put_standing(&standing("carts", 2, "event.a == 2"), 0)
        .await
        .unwrap()
        .unwrap();
    let moved = reader.since(before.revision).await;
    assert_eq!(moved.removed, [before.id]);
    assert_eq!(
        moved
            .queries
            .iter()
            .map(|query| query.id)
            .collect::<Vec<_>>(),
        [after.id]
    );
    assert_eq!(moved.queries[0].standing, [reference("carts", 2)]);
    assert_eq!(moved.revision, after.revision);
}

pub(crate) async fn new_generation_is_a_change(bed: &Bed) {
    let operator = bed.registry();
    let first = operator
        .put_standing(&standing("carts", 1, "event.a == 1"), 0)
        .await
        .unwrap()
        .unwrap();
    let again = operator
        .put_standing(&standing("carts", 1, "event.a == 1"), 7)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(again, first);
    let wider = Standing {
        fields: vec![],
        rate: None,
        ..standing("carts", 2, "event.a == 1")
    };
    let second = operator.put_standing(&wider, 0).await.unwrap().unwrap();
    assert!(second.revision > first.revision);
    let row = bed.queries().await.remove(0);
    assert_eq!(
        (row.limit, row.standing),
        (None, vec![reference("carts", 2)])
    );
    assert_eq!(
        operator.standing(&name("carts")).await.unwrap(),
        Some(wider)
    );
}

pub(crate) async fn suspended_query_is_not_matched(bed: &Bed) {
    let (operator, a) = (bed.registry(), bed.handler().await);
    operator
        .put_standing(&standing("carts", 1, "event.a == 1"), 0)
        .await
        .unwrap();
    operator
        .put_standing(&standing("other", 1, "event.a == 1"), 0)
        .await
        .unwrap();
    let suspended = Standing {
        suspended: true,
        ..standing("carts", 2, "event.a == 1")
    };
    assert_eq!(operator.put_standing(&suspended, 0).await.unwrap(), None);
    assert_eq!(bed.queries().await[0].standing, [reference("other", 1)]);
    operator.remove_standing("uid-other").await.unwrap();
    assert_eq!(bed.queries().await, []);
    assert_eq!(
        operator.standing(&name("carts")).await.unwrap(),
        Some(suspended)
    );
    // A live query with the same filter is a query of its own right.
    a.serve(wanted("event.a == 1")).await;
    assert_eq!(bed.queries().await[0].standing, []);
    operator
        .put_standing(&standing("carts", 3, "event.a == 1"), 0)
        .await
        .unwrap();
    assert_eq!(bed.queries().await[0].standing, [reference("carts", 3)]);
}

pub(crate) async fn stale_generation_is_refused(bed: &Bed) {
    let operator = bed.registry();
    operator
        .put_standing(&standing("carts", 5, "event.a == 1"), 0)
        .await
        .unwrap();
    let stale = operator
        .put_standing(&standing("carts", 4, "event.a == 2"), 0)
        .await
        .unwrap_err();
    assert!(matches!(stale, RegistryError::Stale { known: 5 }));
    assert_eq!(bed.filters().await, ["event.a == 1"]);
    let bad = Standing {
        uid: "a\0b".into(),
        ..standing("carts", 6, "event.a == 1")
    };
    assert_eq!(
        operator.put_standing(&bad, 0).await.unwrap_err().category(),
        Category::Invalid
    );
}

pub(crate) async fn changes_of_one_transaction_are_made_in_order(bed: &Bed) {
    let operator = bed.registry();
    let put = |of: &str, generation, filter: &str| StandingChange::Put {
        standing: standing(of, generation, filter),
        lane: 1,
    };
    let remove = |of: &str| StandingChange::Remove {
        uid: format!("uid-{of}"),
    };
    let served = |changed: &Result<StandingChanged, RegistryError>| match changed {
        Ok(StandingChanged::Put(Some(served))) => *served,
        other => panic!("{other:?}"),
    };
    let first = [
        put("carts", 2, "event.a == 1"),
        put("other", 1, "event.a == 1"),
        put("third", 1, "event.a == 3"),
        put("short", 1, "event.a == 4"),
        remove("short"),
    ];
    let made = operator.change_standing(&first).await.unwrap();
    let [carts, other, third] = [0, 1, 2].map(|n| served(&made[n]));
    assert_eq!((carts, carts.revision), (other, third.revision));
    assert!(matches!(made[4], Ok(StandingChanged::Removed(true))));
    assert_eq!(bed.filters().await, ["event.a == 1", "event.a == 3"]);

    let second = [
        put("carts", 1, "event.a == 5"),
        put("bad", 1, ""),
        remove("nobody"),
        put("other", 2, "event.a == 6"),
        put("other", 3, "event.a == 3"),
        remove("third"),
    ];
    let made = operator.change_standing(&second).await.unwrap();
    assert!(matches!(made[0], Err(RegistryError::Stale { known: 2 })));
    assert!(matches!(made[1], Err(RegistryError::Invalid(_))));
    assert!(matches!(made[2], Ok(StandingChanged::Removed(false))));
    assert!(matches!(made[3], Ok(StandingChanged::Put(None))), "moved");
    assert_eq!(served(&made[4]).id, third.id);
    assert_eq!(bed.filters().await, ["event.a == 1", "event.a == 3"]);
    let rows = bed.queries().await;
    let names = |row: &Query| row.standing.clone();
    assert_eq!(
        rows.iter().map(names).collect::<Vec<_>>(),
        [[reference("carts", 2)], [reference("other", 3)]]
    );
    let again = operator.change_standing(&second[4..5]).await.unwrap();
    assert_eq!(served(&again[0]), served(&made[4]), "nothing changed");
    assert_eq!(
        operator.standing(&name("other")).await.unwrap(),
        Some(standing("other", 3, "event.a == 3"))
    );
    assert_eq!(operator.standing(&name("third")).await.unwrap(), None);
}

pub(crate) async fn query_made_again_under_its_name_replaces_the_former(bed: &Bed) {
    let operator = bed.registry();
    operator
        .put_standing(&standing("carts", 9, "event.a == 1"), 0)
        .await
        .unwrap();
    let again = Standing {
        uid: "uid-2".into(),
        ..standing("carts", 1, "event.a == 2")
    };
    operator.put_standing(&again, 0).await.unwrap();
    assert_eq!(bed.filters().await, ["event.a == 2"]);
    // The finalizer of the former one comes late and finds nothing of its own.
    assert!(!operator.remove_standing("uid-carts").await.unwrap());
    assert_eq!(bed.filters().await, ["event.a == 2"]);
}

pub(crate) async fn sink_reaches_readers_with_the_revision_of_its_change(bed: &Bed) {
    let (operator, mut reader) = (bed.registry(), bed.reader().await);
    let with_sink = |of: &str, generation, topic: Option<&str>| Standing {
        sink_topic: topic.map(str::to_owned),
        ..standing(of, generation, "event.a == 1")
    };
    let sink = |topic: &str| {
        Some(SinkRef {
            topic: topic.into(),
            fields: vec!["type".into(), "page.path".into()],
        })
    };
    let first = with_sink("carts", 1, Some("carts-a"));
    let mut at = operator
        .put_standing(&first, 0)
        .await
        .unwrap()
        .unwrap()
        .revision;
    assert_eq!(
        operator.standing(&name("carts")).await.unwrap(),
        Some(first)
    );
    // Equal filters share a row; each standing query has its own sink, or none.
    operator
        .put_standing(&with_sink("other", 1, None), 0)
        .await
        .unwrap();
    let mut read = async || {
        let snapshot = reader.since(at).await;
        at = snapshot.revision;
        assert_eq!(snapshot.queries.len(), 1);
        let sinks = snapshot.queries[0].standing.iter();
        sinks
            .map(|by| (by.name.name.clone(), by.sink.clone()))
            .collect::<Vec<_>>()
    };
    let (carts, other) = ("carts".to_owned(), "other".to_owned());
    assert_eq!(
        read().await,
        [(carts.clone(), sink("carts-a")), (other.clone(), None)]
    );
    operator
        .put_standing(&with_sink("carts", 2, Some("carts-b")), 0)
        .await
        .unwrap();
    assert_eq!(
        read().await,
        [(carts.clone(), sink("carts-b")), (other.clone(), None)]
    );
    operator
        .put_standing(&with_sink("carts", 3, None), 0)
        .await
        .unwrap();
    assert_eq!(read().await, [(carts, None), (other, None)]);
    for bad in ["", "a\nb"] {
        let refused = operator
            .put_standing(&with_sink("carts", 4, Some(bad)), 0)
            .await;
        assert_eq!(refused.unwrap_err().category(), Category::Invalid);
    }
}

pub(crate) async fn list_names_standing_queries(bed: &Bed) {
    let (operator, a) = (bed.registry(), bed.handler().await);
    operator
        .put_standing(&standing("zoo", 1, "event.b == 1"), 0)
        .await
        .unwrap();
    operator
        .put_standing(&standing("Carts", 1, "event.b == 1"), 0)
        .await
        .unwrap();
    a.serve(wanted("event.b == 1")).await;
    a.serve(wanted("event.a == 1")).await;
    let list = bed.list().await;
    let rows: Vec<_> = list
        .iter()
        .map(|row| {
            (
                row.standing.as_ref().map(|by| by.name.as_str()),
                row.filter.as_str(),
                row.subscribers,
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            (Some("Carts"), "event.b == 1", 1),
            (Some("zoo"), "event.b == 1", 1),
            (None, "event.a == 1", 1)
        ]
    );
}
