//! Whether the whole event is JSON.

use super::scalar;
use super::scan::Scan;
use super::shape::Malformed;
use crate::json;
use crate::limits;

/// Holds `value`, whose structure is `scan`, tokens included, and sound, to the grammar.
pub(super) fn validate(value: &[u8], scan: &Scan) -> Result<(), Malformed> {
    grammar(value, scan)?;
    if scan.non_ascii {
        utf8(value, scan)?;
    }
    if scan.escapes {
        escapes(value, scan)?;
    }
    Ok(())
}

fn grammar(value: &[u8], scan: &Scan) -> Result<(), Malformed> {
    let tokens = scan.token_kinds();
    // A bit for each open bracket, set for objects, the innermost one lowest; in front of them a set one.
    const { assert!(limits::MAX_EVENT_DEPTH < u128::BITS as usize) };
    const NONE: u128 = 1;
    let mut open = NONE;
    let mut at = 0;
    loop {
        let token = *tokens.get(at).ok_or(Malformed)?;
        at += 1;
        match token {
            b'"' => {}
            b'{' | b'[' => {
                if open >> limits::MAX_EVENT_DEPTH != 0 {
                    return Err(Malformed);
                }
                let is_object = token == b'{';
                if tokens.get(at) != Some(&(token + 2)) {
                    open = open << 1 | u128::from(is_object);
                    if is_object {
                        at = name(tokens, at)?;
                    }
                    continue;
                }
                at += 1;
            }
            _ => word(value, scan, at - 1)?,
        }
        // Behind a value, which may be the last one of several brackets.
        loop {
            if open == NONE {
                return if at == tokens.len() {
                    Ok(())
                } else {
                    Err(Malformed)
                };
            }
            let is_object = open & 1 == 1;
            let token = *tokens.get(at).ok_or(Malformed)?;
            at += 1;
            if token == b',' {
                if is_object {
                    at = name(tokens, at)?;
                }
                break;
            }
            if token != if is_object { b'}' } else { b']' } {
                return Err(Malformed);
            }
            open >>= 1;
        }
    }
}

/// Takes a name and its colon; what follows them.
fn name(tokens: &[u8], at: usize) -> Result<usize, Malformed> {
    match tokens.get(at..at + 2) {
        Some(b"\":") => Ok(at + 2),
        _ => Err(Malformed),
    }
}

/// Whether the token is a number, or one of the three words.
fn word(value: &[u8], scan: &Scan, token: usize) -> Result<(), Malformed> {
    let start = scan.token_positions()[token] as usize;
    let (_, end) = scalar::read(value, scan, start)?;
    match value.get(end) {
        None | Some(b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r') => Ok(()),
        _ => Err(Malformed),
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
