//! What a transaction reads before and writes after the rules have decided.
//!
//! A fixed number of statements, however many queries it touches.

use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;
use sqlx::{query, query_as, query_scalar};

use super::{PostgresRegistry, rows};
use crate::rules::{Entry, MAX_REMOVALS, Outcome, Plan, REMOVALS_KEPT_FOR, Reference, Use};
use crate::{Query, QueryId, RegistryError, SinkRef, StandingName, StandingRef};

impl PostgresRegistry {
    /// The touched queries with everything that refers to them.
    pub(super) async fn plan(
        &self,
        connection: &mut PgConnection,
        ids: &[QueryId],
    ) -> Result<Plan, RegistryError> {
        if ids.is_empty() {
            return Ok(Plan::default());
        }
        let ids = rows::texts(ids);
        let queries = queries(
            query_as(
                "SELECT query_id, tenant, filter, lane, rate_limit, watched, revision
                 FROM query WHERE pipeline_id = $1 AND query_id = ANY($2)",
            )
            .bind(&self.pipeline)
            .bind(&ids)
            .fetch_all(&mut *connection)
            .await?,
        )?;
        let mut entries: BTreeMap<QueryId, Entry> = queries
            .into_iter()
            .map(|query| {
                (
                    query.id,
                    Entry {
                        query: Some(query),
                        ..Entry::default()
                    },
                )
            })
            .collect();
        let uses: Vec<(String, String, i64, Option<i64>)> = query_as(
            "SELECT query_id, handler_id, subscribers, rate_limit
             FROM query_use WHERE pipeline_id = $1 AND query_id = ANY($2)",
        )
        .bind(&self.pipeline)
        .bind(&ids)
        .fetch_all(&mut *connection)
        .await?;
        for (id, handler, subscribers, limit) in uses {
            let used = Use {
                subscribers: rows::count(subscribers)?,
                limit: rows::limit(limit)?,
            };
            let entry = entries.entry(rows::query_id(&id)?).or_default();
            entry.uses.insert(rows::process_id(&handler)?, used);
        }
        let references: Vec<ReferenceRow> = query_as(
            "SELECT query_id, namespace, name, uid, generation, rate_limit, sink_topic, fields
             FROM standing WHERE pipeline_id = $1 AND query_id = ANY($2) AND NOT suspended
             ORDER BY namespace COLLATE \"C\", name COLLATE \"C\"",
        )
        .bind(&self.pipeline)
        .bind(&ids)
        .fetch_all(connection)
        .await?;
        for (id, namespace, name, uid, generation, rate, sink_topic, fields) in references {
            let entry = entries.entry(rows::query_id(&id)?).or_default();
            let name = StandingName { namespace, name };
            let sink = sink(sink_topic, fields);
            if let Some(query) = &mut entry.query {
                query.standing.push(StandingRef {
                    name: name.clone(),
                    uid: uid.clone(),
                    generation,
                    sink: sink.clone(),
                });
            }
            entry.standing.insert(
                name,
                Reference {
                    uid,
                    generation,
                    rate: rows::limit(rate)?,
                    sink,
                },
            );
        }
        Ok(Plan::new(entries))
    }

