//! Extraction by reading the event name by name.

use super::plan::Plan;
use super::slots::{Slot, SlotKind, Slots};
use crate::json::Reader;
use crate::record::Unreadable;
use crate::value::Value;

pub(super) fn extract(plan: &Plan, value: &[u8], slots: &mut Slots) -> Result<(), Unreadable> {
    slots.clear(plan.len());
    let mut reader = Reader::new(value)?;
    if reader.peek() != Some(b'{') {
        return Err(Unreadable::NotAnObject);
    }
    take(plan, 0, &mut reader, slots)?;
    reader.end()
}

/// Fills the slots of `node` and below it from the value that comes next.
fn take(
    plan: &Plan,
    node: usize,
    reader: &mut Reader<'_>,
    slots: &mut Slots,
) -> Result<(), Unreadable> {
    let next = reader.peek();
    let start = reader.position();
    let mut set = |slots: &mut Slots, slot: Slot| {
        if let Some(at) = plan.node(node).slot {
            slots.slots[at as usize] = slot;
        }
    };
    let (kind, bits) = match next {
        Some(b'{') => {
            for &child in &plan.node(node).children {
                forget(plan, child as usize, SlotKind::Missing, slots);
            }
            if plan.node(node).children.is_empty() {
                reader.skip()?;
            } else {
                reader.members(|reader, _, key| match plan.child(node, &key) {
                    Some(child) => take(plan, child, reader, slots),
                    None => reader.skip().map(drop),
                })?;
            }
            (SlotKind::Object, 0)
        }
        other => {
            for &child in &plan.node(node).children {
                forget(plan, child as usize, SlotKind::Unreachable, slots);
            }
            if other == Some(b'[') {
                reader.skip()?;
                (SlotKind::List, 0)
            } else {
                let scalar = reader.value(0)?;
                let (start, end) = (start + 1, reader.position() - 1);
                match scalar {
                    Value::Null => (SlotKind::Null, 0),
                    Value::Bool(false) => (SlotKind::False, 0),
                    Value::Bool(true) => (SlotKind::True, 0),
                    Value::Int(number) => (SlotKind::Int, number.cast_unsigned()),
                    Value::Uint(number) => (SlotKind::Uint, number),
                    Value::Double(number) => (SlotKind::Double, number.to_bits()),
                    Value::String(text) => {
                        let escaped = text.len() != end - start;
                        set(
                            slots,
                            Slot {
                                kind: if escaped {
                                    SlotKind::Escaped
                                } else {
                                    SlotKind::String
                                },
                                start: start as u32,
                                end: end as u32,
                                bits: 0,
                            },
                        );
                        if let (true, Some(at)) = (escaped, plan.node(node).slot) {
                            slots.set_unescaped(at as usize, text.as_bytes());
                        }
                        return Ok(());
                    }
                    _ => return Err(Unreadable::NotJson),
                }
            }
        }
    };
    set(
        slots,
        Slot {
            kind,
            start: start as u32,
            end: reader.position() as u32,
            bits,
        },
    );
    Ok(())
}

/// Sets `node` to `kind`, and what is below it to unreachable.
fn forget(plan: &Plan, node: usize, kind: SlotKind, slots: &mut Slots) {
    if let Some(at) = plan.node(node).slot {
        slots.slots[at as usize] = Slot::absent(kind);
    }
    for &child in &plan.node(node).children {
        forget(plan, child as usize, SlotKind::Unreachable, slots);
    }
}
