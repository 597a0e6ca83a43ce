//! The value of a filter, or of a part of it, for one event.
//!
//! Errors are values here, as in CEL: `&&` and `||` absorb an error when the other operand decides, in
//! either order.

use std::fmt;
use std::rc::Rc;

use crate::convert::{self, WrongKind, Zone, convert};
use crate::function::Function;
use crate::limits;
use crate::literal::Literal;
use crate::regular::Regular;
use crate::tree::{Call, Kind, Macro, MacroName, Node, Operator, Type};
use crate::value::{Key, Map, Text, Value, steps_of};

/// Why an evaluation has no value.
#[derive(Clone, Debug)]
pub(crate) enum Fault<'a> {
    /// The map has no such key.
    NoKey(Key<'a>),
    /// The operation does not take these kinds.
    NoOverload(&'static str, Type, Option<Type>),
    /// Neither true nor false where one is needed.
    NotBool(Type),
    DivisionByZero,
    /// Beyond the range of the result's kind.
    Range(&'static str),
    /// An index outside of the list.
    NoElement,
    /// A text, or another value, that a conversion cannot read.
    Invalid(&'static str, String),
    RepeatedKey,
    /// A pattern that is no constant, and no regular expression.
    Pattern(String),
    /// Beyond [`limits::STEPS`].
    TooManySteps,
}

impl fmt::Display for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NoKey(Key::String(name)) => write!(f, "there is no field `{}`", &**name),
            Fault::NoKey(Key::Bool(key)) => write!(f, "there is no key `{key}`"),
            Fault::NoKey(Key::Int(key)) => write!(f, "there is no key `{key}`"),
            Fault::NoKey(Key::Uint(key)) => write!(f, "there is no key `{key}u`"),
            Fault::NoOverload(operation, kind, None) => {
                write!(f, "`{operation}` does not take {}", kind.words())
            }
            Fault::NoOverload(operation, left, Some(right)) => {
                write!(
                    f,
                    "`{operation}` does not take {} and {}",
                    left.words(),
                    right.words()
                )
            }
            Fault::NotBool(kind) => write!(f, "{} is neither true nor false", kind.words()),
            Fault::DivisionByZero => write!(f, "division by zero"),
            Fault::Range(operation) => write!(f, "the result of `{operation}` is out of range"),
            Fault::NoElement => write!(f, "the index is outside of the list"),
            Fault::Invalid(function, value) => write!(f, "`{function}` cannot read `{value}`"),
            Fault::RepeatedKey => write!(f, "a key of the map is repeated"),
            Fault::Pattern(reason) => write!(f, "the pattern is refused: {reason}"),
            Fault::TooManySteps => write!(f, "the evaluation takes too many steps"),
        }
    }
}

type Result<'a, T = Value<'a>> = std::result::Result<T, Fault<'a>>;

/// Evaluates filters on one event.
pub(crate) struct Evaluator<'a> {
    event: Value<'a>,
    record: Value<'a>,
    /// What the macros around the node being evaluated stand at, outermost first.
    locals: Vec<Value<'a>>,
    budget: u64,
    steps: u64,
}

/// The value of a node that is [constant](Node::is_constant).
pub(crate) fn constant(node: &Node) -> Result<'_> {
    Evaluator::new(Value::Null, Value::Null, 0).value(node)
}

impl<'a> Evaluator<'a> {
    /// For an event of so many `bytes`. `record` may be null if the filters do not use it.
    pub(crate) fn new(event: Value<'a>, record: Value<'a>, bytes: usize) -> Self {
        let budget = limits::STEPS + limits::STEPS_PER_BYTE * bytes as u64;
        Self {
            event,
            record,
            locals: Vec::new(),
            budget,
            steps: 0,
        }
    }

    /// The value of a filter, or of a part of it that stands in no macro.
    pub(crate) fn value(&mut self, node: &'a Node) -> Result<'a> {
        self.steps = 0;
        self.locals.clear();
        self.eval(node)
    }

    fn spend(&mut self, steps: u64) -> Result<'a, ()> {
        self.steps += steps;
        if self.steps > self.budget {
            Err(Fault::TooManySteps)
        } else {
            Ok(())
        }
    }

