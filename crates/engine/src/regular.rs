//! Regular expressions as CEL has them: the syntax and meaning of RE2, in time linear in the text.
//!
//! Crate `regex` comes close, but its `\d`, `\w`, `\s` and `\b` are Unicode's where RE2's are ASCII's, and its
//! brackets nest and intersect where RE2's do not. The first are rewritten, the second refused.

mod plain;

pub(crate) use plain::Plain;

use regex_syntax::ast::{self, Ast, ClassPerl, ClassPerlKind, ClassSetItem, Flag, FlagsItemKind};

use crate::limits;

/// A compiled pattern; at most [`limits::MAX_REGEX_BYTES`].
#[derive(Debug)]
pub(crate) struct Regular {
    regex: regex::Regex,
    plain: Option<Vec<Plain>>,
}

/// Why a pattern was refused.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) message: String,
    /// The bytes of the pattern concerned, if they are known.
    pub(crate) place: Option<(usize, usize)>,
}

impl Fault {
    fn at(message: impl Into<String>, span: &ast::Span) -> Self {
        Self {
            message: message.into(),
            place: Some((span.start.offset, span.end.offset)),
        }
    }
}

impl Regular {
    pub(crate) fn new(pattern: &str) -> Result<Self, Fault> {
        let tree = ast::parse::ParserBuilder::new()
            .nest_limit(50)
            .build()
            .parse(pattern)
            .map_err(|error| Fault::at(error.kind().to_string(), error.span()))?;
        let edits = ast::visit(&tree, Rewriter::default())?;
        let mut rewritten = String::with_capacity(pattern.len());
        let mut done = 0;
        for (start, end, instead) in edits {
            rewritten.push_str(&pattern[done..start]);
            rewritten.push_str(instead);
            done = end;
        }
        rewritten.push_str(&pattern[done..]);
        regex::RegexBuilder::new(&rewritten)
            .size_limit(limits::MAX_REGEX_BYTES)
            .dfa_size_limit(limits::MAX_REGEX_BYTES)
            .build()
            .map(|regex| Self {
                plain: plain::plain(&rewritten),
                regex,
            })
            .map_err(|error| {
                let message = match error {
                    regex::Error::CompiledTooBig(limit) => {
                        format!("it takes more than {limit} bytes when compiled")
                    }
                    // Several lines with the pattern in them; the last one says what is wrong.
                    error => error
                        .to_string()
                        .lines()
                        .last()
                        .unwrap_or_default()
                        .trim_start_matches("error: ")
                        .to_owned(),
                };
                Fault {
                    message,
                    place: None,
                }
            })
    }

    /// The pattern in the syntax of crate `regex`.
    pub(crate) fn pattern(&self) -> &str {
        self.regex.as_str()
    }

    /// The texts one of which it finds, and asks for nothing else; `None` if it asks for more.
    pub(crate) fn plain(&self) -> Option<&[Plain]> {
        self.plain.as_deref()
    }

    /// Whether the pattern is found anywhere in `text`.
    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// Collects what has to be written otherwise: start, end, instead; in order.
#[derive(Default)]
struct Rewriter {
    edits: Vec<(usize, usize, &'static str)>,
}

impl Rewriter {
    fn edit(&mut self, span: &ast::Span, instead: &'static str) {
        self.edits
            .push((span.start.offset, span.end.offset, instead));
    }

    fn perl(&mut self, class: &ClassPerl) {
        let instead = match (&class.kind, class.negated) {
            (ClassPerlKind::Digit, false) => "[0-9]",
            (ClassPerlKind::Digit, true) => "[^0-9]",
            (ClassPerlKind::Space, false) => "[\\t\\n\\f\\r ]",
            (ClassPerlKind::Space, true) => "[^\\t\\n\\f\\r ]",
            (ClassPerlKind::Word, false) => "[0-9A-Za-z_]",
            (ClassPerlKind::Word, true) => "[^0-9A-Za-z_]",
        };
        self.edit(&class.span, instead);
    }
}

impl ast::Visitor for Rewriter {
    type Output = Vec<(usize, usize, &'static str)>;
    type Err = Fault;

    fn finish(self) -> Result<Self::Output, Fault> {
        Ok(self.edits)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), Fault> {
        let flags = match ast {
            Ast::ClassPerl(class) => {
                self.perl(class);
                None
            }
            Ast::Assertion(assertion) => {
                match assertion.kind {
                    ast::AssertionKind::WordBoundary => self.edit(&assertion.span, "(?-u:\\b)"),
                    ast::AssertionKind::NotWordBoundary => self.edit(&assertion.span, "(?-u:\\B)"),
                    _ => {}
                }
                None
            }
            Ast::Flags(set) => Some(&set.flags),
            Ast::Group(group) => group.flags(),
            _ => None,
        };
        for item in flags.into_iter().flat_map(|flags| &flags.items) {
            if let FlagsItemKind::Flag(Flag::Unicode | Flag::CRLF | Flag::IgnoreWhitespace) =
                item.kind
            {
                return Err(Fault::at("RE2 has no such flag", &item.span));
            }
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), Fault> {
        match item {
            ClassSetItem::Perl(class) => self.perl(class),
            ClassSetItem::Bracketed(class) => {
                return Err(Fault::at(
                    "`[` inside of brackets is written `\\[`",
                    &class.span,
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_binary_op_pre(&mut self, op: &ast::ClassSetBinaryOp) -> Result<(), Fault> {
        Err(Fault::at(
            "`&&`, `--` and `~~` inside of brackets are written with `\\` between",
            &op.span,
        ))
    }
}
