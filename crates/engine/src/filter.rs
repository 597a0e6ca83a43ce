//! A filter: parsed, checked, in canonical form.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use crate::canonical;
use crate::check;
use crate::class::{self, Class};
use crate::error::{FilterError, FilterErrorKind, Span};
use crate::limits;
use crate::literal::Literal;
use crate::parser;
use crate::path::FieldPath;
use crate::reference::Program;
use crate::tree::{Kind, Node, Operator};

/// A boolean CEL expression over `event` and `record`.
///
/// Immutable; cloning clones a pointer. Two filters are equal if their canonical texts are.
#[derive(Clone)]
pub struct Filter(Arc<Parts>);

struct Parts {
    /// What `written` was parsed from.
    text: Box<str>,
    written: Node,
    tree: Node,
    canonical: Box<str>,
    class: Class,
    reason: String,
    uses_record: bool,
    /// For [`crate::reference`], made when it is first asked for.
    program: OnceLock<Result<Program, String>>,
}

impl Filter {
    /// Parses and checks a filter.
    ///
    /// Takes time and memory in proportion to the text, whatever it is, plus what its regular expressions
    /// take within [`limits::MAX_REGEX_BYTES`] each.
    ///
    /// # Errors
    /// When the text is not a filter; the error says where, and often what to write instead.
    ///
    /// ```
    /// use clickstream_engine::Filter;
    ///
    /// let filter = Filter::parse("event.price > 100 && event.type == 'add_to_cart'")?;
    /// assert_eq!(filter.canonical(), r#"event.price > 100 && event.type == "add_to_cart""#);
    /// # Ok::<(), clickstream_engine::FilterError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let mut written = parser::parse(text)?;
        check::check(text, &mut written)?;
        let tree = canonical::normal(&written);
        let canonical = canonical::text(&tree);
        // Workers parse the canonical text again, so it has to be within the limit as well.
        if canonical.len() > limits::MAX_FILTER_BYTES {
            let message = format!(
                "in canonical form the filter has {} bytes, {} are allowed",
                canonical.len(),
                limits::MAX_FILTER_BYTES
            );
            let all = Span::new(0, text.len());
            return Err(FilterError::new(FilterErrorKind::Limit, text, all, message));
        }
        let (class, reason) = class::classify(&tree);
        Ok(Self(Arc::new(Parts {
            text: text.into(),
            uses_record: tree.any(&|kind| matches!(kind, Kind::Record)),
            written,
            tree,
            canonical: canonical.into(),
            class,
            reason,
            program: OnceLock::new(),
        })))
    }

    /// The filter for events whose `field` is one of `types`: `event.type == "a"`, or
    /// `event.type in ["a", "b"]` in order and without repeats.
    ///
    /// It is built as a tree, so that no name of a type can be read as anything but a text.
    ///
    /// # Errors
    /// [`FilterErrorKind::Limit`] if the types do not fit into a filter, [`FilterErrorKind::Syntax`] if there
    /// are none.
    pub fn event_types(field: &FieldPath, types: &[&str]) -> Result<Self, FilterError> {
        if types.is_empty() {
            let message = "no event type is named";
            return Err(FilterError::new(
                FilterErrorKind::Syntax,
                "",
                Span::default(),
                message,
            ));
        }
        let path = field
            .segments()
            .fold(Node::built(Kind::Event), |operand, name| {
                Node::built(Kind::Select(operand.into(), name.into()))
            });
        let types = types
            .iter()
            .map(|&name| Node::literal(Literal::String(name.into())))
            .collect();
        Self::of_tree(&Node::built(Kind::Binary(
            Operator::In,
            [path, Node::built(Kind::List(types))].into(),
        )))
    }

    /// The filter that holds where both do.
    ///
    /// They are joined as trees: neither text can reach into the other.
    ///
    /// # Errors
    /// [`FilterErrorKind::Limit`] if both together are beyond a limit.
    pub fn and(self, other: Filter) -> Result<Self, FilterError> {
        Self::of_tree(&Node::built(Kind::And(vec![
            self.0.tree.clone(),
            other.0.tree.clone(),
        ])))
    }

    /// Parses the canonical text of `tree`, so that limits hold and every part has its place in a text.
    fn of_tree(tree: &Node) -> Result<Self, FilterError> {
        Self::parse(&canonical::text(&canonical::normal(tree)))
    }

    /// The text shared by all filters that differ only in how they are written; at most
    /// [`limits::MAX_FILTER_BYTES`]. Parsing it gives an equal filter.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.0.canonical
    }

    /// How much work the filter is, and one sentence why.
    #[must_use]
    pub fn class(&self) -> (Class, &str) {
        (self.0.class, &self.0.reason)
    }

    /// Whether the result can depend on more than the event.
    #[must_use]
    pub fn uses_record(&self) -> bool {
        self.0.uses_record
    }

    /// What is evaluated.
    pub(crate) fn tree(&self) -> &Node {
        &self.0.tree
    }

    /// The tree as it was written, and the text that its spans are in.
    pub(crate) fn written(&self) -> (&Node, &str) {
        (&self.0.written, &self.0.text)
    }

    /// From the text as it was written, so that the reference depends on nothing of ours.
    pub(crate) fn program(&self) -> &Result<Program, String> {
        self.0.program.get_or_init(|| Program::new(&self.0.text))
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.canonical()).finish()
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.canonical())
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}

impl Eq for Filter {}
