//! Shapes of events: where the wanted fields are in events that look alike.
//!
//! The shape of an event is its *skeleton*, the brackets and colons outside of strings, together with the
//! spelling of the names on the *inspected levels*, which are the objects that a wanted path leads into.
//! Skeleton and spellings decide alone at which colon each wanted field is, and which are absent; repeated
//! names, names with escapes and white space included. So what was found out for one event holds for every
//! event of the same shape: a shape is learnt by walking over the skeleton, and then recognised by comparing.

use super::plan::Plan;
use super::scan::Scan;
use super::slots::SlotKind;
use crate::json;
use crate::limits;

/// A short name of an inspected level, compared as it is spelled, from the byte before its quote up to its
/// colon, together with what is in front of it, which is masked.
#[derive(Clone, Copy, Debug)]
struct Short {
    window: [u8; WINDOW],
    mask: [u8; WINDOW],
    /// Ordinal of its colon in the skeleton.
    colon: u32,
}

/// A name that is longer than a window, or that begins so near the start of the event that there is none.
#[derive(Clone, Copy, Debug)]
struct Long {
    colon: u32,
    /// Bytes of its spelling, which is found in [`Shape::spellings`].
    length: u32,
}

/// Bytes of a spelling that are compared at once.
const WINDOW: usize = 16;

/// A field that is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// `None` for one that only leads to others.
    pub(super) slot: Option<u32>,
    /// Ordinal of its colon.
    pub(super) colon: u32,
    /// Ordinal of the bracket that ends its value, if it is a list or an object; its first one follows the colon.
    pub(super) close: Option<u32>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Shape {
    skeleton: Vec<u8>,
    short: Vec<Short>,
    long: Vec<Long>,
    /// Of all long names, one behind the other.
    spellings: Vec<u8>,
    pub(super) found: Vec<Found>,
    pub(super) absent: Vec<(u32, SlotKind)>,
}

impl Shape {
    /// Whether `value`, whose structure is `scan`, has this shape.
    pub(super) fn is_of(&self, value: &[u8], scan: &Scan) -> bool {
        if *scan.kinds() != *self.skeleton {
            return false;
        }
        let positions = scan.positions();
        let mut different = [0; WINDOW];
        for name in &self.short {
            let colon = positions[name.colon as usize] as usize;
            let Some(window) = value[..colon].last_chunk::<WINDOW>() else {
                return false;
            };
            // Byte by byte, of which the compiler makes one step.
            let name = name.window.iter().zip(&name.mask);
            for ((different, byte), (wanted, mask)) in different.iter_mut().zip(window).zip(name) {
                *different |= (byte ^ wanted) & mask;
            }
        }
        let mut spellings = &self.spellings[..];
        different == [0; WINDOW]
            && self.long.iter().all(|name| {
                let colon = positions[name.colon as usize] as usize;
                let (spelled, rest) = spellings.split_at(name.length as usize);
                spellings = rest;
                value[..colon].ends_with(spelled)
            })
    }

    /// Adds the name in front of the colon of this ordinal and at this place.
    fn push(&mut self, ordinal: usize, colon: usize, spelling: &[u8]) {
        let length = spelling.len();
        let ordinal = ordinal as u32;
        if length > WINDOW || colon < WINDOW {
            self.spellings.extend_from_slice(spelling);
            self.long.push(Long {
                colon: ordinal,
                length: length as u32,
            });
            return;
        }
        let mut window = [0; WINDOW];
        window[WINDOW - length..].copy_from_slice(spelling);
        self.short.push(Short {
            window,
            mask: std::array::from_fn(|at| if at < WINDOW - length { 0 } else { u8::MAX }),
            colon: ordinal,
        });
    }

    /// Bytes that it takes.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>()
            + self.skeleton.capacity()
            + self.short.capacity() * size_of::<Short>()
            + self.long.capacity() * size_of::<Long>()
            + self.spellings.capacity()
            + self.found.capacity() * size_of::<Found>()
            + self.absent.capacity() * size_of::<(u32, SlotKind)>()
    }
}

/// Learns shapes; keeps memory from one to the next.
#[derive(Debug, Default)]
pub(super) struct Learner {
    /// For each opening bracket the ordinal of the one that closes it.
    closes: Vec<u32>,
    /// The colon of the last name that leads to each node of the plan.
    last: Vec<Option<u32>>,
    name: String,
}

/// The event is not JSON.
#[derive(Debug)]
pub(super) struct Malformed;

