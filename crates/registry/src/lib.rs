//! The live set of queries of a pipeline: which filters are matched, for whom, and who is there to do it.
//!
//! Handlers write what they serve, the operator writes standing queries, workers and handlers follow the set with
//! a [`Follower`]. [`PostgresRegistry`] is the real one; [`MemoryRegistry`] obeys the same rules inside one process
//! and passes the same contract tests. Only this crate speaks SQL.
//!
//! # Expected flow
//! 1. A handler takes a random [`ProcessId`] and calls [`Registry::renew`] with an empty set: now it has a lease.
//! 2. It gathers the changes of a few milliseconds and [`apply`](Registry::apply)s them, one call at a time.
//! 3. Several times within a lease (at least [`RENEWALS_PER_LEASE`]) it states its whole set with `renew`.
//! 4. After any failed `apply` or `renew`, and whenever its follower's [`State::loads`] has grown, it does so at once,
//!    and again with a back-off of at most a quarter of the lease until that succeeds.
//! 5. At the end it calls [`leave`](Registry::leave).
//!
//! # Guarantees
//! - Every change of the set carries a [`Revision`] above all earlier ones. A reader that has read revision *r* has seen
//!   every change up to *r*; none is given out later with a lower number.
//! - Calls that change nothing (the same use again, a renewal) give no revision and wake nobody.
//! - A query exists exactly while a handler uses it or a standing query that is not suspended refers to it. Its lane
//!   stays as long as it exists.
//! - Nobody's lease is swept by a handler that was itself cut off within the last lease period, so an outage of the
//!   database, however long, removes nothing.
//!
//! # Assumptions
//! - A handler's renewals come at most a third of its lease apart while it can reach the database.
//! - After a failover the new server's clock is not behind the old one's by more than the failover took.
//! - Connections reach the server itself or a pooler in session mode: LISTEN and settings belong to a connection.

mod catalogue;
mod error;
mod follower;
mod id;
#[cfg(test)]
mod interleavings;
mod memory;
mod postgres;
mod presence;
mod query;
mod rules;
mod standing;
mod state;

use std::time::Duration;

use async_trait::async_trait;

pub use crate::catalogue::{
    Catalogue, EventType, Field, MAX_CATALOGUE_FIELDS, MAX_EVENT_TYPES, MAX_EXAMPLE_BYTES,
    MAX_EXAMPLES, MAX_PATH_BYTES,
};
pub use crate::error::{Category, Cause, RegistryError};
pub use crate::follower::{Follower, FollowerOptions};
pub use crate::id::{BadProcessId, ProcessId, QueryId, query_id};
pub use crate::memory::MemoryRegistry;
pub use crate::postgres::PostgresRegistry;
pub use crate::presence::{
    HandlerRow, Processes, SEEN_WITHIN, SinkRefusal, SinkTrouble, WorkerRow,
};
pub use crate::query::{
    Change, Listed, MAX_FIELDS, MAX_FILTER_BYTES, MAX_NAME_BYTES, Query, Renewed, Revision, Served,
    SinkRef, Snapshot, Standing, StandingChange, StandingChanged, StandingName, StandingRef,
    Wanted,
};
pub use crate::rules::RENEWALS_PER_LEASE;
pub use crate::state::State;

