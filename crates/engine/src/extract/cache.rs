//! The shapes that one thread has met.

use super::plan::Plan;
use super::scan::Scan;
use super::shape::{Learner, Malformed, Shape};

const SETS: usize = 512;
const WAYS: usize = 8;

/// Brackets and colons of a shape that is kept; longer ones, such as long lists of objects, seldom return.
const MAX_SKELETON: usize = 2_048;

/// Bytes of all shapes, beyond which all are forgotten.
const MAX_BYTES: usize = 16 << 20;

/// At most [`SETS`] times [`WAYS`] shapes, each in the set that its hash names; the one of the set that was
/// longest out of use gives way.
#[derive(Debug)]
pub(super) struct Cache {
    /// What the shapes are for.
    plan: Option<Plan>,
    sets: Vec<Vec<Entry>>,
    /// Set and way of the last event's shape, which most often is that of the next.
    last: (usize, usize),
    bytes: usize,
    clock: u64,
    learner: Learner,
    learnt: Shape,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    used: u64,
    shape: Shape,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            plan: None,
            sets: (0..SETS).map(|_| Vec::new()).collect(),
            last: (0, 0),
            bytes: 0,
            clock: 0,
            learner: Learner::default(),
            learnt: Shape::default(),
        }
    }
}

impl Cache {
    /// The shape of `value`, whose structure is `scan`.
    pub(super) fn shape(
        &mut self,
        plan: &Plan,
        value: &[u8],
        scan: &Scan,
    ) -> Result<&Shape, Malformed> {
        self.keep_to(plan);
        let (set, way) = self.last;
        let is_last = self.sets[set]
            .get(way)
            .is_some_and(|entry| entry.shape.is_of(value, scan));
        if !is_last {
            let hash = hash(value, scan);
            match self.find(hash, value, scan) {
                Some(at) => self.last = at,
                None => {
                    self.learner.learn(plan, value, scan, &mut self.learnt)?;
                    if scan.kinds().len() > MAX_SKELETON {
                        return Ok(&self.learnt);
                    }
                    self.last = self.place(hash);
                }
            }
        }
        let (set, way) = self.last;
        self.clock += 1;
        let entry = &mut self.sets[set][way];
        entry.used = self.clock;
        Ok(&entry.shape)
    }

    #[cfg(test)]
    pub(super) fn shapes(&self) -> usize {
        self.sets.iter().map(Vec::len).sum()
    }

    /// Forgets what was learnt for another plan.
    fn keep_to(&mut self, plan: &Plan) {
        match &self.plan {
            Some(known) if known.is(plan) => return,
            Some(known) if known.is_like(plan) => {}
            _ => self.clear(),
        }
        self.plan = Some(plan.clone());
    }

    fn clear(&mut self) {
        self.sets.iter_mut().for_each(Vec::clear);
        self.bytes = 0;
    }

    fn find(&self, hash: u64, value: &[u8], scan: &Scan) -> Option<(usize, usize)> {
        let set = set_of(hash);
        let way = self.sets[set]
            .iter()
            .position(|entry| entry.hash == hash && entry.shape.is_of(value, scan))?;
        Some((set, way))
    }

    /// Puts what was learnt into its set; where.
    fn place(&mut self, hash: u64) -> (usize, usize) {
        if self.bytes > MAX_BYTES {
            self.clear();
        }
        let index = set_of(hash);
        let set = &mut self.sets[index];
        let oldest = set.iter().enumerate().min_by_key(|(_, entry)| entry.used);
        let way = match oldest {
            Some((way, _)) if set.len() == WAYS => way,
            _ => {
                let shape = Shape::default();
                self.bytes += shape.size();
                set.push(Entry {
                    hash,
                    used: 0,
                    shape,
                });
                set.len() - 1
            }
        };
        let entry = &mut set[way];
        self.bytes -= entry.shape.size();
        std::mem::swap(&mut entry.shape, &mut self.learnt);
        self.bytes += entry.shape.size();
        entry.hash = hash;
        (index, way)
    }
}

fn set_of(hash: u64) -> usize {
    (hash >> 32) as usize % SETS
}

/// Of the skeleton, and of the outermost names as they are spelled. Names further in are left out: which of
/// them are inspected is known only when the shape is.
fn hash(value: &[u8], scan: &Scan) -> u64 {
    let mut hash = 0_u64;
    let mut mix = |word: u64| {
        let product = u128::from(hash ^ word) * 0x9e37_79b9_7f4a_7c15;
        hash = (product >> 64) as u64 ^ product as u64;
    };
    let (words, rest) = scan.kinds().as_chunks::<8>();
    words.iter().for_each(|word| mix(u64::from_le_bytes(*word)));
    rest.iter().for_each(|&byte| mix(u64::from(byte)));
    let mut depth = 0_u32;
    for (&kind, &at) in scan.kinds().iter().zip(scan.positions()) {
        match kind {
            b'{' | b'[' => depth += 1,
            b':' if depth == 1 => {
                if let Some(end) = value[..at as usize].last_chunk::<8>() {
                    mix(name_end(u64::from_le_bytes(*end)));
                }
            }
            b':' => {}
            _ => depth = depth.saturating_sub(1),
        }
    }
    hash
}

/// What of the eight bytes in front of a colon is the name: without those in front of its first quote, which
/// are not of the shape.
fn name_end(bytes: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const LAST: u64 = 0x00ff_ffff_ffff_ffff;
    let unlike = bytes ^ (ONES * b'"' as u64);
    // The high bit of each byte that is a quote; sometimes of one behind a quote, which does no harm to a hash.
    let quotes = unlike.wrapping_sub(ONES) & !unlike & ONES << 7 & LAST;
    let in_front = 64 - quotes.leading_zeros();
    bytes >> in_front
}
