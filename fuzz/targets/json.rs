//! Fields of events: what the engine reads is what `serde_json` reads, whatever was read before.
//!
//! An input is a plan and two texts; the second is read after the first by the same reader, so that what was
//! learnt of one is tried on the other. Half of the inputs are texts as they are, half instructions to make some.

#![no_main]

use clickstream_engine::{Field, FieldPath, FieldReader, Unreadable, Validation};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const PATHS: [&str; 16] = [
    "a",
    "b",
    "c",
    "a.a",
    "a.b",
    "a.c",
    "b.a",
    "b.b.b",
    "a.b.c",
    "`\"`",
    "`\\`.a",
    "ä",
    "longer_than_a_window",
    "longer_than_a_window.a",
    "fourteen_bytes",
    "c.c.c.c",
];

const NAMES: [&str; 12] = [
    "a",
    "b",
    "c",
    "\\u0061",
    "\\\"",
    "\\\\",
    "x\\\"a",
    "ä",
    "longer_than_a_window",
    "fourteen_bytes",
    "",
    "a:b",
];

const SCALARS: [&str; 24] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-0.0",
    "1",
    "-12",
    "1.50",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "-9223372036854775809",
    "1e3",
    "1E-7",
    "123456789.125",
    "1e400",
    "\"\"",
    "\"a\"",
    "\"\\\\\"",
    "\"\\u00e4\\ud83d\\ude00\"",
    "\"ä€😀\"",
    "\"{\\\":,}\"",
    "\"a longer text, so that blocks of 64 bytes are left behind\"",
];

/// Makes JSON as the bytes say; ends when they do.
struct Maker<'d> {
    data: &'d [u8],
    text: String,
}

impl Maker<'_> {
    fn next(&mut self) -> usize {
        match self.data {
            [first, rest @ ..] => {
                self.data = rest;
                usize::from(*first)
            }
            [] => 0,
        }
    }

    fn space(&mut self, instruction: usize) {
        self.text.push_str(match instruction >> 4 {
            1 => " ",
            2 => "\n\t",
            3 => "\r",
            _ => "",
        });
    }

    fn object(&mut self, depth: usize) {
        self.text.push('{');
        for member in 0..self.next() % 8 {
            self.text.push_str(if member > 0 { "," } else { "" });
            let instruction = self.next();
            self.space(instruction);
            self.text.push('"');
            self.text.push_str(NAMES[instruction % NAMES.len()]);
            self.text.push('"');
            self.space(instruction >> 1);
            self.text.push(':');
            self.space(instruction >> 2);
            self.value(depth);
        }
        self.text.push('}');
    }

    fn value(&mut self, depth: usize) {
        let instruction = self.next();
        match instruction % 8 {
            0..3 if depth < 8 => self.object(depth + 1),
            3 if depth < 8 => {
                self.text.push('[');
                for element in 0..self.next() % 4 {
                    self.text.push_str(if element > 0 { "," } else { "" });
                    self.value(depth + 1);
                }
                self.text.push(']');
            }
            _ => self
                .text
                .push_str(SCALARS[(instruction >> 3) % SCALARS.len()]),
        }
        self.space(instruction >> 1);
    }
}

fn make(data: &[u8]) -> Vec<u8> {
    let mut maker = Maker {
        data,
        text: String::new(),
    };
    maker.object(0);
    maker.text.into_bytes()
}

/// Whether the field is what `serde_json` has there.
fn is_same(field: Field<'_>, value: Option<&Value>) -> bool {
    match (field, value) {
        (Field::Absent, None) | (Field::Null, Some(Value::Null)) => true,
        (Field::Bool(field), Some(Value::Bool(value))) => field == *value,
        (Field::Int(field), Some(Value::Number(value))) => {
            // `-0` is a double there.
            value.as_i64() == Some(field) || (field == 0 && value.as_f64() == Some(-0.0))
        }
        (Field::Uint(field), Some(Value::Number(value))) => {
            i64::try_from(field).is_err() && value.as_u64() == Some(field)
        }
        (Field::Double(field), Some(Value::Number(value))) => {
            value.is_f64() && value.as_f64().map(f64::to_bits) == Some(field.to_bits())
        }
        (Field::String(field), Some(Value::String(value))) => field == value.as_bytes(),
        (Field::List(field), Some(value @ Value::Array(_)))
        | (Field::Object(field), Some(value @ Value::Object(_))) => {
            serde_json::from_slice::<Value>(field).is_ok_and(|field| field == *value)
        }
        _ => false,
    }
}

/// Holds what the readers make of `event` to `serde_json`.
fn check(paths: &[FieldPath], readers: &mut [(Validation, FieldReader)], event: &[u8]) {
    let text = std::str::from_utf8(event);
    let expected = text.map(serde_json::from_str::<Value>);
    for (validation, reader) in readers {
        let read = reader.read(event);
        match &expected {
            Ok(Ok(value @ Value::Object(_))) if read != Err(Unreadable::TooDeep) => {
                assert_eq!(read, Ok(()));
                for (index, path) in paths.iter().enumerate() {
                    let field = reader.get(index, event);
                    assert!(is_same(field, path.get(value)), "{path}: {field:?}");
                }
            }
            // Beyond the range of doubles the engine goes on, to infinity.
            Ok(Err(error)) if error.to_string().starts_with("number out of range") => {}
            Ok(Ok(Value::Object(_))) => assert_eq!(read, Err(Unreadable::TooDeep)),
            Err(_) if *validation == Validation::Whole => {
                assert_eq!(read, Err(Unreadable::InvalidUtf8));
            }
            _ if *validation == Validation::Whole => assert!(read.is_err()),
            _ => {
                // Not all is validated, but what was learnt before changes nothing.
                let mut fresh = FieldReader::new(paths, Validation::Inspected);
                assert_eq!(read, fresh.read(event));
                for index in 0..paths.len() {
                    if read.is_ok() {
                        let (here, there) = (reader.get(index, event), fresh.get(index, event));
                        assert_eq!(format!("{here:?}"), format!("{there:?}"));
                    }
                }
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let [how, wanted, more, split, texts @ ..] = data else {
        return;
    };
    let wanted = u16::from_le_bytes([*wanted, *more]);
    let paths: Vec<_> = (0..PATHS.len())
        .filter(|path| wanted >> path & 1 == 1)
        .map(|path| FieldPath::parse(PATHS[path]).expect("a path"))
        .collect();
    let mut readers = [Validation::Inspected, Validation::Whole]
        .map(|validation| (validation, FieldReader::new(&paths, validation)));
    let at = texts.len() * usize::from(*split) / 255;
    let (first, second) = texts.split_at(at);
    if how % 2 == 0 {
        check(&paths, &mut readers, first);
        check(&paths, &mut readers, second);
    } else {
        let first = make(first);
        check(&paths, &mut readers, &first);
        // The same again with one byte changed: near to a shape that is known.
        let mut changed = first;
        if let [at, with, ..] = second {
            let at = usize::from(*at) * changed.len() / 256;
            if let Some(byte) = changed.get_mut(at) {
                *byte = *with;
            }
        }
        check(&paths, &mut readers, &changed);
        check(&paths, &mut readers, &make(second));
    }
});