    /// The value of a path that begins at a variable, without evaluating what leads to it.
    fn path(&self, node: &'a Node) -> Option<Result<'a, &Value<'a>>> {
        Some(match &node.kind {
            Kind::Event => Ok(&self.event),
            Kind::Record => Ok(&self.record),
            Kind::Local(_, slot) => Ok(&self.locals[*slot]),
            Kind::Select(operand, field) => {
                self.path(operand)?.and_then(|value| select(value, field))
            }
            _ => return None,
        })
    }

    fn eval(&mut self, node: &'a Node) -> Result<'a> {
        self.spend(1)?;
        if let Some(found) = self.path(node) {
            return found.cloned();
        }
        match &node.kind {
            Kind::Literal(literal) => Ok(literal_value(literal)),
            Kind::Type(kind) => Ok(Value::Type(*kind)),
            Kind::Select(operand, field) => {
                let operand = self.eval(operand)?;
                select(&operand, field).cloned()
            }
            Kind::Has(operand, field) => match self.eval(operand)? {
                Value::Map(map) => Ok(Value::Bool(map.field(field).is_some())),
                other => Err(Fault::NoOverload("has", other.kind(), None)),
            },
            Kind::Index(nodes) => {
                let operand = self.eval(&nodes[0])?;
                let index = self.eval(&nodes[1])?;
                element(&operand, &index)
            }
            Kind::List(nodes) => {
                let mut elements = Vec::with_capacity(nodes.len());
                for node in nodes {
                    elements.push(self.eval(node)?);
                }
                self.list(elements)
            }
            Kind::Map(nodes) => {
                let mut entries = Vec::with_capacity(nodes.len());
                for [key, value] in nodes {
                    let key = match self.eval(key)? {
                        Value::Double(_) => {
                            return Err(Fault::NoOverload("{…}", Type::Double, None));
                        }
                        key => {
                            Key::probe(&key).ok_or(Fault::NoOverload("{…}", key.kind(), None))?
                        }
                    };
                    entries.push((key, self.eval(value)?));
                }
                Map::distinct(entries)
                    .map(|map| Value::Map(map.into()))
                    .ok_or(Fault::RepeatedKey)
            }
            Kind::Not(operand) => self.condition(operand).map(|value| Value::Bool(!value)),
            Kind::Negate(operand) => match self.eval(operand)? {
                Value::Int(value) => value.checked_neg().map(Value::Int).ok_or(Fault::Range("-")),
                Value::Double(value) => Ok(Value::Double(-value)),
                other => Err(Fault::NoOverload("-", other.kind(), None)),
            },
            Kind::And(operands) => self.junction(operands, false),
            Kind::Or(operands) => self.junction(operands, true),
            Kind::Conditional(nodes) => {
                let [condition, first, second] = &**nodes;
                if self.condition(condition)? {
                    self.eval(first)
                } else {
                    self.eval(second)
                }
            }
            Kind::Binary(operator, nodes) => {
                let left = self.eval(&nodes[0])?;
                if let (Operator::In, Kind::List(elements)) = (operator, &nodes[1].kind)
                    && elements.iter().all(Node::is_literal)
                {
                    return self.in_literals(&left, elements);
                }
                let right = self.eval(&nodes[1])?;
                self.binary(*operator, left, right)
            }
            Kind::Call(call) => self.call(call),
            Kind::Macro(each) => self.each(each),
            // Taken by `path`.
            Kind::Event | Kind::Record | Kind::Local(..) => Ok(Value::Null),
        }
    }

    fn condition(&mut self, node: &'a Node) -> Result<'a, bool> {
        match self.eval(node)? {
            Value::Bool(value) => Ok(value),
            other => Err(Fault::NotBool(other.kind())),
        }
    }

    /// `&&` if false decides, `||` if true does. What decides wins over any error.
    fn junction(&mut self, operands: &'a [Node], decides: bool) -> Result<'a> {
        let mut junction = Junction {
            decides,
            fault: None,
        };
        for operand in operands {
            if junction.add(self.condition(operand))? {
                return Ok(Value::Bool(decides));
            }
        }
        junction.end()
    }

    fn each(&mut self, each: &'a Macro) -> Result<'a> {
        let elements = match self.eval(&each.range)? {
            Value::List(elements) => elements,
            Value::Map(map) => {
                self.spend(limits::STEPS_PER_MADE * map.entries().len() as u64)?;
                Rc::new(map.entries().iter().map(|(key, _)| key.value()).collect())
            }
            other => return Err(Fault::NoOverload(each.name.as_str(), other.kind(), None)),
        };
        let slot = self.locals.len();
        self.locals.push(Value::Null);
        let value = self.elements(each, slot, &elements);
        self.locals.truncate(slot);
        value
    }

    fn elements(&mut self, each: &'a Macro, slot: usize, elements: &[Value<'a>]) -> Result<'a> {
        let decides = each.name == MacroName::Exists;
        let mut junction = Junction {
            decides,
            fault: None,
        };
        let mut found = 0_usize;
        let mut made = Vec::new();
        for element in elements {
            self.spend(1)?;
            self.locals[slot] = element.clone();
            match each.name {
                MacroName::All | MacroName::Exists => {
                    if junction.add(self.condition(&each.body))? {
                        return Ok(Value::Bool(decides));
                    }
                }
                MacroName::ExistsOne => found += usize::from(self.condition(&each.body)?),
                MacroName::Filter => {
                    if self.condition(&each.body)? {
                        self.spend(limits::STEPS_PER_MADE)?;
                        made.push(element.clone());
                    }
                }
                MacroName::Map => {
                    let wanted = match &each.condition {
                        Some(condition) => self.condition(condition)?,
                        None => true,
                    };
                    if wanted {
                        self.spend(limits::STEPS_PER_MADE)?;
                        made.push(self.eval(&each.body)?);
                    }
                }
            }
        }
        match each.name {
            MacroName::All | MacroName::Exists => junction.end(),
            MacroName::ExistsOne => Ok(Value::Bool(found == 1)),
            MacroName::Filter | MacroName::Map => Ok(Value::List(made.into())),
        }
    }

    fn list(&mut self, elements: Vec<Value<'a>>) -> Result<'a> {
        self.spend(limits::STEPS_PER_MADE * elements.len() as u64)?;
        Ok(Value::List(elements.into()))
    }

    /// Counts a text about to be made of so many bytes.
    fn make_text(&mut self, bytes: usize) -> Result<'a, ()> {
        self.spend(limits::STEPS_PER_MADE * (bytes as u64 / 8 + 1))
    }

    fn equals(&mut self, left: &Value<'a>, right: &Value<'a>) -> Result<'a, bool> {
        let mut steps = 0;
        let equal = left.equals(right, &mut steps);
        self.spend(steps)?;
        Ok(equal)
    }

    fn binary(&mut self, operator: Operator, left: Value<'a>, right: Value<'a>) -> Result<'a> {
        use Operator as O;
        match operator {
            O::Equal => self.equals(&left, &right).map(Value::Bool),
            O::NotEqual => self.equals(&left, &right).map(|equal| Value::Bool(!equal)),
            O::Less | O::LessEqual | O::Greater | O::GreaterEqual => {
                self.spend(steps_of(left.weight().min(right.weight())))?;
                let Ok(order) = left.order(&right) else {
                    return Err(Fault::NoOverload(
                        operator.as_str(),
                        left.kind(),
                        Some(right.kind()),
                    ));
                };
                Ok(Value::Bool(order.is_some_and(|order| match operator {
                    O::Less => order.is_lt(),
                    O::LessEqual => order.is_le(),
                    O::Greater => order.is_gt(),
                    _ => order.is_ge(),
                })))
            }
            O::In => match &right {
                Value::List(elements) => {
                    for element in elements.iter() {
                        if self.equals(&left, element)? {
                            return Ok(Value::Bool(true));
                        }
                    }
                    Ok(Value::Bool(false))
                }
                Value::Map(map) => match (Key::probe(&left), &left) {
                    (Some(key), _) => Ok(Value::Bool(map.get(&key).is_some())),
                    // A number, but no key of any map.
                    (None, Value::Double(_)) => Ok(Value::Bool(false)),
                    _ => Err(Fault::NoOverload("in", left.kind(), Some(Type::Map))),
                },
                other => Err(Fault::NoOverload("in", left.kind(), Some(other.kind()))),
            },
            O::Add | O::Subtract | O::Multiply | O::Divide | O::Modulo => {
                self.arithmetic(operator, left, right)
            }
        }
    }

