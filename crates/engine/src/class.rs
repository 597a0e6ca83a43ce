//! How much work a filter is to a worker.

use std::fmt;

use crate::canonical::text;
use crate::compile::{Constant, Formula, Op, Test, TextOp, required, tests};
use crate::function::Function;
use crate::tree::{Kind, Node};

/// How a filter finds its events, from the cheapest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A value looked up in the event leads to the filter: nothing is spent on other events.
    Selective,
    /// Its clauses can be looked up, but many events meet each of them.
    Broad,
    /// It has to be tested or evaluated on every event.
    Scan,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Selective => "selective",
            Class::Broad => "broad",
            Class::Scan => "scan",
        })
    }
}

/// Characters of a clause that a reason quotes.
const QUOTED_CHARS: usize = 80;

/// Bytes of a text so short that many texts contain it.
const COMMON_BYTES: usize = 2;

/// The class of a canonical tree, and one sentence why.
///
/// It is that of the filter alone: beside others that ask for the same value, so that the value seems common,
/// the index may look a selective filter up by other clauses.
pub(crate) fn classify(tree: &Node) -> (Class, String) {
    let tests = tests(tree);
    let Some((class, test, why)) = judge(&tests) else {
        return (
            Class::Scan,
            "the filter does not depend on the event".to_owned(),
        );
    };
    let text = if test.want {
        text(test.node)
    } else {
        text(&Node::built(Kind::Not(test.node.clone().into())))
    };
    let clause = match text.char_indices().nth(QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    };
    (class, format!("`{clause}` {why}"))
}

/// The class, the test that decides it, and what that test does; `None` without tests.
fn judge<'f, 'n>(formula: &'f Formula<Test<'n>>) -> Option<(Class, &'f Test<'n>, &'static str)> {
    match formula {
        // One clause that must hold is enough to find the filter by; of alternatives each has to be found.
        Formula::All(parts) => parts.iter().filter_map(judge).min_by_key(|judged| judged.0),
        Formula::Any(parts) => parts.iter().filter_map(judge).max_by_key(|judged| judged.0),
        Formula::Test(test) => {
            let (class, why) = look_up(test);
            Some((class, test, why))
        }
    }
}

/// How the index finds events that pass a test.
fn look_up(test: &Test<'_>) -> (Class, &'static str) {
    const NEGATION: (Class, &str) = (Class::Broad, "is a negation, which most events meet");
    match &test.op {
        Op::In(constants) if constants.iter().any(is_one_of_many) => {
            (Class::Selective, "is looked up by the field's value")
        }
        Op::In(_) => match &test.node.kind {
            Kind::Select(..) | Kind::Event => (Class::Broad, "holds wherever the field is so"),
            _ => (Class::Broad, "compares with one of very few values"),
        },
        Op::NotIn(_) => NEGATION,
        Op::Present | Op::Missing => (Class::Broad, "only asks whether a field is there"),
        Op::Number(..) => (Class::Broad, "is a range, which many events can be in"),
        Op::Member(_, true) => (Class::Selective, "is looked up by the elements of the list"),
        Op::Text(_, "", true) => (Class::Broad, "holds wherever the field is a text"),
        Op::Text(TextOp::StartsWith, _, true) => (
            Class::Selective,
            "is looked up by the beginning of the field",
        ),
        Op::Text(TextOp::EndsWith, _, true) => {
            (Class::Selective, "is looked up by the end of the field")
        }
        Op::Text(TextOp::Contains, part, true) if part.len() > COMMON_BYTES => (
            Class::Selective,
            "is looked up by the text inside of the field",
        ),
        Op::Text(TextOp::Contains, _, true) => (
            Class::Broad,
            "is looked up by a text so short that many events have it",
        ),
        Op::Matches(regular, true) => match required(regular.pattern()) {
            Some(texts) if texts.iter().all(|text| text.len() > COMMON_BYTES) => (
                Class::Selective,
                "is looked up by a text that the pattern cannot do without",
            ),
            Some(_) => (
                Class::Broad,
                "is looked up by a text so short that many events have it",
            ),
            None => (
                Class::Scan,
                "runs a regular expression over every event that has the field",
            ),
        },
        Op::Order(..) | Op::Size(..) | Op::Member(_, false) | Op::Text(_, _, false) => {
            (Class::Scan, "is tested on every event that has the field")
        }
        Op::Matches(_, false) => (
            Class::Scan,
            "runs a regular expression over every event that has the field",
        ),
        Op::Unknown => match &test.node.kind {
            Kind::Macro(_) => (Class::Scan, "is evaluated for every element on every event"),
            Kind::Call(call) if call.function == Function::Matches => {
                (Class::Scan, "runs a regular expression over every event")
            }
            _ => (
                Class::Scan,
                "cannot be looked up and is evaluated on every event",
            ),
        },
    }
}

/// Neither true nor false nor null.
fn is_one_of_many(constant: &Constant<'_>) -> bool {
    matches!(constant, Constant::Number(_) | Constant::Text(_))
}
