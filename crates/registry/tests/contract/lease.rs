use std::time::Duration;

use clickstream_registry::{ProcessId, RegistryError};

use crate::bed::{Bed, Handler, LEASE, wanted};

/// As handlers renew.
const THIRD: Duration = Duration::from_secs(20);

pub(crate) async fn handler_without_a_lease_is_refused(bed: &Bed) {
    let (registry, id) = (bed.registry(), ProcessId::random());
    let serve = [clickstream_registry::Change::Serve(wanted("event.a == 1"))];
    assert!(matches!(
        registry.apply(id, &serve).await,
        Err(RegistryError::NoLease)
    ));
    assert_eq!(bed.queries().await, []);
    registry.renew(id, &[], LEASE).await.unwrap();
    registry.apply(id, &serve).await.unwrap();
    assert_eq!(bed.queries().await.len(), 1);
}

pub(crate) async fn renewal_states_the_whole_set(bed: &Bed) {
    let a = bed.handler().await;
    a.serve(wanted("stays")).await;
    a.serve(wanted("removal was lost")).await;
    a.renew(&[wanted("was never written"), wanted("stays")])
        .await;
    assert_eq!(bed.filters().await, ["stays", "was never written"]);
    // The same query twice is one use; the last counts.
    let twice = [
        wanted("stays"),
        clickstream_registry::Wanted {
            limit: Some(3),
            ..wanted("stays")
        },
    ];
    a.renew(&twice).await;
    assert_eq!(
        bed.queries()
            .await
            .iter()
            .map(|query| query.limit)
            .collect::<Vec<_>>(),
        [Some(3)]
    );
}

pub(crate) async fn renewal_of_the_same_set_is_no_change(bed: &Bed) {
    let (a, mut reader) = (bed.handler().await, bed.reader().await);
    let set = [wanted("event.a == 1"), wanted("event.b == 1")];
    a.renew(&set).await;
    let before = reader.all().await;
    let renewed = a.registry.renew(a.id, &set, LEASE).await.unwrap();
    assert!(
        renewed
            .served
            .iter()
            .all(|served| served.revision == before.revision)
    );
    assert_eq!(reader.all().await, before);
}

pub(crate) async fn leaving_releases_everything(bed: &Bed) {
    let (a, b) = (bed.handler().await, bed.handler().await);
    a.renew(&[wanted("mine"), wanted("shared")]).await;
    b.serve(wanted("shared")).await;
    a.registry.leave(a.id).await.unwrap();
    assert_eq!(bed.filters().await, ["shared"]);
    a.registry.leave(a.id).await.unwrap();
    assert!(matches!(
        a.registry.apply(a.id, &[]).await,
        Err(RegistryError::NoLease)
    ));
}

/// Renews for a lease and more, so that `handlers` may judge.
async fn settle(bed: &Bed, handlers: &[(&Handler, &str)]) {
    for _ in 0..4 {
        bed.advance(THIRD).await;
        for (handler, filter) in handlers {
            assert_eq!(handler.renew(&[wanted(filter)]).await, []);
        }
    }
}

pub(crate) async fn dead_handler_is_swept(bed: &Bed) {
    let (a, dead) = (bed.handler().await, bed.handler().await);
    dead.renew(&[wanted("of the dead"), wanted("of both")])
        .await;
    a.renew(&[wanted("of both")]).await;
    bed.advance(THIRD).await;
    a.renew(&[wanted("of both")]).await;
    bed.advance(THIRD).await;
    a.renew(&[wanted("of both")]).await;
    assert_eq!(bed.filters().await, ["of both", "of the dead"]);
    bed.advance(THIRD + Duration::from_secs(1)).await;
    assert_eq!(a.renew(&[wanted("of both")]).await, [dead.id]);
    assert_eq!(bed.filters().await, ["of both"]);
    assert_eq!(bed.list().await[0].subscribers, 1);
    bed.advance(THIRD).await;
    assert_eq!(a.renew(&[wanted("of both")]).await, []);
}

pub(crate) async fn newcomer_does_not_judge(bed: &Bed) {
    let dead = bed.handler().await;
    dead.serve(wanted("of the dead")).await;
    bed.advance(LEASE * 10).await;
    let a = bed.handler().await;
    for _ in 0..2 {
        bed.advance(THIRD).await;
        assert_eq!(a.renew(&[]).await, []);
    }
    assert_eq!(bed.filters().await, ["of the dead"]);
    bed.advance(THIRD).await;
    assert_eq!(a.renew(&[]).await, [dead.id]);
    assert_eq!(bed.queries().await, []);
}

