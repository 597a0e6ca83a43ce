//! Whether the whole event is JSON.

use super::scalar;
use super::scan::Scan;
use super::shape::Malformed;
use crate::json;
use crate::limits;

/// What may come next.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    /// A value.
    Value,
    /// A value, or the end of the list.
    FirstValue,
    /// A name.
    Name,
    /// A name, or the end of the object.
    FirstName,
    Colon,
    /// A comma, or the end of what is open.
    Comma,
}

/// Holds `value`, whose structure is `scan` and sound, to the grammar.
///
/// Tokens are the operators, the first quotes of strings, and the first bytes of what is neither those nor
/// white space.
pub(super) fn validate(value: &[u8], scan: &Scan) -> Result<(), Malformed> {
    if scan.non_ascii {
        utf8(value, scan)?;
    }
    let mut next = Next::Value;
    // A bit for each open bracket, set for objects, the innermost one lowest.
    const { assert!(limits::MAX_EVENT_DEPTH < u128::BITS as usize) };
    let mut open = 1_u128;
    let mut word_before = 0;
    for (at, block) in scan.blocks().iter().enumerate() {
        let word = !(block.operator | block.space | block.string | block.quote);
        let word_starts = word & !(word << 1 | word_before);
        word_before = word >> 63;
        let mut tokens = block.operator | block.quote & block.string | word_starts;
        while tokens != 0 {
            let position = at * 64 + tokens.trailing_zeros() as usize;
            tokens &= tokens - 1;
            if open == 1 && next == Next::Comma {
                return Err(Malformed);
            }
            // Behind the end of the value the last block is white space.
            let byte = *value.get(position).ok_or(Malformed)?;
            next = match (byte, next) {
                (b'"', Next::Value | Next::FirstValue) => Next::Comma,
                (b'"', Next::Name | Next::FirstName) => Next::Colon,
                (b':', Next::Colon) => Next::Value,
                (b',', Next::Comma) if open & 1 == 1 => Next::Name,
                (b',', Next::Comma) => Next::Value,
                (b'{' | b'[', Next::Value | Next::FirstValue) => {
                    if open >> limits::MAX_EVENT_DEPTH != 0 {
                        return Err(Malformed);
                    }
                    let object = byte == b'{';
                    open = open << 1 | u128::from(object);
                    if object {
                        Next::FirstName
                    } else {
                        Next::FirstValue
                    }
                }
                (b'}', Next::Comma | Next::FirstName) if open & 1 == 1 => {
                    open >>= 1;
                    Next::Comma
                }
                (b']', Next::Comma | Next::FirstValue) if open & 1 == 0 => {
                    open >>= 1;
                    Next::Comma
                }
                (b'-' | b'0'..=b'9' | b't' | b'f' | b'n', Next::Value | Next::FirstValue) => {
                    let (_, end) = scalar::read(value, scan, position)?;
                    // Nothing that goes on as a word does.
                    if !matches!(
                        value.get(end),
                        None | Some(b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r')
                    ) {
                        return Err(Malformed);
                    }
                    Next::Comma
                }
                _ => return Err(Malformed),
            };
        }
    }
    if open != 1 || next != Next::Comma {
        return Err(Malformed);
    }
    if scan.escapes {
        escapes(value, scan)
    } else {
        Ok(())
    }
}

/// Whether every escape is one.
fn escapes(value: &[u8], scan: &Scan) -> Result<(), Malformed> {
    let mut end = 0;
    for (at, block) in scan.blocks().iter().enumerate() {
        let mut escape = block.escape;
        while escape != 0 {
            let start = at * 64 + escape.trailing_zeros() as usize;
            escape &= escape - 1;
            if start < end {
                // The second half of a pair.
                continue;
            }
            let (_, length) = json::escape(&value[start..]).ok_or(Malformed)?;
            end = start + length;
        }
    }
    Ok(())
}

/// Whether all characters are UTF-8. Those that are not ASCII are few and together: only the blocks that have
/// some are looked at, those that follow each other as one, as a character may begin in one and end in the next.
fn utf8(value: &[u8], scan: &Scan) -> Result<(), Malformed> {
    let mut from = None;
    let mut to = 0;
    let check = |from: usize, to: usize| {
        let characters = std::str::from_utf8(&value[from..to]);
        characters.map(drop).map_err(|_| Malformed)
    };
    for (at, block) in scan.blocks().iter().enumerate() {
        if block.non_ascii == 0 {
            if let Some(from) = from.take() {
                check(from, to)?;
            }
            continue;
        }
        from.get_or_insert(at * 64 + block.non_ascii.trailing_zeros() as usize);
        to = at * 64 + 64 - block.non_ascii.leading_zeros() as usize;
    }
    from.map_or(Ok(()), |from| check(from, to))
}
