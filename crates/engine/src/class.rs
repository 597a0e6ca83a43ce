//! How much work a filter is to a worker.

use std::fmt;

use crate::canonical::text;
use crate::function::Function;
use crate::literal::Literal;
use crate::tree::{Kind, MacroName, Node, Operator};

/// How a filter finds its events, from the cheapest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A value looked up in the event leads to the filter: nothing is spent on other events.
    Selective,
    /// Its clauses can be looked up, but many events meet each of them.
    Broad,
    /// It has to be evaluated on every event.
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

/// The class of a canonical tree, and one sentence why.
pub(crate) fn classify(node: &Node) -> (Class, String) {
    let (class, clause, why) = judge(node);
    let text = text(clause);
    let clause = match text.char_indices().nth(QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    };
    (class, format!("`{clause}` {why}"))
}

type Judged<'n> = (Class, &'n Node, &'static str);

/// The class, the clause that decides it, and what that clause does.
fn judge(node: &Node) -> Judged<'_> {
    match &node.kind {
        // One clause that must hold is enough to find the filter by; of alternatives each has to be found.
        Kind::And(operands) => operands
            .iter()
            .map(judge)
            .min_by_key(|judged| judged.0)
            .unwrap_or_else(|| clause(node)),
        Kind::Or(operands) => operands
            .iter()
            .map(judge)
            .max_by_key(|judged| judged.0)
            .unwrap_or_else(|| clause(node)),
        Kind::Not(operand) => match judge(operand) {
            (Class::Scan, clause, why) => (Class::Scan, clause, why),
            _ => (Class::Broad, node, "is a negation, which most events meet"),
        },
        _ => clause(node),
    }
}

fn clause(node: &Node) -> Judged<'_> {
    let (class, why) = match &node.kind {
        Kind::Literal(_) => (Class::Broad, "does not depend on the event"),
        Kind::Has(operand, _) if is_path(operand) => {
            (Class::Broad, "only asks whether a field is there")
        }
        Kind::Binary(operator, nodes) => comparison(*operator, &nodes[0], &nodes[1]),
        Kind::Call(call) => match (call.function, call.arguments.as_slice()) {
            (Function::StartsWith, [path, start]) if is_path(path) && is_text(start) => (
                Class::Selective,
                "is looked up by the beginning of the field",
            ),
            (Function::Contains | Function::EndsWith, [path, part])
                if is_path(path) && is_text(part) =>
            {
                (Class::Broad, "searches the text of the field")
            }
            (Function::Matches, [path, pattern]) if is_path(path) && is_anchored(pattern) => {
                (Class::Broad, "is narrowed by the beginning of its pattern")
            }
            (Function::Matches, _) => (Class::Scan, "runs a regular expression over every event"),
            _ => SCAN,
        },
        Kind::Macro(each) if is_path(&each.range) => {
            let (class, clause, why) = judge(&each.body);
            return match (each.name, class) {
                (MacroName::Exists, Class::Selective | Class::Broad) => (class, clause, why),
                (MacroName::All | MacroName::ExistsOne, Class::Selective | Class::Broad) => (
                    Class::Broad,
                    node,
                    "has to look at every element of the list",
                ),
                _ => (
                    Class::Scan,
                    node,
                    "is evaluated for every element on every event",
                ),
            };
        }
        _ if is_path(node) => (Class::Broad, "holds wherever the field is true"),
        _ => SCAN,
    };
    (class, node, why)
}

const SCAN: (Class, &str) = (
    Class::Scan,
    "cannot be looked up and is evaluated on every event",
);

fn comparison(operator: Operator, left: &Node, right: &Node) -> (Class, &'static str) {
    let measured = match &left.kind {
        Kind::Call(call) if call.function == Function::Size => {
            call.arguments.first().is_some_and(is_path)
        }
        _ => false,
    };
    match (operator, &right.kind) {
        (Operator::In, Kind::List(elements))
            if is_path(left) && elements.iter().all(Node::is_literal) =>
        {
            (Class::Selective, "is looked up by the field's value")
        }
        (Operator::In, _) if left.is_literal() && is_path(right) => {
            (Class::Selective, "is looked up by the values of the list")
        }
        (Operator::Equal, Kind::Literal(Literal::Bool(_) | Literal::Null)) if is_path(left) => {
            (Class::Broad, "compares with one of very few values")
        }
        (Operator::Equal, Kind::Literal(_)) if is_path(left) => {
            (Class::Selective, "is looked up by the field's value")
        }
        (Operator::NotEqual, Kind::Literal(_)) if is_path(left) => {
            (Class::Broad, "is a negation, which most events meet")
        }
        (
            Operator::Less | Operator::LessEqual | Operator::Greater | Operator::GreaterEqual,
            Kind::Literal(_),
        ) if is_path(left) => (Class::Broad, "is a range, which many events can be in"),
        (operator, Kind::Literal(_)) if measured && operator.mirrored().is_some() => {
            (Class::Broad, "compares a size, which many events share")
        }
        _ => SCAN,
    }
}

/// A variable, or a field below one.
fn is_path(node: &Node) -> bool {
    match &node.kind {
        Kind::Event | Kind::Record | Kind::Local(..) => true,
        Kind::Select(operand, _) => is_path(operand),
        Kind::Index(nodes) => is_path(&nodes[0]) && nodes[1].is_literal(),
        _ => false,
    }
}

/// A text that is not empty.
fn is_text(node: &Node) -> bool {
    matches!(&node.kind, Kind::Literal(Literal::String(text)) if !text.is_empty())
}

/// A pattern such as `^/hotels/.*`: a letter right behind the anchor, and no alternatives.
fn is_anchored(node: &Node) -> bool {
    let Kind::Literal(Literal::String(pattern)) = &node.kind else {
        return false;
    };
    let mut chars = pattern.chars();
    let plain =
        |char: char| char.is_alphanumeric() || matches!(char, '/' | '_' | '-' | ' ' | ':' | '@');
    chars.next() == Some('^')
        && chars.next().is_some_and(plain)
        && !chars
            .next()
            .is_some_and(|next| matches!(next, '*' | '?' | '{'))
        && !pattern.contains('|')
}
