//! Elements of lists and names of objects.

use super::event::Key;
use crate::compile::VALUE_LIMIT;
use crate::extract::SlotKind;
use crate::json::Reader;
use crate::record::Unreadable;
use crate::value::Value;

/// Calls `visit` for every element of a list, or every name of an object, spelled `raw`; with `None` for an
/// element that equals no constant. `None` if it cannot be read.
///
/// Allocates for texts with escapes only.
pub(super) fn each_element(
    raw: &[u8],
    kind: SlotKind,
    mut visit: impl FnMut(Option<Key<'_>>),
) -> Option<()> {
    let mut reader = Reader::new(raw).ok()?;
    let read = if kind == SlotKind::List {
        reader.elements(|reader| {
            if matches!(reader.peek(), Some(b'{' | b'[')) {
                reader.skip()?;
                visit(None);
                return Ok::<(), Unreadable>(());
            }
            let value = reader.value(0)?;
            visit(match &value {
                Value::Null => Some(Key::Null),
                Value::Bool(false) => Some(Key::False),
                Value::Bool(true) => Some(Key::True),
                Value::String(text) => Some(Key::Text(text.as_bytes())),
                Value::Int(int) => number(*int as f64),
                Value::Uint(uint) => number(*uint as f64),
                Value::Double(double) => number(*double),
                _ => None,
            });
            Ok(())
        })
    } else {
        reader.members(|reader, _, name| {
            visit(Some(Key::Text(name.as_bytes())));
            reader.skip().map(drop)
        })
    };
    read.ok()
}

fn number(double: f64) -> Option<Key<'static>> {
    // The sum makes both zeros one.
    (double.abs() < VALUE_LIMIT).then(|| Key::Number((double + 0.0).to_bits()))
}