    /// `left in ["a", "b"]`, without making the list.
    fn in_literals(&mut self, left: &Value<'a>, elements: &'a [Node]) -> Result<'a> {
        for element in elements {
            if let Kind::Literal(literal) = &element.kind
                && self.equals(left, &literal_value(literal))?
            {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    }

    fn arithmetic(&mut self, operator: Operator, left: Value<'a>, right: Value<'a>) -> Result<'a> {
        use Operator as O;
        use Value as V;
        let no_overload = Fault::NoOverload(operator.as_str(), left.kind(), Some(right.kind()));
        let result = match (operator, left, right) {
            (O::Divide | O::Modulo, V::Int(_), V::Int(0))
            | (O::Divide | O::Modulo, V::Uint(_), V::Uint(0)) => {
                return Err(Fault::DivisionByZero);
            }
            (O::Add, V::Int(a), V::Int(b)) => a.checked_add(b).map(V::Int),
            (O::Subtract, V::Int(a), V::Int(b)) => a.checked_sub(b).map(V::Int),
            (O::Multiply, V::Int(a), V::Int(b)) => a.checked_mul(b).map(V::Int),
            (O::Divide, V::Int(a), V::Int(b)) => a.checked_div(b).map(V::Int),
            (O::Modulo, V::Int(a), V::Int(b)) => a.checked_rem(b).map(V::Int),
            (O::Add, V::Uint(a), V::Uint(b)) => a.checked_add(b).map(V::Uint),
            (O::Subtract, V::Uint(a), V::Uint(b)) => a.checked_sub(b).map(V::Uint),
            (O::Multiply, V::Uint(a), V::Uint(b)) => a.checked_mul(b).map(V::Uint),
            (O::Divide, V::Uint(a), V::Uint(b)) => a.checked_div(b).map(V::Uint),
            (O::Modulo, V::Uint(a), V::Uint(b)) => a.checked_rem(b).map(V::Uint),
            (O::Add, V::Double(a), V::Double(b)) => Some(V::Double(a + b)),
            (O::Subtract, V::Double(a), V::Double(b)) => Some(V::Double(a - b)),
            (O::Multiply, V::Double(a), V::Double(b)) => Some(V::Double(a * b)),
            (O::Divide, V::Double(a), V::Double(b)) => Some(V::Double(a / b)),
            (O::Add, V::String(a), V::String(b)) => {
                self.make_text(a.len() + b.len())?;
                Some(V::String(Text::from([&*a, &*b].concat())))
            }
            (O::Add, V::Bytes(a), V::Bytes(b)) => {
                self.make_text(a.len() + b.len())?;
                Some(V::Bytes([&*a, &*b].concat().into()))
            }
            (O::Add, V::List(a), V::List(b)) => {
                self.spend(limits::STEPS_PER_MADE * (a.len() + b.len()) as u64)?;
                Some(V::List(Rc::new(
                    a.iter().chain(b.iter()).cloned().collect(),
                )))
            }
            (O::Add, V::Duration(a), V::Duration(b)) => a.checked_add(b).map(V::Duration),
            (O::Subtract, V::Duration(a), V::Duration(b)) => a.checked_sub(b).map(V::Duration),
            (O::Add, V::Timestamp(time), V::Duration(span))
            | (O::Add, V::Duration(span), V::Timestamp(time)) => {
                convert::timestamp(time + i128::from(span))
            }
            (O::Subtract, V::Timestamp(time), V::Duration(span)) => {
                convert::timestamp(time - i128::from(span))
            }
            (O::Subtract, V::Timestamp(a), V::Timestamp(b)) => {
                i64::try_from(a - b).ok().map(V::Duration)
            }
            _ => return Err(no_overload),
        };
        result.ok_or(Fault::Range(operator.as_str()))
    }

