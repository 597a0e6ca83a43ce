//! What filters are held against: one record of a source topic.

use crate::json;
use crate::limits;
use crate::value::{Key, Map, Text, Value};

/// One record, as it was read from a source topic.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The source topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Position in the partition.
    pub offset: i64,
    /// Milliseconds since 1970; outside of the years 1 to 9999 `record.timestamp` is null.
    pub timestamp_ms: i64,
    /// The key: a string for filters if it is UTF-8, otherwise bytes; null if there is none.
    pub key: Option<&'a [u8]>,
    /// Names and values in the record's order. Of repeated names the last counts for filters; values are
    /// strings if they are UTF-8, otherwise bytes.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The event: a JSON object in UTF-8.
    pub value: &'a [u8],
}

impl<'a> Record<'a> {
    /// A record with this value, whose other fields are empty; for events that come from no topic.
    #[must_use]
    pub fn of_value(value: &'a [u8]) -> Self {
        Self {
            topic: "",
            partition: 0,
            offset: 0,
            timestamp_ms: 0,
            key: None,
            headers: &[],
            value,
        }
    }

    /// The variable `event`.
    pub(crate) fn event(&self) -> Result<Value<'a>, Unreadable> {
        json::parse(self.value)
    }

    /// The variable `record`.
    pub(crate) fn variable(&self) -> Value<'a> {
        let headers = self
            .headers
            .iter()
            .map(|&(name, value)| (Key::String(Text::Borrowed(name)), text(value)));
        let timestamp = crate::convert::timestamp(i128::from(self.timestamp_ms) * 1_000_000);
        let fields = [
            ("topic", Value::text(self.topic)),
            ("partition", Value::Int(self.partition.into())),
            ("offset", Value::Int(self.offset)),
            ("timestamp", timestamp.unwrap_or(Value::Null)),
            ("key", self.key.map_or(Value::Null, text)),
            (
                "headers",
                Value::Map(Map::last_wins(headers.collect()).into()),
            ),
        ];
        let fields = fields.map(|(name, value)| (Key::String(Text::Borrowed(name)), value));
        Value::Map(Map::last_wins(fields.into()).into())
    }
}

fn text(bytes: &[u8]) -> Value<'_> {
    std::str::from_utf8(bytes).map_or_else(|_| Value::Bytes(bytes.into()), Value::text)
}

/// Why a record's value cannot be matched. It is counted and passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Unreadable {
    /// No bytes, or nothing but white space.
    #[error("the value is empty")]
    Empty,
    /// Not JSON by RFC 8259.
    #[error("the value is not JSON")]
    NotJson,
    /// JSON, but a list, a string, a number, a boolean or null.
    #[error("the value is not a JSON object")]
    NotAnObject,
    /// Nested deeper than [`limits::MAX_EVENT_DEPTH`].
    #[error("the value nests deeper than {} levels", limits::MAX_EVENT_DEPTH)]
    TooDeep,
    /// Not UTF-8.
    #[error("the value is not UTF-8")]
    InvalidUtf8,
    /// Longer than [`limits::MAX_RECORD_BYTES`].
    #[error("the value is longer than {} bytes", limits::MAX_RECORD_BYTES)]
    TooLarge,
}

impl Unreadable {
    /// Every reason, for metrics that show all of them from the start.
    pub const EACH: [Unreadable; 6] = [
        Unreadable::Empty,
        Unreadable::NotJson,
        Unreadable::NotAnObject,
        Unreadable::TooDeep,
        Unreadable::InvalidUtf8,
        Unreadable::TooLarge,
    ];

    /// A fixed name, as a metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Unreadable::Empty => "empty",
            Unreadable::NotJson => "not-json",
            Unreadable::NotAnObject => "not-an-object",
            Unreadable::TooDeep => "too-deep",
            Unreadable::InvalidUtf8 => "invalid-utf8",
            Unreadable::TooLarge => "too-large",
        }
    }
}
