//! Many filters against one record.
//!
//! A set is a few immutable [`Segment`]s: the *base* with nearly all filters, at most one *delta* with those of
//! the last while, and what is *fresh*, which is indexed when the set is cloned or first used. To remove a
//! filter is to set its bit beside the segment. Deltas that have grown are merged into a new base by a thread
//! of their own ([`crate::merge`]), and the writer takes it over with one of its next changes; clones stay as
//! they were, and matching never waits.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::eval::Evaluator;
use crate::extract::{Extractor, Plan, Slots, Validation};
use crate::filter::Filter;
use crate::index::{Fields, Paths, Segment, Trees, Work};
use crate::merge::Merge;
use crate::order::interleave;
use crate::record::{Record, Unreadable};
use crate::reference::{self, Outcome};
use crate::value::Value;

/// The filters that one consumer of a source topic serves.
///
/// A snapshot: cloning costs a few pointers once the filters that came since the last clone are indexed, which
/// takes some microseconds for each, and a writer's change leaves the clones as they were. Whoever publishes
/// sets to other threads clones them first, so that those never index anything.
#[derive(Default)]
pub struct FilterSet {
    /// The base first, which is the largest.
    segments: Vec<Live>,
    fresh: Arc<Fresh>,
    /// Of all `segments`.
    fields: Arc<Wanted>,
    merge: Option<Merge>,
    /// Given up, but maybe in use by clones: dropped here, where nobody waits for it.
    retired: Vec<Arc<Segment>>,
}

/// A segment, and which of its filters are not in the set any more.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) segment: Arc<Segment>,
    removed: Arc<Removed>,
}

/// Bits by number.
#[derive(Clone, Debug, Default)]
struct Removed {
    bits: Vec<u64>,
    count: usize,
}

/// The latest filters.
#[derive(Default)]
struct Fresh {
    filters: BTreeMap<u32, Filter>,
    index: OnceLock<(Live, Arc<Wanted>)>,
}

/// The fields that are cut out of an event.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) paths: Paths,
    plan: Plan,
}

/// What one thread keeps from event to event, so that matching need not make it anew.
///
/// Grows with the filters and the events it was used for, and does not shrink.
#[derive(Debug, Default)]
pub struct Scratch {
    extractor: Extractor,
    slots: Slots,
    fields: Fields,
    work: Work,
    /// Keys that are put among others.
    later: Vec<u32>,
}

impl Scratch {
    /// With another choice than [`Validation::Whole`].
    #[must_use]
    pub fn new(validation: Validation) -> Self {
        Self {
            extractor: Extractor::new(validation),
            ..Self::default()
        }
    }
}

/// Filters that are indexed anew with each clone; beyond, they become a delta.
const MAX_FRESH: usize = 64;

/// Filters of a delta that is indexed anew when it grows; beyond, it is merged into the base. The second is a
/// share of the base, as merging takes longer the larger it is.
const MAX_DELTA: usize = 2_048;
const MAX_DELTA_SHARE: usize = 32;

impl Wanted {
    pub(crate) fn new(paths: Paths) -> Self {
        Self {
            plan: paths.plan(),
            paths,
        }
    }
}

impl Default for Wanted {
    fn default() -> Self {
        Self::new(Paths::default())
    }
}

impl Live {
    pub(crate) fn new(segment: Segment) -> Self {
        Self {
            segment: Arc::new(segment),
            removed: Arc::default(),
        }
    }

    fn len(&self) -> usize {
        self.segment.len() - self.removed.count
    }

    fn has(&self, number: usize) -> bool {
        self.removed
            .bits
            .get(number / 64)
            .is_none_or(|word| word >> (number % 64) & 1 == 0)
    }

    pub(crate) fn filters(&self) -> impl Iterator<Item = (u32, &Filter)> {
        let filters = self.segment.filters().enumerate();
        filters
            .filter(|(number, _)| self.has(*number))
            .map(|(_, filter)| filter)
    }

    /// Whether `key` was there.
    pub(crate) fn remove(&mut self, key: u32) -> bool {
        let Some(number) = self.segment.find(key).filter(|&number| self.has(number)) else {
            return false;
        };
        let removed = Arc::make_mut(&mut self.removed);
        removed.bits.resize(self.segment.len().div_ceil(64), 0);
        removed.bits[number / 64] |= 1 << (number % 64);
        removed.count += 1;
        true
    }
}

impl Fresh {
    fn index(&self, fields: &Arc<Wanted>) -> &(Live, Arc<Wanted>) {
        self.index
            .get_or_init(|| index(self.filters.clone().into_iter().collect(), fields))
    }
}