    fn call(&mut self, call: &'a Call) -> Result<'a> {
        use Function as F;
        let function = call.function;
        let name = function.as_str();
        let [first, rest @ ..] = call.arguments.as_slice() else {
            // Every standard function has an argument, and the checker has counted them.
            return Err(Fault::Invalid(name, String::new()));
        };
        let first = self.eval(first)?;
        let second = match rest.first() {
            // A compiled pattern is not looked at again.
            Some(second) if call.regular.is_none() => Some(self.eval(second)?),
            _ => None,
        };
        let no_overload =
            || Fault::NoOverload(name, first.kind(), second.as_ref().map(Value::kind));
        match (function, &first, &second) {
            (F::Dyn, _, _) => Ok(first),
            (F::Type, _, _) => Ok(Value::Type(first.kind())),
            (F::Size, _, _) => {
                self.spend(steps_of(first.weight()))?;
                let size = match &first {
                    Value::String(text) => text.chars().count(),
                    Value::Bytes(bytes) => bytes.len(),
                    Value::List(elements) => elements.len(),
                    Value::Map(map) => map.entries().len(),
                    _ => return Err(no_overload()),
                };
                i64::try_from(size)
                    .map(Value::Int)
                    .map_err(|_| Fault::Range(name))
            }
            (
                F::Contains | F::StartsWith | F::EndsWith,
                Value::String(text),
                Some(Value::String(part)),
            ) => {
                self.spend(steps_of(if function == F::Contains {
                    text.len()
                } else {
                    part.len()
                }))?;
                Ok(Value::Bool(match function {
                    F::Contains => text.contains(&**part),
                    F::StartsWith => text.starts_with(&**part),
                    _ => text.ends_with(&**part),
                }))
            }
            (F::Matches, Value::String(text), pattern) => {
                // The automaton is slower than a comparison.
                self.spend(steps_of(text.len() * 8))?;
                match (&call.regular, pattern) {
                    (Some(regular), _) => Ok(Value::Bool(regular.is_match(text))),
                    (None, Some(Value::String(pattern))) => {
                        self.spend(limits::REGEX_STEPS + pattern.len() as u64)?;
                        let regular =
                            Regular::new(pattern).map_err(|fault| Fault::Pattern(fault.message))?;
                        Ok(Value::Bool(regular.is_match(text)))
                    }
                    _ => Err(no_overload()),
                }
            }
            (F::Contains | F::StartsWith | F::EndsWith | F::Matches, _, _) => Err(no_overload()),
            (
                F::Bool
                | F::Bytes
                | F::Double
                | F::Duration
                | F::Int
                | F::String
                | F::Timestamp
                | F::Uint,
                _,
                _,
            ) => {
                self.make_text(first.weight())?;
                match convert(function, &first) {
                    Ok(Some(value)) => Ok(value),
                    Ok(None) => Err(Fault::Invalid(name, shown(&first))),
                    Err(WrongKind) => Err(no_overload()),
                }
            }
            (_, Value::Duration(nanos), None) => convert::duration_part(function, *nanos)
                .map(Value::Int)
                .ok_or_else(no_overload),
            (_, Value::Timestamp(nanos), None) => convert::timestamp_part(function, *nanos, None)
                .map(Value::Int)
                .ok_or(Fault::Range(name)),
            (_, Value::Timestamp(nanos), Some(Value::String(zone))) => {
                let zone = Zone::parse(zone)
                    .ok_or_else(|| Fault::Invalid(name, shown(&Value::String(zone.clone()))))?;
                convert::timestamp_part(function, *nanos, Some(&zone))
                    .map(Value::Int)
                    .ok_or(Fault::Range(name))
            }
            _ => Err(no_overload()),
        }
    }
}

/// `&&` or `||` over any number of operands.
struct Junction<'a> {
    decides: bool,
    fault: Option<Fault<'a>>,
}

