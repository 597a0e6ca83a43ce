//! Whether an evaluation can run into its budget of steps.
//!
//! The index counts no steps, so that a filter which could take more than [`limits::STEPS`] allow is always
//! evaluated from its tree. Only filters with many searches or with macros are.

use crate::function::Function;
use crate::limits;
use crate::literal::Literal;
use crate::tree::{Kind, Macro, Node, Operator};

/// Bytes of the shortest element of a list, with its comma, and of an object, with its name.
const ELEMENT_BYTES: f64 = 2.0;

/// At most so many steps, and so many for each byte of the event.
#[derive(Clone, Copy, Default)]
struct Steps {
    fixed: f64,
    per_byte: f64,
}

/// Whether [`limits::STEPS`] suffice for this tree on every event.
pub(super) fn are_bounded(tree: &Node) -> bool {
    let steps = most(tree);
    steps.fixed <= limits::STEPS as f64 && steps.per_byte <= limits::STEPS_PER_BYTE as f64
}

fn most(node: &Node) -> Steps {
    let mut steps = own(node);
    if !matches!(node.kind, Kind::Macro(_)) {
        node.kind.each_child(|child| {
            let child = most(child);
            steps.fixed += child.fixed;
            steps.per_byte += child.per_byte;
        });
    }
    steps
}

/// Bytes of a literal in steps.
fn weight(node: &Node) -> f64 {
    let bytes = match &node.kind {
        Kind::Literal(Literal::String(text)) => text.len(),
        Kind::Literal(Literal::Bytes(bytes)) => bytes.len(),
        _ => 0,
    };
    1.0 + bytes as f64 / limits::BYTES_PER_STEP as f64
}

/// Of the node without its children.
fn own(node: &Node) -> Steps {
    let fixed = |fixed| Steps {
        fixed,
        per_byte: 0.0,
    };
    let per_byte = |per_byte| Steps {
        fixed: 2.0,
        per_byte,
    };
    match &node.kind {
        Kind::Binary(Operator::In, nodes) => match &nodes[1].kind {
            Kind::List(elements) => fixed(1.0 + elements.iter().map(weight).sum::<f64>()),
            _ => per_byte(weight(&nodes[0]) / ELEMENT_BYTES),
        },
        Kind::Binary(_, nodes) => fixed(1.0 + weight(&nodes[1])),
        Kind::Call(call) => match call.function {
            Function::Size | Function::Contains => per_byte(1.0 / limits::BYTES_PER_STEP as f64),
            Function::Matches => per_byte(8.0 / limits::BYTES_PER_STEP as f64),
            _ => fixed(1.0 + call.arguments.get(1).map_or(0.0, weight)),
        },
        Kind::Macro(each) => every_element(each),
        _ => fixed(1.0),
    }
}

/// A macro whose body is fixed; of the names of an object, which are made a list, and the elements of a list.
fn every_element(each: &Macro) -> Steps {
    let body = most(&each.body);
    let element = (1.0 + body.fixed + limits::STEPS_PER_MADE as f64 / 2.0) / ELEMENT_BYTES;
    Steps {
        fixed: 2.0 + most(&each.range).fixed,
        per_byte: if body.per_byte > 0.0 {
            f64::INFINITY
        } else {
            element
        },
    }
}
