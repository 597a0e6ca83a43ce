//! Reading given fields out of event after event.

use crate::extract::{Extractor, Plan, SlotKind, Slots, Validation};
use crate::path::FieldPath;
use crate::record::Unreadable;

/// Reads the same fields out of many events, as matching does.
///
/// Keeps what it learns of the events' shapes, at most some 16 MiB, and allocates nothing once it has met
/// them. For one thread.
///
/// ```
/// use clickstream_engine::{Field, FieldPath, FieldReader, Validation};
///
/// let paths = [FieldPath::parse("user.id")?, FieldPath::parse("price")?];
/// let mut reader = FieldReader::new(&paths, Validation::Whole);
/// let event = br#"{"price": 1.50, "user": {"id": "u\u0031"}}"#;
/// reader.read(event).unwrap();
/// assert_eq!(reader.get(0, event), Field::String(b"u1"));
/// assert_eq!(reader.get(1, event), Field::Double(1.5));
/// # Ok::<(), clickstream_engine::FilterError>(())
/// ```
#[derive(Debug)]
pub struct FieldReader {
    plan: Plan,
    /// For each path its slot, as repeated ones share theirs.
    slot_of: Vec<usize>,
    extractor: Extractor,
    slots: Slots,
}

/// What an event has at a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field<'e> {
    /// Nothing, or the path leads through something that is no object.
    Absent,
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// Without fraction and exponent, in the range of `i64`.
    Int(i64),
    /// As an int, above its range.
    Uint(u64),
    /// Any other number; infinite beyond the range.
    Double(f64),
    /// Escapes are read; UTF-8.
    String(&'e [u8]),
    /// As it is spelled; with [`Validation::Inspected`] perhaps not JSON inside.
    List(&'e [u8]),
    /// As it is spelled; with [`Validation::Inspected`] perhaps not JSON inside.
    Object(&'e [u8]),
}

impl FieldReader {
    /// Will read the fields at `paths`.
    #[must_use]
    pub fn new(paths: &[FieldPath], validation: Validation) -> Self {
        let mut distinct: Vec<_> = paths.iter().map(FieldPath::names).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let slot = |path: &FieldPath| distinct.partition_point(|&other| other < path.names());
        Self {
            slot_of: paths.iter().map(slot).collect(),
            plan: Plan::new(distinct.iter().copied()),
            extractor: Extractor::new(validation),
            slots: Slots::default(),
        }
    }

    /// Reads the JSON object `event`. Of repeated names the last counts, at every level.
    ///
    /// # Errors
    /// `event` is not what the [`Validation`] demands; there is nothing to [`get`](Self::get).
    pub fn read(&mut self, event: &[u8]) -> Result<(), Unreadable> {
        self.extractor.extract(&self.plan, event, &mut self.slots)
    }

    /// What was read at the path of this index. `event` is the one that was read.
    ///
    /// # Panics
    /// For an index beyond the paths; before the first event; perhaps for another event.
    #[must_use]
    pub fn get<'e>(&'e self, path: usize, event: &'e [u8]) -> Field<'e> {
        let at = self.slot_of[path];
        let slot = self.slots.get(at);
        match slot.kind {
            SlotKind::Missing | SlotKind::Unreachable => Field::Absent,
            SlotKind::Null => Field::Null,
            SlotKind::False => Field::Bool(false),
            SlotKind::True => Field::Bool(true),
            SlotKind::Int => Field::Int(slot.int()),
            SlotKind::Uint => Field::Uint(slot.uint()),
            SlotKind::Double => Field::Double(slot.double()),
            SlotKind::String | SlotKind::Escaped => Field::String(self.slots.text(at, event)),
            SlotKind::List => Field::List(slot.raw(event)),
            SlotKind::Object => Field::Object(slot.raw(event)),
        }
    }
}
