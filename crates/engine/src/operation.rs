//! What operators and functions make of values.

use std::rc::Rc;

use crate::convert::{self, WrongKind, Zone, convert};
use crate::eval::{Evaluator, Result, literal_value};
use crate::fault::Fault;
use crate::function::Function;
use crate::kind::Type;
use crate::limits;
use crate::regular::Regular;
use crate::tree::{Call, Kind, Node, Operator};
use crate::value::{Key, Text, Value, shown, steps_of};

impl<'a> Evaluator<'a> {
    pub(crate) fn binary(
        &mut self,
        operator: Operator,
        left: Value<'a>,
        right: Value<'a>,
    ) -> Result<'a> {
        use Operator as O;
        match operator {
            O::Equal => self.equals(&left, &right).map(Value::Bool),
            O::NotEqual => self.equals(&left, &right).map(|equal| Value::Bool(!equal)),
            O::Less | O::LessEqual | O::Greater | O::GreaterEqual => {
                self.spend(steps_of(left.weight().min(right.weight())))?;
                let order = left.order(operator, &right)?;
                Ok(Value::Bool(match operator {
                    O::Less => order.is_lt(),
                    O::LessEqual => order.is_le(),
                    O::Greater => order.is_gt(),
                    _ => order.is_ge(),
                }))
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
    pub(crate) fn in_literals(&mut self, left: &Value<'a>, elements: &'a [Node]) -> Result<'a> {
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

    pub(crate) fn call(&mut self, call: &'a Call) -> Result<'a> {
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
