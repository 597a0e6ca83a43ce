//! Dotted paths into an event.

use std::fmt;
use std::str::FromStr;

use crate::error::{FilterError, FilterErrorKind, Span};
use crate::limits;

/// A path into the event, such as `page.path`, or `` user.`device-id` `` with a name in backticks that
/// contains a dot, a comma, a backtick's neighbour or a blank.
///
/// At least one segment, at most [`limits::MAX_PATH_SEGMENTS`]; no segment is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldPath(Vec<Box<str>>);

impl FieldPath {
    /// Reads a path.
    ///
    /// # Errors
    /// [`FilterErrorKind::Path`] at the byte where no name can be read, [`FilterErrorKind::Limit`] for too
    /// many segments.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        Self::parse_at(text, Span::new(0, text.len()))
    }

    /// Reads the path at `span` of a longer text, white space around it allowed.
    pub(crate) fn parse_at(text: &str, span: Span) -> Result<Self, FilterError> {
        let error = |start, end, message: String| {
            Err(FilterError::new(
                FilterErrorKind::Path,
                text,
                Span::new(start, end),
                message,
            ))
        };
        let written = &text[span.start..span.end];
        let mut at = span.start + (written.len() - written.trim_start().len());
        let end = at + written.trim().len();
        let mut segments = Vec::new();
        loop {
            let rest = &text[at..end];
            let (name, taken) = match rest.strip_prefix('`') {
                Some(quoted) => match quoted.find('`') {
                    Some(close) => (&quoted[..close], close + 2),
                    None => return error(at, end, "the backtick is never closed".to_owned()),
                },
                None => {
                    let length = rest.find(is_special).unwrap_or(rest.len());
                    (&rest[..length], length)
                }
            };
            if name.is_empty() {
                let message = "a field's name is missing, such as `page.path`".to_owned();
                return error(at, (at + taken).min(end), message);
            }
            segments.push(name.into());
            if segments.len() > limits::MAX_PATH_SEGMENTS {
                let message = format!(
                    "the path has more than {} segments",
                    limits::MAX_PATH_SEGMENTS
                );
                return Err(FilterError::new(
                    FilterErrorKind::Limit,
                    text,
                    Span::new(at, end),
                    message,
                ));
            }
            at += taken;
            match text[at..end].chars().next() {
                None => return Ok(Self(segments)),
                Some('.') => at += 1,
                Some(char) => {
                    let message = format!("`{}` cannot stand in a path", char.escape_debug());
                    let name = text[at..end].trim_matches('`');
                    return error(at, at + char.len_utf8(), message).map_err(|error| match char {
                        '[' => error.suggest("items.price, which takes every element of a list"),
                        _ if name.is_empty() => error,
                        _ => error.suggest("`…`, in backticks"),
                    });
                }
            }
        }
    }

    /// Its names, outermost first.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    pub(crate) fn names(&self) -> &[Box<str>] {
        &self.0
    }

    /// The value at this path; `None` if it is absent or leads through something that is no object.
    #[must_use]
    pub fn get<'v>(&self, event: &'v serde_json::Value) -> Option<&'v serde_json::Value> {
        self.segments()
            .try_fold(event, |value, name| value.get(name))
    }
}

/// Characters that a name outside of backticks cannot have.
fn is_special(char: char) -> bool {
    char.is_whitespace()
        || char.is_control()
        || matches!(char, '.' | ',' | '`' | '[' | ']' | '"' | '\'' | '*')
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.segments().enumerate() {
            f.write_str(if index > 0 { "." } else { "" })?;
            if name.contains(is_special) {
                write!(f, "`{name}`")?
            } else {
                f.write_str(name)?
            }
        }
        Ok(())
    }
}

impl FromStr for FieldPath {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}
