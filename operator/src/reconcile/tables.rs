//! PostgreSQL's part of a pipeline: is the database there, do its tables suit this version.

use std::time::Duration;

use clickstream_registry::{Category, PostgresRegistry};
use clickstream_resources::condition::{Reason, State, Type};
use clickstream_resources::{ClickstreamPipeline, Migrations, PipelineStatus, PostgresStatus};
use tokio::time::timeout;
use tracing::{debug, info};

use super::chain;
use super::fetch::Connections;
use super::status::Conditions;
use super::validate::Validated;
use crate::registries::Pipeline;

/// For migrations, which may rewrite tables.
const MIGRATION_LIMIT: Duration = Duration::from_secs(25);

/// The database and its tables.
pub(super) async fn settle(
    pipeline: &ClickstreamPipeline,
    valid: &Validated,
    connections: &Connections,
    registry: &Pipeline,
    said: &mut Conditions,
    status: &mut PipelineStatus,
) {
    let mut set = |state, reason, words: String| said.set(Type::SchemaReady, state, reason, words);
    let migrations = pipeline.spec.postgres.migrations;
    if migrations == Migrations::Off {
        return set(
            State::True,
            Reason::NotChecked,
            "`postgres.migrations` is Off: nobody looked".to_owned(),
        );
    }
    let mut looked = registry.registry.schema_versions().await;
    if let Ok((applied, known)) = looked
        && applied < known
        && migrations == Migrations::Auto
        && !pipeline.spec.paused
    {
        info!(
            pipeline = valid.key,
            applied, known, "migrating the database"
        );
        let migrated = async {
            PostgresRegistry::new(&connections.direct, &valid.key, "clickstream-operator")?
                .migrate()
                .await
        };
        looked = match timeout(MIGRATION_LIMIT, migrated).await {
            Ok(Ok(())) => registry.registry.schema_versions().await,
            Ok(Err(err)) => Err(err),
            Err(_) => {
                return set(
                    State::False,
                    Reason::Timeout,
                    "the migrations did not end in time; they are tried again".to_owned(),
                );
            }
        };
    }
    let (applied, known) = match looked {
        Ok(versions) => versions,
        Err(err) => {
            debug!(
                error = chain(&err),
                pipeline = valid.key,
                "the database is not ready"
            );
            let reason = match err.category() {
                Category::Unavailable => Reason::DatabaseUnavailable,
                Category::SchemaMissing => Reason::SchemaOutdated,
                Category::Invalid | Category::Bug => Reason::InternalError,
            };
            // The message names no host and no SQL.
            let name = &pipeline.spec.postgres.secret_ref.name;
            return set(
                State::False,
                reason,
                format!("{err}: see the address in Secret `{name}`"),
            );
        }
    };
    status.postgres = Some(PostgresStatus {
        schema_version: applied,
    });
    if applied > known {
        set(
            State::False,
            Reason::NewerSchema,
            format!(
                "the tables are at version {applied}, this operator knows {known}: upgrade it; what runs goes on"
            ),
        );
    } else if applied < known {
        let why = if pipeline.spec.paused {
            "the pipeline is paused"
        } else {
            "`postgres.migrations` is Validate"
        };
        set(
            State::False,
            Reason::SchemaOutdated,
            format!("the tables are at version {applied}, {known} is needed, and {why}"),
        );
    } else {
        set(
            State::True,
            Reason::UpToDate,
            format!("the tables are at version {applied}"),
        );
    }
}
