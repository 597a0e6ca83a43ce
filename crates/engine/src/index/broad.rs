//! Filters none of whose clauses is rare: bits, 512 filters at a time.
//!
//! A *page* holds 512 of them, and for each *dimension* that one of them constrains, and each *class* of its
//! values, a row of bits: which of the 512 accept it, those that do not care included. An event has one class
//! in each dimension; the rows of its classes and-ed leave few filters, which are then tested. Filters that
//! constrain the same fields to the same values are put side by side, so that most pages end at an empty row.

use std::collections::HashMap;

use super::cover::{Accepts, Constraint};
use super::event::Event;
use super::postings::Entry;
use crate::extract::SlotKind;

const PAGE: usize = 512;

/// One bit for each filter of a page; a cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(align(64))]
struct Row([u64; PAGE / 64]);

/// In place of a row without bits.
const EMPTY: u32 = u32::MAX;

/// Most buckets of numbers of a field.
const MAX_BUCKETS: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Broad {
    dimensions: Vec<Dimension>,
    /// Class of a symbol in its field's dimension; 0 if no broad filter asks for it.
    classes: Vec<u32>,
    pages: Vec<Page>,
    page_dimensions: Vec<PageDimension>,
    /// For each class of a page's dimension its row.
    tables: Vec<u32>,
    rows: Vec<Row>,
    entries: Vec<Entry>,
}

/// How the values of a field are classed.
#[derive(Debug)]
struct Dimension {
    slot: usize,
    kind: Kind,
    classes: usize,
}

#[derive(Debug)]
enum Kind {
    Values,
    /// Where one bucket ends and the next begins, ascending.
    Numbers(Vec<f64>),
}

// Classes of values; symbols follow. Classes of numbers: no number, then the buckets.
const MISSING: usize = 0;
const UNREACHABLE: usize = 1;
const OTHER: usize = 2;
const FIRST_SYMBOL: usize = 3;

/// A range of `page_dimensions`; the page's filters are the 512 at its place.
#[derive(Clone, Copy, Debug)]
struct Page {
    first: u32,
    end: u32,
}

#[derive(Clone, Copy, Debug)]
struct PageDimension {
    dimension: u32,
    table: u32,
}

/// A filter to be put into pages.
pub(super) struct Candidate {
    pub(super) entry: Entry,
    pub(super) constraints: Vec<Constraint>,
}

/// A candidate's constraints by dimension, ascending.
type Placed = (Entry, Vec<(u32, Accepts)>);

impl Broad {
    pub(super) fn new(candidates: Vec<Candidate>, symbols: usize) -> Self {
        let mut broad = Broad {
            classes: vec![0; if candidates.is_empty() { 0 } else { symbols }],
            ..Broad::default()
        };
        let mut placed = broad.place(candidates);
        placed.sort_by_cached_key(|(_, constraints)| broad.order(constraints));
        for page in placed.chunks(PAGE) {
            broad.add_page(page);
        }
        broad.entries = placed.into_iter().map(|(entry, _)| entry).collect();
        broad
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.classes.capacity() * 4
            + self.pages.capacity() * size_of::<Page>()
            + self.page_dimensions.capacity() * size_of::<PageDimension>()
            + self.tables.capacity() * 4
            + self.rows.capacity() * size_of::<Row>()
            + self.entries.capacity() * size_of::<Entry>()
    }

    pub(super) fn dimensions(&self) -> usize {
        self.dimensions.len()
    }

