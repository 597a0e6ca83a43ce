//! From symbols to the filters that are found by them.

/// A filter where it is found.
#[derive(Clone, Copy, Debug)]
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

/// Lists of filters, by symbol.
#[derive(Debug, Default)]
pub(super) struct Postings {
    /// Where the list of a symbol starts; one more than there are symbols.
    starts: Vec<u32>,
    entries: Vec<Entry>,
}

impl Postings {
    pub(super) fn new(mut found: Vec<(u32, Entry)>, symbols: usize) -> Self {
        found.sort_by_key(|(symbol, _)| *symbol);
        let mut starts = Vec::with_capacity(symbols + 1);
        let mut at = 0;
        for symbol in 0..=symbols {
            at += found[at..]
                .iter()
                .take_while(|(other, _)| (*other as usize) < symbol)
                .count();
            starts.push(at as u32);
        }
        Self {
            starts,
            entries: found.into_iter().map(|(_, entry)| entry).collect(),
        }
    }

    #[inline]
    pub(super) fn of(&self, symbol: u32) -> &[Entry] {
        let symbol = symbol as usize;
        &self.entries[self.starts[symbol] as usize..self.starts[symbol + 1] as usize]
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.starts.capacity() * 4 + self.entries.capacity() * size_of::<Entry>()
    }
}
