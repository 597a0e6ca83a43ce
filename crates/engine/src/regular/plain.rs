//! Regular expressions that say no more than `startsWith`, `endsWith`, `contains` or `==` do.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// A text, and where in the searched one it has to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Plain {
    pub(crate) text: String,
    pub(crate) at_start: bool,
    pub(crate) at_end: bool,
}

/// Most texts of one pattern; one with more is better searched for as it is.
const MAX_TEXTS: usize = 16;

/// The texts one of which has to be there for `pattern` to match, which then does; `None` if that is not all that
/// it asks for, or if they are too many. The pattern is in the syntax of crate `regex`.
pub(crate) fn plain(pattern: &str) -> Option<Vec<Plain>> {
    let mut all = alternatives(&regex_syntax::parse(pattern).ok()?)?;
    all.sort_unstable();
    all.dedup();
    (1..=MAX_TEXTS).contains(&all.len()).then_some(all)
}

fn alternatives(hir: &Hir) -> Option<Vec<Plain>> {
    let mut parts = match hir.kind() {
        HirKind::Capture(capture) => return alternatives(&capture.sub),
        HirKind::Alternation(parts) => {
            let each: Option<Vec<_>> = parts.iter().map(alternatives).collect();
            return Some(each?.concat());
        }
        HirKind::Concat(parts) => parts.as_slice(),
        _ => std::slice::from_ref(hir),
    };
    let at_start = matches!(parts, [first, ..] if *first.kind() == HirKind::Look(Look::Start));
    if at_start {
        parts = &parts[1..];
    }
    let at_end = matches!(parts, [.., last] if *last.kind() == HirKind::Look(Look::End));
    if at_end {
        parts = &parts[..parts.len() - 1];
    }
    // At an end that is open, what may be nothing asks for nothing.
    while let [first, rest @ ..] = parts
        && !at_start
        && may_be_nothing(first)
    {
        parts = rest;
    }
    while let [rest @ .., last] = parts
        && !at_end
        && may_be_nothing(last)
    {
        parts = rest;
    }
    let texts = joined(parts)?.into_iter();
    let plain = texts.map(|text| Plain {
        text,
        at_start,
        at_end,
    });
    Some(plain.collect())
}

fn may_be_nothing(hir: &Hir) -> bool {
    matches!(hir.kind(), HirKind::Repetition(repetition) if repetition.min == 0)
}

/// All that `hir` matches, if it is a few texts.
fn texts(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Empty => Some(vec![String::new()]),
        HirKind::Literal(literal) => Some(vec![str::from_utf8(&literal.0).ok()?.to_owned()]),
        HirKind::Class(Class::Unicode(class)) => {
            let chars = class.iter().flat_map(|range| range.start()..=range.end());
            let chars: Vec<_> = chars.take(MAX_TEXTS + 1).map(String::from).collect();
            (chars.len() <= MAX_TEXTS).then_some(chars)
        }
        HirKind::Capture(capture) => texts(&capture.sub),
        HirKind::Concat(parts) => joined(parts),
        HirKind::Alternation(parts) => {
            let each: Option<Vec<_>> = parts.iter().map(texts).collect();
            each.map(|each| each.concat())
                .filter(|all| all.len() <= MAX_TEXTS)
        }
        _ => None,
    }
}

/// All that `parts` match, one behind the other.
fn joined(parts: &[Hir]) -> Option<Vec<String>> {
    let mut all = vec![String::new()];
    for part in parts {
        let ends = texts(part)?;
        if all.len() * ends.len() > MAX_TEXTS {
            return None;
        }
        all = all
            .iter()
            .flat_map(|start| ends.iter().map(move |end| start.clone() + end))
            .collect();
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `^` and `$` around the texts show where they have to be.
    fn shown(pattern: &str) -> Option<Vec<String>> {
        let show = |plain: Plain| {
            let (start, end) = (["", "^"], ["", "$"]);
            let (start, end) = (
                start[usize::from(plain.at_start)],
                end[usize::from(plain.at_end)],
            );
            format!("{start}{}{end}", plain.text)
        };
        let mut all: Vec<_> = plain(pattern)?.into_iter().map(show).collect();
        all.sort();
        Some(all)
    }

    #[test]
    fn what_says_no_more_than_texts_is_these_texts() {
        for (pattern, texts) in [
            ("", &[""][..]),
            ("^", &["^"]),
            ("^$", &["^$"]),
            ("sale", &["sale"]),
            ("^/cart", &["^/cart"]),
            (r"\.html$", &[".html$"]),
            (r"\Asale\z", &["^sale$"]),
            ("(?s)^sale$", &["^sale$"]),
            ("(a)(b)", &["ab"]),
            ("cart|checkout", &["cart", "checkout"]),
            ("^(?:cart|checkout)$", &["^cart$", "^checkout$"]),
            ("^cart|(checkout$)", &["^cart", "checkout$"]),
            ("p(ai|oli)d", &["paid", "polid"]),
            ("(?i)ab", &["AB", "Ab", "aB", "ab"]),
            ("(?i)k", &["K", "k", "\u{212a}"]),
            ("[ab]c", &["ac", "bc"]),
            (".*sale.*", &["sale"]),
            ("(?:x*)sale(?:y?)", &["sale"]),
            ("^sale.*", &["^sale"]),
            (".*sale$", &["sale$"]),
            ("ж", &["ж"]),
        ] {
            let texts = texts.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(shown(pattern), Some(texts), "{pattern}");
        }
    }

    #[test]
    fn what_says_more_is_not() {
        for pattern in [
            "a+",
            "^.*sale",
            "sale.*$",
            "^a.*b$",
            "(?m)^sale",
            "(?m)sale$",
            r"\bsale",
            "sale[0-9]{2}",
            "(?i)checkout",
            "(^a|b)c",
            "a^b",
            "[^a]",
            r"[^\s\S]",
        ] {
            assert_eq!(shown(pattern), None, "{pattern}");
        }
    }
}
