//! Tests with their field and constants numbered.

use std::collections::HashSet;
use std::sync::Arc;

use super::event::Key;
use super::paths::Paths;
use super::symbols::{Role, Symbols};
use crate::compile::{Bound, Constant, Op, Test, TextOp, required};
use crate::regular::Regular;
use crate::tree::Operator;

/// A [`Test`] in a segment.
#[derive(Debug)]
pub(super) struct Atom<'n> {
    pub(super) slot: usize,
    pub(super) asks: Asks<'n>,
}

/// [`Op`] with symbols for constants.
#[derive(Debug)]
pub(super) enum Asks<'n> {
    In(Vec<u32>),
    NotIn(Vec<u32>),
    Present,
    Missing,
    Number(Operator, Bound),
    Order(Operator, &'n str),
    /// The last is the symbol it is found by, if it can be.
    Text(TextOp, &'n str, bool, Option<u32>),
    /// The last are what it is found by if it has to match: texts inside of the text, or else itself.
    Matches(&'n Arc<Regular>, bool, Vec<u32>),
    Member(Vec<u32>, bool),
    Size(Operator, i64),
}

impl<'n> Atom<'n> {
    /// `by_automata` are the slots whose patterns are not found by texts.
    pub(super) fn new(
        test: Test<'n>,
        paths: &mut Paths,
        symbols: &mut Symbols,
        by_automata: &HashSet<usize>,
    ) -> Self {
        let slot = paths.slot(&test.path);
        let mut all = |role, constants: Vec<Constant<'_>>| -> Vec<u32> {
            let each = constants.into_iter();
            each.map(|constant| symbols.intern(slot, role, &key(constant)))
                .collect()
        };
        let asks = match test.op {
            Op::In(constants) => Asks::In(all(Role::Value, constants)),
            Op::NotIn(constants) => Asks::NotIn(all(Role::Value, constants)),
            Op::Present => Asks::Present,
            Op::Missing => Asks::Missing,
            Op::Number(operator, bound) => Asks::Number(operator, bound),
            Op::Order(operator, text) => Asks::Order(operator, text),
            Op::Text(operation, text, want) => {
                let role = match operation {
                    TextOp::StartsWith => Role::Prefix,
                    TextOp::EndsWith => Role::Suffix,
                    TextOp::Contains => Role::Part,
                };
                let symbol = (want && !text.is_empty())
                    .then(|| symbols.intern(slot, role, &Key::Text(text.as_bytes())));
                Asks::Text(operation, text, want, symbol)
            }
            Op::Matches(regular, want) => {
                let pattern = regular.pattern();
                let mut intern = |role, text| symbols.intern(slot, role, &Key::Text(text));
                let parts = if want && !by_automata.contains(&slot) {
                    required(pattern)
                } else {
                    None
                };
                let found = match parts {
                    _ if !want => Vec::new(),
                    Some(mut parts) => {
                        parts.sort_unstable();
                        parts.dedup();
                        let parts = parts.iter();
                        parts.map(|part| intern(Role::Part, part)).collect()
                    }
                    None => vec![intern(Role::Pattern, pattern.as_bytes())],
                };
                Asks::Matches(regular, want, found)
            }
            Op::Member(constants, want) => Asks::Member(all(Role::Element, constants), want),
            Op::Size(operator, size) => Asks::Size(operator, size),
            // No compiled formula has it; it would hold wherever the field is.
            Op::Unknown => Asks::Present,
        };
        Self { slot, asks }
    }

    /// Symbols one of which every event that passes has; empty if there are none.
    pub(super) fn symbols(&self) -> &[u32] {
        match &self.asks {
            Asks::In(symbols) | Asks::Matches(_, true, symbols) | Asks::Member(symbols, true) => {
                symbols
            }
            Asks::Text(_, _, true, Some(symbol)) => std::slice::from_ref(symbol),
            _ => &[],
        }
    }

    /// Whether an event that has one of [`symbols`](Self::symbols) passes.
    pub(super) fn is_found_exactly(&self, symbols: &Symbols) -> bool {
        match &self.asks {
            Asks::Matches(_, _, found) => found
                .iter()
                .all(|&symbol| symbols.role(symbol) == Role::Pattern),
            _ => true,
        }
    }
}

fn key(constant: Constant<'_>) -> Key<'_> {
    match constant {
        Constant::Null => Key::Null,
        Constant::Bool(false) => Key::False,
        Constant::Bool(true) => Key::True,
        Constant::Number(number) => Key::Number(number.to_bits()),
        Constant::Text(text) => Key::Text(text.as_bytes()),
    }
}
