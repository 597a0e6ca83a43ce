//! `check` and `match`, which need nothing but files.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::fs;
use std::path::PathBuf;

use support::{Finished, run, run_with_input};
use tempfile::TempDir;

const FILTERS: &str = concat!(
    r#"{"id":"purchases","filter":"event.type == \"purchase\""}"#,
    "\n",
    r#"{"id":7,"filter":"event.price > 100"}"#,
    "\n",
    "\n",
    r#"{"id":"anything","filter":"true"}"#,
    "\n",
);

/// A folder with a file of filters and a file of events.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new(filters: &str, events: &[u8]) -> Files {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("filters"), filters).unwrap();
        fs::write(folder.path().join("events"), events).unwrap();
        Files { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, engine: &str) -> Finished {
        run([
            "match".as_ref(),
            "--filters".as_ref(),
            self.path("filters").as_os_str(),
            "--events".as_ref(),
            self.path("events").as_os_str(),
            "--engine".as_ref(),
            engine.as_ref(),
        ])
    }
}

#[test]
fn check_prints_the_canonical_form() {
    let spaced = run(["check", r#"event.price>100   &&  event.type=='purchase'"#]);
    let swapped = run([
        "check",
        r#"(event.type == "purchase") && event.price > 100"#,
    ]);
    assert_eq!(spaced.code, Some(0), "{spaced:?}");
    assert_eq!(spaced.lines().len(), 1);
    assert_eq!(spaced.stdout, swapped.stdout);
    assert_eq!(run(["check", spaced.stdout.trim()]).stdout, spaced.stdout);
    assert_eq!(spaced.stderr, "");
}

#[test]
fn check_marks_the_place_of_an_error() {
    let finished = run(["check", "event.price > 1 && evnt.type == 1"]);
    assert_eq!(finished.code, Some(2));
    assert_eq!(finished.stdout, "");
    let lines: Vec<_> = finished.stderr.lines().collect();
    let text = lines
        .iter()
        .position(|line| line.contains("event.price > 1 && evnt.type == 1"));
    let text = text.unwrap_or_else(|| panic!("no filter in {}", finished.stderr));
    let column = lines[text].find("evnt").unwrap();
    assert_eq!(
        lines[text + 1].find('^'),
        Some(column),
        "{}",
        finished.stderr
    );
}

#[test]
fn both_engines_print_ids_in_the_filters_order() {
    let events = br#"{"type":"purchase","price":200}
{"type":"home"}
{"type":"purchase","price":1}
"#;
    let files = Files::new(FILTERS, events);
    for engine in ["index", "reference"] {
        let finished = files.run(engine);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert_eq!(
            finished.lines(),
            [
                r#"{"event":0,"matches":["purchases",7,"anything"]}"#,
                r#"{"event":1,"matches":["anything"]}"#,
                r#"{"event":2,"matches":["purchases","anything"]}"#,
            ],
            "{engine}"
        );
    }
}

#[test]
fn a_line_that_is_no_event_is_told_and_passed_over() {
    let events = b"{\"type\":\"purchase\"}\r\n\nnot json\n[1]\n\"\xff\"\n{\"type\":\"purchase\"}";
    let files = Files::new(FILTERS, events);
    for engine in ["index", "reference"] {
        let finished = files.run(engine);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let lines = finished.lines();
        assert_eq!(lines.len(), 6, "{finished:?}");
        for (number, line) in lines.iter().enumerate() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["event"], number);
            let readable = number == 0 || number == 5;
            assert_eq!(line["matches"].is_array(), readable, "{line}");
            assert_eq!(line["error"].is_string(), !readable, "{line}");
        }
    }
}

#[test]
fn without_filters_nothing_matches_but_lines_are_read() {
    for engine in ["index", "reference"] {
        let finished = Files::new("", b"{}\n7\n").run(engine);
        assert_eq!(
            finished.lines()[0],
            r#"{"event":0,"matches":[]}"#,
            "{engine}"
        );
        assert!(
            finished.lines()[1].contains("error"),
            "{engine}: {finished:?}"
        );
    }
}

#[test]
fn a_refused_filter_ends_it_with_its_id_and_place() {
    let filters = format!("{FILTERS}{}", r#"{"id":"bad","filter":"event.type = 1"}"#);
    let finished = Files::new(&filters, b"{}\n").run("index");
    assert_eq!(finished.code, Some(2));
    assert_eq!(finished.stdout, "");
    assert!(finished.stderr.contains(r#""bad""#), "{finished:?}");
    assert!(finished.stderr.contains('^'), "{finished:?}");
}

#[test]
fn what_is_wrong_with_the_files_is_said() {
    let cases = [
        ("not json\n", "line 0 of"),
        ("{\"id\":1}\n", "line 0 of"),
        (
            "{\"id\":1,\"filter\":\"true\"}\n{\"id\":1,\"filter\":\"false\"}\n",
            "id 1",
        ),
    ];
    for (filters, said) in cases {
        let finished = Files::new(filters, b"{}\n").run("index");
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.stderr.contains(said), "{finished:?}");
        assert_eq!(finished.stdout, "");
    }
    let missing = run(["match", "--filters", "/no/such/file", "--events", "-"]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("/no/such/file"), "{missing:?}");
}

#[test]
fn events_may_come_from_standard_input() {
    let files = Files::new(FILTERS, b"");
    let filters = files.path("filters");
    let args = [
        "match",
        "--filters",
        filters.to_str().unwrap(),
        "--events",
        "-",
    ];
    let finished = run_with_input(args, "{\"type\":\"purchase\"}\n");
    assert_eq!(
        finished.lines(),
        [r#"{"event":0,"matches":["purchases","anything"]}"#]
    );
}

#[test]
fn both_from_standard_input_is_refused() {
    let finished = run(["match", "--filters", "-", "--events", "-"]);
    assert_eq!(finished.code, Some(1));
    assert!(finished.stderr.contains("not both"), "{finished:?}");
}
