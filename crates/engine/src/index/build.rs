//! From filters to a segment.

use super::atom::{Asks, Atom};
use super::broad::{Broad, Candidate};
use super::cover::{Access, Frequencies, cover};
use super::postings::{Entry, Postings};
use super::program::Programs;
use super::symbols::{Role, Symbols};
use super::texts::Texts;
use super::{Paths, Segment};
use crate::compile::{Formula, compile};
use crate::filter::Filter;

impl Segment {
    /// An index of `filters`, whose keys are distinct. Takes a few microseconds for each.
    pub(crate) fn new(mut filters: Vec<(u32, Filter)>, paths: &mut Paths) -> Self {
        filters.sort_unstable_by_key(|(key, _)| *key);
        let mut symbols = Symbols::default();
        let mut frequencies = Frequencies::default();
        let mut formulas = Vec::with_capacity(filters.len());
        for (_, filter) in &filters {
            let compiled = compile(filter.tree());
            let formula = compiled
                .formula
                .map(&mut |test| Atom::new(test, paths, &mut symbols));
            formula.each_test(&mut |atom| frequencies.add(atom));
            formulas.push((formula, compiled.exact));
        }
        frequencies.finish(&symbols, paths.len());
        symbols.shrink();

        let mut slots = Slots::default();
        let mut found = Found::default();
        for (number, (formula, exact)) in (0..).zip(formulas) {
            formula.each_test(&mut |atom| slots.add(atom));
            found.add(number, formula, exact, &frequencies, &symbols);
        }
        let Placed {
            mut programs,
            mut symbol_entries,
            broad,
            mut scan,
        } = found.place();
        let texts = texts(&mut symbol_entries, &mut scan, &symbols);
        let lists = symbol_entries
            .iter()
            .filter(|(symbol, _)| symbols.role(*symbol) == Role::Element)
            .map(|(symbol, _)| symbols.slot(*symbol) as u32);
        let lists = distinct(lists.collect());
        programs.shrink();
        let (keys, filters): (Vec<u32>, Vec<Filter>) = filters.into_iter().unzip();
        Self {
            keys: keys.into(),
            filters: filters.into(),
            values: distinct(slots.values).into(),
            lists: lists.into(),
            postings: Postings::new(symbol_entries, symbols.len()),
            texts: texts.into(),
            broad: Broad::new(broad, symbols.len()),
            scan: scan.into(),
            programs,
            symbols,
        }
    }
}

fn distinct(mut numbers: Vec<u32>) -> Vec<u32> {
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Slots that are looked at in one way or another.
#[derive(Default)]
struct Slots {
    values: Vec<u32>,
}

impl Slots {
    fn add(&mut self, atom: &Atom<'_>) {
        if let Asks::In(_) | Asks::NotIn(_) = atom.asks
            && self.values.last() != Some(&(atom.slot as u32))
        {
            self.values.push(atom.slot as u32);
        }
    }
}

/// How the filters are found.
#[derive(Default)]
struct Found<'n>(Vec<Way<'n>>);

/// How a filter is found.
struct Way<'n> {
    number: u32,
    /// By any of these; on every event if there are none.
    accesses: Vec<Access>,
    /// What is to be tested then.
    left: Formula<Atom<'n>>,
    /// At most once in an event.
    once: bool,
    exact: bool,
}

/// Where the filters are found.
#[derive(Default)]
struct Placed {
    programs: Programs,
    symbol_entries: Vec<(u32, Entry)>,
    broad: Vec<Candidate>,
    scan: Vec<Entry>,
}

