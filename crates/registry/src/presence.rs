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

/// Matches of a standing query that were not written to its sink and will not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SinkTrouble {
    /// The ClickstreamQuery's `metadata.uid`.
    pub uid: String,
    /// Why.
    pub reason: SinkRefusal,
    /// How many, since the worker started.
    pub dropped: u64,
}

/// Why a match cannot be written to a sink, now or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SinkRefusal {
    /// There is no such topic.
    TopicNotFound,
    /// The topic takes no record of this size.
    TooLarge,
    /// The brokers do not let the worker write to the topic.
    NotAuthorized,
    /// The topic is one that the pipeline reads or writes itself: matches would be matched again.
    Loop,
    /// The brokers refuse the record for another reason, such as a topic with compaction and a record without a key.
    Refused,
    /// The event is not JSON throughout, so that the fields cannot be cut out of it.
    Unreadable,
}

impl SinkRefusal {
    /// Every one.
    pub const ALL: [SinkRefusal; 6] = [
        SinkRefusal::TopicNotFound,
        SinkRefusal::TooLarge,
        SinkRefusal::NotAuthorized,
        SinkRefusal::Loop,
        SinkRefusal::Refused,
        SinkRefusal::Unreadable,
    ];

    /// As in the registry and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SinkRefusal::TopicNotFound => "topic-not-found",
            SinkRefusal::TooLarge => "too-large",
            SinkRefusal::NotAuthorized => "not-authorized",
            SinkRefusal::Loop => "loop",
            SinkRefusal::Refused => "refused",
            SinkRefusal::Unreadable => "unreadable",
        }
    }

    /// What a later worker calls by a name that is not known here is [`SinkRefusal::Refused`].
    pub(crate) fn from_name(name: &str) -> SinkRefusal {
        SinkRefusal::ALL
            .into_iter()
            .find(|refusal| refusal.as_str() == name)
            .unwrap_or(SinkRefusal::Refused)
    }
}

impl SinkTrouble {
    pub(crate) fn check(&self) -> Result<(), RegistryError> {
        check_name("uid", &self.uid)
    }
}

impl HandlerRow {
    pub(crate) fn check(&self) -> Result<(), RegistryError> {
        self.viewers.iter().try_for_each(|(name, _)| {
            check_name("namespace", &name.namespace)?;
            check_name("name", &name.name)
        })
    }
}