/// The set of queries of one pipeline. All calls end within seconds, with an error when the database does not answer.
///
/// Reports ([`report_worker`](Registry::report_worker) and the like) are no changes: they carry no revision.
#[async_trait]
pub trait Registry: Send + Sync + 'static {
    /// The pipeline's key: its name, or `<namespace>/<name>` on Kubernetes.
    fn pipeline(&self) -> &str;

    /// The id of a canonical filter in this pipeline.
    fn query_id(&self, tenant: &str, filter: &str) -> QueryId {
        query_id(self.pipeline(), tenant, filter)
    }

    /// Whether the registry can be used now.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`] and [`RegistryError::SchemaMissing`] say what it waits for.
    async fn ready(&self) -> Result<(), RegistryError>;

    /// Makes `changes` in order, all or none. Answers the [`Served`] of each [`Change::Serve`], in order; one whose query
    /// a later change releases again has none, if nobody else uses it.
    ///
    /// # Errors
    /// [`RegistryError::NoLease`] when `handler` must [`renew`](Registry::renew) first. After
    /// [`RegistryError::Unavailable`] it is unknown whether the changes were made.
    async fn apply(
        &self,
        handler: ProcessId,
        changes: &[Change],
    ) -> Result<Vec<Served>, RegistryError>;

    /// States all that `handler` serves (what is missing is added, what is not in `serves` is released) and takes or
    /// extends its lease; removes the uses of handlers whose leases have run out, if it may judge that.
    ///
    /// `lease`: 1 s to 24 h.
    ///
    /// # Errors
    /// As for [`apply`](Registry::apply), without `NoLease`.
    async fn renew(
        &self,
        handler: ProcessId,
        serves: &[Wanted],
        lease: Duration,
    ) -> Result<Renewed, RegistryError>;

    /// Ends a handler's lease and releases all it serves. Nothing happens if it has none.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`]; the others sweep it when the lease has run out.
    async fn leave(&self, handler: ProcessId) -> Result<(), RegistryError>;

    /// Opens a connection on which a reader is told of changes and reads them. [`Follower`] is its user.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`], [`RegistryError::SchemaMissing`].
    async fn feed(&self) -> Result<Box<dyn Feed>, RegistryError>;

    /// Every query with its subscribers, standing ones first, then by filter. In one snapshot.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    async fn list(&self) -> Result<Vec<Listed>, RegistryError>;

    /// Makes changes of standing queries, in order and in one transaction. A query whose filter changes refers to another
    /// query from then on, and the former one loses its reference at the same moment. Answers what came of each, in
    /// order; one that is refused keeps none of the others.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`], for all. For one: [`RegistryError::Stale`] when the same uid has a later generation
    /// registered, [`RegistryError::Invalid`].
    async fn change_standing(
        &self,
        changes: &[StandingChange],
    ) -> Result<Vec<Result<StandingChanged, RegistryError>>, RegistryError>;

    /// Registers what one ClickstreamQuery asks for, or changes it; `lane` is used if the query is new. `None` while it
    /// is suspended.
    ///
    /// # Errors
    /// As for [`change_standing`](Registry::change_standing).
    async fn put_standing(
        &self,
        standing: &Standing,
        lane: u32,
    ) -> Result<Option<Served>, RegistryError> {
        let standing = standing.clone();
        let change = StandingChange::Put { standing, lane };
        match self.change_standing(&[change]).await?.pop() {
            Some(Ok(StandingChanged::Put(served))) => Ok(served),
            Some(Err(err)) => Err(err),
            other => Err(RegistryError::bug(format!("a put gave {other:?}"))),
        }
    }

    /// Removes what a ClickstreamQuery (by its uid) registered; false when there was nothing.
    ///
    /// # Errors
    /// As for [`change_standing`](Registry::change_standing).
    async fn remove_standing(&self, uid: &str) -> Result<bool, RegistryError> {
        let uid = uid.to_owned();
        let change = StandingChange::Remove { uid };
        match self.change_standing(&[change]).await?.pop() {
            Some(Ok(StandingChanged::Removed(found))) => Ok(found),
            Some(Err(err)) => Err(err),
            other => Err(RegistryError::bug(format!("a removal gave {other:?}"))),
        }
    }

    /// What a ClickstreamQuery asks for; `None` when there is none of that name.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    async fn standing(&self, name: &StandingName) -> Result<Option<Standing>, RegistryError>;

    /// Writes a worker's row and the time.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    async fn report_worker(&self, row: &WorkerRow) -> Result<(), RegistryError>;

    /// Writes a handler's row and the time.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    async fn report_handler(&self, row: &HandlerRow) -> Result<(), RegistryError>;

    /// Everybody who reported within [`SEEN_WITHIN`].
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    async fn processes(&self) -> Result<Processes, RegistryError>;

    /// Writes a worker's matches per second of standing queries that have some, at most every 30 s; replaces what it
    /// wrote before. Counts while its row ([`report_worker`](Registry::report_worker), first) does.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    async fn report_standing_rates(
        &self,
        worker: ProcessId,
        rates: &[(QueryId, f64)],
    ) -> Result<(), RegistryError>;

    /// Matches per second, summed over the workers that are there, by query.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    async fn standing_rates(&self) -> Result<Vec<(QueryId, f64)>, RegistryError>;

    /// Writes what a worker could not write to sinks lately; replaces what it wrote before. Counts while its row
    /// ([`report_worker`](Registry::report_worker), first) does.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    async fn report_sink_troubles(
        &self,
        worker: ProcessId,
        troubles: &[SinkTrouble],
    ) -> Result<(), RegistryError>;

    /// What could not be written to sinks lately, summed over the workers that are there, by uid and reason.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    async fn sink_troubles(&self) -> Result<Vec<SinkTrouble>, RegistryError>;

    /// Records how many partitions each source topic has, unless that is recorded already; answers what is recorded,
    /// in the order given. The first worker of a pipeline decides, and so tells later partitions from the first ones.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    async fn partition_counts(
        &self,
        current: &[(String, i32)],
    ) -> Result<Vec<(String, i32)>, RegistryError>;

    /// Adds a worker's sample to the catalogue, at most every 10 s; its rates count while its row
    /// ([`report_worker`](Registry::report_worker), first) does.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    async fn report_catalogue(
        &self,
        worker: ProcessId,
        catalogue: &Catalogue,
    ) -> Result<(), RegistryError>;

    /// What has been seen.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    async fn catalogue(&self) -> Result<Catalogue, RegistryError>;
}

/// One connection that is told of changes and reads them, so that both are lost together: whoever gets an error from
/// either call drops the feed, opens a new one and begins with `read(None)`.
#[async_trait]
pub trait Feed: Send {
    /// What changed later than `since`; everything for `None`, and when the removals since then are not all kept, and
    /// when the database is older than `since` (after a failover).
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`], [`RegistryError::SchemaMissing`].
    async fn read(&mut self, since: Option<Revision>) -> Result<Snapshot, RegistryError>;

    /// Waits until something changed after the feed was opened, and tells the latest revision known. May tell one that
    /// was read already. May be dropped while it waits; nothing is lost by it.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`] when the connection is lost.
    async fn changed(&mut self) -> Result<Revision, RegistryError>;
}
