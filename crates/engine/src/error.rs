//! Why a filter, a projection or a path was refused, and where.

use std::fmt;

/// What kind of mistake a [`FilterError`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FilterErrorKind {
    /// The text is not CEL.
    Syntax,
    /// A variable, or a field of `record`, that does not exist.
    UnknownVariable,
    /// A function that does not exist, or not for these arguments' number.
    UnknownFunction,
    /// Kinds that can never fit, such as a filter that cannot be true or false.
    Type,
    /// A regular expression that does not compile.
    Regex,
    /// Beyond one of [`limits`](crate::limits).
    Limit,
    /// A path into the event that cannot be read.
    Path,
}

/// Why a text was refused.
///
/// `offset` and `length` count bytes of the text; both lie on character boundaries. `length` is 0 where
/// something is missing at the end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} at byte {offset}")]
pub struct FilterError {
    /// What kind of mistake.
    pub kind: FilterErrorKind,
    /// One sentence, lower case, no full stop; what the text says stands in backticks.
    pub message: String,
    /// First byte concerned.
    pub offset: usize,
    /// Bytes concerned.
    pub length: usize,
    /// What to write instead of the bytes concerned, or nearby; ready to be shown as code.
    pub suggestion: Option<String>,
    /// The line with the mistake, shortened, and the characters before and under the mark.
    excerpt: Box<Excerpt>,
}

impl FilterError {
    pub(crate) fn new(
        kind: FilterErrorKind,
        text: &str,
        span: Span,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            message: message.into(),
            offset: span.start,
            length: span.end - span.start,
            suggestion: None,
            excerpt: Box::new(Excerpt::of(text, span)),
        }
    }

    pub(crate) fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// Two lines: the line of the text with the mistake, and carets under it.
    ///
    /// A long line is cut around the mistake, with `…` where it is cut.
    ///
    /// ```
    /// let error = clickstream_engine::Filter::parse("event.type = 1").unwrap_err();
    /// assert_eq!(error.caret(), "event.type = 1\n           ^");
    /// assert_eq!(error.suggestion.as_deref(), Some("=="));
    /// ```
    #[must_use]
    pub fn caret(&self) -> String {
        self.excerpt.to_string()
    }

    /// A fixed name of the kind, for metrics and problem types.
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self.kind {
            FilterErrorKind::Syntax => "syntax",
            FilterErrorKind::UnknownVariable => "unknown-variable",
            FilterErrorKind::UnknownFunction => "unknown-function",
            FilterErrorKind::Type => "type",
            FilterErrorKind::Regex => "regex",
            FilterErrorKind::Limit => "limit",
            FilterErrorKind::Path => "path",
        }
    }
}

/// A range of bytes of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// From the start of this one to the end of `other`.
    pub(crate) fn to(self, other: Span) -> Span {
        Span::new(self.start, other.end)
    }
}

/// Characters of the line shown on either side of a mistake.
const CONTEXT: usize = 60;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    line: String,
    /// What stands before the mark: tabs stay tabs, so that the mark stays below its place.
    indent: String,
    carets: usize,
}

impl Excerpt {
    fn of(text: &str, span: Span) -> Self {
        let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let end = text[span.start..]
            .find('\n')
            .map_or(text.len(), |at| span.start + at);
        let before: Vec<char> = text[start..span.start].chars().collect();
        let marked = text[span.start..span.end.clamp(span.start, end)]
            .chars()
            .count();
        let after: Vec<char> = text[span.start..end].trim_end().chars().collect();

        let skipped = before.len().saturating_sub(CONTEXT);
        let shown = after.len().min(CONTEXT);
        let mut line = String::new();
        let mut indent = String::new();
        if skipped > 0 {
            line.push('…');
            indent.push(' ');
        }
        for &char in &before[skipped..] {
            line.push(visible(char));
            indent.push(if char == '\t' { '\t' } else { ' ' });
        }
        line.extend(after[..shown].iter().copied().map(visible));
        if shown < after.len() {
            line.push('…');
        }
        Self {
            line,
            indent,
            carets: marked.clamp(1, shown.max(1)),
        }
    }
}

/// Control characters would move the mark, or the reader's terminal.
fn visible(char: char) -> char {
    if char.is_control() && char != '\t' {
        '\u{fffd}'
    } else {
        char
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}\n{}{}",
            self.line,
            self.indent,
            "^".repeat(self.carets)
        )
    }
}

/// The candidate closest to `name`, if it is close enough to be meant.
pub(crate) fn closest<'c>(
    name: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    // A name this long is not a slip, and the distance costs its square.
    if name.len() > 40 {
        return None;
    }
    let most = name.chars().count() / 3;
    candidates
        .into_iter()
        .map(|candidate| {
            let same = candidate.eq_ignore_ascii_case(name);
            (if same { 0 } else { distance(name, candidate) }, candidate)
        })
        .filter(|&(distance, _)| distance <= most.clamp(1, 3))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap neighbours) between two names.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caret(text: &str, start: usize, end: usize) -> String {
        FilterError::new(FilterErrorKind::Syntax, text, Span::new(start, end), "m").caret()
    }

    #[test]
    fn carets_stand_under_the_mistake() {
        assert_eq!(caret("abc def", 4, 7), "abc def\n    ^^^");
        assert_eq!(caret("abc", 3, 3), "abc\n   ^");
        assert_eq!(caret("", 0, 0), "\n^");
        assert_eq!(caret("a\n\tb c\nd", 4, 5), "\tb c\n\t ^");
        assert_eq!(caret("äöü x", 7, 8), "äöü x\n    ^");
        assert_eq!(caret("ab\ncd", 0, 5), "ab\n^^");
    }

    #[test]
    fn a_long_line_is_cut_around_the_mistake() {
        let text = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let caret = caret(&text, 500, 501);
        let (line, mark) = caret.split_once('\n').unwrap();
        assert_eq!(line.chars().nth(mark.chars().count() - 1), Some('X'));
        assert!(line.starts_with('…') && line.ends_with('…') && line.len() < 150);
    }

    #[test]
    fn slips_are_recognised_and_other_names_are_not() {
        assert_eq!(closest("evnet", ["event", "record"]), Some("event"));
        assert_eq!(
            closest("startswith", ["startsWith", "endsWith"]),
            Some("startsWith")
        );
        assert_eq!(closest("purchase", ["event", "record"]), None);
    }
}
