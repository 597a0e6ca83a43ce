//! What can be looked up in an event, numbered.

use super::event::{Key, mix};

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
    /// Values, one behind the other.
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    length: u32,
    /// Slot, role, kind of value.
    place: u64,
}

fn place(slot: usize, role: Role, key: &Key<'_>) -> u64 {
    let kind = match key {
        Key::Null => 0,
        Key::False => 1,
        Key::True => 2,
        Key::Number(_) => 3,
        Key::Text(_) => 4,
    };
    (slot as u64) << 8 | (role as u64) << 4 | kind
}

impl Symbols {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.table.capacity() * 8
            + self.entries.capacity() * size_of::<Entry>()
            + self.bytes.capacity()
    }

    /// The symbol of `key`, whose hash is given; `None` if no filter asks for it.
    #[inline]
    pub(super) fn find(&self, slot: usize, role: Role, key: &Key<'_>, hash: u64) -> Option<u32> {
        if self.table.is_empty() {
            return None;
        }
        let place = place(slot, role, key);
        let hash = mix(hash ^ place, 0x9e37_79b9_7f4a_7c15);
        let mask = self.table.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let cell = self.table[at];
            if cell == 0 {
                return None;
            }
            if (cell ^ hash) >> 32 == 0 {
                let symbol = (cell as u32).wrapping_sub(1);
                if self.is(symbol, place, key) {
                    return Some(symbol);
                }
            }
            at = (at + 1) & mask;
        }
    }

    #[inline]
    fn is(&self, symbol: u32, place: u64, key: &Key<'_>) -> bool {
        let entry = &self.entries[symbol as usize];
        if entry.place != place {
            return false;
        }
        let bytes = &self.bytes[entry.start as usize..][..entry.length as usize];
        match key {
            Key::Null | Key::False | Key::True => true,
            Key::Number(bits) => bytes == bits.to_le_bytes(),
            Key::Text(text) => bytes == *text,
        }
    }

    /// The symbol of `key`, which is made if need be.
    pub(super) fn intern(&mut self, slot: usize, role: Role, key: &Key<'_>) -> u32 {
        let hash = key.hash();
        if let Some(symbol) = self.find(slot, role, key, hash) {
            return symbol;
        }
        if (self.entries.len() + 1) * 8 > self.table.len() * 7 {
            self.grow();
        }
        // Filters in memory have fewer constants, and fewer bytes.
        let symbol = self.entries.len() as u32;
        let start = self.bytes.len() as u32;
        match key {
            Key::Null | Key::False | Key::True => {}
            Key::Number(bits) => self.bytes.extend_from_slice(&bits.to_le_bytes()),
            Key::Text(text) => self.bytes.extend_from_slice(text),
        }
        let place = place(slot, role, key);
        self.entries.push(Entry {
            start,
            length: self.bytes.len() as u32 - start,
            place,
        });
        self.put(mix(hash ^ place, 0x9e37_79b9_7f4a_7c15), symbol);
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
        self.table.clear();
        self.table.resize(size, 0);
        for symbol in 0..self.entries.len() {
            let entry = self.entries[symbol];
            let key = self.key(&entry);
            let hash = mix(key.hash() ^ entry.place, 0x9e37_79b9_7f4a_7c15);
            self.put(hash, symbol as u32);
        }
    }

    fn key(&self, entry: &Entry) -> Key<'_> {
        let bytes = &self.bytes[entry.start as usize..][..entry.length as usize];
        match entry.place & 15 {
            0 => Key::Null,
            1 => Key::False,
            2 => Key::True,
            3 => Key::Number(
                bytes
                    .first_chunk()
                    .map_or(0, |bits| u64::from_le_bytes(*bits)),
            ),
            _ => Key::Text(bytes),
        }
    }

    /// The field of a symbol.
    pub(super) fn slot(&self, symbol: u32) -> usize {
        (self.entries[symbol as usize].place >> 8) as usize
    }

    /// The text of a symbol.
    pub(super) fn text(&self, symbol: u32) -> &[u8] {
        let entry = &self.entries[symbol as usize];
        &self.bytes[entry.start as usize..][..entry.length as usize]
    }

    pub(super) fn role(&self, symbol: u32) -> Role {
        match self.entries[symbol as usize].place >> 4 & 15 {
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
