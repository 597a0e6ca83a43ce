//! Sorting the bytes of an event into classes, 64 at a time, with what the processor has for it.
//!
//! The only `unsafe` code of the engine, of two kinds: loads and stores of arrays that are borrowed at their
//! length, and calls of functions for a processor whose abilities were asked for. What is done with the
//! masks is in [`super::scan`].

use super::scan::{Scan, Simd};

/// The bytes of a block that belong to each class: the n-th bit stands for the n-th byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Masks {
    /// `"`
    pub(super) quote: u64,
    /// `\`
    pub(super) backslash: u64,
    /// `{ } [ ] :`, and a control character that is refused wherever it stands.
    pub(super) structure: u64,
    /// `,`
    pub(super) comma: u64,
    /// Space, tab, line feed, carriage return.
    pub(super) space: u64,
    /// Below a space.
    pub(super) control: u64,
    /// Of a character that is not ASCII.
    pub(super) non_ascii: u64,
}

/// For each byte that is white space, itself at the place of its lower half.
const SPACES: [u8; 16] = [
    b' ', 0, 0, 0, 0, 0, 0, 0, 0, b'\t', b'\n', 0, 0, b'\r', 0, 0,
];

/// For each bracket and the colon, itself with the bit that tells brackets from braces, at the place of its lower
/// half.
const STRUCTURE: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b':', b'{', 0, b'}', 0, 0];

/// The way of scanning that this processor is best at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scanner(Way);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Default for Scanner {
    fn default() -> Self {
        let [.., best] = Self::each()[..] else {
            return Self(Way::Plain);
        };
        best
    }
}

impl Scanner {
    /// Every way that this processor can go, the best one last. Nothing else makes a scanner, which is why
    /// [`Scanner::scan`] can rely on the processor's abilities.
    pub(super) fn each() -> Vec<Self> {
        let mut ways = vec![Self(Way::Plain)];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("pclmulqdq")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("popcnt")
        {
            ways.push(Self(Way::Avx2));
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vbmi2")
            {
                ways.push(Self(Way::Avx512));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            ways.push(Self(Way::Neon));
        }
        ways
    }

    /// Fills `scan` with the structure of `bytes`; with tokens if it is for `whole` validation.
    #[cfg_attr(
        any(target_arch = "x86_64", target_arch = "aarch64"),
        expect(
            unsafe_code,
            reason = "a way is made by `each` alone, which asks for its features"
        )
    )]
    pub(super) fn scan(self, bytes: &[u8], whole: bool, scan: &mut Scan) {
        match self.0 {
            Way::Plain => {
                let simd = Simd {
                    classify: plain::classify,
                    prefix_xor: plain::prefix_xor,
                    collect: plain::collect,
                };
                scan.run(bytes, whole, &simd);
            }
            // SAFETY: `each` makes this way only where the processor has AVX2, PCLMULQDQ, BMI1 and POPCNT.
            #[cfg(target_arch = "x86_64")]
            Way::Avx2 => unsafe { avx2::scan(bytes, whole, scan) },
            // SAFETY: as above, with AVX-512F, AVX-512BW and AVX-512VBMI2.
            #[cfg(target_arch = "x86_64")]
            Way::Avx512 => unsafe { avx512::scan(bytes, whole, scan) },
            // SAFETY: as above, with NEON.
            #[cfg(target_arch = "aarch64")]
            Way::Neon => unsafe { neon::scan(bytes, whole, scan) },
        }
    }
}

mod plain {
    use super::Masks;

