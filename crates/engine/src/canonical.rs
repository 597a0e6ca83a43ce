//! One tree and one text for all filters that are equal but for how they are written.
//!
//! Equal means: spacing, comments, parentheses, the order, nesting and repetition of operands of `&&` and
//! `||`, quotes and escapes, spelling of numbers of one kind, the side of a comparison on which the constant
//! stands, `a["b"]` for `a.b`, the order of constants behind `in`. Nothing else: constants are not computed
//! and negations not moved, as that would make the text foreign to who wrote it.

use crate::function::Style;
use crate::lexer::is_quoted_name;
use crate::literal::{Literal, write_string};
use crate::tree::{Call, Kind, Macro, Node, Operator};

/// The canonical tree of `node`.
pub(crate) fn normal(node: &Node) -> Node {
    let each = |nodes: &[Node]| nodes.iter().map(normal).collect::<Vec<_>>();
    let kind = match &node.kind {
        Kind::And(operands) => return junction(each(operands), Kind::And, true),
        Kind::Or(operands) => return junction(each(operands), Kind::Or, false),
        Kind::Binary(operator, nodes) => binary(*operator, normal(&nodes[0]), normal(&nodes[1])),
        Kind::Negate(operand) => match normal(operand) {
            Node {
                kind: Kind::Literal(Literal::Int(value)),
                ..
            } if value != i64::MIN => Kind::Literal(Literal::Int(-value)),
            Node {
                kind: Kind::Literal(Literal::Double(value)),
                ..
            } => Kind::Literal(Literal::Double(-value)),
            operand => Kind::Negate(operand.into()),
        },
        Kind::Index(nodes) => match (normal(&nodes[0]), normal(&nodes[1])) {
            (
                operand,
                Node {
                    kind: Kind::Literal(Literal::String(field)),
                    ..
                },
            ) => Kind::Select(operand.into(), field),
            (operand, index) => Kind::Index([operand, index].into()),
        },
        Kind::Select(operand, field) => Kind::Select(normal(operand).into(), field.clone()),
        Kind::Has(operand, field) => Kind::Has(normal(operand).into(), field.clone()),
        Kind::Not(operand) => Kind::Not(normal(operand).into()),
        Kind::List(elements) => Kind::List(each(elements)),
        Kind::Map(entries) => Kind::Map(
            entries
                .iter()
                .map(|[k, v]| [normal(k), normal(v)])
                .collect(),
        ),
        Kind::Conditional(nodes) => Kind::Conditional(Box::new([
            normal(&nodes[0]),
            normal(&nodes[1]),
            normal(&nodes[2]),
        ])),
        Kind::Call(call) => Kind::Call(Box::new(Call {
            function: call.function,
            arguments: each(&call.arguments),
            regular: call.regular.clone(),
        })),
        Kind::Macro(each) => Kind::Macro(Box::new(Macro {
            name: each.name,
            range: normal(&each.range),
            variable: each.variable.clone(),
            condition: each.condition.as_ref().map(normal),
            body: normal(&each.body),
        })),
        Kind::Literal(_) | Kind::Event | Kind::Record | Kind::Local(..) | Kind::Type(_) => {
            node.kind.clone()
        }
    };
    Node::built(kind)
}

/// `&&` or `||` of operands that are canonical: flat, sorted by their text, none twice.
fn junction(operands: Vec<Node>, kind: fn(Vec<Node>) -> Kind, and: bool) -> Node {
    let mut keyed = Vec::new();
    for operand in operands {
        match operand.kind {
            Kind::And(inner) if and => {
                keyed.extend(inner.into_iter().map(|node| (text(&node), node)))
            }
            Kind::Or(inner) if !and => {
                keyed.extend(inner.into_iter().map(|node| (text(&node), node)))
            }
            _ => keyed.push((text(&operand), operand)),
        }
    }
    keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
    keyed.dedup_by(|(a, _), (b, _)| a == b);
    let mut operands: Vec<Node> = keyed.into_iter().map(|(_, node)| node).collect();
    match operands.pop() {
        Some(only) if operands.is_empty() => {
            // `a && a` is `a`, unless `a` may be a number, which `&&` takes for an error.
            if only.is_bool() {
                only
            } else {
                Node::built(kind(vec![only.clone(), only]))
            }
        }
        last => {
            operands.extend(last);
            Node::built(kind(operands))
        }
    }
}

