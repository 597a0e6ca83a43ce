//! What handlers change: load what is touched, let the rules decide, write what differs.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{query, query_as};

use super::link::Session;
use super::{PostgresRegistry, rows};
use crate::rules::{Lease, Use, check_changes, check_lease, continues, expired};
use crate::{Change, ProcessId, QueryId, RegistryError, Renewed, Served, Wanted};

impl PostgresRegistry {
    pub(super) async fn apply_changes(
        &self,
        handler: ProcessId,
        changes: &[Change],
    ) -> Result<Vec<Served>, RegistryError> {
        let ids = check_changes(&self.pipeline, changes)?;
        let mut session = self.changes.lock().await?;
        let known = query("SELECT FROM lease WHERE pipeline_id = $1 AND handler_id = $2")
            .bind(&self.pipeline)
            .bind(handler.to_string())
            .fetch_optional(session.connection())
            .await?;
        if known.is_none() {
            return session.refuse(RegistryError::NoLease).await;
        }
        let mut plan = self.plan(session.connection(), &ids).await?;
        plan.apply(handler, &ids, changes);
        let outcome = self.write(session.connection(), plan).await?;
        session.commit().await?;
        Ok(outcome.served_of(&ids, changes))
    }

    pub(super) async fn renew_lease(
        &self,
        handler: ProcessId,
        serves: &[Wanted],
        lease: Duration,
    ) -> Result<Renewed, RegistryError> {
        check_lease(lease)?;
        let stated: Vec<Change> = serves.iter().cloned().map(Change::Serve).collect();
        let ids = check_changes(&self.pipeline, &stated)?;
        let mut session = self.changes.lock().await?;
        let swept = self.renew_and_judge(&mut session, handler, lease).await?;
        let connection = session.connection();

        // Most of a renewal is as it was: only what differs is planned.
        let own = self.uses_of(connection, handler).await?;
        let stated_ids: HashSet<QueryId> = ids.iter().copied().collect();
        let dropped = own.keys().filter(|id| !stated_ids.contains(id));
        let mut differing: Vec<QueryId> = dropped.copied().collect();
        let mut changes: Vec<Change> = differing.iter().copied().map(Change::Release).collect();
        for (id, (change, wanted)) in ids.iter().zip(stated.iter().zip(serves)) {
            if own
                .get(id)
                .is_none_or(|(used, _)| *used != Use::from(wanted))
            {
                differing.push(*id);
                changes.push(change.clone());
            }
        }
        let lost = self.uses_of_all(connection, &swept).await?;
        let touched: Vec<QueryId> = differing
            .iter()
            .chain(lost.iter().map(|(id, _)| id))
            .copied()
            .collect();

        let mut plan = self.plan(connection, &touched).await?;
        plan.apply(handler, &differing, &changes);
        lost.iter().for_each(|(id, gone)| plan.release(*gone, *id));
        let outcome = self.write(connection, plan).await?;
        self.remove_leases(connection, &swept).await?;
        session.renewed().insert(handler);
        session.commit().await?;

        let unchanged = |id: &QueryId| own.get(id).map(|(_, served)| *served);
        let served = ids
            .iter()
            .filter_map(|id| outcome.served(*id).or_else(|| unchanged(id)))
            .collect();
        Ok(Renewed { served, swept })
    }

    pub(super) async fn end_lease(&self, handler: ProcessId) -> Result<(), RegistryError> {
        let mut session = self.changes.lock().await?;
        let connection = session.connection();
        let uses = self.uses_of_all(connection, &[handler]).await?;
        let ids: Vec<QueryId> = uses.iter().map(|(id, _)| *id).collect();
        let mut plan = self.plan(connection, &ids).await?;
        ids.iter().for_each(|id| plan.release(handler, *id));
        self.write(connection, plan).await?;
        self.remove_leases(connection, &[handler]).await?;
        query("DELETE FROM handler WHERE pipeline_id = $1 AND handler_id = $2")
            .bind(&self.pipeline)
            .bind(handler.to_string())
            .execute(connection)
            .await?;
        session.renewed().remove(&handler);
        session.commit().await
    }