impl<'n> Found<'n> {
    fn add(
        &mut self,
        number: u32,
        formula: Formula<Atom<'n>>,
        exact: bool,
        frequencies: &Frequencies,
        symbols: &Symbols,
    ) {
        if formula.is_never() {
            return;
        }
        let Some(cover) = cover(&formula, frequencies, symbols) else {
            return self.0.push(Way {
                number,
                accesses: Vec::new(),
                left: formula,
                once: true,
                exact,
            });
        };
        let is_single = |access: &Access| {
            matches!(access, Access::Symbol(symbol)
                if matches!(symbols.role(*symbol), Role::Value | Role::Pattern))
        };
        let broad = matches!(cover.accesses.as_slice(), [Access::Broad(_)]);
        // A field has one value, which is found once, as is each pattern.
        let one_field = cover.tested.is_some() || cover.accesses.len() == 1;
        let once = broad || one_field && cover.accesses.iter().all(is_single);
        let left = match (formula, cover.tested) {
            (Formula::All(mut parts), Some(tested)) => {
                parts.remove(tested);
                Formula::All(parts)
            }
            (Formula::All(parts), None) if broad => untold(parts),
            (Formula::Test(atom), _) if broad => untold(vec![Formula::Test(atom)]),
            (Formula::Test(atom), _) if atom.is_found_exactly(symbols) => Formula::ALWAYS,
            (formula, _) => formula,
        };
        self.0.push(Way {
            number,
            accesses: cover.accesses,
            left,
            once,
            exact,
        });
    }

    /// Programs of filters that are found by one symbol are put side by side, as they are run together.
    fn place(mut self) -> Placed {
        self.0.sort_by_key(|way| match way.accesses.first() {
            Some(Access::Symbol(symbol)) => *symbol,
            _ => u32::MAX,
        });
        let mut placed = Placed::default();
        for way in self.0 {
            let program = placed.programs.add(&way.left);
            let entry = Entry::new(way.number, program, !way.once, way.exact);
            if way.accesses.is_empty() {
                placed.scan.push(entry);
            }
            for access in way.accesses {
                match access {
                    Access::Symbol(symbol) => placed.symbol_entries.push((symbol, entry)),
                    Access::Broad(constraints) => {
                        placed.broad.push(Candidate { entry, constraints });
                    }
                }
            }
        }
        placed
    }
}

/// What the bits of a broad filter do not tell of its parts: all but the only question for a field's values.
fn untold(mut parts: Vec<Formula<Atom<'_>>>) -> Formula<Atom<'_>> {
    let slots: Vec<usize> = parts
        .iter()
        .filter_map(|part| match part {
            Formula::Test(atom) if !matches!(atom.asks, Asks::Number(..)) => Some(atom.slot),
            _ => None,
        })
        .collect();
    let is_alone = |slot| slots.iter().filter(|other| **other == slot).count() == 1;
    parts.retain(|part| match part {
        Formula::Test(Atom {
            slot,
            asks: Asks::In(_) | Asks::Present | Asks::Missing,
        }) => !is_alone(*slot),
        _ => true,
    });
    match parts.as_slice() {
        [_] => parts.remove(0),
        _ => Formula::All(parts),
    }
}

/// The searches of each field. Filters of a field with too many are tested on every event.
fn texts(entries: &mut Vec<(u32, Entry)>, scan: &mut Vec<Entry>, symbols: &Symbols) -> Vec<Texts> {
    let searched = |symbol: u32| {
        matches!(
            symbols.role(symbol),
            Role::Prefix | Role::Suffix | Role::Part | Role::Pattern
        )
    };
    let found = entries
        .iter()
        .map(|(symbol, _)| *symbol)
        .filter(|&symbol| searched(symbol));
    let mut found = distinct(found.collect());
    found.sort_by_key(|&symbol| symbols.slot(symbol));
    let mut all: Vec<Texts> = Vec::new();
    for found in found.chunk_by(|&a, &b| symbols.slot(a) == symbols.slot(b)) {
        let slot = symbols.slot(found[0]);
        let first = all.last().map_or(0, Texts::parts_so_far);
        match Texts::new(slot, found, symbols, first) {
            Some(texts) => all.push(texts),
            None => entries.retain(|&(symbol, entry)| {
                let stays = !searched(symbol) || symbols.slot(symbol) != slot;
                if !stays {
                    scan.push(entry);
                }
                stays
            }),
        }
    }
    all
}