impl<'a> Junction<'a> {
    /// Whether this operand decides.
    fn add(&mut self, operand: Result<'a, bool>) -> Result<'a, bool> {
        match operand {
            Ok(value) => Ok(value == self.decides),
            // Going on would only spend more.
            Err(Fault::TooManySteps) => Err(Fault::TooManySteps),
            Err(fault) => {
                self.fault.get_or_insert(fault);
                Ok(false)
            }
        }
    }

    /// The value when no operand decided.
    fn end(self) -> Result<'a> {
        self.fault.map_or(Ok(Value::Bool(!self.decides)), Err)
    }
}

fn select<'v, 'a>(value: &'v Value<'a>, field: &'a str) -> Result<'a, &'v Value<'a>> {
    match value {
        Value::Map(map) => map
            .field(field)
            .ok_or(Fault::NoKey(Key::String(Text::Borrowed(field)))),
        other => Err(Fault::NoOverload(".", other.kind(), None)),
    }
}

/// `operand[index]`.
fn element<'a>(operand: &Value<'a>, index: &Value<'a>) -> Result<'a> {
    let key = Key::probe(index);
    match (operand, key) {
        (Value::Map(map), Some(key)) => map.get(&key).cloned().ok_or(Fault::NoKey(key)),
        (Value::List(elements), Some(Key::Int(at))) => usize::try_from(at)
            .ok()
            .and_then(|at| elements.get(at))
            .cloned()
            .ok_or(Fault::NoElement),
        (Value::List(elements), Some(Key::Uint(at))) => usize::try_from(at)
            .ok()
            .and_then(|at| elements.get(at))
            .cloned()
            .ok_or(Fault::NoElement),
        _ => Err(Fault::NoOverload("[…]", operand.kind(), Some(index.kind()))),
    }
}

fn literal_value(literal: &Literal) -> Value<'_> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::String(value) => Value::text(value),
        Literal::Bytes(value) => Value::Bytes((**value).into()),
    }
}

