//! Many filters as one index.
//!
//! A [`Segment`] never changes. Each of its filters is found in one of three ways ([`cover`]):
//!
//! - *selective*: by a [symbol](symbols), which is a value that a field has, the beginning, the end or a part of
//!   its text ([`texts`]), or an element of its list ([`list`]). The event's symbols lead to the filters,
//!   those of several fields together where many filters ask for several ([`postings`]);
//! - *broad*: by bits for all of its fields at once ([`broad`]), if no few values are rare together;
//! - *scan*: on every event.
//!
//! What is left of a found filter is a [`program`] of tests on the event's fields. Only filters that
//! tests do not say all of are evaluated from their trees ([`trees`]), once they pass.

mod atom;
mod broad;
mod build;
mod cover;
mod event;
mod list;
mod paths;
mod patterns;
mod postings;
mod program;
mod symbols;
mod texts;
mod trees;

pub(crate) use event::Fields;
pub(crate) use paths::Paths;
pub(crate) use trees::Trees;

use broad::{Broad, Class};
use event::Event;
use postings::{Entry, Postings};
use program::{Known, Programs};
use symbols::{Role, Symbols};
use texts::Texts;

use crate::extract::{SlotKind, Slots};
use crate::filter::Filter;
use crate::order::ascend;
use crate::record::Unreadable;

/// Filters, indexed.
#[derive(Debug, Default)]
pub(crate) struct Segment {
    /// Ascending. The i-th key belongs to the i-th filter.
    keys: Box<[u32]>,
    filters: Box<[Filter]>,
    symbols: Symbols,
    /// Slots whose values are looked up.
    values: Box<[u32]>,
    /// Slots whose elements or names are looked up.
    lists: Box<[u32]>,
    postings: Postings,
    texts: Box<[Texts]>,
    broad: Broad,
    scan: Box<[Entry]>,
    programs: Programs,
}

/// What one thread keeps from event to event.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// The symbol of the value in each slot.
    values: Vec<u32>,
    /// Of the postings, those that the event leads to.
    nodes: Vec<u32>,
    /// Filters found at them.
    found: Vec<Entry>,
    /// Of the broad filters' dimensions.
    classes: Vec<Class>,
    /// For each filter the last event in which it was found, if it can be found twice.
    marks: Vec<u32>,
    /// For each text of a field the last event that had it.
    seen: Vec<u32>,
    /// Patterns that a field's text matches.
    matched: patterns::Found,
    /// For each pattern that is tested the last event it was tested in, and whether it matched.
    tested: Vec<(u32, bool)>,
    /// For each filter a bit, all of which are 0 between two events.
    hold: Vec<u64>,
    /// Numbers events, and segments within them.
    epoch: u32,
}

/// Programs that are looked at before they are run.
const AHEAD: usize = 16;

/// For a value that no filter of the segment asks for.
const NO_SYMBOL: u32 = u32::MAX;

impl Segment {
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The number of the filter under `key`.
    pub(crate) fn find(&self, key: u32) -> Option<usize> {
        self.keys.binary_search(&key).ok()
    }

    /// Keys and filters, in the order of their numbers.
    pub(crate) fn filters(&self) -> impl Iterator<Item = (u32, &Filter)> {
        self.keys.iter().copied().zip(&self.filters)
    }

    /// Bytes on the heap, without the filters themselves and their regular expressions.
    pub(crate) fn bytes(&self) -> usize {
        self.keys.len() * 4
            + self.filters.len() * size_of::<Filter>()
            + self.symbols.bytes()
            + (self.values.len() + self.lists.len()) * 4
            + self.postings.bytes()
            + self.texts.iter().map(Texts::bytes).sum::<usize>()
            + self.broad.bytes()
            + self.scan.len() * size_of::<Entry>()
            + self.programs.bytes()
    }

