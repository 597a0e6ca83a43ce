//! The examples of `docs/QUERY.md` do what the page says.

use clickstream_engine::{ExplainedResult, Filter, Record, explain, limits};

/// The contents of the fenced blocks marked `info`.
fn blocks<'g>(guide: &'g str, info: &str) -> Vec<&'g str> {
    let start = format!("\n```{info}\n");
    guide
        .match_indices(&start)
        .filter_map(|(at, found)| guide[at + found.len()..].split("\n```").next())
        .collect()
}

#[test]
fn examples_do_what_the_guide_says() {
    let guide = include_str!("../../../docs/QUERY.md");
    let [event] = blocks(guide, "json")[..] else {
        panic!("one event is expected");
    };
    let record = Record {
        topic: "events",
        partition: 3,
        offset: 1,
        timestamp_ms: 1_769_860_800_000,
        key: Some(b"u-4711"),
        headers: &[("trace", b"abc")],
        value: event.as_bytes(),
    };
    let mut examples = 0;
    for (info, matches) in [("cel", true), ("cel no match", false)] {
        for filter in blocks(guide, info).iter().flat_map(|block| block.lines()) {
            let parsed =
                Filter::parse(filter).unwrap_or_else(|error| panic!("{error}\n{}", error.caret()));
            let explanation = explain(&parsed, &record).unwrap();
            let reason = &explanation.decided.reason;
            assert_eq!(
                explanation.result == ExplainedResult::Match,
                matches,
                "{filter}: {reason}"
            );
            examples += 1;
        }
    }
    assert!(examples > 40, "{examples}");
    let refused = blocks(guide, "text refused");
    assert_eq!(refused.len(), 4);
    for block in refused {
        let filter = block.lines().next().unwrap();
        assert_eq!(Filter::parse(filter).unwrap_err().caret(), block);
    }
}

#[test]
fn the_guide_states_the_limits() {
    let guide = include_str!("../../../docs/QUERY.md");
    for stated in [
        format!(
            "{},{:03} bytes",
            limits::MAX_FILTER_BYTES / 1_000,
            limits::MAX_FILTER_BYTES % 1_000
        ),
        format!("| {} levels", limits::MAX_FILTER_DEPTH),
        format!("| {} |", limits::MAX_CLAUSES),
        format!(
            "| {}, of {} KiB each",
            limits::MAX_REGEXES,
            limits::MAX_REGEX_BYTES / 1_024
        ),
        format!(
            "{},000 and {} for each byte",
            limits::STEPS / 1_000,
            limits::STEPS_PER_BYTE
        ),
        format!(
            "{} MiB, {} levels",
            limits::MAX_RECORD_BYTES / 1_048_576,
            limits::MAX_EVENT_DEPTH
        ),
    ] {
        assert!(guide.contains(&stated), "{stated}");
    }
}
