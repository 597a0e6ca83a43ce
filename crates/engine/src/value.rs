//! Values of CEL: what an event, a constant or an operation is.

use std::cmp::Ordering;
use std::ops::Deref;
use std::rc::Rc;

use crate::convert;
use crate::fault::Fault;
use crate::kind::Type;
use crate::limits;
use crate::literal::{Literal, write_string};
use crate::tree::Operator;

/// A value. Cloning is cheap: texts are borrowed or shared, lists and maps shared.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Bytes(Rc<[u8]>),
    List(Rc<Vec<Value<'a>>>),
    Map(Rc<Map<'a>>),
    /// Nanoseconds since 1970, within the years 1 to 9999.
    Timestamp(i128),
    /// Nanoseconds.
    Duration(i64),
    Type(Type),
}

/// A text of the event or the filter, or one made from them.
#[derive(Clone, Debug)]
pub(crate) enum Text<'a> {
    Borrowed(&'a str),
    Shared(Rc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Shared(text) => text,
        }
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Text::Shared(text.into())
    }
}

/// A key of a map. Ints and uints of the same number are the same key.
#[derive(Clone, Debug)]
pub(crate) enum Key<'a> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    String(Text<'a>),
}

impl<'a> Key<'a> {
    /// `value` as a key to look up. A double without fraction finds the int of the same number.
    pub(crate) fn probe(value: &Value<'a>) -> Option<Key<'a>> {
        Some(match value {
            Value::Bool(value) => Key::Bool(*value),
            Value::Int(value) => Key::Int(*value),
            Value::Uint(value) => Key::Uint(*value),
            Value::String(value) => Key::String(value.clone()),
            Value::Double(value) => match exact_integer(*value) {
                Some(number) => match i64::try_from(number) {
                    Ok(number) => Key::Int(number),
                    Err(_) => Key::Uint(u64::try_from(number).ok()?),
                },
                None => return None,
            },
            _ => return None,
        })
    }

    pub(crate) fn value(&self) -> Value<'a> {
        match self {
            Key::Bool(value) => Value::Bool(*value),
            Key::Int(value) => Value::Int(*value),
            Key::Uint(value) => Value::Uint(*value),
            Key::String(value) => Value::String(value.clone()),
        }
    }

    /// An order in which equal keys, and only they, are equal.
    fn order(&self, other: &Key<'_>) -> Ordering {
        match (self, other) {
            (Key::Bool(a), Key::Bool(b)) => a.cmp(b),
            (Key::String(a), Key::String(b)) => (**a).cmp(&**b),
            (a, b) => match (a.number(), b.number()) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => a.rank().cmp(&b.rank()),
            },
        }
    }

    fn number(&self) -> Option<i128> {
        match self {
            Key::Int(value) => Some(i128::from(*value)),
            Key::Uint(value) => Some(i128::from(*value)),
            _ => None,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Key::Bool(_) => 0,
            Key::Int(_) | Key::Uint(_) => 1,
            Key::String(_) => 2,
        }
    }
}

/// A map, ordered by its keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Map<'a>(Vec<(Key<'a>, Value<'a>)>);

impl<'a> Map<'a> {
    /// Of equal keys the last counts, as in JSON.
    pub(crate) fn last_wins(mut entries: Vec<(Key<'a>, Value<'a>)>) -> Self {
        // Stable, so that equal keys stay in their order.
        entries.sort_by(|(a, _), (b, _)| a.order(b));
        entries.reverse();
        entries.dedup_by(|(a, _), (b, _)| a.order(b).is_eq());
        entries.reverse();
        Self(entries)
    }

    /// `None` if two keys are equal, as in CEL.
    pub(crate) fn distinct(mut entries: Vec<(Key<'a>, Value<'a>)>) -> Option<Self> {
        entries.sort_by(|(a, _), (b, _)| a.order(b));
        let repeated = entries
            .windows(2)
            .any(|pair| pair[0].0.order(&pair[1].0).is_eq());
        (!repeated).then_some(Self(entries))
    }

