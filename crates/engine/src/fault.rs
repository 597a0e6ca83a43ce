//! Errors of evaluation, which are values to `&&` and `||`.

use std::fmt;

use crate::kind::Type;
use crate::value::Key;

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
    /// NaN, where an order is needed.
    NotANumber,
    /// Beyond the range of the result's kind.
    Range(&'static str),
    /// An index outside of the list.
    NoElement,
    /// A text, or another value, that a conversion cannot read.
    Invalid(&'static str, String),
    RepeatedKey,
    /// A pattern that is no constant, and no regular expression.
    Pattern(String),
    /// Beyond [`limits::STEPS`](crate::limits::STEPS).
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
            Fault::NotANumber => write!(f, "NaN is neither less nor greater than a number"),
            Fault::Range(operation) => write!(f, "the result of `{operation}` is out of range"),
            Fault::NoElement => write!(f, "the index is outside of the list"),
            Fault::Invalid(function, value) => write!(f, "`{function}` cannot read `{value}`"),
            Fault::RepeatedKey => write!(f, "a key of the map is repeated"),
            Fault::Pattern(reason) => write!(f, "the pattern is refused: {reason}"),
            Fault::TooManySteps => write!(f, "the evaluation takes too many steps"),
        }
    }
}
