//! By what a filter is found: parts of its formula one of which must hold.

use super::atom::{Asks, Atom};
use super::symbols::{Role, Symbols};
use crate::compile::{Bound, Formula};
use crate::tree::Operator;

/// One of the ways to a filter.
#[derive(Debug)]
pub(super) enum Access {
    /// By a value, or a text in it.
    Symbol(u32),
    /// By all of these fields at once.
    Broad(Vec<Constraint>),
}

/// What a field has to be. Never stricter than the tests it stands for.
#[derive(Clone, Debug)]
pub(super) struct Constraint {
    pub(super) slot: usize,
    pub(super) accepts: Accepts,
    /// Of events that meet it, roughly.
    pub(super) share: f64,
}

#[derive(Clone, Debug)]
pub(super) enum Accepts {
    /// One of these values.
    Symbols(Vec<u32>),
    Present,
    Missing,
    /// A number, both ends included.
    Interval(f64, f64),
}

/// Everything by which a filter must be found, and the share of events it is found by, roughly.
#[derive(Debug)]
pub(super) struct Cover {
    pub(super) accesses: Vec<Access>,
    pub(super) cost: f64,
    /// The one of a conjunction's parts that needs no test any more.
    pub(super) tested: Option<usize>,
    /// Other parts of it, by whose values the filter can be found besides, the rarest first.
    pub(super) conditions: Vec<usize>,
}

impl Cover {
    /// Whether it finds nothing that fails the formula it is of.
    pub(super) fn tells_all(&self, formula: &Formula<Atom<'_>>, symbols: &Symbols) -> bool {
        let is_told = |part: &Formula<Atom<'_>>| match part {
            Formula::Test(atom) => atom.is_found_exactly(symbols),
            _ => false,
        };
        let by_symbols = |access: &Access| matches!(access, Access::Symbol(_));
        self.accesses.iter().all(by_symbols)
            && match formula {
                Formula::Any(parts) => parts.iter().all(is_told),
                part => is_told(part),
            }
    }
}

/// What looking a filter up among the broad ones costs, as a share of testing it.
const BROAD_COST: f64 = 0.02;

/// What there being broad filters costs each event, as a share of testing a filter.
const BROAD_START: f64 = 16.0;

/// Most conditions of a filter, and most combinations of values by which they find it: each takes memory.
const MAX_CONDITIONS: usize = 3;
const MAX_COMBINATIONS: usize = 16;

/// How often filters ask for what, which tells how common it is in events: people ask for what there is. A
/// value asked for by one filter only says little; it counts for less the more such values its field has.
#[derive(Debug, Default)]
pub(super) struct Frequencies {
    /// Filters by symbol.
    symbols: Vec<u32>,
    /// Filters, and of them those that ask for what no other does, by slot.
    slots: Vec<(u32, u32)>,
}

impl Frequencies {
    pub(super) fn add(&mut self, atom: &Atom<'_>) {
        for &symbol in atom.symbols() {
            let symbol = symbol as usize;
            if self.symbols.len() <= symbol {
                self.symbols.resize(symbol + 1, 0);
            }
            self.symbols[symbol] += 1;
        }
    }

    /// Once all filters are counted.
    pub(super) fn finish(&mut self, symbols: &Symbols, slots: usize) {
        self.symbols.resize(symbols.len(), 0);
        self.slots.resize(slots, (0, 0));
        for (symbol, &count) in (0..).zip(&self.symbols) {
            if symbols.role(symbol) == Role::Value {
                let (all, single) = &mut self.slots[symbols.slot(symbol)];
                *all += count;
                *single += u32::from(count == 1);
            }
        }
    }

    /// The share of events that have a symbol, roughly.
    fn share(&self, symbol: u32, symbols: &Symbols) -> f64 {
        match symbols.role(symbol) {
            Role::Value => {
                let (all, single) = self.slots[symbols.slot(symbol)];
                let all = f64::from(all.max(1));
                let known = 1.0 - f64::from(single) / all;
                f64::from(self.symbols[symbol as usize]) / all * known
            }
            Role::Element => 0.01,
            Role::Prefix | Role::Suffix => 0.1 / symbols.text(symbol).len().max(1) as f64,
            Role::Part => 0.2 / symbols.text(symbol).len().max(1) as f64,
            Role::Pattern => 0.2,
        }
    }
}

/// How each of `formulas` is found at the least cost; `None` if only by testing it on every event.
pub(super) fn covers<'f, 'n: 'f>(
    formulas: impl Iterator<Item = &'f Formula<Atom<'n>>> + Clone,
    frequencies: &Frequencies,
    symbols: &Symbols,
) -> Vec<Option<Cover>> {
    let all = |may_be_broad| -> Vec<Option<Cover>> {
        let formulas = formulas.clone();
        let cover = |formula| cover(formula, frequencies, symbols, (true, may_be_broad));
        formulas.map(cover).collect()
    };
    let cost = |covers: &[Option<Cover>]| -> f64 {
        let costs = covers.iter();
        costs
            .map(|cover| cover.as_ref().map_or(1.0, |cover| cover.cost))
            .sum()
    };
    let (with, without) = (all(true), all(false));
    if cost(&with) + BROAD_START < cost(&without) {
        with
    } else {
        without
    }
}

