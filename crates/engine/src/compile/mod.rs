//! One filter as tests of single fields.
//!
//! A filter holds if its tree is true, and no tree with an error in it is: `&&` is true if all operands are,
//! `||` if one is, `!` if its operand is false. Pushing negations down to the clauses therefore leaves a
//! [`Formula`] of plain two-valued logic, whose [`Test`]s ask whether a clause *is true*, or *is false*; one
//! that has no value is neither. What a test cannot say becomes [`Op::Unknown`]; it is taken to hold, and
//! what passes the formula is then evaluated from the tree.

mod formula;
mod required;
mod steps;
mod test;

pub(crate) use formula::Formula;
pub(crate) use required::required;
pub(crate) use test::{Bound, Constant, Op, Test, TextOp, VALUE_LIMIT};

use crate::tree::Node;

/// A filter, compiled.
#[derive(Debug)]
pub(crate) struct Compiled<'n> {
    /// Holds for every event that the filter holds for.
    pub(crate) formula: Formula<Test<'n>>,
    /// Whether it holds for no others.
    pub(crate) exact: bool,
}

/// Compiles a canonical tree. Takes time in proportion to it.
pub(crate) fn compile(tree: &Node) -> Compiled<'_> {
    let (formula, complete) = formula::known(formula::of(tree));
    Compiled {
        formula,
        exact: complete && steps::are_bounded(tree),
    }
}

/// The tests of a canonical tree, in the order they are written, those that are unknown among them.
pub(crate) fn tests(tree: &Node) -> Formula<Test<'_>> {
    formula::of(tree)
}
