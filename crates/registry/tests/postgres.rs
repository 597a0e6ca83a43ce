//! What only a real server can do: vanish, come back, lose what it had, hang.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::time::Duration;

use clickstream_registry::{
    Category, Change, Follower, FollowerOptions, PostgresRegistry, ProcessId, QueryId, Registry,
    RegistryError, State, Wanted,
};
use clickstream_testkit::postgres::Postgres;
use sqlx::{Connection, PgConnection, query, query_scalar, raw_sql};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

const LEASE: Duration = Duration::from_secs(60);
/// Far longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(120);

fn registry(url: &str) -> PostgresRegistry {
    PostgresRegistry::new(url, "shop/clicks", "test").unwrap()
}

async fn migrated(server: &Postgres) -> String {
    let url = server.create_database().await.unwrap();
    registry(&url).migrate().await.unwrap();
    url
}

fn wanted(filter: &str) -> Wanted {
    Wanted {
        tenant: String::new(),
        filter: filter.into(),
        lane: 0,
        subscribers: 1,
        limit: None,
    }
}

async fn follow(url: &str, vanish_grace: Option<Duration>) -> Follower {
    let follower = Follower::start(
        Arc::new(registry(url)),
        FollowerOptions { vanish_grace },
        CancellationToken::new(),
    );
    until(&follower, |state| state.connected).await;
    follower
}

async fn until(follower: &Follower, done: impl Fn(&State) -> bool) -> Arc<State> {
    let mut states = follower.subscribe();
    let reached = timeout(LIMIT, states.wait_for(|state| done(state))).await;
    reached
        .unwrap_or_else(|_| panic!("not reached: {:?}", follower.state()))
        .unwrap()
        .clone()
}

fn has(id: QueryId) -> impl Fn(&State) -> bool {
    move |state| state.queries.contains_key(&id)
}

/// Ends the database's other sessions that `which` (a condition on pg_stat_activity) chooses; at least one.
async fn terminate(url: &str, which: &'static str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let ended: i64 = query_scalar(sqlx::AssertSqlSafe(format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND {which}"
    )))
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert!(ended > 0, "no session with {which}");
}

