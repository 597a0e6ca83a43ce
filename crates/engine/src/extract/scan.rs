//! The structure of an event: where its strings, brackets and colons are.

use super::simd::Masks;

/// 64 bytes of the event; the n-th bit stands for the n-th byte.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Block {
    /// Quotes that begin or end a string.
    pub(super) quote: u64,
    /// Where an escape begins.
    pub(super) escape: u64,
    /// Bytes of characters that are not ASCII.
    pub(super) non_ascii: u64,
}

/// Bytes of one kind of interest, in order: where they are, and which. Behind `len` is what was left there.
#[derive(Debug, Default)]
struct List {
    positions: Vec<u32>,
    kinds: Vec<u8>,
    len: usize,
}

/// What one pass over the bytes finds. Used again from event to event.
#[derive(Debug, Default)]
pub(super) struct Scan {
    blocks: Vec<Block>,
    used_blocks: usize,
    skeleton: List,
    tokens: List,
    /// Not all characters are ASCII.
    pub(super) non_ascii: bool,
    /// Some string has an escape.
    pub(super) escapes: bool,
    /// Every string is closed and without control characters; none of these, and no backslash, stands
    /// between strings but as white space.
    pub(super) sound: bool,
}

/// The end of a string, and what is in it.
pub(super) struct StringEnd {
    /// Where its last quote is.
    pub(super) quote: usize,
    pub(super) escapes: bool,
    pub(super) non_ascii: bool,
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
    /// One if the last byte is part of a word.
    word: u64,
}

/// What a processor has for the pass. Functions, because those for a processor are made inside of one for it.
#[derive(Clone, Copy)]
pub(super) struct Simd<Classify, PrefixXor, Collect> {
    /// Sorts 64 bytes into classes.
    pub(super) classify: Classify,
    /// Each bit as the parity of itself and all below it.
    pub(super) prefix_xor: PrefixXor,
    /// Puts the bytes of the block that the mask names to the front of the last array, and their places,
    /// counted from the number, to that of the other. What is behind them may be written over.
    pub(super) collect: Collect,
}

/// Blocks that are fetched together before the first is looked at. A processor that foresees which memory comes
/// next does so too late for an event of a usual size, which is over by then.
const AHEAD: usize = 32;

/// Longer events give their memory back afterwards.
const KEPT_BYTES: usize = 1 << 20;

impl List {
    #[inline(always)]
    fn collect(
        &mut self,
        collect: &impl Fn(&[u8; 64], u64, u32, &mut [u32; 64], &mut [u8; 64]),
        block: &[u8; 64],
        which: u64,
        base: u32,
    ) {
        if let (Some(positions), Some(kinds)) = (
            self.positions[self.len..].first_chunk_mut::<64>(),
            self.kinds[self.len..].first_chunk_mut::<64>(),
        ) {
            collect(block, which, base, positions, kinds);
        }
        self.len += which.count_ones() as usize;
    }

    /// Makes room for all bytes of as many blocks.
    fn reserve(&mut self, blocks: usize) {
        self.positions = vec![0; blocks * 64];
        self.kinds = vec![0; blocks * 64];
    }
}

impl Scan {
    /// The pass, by what the processor has; `whole` if tokens are wanted too.
    #[inline(always)]
    pub(super) fn run(
        &mut self,
        bytes: &[u8],
        whole: bool,
        simd: &Simd<
            impl Fn(&[u8; 64]) -> Masks,
            impl Fn(u64) -> u64,
            impl Fn(&[u8; 64], u64, u32, &mut [u32; 64], &mut [u8; 64]),
        >,
    ) {
        if whole {
            self.pass::<true>(bytes, simd);
        } else {
            self.pass::<false>(bytes, simd);
        }
    }

    /// What is not for the whole is left out where the code is made.
    #[inline(always)]
    fn pass<const WHOLE: bool>(
        &mut self,
        bytes: &[u8],
        simd: &Simd<
            impl Fn(&[u8; 64]) -> Masks,
            impl Fn(u64) -> u64,
            impl Fn(&[u8; 64], u64, u32, &mut [u32; 64], &mut [u8; 64]),
        >,
    ) {
        self.reserve(bytes.len(), WHOLE);
        let mut carry = Carry::default();
        let (blocks, rest) = bytes.as_chunks::<64>();
        let ahead = blocks.iter().take(AHEAD);
        std::hint::black_box(ahead.fold(0, |ahead, block| ahead ^ block[0]));
        for (at, block) in blocks.iter().enumerate() {
            self.block::<WHOLE>(at, block, simd, &mut carry);
        }
        if !rest.is_empty() {
            let mut block = [b' '; 64];
            block[..rest.len()].copy_from_slice(rest);
            self.block::<WHOLE>(blocks.len(), &block, simd, &mut carry);
        }
        self.non_ascii = carry.non_ascii != 0;
        self.escapes = carry.escapes != 0;
        self.sound = carry.unsound | carry.string == 0;
    }

