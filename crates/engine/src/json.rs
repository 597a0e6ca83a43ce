//! JSON by RFC 8259, read in place.
//!
//! A reader of its own, because filters and projections need what a general one does not tell: the
//! spelling of a number (`-0` is an int, `-0.0` a double), the range of bytes of every value, texts borrowed
//! from the event, and why exactly a record is unreadable. Property tests hold it to `serde_json`.

use std::borrow::Cow;

use crate::limits;
use crate::record::Unreadable;
use crate::value::{Key, Map, Text, Value};

/// The whole of `bytes` as a map. All of it is validated.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value<'_>, Unreadable> {
    let mut reader = Reader::new(bytes)?;
    let value = reader.value(0)?;
    reader.end()?;
    match value {
        Value::Map(_) => Ok(value),
        _ => Err(Unreadable::NotAnObject),
    }
}

/// The whole of `bytes`, which stands below `depth` others in an event. All of it is validated.
pub(crate) fn parse_any(bytes: &[u8], depth: usize) -> Result<Value<'_>, Unreadable> {
    let mut reader = Reader::new(bytes)?;
    let value = reader.value(depth)?;
    reader.end()?;
    Ok(value)
}

/// A position in a text of JSON.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// At the first character that is not white space.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        if bytes.len() > limits::MAX_RECORD_BYTES {
            return Err(Unreadable::TooLarge);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::InvalidUtf8)?;
        let mut reader = Self { text, at: 0 };
        if reader.peek().is_none() {
            Err(Unreadable::Empty)
        } else {
            Ok(reader)
        }
    }

    fn slice(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is not white space, which is not taken.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.byte() {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// Takes `byte` if it is the next one that is not white space.
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), Unreadable> {
        if self.eat(byte) {
            Ok(())
        } else {
            Err(Unreadable::NotJson)
        }
    }

    /// Nothing but white space follows.
    pub(crate) fn end(&mut self) -> Result<(), Unreadable> {
        if self.peek().is_none() {
            Ok(())
        } else {
            Err(Unreadable::NotJson)
        }
    }

    /// The value that begins here, below `depth` others.
    pub(crate) fn value(&mut self, depth: usize) -> Result<Value<'a>, Unreadable> {
        match self.peek() {
            Some(b'{' | b'[') if depth == limits::MAX_EVENT_DEPTH => Err(Unreadable::TooDeep),
            Some(b'{') => {
                let mut entries = Vec::new();
                self.members(|reader, _, key| {
                    let key = match key {
                        Cow::Borrowed(key) => Text::Borrowed(key),
                        Cow::Owned(key) => Text::from(key),
                    };
                    entries.push((Key::String(key), reader.value(depth + 1)?));
                    Ok(())
                })?;
                Ok(Value::Map(Map::last_wins(entries).into()))
            }
            Some(b'[') => {
                let mut elements = Vec::new();
                self.elements(|reader| {
                    elements.push(reader.value(depth + 1)?);
                    Ok(())
                })?;
                Ok(Value::List(elements.into()))
            }
            Some(b'"') => Ok(Value::String(match self.string()? {
                Cow::Borrowed(text) => Text::Borrowed(text),
                Cow::Owned(text) => Text::from(text),
            })),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => self.number(),
        }
    }

    /// Reads an object; `visit` gets each key in order, as spelled with its quotes and as it reads, and has to
    /// take the value behind it.
    pub(crate) fn members(
        &mut self,
        mut visit: impl FnMut(&mut Self, &'a str, Cow<'a, str>) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        self.expect(b'{')?;
        if self.eat(b'}') {
            return Ok(());
        }
        loop {
            self.peek();
            let start = self.at;
            let key = self.string()?;
            let spelled = self.slice(start);
            self.expect(b':')?;
            visit(self, spelled, key)?;
            if !self.eat(b',') {
                return self.expect(b'}');
            }
        }
    }

    /// Reads a list; `visit` has to take each element.
    pub(crate) fn elements(
        &mut self,
        mut visit: impl FnMut(&mut Self) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        self.expect(b'[')?;
        if self.eat(b']') {
            return Ok(());
        }
        loop {
            visit(self)?;
            if !self.eat(b',') {
                return self.expect(b']');
            }
        }
    }

    /// Takes the value that begins here without looking into it: its brackets and strings are matched, the
    /// rest of its grammar is not. Needs no stack, however deep it is.
    pub(crate) fn skip(&mut self) -> Result<&'a str, Unreadable> {
        self.peek();
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            match self.peek().ok_or(Unreadable::NotJson)? {
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1).ok_or(Unreadable::NotJson)?;
                    self.at += 1;
                }
                b'"' => {
                    self.raw_string()?;
                }
                b',' | b':' if depth > 0 => self.at += 1,
                b',' | b':' => return Err(Unreadable::NotJson),
                _ => {
                    let rest = &self.text.as_bytes()[self.at..];
                    let length = rest.iter().take_while(|byte| {
                        !matches!(
                            byte,
                            b',' | b':'
                                | b']'
                                | b'}'
                                | b'['
                                | b'{'
                                | b'"'
                                | b' '
                                | b'\t'
                                | b'\n'
                                | b'\r'
                        )
                    });
                    self.at += length.count();
                }
            }
            if depth == 0 {
                return Ok(self.slice(start));
            }
        }
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, Unreadable> {
        if !self.text[self.at..].starts_with(word) {
            return Err(Unreadable::NotJson);
        }
        self.at += word.len();
        Ok(value)
    }

    fn digits(&mut self) -> Result<(), Unreadable> {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start {
            Ok(())
        } else {
            Err(Unreadable::NotJson)
        }
    }

    /// Without fraction and exponent an int, above its range a uint; everything else a double, beyond whose
    /// range it is infinite.
    fn number(&mut self) -> Result<Value<'a>, Unreadable> {
        let start = self.at;
        let mut integer = true;
        self.at += usize::from(self.byte() == Some(b'-'));
        let first = self.at;
        self.digits()?;
        if self.byte_at(first) == Some(b'0') && self.at > first + 1 {
            return Err(Unreadable::NotJson);
        }
        if self.byte() == Some(b'.') {
            integer = false;
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            integer = false;
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits()?;
        }
        let spelling = self.slice(start);
        if integer {
            if let Ok(value) = spelling.parse() {
                return Ok(Value::Int(value));
            }
            if let Ok(value) = spelling.parse() {
                return Ok(Value::Uint(value));
            }
        }
        spelling
            .parse()
            .map(Value::Double)
            .map_err(|_| Unreadable::NotJson)
    }

    fn byte_at(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// Takes a string; the text between its quotes, escapes unread, and whether there are any.
    fn raw_string(&mut self) -> Result<(&'a str, bool), Unreadable> {
        if self.byte() != Some(b'"') {
            return Err(Unreadable::NotJson);
        }
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            match self.byte() {
                Some(b'"') => {
                    let text = self.slice(start);
                    self.at += 1;
                    return Ok((text, escaped));
                }
                Some(b'\\') => {
                    escaped = true;
                    // What follows cannot end the string; it is a whole character only if it is ASCII,
                    // but then continuation bytes are no quotes either.
                    self.at += 2;
                }
                Some(byte) if byte >= b' ' => self.at += 1,
                _ => return Err(Unreadable::NotJson),
            }
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Unreadable> {
        let (raw, escaped) = self.raw_string()?;
        if escaped {
            let mut text = String::with_capacity(raw.len());
            unescape(raw, &mut text).ok_or(Unreadable::NotJson)?;
            Ok(Cow::Owned(text))
        } else {
            Ok(Cow::Borrowed(raw))
        }
    }
}

/// Appends the text that `raw` spells; `None` for an escape that is none, or half a surrogate pair.
pub(crate) fn unescape(raw: &str, text: &mut String) -> Option<()> {
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        let (char, length) = escape(&rest.as_bytes()[at..])?;
        text.push_str(&rest[..at]);
        text.push(char);
        rest = &rest[at + length..];
    }
    text.push_str(rest);
    Some(())
}

/// What the escape at the start of `raw` stands for, and its bytes.
pub(crate) fn escape(raw: &[u8]) -> Option<(char, usize)> {
    let char = match raw.get(1)? {
        escape @ (b'"' | b'\\' | b'/') => char::from(*escape),
        b'b' => '\x08',
        b'f' => '\x0c',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            return match hex4(raw.get(2..6)?)? {
                high @ 0xd800..=0xdbff => {
                    let low = raw.get(6..12)?.strip_prefix(b"\\u")?;
                    let low = hex4(low).filter(|low| (0xdc00..=0xdfff).contains(low))?;
                    let char = char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))?;
                    Some((char, 12))
                }
                unit => Some((char::from_u32(unit)?, 6)),
            };
        }
        _ => return None,
    };
    Some((char, 2))
}

fn hex4(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, &digit| {
        Some(number << 4 | char::from(digit).to_digit(16)?)
    })
}
