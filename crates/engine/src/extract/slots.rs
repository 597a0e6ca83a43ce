//! What was found at each path.

use crate::json;

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotKind {
    /// Its parent is an object that lacks it.
    Missing,
    /// Something before it is absent or no object.
    Unreachable,
    Null,
    False,
    True,
    /// No fraction, no exponent, in the range of `i64`.
    Int,
    /// As an int, above its range.
    Uint,
    Double,
    /// Without escapes: the bytes between the quotes are the text.
    String,
    /// A string with escapes.
    Escaped,
    List,
    Object,
}

/// The value at one path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) kind: SlotKind,
    /// Where it stands in the record's value; of a string without its quotes. Empty for what is not there.
    pub(crate) start: u32,
    /// Behind its last byte.
    pub(crate) end: u32,
    /// The number, or where the text without escapes stands in [`Slots::unescaped`].
    pub(super) bits: u64,
}

impl Slot {
    pub(super) const fn absent(kind: SlotKind) -> Self {
        Self {
            kind,
            start: 0,
            end: 0,
            bits: 0,
        }
    }

    /// Of a [`SlotKind::Int`].
    pub(crate) fn int(&self) -> i64 {
        self.bits.cast_signed()
    }

    /// Of a [`SlotKind::Uint`].
    pub(crate) fn uint(&self) -> u64 {
        self.bits
    }

    /// Of a [`SlotKind::Double`].
    pub(crate) fn double(&self) -> f64 {
        f64::from_bits(self.bits)
    }

    /// As it is spelled in `value`, the record's value; a string without its quotes.
    pub(crate) fn raw<'v>(&self, value: &'v [u8]) -> &'v [u8] {
        &value[self.start as usize..self.end as usize]
    }
}

/// A slot for each path of a plan, used again from event to event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    pub(super) slots: Vec<Slot>,
    /// Texts of the strings that have escapes.
    pub(super) unescaped: String,
}

impl Slots {
    pub(crate) fn get(&self, slot: usize) -> &Slot {
        &self.slots[slot]
    }

    /// The text of a string, escapes read; UTF-8. Empty for other kinds.
    pub(crate) fn text<'t>(&'t self, slot: usize, value: &'t [u8]) -> &'t [u8] {
        let slot = &self.slots[slot];
        match slot.kind {
            SlotKind::String => slot.raw(value),
            SlotKind::Escaped => {
                let (start, length) = (slot.bits >> 32, slot.bits & 0xffff_ffff);
                &self.unescaped.as_bytes()[start as usize..][..length as usize]
            }
            _ => &[],
        }
    }

    /// Room for `slots` values. Those that are there already stay, for all of them are to be set.
    pub(super) fn reset(&mut self, slots: usize) {
        self.unescaped.clear();
        self.slots
            .resize(slots, Slot::absent(SlotKind::Unreachable));
    }

    pub(super) fn set(&mut self, slot: u32, value: Slot) {
        self.slots[slot as usize] = value;
    }

    /// Reads the escapes of the string at `slot`; `None` if one of them is none.
    pub(super) fn unescape(&mut self, slot: u32, value: &[u8]) -> Option<()> {
        let slot = &mut self.slots[slot as usize];
        let raw = std::str::from_utf8(slot.raw(value)).ok()?;
        let start = self.unescaped.len();
        json::unescape(raw, &mut self.unescaped)?;
        // All texts together are no longer than the record.
        slot.bits = (start as u64) << 32 | (self.unescaped.len() - start) as u64;
        Some(())
    }
}