    #[inline(always)]
    fn block<const WHOLE: bool>(
        &mut self,
        at: usize,
        bytes: &[u8; 64],
        simd: &Simd<
            impl Fn(&[u8; 64]) -> Masks,
            impl Fn(u64) -> u64,
            impl Fn(&[u8; 64], u64, u32, &mut [u32; 64], &mut [u8; 64]),
        >,
        carry: &mut Carry,
    ) {
        let masks = (simd.classify)(bytes);
        let mut escaped = carry.escaped;
        let mut escape = 0;
        if masks.backslash != 0 {
            (escape, escaped) = escapes(masks.backslash, carry);
        } else {
            carry.escaped = 0;
        }
        let quote = masks.quote & !escaped;
        let string = (simd.prefix_xor)(quote) ^ carry.string;
        carry.string = (string.cast_signed() >> 63).cast_unsigned();
        carry.unsound |= escape & !string;
        if masks.control != 0 {
            carry.unsound |= masks.control & (string | !masks.space);
        }
        carry.non_ascii |= masks.non_ascii;
        carry.escapes |= escape;
        self.blocks[at] = Block {
            quote,
            escape,
            non_ascii: masks.non_ascii,
        };
        let base = (at * 64) as u32;
        let skeleton = masks.structure & !string;
        self.skeleton.collect(&simd.collect, bytes, skeleton, base);
        if WHOLE {
            let operator = skeleton | masks.comma & !string;
            let word = !(operator | masks.space | string | quote);
            let starts = word & !(word << 1 | carry.word);
            carry.word = word >> 63;
            let tokens = operator | quote & string | starts;
            self.tokens.collect(&simd.collect, bytes, tokens, base);
        }
    }

    /// Room for an event of `bytes`.
    fn reserve(&mut self, bytes: usize, whole: bool) {
        self.used_blocks = bytes.div_ceil(64);
        self.skeleton.len = 0;
        self.tokens.len = 0;
        let is_small = self.blocks.len() < self.used_blocks;
        let is_large = self.blocks.len() * 64 > KEPT_BYTES && bytes < KEPT_BYTES;
        if is_small || is_large {
            let blocks = self.used_blocks.next_power_of_two().max(64);
            self.blocks = vec![Block::default(); blocks];
            self.skeleton.reserve(blocks);
            self.tokens = List::default();
        }
        if whole && self.tokens.kinds.is_empty() {
            self.tokens.reserve(self.blocks.len());
        }
    }

    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks[..self.used_blocks]
    }

    /// The brackets and colons outside of strings, in order.
    pub(super) fn kinds(&self) -> &[u8] {
        &self.skeleton.kinds[..self.skeleton.len]
    }

    /// Where they are.
    pub(super) fn positions(&self) -> &[u32] {
        &self.skeleton.positions[..self.skeleton.len]
    }

    /// The first bytes of all tokens: brackets, colons, commas, strings with their quote, and words, which are
    /// whatever else is not white space. Nothing unless it was asked for.
    pub(super) fn token_kinds(&self) -> &[u8] {
        &self.tokens.kinds[..self.tokens.len]
    }

    /// Where they are.
    pub(super) fn token_positions(&self) -> &[u32] {
        &self.tokens.positions[..self.tokens.len]
    }

    /// Where the string that begins with the quote at `start` ends.
    #[inline]
    pub(super) fn string_end(&self, start: usize) -> Option<StringEnd> {
        let first = start + 1;
        let mut at = first / 64;
        let mut inside = u64::MAX << (first % 64);
        let (mut escape, mut non_ascii) = (0, 0);
        loop {
            let block = self.blocks().get(at)?;
            let quotes = block.quote & inside;
            if quotes != 0 {
                // Up to the first of them.
                inside &= quotes ^ quotes.wrapping_sub(1);
            }
            escape |= block.escape & inside;
            non_ascii |= block.non_ascii & inside;
            if quotes != 0 {
                return Some(StringEnd {
                    quote: at * 64 + quotes.trailing_zeros() as usize,
                    escapes: escape != 0,
                    non_ascii: non_ascii != 0,
                });
            }
            inside = u64::MAX;
            at += 1;
        }
    }

    /// The last quote in front of `at` that begins or ends a string.
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
