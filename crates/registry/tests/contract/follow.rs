use std::sync::Arc;
use std::time::Duration;

use clickstream_registry::{Follower, FollowerOptions, QueryId, State};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::bed::{Bed, wanted};

/// The state once `done` holds for it.
pub(crate) async fn until(follower: &Follower, done: impl Fn(&State) -> bool) -> Arc<State> {
    let mut states = follower.subscribe();
    let reached = timeout(
        Duration::from_secs(120),
        states.wait_for(|state| done(state)),
    )
    .await;
    reached
        .unwrap_or_else(|_| panic!("not reached: {:?}", follower.state()))
        .unwrap()
        .clone()
}

fn has(id: QueryId) -> impl Fn(&State) -> bool {
    move |state| state.queries.contains_key(&id)
}

pub(crate) async fn follower_keeps_in_step(bed: &Bed) {
    let a = bed.handler().await;
    let before = a.serve(wanted("before")).await;
    let follower = Follower::start(
        bed.registry(),
        FollowerOptions::default(),
        CancellationToken::new(),
    );
    let state = until(&follower, has(before.id)).await;
    assert!(state.connected && state.trouble.is_none());
    assert_eq!((state.loads, state.revision), (1, Some(before.revision)));

    let after = a.serve(wanted("after")).await;
    let state = until(&follower, has(after.id)).await;
    assert_eq!(
        (state.loads, state.revision, state.queries.len()),
        (1, Some(after.revision), 2)
    );
    a.release(before.id).await;
    until(&follower, |state| !has(before.id)(state)).await;
}

pub(crate) async fn caught_up_means_read_after_the_call(bed: &Bed) {
    let a = bed.handler().await;
    let follower = Follower::start(
        bed.registry(),
        FollowerOptions::default(),
        CancellationToken::new(),
    );
    for n in 0..20 {
        let served = a.serve(wanted(&format!("event.n == {n}"))).await;
        assert!(follower.caught_up().await.unwrap() >= served.revision);
        assert!(has(served.id)(&follower.state()));
    }
}

pub(crate) async fn dropped_follower_ends(bed: &Bed) {
    let registry = bed.registry();
    let cancel = CancellationToken::new();
    let follower = Follower::start(registry.clone(), FollowerOptions::default(), cancel.clone());
    until(&follower, |state| state.connected).await;
    let mut states = follower.subscribe();
    drop(follower);
    // The sender goes with the task.
    while timeout(Duration::from_secs(120), states.changed())
        .await
        .unwrap()
        .is_ok()
    {}

    let follower = Follower::start(registry, FollowerOptions::default(), cancel.clone());
    until(&follower, |state| state.connected).await;
    cancel.cancel();
    let mut states = follower.subscribe();
    while timeout(Duration::from_secs(120), states.changed())
        .await
        .unwrap()
        .is_ok()
    {}
    assert!(follower.caught_up().await.is_err());
}
