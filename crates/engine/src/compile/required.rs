//! Texts of which a regular expression needs one.

use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Hir, HirKind};

/// Most texts that one pattern is looked up by; letters of any case make many.
const MAX_TEXTS: usize = 64;

/// Bytes of the shortest of them. A single letter or digit is in most texts.
const MIN_BYTES: usize = 2;

/// Texts one of which is in every text that `pattern` finds something in; `None` if nothing of the kind is
/// known, or if a text is too short to be of use.
pub(crate) fn required(pattern: &str) -> Option<Vec<Vec<u8>>> {
    let hir = regex_syntax::parse(pattern).ok()?;
    let inside = of(&hir);
    let shortest = |texts: &Vec<Vec<u8>>| texts.iter().map(Vec::len).min().unwrap_or_default();
    // What begins a match, letters of any case among it.
    let first = Extractor::new().extract(&hir).literals().map(|literals| {
        literals
            .iter()
            .map(|literal| literal.as_bytes().to_vec())
            .collect::<Vec<_>>()
    });
    [inside, first]
        .into_iter()
        .flatten()
        .filter(|texts| shortest(texts) >= MIN_BYTES && texts.len() <= MAX_TEXTS)
        .max_by_key(|texts| (shortest(texts), std::cmp::Reverse(texts.len())))
}

fn of(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(vec![literal.0.to_vec()]),
        HirKind::Capture(capture) => of(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => of(&repetition.sub),
        HirKind::Concat(parts) => parts.iter().filter_map(of).max_by_key(|texts| {
            let shortest = texts.iter().map(Vec::len).min().unwrap_or_default();
            (shortest, std::cmp::Reverse(texts.len()))
        }),
        HirKind::Alternation(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(of(part)?);
            }
            (all.len() <= MAX_TEXTS).then_some(all)
        }
        _ => None,
    }
}