/// Renews until it succeeds, as a handler does after a failure.
async fn renew(
    registry: &PostgresRegistry,
    handler: ProcessId,
    serves: &[Wanted],
) -> Vec<ProcessId> {
    timeout(LIMIT, async {
        loop {
            match registry.renew(handler, serves, LEASE).await {
                Ok(renewed) => return renewed.swept,
                Err(err) => assert_eq!(err.category(), Category::Unavailable, "{err:?}"),
            }
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn lost_listening_connection_is_seen_and_everything_read_again() {
    let url = migrated(Postgres::shared().await.unwrap()).await;
    let (writer, handler) = (registry(&url), ProcessId::random());
    writer
        .renew(handler, &[wanted("before")], LEASE)
        .await
        .unwrap();
    let follower = follow(&url, None).await;
    let (before, during) = (writer.query_id("", "before"), writer.query_id("", "during"));
    // The change and the end of the connection together: its signal may well be lost.
    terminate(&url, "query LIKE 'LISTEN%' OR query = 'COMMIT'").await;
    renew(&writer, handler, &[wanted("during")]).await;
    let state = until(&follower, |state| {
        has(during)(state) && !has(before)(state) && state.connected
    })
    .await;
    assert!(state.loads >= 2, "{state:?}");
}

#[tokio::test]
async fn feed_ends_with_its_connection() {
    let url = migrated(Postgres::shared().await.unwrap()).await;
    let mut feed = registry(&url).feed().await.unwrap();
    terminate(&url, "query LIKE 'LISTEN%'").await;
    let lost = timeout(LIMIT, feed.changed()).await.unwrap().unwrap_err();
    assert_eq!(lost.category(), Category::Unavailable);
    let mut feed = registry(&url).feed().await.unwrap();
    feed.read(None).await.unwrap();
    terminate(&url, "application_name = 'test'").await;
    assert_eq!(
        feed.read(None).await.unwrap_err().category(),
        Category::Unavailable
    );
}

#[tokio::test]
async fn killed_server_comes_back_and_nothing_is_lost() {
    let server = Postgres::start().await.unwrap();
    let url = migrated(&server).await;
    let (writer, handler) = (registry(&url), ProcessId::random());
    writer.renew(handler, &[], LEASE).await.unwrap();
    let committed = writer
        .apply(handler, &[Change::Serve(wanted("committed"))])
        .await
        .unwrap()[0];
    let follower = follow(&url, Some(LEASE)).await;
    server.kill().unwrap();

    let state = until(&follower, |state| !state.connected).await;
    assert_eq!(
        (state.trouble, state.revision),
        (Some(Category::Unavailable), Some(committed.revision))
    );
    assert!(has(committed.id)(&state), "what runs goes on running");
    let refused = writer
        .apply(handler, &[Change::Serve(wanted("lost"))])
        .await
        .unwrap_err();
    assert_eq!(refused.category(), Category::Unavailable);
    assert_eq!(
        writer.ready().await.unwrap_err().category(),
        Category::Unavailable
    );
    let pending = tokio::spawn({
        let follower = follower.clone();
        async move { follower.caught_up().await }
    });

    server.start_again().await.unwrap();
    let swept = renew(&writer, handler, &[wanted("committed"), wanted("lost")]).await;
    assert_eq!(swept, []);
    let state = until(&follower, has(writer.query_id("", "lost"))).await;
    assert!(has(committed.id)(&state) && state.connected && state.loads == 2);
    assert_eq!(state.queries[&committed.id].revision, committed.revision);
    assert!(pending.await.unwrap().unwrap() >= committed.revision);
    writer.ready().await.unwrap();
}

#[tokio::test]
async fn failover_that_lost_transactions_goes_back_and_then_above_all() {
    let url = migrated(Postgres::shared().await.unwrap()).await;
    let (writer, handler) = (registry(&url), ProcessId::random());
    writer
        .renew(handler, &[wanted("kept")], LEASE)
        .await
        .unwrap();
    let mut server = PgConnection::connect(&url).await.unwrap();
    // What the new server has.
    raw_sql("CREATE TABLE standby AS TABLE query; CREATE TABLE standby_use AS TABLE query_use; CREATE TABLE standby_pipeline AS TABLE pipeline")
        .execute(&mut server)
        .await
        .unwrap();
    let (worker, viewer) = (follow(&url, Some(LEASE)).await, follow(&url, None).await);
    let lost = writer
        .apply(handler, &[Change::Serve(wanted("lost"))])
        .await
        .unwrap()[0];
    for follower in [&worker, &viewer] {
        until(follower, has(lost.id)).await;
    }
    let old = worker.state().revision.unwrap();
    raw_sql(
        "BEGIN; DELETE FROM query_use; DELETE FROM query; UPDATE pipeline SET revision = (SELECT revision FROM standby_pipeline);
         INSERT INTO query TABLE standby; INSERT INTO query_use TABLE standby_use; COMMIT",
    )
    .execute(&mut server)
    .await
    .unwrap();
    terminate(&url, "application_name = 'test'").await;

    let state = until(&viewer, |state| !has(lost.id)(state) && state.connected).await;
    assert!(state.revision.unwrap() < old);
    let state = until(&worker, |state| {
        state.connected && state.revision.unwrap() < old
    })
    .await;
    assert!(has(lost.id)(&state), "kept for its grace");
    // The handler states its set again; the query's new revision is above every one that was lost.
    renew(&writer, handler, &[wanted("kept"), wanted("lost")]).await;
    for follower in [&worker, &viewer] {
        let state = until(follower, |state| state.revision.unwrap() > old).await;
        assert!(state.queries[&lost.id].revision > old);
        assert_eq!(state.queries.len(), 2);
    }
}

#[tokio::test]
async fn new_connection_takes_the_right_to_judge() {
    let url = migrated(Postgres::shared().await.unwrap()).await;
    let (a, dead) = (registry(&url), registry(&url));
    let (a_id, dead_id) = (ProcessId::random(), ProcessId::random());
    dead.renew(dead_id, &[wanted("of the dead")], LEASE)
        .await
        .unwrap();
    a.renew(a_id, &[], LEASE).await.unwrap();
    let mut server = PgConnection::connect(&url).await.unwrap();
    let age = async |server: &mut PgConnection, handler: ProcessId, seconds: f64| {
        query(
            "UPDATE lease SET renewed_at = renewed_at - make_interval(secs => $2),
             continuous_since = continuous_since - make_interval(secs => 500) WHERE handler_id = $1",
        )
        .bind(handler.to_string())
        .bind(seconds)
        .execute(server)
        .await
        .unwrap();
    };
    age(&mut server, dead_id, 100.0).await;
    age(&mut server, a_id, 1.0).await;
    terminate(&url, "application_name = 'test'").await;
    assert_eq!(renew(&a, a_id, &[]).await, []);
    // Once more on that connection, a lease later.
    age(&mut server, a_id, 1.0).await;
    assert_eq!(renew(&a, a_id, &[]).await, [dead_id]);
}

#[tokio::test]
async fn frozen_writer_holds_nobody_up_for_long() {
    let url = migrated(Postgres::shared().await.unwrap()).await;
    let (writer, handler) = (registry(&url), ProcessId::random());
    writer.renew(handler, &[], LEASE).await.unwrap();
    // As our own transactions begin, but nobody goes on.
    let mut frozen = PgConnection::connect(&url).await.unwrap();
    raw_sql(
        "SET idle_in_transaction_session_timeout = 5000; BEGIN; SELECT FROM pipeline FOR UPDATE",
    )
    .execute(&mut frozen)
    .await
    .unwrap();
    let held = timeout(LIMIT, async {
        loop {
            match writer
                .renew(handler, &[wanted("event.a == 1")], LEASE)
                .await
            {
                Ok(_) => return,
                Err(err) => assert_eq!(err.category(), Category::Unavailable, "{err:?}"),
            }
        }
    });
    held.await.unwrap();
    assert!(frozen.ping().await.is_err());
}

#[tokio::test]
async fn schema_is_missed_then_made_by_whoever_is_first() {
    let url = Postgres::shared()
        .await
        .unwrap()
        .create_database()
        .await
        .unwrap();
    let registries: Vec<_> = (0..4).map(|_| Arc::new(registry(&url))).collect();
    let handler = ProcessId::random();
    for failed in [
        registries[0].ready().await.unwrap_err(),
        registries[0].renew(handler, &[], LEASE).await.unwrap_err(),
        registries[0].processes().await.unwrap_err(),
    ] {
        assert_eq!(failed.category(), Category::SchemaMissing, "{failed:?}");
    }
    let follower = Follower::start(
        registries[0].clone(),
        FollowerOptions::default(),
        CancellationToken::new(),
    );
    until(&follower, |state| {
        state.trouble == Some(Category::SchemaMissing)
    })
    .await;
    let mut tasks = tokio::task::JoinSet::new();
    for registry in registries.clone() {
        tasks.spawn(async move { registry.migrate().await });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
    until(&follower, |state| state.connected).await;
    registries[0].ready().await.unwrap();
    // A later release has been here already.
    let mut server = PgConnection::connect(&url).await.unwrap();
    raw_sql("INSERT INTO _sqlx_migrations VALUES (9999, 'later', now(), true, '\\x00', 1)")
        .execute(&mut server)
        .await
        .unwrap();
    registries[1].migrate().await.unwrap();
    registries[1].ready().await.unwrap();
}

#[tokio::test]
async fn errors_name_no_host_and_no_sql() {
    let server = Postgres::shared().await.unwrap();
    let bad = |url: &str| {
        PostgresRegistry::new(url, "p", "test")
            .map(|_| ())
            .unwrap_err()
    };
    let refused = bad("mysql://secret.internal:1/x y");
    assert_eq!(refused.category(), Category::Invalid);
    assert!(!format!("{refused:?} {refused}").contains("secret"));
    assert_eq!(
        PostgresRegistry::new(&server.url("x"), "a\nb", "test")
            .unwrap_err()
            .category(),
        Category::Invalid
    );

    let nobody = registry("postgres://postgres@127.0.0.1:1/x")
        .ready()
        .await
        .unwrap_err();
    let no_database = registry(&server.url("missing")).ready().await.unwrap_err();
    let no_role = registry(&server.url("postgres").replace("postgres@", "stranger@"))
        .ready()
        .await
        .unwrap_err();
    assert!(
        matches!(nobody, RegistryError::Unavailable(_)),
        "{nobody:?}"
    );
    assert!(
        matches!(no_database, RegistryError::AccessDenied(_)),
        "{no_database:?}"
    );
    assert!(
        matches!(no_role, RegistryError::AccessDenied(_)),
        "{no_role:?}"
    );
    for error in [nobody, no_database, no_role] {
        assert_eq!(error.category(), Category::Unavailable);
        let shown = error.to_string();
        assert!(
            !shown.contains("127.0.0.1")
                && !shown.contains("stranger")
                && !shown.contains("missing"),
            "{shown}"
        );
    }
}
