//! Many filters against one record.

use std::sync::Arc;

use crate::eval::Evaluator;
use crate::filter::Filter;
use crate::record::{Record, Unreadable};
use crate::value::Value;

/// The filters that one consumer of a source topic serves.
///
/// A snapshot: cloning is one pointer, and a writer's change leaves the clones as they were. A change costs a
/// copy of the list of pointers while clones exist.
#[derive(Clone, Debug, Default)]
pub struct FilterSet(Arc<Entries>);

#[derive(Clone, Debug, Default)]
struct Entries {
    /// Ascending by key.
    filters: Vec<(u32, Filter)>,
    using_record: usize,
}

/// What one thread keeps from event to event, so that matching need not make it anew.
///
/// Empty as long as the filters are evaluated one by one.
#[derive(Debug, Default)]
pub struct Scratch(());

impl FilterSet {
    /// No filters.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `filter` under the caller's `key`, in place of what was there.
    pub fn insert(&mut self, key: u32, filter: Filter) {
        self.remove(key);
        let entries = Arc::make_mut(&mut self.0);
        entries.using_record += usize::from(filter.uses_record());
        let at = entries.filters.partition_point(|&(other, _)| other < key);
        entries.filters.insert(at, (key, filter));
    }

    /// Removes what is under `key`; whether there was anything.
    pub fn remove(&mut self, key: u32) -> bool {
        let Ok(at) = self.0.filters.binary_search_by_key(&key, |&(key, _)| key) else {
            return false;
        };
        let entries = Arc::make_mut(&mut self.0);
        let (_, filter) = entries.filters.remove(at);
        entries.using_record -= usize::from(filter.uses_record());
        true
    }

    /// How many filters there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.filters.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.filters.is_empty()
    }

    /// Appends the keys of the filters that hold for `record`, ascending, none twice. What `out` holds before
    /// stays.
    ///
    /// A filter that ends in an error, or in something that is not true, does not hold. The record is parsed
    /// once, and all of it is validated; without filters it is not looked at, and every record is fine.
    /// One filter's evaluation is bounded by [`limits::STEPS`](crate::limits::STEPS).
    ///
    /// # Errors
    /// The record's value is not a JSON object, or beyond a limit; nothing is appended. The caller counts the
    /// record and passes over it.
    pub fn matching(
        &self,
        record: &Record<'_>,
        _scratch: &mut Scratch,
        out: &mut Vec<u32>,
    ) -> Result<(), Unreadable> {
        if self.is_empty() {
            return Ok(());
        }
        let event = record.event()?;
        let variable = if self.0.using_record > 0 {
            record.variable()
        } else {
            Value::Null
        };
        let mut evaluator = Evaluator::new(event, variable, record.value.len());
        for (key, filter) in &self.0.filters {
            if let Ok(Value::Bool(true)) = evaluator.value(filter.tree()) {
                out.push(*key);
            }
        }
        Ok(())
    }
}
