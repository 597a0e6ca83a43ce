//! What is left to test once a filter was found: a branching program.

use std::collections::HashMap;
use std::sync::Arc;

use memchr::memmem;

use super::atom::{Asks, Atom};
use super::event::Event;
use super::list::each_element;
use super::symbols::{Role, Symbols};
use crate::compile::{Bound, Formula, TextOp};
use crate::extract::SlotKind;
use crate::regular::Regular;
use crate::tree::Operator;

/// The programs of a segment, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Programs {
    code: Vec<Step>,
    /// Symbols of tests that ask for several.
    lists: Vec<u32>,
    /// Tests that do not fit into a step.
    rare: Vec<Rare>,
    /// Where the test for a pattern of a field is among the rare ones, until all filters are there. They share
    /// it, so that it runs once in an event.
    made: HashMap<(usize, Box<str>, bool), u64>,
    patterns: usize,
}

/// The program of a filter that needs no further test.
pub(super) const ALWAYS: u32 = u32::MAX;

/// One test, and where to go on.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// A number as bits, a symbol, or a place in one of the lists.
    argument: u64,
    /// The operation above, the slot below.
    what: u32,
    /// Steps from this one, or where the program ends. So what follows a step that needs no test is a program,
    /// too.
    yes: u16,
    no: u16,
}

const ACCEPT: u16 = u16::MAX;
const REJECT: u16 = u16::MAX - 1;

/// How a step tests.
mod operation {
    pub(super) const IS: u32 = 0;
    pub(super) const IN: u32 = 1;
    pub(super) const NOT_IN: u32 = 2;
    pub(super) const PRESENT: u32 = 3;
    pub(super) const MISSING: u32 = 4;
    pub(super) const LESS: u32 = 5;
    pub(super) const LESS_EQUAL: u32 = 6;
    pub(super) const GREATER: u32 = 7;
    pub(super) const GREATER_EQUAL: u32 = 8;
    pub(super) const RARE: u32 = 9;
}

const SLOT_BITS: u32 = 28;

/// Tests that take longer than finding them.
#[derive(Debug)]
enum Rare {
    Number(Operator, Bound),
    Order(Operator, Box<[u8]>),
    Text(TextOp, Box<[u8]>, bool),
    /// The last is its number.
    Matches(Arc<Regular>, bool, usize),
    /// Values, as [`Role::Element`].
    Member(Box<[u32]>, bool),
    Size(Operator, i64),
}

/// What the programs of one event know of it.
pub(super) struct Known<'k> {
    pub(super) symbols: &'k Symbols,
    /// The value's symbol for each slot.
    pub(super) values: &'k [u32],
    /// For each pattern the last event it was tested in, and whether it passed.
    pub(super) tested: &'k mut [(u32, bool)],
    /// This one.
    pub(super) epoch: u32,
    /// Set by a test that cannot tell, and is taken to hold.
    pub(super) unsure: bool,
}

impl Programs {
    /// Bytes on the heap, without regular expressions, which the filters hold.
    pub(super) fn bytes(&self) -> usize {
        let texts = self.rare.iter().map(|rare| match rare {
            Rare::Order(_, text) | Rare::Text(_, text, _) => text.len(),
            Rare::Member(symbols, _) => symbols.len() * 4,
            _ => 0,
        });
        self.code.capacity() * size_of::<Step>()
            + self.lists.capacity() * 4
            + self.rare.capacity() * size_of::<Rare>()
            + texts.sum::<usize>()
    }

    /// How many patterns are tested.
    pub(super) fn patterns(&self) -> usize {
        self.patterns
    }

    pub(super) fn shrink(&mut self) {
        self.code.shrink_to_fit();
        self.lists.shrink_to_fit();
        self.rare.shrink_to_fit();
        self.made = HashMap::new();
    }

    /// Something of the program at `start`, so that it is near when it is run.
    #[inline]
    pub(super) fn ahead(&self, start: u32) -> u64 {
        self.code
            .get(start as usize)
            .map_or(0, |step| step.argument)
    }

    /// Whether the program at `start` accepts the event. A test that cannot tell sets `unsure`.
    #[inline]
    pub(super) fn accept(&self, start: u32, event: &Event<'_>, known: &mut Known<'_>) -> bool {
        if start == ALWAYS {
            return true;
        }
        let mut at = start as usize;
        loop {
            let step = &self.code[at];
            let go = if self.holds(step, event, known) {
                step.yes
            } else {
                step.no
            };
            if go >= REJECT {
                return go == ACCEPT;
            }
            at += usize::from(go);
        }
    }

