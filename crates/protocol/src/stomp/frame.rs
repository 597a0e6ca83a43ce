//! The value that a frame on the wire stands for.

use bytes::Bytes;

/// The headers of a frame, in the order of the wire, unescaped.
///
/// A name may stand several times; as the protocol has it, the first counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The value of the first header called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// Appends a header.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// All headers, repeated ones included.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Number of header lines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Headers {
        Headers(
            pairs
                .into_iter()
                .map(|(n, v)| (n.into(), v.into()))
                .collect(),
        )
    }
}

/// One frame. Whether the command exists is for the reader to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// E.g. `SUBSCRIBE`, as written: commands are case-sensitive.
    pub command: String,
    /// Unescaped.
    pub headers: Headers,
    /// Any octets, NUL included; empty for most commands.
    pub body: Bytes,
}

impl Frame {
    /// A frame without a body.
    pub fn new<'a>(command: &str, headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Frame {
        Frame {
            command: command.to_owned(),
            headers: headers.into_iter().collect(),
            body: Bytes::new(),
        }
    }

    /// The value of the first header called `name`.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }
}
