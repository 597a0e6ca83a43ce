//! Text of a filter to tokens, by the lexical rules of the CEL specification.
//!
//! Brackets are matched here too, so that the parser behind never recurses deeper than
//! [`limits::MAX_FILTER_DEPTH`] brackets, and an unclosed one is reported where it was opened.

use crate::error::{FilterError, FilterErrorKind, Span};
use crate::limits;

/// What a token is. Literals are decoded by [`crate::literal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A name, a keyword or a reserved word.
    Name,
    /// A name in backticks, for fields that are no plain names.
    QuotedName,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    /// An operator or a bracket.
    Symbol(&'static str),
    End,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Lexed {
    pub(crate) token: Token,
    pub(crate) span: Span,
}

/// The longer ones first.
const SYMBOLS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",",
    "(", ")", "[", "]", "{", "}",
];

/// What people of other languages write, and what CEL has for it.
const FOREIGN: [(&str, &str); 10] = [
    ("===", "=="),
    ("!==", "!="),
    ("<>", "!="),
    ("=~", ".matches(…)"),
    ("=", "=="),
    ("&", "&&"),
    ("|", "||"),
    ("“", "\""),
    ("”", "\""),
    ("’", "'"),
];

/// All tokens of `text`, the last being [`Token::End`].
pub(crate) fn lex(text: &str) -> Result<Vec<Lexed>, FilterError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    let mut open: Vec<(Span, &'static str)> = Vec::new();
    loop {
        lexer.skip_blanks();
        let start = lexer.at;
        let token = lexer.next()?;
        let span = Span::new(start, lexer.at);
        match token {
            Token::Symbol(symbol @ ("(" | "[" | "{")) => {
                if open.len() == limits::MAX_FILTER_DEPTH {
                    let message = format!(
                        "brackets nest deeper than {} levels",
                        limits::MAX_FILTER_DEPTH
                    );
                    return Err(FilterError::new(
                        FilterErrorKind::Limit,
                        text,
                        span,
                        message,
                    ));
                }
                open.push((span, symbol));
            }
            Token::Symbol(symbol @ (")" | "]" | "}")) => match open.pop() {
                Some((_, opened)) if closing(opened) == symbol => {}
                Some((opened_at, opened)) => {
                    let message = format!(
                        "`{opened}` of byte {} is closed by `{symbol}`",
                        opened_at.start
                    );
                    return Err(lexer.error(span, message).suggest(closing(opened)));
                }
                None => {
                    let message = format!("`{symbol}` closes nothing");
                    return Err(lexer.error(span, message));
                }
            },
            Token::End => {
                if let Some((span, symbol)) = open.pop() {
                    let message = format!("`{symbol}` is never closed");
                    return Err(lexer.error(span, message).suggest(closing(symbol)));
                }
            }
            _ => {}
        }
        tokens.push(Lexed { token, span });
        if token == Token::End {
            return Ok(tokens);
        }
    }
}

