//! From a tree to tests, joined.

use super::test::{self, Op, Test};
use crate::literal::Literal;
use crate::tree::{Kind, Node};

/// What has to hold of an event.
#[derive(Debug)]
pub(crate) enum Formula<T> {
    /// All of these; if there are none, it always holds.
    All(Vec<Formula<T>>),
    /// One of these; if there are none, it never holds.
    Any(Vec<Formula<T>>),
    Test(T),
}

/// Tests of one filter. A conditional's condition is tested twice, so that nested ones double; beyond this
/// many the rest is unknown.
const MAX_TESTS: usize = 1_024;

/// The formula of a tree, with tests of [`Op::Unknown`].
pub(super) fn of(tree: &Node) -> Formula<Test<'_>> {
    let mut left = MAX_TESTS;
    wanted(tree, true, &mut left)
}

/// The same without the unknown, which is taken to hold, and whether there was none. No formula inside of it is
/// constant or like the one around it, and cheap ones come first.
pub(super) fn known(formula: Formula<Test<'_>>) -> (Formula<Test<'_>>, bool) {
    let mut complete = true;
    (simplified(formula, &mut complete), complete)
}

/// Whether `node` is `want`.
fn wanted<'n>(node: &'n Node, want: bool, left: &mut usize) -> Formula<Test<'n>> {
    let mut each = |nodes: &'n [Node]| nodes.iter().map(|node| wanted(node, want, left)).collect();
    match &node.kind {
        Kind::Literal(Literal::Bool(value)) if *value == want => Formula::ALWAYS,
        Kind::Literal(_) => Formula::NEVER,
        Kind::Not(operand) => wanted(operand, !want, left),
        Kind::And(operands) if want => Formula::All(each(operands)),
        Kind::And(operands) => Formula::Any(each(operands)),
        Kind::Or(operands) if want => Formula::Any(each(operands)),
        Kind::Or(operands) => Formula::All(each(operands)),
        _ if *left == 0 => Formula::Test(Test::unknown(node, want)),
        Kind::Conditional(nodes) => {
            *left -= 1;
            let [condition, first, second] = &**nodes;
            let mut branch = |chosen, node| {
                let condition = wanted(condition, chosen, left);
                Formula::All(vec![condition, wanted(node, want, left)])
            };
            Formula::Any(vec![branch(true, first), branch(false, second)])
        }
        _ => {
            *left -= 1;
            test::of(node, want)
        }
    }
}

impl<T> Formula<T> {
    pub(crate) const ALWAYS: Self = Formula::All(Vec::new());
    pub(crate) const NEVER: Self = Formula::Any(Vec::new());

    pub(crate) fn is_always(&self) -> bool {
        matches!(self, Formula::All(parts) if parts.is_empty())
    }

    pub(crate) fn is_never(&self) -> bool {
        matches!(self, Formula::Any(parts) if parts.is_empty())
    }

    /// How many tests there are.
    pub(crate) fn tests(&self) -> usize {
        match self {
            Formula::All(parts) | Formula::Any(parts) => parts.iter().map(Formula::tests).sum(),
            Formula::Test(_) => 1,
        }
    }

    /// Calls `visit` for every test.
    pub(crate) fn each_test<'f>(&'f self, visit: &mut impl FnMut(&'f T)) {
        match self {
            Formula::All(parts) | Formula::Any(parts) => {
                parts.iter().for_each(|part| part.each_test(visit));
            }
            Formula::Test(test) => visit(test),
        }
    }

    /// The same of other tests.
    pub(crate) fn map<U>(self, make: &mut impl FnMut(T) -> U) -> Formula<U> {
        let mut each = |parts: Vec<Self>| parts.into_iter().map(|part| part.map(make)).collect();
        match self {
            Formula::All(parts) => Formula::All(each(parts)),
            Formula::Any(parts) => Formula::Any(each(parts)),
            Formula::Test(test) => Formula::Test(make(test)),
        }
    }
}

fn simplified<'n>(formula: Formula<Test<'n>>, complete: &mut bool) -> Formula<Test<'n>> {
    match formula {
        Formula::Test(Test {
            op: Op::Unknown, ..
        }) => {
            *complete = false;
            Formula::ALWAYS
        }
        Formula::Test(_) => formula,
        Formula::All(parts) => {
            let mut all = Vec::with_capacity(parts.len());
            for part in parts {
                match simplified(part, complete) {
                    part if part.is_never() => return Formula::NEVER,
                    Formula::All(parts) => all.extend(parts),
                    part => all.push(part),
                }
            }
            joined(all, Formula::All)
        }
        Formula::Any(parts) => {
            let mut any = Vec::with_capacity(parts.len());
            for part in parts {
                match simplified(part, complete) {
                    part if part.is_always() => return Formula::ALWAYS,
                    Formula::Any(parts) => any.extend(parts),
                    part => any.push(part),
                }
            }
            joined(any, Formula::Any)
        }
    }
}

type Parts<'n> = Vec<Formula<Test<'n>>>;

fn joined<'n>(mut parts: Parts<'n>, join: fn(Parts<'n>) -> Formula<Test<'n>>) -> Formula<Test<'n>> {
    if parts.len() == 1
        && let Some(part) = parts.pop()
    {
        return part;
    }
    parts.sort_by_key(|part| match part {
        Formula::Test(test) => test.op.effort(),
        _ => u8::MAX,
    });
    join(parts)
}
