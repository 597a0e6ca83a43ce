//! Which regular expressions the text of a field matches, of those that filters are found by: many at a time.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use regex_automata::hybrid::dfa::{Cache, Config, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::pool::Pool;
use regex_automata::{Input, MatchKind, PatternSet};

use crate::limits;
use crate::regular::Regular;

/// Most patterns of one automaton. More make more states than are worth remembering.
const MAX_TOGETHER: usize = 128;

/// A field of which so many patterns are asked has them all matched by automata. Those of another are found by
/// texts that they need, where there are any: fewer patterns cost less one by one, and of more most are far from
/// matching.
pub(super) const ALL_BY_AUTOMATA: RangeInclusive<usize> = 8..=4 * MAX_TOGETHER;

/// Bytes of an automaton's states for one thread. A state is made when a text first needs it.
const STATE_BYTES: usize = 2 << 20;

/// Once the states had to be forgotten so often, an automaton gives up a text that needs another one than there is
/// room for, unless [`BYTES_PER_STATE`] were read for each since.
const FORGOTTEN: usize = 3;

/// To make a state takes as long as to read some hundred bytes.
const BYTES_PER_STATE: usize = 16;

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
    automata: Vec<Automaton>,
}

struct Automaton {
    dfa: DFA,
    /// One for each thread at work.
    states: Pool<Cache, Box<dyn Fn() -> Cache + Send + Sync>>,
    /// With their symbols.
    patterns: Vec<(Arc<Regular>, u32)>,
}

impl Patterns {
    /// Of patterns and their symbols; `None` if one of them is too large, which none is that a filter was parsed
    /// with.
    pub(super) fn new(all: &[(Arc<Regular>, u32)]) -> Option<Self> {
        let mut patterns = Self::default();
        for some in all.chunks(MAX_TOGETHER) {
            patterns.add(some)?;
        }
        Some(patterns)
    }

    fn add(&mut self, some: &[(Arc<Regular>, u32)]) -> Option<()> {
        if let Some(automaton) = Automaton::new(some) {
            self.automata.push(automaton);
            return Some(());
        }
        // Each alone is within the limit.
        let (some, others) = some
            .split_at_checked(some.len() / 2)
            .filter(|(some, _)| !some.is_empty())?;
        self.add(some)?;
        self.add(others)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.automata.is_empty()
    }

    /// Bytes on the heap, without the states and the patterns themselves, which the filters hold.
    pub(super) fn bytes(&self) -> usize {
        let automata = self.automata.iter();
        automata
            .map(|automaton| {
                automaton.dfa.memory_usage()
                    + automaton.patterns.capacity() * size_of::<(Arc<Regular>, u32)>()
            })
            .sum()
    }

    /// Calls `found` with the symbol of each pattern that `text` matches.
    pub(super) fn each(&self, text: &str, room: &mut Found, mut found: impl FnMut(u32)) {
        for automaton in &self.automata {
            automaton.each(text, room, &mut found);
        }
    }
}

impl Automaton {
    /// `None` if it is too large.
    fn new(patterns: &[(Arc<Regular>, u32)]) -> Option<Self> {
        let texts: Vec<&str> = patterns
            .iter()
            .map(|(regular, _)| regular.pattern())
            .collect();
        let nfa = thompson::Config::new()
            .which_captures(WhichCaptures::None)
            .nfa_size_limit(Some(limits::MAX_REGEX_BYTES));
        let config = Config::new()
            .match_kind(MatchKind::All)
            .cache_capacity(STATE_BYTES)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(Some(FORGOTTEN))
            .minimum_bytes_per_state(Some(BYTES_PER_STATE));
        let dfa = DFA::builder()
            .configure(config)
            .thompson(nfa)
            .build_many(&texts)
            .ok()?;
        let empty = dfa.clone();
        Some(Self {
            dfa,
            states: Pool::new(Box::new(move || empty.create_cache())),
            patterns: patterns.to_vec(),
        })
    }

    fn each(&self, text: &str, Found(set): &mut Found, found: &mut impl FnMut(u32)) {
        set.clear();
        let states = &mut self.states.get();
        let read = self
            .dfa
            .try_which_overlapping_matches(states, &Input::new(text), set);
        if read.is_ok() {
            for pattern in set.iter() {
                found(self.patterns[pattern.as_usize()].1);
            }
            return;
        }
        for (regular, symbol) in &self.patterns {
            if regular.is_match(text) {
                found(*symbol);
            }
        }
    }
}

impl fmt::Debug for Automaton {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Automaton")
            .field("patterns", &self.patterns)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use clickstream_mixes::Random;

    use super::*;

    #[test]
    fn what_takes_too_many_states_is_found_one_by_one() {
        // Which of the last twenty letters were an `a` is a state each.
        let texts = (0..40).map(|n| format!("^[ab]*a[ab]{{20}}c{{{n}}}$"));
        let regulars = texts.map(|text| Arc::new(Regular::new(&text).unwrap()));
        let patterns: Vec<_> = regulars.zip(0..).collect();
        let automata = Patterns::new(&patterns).unwrap();
        let [automaton] = automata.automata.as_slice() else {
            panic!("{automata:?}");
        };
        let mut random = Random::new(5);
        let mut room = Found::default();
        let mut gave_up = 0;
        for _ in 0..300 {
            let letters = (0..300).map(|_| if random.below(2) == 0 { 'a' } else { 'b' });
            let mut text: String = letters.collect();
            text.extend((0..random.below(50)).map(|_| 'c'));
            let (mut found, mut expected) = (Vec::new(), Vec::new());
            automata.each(&text, &mut room, |symbol| found.push(symbol));
            for (regular, symbol) in &patterns {
                expected.extend(regular.is_match(&text).then_some(*symbol));
            }
            assert_eq!(found, expected, "{text}");
            let input = Input::new(&text);
            let mut states = automaton.states.get();
            let read = automaton.dfa.try_search_fwd(&mut states, &input);
            gave_up += u32::from(read.is_err());
        }
        assert!(gave_up > 10, "{gave_up}");
    }
}
