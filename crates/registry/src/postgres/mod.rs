//! The registry in PostgreSQL.
//!
//! Three kinds of connection, each opened when it is needed: one for changes, in order; one for reports and lists; and
//! one for each [`Feed`], which listens and reads. Every call ends within 5 s; the server ends what a client left behind
//! (a frozen handler's open transaction would hold up all others).

mod catalogue;
mod change;
mod feed;
mod link;
mod report;
mod rows;
mod standing;
mod store;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, PgPool, SqlSafeStr as _, query_scalar};

use self::link::{CALL_LIMIT, Link, within};
use crate::query::check_name;
use crate::{
    Catalogue, Change, Feed, HandlerRow, Listed, ProcessId, Processes, QueryId, Registry,
    RegistryError, Renewed, Served, SinkTrouble, Standing, StandingChange, StandingChanged,
    StandingName, Wanted, WorkerRow,
};

/// Version, description and statements of each file in `migrations/`. Listed here as `sqlx::migrate!` would build the
/// driver a second time, for the compiler.
const MIGRATIONS: [(i64, &str, &str); 1] = [(
    1,
    "registry",
    include_str!("../../../../migrations/0001_registry.sql"),
)];

/// The registry of one pipeline in a PostgreSQL database.
pub struct PostgresRegistry {
    pipeline: String,
    /// What NOTIFY and LISTEN call the pipeline: its name may be longer than an identifier.
    channel: String,
    options: PgConnectOptions,
    changes: Link,
    rest: Link,
}

impl fmt::Debug for PostgresRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The options hold the password.
        f.debug_struct("PostgresRegistry")
            .field("pipeline", &self.pipeline)
            .finish_non_exhaustive()
    }
}

impl PostgresRegistry {
    /// The registry of `pipeline` in the database at `url` (`postgres://user:password@host/database?sslmode=..`; the
    /// variables `PGPASSWORD`, `PGSSLROOTCERT` and the like fill in what it leaves out). Connects to nothing yet.
    ///
    /// # Errors
    /// [`RegistryError::Invalid`] when the address or the pipeline's name cannot be used.
    pub fn new(
        url: &str,
        pipeline: &str,
        application_name: &str,
    ) -> Result<PostgresRegistry, RegistryError> {
        check_name("pipeline", pipeline)?;
        // The cause is left out: it might repeat parts of the address.
        let options = url
            .parse::<PgConnectOptions>()
            .ok()
            .filter(|_| url.starts_with("postgres://") || url.starts_with("postgresql://"))
            .ok_or_else(|| {
                let form = "postgres://user@host/database";
                RegistryError::Invalid(format!("the database url is not of the form `{form}`"))
            })?;
        let options = options
            .application_name(application_name)
            .disable_statement_logging()
            .options([
                ("statement_timeout", "5000"),
                ("idle_in_transaction_session_timeout", "5000"),
                // A client that vanished without a word holds nothing for long.
                ("tcp_keepalives_idle", "10"),
                ("tcp_keepalives_interval", "5"),
                ("tcp_keepalives_count", "3"),
                ("synchronous_commit", "on"),
                // Statements take arrays of one id or of ten thousand: a plan made for any of them, on statistics
                // that are behind, compares every row with every id.
                ("plan_cache_mode", "force_custom_plan"),
            ]);
        let mut channel = String::from("clickstream_");
        for byte in &Sha256::digest(pipeline)[..8] {
            channel.push_str(&format!("{byte:02x}"));
        }
        Ok(PostgresRegistry {
            pipeline: pipeline.to_owned(),
            channel,
            changes: Link::new(options.clone(), pipeline),
            rest: Link::new(options.clone(), pipeline),
            options,
        })
    }

    /// Brings the schema up to this program's, under an advisory lock; any number of programs may try at once.
    /// Does not end before the migrations do. Later ones than this program knows are left alone.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`]; [`RegistryError::Invalid`] when a migration was applied that is not ours.
    pub async fn migrate(&self) -> Result<(), RegistryError> {
        let options = self.options.clone().options([("statement_timeout", "0")]);
        // A pool, because the migrator's use of a plain connection cannot move between threads.
        let pool = single(&options);
        let migrations = MIGRATIONS.map(|(version, description, sql)| {
            let kind = MigrationType::Simple;
            Migration::new(version, description.into(), kind, sql.into_sql_str(), false)
        });
        let mut migrator = Migrator::with_migrations(migrations.into());
        migrator.set_ignore_missing(true);
        let migrated = migrator.run(&pool).await;
        pool.close().await;
        migrated.map_err(|err| match err {
            MigrateError::Execute(err) | MigrateError::ExecuteMigration(err, _) => {
                RegistryError::from(err)
            }
            MigrateError::VersionMismatch(version) => RegistryError::Invalid(format!(
                "migration {version} in the database is not the one of this program"
            )),
            other => RegistryError::bug(other),
        })
    }

    /// Closes the connections that no call uses; the next call opens its own. For whoever has many registries and asks
    /// each of them rarely: a server has connections for some hundred clients. A handler that does so loses the right to
    /// judge leases for one lease.
    pub async fn rest(&self) {
        self.changes.close().await;
        self.rest.close().await;
    }