pub(crate) async fn outage_of_three_leases_removes_nothing(bed: &Bed) {
    let (a, b) = (bed.handler().await, bed.handler().await);
    settle(bed, &[(&a, "of a"), (&b, "of b")]).await;
    bed.advance(LEASE * 3).await;
    // The connections may have outlived it: the database's clock tells all the same.
    for _ in 0..6 {
        assert_eq!(a.renew(&[wanted("of a")]).await, []);
        assert_eq!(b.renew(&[wanted("of b")]).await, []);
        assert_eq!(bed.filters().await, ["of a", "of b"]);
        bed.advance(THIRD).await;
    }
}

pub(crate) async fn handlers_that_come_back_at_different_times_are_safe(bed: &Bed) {
    let (a, b, dead) = (
        bed.handler().await,
        bed.handler().await,
        bed.handler().await,
    );
    settle(bed, &[(&a, "of a"), (&b, "of b"), (&dead, "of the dead")]).await;
    bed.advance(LEASE * 3).await;
    for _ in 0..3 {
        assert_eq!(a.renew(&[wanted("of a")]).await, []);
        bed.advance(THIRD - Duration::from_secs(1)).await;
    }
    // 57 s after `a`.
    assert_eq!(b.renew(&[wanted("of b")]).await, []);
    bed.advance(Duration::from_secs(3)).await;
    assert_eq!(a.renew(&[wanted("of a")]).await, [dead.id]);
    assert_eq!(bed.filters().await, ["of a", "of b"]);
}

pub(crate) async fn gap_of_its_own_takes_the_right_to_judge(bed: &Bed) {
    let (a, b) = (bed.handler().await, bed.handler().await);
    settle(bed, &[(&a, "of a"), (&b, "of b")]).await;
    bed.advance(THIRD).await;
    a.renew(&[wanted("of a")]).await;
    bed.advance(LEASE * 3 / 4).await;
    // `b` is 65 s old, but `a` was away for 45 s of them.
    assert_eq!(a.renew(&[wanted("of a")]).await, []);
    assert_eq!(b.renew(&[wanted("of b")]).await, []);
    assert_eq!(bed.filters().await, ["of a", "of b"]);
}

pub(crate) async fn frozen_handler_states_its_set_again(bed: &Bed) {
    let (a, frozen) = (bed.handler().await, bed.handler().await);
    settle(bed, &[(&a, "of a"), (&frozen, "of the frozen")]).await;
    let mut swept = Vec::new();
    for _ in 0..6 {
        bed.advance(THIRD).await;
        swept.extend(a.renew(&[wanted("of a")]).await);
    }
    assert_eq!(swept, [frozen.id]);
    assert_eq!(bed.filters().await, ["of a"]);
    // Awake, with its connection whole.
    let serve = [clickstream_registry::Change::Serve(wanted("new"))];
    assert!(matches!(
        frozen.registry.apply(frozen.id, &serve).await,
        Err(RegistryError::NoLease)
    ));
    assert_eq!(
        frozen
            .renew(&[wanted("of the frozen"), wanted("new")])
            .await,
        []
    );
    assert_eq!(bed.filters().await, ["new", "of a", "of the frozen"]);
}

pub(crate) async fn longer_lease_is_waited_for(bed: &Bed) {
    let short = Duration::from_secs(6);
    let (a, long) = (bed.handler_with(short).await, bed.handler().await);
    long.serve(wanted("of the long")).await;
    for _ in 0..3 {
        bed.advance(short / 3).await;
        a.renew(&[]).await;
    }
    // An outage of 50 s; then only `a` is back.
    bed.advance(Duration::from_secs(50)).await;
    a.renew(&[]).await;
    for _ in 0..24 {
        bed.advance(short / 3).await;
        assert_eq!(a.renew(&[]).await, []);
    }
    assert_eq!(bed.filters().await, ["of the long"]);
    // PostgreSQL's clock goes on by itself, too, so that it may be a step sooner.
    let mut swept = Vec::new();
    for _ in 0..7 {
        bed.advance(short / 3).await;
        swept.extend(a.renew(&[]).await);
    }
    assert_eq!(swept, [long.id]);
}
