//! Properties of every filter: the engine agrees with crate `cel`, canonical text is stable and means the
//! same, and no text or record whatsoever makes anything panic.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use clickstream_engine::{
    ExplainedResult, Filter, FilterSet, Mask, Outcome, Projection, Record, Scratch, explain,
    reference,
};
use proptest::prelude::*;

/// One field of an event, small enough to meet the same ones often.
fn field() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "a",
        "b",
        "c",
        "d",
        "deep.x",
        "deep.y",
        "list",
        "absent",
        "deep.absent",
    ])
    .prop_map(|name| format!("event.{name}"))
}

fn constant() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "0",
        "1",
        "-1",
        "2",
        "3u",
        "0u",
        "1.0",
        "-0.0",
        "1.5",
        "1e300",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615u",
        "9223372036854775808.0",
        "9007199254740993",
        "\"\"",
        "\"a\"",
        "'ab'",
        "r'\\d'",
        "\"ä€\"",
        "\"2026-01-31T12:00:00Z\"",
        "\"1h30m\"",
        "\"7\"",
        "b\"a\"",
        "b\"\\xff\"",
        "true",
        "false",
        "null",
        "[]",
        "[1, 2]",
        "[1.0, 'a']",
        "{}",
        "{'a': 1, 'x': 'a'}",
        "{1: 2, true: 3}",
        "int",
        "string",
        "timestamp(\"2026-01-31T12:00:00.5Z\")",
        "duration(\"-1.5s\")",
        "duration('0')",
        "google.protobuf.Duration",
        "record.topic",
        "record.partition",
        "record.offset",
        "record.timestamp",
        "record.key",
        "record.headers",
        "record.headers.h",
        "event",
        "event.deep",
    ])
    .prop_map(str::to_owned)
}

/// An expression over the variable `x` too, if one is in scope.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![3 => field(), 3 => constant(), 1 => Just("x".to_owned())];
    let any = leaf.prop_recursive(5, 40, 4, |inner| {
        // Most kinds would be refused together; of unknown kind they are evaluated.
        let inner = prop_oneof![
            1 => inner.clone(),
            2 => inner.prop_map(|expression| format!("dyn({expression})")),
        ];
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            4 => (two.clone(), prop::sample::select(vec![
                "==", "!=", "<", "<=", ">", ">=", "in", "+", "-", "*", "/", "%", "&&", "||", "&&", "||", "==",
            ])).prop_map(|((a, b), op)| format!("({a} {op} {b})")),
            2 => prop::collection::vec(inner.clone(), 2..5).prop_map(|all| format!("({})", all.join(" && "))),
            2 => prop::collection::vec(inner.clone(), 2..5).prop_map(|all| format!("({})", all.join(" || "))),
            1 => inner.clone().prop_map(|a| format!("!({a})")),
            1 => inner.clone().prop_map(|a| format!("-({a})")),
            1 => (two.clone(), inner.clone()).prop_map(|((a, b), c)| format!("({a} ? {b} : {c})")),
            1 => two.clone().prop_map(|(a, b)| format!("({a})[{b}]")),
            1 => two.clone().prop_map(|(a, b)| format!("[{a}, {b}]")),
            1 => two.clone().prop_map(|(a, b)| format!("{{'a': {a}, {b}: 1}}")),
            1 => field().prop_map(|a| format!("has({a})")),
            1 => inner.clone().prop_map(|a| format!("has(({a}).x)")),
            1 => inner.clone().prop_map(|a| format!("({a}).x")),
            2 => (two.clone(), prop::sample::select(vec!["contains", "startsWith", "endsWith", "matches"]))
                .prop_map(|((a, b), f)| format!("({a}).{f}({b})")),
            2 => (inner.clone(), prop::sample::select(vec![
                "size", "int", "uint", "double", "string", "bytes", "bool", "timestamp", "duration", "type", "dyn",
            ])).prop_map(|(a, f)| format!("{f}({a})")),
            1 => (inner.clone(), prop::sample::select(vec![
                "getHours", "getMinutes", "getSeconds", "getMilliseconds", "getDayOfWeek", "getFullYear",
                "getMonth", "getDate", "getDayOfMonth", "getDayOfYear",
            ])).prop_map(|(a, f)| format!("({a}).{f}()")),
            2 => (two.clone(), prop::sample::select(vec!["all", "exists", "exists_one", "filter", "map"]))
                .prop_map(|((a, b), f)| format!("({a}).{f}(x, {b})")),
            1 => (two, inner).prop_map(|((a, b), c)| format!("({a}).map(x, {b}, {c})")),
        ]
    });
    prop_oneof![any, clauses()]
}

