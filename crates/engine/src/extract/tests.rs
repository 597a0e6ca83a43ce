//! Extraction finds what the reader finds, with every scanner, whatever was met before.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::simd::Scanner;
use super::*;
use crate::value::Value;

/// Names that repeat, nest, need escapes, are near in length to a window.
const NAMES: [&str; 12] = [
    "a",
    "b",
    "c",
    "page",
    "\\u0061",
    "\\\\",
    "x\\\"a",
    "ä",
    "exactly_13ch",
    "exactly_14chr",
    "a_name_that_is_longer_than_a_window",
    "b_name_that_is_longer_than_a_window",
];

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => Just(""), 1 => select(vec![" ", "\n  ", "\t", "\r\n"])]
}

fn scalar_text() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
            "null",
            "true",
            "false",
            "0",
            "-0",
            "-0.0",
            "7",
            "-12",
            "1.50",
            "0.1",
            "123456789.123",
            "999999999999999",
            "9999999999999999",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
            "1e3",
            "1E-7",
            "2.2250738585072014e-308",
            "1e400",
            "-1.5e+2",
            "123456789012345.5",
            "0.000000000000001",
            "\"\"",
            "\"a\"",
            "\"a,b:{}[]\"",
            "\"\\\"\"",
            "\"\\\\\"",
            "\"x\\\\\\\"y\"",
            "\"\\u00e4\\ud83d\\ude00\"",
            "\"äöü€😀\"",
            "\"\\n\\t\\/\"",
            "[]",
            "{}",
            "[1,2,[3]]",
            "[{\"a\":1},{\"a\":2}]",
        ])
        .prop_map(str::to_owned),
        "[a-z ]{0,90}".prop_map(|text| format!("\"{text}\"")),
        any::<f64>()
            .prop_filter("JSON has no others", |number| number.is_finite())
            .prop_map(|number| format!("{number:e}")),
        any::<i64>().prop_map(|number| number.to_string()),
        "-?[0-9]{1,20}(\\.[0-9]{1,20})?",
    ]
}

fn object() -> impl Strategy<Value = String> {
    let value = scalar_text().prop_recursive(4, 40, 6, |inner| {
        let inner = inner.boxed();
        prop_oneof![
            4 => members(inner.clone()),
            1 => (prop::collection::vec(inner, 0..4), space())
                .prop_map(|(all, space)| format!("[{space}{}{space}]", all.join(&format!("{space},{space}")))),
        ]
    });
    (space(), members(value.boxed()), space())
        .prop_map(|(before, object, after)| format!("{before}{object}{after}"))
}

fn members(value: BoxedStrategy<String>) -> impl Strategy<Value = String> {
    let member = (select(&NAMES[..]), space(), space(), value, space())
        .prop_map(|(name, a, b, value, c)| format!("\"{name}\"{a}:{b}{value}{c}"));
    (prop::collection::vec(member, 0..7), space())
        .prop_map(|(members, space)| format!("{{{space}{}}}", members.join(&format!(",{space}"))))
}

fn plan_paths() -> impl Strategy<Value = Vec<Vec<Box<str>>>> {
    let names = select(vec![
        "a",
        "b",
        "c",
        "page",
        "\\",
        "x\"a",
        "ä",
        "exactly_13ch",
        "exactly_14chr",
        "a_name_that_is_longer_than_a_window",
        "b_name_that_is_longer_than_a_window",
    ])
    .prop_map(Box::<str>::from);
    prop::collection::btree_set(prop::collection::vec(names, 0..4), 0..12)
        .prop_map(|paths| paths.into_iter().collect())
}

fn plan_of(paths: &[Vec<Box<str>>]) -> Plan {
    Plan::new(paths.iter().map(Vec::as_slice))
}

/// What the reader's `event` has at `path`, as a kind for what is absent.
fn expected(event: &Value<'_>, path: &[Box<str>]) -> Result<String, SlotKind> {
    let mut value = event.clone();
    for (at, name) in path.iter().enumerate() {
        let Value::Map(map) = &value else {
            return Err(SlotKind::Unreachable);
        };
        let Some(found) = map.field(name) else {
            let is_last = at + 1 == path.len();
            return Err(if is_last {
                SlotKind::Missing
            } else {
                SlotKind::Unreachable
            });
        };
        value = found.clone();
    }
    Ok(shown(&value))
}

