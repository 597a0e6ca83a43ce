//! Why a filter holds for a record, or does not.

use serde::Serialize;

use crate::canonical;
use crate::eval::Evaluator;
use crate::fault::Fault;
use crate::filter::Filter;
use crate::record::{Record, Unreadable};
use crate::tree::{Kind, Node};
use crate::value::{Value, shown};

/// How one filter came to its result on one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The result of the whole filter.
    pub result: ExplainedResult,
    /// The filter, clause by clause, in the order it is written.
    pub tree: Explained,
    /// The clause that decided.
    pub decided: Decided,
}

/// The result of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ExplainedResult {
    /// It holds.
    Match,
    /// It does not hold.
    NoMatch,
    /// It has no value, and so does not hold.
    Error,
}

/// One expression of a filter with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// In canonical form.
    pub text: String,
    /// First byte in the filter as it was written; of one that was joined from several, in its canonical text.
    pub offset: usize,
    /// Bytes there.
    pub length: usize,
    /// `&&`, `||`, `!`, `?:` or `clause`.
    pub operator: &'static str,
    /// The value as CEL writes it, shortened to 120 characters; `null` in JSON if there is none.
    pub value: Option<String>,
    /// Why there is no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Operands; of a clause those whose value is not plain to see.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Explained>,
}

/// The clause that decided the result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decided {
    /// As in [`Explained::text`].
    pub text: String,
    /// As in [`Explained::offset`].
    pub offset: usize,
    /// As in [`Explained::length`].
    pub length: usize,
    /// One sentence for people, such as ``no match, because `event.price > 100` is false: `event.price` is 42``.
    pub reason: String,
}

/// Evaluates every clause of `filter` on `record`, also those that did not matter, and says which one decided.
///
/// All of it is bounded by a few times the steps of one evaluation; a clause beyond has no value and says so.
///
/// # Errors
/// The record's value is not a JSON object, or beyond a limit.
///
/// ```
/// use clickstream_engine::{Filter, Record, explain};
///
/// let filter = Filter::parse("event.type == 'purchase' && event.price > 100")?;
/// let record = Record::of_value(br#"{"type": "purchase", "price": 42}"#);
/// assert_eq!(
///     explain(&filter, &record).unwrap().decided.reason,
///     "no match, because `event.price > 100` is false: `event.price` is 42",
/// );
/// # Ok::<(), clickstream_engine::FilterError>(())
/// ```
pub fn explain(filter: &Filter, record: &Record<'_>) -> Result<Explanation, Unreadable> {
    let mut evaluator = Evaluator::new(record.event()?, record.variable(), record.value.len());
    let (written, _) = filter.written();
    let result = match evaluator.value(filter.tree()) {
        Ok(Value::Bool(true)) => ExplainedResult::Match,
        Ok(_) => ExplainedResult::NoMatch,
        Err(_) => ExplainedResult::Error,
    };
    let tree = explained(&mut evaluator, written);
    let decided = decided(&tree, result);
    Ok(Explanation {
        result,
        tree,
        decided,
    })
}

/// Parts are evaluated again and again, as many times as they lie deep; this many evaluations of a filter that
/// takes all of its steps are enough to explain any other.
const EXPLAINED_FILTERS: u64 = 4;

fn explained<'a>(evaluator: &mut Evaluator<'a>, node: &'a Node) -> Explained {
    let (value, error) = outcome(evaluator.part(node, EXPLAINED_FILTERS));
    let mut children = Vec::new();
    let operator = match &node.kind {
        Kind::And(_) => "&&",
        Kind::Or(_) => "||",
        Kind::Not(_) => "!",
        Kind::Conditional(_) => "?:",
        _ => "clause",
    };
    match &node.kind {
        // The body of a macro has no value of its own: its variable stands at nothing.
        Kind::Macro(each) => inputs(evaluator, &each.range, &mut children),
        // A path is its own value; what leads to it says nothing more, unless it fails.
        Kind::Select(..) | Kind::Has(..) => {}
        kind if operator == "clause" => {
            kind.each_child(|child| inputs(evaluator, child, &mut children))
        }
        kind => kind.each_child(|child| children.push(explained(evaluator, child))),
    }
    Explained {
        text: canonical::text(node),
        offset: node.span.start,
        length: node.span.end - node.span.start,
        operator,
        value,
        error,
        children,
    }
}

/// Adds `node` to the operands of a clause, unless it says all there is to say itself.
fn inputs<'a>(evaluator: &mut Evaluator<'a>, node: &'a Node, children: &mut Vec<Explained>) {
    if !node.is_constant() && !matches!(node.kind, Kind::Event | Kind::Record) {
        children.push(explained(evaluator, node));
    }
}

fn outcome(value: Result<Value<'_>, Fault<'_>>) -> (Option<String>, Option<String>) {
    match value {
        Ok(value) => (Some(shown(&value)), None),
        Err(fault) => (None, Some(fault.to_string())),
    }
}

/// Follows from the root the first operand that made the result what it is.
fn decided(root: &Explained, result: ExplainedResult) -> Decided {
    let mut node = root;
    loop {
        let same = |child: &&Explained| {
            child.value == node.value && child.error.is_some() == node.error.is_some()
        };
        let next = match (node.operator, node.value.as_deref()) {
            ("&&", Some("false")) | ("||", Some("true")) | ("&&" | "||", None) => {
                // An operand that is neither true nor false is an error to `&&`, too.
                node.children
                    .iter()
                    .find(same)
                    .or_else(|| node.children.iter().find(|child| !child.is_truth()))
            }
            ("!", _) => node.children.first(),
            ("?:", _) => match node
                .children
                .first()
                .and_then(|condition| condition.value.as_deref())
            {
                Some("true") => node.children.get(1),
                Some("false") => node.children.get(2),
                _ => node.children.first(),
            },
            _ => None,
        };
        match next {
            Some(child) => node = child,
            None => break,
        }
    }
    let how = match result {
        ExplainedResult::Match => "match",
        ExplainedResult::NoMatch => "no match",
        ExplainedResult::Error => "no match and an error",
    };
    let because = match (node.operator, &node.value, &node.error) {
        ("&&", Some(_), _) => "all of its clauses hold".to_owned(),
        ("||", Some(_), _) => "none of its clauses holds".to_owned(),
        (_, Some(value), _) => format!("`{}` is {value}", node.text),
        (_, None, error) => {
            format!(
                "`{}` has no value: {}",
                node.text,
                error.as_deref().unwrap_or_default()
            )
        }
    };
    let inputs: Vec<String> = node
        .children
        .iter()
        .filter(|_| node.operator == "clause" && node.value.is_some())
        .filter_map(|child| Some(format!("`{}` is {}", child.text, child.value.as_ref()?)))
        .collect();
    let reason = match inputs.as_slice() {
        [] => format!("{how}, because {because}"),
        inputs => format!("{how}, because {because}: {}", inputs.join(", ")),
    };
    Decided {
        text: node.text.clone(),
        offset: node.offset,
        length: node.length,
        reason,
    }
}

impl Explained {
    fn is_truth(&self) -> bool {
        matches!(self.value.as_deref(), Some("true" | "false"))
    }
}
