//! The structure of an event: where its strings, brackets and colons are.

use super::simd::Masks;

/// 64 bytes of the event; the n-th bit stands for the n-th byte.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Block {
    /// Quotes that begin or end a string.
    pub(super) quote: u64,
    /// Bytes of strings, with the quote in front.
    pub(super) string: u64,
    /// `{ } [ ] : ,` outside of strings.
    pub(super) operator: u64,
    /// White space outside of strings.
    pub(super) space: u64,
    /// Where an escape begins.
    pub(super) escape: u64,
    /// Bytes of characters that are not ASCII.
    pub(super) non_ascii: u64,
}

/// What one pass over the bytes finds. Used again from event to event.
#[derive(Debug, Default)]
pub(super) struct Scan {
    blocks: Vec<Block>,
    used_blocks: usize,
    /// Of each of `{ } [ ] :` outside of strings, in order; behind [`Scan::len`] what was left there.
    positions: Vec<u32>,
    kinds: Vec<u8>,
    len: usize,
    /// Not all characters are ASCII.
    pub(super) non_ascii: bool,
    /// Some string has an escape.
    pub(super) escapes: bool,
    /// Every string is closed and without control characters; none of these, and no backslash, stands
    /// between strings but as white space.
    pub(super) sound: bool,
}

/// What a block hands to the next one.
#[derive(Default)]
struct Carry {
    /// All ones inside of a string.
    string: u64,
    /// One if the next byte is escaped.
    escaped: u64,
    unsound: u64,
    non_ascii: u64,
    escapes: u64,
}

/// Longer events give their memory back afterwards.
const KEPT_BYTES: usize = 1 << 20;

impl Scan {
    /// The pass, with a classifier and a prefix sum modulo 2 for the processor.
    #[inline(always)]
    pub(super) fn run(
        &mut self,
        bytes: &[u8],
        classify: impl Fn(&[u8; 64]) -> Masks,
        prefix_xor: impl Fn(u64) -> u64,
    ) {
        self.reserve(bytes.len());
        let mut carry = Carry::default();
        self.len = 0;
        let (blocks, rest) = bytes.as_chunks::<64>();
        for (at, block) in blocks.iter().enumerate() {
            self.block(at, block, classify(block), &prefix_xor, &mut carry);
        }
        if !rest.is_empty() {
            let mut block = [b' '; 64];
            block[..rest.len()].copy_from_slice(rest);
            let masks = classify(&block);
            self.block(blocks.len(), &block, masks, &prefix_xor, &mut carry);
        }
        self.non_ascii = carry.non_ascii != 0;
        self.escapes = carry.escapes != 0;
        self.sound = carry.unsound | carry.string == 0;
    }

    #[inline(always)]
    fn block(
        &mut self,
        at: usize,
        bytes: &[u8; 64],
        masks: Masks,
        prefix_xor: &impl Fn(u64) -> u64,
        carry: &mut Carry,
    ) {
        let mut escaped = carry.escaped;
        let mut escape = 0;
        if masks.backslash != 0 {
            (escape, escaped) = escapes(masks.backslash, carry);
        } else {
            carry.escaped = 0;
        }
        let quote = masks.quote & !escaped;
        let string = prefix_xor(quote) ^ carry.string;
        carry.string = (string.cast_signed() >> 63).cast_unsigned();
        carry.unsound |= masks.control & (string | !masks.space) | escape & !string;
        carry.non_ascii |= masks.non_ascii;
        carry.escapes |= escape;
        let outside = !string;
        self.blocks[at] = Block {
            quote,
            string,
            operator: masks.operator & outside,
            space: masks.space & outside,
            escape,
            non_ascii: masks.non_ascii,
        };
        let mut left = masks.operator & !masks.comma & outside;
        let count = left.count_ones() as usize;
        let start = self.len;
        self.len += count;
        let (Some(positions), Some(kinds)) = (
            self.positions[start..].first_chunk_mut::<64>(),
            self.kinds[start..].first_chunk_mut::<64>(),
        ) else {
            return;
        };
        let base = (at * 64) as u32;
        let mut done = 0;
        // Four at a time, as the end of a loop is hard to foresee; what is too many is written over.
        while done < count {
            for _ in 0..4 {
                let next = left.trailing_zeros();
                positions[done & 63] = base + next;
                kinds[done & 63] = bytes[next as usize & 63];
                left &= left.wrapping_sub(1);
                done += 1;
            }
        }
    }

    /// Room for an event of `bytes`; a block of room more than it can take.
    fn reserve(&mut self, bytes: usize) {
        let blocks = bytes.div_ceil(64);
        self.used_blocks = blocks;
        if self.blocks.len() < blocks || (self.blocks.len() * 64 > KEPT_BYTES && bytes < KEPT_BYTES)
        {
            let blocks = blocks.next_power_of_two().max(64);
            self.blocks = vec![Block::default(); blocks];
            self.positions = vec![0; blocks * 64 + 64];
            self.kinds = vec![0; blocks * 64 + 64];
        }
    }

    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks[..self.used_blocks]
    }

    /// The brackets and colons outside of strings, in order.
    pub(super) fn kinds(&self) -> &[u8] {
        &self.kinds[..self.len]
    }

    /// Where they are.
    pub(super) fn positions(&self) -> &[u32] {
        &self.positions[..self.len]
    }

    /// The first quote behind `at` that begins or ends a string.
    pub(super) fn quote_behind(&self, at: usize) -> Option<usize> {
        let mut block = (at + 1) / 64;
        let mut quotes = self.blocks().get(block)?.quote & (u64::MAX << ((at + 1) % 64));
        while quotes == 0 {
            block += 1;
            quotes = self.blocks().get(block)?.quote;
        }
        Some(block * 64 + quotes.trailing_zeros() as usize)
    }

    /// The last such quote in front of `at`.
    pub(super) fn quote_before(&self, at: usize) -> Option<usize> {
        let mut block = at / 64;
        let mut quotes = self.blocks().get(block)?.quote & !(u64::MAX << (at % 64));
        while quotes == 0 {
            block = block.checked_sub(1)?;
            quotes = self.blocks()[block].quote;
        }
        Some(block * 64 + 63 - quotes.leading_zeros() as usize)
    }
}

/// Where escapes begin, and the bytes behind, which mean nothing else. Escapes are rare: one by one.
#[inline]
fn escapes(backslash: u64, carry: &mut Carry) -> (u64, u64) {
    let mut escape = 0;
    let mut escaped = carry.escaped;
    let mut left = backslash & !escaped;
    while left != 0 {
        let first = left & left.wrapping_neg();
        escape |= first;
        escaped |= first << 1;
        left &= !(first | first << 1);
    }
    carry.escaped = escape >> 63;
    (escape, escaped)
}
