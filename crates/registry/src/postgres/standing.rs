//! Standing queries: what the operator writes.

use sqlx::postgres::PgConnection;
use sqlx::{query, query_as};

use super::{PostgresRegistry, rows};
use crate::{QueryId, RegistryError, Served, Standing, StandingName, query_id};

/// Uid, generation, tenant, filter, fields, rate, suspended, topic of the sink.
type Columns = (
    String,
    i64,
    String,
    String,
    Vec<String>,
    Option<i64>,
    bool,
    Option<String>,
);

impl PostgresRegistry {
    pub(super) async fn write_standing(
        &self,
        standing: &Standing,
        lane: u32,
    ) -> Result<Option<Served>, RegistryError> {
        standing.check(lane)?;
        let id = query_id(&self.pipeline, &standing.tenant, &standing.filter);
        let mut session = self.changes.lock().await?;
        let former = self
            .read_standing(session.connection(), &standing.name)
            .await?;
        if let Err(stale) = standing.check_follows(former.as_ref()) {
            return session.refuse(stale).await;
        }
        let connection = session.connection();
        let former = former.map(|former| query_id(&self.pipeline, &former.tenant, &former.filter));
        let touched: Vec<QueryId> = former.into_iter().chain([id]).collect();
        let mut plan = self.plan(connection, &touched).await?;
        plan.put_standing(former, id, standing, lane);
        query(
            "INSERT INTO standing (pipeline_id, namespace, name, uid, generation, query_id, tenant, filter, fields,
                                   rate_limit, suspended, sink_topic)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
             ON CONFLICT ON CONSTRAINT standing_pkey DO UPDATE
             SET uid = excluded.uid, generation = excluded.generation, query_id = excluded.query_id,
                 tenant = excluded.tenant, filter = excluded.filter, fields = excluded.fields,
                 rate_limit = excluded.rate_limit, suspended = excluded.suspended,
                 sink_topic = excluded.sink_topic",
        )
        .bind(&self.pipeline)
        .bind(&standing.name.namespace)
        .bind(&standing.name.name)
        .bind(&standing.uid)
        .bind(standing.generation)
        .bind(id.to_string())
        .bind(&standing.tenant)
        .bind(&standing.filter)
        .bind(&standing.fields)
        .bind(standing.rate.map(i64::from))
        .bind(standing.suspended)
        .bind(&standing.sink_topic)
        .execute(&mut *connection)
        .await?;
        let outcome = self.write(connection, plan).await?;
        session.commit().await?;
        Ok(outcome.served(id).filter(|_| !standing.suspended))
    }

    pub(super) async fn delete_standing(&self, uid: &str) -> Result<bool, RegistryError> {
        let mut session = self.changes.lock().await?;
        let connection = session.connection();
        // At most one: a uid is one object's, and an object keeps its name.
        let found: Option<(String, String, String)> =
            query_as("SELECT query_id, namespace, name FROM standing WHERE pipeline_id = $1 AND uid = $2 LIMIT 1")
                .bind(&self.pipeline)
                .bind(uid)
                .fetch_optional(&mut *connection)
                .await?;
        if let Some((id, namespace, name)) = &found {
            let id = rows::query_id(id)?;
            let mut plan = self.plan(connection, &[id]).await?;
            plan.unrefer(
                id,
                &StandingName {
                    namespace: namespace.clone(),
                    name: name.clone(),
                },
            );
            query("DELETE FROM standing WHERE pipeline_id = $1 AND namespace = $2 AND name = $3")
                .bind(&self.pipeline)
                .bind(namespace)
                .bind(name)
                .execute(&mut *connection)
                .await?;
            self.write(connection, plan).await?;
        }
        session.commit().await?;
        Ok(found.is_some())
    }

    pub(super) async fn read_standing(
        &self,
        connection: &mut PgConnection,
        name: &StandingName,
    ) -> Result<Option<Standing>, RegistryError> {
        let found: Option<Columns> = query_as(
            "SELECT uid, generation, tenant, filter, fields, rate_limit, suspended, sink_topic
             FROM standing WHERE pipeline_id = $1 AND namespace = $2 AND name = $3",
        )
        .bind(&self.pipeline)
        .bind(&name.namespace)
        .bind(&name.name)
        .fetch_optional(connection)
        .await?;
        found
            .map(
                |(uid, generation, tenant, filter, fields, rate, suspended, sink_topic)| {
                    let rate = rows::limit(rate)?;
                    Ok(Standing {
                        name: name.clone(),
                        uid,
                        generation,
                        tenant,
                        filter,
                        fields,
                        rate,
                        suspended,
                        sink_topic,
                    })
                },
            )
            .transpose()
    }
}
