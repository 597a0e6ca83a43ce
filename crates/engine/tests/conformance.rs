//! The conformance tests of the CEL specification, as far as they apply to filters, on the engine and on the
//! reference.

use clickstream_engine::{
    ExplainedResult, Filter, FilterErrorKind, FilterSet, Outcome, Record, Scratch, explain,
    reference,
};

#[derive(serde::Deserialize)]
struct Suite {
    case: Vec<Case>,
    skipped: Vec<Skipped>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    filter: String,
    expect: String,
}

#[derive(serde::Deserialize)]
struct Skipped {
    reason: String,
    names: Vec<String>,
}

#[test]
fn engine_and_reference_conform() {
    let suite: Suite = toml::from_str(include_str!("../testdata/cel-spec.toml")).unwrap();
    let record = Record::of_value(b"{}");
    let mut failures = Vec::new();
    for Case {
        name,
        filter: text,
        expect,
    } in &suite.case
    {
        let filter = match Filter::parse(text) {
            Ok(filter) => filter,
            Err(error) if expect == "error" && error.kind != FilterErrorKind::Limit => continue,
            Err(error) => {
                failures.push(format!("{name}: refused: {error}\n{}", error.caret()));
                continue;
            }
        };
        let engine = match explain(&filter, &record).unwrap().result {
            ExplainedResult::Match => "match",
            ExplainedResult::NoMatch => "no match",
            ExplainedResult::Error => "error",
        };
        let mut set = FilterSet::new();
        set.insert(0, filter.clone());
        let mut keys = Vec::new();
        set.matching(&record, &mut Scratch::default(), &mut keys)
            .unwrap();
        if keys.is_empty() == (expect == "match") {
            failures.push(format!("{name}: index: {keys:?}, not {expect}: {text}"));
        }
        let (reference, why) = match reference::matches(&filter, &record).unwrap() {
            Outcome::Match => ("match", String::new()),
            Outcome::NoMatch => ("no match", String::new()),
            Outcome::Error(why) => ("error", why),
        };
        if engine != expect {
            failures.push(format!("{name}: engine: {engine}, not {expect}: {text}"));
        }
        if reference != expect {
            failures.push(format!(
                "{name}: reference: {reference} {why}, not {expect}: {filter}"
            ));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        suite.case.len(),
        failures.join("\n")
    );
    assert!(
        suite
            .skipped
            .iter()
            .all(|skipped| !skipped.reason.is_empty() && !skipped.names.is_empty())
    );
}