    /// Makes the dimensions, those with the most values first.
    fn place(&mut self, candidates: Vec<Candidate>) -> Vec<Placed> {
        let mut values: HashMap<usize, usize> = HashMap::new();
        let mut bounds: HashMap<usize, Vec<f64>> = HashMap::new();
        for Constraint { slot, accepts } in candidates.iter().flat_map(|found| &found.constraints) {
            match accepts {
                Accepts::Interval(low, high) => {
                    let bounds = bounds.entry(*slot).or_default();
                    bounds.extend([*low, *high].iter().filter(|bound| bound.is_finite()));
                }
                accepts => {
                    let classes = values.entry(*slot).or_insert(FIRST_SYMBOL);
                    if let Accepts::Symbols(symbols) = accepts {
                        for &symbol in symbols {
                            let class = &mut self.classes[symbol as usize];
                            if *class == 0 {
                                *class = *classes as u32;
                                *classes += 1;
                            }
                        }
                    }
                }
            }
        }
        self.dimensions = values
            .into_iter()
            .map(|(slot, classes)| Dimension {
                slot,
                kind: Kind::Values,
                classes,
            })
            .collect();
        self.dimensions
            .extend(bounds.into_iter().map(|(slot, bounds)| {
                let cuts = cuts(bounds);
                Dimension {
                    slot,
                    classes: cuts.len() + 2,
                    kind: Kind::Numbers(cuts),
                }
            }));
        self.dimensions.sort_by_key(|dimension| {
            let numbers = matches!(dimension.kind, Kind::Numbers(_));
            (
                numbers,
                std::cmp::Reverse(dimension.classes),
                dimension.slot,
            )
        });
        let numbers: HashMap<(usize, bool), u32> = (0..)
            .zip(&self.dimensions)
            .map(|(at, dimension)| {
                (
                    (dimension.slot, matches!(dimension.kind, Kind::Numbers(_))),
                    at,
                )
            })
            .collect();
        candidates
            .into_iter()
            .map(|Candidate { entry, constraints }| {
                let mut placed: Vec<(u32, Accepts)> = Vec::with_capacity(constraints.len());
                for Constraint { slot, accepts } in constraints {
                    let number = matches!(accepts, Accepts::Interval(..));
                    let dimension = numbers[&(slot, number)];
                    match placed.iter_mut().find(|(other, _)| *other == dimension) {
                        Some((_, former)) => *former = both(former, accepts),
                        None => placed.push((dimension, accepts)),
                    }
                }
                placed.sort_by_key(|(dimension, _)| *dimension);
                (entry, placed)
            })
            .collect()
    }

    /// Side by side are those that constrain the same dimensions to the same classes.
    fn order(&self, constraints: &[(u32, Accepts)]) -> Vec<(u32, u32)> {
        let class = |(dimension, accepts): &(u32, Accepts)| match accepts {
            Accepts::Symbols(symbols) => {
                let classes = symbols.iter().map(|&symbol| self.classes[symbol as usize]);
                classes.min().unwrap_or_default()
            }
            Accepts::Interval(low, _) => match &self.dimensions[*dimension as usize].kind {
                Kind::Numbers(cuts) => cuts.partition_point(|cut| cut <= low) as u32,
                Kind::Values => 0,
            },
            Accepts::Present | Accepts::Missing => 0,
        };
        constraints
            .iter()
            .map(|constraint| (constraint.0, class(constraint)))
            .collect()
    }

    fn add_page(&mut self, page: &[Placed]) {
        let first = self.page_dimensions.len() as u32;
        let mut used: Vec<u32> = page
            .iter()
            .flat_map(|(_, constraints)| constraints.iter().map(|(dimension, _)| *dimension))
            .collect();
        used.sort_unstable();
        used.dedup();
        let mut found = Vec::with_capacity(used.len());
        for dimension in used {
            let table = self.tables.len() as u32;
            let careless = self.add_table(dimension, page);
            found.push((careless, PageDimension { dimension, table }));
        }
        // Where few do not care, rows are empty soonest.
        found.sort_by_key(|(careless, _)| *careless);
        self.page_dimensions
            .extend(found.into_iter().map(|(_, dimension)| dimension));
        self.pages.push(Page {
            first,
            end: self.page_dimensions.len() as u32,
        });
    }

