//! Constants of a filter: from their spelling, and back to one spelling per value.

use std::fmt::Write as _;

use crate::error::{FilterError, FilterErrorKind, Span};
use crate::kind::Type;

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Box<str>),
    Bytes(Box<[u8]>),
}

impl Literal {
    pub(crate) fn kind(&self) -> Type {
        match self {
            Literal::Null => Type::Null,
            Literal::Bool(_) => Type::Bool,
            Literal::Int(_) => Type::Int,
            Literal::Uint(_) => Type::Uint,
            Literal::Double(_) => Type::Double,
            Literal::String(_) => Type::String,
            Literal::Bytes(_) => Type::Bytes,
        }
    }

    /// The one spelling of this value in canonical text.
    pub(crate) fn write(&self, out: &mut String) {
        // Writing to a string cannot fail.
        let _ = match self {
            Literal::Null => write!(out, "null"),
            Literal::Bool(value) => write!(out, "{value}"),
            Literal::Int(value) => write!(out, "{value}"),
            Literal::Uint(value) => write!(out, "{value}u"),
            // Shortest form that reads back as the same double, always with a point or an exponent.
            Literal::Double(value) => write!(out, "{value:?}"),
            Literal::String(value) => return write_string(value, out),
            Literal::Bytes(value) => return write_bytes(value, out),
        };
    }
}

/// `value` as a string literal in double quotes.
pub(crate) fn write_string(value: &str, out: &mut String) {
    out.push('"');
    for char in value.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            char if char.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            char => out.push(char),
        }
    }
    out.push('"');
}

fn write_bytes(value: &[u8], out: &mut String) {
    out.push_str("b\"");
    for &byte in value {
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b' '..=b'~' => out.push(char::from(byte)),
            byte => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out.push('"');
}

/// Reads a token that is [`Int`](crate::lexer::Token::Int), with the sign before it.
pub(crate) fn int(text: &str, span: Span, negative: bool) -> Result<Literal, FilterError> {
    let sign = if negative { "-" } else { "" };
    let spelling = &text[span.start..span.end];
    let value = match spelling.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(&format!("{sign}{hex}"), 16),
        None => format!("{sign}{spelling}").parse(),
    };
    value.map(Literal::Int).map_err(|_| {
        let message = format!("`{sign}{spelling}` is beyond the 64 bits of an int");
        let error = FilterError::new(FilterErrorKind::Syntax, text, span, message);
        if negative {
            error
        } else {
            error.suggest(format!("{spelling}u"))
        }
    })
}

/// Reads a token that is [`Uint`](crate::lexer::Token::Uint).
pub(crate) fn uint(text: &str, span: Span) -> Result<Literal, FilterError> {
    let spelling = &text[span.start..span.end - 1];
    let value = match spelling.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => spelling.parse(),
    };
    value.map(Literal::Uint).map_err(|_| {
        let message = format!("`{spelling}u` is beyond the 64 bits of a uint");
        FilterError::new(FilterErrorKind::Syntax, text, span, message)
    })
}

/// Reads a token that is [`Double`](crate::lexer::Token::Double), with the sign before it.
pub(crate) fn double(text: &str, span: Span, negative: bool) -> Result<Literal, FilterError> {
    let spelling = &text[span.start..span.end];
    match spelling.parse::<f64>() {
        Ok(value) if value.is_finite() => {
            Ok(Literal::Double(if negative { -value } else { value }))
        }
        _ => {
            let message = format!("`{spelling}` is beyond the range of a double");
            Err(FilterError::new(
                FilterErrorKind::Syntax,
                text,
                span,
                message,
            ))
        }
    }
}

/// Reads a token that is [`String`](crate::lexer::Token::String).
pub(crate) fn string(text: &str, span: Span) -> Result<Literal, FilterError> {
    let mut value = String::new();
    unescape(text, span, false, |unit| match unit {
        Unit::Char(char) => {
            value.push(char);
            true
        }
        Unit::Code(code) => char::from_u32(code).map(|char| value.push(char)).is_some(),
    })?;
    Ok(Literal::String(value.into()))
}

/// Reads a token that is [`Bytes`](crate::lexer::Token::Bytes).
pub(crate) fn bytes(text: &str, span: Span) -> Result<Literal, FilterError> {
    let mut value = Vec::new();
    unescape(text, span, true, |unit| match unit {
        Unit::Char(char) => {
            value.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            true
        }
        Unit::Code(code) => u8::try_from(code).map(|byte| value.push(byte)).is_ok(),
    })?;
    Ok(Literal::Bytes(value.into()))
}

/// One piece of a quoted literal.
enum Unit {
    /// As written, or by an escape such as `\n`.
    Char(char),
    /// By its number: a code point in a string, a byte in bytes.
    Code(u32),
}

/// Gives the pieces of the literal at `span` to `push`, which says whether it can take them.
fn unescape(
    text: &str,
    span: Span,
    bytes: bool,
    mut push: impl FnMut(Unit) -> bool,
) -> Result<(), FilterError> {
    let spelling = &text[span.start..span.end];
    // The lexer has seen a prefix of letters, and the same quote at both ends.
    let prefix = spelling.bytes().take_while(u8::is_ascii_alphabetic).count();
    let raw = spelling[..prefix].contains(['r', 'R']);
    let body = &spelling[prefix..];
    let quote = if body.len() >= 6 && (body.starts_with("\"\"\"") || body.starts_with("'''")) {
        3
    } else {
        1
    };
    let first = span.start + prefix + quote;
    let last = span.end - quote;

    let mut at = first;
    while let Some(char) = text[at..last].chars().next() {
        let start = at;
        at += char.len_utf8();
        if char == '\r' {
            // Line ends are line feeds, whatever the source's editor made of them.
            if !text[at..last].starts_with('\n') {
                push(Unit::Char('\n'));
            }
            continue;
        }
        if raw || char != '\\' {
            push(Unit::Char(char));
            continue;
        }
        let escape = text[at..last].chars().next().unwrap_or_default();
        at += escape.len_utf8().min(last - at);
        let (skip, digits, radix) = match escape {
            'x' | 'X' => (0, 2, 16),
            'u' if !bytes => (0, 4, 16),
            'U' if !bytes => (0, 8, 16),
            '0'..='3' => (1, 3, 8),
            _ => (0, 0, 10),
        };
        let taken = if digits > 0 {
            let from = at - skip;
            let code = text.get(from..(from + digits).min(last)).filter(|code| {
                code.len() == digits && code.chars().all(|digit| digit.is_digit(radix))
            });
            at = (from + digits).min(last);
            code.and_then(|code| u32::from_str_radix(code, radix).ok())
                .is_some_and(|code| push(Unit::Code(code)))
        } else {
            let char = match escape {
                'a' => Some('\x07'),
                'b' => Some('\x08'),
                'f' => Some('\x0c'),
                'n' => Some('\n'),
                'r' => Some('\r'),
                't' => Some('\t'),
                'v' => Some('\x0b'),
                '\\' | '?' | '"' | '\'' | '`' => Some(escape),
                _ => None,
            };
            char.is_some_and(|char| push(Unit::Char(char)))
        };
        if !taken {
            while !text.is_char_boundary(at) {
                at += 1;
            }
            let message = format!("`{}` is not an escape", text[start..at].escape_debug());
            let error =
                FilterError::new(FilterErrorKind::Syntax, text, Span::new(start, at), message);
            // Most often a regular expression, or a path of Windows.
            return Err(error.suggest(format!("\\\\{}", &text[start + 1..at])));
        }
    }
    Ok(())
}
