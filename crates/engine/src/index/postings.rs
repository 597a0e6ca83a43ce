//! From symbols to the filters that are found by them.
//!
//! A tree. Each symbol has a node, which lists the filters that are found by it. Where many of them ask
//! for a value of the same other field, the node *forks* on that field: they are listed at its children, one
//! for each value, and an event looks at the child of its own value only. So a filter none of whose values is
//! rare is found by several that seldom meet. Where few do, the list itself has the value that each asks for.

use std::collections::VecDeque;

use super::NO_SYMBOL;
use super::event::{mix, seeds};

/// A filter where it is found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    /// Its number in the segment, and flags.
    filter: u32,
    /// What is left to test: where its program starts.
    pub(super) program: u32,
}

/// It can be found more than once in an event.
const REPEATED: u32 = 1 << 31;
/// What passes its program is to be evaluated from the tree.
const INEXACT: u32 = 1 << 30;

impl Entry {
    pub(super) fn new(filter: u32, program: u32, repeated: bool, exact: bool) -> Self {
        let repeated = if repeated { REPEATED } else { 0 };
        let inexact = if exact { 0 } else { INEXACT };
        Self {
            filter: filter | repeated | inexact,
            program,
        }
    }

    pub(super) fn filter(self) -> usize {
        (self.filter & (INEXACT - 1)) as usize
    }

    pub(super) fn is_repeated(self) -> bool {
        self.filter & REPEATED != 0
    }

    pub(super) fn is_exact(self) -> bool {
        self.filter & INEXACT == 0
    }
}

/// An entry in a list, with what an event has to meet to be held against it: most of a list fails by that, and
/// none of what fails is looked at where its program is.
#[derive(Clone, Copy, Debug)]
struct Listed {
    entry: Entry,
    slot: u32,
    /// [`NO_SYMBOL`] if any value will do.
    symbol: u32,
    interval: Interval,
}

/// What a filter that is found by a symbol asks for besides.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    /// Fields that have to have one of some values.
    pub(super) values: Vec<Condition>,
    pub(super) interval: Interval,
}

/// A field that has to have one of these values.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) slot: u32,
    pub(super) symbols: Vec<u32>,
}

/// A field whose number, if it has one, has to be within, both ends included. Single precision rounds what is
/// within to what is within.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval {
    pub(super) slot: u32,
    pub(super) low: f32,
    pub(super) high: f32,
}

impl Default for Interval {
    /// Of all numbers.
    fn default() -> Self {
        Self {
            slot: 0,
            low: f32::NEG_INFINITY,
            high: f32::INFINITY,
        }
    }
}

/// Filters by symbol, and by further ones.
#[derive(Debug, Default)]
pub(super) struct Postings {
    /// Those of the symbols first, by number. One more than there are, as the next one tells where the lists of
    /// one end.
    nodes: Vec<Node>,
    entries: Vec<Listed>,
    /// Slots that nodes fork on.
    forks: Vec<u32>,
    /// Children by parent and symbol. A power of two, at most half full.
    children: Vec<Child>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    /// Where its lists start.
    entries: u32,
    forks: u32,
    /// A bit for each child, by symbol: most values that no child is for are known without a look-up.
    symbols: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Child {
    parent: u32,
    symbol: u32,
    /// 0 if this one is free, which is a symbol's.
    node: u32,
}

/// Filters that make a node fork: for fewer, looking up a child is no less than reading what they ask for.
const MIN_FORK: usize = 16;

impl Postings {
    /// `found` are symbols and numbers of filters, `conditions` what such a filter asks for besides, and `entry`
    /// makes the entry of one when as many of its conditions are known to hold.
    pub(super) fn new<'c>(
        mut found: Vec<(u32, u32)>,
        symbols: usize,
        conditions: impl Fn(u32) -> &'c Conditions,
        mut entry: impl FnMut(u32, usize) -> Entry,
    ) -> Self {
        found.sort_unstable();
        found.dedup();
        let mut postings = Self::default();
        let mut links = Vec::new();
        let mut waiting: VecDeque<(Vec<u32>, usize)> = VecDeque::new();
        let mut left = found.as_slice();
        let mut next_symbol = 0;
        loop {
            let (mut here, known) = if next_symbol < symbols {
                let is_here = |(symbol, _): &&(u32, u32)| *symbol as usize == next_symbol;
                let (here, later) = left.split_at(left.iter().take_while(is_here).count());
                left = later;
                next_symbol += 1;
                (here.iter().map(|(_, filter)| *filter).collect(), 0)
            } else if let Some(waiting) = waiting.pop_front() {
                waiting
            } else {
                break;
            };
            let parent = postings.begin_node();
            let slot = |filter: u32| conditions(filter).values.get(known).map(|next| next.slot);
            here.sort_by_key(|&filter| slot(filter));
            for some in here.chunk_by(|&a, &b| slot(a) == slot(b)) {
                let Some(fork) = slot(some[0]) else {
                    let entries = some.iter().map(|&filter| Listed {
                        entry: entry(filter, known),
                        slot: 0,
                        symbol: NO_SYMBOL,
                        interval: conditions(filter).interval,
                    });
                    postings.entries.extend(entries);
                    continue;
                };
                if some.len() < MIN_FORK {
                    for &filter in some {
                        let entry = entry(filter, known + 1);
                        let conditions = conditions(filter);
                        let symbols = conditions.values[known].symbols.iter();
                        postings.entries.extend(symbols.map(|&symbol| Listed {
                            entry,
                            slot: fork,
                            symbol,
                            interval: conditions.interval,
                        }));
                    }
                    continue;
                }
                postings.forks.push(fork);
                let mut below: Vec<(u32, u32)> = some
                    .iter()
                    .flat_map(|&filter| {
                        let symbols = &conditions(filter).values[known].symbols;
                        symbols.iter().map(move |&symbol| (symbol, filter))
                    })
                    .collect();
                below.sort_unstable();
                below.dedup();
                for below in below.chunk_by(|a, b| a.0 == b.0) {
                    let symbol = below[0].0;
                    // Numbered in the order in which they wait.
                    let node = (symbols + links.len()) as u32;
                    links.push(Child {
                        parent,
                        symbol,
                        node,
                    });
                    postings.nodes[parent as usize].symbols |= bit(symbol);
                    let filters = below.iter().map(|(_, filter)| *filter).collect();
                    waiting.push_back((filters, known + 1));
                }
            }
        }
        postings.begin_node();
        postings.link(&links);
        postings.shrink();
        postings
    }