fn binary(operator: Operator, left: Node, right: Node) -> Kind {
    match (operator.mirrored(), right.kind) {
        (Some(mirrored), kind) if left.is_literal() && !matches!(kind, Kind::Literal(_)) => {
            Kind::Binary(mirrored, [Node::built(kind), left].into())
        }
        (None, Kind::List(mut elements))
            if operator == Operator::In
                && !elements.is_empty()
                && elements.iter().all(Node::is_literal) =>
        {
            elements.sort_by_cached_key(text);
            elements.dedup_by_key(|element| text(element));
            match elements.pop() {
                Some(only) if elements.is_empty() => {
                    Kind::Binary(Operator::Equal, [left, only].into())
                }
                last => {
                    elements.extend(last);
                    Kind::Binary(operator, [left, Node::built(Kind::List(elements))].into())
                }
            }
        }
        (_, kind) => Kind::Binary(operator, [left, Node::built(kind)].into()),
    }
}

/// The text of a tree.
pub(crate) fn text(node: &Node) -> String {
    let mut text = String::new();
    write(node, &mut text);
    text
}

/// Adds the text of a tree to `out`.
pub(crate) fn write(node: &Node, out: &mut String) {
    Writer {
        out,
        scope: Vec::new(),
    }
    .node(node, CONDITIONAL);
}

// How tightly an expression holds together; a part that holds less tightly than its place wants stands in
// parentheses.
const CONDITIONAL: u8 = 0;
const OR: u8 = 1;
const AND: u8 = 2;
const RELATION: u8 = 3;
const SUM: u8 = 4;
const PRODUCT: u8 = 5;
const UNARY: u8 = 6;
const MEMBER: u8 = 7;

fn tightness(kind: &Kind) -> u8 {
    match kind {
        Kind::Conditional(_) => CONDITIONAL,
        Kind::Or(_) => OR,
        Kind::And(_) => AND,
        Kind::Binary(operator, _) => match operator {
            Operator::Add | Operator::Subtract => SUM,
            Operator::Multiply | Operator::Divide | Operator::Modulo => PRODUCT,
            _ => RELATION,
        },
        Kind::Not(_) | Kind::Negate(_) => UNARY,
        Kind::Literal(Literal::Int(value)) if *value < 0 => UNARY,
        Kind::Literal(Literal::Double(value)) if value.is_sign_negative() => UNARY,
        _ => MEMBER,
    }
}

struct Writer<'n, 'o> {
    out: &'o mut String,
    /// The variables of the macros around.
    scope: Vec<&'n str>,
}

