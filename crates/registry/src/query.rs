//! Queries, who refers to them, and what a reader gets.

use std::cmp::Ordering;

use crate::{ProcessId, QueryId, RegistryError};

/// Grows with every change of the set of queries; 0 is the empty beginning. Fits in 63 bits.
pub type Revision = u64;

/// A query to be matched: one row of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// [`query_id`](crate::query_id) of pipeline, tenant and filter.
    pub id: QueryId,
    /// Whose it is; empty without tenants.
    pub tenant: String,
    /// The canonical filter.
    pub filter: String,
    /// Where its matches go: a partition of the filtered topic. Never changes while the row exists.
    pub lane: u32,
    /// Matches per second that each worker sends to the lane: the largest anyone asks for; `None` is no limit.
    pub limit: Option<u32>,
    /// Somebody watches, so that matches go to the lane.
    pub watched: bool,
    /// The ClickstreamQueries that refer to it and are not suspended, by namespace and name.
    pub standing: Vec<StandingRef>,
    /// Of the last change to this row.
    pub revision: Revision,
}

/// Namespace and name of a ClickstreamQuery.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StandingName {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Kubernetes name.
    pub name: String,
}

/// A reference of a ClickstreamQuery to a query. A new generation is a change of the query: whoever shows it looks
/// again at [`Registry::standing`](crate::Registry::standing).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StandingRef {
    /// Of the ClickstreamQuery.
    pub name: StandingName,
    /// Its `metadata.uid`.
    pub uid: String,
    /// Its `metadata.generation`.
    pub generation: i64,
    /// Where every match goes beside the lane, if anywhere.
    pub sink: Option<SinkRef>,
}

/// A topic that a standing query's matches are written to, every one, whoever watches and whatever the limit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SinkRef {
    /// Its name.
    pub topic: String,
    /// Projection of what is written: dotted paths; empty for the whole event.
    pub fields: Vec<String>,
}

/// What a ClickstreamQuery asks for, as the operator writes it and handlers read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Of the ClickstreamQuery.
    pub name: StandingName,
    /// Its `metadata.uid`.
    pub uid: String,
    /// Its `metadata.generation`.
    pub generation: i64,
    /// Whose query it is; empty without tenants.
    pub tenant: String,
    /// The canonical filter. With the tenant it gives the query's id: [`Registry::query_id`](crate::Registry::query_id).
    pub filter: String,
    /// Projection for viewers and for the sink: dotted paths; empty for the whole event.
    pub fields: Vec<String>,
    /// Matches per second for a viewer who asks for no other; `None` is no limit.
    pub rate: Option<u32>,
    /// Not matched; its viewers are told `suspended`.
    pub suspended: bool,
    /// The topic that every match is written to.
    pub sink_topic: Option<String>,
}

/// One step of [`Registry::change_standing`](crate::Registry::change_standing).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StandingChange {
    /// Registers what a ClickstreamQuery asks for, or changes it.
    Put {
        /// What it asks for.
        standing: Standing,
        /// Used if the query is new.
        lane: u32,
    },
    /// Removes what a ClickstreamQuery registered.
    Remove {
        /// Its `metadata.uid`.
        uid: String,
    },
}

/// What came of a [`StandingChange`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandingChanged {
    /// It refers to this query from now on; `None` while it is suspended.
    Put(Option<Served>),
    /// Whether there was something to remove.
    Removed(bool),
}

/// A handler's use of one query: what all its subscriptions to it need together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Whose query it is; empty without tenants.
    pub tenant: String,
    /// The canonical filter.
    pub filter: String,
    /// The lane for a query that is new. One that exists keeps its own, see [`Served::lane`].
    pub lane: u32,
    /// Subscriptions of this handler, those waiting in the resume window among them. The query is watched while any
    /// handler has more than 0.
    pub subscribers: u32,
    /// The largest rate any of them asks for, matches per second; `None` is no limit.
    pub limit: Option<u32>,
}

/// One step of [`Registry::apply`](crate::Registry::apply).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The handler uses a query, or uses it differently from before.
    Serve(Wanted),
    /// The handler uses it no more. Nothing happens if it did not.
    Release(QueryId),
}

/// A query that a handler serves, as it stands in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// The query.
    pub id: QueryId,
    /// Where its matches go.
    pub lane: u32,
    /// Of the row; the query is live when every partition's progress is at it or later.
    pub revision: Revision,
}

/// What [`Registry::renew`](crate::Registry::renew) found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Renewed {
    /// The whole set, in the order given; a query named twice is in it twice.
    pub served: Vec<Served>,
    /// Handlers whose leases had run out and whose uses were removed.
    pub swept: Vec<ProcessId>,
}

/// What changed after a revision, or everything; all read in one snapshot of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The registry's revision in this snapshot.
    pub revision: Revision,
    /// `queries` is the whole set: what is not in it does not exist.
    pub complete: bool,
    /// The queries, or those changed later than the reader's revision.
    pub queries: Vec<Query>,
    /// Queries removed later than the reader's revision; with `complete`, all whose removal record is kept.
    /// None of them is in `queries`.
    pub removed: Vec<QueryId>,
}

