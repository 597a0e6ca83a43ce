//! Who is there: what workers and handlers say of themselves.

use std::time::Duration;

use crate::query::check_name;
use crate::{ProcessId, RegistryError, Revision, StandingName};

/// A process counts while its last report is younger than this, by the database's clock.
pub const SEEN_WITHIN: Duration = Duration::from_secs(15);
/// A row that was not refreshed for so long is removed.
pub(crate) const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// A worker as it reports itself: after a revision change at most every 250 ms, and every 5 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerRow {
    /// This run of it.
    pub id: ProcessId,
    /// The revision that all its partitions run.
    pub revision: Revision,
    /// How many lanes it can write to: a handler picks below the smallest of all workers.
    pub lanes: u32,
    /// Source partitions it owns.
    pub partitions: u32,
}

/// A handler as it reports itself, as often as a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerRow {
    /// This run of it.
    pub id: ProcessId,
    /// The revision it has read.
    pub revision: Revision,
    /// Open client connections.
    pub connections: u32,
    /// Viewers of standing queries, where there are any.
    pub viewers: Vec<(StandingName, u32)>,
}

/// Everybody seen within [`SEEN_WITHIN`], by id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Processes {
    /// Workers.
    pub workers: Vec<WorkerRow>,
    /// Handlers.
    pub handlers: Vec<HandlerRow>,
}

impl HandlerRow {
    pub(crate) fn check(&self) -> Result<(), RegistryError> {
        self.viewers.iter().try_for_each(|(name, _)| {
            check_name("namespace", &name.namespace)?;
            check_name("name", &name.name)
        })
    }
}
