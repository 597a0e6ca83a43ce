//! One clause as a test of one field.

use std::sync::Arc;

use super::formula::Formula;
use crate::function::Function;
use crate::literal::Literal;
use crate::regular::{Plain, Regular};
use crate::tree::{Call, Kind, Macro, MacroName, Node, Operator};

/// Whether the value at a path is as wanted.
#[derive(Debug)]
pub(crate) struct Test<'n> {
    /// The clause.
    pub(crate) node: &'n Node,
    /// What the clause has to be.
    pub(crate) want: bool,
    /// Names below the event, outermost first.
    pub(crate) path: Vec<&'n str>,
    pub(crate) op: Op<'n>,
}

/// What a test asks. None of them holds for a path that leads through something that is no object.
#[derive(Debug)]
pub(crate) enum Op<'n> {
    /// The value equals one of these.
    In(Vec<Constant<'n>>),
    /// There is a value, and it equals none of these.
    NotIn(Vec<Constant<'n>>),
    Present,
    /// The object around it is there, and lacks it.
    Missing,
    /// It is a number that compares so. For [`Operator::NotEqual`] anything else that is there holds too.
    Number(Operator, Bound),
    /// It is a text that compares so.
    Order(Operator, &'n str),
    /// It is a text, and whether it begins so, or its like, is the last.
    Text(TextOp, &'n str, bool),
    Matches(&'n Arc<Regular>, bool),
    /// It is a list, or an object's names; whether one element equals one of these is the last.
    Member(Vec<Constant<'n>>, bool),
    /// Its size compares so.
    Size(Operator, i64),
    /// Something else, of any number of fields.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextOp {
    StartsWith,
    EndsWith,
    Contains,
}

/// What a value of JSON can equal. Numbers of every kind that are equal are equal here, which only those
/// within [`VALUE_LIMIT`] can be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Constant<'n> {
    Null,
    Bool(bool),
    Number(f64),
    Text(&'n str),
}

/// Below it in magnitude ints, uints and doubles are equal if their doubles are. From it on an int equals a
/// double that equals another int too, so that these numbers have no value that could be looked up.
pub(crate) const VALUE_LIMIT: f64 = 9_007_199_254_740_992.0;

/// A number to compare with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    /// All numbers compare with it as doubles: a double, or an int within [`VALUE_LIMIT`].
    Double(f64),
    /// Ints and uints compare with it exactly, doubles as doubles.
    Integer(i128),
}

impl Op<'_> {
    /// How long it takes, roughly.
    pub(super) fn effort(&self) -> u8 {
        match self {
            Op::In(_) | Op::NotIn(_) | Op::Present | Op::Missing => 0,
            Op::Number(..) => 1,
            Op::Order(..) | Op::Text(TextOp::StartsWith | TextOp::EndsWith, ..) => 2,
            Op::Text(TextOp::Contains, ..) | Op::Size(..) => 3,
            Op::Member(..) => 4,
            Op::Matches(..) | Op::Unknown => 5,
        }
    }
}

/// The names that lead to `node` from the event; `None` if it is no such path.
fn path(node: &Node) -> Option<Vec<&str>> {
    match &node.kind {
        Kind::Event => Some(Vec::new()),
        Kind::Select(operand, field) => {
            let mut names = path(operand)?;
            names.push(field);
            Some(names)
        }
        _ => None,
    }
}

impl<'n> Test<'n> {
    pub(super) fn unknown(node: &'n Node, want: bool) -> Self {
        Self {
            node,
            want,
            path: Vec::new(),
            op: Op::Unknown,
        }
    }
}

/// A clause, and what it has to be.
#[derive(Clone, Copy)]
struct Clause<'n> {
    node: &'n Node,
    want: bool,
}

impl<'n> Clause<'n> {
    fn test(self, path: Vec<&'n str>, op: Op<'n>) -> Formula<Test<'n>> {
        Formula::Test(Test {
            node: self.node,
            want: self.want,
            path,
            op,
        })
    }

    fn binary(
        self,
        operator: Operator,
        left: &'n Node,
        right: &'n Node,
    ) -> Option<Formula<Test<'n>>> {
        use Operator as O;
        match (operator, &right.kind) {
            (O::Equal, Kind::Literal(literal)) if !is_size(left) => {
                Some(self.one_of(path(left)?, std::iter::once(literal), self.want))
            }
            (O::NotEqual, Kind::Literal(literal)) if !is_size(left) => {
                Some(self.one_of(path(left)?, std::iter::once(literal), !self.want))
            }
            (O::In, Kind::List(elements)) => {
                let path = path(left)?;
                let literals: Option<Vec<_>> = elements.iter().map(literal).collect();
                Some(self.one_of(path, literals?.into_iter(), self.want))
            }
            (O::In, _) => {
                let path = path(right)?;
                let constants = match numbered(literal(left)?) {
                    Ok(constant) => constant.into_iter().collect(),
                    Err(_) => return None,
                };
                let op = Op::Member(constants, self.want);
                Some(self.test(path, op))
            }
            (_, Kind::Literal(literal)) => {
                let operator = if self.want {
                    operator
                } else {
                    negated(operator)?
                };
                if let Kind::Call(call) = &left.kind {
                    let (Function::Size, Literal::Int(size)) = (call.function, literal) else {
                        return None;
                    };
                    operator.mirrored()?;
                    let path = path(call.arguments.first()?)?;
                    let op = Op::Size(operator, *size);
                    return Some(self.test(path, op));
                }
                let path = path(left)?;
                operator.mirrored()?;
                let op = match literal {
                    Literal::String(text) => Op::Order(operator, text),
                    literal => Op::Number(operator, bound(literal)?),
                };
                Some(self.test(path, op))
            }
            _ => None,
        }
    }

    /// Whether the value at `path` equals one of `literals` is `want`.
    fn one_of(
        self,
        path: Vec<&'n str>,
        literals: impl Iterator<Item = &'n Literal>,
        want: bool,
    ) -> Formula<Test<'n>> {
        let mut constants = Vec::new();
        let mut parts = Vec::new();
        let operator = if want {
            Operator::Equal
        } else {
            Operator::NotEqual
        };
        for literal in literals {
            match numbered(literal) {
                Ok(Some(constant)) if !constants.contains(&constant) => constants.push(constant),
                Ok(_) => {}
                Err(bound) => parts.push(self.test(path.clone(), Op::Number(operator, bound))),
            }
        }
        if want {
            if !constants.is_empty() {
                parts.push(self.test(path, Op::In(constants)));
            }
            return Formula::Any(parts);
        }
        let op = if constants.is_empty() {
            Op::Present
        } else {
            Op::NotIn(constants)
        };
        parts.push(self.test(path, op));
        Formula::All(parts)
    }

    fn search(self, call: &'n Call) -> Option<Formula<Test<'n>>> {
        let path = path(call.arguments.first()?)?;
        let operation = match call.function {
            Function::Matches => return Some(self.pattern(path, call.regular.as_ref()?)),
            Function::StartsWith => TextOp::StartsWith,
            Function::EndsWith => TextOp::EndsWith,
            Function::Contains => TextOp::Contains,
            _ => return None,
        };
        let Literal::String(part) = literal(call.arguments.get(1)?)? else {
            return None;
        };
        let op = Op::Text(operation, part, self.want);
        Some(self.test(path, op))
    }

    /// A pattern that is no more than texts is looked for as they are.
    fn pattern(self, path: Vec<&'n str>, regular: &'n Arc<Regular>) -> Formula<Test<'n>> {
        let Some(plain) = regular.plain() else {
            return self.test(path, Op::Matches(regular, self.want));
        };
        let mut parts = Vec::with_capacity(plain.len());
        let mut whole = Vec::new();
        for Plain {
            text,
            at_start,
            at_end,
        } in plain
        {
            let operation = match (at_start, at_end) {
                (true, true) => {
                    whole.push(Constant::Text(text));
                    continue;
                }
                (true, false) => TextOp::StartsWith,
                (false, true) => TextOp::EndsWith,
                (false, false) => TextOp::Contains,
            };
            let op = Op::Text(operation, text, self.want);
            parts.push(self.test(path.clone(), op));
        }
        let op = match (whole.is_empty(), self.want) {
            (true, _) => None,
            (false, true) => Some(Op::In(whole)),
            (false, false) => {
                // What is no text neither matches nor does not.
                let is_text = Op::Text(TextOp::StartsWith, "", true);
                parts.push(self.test(path.clone(), is_text));
                Some(Op::NotIn(whole))
            }
        };
        parts.extend(op.map(|op| self.test(path, op)));
        if self.want {
            Formula::Any(parts)
        } else {
            Formula::All(parts)
        }
    }

    /// `list.exists(x, x == 1)` and `list.exists(x, x in [1, 2])`.
    fn exists(self, each: &'n Macro) -> Option<Formula<Test<'n>>> {
        let (MacroName::Exists, Kind::Binary(operator, nodes)) = (each.name, &each.body.kind)
        else {
            return None;
        };
        let [variable, constants] = &**nodes;
        // Not inside of another macro, so this one's variable is the first.
        if !matches!(variable.kind, Kind::Local(_, 0)) {
            return None;
        }
        let literals = match (operator, &constants.kind) {
            (Operator::Equal, Kind::Literal(literal)) => vec![literal],
            (Operator::In, Kind::List(elements)) => {
                elements.iter().map(literal).collect::<Option<Vec<_>>>()?
            }
            _ => return None,
        };
        let mut constants = Vec::new();
        for literal in literals {
            constants.extend(numbered(literal).ok()?);
        }
        let path = path(&each.range)?;
        let op = Op::Member(constants, self.want);
        Some(self.test(path, op))
    }
}