    /// Adds the rows of a page's dimension; how many filters of the page do not care for it.
    fn add_table(&mut self, dimension: u32, page: &[Placed]) -> u32 {
        let Dimension { kind, classes, .. } = &self.dimensions[dimension as usize];
        let set = |row: &mut Row, at: usize| row.0[at / 64] |= 1 << (at % 64);
        let (mut careless, mut present, mut missing) =
            (Row::default(), Row::default(), Row::default());
        let mut special: HashMap<usize, Row> = HashMap::new();
        for (at, (_, constraints)) in page.iter().enumerate() {
            let accepts = constraints.iter().find(|(other, _)| *other == dimension);
            match (accepts.map(|(_, accepts)| accepts), kind) {
                (None, _) => set(&mut careless, at),
                (Some(Accepts::Present), _) => set(&mut present, at),
                (Some(Accepts::Missing), _) => set(&mut missing, at),
                (Some(Accepts::Symbols(symbols)), _) => {
                    for &symbol in symbols {
                        let class = self.classes[symbol as usize] as usize;
                        set(special.entry(class).or_default(), at);
                    }
                }
                (Some(Accepts::Interval(low, high)), Kind::Numbers(cuts)) => {
                    let first = cuts.partition_point(|cut| cut <= low);
                    let last = cuts.partition_point(|cut| cut <= high);
                    for bucket in first..=last {
                        set(special.entry(1 + bucket).or_default(), at);
                    }
                }
                // Intervals have dimensions of their own.
                (Some(Accepts::Interval(..)), Kind::Values) => set(&mut careless, at),
            }
        }
        let numbers = matches!(kind, Kind::Numbers(_));
        let classes = *classes;
        let mut common: HashMap<Row, u32> = HashMap::new();
        for class in 0..classes {
            let mut row = careless;
            let others = match class {
                _ if numbers => Row::default(),
                MISSING => missing,
                UNREACHABLE => Row::default(),
                _ => present,
            };
            let own = special.get(&class).copied().unwrap_or_default();
            for ((row, others), own) in row.0.iter_mut().zip(others.0).zip(own.0) {
                *row |= others | own;
            }
            let index = if row == Row::default() {
                EMPTY
            } else {
                *common.entry(row).or_insert_with(|| {
                    self.rows.push(row);
                    self.rows.len() as u32 - 1
                })
            };
            self.tables.push(index);
        }
        careless.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Calls `found` for every filter whose constraints the event may meet. `values` are the symbols of its
    /// fields, `classes` room for as many numbers as there are [dimensions](Self::dimensions).
    pub(super) fn each(
        &self,
        event: &Event<'_>,
        values: &[u32],
        classes: &mut [u32],
        mut found: impl FnMut(Entry),
    ) {
        for (class, dimension) in classes.iter_mut().zip(&self.dimensions) {
            *class = self.class(dimension, event, values);
        }
        for (at, page) in self.pages.iter().enumerate() {
            let mut left = Row([u64::MAX; PAGE / 64]);
            let dimensions = &self.page_dimensions[page.first as usize..page.end as usize];
            let met = dimensions.iter().all(|found| {
                let class = classes[found.dimension as usize];
                let row = self.tables[(found.table + class) as usize];
                let Some(row) = self.rows.get(row as usize) else {
                    return false;
                };
                for (left, row) in left.0.iter_mut().zip(row.0) {
                    *left &= row;
                }
                true
            });
            if !met {
                continue;
            }
            for (word, mut bits) in left.0.into_iter().enumerate() {
                while bits != 0 {
                    let bit = bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    // Past the last page's filters all rows are empty, unless the page has no dimension.
                    if let Some(entry) = self.entries.get(at * PAGE + word * 64 + bit) {
                        found(*entry);
                    }
                }
            }
        }
    }

    fn class(&self, dimension: &Dimension, event: &Event<'_>, values: &[u32]) -> u32 {
        let class = match &dimension.kind {
            Kind::Values => match event.kind(dimension.slot) {
                SlotKind::Missing => MISSING,
                SlotKind::Unreachable => UNREACHABLE,
                _ => match self.classes.get(values[dimension.slot] as usize) {
                    Some(&class) if class > 0 => class as usize,
                    _ => OTHER,
                },
            },
            Kind::Numbers(cuts) => {
                let number = event.number(dimension.slot);
                if number.is_nan() {
                    0
                } else {
                    1 + cuts.partition_point(|&cut| cut <= number)
                }
            }
        };
        class as u32
    }
}

/// A constraint that holds wherever both do.
fn both(former: &Accepts, other: Accepts) -> Accepts {
    match (former, other) {
        (Accepts::Interval(low, high), Accepts::Interval(other_low, other_high)) => {
            Accepts::Interval(low.max(other_low), high.min(other_high))
        }
        (Accepts::Symbols(symbols), _) => Accepts::Symbols(symbols.clone()),
        (_, other) => other,
    }
}

/// Borders of buckets with about as many bounds each.
fn cuts(mut bounds: Vec<f64>) -> Vec<f64> {
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    let step = bounds.len().div_ceil(MAX_BUCKETS - 1).max(1);
    bounds.into_iter().step_by(step).collect()
}