/// A value for people, at most [`limits::EXPLAINED_VALUE_CHARS`] characters and a mark.
pub(crate) fn shown(value: &Value<'_>) -> String {
    let mut text = String::new();
    show(value, &mut text);
    match text.char_indices().nth(limits::EXPLAINED_VALUE_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn show(value: &Value<'_>, out: &mut String) {
    // More would be cut off.
    if out.len() > limits::EXPLAINED_VALUE_CHARS * 4 {
        return;
    }
    match value {
        Value::Null => Literal::Null.write(out),
        Value::Bool(value) => Literal::Bool(*value).write(out),
        Value::Int(value) => Literal::Int(*value).write(out),
        Value::Uint(value) => Literal::Uint(*value).write(out),
        Value::Double(value) => Literal::Double(*value).write(out),
        Value::String(text) => {
            let end = text
                .char_indices()
                .nth(limits::EXPLAINED_VALUE_CHARS)
                .map_or(text.len(), |(at, _)| at);
            crate::literal::write_string(&text[..end], out);
        }
        Value::Bytes(bytes) => {
            let end = bytes.len().min(limits::EXPLAINED_VALUE_CHARS);
            Literal::Bytes(bytes[..end].into()).write(out);
        }
        Value::List(elements) => {
            out.push('[');
            for (at, element) in elements
                .iter()
                .take(limits::EXPLAINED_VALUE_CHARS)
                .enumerate()
            {
                out.push_str(if at > 0 { ", " } else { "" });
                show(element, out);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (at, (key, value)) in map
                .entries()
                .iter()
                .take(limits::EXPLAINED_VALUE_CHARS)
                .enumerate()
            {
                out.push_str(if at > 0 { ", " } else { "" });
                show(&key.value(), out);
                out.push_str(": ");
                show(value, out);
            }
            out.push('}');
        }
        Value::Timestamp(nanos) => {
            out.push_str(&convert::format_timestamp(*nanos).unwrap_or_default())
        }
        Value::Duration(nanos) => out.push_str(&convert::format_duration(*nanos)),
        Value::Type(kind) => out.push_str(kind.as_str()),
    }
}