    /// Appends the keys of the filters that hold, ascending. `slots` and `fields` are of a plan that has the
    /// paths that the segment was built with; `removed` are bits by number.
    ///
    /// # Errors
    /// A filter had to be evaluated from its tree, and the event is unreadable beyond what was extracted.
    pub(crate) fn matching<'a>(
        &'a self,
        (slots, fields, value): (&Slots, &Fields, &[u8]),
        removed: &[u64],
        trees: &mut Trees<'a>,
        work: &mut Work,
        out: &mut Vec<u32>,
    ) -> Result<(), Unreadable> {
        let event = Event {
            slots,
            fields,
            value,
        };
        let Work {
            values,
            nodes,
            found,
            classes,
            marks,
            seen,
            matched,
            tested,
            hold,
            epoch,
        } = work;
        let before = out.len();
        *epoch = epoch.wrapping_add(1);
        if *epoch == 0 {
            marks.fill(0);
            seen.fill(0);
            tested.fill((0, false));
            *epoch = 1;
        }
        values.clear();
        values.resize(fields.len(), NO_SYMBOL);
        if marks.len() < self.len() {
            marks.resize(self.len(), 0);
        }
        if tested.len() < self.programs.patterns() {
            tested.resize(self.programs.patterns(), (0, false));
        }
        nodes.clear();
        for &slot in &self.values {
            let slot = slot as usize;
            let text = || event.slots.text(slot, value);
            let symbol = event
                .look(slot)
                .and_then(|look| self.symbols.find(slot, Role::Value, look, text));
            if let Some(symbol) = symbol {
                values[slot] = symbol;
                nodes.push(symbol);
            }
        }
        for texts in &self.texts {
            if let Some(text) = event.text(texts.slot) {
                if seen.len() < texts.parts_so_far() {
                    seen.resize(texts.parts_so_far(), 0);
                }
                let seen = (seen.as_mut_slice(), *epoch);
                let found = |symbol| nodes.push(symbol);
                let read = texts.each(text, &self.symbols, seen, matched, found);
                read.ok_or(Unreadable::NotJson)?;
            }
        }
        for &slot in &self.lists {
            let before = nodes.len();
            let read = self.elements(slot as usize, &event, |symbol| nodes.push(symbol));
            read.ok_or(Unreadable::NotJson)?;
            // A list may have a value many times.
            nodes[before..].sort_unstable();
            nodes.dedup();
        }
        self.postings.descend(values, nodes);
        let mut known = Known {
            symbols: &self.symbols,
            values,
            tested,
            epoch: *epoch,
            unsure: false,
        };
        let mut failed = None;
        let mut test = |entry: Entry| {
            let filter = entry.filter();
            if entry.is_repeated() {
                if marks[filter] == *epoch {
                    return;
                }
                marks[filter] = *epoch;
            }
            known.unsure = false;
            if !self.programs.accept(entry.program, &event, &mut known)
                || removed
                    .get(filter / 64)
                    .is_some_and(|word| word >> (filter % 64) & 1 == 1)
            {
                return;
            }
            if !entry.is_exact() || known.unsure {
                match trees.holds(&self.filters[filter]) {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(reason) => {
                        failed = Some(reason);
                        return;
                    }
                }
            }
            out.push(filter as u32);
        };
        let count = nodes.iter().fold(0, |count, &node| {
            self.postings
                .collect(node, values, fields.numbers(), found, count)
        });
        for found in found[..count].chunks(AHEAD) {
            // Programs are waited for together, not one after the other.
            let ahead = found
                .iter()
                .fold(0, |ahead, entry| ahead ^ self.programs.ahead(entry.program));
            std::hint::black_box(ahead);
            found.iter().copied().for_each(&mut test);
        }
        if classes.len() < self.broad.dimensions() {
            classes.resize(self.broad.dimensions(), Class::default());
        }
        self.broad.each(&event, values, classes, &mut test);
        self.scan.iter().copied().for_each(&mut test);
        let numbers = &mut out[before..];
        ascend(numbers, self.len(), hold);
        for number in numbers {
            *number = self.keys[*number as usize];
        }
        failed.map_or(Ok(()), Err)
    }

    /// Calls `found` with the symbols of what is in the list, or of the names of the object, at `slot`. `None` if
    /// it cannot be read.
    fn elements(&self, slot: usize, event: &Event<'_>, mut found: impl FnMut(u32)) -> Option<()> {
        let kind = event.kind(slot);
        if !matches!(kind, SlotKind::List | SlotKind::Object) {
            return Some(());
        }
        list::each_element(event.raw(slot), kind, |key| {
            let symbol = key.and_then(|key| self.symbols.find_key(slot, Role::Element, &key));
            symbol.into_iter().for_each(&mut found);
        })
    }
}
