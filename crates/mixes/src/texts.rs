//! Filters that search in texts.

use crate::random::Random;
use crate::shop::Shop;

/// Fields with texts worth searching: path, category, referrer, brand.
const FIELDS: [usize; 4] = [4, 5, 6, 12];

pub(crate) fn filter(shop: &Shop, random: &mut Random) -> String {
    let search = search(shop, random);
    match random.below(10) {
        0..5 => search,
        5..8 => format!("{search} && {}", shop.any_clause(random)),
        8 => format!("{search} || {}", self::search(shop, random)),
        _ => format!("!({search}) && {}", shop.any_clause(random)),
    }
}

fn search(shop: &Shop, random: &mut Random) -> String {
    let field = *random.choose(&FIELDS);
    let (path, word) = shop.word(random, field);
    let chars = word.len() as u64;
    // The words are ASCII.
    let cut = (3 + random.below(chars.saturating_sub(3).max(1)) as usize).min(word.len());
    let start = random.below((word.len() - cut) as u64 + 1) as usize;
    match random.below(6) {
        0 => format!("event.{path}.startsWith(\"{}\")", &word[..cut]),
        1 => format!("event.{path}.endsWith(\"{}\")", &word[word.len() - cut..]),
        2 | 3 => format!("event.{path}.contains(\"{}\")", &word[start..start + cut]),
        _ => format!("event.{path}.matches(\"{}\")", pattern(random, &word)),
    }
}

/// A pattern that often finds `word`, as the inside of a string literal.
pub(crate) fn pattern(random: &mut Random, word: &str) -> String {
    let cut = (3 + random.below(8) as usize).min(word.len());
    let (head, tail) = (plain(&word[..cut]), plain(&word[word.len() - cut..]));
    match random.below(8) {
        0 => format!("^{head}"),
        1 => format!("{tail}$"),
        2 => format!("^{head}.*{tail}$"),
        3 => format!("({head}|{tail})"),
        4 => format!("{head}[a-z0-9/-]+"),
        5 => format!("(?i){}", head.to_uppercase()),
        6 => format!("[0-9]{{2,}}{tail}"),
        _ => format!("^[a-z/: -]+[0-9]{{{}}}", 1 + random.below(4)),
    }
}

fn plain(text: &str) -> String {
    text.replace('.', "\\\\.")
}