    fn begin_node(&mut self) -> u32 {
        self.nodes.push(Node {
            entries: self.entries.len() as u32,
            forks: self.forks.len() as u32,
            symbols: 0,
        });
        self.nodes.len() as u32 - 1
    }

    fn link(&mut self, links: &[Child]) {
        if links.is_empty() {
            return;
        }
        self.children = vec![Child::default(); (links.len() * 2).next_power_of_two()];
        let mask = self.children.len() - 1;
        for link in links {
            let mut at = place(link.parent, link.symbol) & mask;
            while self.children[at].node != 0 {
                at = (at + 1) & mask;
            }
            self.children[at] = *link;
        }
    }

    fn shrink(&mut self) {
        self.nodes.shrink_to_fit();
        self.entries.shrink_to_fit();
        self.forks.shrink_to_fit();
    }

    /// Puts the entries listed at a node that an event with these values is held against to `found` from `count`
    /// on; how many there are then. A symbol's node has its number.
    #[inline]
    pub(super) fn collect(
        &self,
        node: u32,
        values: &[u32],
        numbers: &[f64],
        found: &mut Vec<Entry>,
        mut count: usize,
    ) -> usize {
        let [node, next] = self.with_next(node);
        let listed = &self.entries[node.entries as usize..next.entries as usize];
        if found.len() < count + listed.len() {
            found.resize(count + listed.len(), Entry::default());
        }
        let found = found.as_mut_slice();
        for &Listed {
            entry,
            slot,
            symbol,
            interval,
        } in listed
        {
            // Written first and then kept or not, as nobody can foresee which.
            found[count] = entry;
            let has_value = (symbol == NO_SYMBOL) | (values[slot as usize] == symbol);
            let number = numbers[interval.slot as usize] as f32;
            // What is no number is neither.
            let is_outside = (number < interval.low) | (number > interval.high);
            count += usize::from(has_value & !is_outside);
        }
        count
    }

    /// Appends, to `nodes`, the children of all of them that an event with these values leads to, and theirs.
    pub(super) fn descend(&self, values: &[u32], nodes: &mut Vec<u32>) {
        let mut at = 0;
        while let Some(&parent) = nodes.get(at) {
            at += 1;
            let [node, next] = self.with_next(parent);
            for &slot in &self.forks[node.forks as usize..next.forks as usize] {
                let symbol = values[slot as usize];
                if symbol != NO_SYMBOL && node.symbols & bit(symbol) != 0 {
                    nodes.extend(self.child(parent, symbol));
                }
            }
        }
    }

    #[inline]
    fn with_next(&self, node: u32) -> [Node; 2] {
        let node = node as usize;
        [self.nodes[node], self.nodes[node + 1]]
    }

    #[inline]
    fn child(&self, parent: u32, symbol: u32) -> Option<u32> {
        let mask = self.children.len() - 1;
        let mut at = place(parent, symbol) & mask;
        loop {
            let child = &self.children[at];
            if child.node == 0 {
                return None;
            }
            if child.parent == parent && child.symbol == symbol {
                return Some(child.node);
            }
            at = (at + 1) & mask;
        }
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
            + self.entries.capacity() * size_of::<Listed>()
            + self.forks.capacity() * 4
            + self.children.capacity() * size_of::<Child>()
    }
}

/// Symbols of one field often follow each other.
#[inline]
fn bit(symbol: u32) -> u64 {
    1 << (symbol % 64)
}

/// Where the look-up of a child begins.
#[inline]
fn place(parent: u32, symbol: u32) -> usize {
    let both = u64::from(parent) << 32 | u64::from(symbol);
    mix(both ^ seeds()[2], seeds()[3]) as usize
}
