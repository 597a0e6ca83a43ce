//! Evaluation of filters from their trees, for one event.

use crate::eval::Evaluator;
use crate::filter::Filter;
use crate::record::{Record, Unreadable};
use crate::value::Value;

/// Parses the event when the first filter has to be evaluated, and then never again.
pub(crate) struct Trees<'a> {
    record: &'a Record<'a>,
    evaluator: Option<Evaluator<'a>>,
}

impl<'a> Trees<'a> {
    pub(crate) fn new(record: &'a Record<'a>) -> Self {
        Self {
            record,
            evaluator: None,
        }
    }

    /// Whether `filter` is true.
    ///
    /// # Errors
    /// The record's value is not a JSON object, or beyond a limit.
    pub(crate) fn holds(&mut self, filter: &'a Filter) -> Result<bool, Unreadable> {
        let evaluator = match &mut self.evaluator {
            Some(evaluator) => evaluator,
            None => {
                let event = self.record.event()?;
                let variable = self.record.variable();
                let length = self.record.value.len();
                self.evaluator
                    .insert(Evaluator::new(event, variable, length))
            }
        };
        Ok(matches!(
            evaluator.value(filter.tree()),
            Ok(Value::Bool(true))
        ))
    }
}