    pub(super) fn classify(block: &[u8; 64]) -> Masks {
        let mut masks = Masks::default();
        for (at, &byte) in block.iter().enumerate() {
            let bit = |is: bool| u64::from(is) << at;
            masks.quote |= bit(byte == b'"');
            masks.backslash |= bit(byte == b'\\');
            masks.structure |= bit(matches!(byte | 0x20, b'{' | b'}' | b':'));
            masks.comma |= bit(byte == b',');
            masks.space |= bit(matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
            masks.control |= bit(byte < b' ');
            masks.non_ascii |= bit(byte >= 0x80);
        }
        masks
    }

    pub(super) fn prefix_xor(mut bits: u64) -> u64 {
        for shift in [1, 2, 4, 8, 16, 32] {
            bits ^= bits << shift;
        }
        bits
    }

    #[inline(always)]
    pub(super) fn collect(
        block: &[u8; 64],
        mut which: u64,
        base: u32,
        positions: &mut [u32; 64],
        kinds: &mut [u8; 64],
    ) {
        let (positions, _) = positions.as_chunks_mut::<4>();
        let (kinds, _) = kinds.as_chunks_mut::<4>();
        // Four at a time, as the end of a loop is hard to foresee: most blocks have no more.
        for (positions, kinds) in positions.iter_mut().zip(kinds) {
            for (position, kind) in positions.iter_mut().zip(kinds) {
                let next = which.trailing_zeros();
                *position = base + next;
                *kind = block[next as usize & 63];
                which &= which.wrapping_sub(1);
            }
            if which == 0 {
                return;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{Masks, SPACES, STRUCTURE, Scan, Simd, plain};

    #[target_feature(enable = "avx2,pclmulqdq,bmi1,popcnt")]
    pub(super) fn scan(bytes: &[u8], whole: bool, scan: &mut Scan) {
        let simd = Simd {
            classify: |block: &_| classify(block),
            prefix_xor: |bits| prefix_xor(bits),
            collect: plain::collect,
        };
        scan.run(bytes, whole, &simd);
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    #[expect(unsafe_code, reason = "loads take a pointer")]
    fn classify(block: &[u8; 64]) -> Masks {
        let (low, high) = block.split_at(32);
        // SAFETY: each half of the block is 32 bytes, which is what is loaded, at any alignment.
        let halves = unsafe {
            [
                _mm256_loadu_si256(low.as_ptr().cast()),
                _mm256_loadu_si256(high.as_ptr().cast()),
            ]
        };
        let both = |low: __m256i, high: __m256i| {
            u64::from(_mm256_movemask_epi8(low).cast_unsigned())
                | u64::from(_mm256_movemask_epi8(high).cast_unsigned()) << 32
        };
        let [low, high] = halves;
        let equal = |byte: u8| {
            let byte = _mm256_set1_epi8(byte.cast_signed());
            both(_mm256_cmpeq_epi8(low, byte), _mm256_cmpeq_epi8(high, byte))
        };
        let spaces = table(SPACES);
        let structure = table(STRUCTURE);
        let braces = |half| _mm256_or_si256(half, _mm256_set1_epi8(0x20));
        let found = |table, half, like| _mm256_cmpeq_epi8(_mm256_shuffle_epi8(table, half), like);
        let control = |half| {
            let last = _mm256_set1_epi8(0x1f);
            _mm256_cmpeq_epi8(_mm256_min_epu8(half, last), half)
        };
        Masks {
            quote: equal(b'"'),
            backslash: equal(b'\\'),
            structure: both(
                found(structure, low, braces(low)),
                found(structure, high, braces(high)),
            ),
            comma: equal(b','),
            space: both(found(spaces, low, low), found(spaces, high, high)),
            control: both(control(low), control(high)),
            non_ascii: both(low, high),
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn table(bytes: [u8; 16]) -> __m256i {
        let value = u128::from_le_bytes(bytes);
        let (low, high) = (value as u64, (value >> 64) as u64);
        let (low, high) = (low.cast_signed(), high.cast_signed());
        _mm256_set_epi64x(high, low, high, low)
    }

    #[inline]
    #[target_feature(enable = "pclmulqdq")]
    pub(super) fn prefix_xor(bits: u64) -> u64 {
        let bits = _mm_set_epi64x(0, bits.cast_signed());
        let product = _mm_clmulepi64_si128::<0>(bits, _mm_set1_epi8(-1));
        _mm_cvtsi128_si64(product).cast_unsigned()
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::avx2::prefix_xor;
    use super::{Masks, SPACES, STRUCTURE, Scan, Simd};

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,avx2,pclmulqdq,bmi1,popcnt")]
    pub(super) fn scan(bytes: &[u8], whole: bool, scan: &mut Scan) {
        let simd = Simd {
            classify: |block: &_| classify(block),
            prefix_xor: |bits| prefix_xor(bits),
            collect: |block: &_, which, base, positions: &mut _, kinds: &mut _| {
                collect(block, which, base, positions, kinds);
            },
        };
        scan.run(bytes, whole, &simd);
    }

    /// Sixteen places at a time.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi2")]
    #[expect(unsafe_code, reason = "loads and stores take a pointer")]
    fn collect(
        block: &[u8; 64],
        which: u64,
        base: u32,
        positions: &mut [u32; 64],
        kinds: &mut [u8; 64],
    ) {
        // SAFETY: block, kinds and numbers are 64 bytes each, which is what is loaded and stored, at any
        // alignment.
        let (bytes, numbers) = unsafe {
            (
                _mm512_loadu_si512(block.as_ptr().cast()),
                _mm512_loadu_si512(NUMBERS.as_ptr().cast()),
            )
        };
        let found = _mm512_maskz_compress_epi8(which, bytes);
        let places = _mm512_maskz_compress_epi8(which, numbers);
        // SAFETY: as above.
        unsafe { _mm512_storeu_si512(kinds.as_mut_ptr().cast(), found) };
        let base = _mm512_set1_epi32(base.cast_signed());
        let mut store = |at: usize, places: __m128i| {
            let places = _mm512_add_epi32(_mm512_cvtepu8_epi32(places), base);
            let (parts, _) = positions.as_chunks_mut::<16>();
            // SAFETY: sixteen numbers of four bytes, which is what is stored, at any alignment.
            unsafe { _mm512_storeu_si512(parts[at].as_mut_ptr().cast(), places) };
        };
        store(0, _mm512_castsi512_si128(places));
        if which.count_ones() > 16 {
            store(1, _mm512_extracti32x4_epi32::<1>(places));
            store(2, _mm512_extracti32x4_epi32::<2>(places));
            store(3, _mm512_extracti32x4_epi32::<3>(places));
        }
    }

    /// 0 to 63.
    const NUMBERS: [u8; 64] = {
        let mut numbers = [0; 64];
        let mut at = 0;
        while at < 64 {
            numbers[at] = at as u8;
            at += 1;
        }
        numbers
    };

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    #[expect(unsafe_code, reason = "loads take a pointer")]
    fn classify(block: &[u8; 64]) -> Masks {
        // SAFETY: the block is 64 bytes, which is what is loaded, at any alignment.
        let bytes = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
        let all = |byte: u8| _mm512_set1_epi8(byte.cast_signed());
        let equal = |byte| _mm512_cmpeq_epi8_mask(bytes, all(byte));
        let found = |table: [u8; 16], like| {
            let value = u128::from_le_bytes(table);
            let (low, high) = (value as u64, (value >> 64) as u64);
            let (low, high) = (low.cast_signed(), high.cast_signed());
            let table = _mm512_set_epi64(high, low, high, low, high, low, high, low);
            _mm512_cmpeq_epi8_mask(_mm512_shuffle_epi8(table, bytes), like)
        };
        Masks {
            quote: equal(b'"'),
            backslash: equal(b'\\'),
            structure: found(STRUCTURE, _mm512_or_si512(bytes, all(0x20))),
            comma: equal(b','),
            space: found(SPACES, bytes),
            control: _mm512_cmplt_epu8_mask(bytes, all(b' ')),
            non_ascii: _mm512_movepi8_mask(bytes),
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::*;

    use super::{Masks, SPACES, STRUCTURE, Scan, Simd, plain};

    #[target_feature(enable = "neon")]
    pub(super) fn scan(bytes: &[u8], whole: bool, scan: &mut Scan) {
        let simd = Simd {
            classify: |block: &_| classify(block),
            prefix_xor: plain::prefix_xor,
            collect: plain::collect,
        };
        scan.run(bytes, whole, &simd);
    }

    #[inline]
    #[target_feature(enable = "neon")]
    #[expect(unsafe_code, reason = "loads take a pointer")]
    fn classify(block: &[u8; 64]) -> Masks {
        let load = |bytes: &[u8; 16]| {
            // SAFETY: the array is 16 bytes, which is what is loaded, at any alignment.
            unsafe { vld1q_u8(bytes.as_ptr()) }
        };
        let (quarters, _) = block.as_chunks::<16>();
        let quarters = [0, 1, 2, 3].map(|at| load(&quarters[at]));
        let spaces = load(&SPACES);
        let structure = load(&STRUCTURE);
        let weights = load(&[1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128]);
        // A bit for each byte that is set: weighted by its place in a byte of the mask, and added up.
        let bits = |quarters: [uint8x16_t; 4]| {
            let [a, b, c, d] = quarters.map(|quarter| vandq_u8(quarter, weights));
            let sums = vpaddq_u8(vpaddq_u8(a, b), vpaddq_u8(c, d));
            vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(sums, sums)))
        };
        let equal = |byte| bits(quarters.map(|quarter| vceqq_u8(quarter, vdupq_n_u8(byte))));
        // Lower halves only: for a byte above them the entry is compared with the whole byte.
        let entry = |table, quarter| vqtbl1q_u8(table, vandq_u8(quarter, vdupq_n_u8(0x0f)));
        Masks {
            quote: equal(b'"'),
            backslash: equal(b'\\'),
            structure: bits(quarters.map(|quarter| {
                vceqq_u8(
                    entry(structure, quarter),
                    vorrq_u8(quarter, vdupq_n_u8(0x20)),
                )
            })),
            comma: equal(b','),
            space: bits(quarters.map(|quarter| vceqq_u8(entry(spaces, quarter), quarter))),
            control: bits(quarters.map(|quarter| vcltq_u8(quarter, vdupq_n_u8(b' ')))),
            non_ascii: bits(quarters.map(|quarter| vcgeq_u8(quarter, vdupq_n_u8(0x80)))),
        }
    }
}