/// What people write: clauses over one field each, joined.
fn clauses() -> impl Strategy<Value = String> {
    let scalar = prop::sample::select(vec![
        "0",
        "1",
        "2u",
        "1.5",
        "-1",
        "\"a\"",
        "\"ab\"",
        "\"\"",
        "true",
        "null",
        "9007199254740993",
    ]);
    let text = prop::sample::select(vec![
        "\"a\"",
        "\"b\"",
        "\"\"",
        "'ä'",
        "r'^a'",
        "r'\\w$'",
        "'^(a|ab)$'",
        "'^b|[aä]$'",
    ]);
    let clause = prop_oneof![
        (
            field(),
            prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]),
            scalar.clone()
        )
            .prop_map(|(field, operator, scalar)| format!("{field} {operator} {scalar}")),
        (scalar.clone(), field()).prop_map(|(scalar, field)| format!("{scalar} == {field}")),
        (field(), prop::collection::vec(scalar.clone(), 0..4))
            .prop_map(|(field, all)| format!("{field} in [{}]", all.join(", "))),
        scalar
            .clone()
            .prop_map(|scalar| format!("{scalar} in event.list")),
        (
            field(),
            prop::sample::select(vec!["startsWith", "endsWith", "contains", "matches"]),
            text
        )
            .prop_map(|(field, function, text)| format!("{field}.{function}({text})")),
        field().prop_map(|field| format!("has({field})")),
        field().prop_map(|field| format!("size({field}) > 1")),
        field(),
        (field(), scalar.clone())
            .prop_map(|(field, scalar)| format!("{field}.exists(x, x == {scalar})")),
        (field(), scalar)
            .prop_map(|(field, scalar)| format!("{field}.all(x, x != {scalar} && x != 2)")),
    ];
    clause.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 2..5).prop_map(|all| format!("({})", all.join(" && "))),
            3 => prop::collection::vec(inner.clone(), 2..5).prop_map(|all| format!("({})", all.join(" || "))),
            2 => inner.clone().prop_map(|a| format!("!({a})")),
            1 => (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
        ]
    })
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "0",
        "1",
        "-1",
        "-0",
        "2",
        "1.0",
        "1.5",
        "-0.0",
        "1e2",
        "1E400",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "9007199254740993",
        "\"\"",
        "\"a\"",
        "\"ab\"",
        "\"\\u0061\"",
        "\"ä€\"",
        "\"\\ud83d\\ude00\"",
        "\"2026-01-31T12:00:00Z\"",
        "\"1h30m\"",
        "\"7\"",
        "true",
        "false",
        "null",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3)
                .prop_map(|all| format!("[{}]", all.join(", "))),
            (inner.clone(), inner)
                .prop_map(|(x, y)| format!("{{\"x\": {x}, \"a\": {y}, \"x\": {x}}}")),
        ]
    })
}

fn event() -> impl Strategy<Value = String> {
    prop::collection::vec(value(), 6).prop_map(|v| {
        format!(
            r#"{{"a": {}, "b": {}, "c": {}, "deep": {{"x": {}, "y": {}}}, "list": [{}, 1, "a"]}}"#,
            v[0], v[1], v[2], v[3], v[4], v[5]
        )
    })
}

