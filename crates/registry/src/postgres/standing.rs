//! Standing queries: what the operator writes.

use sqlx::postgres::PgConnection;
use sqlx::{query, query_as};

use super::{PostgresRegistry, rows};
use crate::standing::{Batch, Rows};
use crate::{
    QueryId, RegistryError, Standing, StandingChange, StandingChanged, StandingName, query_id,
};

/// Namespace, name, uid, generation, tenant, filter, fields, rate, suspended, topic of the sink.
type Columns = (
    String,
    String,
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
        changes: &[StandingChange],
    ) -> Result<Vec<Result<StandingChanged, RegistryError>>, RegistryError> {
        let batch = Batch::new(&self.pipeline, changes);
        let mut session = self.changes.lock().await?;
        let connection = session.connection();
        let found: Vec<Columns> = query_as(
            "SELECT namespace, name, uid, generation, tenant, filter, fields, rate_limit, suspended, sink_topic
             FROM unnest($2::text[], $3::text[]) AS put (namespace, name) JOIN standing USING (namespace, name)
             WHERE pipeline_id = $1
             UNION
             SELECT namespace, name, uid, generation, tenant, filter, fields, rate_limit, suspended, sink_topic
             FROM standing WHERE pipeline_id = $1 AND uid = ANY($4)",
        )
        .bind(&self.pipeline)
        .bind(rows::texts(batch.names().iter().map(|name| &name.namespace)))
        .bind(rows::texts(batch.names().iter().map(|name| &name.name)))
        .bind(rows::texts(batch.uids()))
        .fetch_all(&mut *connection)
        .await?;
        let before = found.into_iter().map(|columns| {
            let standing = standing(columns)?;
            Ok((standing.name.clone(), standing))
        });
        let before = before.collect::<Result<Rows, RegistryError>>()?;
        let touched: Vec<QueryId> = batch.touched(&before).into_iter().collect();
        let mut plan = self.plan(connection, &touched).await?;
        let made = batch.make(before.clone(), &mut plan);
        let gone = before.keys().filter(|name| !made.rows.contains_key(*name));
        self.remove_rows(connection, gone.collect()).await?;
        let rows = made.rows.values();
        let differing = rows.filter(|row| before.get(&row.name) != Some(*row));
        self.put_rows(connection, differing.collect()).await?;
        let outcome = self.write(connection, plan).await?;
        session.commit().await?;
        Ok(made.changed(&outcome))
    }

    async fn put_rows(
        &self,
        connection: &mut PgConnection,
        put: Vec<&Standing>,
    ) -> Result<(), RegistryError> {
        if put.is_empty() {
            return Ok(());
        }
        let texts = |of: fn(&Standing) -> String| put.iter().map(|row| of(row)).collect::<Vec<_>>();
        // An array of arrays would want all of one length; no path has a line feed.
        query(
            "INSERT INTO standing (pipeline_id, namespace, name, uid, generation, query_id, tenant, filter, fields,
                                   rate_limit, suspended, sink_topic)
             SELECT $1, namespace, name, uid, generation, query_id, tenant, filter, string_to_array(fields, E'\\n'),
                    rate_limit, suspended, sink_topic
             FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[],
                         $9::text[], $10::bigint[], $11::bool[], $12::text[])
                 AS put (namespace, name, uid, generation, query_id, tenant, filter, fields, rate_limit, suspended,
                         sink_topic)
             ON CONFLICT ON CONSTRAINT standing_pkey DO UPDATE
             SET uid = excluded.uid, generation = excluded.generation, query_id = excluded.query_id,
                 tenant = excluded.tenant, filter = excluded.filter, fields = excluded.fields,
                 rate_limit = excluded.rate_limit, suspended = excluded.suspended,
                 sink_topic = excluded.sink_topic",
        )
        .bind(&self.pipeline)
        .bind(texts(|row| row.name.namespace.clone()))
        .bind(texts(|row| row.name.name.clone()))
        .bind(texts(|row| row.uid.clone()))
        .bind(put.iter().map(|row| row.generation).collect::<Vec<_>>())
        .bind(rows::texts(put.iter().map(|row| query_id(&self.pipeline, &row.tenant, &row.filter))))
        .bind(texts(|row| row.tenant.clone()))
        .bind(texts(|row| row.filter.clone()))
        .bind(texts(|row| row.fields.join("\n")))
        .bind(put.iter().map(|row| row.rate.map(i64::from)).collect::<Vec<_>>())
        .bind(put.iter().map(|row| row.suspended).collect::<Vec<_>>())
        .bind(put.iter().map(|row| row.sink_topic.clone()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn remove_rows(
        &self,
        connection: &mut PgConnection,
        gone: Vec<&StandingName>,
    ) -> Result<(), RegistryError> {
        if gone.is_empty() {
            return Ok(());
        }
        query(
            "DELETE FROM standing WHERE pipeline_id = $1
             AND (namespace, name) IN (SELECT * FROM unnest($2::text[], $3::text[]))",
        )
        .bind(&self.pipeline)
        .bind(rows::texts(gone.iter().map(|name| &name.namespace)))
        .bind(rows::texts(gone.iter().map(|name| &name.name)))
        .execute(connection)
        .await?;
        Ok(())
    }

    pub(super) async fn read_standing(
        &self,
        connection: &mut PgConnection,
        name: &StandingName,
    ) -> Result<Option<Standing>, RegistryError> {
        let found: Option<Columns> = query_as(
            "SELECT namespace, name, uid, generation, tenant, filter, fields, rate_limit, suspended, sink_topic
             FROM standing WHERE pipeline_id = $1 AND namespace = $2 AND name = $3",
        )
        .bind(&self.pipeline)
        .bind(&name.namespace)
        .bind(&name.name)
        .fetch_optional(connection)
        .await?;
        found.map(standing).transpose()
    }
}

fn standing(columns: Columns) -> Result<Standing, RegistryError> {
    let (namespace, name, uid, generation, tenant, filter, fields, rate, suspended, sink_topic) =
        columns;
    Ok(Standing {
        name: StandingName { namespace, name },
        uid,
        generation,
        tenant,
        filter,
        fields,
        rate: rows::limit(rate)?,
        suspended,
        sink_topic,
    })
}