/// Tells texts apart by content only, and zeros by sign.
fn shown(value: &Value<'_>) -> String {
    match value {
        Value::String(text) => format!("{:?}", &**text),
        Value::List(all) => format!("{:?}", all.iter().map(shown).collect::<Vec<_>>()),
        Value::Map(map) => {
            let entries = map
                .entries()
                .iter()
                .map(|(key, value)| (shown(&key.value()), shown(value)));
            format!("{:?}", entries.collect::<Vec<_>>())
        }
        other => format!("{other:?}"),
    }
}

/// What was found, to compare with another extraction.
fn found(
    extractor: &mut Extractor,
    paths: &[Vec<Box<str>>],
    value: &[u8],
) -> Result<Vec<Result<String, SlotKind>>, Unreadable> {
    let mut slots = Slots::default();
    extractor.extract(&plan_of(paths), value, &mut slots)?;
    Ok(paths
        .iter()
        .enumerate()
        .map(|(at, path)| {
            let slot = slots.get(at);
            if matches!(slot.kind, SlotKind::Missing | SlotKind::Unreachable) {
                return Err(slot.kind);
            }
            if matches!(slot.kind, SlotKind::String | SlotKind::Escaped) {
                let text = std::str::from_utf8(slots.text(at, value)).unwrap();
                return Ok(format!("{text:?}"));
            }
            let read = json::parse_any(slot.raw(value), path.len());
            Ok(read.map_or_else(|error| error.to_string(), |read| same_number(slot, &read)))
        })
        .collect())
}

/// The value as it was read again, whose number has to be the one of the slot.
fn same_number(slot: &Slot, value: &Value<'_>) -> String {
    match (slot.kind, value) {
        (SlotKind::Int, Value::Int(number)) => assert_eq!(slot.int(), *number),
        (SlotKind::Uint, Value::Uint(number)) => assert_eq!(slot.uint(), *number),
        (SlotKind::Double, Value::Double(number)) => {
            assert_eq!(slot.double().to_bits(), number.to_bits());
        }
        (SlotKind::Null, Value::Null)
        | (SlotKind::False, Value::Bool(false))
        | (SlotKind::True, Value::Bool(true))
        | (SlotKind::List, Value::List(_))
        | (SlotKind::Object, Value::Map(_)) => {}
        other => panic!("{other:?}"),
    }
    shown(value)
}

fn extractors(validation: Validation) -> Vec<Extractor> {
    Scanner::each()
        .into_iter()
        .map(|scanner| Extractor {
            scanner,
            ..Extractor::new(validation)
        })
        .collect()
}