impl Learner {
    /// Makes `shape` the one of `value`, an event that may be malformed.
    pub(super) fn learn(
        &mut self,
        plan: &Plan,
        value: &[u8],
        scan: &Scan,
        shape: &mut Shape,
    ) -> Result<(), Malformed> {
        shape.skeleton.clear();
        shape.short.clear();
        shape.long.clear();
        shape.spellings.clear();
        shape.found.clear();
        shape.absent.clear();
        self.pair(scan.kinds())?;
        if scan.kinds().first() != Some(&b'{') || self.closes[0] as usize + 1 != self.closes.len() {
            return Err(Malformed);
        }
        self.last.clear();
        self.last.resize(plan.nodes(), None);
        shape.skeleton.extend_from_slice(scan.kinds());
        self.object(plan, 0, 0, value, scan, shape)
    }

    /// Matches the brackets.
    fn pair(&mut self, kinds: &[u8]) -> Result<(), Malformed> {
        self.closes.clear();
        self.closes.resize(kinds.len(), 0);
        let mut open = [0_usize; limits::MAX_EVENT_DEPTH];
        let mut depth = 0;
        for (at, kind) in kinds.iter().enumerate() {
            match kind {
                b'{' | b'[' => {
                    *open.get_mut(depth).ok_or(Malformed)? = at;
                    depth += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1).ok_or(Malformed)?;
                    // In ASCII a closing bracket comes two behind its opening one.
                    if kinds[open[depth]] + 2 != *kind {
                        return Err(Malformed);
                    }
                    self.closes[open[depth]] = at as u32;
                }
                _ => {}
            }
        }
        if depth == 0 { Ok(()) } else { Err(Malformed) }
    }

    /// Learns the object that opens at `open`, which the node leads to.
    fn object(
        &mut self,
        plan: &Plan,
        node: usize,
        open: usize,
        value: &[u8],
        scan: &Scan,
        shape: &mut Shape,
    ) -> Result<(), Malformed> {
        let close = self.closes[open] as usize;
        let mut at = open + 1;
        while at < close {
            if scan.kinds()[at] != b':' {
                return Err(Malformed);
            }
            if let Some(child) = self.name(plan, node, at, value, scan, shape)? {
                self.last[child] = Some(at as u32);
            }
            at += 1;
            if matches!(scan.kinds()[at], b'{' | b'[') {
                at = self.closes[at] as usize + 1;
            }
        }
        for &child in &plan.node(node).children {
            let child = child as usize;
            let Some(colon) = self.last[child] else {
                absent(plan, child, SlotKind::Missing, shape);
                continue;
            };
            let open = colon as usize + 1;
            let kind = scan.kinds()[open];
            let leads_on = !plan.node(child).children.is_empty();
            if leads_on && kind != b'{' {
                for &below in &plan.node(child).children {
                    absent(plan, below as usize, SlotKind::Unreachable, shape);
                }
            }
            let slot = plan.node(child).slot;
            let close = matches!(kind, b'{' | b'[').then(|| self.closes[open]);
            shape.found.push(Found { slot, colon, close });
            if leads_on && kind == b'{' {
                self.object(plan, child, open, value, scan, shape)?;
            }
        }
        Ok(())
    }

    /// Learns the name in front of a colon; the node that it leads to.
    fn name(
        &mut self,
        plan: &Plan,
        node: usize,
        colon: usize,
        value: &[u8],
        scan: &Scan,
        shape: &mut Shape,
    ) -> Result<Option<usize>, Malformed> {
        let end = scan.positions()[colon] as usize;
        let close = scan.quote_before(end).ok_or(Malformed)?;
        let open = scan.quote_before(close).ok_or(Malformed)?;
        // The byte in front is part of the spelling, so that no escaped quote is taken for the first one.
        let spelling = value.get(open.wrapping_sub(1)..end).ok_or(Malformed)?;
        let between = &value[close + 1..end];
        if !between.iter().all(|byte| b" \t\n\r".contains(byte)) {
            return Err(Malformed);
        }
        shape.push(colon, end, spelling);
        let raw = std::str::from_utf8(&value[open + 1..close]).map_err(|_| Malformed)?;
        if !raw.contains('\\') {
            return Ok(plan.child(node, raw));
        }
        self.name.clear();
        json::unescape(raw, &mut self.name).ok_or(Malformed)?;
        Ok(plan.child(node, &self.name))
    }
}

/// Nothing is at `node`, nor below it.
fn absent(plan: &Plan, node: usize, kind: SlotKind, shape: &mut Shape) {
    if let Some(slot) = plan.node(node).slot {
        shape.absent.push((slot, kind));
    }
    for &child in &plan.node(node).children {
        absent(plan, child as usize, SlotKind::Unreachable, shape);
    }
}