/// Whether the clause `node` is `want`.
pub(super) fn of(node: &Node, want: bool) -> Formula<Test<'_>> {
    let clause = Clause { node, want };
    let found = match &node.kind {
        Kind::Has(operand, field) => path(operand).map(|mut path| {
            path.push(field);
            let op = if want { Op::Present } else { Op::Missing };
            clause.test(path, op)
        }),
        Kind::Binary(operator, nodes) => clause.binary(*operator, &nodes[0], &nodes[1]),
        Kind::Call(call) => clause.search(call),
        Kind::Macro(each) => clause.exists(each),
        _ => path(node).map(|path| {
            let op = Op::In(vec![Constant::Bool(want)]);
            clause.test(path, op)
        }),
    };
    found.unwrap_or_else(|| Formula::Test(Test::unknown(node, want)))
}

fn is_size(node: &Node) -> bool {
    matches!(&node.kind, Kind::Call(call) if call.function == Function::Size)
}

/// The comparison that is true where this one is false. There is no NaN in JSON.
fn negated(operator: Operator) -> Option<Operator> {
    Some(match operator {
        Operator::Equal => Operator::NotEqual,
        Operator::NotEqual => Operator::Equal,
        Operator::Less => Operator::GreaterEqual,
        Operator::LessEqual => Operator::Greater,
        Operator::Greater => Operator::LessEqual,
        Operator::GreaterEqual => Operator::Less,
        _ => return None,
    })
}