/// Indexes filters beside segments that use `fields`; with the fields of all of them.
fn index(filters: Vec<(u32, Filter)>, fields: &Arc<Wanted>) -> (Live, Arc<Wanted>) {
    let mut paths = fields.paths.clone();
    let segment = Segment::new(filters, &mut paths);
    let fields = if paths.len() == fields.paths.len() {
        Arc::clone(fields)
    } else {
        Arc::new(Wanted::new(paths))
    };
    (Live::new(segment), fields)
}

impl FilterSet {
    /// No filters.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `filter` under the caller's `key`, in place of what was there.
    ///
    /// It is held against every event that is matched from then on.
    pub fn insert(&mut self, key: u32, filter: Filter) {
        self.remove(key);
        self.open().insert(key, filter);
        self.start_merge();
    }

    /// Removes what is under `key`; whether there was anything.
    pub fn remove(&mut self, key: u32) -> bool {
        self.finish_merge();
        let found = self.segments.iter_mut().any(|live| live.remove(key));
        if found {
            self.start_merge();
            return true;
        }
        if !self.fresh.filters.contains_key(&key) {
            return false;
        }
        if self.fresh.index.get().is_some() && self.fresh.filters.len() >= MAX_FRESH {
            self.close();
            return self.segments.iter_mut().any(|live| live.remove(key));
        }
        self.open().remove(&key).is_some()
    }

    /// The latest filters, to be changed.
    fn open(&mut self) -> &mut BTreeMap<u32, Filter> {
        if self.fresh.index.get().is_some() && self.fresh.filters.len() >= MAX_FRESH {
            self.close();
        }
        if Arc::get_mut(&mut self.fresh).is_none_or(|fresh| fresh.index.get().is_some()) {
            let filters = self.fresh.filters.clone();
            self.fresh = Arc::new(Fresh {
                filters,
                index: OnceLock::new(),
            });
        }
        // Nobody else has it, so it is not copied.
        &mut Arc::make_mut(&mut self.fresh).filters
    }

    /// Makes the latest filters a segment, together with a delta that is small.
    fn close(&mut self) {
        let fresh = std::mem::take(&mut self.fresh);
        // The base, and what is being merged into it, stay.
        let keep = self.merge.as_ref().map_or(1, Merge::segments);
        let (live, fields) = match self.segments.last() {
            Some(delta) if self.segments.len() > keep && delta.len() < MAX_DELTA => {
                let all = delta.filters().map(|(key, filter)| (key, filter.clone()));
                let latest = fresh.filters.iter();
                let all = all
                    .chain(latest.map(|(key, filter)| (*key, filter.clone())))
                    .collect();
                self.retire(self.segments.len() - 1);
                index(all, &self.fields)
            }
            _ => fresh.index(&self.fields).clone(),
        };
        self.fields = fields;
        self.segments.push(live);
    }

    /// Gives up all segments but the first `keep`.
    fn retire(&mut self, keep: usize) {
        self.retired
            .extend(self.segments.drain(keep..).map(|live| live.segment));
    }

    fn start_merge(&mut self) {
        let Some((base, deltas)) = self.segments.split_first() else {
            return;
        };
        let changed = deltas.iter().map(Live::len).sum::<usize>() + base.removed.count;
        if self.merge.is_none() && changed > MAX_DELTA.max(base.len() / MAX_DELTA_SHARE) {
            self.merge = Merge::start(self.segments.clone());
        }
    }

    /// Takes over what was merged meanwhile.
    fn finish_merge(&mut self) {
        self.retired
            .retain(|segment| Arc::strong_count(segment) > 1);
        if self.merge.as_ref().is_none_or(|merge| !merge.is_finished()) {
            return;
        }
        let Some((mut base, fields, merged)) = self.merge.take().and_then(Merge::finish) else {
            return;
        };
        // Which of the merged filters were removed since.
        for (now, then) in self.segments.iter().zip(&merged) {
            if !Arc::ptr_eq(&now.removed, &then.removed) {
                for (number, (key, _)) in now.segment.filters().enumerate() {
                    if then.has(number) && !now.has(number) {
                        base.remove(key);
                    }
                }
            }
        }
        // The fields are numbered anew, so that what came since is indexed anew.
        let later: BTreeMap<_, _> = self.segments[merged.len()..]
            .iter()
            .flat_map(Live::filters)
            .chain(
                self.fresh
                    .filters
                    .iter()
                    .map(|(key, filter)| (*key, filter)),
            )
            .map(|(key, filter)| (key, filter.clone()))
            .collect();
        self.retire(0);
        self.retired
            .extend(merged.into_iter().map(|live| live.segment));
        self.segments.push(base);
        self.fields = fields;
        self.fresh = Arc::new(Fresh {
            filters: later,
            index: OnceLock::new(),
        });
    }

