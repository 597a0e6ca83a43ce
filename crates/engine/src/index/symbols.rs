//! What can be looked up in an event, numbered.

use super::event::{Key, Look, length, mix};

/// What a field is looked up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Role {
    /// Its value.
    Value,
    /// An element of its list, or a name in its object.
    Element,
    /// The beginning of its text.
    Prefix,
    /// The end of its text.
    Suffix,
    /// A text inside of its text. Found by the field's automaton, not here.
    Part,
    /// A regular expression that its text matches. Found by the field's automata, not here.
    Pattern,
}

/// A dictionary: field, role and value to a number, dense from 0.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    /// Half a hash above, a symbol's number plus one below; 0 is free. A power of two, at most 7/8 full.
    table: Vec<u64>,
    entries: Vec<Entry>,
    /// Texts, one behind the other.
    bytes: Vec<u8>,
    /// For each slot a bit for each value, by its hash: most that are not asked for are known without a look-up,
    /// where few are.
    asked: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    what: u32,
    words: [u64; 2],
    /// Slot, role.
    place: u64,
}

fn place(slot: usize, role: Role) -> u64 {
    (slot as u64) << 4 | role as u64
}

/// Where the look-up begins, and what its cell has above.
fn spread(look: &Look, place: u64) -> u64 {
    mix(look.hash ^ place, 0x9e37_79b9_7f4a_7c15)
}

fn bit(look: &Look) -> u64 {
    1 << (look.hash >> 58)
}

impl Symbols {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        (self.table.capacity() + self.asked.capacity()) * 8
            + self.entries.capacity() * size_of::<Entry>()
            + self.bytes.capacity()
    }

    /// The symbol of what `look` is of; `None` if no filter asks for it. `text` is asked for a long text.
    #[inline]
    pub(super) fn find<'t>(
        &self,
        slot: usize,
        role: Role,
        look: &Look,
        text: impl Fn() -> &'t [u8],
    ) -> Option<u32> {
        if self.asked.get(slot)? & bit(look) == 0 {
            return None;
        }
        let place = place(slot, role);
        let hash = spread(look, place);
        let mask = self.table.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let cell = self.table[at];
            if cell == 0 {
                return None;
            }
            if (cell ^ hash) >> 32 == 0 {
                let symbol = (cell as u32).wrapping_sub(1);
                let entry = &self.entries[symbol as usize];
                let is_alike =
                    entry.place == place && (entry.what, entry.words) == (look.what, look.words);
                if is_alike && (look.is_all() || self.text(symbol) == text()) {
                    return Some(symbol);
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// The symbol of `key`.
    pub(super) fn find_key(&self, slot: usize, role: Role, key: &Key<'_>) -> Option<u32> {
        self.find(slot, role, &key.look(), || key.text())
    }

    /// The symbol of `key`, which is made if need be.
    pub(super) fn intern(&mut self, slot: usize, role: Role, key: &Key<'_>) -> u32 {
        if let Some(symbol) = self.find_key(slot, role, key) {
            return symbol;
        }
        let look = key.look();
        if (self.entries.len() + 1) * 8 > self.table.len() * 7 {
            self.grow();
        }
        // Filters in memory have fewer constants, and fewer bytes.
        let symbol = self.entries.len() as u32;
        let place = place(slot, role);
        self.entries.push(Entry {
            start: self.bytes.len() as u32,
            what: look.what,
            words: look.words,
            place,
        });
        self.bytes.extend_from_slice(key.text());
        if self.asked.len() <= slot {
            self.asked.resize(slot + 1, 0);
        }
        self.asked[slot] |= bit(&look);
        self.put(spread(&look, place), symbol);
        symbol
    }

    fn put(&mut self, hash: u64, symbol: u32) {
        let mask = self.table.len() - 1;
        let mut at = hash as usize & mask;
        while self.table[at] != 0 {
            at = (at + 1) & mask;
        }
        self.table[at] = (hash >> 32) << 32 | u64::from(symbol + 1);
    }

    fn grow(&mut self) {
        let size = (self.table.len() * 2).max(16);
        let former = std::mem::replace(&mut self.table, vec![0; size]);
        for cell in former.into_iter().filter(|cell| *cell != 0) {
            let symbol = cell as u32 - 1;
            let look = self.key(symbol).look();
            self.put(spread(&look, self.entries[symbol as usize].place), symbol);
        }
    }

    fn key(&self, symbol: u32) -> Key<'_> {
        let entry = &self.entries[symbol as usize];
        Key::new(entry.what, entry.words[0], self.text(symbol))
    }

    /// The field of a symbol.
    pub(super) fn slot(&self, symbol: u32) -> usize {
        (self.entries[symbol as usize].place >> 4) as usize
    }

    /// The text of a symbol.
    pub(super) fn text(&self, symbol: u32) -> &[u8] {
        let entry = &self.entries[symbol as usize];
        &self.bytes[entry.start as usize..][..length(entry.what)]
    }

    pub(super) fn role(&self, symbol: u32) -> Role {
        match self.entries[symbol as usize].place & 15 {
            0 => Role::Value,
            1 => Role::Element,
            2 => Role::Prefix,
            3 => Role::Suffix,
            4 => Role::Part,
            _ => Role::Pattern,
        }
    }

    pub(super) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
        self.bytes.shrink_to_fit();
    }
}
