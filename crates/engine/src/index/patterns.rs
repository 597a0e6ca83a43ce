//! Which regular expressions the text of a field matches, of those that filters are found by: many at a time.

use std::ops::RangeInclusive;

use regex_automata::meta::{Config, Regex};
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::{Input, MatchKind, PatternSet};

use crate::limits;

/// Most patterns of one automaton. More make more states than are worth remembering.
const MAX_TOGETHER: usize = 128;

/// A field of which so many patterns are asked has them all matched by automata. Those of another are found by
/// texts that they need, where there are any: fewer patterns cost less one by one, and of more most are far from
/// matching.
pub(super) const ALL_BY_AUTOMATA: RangeInclusive<usize> = 8..=4 * MAX_TOGETHER;

/// Room for what one automaton finds.
#[derive(Debug)]
pub(super) struct Found(PatternSet);

impl Default for Found {
    fn default() -> Self {
        Self(PatternSet::new(MAX_TOGETHER))
    }
}

/// Automata that share out a field's patterns.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    automata: Vec<(Regex, Vec<u32>)>,
}

impl Patterns {
    /// Of patterns and their symbols; `None` if one of them is too large, which none is that a filter was parsed
    /// with.
    pub(super) fn new(all: &[(&str, u32)]) -> Option<Self> {
        let mut patterns = Self::default();
        for some in all.chunks(MAX_TOGETHER) {
            patterns.add(some)?;
        }
        Some(patterns)
    }

    fn add(&mut self, some: &[(&str, u32)]) -> Option<()> {
        let texts: Vec<&str> = some.iter().map(|(pattern, _)| *pattern).collect();
        let config = Config::new()
            .match_kind(MatchKind::All)
            .which_captures(WhichCaptures::None)
            .nfa_size_limit(Some(limits::MAX_REGEX_BYTES));
        match Regex::builder().configure(config).build_many(&texts) {
            Ok(automaton) => {
                let symbols = some.iter().map(|(_, symbol)| *symbol).collect();
                self.automata.push((automaton, symbols));
                Some(())
            }
            // Each alone is within the limit.
            Err(_) if some.len() > 1 => {
                let (some, others) = some.split_at(some.len() / 2);
                self.add(some)?;
                self.add(others)
            }
            Err(_) => None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.automata.is_empty()
    }

    /// Bytes on the heap, without what searches remember.
    pub(super) fn bytes(&self) -> usize {
        let automata = self.automata.iter();
        automata
            .map(|(automaton, symbols)| automaton.memory_usage() + symbols.capacity() * 4)
            .sum()
    }

    /// Calls `found` with the symbol of each pattern that `text` matches.
    pub(super) fn each(&self, text: &str, Found(set): &mut Found, mut found: impl FnMut(u32)) {
        for (automaton, symbols) in &self.automata {
            set.clear();
            automaton.which_overlapping_matches(&Input::new(text), set);
            for pattern in set.iter() {
                found(symbols[pattern.as_usize()]);
            }
        }
    }
}
