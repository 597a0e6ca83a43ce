//! What workers and handlers say of themselves, and what others read of it. No changes of the set: no lock, no revision.

use std::collections::BTreeMap;

use sqlx::{query, query_as};

use super::{PostgresRegistry, rows};
use crate::presence::FORGOTTEN_AFTER;
use crate::query::check_topics;
use crate::{
    HandlerRow, Listed, ProcessId, Processes, QueryId, RegistryError, SEEN_WITHIN, SinkRefusal,
    SinkTrouble, StandingName, WorkerRow,
};

/// Id, revision, connections; namespaces, names and counts of what is viewed.
type HandlerColumns = (String, i64, i64, Vec<String>, Vec<String>, Vec<i64>);
/// Id, tenant, filter; namespace and name of a standing query; subscribers.
type ListColumns = (String, String, String, Option<String>, Option<String>, i64);

impl PostgresRegistry {
    pub(super) async fn write_worker(&self, row: &WorkerRow) -> Result<(), RegistryError> {
        let mut session = self.rest.session().await?;
        // SKIP LOCKED: two that clear up at once do not wait for each other.
        query(
            "WITH forgotten AS (
                 DELETE FROM worker WHERE pipeline_id = $1 AND worker_id IN (
                     SELECT worker_id FROM worker
                     WHERE pipeline_id = $1 AND worker_id <> $2
                       AND seen_at < clock_timestamp() - make_interval(secs => $6)
                     FOR UPDATE SKIP LOCKED))
             INSERT INTO worker (pipeline_id, worker_id, revision, lanes, partitions, seen_at)
             VALUES ($1, $2, $3, $4, $5, clock_timestamp())
             ON CONFLICT ON CONSTRAINT worker_pkey DO UPDATE
             SET revision = excluded.revision, lanes = excluded.lanes, partitions = excluded.partitions,
                 seen_at = excluded.seen_at",
        )
        .bind(&self.pipeline)
        .bind(row.id.to_string())
        .bind(rows::bigint(row.revision))
        .bind(i64::from(row.lanes))
        .bind(i64::from(row.partitions))
        .bind(FORGOTTEN_AFTER.as_secs_f64())
        .execute(session.connection())
        .await?;
        session.keep();
        Ok(())
    }

    pub(super) async fn write_handler(&self, row: &HandlerRow) -> Result<(), RegistryError> {
        row.check()?;
        let mut session = self.rest.session().await?;
        query(
            "WITH forgotten AS (
                 DELETE FROM handler WHERE pipeline_id = $1 AND handler_id IN (
                     SELECT handler_id FROM handler
                     WHERE pipeline_id = $1 AND handler_id <> $2
                       AND seen_at < clock_timestamp() - make_interval(secs => $8)
                     FOR UPDATE SKIP LOCKED))
             INSERT INTO handler (pipeline_id, handler_id, revision, connections, viewed_namespaces, viewed_names,
                                  viewers, seen_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp())
             ON CONFLICT ON CONSTRAINT handler_pkey DO UPDATE
             SET revision = excluded.revision, connections = excluded.connections,
                 viewed_namespaces = excluded.viewed_namespaces, viewed_names = excluded.viewed_names,
                 viewers = excluded.viewers, seen_at = excluded.seen_at",
        )
        .bind(&self.pipeline)
        .bind(row.id.to_string())
        .bind(rows::bigint(row.revision))
        .bind(i64::from(row.connections))
        .bind(rows::texts(row.viewers.iter().map(|(name, _)| &name.namespace)))
        .bind(rows::texts(row.viewers.iter().map(|(name, _)| &name.name)))
        .bind(row.viewers.iter().map(|(_, viewers)| i64::from(*viewers)).collect::<Vec<_>>())
        .bind(FORGOTTEN_AFTER.as_secs_f64())
        .execute(session.connection())
        .await?;
        session.keep();
        Ok(())
    }

    pub(super) async fn read_processes(&self) -> Result<Processes, RegistryError> {
        let mut session = self.rest.session().await?;
        let workers: Vec<(String, i64, i64, i64)> = query_as(
            "SELECT worker_id, revision, lanes, partitions FROM worker
             WHERE pipeline_id = $1 AND seen_at > clock_timestamp() - make_interval(secs => $2) ORDER BY worker_id",
        )
        .bind(&self.pipeline)
        .bind(SEEN_WITHIN.as_secs_f64())
        .fetch_all(session.connection())
        .await?;
        let handlers: Vec<HandlerColumns> = query_as(
            "SELECT handler_id, revision, connections, viewed_namespaces, viewed_names, viewers FROM handler
             WHERE pipeline_id = $1 AND seen_at > clock_timestamp() - make_interval(secs => $2) ORDER BY handler_id",
        )
        .bind(&self.pipeline)
        .bind(SEEN_WITHIN.as_secs_f64())
        .fetch_all(session.connection())
        .await?;
        session.keep();

        let workers = workers
            .into_iter()
            .map(|(id, revision, lanes, partitions)| {
                Ok(WorkerRow {
                    id: rows::process_id(&id)?,
                    revision: rows::revision(revision)?,
                    lanes: rows::count(lanes)?,
                    partitions: rows::count(partitions)?,
                })
            });
        let handlers =
            handlers
                .into_iter()
                .map(|(id, revision, connections, namespaces, names, viewers)| {
                    let viewers = namespaces.into_iter().zip(names).zip(viewers).map(
                        |((namespace, name), viewers)| {
                            Ok((StandingName { namespace, name }, rows::count(viewers)?))
                        },
                    );
                    Ok(HandlerRow {
                        id: rows::process_id(&id)?,
                        revision: rows::revision(revision)?,
                        connections: rows::count(connections)?,
                        viewers: viewers.collect::<Result<_, RegistryError>>()?,
                    })
                });
        Ok(Processes {
            workers: workers.collect::<Result<_, RegistryError>>()?,
            handlers: handlers.collect::<Result<_, RegistryError>>()?,
        })
    }

    pub(super) async fn write_standing_rates(
        &self,
        worker: ProcessId,
        rates: &[(QueryId, f64)],
    ) -> Result<(), RegistryError> {
        let mut session = self.rest.session().await?;
        query(
            "UPDATE worker SET standing_query_ids = $3, standing_rates = $4
             WHERE pipeline_id = $1 AND worker_id = $2",
        )
        .bind(&self.pipeline)
        .bind(worker.to_string())
        .bind(rows::texts(rates.iter().map(|(id, _)| id)))
        .bind(rates.iter().map(|(_, rate)| *rate).collect::<Vec<_>>())
        .execute(session.connection())
        .await?;
        session.keep();
        Ok(())
    }

    pub(super) async fn read_standing_rates(&self) -> Result<Vec<(QueryId, f64)>, RegistryError> {
        let mut session = self.rest.session().await?;
        let rates: Vec<(String, f64)> = query_as(
            "SELECT r.query_id, sum(r.rate)
             FROM worker, unnest(standing_query_ids, standing_rates) AS r (query_id, rate)
             WHERE pipeline_id = $1 AND seen_at > clock_timestamp() - make_interval(secs => $2)
             GROUP BY r.query_id ORDER BY r.query_id",
        )
        .bind(&self.pipeline)
        .bind(SEEN_WITHIN.as_secs_f64())
        .fetch_all(session.connection())
        .await?;
        session.keep();
        rates
            .iter()
            .map(|(id, rate)| Ok((rows::query_id(id)?, *rate)))
            .collect()
    }

    pub(super) async fn write_sink_troubles(
        &self,
        worker: ProcessId,
        troubles: &[SinkTrouble],
    ) -> Result<(), RegistryError> {
        troubles.iter().try_for_each(SinkTrouble::check)?;
        let mut session = self.rest.session().await?;
        query(
            "UPDATE worker SET sink_uids = $3, sink_reasons = $4, sink_dropped = $5
             WHERE pipeline_id = $1 AND worker_id = $2",
        )
        .bind(&self.pipeline)
        .bind(worker.to_string())
        .bind(rows::texts(troubles.iter().map(|trouble| &trouble.uid)))
        .bind(rows::texts(
            troubles.iter().map(|trouble| trouble.reason.as_str()),
        ))
        .bind(
            troubles
                .iter()
                .map(|trouble| rows::bigint(trouble.dropped))
                .collect::<Vec<_>>(),
        )
        .execute(session.connection())
        .await?;
        session.keep();
        Ok(())
    }

    pub(super) async fn read_sink_troubles(&self) -> Result<Vec<SinkTrouble>, RegistryError> {
        let mut session = self.rest.session().await?;
        let found: Vec<(String, String, i64)> = query_as(
            "SELECT t.uid, t.reason, least(sum(t.dropped), 9223372036854775807)::bigint
             FROM worker, unnest(sink_uids, sink_reasons, sink_dropped) AS t (uid, reason, dropped)
             WHERE pipeline_id = $1 AND seen_at > clock_timestamp() - make_interval(secs => $2)
             GROUP BY t.uid, t.reason",
        )
        .bind(&self.pipeline)
        .bind(SEEN_WITHIN.as_secs_f64())
        .fetch_all(session.connection())
        .await?;
        session.keep();
        let trouble = |(uid, reason, dropped): (String, String, i64)| SinkTrouble {
            uid,
            reason: SinkRefusal::from_name(&reason),
            dropped: dropped.unsigned_abs(),
        };
        let mut troubles: Vec<SinkTrouble> = found.into_iter().map(trouble).collect();
        troubles.sort();
        Ok(troubles)
    }

    pub(super) async fn record_partition_counts(
        &self,
        current: &[(String, i32)],
    ) -> Result<Vec<(String, i32)>, RegistryError> {
        check_topics(current)?;
        let (topics, counts): (Vec<String>, Vec<i32>) = current.iter().cloned().unzip();
        let mut session = self.rest.session().await?;
        query(
            "INSERT INTO source_topic (pipeline_id, topic, partitions)
             SELECT $1, topic, partitions FROM unnest($2::text[], $3::int[]) AS t (topic, partitions)
             ON CONFLICT ON CONSTRAINT source_topic_pkey DO NOTHING",
        )
        .bind(&self.pipeline)
        .bind(&topics)
        .bind(&counts)
        .execute(session.connection())
        .await?;
        // A statement of its own, so that it sees the row that won.
        let recorded: Vec<(String, i32)> = query_as(
            "SELECT topic, partitions FROM source_topic WHERE pipeline_id = $1 AND topic = ANY($2)",
        )
        .bind(&self.pipeline)
        .bind(&topics)
        .fetch_all(session.connection())
        .await?;
        session.keep();
        let recorded: BTreeMap<String, i32> = recorded.into_iter().collect();
        Ok(current
            .iter()
            .map(|(topic, count)| (topic.clone(), *recorded.get(topic).unwrap_or(count)))
            .collect())
    }

    pub(super) async fn read_list(&self) -> Result<Vec<Listed>, RegistryError> {
        let mut session = self.rest.session().await?;
        let found: Vec<ListColumns> = query_as(
            "SELECT query_id, q.tenant, q.filter, s.namespace, s.name, coalesce(u.subscribers, 0)
             FROM query q
             LEFT JOIN (SELECT query_id, sum(subscribers)::bigint AS subscribers
                        FROM query_use WHERE pipeline_id = $1 GROUP BY query_id) u USING (query_id)
             LEFT JOIN (SELECT query_id, namespace, name
                        FROM standing WHERE pipeline_id = $1 AND NOT suspended) s USING (query_id)
             WHERE q.pipeline_id = $1",
        )
        .bind(&self.pipeline)
        .fetch_all(session.connection())
        .await?;
        session.keep();
        let mut list = found
            .into_iter()
            .map(|(id, tenant, filter, namespace, name, subscribers)| {
                Ok(Listed {
                    id: rows::query_id(&id)?,
                    standing: namespace
                        .zip(name)
                        .map(|(namespace, name)| StandingName { namespace, name }),
                    tenant,
                    filter,
                    subscribers: u32::try_from(subscribers).unwrap_or(u32::MAX),
                })
            })
            .collect::<Result<Vec<_>, RegistryError>>()?;
        list.sort_by(Listed::order);
        Ok(list)
    }
}
