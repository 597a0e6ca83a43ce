//! Filters none of whose clauses is rare: bits, [`PAGE`] filters at a time.
//!
//! An event has one *class* in each *dimension*, which is a field that a filter constrains: the value that it
//! has there, or the bucket of its number. A *page* holds the filters side by side, and for each dimension that
//! one of them constrains a row of bits: which of them do not care. Which of them accept a class besides is
//! another row, kept only where there is one. Rows and-ed over the dimensions leave few filters, which are then
//! tested.
//!
//! Filters that constrain the same fields to the same values are put side by side, so that an event's classes
//! are accepted in few pages. The [`Directory`] tells which, without a look at the others.

use std::collections::{BTreeMap, HashMap};

use super::cover::{Accepts, Constraint};
use super::event::Event;
use super::postings::Entry;
use crate::extract::SlotKind;

/// One bit for each filter of a page.
type Row = u64;

const PAGE: usize = Row::BITS as usize;

/// Most buckets of numbers of a field.
const MAX_BUCKETS: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Broad {
    dimensions: Vec<Dimension>,
    /// Class of a symbol in its field's dimension; 0 if no broad filter asks for it.
    classes: Vec<u32>,
    pages: Vec<Page>,
    page_dimensions: Vec<PageDimension>,
    directory: Directory,
    /// Of each class, by page; the first one is empty.
    rows: Vec<Row>,
    entries: Vec<Entry>,
}

/// How the values of a field are classed.
#[derive(Debug)]
struct Dimension {
    slot: usize,
    kind: Kind,
    /// The number of its first class; the others follow.
    first: u32,
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

/// A range of `page_dimensions`; the page's filters are those at its place.
#[derive(Clone, Copy, Debug)]
struct Page {
    first: u32,
    end: u32,
}

#[derive(Clone, Copy, Debug)]
struct PageDimension {
    dimension: u32,
    /// Who does not care whether there is a value, and which.
    careless: Row,
    /// Who does not care which value it is.
    any: Row,
}

/// Bits for pages, so many words a class.
#[derive(Debug, Default)]
struct Directory {
    words: usize,
    /// Where filters accept this class in particular.
    special: Vec<u64>,
    /// For each word of `special` how many rows there are before its own.
    before: Vec<u32>,
    /// For each dimension where filters accept every class, and where they accept every one of a value.
    careless: Vec<u64>,
    any: Vec<u64>,
}

/// What an event is in a dimension.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Class {
    number: u32,
    is_there: bool,
}

/// A filter to be put into pages.
pub(super) struct Candidate {
    pub(super) entry: Entry,
    pub(super) constraints: Vec<Constraint>,
}

/// A candidate's constraints by dimension, that with the smallest share of events first.
type Placed = (Entry, Vec<(u32, Accepts)>);

