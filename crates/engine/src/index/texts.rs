//! Which texts the text of a field begins with, ends with or contains, and which patterns it matches, of all that
//! filters ask for.

use std::collections::HashMap;
use std::sync::Arc;

use aho_corasick::AhoCorasick;

use super::event::Key;
use super::patterns::{Found, Patterns};
use super::symbols::{Role, Symbols};
use crate::regular::Regular;

/// The searches in one field.
#[derive(Debug)]
pub(super) struct Texts {
    pub(super) slot: usize,
    /// Lengths of beginnings, ascending.
    prefixes: Vec<u32>,
    /// Lengths of ends, ascending.
    suffixes: Vec<u32>,
    /// Finds texts inside; the i-th pattern is the i-th of `parts`.
    automaton: Option<AhoCorasick>,
    /// Symbols.
    parts: Vec<u32>,
    patterns: Patterns,
    /// Parts of the fields before this one.
    first: usize,
}

impl Texts {
    /// For the symbols of a field that are searched for, `regulars` by symbol among them, behind `first` parts of
    /// other fields.
    ///
    /// `None` if there are too many texts for an automaton.
    pub(super) fn new(
        slot: usize,
        found: &[u32],
        symbols: &Symbols,
        regulars: &HashMap<u32, Arc<Regular>>,
        first: usize,
    ) -> Option<Self> {
        let lengths = |role| {
            let found = found.iter().filter(|&&symbol| symbols.role(symbol) == role);
            let mut lengths: Vec<u32> = found
                .map(|&symbol| symbols.text(symbol).len() as u32)
                .collect();
            lengths.sort_unstable();
            lengths.dedup();
            lengths
        };
        let parts: Vec<u32> = found
            .iter()
            .copied()
            .filter(|&symbol| symbols.role(symbol) == Role::Part)
            .collect();
        let automaton = if parts.is_empty() {
            None
        } else {
            let texts = parts.iter().map(|&symbol| symbols.text(symbol));
            Some(AhoCorasick::new(texts).ok()?)
        };
        let patterns = found
            .iter()
            .filter_map(|symbol| Some((Arc::clone(regulars.get(symbol)?), *symbol)));
        let patterns: Vec<_> = patterns.collect();
        Some(Self {
            slot,
            prefixes: lengths(Role::Prefix),
            suffixes: lengths(Role::Suffix),
            automaton,
            parts,
            patterns: Patterns::new(&patterns)?,
            first,
        })
    }

    /// Parts of this field and those before it.
    pub(super) fn parts_so_far(&self) -> usize {
        self.first + self.parts.len()
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        (self.prefixes.capacity() + self.suffixes.capacity() + self.parts.capacity()) * 4
            + self.automaton.as_ref().map_or(0, AhoCorasick::memory_usage)
            + self.patterns.bytes()
    }

    /// Calls `found` with each symbol that `text` has; `seen` has room for
    /// [`parts_so_far`](Self::parts_so_far) marks, those of this event being `epoch`. `None` if the text is not
    /// valid UTF-8, which only patterns need.
    pub(super) fn each(
        &self,
        text: &[u8],
        symbols: &Symbols,
        (seen, epoch): (&mut [u32], u32),
        matched: &mut Found,
        mut found: impl FnMut(u32),
    ) -> Option<()> {
        let mut look_up = |role, part: &[u8]| {
            if let Some(symbol) = symbols.find_key(self.slot, role, &Key::Text(part)) {
                found(symbol);
            }
        };
        let fits = |length: &&u32| **length as usize <= text.len();
        for &length in self.prefixes.iter().take_while(fits) {
            look_up(Role::Prefix, &text[..length as usize]);
        }
        for &length in self.suffixes.iter().take_while(fits) {
            look_up(Role::Suffix, &text[text.len() - length as usize..]);
        }
        let matches = self.automaton.as_ref().and_then(|automaton| {
            // Refused only by automata of another kind.
            automaton.try_find_overlapping_iter(text).ok()
        });
        for part in matches.into_iter().flatten() {
            let part = part.pattern().as_usize();
            let seen = &mut seen[self.first + part];
            if *seen != epoch {
                *seen = epoch;
                found(self.parts[part]);
            }
        }
        if !self.patterns.is_empty() {
            let text = str::from_utf8(text).ok()?;
            self.patterns.each(text, matched, found);
        }
        Some(())
    }
}
