//! The catalogue's tables.

use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;
use sqlx::{query, query_as};

use super::{PostgresRegistry, rows};
use crate::catalogue::{Seen, rates};
use crate::{Catalogue, Field, ProcessId, RegistryError, SEEN_WITHIN};

impl PostgresRegistry {
    pub(super) async fn write_catalogue(
        &self,
        worker: ProcessId,
        report: &Catalogue,
    ) -> Result<(), RegistryError> {
        let mut session = self.rest.session().await?;
        let connection = session.connection();
        query("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
            .execute(&mut *connection)
            .await?;
        // Workers take turns, without holding up those who change queries.
        query("SELECT pg_advisory_xact_lock(hashtextextended('clickstream catalogue ' || $1, 0))")
            .bind(&self.pipeline)
            .execute(&mut *connection)
            .await?;
        let before = self.read_seen(connection).await?;
        let mut after = before.clone();
        after.merge(report);
        self.write_event_types(connection, &before, &after).await?;
        self.write_fields(connection, &before, &after).await?;
        let (names, values): (Vec<String>, Vec<f64>) = rates(report).into_iter().unzip();
        query("UPDATE worker SET type_names = $3, type_rates = $4 WHERE pipeline_id = $1 AND worker_id = $2")
            .bind(&self.pipeline)
            .bind(worker.to_string())
            .bind(names)
            .bind(values)
            .execute(connection)
            .await?;
        session.commit().await
    }

    pub(super) async fn read_catalogue(&self) -> Result<Catalogue, RegistryError> {
        let mut session = self.rest.session().await?;
        let seen = self.read_seen(session.connection()).await?;
        let rates: Vec<(String, f64)> = query_as(
            "SELECT r.name, r.rate FROM worker, unnest(type_names, type_rates) AS r (name, rate)
             WHERE pipeline_id = $1 AND seen_at > clock_timestamp() - make_interval(secs => $2)",
        )
        .bind(&self.pipeline)
        .bind(SEEN_WITHIN.as_secs_f64())
        .fetch_all(session.connection())
        .await?;
        session.keep();
        Ok(seen.with_rates(rates))
    }

    async fn read_seen(&self, connection: &mut PgConnection) -> Result<Seen, RegistryError> {
        let event_types: Vec<(String, i64)> = query_as(
            "SELECT name, (extract(epoch FROM last_seen_at) * 1000)::bigint FROM event_type WHERE pipeline_id = $1",
        )
        .bind(&self.pipeline)
        .fetch_all(&mut *connection)
        .await?;
        let fields: Vec<(String, String, String)> = query_as(
            "SELECT path, kinds::text, examples::text FROM event_field WHERE pipeline_id = $1",
        )
        .bind(&self.pipeline)
        .fetch_all(connection)
        .await?;
        let fields = fields
            .into_iter()
            .map(|(path, kinds, examples)| {
                let kinds = serde_json::from_str(&kinds).map_err(RegistryError::bug)?;
                let examples = serde_json::from_str(&examples).map_err(RegistryError::bug)?;
                Ok((
                    path.clone(),
                    Field {
                        path,
                        kinds,
                        examples,
                    },
                ))
            })
            .collect::<Result<BTreeMap<_, _>, RegistryError>>()?;
        Ok(Seen {
            event_types: event_types.into_iter().collect(),
            fields,
        })
    }

    async fn write_event_types(
        &self,
        connection: &mut PgConnection,
        before: &Seen,
        after: &Seen,
    ) -> Result<(), RegistryError> {
        let gone = before
            .event_types
            .keys()
            .filter(|name| !after.event_types.contains_key(*name));
        query("DELETE FROM event_type WHERE pipeline_id = $1 AND name = ANY($2)")
            .bind(&self.pipeline)
            .bind(rows::texts(gone))
            .execute(&mut *connection)
            .await?;
        let put = after
            .event_types
            .iter()
            .filter(|(name, at)| before.event_types.get(*name) != Some(*at));
        let (names, at): (Vec<String>, Vec<i64>) =
            put.map(|(name, at)| (name.clone(), *at)).unzip();
        query(
            "INSERT INTO event_type (pipeline_id, name, last_seen_at)
             SELECT $1, name, timestamptz 'epoch' + ms * interval '1 millisecond'
             FROM unnest($2::text[], $3::bigint[]) AS put (name, ms)
             ON CONFLICT ON CONSTRAINT event_type_pkey DO UPDATE SET last_seen_at = excluded.last_seen_at",
        )
        .bind(&self.pipeline)
        .bind(names)
        .bind(at)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// Fields are only ever added or changed.
    async fn write_fields(
        &self,
        connection: &mut PgConnection,
        before: &Seen,
        after: &Seen,
    ) -> Result<(), RegistryError> {
        let put: Vec<&Field> = after
            .fields
            .values()
            .filter(|field| before.fields.get(&field.path) != Some(*field))
            .collect();
        if put.is_empty() {
            return Ok(());
        }
        let json = |list: &[String]| serde_json::to_string(list).map_err(RegistryError::bug);
        query(
            "INSERT INTO event_field (pipeline_id, path, kinds, examples)
             SELECT $1, path, kinds::jsonb, examples::jsonb
             FROM unnest($2::text[], $3::text[], $4::text[]) AS put (path, kinds, examples)
             ON CONFLICT ON CONSTRAINT event_field_pkey DO UPDATE
             SET kinds = excluded.kinds, examples = excluded.examples",
        )
        .bind(&self.pipeline)
        .bind(rows::texts(put.iter().map(|field| &field.path)))
        .bind(
            put.iter()
                .map(|field| json(&field.kinds))
                .collect::<Result<Vec<_>, _>>()?,
        )
        .bind(
            put.iter()
                .map(|field| json(&field.examples))
                .collect::<Result<Vec<_>, _>>()?,
        )
        .execute(connection)
        .await?;
        Ok(())
    }
}