impl Broad {
    pub(super) fn new(candidates: Vec<Candidate>, symbols: usize) -> Self {
        let mut broad = Broad {
            classes: vec![0; if candidates.is_empty() { 0 } else { symbols }],
            ..Broad::default()
        };
        let mut placed = broad.place(candidates);
        placed.sort_by_cached_key(|(_, constraints)| broad.order(constraints));
        // By class and page.
        let mut special: BTreeMap<(u32, u32), Row> = BTreeMap::new();
        for (page, filters) in (0..).zip(placed.chunks(PAGE)) {
            broad.add_page(page, filters, &mut special);
        }
        broad.directory = Directory::new(&broad, &special);
        broad.rows = std::iter::once(0).chain(special.into_values()).collect();
        broad.entries = placed.into_iter().map(|(entry, _)| entry).collect();
        broad
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.classes.capacity() * 4
            + self.pages.capacity() * size_of::<Page>()
            + self.page_dimensions.capacity() * size_of::<PageDimension>()
            + self.directory.bytes()
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
        for Constraint { slot, accepts, .. } in
            candidates.iter().flat_map(|found| &found.constraints)
        {
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
                first: 0,
                classes,
            })
            .collect();
        self.dimensions
            .extend(bounds.into_iter().map(|(slot, bounds)| {
                let cuts = cuts(bounds);
                Dimension {
                    slot,
                    first: 0,
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
        let mut first = 0;
        for dimension in &mut self.dimensions {
            dimension.first = first;
            first += dimension.classes as u32;
        }
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
            .map(
                |Candidate {
                     entry,
                     mut constraints,
                 }| {
                    constraints.sort_by(|a, b| a.share.total_cmp(&b.share));
                    let mut placed: Vec<(u32, Accepts)> = Vec::with_capacity(constraints.len());
                    for Constraint { slot, accepts, .. } in constraints {
                        let number = matches!(accepts, Accepts::Interval(..));
                        let dimension = numbers[&(slot, number)];
                        match placed.iter_mut().find(|(other, _)| *other == dimension) {
                            Some((_, former)) => *former = both(former, accepts),
                            None => placed.push((dimension, accepts)),
                        }
                    }
                    (entry, placed)
                },
            )
            .collect()
    }

    /// Side by side are those whose rarest constraints are the same: a page that an event need not look into
    /// because of them is the rule.
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

    fn add_page(&mut self, page: u32, filters: &[Placed], special: &mut BTreeMap<(u32, u32), Row>) {
        let first = self.page_dimensions.len();
        let mut found: BTreeMap<u32, PageDimension> = BTreeMap::new();
        for (at, (_, constraints)) in filters.iter().enumerate() {
            for (number, accepts) in constraints {
                let dimension = &self.dimensions[*number as usize];
                // At first who does care.
                let found = found.entry(*number).or_insert(PageDimension {
                    dimension: *number,
                    careless: 0,
                    any: 0,
                });
                found.careless |= 1 << at;
                let mut accept = |class: usize| {
                    let class = dimension.first + class as u32;
                    *special.entry((class, page)).or_default() |= 1 << at;
                };
                match (accepts, &dimension.kind) {
                    (Accepts::Present, _) => continue,
                    (Accepts::Missing, _) => accept(MISSING),
                    (Accepts::Symbols(symbols), _) => symbols
                        .iter()
                        .for_each(|&symbol| accept(self.classes[symbol as usize] as usize)),
                    (Accepts::Interval(low, high), Kind::Numbers(cuts)) => {
                        let first = cuts.partition_point(|cut| cut <= low);
                        let last = cuts.partition_point(|cut| cut <= high);
                        (first..=last).for_each(|bucket| accept(1 + bucket));
                    }
                    // Intervals have dimensions of their own.
                    (Accepts::Interval(..), Kind::Values) => continue,
                }
                found.any |= 1 << at;
            }
        }
        let all = Row::MAX >> (PAGE - filters.len());
        self.page_dimensions
            .extend(found.into_values().map(|found| PageDimension {
                careless: all & !found.careless,
                any: all & !found.any,
                ..found
            }));
        self.pages.push(Page {
            first: first as u32,
            end: self.page_dimensions.len() as u32,
        });
    }

    /// Calls `found` for every filter whose constraints the event may meet. `values` are the symbols of its
    /// fields, `classes` room for as many classes as there are [dimensions](Self::dimensions).
    pub(super) fn each(
        &self,
        event: &Event<'_>,
        values: &[u32],
        classes: &mut [Class],
        mut found: impl FnMut(Entry),
    ) {
        if self.pages.is_empty() {
            return;
        }
        for (class, dimension) in classes.iter_mut().zip(&self.dimensions) {
            *class = self.class(dimension, event, values);
        }
        let classes = &classes[..self.dimensions.len()];
        for word in 0..self.directory.words {
            let mut pages = self.directory.pages(word, classes);
            while pages != 0 {
                let page = word * 64 + pages.trailing_zeros() as usize;
                pages &= pages - 1;
                let mut left = self.left(page, classes);
                while left != 0 {
                    found(self.entries[page * PAGE + left.trailing_zeros() as usize]);
                    left &= left - 1;
                }
            }
        }
    }

    /// Which filters of a page accept these classes.
    ///
    /// Goes through all dimensions even if nothing is left: nobody can foretell when that is, and rows that are
    /// waited for together are there sooner.
    fn left(&self, page: usize, classes: &[Class]) -> Row {
        let Page { first, end } = self.pages[page];
        let found = &self.page_dimensions[first as usize..end as usize];
        found.iter().fold(Row::MAX, |left, found| {
            let class = classes[found.dimension as usize];
            let row = if class.is_there {
                found.any
            } else {
                found.careless
            };
            left & (row | self.rows[self.directory.row(class, page)])
        })
    }

    fn class(&self, dimension: &Dimension, event: &Event<'_>, values: &[u32]) -> Class {
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
        Class {
            number: dimension.first + class as u32,
            is_there: class >= OTHER || matches!(dimension.kind, Kind::Numbers(_)),
        }
    }
}

impl Directory {
    fn new(broad: &Broad, special: &BTreeMap<(u32, u32), Row>) -> Self {
        let words = broad.pages.len().div_ceil(64);
        let classes: usize = broad.dimensions.iter().map(|found| found.classes).sum();
        let mut directory = Self {
            words,
            special: vec![0; classes * words],
            before: vec![0; classes * words],
            // Pages that do not know a dimension do not care for it.
            careless: vec![u64::MAX; broad.dimensions.len() * words],
            any: vec![u64::MAX; broad.dimensions.len() * words],
        };
        for &(class, page) in special.keys() {
            directory.special[class as usize * words + page as usize / 64] |= 1 << (page % 64);
        }
        let mut rows = 1;
        for (before, special) in directory.before.iter_mut().zip(&directory.special) {
            *before = rows;
            rows += special.count_ones();
        }
        for (number, page) in broad.pages.iter().enumerate() {
            for found in &broad.page_dimensions[page.first as usize..page.end as usize] {
                let word = found.dimension as usize * words + number / 64;
                for (row, bits) in [
                    (found.careless, &mut directory.careless[word]),
                    (found.any, &mut directory.any[word]),
                ] {
                    if row == 0 {
                        *bits &= !(1 << (number % 64));
                    }
                }
            }
        }
        if let Some(last) = words.checked_sub(1)
            && !broad.pages.len().is_multiple_of(64)
        {
            // There are no pages behind the last one.
            let none = u64::MAX << (broad.pages.len() % 64);
            for bits in directory.any[last..].iter_mut().step_by(words) {
                *bits &= !none;
            }
            for bits in directory.careless[last..].iter_mut().step_by(words) {
                *bits &= !none;
            }
        }
        directory
    }

    fn bytes(&self) -> usize {
        (self.special.capacity() + self.careless.capacity() + self.any.capacity()) * 8
            + self.before.capacity() * 4
    }

    /// The pages of a word in which every class is accepted by some filter.
    fn pages(&self, word: usize, classes: &[Class]) -> u64 {
        let mut pages = u64::MAX;
        for (dimension, class) in classes.iter().enumerate() {
            let all = if class.is_there {
                &self.any
            } else {
                &self.careless
            };
            pages &= all[dimension * self.words + word]
                | self.special[class.number as usize * self.words + word];
        }
        pages
    }

    /// The row of a class's own filters in a page, or the empty one.
    fn row(&self, class: Class, page: usize) -> usize {
        let word = class.number as usize * self.words + page / 64;
        let (special, bit) = (self.special[word], 1 << (page % 64));
        let row = self.before[word] + (special & (bit - 1)).count_ones();
        if special & bit != 0 { row as usize } else { 0 }
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
