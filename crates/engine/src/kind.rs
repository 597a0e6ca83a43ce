//! Kinds of values, and which of them operators take.

use crate::tree::Operator;

/// A kind, if it is known before the event is.
pub(crate) type Known = Option<Type>;

/// A kind of value, as `type(x)` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "`type` is a type of CEL")]
pub(crate) enum Type {
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    List,
    Map,
    Timestamp,
    Duration,
    Type,
}

impl Type {
    pub(crate) const EACH: [Type; 12] = [
        Type::Null,
        Type::Bool,
        Type::Int,
        Type::Uint,
        Type::Double,
        Type::String,
        Type::Bytes,
        Type::List,
        Type::Map,
        Type::Timestamp,
        Type::Duration,
        Type::Type,
    ];

    /// Its name in CEL.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Type::Null => "null_type",
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Uint => "uint",
            Type::Double => "double",
            Type::String => "string",
            Type::Bytes => "bytes",
            Type::List => "list",
            Type::Map => "map",
            Type::Timestamp => "google.protobuf.Timestamp",
            Type::Duration => "google.protobuf.Duration",
            Type::Type => "type",
        }
    }

    /// Its name in a sentence.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Type::Null => "null",
            Type::Timestamp => "timestamp",
            Type::Duration => "duration",
            other => other.as_str(),
        }
    }

    /// With its article, in a sentence.
    pub(crate) fn with_article(self) -> String {
        match self {
            Type::Null => "null".to_owned(),
            Type::Int => "an int".to_owned(),
            Type::Bytes => "bytes".to_owned(),
            kind => format!("a {}", kind.words()),
        }
    }

    pub(crate) fn is_number(self) -> bool {
        matches!(self, Type::Int | Type::Uint | Type::Double)
    }

    /// Whether `<` and its like take values of this kind.
    pub(crate) fn is_ordered(self) -> bool {
        self.is_number()
            || matches!(
                self,
                Type::Bool | Type::String | Type::Bytes | Type::Timestamp | Type::Duration
            )
    }
}

/// The kind of what `operator` makes of two kinds, if it takes them.
pub(crate) fn arithmetic(operator: Operator, left: Type, right: Type) -> Known {
    use Operator as O;
    use Type as T;
    match (operator, left, right) {
        (O::Add | O::Subtract | O::Multiply | O::Divide, T::Int, T::Int)
        | (O::Add | O::Subtract | O::Multiply | O::Divide, T::Uint, T::Uint)
        | (O::Add | O::Subtract | O::Multiply | O::Divide, T::Double, T::Double)
        | (O::Modulo, T::Int, T::Int)
        | (O::Modulo, T::Uint, T::Uint)
        | (O::Add, T::String, T::String)
        | (O::Add, T::Bytes, T::Bytes)
        | (O::Add, T::List, T::List)
        | (O::Add | O::Subtract, T::Duration, T::Duration) => Some(left),
        (O::Add, T::Timestamp, T::Duration)
        | (O::Add, T::Duration, T::Timestamp)
        | (O::Subtract, T::Timestamp, T::Duration) => Some(T::Timestamp),
        (O::Subtract, T::Timestamp, T::Timestamp) => Some(T::Duration),
        _ => None,
    }
}
