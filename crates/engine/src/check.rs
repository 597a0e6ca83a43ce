//! What a filter may combine: kinds, regular expressions, and how much of all.
//!
//! Most of an event's kinds are unknown until it comes. What is known before, from constants, functions and
//! the fields of `record`, is held together here, so that a filter that can never be true for a reason of
//! kinds is refused instead of staying silent.

use std::sync::Arc;

use crate::canonical;
use crate::convert;
use crate::error::{FilterError, FilterErrorKind, Span, closest};
use crate::eval;
use crate::function::{Function, Style};
use crate::kind::{Known, Type, arithmetic};
use crate::limits;
use crate::literal::Literal;
use crate::regular::Regular;
use crate::tree::{Call, Kind, Macro, MacroName, Node, Operator};
use crate::value::Value;

type Result<T> = std::result::Result<T, FilterError>;

/// Fields of `record`.
const RECORD_FIELDS: [(&str, Known); 6] = [
    ("topic", Some(Type::String)),
    ("partition", Some(Type::Int)),
    ("offset", Some(Type::Int)),
    ("timestamp", Some(Type::Timestamp)),
    ("key", None),
    ("headers", Some(Type::Map)),
];

/// Checks the kinds of a whole filter, and compiles its regular expressions.
pub(crate) fn check(text: &str, node: &mut Node) -> Result<()> {
    let mut checker = Checker {
        text,
        clauses: 0,
        regexes: 0,
    };
    let kind = match checker.kind(node) {
        // What names no event tests the language rather than events, and is left to its evaluation.
        Err(error)
            if error.kind == FilterErrorKind::Type && node.is_constant() && node.is_bool() =>
        {
            None
        }
        kind => kind?,
    };
    match kind {
        None | Some(Type::Bool) => Ok(()),
        Some(kind) => {
            let message = format!(
                "the filter gives {}, not true or false",
                kind.with_article()
            );
            let error = checker.error(node.span, message);
            // A constant says nothing about the event, whatever it is compared with.
            Err(if node.is_constant() {
                error
            } else {
                error.suggest(example(text, node, kind))
            })
        }
    }
}

/// A comparison that makes a filter of a value of this kind.
fn example(text: &str, node: &Node, kind: Type) -> String {
    let constant = match kind {
        Type::String => "\"…\"",
        Type::List | Type::Map => {
            return format!("size({}) > 0", &text[node.span.start..node.span.end]);
        }
        _ => "…",
    };
    format!("{} == {constant}", &text[node.span.start..node.span.end])
}

struct Checker<'t> {
    text: &'t str,
    clauses: usize,
    regexes: usize,
}

