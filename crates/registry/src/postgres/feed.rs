//! The reader's connection: LISTEN, and reads in one snapshot.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::postgres::{PgConnection, PgListener};
use sqlx::{Acquire, Connection, Postgres, Transaction, query_as};

use super::link::within;
use super::store::{queries, sink};
use super::{PostgresRegistry, rows, single};
use crate::rules::must_reload;
use crate::{Feed, Query, QueryId, RegistryError, Revision, Snapshot, StandingName, StandingRef};

pub(super) struct PostgresFeed {
    pipeline: String,
    listener: PgListener,
}

impl PostgresRegistry {
    pub(super) async fn open_feed(&self) -> Result<PostgresFeed, RegistryError> {
        // The listener takes its connection from a pool; this one is its own and ends with it.
        let mut listener = PgListener::connect_with(&single(&self.options)).await?;
        // It must never reconnect by itself: what happened meanwhile would be missed. A feed with an error is dropped.
        listener.eager_reconnect(false);
        listener.listen(&self.channel).await?;
        Ok(PostgresFeed {
            pipeline: self.pipeline.clone(),
            listener,
        })
    }
}

#[async_trait]
impl Feed for PostgresFeed {
    async fn read(&mut self, since: Option<Revision>) -> Result<Snapshot, RegistryError> {
        within(async {
            let connection: &mut PgConnection = self.listener.acquire().await?;
            let mut snapshot = connection
                .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                .await?;
            let read = read(&mut snapshot, &self.pipeline, since).await?;
            snapshot.commit().await?;
            Ok(read)
        })
        .await
    }

    async fn changed(&mut self) -> Result<Revision, RegistryError> {
        let lost = || RegistryError::unavailable("the connection was lost");
        let mut latest = self.listener.try_recv().await?.ok_or_else(lost)?;
        while let Some(later) = self.listener.next_buffered() {
            latest = later;
        }
        latest.payload().parse().map_err(RegistryError::bug)
    }
}

async fn read(
    snapshot: &mut Transaction<'_, Postgres>,
    pipeline: &str,
    since: Option<Revision>,
) -> Result<Snapshot, RegistryError> {
    let found: Option<(i64, i64)> =
        query_as("SELECT revision, removed_through FROM pipeline WHERE pipeline_id = $1")
            .bind(pipeline)
            .fetch_optional(&mut **snapshot)
            .await?;
    let (revision, removed_through) = found.unwrap_or_default();
    let (revision, removed_through) = (rows::revision(revision)?, rows::revision(removed_through)?);
    let complete = must_reload(since, removed_through, revision);
    // Every row has a revision above 0.
    let after = if complete {
        0
    } else {
        rows::bigint(since.unwrap_or(0))
    };

    let mut queries = queries(
        query_as(
            "SELECT query_id, tenant, filter, lane, rate_limit, watched, revision
             FROM query WHERE pipeline_id = $1 AND revision > $2",
        )
        .bind(pipeline)
        .bind(after)
        .fetch_all(&mut **snapshot)
        .await?,
    )?;
    add_standing(snapshot, pipeline, after, &mut queries).await?;
    let removed: Vec<(String,)> =
        query_as("SELECT query_id FROM removal WHERE pipeline_id = $1 AND revision > $2")
            .bind(pipeline)
            .bind(after)
            .fetch_all(&mut **snapshot)
            .await?;
    let removed = removed
        .iter()
        .map(|(id,)| rows::query_id(id))
        .collect::<Result<_, _>>()?;
    Ok(Snapshot {
        revision,
        complete,
        queries,
        removed,
    })
}

/// Query; namespace, name, uid, generation, topic of the sink and its fields of a standing query that refers to it.
type ReferenceRow = (
    String,
    String,
    String,
    String,
    i64,
    Option<String>,
    Vec<String>,
);

async fn add_standing(
    snapshot: &mut Transaction<'_, Postgres>,
    pipeline: &str,
    after: i64,
    queries: &mut [Query],
) -> Result<(), RegistryError> {
    if queries.is_empty() {
        return Ok(());
    }
    let references: Vec<ReferenceRow> = query_as(
        "SELECT query_id, s.namespace, s.name, s.uid, s.generation, s.sink_topic,
                CASE WHEN s.sink_topic IS NULL THEN '{}' ELSE s.fields END
         FROM standing s JOIN query q USING (pipeline_id, query_id)
         WHERE s.pipeline_id = $1 AND NOT s.suspended AND q.revision > $2
         ORDER BY s.namespace COLLATE \"C\", s.name COLLATE \"C\"",
    )
    .bind(pipeline)
    .bind(after)
    .fetch_all(&mut **snapshot)
    .await?;
    let mut by_id: HashMap<QueryId, Vec<StandingRef>> = HashMap::new();
    for (id, namespace, name, uid, generation, sink_topic, fields) in references {
        let reference = StandingRef {
            name: StandingName { namespace, name },
            uid,
            generation,
            sink: sink(sink_topic, fields),
        };
        by_id
            .entry(rows::query_id(&id)?)
            .or_default()
            .push(reference);
    }
    for query in queries {
        query.standing = by_id.remove(&query.id).unwrap_or_default();
    }
    Ok(())
}