    #[inline]
    fn holds(&self, step: &Step, event: &Event<'_>, known: &mut Known<'_>) -> bool {
        let slot = (step.what & ((1 << SLOT_BITS) - 1)) as usize;
        let number = f64::from_bits(step.argument);
        match step.what >> SLOT_BITS {
            operation::IS => u64::from(known.values[slot]) == step.argument,
            operation::IN => self.list(step).contains(&known.values[slot]),
            operation::NOT_IN => {
                is_there(event.kind(slot)) && !self.list(step).contains(&known.values[slot])
            }
            operation::PRESENT => is_there(event.kind(slot)),
            operation::MISSING => event.kind(slot) == SlotKind::Missing,
            operation::LESS => event.number(slot) < number,
            operation::LESS_EQUAL => event.number(slot) <= number,
            operation::GREATER => event.number(slot) > number,
            operation::GREATER_EQUAL => event.number(slot) >= number,
            _ => {
                let rare = &self.rare[step.argument as usize];
                rare.holds(slot, event, known).unwrap_or_else(|| {
                    known.unsure = true;
                    true
                })
            }
        }
    }

    fn list(&self, step: &Step) -> &[u32] {
        let (start, length) = (step.argument >> 32, step.argument & 0xffff_ffff);
        &self.lists[start as usize..][..length as usize]
    }
}

pub(super) fn is_there(kind: SlotKind) -> bool {
    !matches!(kind, SlotKind::Missing | SlotKind::Unreachable)
}

fn compares(operator: Operator, order: std::cmp::Ordering) -> bool {
    match operator {
        Operator::Equal => order.is_eq(),
        Operator::NotEqual => order.is_ne(),
        Operator::Less => order.is_lt(),
        Operator::LessEqual => order.is_le(),
        Operator::Greater => order.is_gt(),
        _ => order.is_ge(),
    }
}

impl Rare {
    /// `None` if it cannot tell.
    fn holds(&self, slot: usize, event: &Event<'_>, known: &mut Known<'_>) -> Option<bool> {
        Some(match self {
            Rare::Number(operator, bound) => {
                let order = match (bound, event.integer(slot)) {
                    (Bound::Integer(bound), Some(integer)) => Some(integer.cmp(bound)),
                    (Bound::Integer(bound), None) => {
                        event.number(slot).partial_cmp(&(*bound as f64))
                    }
                    (Bound::Double(bound), _) => event.number(slot).partial_cmp(bound),
                };
                match order {
                    Some(order) => compares(*operator, order),
                    None => *operator == Operator::NotEqual && is_there(event.kind(slot)),
                }
            }
            Rare::Order(operator, text) => event
                .text(slot)
                .is_some_and(|found| compares(*operator, found.cmp(text))),
            Rare::Text(operation, part, want) => event.text(slot).is_some_and(|text| {
                let found = match operation {
                    TextOp::StartsWith => text.starts_with(part),
                    TextOp::EndsWith => text.ends_with(part),
                    TextOp::Contains => memmem::find(text, part).is_some(),
                };
                found == *want
            }),
            Rare::Matches(regular, want, number) => {
                if known.tested[*number].0 != known.epoch {
                    let passes = match event.text(slot) {
                        Some(text) => regular.is_match(std::str::from_utf8(text).ok()?) == *want,
                        None => false,
                    };
                    known.tested[*number] = (known.epoch, passes);
                }
                known.tested[*number].1
            }
            Rare::Member(wanted, want) => match event.kind(slot) {
                kind @ (SlotKind::List | SlotKind::Object) => {
                    // Of what is no text a list and an object are asked in different ways.
                    if kind == SlotKind::Object && !*want {
                        return None;
                    }
                    let mut found = false;
                    each_element(event.raw(slot), kind, |key| {
                        let Some(key) = key else { return };
                        let symbol = known.symbols.find_key(slot, Role::Element, &key);
                        found |= symbol.is_some_and(|symbol| wanted.contains(&symbol));
                    })?;
                    found == *want
                }
                _ => false,
            },
            Rare::Size(operator, size) => {
                let found = match event.kind(slot) {
                    SlotKind::String | SlotKind::Escaped => {
                        let text = event.text(slot)?;
                        // Bytes that begin a character.
                        text.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
                    }
                    kind @ SlotKind::List => {
                        let mut count = 0;
                        each_element(event.raw(slot), kind, |_| count += 1)?;
                        count
                    }
                    // Repeated names count once.
                    SlotKind::Object => return None,
                    _ => return Some(false),
                };
                compares(*operator, i64::try_from(found).ok()?.cmp(size))
            }
        })
    }
}

