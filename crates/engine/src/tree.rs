//! The tree of a filter. Names are resolved and macros recognised; nothing in it depends on the text
//! except the spans.

use std::sync::Arc;

use crate::error::Span;
use crate::function::Function;
use crate::kind::Type;
use crate::limits;
use crate::literal::Literal;
use crate::regular::Regular;

/// One expression.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// Where it stands in the text it was parsed from, enclosing parentheses included.
    pub(crate) span: Span,
    /// Levels below and including this one; at most [`limits::MAX_FILTER_DEPTH`] once parsed.
    depth: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Literal(Literal),
    /// The payload.
    Event,
    /// Topic, offset and so on.
    Record,
    /// A macro's variable: its name, and how many macros' variables are around it.
    Local(Box<str>, usize),
    Type(Type),
    /// `operand.field`.
    Select(Box<Node>, Box<str>),
    /// `has(operand.field)`.
    Has(Box<Node>, Box<str>),
    /// `operand[index]`.
    Index(Box<[Node; 2]>),
    List(Vec<Node>),
    Map(Vec<[Node; 2]>),
    Not(Box<Node>),
    Negate(Box<Node>),
    /// Two or more operands, none of which is an `And` itself once the tree is canonical.
    And(Vec<Node>),
    /// Likewise.
    Or(Vec<Node>),
    /// `condition ? first : second`.
    Conditional(Box<[Node; 3]>),
    Binary(Operator, Box<[Node; 2]>),
    Call(Box<Call>),
    Macro(Box<Macro>),
}

/// A call of a standard function. What the function is called on is its first argument.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) function: Function,
    pub(crate) arguments: Vec<Node>,
    /// The compiled pattern of `matches`, if it is a constant.
    pub(crate) regular: Option<Arc<Regular>>,
}

/// `range.all(variable, body)` and its like.
#[derive(Clone, Debug)]
pub(crate) struct Macro {
    pub(crate) name: MacroName,
    pub(crate) range: Node,
    pub(crate) variable: Box<str>,
    /// The second of three arguments of `map`.
    pub(crate) condition: Option<Node>,
    pub(crate) body: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MacroName {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

impl MacroName {
    pub(crate) const EACH: [MacroName; 5] = [
        MacroName::All,
        MacroName::Exists,
        MacroName::ExistsOne,
        MacroName::Filter,
        MacroName::Map,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            MacroName::All => "all",
            MacroName::Exists => "exists",
            MacroName::ExistsOne => "exists_one",
            MacroName::Filter => "filter",
            MacroName::Map => "map",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::EACH.into_iter().find(|each| each.as_str() == name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Operator {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Operator::Equal => "==",
            Operator::NotEqual => "!=",
            Operator::Less => "<",
            Operator::LessEqual => "<=",
            Operator::Greater => ">",
            Operator::GreaterEqual => ">=",
            Operator::In => "in",
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
            Operator::Modulo => "%",
        }
    }

    /// The operator that says the same with its operands exchanged.
    pub(crate) fn mirrored(self) -> Option<Operator> {
        Some(match self {
            Operator::Equal | Operator::NotEqual => self,
            Operator::Less => Operator::Greater,
            Operator::LessEqual => Operator::GreaterEqual,
            Operator::Greater => Operator::Less,
            Operator::GreaterEqual => Operator::LessEqual,
            _ => return None,
        })
    }
}

impl Node {
    pub(crate) fn new(kind: Kind, span: Span) -> Self {
        let mut deepest = 0;
        kind.each_child(|child| deepest = deepest.max(child.depth));
        Self {
            depth: deepest + 1,
            kind,
            span,
        }
    }

    /// A node that was never written.
    pub(crate) fn built(kind: Kind) -> Self {
        Self::new(kind, Span::default())
    }

    pub(crate) fn literal(literal: Literal) -> Self {
        Self::built(Kind::Literal(literal))
    }

    /// The same, standing elsewhere.
    pub(crate) fn at(self, span: Span) -> Self {
        Self { span, ..self }
    }

    pub(crate) fn too_deep(&self) -> bool {
        self.depth > limits::MAX_FILTER_DEPTH
    }

    pub(crate) fn is_literal(&self) -> bool {
        matches!(self.kind, Kind::Literal(_))
    }

    /// Whether it can be nothing but true, false or an error.
    pub(crate) fn is_bool(&self) -> bool {
        match &self.kind {
            Kind::Literal(Literal::Bool(_))
            | Kind::Has(..)
            | Kind::Not(_)
            | Kind::And(_)
            | Kind::Or(_) => true,
            Kind::Binary(operator, _) => !matches!(
                operator,
                Operator::Add
                    | Operator::Subtract
                    | Operator::Multiply
                    | Operator::Divide
                    | Operator::Modulo
            ),
            Kind::Call(call) => matches!(
                call.function,
                Function::Bool
                    | Function::Contains
                    | Function::EndsWith
                    | Function::Matches
                    | Function::StartsWith
            ),
            Kind::Macro(each) => !matches!(each.name, MacroName::Filter | MacroName::Map),
            _ => false,
        }
    }

    /// Whether its value can be told without an event.
    pub(crate) fn is_constant(&self) -> bool {
        let mut constant = !matches!(self.kind, Kind::Event | Kind::Record | Kind::Local(..));
        self.kind
            .each_child(|child| constant &= child.is_constant());
        constant
    }

    /// Whether `wanted` holds for this node or one below it.
    pub(crate) fn any(&self, wanted: &impl Fn(&Kind) -> bool) -> bool {
        let mut found = wanted(&self.kind);
        self.kind
            .each_child(|child| found = found || child.any(wanted));
        found
    }
}

impl Kind {
    /// The nodes directly below, in the order they are written.
    pub(crate) fn each_child<'n>(&'n self, mut visit: impl FnMut(&'n Node)) {
        match self {
            Kind::Literal(_) | Kind::Event | Kind::Record | Kind::Local(..) | Kind::Type(_) => {}
            Kind::Select(operand, _)
            | Kind::Has(operand, _)
            | Kind::Not(operand)
            | Kind::Negate(operand) => {
                visit(operand);
            }
            Kind::Index(nodes) | Kind::Binary(_, nodes) => nodes.iter().for_each(visit),
            Kind::Conditional(nodes) => nodes.iter().for_each(visit),
            Kind::List(nodes) | Kind::And(nodes) | Kind::Or(nodes) => nodes.iter().for_each(visit),
            Kind::Map(entries) => entries.iter().flatten().for_each(visit),
            Kind::Call(call) => call.arguments.iter().for_each(visit),
            Kind::Macro(each) => {
                visit(&each.range);
                each.condition.iter().for_each(&mut visit);
                visit(&each.body);
            }
        }
    }
}
