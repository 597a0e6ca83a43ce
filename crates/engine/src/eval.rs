//! The value of a filter, or of a part of it, for one event.
//!
//! Errors are values here, as in CEL: `&&` and `||` absorb an error when the other operand decides, in
//! either order.

use std::rc::Rc;

use crate::fault::Fault;
use crate::kind::Type;
use crate::limits;
use crate::literal::Literal;
use crate::tree::{Kind, Macro, MacroName, Node, Operator};
use crate::value::{Key, Map, Text, Value};

pub(crate) type Result<'a, T = Value<'a>> = std::result::Result<T, Fault<'a>>;

/// Evaluates filters on one event.
pub(crate) struct Evaluator<'a> {
    event: Value<'a>,
    record: Value<'a>,
    /// What the macros around the node being evaluated stand at, outermost first.
    locals: Vec<Value<'a>>,
    budget: u64,
    steps: u64,
    /// Steps of all calls of [`part`](Self::part).
    parts: u64,
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
            parts: 0,
        }
    }

    /// The value of a filter, or of a part of it that stands in no macro.
    pub(crate) fn value(&mut self, node: &'a Node) -> Result<'a> {
        self.steps = 0;
        self.locals.clear();
        self.eval(node)
    }

    /// The value of a part, whose steps count together with those of the parts before it; all of them may take
    /// as many as `filters` filters.
    pub(crate) fn part(&mut self, node: &'a Node, filters: u64) -> Result<'a> {
        let left = (self.budget * filters).saturating_sub(self.parts);
        self.steps = self.budget.saturating_sub(left);
        let before = self.steps;
        self.locals.clear();
        let value = self.eval(node);
        self.parts += self.steps - before;
        value
    }

    pub(crate) fn spend(&mut self, steps: u64) -> Result<'a, ()> {
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
            Kind::Local(_, slot) => Ok(self.locals.get(*slot)?),
            Kind::Select(operand, field) => {
                self.path(operand)?.and_then(|value| select(value, field))
            }
            _ => return None,
        })
    }

    pub(crate) fn eval(&mut self, node: &'a Node) -> Result<'a> {
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
            // Taken by `path`; a macro's variable is never evaluated outside of its macro.
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
    pub(crate) fn make_text(&mut self, bytes: usize) -> Result<'a, ()> {
        self.spend(limits::STEPS_PER_MADE * (bytes as u64 / 8 + 1))
    }

    pub(crate) fn equals(&mut self, left: &Value<'a>, right: &Value<'a>) -> Result<'a, bool> {
        let mut steps = 0;
        let equal = left.equals(right, &mut steps);
        self.spend(steps)?;
        Ok(equal)
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

pub(crate) fn literal_value(literal: &Literal) -> Value<'_> {
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