    pub(crate) fn get(&self, key: &Key<'_>) -> Option<&Value<'a>> {
        let at = self
            .0
            .binary_search_by(|(entry, _)| entry.order(key))
            .ok()?;
        Some(&self.0[at].1)
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Value<'a>> {
        self.get(&Key::String(Text::Borrowed(name)))
    }

    pub(crate) fn entries(&self) -> &[(Key<'a>, Value<'a>)] {
        &self.0
    }
}

impl<'a> Value<'a> {
    pub(crate) fn kind(&self) -> Type {
        match self {
            Value::Null => Type::Null,
            Value::Bool(_) => Type::Bool,
            Value::Int(_) => Type::Int,
            Value::Uint(_) => Type::Uint,
            Value::Double(_) => Type::Double,
            Value::String(_) => Type::String,
            Value::Bytes(_) => Type::Bytes,
            Value::List(_) => Type::List,
            Value::Map(_) => Type::Map,
            Value::Timestamp(_) => Type::Timestamp,
            Value::Duration(_) => Type::Duration,
            Value::Type(_) => Type::Type,
        }
    }

    pub(crate) fn text(text: &'a str) -> Self {
        Value::String(Text::Borrowed(text))
    }

    /// `==` of CEL: values of different kinds are not equal, except numbers, which are compared as numbers.
    ///
    /// Adds what it took to `steps`.
    pub(crate) fn equals(&self, other: &Value<'_>, steps: &mut u64) -> bool {
        *steps += 1 + steps_of(self.weight().min(other.weight()));
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::String(a), Value::String(b)) => **a == **b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
            (Value::Duration(a), Value::Duration(b)) => a == b,
            (Value::Type(a), Value::Type(b)) => a == b,
            (Value::List(a), Value::List(b)) => {
                a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.equals(b, steps))
            }
            (Value::Map(a), Value::Map(b)) => {
                let (a, b) = (a.entries(), b.entries());
                a.len() == b.len()
                    && a.iter()
                        .zip(b)
                        .all(|((a, x), (b, y))| a.order(b).is_eq() && x.equals(y, steps))
            }
            (a, b) => compare_numbers(a, b) == Some(Ordering::Equal),
        }
    }

    /// `<` and its like of CEL: a fault when these kinds have no order, or when one of two numbers is NaN.
    pub(crate) fn order(
        &self,
        operator: Operator,
        other: &Value<'_>,
    ) -> Result<Ordering, Fault<'static>> {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => Ok(a.cmp(b)),
            // By code points, which is the order of the bytes of UTF-8.
            (Value::String(a), Value::String(b)) => Ok((**a).cmp(&**b)),
            (Value::Bytes(a), Value::Bytes(b)) => Ok(a.cmp(b)),
            (Value::Timestamp(a), Value::Timestamp(b)) => Ok(a.cmp(b)),
            (Value::Duration(a), Value::Duration(b)) => Ok(a.cmp(b)),
            (a, b) if a.is_number() && b.is_number() => {
                compare_numbers(a, b).ok_or(Fault::NotANumber)
            }
            (a, b) => Err(Fault::NoOverload(
                operator.as_str(),
                a.kind(),
                Some(b.kind()),
            )),
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Value::Int(_) | Value::Uint(_) | Value::Double(_))
    }

    /// Bytes of a text.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Value::String(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

/// Steps for looking at so many bytes.
pub(crate) fn steps_of(bytes: usize) -> u64 {
    (bytes / limits::BYTES_PER_STEP) as u64
}

/// Compares two numbers of any kinds; `None` if one is NaN or no number.
///
/// Ints and uints are compared exactly. Where one is a double the other is made one first, as the conformance
/// tests of CEL have it: `9223372036854775807 < 9223372036854775808.0` is false.
fn compare_numbers(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => double(a)?.partial_cmp(&double(b)?),
    }
}

fn integer(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(value) => Some(i128::from(*value)),
        Value::Uint(value) => Some(i128::from(*value)),
        _ => None,
    }
}

fn double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Int(value) => Some(*value as f64),
        Value::Uint(value) => Some(*value as f64),
        Value::Double(value) => Some(*value),
        _ => None,
    }
}

/// The integer that `double` is, if it is one within 65 bits.
fn exact_integer(double: f64) -> Option<i128> {
    (double.fract() == 0.0 && double.abs() < 18_446_744_073_709_551_616.0).then_some(double as i128)
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
            write_string(&text[..end], out);
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