/// Of a filter, or of a part of it, which is not found by conditions; maybe among the broad ones.
fn cover(
    formula: &Formula<Atom<'_>>,
    frequencies: &Frequencies,
    symbols: &Symbols,
    (is_filter, may_be_broad): (bool, bool),
) -> Option<Cover> {
    let by_symbols = |atom: &Atom<'_>| -> Option<Cover> {
        let found = atom.symbols();
        (!found.is_empty()).then(|| Cover {
            accesses: found.iter().map(|&symbol| Access::Symbol(symbol)).collect(),
            cost: found
                .iter()
                .map(|&symbol| frequencies.share(symbol, symbols))
                .sum(),
            tested: None,
            conditions: Vec::new(),
        })
    };
    let broad = |atoms: &mut dyn Iterator<Item = &Atom<'_>>| -> Option<Cover> {
        let mut all = 1.0;
        let mut constraints: Vec<Constraint> = Vec::new();
        for atom in atoms {
            let accepts = accepts(atom);
            let share = match &accepts {
                Accepts::Symbols(found) => {
                    let sum: f64 = found
                        .iter()
                        .map(|&symbol| frequencies.share(symbol, symbols))
                        .sum();
                    sum.min(1.0)
                }
                Accepts::Present => 0.9,
                Accepts::Missing | Accepts::Interval(..) => 0.4,
            };
            all *= share;
            constraints.push(Constraint {
                slot: atom.slot,
                accepts,
                share,
            });
        }
        (may_be_broad && !constraints.is_empty()).then(|| Cover {
            accesses: vec![Access::Broad(constraints)],
            cost: BROAD_COST + all,
            tested: None,
            conditions: Vec::new(),
        })
    };
    let cheaper = |a: Option<Cover>, b: Option<Cover>| match (a, b) {
        (Some(a), Some(b)) => Some(if b.cost < a.cost { b } else { a }),
        (a, b) => a.or(b),
    };
    match formula {
        Formula::Test(atom) => cheaper(by_symbols(atom), broad(&mut std::iter::once(atom))),
        Formula::All(parts) => {
            let best = broad(&mut parts.iter().filter_map(|part| match part {
                Formula::Test(atom) => Some(atom),
                _ => None,
            }));
            let mut found: Option<(usize, Cover)> = None;
            for (at, part) in parts.iter().enumerate() {
                let cover = match part {
                    Formula::Test(atom) => by_symbols(atom),
                    part => cover(part, frequencies, symbols, (false, may_be_broad)),
                };
                let cover = cover.map(|cover| Cover {
                    tested: cover.tells_all(part, symbols).then_some(at),
                    ..cover
                });
                if let Some(cover) = cover
                    && found
                        .as_ref()
                        .is_none_or(|(_, best)| cover.cost < best.cost)
                {
                    found = Some((at, cover));
                }
            }
            let found = found.map(|(at, mut cover)| {
                if is_filter {
                    add_conditions(&mut cover, at, parts, frequencies, symbols);
                } else {
                    cover.tested = None;
                }
                cover
            });
            cheaper(best, found)
        }
        Formula::Any(parts) => {
            let mut all = Cover {
                accesses: Vec::new(),
                cost: 0.0,
                tested: None,
                conditions: Vec::new(),
            };
            for part in parts {
                let cover = cover(part, frequencies, symbols, (false, may_be_broad))?;
                all.accesses.extend(cover.accesses);
                all.cost += cover.cost;
            }
            // Testing it once is less than finding it as often.
            (all.cost < 1.0).then_some(all)
        }
    }
}

/// Makes a cover, of the part at `chosen`, the narrower by the other parts that ask for values.
fn add_conditions(
    cover: &mut Cover,
    chosen: usize,
    parts: &[Formula<Atom<'_>>],
    frequencies: &Frequencies,
    symbols: &Symbols,
) {
    let is_symbol = |access: &Access| matches!(access, Access::Symbol(_));
    if !cover.accesses.iter().all(is_symbol) {
        return;
    }
    let mut others: Vec<(f64, usize, usize)> = parts
        .iter()
        .enumerate()
        .filter_map(|(at, part)| match part {
            Formula::Test(Atom {
                asks: Asks::In(found),
                ..
            }) if at != chosen => {
                let shares = found
                    .iter()
                    .map(|&symbol| frequencies.share(symbol, symbols));
                Some((shares.sum(), at, found.len()))
            }
            _ => None,
        })
        .collect();
    others.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut combinations = cover.accesses.len();
    for (share, at, values) in others {
        if cover.conditions.len() < MAX_CONDITIONS && combinations * values <= MAX_COMBINATIONS {
            combinations *= values;
            cover.cost *= share.min(1.0);
            cover.conditions.push(at);
        }
    }
}

/// What passes a test, and maybe more.
pub(super) fn accepts(atom: &Atom<'_>) -> Accepts {
    match &atom.asks {
        Asks::In(symbols) => Accepts::Symbols(symbols.clone()),
        Asks::Missing => Accepts::Missing,
        Asks::Number(operator, bound) => {
            let bound = match bound {
                Bound::Double(bound) => *bound,
                // Rounded like the numbers it is held against.
                Bound::Integer(bound) => *bound as f64,
            };
            match operator {
                Operator::Equal => Accepts::Interval(bound, bound),
                Operator::Less | Operator::LessEqual => Accepts::Interval(f64::NEG_INFINITY, bound),
                Operator::Greater | Operator::GreaterEqual => {
                    Accepts::Interval(bound, f64::INFINITY)
                }
                _ => Accepts::Present,
            }
        }
        _ => Accepts::Present,
    }
}
