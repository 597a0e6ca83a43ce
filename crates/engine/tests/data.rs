//! The meaning of filters, paths and projections, as written down in `testdata/`.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use clickstream_engine::{
    ExplainedResult, FieldPath, Filter, FilterError, FilterSet, Mask, Outcome, Projection, Record,
    Scratch, Unreadable, explain, limits, reference,
};
use serde::Deserialize;

fn read<'t, T: Deserialize<'t>>(text: &'t str) -> T {
    toml::from_str(text).unwrap()
}

#[derive(Deserialize)]
struct Meaning {
    group: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    about: String,
    event: String,
    #[serde(default)]
    record: Origin,
    #[serde(default, rename = "match")]
    matching: Vec<String>,
    #[serde(default, rename = "noMatch")]
    not_matching: Vec<String>,
    #[serde(default)]
    error: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Origin {
    topic: String,
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

/// Holds `filter` against `record` in every way there is.
fn check(filter: &str, record: &Record<'_>, expected: ExplainedResult) -> Result<(), String> {
    let parsed =
        Filter::parse(filter).map_err(|error| format!("{filter}: {error}\n{}", error.caret()))?;
    let wrong = |how: &str, got: &dyn std::fmt::Debug| {
        Err(format!("{filter}: {how} says {got:?}, not {expected:?}"))
    };

    let mut set = FilterSet::new();
    set.insert(3, parsed.clone());
    let mut keys = Vec::new();
    set.matching(record, &mut Scratch::default(), &mut keys)
        .map_err(|error| error.to_string())?;
    if (keys == [3]) != (expected == ExplainedResult::Match) {
        return wrong("FilterSet", &keys);
    }
    let mut plainly = Vec::new();
    set.matching_one_by_one(record, &mut plainly).unwrap();
    if plainly != keys {
        return wrong("FilterSet one by one", &plainly);
    }
    let explained = explain(&parsed, record).unwrap();
    if explained.result != expected {
        return wrong("explain", &explained);
    }
    match (reference::matches(&parsed, record).unwrap(), expected) {
        (Outcome::Match, ExplainedResult::Match)
        | (Outcome::NoMatch, ExplainedResult::NoMatch)
        | (Outcome::Error(_), ExplainedResult::Error) => {}
        (outcome, _) => return wrong("the reference", &outcome),
    }
    let again = Filter::parse(parsed.canonical()).map_err(|error| format!("{parsed}: {error}"))?;
    if again != parsed {
        return Err(format!("{parsed}: again {again}"));
    }
    Ok(())
}

#[test]
fn filters_mean_what_is_written_down() {
    let meaning: Meaning = read(include_str!("../testdata/meaning.toml"));
    let mut failures = Vec::new();
    for group in &meaning.group {
        let headers: Vec<(&str, &[u8])> = group
            .record
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        let record = Record {
            topic: &group.record.topic,
            partition: group.record.partition,
            offset: group.record.offset,
            timestamp_ms: group.record.timestamp_ms,
            key: group.record.key.as_deref(),
            headers: &headers,
            value: group.event.as_bytes(),
        };
        for (filters, expected) in [
            (&group.matching, ExplainedResult::Match),
            (&group.not_matching, ExplainedResult::NoMatch),
            (&group.error, ExplainedResult::Error),
        ] {
            for filter in filters {
                failures.extend(
                    check(filter, &record, expected)
                        .err()
                        .map(|why| format!("{}: {why}", group.about)),
                );
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[derive(Deserialize)]
struct Cases<T> {
    case: Vec<T>,
}

#[derive(Deserialize)]
struct Refused {
    filter: String,
    kind: String,
    message: String,
    caret: String,
    suggestion: Option<String>,
}

#[test]
fn mistakes_are_shown_at_their_place() {
    let cases: Cases<Refused> = read(include_str!("../testdata/refused.toml"));
    let mut failures = Vec::new();
    for case in &cases.case {
        match Filter::parse(&case.filter) {
            Ok(filter) => failures.push(format!("{filter}: not refused")),
            Err(error) => {
                let suggestion_fits =
                    case.suggestion.is_none() || case.suggestion == error.suggestion;
                let same = error.category() == case.kind
                    && error.message == case.message
                    && error.caret() == case.caret
                    && suggestion_fits;
                if !same {
                    failures.push(format!("{}\n{}\n{error:?}", case.filter, error.caret()));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[derive(Deserialize)]
struct Canonical {
    canonical: String,
    same: Vec<String>,
}

#[test]
fn equal_filters_share_one_text() {
    let cases: Cases<Canonical> = read(include_str!("../testdata/canonical.toml"));
    for case in &cases.case {
        for text in case.same.iter().chain([&case.canonical]) {
            let filter = Filter::parse(text)
                .unwrap_or_else(|error| panic!("{text}: {error}\n{}", error.caret()));
            assert_eq!(filter.canonical(), case.canonical, "{text}");
        }
    }
    let all: std::collections::BTreeSet<&str> = cases
        .case
        .iter()
        .map(|case| case.canonical.as_str())
        .collect();
    assert_eq!(all.len(), cases.case.len());
}

#[derive(Deserialize)]
struct Classed {
    class: String,
    reason: String,
    filters: Vec<String>,
}

#[test]
fn classes_are_given_with_their_reason() {
    let cases: Cases<Classed> = read(include_str!("../testdata/class.toml"));
    for case in &cases.case {
        for text in &case.filters {
            let filter = Filter::parse(text).unwrap();
            let (class, reason) = filter.class();
            assert_eq!(
                (class.to_string(), reason),
                (case.class.clone(), case.reason.as_str()),
                "{text}"
            );
        }
    }
}

#[derive(Deserialize)]
struct ExplainedCase {
    filter: String,
    event: String,
    result: String,
    decided: String,
    offset: usize,
    length: usize,
    reason: String,
}

#[test]
fn the_clause_that_decided_is_named() {
    let cases: Cases<ExplainedCase> = read(include_str!("../testdata/explain.toml"));
    for case in &cases.case {
        let filter = Filter::parse(&case.filter).unwrap();
        let explanation = explain(&filter, &Record::of_value(case.event.as_bytes())).unwrap();
        let json = serde_json::to_value(&explanation).unwrap();
        assert_eq!(json["result"], case.result, "{}", case.filter);
        assert_eq!(json["decided"]["reason"], case.reason, "{}", case.filter);
        assert_eq!(json["decided"]["text"], case.decided, "{}", case.filter);
        assert_eq!(
            (explanation.decided.offset, explanation.decided.length),
            (case.offset, case.length),
            "{}",
            case.filter
        );
    }
}

#[test]
fn an_explanation_holds_every_clause() {
    let filter = Filter::parse("event.a == 1 || !(event.b.startsWith('x'))").unwrap();
    let explanation = explain(&filter, &Record::of_value(br#"{"a": 1, "b": 2}"#)).unwrap();
    assert_eq!(
        serde_json::to_value(&explanation.tree).unwrap(),
        serde_json::json!({
            "text": "event.a == 1 || !event.b.startsWith(\"x\")",
            "offset": 0, "length": 42, "operator": "||", "value": "true",
            "children": [
                {"text": "event.a == 1", "offset": 0, "length": 12, "operator": "clause", "value": "true",
                 "children": [{"text": "event.a", "offset": 0, "length": 7, "operator": "clause", "value": "1"}]},
                {"text": "!event.b.startsWith(\"x\")", "offset": 16, "length": 26, "operator": "!", "value": null,
                 "error": "`startsWith` does not take int and string",
                 "children": [
                    {"text": "event.b.startsWith(\"x\")", "offset": 17, "length": 25, "operator": "clause",
                     "value": null, "error": "`startsWith` does not take int and string",
                     "children": [
                        {"text": "event.b", "offset": 18, "length": 7, "operator": "clause", "value": "2"}]}]},
            ],
        })
    );
}

#[test]
fn an_explanation_is_bounded_as_a_whole() {
    let list = vec!["1"; 1_000].join(",");
    let event = format!(r#"{{"l": [{list}]}}"#);
    let filter = Filter::parse("event.l.all(a, a == 1) && event.l.exists(a, a == 1)").unwrap();
    let record = Record::of_value(event.as_bytes());
    assert_eq!(
        explain(&filter, &record).unwrap().result,
        ExplainedResult::Match
    );

    let slow = "event.l.all(a, event.l.all(b, a == b))";
    let clauses: Vec<String> = (0..60)
        .map(|n| format!("{slow} == {}", n % 2 == 0))
        .collect();
    let filter = Filter::parse(&clauses.join(" || ")).unwrap();
    let explanation = explain(&filter, &record).unwrap();
    assert_eq!(explanation.result, ExplainedResult::Error);
    assert_eq!(explanation.tree.children.len(), 60);
    assert!(
        explanation
            .tree
            .children
            .iter()
            .all(|clause| clause.value.is_none())
    );
}

#[test]
fn the_deepest_filters_are_evaluated_by_both() {
    let wrap = |open: &str, inner: &str, close: &str, n: usize| {
        format!("{}{inner}{}", open.repeat(n), close.repeat(n))
    };
    let record = Record::of_value(br#"{"a": true, "n": 1, "l": [[1]]}"#);
    for filter in [
        wrap("!(", "event.a", ")", 60),
        wrap("-(", "event.n", ")", 58) + " == 1",
        wrap("[", "event.n", "]", 58) + " != []",
        wrap("string(", "event.n", ")", 58) + " == '1'",
        wrap("(", "event.a", ")", 63),
        format!("event.n{} == 61", " + 1".repeat(60)),
        "event.a ? event.a : ".repeat(60) + "event.a",
        format!("{}event.a{}", "[1].all(x, ".repeat(30), ")".repeat(30)),
        vec!["event.a"; 256].join(" && "),
        wrap("(event.a && (event.n == 2 || ", "event.a", "))", 30),
    ] {
        check(&filter, &record, ExplainedResult::Match).unwrap();
    }
}

#[derive(Deserialize)]
struct Cuts {
    project: Vec<Project>,
    mask: Vec<Masked>,
    refused: Vec<RefusedPath>,
}

#[derive(Deserialize)]
struct Project {
    fields: String,
    event: String,
    result: String,
}

#[derive(Deserialize)]
struct Masked {
    paths: Vec<String>,
    event: String,
    result: String,
}

#[derive(Deserialize)]
struct RefusedPath {
    fields: String,
    caret: String,
    message: String,
}

#[test]
fn fields_are_cut_out_and_masked() {
    let cuts: Cuts = read(include_str!("../testdata/projection.toml"));
    let text = |bytes: Result<Vec<u8>, Unreadable>| String::from_utf8(bytes.unwrap()).unwrap();
    for case in &cuts.project {
        let projection = Projection::parse(&case.fields).unwrap();
        assert_eq!(
            text(projection.apply(case.event.as_bytes())),
            case.result,
            "{}",
            case.fields
        );
    }
    for case in &cuts.mask {
        let mask = Mask::parse(&case.paths).unwrap();
        assert_eq!(
            text(mask.apply(case.event.as_bytes())),
            case.result,
            "{:?}",
            case.paths
        );
    }
    for case in &cuts.refused {
        let error: FilterError = Projection::parse(&case.fields).unwrap_err();
        assert_eq!(
            (error.caret(), error.message),
            (case.caret.clone(), case.message.clone())
        );
    }
}

#[test]
fn paths_read_as_they_are_shown() {
    let event = serde_json::json!({"page": {"path": "/a"}, "a.b": {"c d": 1}, "list": [1]});
    for (path, shown, found) in [
        ("page.path", "page.path", Some(serde_json::json!("/a"))),
        (" page . path ", "", None),
        ("`a.b`.`c d`", "`a.b`.`c d`", Some(serde_json::json!(1))),
        ("`page`.path", "page.path", Some(serde_json::json!("/a"))),
        ("page.path.x", "page.path.x", None),
        ("list", "list", Some(serde_json::json!([1]))),
    ] {
        match FieldPath::parse(path) {
            Ok(path) => {
                assert_eq!(path.to_string(), shown);
                assert_eq!(path.get(&event), found.as_ref());
                assert_eq!(FieldPath::parse(&path.to_string()), Ok(path));
            }
            Err(error) => assert_eq!(shown, "", "{error}"),
        }
    }
}

#[test]
fn event_types_become_a_filter_that_no_name_can_leave() {
    let field = FieldPath::parse("type").unwrap();
    let one = |types: &[&str]| {
        Filter::event_types(&field, types)
            .unwrap()
            .canonical()
            .to_owned()
    };
    assert_eq!(one(&["a"]), r#"event.type == "a""#);
    assert_eq!(one(&["b", "a", "b"]), r#"event.type in ["a", "b"]"#);
    assert_eq!(
        one(&["x\" || true || \""]),
        r#"event.type == "x\" || true || \"""#
    );
    assert_eq!(
        one(&["a"]),
        Filter::parse("'a' == event.type").unwrap().canonical()
    );
    let nested =
        Filter::event_types(&FieldPath::parse("meta.`event-type`").unwrap(), &["a"]).unwrap();
    assert_eq!(nested.canonical(), r#"event.meta["event-type"] == "a""#);
    assert_eq!(
        Filter::event_types(&field, &[]).unwrap_err().category(),
        "syntax"
    );
    let many: Vec<String> = (0..1_000).map(|n| format!("type-{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(
        Filter::event_types(&field, &many).unwrap_err().category(),
        "limit"
    );
}

#[test]
fn filters_are_joined_as_trees() {
    let types = Filter::event_types(&FieldPath::parse("type").unwrap(), &["a"]).unwrap();
    let either = Filter::parse("event.a == 1 || event.b == 2").unwrap();
    let joined = types.clone().and(either.clone()).unwrap();
    assert_eq!(
        joined.canonical(),
        r#"(event.a == 1 || event.b == 2) && event.type == "a""#
    );
    assert_eq!(joined, either.and(types.clone()).unwrap());
    assert_eq!(types.clone().and(types.clone()).unwrap(), types);
    assert!(!joined.uses_record());
    assert!(
        joined
            .and(Filter::parse("record.offset > 1").unwrap())
            .unwrap()
            .uses_record()
    );
    let long = Filter::parse(&format!("event.a == '{}'", "x".repeat(3_000))).unwrap();
    let other = Filter::parse(&format!("event.b == '{}'", "y".repeat(3_000))).unwrap();
    assert_eq!(long.and(other).unwrap_err().category(), "limit");
}

#[test]
fn a_set_gives_its_keys_in_order_and_clones_are_snapshots() {
    let record = Record::of_value(br#"{"a": 1}"#);
    let matching = |set: &FilterSet| {
        let mut keys = vec![99];
        set.matching(&record, &mut Scratch::default(), &mut keys)
            .unwrap();
        keys
    };
    let mut set = FilterSet::new();
    assert!(set.is_empty());
    for key in [5, 1, 9, 3] {
        set.insert(key, Filter::parse("event.a == 1").unwrap());
    }
    set.insert(9, Filter::parse("event.a == 2").unwrap());
    let before = set.clone();
    assert!(set.remove(3) && !set.remove(3));
    set.insert(2, Filter::parse("record.offset == 0").unwrap());
    assert_eq!(matching(&set), [99, 1, 2, 5]);
    assert_eq!(matching(&before), [99, 1, 3, 5]);
    assert_eq!((set.len(), before.len()), (4, 4));
    assert!(set.remove(2));
    assert_eq!(matching(&set), [99, 1, 5]);
}

#[test]
fn unreadable_records_are_told_apart() {
    let deep = |levels: usize| [r#"{"a":"#.repeat(levels), "1".into(), "}".repeat(levels)].concat();
    let lists = format!(r#"{{"a":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let large = format!(r#"{{"a": "{}"}}"#, "x".repeat(limits::MAX_RECORD_BYTES));
    for (value, expected) in [
        (b"".as_slice(), Err(Unreadable::Empty)),
        (b" \n", Err(Unreadable::Empty)),
        (b"no", Err(Unreadable::NotJson)),
        (b"{\"a\": 1", Err(Unreadable::NotJson)),
        (b"{\"a\": 1}}", Err(Unreadable::NotJson)),
        (b"{\"a\": 01}", Err(Unreadable::NotJson)),
        (b"{\"a\": .5}", Err(Unreadable::NotJson)),
        (b"{\"a\": 1,}", Err(Unreadable::NotJson)),
        (b"{a: 1}", Err(Unreadable::NotJson)),
        (b"{\"a\": \"\\ud800\"}", Err(Unreadable::NotJson)),
        (b"{\"a\": \"\n\"}", Err(Unreadable::NotJson)),
        (b"\xef\xbb\xbf{}", Err(Unreadable::NotJson)),
        (b"[1, 2]", Err(Unreadable::NotAnObject)),
        (b"null", Err(Unreadable::NotAnObject)),
        (b"\"a\"", Err(Unreadable::NotAnObject)),
        (b"{\"a\": \"\xff\"}", Err(Unreadable::InvalidUtf8)),
        (deep(limits::MAX_EVENT_DEPTH).as_bytes(), Ok(())),
        (
            deep(limits::MAX_EVENT_DEPTH + 1).as_bytes(),
            Err(Unreadable::TooDeep),
        ),
        (deep(10_000).as_bytes(), Err(Unreadable::TooDeep)),
        (lists.as_bytes(), Err(Unreadable::TooDeep)),
        (large.as_bytes(), Err(Unreadable::TooLarge)),
        (b"{}", Ok(())),
    ] {
        let mut set = FilterSet::new();
        let mut keys = Vec::new();
        let record = Record::of_value(value);
        assert_eq!(
            set.matching(&record, &mut Scratch::default(), &mut keys),
            Ok(()),
            "without filters"
        );
        set.insert(0, Filter::parse("true").unwrap());
        assert_eq!(
            set.matching(&record, &mut Scratch::default(), &mut keys),
            expected
        );
        assert_eq!(keys.len(), usize::from(expected.is_ok()));
        // Neither do these panic, nor run out of stack.
        let _ = Projection::parse("a.a.a").unwrap().apply(value);
        let _ = Mask::parse(&["a.b"]).unwrap().apply(value);
    }
    assert_eq!(Unreadable::EACH.map(Unreadable::as_str).len(), 6);
}

#[test]
fn a_large_event_is_matched() {
    let items: Vec<String> = (0..40_000)
        .map(|n| format!(r#"{{"sku": "s{n}", "n": {n}}}"#))
        .collect();
    let event = format!(r#"{{"items": [{}], "last": true}}"#, items.join(","));
    assert!(event.len() > 900_000);
    let record = Record::of_value(event.as_bytes());
    for filter in [
        "event.items.exists(i, i.sku == 's39999' && i.n == 39999)",
        "event.items.all(i, i.n >= 0 && i.sku.startsWith('s'))",
        "size(event.items.filter(i, i.n % 2 == 0)) == 20000",
        "event.last",
    ] {
        // Not by the reference, whose time grows with the square of the list.
        let explanation = explain(&Filter::parse(filter).unwrap(), &record).unwrap();
        assert_eq!(explanation.result, ExplainedResult::Match, "{filter}");
    }
}

#[test]
fn an_evaluation_beyond_its_steps_is_an_error() {
    let list: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    let event = format!(
        r#"{{"l": [{}], "s": "{}"}}"#,
        list.join(","),
        "x".repeat(10_000)
    );
    let record = Record::of_value(event.as_bytes());
    let doubled = format!(
        "{}true",
        "event.l.all(a, event.l.all(b, event.l.all(c, a + b + c >= 0))) && ".repeat(3)
    );
    for filter in [
        "event.l.all(a, event.l.all(b, event.l.all(c, a + b + c >= 0)))",
        doubled.as_str(),
        "event.l.map(a, event.l.map(b, event.l)) == []",
        "event.l.all(a, event.l.all(b, event.s + event.s != ''))",
        "event.l.exists(a, event.s.matches(string(a) + 'b'))",
        "event.l.exists(a, event.l == [a])  || event.l.exists(a, event.l.exists(b, event.l != event.l))",
    ] {
        let explanation = explain(&Filter::parse(filter).unwrap(), &record).unwrap();
        assert_eq!(explanation.result, ExplainedResult::Error, "{filter}");
        assert!(
            explanation.decided.reason.ends_with("too many steps"),
            "{}",
            explanation.decided.reason
        );
    }
}

#[test]
fn limits_of_a_filter_hold() {
    let fits = |text: &str| {
        Filter::parse(text)
            .map_err(|error| error.category())
            .map(drop)
    };
    let nested = |n: usize| format!("{}event.a{}", "(".repeat(n), ")".repeat(n));
    assert_eq!(fits(&nested(60)), Ok(()));
    assert_eq!(fits(&nested(2_000)), Err("limit"));
    assert_eq!(fits(&format!("event{}", ".a".repeat(60))), Ok(()));
    assert_eq!(fits(&format!("event{}", ".a".repeat(2_000))), Err("limit"));
    assert_eq!(
        fits(&format!("event.a == {}1", "1 + ".repeat(900))),
        Err("limit")
    );
    assert_eq!(fits(&format!("{}event.a", "!".repeat(4_000))), Ok(()));
    assert_eq!(
        fits(&format!("{}event.a", "!(".repeat(1_000))),
        Err("limit")
    );
    assert_eq!(
        fits(&format!("{}true", "event.a ? true : ".repeat(200))),
        Err("limit")
    );
    assert_eq!(
        fits(&format!("{}event.a", "event.a || ".repeat(255))),
        Ok(())
    );
    assert_eq!(
        fits(&format!("{}event.a", "event.a || ".repeat(256))),
        Err("limit")
    );
    assert_eq!(fits(&format!("event.a == '{}'", "x".repeat(4_000))), Ok(()));
    assert_eq!(
        fits(&format!("event.a == '{}'", "x".repeat(4_096))),
        Err("limit")
    );
    assert_eq!(
        fits(&format!("event.a == '{}'", "\u{1}".repeat(3_000))),
        Err("limit")
    );
    let patterns = |n: usize| vec!["event.a.matches('a')"; n].join(" || ");
    assert_eq!(fits(&patterns(limits::MAX_REGEXES)), Ok(()));
    assert_eq!(fits(&patterns(limits::MAX_REGEXES + 1)), Err("limit"));
    let paths = vec!["a"; limits::MAX_PATHS + 1].join(",");
    assert_eq!(Projection::parse(&paths).unwrap_err().category(), "limit");
}