/// Runs events through every kind of extractor and compares with the reader.
fn check(paths: &[Vec<Box<str>>], events: &[Vec<u8>]) {
    for validation in [Validation::Inspected, Validation::Whole] {
        for mut extractor in extractors(validation) {
            for event in events {
                let shown = String::from_utf8_lossy(event);
                let got = found(&mut extractor, paths, event);
                match json::parse(event) {
                    Ok(value) => {
                        let expected: Vec<_> =
                            paths.iter().map(|path| expected(&value, path)).collect();
                        assert_eq!(
                            got,
                            Ok(expected),
                            "{shown} {paths:?} {:?}",
                            extractor.scanner
                        );
                    }
                    Err(error) if validation == Validation::Whole => {
                        assert_eq!(got, Err(error), "{shown}");
                    }
                    Err(error) => {
                        let fresh = found(&mut Extractor::new(validation), paths, event);
                        assert_eq!(got, fresh, "{shown} {paths:?} depends on what came before");
                        assert!(got.is_ok() || got == Err(error));
                    }
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn finds_what_the_reader_finds(
        paths in plan_paths(),
        events in prop::collection::vec(object(), 1..6),
    ) {
        let events: Vec<_> = events.into_iter().map(String::into_bytes).collect();
        // Again, so that every shape is recognised as well as learnt.
        check(&paths, &[events.clone(), events].concat());
    }

    #[test]
    fn judges_malformed_events_as_the_reader_does(
        paths in plan_paths(),
        event in object(),
        changes in prop::collection::vec((any::<Index>(), select(&b"\"\\{}[]:,0-.eEtn \n\x0c\x1a\x00\xff\xc3u"[..]), 0..3), 1..4),
    ) {
        let mut changed = event.clone().into_bytes();
        for (at, byte, how) in changes {
            let at = at.index(changed.len().max(1));
            match how {
                0 if !changed.is_empty() => changed[at] = byte,
                1 if !changed.is_empty() => drop(changed.remove(at)),
                _ => changed.insert(at, byte),
            }
        }
        let event = event.into_bytes();
        check(&paths, &[event.clone(), changed.clone(), event, changed]);
    }

    #[test]
    fn scanners_agree(bytes in prop::collection::vec(prop_oneof![any::<u8>(), select(&b"\"\\{}[]:, \n\x0c\x1a"[..])], 0..300)) {
        let mut scans = Scanner::each().into_iter().map(|scanner| {
            let mut scan = Scan::default();
            scanner.scan(&bytes, true, &mut scan);
            format!(
                "{:?} {:?} {:?} {:?} {:?} {} {} {}",
                scan.blocks(),
                scan.kinds(),
                scan.positions(),
                scan.token_kinds(),
                scan.token_positions(),
                scan.non_ascii,
                scan.escapes,
                scan.sound
            )
        });
        let plain = scans.next();
        for other in scans {
            prop_assert_eq!(Some(other), plain.clone());
        }
    }
}

/// Paths in dots.
fn paths(all: &[&str]) -> Vec<Vec<Box<str>>> {
    all.iter()
        .map(|path| path.split('.').map(Box::from).collect())
        .collect()
}

#[test]
fn a_shape_is_not_mistaken_for_one_that_looks_like_it() {
    let paths = paths(&["a", "p.a", "p.b", "q"]);
    let alike: [&[&str]; 5] = [
        // An escaped quote inside of a longer name.
        &[r#"{"zz":0,"a":1,"p":{}}"#, r#"{"zz":0,"x\"a":1,"p":{}}"#],
        // A repeated name in place of one that nobody wants.
        &[r#"{"a":1,"c":2}"#, r#"{"a":1,"a":2}"#, r#"{"c":1,"a":2}"#],
        // The same brackets and colons, nested otherwise.
        &[
            r#"{"p":{"a":1},"b":2}"#,
            r#"{"p":{"b":1},"a":2}"#,
            r#"{"q":{"a":1},"p":2}"#,
        ],
        // The same text at another level.
        &[
            r#"{"p":{"a":1,"b":2}}"#,
            r#"{"p":{"a":1},"b":2}"#,
            r#"{"p":{},"a":1,"b":2}"#,
        ],
        // A repeated parent.
        &[
            r#"{"p":{"a":1},"p":{"b":2}}"#,
            r#"{"p":{"a":1},"q":{"b":2}}"#,
        ],
    ];
    for events in alike {
        let events: Vec<_> = events
            .iter()
            .map(|event| event.as_bytes().to_vec())
            .collect();
        check(&paths, &[events.clone(), events].concat());
    }
}

#[test]
fn more_shapes_than_are_kept_are_found_all_the_same() {
    let wanted = paths(&["n", "deep.n"]);
    let plan = plan_of(&wanted);
    let mut extractor = Extractor::default();
    let mut slots = Slots::default();
    for round in 0..2 {
        for shape in 0..6_000 {
            let event =
                format!(r#"{{"key{shape}":0,"n":{shape},"deep":{{"k{shape}":1,"n":{round}}}}}"#);
            extractor
                .extract(&plan, event.as_bytes(), &mut slots)
                .unwrap();
            assert_eq!((slots.get(0).int(), slots.get(1).int()), (shape, round));
        }
    }
    assert!(extractor.cache.shapes() <= 4_096);
}

#[test]
fn values_in_front_of_short_names_make_no_new_shape() {
    let plan = plan_of(&paths(&["v", "ip"]));
    let mut extractor = Extractor::default();
    for number in 0..100 {
        let event = format!(r#"{{"time":{number},"v":{number},"ip":"{number}","x" : 1}}"#);
        let mut slots = Slots::default();
        extractor
            .extract(&plan, event.as_bytes(), &mut slots)
            .unwrap();
        // The digits in front of a name decide whether it is near the start of the event.
        let other = r#"{"v":1}"#;
        extractor
            .extract(&plan, other.as_bytes(), &mut slots)
            .unwrap();
    }
    assert!(extractor.cache.shapes() <= 3);
}

#[test]
fn a_changed_plan_forgets_what_was_learnt_for_another() {
    let event = br#"{"a":1,"b":2,"p":{"a":3}}"#;
    let mut extractor = Extractor::default();
    let mut slots = Slots::default();
    for (path, expected) in [("a", 1), ("b", 2), ("p.a", 3), ("a", 1)] {
        extractor
            .extract(&plan_of(&paths(&[path])), event, &mut slots)
            .unwrap();
        assert_eq!(slots.get(0).int(), expected);
    }
}