fn literal(node: &Node) -> Option<&Literal> {
    match &node.kind {
        Kind::Literal(literal) => Some(literal),
        _ => None,
    }
}

/// What a value of JSON has to be to equal `literal`; `None` if none does, `Err` for a number beyond
/// [`VALUE_LIMIT`].
fn numbered(literal: &Literal) -> Result<Option<Constant<'_>>, Bound> {
    Ok(match literal {
        Literal::Null => Some(Constant::Null),
        Literal::Bool(value) => Some(Constant::Bool(*value)),
        Literal::String(text) => Some(Constant::Text(text)),
        Literal::Bytes(_) => None,
        number => match bound(number) {
            // The sum makes both zeros one.
            Some(Bound::Double(value)) if value.abs() < VALUE_LIMIT => {
                Some(Constant::Number(value + 0.0))
            }
            Some(bound) => return Err(bound),
            None => None,
        },
    })
}

fn bound(literal: &Literal) -> Option<Bound> {
    let integer = match literal {
        Literal::Double(value) => return Some(Bound::Double(*value)),
        Literal::Int(value) => i128::from(*value),
        Literal::Uint(value) => i128::from(*value),
        _ => return None,
    };
    Some(if (integer as f64).abs() < VALUE_LIMIT {
        Bound::Double(integer as f64)
    } else {
        Bound::Integer(integer)
    })
}
