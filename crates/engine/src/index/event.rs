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
    numbers: Vec<f64>,
    looks: Vec<Look>,
}

/// What a value is looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// [`NO_HASH`] if no constant equals it.
    pub(super) hash: u64,
    /// The length of its text above, its kind below.
    pub(super) what: u32,
    /// The first bytes, which are all of a value of up to [`SHORT`].
    pub(super) words: [u64; 2],
}

const NO_HASH: u64 = 0;

/// Bytes of a text that its [`Look`] tells all of.
const SHORT: usize = 16;

/// The lengths of texts in events fit above.
const KIND_BITS: u32 = 8;
const _: () = assert!(crate::limits::MAX_RECORD_BYTES <= 1 << (32 - KIND_BITS));

impl Look {
    const NONE: Self = Self {
        hash: NO_HASH,
        what: 0,
        words: [0; 2],
    };

    /// Of `bytes[at..][..length]`.
    #[inline]
    fn text(bytes: &[u8], at: usize, length: usize, seeds: &Seeds) -> Self {
        let words = words(bytes, at, length);
        Self {
            hash: hash(&bytes[at..][..length], words, seeds),
            what: (length as u32) << KIND_BITS | KIND_TEXT,
            words,
        }
    }

    fn number(number: f64, seeds: &Seeds) -> Self {
        // The sum makes both zeros one.
        let bits = (number + 0.0).to_bits();
        Self {
            hash: mix(bits ^ seeds[1], seeds[2]) | 1,
            what: KIND_NUMBER,
            words: [bits, 0],
        }
    }

    fn word(kind: SlotKind) -> Self {
        let (hash, what) = match kind {
            SlotKind::False => (0x2d, KIND_FALSE),
            SlotKind::True => (0x3d, KIND_TRUE),
            _ => (0x1d, KIND_NULL),
        };
        Self {
            hash,
            what,
            words: [0; 2],
        }
    }

    /// Whether it tells all of the value.
    pub(super) fn is_all(&self) -> bool {
        length(self.what) <= SHORT
    }
}

/// Of the text, by [`Look::what`].
pub(super) fn length(what: u32) -> usize {
    (what >> KIND_BITS) as usize
}

const KIND_NULL: u32 = 0;
const KIND_FALSE: u32 = 1;
const KIND_TRUE: u32 = 2;
const KIND_NUMBER: u32 = 3;
const KIND_TEXT: u32 = 4;

impl Fields {
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// As doubles; what is no number is NaN.
    pub(super) fn numbers(&self) -> &[f64] {
        &self.numbers
    }

    /// Reads the first `count` slots.
    pub(crate) fn read(&mut self, slots: &Slots, count: usize, value: &[u8]) {
        self.numbers.resize(count, f64::NAN);
        self.looks.resize(count, Look::NONE);
        let seeds = seeds();
        let fields = self.numbers.iter_mut().zip(&mut self.looks);
        for (at, (number, look)) in fields.enumerate() {
            let slot = slots.get(at);
            *number = self::number(slot);
            *look = match slot.kind {
                SlotKind::String => {
                    let length = (slot.end - slot.start) as usize;
                    Look::text(value, slot.start as usize, length, seeds)
                }
                SlotKind::Escaped => {
                    let text = slots.text(at, value);
                    Look::text(text, 0, text.len(), seeds)
                }
                SlotKind::Null | SlotKind::False | SlotKind::True => Look::word(slot.kind),
                _ if number.abs() < VALUE_LIMIT => Look::number(*number, seeds),
                _ => Look::NONE,
            };
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

impl<'t> Key<'t> {
    /// What has this [`Look::what`], this first word, and this text.
    pub(super) fn new(what: u32, word: u64, text: &'t [u8]) -> Self {
        match what & ((1 << KIND_BITS) - 1) {
            KIND_NULL => Key::Null,
            KIND_FALSE => Key::False,
            KIND_TRUE => Key::True,
            KIND_NUMBER => Key::Number(word),
            _ => Key::Text(text),
        }
    }

    pub(super) fn look(&self) -> Look {
        match self {
            Key::Null => Look::word(SlotKind::Null),
            Key::False => Look::word(SlotKind::False),
            Key::True => Look::word(SlotKind::True),
            Key::Number(bits) => Look::number(f64::from_bits(*bits), seeds()),
            Key::Text(text) => Look::text(text, 0, text.len(), seeds()),
        }
    }

    /// Of a text; of others nothing.
    pub(super) fn text(&self) -> &[u8] {
        match self {
            Key::Text(text) => text,
            _ => &[],
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

    /// What to look up; `None` for what no constant equals.
    pub(super) fn look(&self, slot: usize) -> Option<&'e Look> {
        let look = &self.fields.looks[slot];
        (look.hash != NO_HASH).then_some(look)
    }
}

type Seeds = [u64; 4];

/// Random for each process, so that nobody can write constants that fall into one place.
pub(super) fn seeds() -> &'static Seeds {
    static SEEDS: OnceLock<Seeds> = OnceLock::new();
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

/// The first [`SHORT`] bytes of `bytes[at..][..length]`, followed by zeros. Without a branch that depends on the
/// length, which nobody can foresee, unless the end is near.
fn words(bytes: &[u8], at: usize, length: usize) -> [u64; 2] {
    let words = match bytes[at..].first_chunk::<SHORT>() {
        Some(words) => u128::from_le_bytes(*words) & FIRST[length.min(SHORT)],
        None => {
            let mut words = [0; SHORT];
            words[..length].copy_from_slice(&bytes[at..][..length]);
            u128::from_le_bytes(words)
        }
    };
    [words as u64, (words >> 64) as u64]
}

/// The first bytes, by how many.
const FIRST: [u128; SHORT + 1] = {
    let mut first = [0; SHORT + 1];
    let mut length = 1;
    while length <= SHORT {
        first[length] = u128::MAX >> (8 * (SHORT - length));
        length += 1;
    }
    first
};

/// A hash of a text whose [`words`] are given, never [`NO_HASH`].
fn hash(text: &[u8], [a, b]: [u64; 2], seeds: &Seeds) -> u64 {
    let mut state = seeds[0] ^ text.len() as u64;
    if text.len() > SHORT {
        let (chunks, _) = text[SHORT..].as_chunks();
        let last = text.last_chunk().into_iter();
        for chunk in chunks.iter().chain(last) {
            let chunk = u128::from_le_bytes(*chunk);
            let (a, b) = (chunk as u64, (chunk >> 64) as u64);
            state = mix(a ^ seeds[1] ^ state, b ^ seeds[2]);
        }
    }
    mix(a ^ seeds[3] ^ state, b ^ seeds[1]) | 1
}
