//! From filters to a segment.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::atom::{Asks, Atom};
use super::broad::{Broad, Candidate};
use super::cover::{Accepts, Access, Cover, Frequencies, accepts, covers};
use super::patterns::ALL_BY_AUTOMATA;
use super::postings::{Condition, Conditions, Entry, Interval, Postings};
use super::program::{ALWAYS, Programs};
use super::symbols::{Role, Symbols};
use super::texts::Texts;
use super::{Paths, Segment};
use crate::compile::{Compiled, Formula, Op, compile};
use crate::filter::Filter;
use crate::regular::Regular;

impl Segment {
    /// An index of `filters`, whose keys are distinct. Takes a few microseconds for each.
    pub(crate) fn new(mut filters: Vec<(u32, Filter)>, paths: &mut Paths) -> Self {
        filters.sort_unstable_by_key(|(key, _)| *key);
        let mut symbols = Symbols::default();
        let mut frequencies = Frequencies::default();
        let mut formulas = Vec::with_capacity(filters.len());
        let compiled = filters.iter().map(|(_, filter)| compile(filter.tree()));
        let compiled: Vec<_> = compiled.collect();
        let by_automata = by_automata(&compiled, paths);
        for compiled in compiled {
            let formula = compiled
                .formula
                .map(&mut |test| Atom::new(test, paths, &mut symbols, &by_automata));
            formula.each_test(&mut |atom| frequencies.add(atom));
            formulas.push((formula, compiled.exact));
        }
        frequencies.finish(&symbols, paths.len());
        symbols.shrink();
        let regulars = regulars(formulas.iter().map(|(formula, _)| formula), &symbols);

        let mut slots = Slots::default();
        let mut found = Found::default();
        let all = formulas.iter().map(|(formula, _)| formula);
        let covers = covers(all, &frequencies, &symbols);
        for (number, ((formula, exact), cover)) in (0..).zip(formulas.into_iter().zip(covers)) {
            formula.each_test(&mut |atom| slots.add(atom));
            found.add(number, formula, exact, cover, &symbols);
        }
        let texts = found.texts(&symbols, &regulars);
        let lists = found
            .symbols()
            .filter(|&symbol| symbols.role(symbol) == Role::Element)
            .map(|symbol| symbols.slot(symbol) as u32);
        let lists = distinct(lists.collect());
        let Placed {
            postings,
            programs,
            broad,
            scan,
        } = found.place(symbols.len());
        let (keys, filters): (Vec<u32>, Vec<Filter>) = filters.into_iter().unzip();
        Self {
            keys: keys.into(),
            filters: filters.into(),
            values: distinct(slots.values).into(),
            lists: lists.into(),
            postings,
            texts: texts.into(),
            broad: Broad::new(broad, symbols.len()),
            scan: scan.into(),
            programs,
            symbols,
        }
    }
}

/// Slots of which so many patterns are asked that texts need not lead to them.
fn by_automata(all: &[Compiled<'_>], paths: &mut Paths) -> HashSet<usize> {
    let mut patterns: HashMap<usize, HashSet<&str>> = HashMap::new();
    for compiled in all {
        compiled.formula.each_test(&mut |test| {
            if let Op::Matches(regular, true) = test.op {
                let patterns = patterns.entry(paths.slot(&test.path)).or_default();
                patterns.insert(regular.pattern());
            }
        });
    }
    patterns.retain(|_, patterns| ALL_BY_AUTOMATA.contains(&patterns.len()));
    patterns.into_keys().collect()
}

/// The patterns that are symbols.
fn regulars<'f, 'n: 'f>(
    formulas: impl Iterator<Item = &'f Formula<Atom<'n>>>,
    symbols: &Symbols,
) -> HashMap<u32, Arc<Regular>> {
    let mut regulars = HashMap::new();
    for formula in formulas {
        formula.each_test(&mut |atom| {
            if let Asks::Matches(regular, true, found) = &atom.asks
                && let [symbol] = found.as_slice()
                && symbols.role(*symbol) == Role::Pattern
            {
                regulars.insert(*symbol, Arc::clone(regular));
            }
        });
    }
    regulars
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
    /// What else its postings may be found by.
    conditions: Conditions,
    /// What is to be tested then, the conditions first, unless they are known to hold.
    left: Formula<Atom<'n>>,
    /// At most once in an event.
    once: bool,
    exact: bool,
}

/// Where the filters are found.
struct Placed {
    postings: Postings,
    programs: Programs,
    broad: Vec<Candidate>,
    scan: Vec<Entry>,
}