fn record<'a>(event: &'a str, headers: &'a [(&'a str, &'a [u8])]) -> Record<'a> {
    Record {
        topic: "ab",
        partition: 1,
        offset: 2,
        timestamp_ms: 1_769_860_800_500,
        key: Some(b"\xff"),
        headers,
        value: event.as_bytes(),
    }
}

const HEADERS: &[(&str, &[u8])] = &[("h", b"a"), ("i", b"\xff")];

/// The result by the engine, and by the reference.
fn results(filter: &Filter, event: &str) -> (ExplainedResult, Outcome) {
    let record = record(event, HEADERS);
    (
        explain(filter, &record).unwrap().result,
        reference::matches(filter, &record).unwrap(),
    )
}

fn matched(filter: &Filter, event: &str) -> bool {
    let mut set = FilterSet::new();
    set.insert(7, filter.clone());
    let mut keys = Vec::new();
    set.matching(&record(event, HEADERS), &mut Scratch::default(), &mut keys)
        .unwrap();
    keys == [7]
}

/// `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let default = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    ProptestConfig {
        cases: default.cases.max(5_000),
        ..default
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn engine_and_reference_agree(text in expression(), event in event()) {
        let Ok(filter) = Filter::parse(&text) else { return Ok(()) };
        let (engine, reference) = results(&filter, &event);

        let same = matches!(
            (engine, &reference),
            (ExplainedResult::Match, Outcome::Match)
                | (ExplainedResult::NoMatch, Outcome::NoMatch)
                | (ExplainedResult::Error, Outcome::Error(_))
        );
        prop_assert!(same, "{filter}\n{event}\nengine: {engine:?}, reference: {reference:?}");
        prop_assert_eq!(matched(&filter, &event), engine == ExplainedResult::Match);
    }

    #[test]
    fn canonical_text_is_stable_and_means_the_same(text in expression(), event in event()) {
        let Ok(filter) = Filter::parse(&text) else { return Ok(()) };
        let again = Filter::parse(filter.canonical()).unwrap();
        prop_assert_eq!(again.canonical(), filter.canonical(), "{}", text);
        prop_assert_eq!(again.class(), filter.class());
        prop_assert_eq!(matched(&again, &event), matched(&filter, &event), "{} {}", text, event);
    }

    #[test]
    fn order_and_nesting_of_operands_do_not_matter(
        operands in prop::collection::vec(expression(), 3),
        operator in prop::sample::select(vec!["&&", "||"]),
        event in event(),
    ) {
        let [a, b, c] = operands.as_slice() else { return Ok(()) };
        let parse = |text: String| Filter::parse(&text).ok();
        let all = [
            parse(format!("({a}) {operator} ({b}) {operator} ({c})")),
            parse(format!("({c}) {operator} (({a}) {operator} ({b}))")),
            parse(format!("( ({b}) {operator} ({c}) )\n {operator} ({a}) {operator} ({b})")),
        ];
        let [Some(first), Some(second), Some(third)] = &all else { return Ok(()) };
        prop_assert_eq!(first, second);
        prop_assert_eq!(first, third);
        // Texts that are equal are evaluated as they were written by the reference.
        prop_assert_eq!(results(first, &event).0, results(second, &event).0);
    }

    #[test]
    fn arbitrary_text_is_parsed_or_refused(text in any::<String>()) {
        refused_well(&text)?;
    }

    #[test]
    fn mangled_filters_are_parsed_or_refused(text in expression(), at in any::<prop::sample::Index>(), with in "[-!()\\[\\]{}.,:?&|=<>'\"`\\\\a0 é]{0,3}") {
        let mut text = text;
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        text.insert_str(places[at.index(places.len())], &with);
        refused_well(&text)?;
    }

    #[test]
    fn filters_are_what_crate_cel_parses(text in expression(), at in any::<prop::sample::Index>(), with in "[-!()\\[\\]{}.,:?&|=<>'\"`a0u1ebrx \n/]{0,3}") {
        let mut text = text;
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        text.insert_str(places[at.index(places.len())], &with);
        let theirs = std::panic::catch_unwind(|| {
            cel::parser::Parser::default().enable_ident_escape_syntax(true).parse(&text).map_err(|e| e.to_string()).map(drop)
        });
        match (Filter::parse(&text), theirs) {
            (Ok(filter), Ok(Err(error))) => prop_assert!(false, "{filter}: {error}"),
            (Ok(filter), Err(_)) => prop_assert!(false, "{filter}: panic"),
            (Err(error), Ok(Ok(_))) if error.category() == "syntax" => {
                // To the crate a macro with other arguments is a function nobody declared, and messages parse.
                let ours = ["wants a name", "is written", "asks for one field", "messages cannot"];
                let known = ours.iter().any(|part| error.message.contains(part));
                prop_assert!(known, "{error}\n{}", error.caret());
            }
            _ => {}
        }
    }

    #[test]
    fn arbitrary_records_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let filter = Filter::parse("event.a == 1").unwrap();
        let record = Record::of_value(&bytes);
        let ours = explain(&filter, &record).is_ok();
        let theirs = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&bytes).is_ok();
        prop_assert_eq!(ours, theirs);
        let _ = Projection::parse("a,b.c").unwrap().apply(&bytes);
        let _ = Mask::parse(&["a", "b.c"]).unwrap().apply(&bytes);
    }

    #[test]
    fn mangled_json_is_read_as_serde_json_reads_it(
        event in event(),
        at in any::<prop::sample::Index>(),
        with in "[-+.,:0-9eE\\[\\]{}\"\\\\untrf \n]{0,3}",
    ) {
        let mut event = event;
        let places: Vec<usize> = event.char_indices().map(|(at, _)| at).collect();
        event.insert_str(places[at.index(places.len())], &with);
        let ours = explain(&Filter::parse("true").unwrap(), &Record::of_value(event.as_bytes())).is_ok();
        let theirs = match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&event) {
            Ok(_) => true,
            // We read it as infinite.
            Err(error) if error.to_string().starts_with("number out of range") => return Ok(()),
            Err(_) => false,
        };
        prop_assert_eq!(ours, theirs, "{}", event);
    }

    #[test]
    fn what_is_projected_and_what_is_masked_make_the_whole(event in event()) {
        let event = event.replace("1E400", "1e40");
        let read = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
        let mut kept = read(&Projection::parse("a, deep.x").unwrap().apply(event.as_bytes()).unwrap());
        let rest = read(&Mask::parse(&["a", "deep.x"]).unwrap().apply(event.as_bytes()).unwrap());
        prop_assert!(rest.get("a").is_none() && rest["deep"].get("x").is_none());
        for (name, value) in rest.as_object().unwrap() {
            match (name.as_str(), kept.get_mut(name)) {
                ("deep", Some(deep)) => { deep["y"] = value["y"].clone(); }
                _ => { kept[name] = value.clone(); }
            }
        }
        prop_assert_eq!(kept, read(event.as_bytes()));
    }
}

/// Whatever is refused is refused with a mark inside of the text.
fn refused_well(text: &str) -> Result<(), TestCaseError> {
    match Filter::parse(text) {
        Ok(filter) => prop_assert!(Filter::parse(filter.canonical()).is_ok(), "{}", filter),
        Err(error) => {
            prop_assert!(
                text.get(error.offset..error.offset + error.length)
                    .is_some(),
                "{:?}",
                error
            );
            prop_assert_eq!(error.caret().lines().count(), 2, "{}", error.caret());
            prop_assert!(!error.message.is_empty() && !error.category().is_empty());
        }
    }
    Ok(())
}
