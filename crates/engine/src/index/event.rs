//! One event as all segments look at it.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use crate::compile::VALUE_LIMIT;
use crate::extract::{Slot, SlotKind, Slots};

/// The event being matched.
#[derive(Clone, Copy)]
pub(super) struct Event<'e> {
    pub(super) slots: &'e Slots,
    pub(super) fields: &'e Fields,
    /// The record's value.
    pub(super) value: &'e [u8],
}

/// What is worked out once for each field of an event.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    /// As doubles; what is no number is NaN.
    numbers: Vec<f64>,
    /// Of the values that can be looked up, [`NO_HASH`] for others.
    hashes: Vec<u64>,
}

const NO_HASH: u64 = 0;

impl Fields {
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Reads the first `count` slots.
    pub(crate) fn read(&mut self, slots: &Slots, count: usize, value: &[u8]) {
        self.numbers.clear();
        self.hashes.clear();
        for at in 0..count {
            let slot = slots.get(at);
            let number = number(slot);
            self.numbers.push(number);
            self.hashes.push(match slot.kind {
                SlotKind::String | SlotKind::Escaped => hash(slots.text(at, value)),
                SlotKind::Null | SlotKind::False | SlotKind::True => Key::of_kind(slot.kind).hash(),
                _ if number.abs() < VALUE_LIMIT => Key::Number((number + 0.0).to_bits()).hash(),
                _ => NO_HASH,
            });
        }
    }
}

/// A number as a double, which is how it compares with doubles; otherwise NaN.
fn number(slot: &Slot) -> f64 {
    match slot.kind {
        SlotKind::Int => slot.int() as f64,
        SlotKind::Uint => slot.uint() as f64,
        SlotKind::Double => slot.double(),
        _ => f64::NAN,
    }
}

/// A value as it is looked up. Values that CEL says are equal are the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key<'t> {
    Null,
    False,
    True,
    /// The bits of a double within [`VALUE_LIMIT`] that is not negative zero.
    Number(u64),
    Text(&'t [u8]),
}

impl Key<'_> {
    fn of_kind(kind: SlotKind) -> Self {
        match kind {
            SlotKind::False => Key::False,
            SlotKind::True => Key::True,
            _ => Key::Null,
        }
    }

    pub(super) fn hash(&self) -> u64 {
        match self {
            Key::Null => 0x1d,
            Key::False => 0x2d,
            Key::True => 0x3d,
            Key::Number(bits) => mix(bits ^ seeds()[1], seeds()[2]) | 1,
            Key::Text(text) => hash(text),
        }
    }
}

impl<'e> Event<'e> {
    pub(super) fn kind(&self, slot: usize) -> SlotKind {
        self.slots.get(slot).kind
    }

    /// NaN if there is none.
    pub(super) fn number(&self, slot: usize) -> f64 {
        self.fields.numbers[slot]
    }

    pub(super) fn integer(&self, slot: usize) -> Option<i128> {
        let slot = self.slots.get(slot);
        match slot.kind {
            SlotKind::Int => Some(slot.int().into()),
            SlotKind::Uint => Some(slot.uint().into()),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub(super) fn text(&self, slot: usize) -> Option<&'e [u8]> {
        matches!(self.kind(slot), SlotKind::String | SlotKind::Escaped)
            .then(|| self.slots.text(slot, self.value))
    }

    pub(super) fn raw(&self, slot: usize) -> &'e [u8] {
        self.slots.get(slot).raw(self.value)
    }

    /// What to look up, with its hash; `None` for what no constant equals.
    pub(super) fn key(&self, slot: usize) -> Option<(Key<'e>, u64)> {
        let hash = self.fields.hashes[slot];
        if hash == NO_HASH {
            return None;
        }
        let key = match self.kind(slot) {
            SlotKind::String | SlotKind::Escaped => Key::Text(self.slots.text(slot, self.value)),
            kind @ (SlotKind::Null | SlotKind::False | SlotKind::True) => Key::of_kind(kind),
            _ => Key::Number((self.fields.numbers[slot] + 0.0).to_bits()),
        };
        Some((key, hash))
    }
}

/// Random for each process, so that nobody can write constants that fall into one place.
pub(super) fn seeds() -> &'static [u64; 4] {
    static SEEDS: OnceLock<[u64; 4]> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let random = RandomState::new();
        // Odd ones spread better when they are multiplied.
        std::array::from_fn(|at| random.hash_one(at) | 1)
    })
}

/// Both halves of a product, so that every bit counts.
pub(super) fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// A hash of bytes, never [`NO_HASH`].
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let word = |at: usize| -> u64 {
        bytes[at..]
            .first_chunk()
            .map_or(0, |chunk| u64::from_le_bytes(*chunk))
    };
    let half = |at: usize| -> u64 {
        bytes[at..]
            .first_chunk()
            .map_or(0, |chunk| u32::from_le_bytes(*chunk).into())
    };
    let length = bytes.len();
    let seeds = seeds();
    let mut state = seeds[0] ^ length as u64;
    let (a, b) = match length {
        0 => (0, 0),
        1..4 => {
            let middle = u64::from(bytes[length / 2]) << 8 | u64::from(bytes[length - 1]) << 16;
            (u64::from(bytes[0]) | middle, 0)
        }
        4..8 => (half(0), half(length - 4)),
        8..=16 => (word(0), word(length - 8)),
        _ => {
            let mut at = 0;
            while at + 16 < length {
                state = mix(word(at) ^ seeds[1] ^ state, word(at + 8) ^ seeds[2]);
                at += 16;
            }
            (word(length - 16), word(length - 8))
        }
    };
    mix(a ^ seeds[3] ^ state, b ^ seeds[1]) | 1
}