    /// Extends the lease and tells whose has run out.
    async fn renew_and_judge(
        &self,
        session: &mut Session<'_>,
        handler: ProcessId,
        lease: Duration,
    ) -> Result<Vec<ProcessId>, RegistryError> {
        // clock_timestamp, because the transaction may have begun long before it was given the lock.
        let rows: Vec<(String, i64, f64, f64)> = query_as(
            "SELECT handler_id, lease_ms,
                    greatest(extract(epoch FROM clock_timestamp() - renewed_at), 0)::float8,
                    greatest(extract(epoch FROM clock_timestamp() - continuous_since), 0)::float8
             FROM lease WHERE pipeline_id = $1 ORDER BY handler_id",
        )
        .bind(&self.pipeline)
        .fetch_all(session.connection())
        .await?;
        let leases = rows
            .into_iter()
            .map(|(handler, lease_ms, renewed_ago, continuous_for)| {
                Ok(Lease {
                    handler: rows::process_id(&handler)?,
                    lease: Duration::from_millis(
                        u64::try_from(lease_ms).map_err(RegistryError::bug)?,
                    ),
                    renewed_ago: Duration::try_from_secs_f64(renewed_ago)
                        .map_err(RegistryError::bug)?,
                    continuous_for: Duration::try_from_secs_f64(continuous_for)
                        .map_err(RegistryError::bug)?,
                })
            })
            .collect::<Result<Vec<_>, RegistryError>>()?;
        let same_connection = session.renewed().contains(&handler);
        let own = leases.iter().find(|lease| lease.handler == handler);
        let keep = own.filter(|own| continues(Some(own), lease, same_connection));
        query(
            "INSERT INTO lease AS l (pipeline_id, handler_id, lease_ms, continuous_since, renewed_at)
             VALUES ($1, $2, $3, clock_timestamp(), clock_timestamp())
             ON CONFLICT ON CONSTRAINT lease_pkey DO UPDATE
             SET lease_ms = excluded.lease_ms, renewed_at = excluded.renewed_at,
                 continuous_since = CASE WHEN $4 THEN l.continuous_since ELSE excluded.continuous_since END",
        )
        .bind(&self.pipeline)
        .bind(handler.to_string())
        .bind(i64::try_from(lease.as_millis()).map_err(RegistryError::bug)?)
        .bind(keep.is_some())
        .execute(session.connection())
        .await?;
        Ok(expired(
            handler,
            lease,
            keep.map_or(Duration::ZERO, |own| own.continuous_for),
            &leases,
        ))
    }

    /// A handler's uses with the rows they are of.
    async fn uses_of(
        &self,
        connection: &mut PgConnection,
        handler: ProcessId,
    ) -> Result<HashMap<QueryId, (Use, Served)>, RegistryError> {
        let uses: Vec<(String, i64, Option<i64>, i32, i64)> = query_as(
            "SELECT query_id, u.subscribers, u.rate_limit, q.lane, q.revision
             FROM query_use u JOIN query q USING (pipeline_id, query_id)
             WHERE u.pipeline_id = $1 AND u.handler_id = $2",
        )
        .bind(&self.pipeline)
        .bind(handler.to_string())
        .fetch_all(connection)
        .await?;
        uses.into_iter()
            .map(|(id, subscribers, limit, lane, revision)| {
                let id = rows::query_id(&id)?;
                let used = Use {
                    subscribers: rows::count(subscribers)?,
                    limit: rows::limit(limit)?,
                };
                Ok((
                    id,
                    (
                        used,
                        Served {
                            id,
                            lane: rows::lane(lane)?,
                            revision: rows::revision(revision)?,
                        },
                    ),
                ))
            })
            .collect()
    }

    async fn uses_of_all(
        &self,
        connection: &mut PgConnection,
        handlers: &[ProcessId],
    ) -> Result<Vec<(QueryId, ProcessId)>, RegistryError> {
        if handlers.is_empty() {
            return Ok(Vec::new());
        }
        let uses: Vec<(String, String)> =
            query_as("SELECT query_id, handler_id FROM query_use WHERE pipeline_id = $1 AND handler_id = ANY($2)")
                .bind(&self.pipeline)
                .bind(rows::texts(handlers))
                .fetch_all(connection)
                .await?;
        uses.iter()
            .map(|(id, handler)| Ok((rows::query_id(id)?, rows::process_id(handler)?)))
            .collect()
    }

    async fn remove_leases(
        &self,
        connection: &mut PgConnection,
        handlers: &[ProcessId],
    ) -> Result<(), RegistryError> {
        if !handlers.is_empty() {
            query("DELETE FROM lease WHERE pipeline_id = $1 AND handler_id = ANY($2)")
                .bind(&self.pipeline)
                .bind(rows::texts(handlers))
                .execute(connection)
                .await?;
        }
        Ok(())
    }
}