    /// The last migration that is applied (0: none) and the last that this program knows.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`], [`RegistryError::AccessDenied`].
    pub async fn schema_versions(&self) -> Result<(i64, i64), RegistryError> {
        let applied = async {
            let mut session = self.rest.session().await?;
            let applied: Option<i64> =
                query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
                    .fetch_one(session.connection())
                    .await?;
            session.keep();
            Ok(applied.unwrap_or(0))
        };
        let applied = match within(applied).await {
            Err(RegistryError::SchemaMissing(_)) => 0,
            applied => applied?,
        };
        let (known, ..) = MIGRATIONS[MIGRATIONS.len() - 1];
        Ok((applied, known))
    }

    async fn check_schema(&self) -> Result<(), RegistryError> {
        let mut session = self.rest.session().await?;
        let applied: Vec<i64> = query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
            .fetch_all(session.connection())
            .await?;
        session.keep();
        match MIGRATIONS
            .iter()
            .find(|(version, ..)| !applied.contains(version))
        {
            None => Ok(()),
            Some((missing, ..)) => Err(RegistryError::SchemaMissing(
                format!("migration {missing} is not applied").into(),
            )),
        }
    }
}

/// A connection where sqlx wants a pool.
fn single(options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .acquire_timeout(CALL_LIMIT)
        .connect_lazy_with(options.clone())
}

#[async_trait]
impl Registry for PostgresRegistry {
    fn pipeline(&self) -> &str {
        &self.pipeline
    }

    async fn ready(&self) -> Result<(), RegistryError> {
        within(self.check_schema()).await
    }

    async fn apply(
        &self,
        handler: ProcessId,
        changes: &[Change],
    ) -> Result<Vec<Served>, RegistryError> {
        within(self.apply_changes(handler, changes)).await
    }

    async fn renew(
        &self,
        handler: ProcessId,
        serves: &[Wanted],
        lease: Duration,
    ) -> Result<Renewed, RegistryError> {
        within(self.renew_lease(handler, serves, lease)).await
    }

    async fn leave(&self, handler: ProcessId) -> Result<(), RegistryError> {
        within(self.end_lease(handler)).await
    }

    async fn feed(&self) -> Result<Box<dyn Feed>, RegistryError> {
        within(async { Ok(Box::new(self.open_feed().await?) as Box<dyn Feed>) }).await
    }

    async fn list(&self) -> Result<Vec<Listed>, RegistryError> {
        within(self.read_list()).await
    }

    async fn change_standing(
        &self,
        changes: &[StandingChange],
    ) -> Result<Vec<Result<StandingChanged, RegistryError>>, RegistryError> {
        within(self.write_standing(changes)).await
    }

    async fn standing(&self, name: &StandingName) -> Result<Option<Standing>, RegistryError> {
        check_name("namespace", &name.namespace)?;
        check_name("name", &name.name)?;
        within(async {
            let mut session = self.rest.session().await?;
            let standing = self.read_standing(session.connection(), name).await?;
            session.keep();
            Ok(standing)
        })
        .await
    }

    async fn report_worker(&self, row: &WorkerRow) -> Result<(), RegistryError> {
        within(self.write_worker(row)).await
    }

    async fn report_handler(&self, row: &HandlerRow) -> Result<(), RegistryError> {
        within(self.write_handler(row)).await
    }

    async fn processes(&self) -> Result<Processes, RegistryError> {
        within(self.read_processes()).await
    }

    async fn report_standing_rates(
        &self,
        worker: ProcessId,
        rates: &[(QueryId, f64)],
    ) -> Result<(), RegistryError> {
        within(self.write_standing_rates(worker, rates)).await
    }

    async fn standing_rates(&self) -> Result<Vec<(QueryId, f64)>, RegistryError> {
        within(self.read_standing_rates()).await
    }

    async fn report_sink_troubles(
        &self,
        worker: ProcessId,
        troubles: &[SinkTrouble],
    ) -> Result<(), RegistryError> {
        within(self.write_sink_troubles(worker, troubles)).await
    }

    async fn sink_troubles(&self) -> Result<Vec<SinkTrouble>, RegistryError> {
        within(self.read_sink_troubles()).await
    }

    async fn partition_counts(
        &self,
        current: &[(String, i32)],
    ) -> Result<Vec<(String, i32)>, RegistryError> {
        within(self.record_partition_counts(current)).await
    }

    async fn report_catalogue(
        &self,
        worker: ProcessId,
        catalogue: &Catalogue,
    ) -> Result<(), RegistryError> {
        within(self.write_catalogue(worker, catalogue)).await
    }

    async fn catalogue(&self) -> Result<Catalogue, RegistryError> {
        within(self.read_catalogue()).await
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::MIGRATIONS;

    #[test]
    fn every_migration_is_embedded_in_order() {
        let mut files: Vec<_> = fs::read_dir("../../migrations")
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".sql"))
            .collect();
        files.sort();
        let embedded = MIGRATIONS.map(|(version, description, _)| {
            format!("{version:04}_{}.sql", description.replace(' ', "_"))
        });
        assert_eq!(files, embedded);
    }
}
