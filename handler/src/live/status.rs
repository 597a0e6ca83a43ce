//! What a viewer is told beside its events, and the events themselves.

use std::fmt;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::Problem;

/// A moment: milliseconds since 1970, UTC. Displays and serialises as RFC 3339 with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

impl Time {
    /// The present moment by the system's clock.
    #[must_use]
    pub fn now() -> Self {
        Self(chrono::Utc::now().timestamp_millis())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Kafka allows any 64-bit timestamp (-1 means none); the calendar does not reach that far.
        let time = chrono::DateTime::from_timestamp_millis(self.0).unwrap_or_default();
        f.write_str(&time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One event as one projection sees it. Encoded once and shared by every viewer of that projection.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// `<topic>/<partition>/<offset>` of the source record.
    pub source: String,
    /// The source record's timestamp.
    pub time: Time,
    /// The event, a JSON object; `null` when `too_large`.
    pub body: Bytes,
    /// The event did not fit a lane's record: only its position is known.
    pub too_large: bool,
}

/// What a door sends next.
#[derive(Debug, Clone)]
pub struct Item {
    /// The key given to [`super::Live::subscribe`].
    pub subscription: u32,
    /// Event or status.
    pub kind: Kind,
}

/// The two kinds of [`Item`].
#[derive(Debug, Clone)]
pub enum Kind {
    /// A match.
    Event(std::sync::Arc<Event>),
    /// Something about the subscription itself.
    Status(Status),
}

/// A status message. Serialises to the JSON object that is its body on every door,
/// with the name of the status in the member `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "status",
    rename_all = "lowercase",
    rename_all_fields = "camelCase"
)]
pub enum Status {
    /// The query is in the registry; matches follow once workers run it.
    Registered {
        /// The query's id.
        query: String,
        /// Canonical filter.
        filter: String,
        /// `selective`, `broad` or `scan`.
        class: String,
        /// When the subscription's time to live ends.
        expires: Time,
    },
    /// From here on every match comes, or is counted as left out.
    Live {
        /// When this was known.
        at: Time,
        /// Source partitions, all of which run the query.
        partitions: u32,
        /// Source records not read yet.
        lag_records: u64,
    },
    /// Totals since `live`, each second.
    Progress {
        /// Source records looked at.
        scanned: u64,
        /// Of these, matched.
        matched: u64,
        /// Events handed to this viewer.
        delivered: u64,
        /// Matches withheld on purpose.
        left_out: LeftOut,
        /// Source records that are not a JSON object.
        unreadable: u64,
        /// Every event before this time was looked at.
        #[serde(skip_serializing_if = "Option::is_none")]
        complete_to: Option<Time>,
        /// Source records not read yet.
        lag_records: u64,
    },
    /// Matches withheld since the last `dropped` of the same reason.
    Dropped {
        /// Why.
        reason: DropReason,
        /// How many.
        count: u64,
    },
    /// Source ranges from which matches may be missing.
    Gap {
        /// Why.
        reason: GapReason,
        /// The ranges; empty when they cannot be known.
        ranges: Vec<GapRange>,
    },
    /// The time to live ends soon.
    Expiring {
        /// When.
        at: Time,
    },
    /// The last message of a subscription.
    Ended {
        /// Why.
        reason: EndReason,
        /// In words.
        message: String,
        /// What was wrong with a refused request.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Box<Problem>>,
    },
}

impl Status {
    /// The status' name, as in the member `status`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Registered { .. } => "registered",
            Self::Live { .. } => "live",
            Self::Progress { .. } => "progress",
            Self::Dropped { .. } => "dropped",
            Self::Gap { .. } => "gap",
            Self::Expiring { .. } => "expiring",
            Self::Ended { .. } => "ended",
        }
    }

    /// The JSON object: the body of a status message.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings, numbers and lists of them: there is no value that JSON could refuse.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// `ended`, reason `refused`: how a request is refused when the connection stays.
    #[must_use]
    pub fn refused(problem: Problem) -> Self {
        Self::Ended {
            reason: EndReason::Refused,
            message: problem.detail.clone(),
            error: Some(Box::new(problem)),
        }
    }
}

/// Matches withheld on purpose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Over the rate asked for.
    pub rate: u64,
    /// The viewer did not read fast enough.
    pub slow: u64,
}

/// Why matches were withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DropReason {
    /// Over the rate asked for.
    Rate,
    /// The viewer did not read fast enough.
    Slow,
}

/// Why matches may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GapReason {
    /// The source topic deleted records before a worker read them.
    Retention,
    /// The filtered topic deleted records before this handler read them.
    Overload,
    /// The query was not being matched for a while, or workers write what this handler cannot read.
    Outage,
    /// The source topic was deleted and made again.
    Recreated,
    /// A resumed subscription could not go back far enough.
    Resume,
}

/// Offsets `from` (inclusive) to `to` (exclusive) of one source partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GapRange {
    /// Source topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// First offset.
    pub from: i64,
    /// One past the last offset.
    pub to: i64,
}

/// Why a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EndReason {
    /// Its time to live is over.
    Expired,
    /// It was never accepted.
    Refused,
    /// The standing query was deleted.
    Deleted,
    /// The standing query was suspended.
    Suspended,
    /// This handler is going away; subscribe again elsewhere.
    Draining,
    /// The viewer did not read at all.
    Slow,
}