impl<'n> Found<'n> {
    fn add(
        &mut self,
        number: u32,
        formula: Formula<Atom<'n>>,
        exact: bool,
        cover: Option<Cover>,
        symbols: &Symbols,
    ) {
        if formula.is_never() {
            return;
        }
        let Some(cover) = cover else {
            return self.0.push(Way {
                number,
                accesses: Vec::new(),
                conditions: Conditions::default(),
                left: formula,
                once: true,
                exact,
            });
        };
        let broad = matches!(cover.accesses.as_slice(), [Access::Broad(_)]);
        // A symbol is found once in an event, and a field has one value.
        let value_of = |access: &Access| match access {
            Access::Symbol(symbol) if symbols.role(*symbol) == Role::Value => {
                Some(symbols.slot(*symbol))
            }
            _ => None,
        };
        let once = match cover.accesses.as_slice() {
            [_] => true,
            [first, others @ ..] => {
                let field = value_of(first);
                field.is_some() && others.iter().all(|other| value_of(other) == field)
            }
            [] => false,
        };
        let tells_all = cover.tells_all(&formula, symbols);
        let mut conditions = Conditions::default();
        let left = match (formula, cover.tested) {
            (Formula::All(parts), None) if broad => untold(parts),
            (Formula::All(parts), tested) => {
                let mut parts: Vec<_> = parts.into_iter().map(Some).collect();
                if let Some(tested) = tested {
                    parts[tested] = None;
                }
                let first = cover.conditions.iter();
                let mut left: Vec<_> = first.filter_map(|&at| parts[at].take()).collect();
                conditions.values.extend(left.iter().filter_map(condition));
                left.extend(parts.into_iter().flatten());
                conditions.interval = interval(&left);
                Formula::All(left)
            }
            (Formula::Test(atom), _) if broad => untold(vec![Formula::Test(atom)]),
            _ if tells_all => Formula::ALWAYS,
            (formula, _) => formula,
        };
        self.0.push(Way {
            number,
            accesses: cover.accesses,
            conditions,
            left,
            once,
            exact,
        });
    }

    /// The symbols that filters are found by.
    fn symbols(&self) -> impl Iterator<Item = u32> {
        let accesses = self.0.iter().flat_map(|way| &way.accesses);
        accesses.filter_map(|access| match access {
            Access::Symbol(symbol) => Some(*symbol),
            Access::Broad(_) => None,
        })
    }

    /// The searches of each field. Filters of a field with too many are evaluated on every event.
    fn texts(&mut self, symbols: &Symbols, regulars: &HashMap<u32, Arc<Regular>>) -> Vec<Texts> {
        let is_searched = |symbol: u32| {
            matches!(
                symbols.role(symbol),
                Role::Prefix | Role::Suffix | Role::Part | Role::Pattern
            )
        };
        let mut found = distinct(
            self.symbols()
                .filter(|&symbol| is_searched(symbol))
                .collect(),
        );
        found.sort_by_key(|&symbol| symbols.slot(symbol));
        let mut all: Vec<Texts> = Vec::new();
        for found in found.chunk_by(|&a, &b| symbols.slot(a) == symbols.slot(b)) {
            let slot = symbols.slot(found[0]);
            let first = all.last().map_or(0, Texts::parts_so_far);
            if let Some(texts) = Texts::new(slot, found, symbols, regulars, first) {
                all.push(texts);
                continue;
            }
            for way in &mut self.0 {
                let is_lost = |access: &Access| {
                    matches!(access, Access::Symbol(symbol)
                        if is_searched(*symbol) && symbols.slot(*symbol) == slot)
                };
                if way.accesses.iter().any(is_lost) {
                    // What is left to be tested may be less than the filter asks for.
                    way.accesses.clear();
                    way.conditions = Conditions::default();
                    way.exact = false;
                    way.once = true;
                }
            }
        }
        all
    }

    /// Programs of filters that are found together are put side by side, as they are run together.
    fn place(self, symbols: usize) -> Placed {
        let mut programs = Programs::default();
        let mut found = Vec::new();
        let mut broad = Vec::new();
        let mut scan = Vec::new();
        for (at, way) in (0..).zip(&self.0) {
            for access in &way.accesses {
                if let Access::Symbol(symbol) = access {
                    found.push((*symbol, at));
                }
            }
        }
        let mut starts: Vec<Option<u32>> = vec![None; self.0.len()];
        let mut entry = |at: u32, known: usize| {
            let way = &self.0[at as usize];
            let start = *starts[at as usize].get_or_insert_with(|| programs.add(&way.left));
            let program = if known == 0 {
                start
            } else if known < way.left.tests() {
                start + known as u32
            } else {
                ALWAYS
            };
            Entry::new(way.number, program, !way.once, way.exact)
        };
        let conditions = |at: u32| &self.0[at as usize].conditions;
        let postings = Postings::new(found, symbols, conditions, &mut entry);
        for (at, way) in (0..).zip(&self.0) {
            if way.accesses.is_empty() {
                scan.push(entry(at, 0));
            }
            for access in &way.accesses {
                if let Access::Broad(constraints) = access {
                    broad.push(Candidate {
                        entry: entry(at, 0),
                        constraints: constraints.clone(),
                    });
                }
            }
        }
        programs.shrink();
        Placed {
            postings,
            programs,
            broad,
            scan,
        }
    }
}

/// What a part asks of a field's value.
fn condition(part: &Formula<Atom<'_>>) -> Option<Condition> {
    match part {
        Formula::Test(Atom {
            slot,
            asks: Asks::In(symbols),
        }) => Some(Condition {
            slot: *slot as u32,
            symbols: symbols.clone(),
        }),
        _ => None,
    }
}

/// What the parts ask of the number of one field: of the first that they ask for both ends of, if there is one.
fn interval(parts: &[Formula<Atom<'_>>]) -> Interval {
    let mut intervals: Vec<Interval> = Vec::new();
    for part in parts {
        let Formula::Test(atom) = part else { continue };
        let Accepts::Interval(low, high) = accepts(atom) else {
            continue;
        };
        let (slot, low, high) = (atom.slot as u32, low as f32, high as f32);
        match intervals.iter_mut().find(|known| known.slot == slot) {
            Some(known) => {
                known.low = known.low.max(low);
                known.high = known.high.min(high);
            }
            None => intervals.push(Interval { slot, low, high }),
        }
    }
    let bounded = intervals
        .iter()
        .find(|interval| interval.low.is_finite() && interval.high.is_finite());
    bounded.or(intervals.first()).copied().unwrap_or_default()
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
