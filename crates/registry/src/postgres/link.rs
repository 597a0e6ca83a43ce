//! One connection to the database, opened when needed and dropped at the first sign of trouble.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, query};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use crate::{ProcessId, RegistryError};

/// Within this every call has ended, one way or the other.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(5);
/// A connection that rested for so long is tried before it is used.
const RESTED: Duration = Duration::from_secs(1);

/// Users take turns, in order. No pool: when a host vanishes without a word, a pool goes on asking its dead connections
/// whether they are well, while a dropped connection is simply gone.
#[derive(Debug)]
pub(super) struct Link {
    options: PgConnectOptions,
    pipeline: String,
    slot: Mutex<Option<Open>>,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) connection: PgConnection,
    /// Handlers that have renewed over this connection.
    pub(super) renewed: HashSet<ProcessId>,
    used_at: Instant,
}

/// The connection, for one call. Whoever does not [`keep`](Session::keep) it, for an error or because nobody waits any
/// more, closes it: the next call begins with a new one.
pub(super) struct Session<'a> {
    slot: MutexGuard<'a, Option<Open>>,
    open: Open,
}

impl Link {
    pub(super) fn new(options: PgConnectOptions, pipeline: &str) -> Link {
        Link {
            options,
            pipeline: pipeline.to_owned(),
            slot: Mutex::new(None),
        }
    }

    pub(super) async fn session(&self) -> Result<Session<'_>, RegistryError> {
        let mut slot = self.slot.lock().await;
        if let Some(mut open) = slot.take()
            && (open.used_at.elapsed() < RESTED || open.connection.ping().await.is_ok())
        {
            return Ok(Session { slot, open });
        }
        let mut connection = PgConnection::connect_with(&self.options).await?;
        // Everything else may then rely on the pipeline's row.
        query("INSERT INTO pipeline (pipeline_id) VALUES ($1) ON CONFLICT ON CONSTRAINT pipeline_pkey DO NOTHING")
            .bind(&self.pipeline)
            .execute(&mut connection)
            .await?;
        Ok(Session {
            slot,
            open: Open {
                connection,
                renewed: HashSet::new(),
                used_at: Instant::now(),
            },
        })
    }

    /// Closes the connection unless a call uses it.
    pub(super) async fn close(&self) {
        let resting = self.slot.try_lock().ok().and_then(|mut slot| slot.take());
        if let Some(open) = resting {
            // The server would find out by itself.
            let _ = timeout(CALL_LIMIT, open.connection.close()).await;
        }
    }

    /// A session in a transaction that holds the pipeline's row: nobody else changes the set until it ends.
    ///
    /// The lock is a statement of its own, so that the following ones see all that was committed before it was given.
    pub(super) async fn lock(&self) -> Result<Session<'_>, RegistryError> {
        let mut session = self.session().await?;
        query("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
            .execute(session.connection())
            .await?;
        query("SELECT FROM pipeline WHERE pipeline_id = $1 FOR UPDATE")
            .bind(&self.pipeline)
            .fetch_one(session.connection())
            .await?;
        Ok(session)
    }
}

impl Session<'_> {
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.open.connection
    }

    pub(super) fn renewed(&mut self) -> &mut HashSet<ProcessId> {
        &mut self.open.renewed
    }

    /// Leaves the connection for the next call.
    pub(super) fn keep(mut self) {
        self.open.used_at = Instant::now();
        *self.slot = Some(self.open);
    }

    /// Ends the transaction.
    pub(super) async fn commit(mut self) -> Result<(), RegistryError> {
        query("COMMIT").execute(self.connection()).await?;
        self.keep();
        Ok(())
    }

    /// Undoes the transaction because the caller was refused; the connection is well.
    pub(super) async fn refuse<T>(mut self, refusal: RegistryError) -> Result<T, RegistryError> {
        query("ROLLBACK").execute(self.connection()).await?;
        self.keep();
        Err(refusal)
    }
}

/// Gives up after [`CALL_LIMIT`].
pub(super) async fn within<T>(
    call: impl Future<Output = Result<T, RegistryError>>,
) -> Result<T, RegistryError> {
    timeout(CALL_LIMIT, call)
        .await
        .unwrap_or_else(|_| Err(RegistryError::unavailable("no answer in 5 s")))
}
