//! Cutting the fields that filters use out of an event, without reading the rest.
//!
//! 1. [`scan`] finds strings, brackets and colons, 64 bytes at a time ([`simd`]).
//! 2. [`cache`] recognises the [`shape`] of the event, which tells at which colon each wanted field is; one
//!    that is new is learnt.
//! 3. [`scalar`] reads the wanted values, into [`slots`].
//!
//! The result, errors included, depends on the event and the [`plan`] alone, never on what was met before.

mod cache;
mod plan;
mod scalar;
mod scan;
mod shape;
mod simd;
mod slots;
#[cfg(test)]
mod tests;
mod validate;

pub(crate) use plan::Plan;
pub(crate) use slots::{Slot, SlotKind, Slots};

use crate::json;
use crate::limits;
use crate::record::Unreadable;
use cache::Cache;
use scan::Scan;
use shape::{Found, Malformed, Shape};
use simd::Scanner;

/// How much of an event is validated.
///
/// What is found in a valid event is the same either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validation {
    /// Only what leads to the fields that the filters use.
    ///
    /// Of the whole event: its size; that every string is closed, and none has a control character in it; that
    /// brackets match and nest no deeper than allowed; that it is one object with nothing around it.
    /// Of each object that a wanted path leads into: that its names are strings, in UTF-8 and with escapes that
    /// are some, and each has a value as far as brackets tell. Of each wanted value, and those that lead to it:
    /// that it is a string, number, word, list or object that begins right behind its colon and ends at a comma
    /// or a bracket. *Not* validated: commas, values that nobody wants, what is inside of lists and of objects
    /// that are wanted themselves, and the UTF-8 of all these.
    Inspected,
    /// UTF-8, grammar and limits of the whole event.
    #[default]
    Whole,
}

/// What one thread keeps from event to event.
#[derive(Debug, Default)]
pub(crate) struct Extractor {
    validation: Validation,
    scanner: Scanner,
    scan: Scan,
    cache: Cache,
}

impl Extractor {
    pub(crate) fn new(validation: Validation) -> Self {
        Self {
            validation,
            ..Self::default()
        }
    }

    /// Fills `slots` with what `value`, a JSON object, has at the paths of `plan`.
    ///
    /// Of repeated names the last counts, at every level: a path through a repeated parent leads through the
    /// last one.
    ///
    /// # Errors
    /// What is validated is not so; `slots` are of no use.
    pub(crate) fn extract(
        &mut self,
        plan: &Plan,
        value: &[u8],
        slots: &mut Slots,
    ) -> Result<(), Unreadable> {
        if value.len() > limits::MAX_RECORD_BYTES {
            return Err(Unreadable::TooLarge);
        }
        let whole = self.validation == Validation::Whole;
        self.scanner.scan(value, whole, &mut self.scan);
        self.fill(plan, value, slots).map_err(|Malformed| {
            // The reader knows what is wrong.
            json::parse(value).err().unwrap_or(Unreadable::NotJson)
        })
    }

    fn fill(&mut self, plan: &Plan, value: &[u8], slots: &mut Slots) -> Result<(), Malformed> {
        let scan = &self.scan;
        let (Some(&first), Some(&last), true) = (
            scan.positions().first(),
            scan.positions().last(),
            scan.sound,
        ) else {
            return Err(Malformed);
        };
        let (first, end) = (first as usize, last as usize + 1);
        if scalar::skip_space(value, 0) != first || scalar::skip_space(value, end) != value.len() {
            return Err(Malformed);
        }
        if self.validation == Validation::Whole {
            validate::validate(value, scan)?;
        }
        let shape = self.cache.shape(plan, value, scan)?;
        slots.reset(plan.len());
        if let Some(slot) = plan.node(0).slot {
            slots.set(slot, scalar::slot(SlotKind::Object, first, end, 0));
        }
        read(shape, value, scan, slots)
    }
}

/// Reads the values of an event of this shape.
fn read(shape: &Shape, value: &[u8], scan: &Scan, slots: &mut Slots) -> Result<(), Malformed> {
    for &(slot, kind) in &shape.absent {
        slots.set(slot, Slot::absent(kind));
    }
    let positions = scan.positions();
    for &Found { slot, colon, close } in &shape.found {
        let colon = colon as usize;
        let start = scalar::skip_space(value, positions[colon] as usize + 1);
        let (found, end) = match close {
            Some(close) => {
                if positions[colon + 1] as usize != start {
                    return Err(Malformed);
                }
                let kind = if value[start] == b'{' {
                    SlotKind::Object
                } else {
                    SlotKind::List
                };
                let end = positions[close as usize] as usize + 1;
                (scalar::slot(kind, start, end, 0), end)
            }
            None => scalar::read(value, scan, start)?,
        };
        let behind = scalar::skip_space(value, end);
        if !matches!(value.get(behind), Some(b',' | b'}')) {
            return Err(Malformed);
        }
        if let Some(slot) = slot {
            slots.set(slot, found);
            if found.kind == SlotKind::Escaped {
                slots.unescape(slot, value).ok_or(Malformed)?;
            }
        }
    }
    Ok(())
}
