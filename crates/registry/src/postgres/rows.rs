//! From the database's types to ours.

use crate::{ProcessId, QueryId, RegistryError, Revision};

pub(super) fn query_id(text: &str) -> Result<QueryId, RegistryError> {
    text.parse()
        .map_err(|err| RegistryError::bug(format!("query_id `{text}`: {err}")))
}

pub(super) fn process_id(text: &str) -> Result<ProcessId, RegistryError> {
    text.parse()
        .map_err(|err| RegistryError::bug(format!("process id `{text}`: {err}")))
}

pub(super) fn revision(value: i64) -> Result<Revision, RegistryError> {
    u64::try_from(value).map_err(RegistryError::bug)
}

/// A reader's revision as the database compares it; one that is too high for it is too high there, too.
pub(super) fn bigint(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

pub(super) fn count(value: i64) -> Result<u32, RegistryError> {
    u32::try_from(value).map_err(RegistryError::bug)
}

pub(super) fn limit(value: Option<i64>) -> Result<Option<u32>, RegistryError> {
    value.map(count).transpose()
}

pub(super) fn lane(value: i32) -> Result<u32, RegistryError> {
    u32::try_from(value).map_err(RegistryError::bug)
}

/// Ids as an array for `= ANY`.
pub(super) fn texts<T: ToString>(ids: impl IntoIterator<Item = T>) -> Vec<String> {
    ids.into_iter().map(|id| id.to_string()).collect()
}
