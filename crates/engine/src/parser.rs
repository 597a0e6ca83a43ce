//! Tokens to a tree, by the grammar of the CEL specification.
//!
//! Own code rather than the ANTLR parser of crate `cel`, because a filter comes from strangers and its
//! mistakes go back to them: this one gives every node its range of bytes, names the mistake instead of the
//! tokens that were expected, never recurses beyond [`limits::MAX_FILTER_DEPTH`], takes time in proportion to
//! the text, and parses a registry of 100,000 filters in a fraction of a second. Crate `cel` parses the
//! same text again in [`crate::reference`], and tests hold the two together.

use crate::error::{FilterError, FilterErrorKind, Span, closest};
use crate::lexer::{Lexed, Token, lex};
use crate::limits;
use crate::literal::{self, Literal};
use crate::names;
use crate::tree::{Kind, Macro, MacroName, Node, Operator};

type Result<T> = std::result::Result<T, FilterError>;

/// The tree of `text`; names are resolved, kinds are not yet checked.
pub(crate) fn parse(text: &str) -> Result<Node> {
    if text.len() > limits::MAX_FILTER_BYTES {
        let start = (0..=limits::MAX_FILTER_BYTES)
            .rev()
            .find(|&at| text.is_char_boundary(at))
            .unwrap_or(0);
        let message = format!(
            "the filter has {} bytes, {} are allowed",
            text.len(),
            limits::MAX_FILTER_BYTES
        );
        return Err(FilterError::new(
            FilterErrorKind::Limit,
            text,
            Span::new(start, text.len()),
            message,
        ));
    }
    let tokens = lex(text)?;
    let mut parser = Parser {
        text,
        tokens,
        at: 0,
        scope: Vec::new(),
        nesting: 0,
    };
    if parser.peek() == Token::End {
        let error = parser.error(parser.span(), "the filter is empty");
        return Err(error.suggest("event.type == \"page_view\""));
    }
    let node = parser.expression()?;
    if parser.peek() != Token::End {
        return Err(parser.unexpected("an operator"));
    }
    Ok(node)
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Lexed>,
    at: usize,
    /// The variables of the macros around, outermost first.
    scope: Vec<Box<str>>,
    nesting: usize,
}

const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

const RELATIONS: &[(&str, Operator)] = &[
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<", Operator::Less),
    ("<=", Operator::LessEqual),
    (">", Operator::Greater),
    (">=", Operator::GreaterEqual),
    ("in", Operator::In),
];
const SUMS: &[(&str, Operator)] = &[("+", Operator::Add), ("-", Operator::Subtract)];
const PRODUCTS: &[(&str, Operator)] = &[
    ("*", Operator::Multiply),
    ("/", Operator::Divide),
    ("%", Operator::Modulo),
];

impl<'t> Parser<'t> {
    fn lexed(&self) -> Lexed {
        // `at` never passes the last token, which is `End`.
        self.tokens[self.at]
    }

    fn peek(&self) -> Token {
        self.lexed().token
    }

    fn span(&self) -> Span {
        self.lexed().span
    }

