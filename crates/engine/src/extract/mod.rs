//! Cutting the fields that filters use out of an event, without reading the rest.

mod plan;
mod slots;
mod walk;

pub(crate) use plan::Plan;
pub(crate) use slots::{Slot, SlotKind, Slots};

use crate::record::Unreadable;

/// How much of an event is validated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validation {
    /// Only what leads to the wanted fields.
    Inspected,
    /// UTF-8, grammar and limits of the whole event.
    #[default]
    Whole,
}

/// What one thread keeps from event to event.
#[derive(Debug, Default)]
pub(crate) struct Extractor {
    validation: Validation,
}

impl Extractor {
    pub(crate) fn new(validation: Validation) -> Self {
        Self { validation }
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
        if self.validation == Validation::Whole {
            crate::json::parse(value)?;
        }
        walk::extract(plan, value, slots)
    }
}
