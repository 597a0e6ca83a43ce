//! A registry of either kind, and time that can be moved on for its clock.

use std::sync::Arc;
use std::time::Duration;

use clickstream_registry::{
    Change, Feed, Listed, MemoryRegistry, PostgresRegistry, ProcessId, Query, QueryId, Registry,
    Served, Snapshot, Wanted,
};
use clickstream_testkit::postgres::Postgres;
use sqlx::{Connection, PgConnection};

pub(crate) const PIPELINE: &str = "shop/clicks";
pub(crate) const LEASE: Duration = Duration::from_secs(60);

pub(crate) enum Bed {
    Memory(MemoryRegistry),
    Postgres(String),
}

impl Bed {
    pub(crate) fn memory() -> Bed {
        Bed::Memory(MemoryRegistry::new(PIPELINE))
    }

    pub(crate) async fn postgres() -> Bed {
        let url = Postgres::shared()
            .await
            .unwrap()
            .create_database()
            .await
            .unwrap();
        PostgresRegistry::new(&url, PIPELINE, "test")
            .unwrap()
            .migrate()
            .await
            .unwrap();
        Bed::Postgres(url)
    }

    /// The pipeline's registry as one process has it.
    pub(crate) fn registry(&self) -> Arc<dyn Registry> {
        self.registry_of(PIPELINE)
    }

    pub(crate) fn registry_of(&self, pipeline: &str) -> Arc<dyn Registry> {
        match self {
            Bed::Memory(registry) if pipeline == PIPELINE => Arc::new(registry.clone()),
            Bed::Memory(_) => Arc::new(MemoryRegistry::new(pipeline)),
            Bed::Postgres(url) => Arc::new(PostgresRegistry::new(url, pipeline, "test").unwrap()),
        }
    }

    /// Time passes for the registry's clock: in PostgreSQL everything that was written becomes older.
    pub(crate) async fn advance(&self, by: Duration) {
        match self {
            Bed::Memory(_) => tokio::time::advance(by).await,
            Bed::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                let seconds = by.as_secs_f64();
                for statement in [
                    "UPDATE lease SET renewed_at = renewed_at - make_interval(secs => $1),
                         continuous_since = continuous_since - make_interval(secs => $1)",
                    "UPDATE removal SET removed_at = removed_at - make_interval(secs => $1)",
                    "UPDATE worker SET seen_at = seen_at - make_interval(secs => $1)",
                    "UPDATE handler SET seen_at = seen_at - make_interval(secs => $1)",
                ] {
                    sqlx::query(statement)
                        .bind(seconds)
                        .execute(&mut connection)
                        .await
                        .unwrap();
                }
            }
        }
    }

    /// A process of its own that has a lease and serves nothing.
    pub(crate) async fn handler(&self) -> Handler {
        self.handler_with(LEASE).await
    }

    pub(crate) async fn handler_with(&self, lease: Duration) -> Handler {
        let handler = Handler {
            id: ProcessId::random(),
            registry: self.registry(),
            lease,
        };
        assert_eq!(handler.renew(&[]).await, []);
        handler
    }

    pub(crate) async fn reader(&self) -> Reader {
        Reader {
            feed: self.registry().feed().await.unwrap(),
        }
    }

    pub(crate) async fn queries(&self) -> Vec<Query> {
        self.reader().await.all().await.queries
    }

    pub(crate) async fn filters(&self) -> Vec<String> {
        let mut filters: Vec<String> = self
            .queries()
            .await
            .into_iter()
            .map(|query| query.filter)
            .collect();
        filters.sort();
        filters
    }

    pub(crate) async fn list(&self) -> Vec<Listed> {
        self.registry().list().await.unwrap()
    }
}

pub(crate) struct Handler {
    pub(crate) id: ProcessId,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) lease: Duration,
}

impl Handler {
    /// Whom the renewal swept.
    pub(crate) async fn renew(&self, serves: &[Wanted]) -> Vec<ProcessId> {
        let renewed = self
            .registry
            .renew(self.id, serves, self.lease)
            .await
            .unwrap();
        let ids: Vec<QueryId> = serves
            .iter()
            .map(|wanted| self.registry.query_id("", &wanted.filter))
            .collect();
        assert_eq!(
            renewed
                .served
                .iter()
                .map(|served| served.id)
                .collect::<Vec<_>>(),
            ids
        );
        renewed.swept
    }

    pub(crate) async fn apply(&self, changes: &[Change]) -> Vec<Served> {
        self.registry.apply(self.id, changes).await.unwrap()
    }

    pub(crate) async fn serve(&self, wanted: Wanted) -> Served {
        let served = self.apply(&[Change::Serve(wanted)]).await;
        assert_eq!(served.len(), 1);
        served[0]
    }

    pub(crate) async fn release(&self, id: QueryId) {
        assert_eq!(self.apply(&[Change::Release(id)]).await, []);
    }
}

pub(crate) struct Reader {
    pub(crate) feed: Box<dyn Feed>,
}

impl Reader {
    pub(crate) async fn all(&mut self) -> Snapshot {
        let snapshot = self.feed.read(None).await.unwrap();
        assert!(snapshot.complete);
        snapshot
    }

    pub(crate) async fn since(&mut self, revision: u64) -> Snapshot {
        self.feed.read(Some(revision)).await.unwrap()
    }
}

/// One subscriber without a limit.
pub(crate) fn wanted(filter: &str) -> Wanted {
    Wanted {
        tenant: String::new(),
        filter: filter.to_owned(),
        lane: 0,
        subscribers: 1,
        limit: None,
    }
}