    fn slice(&self, span: Span) -> &'t str {
        &self.text[span.start..span.end]
    }

    fn advance(&mut self) -> Lexed {
        let lexed = self.lexed();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        lexed
    }

    fn eat(&mut self, symbol: &str) -> Option<Span> {
        let found = matches!(self.peek(), Token::Symbol(found) if found == symbol);
        found.then(|| self.advance().span)
    }

    fn expect(&mut self, symbol: &str) -> Result<Span> {
        match self.eat(symbol) {
            Some(span) => Ok(span),
            None => Err(self.unexpected(&format!("`{symbol}`"))),
        }
    }

    fn error(&self, span: Span, message: impl Into<String>) -> FilterError {
        FilterError::new(FilterErrorKind::Syntax, self.text, span, message)
    }

    /// A node, unless it makes the tree too deep.
    fn node(&self, kind: Kind, span: Span) -> Result<Node> {
        let node = Node::new(kind, span);
        if node.too_deep() {
            Err(self.too_deep(span))
        } else {
            Ok(node)
        }
    }

    fn too_deep(&self, span: Span) -> FilterError {
        let message = format!(
            "the filter nests deeper than {} levels",
            limits::MAX_FILTER_DEPTH
        );
        FilterError::new(FilterErrorKind::Limit, self.text, span, message)
    }

    /// The error for a token that cannot stand where it stands.
    fn unexpected(&self, wanted: &str) -> FilterError {
        let Lexed { token, span } = self.lexed();
        let found = self.slice(span);
        if token == Token::End {
            return self.error(span, format!("the filter ends where {wanted} is missing"));
        }
        let error = self.error(span, format!("`{found}` stands where {wanted} is missing"));
        let instead = match found.to_ascii_lowercase().as_str() {
            "and" => "&&",
            "or" => "||",
            "not" => "!",
            "is" | "eq" | "equals" => "==",
            "ne" => "!=",
            "contains" | "startswith" | "endswith" | "matches" | "like" => {
                let name = if found.eq_ignore_ascii_case("like") {
                    "matches"
                } else {
                    found
                };
                return error.suggest(format!(
                    ".{}(…)",
                    closest(name, names::member_names()).unwrap_or(name)
                ));
            }
            "?" | ".?" => {
                return self.error(span, "optional values are not part of the filter language");
            }
            _ => return error,
        };
        error.suggest(instead)
    }

    fn expression(&mut self) -> Result<Node> {
        if self.nesting == limits::MAX_FILTER_DEPTH {
            return Err(self.too_deep(self.span()));
        }
        self.nesting += 1;
        let condition = self.disjunction()?;
        let node = if self.eat("?").is_some() {
            let first = self.disjunction()?;
            self.expect(":")?;
            let second = self.expression()?;
            let span = condition.span.to(second.span);
            self.node(
                Kind::Conditional(Box::new([condition, first, second])),
                span,
            )?
        } else {
            condition
        };
        self.nesting -= 1;
        Ok(node)
    }

    fn disjunction(&mut self) -> Result<Node> {
        let mut operands = vec![self.conjunction()?];
        while self.eat("||").is_some() {
            operands.push(self.conjunction()?);
        }
        self.joined(operands, Kind::Or)
    }

    fn conjunction(&mut self) -> Result<Node> {
        let mut operands = vec![self.binary(&[RELATIONS, SUMS, PRODUCTS])?];
        while self.eat("&&").is_some() {
            operands.push(self.binary(&[RELATIONS, SUMS, PRODUCTS])?);
        }
        self.joined(operands, Kind::And)
    }

    fn joined(&self, mut operands: Vec<Node>, kind: fn(Vec<Node>) -> Kind) -> Result<Node> {
        match (operands.len(), operands.pop()) {
            (1, Some(only)) => Ok(only),
            (_, last) => {
                operands.extend(last);
                let first = operands.first().map_or(Span::default(), |node| node.span);
                let span = first.to(operands.last().map_or(first, |node| node.span));
                self.node(kind(operands), span)
            }
        }
    }

    /// Operators of the first of `levels`, which bind less tightly than those of the next.
    fn binary(&mut self, levels: &[&[(&str, Operator)]]) -> Result<Node> {
        let Some((operators, tighter)) = levels.split_first() else {
            return self.unary();
        };
        let mut left = self.binary(tighter)?;
        loop {
            let found = match self.peek() {
                Token::Symbol(symbol) => symbol,
                Token::Name => self.slice(self.span()),
                _ => return Ok(left),
            };
            let Some(&(_, operator)) = operators.iter().find(|(symbol, _)| *symbol == found) else {
                return Ok(left);
            };
            self.advance();
            let right = self.binary(tighter)?;
            let span = left.span.to(right.span);
            left = self.node(Kind::Binary(operator, Box::new([left, right])), span)?;
        }
    }

    /// `!` and `-`. An even number of them is none, as the grammar of CEL has it.
    fn unary(&mut self) -> Result<Node> {
        let start = self.span();
        let (symbol, kind): (_, fn(Box<Node>) -> Kind) = match self.peek() {
            Token::Symbol("!") => ("!", Kind::Not),
            Token::Symbol("-") if !self.at_negative_number() => ("-", Kind::Negate),
            _ => return self.member(),
        };
        let mut times = 0;
        while self.eat(symbol).is_some() {
            times += 1;
        }
        let operand = self.member()?;
        let span = start.to(operand.span);
        if times % 2 == 0 {
            return Ok(operand.at(span));
        }
        self.node(kind(Box::new(operand)), span)
    }

    /// Whether a sign and a number follow. The sign belongs to the number, as the smallest int has no positive.
    fn at_negative_number(&self) -> bool {
        let next = self.tokens.get(self.at + 1).map(|next| next.token);
        self.peek() == Token::Symbol("-") && matches!(next, Some(Token::Int | Token::Double))
    }

    /// An int or a double, with its sign.
    fn number(&mut self) -> Result<Node> {
        let start = self.span();
        let negative = self.eat("-").is_some();
        let Lexed { token, span } = self.advance();
        let literal = match token {
            Token::Int => literal::int(self.text, span, negative)?,
            _ => literal::double(self.text, span, negative)?,
        };
        self.node(Kind::Literal(literal), start.to(span))
    }

    fn member(&mut self) -> Result<Node> {
        let primary = self.primary()?;
        self.selectors(primary)
    }

    /// `.field`, `.call(…)` and `[index]` after `node`, any number of them.
    fn selectors(&mut self, mut node: Node) -> Result<Node> {
        loop {
            if self.eat(".").is_some() {
                let name = self.lexed();
                match name.token {
                    Token::Name | Token::QuotedName => {}
                    _ => return Err(self.unexpected("a field's name")),
                }
                self.advance();
                node = self.select_or_call(node, name)?;
            } else if self.eat("[").is_some() {
                let index = self.expression()?;
                let end = self.expect("]")?;
                let span = node.span.to(end);
                node = self.node(Kind::Index(Box::new([node, index])), span)?;
            } else if self.peek() == Token::Symbol("{") {
                let message =
                    "messages cannot be made in a filter; only maps, such as `{\"a\": 1}`";
                return Err(self.error(self.span(), message));
            } else {
                return Ok(node);
            }
        }
    }

    fn select_or_call(&mut self, operand: Node, name: Lexed) -> Result<Node> {
        let spelling = self.slice(name.span);
        if name.token == Token::QuotedName {
            let field = spelling[1..spelling.len() - 1].into();
            let span = operand.span.to(name.span);
            return self.node(Kind::Select(Box::new(operand), field), span);
        }
        if self.eat("(").is_none() {
            if matches!(spelling, "in" | "true" | "false" | "null") {
                let message = format!("`{spelling}` cannot be a field's name after a dot");
                return Err(self
                    .error(name.span, message)
                    .suggest(format!("[\"{spelling}\"]")));
            }
            let span = operand.span.to(name.span);
            return self.node(Kind::Select(Box::new(operand), spelling.into()), span);
        }
        if let Some(macro_name) = MacroName::named(spelling) {
            return self.macro_call(macro_name, operand, name.span);
        }
        let start = operand.span;
        let mut arguments = vec![operand];
        let end = self.arguments(&mut arguments)?;
        let kind = names::call(self.text, name.span, spelling, true, arguments)?;
        self.node(kind, start.to(end))
    }

    /// What stands between `(`, already taken, and `)`.
    fn arguments(&mut self, arguments: &mut Vec<Node>) -> Result<Span> {
        if let Some(end) = self.eat(")") {
            return Ok(end);
        }
        loop {
            arguments.push(self.expression()?);
            if self.eat(",").is_none() {
                return self.expect(")");
            }
        }
    }

    /// `range.name(variable, …)`; the parenthesis is already taken.
    fn macro_call(&mut self, name: MacroName, range: Node, name_span: Span) -> Result<Node> {
        let usage = match name {
            MacroName::Map => "list.map(x, …) or list.map(x, condition, …)",
            MacroName::All => "list.all(x, condition)",
            MacroName::Exists => "list.exists(x, condition)",
            MacroName::ExistsOne => "list.exists_one(x, condition)",
            MacroName::Filter => "list.filter(x, condition)",
        };
        let variable = self.lexed();
        let spelling = self.slice(variable.span);
        let plain =
            variable.token == Token::Name && !is_keyword(spelling) && !RESERVED.contains(&spelling);
        self.advance();
        if !plain || self.eat(",").is_none() {
            let message = format!(
                "`{}` wants a name for the element first: `{usage}`",
                name.as_str()
            );
            let span = if variable.token == Token::Symbol(")") {
                name_span
            } else {
                variable.span
            };
            return Err(self.error(span, message));
        }
        self.scope.push(spelling.into());
        let mut arguments = Vec::new();
        let end = self.arguments(&mut arguments)?;
        let variable = self.scope.pop().unwrap_or_default();
        let span = range.span.to(end);
        let mut arguments = arguments.into_iter();
        let (condition, body) = match (arguments.next(), arguments.next(), arguments.next()) {
            (Some(body), None, _) => (None, body),
            (Some(condition), Some(body), None) if name == MacroName::Map => {
                (Some(condition), body)
            }
            _ => {
                let message = format!("`{}` is written `{usage}`", name.as_str());
                return Err(self.error(name_span, message));
            }
        };
        self.node(
            Kind::Macro(Box::new(Macro {
                name,
                range,
                variable,
                condition,
                body,
            })),
            span,
        )
    }

    fn primary(&mut self) -> Result<Node> {
        let Lexed { token, span } = self.lexed();
        let literal = match token {
            Token::Int | Token::Double => return self.number(),
            Token::Symbol("-") if self.at_negative_number() => return self.number(),
            Token::Uint => literal::uint(self.text, span)?,
            Token::String => literal::string(self.text, span)?,
            Token::Bytes => literal::bytes(self.text, span)?,
            Token::Name => match self.slice(span) {
                "true" => Literal::Bool(true),
                "false" => Literal::Bool(false),
                "null" => Literal::Null,
                _ => return self.name(false),
            },
            Token::Symbol(".") => {
                self.advance();
                return self.name(true);
            }
            Token::Symbol("(") => {
                self.advance();
                let node = self.expression()?;
                let end = self.expect(")")?;
                return Ok(node.at(span.to(end)));
            }
            Token::Symbol("[") => return self.list(),
            Token::Symbol("{") => return self.map(),
            Token::QuotedName => {
                let name = self.slice(span).trim_matches('`');
                let error = self.error(span, "a name in backticks only stands after a dot");
                return Err(error.suggest(format!("event.`{name}`")));
            }
            Token::Symbol(_) | Token::End => return Err(self.unexpected("a value")),
        };
        self.advance();
        self.node(Kind::Literal(literal), span)
    }

    /// The grammar allows a comma at the end of a list or a map, even if there is nothing before it.
    fn lone_comma(&mut self, closing: &str) {
        let next = self.tokens.get(self.at + 1).map(|next| next.token);
        if matches!(next, Some(Token::Symbol(symbol)) if symbol == closing) {
            self.eat(",");
        }
    }

    fn list(&mut self) -> Result<Node> {
        let start = self.advance().span;
        let mut elements = Vec::new();
        self.lone_comma("]");
        let end = loop {
            if let Some(end) = self.eat("]") {
                break end;
            }
            elements.push(self.expression()?);
            if self.eat(",").is_none() {
                break self.expect("]")?;
            }
        };
        self.node(Kind::List(elements), start.to(end))
    }

    fn map(&mut self) -> Result<Node> {
        let start = self.advance().span;
        let mut entries = Vec::new();
        self.lone_comma("}");
        let end = loop {
            if let Some(end) = self.eat("}") {
                break end;
            }
            let key = self.expression()?;
            self.expect(":")?;
            entries.push([key, self.expression()?]);
            if self.eat(",").is_none() {
                break self.expect("}")?;
            }
        };
        self.node(Kind::Map(entries), start.to(end))
    }

    /// A variable, a type's name or a call. After a leading dot macros' variables are not meant.
    fn name(&mut self, absolute: bool) -> Result<Node> {
        let before = &self.tokens[..self.at];
        let compared = before
            .last()
            .is_some_and(|last| matches!(last.token, Token::Symbol("==" | "!=" | "[" | ",")));
        let hyphened = self.hyphened(before);
        let name = self.lexed();
        if name.token != Token::Name {
            return Err(self.unexpected("a variable"));
        }
        let spelling = self.slice(name.span);
        if RESERVED.contains(&spelling) || is_keyword(spelling) {
            let message = format!("`{spelling}` is a reserved word of the filter language");
            return Err(self
                .error(name.span, message)
                .suggest(format!("event[\"{spelling}\"]")));
        }
        self.advance();
        if self.eat("(").is_some() {
            return self.global_call(name.span, spelling);
        }
        if !absolute && let Some(slot) = self.scope.iter().rposition(|local| **local == *spelling) {
            return self.node(Kind::Local(spelling.into(), slot), name.span);
        }
        if spelling == "google"
            && let Some(node) = self.well_known(name.span)?
        {
            return Ok(node);
        }
        let kind = names::variable(self.text, name.span, spelling, &self.scope, compared).map_err(
            |error| match hyphened {
                Some(first) => error.suggest(format!("[\"{first}-{spelling}\"]")),
                None if spelling.eq_ignore_ascii_case("not") && self.peek() != Token::End => {
                    error.suggest("!")
                }
                None => error,
            },
        )?;
        self.node(kind, name.span)
    }

    /// The field's name before the hyphen, if `before` ends like `event.user-`.
    fn hyphened(&self, before: &[Lexed]) -> Option<&'t str> {
        let [.., dot, name, hyphen] = before else {
            return None;
        };
        let written = dot.token == Token::Symbol(".")
            && name.token == Token::Name
            && hyphen.token == Token::Symbol("-")
            && name.span.end == hyphen.span.start
            && hyphen.span.end == self.span().start;
        written.then(|| self.slice(name.span))
    }

    /// `google.protobuf.Timestamp` and `google.protobuf.Duration`, whose first name is taken.
    fn well_known(&mut self, start: Span) -> Result<Option<Node>> {
        let Some([_, protobuf, _, last]) = self.tokens.get(self.at..self.at + 4) else {
            return Ok(None);
        };
        let name = self.slice(start.to(last.span));
        if self.slice(protobuf.span) != "protobuf" {
            return Ok(None);
        }
        let Some(kind) = names::type_named(name) else {
            return Ok(None);
        };
        let span = start.to(last.span);
        self.at += 4;
        self.node(Kind::Type(kind), span).map(Some)
    }

    fn global_call(&mut self, name: Span, spelling: &str) -> Result<Node> {
        let mut arguments = Vec::new();
        let end = self.arguments(&mut arguments)?;
        let kind = if spelling == "has" {
            match (arguments.pop().map(|node| node.kind), arguments.len()) {
                (Some(Kind::Select(operand, field)), 0) => Kind::Has(operand, field),
                _ => {
                    let message = "`has` asks for one field, with a dot: `has(event.page)`";
                    return Err(self.error(name.to(end), message));
                }
            }
        } else {
            names::call(self.text, name, spelling, false, arguments)?
        };
        self.node(kind, name.to(end))
    }
}

fn is_keyword(name: &str) -> bool {
    matches!(name, "in" | "true" | "false" | "null")
}