/// A row of the list of queries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The query.
    pub id: QueryId,
    /// The ClickstreamQuery, for a standing one; `None` for a live one. A query with several has a row for each.
    pub standing: Option<StandingName>,
    /// Whose it is; empty without tenants.
    pub tenant: String,
    /// The canonical filter.
    pub filter: String,
    /// Subscriptions on all handlers.
    pub subscribers: u32,
}

/// The larger of two limits, where none beats all.
pub(crate) fn larger(a: Option<u32>, b: Option<u32>) -> Option<u32> {
    Some(a?.max(b?))
}

/// Longest canonical filter in bytes. The filter language refuses far shorter ones; event types and the tenant's
/// clause come on top.
pub const MAX_FILTER_BYTES: usize = 64 * 1024;
/// Longest tenant, namespace, name, uid, field path and topic in bytes.
pub const MAX_NAME_BYTES: usize = 512;
/// Most fields of a standing query's projection.
pub const MAX_FIELDS: usize = 256;

/// Refuses what PostgreSQL cannot hold or what would make two identities one.
pub(crate) fn check_name(what: &str, value: &str) -> Result<(), RegistryError> {
    if value.len() > MAX_NAME_BYTES {
        return Err(RegistryError::Invalid(format!(
            "the {what} is longer than {MAX_NAME_BYTES} bytes"
        )));
    }
    if value.chars().any(char::is_control) {
        return Err(RegistryError::Invalid(format!(
            "the {what} has a control character"
        )));
    }
    Ok(())
}

fn check_filter(filter: &str, lane: u32) -> Result<(), RegistryError> {
    if filter.is_empty() || filter.len() > MAX_FILTER_BYTES || filter.contains('\0') {
        return Err(RegistryError::Invalid(format!(
            "the filter is empty, has a null character or is longer than {MAX_FILTER_BYTES} bytes"
        )));
    }
    i32::try_from(lane)
        .map(|_| ())
        .map_err(|_| RegistryError::Invalid(format!("lane `{lane}` is too high")))
}

impl Wanted {
    pub(crate) fn check(&self) -> Result<(), RegistryError> {
        check_name("tenant", &self.tenant)?;
        check_filter(&self.filter, self.lane)
    }
}

impl Standing {
    pub(crate) fn check(&self, lane: u32) -> Result<(), RegistryError> {
        check_name("namespace", &self.name.namespace)?;
        check_name("name", &self.name.name)?;
        check_name("uid", &self.uid)?;
        check_name("tenant", &self.tenant)?;
        if self.fields.len() > MAX_FIELDS {
            return Err(RegistryError::Invalid(format!(
                "more than {MAX_FIELDS} fields"
            )));
        }
        self.fields
            .iter()
            .try_for_each(|field| check_name("field", field))?;
        if let Some(topic) = &self.sink_topic {
            check_topic(topic)?;
        }
        check_filter(&self.filter, lane)
    }

    /// Its sink as workers are told of it.
    pub(crate) fn sink(&self) -> Option<SinkRef> {
        let topic = self.sink_topic.clone()?;
        Some(SinkRef {
            topic,
            fields: self.fields.clone(),
        })
    }

    /// Whether it may take the place of what the same name registered before. Between two uids the later call counts:
    /// the object was deleted and made again.
    pub(crate) fn check_follows(&self, former: Option<&Standing>) -> Result<(), RegistryError> {
        match former {
            Some(former) if former.uid == self.uid && former.generation > self.generation => {
                Err(RegistryError::Stale {
                    known: former.generation,
                })
            }
            _ => Ok(()),
        }
    }
}

impl Query {
    /// As rows of the list of queries.
    pub(crate) fn listed(&self, subscribers: u32) -> Vec<Listed> {
        let row = |standing: Option<&StandingRef>| Listed {
            id: self.id,
            standing: standing.map(|by| by.name.clone()),
            tenant: self.tenant.clone(),
            filter: self.filter.clone(),
            subscribers,
        };
        if self.standing.is_empty() {
            vec![row(None)]
        } else {
            self.standing.iter().map(|by| row(Some(by))).collect()
        }
    }
}

impl Listed {
    /// Standing ones first, by name; then by filter.
    pub(crate) fn order(&self, other: &Listed) -> Ordering {
        let key = |listed: &Listed| {
            (
                listed.standing.is_none(),
                listed.standing.clone(),
                listed.filter.clone(),
                listed.id,
            )
        };
        key(self).cmp(&key(other))
    }
}

/// Refuses a name that no topic has.
fn check_topic(topic: &str) -> Result<(), RegistryError> {
    check_name("topic", topic)?;
    if topic.is_empty() {
        return Err(RegistryError::Invalid("the topic has no name".to_owned()));
    }
    Ok(())
}

/// Refuses topics that Kafka cannot have either.
pub(crate) fn check_topics(counts: &[(String, i32)]) -> Result<(), RegistryError> {
    counts.iter().try_for_each(|(topic, count)| {
        check_name("topic", topic)?;
        if *count < 1 {
            Err(RegistryError::Invalid(format!(
                "topic `{topic}` has no partition"
            )))
        } else {
            Ok(())
        }
    })
}