/// Where a part of a program goes on, from the program's first step.
#[derive(Clone, Copy)]
struct Exits {
    yes: u16,
    no: u16,
}

impl Programs {
    /// Adds the program of a formula; its start. If the first parts of a conjunction are single tests, what is
    /// left of it without some of them starts as many steps further on.
    pub(super) fn add(&mut self, formula: &Formula<Atom<'_>>) -> u32 {
        if formula.is_always() {
            return ALWAYS;
        }
        let start = self.code.len();
        self.write(
            formula,
            start,
            Exits {
                yes: ACCEPT,
                no: REJECT,
            },
        );
        start as u32
    }

    fn write(&mut self, formula: &Formula<Atom<'_>>, start: usize, exits: Exits) {
        let (parts, all) = match formula {
            Formula::All(parts) => (parts, true),
            Formula::Any(parts) => (parts, false),
            Formula::Test(atom) => return self.step(atom, start, exits),
        };
        for (at, part) in parts.iter().enumerate() {
            let exits = if at + 1 == parts.len() {
                exits
            } else {
                // A formula has far fewer tests than jumps can reach.
                let next = (self.code.len() - start + part.tests()) as u16;
                if all {
                    Exits { yes: next, ..exits }
                } else {
                    Exits { no: next, ..exits }
                }
            };
            self.write(part, start, exits);
        }
    }

    fn step(&mut self, atom: &Atom<'_>, start: usize, Exits { yes, no }: Exits) {
        let here = (self.code.len() - start) as u16;
        let go = |exit| if exit >= REJECT { exit } else { exit - here };
        let (operation, argument) = match &atom.asks {
            Asks::In(symbols) => match symbols.as_slice() {
                [symbol] => (operation::IS, u64::from(*symbol)),
                symbols => (operation::IN, self.add_list(symbols)),
            },
            Asks::NotIn(symbols) => (operation::NOT_IN, self.add_list(symbols)),
            Asks::Present => (operation::PRESENT, 0),
            Asks::Missing => (operation::MISSING, 0),
            Asks::Number(Operator::Less, Bound::Double(bound)) => {
                (operation::LESS, bound.to_bits())
            }
            Asks::Number(Operator::LessEqual, Bound::Double(bound)) => {
                (operation::LESS_EQUAL, bound.to_bits())
            }
            Asks::Number(Operator::Greater, Bound::Double(bound)) => {
                (operation::GREATER, bound.to_bits())
            }
            Asks::Number(Operator::GreaterEqual, Bound::Double(bound)) => {
                (operation::GREATER_EQUAL, bound.to_bits())
            }
            Asks::Number(operator, bound) => self.add_rare(Rare::Number(*operator, *bound)),
            Asks::Order(operator, text) => {
                self.add_rare(Rare::Order(*operator, text.as_bytes().into()))
            }
            Asks::Text(operation, text, want, _) => {
                self.add_rare(Rare::Text(*operation, text.as_bytes().into(), *want))
            }
            Asks::Matches(regular, want, _) => self.add_pattern(atom.slot, regular, *want),
            Asks::Member(symbols, want) => {
                self.add_rare(Rare::Member(symbols.as_slice().into(), *want))
            }
            Asks::Size(operator, size) => self.add_rare(Rare::Size(*operator, *size)),
        };
        self.code.push(Step {
            argument,
            what: operation << SLOT_BITS | atom.slot as u32,
            yes: go(yes),
            no: go(no),
        });
    }

    fn add_list(&mut self, symbols: &[u32]) -> u64 {
        let start = self.lists.len() as u64;
        self.lists.extend_from_slice(symbols);
        start << 32 | symbols.len() as u64
    }

    fn add_pattern(&mut self, slot: usize, regular: &Arc<Regular>, want: bool) -> (u32, u64) {
        let Self {
            rare,
            made,
            patterns,
            ..
        } = self;
        let made = made.entry((slot, regular.pattern().into(), want));
        let place = made.or_insert_with(|| {
            rare.push(Rare::Matches(Arc::clone(regular), want, *patterns));
            *patterns += 1;
            rare.len() as u64 - 1
        });
        (operation::RARE, *place)
    }

    fn add_rare(&mut self, rare: Rare) -> (u32, u64) {
        self.rare.push(rare);
        (operation::RARE, self.rare.len() as u64 - 1)
    }
}
