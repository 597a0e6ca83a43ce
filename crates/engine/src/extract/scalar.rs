//! Reading one value of an event whose structure is known.

use super::scan::Scan;
use super::shape::Malformed;
use super::slots::{Slot, SlotKind};
use crate::json;
use crate::value::Value;

/// The string, number or word that begins at `start`, and what is behind it.
pub(super) fn read(value: &[u8], scan: &Scan, start: usize) -> Result<(Slot, usize), Malformed> {
    let (kind, end, bits) = match value.get(start) {
        Some(b'"') => {
            let end = scan.string_end(start).ok_or(Malformed)?;
            let (first, last) = (start + 1, end.quote);
            if end.non_ascii && std::str::from_utf8(&value[first..last]).is_err() {
                return Err(Malformed);
            }
            let kind = if end.escapes {
                SlotKind::Escaped
            } else {
                SlotKind::String
            };
            return Ok((slot(kind, first, last, 0), last + 1));
        }
        Some(b't') if value[start..].starts_with(b"true") => (SlotKind::True, start + 4, 0),
        Some(b'f') if value[start..].starts_with(b"false") => (SlotKind::False, start + 5, 0),
        Some(b'n') if value[start..].starts_with(b"null") => (SlotKind::Null, start + 4, 0),
        Some(b'-' | b'0'..=b'9') => number(value, start)?,
        _ => return Err(Malformed),
    };
    Ok((slot(kind, start, end, bits), end))
}

pub(super) fn slot(kind: SlotKind, start: usize, end: usize, bits: u64) -> Slot {
    // Within a record, whose length is bounded.
    Slot {
        kind,
        start: start as u32,
        end: end as u32,
        bits,
    }
}

/// The first byte from `at` on that is not white space.
pub(super) fn skip_space(value: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = value.get(at) {
        at += 1;
    }
    at
}

/// Powers of ten that doubles hold exactly, as far as they are needed.
const TENS: [f64; 16] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];

/// Digits of a number that both `i64` and, without an exponent, doubles hold exactly.
const EXACT_DIGITS: usize = 15;

/// Kind, end and bits of the number at `start`. Short ones are made here, from two exact numbers by one
/// division, which rounds once; others by the reader.
fn number(value: &[u8], start: usize) -> Result<(SlotKind, usize, u64), Malformed> {
    let negative = value[start] == b'-';
    let first = start + usize::from(negative);
    let (whole, point) = digits(value, first, 0);
    let leading_zero = value.get(first) == Some(&b'0') && point > first + 1;
    if point == first || leading_zero {
        return Err(Malformed);
    }
    let (mantissa, end, fraction) = match value.get(point) {
        Some(b'.') => {
            let (mantissa, end) = digits(value, point + 1, whole);
            (mantissa, end, end - point - 1)
        }
        _ => (whole, point, 0),
    };
    let is_double = end > point;
    if is_double && fraction == 0 {
        return Err(Malformed);
    }
    if end - first > EXACT_DIGITS || matches!(value.get(end), Some(b'e' | b'E')) {
        return long_number(value, start, end);
    }
    if !is_double {
        // Below ten to the fifteenth.
        let number = mantissa.cast_signed();
        let number = if negative { -number } else { number };
        return Ok((SlotKind::Int, end, number.cast_unsigned()));
    }
    let number = mantissa as f64 / TENS[fraction];
    let number = if negative { -number } else { number };
    Ok((SlotKind::Double, end, number.to_bits()))
}

/// Goes on with `number` over the digits at `at`; where they end. Wraps around for too many.
fn digits(value: &[u8], mut at: usize, mut number: u64) -> (u64, usize) {
    while let Some(digit @ b'0'..=b'9') = value.get(at) {
        number = number
            .wrapping_mul(10)
            .wrapping_add(u64::from(digit - b'0'));
        at += 1;
    }
    (number, at)
}

/// As the reader does it, for numbers of many digits or with an exponent.
fn long_number(
    value: &[u8],
    start: usize,
    from: usize,
) -> Result<(SlotKind, usize, u64), Malformed> {
    let length = value[from..]
        .iter()
        .take_while(|byte| matches!(byte, b'0'..=b'9' | b'e' | b'E' | b'+' | b'-' | b'.'));
    let end = from + length.count();
    match json::parse_any(&value[start..end], 0) {
        Ok(Value::Int(number)) => Ok((SlotKind::Int, end, number.cast_unsigned())),
        Ok(Value::Uint(number)) => Ok((SlotKind::Uint, end, number)),
        Ok(Value::Double(number)) => Ok((SlotKind::Double, end, number.to_bits())),
        _ => Err(Malformed),
    }
}