impl Checker<'_> {
    fn error(&self, span: Span, message: impl Into<String>) -> FilterError {
        FilterError::new(FilterErrorKind::Type, self.text, span, message)
    }

    fn kind(&mut self, node: &mut Node) -> Result<Known> {
        let span = node.span;
        Ok(match &mut node.kind {
            Kind::Literal(literal) => Some(literal.kind()),
            Kind::Event => Some(Type::Map),
            Kind::Record => Some(Type::Map),
            Kind::Local(..) => None,
            Kind::Type(_) => Some(Type::Type),
            Kind::Select(operand, field) => {
                let field = field.clone();
                self.field(operand, &field, span)?
            }
            Kind::Has(operand, field) => {
                let field = field.clone();
                self.field(operand, &field, span)?;
                Some(Type::Bool)
            }
            Kind::Index(nodes) => {
                let [operand, index] = &mut **nodes;
                self.index(operand, index, span)?
            }
            Kind::List(elements) => {
                for element in elements {
                    self.kind(element)?;
                }
                Some(Type::List)
            }
            Kind::Map(entries) => {
                for [key, value] in entries {
                    self.map_key(key)?;
                    self.kind(value)?;
                }
                Some(Type::Map)
            }
            Kind::Not(operand) => {
                self.condition(operand, "`!`")?;
                Some(Type::Bool)
            }
            Kind::Negate(operand) => match self.kind(operand)? {
                kind @ (None | Some(Type::Int | Type::Double)) => kind,
                Some(kind) => {
                    let message = format!("`-` cannot be put before {}", kind.with_article());
                    return Err(self.error(span, message));
                }
            },
            Kind::And(operands) => self.operands(operands, "`&&`")?,
            Kind::Or(operands) => self.operands(operands, "`||`")?,
            Kind::Conditional(nodes) => {
                let [condition, first, second] = &mut **nodes;
                self.condition(condition, "`?`")?;
                let (first, second) = (self.kind(first)?, self.kind(second)?);
                first.filter(|_| first == second)
            }
            Kind::Binary(operator, nodes) => {
                let [left, right] = &mut **nodes;
                let operator = *operator;
                let kinds = (self.kind(left)?, self.kind(right)?);
                self.binary(operator, kinds, left, right, span)?
            }
            Kind::Call(call) => self.call(call)?,
            Kind::Macro(each) => self.each(each)?,
        })
    }

    /// An operand that has to be true or false.
    fn condition(&mut self, node: &mut Node, of: &str) -> Result<()> {
        match self.kind(node)? {
            None | Some(Type::Bool) => Ok(()),
            Some(kind) => {
                let message = format!("{of} wants true or false, this is {}", kind.with_article());
                let error = self.error(node.span, message);
                Err(if node.is_constant() {
                    error
                } else {
                    error.suggest(example(self.text, node, kind))
                })
            }
        }
    }

    fn operands(&mut self, operands: &mut [Node], of: &str) -> Result<Known> {
        self.clauses += operands.len();
        for operand in operands {
            if self.clauses > limits::MAX_CLAUSES {
                let message = format!("the filter joins more than {} clauses", limits::MAX_CLAUSES);
                let error =
                    FilterError::new(FilterErrorKind::Limit, self.text, operand.span, message);
                return Err(error.suggest("event.field in [\"…\", \"…\"]"));
            }
            self.condition(operand, of)?;
        }
        Ok(Some(Type::Bool))
    }

    /// `operand.field`, with or without `has` around.
    fn field(&mut self, operand: &mut Node, field: &str, span: Span) -> Result<Known> {
        let kind = self.kind(operand)?;
        if matches!(operand.kind, Kind::Record) {
            return self.record_field(field, span);
        }
        match kind {
            None | Some(Type::Map) => Ok(None),
            Some(kind) => {
                let message = format!("{} has no fields", kind.with_article());
                Err(self.error(operand.span, message))
            }
        }
    }

    fn record_field(&self, field: &str, span: Span) -> Result<Known> {
        if let Some((_, kind)) = RECORD_FIELDS.into_iter().find(|(name, _)| *name == field) {
            return Ok(kind);
        }
        let names = RECORD_FIELDS.map(|(name, _)| name);
        let message = format!("`record` has no field `{field}`, only {}", names.join(", "));
        let start = self.text[span.start..span.end]
            .rfind(field)
            .map_or(span.start, |at| span.start + at);
        let end = (start + field.len()).min(span.end);
        let error = FilterError::new(
            FilterErrorKind::UnknownVariable,
            self.text,
            Span::new(start, end),
            message,
        );
        Err(match closest(field, names) {
            Some(name) => error.suggest(name),
            None => error,
        })
    }

    fn index(&mut self, operand: &mut Node, index: &mut Node, span: Span) -> Result<Known> {
        let (of, by) = (self.kind(operand)?, self.kind(index)?);
        if let (Kind::Record, Kind::Literal(Literal::String(field))) = (&operand.kind, &index.kind)
        {
            return self.record_field(field, span);
        }
        match (of, by) {
            (None | Some(Type::Map), None)
            | (
                None | Some(Type::Map),
                Some(Type::Bool | Type::Int | Type::Uint | Type::Double | Type::String),
            )
            | (Some(Type::List), None | Some(Type::Int | Type::Uint | Type::Double)) => Ok(None),
            (None | Some(Type::Map | Type::List), Some(by)) => {
                let message = format!("`[…]` cannot look up {}", by.with_article());
                Err(self.error(index.span, message))
            }
            (Some(of), _) => {
                let message = format!("{} has no elements", of.with_article());
                Err(self.error(operand.span, message))
            }
        }
    }

    fn map_key(&mut self, key: &mut Node) -> Result<()> {
        match self.kind(key)? {
            None | Some(Type::Bool | Type::Int | Type::Uint | Type::String) => Ok(()),
            Some(kind) => {
                let message = format!("{} cannot be a key of a map", kind.with_article());
                Err(self.error(key.span, message))
            }
        }
    }

    fn binary(
        &self,
        operator: Operator,
        kinds: (Known, Known),
        left: &Node,
        right: &Node,
        span: Span,
    ) -> Result<Known> {
        use Operator as O;
        use Type as T;
        if let (O::In, Kind::List(elements)) = (operator, &right.kind) {
            for element in elements {
                if let Kind::Literal(literal) = &element.kind {
                    let kinds = (kinds.0, Some(literal.kind()));
                    self.binary(O::Equal, kinds, left, element, element.span)?;
                }
            }
        }
        let numbers = |a: Type, b: Type| a.is_number() && b.is_number();
        let fits = match (operator, kinds) {
            (_, (None, None)) => true,
            (O::Equal | O::NotEqual, (Some(a), Some(b))) => {
                a == b || numbers(a, b) || a == T::Null || b == T::Null
            }
            (O::Equal | O::NotEqual, _) => true,
            (O::Less | O::LessEqual | O::Greater | O::GreaterEqual, kinds) => match kinds {
                (Some(a), Some(b)) => numbers(a, b) || (a == b && a.is_ordered()),
                (Some(kind), None) | (None, Some(kind)) => kind.is_ordered(),
                (None, None) => true,
            },
            (O::In, (_, collection)) => matches!(collection, None | Some(T::List | T::Map)),
            (operator, (Some(a), Some(b))) => arithmetic(operator, a, b).is_some(),
            (operator, (Some(kind), None)) => T::EACH
                .iter()
                .any(|&b| arithmetic(operator, kind, b).is_some()),
            (operator, (None, Some(kind))) => T::EACH
                .iter()
                .any(|&a| arithmetic(operator, a, kind).is_some()),
        };
        if fits {
            return Ok(match (operator, kinds) {
                (
                    O::Add | O::Subtract | O::Multiply | O::Divide | O::Modulo,
                    (Some(a), Some(b)),
                ) => arithmetic(operator, a, b),
                (O::Add | O::Subtract | O::Multiply | O::Divide | O::Modulo, _) => None,
                _ => Some(T::Bool),
            });
        }
        let sign = operator.as_str();
        let message = match (operator, kinds) {
            (O::In, (_, Some(kind))) => format!(
                "`in` looks into a list or a map, not into {}",
                kind.with_article()
            ),
            (O::Equal | O::NotEqual, (Some(a), Some(b))) => {
                format!("{} never equals {}", a.with_article(), b.with_article())
            }
            (_, (Some(a), Some(b))) => {
                format!(
                    "`{sign}` does not take {} and {}",
                    a.with_article(),
                    b.with_article()
                )
            }
            (_, (Some(kind), None) | (None, Some(kind))) => {
                format!("`{sign}` does not take {}", kind.with_article())
            }
            (_, (None, None)) => format!("`{sign}` does not fit"),
        };
        let error = self.error(span, message);
        let text = |node: &Node| &self.text[node.span.start..node.span.end];
        Err(match (operator, kinds) {
            (O::In, (_, Some(T::String))) => {
                error.suggest(format!("{}.contains({})", text(right), text(left)))
            }
            // A number in quotes, or quotes forgotten around one.
            (_, (Some(a), Some(b))) if a.is_number() && b == T::String => unquoted(error, right),
            (_, (Some(a), Some(b))) if b.is_number() && a == T::String => unquoted(error, left),
            (_, (Some(T::Timestamp), Some(T::String))) => {
                error.suggest(format!("timestamp({})", text(right)))
            }
            (_, (Some(T::String), Some(T::Timestamp))) => {
                error.suggest(format!("timestamp({})", text(left)))
            }
            (_, (Some(T::Duration), Some(T::String))) => {
                error.suggest(format!("duration({})", text(right)))
            }
            (_, (Some(T::Int), Some(T::Double))) => {
                error.suggest(format!("double({})", text(left)))
            }
            (_, (Some(T::Double), Some(T::Int))) => {
                error.suggest(format!("double({})", text(right)))
            }
            _ => error,
        })
    }

    fn call(&mut self, call: &mut Call) -> Result<Known> {
        use Function as F;
        let mut kinds = Vec::with_capacity(call.arguments.len());
        for argument in &mut call.arguments {
            kinds.push(self.kind(argument)?);
        }
        let allowed = |position: usize| -> &[Type] {
            match (call.function, position) {
                (F::Contains | F::StartsWith | F::EndsWith | F::Matches, _) => &[Type::String],
                (F::Size, _) => &[Type::String, Type::Bytes, Type::List, Type::Map],
                (F::Bool, _) => &[Type::Bool, Type::String],
                (F::Bytes, _) => &[Type::Bytes, Type::String],
                (F::Double, _) => &[Type::Double, Type::Int, Type::Uint, Type::String],
                (F::Int, _) => &[
                    Type::Int,
                    Type::Uint,
                    Type::Double,
                    Type::String,
                    Type::Timestamp,
                ],
                (F::Uint, _) => &[Type::Uint, Type::Int, Type::Double, Type::String],
                (F::String, _) => &[
                    Type::String,
                    Type::Bool,
                    Type::Int,
                    Type::Uint,
                    Type::Double,
                    Type::Bytes,
                    Type::Timestamp,
                    Type::Duration,
                ],
                (F::Timestamp, _) => &[Type::Timestamp, Type::String, Type::Int],
                (F::Duration, _) => &[Type::Duration, Type::String],
                (F::Dyn | F::Type, _) => &Type::EACH,
                (F::GetHours | F::GetMinutes | F::GetSeconds | F::GetMilliseconds, 0) => {
                    &[Type::Timestamp, Type::Duration]
                }
                // The other fields of a point in time; the second argument names the zone.
                (_, 0) => &[Type::Timestamp],
                (_, _) => &[Type::String],
            }
        };
        for (position, (argument, kind)) in call.arguments.iter().zip(&kinds).enumerate() {
            if let Some(kind) = kind.filter(|kind| !allowed(position).contains(kind)) {
                let message = format!(
                    "`{}` does not take {}",
                    call.function.as_str(),
                    kind.with_article()
                );
                return Err(self.error(argument.span, message));
            }
        }
        self.constants(call)?;
        Ok(match call.function {
            F::Contains | F::StartsWith | F::EndsWith | F::Matches | F::Bool => Some(Type::Bool),
            F::Bytes => Some(Type::Bytes),
            F::Double => Some(Type::Double),
            F::Uint => Some(Type::Uint),
            F::String => Some(Type::String),
            F::Timestamp => Some(Type::Timestamp),
            F::Duration => Some(Type::Duration),
            F::Type => Some(Type::Type),
            F::Dyn => None,
            // `size`, `int`, and every field of a point in time.
            _ => Some(Type::Int),
        })
    }

    /// Constants that are read when the filter is parsed, so that a mistake in them is seen at once.
    fn constants(&mut self, call: &mut Call) -> Result<()> {
        let Some(last) = call.arguments.last().filter(|last| last.is_constant()) else {
            return Ok(());
        };
        let Ok(Value::String(constant)) = eval::constant(last) else {
            return Ok(());
        };
        let span = last.span;
        match call.function {
            Function::Matches => {
                self.regexes += 1;
                if self.regexes > limits::MAX_REGEXES {
                    let message =
                        format!("the filter has more than {} patterns", limits::MAX_REGEXES);
                    return Err(FilterError::new(
                        FilterErrorKind::Limit,
                        self.text,
                        span,
                        message,
                    ));
                }
                let regular = Regular::new(&constant).map_err(|fault| {
                    // Where the pattern is spelled as it is, the mistake can be shown inside it.
                    let written = &self.text[span.start..span.end];
                    let place = written
                        .find(&*constant)
                        .filter(|_| !constant.is_empty())
                        .and_then(|at| {
                            let (start, end) = fault.place?;
                            Some(Span::new(span.start + at + start, span.start + at + end))
                        });
                    FilterError::new(
                        FilterErrorKind::Regex,
                        self.text,
                        place.unwrap_or(span),
                        format!("the pattern is refused: {}", fault.message),
                    )
                })?;
                call.regular = Some(Arc::new(regular));
            }
            Function::Timestamp => {
                convert::parse_timestamp(&constant).ok_or_else(|| {
                    let message = format!("`{}` is not a time", &*constant);
                    self.error(span, message)
                        .suggest("\"2026-01-31T12:00:00Z\"")
                })?;
            }
            Function::Duration => {
                convert::parse_duration(&constant).ok_or_else(|| {
                    let message = format!("`{}` is not a duration", &*constant);
                    self.error(span, message).suggest("\"1h30m\"")
                })?;
            }
            function if function.style() == Style::Member && call.arguments.len() == 2 => {
                let zoned = !matches!(
                    function,
                    Function::Contains | Function::StartsWith | Function::EndsWith
                );
                if zoned && convert::Zone::parse(&constant).is_none() {
                    let message = format!("`{}` is not a time zone", &*constant);
                    return Err(self.error(span, message).suggest("\"Europe/Paris\""));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn each(&mut self, each: &mut Macro) -> Result<Known> {
        match self.kind(&mut each.range)? {
            None | Some(Type::List | Type::Map) => {}
            Some(kind) => {
                let message = format!(
                    "`{}` goes over a list or a map, not {}",
                    each.name.as_str(),
                    kind.with_article()
                );
                return Err(self.error(each.range.span, message));
            }
        }
        let name = format!("`{}`", each.name.as_str());
        if let Some(condition) = &mut each.condition {
            self.condition(condition, &name)?;
        }
        Ok(match each.name {
            MacroName::Map => {
                self.kind(&mut each.body)?;
                Some(Type::List)
            }
            MacroName::Filter => {
                self.condition(&mut each.body, &name)?;
                Some(Type::List)
            }
            MacroName::All | MacroName::Exists | MacroName::ExistsOne => {
                self.condition(&mut each.body, &name)?;
                Some(Type::Bool)
            }
        })
    }
}

/// Suggests the number that stands in quotes at `node`, if one does.
fn unquoted(error: FilterError, node: &Node) -> FilterError {
    match &node.kind {
        Kind::Literal(Literal::String(digits))
            if digits.parse::<f64>().is_ok_and(f64::is_finite) =>
        {
            error.suggest(&**digits)
        }
        Kind::Literal(Literal::String(_)) => error,
        _ => {
            let mut text = String::from("int(");
            canonical::write(node, &mut text);
            text.push(')');
            error.suggest(text)
        }
    }
}