impl<'n> Writer<'n, '_> {
    fn node(&mut self, node: &'n Node, wanted: u8) {
        let tightness = tightness(&node.kind);
        if tightness < wanted {
            self.out.push('(');
            self.kind(&node.kind, tightness);
            self.out.push(')');
        } else {
            self.kind(&node.kind, tightness);
        }
    }

    fn kind(&mut self, kind: &'n Kind, tightness: u8) {
        match kind {
            Kind::Literal(literal) => literal.write(self.out),
            Kind::Event => self.global("event"),
            Kind::Record => self.global("record"),
            Kind::Type(kind) => self.global(kind.as_str()),
            Kind::Local(name, _) => self.out.push_str(name),
            Kind::Select(operand, field) => {
                self.node(operand, MEMBER);
                if is_plain_name(field) {
                    self.out.push('.');
                    self.out.push_str(field);
                } else {
                    self.out.push('[');
                    write_string(field, self.out);
                    self.out.push(']');
                }
            }
            Kind::Has(operand, field) => {
                self.out.push_str("has(");
                self.node(operand, MEMBER);
                // Only a name that is plain or in backticks can have been written here.
                let quote = if is_plain_name(field) || !field.bytes().all(is_quoted_name) {
                    ""
                } else {
                    "`"
                };
                for part in [".", quote, field, quote, ")"] {
                    self.out.push_str(part);
                }
            }
            Kind::Index(nodes) => {
                self.node(&nodes[0], MEMBER);
                self.out.push('[');
                self.node(&nodes[1], CONDITIONAL);
                self.out.push(']');
            }
            Kind::List(elements) => {
                self.out.push('[');
                self.separated(elements, ", ", CONDITIONAL);
                self.out.push(']');
            }
            Kind::Map(entries) => {
                self.out.push('{');
                for (index, [key, value]) in entries.iter().enumerate() {
                    self.out.push_str(if index > 0 { ", " } else { "" });
                    self.node(key, CONDITIONAL);
                    self.out.push_str(": ");
                    self.node(value, CONDITIONAL);
                }
                self.out.push('}');
            }
            Kind::Not(operand) => {
                self.out.push('!');
                self.node(operand, MEMBER);
            }
            Kind::Negate(operand) => {
                self.out.push('-');
                // A number right behind the sign would take it for its own.
                let wanted = if begins_with_number(operand) {
                    MEMBER + 1
                } else {
                    MEMBER
                };
                self.node(operand, wanted);
            }
            Kind::And(operands) => self.separated(operands, " && ", AND + 1),
            Kind::Or(operands) => self.separated(operands, " || ", OR + 1),
            Kind::Conditional(nodes) => {
                self.node(&nodes[0], OR);
                self.out.push_str(" ? ");
                self.node(&nodes[1], OR);
                self.out.push_str(" : ");
                self.node(&nodes[2], CONDITIONAL);
            }
            Kind::Binary(operator, nodes) => {
                self.node(&nodes[0], tightness);
                for part in [" ", operator.as_str(), " "] {
                    self.out.push_str(part);
                }
                self.node(&nodes[1], tightness + 1);
            }
            Kind::Call(call) => self.call(call),
            Kind::Macro(each) => {
                self.node(&each.range, MEMBER);
                for part in [".", each.name.as_str(), "(", &each.variable, ", "] {
                    self.out.push_str(part);
                }
                self.scope.push(&each.variable);
                if let Some(condition) = &each.condition {
                    self.node(condition, CONDITIONAL);
                    self.out.push_str(", ");
                }
                self.node(&each.body, CONDITIONAL);
                self.scope.pop();
                self.out.push(')');
            }
        }
    }

    /// A name that a macro's variable may hide.
    fn global(&mut self, name: &str) {
        let first = name.split('.').next().unwrap_or(name);
        if self.scope.contains(&first) {
            self.out.push('.');
        }
        self.out.push_str(name);
    }

    fn separated(&mut self, nodes: &'n [Node], separator: &str, wanted: u8) {
        for (index, node) in nodes.iter().enumerate() {
            self.out.push_str(if index > 0 { separator } else { "" });
            self.node(node, wanted);
        }
    }

    fn call(&mut self, call: &'n Call) {
        let mut arguments = call.arguments.as_slice();
        // What can be called either way is a global function with one argument, a member with two.
        let member = match call.function.style() {
            Style::Global => false,
            Style::Member => true,
            Style::Both => arguments.len() > 1,
        };
        if let Some((target, rest)) = arguments.split_first().filter(|_| member) {
            self.node(target, MEMBER);
            self.out.push('.');
            arguments = rest;
        }
        self.out.push_str(call.function.as_str());
        self.out.push('(');
        self.separated(arguments, ", ", CONDITIONAL);
        self.out.push(')');
    }
}

fn begins_with_number(node: &Node) -> bool {
    match &node.kind {
        Kind::Literal(Literal::Int(_) | Literal::Double(_)) => true,
        Kind::Select(operand, _) => begins_with_number(operand),
        Kind::Index(nodes) => begins_with_number(&nodes[0]),
        Kind::Macro(each) => begins_with_number(&each.range),
        Kind::Call(call) => call.arguments.first().is_some_and(begins_with_number),
        _ => false,
    }
}

/// Whether `name` can stand behind a dot as it is.
fn is_plain_name(name: &str) -> bool {
    name.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !matches!(name, "in" | "true" | "false" | "null")
}