    /// Writes what differs, gives the revision and the signal if rows changed.
    pub(super) async fn write(
        &self,
        connection: &mut PgConnection,
        plan: Plan,
    ) -> Result<Outcome, RegistryError> {
        if !plan.changes_rows() {
            let outcome = plan.outcome(0);
            self.write_uses(connection, &outcome).await?;
            return Ok(outcome);
        }
        let revision: i64 = query_scalar(
            "UPDATE pipeline
             SET revision = greatest(revision + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
             WHERE pipeline_id = $1 RETURNING revision",
        )
        .bind(&self.pipeline)
        .fetch_one(&mut *connection)
        .await?;
        let outcome = plan.outcome(rows::revision(revision)?);
        self.write_queries(connection, &outcome.put, revision)
            .await?;
        self.write_uses(connection, &outcome).await?;
        self.remove_queries(connection, &outcome.removed, revision)
            .await?;
        query("SELECT pg_notify($1, $2)")
            .bind(&self.channel)
            .bind(revision.to_string())
            .execute(connection)
            .await?;
        Ok(outcome)
    }

    async fn write_queries(
        &self,
        connection: &mut PgConnection,
        put: &[Query],
        revision: i64,
    ) -> Result<(), RegistryError> {
        if put.is_empty() {
            return Ok(());
        }
        let ids = rows::texts(put.iter().map(|query| query.id));
        let lanes = put
            .iter()
            .map(|query| i32::try_from(query.lane).map_err(RegistryError::bug));
        query(
            "INSERT INTO query (pipeline_id, query_id, tenant, filter, lane, rate_limit, watched, revision)
             SELECT $1, put.*, $8 FROM unnest($2::text[], $3::text[], $4::text[], $5::int[], $6::bigint[], $7::bool[])
                 AS put (query_id, tenant, filter, lane, rate_limit, watched)
             ON CONFLICT ON CONSTRAINT query_pkey DO UPDATE
             SET rate_limit = excluded.rate_limit, watched = excluded.watched, revision = excluded.revision",
        )
        .bind(&self.pipeline)
        .bind(&ids)
        .bind(rows::texts(put.iter().map(|query| &query.tenant)))
        .bind(rows::texts(put.iter().map(|query| &query.filter)))
        .bind(lanes.collect::<Result<Vec<i32>, _>>()?)
        .bind(put.iter().map(|query| query.limit.map(i64::from)).collect::<Vec<_>>())
        .bind(put.iter().map(|query| query.watched).collect::<Vec<_>>())
        .bind(revision)
        .execute(&mut *connection)
        .await?;
        query("DELETE FROM removal WHERE pipeline_id = $1 AND query_id = ANY($2)")
            .bind(&self.pipeline)
            .bind(&ids)
            .execute(connection)
            .await?;
        Ok(())
    }

    async fn write_uses(
        &self,
        connection: &mut PgConnection,
        outcome: &Outcome,
    ) -> Result<(), RegistryError> {
        let gone = &outcome.uses_removed;
        if !gone.is_empty() {
            query(
                "DELETE FROM query_use u USING unnest($2::text[], $3::text[]) AS gone (query_id, handler_id)
                 WHERE u.pipeline_id = $1 AND u.query_id = gone.query_id AND u.handler_id = gone.handler_id",
            )
            .bind(&self.pipeline)
            .bind(rows::texts(gone.iter().map(|(id, _)| id)))
            .bind(rows::texts(gone.iter().map(|(_, handler)| handler)))
            .execute(&mut *connection)
            .await?;
        }
        let put = &outcome.uses_put;
        if !put.is_empty() {
            query(
                "INSERT INTO query_use (pipeline_id, query_id, handler_id, subscribers, rate_limit)
                 SELECT $1, put.* FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[]) AS put
                 ON CONFLICT ON CONSTRAINT query_use_pkey DO UPDATE
                 SET subscribers = excluded.subscribers, rate_limit = excluded.rate_limit",
            )
            .bind(&self.pipeline)
            .bind(rows::texts(put.iter().map(|(id, _, _)| id)))
            .bind(rows::texts(put.iter().map(|(_, handler, _)| handler)))
            .bind(put.iter().map(|(_, _, used)| i64::from(used.subscribers)).collect::<Vec<_>>())
            .bind(put.iter().map(|(_, _, used)| used.limit.map(i64::from)).collect::<Vec<_>>())
            .execute(connection)
            .await?;
        }
        Ok(())
    }

    /// Removes rows and records it; forgets old records.
    async fn remove_queries(
        &self,
        connection: &mut PgConnection,
        removed: &[QueryId],
        revision: i64,
    ) -> Result<(), RegistryError> {
        if removed.is_empty() {
            return Ok(());
        }
        let ids = rows::texts(removed);
        query("DELETE FROM query WHERE pipeline_id = $1 AND query_id = ANY($2)")
            .bind(&self.pipeline)
            .bind(&ids)
            .execute(&mut *connection)
            .await?;
        query(
            "INSERT INTO removal (pipeline_id, query_id, revision) SELECT $1, unnest($2::text[]), $3
             ON CONFLICT ON CONSTRAINT removal_pkey DO UPDATE
             SET revision = excluded.revision, removed_at = excluded.removed_at",
        )
        .bind(&self.pipeline)
        .bind(&ids)
        .bind(revision)
        .execute(&mut *connection)
        .await?;
        query(
            "WITH forgotten AS (
                 DELETE FROM removal WHERE pipeline_id = $1 AND (
                     removed_at < clock_timestamp() - make_interval(secs => $2)
                     OR revision <= (SELECT revision FROM removal WHERE pipeline_id = $1
                                     ORDER BY revision DESC OFFSET $3 LIMIT 1))
                 RETURNING revision)
             UPDATE pipeline SET removed_through = greatest(removed_through, (SELECT max(revision) FROM forgotten))
             WHERE pipeline_id = $1 AND EXISTS (SELECT FROM forgotten)",
        )
        .bind(&self.pipeline)
        .bind(REMOVALS_KEPT_FOR.as_secs_f64())
        .bind(i64::try_from(MAX_REMOVALS).map_err(RegistryError::bug)?)
        .execute(connection)
        .await?;
        Ok(())
    }
}

/// Query; namespace, name, uid, generation, rate, topic of the sink, fields of a standing query that refers to it.
type ReferenceRow = (
    String,
    String,
    String,
    String,
    i64,
    Option<i64>,
    Option<String>,
    Vec<String>,
);

/// A sink from its columns.
pub(super) fn sink(topic: Option<String>, fields: Vec<String>) -> Option<SinkRef> {
    topic.map(|topic| SinkRef { topic, fields })
}

/// The columns of `query` but for `created_at`.
pub(super) type QueryRow = (String, String, String, i32, Option<i64>, bool, i64);

/// Rows as queries, without the standing ones that refer to them.
pub(super) fn queries(found: Vec<QueryRow>) -> Result<Vec<Query>, RegistryError> {
    let query = |(id, tenant, filter, lane, limit, watched, revision): QueryRow| {
        Ok(Query {
            id: rows::query_id(&id)?,
            tenant,
            filter,
            lane: rows::lane(lane)?,
            limit: rows::limit(limit)?,
            watched,
            standing: Vec::new(),
            revision: rows::revision(revision)?,
        })
    };
    found.into_iter().map(query).collect()
}