    /// How many filters there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.segments.iter().map(Live::len).sum::<usize>() + self.fresh.filters.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the index on the heap, without the filters themselves, which are their texts, trees and regular
    /// expressions.
    #[must_use]
    pub fn index_bytes(&self) -> usize {
        let (fresh, _) = self.fresh.index(&self.fields);
        let segments = self.segments.iter().chain([fresh]);
        segments
            .map(|live| live.segment.bytes() + live.removed.bits.len() * 8)
            .sum()
    }

    /// Appends the keys of the filters that hold for `record`, ascending, none twice. What `out` holds before
    /// stays.
    ///
    /// A filter that ends in an error, or in something that is not true, does not hold. How much of the record is
    /// validated is the choice of `scratch`: all of it unless told otherwise; without filters it is not looked
    /// at, and every record is fine. Cost grows with the fields that filters ask for, with the filters that
    /// share a rare clause with the event, and, a thousand times less, with those that have no rare clause. One
    /// filter's evaluation is bounded by [`limits::STEPS`](crate::limits::STEPS).
    ///
    /// # Errors
    /// The record's value is not a JSON object, or beyond a limit; nothing is appended. The caller counts the
    /// record and passes over it.
    pub fn matching(
        &self,
        record: &Record<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<u32>,
    ) -> Result<(), Unreadable> {
        if self.is_empty() {
            return Ok(());
        }
        let (fresh, fields) = self.fresh.index(&self.fields);
        let Scratch {
            extractor,
            slots,
            fields: read,
            work,
            later,
        } = scratch;
        extractor.extract(&fields.plan, record.value, slots)?;
        read.read(slots, fields.plan.len(), record.value);
        let mut trees = Trees::new(record);
        let before = out.len();
        for live in self.segments.iter().chain([fresh]) {
            let event = (&*slots, &*read, record.value);
            let removed = &live.removed.bits;
            let so_far = out.len();
            let matched = live.segment.matching(event, removed, &mut trees, work, out);
            if let Err(reason) = matched {
                out.truncate(before);
                return Err(reason);
            }
            interleave(&mut out[before..], so_far - before, later);
        }
        Ok(())
    }

    /// The same by evaluating every filter from its tree, one after the other: what [`matching`](Self::matching)
    /// is tested against, and some thousand times slower.
    ///
    /// # Errors
    /// As there; always of the whole record.
    pub fn matching_one_by_one(
        &self,
        record: &Record<'_>,
        out: &mut Vec<u32>,
    ) -> Result<(), Unreadable> {
        let mut evaluator = Evaluator::new(record.event()?, record.variable(), record.value.len());
        let before = out.len();
        for (key, filter) in self.filters() {
            if let Ok(Value::Bool(true)) = evaluator.value(filter.tree()) {
                out.push(key);
            }
        }
        out[before..].sort_unstable();
        Ok(())
    }

    /// The same by evaluating every filter with crate `cel` ([`crate::reference`]): for doubt, and slower still.
    ///
    /// # Errors
    /// As there.
    pub fn matching_by_reference(
        &self,
        record: &Record<'_>,
        out: &mut Vec<u32>,
    ) -> Result<(), Unreadable> {
        if self.is_empty() {
            return Ok(());
        }
        let before = out.len();
        let mut keys = self.filters().map(|(key, _)| key);
        let filters = self.filters().map(|(_, filter)| filter);
        reference::each_outcome(filters, record, |outcome| {
            out.extend(keys.next().filter(|_| outcome == Outcome::Match));
        })?;
        out[before..].sort_unstable();
        Ok(())
    }

    /// Keys and filters, in no order.
    fn filters(&self) -> impl Iterator<Item = (u32, &Filter)> {
        let fresh = self.fresh.filters.iter();
        let fresh = fresh.map(|(key, filter)| (*key, filter));
        self.segments.iter().flat_map(Live::filters).chain(fresh)
    }
}

impl Clone for FilterSet {
    fn clone(&self) -> Self {
        self.fresh.index(&self.fields);
        Self {
            segments: self.segments.clone(),
            fresh: Arc::clone(&self.fresh),
            fields: Arc::clone(&self.fields),
            merge: None,
            retired: Vec::new(),
        }
    }
}

impl Clone for Fresh {
    /// Not indexed.
    fn clone(&self) -> Self {
        Self {
            filters: self.filters.clone(),
            index: OnceLock::new(),
        }
    }
}

impl fmt::Debug for FilterSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilterSet")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