fn closing(symbol: &str) -> &'static str {
    match symbol {
        "(" => ")",
        "[" => "]",
        _ => "}",
    }
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn error(&self, span: Span, message: impl Into<String>) -> FilterError {
        FilterError::new(FilterErrorKind::Syntax, self.text, span, message)
    }

    /// White space and comments.
    fn skip_blanks(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\n' | b'\r' | b'\x0c') => self.at += 1,
                Some(b'/') if self.rest().starts_with("//") => {
                    self.at += self.rest().find('\n').unwrap_or(self.rest().len());
                }
                _ => return,
            }
        }
    }

    fn next(&mut self) -> Result<Token, FilterError> {
        let Some(first) = self.peek() else {
            return Ok(Token::End);
        };
        if let Some(token) = self.quoted()? {
            return Ok(token);
        }
        let digit_follows = self
            .rest()
            .as_bytes()
            .get(1)
            .is_some_and(u8::is_ascii_digit);
        match first {
            b'0'..=b'9' => self.number(),
            b'.' if digit_follows => self.number(),
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                self.at += count(self.rest(), is_name);
                Ok(Token::Name)
            }
            b'`' => self.quoted_name(),
            _ => self.symbol(),
        }
    }

    fn symbol(&mut self) -> Result<Token, FilterError> {
        let rest = self.rest();
        let symbol = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol));
        let foreign = FOREIGN
            .into_iter()
            .find(|(foreign, _)| rest.starts_with(foreign));
        match (symbol, foreign) {
            // `===` begins with a symbol, and `=` with none.
            (Some(symbol), foreign)
                if foreign.is_none_or(|(foreign, _)| foreign.len() <= symbol.len()) =>
            {
                self.at += symbol.len();
                Ok(Token::Symbol(symbol))
            }
            (_, Some((foreign, instead))) => {
                let span = Span::new(self.at, self.at + foreign.len());
                Err(self
                    .error(span, format!("`{foreign}` is not an operator here"))
                    .suggest(instead))
            }
            _ => {
                let char = rest.chars().next().unwrap_or_default();
                if char.is_alphanumeric() {
                    return Err(self.foreign_name());
                }
                let span = Span::new(self.at, self.at + char.len_utf8());
                Err(self.error(
                    span,
                    format!("unexpected character `{}`", char.escape_debug()),
                ))
            }
        }
    }

    /// The error for a name with letters that CEL's names do not have.
    fn foreign_name(&self) -> FilterError {
        let is_letter = |char: &char| char.is_alphanumeric() || *char == '_';
        let before: usize = self.text[..self.at]
            .chars()
            .rev()
            .take_while(is_letter)
            .map(char::len_utf8)
            .sum();
        let after: usize = self
            .rest()
            .chars()
            .take_while(is_letter)
            .map(char::len_utf8)
            .sum();
        let span = Span::new(self.at - before, self.at + after);
        let name = &self.text[span.start..span.end];
        self.error(span, "names have no letters but those of ASCII")
            .suggest(format!("[\"{name}\"]"))
    }

    /// `123`, `0x1f`, `1u`, `1.5`, `.5`, `1e3`; the sign is the parser's.
    fn number(&mut self) -> Result<Token, FilterError> {
        let start = self.at;
        let rest = self.rest();
        let hex = rest.get(2..).filter(|_| rest.starts_with("0x"));
        let mut token = Token::Int;
        if let Some(digits) = hex
            .map(|hex| count(hex, |byte| byte.is_ascii_hexdigit()))
            .filter(|&n| n > 0)
        {
            self.at += 2 + digits;
        } else {
            self.at += count(rest, |byte| byte.is_ascii_digit());
            if self.peek() == Some(b'.') {
                let digits = count(&self.rest()[1..], |byte| byte.is_ascii_digit());
                if digits > 0 {
                    self.at += 1 + digits;
                    token = Token::Double;
                }
            }
            if matches!(self.peek(), Some(b'e' | b'E')) {
                let exponent = &self.rest()[1..];
                let sign = usize::from(exponent.starts_with(['+', '-']));
                let digits = count(&exponent[sign..], |byte| byte.is_ascii_digit());
                if digits > 0 {
                    self.at += 1 + sign + digits;
                    token = Token::Double;
                }
            }
        }
        if token == Token::Int && matches!(self.peek(), Some(b'u' | b'U')) {
            self.at += 1;
            token = Token::Uint;
        }
        let runs_into = count(self.rest(), is_name);
        // `1in [1]` is odd, but CEL.
        if runs_into > 0 && &self.rest()[..runs_into] != "in" {
            let span = Span::new(start, self.at + runs_into);
            let message = format!("`{}` is not a number", &self.text[start..span.end]);
            let error = self.error(span, message);
            return Err(match &self.text[self.at..span.end] {
                "s" | "m" | "h" | "ms" => {
                    error.suggest(format!("duration(\"{}\")", &self.text[start..span.end]))
                }
                _ => error,
            });
        }
        Ok(token)
    }

    /// `` `user-id` ``, which only stands after a dot.
    fn quoted_name(&mut self) -> Result<Token, FilterError> {
        let start = self.at;
        let length = count(&self.rest()[1..], is_quoted_name);
        self.at += 1 + length;
        if length > 0 && self.peek() == Some(b'`') {
            self.at += 1;
            return Ok(Token::QuotedName);
        }
        let message =
            "a name in backticks is never closed, or has characters that only `[\"…\"]` allows";
        Err(self.error(Span::new(start, self.at), message))
    }

    /// A string or bytes literal with its prefix, if one begins here.
    fn quoted(&mut self) -> Result<Option<Token>, FilterError> {
        let start = self.at;
        let rest = self.rest();
        let prefix = count(rest, |byte| matches!(byte, b'r' | b'R' | b'b' | b'B'));
        let (raw, bytes) = match rest[..prefix].to_ascii_lowercase().as_str() {
            "" => (false, false),
            "r" => (true, false),
            "b" => (false, true),
            "br" => (true, true),
            _ => return Ok(None),
        };
        let body = &rest[prefix..];
        let quote = match body.get(..3) {
            Some(triple @ ("\"\"\"" | "'''")) => triple,
            _ if body.starts_with('"') => "\"",
            _ if body.starts_with('\'') => "'",
            _ => return Ok(None),
        };
        self.at += prefix + quote.len();
        while !self.rest().starts_with(quote) {
            let line_ends = quote.len() == 1 && matches!(self.peek(), Some(b'\n' | b'\r'));
            let Some(char) = self.rest().chars().next().filter(|_| !line_ends) else {
                let message = format!("the quote `{quote}` is never closed");
                return Err(self
                    .error(Span::new(start, self.at), message)
                    .suggest(quote));
            };
            self.at += char.len_utf8();
            if char == '\\' && !raw {
                // Whatever is escaped, it does not close the literal.
                self.at += self.rest().chars().next().map_or(0, char::len_utf8);
            }
        }
        self.at += quote.len();
        Ok(Some(if bytes { Token::Bytes } else { Token::String }))
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// What may stand between backticks.
pub(crate) fn is_quoted_name(byte: u8) -> bool {
    is_name(byte) || matches!(byte, b'.' | b'-' | b'/' | b' ')
}

/// Leading bytes that are `wanted`.
fn count(text: &str, wanted: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|&byte| wanted(byte)).count()
}
